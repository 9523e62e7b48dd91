"""Losses as layers.

Most take ``reduction``: ``"mean"``, ``"sum"`` or ``"none"``; ``size_average`` and ``reduce`` are its forms of old.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.distance import PairwiseDistance
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.ops.loss_class import legacy_reduction
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "LinearCrossEntropyLoss",
    "LinearCrossEntropyOptions",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "NLLLoss2d",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class _Loss(Module):
    reduction: str

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        if size_average is not None or reduce is not None:
            self.reduction = legacy_reduction(size_average, reduce, reduction)
        else:
            self.reduction = reduction


class _WeightedLoss(_Loss):
    def __init__(
        self, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.weight: Tensor | None


class L1Loss(_Loss):
    """``|x - t|``.  Shape: x and t alike.

    Example:
        >>> import flambeau as torch
        >>> x, t = torch.tensor([1., 2.]), torch.tensor([1., 6.])
        >>> torch.nn.L1Loss()(x, t), torch.nn.L1Loss(reduction="sum")(x, t)
        (tensor(2.), tensor(4.))
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    """``(x - t)²``.  Shape: x and t alike.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MSELoss()(torch.tensor([1., 2.]), torch.tensor([1., 4.]))
        tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class NLLLoss(_WeightedLoss):
    """Minus the input at the target's class; the input holds log probabilities.

    Shape: input (C), (N, C) or (N, C, d1, ..., dk), target as the input without C.

    Args:
        weight: a factor for each class, (C).
        ignore_index: a target of this value does not count.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]).log()
        >>> torch.nn.NLLLoss(reduction="none")(x, torch.tensor([0, 1]))
        tensor([0.6931, 2.0794])
        >>> torch.nn.NLLLoss()(x, torch.tensor([0, -100]))
        tensor(0.6931)
    """

    ignore_index: int

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class NLLLoss2d(NLLLoss):
    """The name that :class:`NLLLoss` had for images.  Deprecated.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     loss = torch.nn.NLLLoss2d()
        >>> loss(torch.full((1, 3, 2, 2), -2.0), torch.zeros(1, 2, 2, dtype=torch.int64))
        tensor(2.)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> NLLLoss2d:
        # Here and not when it is initialized, so that copies warn as PyTorch's do.
        if cls is NLLLoss2d:
            warn(
                "`NLLLoss2d` has been deprecated. Please use `NLLLoss` instead as a drop-in replacement and see "
                "https://pytorch.org/docs/main/nn.html#torch.nn.NLLLoss for more details.",
                FutureWarning,
            )
        return super().__new__(cls)


class PoissonNLLLoss(_Loss):
    """``exp(x) - t x``, or ``x - t log(x + eps)`` unless ``log_input``.  Shape: x and t alike.

    Args:
        full: add Stirling's approximation of log t!.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.PoissonNLLLoss()(torch.tensor([0., 0.]), torch.tensor([1., 3.]))
        tensor(1.)
        >>> torch.nn.PoissonNLLLoss(log_input=False)(torch.tensor([1., 2.]), torch.tensor([1., 0.]))
        tensor(1.5000)
    """

    log_input: bool
    full: bool
    eps: float

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: Any = None,
        eps: float = 1e-8,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(
            log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(_Loss):
    """``(log var + (x - t)² / var) / 2``; the variance is at least ``eps``.

    Shape: x and t alike; var likewise, or with 1 for the last dimension, or without it.

    Args:
        full: add log(2π) / 2.

    Example:
        >>> import flambeau as torch
        >>> x, t, var = torch.tensor([0., 0.]), torch.tensor([2., 0.]), torch.tensor([1., 1.])
        >>> torch.nn.GaussianNLLLoss(reduction="none")(x, t, var)
        tensor([2., 0.])
    """

    full: bool
    eps: float

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(None, None, reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class KLDivLoss(_Loss):
    """``t (log t - x)`` for logarithms x of probabilities.  Shape: x and t alike.

    Args:
        reduction: also ``"batchmean"``, the sum over the batch size: the divergence itself.
        log_target: whether t holds logarithms, too.

    Example:
        >>> import flambeau as torch
        >>> t = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        >>> x = torch.tensor([[0.5, 0.5], [0.5, 0.5]]).log()
        >>> torch.nn.KLDivLoss(reduction="batchmean")(x, t)
        tensor(0.3466)
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class BCELoss(_WeightedLoss):
    """``-t log x - (1 - t) log(1 - x)`` for probabilities x; logarithms are cut off at -100.

    Shape: x and t alike; ``weight`` is broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.BCELoss(reduction="none")(torch.tensor([0.5, 0.9, 0.0]), torch.tensor([1., 1., 1.]))
        tensor([  0.6931,   0.1054, 100.0000])
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """``-t log σ(x) - (1 - t) log(1 - σ(x))`` for logits x.  Shape: x and t alike.

    Args:
        weight: a factor for each element.
        pos_weight: a factor for the first term, broadcast.

    Example:
        >>> import flambeau as torch
        >>> x, t = torch.tensor([0., 0.]), torch.tensor([1., 0.])
        >>> torch.nn.BCEWithLogitsLoss(reduction="none")(x, t)
        tensor([0.6931, 0.6931])
        >>> torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.), reduction="none")(x, t)
        tensor([2.0794, 0.6931])
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.weight: Tensor | None
        self.pos_weight: Tensor | None

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )


class HingeEmbeddingLoss(_Loss):
    """x where the target is 1, ``max(0, margin - x)`` where it is -1.  Shape: x and target alike.

    Example:
        >>> import flambeau as torch
        >>> x, t = torch.tensor([0.25, 0.25, 2.]), torch.tensor([1., -1., -1.])
        >>> torch.nn.HingeEmbeddingLoss(reduction="none")(x, t)
        tensor([0.2500, 0.7500, 0.0000])
    """

    margin: float

    def __init__(
        self, margin: float = 1.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """``Σ max(0, 1 - (x_j - x_i)) / C`` over targets j and other classes i.

    Shape: input (N, C) or (C); target likewise, its class indices ending with -1.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[0.5, 0.25, 1.0, 0.0]])
        >>> torch.nn.MultiLabelMarginLoss()(x, torch.tensor([[2, 0, -1, 0]]))
        tensor(0.3750)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """``d² / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, for ``d = x - t``.  Shape: x and t alike.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.SmoothL1Loss(reduction="none", beta=2.0)(torch.tensor([1., 4.]), torch.zeros(2))
        tensor([0.2500, 3.0000])
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    """``d² / 2`` where ``|d| < delta``, else ``delta (|d| - delta / 2)``, for ``d = x - t``.  Shape: alike.

    Raises:
        TypeError: if ``delta`` is no number.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.HuberLoss(reduction="none", delta=2.0)(torch.tensor([1., 4.]), torch.zeros(2))
        tensor([0.5000, 6.0000])
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        if not isinstance(delta, float | int):
            raise TypeError(f"delta must be a float or int, got: {type(delta)}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class SoftMarginLoss(_Loss):
    """``log(1 + exp(-t x))`` for targets 1 and -1.  Shape: x and t alike.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.SoftMarginLoss(reduction="none")(torch.tensor([0., 2., 2.]), torch.tensor([1., 1., -1.]))
        tensor([0.6931, 0.1269, 2.1269])
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(_WeightedLoss):
    """``-log softmax(x)`` at the target's class.

    Shape: x (C), (N, C) or (N, C, d1, ..., dk); target class indices, as x without C, or probabilities, as x.

    Args:
        weight: a factor for each class, (C).
        ignore_index: a target of this value does not count.
        label_smoothing: how much of the target is spread evenly over the classes.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.CrossEntropyLoss()(torch.zeros(1, 4), torch.tensor([2]))
        tensor(1.3863)
    """

    ignore_index: int
    label_smoothing: float

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


_POLICIES = ("auto", "accurate", "balanced", "compact")


@dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How the logits of :class:`LinearCrossEntropyLoss` might be split into chunks.

    The options are checked and kept; how the work is split is the engine's business, and results do not depend on it.

    Raises:
        ValueError: for a value that PyTorch does not know.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LinearCrossEntropyOptions(batch_chunk_size=128).batch_chunk_size
        128
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None

    def __post_init__(self) -> None:
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, factor = self.chunking_method.partition(":")
            factor = factor if colon else "1"
            if name != "aspect_ratio" or not factor.isdigit() or int(factor) < 1:
                raise ValueError(f"invalid chunking_method: {self.chunking_method!r}")
        size = self.batch_chunk_size
        if size is not None and not (isinstance(size, int) and size > 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size!r}")


class LinearCrossEntropyLoss(_WeightedLoss):
    """A linear layer and the cross entropy of its logits.

    Shape: input (in_features) or (N, in_features); target class indices () or (N, *out_features), or
    probabilities (C) or (N, C, *out_features).

    Args:
        in_features: size of the input.
        num_classes: C.
        out_features: sizes of further dimensions of the loss.
        bias: whether the layer has a bias.
        weight, ignore_index, label_smoothing: as of :class:`CrossEntropyLoss`.
        options: see :class:`LinearCrossEntropyOptions`.

    Raises:
        RuntimeError: if ``weight`` is not (C), or ``label_smoothing`` not in [0, 1].

    Example:
        >>> import flambeau as torch
        >>> loss = torch.nn.LinearCrossEntropyLoss(8, 4)
        >>> loss.linear.weight.shape
        torch.Size([4, 8])
        >>> loss(torch.zeros(2, 8), torch.tensor([3, 1])).detach()
        tensor(1.3863)
    """

    num_classes: int
    out_features: tuple[int, ...]
    ignore_index: int | None
    label_smoothing: float

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ) -> None:
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1.0:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight, None, None, reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        rows = num_classes * math.prod(out_features)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        sizes = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input,
            self.linear.weight.reshape((*sizes, self.linear.in_features)),
            target,
            linear_bias=None if bias is None else bias.reshape(sizes),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """``-t log σ(x) - (1 - t) log σ(-x)``, averaged over the classes.

    Shape: x and t (N, C) or (C), the loss (N) or ().

    Example:
        >>> import flambeau as torch
        >>> x, t = torch.tensor([[0., 0., 2.]]), torch.tensor([[1., 0., 1.]])
        >>> torch.nn.MultiLabelSoftMarginLoss()(x, t)
        tensor(0.5044)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """``1 - cos(x1, x2)`` where the target is 1, ``max(0, cos(x1, x2) - margin)`` where it is -1.

    Shape: x1 and x2 (N, D) or (D), target (N) or ().

    Example:
        >>> import flambeau as torch
        >>> x1, x2 = torch.tensor([[1., 0.], [1., 0.]]), torch.tensor([[0., 2.], [3., 4.]])
        >>> torch.nn.CosineEmbeddingLoss(margin=0.5, reduction="none")(x1, x2, torch.tensor([1, -1]))
        tensor([1.0000, 0.1000])
    """

    margin: float

    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MarginRankingLoss(_Loss):
    """``max(0, -t (x1 - x2) + margin)``; t is 1 if x1 should rank higher, else -1.  Shape: alike.

    Example:
        >>> import flambeau as torch
        >>> x1, x2 = torch.tensor([1., 1.]), torch.tensor([3., 3.])
        >>> torch.nn.MarginRankingLoss(margin=0.5, reduction="none")(x1, x2, torch.tensor([1., -1.]))
        tensor([2.5000, 0.0000])
    """

    margin: float

    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """``Σ_{i≠t} max(0, margin - x_t + x_i)ᵖ / C``.  Shape: input (N, C) or (C), target (N) or ().

    Raises:
        ValueError: for a p other than 1 and 2, or a ``weight`` that is not (C).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MultiMarginLoss()(torch.tensor([[0.5, 1.0, -2.0]]), torch.tensor([1]))
        tensor(0.1667)
    """

    margin: float
    p: int

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ValueError("only p == 1 and p == 2 supported")
        if weight is not None and weight.ndim != 1:
            raise ValueError(f"weight must be a 1D tensor or None, but got {weight.ndim}D")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class TripletMarginLoss(_Loss):
    """``max(0, ‖a - p‖ - ‖a - n‖ + margin)``.  Shape: (N, D) or (D) each.

    Args:
        p: which norm.
        eps: added to the differences.
        swap: take ‖p - n‖ in place of ‖a - n‖ where it is less.

    Raises:
        ValueError: unless ``margin`` is positive.

    Example:
        >>> import flambeau as torch
        >>> a, p, n = torch.tensor([[0., 0.]]), torch.tensor([[3., 4.]]), torch.tensor([[0., 5.5]])
        >>> torch.nn.TripletMarginLoss()(a, p, n)
        tensor(0.5000)
    """

    margin: float
    p: float
    eps: float
    swap: bool

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ValueError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(_Loss):
    """``max(0, d(a, p) - d(a, n) + margin)`` with a distance of one's own (Euclidean if None).

    Raises:
        ValueError: unless ``margin`` is positive.

    Example:
        >>> import flambeau as torch
        >>> a, p, n = torch.tensor([[0., 0.]]), torch.tensor([[3., 4.]]), torch.tensor([[0., 5.]])
        >>> loss = torch.nn.TripletMarginWithDistanceLoss(distance_function=lambda x, y: (x - y).abs().sum(-1))
        >>> loss(a, p, n)
        tensor(3.)
    """

    margin: float
    swap: bool

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(None, None, reduction)
        if margin <= 0:
            raise ValueError(
                f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead"
            )
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class CTCLoss(_Loss):
    """Connectionist temporal classification, see :func:`flambeau.nn.functional.ctc_loss`.

    Shape: log_probs (T, N, C) or (T, C); targets (N, S), or all in one line; lengths (N) or ().

    Args:
        blank: the index of the blank.
        zero_infinity: count losses that are infinite as zero.

    Example:
        >>> import flambeau as torch
        >>> log_probs = torch.full((3, 1, 2), 0.5).log()
        >>> loss = torch.nn.CTCLoss()(log_probs, torch.tensor([[1]]), torch.tensor([3]), torch.tensor([1]))
        >>> (-loss).exp()  # 6 of the 8 paths of three frames read "1"
        tensor(0.7500)
    """

    blank: int
    zero_infinity: bool

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return F.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )
