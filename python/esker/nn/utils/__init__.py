"""Gradient clipping, and parameters as one vector."""

from ... import _esker


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales gradients so that their joint norm is at most ``max_norm``; gives the norm before."""
    parameters = [parameters] if isinstance(parameters, _esker.Tensor) else list(parameters)
    grads = [p.grad for p in parameters if p.grad is not None]
    norm_type = float(norm_type)
    if norm_type == 2.0:
        total = _esker.tensor(_esker._clip_grad_norm([p for p in parameters if p.grad is not None], float(max_norm)))
        _finite(total, error_if_nonfinite)
        return total
    if not grads:
        return _esker.tensor(0.0)
    total = _esker.norm(_esker.stack([_esker.norm(g.detach(), norm_type) for g in grads]), norm_type)
    _finite(total, error_if_nonfinite)
    factor = float(max_norm) / (total.item() + 1e-6)
    if factor < 1:
        for p in parameters:
            if p.grad is not None:
                p.grad = p.grad * factor
    return total


def _finite(total, wanted):
    if wanted and not total.isfinite():
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total.item()}")


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Moves every element of the gradients to between ``-clip_value`` and ``clip_value``."""
    parameters = [parameters] if isinstance(parameters, _esker.Tensor) else list(parameters)
    for p in parameters:
        if p.grad is not None:
            p.grad = _esker.clamp(p.grad, -float(clip_value), float(clip_value))


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
