"""The layers."""

from . import activation, container, conv, dropout, linear, loss, normalization, pooling, rnn, shape, sparse, transformer
from .module import Module

__all__ = ["Module"]

for _part in (activation, container, conv, dropout, linear, loss, normalization, pooling, rnn, shape, sparse, transformer):
    for _name, _value in vars(_part).items():
        if isinstance(_value, type) and issubclass(_value, Module) and not _name.startswith("_"):
            globals()[_name] = _value
            if _name not in __all__:
                __all__.append(_name)
