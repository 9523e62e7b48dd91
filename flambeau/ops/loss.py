"""Losses on elements: squared and absolute error, binary cross entropy, divergences, likelihoods."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops import loss_class, loss_ctc, loss_margin  # noqa: F401  (registers their operators)
from flambeau.ops.activation import LOG_SIGMOID, activation
from flambeau.ops.activation_kernels import sigmoid_kernel
from flambeau.ops.loss_class import checked_reduction, legacy_reduction, reduced
from flambeau.ops.matmul import LINEAR
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.pointwise import broadcast_rule, broadcast_shapes
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- what the family shares


def reduction_of(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The reduction that is asked for, be it in the arguments of old."""
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce, reduction)
    return checked_reduction(reduction)


def warn_of_sizes(input: Tensor, target: Tensor) -> None:
    """Warns where a target is broadcast, which is hardly ever meant."""
    if input._node.aval.shape != target._node.aval.shape:
        warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        )


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Losses of elements, weighed; their mean is over the weights."""
    if weight is None:
        return reduced(loss, reduction)
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return reduced(loss, reduction)


def _check_weight(name: str, input: Tensor, weight: Tensor | None) -> None:
    if weight is not None and weight._node.aval.shape != input._node.aval.shape:
        raise ValueError("Weights and input must have the same size.")


# ---------------------------------------------------------------- squared error


def _mse_rule(x: Aval, y: Aval, *, reduction: str) -> Aval:
    if x.dtype.category != dtypes.FLOATING and x.dtype.category != dtypes.COMPLEX:
        raise NotImplementedError(
            f"\"mse_cpu\" not implemented for '{x.dtype.title}' (convert the tensors with .float())"
        )
    shape = broadcast_shapes(x.shape, y.shape)
    return x.of(shape if reduction == "none" else ())


def _mse_kernel(xp: Any, x: Any, y: Any, *, reduction: str) -> Any:
    error = x - y
    error *= error
    if reduction == "none":
        return error
    return (xp.sum if reduction == "sum" else xp.mean)(error, dtype=x.dtype)


def _mse_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...], reduction: str) -> Any:
    found = MSE_BACKWARD(grad, x, y, reduction)
    return found if needs[0] else None, -found if needs[1] else None


MSE = operator(
    "mse_loss",
    _mse_rule,
    _mse_kernel,
    _mse_derivative,
    promote="common",
    samples=lambda: [
        case("nn.functional.mse_loss", T(3, 4), T(3, 4)),
        case("nn.functional.mse_loss", T(3, 4), T(3, 4), reduction="sum"),
        case("nn.functional.mse_loss", T(3, 4), T(4), reduction="none"),
        case("nn.functional.mse_loss", T(3, 4), T(3, 1)),
    ],
)


def _mse_backward_rule(g: Aval, x: Aval, y: Aval, *, reduction: str) -> Aval:
    return x.of(broadcast_shapes(x.shape, y.shape))


def _mse_backward_kernel(xp: Any, g: Any, x: Any, y: Any, *, reduction: str) -> Any:
    error = x - y
    scale = 2.0 / max(error.size, 1) if reduction == "mean" else 2.0
    return error * (g * scale)


def _mse_backward_derivative(
    grad: Tensor, g: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...], reduction: str
) -> Any:
    scale = 2.0 / max(grad._node.aval.size, 1) if reduction == "mean" else 2.0
    along = grad * scale
    from_x = along * g if needs[1] or needs[2] else None
    return (
        along * (x - y) if needs[0] else None,
        from_x if needs[1] else None,
        -from_x if needs[2] and from_x is not None else None,
    )


MSE_BACKWARD = operator(
    "mse_loss_backward",
    _mse_backward_rule,
    _mse_backward_kernel,
    _mse_backward_derivative,
    samples=lambda: [case("nn.functional.mse_loss", T(3, 4), T(3, 4))],
)


@public(into="nn.functional")
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``(input - target)²``, averaged, summed (``reduction="sum"``) or for each element (``"none"``).

    Shape: input and target are broadcast, with a warning if they differ; the result has one element, or the common
    shape if ``reduction="none"``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.mse_loss(torch.tensor([1., 2.]), torch.tensor([2., 5.]))
        tensor(5.)
        >>> torch.nn.functional.mse_loss(torch.tensor([1., 2.]), torch.tensor([2., 5.]), reduction="none")
        tensor([1., 9.])
    """
    reduction = reduction_of(size_average, reduce, reduction)
    warn_of_sizes(input, target)
    if weight is None:
        return MSE(input, target, reduction)
    _check_weight("mse_loss", input, weight)
    return _weighted(MSE(input, target, "none"), weight, reduction)


# ---------------------------------------------------------------- absolute error and its smooth forms


@public(into="nn.functional")
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """``|input - target|``, reduced.

    Shape: input and target are broadcast, with a warning if they differ; the result has one element, or the common
    shape if ``reduction="none"``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.l1_loss(torch.tensor([1., 2.]), torch.tensor([2., 5.]), reduction="sum")
        tensor(4.)
    """
    reduction = reduction_of(size_average, reduce, reduction)
    warn_of_sizes(input, target)
    _check_weight("l1_loss", input, weight)
    return _weighted((input - target).abs(), weight, reduction)


SMOOTH_L1 = activation(
    "smooth_l1",
    lambda xp, d, beta: xp.where(xp.abs(d) < beta, 0.5 * d * d / beta, xp.abs(d) - 0.5 * beta),
    lambda xp, d, beta: xp.clip(d / beta, -1, 1),
    lambda d, beta: (d.abs() < beta) * (1.0 / beta),
    samples=lambda: [
        case("nn.functional.smooth_l1_loss", T(3, 4), T(3, 4)),
        case("nn.functional.smooth_l1_loss", T(3, 4), T(3, 4), beta=0.5, reduction="sum"),
    ],
)

HUBER = activation(
    "huber",
    lambda xp, d, delta: xp.where(xp.abs(d) < delta, 0.5 * d * d, delta * (xp.abs(d) - 0.5 * delta)),
    lambda xp, d, delta: xp.clip(d, -delta, delta),
    lambda d, delta: (d.abs() < delta) * 1.0,
    samples=lambda: [
        case("nn.functional.huber_loss", T(3, 4), T(3, 4)),
        case("nn.functional.huber_loss", T(3, 4), T(3, 4), delta=0.5, reduction="sum"),
    ],
)


@public(into="nn.functional")
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """``d² / (2 beta)`` where ``|d| < beta``, else ``|d| - beta / 2``, for ``d = input - target``; reduced.

    Girshick, Fast R-CNN, ICCV 2015.

    Shape: as of :func:`mse_loss`.

    Raises:
        RuntimeError: if ``beta`` is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.smooth_l1_loss(torch.tensor([1., 4.]), torch.zeros(2), reduction="none", beta=2.)
        tensor([0.2500, 3.0000])
    """
    reduction = reduction_of(size_average, reduce, reduction)
    warn_of_sizes(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    error = input - target
    loss = reduced(error.abs() if beta == 0 else SMOOTH_L1(error, (float(beta),)), reduction)
    return labelled(loss, "SmoothL1LossBackward0")


def _of_type(loss: Tensor, dtype: dtypes.dtype) -> Tensor:
    """A loss of several types in the one that PyTorch writes it to."""
    if loss.dtype.category > dtype.category:
        raise RuntimeError(f"result type {loss.dtype.title} can't be cast to the desired output type {dtype.title}")
    return loss if loss.dtype is dtype else loss.to(dtype)


@public(into="nn.functional")
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """``d² / 2`` where ``|d| < delta``, else ``delta (|d| - delta / 2)``, for ``d = input - target``; reduced.

    Shape: as of :func:`mse_loss`.

    Raises:
        RuntimeError: if ``delta`` is not positive.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.huber_loss(torch.tensor([1., 4.]), torch.zeros(2), reduction="none", delta=2.)
        tensor([0.5000, 6.0000])
    """
    reduction = checked_reduction(reduction)
    warn_of_sizes(input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _check_weight("huber_loss", input, weight)
    loss = _weighted(_of_type(HUBER(input - target, (float(delta),)), input.dtype), weight, reduction)
    return labelled(loss, "HuberLossBackward0") if weight is None else loss


@public(into="nn.functional")
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``log(1 + exp(-target · input))`` for targets 1 and -1; reduced.

    Shape: input and target are broadcast; the result has one element, or that shape if ``reduction="none"``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.soft_margin_loss(torch.tensor([0., 3.]), torch.tensor([1., -1.]), reduction="none")
        tensor([0.6931, 3.0486])
    """
    reduction = reduction_of(size_average, reduce, reduction)
    return reduced(_of_type(-LOG_SIGMOID(input * target, ()), input.dtype), reduction)


# ---------------------------------------------------------------- binary cross entropy


def _bce_logits_kernel(xp: Any, x: Any, y: Any) -> Any:
    return xp.maximum(x, xp.zeros((), x.dtype)) - x * y + xp.log1p(xp.exp(-xp.abs(x)))


def _bce_logits_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return BCE_LOGITS_BACKWARD(grad, x, y) if needs[0] else None, -grad * x if needs[1] else None


def _float_rule(x: Aval, y: Aval) -> Aval:
    if x.dtype.category != dtypes.FLOATING:
        raise NotImplementedError(f"\"binary_cross_entropy\" not implemented for '{x.dtype.title}'")
    return broadcast_rule(x, y)


BCE_LOGITS = operator(
    "binary_cross_entropy_with_logits",
    _float_rule,
    _bce_logits_kernel,
    _bce_logits_derivative,
    promote="common",
    samples=lambda: [
        case("nn.functional.binary_cross_entropy_with_logits", T(3, 4), T(3, 4, low=0.0, high=1.0)),
        case("nn.functional.binary_cross_entropy_with_logits", T(3), T(3, low=0.0, high=1.0), reduction="sum"),
        case("nn.functional.binary_cross_entropy_with_logits", T(3, 4, low=-90.0, high=90.0), T(3, 4), finite=False),
    ],
)


BCE_LOGITS_BACKWARD = operator(
    "binary_cross_entropy_with_logits_backward",
    lambda g, x, y: x.of(),
    lambda xp, g, x, y: g * (sigmoid_kernel(xp, x) - y),
    lambda grad, g, x, y, needs: (
        grad * (x.sigmoid() - y) if needs[0] else None,
        grad * g * x.sigmoid() * (1.0 - x.sigmoid()) if needs[1] else None,
        -grad * g if needs[2] else None,
    ),
    samples=lambda: [case("nn.functional.binary_cross_entropy_with_logits", T(3, 4), T(3, 4, low=0.0, high=1.0))],
)


def _column_hint(input: tuple[int, ...], target: tuple[int, ...]) -> str:
    if (*target, 1) == (*input,):
        return " (the target lacks the input's last dimension: give it one with .unsqueeze(-1))"
    if (*input, 1) == (*target,):
        return " (the input lacks the target's last dimension: drop that with .squeeze(-1))"
    return ""


def _check_target_type(input: dtypes.dtype, target: dtypes.dtype) -> None:
    if input.category < dtypes.FLOATING:
        raise NotImplementedError(
            f"\"log_sigmoid_cpu\" not implemented for '{input.title}' (logits are floating point)"
        )
    remedy = "(binary_cross_entropy_with_logits: convert the target with .float())"
    if target.category == dtypes.BOOL:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            f"operator instead. {remedy}"
        )
    if target.category < dtypes.FLOATING:
        raise RuntimeError(
            f"result type {input.title} can't be cast to the desired output type {target.title} {remedy}"
        )


@public(into="nn.functional")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """``-t log σ(x) - (1 - t) log(1 - σ(x))``, reduced, without overflow.

    Args:
        weight: a factor for each element.
        pos_weight: a factor for the first term, broadcast.

    Raises:
        ValueError: if target and input differ in shape.

    Example:
        >>> import flambeau as torch
        >>> logits, target = torch.tensor([0., 2.]), torch.tensor([1., 1.])
        >>> torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        tensor([0.6931, 0.1269])
        >>> torch.nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(3.))
        tensor(1.2301)
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target._node.aval.shape != input._node.aval.shape:
        raise ValueError(
            f"Target size ({target.shape}) must be the same as input size ({input.shape})"
            f"{_column_hint(input.shape, target.shape)}"
        )
    _check_target_type(input.dtype, target.dtype)
    if pos_weight is None:
        loss = BCE_LOGITS(input, target)
    else:
        factor = (pos_weight - 1) * target + 1
        loss = (1 - target) * input - factor * LOG_SIGMOID(input, ())
    if weight is not None:
        loss = loss * weight
    if target.is_floating_point():
        loss = _of_type(loss, target.dtype)
    return labelled(reduced(loss, reduction), "BinaryCrossEntropyWithLogitsBackward0")


LEAST_LOG = -100.0
"""Logarithms of probabilities are cut off here, so that a loss stays finite."""


def _check_probabilities(x: Any) -> None:
    if x.size and not (x.min() >= 0 and x.max() <= 1):
        raise RuntimeError(
            "all elements of input should be between 0 and 1 (binary_cross_entropy takes probabilities; for logits "
            "there is binary_cross_entropy_with_logits)"
        )


def _bce_kernel(xp: Any, x: Any, y: Any) -> Any:
    if xp is np:
        _check_probabilities(x)
    least = xp.full((), LEAST_LOG, x.dtype)
    return (y - 1) * xp.maximum(xp.log1p(-x), least) - y * xp.maximum(xp.log(x), least)


def _bce_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    from_x = grad * (x - y) / (x * (1 - x)).clamp(min=1e-12) if needs[0] else None
    from_y = grad * ((1 - x).log().clamp(min=LEAST_LOG) - x.log().clamp(min=LEAST_LOG)) if needs[1] else None
    return from_x, from_y


BCE = operator(
    "binary_cross_entropy",
    _float_rule,
    _bce_kernel,
    _bce_derivative,
    samples=lambda: [
        case("nn.functional.binary_cross_entropy", T(3, 4, low=0.1, high=0.9), T(3, 4, low=0.1, high=0.9)),
    ],
)


@public(into="nn.functional")
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``-t log x - (1 - t) log(1 - x)`` for probabilities x, reduced; logarithms are cut off at -100.

    Shape: input and target alike; the result has one element, or that shape if ``reduction="none"``.

    Raises:
        ValueError: if target and input differ in shape.
        RuntimeError: if x is no probability (as far as the interpreter runs it).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.binary_cross_entropy(torch.tensor([0.5, 0.9]), torch.tensor([1., 0.]), reduction="none")
        tensor([0.6931, 2.3026])
    """
    reduction = reduction_of(size_average, reduce, reduction)
    if target._node.aval.shape != input._node.aval.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    if target.dtype is not input.dtype:
        raise RuntimeError(
            f"Found dtype {target.dtype.title} but expected {input.dtype.title} (binary_cross_entropy: convert the "
            f"target with .to(input.dtype))"
        )
    if type(input._node.value) is np.ndarray and input._base is None:
        _check_probabilities(input._node.value)
    loss = BCE(input, target)
    if weight is not None:
        loss = loss * weight.expand(broadcast_shapes(tuple(target.shape), tuple(weight.shape)))
    return labelled(reduced(loss, reduction), "BinaryCrossEntropyBackward0")


# ---------------------------------------------------------------- divergences and likelihoods


@public(into="nn.functional")
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """``target · (log target - input)``, reduced; the input holds logarithms of probabilities.

    Args:
        reduction: also ``"batchmean"``: the sum over the size of the first dimension, which is the divergence.
        log_target: whether the target holds logarithms, too.

    Raises:
        RuntimeError: for integers.

    Example:
        >>> import flambeau as torch
        >>> input, target = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.9, 0.1]])
        >>> torch.nn.functional.kl_div(input, target, reduction="batchmean")
        tensor(0.3681)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    elif reduction == "mean":
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the "
            "same as 'batchmean' in the next major release.",
        )
    if min(input.dtype.category, target.dtype.category) < dtypes.FLOATING:
        raise RuntimeError(
            f"kl_div: Integral inputs not supported. (got {input.dtype.title} and {target.dtype.title}; convert with "
            ".float())"
        )
    if log_target:
        loss = target.exp() * (target - input)
    else:
        loss = target.xlogy(target) - target * input
    if reduction == "batchmean":
        total = loss.sum()
        return total / input.shape[0] if input.ndim else total
    return reduced(loss, checked_reduction(reduction))


@public(into="nn.functional")
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``exp(x) - t x`` (``x - t log(x + eps)`` unless ``log_input``), reduced.

    Args:
        full: add Stirling's approximation of log t!, where t > 1.

    Raises:
        ValueError: for any other ``reduction``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.poisson_nll_loss(torch.tensor([0., 1.]), torch.tensor([1., 2.]), reduction="none")
        tensor([1.0000, 0.7183])
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction not in ("none", "mean", "sum"):
        reduced(input, "none")
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


def _check_variance(var: Any) -> None:
    if var.size and var.min() < 0:
        raise ValueError("var has negative entry/entries")


def _bounded_variance_kernel(xp: Any, var: Any, *, eps: float) -> Any:
    if xp is np:
        _check_variance(var)
    return xp.maximum(var, xp.full((), eps, var.dtype))


BOUNDED_VARIANCE = operator(
    "bounded_variance",
    lambda var, *, eps: var.of(),
    _bounded_variance_kernel,
    # The bound holds for values only: gradients pass as if there were none.
    lambda grad: grad,
    samples=lambda: [
        case("nn.functional.gaussian_nll_loss", T(3, 4), T(3, 4), T(3, 4, low=0.1)),
        case("nn.functional.gaussian_nll_loss", T(3, 4), T(3, 4), T(3, low=0.1), full=True, reduction="sum"),
    ],
)


@public(into="nn.functional")
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """``(log var + (input - target)² / var) / 2``, reduced; the variance is at least ``eps``.

    Args:
        var: a number, or a tensor of the input's shape, perhaps with a last size of 1 or without it.
        full: add log(2π) / 2.

    Nix and Weigend, Estimating the Mean and Variance of the Target Probability Distribution, ICNN 1994.

    Raises:
        ValueError: for any other ``reduction``, or if the variance is negative or of a shape that does not fit.

    Example:
        >>> import flambeau as torch
        >>> mean, target, variance = torch.tensor([1., 3.]), torch.tensor([1., 1.]), torch.tensor([1., 4.])
        >>> torch.nn.functional.gaussian_nll_loss(mean, target, variance, reduction="none")
        tensor([0.0000, 1.1931])
    """
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.new_full(tuple(input.shape), float(var))
    have, given = tuple(input.shape), tuple(var.shape)
    if given != have:
        if have[:-1] == given:
            var = var.unsqueeze(-1)
        elif not (have[:-1] == given[:-1] and given[-1:] == (1,)) and not _stretches(given, have):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    value = var._node.value
    if hasattr(value, "shape") and var._base is None and var.device.type == "cpu":
        _check_variance(np.asarray(value))
    var = BOUNDED_VARIANCE(var, float(eps))
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return reduced(loss, reduction)


def _stretches(given: tuple[int, ...], have: tuple[int, ...]) -> bool:
    return len(given) == len(have) and all(g in (1, h) for g, h in zip(given, have, strict=True))


# ---------------------------------------------------------------- a linear layer and cross entropy


@public(into="nn.functional")
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """The cross entropy of ``input Wᵀ + b``.

    Args:
        input: (in_features) or (N, in_features).
        linear_weight: (C, in_features) or (C, d1, ..., dk, in_features).
        target: as of ``cross_entropy`` for logits (N, C, d1, ..., dk).
        linear_bias: (C) or (C, d1, ..., dk), as the weight.
        weight, reduction, label_smoothing: as of ``cross_entropy``.
        ignore_index: class index that does not count, -100 if None.
        options: how the logits are to be split into chunks; accepted, and left to the engine.

    Raises:
        RuntimeError: if the dimensions or the numbers of features do not fit.

    Example:
        >>> import flambeau as torch
        >>> x, weight, target = torch.ones(2, 4), torch.zeros(3, 4), torch.tensor([0, 2])
        >>> torch.nn.functional.linear_cross_entropy(x, weight, target)
        tensor(1.0986)
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}")
    features = input.shape[-1]
    if features != linear_weight.shape[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {features} and {linear_weight.shape[-1]}, respectively"
        )
    sizes = tuple(linear_weight.shape[:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != sizes:
        raise RuntimeError(f"expected linear_bias shape {sizes}, got {tuple(linear_bias.shape)}")
    if len(sizes) > 1 and input.ndim == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires"
            f" batched input, (N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    shape = tuple(input.shape[:-1]) + sizes
    if ignore_index is not None and tuple(target.shape) == shape:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = LINEAR(input, linear_weight.reshape(-1, features), bias).reshape(shape)
    return loss_class.cross_entropy(
        logits,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )
