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


def _max_pool(n):
    def pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        # PyTorch gives the indices on request; the table has a row for each form.
        name = f"max_pool{n}d_with_indices" if return_indices else f"max_pool{n}d"
        return getattr(_esker, name)(input, kernel_size, stride, padding, dilation, ceil_mode)

    pool.__name__, pool.__doc__ = f"max_pool{n}d", "The largest in each window, with its index if asked."
    return pool


def _whole(input, output_size, n):
    """Output sizes with None as the input's own."""
    if not isinstance(output_size, (tuple, list)):
        return output_size
    return tuple(m if k is None else k for k, m in zip(output_size, input.shape[-n:], strict=True))


def _adaptive_max_pool(n):
    def pool(input, output_size, return_indices=False):
        name = f"adaptive_max_pool{n}d_with_indices" if return_indices else f"adaptive_max_pool{n}d"
        return getattr(_esker, name)(input, _whole(input, output_size, n))

    pool.__name__, pool.__doc__ = f"adaptive_max_pool{n}d", "The largest over windows that make a size."
    return pool


def _adaptive_avg_pool(n):
    def pool(input, output_size):
        return getattr(_esker, f"adaptive_avg_pool{n}d")(input, _whole(input, output_size, n))

    pool.__name__, pool.__doc__ = f"adaptive_avg_pool{n}d", "Means over windows that make a size."
    return pool


max_pool1d, max_pool2d = _max_pool(1), _max_pool(2)
adaptive_max_pool1d, adaptive_max_pool2d = _adaptive_max_pool(1), _adaptive_max_pool(2)
adaptive_avg_pool1d, adaptive_avg_pool2d = _adaptive_avg_pool(1), _adaptive_avg_pool(2)


def _pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Windows of ``[n, c, h, w]`` as columns ``[n, c * taps, windows]``."""
    single = input.ndim == 3
    x = input.unsqueeze(0) if single else input
    if x.ndim != 4:
        raise ValueError(f"unfold takes a 3-d or 4-d input, got {list(input.shape)}")
    kernel, dilation, padding, stride = map(_pair, (kernel_size, dilation, padding, stride))
    x = pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    for dim in (2, 3):
        k, d = kernel[dim - 2], dilation[dim - 2]
        x = x.unfold(dim, d * (k - 1) + 1, stride[dim - 2])[..., ::d]
    n, c, h, w = x.shape[:4]
    columns = x.permute(0, 1, 4, 5, 2, 3).reshape(n, c * kernel[0] * kernel[1], h * w)
    return columns.squeeze(0) if single else columns


def pad(input, pad, mode="constant", value=None):
    """With more elements at the edges; ``pad`` gives the last dimension's two edges first."""
    return _esker.pad(input, tuple(pad), mode, 0.0 if value is None else value)


def dropout(input, p=0.5, training=True, inplace=False):
    """In training, zeroes elements with probability ``p`` and scales the rest."""
    return _esker.dropout(input, p, training)


def _dropout_channels(n):
    def function(input, p=0.5, training=True, inplace=False):
        # One draw for each channel, broadcast over it.
        if not training or p == 0:
            return input
        lead = input.ndim - n
        if lead not in (1, 2):
            raise ValueError(f"dropout{n}d takes a {n + 1}-d or {n + 2}-d input, got {list(input.shape)}")
        ones = _esker.ones((*input.shape[:lead], *(1,) * n), dtype=input.dtype)
        return input * _esker.dropout(ones, p, True)

    function.__name__, function.__doc__ = f"dropout{n}d", "Zeroes whole channels."
    return function


dropout1d, dropout2d, dropout3d = _dropout_channels(1), _dropout_channels(2), _dropout_channels(3)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout that keeps mean and variance of self-normalising nets (Klambauer et al., 2017)."""
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0
    low = -1.7580993408473766
    keep = _esker.rand_like(input.detach()) >= p
    a = ((1 - p) * (1 + p * low**2)) ** -0.5
    return _esker.where_cond(keep, input, low) * a - a * p * low


def batch_norm(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Each channel to mean 0 and variance 1; in training by the batch's own, which move the running ones."""
    if not training or running_mean is None:
        return _esker.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    from ..autograd.grad_mode import no_grad

    result, mean, variance = _esker._batch_norm_train(input, weight, bias, eps)
    count = input.numel() / max(1, input.shape[1])
    with no_grad():
        running_mean.mul_(1 - momentum).add_(mean.detach().to(running_mean.dtype) * momentum)
        unbiased = variance.detach().to(running_var.dtype) * (count / max(1.0, count - 1))
        running_var.mul_(1 - momentum).add_(unbiased * momentum)
    return result


def instance_norm(
    input, running_mean=None, running_var=None, weight=None, bias=None, use_input_stats=True, momentum=0.1, eps=1e-5
):
    """Each channel of each sample to mean 0 and variance 1."""
    if use_input_stats and running_mean is not None:
        from ..autograd.grad_mode import no_grad

        with no_grad():
            inner = tuple(range(2, input.ndim))
            running_mean.mul_(1 - momentum).add_(input.mean(inner).mean(0) * momentum)
            running_var.mul_(1 - momentum).add_(_esker.var(input, inner).mean(0) * momentum)
    return _esker.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def embedding(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
):
    """Rows of a table by index."""
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise ValueError("embedding has no max_norm, scale_grad_by_freq or sparse gradients")
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return _esker.embedding(input, weight, padding_idx)


def bilinear(input1, input2, weight, bias=None):
    """``x1^T weight x2 + bias``."""
    result = _esker.einsum("...i,oij,...j->...o", input1, weight, input2)
    return result if bias is None else result + bias


def softplus(input, beta=1.0, threshold=20.0):
    """``log(1 + e^(beta x)) / beta``."""
    return _esker.softplus(input, beta, threshold)


def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The norm of differences along the last dimension."""
    return _esker.norm(x1 - x2 + eps, p, -1, keepdim)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A sample of a distribution over classes that has a gradient; ``hard`` gives one class, with the soft gradient."""
    noise = -(-_esker.rand_like(logits.detach()).clamp(1e-20).log()).log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    top = _esker.amax(soft, dim, True)
    one = (soft == top).to(soft.dtype)
    return one - soft.detach() + soft


def _reduced(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction != "none":
        raise ValueError(f'reduction is "none", "mean" or "sum", got {reduction!r}')
    return loss


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """``log(1 + e^(-target x))``."""
    return _reduced((-target * input).exp().log1p(), reduction)


def poisson_nll_loss(
    input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction="mean"
):
    """Minus the log-likelihood of a Poisson distribution."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * _math.pi * target).log()
        loss = loss + _functions.where(target > 1, stirling, _esker.zeros_like(target))
    return _reduced(loss, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Minus the log-likelihood of a normal distribution."""
    if not isinstance(var, Tensor):
        var = _esker.full((), float(var), dtype=input.dtype)
    if var.ndim + 1 == input.ndim:
        var = var.unsqueeze(-1)
    if bool((var < 0).any()):
        raise ValueError("gaussian_nll_loss: a variance is negative")
    # The floor has no gradient.
    var = var + (_functions.clamp(var.detach(), eps) - var.detach())
    loss = 0.5 * (var.log() + (input - target).square() / var)
    return _reduced(loss + 0.5 * _math.log(2 * _math.pi) if full else loss, reduction)


def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """Distances of pairs that are alike (1) or not (-1)."""
    zero = _esker.zeros_like(input)
    apart = _functions.where(target != 1, (margin - input).relu(), zero)
    return _reduced(apart + _functions.where(target != -1, input, zero), reduction)


def margin_ranking_loss(input1, input2, target, margin=0.0, size_average=None, reduce=None, reduction="mean"):
    """Which of two should be larger: the first (1) or the second (-1)."""
    return _reduced((-target * (input1 - input2) + margin).relu(), reduction)


def cosine_embedding_loss(input1, input2, target, margin=0.0, size_average=None, reduce=None, reduction="mean"):
    """Angles between pairs that are alike (1) or not (-1)."""
    dot = (input1 * input2).sum(-1)
    # PyTorch's guard against vectors of length 0.
    lengths = ((input1.square().sum(-1) + 1e-12) * (input2.square().sum(-1) + 1e-12)).sqrt()
    cosine = dot / lengths
    zero = _esker.zeros_like(cosine)
    loss = _functions.where(target == 1, 1 - cosine, zero)
    return _reduced(loss + _functions.where(target == -1, (cosine - margin).relu(), zero), reduction)


def triplet_margin_loss(
    anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None, reduce=None, reduction="mean"
):
    """An anchor nearer to one than to another, by a margin."""
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = _esker.minimum(far, pairwise_distance(positive, negative, p, eps))
    return _reduced((near - far + margin).relu(), reduction)


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """Cross-entropy of several classes at once, their mean."""
    loss = -(target * _esker.logsigmoid(input) + (1 - target) * _esker.logsigmoid(-input))
    return _reduced((loss if weight is None else loss * weight).mean(-1), reduction)
