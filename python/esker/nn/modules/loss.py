"""Losses."""

from .. import functional as F
from ..parameter import Parameter  # noqa: F401
from .module import Module


def _loss(name, row, doc, **options):
    """A loss of ``(input, target)`` with options and a reduction."""

    class Loss(Module):
        def __init__(self, size_average=None, reduce=None, reduction="mean", **given):
            super().__init__()
            unknown = set(given) - set(options)
            if unknown:
                raise TypeError(f"{name}: there is no argument {sorted(unknown)[0]}")
            if reduction not in ("none", "mean", "sum"):
                raise ValueError(f'{name}: reduction is "none", "mean" or "sum", got {reduction!r}')
            if size_average is not None or reduce is not None:
                raise ValueError(f"{name}: size_average and reduce are PyTorch's old words; give a reduction")
            self.reduction = reduction
            for key, value in {**options, **given}.items():
                setattr(self, key, value)

        def forward(self, *tensors):
            chosen = {key: getattr(self, key) for key in options}
            return getattr(F, row)(*tensors, reduction=self.reduction, **chosen)

    Loss.__name__ = Loss.__qualname__ = name
    Loss.__doc__ = doc
    return Loss


MSELoss = _loss("MSELoss", "mse_loss", "Squared differences.")
L1Loss = _loss("L1Loss", "l1_loss", "Absolute differences.")
SmoothL1Loss = _loss("SmoothL1Loss", "smooth_l1_loss", "Squared near 0, absolute beyond.", beta=1.0)
PoissonNLLLoss = _loss(
    "PoissonNLLLoss", "poisson_nll_loss", "Of a Poisson distribution.", log_input=True, full=False, eps=1e-8
)
KLDivLoss = _loss("KLDivLoss", "kl_div", "Kullback and Leibler's divergence.", log_target=False)
SoftMarginLoss = _loss("SoftMarginLoss", "soft_margin_loss", "`log(1 + e^(-target x))`.")
GaussianNLLLoss = _loss("GaussianNLLLoss", "gaussian_nll_loss", "Of a normal distribution.", full=False, eps=1e-6)
CosineEmbeddingLoss = _loss(
    "CosineEmbeddingLoss", "cosine_embedding_loss", "Angles between pairs that are alike or not.", margin=0.0
)
MarginRankingLoss = _loss("MarginRankingLoss", "margin_ranking_loss", "Which of two should be larger.", margin=0.0)
HingeEmbeddingLoss = _loss("HingeEmbeddingLoss", "hinge_embedding_loss", "Distances of pairs.", margin=1.0)
TripletMarginLoss = _loss(
    "TripletMarginLoss", "triplet_margin_loss", "An anchor nearer to one than to another.", margin=1.0, p=2.0, eps=1e-6, swap=False
)
MultiLabelMarginLoss = _loss("MultiLabelMarginLoss", "multilabel_margin_loss", "Margins of several classes.")


class HuberLoss(_loss("HuberLoss", "huber_loss", "Squared near 0, linear beyond.", delta=1.0)):
    """Squared below ``delta``, linear above."""

    def __init__(self, reduction="mean", delta=1.0):
        super().__init__(reduction=reduction, delta=delta)


class _Weighted(Module):
    """A loss with weights, which are buffers."""

    _row = ""
    _options: dict = {}

    def __init__(self, weight=None, size_average=None, reduce=None, reduction="mean", **options):
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction = reduction
        unknown = set(options) - set(self._options)
        if unknown:
            raise TypeError(f"{type(self).__name__}: there is no argument {sorted(unknown)[0]}")
        for key, value in {**self._options, **options}.items():
            if key == "pos_weight":
                self.register_buffer(key, value)
            else:
                setattr(self, key, value)

    def forward(self, input, target):
        chosen = {key: getattr(self, key) for key in self._options}
        return getattr(F, self._row)(input, target, weight=self.weight, reduction=self.reduction, **chosen)


class CrossEntropyLoss(_Weighted):
    """Cross-entropy of logits with classes, or with probabilities of classes."""

    _row, _options = "cross_entropy", {"ignore_index": -100, "label_smoothing": 0.0}

    def __init__(self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean", label_smoothing=0.0):
        super().__init__(weight, reduction=reduction, ignore_index=ignore_index, label_smoothing=label_smoothing)


class NLLLoss(_Weighted):
    """Minus the log-probability of each class."""

    _row, _options = "nll_loss", {"ignore_index": -100}

    def __init__(self, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
        super().__init__(weight, reduction=reduction, ignore_index=ignore_index)


class BCELoss(_Weighted):
    """Cross-entropy of probabilities."""

    _row = "binary_cross_entropy"


class BCEWithLogitsLoss(_Weighted):
    """Cross-entropy of ``sigmoid(x)``."""

    _row, _options = "binary_cross_entropy_with_logits", {"pos_weight": None}


class MultiLabelSoftMarginLoss(_Weighted):
    """Cross-entropy of several classes at once."""

    _row = "multilabel_soft_margin_loss"


class CosineSimilarity(Module):
    """The cosine of the angle between vectors."""

    def __init__(self, dim=1, eps=1e-8):
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1, x2):
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The norm of differences along the last dimension."""

    def __init__(self, p=2.0, eps=1e-6, keepdim=False):
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1, x2):
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
