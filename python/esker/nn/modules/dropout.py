"""Dropout."""

from .. import functional as F
from .module import Module


class _Dropout(Module):
    _row = "dropout"

    def __init__(self, p=0.5, inplace=False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"a probability from 0 to 1 was needed, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input):
        return getattr(F, self._row)(input, self.p, self.training)

    def extra_repr(self):
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training, zeroes elements with probability ``p`` and scales the rest."""


class Dropout1d(_Dropout):
    """Zeroes whole channels of ``[n, c, l]``."""

    _row = "dropout1d"


class Dropout2d(_Dropout):
    """Zeroes whole channels of ``[n, c, h, w]``."""

    _row = "dropout2d"


class Dropout3d(_Dropout):
    """Zeroes whole channels of ``[n, c, d, h, w]``."""

    _row = "dropout3d"


class AlphaDropout(_Dropout):
    """Keeps mean and variance of self-normalising nets."""

    _row = "alpha_dropout"
