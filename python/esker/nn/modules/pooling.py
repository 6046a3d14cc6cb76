"""Pools."""

from .. import functional as F
from .module import Module


class _MaxPool(Module):
    _dims = 1

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation, self.return_indices, self.ceil_mode = padding, dilation, return_indices, ceil_mode

    def forward(self, input):
        pool = getattr(F, f"max_pool{self._dims}d")
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )

    def extra_repr(self):
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The largest in each window of ``[n, c, l]``."""

    _dims = 1


class MaxPool2d(_MaxPool):
    """The largest in each window of ``[n, c, h, w]``."""

    _dims = 2


class MaxPool3d(_MaxPool):
    """The largest in each window of ``[n, c, d, h, w]``."""

    _dims = 3


class _AvgPool(Module):
    _dims = 1

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input):
        pool = getattr(F, f"avg_pool{self._dims}d")
        more = {} if self.divisor_override is None else {"divisor_override": self.divisor_override}
        return pool(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, **more)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of ``[n, c, l]``."""

    _dims = 1


class AvgPool2d(_AvgPool):
    """The mean of each window of ``[n, c, h, w]``."""

    _dims = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of ``[n, c, d, h, w]``."""

    _dims = 3


class _Adaptive(Module):
    _row = ""

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        return getattr(F, self._row)(input, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Means over windows that make ``output_size``."""

    _row = "adaptive_avg_pool1d"


class AdaptiveAvgPool2d(_Adaptive):
    """Means over windows that make ``output_size``."""

    _row = "adaptive_avg_pool2d"


class AdaptiveMaxPool1d(_Adaptive):
    """Largest over windows that make ``output_size``."""

    _row = "adaptive_max_pool1d"


class AdaptiveMaxPool2d(_Adaptive):
    """Largest over windows that make ``output_size``."""

    _row = "adaptive_max_pool2d"
