"""Losses with a margin: on pairs, triplets and the scores of classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau import dtypes
from flambeau.ops.activation import LOG_SIGMOID, RELU
from flambeau.ops.create import arange
from flambeau.ops.distance import pairwise_distance
from flambeau.ops.loss_class import checked_reduction, legacy_reduction, reduced
from flambeau.ops.operator import public
from flambeau.tensor.tensor import Tensor


def _reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce, reduction)
    return checked_reduction(reduction)


@public(into="nn.functional")
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, ``max(0, margin - x)`` where it is -1; reduced.

    Shape: input and target are broadcast; the result has one element, or that shape if ``reduction="none"``.

    Example:
        >>> import flambeau as torch
        >>> distance, target = torch.tensor([0.5, 0.25, 2.]), torch.tensor([1., -1., -1.])
        >>> torch.nn.functional.hinge_embedding_loss(distance, target, reduction="none")
        tensor([0.5000, 0.7500, 0.0000])
    """
    reduction = _reduction(size_average, reduce, reduction)
    apart = RELU(margin - input) * (target != 1)
    return reduced(apart + input * (target != -1), reduction)


@public(into="nn.functional")
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, -target (x1 - x2) + margin)``, reduced; the target is 1 if x1 should rank higher, else -1.

    Shape: all three are broadcast; the result has one element, or that shape if ``reduction="none"``.

    Raises:
        RuntimeError: if the numbers of dimensions differ.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor([1., 1.]), torch.tensor([3., 0.])
        >>> torch.nn.functional.margin_ranking_loss(x, y, torch.tensor([1., 1.]), margin=0.5, reduction="none")
        tensor([2.5000, 0.0000])
    """
    reduction = _reduction(size_average, reduce, reduction)
    if input1.ndim != input2.ndim or input1.ndim != target.ndim:
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.shape}, input2: {input2.shape}, target: {target.shape} "
        )
    return margin_ranking(input1, input2, target, margin, reduction)


def margin_ranking(input1: Tensor, input2: Tensor, target: Tensor, margin: float, reduction: str) -> Tensor:
    """``max(0, -target (x1 - x2) + margin)`` of anything that broadcasts, reduced."""
    return reduced(RELU((input1 - input2) * -target + margin), reduction)


@public(into="nn.functional")
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos(x1, x2)`` where the target is 1, ``max(0, cos(x1, x2) - margin)`` where it is -1; reduced.

    Shape: inputs (N, D) and target (N), or (D) and ().

    Raises:
        RuntimeError: if the target is neither a number nor a vector, or the inputs do not fit it.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor([[1., 0.], [1., 0.]]), torch.tensor([[1., 0.], [0., 1.]])
        >>> torch.nn.functional.cosine_embedding_loss(x, y, torch.tensor([1., 1.]), reduction="none")
        tensor([0., 1.])
    """
    reduction = _reduction(size_average, reduce, reduction)
    if target.ndim not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if target.ndim + 1 != input1.ndim or input1.ndim != input2.ndim:
        kind = "1D" if target.ndim == 1 else "0D"
        wanted = "2D" if target.ndim == 1 else "1D"
        raise RuntimeError(
            f"{kind} target tensor expects {wanted} input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    # A little is added to the squares, lest a vector of zeros divides by zero.
    squares = ((input1 * input1).sum(-1) + 1e-12) * ((input2 * input2).sum(-1) + 1e-12)
    cosine = (input1 * input2).sum(-1) / squares.sqrt()
    loss = (1 - cosine) * (target == 1) + RELU(cosine - margin) * (target == -1)
    return reduced(loss, reduction)


def _triplet(
    distance: Callable[[Tensor, Tensor], Tensor],
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    near = distance(anchor, positive)
    far = distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced(RELU(near - far + margin), reduction)


def _check_dims(anchor: Tensor, positive: Tensor, negative: Tensor) -> None:
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )


@public(into="nn.functional")
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(0, d(a, p) - d(a, n) + margin)`` with the distance ``‖x - y + eps‖ₚ``; reduced.

    Args:
        swap: take d(p, n) in place of d(a, n) where it is less.

    Balntas, Riba, Ponsa and Mikolajczyk, Learning Local Feature Descriptors with Triplets, BMVC 2016.

    Raises:
        ValueError: if ``margin`` is not positive.

    Example:
        >>> import flambeau as torch
        >>> anchor, near, far = torch.tensor([[0., 0.]]), torch.tensor([[3., 4.]]), torch.tensor([[0., 5.5]])
        >>> torch.nn.functional.triplet_margin_loss(anchor, near, far)
        tensor(0.5000)
    """
    reduction = _reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return triplet_margin(anchor, positive, negative, margin, p, eps, swap, reduction)


def triplet_margin(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float, p: float, eps: float, swap: bool, reduction: str
) -> Tensor:
    """``triplet_margin_loss`` with any margin."""
    _check_dims(anchor, positive, negative)
    return _triplet(lambda x, y: pairwise_distance(x, y, p, eps), anchor, positive, negative, margin, swap, reduction)


@public(into="nn.functional")
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``triplet_margin_loss`` with a distance of one's own (Euclidean if None).

    Raises:
        ValueError: for any other ``reduction``, or if ``margin`` is not positive.

    Example:
        >>> import flambeau as torch
        >>> anchor, near, far = torch.tensor([[0., 0.]]), torch.tensor([[3., 4.]]), torch.tensor([[0., 5.5]])
        >>> loss = torch.nn.functional.triplet_margin_with_distance_loss
        >>> loss(anchor, near, far, distance_function=lambda x, y: (x - y).abs().amax(-1), margin=2.)
        tensor(0.5000)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_dims(anchor, positive, negative)
    return _triplet(distance_function or pairwise_distance, anchor, positive, negative, margin, swap, reduction)


def _check_classes(target: Tensor, classes: int) -> None:
    value = target._node.value
    if type(value) is np.ndarray and value.size and (value.min() < 0 or value.max() >= classes):
        raise RuntimeError(f"target out of range (multi_margin_loss: classes are 0 to {classes - 1})")


@public(into="nn.functional")
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``Σ_{i≠t} max(0, margin - x_t + x_i)ᵖ / C`` for each example, reduced.

    Args:
        input: scores (N, C) or (C).
        target: class indices (N) or ().
        weight: a factor for each class, (C).

    Raises:
        ValueError: for a ``p`` other than 1 and 2, or a weight that is no vector.
        RuntimeError: if the shapes do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.multi_margin_loss(torch.tensor([[0.5, 0., 2.]]), torch.tensor([0]))
        tensor(1.)
    """
    reduction = _reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    have = list(input.shape)
    classes = have[-1] if have else 1
    if len(have) > 2 or not classes:
        raise RuntimeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {have}")
    if input.dtype.category != dtypes.FLOATING:
        raise NotImplementedError(f"\"multi_margin_loss\" not implemented for '{input.dtype.title}'")
    examples = have[0] if input.ndim == 2 else 1
    if target._node.aval.size != examples or target.ndim > 1:
        raise RuntimeError(
            "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch "
            f"size). Expected target size [{examples}], but got {list(target.shape)}. Input has shape {have}."
        )
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype.title}")
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(f"inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    _check_classes(target, classes)
    rows = input.reshape(examples, classes)
    index = target.reshape(examples, 1)
    short = RELU(rows - rows.gather(1, index) + margin)
    if p == 2:
        short = short * short
    if weight is not None:
        short = short * weight[index]
    loss = (short * (arange(classes, device=index.device) != index)).sum(1) / classes
    if reduction == "none":
        return loss.reshape(tuple(target.shape))
    return reduced(loss, reduction)


@public(into="nn.functional")
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``Σ max(0, 1 - (x_j - x_i)) / C`` over targets j and other classes i, reduced.

    Args:
        input: scores (N, C) or (C).
        target: class indices shaped as the input; in each row those before the first -1 count.

    Raises:
        RuntimeError: if the shapes do not fit, or the target is not of int64.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.multilabel_margin_loss(torch.tensor([[0.5, 0., 0.8]]), torch.tensor([[2, -1, 0]]))
        tensor(0.3000)
    """
    reduction = _reduction(size_average, reduce, reduction)
    have = tuple(input.shape)
    if input.ndim > 2 or (input.ndim and not have[-1]):
        raise RuntimeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(have)}")
    if tuple(target.shape) != have:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(have)}")
    if target.dtype is not dtypes.int64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype.title}")
    classes = have[-1] if have else 1
    rows = input.reshape(-1, classes)
    given = target.reshape(-1, classes)
    counts = (given >= 0).long().cumprod(1)
    index = given * counts
    # Row n, place k, class i: whether the k-th target of the row is class i.
    marks = (index.unsqueeze(2) == arange(classes, device=index.device)) & (counts == 1).unsqueeze(2)
    others = ~marks.any(1)
    short = RELU(1 - rows.gather(1, index).unsqueeze(2) + rows.unsqueeze(1))
    loss = (short * counts.unsqueeze(2) * others.unsqueeze(1)).sum((1, 2)) / classes
    if reduction == "none":
        return loss.reshape(have[:-1])
    return reduced(loss, reduction)


@public(into="nn.functional")
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-t log σ(x) - (1 - t) log σ(-x)``, averaged over the classes (the last dimension), then reduced.

    Shape: input and target are broadcast to (N, C) or (C); the result has one element, or (N) if ``reduction="none"``.

    Raises:
        ValueError: for any other ``reduction``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.multilabel_soft_margin_loss(torch.tensor([[0., 0.]]), torch.tensor([[1., 0.]]))
        tensor(0.6931)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    loss = -(target * LOG_SIGMOID(input, ()) + (1 - target) * LOG_SIGMOID(-input, ()))
    if weight is not None:
        loss = loss * weight
    return reduced(loss.sum(input.ndim - 1) / input.shape[-1], reduction)
