"""Activations as modules."""

from ... import _esker
from .. import functional as F
from ..parameter import Parameter
from .module import Module


def _simple(name, function, doc):
    class Activation(Module):
        def forward(self, input):
            return function(input)

    Activation.__name__ = Activation.__qualname__ = name
    Activation.__doc__ = doc
    return Activation


Tanh = _simple("Tanh", _esker.tanh, "Hyperbolic tangent.")
Sigmoid = _simple("Sigmoid", _esker.sigmoid, "`1 / (1 + e^-x)`.")
Softsign = _simple("Softsign", _esker.softsign, "`x / (1 + |x|)`.")
Tanhshrink = _simple("Tanhshrink", _esker.tanhshrink, "`x - tanh(x)`.")
LogSigmoid = _simple("LogSigmoid", _esker.logsigmoid, "`log(sigmoid(x))`.")


def _with(name, function, options, doc, inplace=True):
    """A module whose constructor takes ``options`` (names with defaults), and ``inplace`` where PyTorch's does."""

    class Activation(Module):
        def __init__(self, *args, **kwargs):
            super().__init__()
            names = [*options, "inplace"] if inplace else list(options)
            values = dict(options, inplace=False) if inplace else dict(options)
            if len(args) > len(names):
                raise TypeError(f"{name} takes {len(names)} arguments, got {len(args)}")
            given = dict(zip(names, args))
            for key, value in kwargs.items():
                if key not in names or key in given:
                    raise TypeError(f"{name}: there is no argument {key}, or it was given twice")
                given[key] = value
            values.update(given)
            missing = [key for key, value in values.items() if value is ...]
            if missing:
                raise TypeError(f"{name}: the argument {missing[0]} is missing")
            for key, value in values.items():
                setattr(self, key, value)

        def forward(self, input):
            return function(input, *(getattr(self, key) for key in options), **({"inplace": True} if self.__dict__.get("inplace") else {}))

        def extra_repr(self):
            shown = [f"{key}={getattr(self, key)}" for key in options]
            return ", ".join(shown + (["inplace=True"] if self.__dict__.get("inplace") else []))

    Activation.__name__ = Activation.__qualname__ = name
    Activation.__doc__ = doc
    return Activation


ReLU = _with("ReLU", F.relu, {}, "`max(x, 0)`.")
ReLU6 = _with("ReLU6", F.relu6, {}, "`min(max(x, 0), 6)`.")
SELU = _with("SELU", F.selu, {}, "The self-normalising unit.")
SiLU = _with("SiLU", F.silu, {}, "`x * sigmoid(x)`.")
Mish = _with("Mish", F.mish, {}, "`x * tanh(softplus(x))`.")
Hardswish = _with("Hardswish", F.hardswish, {}, "`x * relu6(x + 3) / 6`.")
Hardsigmoid = _with("Hardsigmoid", F.hardsigmoid, {}, "`relu6(x + 3) / 6`.")
LeakyReLU = _with("LeakyReLU", F.leaky_relu, {"negative_slope": 0.01}, "`x` where positive, else a part of it.")
ELU = _with("ELU", F.elu, {"alpha": 1.0}, "`x` where positive, else `alpha * (e^x - 1)`.")
CELU = _with("CELU", F.celu, {"alpha": 1.0}, "The continuously differentiable ELU.")
Hardtanh = _with("Hardtanh", F.hardtanh, {"min_val": -1.0, "max_val": 1.0}, "`x` between two ends.")
Threshold = _with("Threshold", F.threshold, {"threshold": ..., "value": ...}, "`x` where above `threshold`, else `value`.")
GELU = _with("GELU", F.gelu, {"approximate": "none"}, "`x * Phi(x)`.", inplace=False)
Softplus = _with("Softplus", _esker.softplus, {"beta": 1.0, "threshold": 20.0}, "`log(1 + e^(beta x)) / beta`.", inplace=False)
Hardshrink = _with("Hardshrink", _esker.hardshrink, {"lambd": 0.5}, "0 near 0.", inplace=False)
Softshrink = _with("Softshrink", _esker.softshrink, {"lambd": 0.5}, "Moved towards 0.", inplace=False)
GLU = _with("GLU", _esker.glu, {"dim": -1}, "Half the input times the sigmoid of the other.", inplace=False)
Softmax = _with("Softmax", F.softmax, {"dim": None}, "`exp(x) / sum(exp(x))`.", inplace=False)
LogSoftmax = _with("LogSoftmax", F.log_softmax, {"dim": None}, "`log(softmax(x))`.", inplace=False)
Softmin = _with("Softmin", F.softmin, {"dim": None}, "`softmax(-x)`.", inplace=False)


class Softmax2d(Module):
    """Softmax over the channels of an image."""

    def forward(self, input):
        return F.softmax(input, -3)


class PReLU(Module):
    """`x` where positive, else a learnt part of it."""

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(_esker.empty(num_parameters, device=device, dtype=dtype).fill_(init))

    def forward(self, input):
        return _esker.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"
