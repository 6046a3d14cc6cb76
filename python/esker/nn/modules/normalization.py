"""Normalisations."""

from ... import _esker
from .. import functional as F
from ..parameter import Parameter
from .module import Module


class _Norm(Module):
    """Batch and instance norms: over channels, with running statistics if wanted."""

    _ranks = ()

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, device=None, dtype=None):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        kind = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(_esker.ones(num_features, **kind)) if affine else None)
        self.register_parameter("bias", Parameter(_esker.zeros(num_features, **kind)) if affine else None)
        track = track_running_stats
        self.register_buffer("running_mean", _esker.zeros(num_features, **kind) if track else None)
        self.register_buffer("running_var", _esker.ones(num_features, **kind) if track else None)
        self.register_buffer("num_batches_tracked", _esker.tensor(0) if track else None)

    def reset_running_stats(self):
        """Forgets the statistics."""
        if self.track_running_stats:
            self.running_mean.zero_(), self.running_var.fill_(1), self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """To the start."""
        self.reset_running_stats()
        if self.affine:
            self.weight.data = _esker.ones_like(self.weight.detach())
            self.bias.data = _esker.zeros_like(self.bias.detach())

    def _check(self, input):
        if input.ndim not in self._ranks:
            ranks = " or ".join(f"{r}-d" for r in self._ranks)
            raise ValueError(f"{type(self).__name__} takes a {ranks} input, got {list(input.shape)}")

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Norm):
    def forward(self, input):
        self._check(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1.0 / self.num_batches_tracked.item()
        use_batch = self.training or self.running_mean is None
        keep = not self.training or self.track_running_stats
        return F.batch_norm(
            input,
            self.running_mean if keep else None,
            self.running_var if keep else None,
            self.weight,
            self.bias,
            use_batch,
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Each channel of ``[n, c]`` or ``[n, c, l]`` to mean 0 and variance 1."""

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Each channel of ``[n, c, h, w]`` to mean 0 and variance 1."""

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Each channel of ``[n, c, d, h, w]`` to mean 0 and variance 1."""

    _ranks = (5,)


class _InstanceNorm(_Norm):
    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, device=None, dtype=None):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)

    def forward(self, input):
        self._check(input)
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each sample of ``[n, c, l]`` to mean 0 and variance 1."""

    _ranks = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each sample of ``[n, c, h, w]`` to mean 0 and variance 1."""

    _ranks = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each sample of ``[n, c, d, h, w]`` to mean 0 and variance 1."""

    _ranks = (4, 5)


def _shape(sizes):
    return (sizes,) if isinstance(sizes, int) else tuple(sizes)


class LayerNorm(Module):
    """The last dimensions to mean 0 and variance 1."""

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True, bias=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _shape(normalized_shape), eps, elementwise_affine
        kind = {"device": device, "dtype": dtype}
        weight = Parameter(_esker.ones(self.normalized_shape, **kind)) if elementwise_affine else None
        self.register_parameter("weight", weight)
        zeros = Parameter(_esker.zeros(self.normalized_shape, **kind)) if elementwise_affine and bias else None
        self.register_parameter("bias", zeros)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """The last dimensions to root mean square 1."""

    def __init__(self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None):
        super().__init__()
        self.normalized_shape, self.eps, self.elementwise_affine = _shape(normalized_shape), eps, elementwise_affine
        weight = _esker.ones(self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", Parameter(weight) if elementwise_affine else None)

    def forward(self, input):
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Groups of channels of each sample to mean 0 and variance 1."""

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True, device=None, dtype=None):
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"{num_channels} channels cannot be parted into {num_groups} groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        kind = {"device": device, "dtype": dtype}
        self.register_parameter("weight", Parameter(_esker.ones(num_channels, **kind)) if affine else None)
        self.register_parameter("bias", Parameter(_esker.zeros(num_channels, **kind)) if affine else None)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
