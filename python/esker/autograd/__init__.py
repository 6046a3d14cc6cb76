"""The tape: gradients of anything by anything, functions of one's own, the anomaly finder."""

from .._esker import grad
from .anomaly_mode import detect_anomaly, set_detect_anomaly
from .function import Function, FunctionCtx, once_differentiable
from .grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "FunctionCtx",
    "Variable",
    "once_differentiable",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "backward",
]


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, inputs=None):
    """Sends gradients from each tensor to every leaf upstream."""
    tensors = [tensors] if not isinstance(tensors, (list, tuple)) else list(tensors)
    seeds = grad_tensors if isinstance(grad_tensors, (list, tuple)) else [grad_tensors] * len(tensors)
    for i, (tensor, seed) in enumerate(zip(tensors, seeds, strict=True)):
        keep = retain_graph or create_graph or i + 1 < len(tensors)
        tensor.backward(seed, retain_graph=keep, create_graph=create_graph, inputs=inputs)


def Variable(data, requires_grad=False):
    """A tensor; for scripts from before tensors and variables were one."""
    return data.detach().requires_grad_() if requires_grad else data
