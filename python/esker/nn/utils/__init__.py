"""Gradient clipping, and parameters as one vector."""

from ... import _esker
from . import rnn


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales gradients so that their joint norm is at most ``max_norm``; gives the norm before."""
    parameters = [parameters] if isinstance(parameters, _esker.Tensor) else list(parameters)
    total = _esker.tensor(_esker._clip_grad_norm(parameters, float(max_norm), float(norm_type)))
    _finite(total, error_if_nonfinite)
    return total


def _finite(total, wanted):
    if wanted and not total.isfinite():
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total.item()}")


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Moves every element of the gradients to between ``-clip_value`` and ``clip_value``."""
    parameters = [parameters] if isinstance(parameters, _esker.Tensor) else list(parameters)
    _esker._clip_grad_value(parameters, float(clip_value))


def parameters_to_vector(parameters):
    """All parameters, one after the other."""
    return _esker.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec, parameters):
    """Puts a vector's pieces into parameters."""
    start = 0
    for p in parameters:
        n = p.numel()
        p.data = vec.detach().narrow(0, start, n).reshape(tuple(p.shape))
        start += n
