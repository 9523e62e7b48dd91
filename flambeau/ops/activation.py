"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.activation_kernels import BLOCK, erf, sigmoid_kernel
from flambeau.ops.operator import NAMESPACES, Operator, operator, public
from flambeau.ops.pointwise import broadcast_rule
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the family shares


def require_floating(x: Aval, kernel: str, complex: bool = False) -> None:
    """Raises as PyTorch does for a type that has no kernel."""
    if x.dtype.category == dtypes.FLOATING or (complex and x.dtype.category == dtypes.COMPLEX):
        return
    raise NotImplementedError(
        f"\"{kernel}\" not implemented for '{x.dtype.title}' (given {x}; convert it with .float())"
    )


def activation(
    name: str,
    kernel: Callable[..., Any],
    slope: Callable[..., Any],
    curvature: Callable[..., Any] | None,
    *,
    samples: Callable[[], list[Any]],
    cpu_name: str | None = None,
    complex: bool = False,
    integers: bool = False,
    grad_name: str | None = None,
) -> Operator:
    """An elementwise function with its derivative as an operator of its own.

    Args:
        name: the operator's name; the derivative's is ``name_backward``.
        kernel: ``kernel(xp, x, *params)``.
        slope: ``slope(xp, x, *params)``, the first derivative in array code.
        curvature: ``curvature(x, *params)``, the second derivative in Tensor operations; None where it is
            zero almost everywhere.
        samples: as of :func:`operator`.
        cpu_name: the kernel's name in PyTorch's message for types that have none.
        complex, integers: whether these types are allowed.
    """

    def rule(x: Aval, *, params: tuple[Any, ...]) -> Aval:
        if not (integers and x.dtype.category == dtypes.INTEGER):
            require_floating(x, cpu_name or f"{name}_cpu", complex)
        return x.of()

    def forward(xp: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return kernel(xp, x, *params)

    def forward_numpy(np: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return _in_blocks(np, lambda part: kernel(np, part, *params), x)

    def derivative(grad: Tensor, x: Tensor, params: tuple[Any, ...]) -> Tensor:
        return backward(grad, x, params)

    def backward_rule(g: Aval, x: Aval, *, params: tuple[Any, ...]) -> Aval:
        return x.of()

    def backward_kernel(xp: Any, g: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return _chained(xp, g, slope(xp, x, *params))

    def backward_numpy(np: Any, g: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return _in_blocks(np, lambda g, x: _chained(np, g, slope(np, x, *params)), g, x)

    def second(grad: Tensor, g: Tensor, x: Tensor, params: tuple[Any, ...], needs: tuple[bool, ...]) -> Any:
        first = backward(grad, x, params) if needs[0] else None
        return first, grad * g * curvature(x, *params) if curvature is not None and needs[1] else None

    backward = operator(
        f"{name}_backward", backward_rule, backward_kernel, second, numpy=backward_numpy, samples=lambda: samples()[:1]
    )
    return operator(name, rule, forward, derivative, numpy=forward_numpy, samples=samples, grad_name=grad_name)


def _chained(xp: Any, g: Any, slope: Any) -> Any:
    """The incoming gradient times the slope; a slope of True and False lets it pass or not, even if infinite."""
    if slope.dtype == bool:
        return xp.where(slope, g, 0)
    return g * xp.conj(slope) if slope.dtype.kind == "c" else g * slope


def _in_blocks(np: Any, function: Callable[..., Any], *arrays: Any) -> Any:
    """Applies an elementwise function of several passes to stretches that stay in the cache."""
    first = arrays[0]
    size = first.size
    if size <= 2 * BLOCK or any(not a.flags.c_contiguous or a.shape != first.shape for a in arrays):
        return function(*arrays)
    flat = [a.reshape(-1) for a in arrays]
    result = np.empty(size, first.dtype)
    for start in range(0, size, BLOCK):
        stop = start + BLOCK
        result[start:stop] = function(*[a[start:stop] for a in flat])
    return result.reshape(first.shape)


def _inplace_form(function: Callable[..., Any], into: str, name: str | None = None) -> None:
    """Registers the function that ends in an underscore and writes its result into its first argument."""
    name = name or function.__name__.lstrip("_")

    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return into_input(input, function(input, *args, **kwargs))

    written.__name__ = f"{name}_"
    written.__doc__ = f"In-place form of ``{name}``."
    public(written.__name__, into=into)(written)


def into_input(input: Tensor, result: Tensor) -> Tensor:
    """Writes a result into the tensor it was computed from."""
    from flambeau.tensor.methods import assign
    from flambeau.tensor.views import check_writable

    check_writable(input)
    return assign(input, result)


# ---------------------------------------------------------------- relu


def _relu_rule(x: Aval) -> Aval:
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
    return xp.where(x <= threshold, xp.zeros((), g.dtype), g)


PASS_ABOVE = operator(
    "threshold_backward",
    _pass_above_rule,
    _pass_above_kernel,
    lambda grad, x, threshold: (PASS_ABOVE(grad, x, threshold), None),
    samples=lambda: [case("relu", T(3, 4))],
)


def _relu(input: Tensor) -> Tensor:
    """``max(input, 0)``.

    Example:
        >>> import flambeau as torch
        >>> torch.relu(torch.tensor([-1., 2.]))
        tensor([0., 2.])
    """
    return RELU(input)


public("relu", method=True, inplace=True)(_relu)
_inplace_form(_relu, "torch nn.functional")


@public(into="nn.functional")
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """``max(input, 0)``."""
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
    """Elements above the threshold, ``value`` in place of the others."""
    if input.dtype.category < dtypes.FLOATING:
        threshold, value = int(threshold), int(value)
    return THRESHOLD(input, threshold, value)


public("threshold")(_threshold)
_inplace_form(_threshold, "torch nn.functional")


@public(into="nn.functional")
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Elements above the threshold, ``value`` in place of the others."""
    result = _threshold(input, threshold, value)
    return into_input(input, result) if inplace else result


# ---------------------------------------------------------------- gelu


def _gelu_kernel(xp: Any, x: Any) -> Any:
    return 0.5 * x * (1.0 + erf(xp, x * math.sqrt(0.5)))


def _density(xp: Any, x: Any) -> Any:
    return xp.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))


def _gelu_slope(xp: Any, x: Any) -> Any:
    return 0.5 * (1.0 + erf(xp, x * math.sqrt(0.5))) + x * _density(xp, x)


def _gelu_curvature(x: Tensor) -> Tensor:
    return (x * x * -0.5).exp() * (1.0 / math.sqrt(2.0 * math.pi)) * (2.0 - x * x)


GELU = activation(
    "gelu",
    _gelu_kernel,
    _gelu_slope,
    _gelu_curvature,
    cpu_name="GeluKernelImpl",
    samples=lambda: [case("nn.functional.gelu", T(3, 4, low=-5.0, high=5.0)), case("nn.functional.gelu", T())],
)

_TANH_SCALE = math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715


def _gelu_tanh_kernel(xp: Any, x: Any) -> Any:
    return 0.5 * x * (1.0 + xp.tanh(_TANH_SCALE * (x + _TANH_CUBIC * x * x * x)))


def _gelu_tanh_slope(xp: Any, x: Any) -> Any:
    square = x * x
    t = xp.tanh(_TANH_SCALE * x * (1.0 + _TANH_CUBIC * square))
    inner = _TANH_SCALE * (1.0 + 3.0 * _TANH_CUBIC * square)
    return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner


def _gelu_tanh_curvature(x: Tensor) -> Tensor:
    square = x * x
    t = (x * (square * _TANH_CUBIC + 1.0) * _TANH_SCALE).tanh()
    first = (square * (3.0 * _TANH_CUBIC) + 1.0) * _TANH_SCALE
    second = x * (6.0 * _TANH_CUBIC * _TANH_SCALE)
    return (1.0 - t * t) * (first + 0.5 * x * second - x * t * first * first)


GELU_TANH = activation(
    "gelu_tanh",
    _gelu_tanh_kernel,
    _gelu_tanh_slope,
    _gelu_tanh_curvature,
    cpu_name="GeluKernelImpl",
    grad_name="GeluBackward0",
    samples=lambda: [case("nn.functional.gelu", T(3, 4, low=-5.0, high=5.0), approximate="tanh")],
)


@public(into="nn.functional")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """``x Φ(x)`` with Φ the normal distribution function; with ``approximate="tanh"`` Φ by a tanh.

    Raises:
        RuntimeError: for any other ``approximate``.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """
    if approximate == "none":
        return GELU(input, ())
    if approximate == "tanh":
        return GELU_TANH(input, ())
    raise RuntimeError(f"approximate argument must be either none or tanh. (gelu was given '{approximate}')")


# ---------------------------------------------------------------- the logistic family


def _silu_kernel(xp: Any, x: Any) -> Any:
    return x * sigmoid_kernel(xp, x)


def _silu_slope(xp: Any, x: Any) -> Any:
    s = sigmoid_kernel(xp, x)
    return s * (1.0 + x * (1.0 - s))


def _silu_curvature(x: Tensor) -> Tensor:
    s = x.sigmoid()
    return s * (1.0 - s) * (2.0 + x * (1.0 - 2.0 * s))


SILU = activation(
    "silu",
    _silu_kernel,
    _silu_slope,
    _silu_curvature,
    complex=True,
    samples=lambda: [case("nn.functional.silu", T(3, 4)), case("nn.functional.silu", T())],
)


@public(into="nn.functional")
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x sigmoid(x)``, also called swish."""
    result = SILU(input, ())
    return into_input(input, result) if inplace else result


def _log_sigmoid_kernel(xp: Any, x: Any) -> Any:
    return xp.minimum(x, xp.zeros((), x.dtype)) - xp.log1p(xp.exp(-xp.abs(x)))


def _log_sigmoid_curvature(x: Tensor) -> Tensor:
    s = x.sigmoid()
    return s * (s - 1.0)


LOG_SIGMOID = activation(
    "log_sigmoid",
    _log_sigmoid_kernel,
    lambda xp, x: sigmoid_kernel(xp, -x),
    _log_sigmoid_curvature,
    samples=lambda: [case("nn.functional.logsigmoid", T(3, 4, low=-9.0, high=9.0))],
)


@public(into="nn.functional")
def logsigmoid(input: Tensor) -> Tensor:
    """``log(1 / (1 + exp(-x)))``, without overflow."""
    return LOG_SIGMOID(input, ())


def _softplus_kernel(xp: Any, x: Any, beta: float, threshold: float) -> Any:
    scaled = x * beta
    # Beyond the threshold the exponential might overflow; what is chosen there is x itself.
    return xp.where(scaled > threshold, x, xp.log1p(xp.exp(scaled)) / beta)


def _softplus_slope(xp: Any, x: Any, beta: float, threshold: float) -> Any:
    scaled = x * beta
    return xp.where(scaled > threshold, xp.ones((), x.dtype), sigmoid_kernel(xp, scaled))


def _softplus_curvature(x: Tensor, beta: float, threshold: float) -> Tensor:
    scaled = x * beta
    s = scaled.sigmoid()
    return s * (1.0 - s) * beta * (scaled <= threshold)


SOFTPLUS = activation(
    "softplus",
    _softplus_kernel,
    _softplus_slope,
    _softplus_curvature,
    samples=lambda: [
        case("nn.functional.softplus", T(3, 4)),
        case("nn.functional.softplus", T(3, 4, low=-9.0, high=9.0), beta=2, threshold=5),
    ],
)


@public(into="nn.functional")
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """``log(1 + exp(beta x)) / beta``; x itself where ``beta x`` exceeds the threshold."""
    return SOFTPLUS(input, (beta, threshold))


def _mish_kernel(xp: Any, x: Any) -> Any:
    return x * xp.tanh(_softplus_kernel(xp, x, 1.0, 20.0))


def _mish_slope(xp: Any, x: Any) -> Any:
    t = xp.tanh(_softplus_kernel(xp, x, 1.0, 20.0))
    return t + x * sigmoid_kernel(xp, x) * (1.0 - t * t)


def _mish_curvature(x: Tensor) -> Tensor:
    s = x.sigmoid()
    t = softplus(x).tanh()
    rise = (1.0 - t * t) * s
    return 2.0 * rise + x * rise * (1.0 - s - 2.0 * t * s)


MISH = activation(
    "mish",
    _mish_kernel,
    _mish_slope,
    _mish_curvature,
    samples=lambda: [case("nn.functional.mish", T(3, 4, low=-5.0, high=5.0))],
)


@public(into="nn.functional")
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x tanh(softplus(x))``.

    Misra, Mish: A Self Regularized Non-Monotonic Activation Function, BMVC 2020.
    """
    result = MISH(input, ())
    return into_input(input, result) if inplace else result


# ---------------------------------------------------------------- exponential linear units


def _elu_kernel(xp: Any, x: Any, alpha: float, scale: float, rate: float) -> Any:
    below = xp.expm1(xp.minimum(x, xp.zeros((), x.dtype)) * rate) * (alpha * scale)
    return xp.where(x > 0, x * scale, below)


def _elu_slope(xp: Any, x: Any, alpha: float, scale: float, rate: float) -> Any:
    below = xp.exp(xp.minimum(x, xp.zeros((), x.dtype)) * rate) * (alpha * scale * rate)
    return xp.where(x > 0, xp.full((), scale, x.dtype), below)


def _elu_curvature(x: Tensor, alpha: float, scale: float, rate: float) -> Tensor:
    return (x.clamp(max=0) * rate).exp() * (x <= 0) * (alpha * scale * rate * rate)


ELU = activation(
    "elu",
    _elu_kernel,
    _elu_slope,
    _elu_curvature,
    samples=lambda: [
        case("nn.functional.elu", T(3, 4)),
        case("nn.functional.elu", T(3, 4), alpha=0.5),
        case("nn.functional.celu", T(3, 4), alpha=2.0),
        case("nn.functional.selu", T(3, 4)),
    ],
)

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    return ELU(input, (float(alpha), 1.0, 1.0))


def _selu(input: Tensor) -> Tensor:
    """``scale · elu(x, alpha)`` with the constants that keep mean and variance; see ``nn.functional.selu``."""
    return ELU(input, (SELU_ALPHA, SELU_SCALE, 1.0))


def _celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``; see ``nn.functional.celu``."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return ELU(input, (float(alpha), 1.0, 1.0 / alpha))


public("selu")(_selu)
public("celu")(_celu)
_inplace_form(_elu, "nn.functional")
_inplace_form(_selu, "torch nn.functional")
_inplace_form(_celu, "torch nn.functional")


@public(into="nn.functional")
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` above 0, ``alpha (exp(x) - 1)`` below.

    Clevert, Unterthiner and Hochreiter, ELUs, ICLR 2016.
    """
    return into_input(input, _elu(input, alpha)) if inplace else _elu(input, alpha)


@public(into="nn.functional")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``scale · elu(x, alpha)`` with scale 1.0507 and alpha 1.6733, which keep mean 0 and variance 1.

    Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks, NeurIPS 2017.
    """
    return into_input(input, _selu(input)) if inplace else _selu(input)


@public(into="nn.functional")
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``.

    Barron, Continuously Differentiable Exponential Linear Units, 2017.
    """
    return into_input(input, _celu(input, alpha)) if inplace else _celu(input, alpha)


# ---------------------------------------------------------------- leaky rectifiers

LEAKY_RELU = activation(
    "leaky_relu",
    lambda xp, x, slope: xp.where(x > 0, x, x * slope),
    lambda xp, x, slope: xp.where(x > 0, xp.ones((), x.dtype), xp.full((), slope, x.dtype)),
    None,
    samples=lambda: [case("nn.functional.leaky_relu", T(3, 4)), case("nn.functional.leaky_relu", T(3), 0.3)],
)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    return LEAKY_RELU(input, (float(negative_slope),))


_inplace_form(_leaky_relu, "nn.functional")


@public(into="nn.functional")
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``x`` above 0, ``negative_slope · x`` below."""
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
    """
    if not isinstance(weight, Tensor):
        raise TypeError(f"prelu(): argument 'weight' (position 2) must be Tensor, not {type(weight).__name__}")
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {_c_name(input)} and {_c_name(weight)}")
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


def _c_name(tensor: Tensor) -> str:
    return {"Float": "float", "Double": "double", "Long": "long"}.get(tensor.dtype.title, tensor.dtype.title)


def _rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, generator: Any = None
) -> Tensor:
    """``x`` above 0, below it x times a slope drawn from [lower, upper) (in evaluation their mean)."""
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound (rrelu was given {lower} and {upper})"
        )
    require_floating(input._node.aval, "rrelu_out_cpu")
    if not training:
        return LEAKY_RELU(input, ((float(lower) + float(upper)) / 2,))
    slopes = NAMESPACES["torch"]["empty_like"](input).uniform_(lower, upper)
    return PRELU(input, slopes)


public("rrelu")(_rrelu)
_inplace_form(_rrelu, "torch nn.functional")


@public(into="nn.functional")
def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """``x`` above 0, below it x times a slope drawn from [lower, upper) (in evaluation their mean).

    Xu, Wang, Chen and Li, Empirical Evaluation of Rectified Activations, 2015.
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


_inplace_form(_hardtanh, "nn.functional")


@public(into="nn.functional")
def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` kept between ``min_val`` and ``max_val``."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    result = _hardtanh(input, min_val, max_val)
    return into_input(input, result) if inplace else result


@public(into="nn.functional")
def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``."""
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
    """
    result = HARDSWISH(input, ())
    return into_input(input, result) if inplace else result


HARDSIGMOID = activation(
    "hardsigmoid",
    lambda xp, x: xp.clip(x + 3, 0, 6) / 6,
    lambda xp, x: xp.where((x > -3) & (x < 3), xp.full((), 1 / 6, x.dtype), xp.zeros((), x.dtype)),
    None,
    samples=lambda: [case("nn.functional.hardsigmoid", T(3, 4, low=-5.0, high=5.0))],
)


@public(into="nn.functional")
def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``relu6(x + 3) / 6``."""
    result = HARDSIGMOID(input, ())
    return into_input(input, result) if inplace else result


HARDSHRINK = activation(
    "hardshrink",
    lambda xp, x, lambd: xp.where((x >= -lambd) & (x <= lambd), xp.zeros((), x.dtype), x),
    lambda xp, x, lambd: ~((x >= -lambd) & (x <= lambd)),
    None,
    samples=lambda: [case("hardshrink", T(3, 4)), case("nn.functional.hardshrink", T(3, 4), 1.0)],
)


@public(into="torch nn.functional", method=True)
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x``, but 0 between ``-lambd`` and ``lambd``."""
    return HARDSHRINK(input, (float(lambd),))


SOFTSHRINK = activation(
    "softshrink",
    # x - x is 0, but not a number where x is none.
    lambda xp, x, lambd: xp.where(x > lambd, x - lambd, xp.where(x < -lambd, x + lambd, x * 0)),
    lambda xp, x, lambd: ~((x >= -lambd) & (x <= lambd)),
    None,
    samples=lambda: [case("nn.functional.softshrink", T(3, 4)), case("nn.functional.softshrink", T(3, 4), 1.0)],
)


@public(into="nn.functional")
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``lambd``, and 0 in between.

    Raises:
        RuntimeError: if ``lambd`` is negative.
    """
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd:g}.")
    return SOFTSHRINK(input, (float(lambd),))


# ---------------------------------------------------------------- composed of other operators


@public(into="nn.functional")
def softsign(input: Tensor) -> Tensor:
    """``x / (1 + |x|)``."""
    return input / (input.abs() + 1)


@public(into="nn.functional")
def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``."""
    return input - input.tanh()


@public(into="nn.functional")
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return input.tanh()


@public(into="nn.functional")
def sigmoid(input: Tensor) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return input.sigmoid()


@public(into="nn.functional")
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """``a sigmoid(b)`` for the halves a and b of the input along ``dim``.

    Raises:
        RuntimeError: if the size along ``dim`` is odd.

    Dauphin, Fan, Auli and Grangier, Language Modeling with Gated Convolutional Networks, ICML 2017.
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    at = wrapped_dim(dim, input.ndim)
    size = input.shape[at]
    if size % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {at} is size {size}")
    require_floating(input._node.aval, "glu_cpu")
    half = size // 2
    return input.narrow(at, 0, half) * input.narrow(at, half, half).sigmoid()
