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
        return _esker.nonzero_tuple(condition)
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
    whole = getattr(_esker, f"a{name}")

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
def sort(input, dim=-1, descending=False, stable=False):
    """Sorted along a dimension, with the places the elements came from. ``stable`` may be given without ``dim``."""
    return _esker.sort(input, dim, descending, stable)


@_both
def bernoulli(input, p=None, *, generator=None):
    """1 with the probability that the input gives, or ``p``, else 0."""
    return _esker.bernoulli(input if p is None else _esker.full_like(input, p))


@_both
def masked_fill(input, mask, value):
    """Elements where the mask holds replaced by a value, which may be a tensor with a gradient."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise _esker.ShapeError(f"masked_fill: a single value was needed, got {list(value.shape)}")
        return _esker.where_cond(mask, value.to(input.dtype), input)
    return _esker.masked_fill(input, mask, value)


_in_place("masked_fill")


@_both
def index_fill(input, dim, index, value):
    """One value, which may be a tensor with a gradient, in the slices ``index`` of a dimension."""
    if not isinstance(value, Tensor):
        return _esker.index_fill(input, dim, index, value)
    size = input.shape[dim] if input.ndim else 1
    chosen = _esker.index_fill(_esker.zeros(size, dtype=_esker.bool), 0, index, 1.0)
    shape = [1] * input.ndim
    if shape:
        shape[dim] = size
    return _esker.where_cond(chosen.reshape(shape), value.to(input.dtype), input)


_in_place("index_fill")


@_both
def nonzero(input, *, as_tuple=False):
    """Coordinates of the elements other than 0, one row each; or one vector for each dimension."""
    return _esker.nonzero_tuple(input) if as_tuple else _esker.nonzero(input)


@_both
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The different elements in order; with which each element is, and how often each occurs, if asked."""
    found = _esker.unique(input, sorted, return_inverse, return_counts, dim)
    return found[0] if len(found) == 1 else found


@_both
def index_put(input, indices, values, accumulate=False):
    """``input`` with ``values`` in place of (or added to) the elements that the index tensors name."""
    values = values if isinstance(values, Tensor) else _esker.full((), values, dtype=input.dtype)
    return _esker.index_put([input, *indices, values], accumulate)


_in_place("index_put")


@_both
def rot90(input, k=1, dims=(0, 1)):
    """Turned by ``k`` quarters in a plane."""
    a, b = dims
    k %= 4
    if k == 0:
        return input.clone()
    if k == 2:
        return input.flip((a, b))
    return input.transpose(a, b).flip(a) if k == 1 else input.transpose(a, b).flip(b)


@_both
def tensor_split(input, indices_or_sections, dim=0):
    """Cut along a dimension into so many parts of nearly one size, or at places."""
    size = input.shape[dim]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        small, more = divmod(size, n)
        sizes = [small + 1] * more + [small] * (n - more)
        cuts = [_builtins.sum(sizes[:i]) for i in range(1, n)]
    else:
        cuts = [slice(None, c).indices(size)[1] for c in indices_or_sections]
    ends = [*cuts, size]
    starts = [0, *cuts]
    return tuple(input.narrow(dim, s, _builtins.max(0, e - s)) for s, e in zip(starts, ends))


@_both
def squeeze(input, dim=None):
    """Without dimensions of size 1: all of them, or those named, of which there may be none."""
    if dim == ():
        return input
    return _esker.squeeze(input, dim)


@_both
def float_power(input, exponent):
    """``input^exponent`` in float64, whatever the inputs are."""
    double = [x.to(_esker.float64) if isinstance(x, Tensor) else x for x in (input, exponent)]
    return _esker.float_power(*double)


@_both
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each element repeated, as often for all or each as often as a tensor says."""
    if repeats is None:
        input, repeats = _esker.arange(len(input)), input
    if isinstance(repeats, Tensor):
        if repeats.numel() == 1:
            repeats = int(repeats)
        else:
            input, dim = (input.reshape(-1), 0) if dim is None else (input, dim)
            places = [i for i, n in enumerate(repeats.tolist()) for _ in range(n)]
            return _esker.index_select(input, dim, _esker.tensor(places, dtype=_esker.int64))
    return _esker.repeat_interleave(input, repeats, dim)


@_function
def normal(mean, std=1.0, size=None, *, generator=None, dtype=None, device=None, requires_grad=False):
    """Normal random numbers of one mean and deviation, or with a tensor of them."""
    if size is None:
        like = mean if isinstance(mean, Tensor) else std
        if not isinstance(like, Tensor):
            raise TypeError("normal: the argument size is missing")
        shape = broadcast_shapes(*(x.shape for x in (mean, std) if isinstance(x, Tensor)))
        return _esker.randn(shape, dtype=like.dtype) * std + mean
    return _esker.normal(mean, std, size, dtype=dtype, device=device, requires_grad=requires_grad)


@_function
def tensordot(a, b, dims=2):
    """Sums of products over the last ``dims`` dimensions of one and the first of the other, or over those listed."""
    if isinstance(dims, int):
        return _esker.tensordot(a, b, dims)
    left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    return _esker.tensordot(a, b, dims_a=left, dims_b=right)


@_function
def cdist(x1, x2, p=2.0, compute_mode=None):
    """Distances of every row of one from every row of the other; ``compute_mode`` only chooses how in PyTorch."""
    return _esker.cdist(x1, x2, p)


@_both
def diff(input, n=1, dim=-1, prepend=None, append=None):
    """Differences of neighbours along a dimension, ``n`` times."""
    ends = [x for x in (prepend, input, append) if x is not None]
    input = _esker.cat(ends, dim) if len(ends) > 1 else input
    for _ in range(n):
        size = input.shape[dim]
        later, earlier = input.narrow(dim, _builtins.min(1, size), _builtins.max(0, size - 1)), input.narrow(dim, 0, _builtins.max(0, size - 1))
        input = later != earlier if input.dtype is _esker.bool else later - earlier
    return input


@_function
def hstack(tensors):
    """Side by side: along the second dimension, of vectors along the first."""
    tensors = [t.reshape(1) if t.ndim == 0 else t for t in tensors]
    return _esker.cat(tensors, 0 if tensors[0].ndim == 1 else 1)


@_function
def vstack(tensors):
    """One below the other: along the first dimension, vectors as rows."""
    return _esker.cat([t.reshape(1, -1) if t.ndim < 2 else t for t in tensors], 0)


row_stack = vstack
__all__.append("row_stack")


@_function
def dstack(tensors):
    """Behind one another: along the third dimension."""
    deep = [t.reshape(1, -1, 1) if t.ndim < 2 else t.unsqueeze(2) if t.ndim == 2 else t for t in tensors]
    return _esker.cat(deep, 2)


@_function
def column_stack(tensors):
    """Vectors as columns, matrices side by side."""
    return _esker.cat([t.reshape(-1, 1) if t.ndim < 2 else t for t in tensors], 1)


def _at_least(rank):
    def function(*tensors):
        tensors = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
        out = []
        for t in tensors:
            if t.ndim == 0:
                t = t.reshape((1,) * rank)
            elif t.ndim == 1 and rank > 1:
                t = t.unsqueeze(0)
            if t.ndim == 2 and rank == 3:
                t = t.unsqueeze(2)
            out.append(t)
        return out[0] if len(out) == 1 else tuple(out)

    function.__name__ = f"atleast_{rank}d"
    function.__doc__ = f"With at least {rank} dimensions."
    return _function(function)


atleast_1d, atleast_2d, atleast_3d = _at_least(1), _at_least(2), _at_least(3)


@_both
def fliplr(input):
    """With columns in reverse order."""
    return input.flip(1)


@_both
def flipud(input):
    """With rows in reverse order."""
    return input.flip(0)


def _factors(input, *factors):
    """Factors as PyTorch reads them: of integer tensors, whole."""
    return factors if input.is_floating_point() else tuple(int(f) for f in factors)


@_both
def addmv(input, mat, vec, *, beta=1, alpha=1):
    """``beta * input + alpha * (mat x vec)``."""
    beta, alpha = _factors(input, beta, alpha)
    product = _esker.mv(mat, vec) * alpha
    return product if beta == 0 else input * beta + product


@_both
def addr(input, vec1, vec2, *, beta=1, alpha=1):
    """``beta * input + alpha * (vec1 outer vec2)``."""
    beta, alpha = _factors(input, beta, alpha)
    product = _esker.outer(vec1, vec2) * alpha
    return product if beta == 0 else input * beta + product


@_both
def addbmm(input, batch1, batch2, *, beta=1, alpha=1):
    """``beta * input + alpha * sum(batch1 x batch2)``."""
    beta, alpha = _factors(input, beta, alpha)
    product = _esker.bmm(batch1, batch2).sum(0) * alpha
    return product if beta == 0 else input * beta + product


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
    shapes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    rank = _builtins.max((len(s) for s in shapes), default=0)
    out = [1] * rank
    for shape in shapes:
        for i, n in enumerate(reversed(shape), 1):
            if n != 1 and out[-i] not in (1, n):
                raise _esker.ShapeError(f"the shapes {[list(s) for s in shapes]} do not broadcast")
            out[-i] = n if out[-i] == 1 else out[-i]
    return tuple(out)


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


@_function
class Generator:
    """A random generator of one's own, for loaders and splits: a seed and a count of draws."""

    def __init__(self, device="cpu"):
        self._state = (0, 0)

    def manual_seed(self, seed):
        """Starts again from a seed."""
        self._state = (seed & (2**64 - 1), 0)
        return self

    def initial_seed(self):
        """The seed."""
        return self._state[0]

    def get_state(self):
        """Seed and count."""
        return self._state

    def set_state(self, state):
        """Goes on from seed and count."""
        self._state = tuple(state)

    def permutation(self, n):
        """The integers from 0 to below ``n`` in random order."""
        before = _esker._rng_state()
        _esker._set_rng_state(*self._state)
        try:
            return _esker.randperm(n)
        finally:
            self._state = _esker._rng_state()
            _esker._set_rng_state(*before)


@_function
def get_rng_state():
    """The state of this thread's random generator: seed and count of draws."""
    return _esker._rng_state()


@_function
def set_rng_state(new_state):
    """Sets the state of this thread's random generator."""
    _esker._set_rng_state(*new_state)


@_function
def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None):
    """How tensors print from now on: digits, from how many elements on in short, items at the ends, characters a line."""
    preset = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, 2**62, 3, 80), None: (4, 1000, 3, 80)}
    given = (precision, threshold, edgeitems, linewidth)
    options = [p if g is None else g for g, p in zip(given, preset[profile])]
    _esker._set_print_options(*(int(_builtins.min(o, 2**62)) for o in options))


class _Limits:
    """What a dtype's numbers can be."""

    def __init__(self, dtype, limits):
        self.dtype = str(dtype).removeprefix("esker.")
        self.__dict__.update(limits)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.__dict__.items())})"


_FLOATS = {  # bits, bits of the fraction, largest exponent (IEEE 754, and bfloat16)
    "float64": (64, 52, 1023),
    "float32": (32, 23, 127),
    "float16": (16, 10, 15),
    "bfloat16": (16, 7, 127),
}


@_function
class finfo(_Limits):
    """The limits of a floating-point dtype: ``bits``, ``eps``, ``max``, ``min``, ``tiny``, ``smallest_normal``."""

    def __init__(self, type=None):
        dtype = _esker.get_default_dtype() if type is None else type
        if not dtype.is_floating_point:
            raise TypeError(f"finfo takes a floating-point dtype, got {dtype}; use iinfo")
        bits, fraction, exponent = _FLOATS[str(dtype).removeprefix("esker.")]
        largest, tiny = (2.0 - 2.0**-fraction) * 2.0**exponent, 2.0 ** (1 - exponent)
        limits = {"bits": bits, "eps": 2.0**-fraction, "max": largest, "min": -largest, "tiny": tiny}
        super().__init__(dtype, limits | {"smallest_normal": tiny, "resolution": 10.0 ** -int(fraction * _math.log10(2))})


@_function
class iinfo(_Limits):
    """The limits of an integer dtype: ``bits``, ``max``, ``min``."""

    def __init__(self, type):
        if type.is_floating_point or type is _esker.bool:
            raise TypeError(f"iinfo takes an integer dtype, got {type}")
        bits, signed = 8 * type.itemsize, type is not _esker.uint8
        super().__init__(type, {"bits": bits, "max": 2 ** (bits - signed) - 1, "min": -(2 ** (bits - 1)) if signed else 0})
