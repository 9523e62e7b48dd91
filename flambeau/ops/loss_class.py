"""Losses on classes: cross entropy and negative log likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.softmax import LOG_SOFTMAX, SOFTMAX, SOFTMAX_BACKWARD
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

REDUCTIONS = ("none", "mean", "sum")


def checked_reduction(reduction: str) -> str:
    """The reduction, if it is one."""
    if reduction in REDUCTIONS:
        return reduction
    if reduction == "elementwise_mean":
        warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.")
        return "mean"
    raise ValueError(f"{reduction} is not a valid value for reduction")


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str, emit_warning: bool = True) -> str:
    """The reduction that the arguments of old, ``size_average`` and ``reduce``, ask for, if they are given."""
    if size_average is None and reduce is None:
        return checked_reduction(reduction)
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    found = "none" if not reduce else "mean" if size_average else "sum"
    if emit_warning:
        warn(f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.")
    return found


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The loss of each element, their mean or their sum."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


# ---------------------------------------------------------------- class indices


def check_classes(target: Tensor, classes: int, ignore_index: int) -> None:
    """Raises while recording, if the values of the target are known already, for a class that does not exist."""
    node = target._node
    if node.value is not None and type(node.value) is np.ndarray:
        _check_range(node.value, classes, ignore_index)


def _check_range(target: np.ndarray, classes: int, ignore_index: int) -> None:
    if not target.size:
        return
    if target.min() >= 0 and target.max() < classes:
        return
    wrong = target[((target < 0) | (target >= classes)) & (target != ignore_index)]
    if wrong.size:
        raise IndexError(
            f"Target {int(wrong[0])} is out of bounds. (Classes are 0 to {classes - 1}; a target that is not to count "
            f"must equal ignore_index, which is {ignore_index}.)"
        )


def _extra_dimension_hint(target: tuple[int, ...]) -> str:
    if len(target) == 2 and target[1] == 1:
        return "drop the target's last dimension with .squeeze(1): it holds one class index per row"
    return (
        "class indices have no dimension of classes (one-hot rows become indices by .argmax(1)), and class "
        "probabilities a floating-point dtype"
    )


def _order_hint(x: tuple[int, ...], target: tuple[int, ...]) -> str:
    if x[:-1] == target:
        order = ", ".join(map(str, (0, len(x) - 1, *range(1, len(x) - 1))))
        return f"classes come second, and here they seem to come last: reorder the input with .permute({order})"
    return f"input {list(x)} with classes second, target {list(target)} without classes"


def _class_shape(name: str, x: Aval, target: Aval, weight: Aval | None) -> tuple[int, ...]:
    """Checks the operands of a loss on class indices; the shape of the loss of each."""
    a, b = x.shape, target.shape
    classes = a[min(1, len(a) - 1)]
    if len(a) > 1 and a[0] != (b[0] if b else 0):
        raise ValueError(
            f"Expected input batch_size ({a[0]}) to match target batch_size ({b[0] if b else 0}). ({name}: input "
            f"{list(a)}, target {list(b)}; the target has one class index for each row)"
        )
    if len(a) <= 2 and len(b) > 1:
        raise RuntimeError(
            f"0D or 1D target tensor expected, multi-target not supported ({name}: input {list(a)}, target {list(b)}; "
            f"{_extra_dimension_hint(b)})"
        )
    if len(a) == 1 and b:
        raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {b[0]}")
    if len(a) == 4 and len(b) != 3:
        raise RuntimeError(
            f"only batches of spatial targets supported (3D tensors) but got targets of dimension: {len(b)}"
        )
    expected = a[:1] + a[2:] if len(a) > 1 else ()
    if len(a) > 2 and b != expected:
        raise RuntimeError(f"Expected target size {list(expected)}, got {list(b)} ({name}: {_order_hint(a, b)})")
    if target.dtype not in (dtypes.int64, dtypes.uint8):
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {target.dtype.title} ({name}: convert class indices "
            f"with .long(); class probabilities have the shape of the input, here {list(a)})"
        )
    if weight is not None:
        if weight.shape != (classes,):
            raise RuntimeError(
                f"weight tensor should be defined either for all {classes} classes or no classes but got weight tensor "
                f"of shape: {list(weight.shape)}"
            )
        if weight.dtype is not x.dtype:
            raise RuntimeError(
                f"expected scalar type {x.dtype.title} but found {weight.dtype.title} ({name}: input and weight must "
                "have one type)"
            )
    return expected


class _Terms:
    """What a loss on class indices is made of, in array code.

    Attributes:
        axis: where the classes are.
        valid: which targets count.
        index: the targets, 0 where they do not count, with a dimension for the classes.
        weight: the weight of each target's class, 0 where it does not count.
    """

    def __init__(self, xp: Any, x: Any, target: Any, weight: Any, ignore_index: int) -> None:
        self.axis = 1 if x.ndim > 1 else 0
        if xp is np:
            _check_range(np.asarray(target), x.shape[self.axis], ignore_index)
        self.valid = target != ignore_index
        safe = xp.where(self.valid, target, xp.zeros((), target.dtype)).astype(np.int64)
        self.index = xp.expand_dims(safe, self.axis)
        if weight is None:
            self.weight = xp.asarray(self.valid).astype(x.dtype)
        else:
            self.weight = xp.where(self.valid, weight[safe], xp.zeros((), x.dtype))

    def picked(self, xp: Any, x: Any) -> Any:
        """The element of each target's class."""
        return xp.squeeze(xp.take_along_axis(x, self.index, axis=self.axis), axis=self.axis)

    def loss(self, xp: Any, likelihood: Any, reduction: str) -> Any:
        """The loss, reduced, for the weighted log likelihood of each target."""
        zero = xp.zeros((), likelihood.dtype)
        # A target that does not count contributes nothing, be its logits infinite.
        if reduction == "none" and likelihood.ndim:
            return xp.where(self.valid, -likelihood, zero)
        # Negated, a sum of zero would be -0.
        total = zero - xp.sum(xp.where(self.valid, likelihood, zero), dtype=likelihood.dtype)
        return total / xp.sum(self.weight, dtype=likelihood.dtype) if reduction == "mean" else total

    def factor(self, xp: Any, g: Any, reduction: str) -> Any:
        """The gradient of each element's loss, for the gradient of the reduced one."""
        each = g / xp.sum(self.weight, dtype=self.weight.dtype) if reduction == "mean" else g
        # Where nothing counts at all, the quotient is infinite.
        return xp.where(self.valid, each, xp.zeros((), self.weight.dtype))


def _spread(xp: Any, weight: Any, x: Any, axis: int) -> Any:
    """Weights of the classes, shaped to be multiplied with the input."""
    return weight.reshape((1,) * axis + (-1,) + (1,) * (x.ndim - axis - 1))


def _subtract_at(xp: Any, array: Any, index: Any, values: Any, axis: int) -> Any:
    """The array less values at one index along an axis."""
    if xp is np:
        # The array is the caller's own.
        np.put_along_axis(array, index, np.take_along_axis(array, index, axis) - values, axis)
        return array
    classes = xp.arange(array.shape[axis]).reshape((-1,) + (1,) * (array.ndim - axis - 1))
    return array - xp.where(index == classes, values, xp.zeros((), array.dtype))


# ---------------------------------------------------------------- cross entropy


def _cross_entropy_rule(
    x: Aval, target: Aval, weight: Aval | None, *, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    if x.dtype.category != dtypes.FLOATING:
        raise NotImplementedError(
            f"\"log_softmax_lastdim_kernel_impl\" not implemented for '{x.dtype.title}' (cross_entropy: the input {x} "
            "holds logits, which are floating point)"
        )
    each = _class_shape("cross_entropy", x, target, weight)
    return (x.of(each if reduction == "none" else ()), x.of(each))


def _cross_entropy_kernel(
    xp: Any, x: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    terms = _Terms(xp, x, target, weight, ignore_index)
    axis = terms.axis
    top = xp.max(x, axis=axis, keepdims=True, initial=-xp.inf)
    e = x - top
    e = xp.exp(e, out=e) if xp is np and e.ndim else xp.exp(e)
    normalizer = xp.squeeze(top, axis=axis) + xp.log(xp.sum(e, axis=axis))
    likelihood = (terms.picked(xp, x) - normalizer) * terms.weight
    if label_smoothing:
        classes = x.shape[axis]
        if weight is None:
            smooth = xp.sum(x, axis=axis) - normalizer * classes
        else:
            smooth = xp.sum(x * _spread(xp, weight, x, axis), axis=axis) - normalizer * xp.sum(weight)
        likelihood = (1.0 - label_smoothing) * likelihood + (label_smoothing / classes) * smooth
    return terms.loss(xp, likelihood, reduction), normalizer


def _cross_entropy_derivative(
    grad: Tensor,
    x: Tensor,
    target: Tensor,
    weight: Any,
    outs: Any,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Any:
    settings = (ignore_index, reduction, label_smoothing)
    return CROSS_ENTROPY_BACKWARD(grad, x, outs[1], target, weight, *settings), None, None


def _cross_entropy_samples() -> list[Any]:
    fn = "nn.functional.cross_entropy"
    long = {"dtype": "int64", "low": 0}
    return [
        case(fn, T(4, 5), T(4, **long, high=5)),
        case(fn, T(4, 5), T(4, **long, high=5), reduction="sum", label_smoothing=0.1),
        case(fn, T(4, 5), T(4, **long, high=5), reduction="none", ignore_index=2),
        case(fn, T(4, 5), T(4, **long, high=5), ignore_index=2, label_smoothing=0.3),
        case(fn, T(2, 3, 4, 2), T(2, 4, 2, **long, high=3), label_smoothing=0.2),
        case(fn, T(2, 3, 4), T(2, 4, **long, high=3), reduction="none"),
        case(fn, T(5), T(**long, high=5)),
        case(fn, T(4, 5, low=-200.0, high=200.0), T(4, **long, high=5), gradgrad=False, finite=False),
    ]


CROSS_ENTROPY = operator(
    "cross_entropy",
    _cross_entropy_rule,
    _cross_entropy_kernel,
    _cross_entropy_derivative,
    grad_name=lambda call: "NllLossBackward0" if call.inputs[0].ndim <= 2 else "NllLoss2DBackward0",
    samples=_cross_entropy_samples,
)


def _cross_entropy_backward_rule(
    g: Aval,
    x: Aval,
    normalizer: Aval,
    target: Aval,
    weight: Aval | None,
    *,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Aval:
    return x.of()


def _hard_and_soft(xp: Any, terms: _Terms, weight: Any, classes: int, label_smoothing: float) -> tuple[Any, Any]:
    """How much each element's target, and its softmax, weigh in the gradient."""
    hard = terms.weight
    if not label_smoothing:
        return hard, hard
    hard = hard * (1.0 - label_smoothing)
    total = classes if weight is None else xp.sum(weight)
    valid = xp.asarray(terms.valid).astype(hard.dtype)
    return hard, hard + valid * total * (label_smoothing / classes)


def _cross_entropy_backward_kernel(
    xp: Any,
    g: Any,
    x: Any,
    normalizer: Any,
    target: Any,
    weight: Any,
    *,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Any:
    terms = _Terms(xp, x, target, weight, ignore_index)
    axis = terms.axis
    factor = terms.factor(xp, g, reduction)
    hard, soft = _hard_and_soft(xp, terms, weight, x.shape[axis], label_smoothing)
    p = x - xp.expand_dims(normalizer, axis)
    p = xp.exp(p, out=p) if xp is np and p.ndim else xp.exp(p)
    p *= xp.expand_dims(soft * factor, axis)
    p = _subtract_at(xp, p, terms.index, xp.expand_dims(hard * factor, axis), axis)
    if label_smoothing:
        valid = xp.asarray(terms.valid).astype(x.dtype)
        spread = xp.expand_dims(valid * factor * (label_smoothing / x.shape[axis]), axis)
        p = p - (spread if weight is None else spread * _spread(xp, weight, x, axis))
    return p


def _cross_entropy_backward_derivative(
    grad: Tensor,
    g: Tensor,
    x: Tensor,
    normalizer: Tensor,
    target: Tensor,
    weight: Any,
    needs: tuple[bool, ...],
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Any:
    axis = 1 if x.ndim > 1 else 0
    settings = (ignore_index, reduction, label_smoothing)
    from_g = from_x = None
    if needs[0]:
        # The operator is linear in g.
        unit = CROSS_ENTROPY_BACKWARD(g.detach() * 0 + 1, x, normalizer, target, weight, *settings)
        from_g = (grad * unit).sum(axis) if reduction == "none" else (grad * unit).sum()
    if needs[1]:
        scale = CROSS_ENTROPY_SCALE(x.detach(), target, weight, *settings) * g
        from_x = SOFTMAX_BACKWARD(grad * scale.unsqueeze(axis), SOFTMAX(x, axis), axis)
    return from_g, from_x, None, None, None


CROSS_ENTROPY_BACKWARD = operator(
    "cross_entropy_backward",
    _cross_entropy_backward_rule,
    _cross_entropy_backward_kernel,
    _cross_entropy_backward_derivative,
    samples=lambda: _cross_entropy_samples()[:2],
)


def _cross_entropy_scale_rule(
    x: Aval, target: Aval, weight: Aval | None, *, ignore_index: int, reduction: str, label_smoothing: float
) -> Aval:
    return x.of(target.shape)


def _cross_entropy_scale_kernel(
    xp: Any, x: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str, label_smoothing: float
) -> Any:
    terms = _Terms(xp, x, target, weight, ignore_index)
    soft = _hard_and_soft(xp, terms, weight, x.shape[terms.axis], label_smoothing)[1]
    return terms.factor(xp, soft, reduction)


CROSS_ENTROPY_SCALE = operator(
    "cross_entropy_scale",
    _cross_entropy_scale_rule,
    _cross_entropy_scale_kernel,
    NotDifferentiable("it depends on nothing but the targets and their weights"),
    samples=lambda: _cross_entropy_samples()[:1],
)


def _checked_classes(input: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """The target, its values checked if they are known; a single class in a vector as it would stand alone."""
    shape = input._node.aval.shape
    if not shape:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    known = target._node.aval
    if known.dtype in (dtypes.int64, dtypes.uint8) and known.size:
        check_classes(target, shape[min(1, len(shape) - 1)], ignore_index)
    return target.reshape(()) if len(shape) == 1 and known.shape == (1,) else target


@public(into="nn.functional")
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """``-log softmax(input)`` at the target's class.

    Args:
        input: logits of shape (C), (N, C) or (N, C, d1, ..., dk).
        target: class indices of type int64, shaped as the input without C; or probabilities of the
            classes, shaped and typed as the input.
        weight: a weight for each class, (C).
        ignore_index: a target of this value does not count.
        reduction: ``"mean"`` (weighted, over what counts), ``"sum"`` or ``"none"``.
        label_smoothing: how much of the target is spread evenly over the classes.

    Raises:
        IndexError: for a class index out of range.
        RuntimeError: if shapes or types do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.cross_entropy(torch.zeros(1, 4), torch.tensor([2]))
        tensor(1.3863)
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    checked_reduction(reduction)
    if not isinstance(target, Tensor):
        raise TypeError(
            f"cross_entropy_loss(): argument 'target' (position 2) must be Tensor, not {type(target).__name__}"
        )
    given, wanted = input._node.aval, target._node.aval
    if given.shape == wanted.shape and not (given.shape == (1,) and wanted.dtype.category < dtypes.FLOATING):
        if wanted.dtype.category >= dtypes.FLOATING and ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _of_probabilities(input, target, weight, reduction, label_smoothing)
    target = _checked_classes(input, target, ignore_index)
    return CROSS_ENTROPY(
        input,
        target,
        weight,
        ignore_index,
        "mean" if reduction == "elementwise_mean" else reduction,
        float(label_smoothing),
    )[0]


def _of_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    if target.dtype.category != dtypes.FLOATING:
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {target.dtype.title} "
            f"(cross_entropy: the target has the input's shape {list(input.shape)}; class indices have no class "
            "dimension)"
        )
    axis = 1 if input.ndim > 1 else 0
    classes = input.shape[axis]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            "cross_entropy: weight tensor should be defined either for all "
            f"{classes} classes or no classes but got weight tensor of shape: {list(weight.shape)}"
        )
    if label_smoothing:
        target = target * (1.0 - label_smoothing) + label_smoothing / classes
    product = LOG_SOFTMAX(input, axis) * target
    if weight is not None:
        product = product * weight.reshape((1,) * axis + (-1,) + (1,) * (input.ndim - axis - 1))
    if reduction == "none":
        return -product.sum(axis)
    total = -product.sum()
    if reduction == "sum":
        return total
    count = 1
    for n in input.shape[:axis] + input.shape[axis + 1 :]:
        count *= n
    return total / count


# ---------------------------------------------------------------- negative log likelihood


def _nll_rule(x: Aval, target: Aval, weight: Aval | None, *, ignore_index: int, reduction: str) -> Aval:
    if x.dtype.category != dtypes.FLOATING:
        raise NotImplementedError(f"\"nll_loss_out_frame\" not implemented for '{x.dtype.title}'")
    each = _class_shape("nll_loss", x, target, weight)
    return x.of(each if reduction == "none" else ())


def _nll_kernel(xp: Any, x: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str) -> Any:
    terms = _Terms(xp, x, target, weight, ignore_index)
    return terms.loss(xp, terms.picked(xp, x) * terms.weight, reduction)


def _nll_derivative(grad: Tensor, x: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str) -> Any:
    # Only the shape of x is of use.
    return NLL_BACKWARD(grad, x.detach(), target, weight, ignore_index, reduction), None, None


def _nll_samples() -> list[Any]:
    fn = "nn.functional.nll_loss"
    long = {"dtype": "int64", "low": 0}
    return [
        case(fn, T(4, 5), T(4, **long, high=5)),
        case(fn, T(4, 5), T(4, **long, high=5), reduction="sum"),
        case(fn, T(4, 5), T(4, **long, high=5), reduction="none", ignore_index=1),
        case(fn, T(2, 3, 4, 2), T(2, 4, 2, **long, high=3), ignore_index=1),
        case(fn, T(2, 3, 4), T(2, 4, **long, high=3), reduction="none"),
        case(fn, T(5), T(**long, high=5)),
    ]


NLL = operator(
    "nll_loss",
    _nll_rule,
    _nll_kernel,
    _nll_derivative,
    grad_name=lambda call: "NllLossBackward0" if call.inputs[0].ndim <= 2 else "NllLoss2DBackward0",
    samples=_nll_samples,
)


def _nll_backward_rule(
    g: Aval, x: Aval, target: Aval, weight: Aval | None, *, ignore_index: int, reduction: str
) -> Aval:
    return x.of()


def _nll_backward_kernel(
    xp: Any, g: Any, x: Any, target: Any, weight: Any, *, ignore_index: int, reduction: str
) -> Any:
    terms = _Terms(xp, x, target, weight, ignore_index)
    values = xp.expand_dims(terms.factor(xp, g, reduction) * terms.weight, terms.axis)
    return _subtract_at(xp, xp.zeros(x.shape, x.dtype), terms.index, values, terms.axis)


def _nll_backward_derivative(grad: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str) -> Any:
    return NLL(grad, target, weight, ignore_index, reduction), None, None, None


NLL_BACKWARD = operator(
    "nll_loss_backward",
    _nll_backward_rule,
    _nll_backward_kernel,
    _nll_backward_derivative,
    samples=lambda: _nll_samples()[:2],
)


@public(into="nn.functional")
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the input at the target's class; the input holds log probabilities.

    Args:
        input: (C), (N, C) or (N, C, d1, ..., dk).
        target: class indices of type int64, shaped as the input without C.
        weight, ignore_index, reduction: as of ``cross_entropy``.

    Raises:
        IndexError: for a class index out of range.
        RuntimeError: if shapes or types do not fit.

    Example:
        >>> import flambeau as torch
        >>> logp = torch.tensor([[0.5, 0.5], [0.1, 0.9]]).log()
        >>> torch.nn.functional.nll_loss(logp, torch.tensor([0, 1]))
        tensor(0.3993)
        >>> torch.nn.functional.nll_loss(logp, torch.tensor([0, -100]), reduction="none")
        tensor([0.6931, 0.0000])
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    reduction = checked_reduction(reduction)
    target = _checked_classes(input, target, ignore_index)
    return NLL(input, target, weight, ignore_index, reduction)
