"""Activation functions."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.activation_base import activation, inplace_form, into_input, require_floating
from flambeau.ops.activation_kernels import passed
from flambeau.ops.activation_smooth import ELU, GELU, GELU_TANH, LOG_SIGMOID, MISH, SILU, SOFTPLUS
from flambeau.ops.operator import NAMESPACES, labelled, operator, public
from flambeau.ops.pointwise import broadcast_rule
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

__all__ = ["ELU", "GELU", "GELU_TANH", "LOG_SIGMOID", "MISH", "RELU", "SILU", "SOFTPLUS", "activation", "into_input"]

# ---------------------------------------------------------------- relu


def _relu_rule(x: Aval) -> Aval:
    if x.weak:
        raise TypeError("relu(): argument 'input' (position 1) must be Tensor, not a number")
    if x.dtype.category == dtypes.BOOL:
        raise RuntimeError("Boolean inputs not supported for relu (convert the tensor, for instance with .int())")
    if x.dtype.category == dtypes.COMPLEX:
        raise NotImplementedError(f"\"clamp_min_scalar_cpu\" not implemented for '{x.dtype.title}'")
    return x.of()


def _relu_kernel(xp: Any, x: Any) -> Any:
    return xp.maximum(x, xp.zeros((), x.dtype))


def _relu_derivative(grad: Tensor, out: Tensor) -> Tensor:
    return PASS_ABOVE(grad, out, 0.0)


RELU = operator(
    "relu",
    _relu_rule,
    _relu_kernel,
    _relu_derivative,
    samples=lambda: [
        case("relu", T(3, 4)),
        case("relu", T(0, 2)),
        case("relu", T(3, dtype="int32")),
        case("nn.functional.relu", T()),
    ],
)


def _pass_above_rule(g: Aval, x: Aval, *, threshold: float) -> Aval:
    return g.of()


def _pass_above_kernel(xp: Any, g: Any, x: Any, *, threshold: float) -> Any:
    return passed(xp, ~(x <= threshold), g)


PASS_ABOVE = operator(
    "threshold_backward",
    _pass_above_rule,
    _pass_above_kernel,
    lambda grad, x, threshold: (PASS_ABOVE(grad, x, threshold), None),
    samples=lambda: [case("relu", T(3, 4))],
)
RELU.elementwise = PASS_ABOVE.elementwise = True


def _relu(input: Tensor) -> Tensor:
    """``max(input, 0)``.

    Example:
        >>> import flambeau as torch
        >>> torch.relu(torch.tensor([-1., 2.]))
        tensor([0., 2.])
    """
    return RELU(input)


public("relu", method=True, inplace=True)(_relu)
inplace_form(_relu, "torch nn.functional")


@public(into="nn.functional")
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(input, 0)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.relu(torch.tensor([-1.0, 0.0, 2.0]))
        tensor([0., 0., 2.])
    """
    return into_input(input, RELU(input)) if inplace else RELU(input)


# ---------------------------------------------------------------- threshold


def _threshold_rule(x: Aval, *, threshold: float, value: float) -> Aval:
    if x.dtype.category in (dtypes.BOOL, dtypes.COMPLEX):
        raise NotImplementedError(f"\"threshold_cpu\" not implemented for '{x.dtype.title}'")
    return x.of()


def _threshold_kernel(xp: Any, x: Any, *, threshold: float, value: float) -> Any:
    return xp.where(x <= threshold, xp.asarray(value).astype(x.dtype), x)


THRESHOLD = operator(
    "threshold",
    _threshold_rule,
    _threshold_kernel,
    lambda grad, x, threshold: PASS_ABOVE(grad, x, threshold),
    samples=lambda: [case("threshold", T(3, 4), 0.5, -1.0), case("threshold", T(3, dtype="int64"), 0, 7)],
)


def _threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """Elements above the threshold, ``value`` in place of the others.

    Example:
        >>> import flambeau as torch
        >>> torch.threshold(torch.tensor([1.0, 2.0, 3.0]), 2.0, -1.0)
        tensor([-1., -1.,  3.])
    """
    if input.dtype.category < dtypes.FLOATING:
        threshold, value = int(threshold), int(value)
    return THRESHOLD(input, threshold, value)


public("threshold", out=True)(_threshold)
inplace_form(_threshold, "torch nn.functional")


@public(into="nn.functional")
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Elements above the threshold, ``value`` in place of the others.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.threshold(torch.tensor([0.05, 1.0]), threshold=0.1, value=20.0)
        tensor([20.,  1.])
    """
    result = _threshold(input, threshold, value)
    return into_input(input, result) if inplace else result


# ---------------------------------------------------------------- leaky rectifiers


def _leaky_kernel(xp: Any, x: Any, slope: float) -> Any:
    return xp.maximum(x, x * slope) if 0 < slope <= 1 else xp.where(x > 0, x, x * slope)


LEAKY_RELU = activation(
    "leaky_relu",
    _leaky_kernel,
    lambda xp, x, slope: (x > 0) * x.dtype.type(1.0 - slope) + x.dtype.type(slope),
    None,
    samples=lambda: [case("nn.functional.leaky_relu", T(3, 4)), case("nn.functional.leaky_relu", T(3), 0.3)],
)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    return LEAKY_RELU(input, (float(negative_slope),))


inplace_form(_leaky_relu, "nn.functional")


@public(into="nn.functional")
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``x`` above 0, ``negative_slope · x`` below.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.leaky_relu(torch.tensor([-2.0, 3.0]), negative_slope=0.1)
        tensor([-0.2000,  3.0000])
    """
    result = _leaky_relu(input, negative_slope)
    return into_input(input, result) if inplace else result


def _prelu_rule(x: Aval, weight: Aval) -> Aval:
    require_floating(x, "prelu_cpu")
    return broadcast_rule(x, weight)


def _prelu_kernel(xp: Any, x: Any, weight: Any) -> Any:
    return xp.where(x > 0, x, weight * x)


def _prelu_derivative(grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, ...]) -> Any:
    from_x = _PRELU_TO_INPUT(grad, x, weight) if needs[0] else None
    return from_x, grad * x.clamp(max=0) if needs[1] else None


PRELU = operator(
    "prelu",
    _prelu_rule,
    _prelu_kernel,
    _prelu_derivative,
    grad_name="PreluKernelBackward0",
    samples=lambda: [
        case("prelu", T(2, 3, 4), T(3)),
        case("prelu", T(2, 3), T(1)),
        case("prelu", T(4), T(1)),
        case("prelu", T(), T(1)),
    ],
)


def _prelu_to_input_rule(g: Aval, x: Aval, weight: Aval) -> Aval:
    return x.of()


def _prelu_to_input_derivative(grad: Tensor, g: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, ...]) -> Any:
    first = _PRELU_TO_INPUT(grad, x, weight) if needs[0] else None
    return first, None, grad * g * (x <= 0) if needs[2] else None


_PRELU_TO_INPUT = operator(
    "prelu_to_input",
    _prelu_to_input_rule,
    lambda xp, g, x, weight: xp.where(x > 0, g, g * weight),
    _prelu_to_input_derivative,
    samples=lambda: [case("prelu", T(2, 3, 4), T(3))],
)


@public(into="torch nn.functional", method=True)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """``x`` above 0, ``weight · x`` below, with one weight for all or one per channel (dimension 1).

    Shape: input (N, C, ...), weight (C) or (1).

    Raises:
        RuntimeError: if the number of weights is neither one nor the number of channels.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[-1.0, -1.0, 2.0]])
        >>> torch.prelu(x, torch.tensor([0.1, 0.5, 0.5]))
        tensor([[-0.1000, -0.5000,  2.0000]])
    """
    if not isinstance(weight, Tensor):
        raise TypeError(f"prelu(): argument 'weight' (position 2) must be Tensor, not {type(weight).__name__}")
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input.dtype.title} and {weight.dtype.title}")
    count = weight._node.aval.size
    ndim = input.ndim
    if count != 1:
        if ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if ndim > 1 else 1
        if channels != count:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {count} "
                f"and channel size = {channels}."
            )
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if ndim < 2:
        shape: tuple[int, ...] = (1,) * ndim
    else:
        shape = (1, count) + (1,) * (ndim - 2)
    return PRELU(input, weight.reshape(shape))


def _rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, generator: Any = None
) -> Tensor:
    """``x`` above 0, below it x times a slope drawn from [lower, upper) (in evaluation their mean).

    Example:
        >>> import flambeau as torch
        >>> torch.rrelu(torch.tensor([-4.0, 2.0]), lower=0.2, upper=0.3)
        tensor([-1.,  2.])
    """
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound (rrelu was given {lower} and {upper})"
        )
    require_floating(input._node.aval, "rrelu_with_noise_out_cpu")
    if not training:
        result = LEAKY_RELU(input, ((float(lower) + float(upper)) / 2,))
    else:
        result = PRELU(input, NAMESPACES["torch"]["empty_like"](input).uniform_(lower, upper))
    return labelled(result, "RreluWithNoiseBackward0")


public("rrelu")(_rrelu)
inplace_form(_rrelu, "torch nn.functional")


@public(into="nn.functional")
def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """``x`` above 0, below it x times a slope drawn from [lower, upper) (in evaluation their mean).

    Xu, Wang, Chen and Li, Empirical Evaluation of Rectified Activations, 2015.

    Example:
        >>> import flambeau as torch
        >>> x = torch.full((100,), -1.0)
        >>> y = torch.nn.functional.rrelu(x, lower=0.2, upper=0.3, training=True)
        >>> bool(((y >= -0.3) & (y <= -0.2)).all())
        True
        >>> torch.nn.functional.rrelu(x[:2], lower=0.2, upper=0.3)
        tensor([-0.2500, -0.2500])
    """
    result = _rrelu(input, lower, upper, training)
    return into_input(input, result) if inplace else result


# ---------------------------------------------------------------- piecewise linear and shrinking

HARDTANH = activation(
    "hardtanh",
    lambda xp, x, low, high: xp.clip(x, xp.asarray(low).astype(x.dtype), xp.asarray(high).astype(x.dtype)),
    lambda xp, x, low, high: (x > low) & (x < high),
    None,
    integers=True,
    samples=lambda: [
        case("nn.functional.hardtanh", T(3, 4)),
        case("nn.functional.hardtanh", T(3, 4), -0.5, 1.5),
        case("nn.functional.relu6", T(3, 4, low=-9.0, high=9.0)),
        case("nn.functional.hardtanh", T(4, dtype="int64"), -1, 1),
    ],
)


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    if input.dtype.category == dtypes.BOOL:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if input.dtype.category == dtypes.INTEGER:
        min_val, max_val = int(min_val), int(max_val)
        if not input.dtype.is_signed and (min_val < 0 or max_val < 0):
            raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return HARDTANH(input, (min_val, max_val))


inplace_form(_hardtanh, "nn.functional")


@public(into="nn.functional")
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` kept between ``min_val`` and ``max_val``.

    Raises:
        ValueError: if ``min_val`` exceeds ``max_val``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.hardtanh(torch.tensor([-3.0, 0.5, 3.0]), min_val=-1.0, max_val=2.0)
        tensor([-1.0000,  0.5000,  2.0000])
    """
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    result = _hardtanh(input, min_val, max_val)
    return into_input(input, result) if inplace else result


@public(into="nn.functional")
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.relu6(torch.tensor([-1.0, 3.0, 8.0]))
        tensor([0., 3., 6.])
    """
    result = _hardtanh(input, 0.0, 6.0)
    return into_input(input, result) if inplace else result


def _hardswish_slope(xp: Any, x: Any) -> Any:
    inside = x / 3.0 + 0.5
    return xp.where(x <= -3, xp.zeros((), x.dtype), xp.where(x < 3, inside, xp.ones((), x.dtype)))


HARDSWISH = activation(
    "hardswish",
    lambda xp, x: x * xp.clip(x + 3, 0, 6) / 6,
    _hardswish_slope,
    lambda x: ((x > -3) & (x < 3)) * (1.0 / 3.0),
    samples=lambda: [case("nn.functional.hardswish", T(3, 4, low=-5.0, high=5.0))],
)


@public(into="nn.functional")
def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x relu6(x + 3) / 6``.

    Howard et al., Searching for MobileNetV3, ICCV 2019.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.hardswish(torch.tensor([-4.0, -1.5, 0.0, 3.0]))
        tensor([-0.0000, -0.3750,  0.0000,  3.0000])
    """
    result = HARDSWISH(input, ())
    return into_input(input, result) if inplace else result


HARDSIGMOID = activation(
    "hardsigmoid",
    lambda xp, x: xp.clip(x + 3, 0, 6) / 6,
    lambda xp, x: xp.where((x > -3) & (x < 3), xp.full((), 1 / 6, x.dtype), xp.zeros((), x.dtype)),
    None,
    samples=lambda: [case("nn.functional.hardsigmoid", T(3, 4, low=-5.0, high=5.0), gradgrad=False)],
)


@public(into="nn.functional")
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``relu6(x + 3) / 6``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.hardsigmoid(torch.tensor([-4.0, -1.5, 0.0, 3.0]))
        tensor([0.0000, 0.2500, 0.5000, 1.0000])
    """
    result = HARDSIGMOID(input, ())
    return into_input(input, result) if inplace else result


HARDSHRINK = activation(
    "hardshrink",
    lambda xp, x, lambd: xp.where((x >= -lambd) & (x <= lambd), xp.zeros((), x.dtype), x),
    lambda xp, x, lambd: ~((x >= -lambd) & (x <= lambd)),
    None,
    samples=lambda: [case("hardshrink", T(3, 4)), case("nn.functional.hardshrink", T(3, 4), 1.0)],
)


@public(into="torch nn.functional", method=True, out="exact")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x``, but 0 between ``-lambd`` and ``lambd``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.hardshrink(torch.tensor([-2.0, -0.3, 0.5, 1.0]), lambd=0.5)
        tensor([-2.,  0.,  0.,  1.])
    """
    return HARDSHRINK(input, (float(lambd),))


SOFTSHRINK = activation(
    "softshrink",
    # x - x is 0, but not a number where x is none.
    lambda xp, x, lambd: xp.where(x > lambd, x - lambd, xp.where(x < -lambd, x + lambd, x * 0)),
    lambda xp, x, lambd: ~((x >= -lambd) & (x <= lambd)),
    None,
    samples=lambda: [case("nn.functional.softshrink", T(3, 4)), case("nn.functional.softshrink", T(3, 4), 1.0)],
)


@public(into="nn.functional", out="exact")
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``lambd``, and 0 in between.

    Raises:
        RuntimeError: if ``lambd`` is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.softshrink(torch.tensor([-2.0, -0.3, 0.5, 1.0]), lambd=0.5)
        tensor([-1.5000, -0.0000,  0.0000,  0.5000])
    """
    if lambd < 0:
        largest = dtypes.finfo(input.dtype).max
        raise RuntimeError(
            f"lambda must be in range [0, {largest:g}] for input dtype {input.dtype.title}, but found {lambd:g}"
        )
    return SOFTSHRINK(input, (float(lambd),))


# ---------------------------------------------------------------- composed of other operators


@public(into="nn.functional")
def softsign(input: Tensor) -> Tensor:
    """``x / (1 + |x|)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.softsign(torch.tensor([-3.0, 0.0, 1.0]))
        tensor([-0.7500,  0.0000,  0.5000])
    """
    return input / (input.abs() + 1)


@public(into="nn.functional")
def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.tanhshrink(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.2384,  0.0000,  0.2384])
    """
    return input - input.tanh()


@public(into="nn.functional")
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.tanh(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.7616,  0.0000,  0.7616])
    """
    return input.tanh()


@public(into="nn.functional")
def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-x))``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.sigmoid(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.2689, 0.5000, 0.7311])
    """
    return input.sigmoid()


@public(into="nn.functional")
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """``a sigmoid(b)`` for the halves a and b of the input along ``dim``.

    Raises:
        RuntimeError: if the size along ``dim`` is odd.

    Dauphin, Fan, Auli and Grangier, Language Modeling with Gated Convolutional Networks, ICML 2017.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.glu(torch.tensor([1.0, 2.0, 0.0, 100.0]))
        tensor([0.5000, 2.0000])
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    at = wrapped_dim(dim, input.ndim)
    size = input.shape[at]
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {at} is size {size}")
    require_floating(input._node.aval, "glu_cpu")
    half = size // 2
    return labelled(input.narrow(at, 0, half) * input.narrow(at, half, half).sigmoid(), "GluBackward0")
