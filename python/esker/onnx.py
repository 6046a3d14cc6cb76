"""ONNX files, out and in."""

from . import _esker
from ._esker import Graph, Tensor

__all__ = ["Graph", "capture", "export", "load"]


def capture(model, args, input_names=None, output_names=None, dynamic_batch=True):
    """What a model does as a graph, which runs without a tape and can be saved as ONNX.

    ``args`` are example inputs; only their dtypes and sizes count. With ``dynamic_batch`` the first dimension of each
    input is the batch and may be any size. A module is captured in evaluation.
    """
    args = (args,) if isinstance(args, Tensor) else tuple(args)
    names = [f"input_{i}" if len(args) > 1 else "input" for i in range(len(args))] if input_names is None else input_names
    if len(names) != len(args):
        raise ValueError(f"{len(names)} input names were given for {len(args)} inputs")
    inputs = []
    for name, x in zip(names, args):
        if not isinstance(x, Tensor):
            raise TypeError(f"the input {name} must be a tensor, got {type(x).__name__}")
        sizes = list(x.shape)
        if dynamic_batch and sizes:
            sizes[0] = None
        inputs.append((name, x.dtype, sizes))
    training = getattr(model, "training", False)
    state = model.state_dict() if hasattr(model, "state_dict") else {}
    modes = [(m, m.training) for m in model.modules()] if training else []
    try:
        if training:
            model.eval()
        return _esker._capture(model, inputs, list(output_names or []), state)
    finally:
        for module, mode in modes:
            object.__setattr__(module, "training", mode)


def export(
    model,
    args,
    f,
    *,
    input_names=None,
    output_names=None,
    opset_version=17,
    dynamic_axes=None,
    dynamic_batch=None,
    metadata=None,
    doc="",
):
    """Writes a model as an ONNX file and gives its graph.

    The first dimension of each input is the batch, of any size, unless ``dynamic_batch=False``. ``dynamic_axes`` is
    PyTorch's way to say so; only the first dimension can be dynamic.
    """
    if dynamic_axes is not None:
        for name, axes in dynamic_axes.items():
            if any(axis != 0 for axis in axes):
                raise ValueError(f"only the first dimension can be dynamic, {name} asks for {list(axes)}")
    if dynamic_batch is None:
        dynamic_batch = True
    graph = capture(model, args, input_names, output_names, dynamic_batch)
    graph.save(f, opset_version, [(str(k), str(v)) for k, v in (metadata or {}).items()], doc)
    return graph


def load(f):
    """Reads an ONNX file; the graph is called like a model."""
    return _esker._load_onnx(f)
