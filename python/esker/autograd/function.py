"""Functions with a gradient of one's own."""

import functools

from .. import _esker
from .grad_mode import no_grad


class FunctionCtx:
    """What passes from forward to backward."""

    def __init__(self):
        self._to_save, self._saved, self._non_differentiable, self._materialize = (), None, (), True

    def save_for_backward(self, *tensors):
        """Keeps tensors (or None) for backward."""
        for t in tensors:
            if t is not None and not isinstance(t, _esker.Tensor):
                raise TypeError(f"save_for_backward takes tensors, got {type(t).__name__}; assign others to ctx")
        self._to_save = tensors

    save_for_forward = save_for_backward

    @property
    def saved_tensors(self):
        """What was kept."""
        if self._saved is None:
            raise RuntimeError("saved_tensors is there in backward only")
        return self._saved

    def mark_non_differentiable(self, *outputs):
        """Says that outputs have no gradient."""
        self._non_differentiable = outputs

    def mark_dirty(self, *inputs):
        """Tensors are values, so that no input is changed; for scripts that call it."""

    def set_materialize_grads(self, value):
        """Whether missing gradients come as zeros or as None."""
        self._materialize = bool(value)


class Function(FunctionCtx):
    """A function with a gradient of its own: subclasses define ``forward`` and ``backward`` as static methods.

    ``forward(ctx, *args)`` computes, or ``forward(*args)`` with ``setup_context(ctx, inputs, output)``;
    ``backward(ctx, *grads)`` gives a gradient for each argument, None for those without. Call it by ``apply``.
    """

    def __call__(self, *args, **kwargs):
        raise RuntimeError(f"call {type(self).__name__}.apply(...)")

    @staticmethod
    def forward(*args, **kwargs):
        """Computes the outputs."""
        raise NotImplementedError("a Function needs a static method forward")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Gives a gradient for each argument of forward."""
        raise NotImplementedError("a Function needs a static method backward")

    vjp = backward

    @classmethod
    def _run_forward(cls, ctx, args):
        setup = getattr(cls, "setup_context", None)
        if setup is None:
            return cls.forward(ctx, *args)
        output = cls.forward(*args)
        setup(ctx, args, output)
        return output

    @classmethod
    def _run_backward(cls, ctx, grads):
        return cls.backward(ctx, *grads)

    @classmethod
    def apply(cls, *args):
        """Applies the function."""
        return _esker._apply_function(cls, FunctionCtx(), args)


def once_differentiable(backward):
    """Decorates a backward whose gradients have no gradients."""

    @functools.wraps(backward)
    def decorated(ctx, *grads):
        with no_grad():
            return backward(ctx, *grads)

    return decorated
