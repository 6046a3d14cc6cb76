"""Functions of layers: the rows of the op table, and PyTorch's overloads of them."""

import math as _math

from .. import _esker, _functions
from .._esker import Tensor


def __getattr__(name):
    # Every row of the table is a function here too.
    if not name.startswith("_"):
        for place in (_functions, _esker):
            if hasattr(place, name):
                return getattr(place, name)
    raise AttributeError(f"esker.nn.functional has no {name}")


def _last_of(row, doc):
    def function(input, dim=None, _stacklevel=3, dtype=None):
        # PyTorch guesses the dimension when it is left out.
        if dim is None:
            dim = 0 if input.ndim in (0, 1, 3) else 1
        return row(input if dtype is None else input.to(dtype), dim)

    function.__name__, function.__doc__ = row.__name__, doc
    return function


softmax = _last_of(_esker.softmax, _esker.softmax.__doc__)
log_softmax = _last_of(_esker.log_softmax, _esker.log_softmax.__doc__)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """``softmax(-x)``."""
    return softmax(-input, dim, dtype=dtype)


def gelu(input, approximate="none"):
    """``x * Phi(x)``, exact or, for "tanh", approximate."""
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate is "none" or "tanh", got {approximate!r}')
    return _esker.gelu(input) if approximate == "none" else _esker.gelu_tanh(input)


def _activation(name):
    row = getattr(_esker, name)

    def function(input, *args, inplace=False, **kwargs):
        # `inplace` saves memory in PyTorch; here results take their input's place by assignment.
        result = row(input, *args, **kwargs)
        if inplace:
            input._set(name, result)
            return input
        return result

    function.__name__, function.__doc__ = name, row.__doc__
    return function


for _name in (
    "relu relu6 leaky_relu elu selu celu silu mish hardswish hardsigmoid hardtanh threshold".split()
):
    globals()[_name] = _activation(_name)


def one_hot(tensor, num_classes=-1):
    """1 at each class, along a last dimension; as many classes as are met unless given."""
    if num_classes == -1:
        num_classes = int(tensor.max()) + 1
    return _esker.one_hot(tensor, num_classes)


def logsigmoid(input):
    """``log(sigmoid(x))``."""
    return _esker.logsigmoid(input)
