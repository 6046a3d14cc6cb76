"""PyTorch's overloads of rows, other names of rows, and functions that are a line of others.

Each overload says what the row alone does not take.
"""

import builtins as _builtins
import math as _math

from . import _esker
from ._esker import Tensor

__all__ = ["e", "inf", "nan", "newaxis", "pi"]

e, inf, nan, pi, newaxis = _math.e, _math.inf, _math.nan, _math.pi, None


def _function(function):
    __all__.append(function.__name__)
    return function


def _both(function):
    """A function that is also a method."""
    setattr(Tensor, function.__name__, function)
    return _function(function)


def _in_place(name):
    """Gives a Python overload its method with an underscore."""
    function = globals()[name]

    def method(self, *args, **kwargs):
        self._set(f"{name}_", function(self, *args, **kwargs))
        return self

    method.__name__, method.__doc__ = f"{name}_", f"Rebinds the tensor to the result of ``{name}``."
    setattr(Tensor, method.__name__, method)


# Other names that PyTorch has for rows.
_ALIASES = {
    "absolute": "abs",
    "subtract": "sub",
    "multiply": "mul",
    "true_divide": "div",
    "negative": "neg",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "fix": "trunc",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "moveaxis": "movedim",
    "ger": "outer",
    "linalg_outer": "outer",
    "concat": "cat",
    "concatenate": "cat",
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "__xor__": "bitwise_xor",
    "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift",
}


def _alias(alias, name):
    if alias.startswith("__"):
        return
    row = getattr(_esker, name, None)
    if row is None:
        return
    globals()[alias] = row
    __all__.append(alias)
    if hasattr(Tensor, name):
        setattr(Tensor, alias, getattr(Tensor, name))
    if hasattr(Tensor, f"{name}_"):
        setattr(Tensor, f"{alias}_", getattr(Tensor, f"{name}_"))


for _name, _row in _ALIASES.items():
    _alias(_name, _row)


@_function
def where(condition, input=None, other=None):
    """Elements where the condition holds from the second input, else from the third; alone, where it holds."""
    if input is None:
        return _esker.nonzero(condition).unbind(1)
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        # Two numbers meet in the default dtypes of numbers.
        input = _esker.tensor(input)
    return _esker.where_cond(condition, input, other)


def _where(self, condition, other):
    """Its elements where the condition holds, else those of ``other``."""
    return where(condition, self, other)


Tensor.where = _where


def _extreme(name, elementwise):
    row, method = getattr(_esker, name), getattr(Tensor, name)
    whole = getattr(_esker, f"a{name}", None) or (lambda x: -_esker.amax(-x))

    def function(input, *args, **kwargs):
        # The row is along a dimension; without one it is over all, and with a tensor elementwise.
        if not args and not kwargs:
            return whole(input)
        other = args[0] if args else kwargs.get("other")
        if isinstance(other, Tensor):
            return elementwise(input, other)
        return row(input, *args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{row.__doc__} Without ``dim``, over all elements; with a tensor, elementwise."
    return _both(function)


max = _extreme("max", _esker.maximum)
min = _extreme("min", _esker.minimum)


def _arg_extreme(name):
    row = getattr(_esker, name)

    def function(input, dim=None, keepdim=False):
        # The row is along a dimension; without one PyTorch gives the index among all elements.
        if dim is not None:
            return row(input, dim, keepdim)
        index = row(input.reshape(-1), 0)
        return index.reshape((1,) * input.ndim) if keepdim else index

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{row.__doc__} Without ``dim``, among all elements."
    return _both(function)


argmax, argmin = _arg_extreme("argmax"), _arg_extreme("argmin")


@_both
def div(input, other, *, rounding_mode=None, out=None):
    """``input / other``; with ``rounding_mode`` "floor" or "trunc", rounded so and in the inputs' dtype."""
    if rounding_mode is None:
        return _esker.div(input, other)
    if rounding_mode == "floor":
        return _esker.floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ValueError(f'div: rounding_mode is None, "floor" or "trunc", got {rounding_mode!r}')
    quotient = _esker.div(input, other)
    floats = any(isinstance(x, float) or isinstance(x, Tensor) and x.is_floating_point() for x in (input, other))
    if floats:
        return quotient.trunc()
    # Of integers, so that large ones keep their digits.
    down = _esker.floor_divide(input, other)
    inexact = (down * other).ne(input)
    return down + (inexact & (down < 0)).to(down.dtype)


divide = div
__all__.append("divide")
Tensor.divide = div
_in_place("div")
Tensor.divide_ = Tensor.div_


@_both
def clamp(input, min=None, max=None, *, out=None):
    """Elements below ``min`` or above ``max`` moved there; either may be a tensor."""
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        if min is None and max is None:
            raise ValueError("clamp: at least one of min and max must be given")
        return _esker.clamp(input, min, max)
    if min is not None:
        input = _esker.maximum(input, min)
    return input if max is None else _esker.minimum(input, max)


clip = clamp
__all__.append("clip")
Tensor.clip = clamp
_in_place("clamp")
Tensor.clip_ = Tensor.clamp_


@_both
def clamp_min(input, min):
    """Elements below ``min`` moved there."""
    return clamp(input, min, None)


@_both
def clamp_max(input, max):
    """Elements above ``max`` moved there."""
    return clamp(input, None, max)


_in_place("clamp_min")
_in_place("clamp_max")


def _spread(name):
    row = getattr(_esker, name)

    def function(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None):
        # PyTorch's older form says `unbiased`, also in the place of `dim`.
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased is None else int(unbiased)
        return row(input, dim, correction, keepdim)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{row.__doc__} ``unbiased`` is a correction of 1."
    return _both(function)


var, std, var_mean = _spread("var"), _spread("std"), _spread("var_mean")


@_function
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """Standard deviation and mean."""
    variance, mean = var_mean(input, dim, unbiased, keepdim, correction=correction)
    return variance.sqrt(), mean


@_both
def norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None):
    """The vector norm over dimensions: 2 for "fro", else ``p``."""
    if isinstance(p, str) and p != "fro":
        raise ValueError(f'norm: p is a number or "fro", got {p!r}')
    input = input if dtype is None else input.to(dtype)
    return _esker.norm(input, 2.0 if p in ("fro", None) else p, dim, keepdim)


@_both
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements are close, as a bool."""
    return bool(_esker.allclose(input, other, rtol, atol, equal_nan))


@_both
def equal(input, other):
    """Whether shapes and all elements are equal, as a bool."""
    return input.shape == other.shape and bool(_esker.equal(input, other))


@_both
def is_nonzero(input):
    """Whether the only element is other than 0."""
    return bool(input)


@_function
def is_tensor(obj):
    """Whether it is a tensor."""
    return isinstance(obj, Tensor)


@_function
def is_floating_point(input):
    """Whether the dtype is one of the floating-point types."""
    return input.is_floating_point()


@_function
def numel(input):
    """The number of elements."""
    return input.numel()


@_function
def as_tensor(data, dtype=None, device=None):
    """A tensor of the data, without a copy where none is needed."""
    if isinstance(data, Tensor):
        return data.to(dtype=dtype, device=device)
    if hasattr(data, "__array_interface__") and getattr(data, "ndim", 0):
        return _esker.from_numpy(data).to(dtype=dtype, device=device)
    return _esker.tensor(data, dtype=dtype, device=device)


asarray = as_tensor
__all__.append("asarray")


@_function
def from_numpy(ndarray):
    """A tensor over a NumPy array's memory, without a copy."""
    return _esker.from_numpy(ndarray)


@_function
def clone(input, *, memory_format=None):
    """The same values in storage of their own."""
    return input.clone()


@_function
def detach(input):
    """The same values without history."""
    return input.detach()


@_both
def ravel(input):
    """As a vector."""
    return input.reshape(-1)


@_both
def rsub(input, other, *, alpha=1):
    """``other - alpha * input``."""
    return other - input * alpha


@_both
def sum_to_size(input, *size):
    """Summed over the dimensions in which it is larger than ``size``."""
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    lead = input.ndim - len(size)
    over = [d for d in range(input.ndim) if d < lead or size[d - lead] == 1 and input.shape[d] != 1]
    return (input.sum(over, True) if over else input).reshape(size)


@_function
def broadcast_tensors(*tensors):
    """The tensors broadcast to their common shape."""
    tensors = tensors[0] if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else tensors
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


@_function
def broadcast_shapes(*shapes):
    """The common shape that shapes broadcast to."""
    from ._tensor import Size

    shapes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    rank = _builtins.max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, n in enumerate(reversed(shape), 1):
            if n != 1 and out[-i] not in (1, n):
                raise _esker.ShapeError(f"the shapes {[list(s) for s in shapes]} do not broadcast")
            out[-i] = n if out[-i] == 1 else out[-i]
    return Size(out)


@_function
def result_type(x, y):
    """The dtype in which two tensors, or a tensor and a number, meet."""
    return _esker.add(_probe(x), _probe(y)).dtype


def _probe(x):
    return _esker.zeros((1,) if x.ndim else (), dtype=x.dtype) if isinstance(x, Tensor) else x


@_function
def promote_types(type1, type2):
    """The dtype in which two dtypes meet."""
    if _esker.bool in (type1, type2):
        return type2 if type1 is _esker.bool else type1
    return (_esker.zeros(0, dtype=type1) + _esker.zeros(0, dtype=type2)).dtype


@_function
def save(obj, f):
    """Writes a state dict (tensors by name), or a module's, to a safetensors file."""
    if hasattr(obj, "state_dict"):
        obj = obj.state_dict()
    if isinstance(obj, Tensor):
        raise TypeError('save: a dict of tensors by name was needed, got a tensor; give it a name: {"x": tensor}')
    _esker._save_state(dict(obj), f)


@_function
def load(f, map_location=None, weights_only=True):
    """Reads tensors by name from a safetensors file; nothing in a file can run."""
    return _esker._load_state(f)


@_function
def seed():
    """Seeds the random generator of this thread from the system; gives the seed."""
    import secrets

    number = secrets.randbits(63)
    _esker.manual_seed(number)
    return number


@_function
def initial_seed():
    """The seed of the random generator of this thread."""
    return _esker._rng_state()[0]
