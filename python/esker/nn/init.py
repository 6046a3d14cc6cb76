"""Initialisers, in place; formulas and defaults are PyTorch's."""

import math

from .. import _esker
from ..autograd.grad_mode import no_grad


def _in_place(function):
    def initialise(tensor, *args, **kwargs):
        with no_grad():
            function(tensor, *args, **kwargs)
        return tensor

    initialise.__name__, initialise.__doc__ = function.__name__, function.__doc__
    initialise.__wrapped__ = function
    return initialise


def calculate_gain(nonlinearity, param=None):
    """The factor that keeps variance through a nonlinearity."""
    if nonlinearity in ("linear", "sigmoid", "identity") or nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"calculate_gain: {nonlinearity!r} is unknown")


def _fans(tensor):
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"fan-in and fan-out need a weight of two dimensions or more, got {list(shape)}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


_calculate_fan_in_and_fan_out = _fans


def _fan(tensor, mode):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is fan_in or fan_out, got {mode!r}")
    return _fans(tensor)[mode == "fan_out"]


@_in_place
def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Uniform from ``a`` to below ``b``."""
    tensor.uniform_(a, b)


@_in_place
def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Normal."""
    tensor.normal_(mean, std)


@_in_place
def constant_(tensor, val):
    """One value."""
    tensor.fill_(val)


@_in_place
def ones_(tensor):
    """Ones."""
    tensor.fill_(1.0)


@_in_place
def zeros_(tensor):
    """Zeros."""
    tensor.fill_(0.0)


@_in_place
def eye_(tensor):
    """The identity matrix."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: a matrix was needed, got {list(tensor.shape)}")
    tensor.copy_(_esker.eye(*tensor.shape, dtype=tensor.dtype))


@_in_place
def dirac_(tensor, groups=1):
    """A convolution that gives its input."""
    if tensor.ndim not in (3, 4, 5) or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: a weight of 3 to 5 dimensions was needed, got {list(tensor.shape)}")
    out = tensor.shape[0] // groups
    middle = [n // 2 for n in tensor.shape[2:]]
    flat = [0.0] * tensor.numel()
    strides = [math.prod(tensor.shape[i + 1 :]) for i in range(tensor.ndim)]
    for g in range(groups):
        for d in range(min(out, tensor.shape[1])):
            place = [g * out + d, d, *middle]
            flat[sum(i * s for i, s in zip(place, strides))] = 1.0
    tensor.copy_(_esker.tensor(flat).reshape(tuple(tensor.shape)))


@_in_place
def xavier_uniform_(tensor, gain=1.0, generator=None):
    """Glorot's, uniform."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    tensor.uniform_(-bound, bound)


@_in_place
def xavier_normal_(tensor, gain=1.0, generator=None):
    """Glorot's, normal."""
    tensor.normal_(0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))))


@_in_place
def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """He's, uniform."""
    if tensor.numel():
        bound = math.sqrt(3.0) * calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
        tensor.uniform_(-bound, bound)


@_in_place
def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """He's, normal."""
    if tensor.numel():
        tensor.normal_(0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)))


@_in_place
def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Normal, drawn again outside of ``a`` to ``b``."""
    values = _esker.normal(mean, std, tensor.shape, dtype=_esker.float64)
    outside = (values < a) | (values > b)
    while outside.any():
        values = _esker.where_cond(outside, _esker.normal(mean, std, tensor.shape, dtype=_esker.float64), values)
        outside = (values < a) | (values > b)
    tensor.copy_(values)


@_in_place
def orthogonal_(tensor, gain=1.0, generator=None):
    """Orthonormal rows or columns, by Gram and Schmidt."""
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: two dimensions or more were needed, got {list(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    count, size = min(rows, columns), max(rows, columns)
    basis = []
    for v in _esker.randn(count, size, dtype=_esker.float64).unbind(0):
        for _ in range(2):  # Once more for what rounding left.
            for b in basis:
                v = v - v.dot(b) * b
        basis.append(v / v.square().sum().sqrt())
    q = _esker.stack(basis)
    q = q if rows <= columns else q.t()
    tensor.copy_(q.reshape(tuple(tensor.shape)) * gain)


@_in_place
def sparse_(tensor, sparsity, std=0.01, generator=None):
    """Normal, with a share of each column 0."""
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: a matrix was needed, got {list(tensor.shape)}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    keep = _esker.stack([(_esker.randperm(rows) >= zeros) for _ in range(columns)], 1)
    tensor.copy_(_esker.normal(0.0, std, tensor.shape) * keep.float())
