"""What Python adds to ``Tensor``: PyTorch's overloads and conversions, each over the rows of the table."""

from . import _esker
from ._esker import Tensor, device as _device, dtype as _dtype


class Size(tuple):
    """The sizes of a tensor: a tuple that knows how many elements they make."""

    __slots__ = ()

    def numel(self):
        """The number of elements."""
        product = 1
        for size in self:
            product *= size
        return product

    def __repr__(self):
        return f"esker.Size({list(self)})"

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other):
        return Size(super().__add__(tuple(other)))


Size.__module__ = "esker"


def _method(function):
    """Makes a function a method of every tensor."""
    setattr(Tensor, function.__name__, function)
    return function


def _property(function):
    setattr(Tensor, function.__name__, property(function))


@_property
def shape(self):
    """The sizes."""
    return Size(self._sizes)


@_method
def size(self, dim=None):
    """The sizes, or that of one dimension."""
    return Size(self._sizes) if dim is None else self._sizes[_checked(self, dim)]


def _checked(self, dim):
    rank = len(self._sizes)
    if not -rank <= dim < rank:
        raise _esker.DimError(
            f"dimension {dim} is out of range for {list(self._sizes)} (rank {rank}, expected {-rank} to {rank - 1})"
        )
    return dim


Tensor.nelement = Tensor.numel
Tensor.ndimension = Tensor.dim
Tensor.is_cuda = property(lambda self: self.device.type == "cuda", doc="Whether it lives on a GPU.")
Tensor.is_cpu = property(lambda self: self.device.type == "cpu", doc="Whether it lives in main memory.")
Tensor.is_meta = property(lambda self: self.device.type == "meta", doc="Whether it has a shape and no values.")
Tensor.itemsize = property(Tensor.element_size, doc="Bytes an element.")
Tensor.nbytes = property(lambda self: self.numel() * self.element_size(), doc="Bytes of all elements.")
Tensor.__array_priority__ = 1000  # NumPy's operators leave mixed expressions to Tensor's.


@_property
def T(self):
    """With its dimensions in reverse order."""
    return self.permute(tuple(range(self.ndim))[::-1])


@_property
def mT(self):
    """With its last two dimensions exchanged."""
    return self.transpose(-2, -1)


@_property
def data(self):
    """The same values without history; writing to a leaf's in place writes the leaf's."""
    return self._data()


def _set_data(self, value):
    self._set_data(value)


Tensor.data = Tensor.data.setter(_set_data)


@_method
def __repr__(self):
    return self._repr()


@_method
def __format__(self, spec):
    return format(self.item(), spec) if self.ndim == 0 and spec else object.__format__(self, spec)


@_method
def __iter__(self):
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


@_method
def __contains__(self, item):
    return bool((self == item).any())


@_method
def numpy(self, *, force=False):
    """A NumPy array over the same memory, for reading only; copy it to write.

    A tensor that requires grad must be detached first, or ``force=True`` given.
    """
    import numpy

    if self.requires_grad and not force:
        raise RuntimeError("numpy() of a tensor that requires grad; call .detach() first")
    return numpy.asarray(memoryview(self))


@_method
def __array__(self, dtype=None, copy=None):
    array = self.numpy()
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise ValueError(f"a copy is needed for {dtype}")
        return array.astype(dtype)
    return array.copy() if copy else array


@_method
def to(self, *args, **kwargs):
    """Elements in another dtype, on another device, or as another tensor has them."""
    to_dtype, to_device = kwargs.pop("dtype", None), kwargs.pop("device", None)
    copy = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None), kwargs.pop("memory_format", None)
    if kwargs:
        raise TypeError(f"to: there is no argument {next(iter(kwargs))}")
    for arg in args:
        if isinstance(arg, (_dtype, type)):
            to_dtype = arg
        elif isinstance(arg, (_device, str)):
            to_device = arg
        elif isinstance(arg, Tensor):
            to_dtype, to_device = arg.dtype, arg.device
        elif not isinstance(arg, bool):
            raise TypeError(f"to takes a dtype, a device or a tensor, got {type(arg).__name__}")
    moved = self._to(to_dtype, to_device)
    return moved.clone() if copy and moved is self else moved


def _type(self, dtype=None):
    """The name of the tensor's type, or its elements in another dtype."""
    return f"esker.{str(self.dtype).removeprefix('esker.').capitalize()}Tensor" if dtype is None else self._to(dtype)


Tensor.type = _type  # Under a name of its own here, where ``type`` is Python's.


@_method
def type_as(self, other):
    """Elements in another tensor's dtype."""
    return self._to(other.dtype)


def _cast_method(name, target):
    def cast(self):
        return self._to(target)

    cast.__name__, cast.__doc__ = name, f"Elements as {target}."
    setattr(Tensor, name, cast)


for _name, _target in {
    "float": _esker.float32,
    "double": _esker.float64,
    "half": _esker.float16,
    "bfloat16": _esker.bfloat16,
    "int": _esker.int32,
    "long": _esker.int64,
    "short": _esker.int16,
    "char": _esker.int8,
    "byte": _esker.uint8,
    "bool": _esker.bool,
}.items():
    _cast_method(_name, _target)


@_method
def cpu(self):
    """In main memory."""
    return self._to(None, "cpu")


@_method
def cuda(self, device=None):
    """On a GPU."""
    return self._to(None, "cuda" if device is None else device)


@_method
def view(self, *size):
    """The same elements under another shape; or, given a dtype of the same width, not supported."""
    if len(size) == 1 and isinstance(size[0], _dtype):
        raise TypeError("view: the bits of elements cannot be read as another dtype; .to(dtype) converts values")
    return _esker.reshape(self, size[0] if len(size) == 1 else size)


@_method
def reshape_as(self, other):
    """Under the shape of another tensor."""
    return self.reshape(other._sizes)


view_as = reshape_as
Tensor.view_as = reshape_as


@_method
def expand_as(self, other):
    """Broadcast to the shape of another tensor."""
    return self.expand(other._sizes)


@_method
def copy_(self, source, non_blocking=False):
    """Rebinds it to another tensor's values, brought to its shape and dtype."""
    if not isinstance(source, Tensor):
        source = _esker.tensor(source)
    self._set("copy_", source._to(self.dtype).expand(self._sizes))
    return self


@_method
def fill_(self, value):
    """Rebinds it to one value throughout."""
    value = value if isinstance(value, Tensor) else _esker.full((), value, dtype=self.dtype)
    self._set("fill_", value._to(self.dtype).expand(self._sizes).contiguous())
    return self


@_method
def zero_(self):
    """Rebinds it to zeros."""
    return self.fill_(0)


@_method
def normal_(self, mean=0.0, std=1.0, *, generator=None):
    """Rebinds it to normal random numbers."""
    self._set("normal_", _esker.normal(mean, std, self._sizes, dtype=self.dtype))
    return self


@_method
def uniform_(self, a=0.0, b=1.0, *, generator=None):
    """Rebinds it to uniform random numbers from ``a`` to below ``b``."""
    self._set("uniform_", _esker.rand(self._sizes, dtype=self.dtype) * (b - a) + a)
    return self


@_method
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """A tensor with a copy of ``data`` in this one's dtype."""
    return _esker.tensor(data, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


@_method
def new_zeros(self, *size, dtype=None, device=None, requires_grad=False):
    """Zeros in this one's dtype."""
    return _esker.zeros(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


@_method
def new_ones(self, *size, dtype=None, device=None, requires_grad=False):
    """Ones in this one's dtype."""
    return _esker.ones(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


@_method
def new_empty(self, *size, dtype=None, device=None, requires_grad=False):
    """A tensor in this one's dtype whose values do not matter."""
    return _esker.empty(*size, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


@_method
def new_full(self, size, fill_value, *, dtype=None, device=None, requires_grad=False):
    """One value in this one's dtype."""
    return _esker.full(size, fill_value, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


@_method
def __deepcopy__(self, memo):
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError("only leaves can be deep-copied; detach the tensor first")
    copy = self.detach().clone()
    if self.requires_grad:
        copy.requires_grad_()
    memo[id(self)] = copy
    return copy


def _rebuild(data, requires_grad):
    tensor = _esker._parse_state(data)["t"]
    return tensor.requires_grad_() if requires_grad else tensor


@_method
def __reduce_ex__(self, protocol):
    if not self.is_leaf:
        raise RuntimeError("only leaves can be pickled; detach the tensor first")
    return _rebuild, (bytes(_esker._state_bytes({"t": self.detach()})), self.requires_grad)
