"""Convolutions."""

import math

from ... import _esker
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


def _each(value, n):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


class _Conv(Module):
    _dims = 1
    _transposed = False

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        self._begin(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)

    def _begin(self, inputs, outputs, kernel, stride, padding, dilation, groups, bias, mode, device, dtype):
        super().__init__()
        if inputs % groups or outputs % groups:
            raise ValueError(f"{inputs} channels to {outputs} cannot be parted into {groups} groups")
        if mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(f"padding_mode is zeros, reflect, replicate or circular, got {mode!r}")
        n = self._dims
        self.in_channels, self.out_channels, self.groups, self.padding_mode = inputs, outputs, groups, mode
        self.kernel_size, self.stride, self.dilation = _each(kernel, n), _each(stride, n), _each(dilation, n)
        self.padding = padding if isinstance(padding, str) else _each(padding, n)
        pair = (inputs, outputs // groups) if self._transposed else (outputs, inputs // groups)
        self.weight = Parameter(_esker.empty((*pair, *self.kernel_size), device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(_esker.empty(outputs, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws new values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = self.weight.shape[1] * math.prod(self.kernel_size)
            if fan_in:
                init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, input):
        padding = self.padding
        if self.padding_mode != "zeros":
            if isinstance(padding, str):
                total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(self.dilation, self.kernel_size)]
                edges = [(t // 2, t - t // 2) for t in total]
            else:
                edges = [(p, p) for p in padding]
            input = F.pad(input, [e for edge in reversed(edges) for e in edge], mode=self.padding_mode)
            padding = 0
        row = getattr(F, f"conv{self._dims}d")
        return row(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self):
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if isinstance(self.padding, str) or any(self.padding):
            text += f", padding={self.padding}"
        if any(d != 1 for d in self.dilation):
            text += f", dilation={self.dilation}"
        if any(getattr(self, "output_padding", ())):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text + (f", padding_mode={self.padding_mode}" if self.padding_mode != "zeros" else "")


class Conv1d(_Conv):
    """Convolution of ``[n, c, l]``."""

    _dims = 1


class Conv2d(_Conv):
    """Convolution of ``[n, c, h, w]``."""

    _dims = 2


class Conv3d(_Conv):
    """Convolution of ``[n, c, d, h, w]``."""

    _dims = 3


class _ConvTranspose(_Conv):
    _transposed = True

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        if padding_mode != "zeros":
            raise ValueError(f"a transposed convolution pads with zeros, got {padding_mode!r}")
        self._begin(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        self.output_padding = _each(output_padding, self._dims)

    def forward(self, input, output_size=None):
        extra = self.output_padding
        if output_size is not None:
            sizes = list(output_size)[-self._dims :]
            least = [
                (n - 1) * s - 2 * p + d * (k - 1) + 1
                for n, s, p, d, k in zip(input.shape[-self._dims :], self.stride, self.padding, self.dilation, self.kernel_size)
            ]
            extra = tuple(size - low for size, low in zip(sizes, least))
        row = getattr(F, f"conv_transpose{self._dims}d")
        return row(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of ``[n, c, l]``."""

    _dims = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution of ``[n, c, h, w]``."""

    _dims = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of ``[n, c, d, h, w]``."""

    _dims = 3


class Unfold(Module):
    """Windows of an image as columns."""

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input):
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class PixelShuffle(Module):
    """Channels to pixels."""

    def __init__(self, upscale_factor):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels to channels."""

    def __init__(self, downscale_factor):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        return f"downscale_factor={self.downscale_factor}"


class Upsample(Module):
    """Images of another size."""

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=None):
        super().__init__()
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, input):
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners)

    def extra_repr(self):
        what = f"scale_factor={self.scale_factor}" if self.scale_factor is not None else f"size={self.size}"
        return f"{what}, mode={self.mode!r}"


class _Pad(Module):
    _dims, _mode = 1, "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = _each(padding, 2 * self._dims)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"padding={self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads 1 dimension with one value."""

    _dims, _mode = 1, "constant"


class ConstantPad2d(_ConstantPad):
    """Pads 2 dimensions with one value."""

    _dims, _mode = 2, "constant"


class ConstantPad3d(_ConstantPad):
    """Pads 3 dimensions with one value."""

    _dims, _mode = 3, "constant"


class ZeroPad1d(_Pad):
    """Pads 1 dimension with zeros."""

    _dims, _mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Pads 2 dimensions with zeros."""

    _dims, _mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Pads 3 dimensions with zeros."""

    _dims, _mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """Pads 1 dimension with what lies inside, mirrored."""

    _dims, _mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Pads 2 dimensions with what lies inside, mirrored."""

    _dims, _mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Pads 3 dimensions with what lies inside, mirrored."""

    _dims, _mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Pads 1 dimension with the edge's values."""

    _dims, _mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Pads 2 dimensions with the edge's values."""

    _dims, _mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Pads 3 dimensions with the edge's values."""

    _dims, _mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Pads 1 dimension with what lies at the other edge."""

    _dims, _mode = 1, "circular"


class CircularPad2d(_Pad):
    """Pads 2 dimensions with what lies at the other edge."""

    _dims, _mode = 2, "circular"


class CircularPad3d(_Pad):
    """Pads 3 dimensions with what lies at the other edge."""

    _dims, _mode = 3, "circular"
