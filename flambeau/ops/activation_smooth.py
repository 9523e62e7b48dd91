"""Smooth activation functions: by the normal distribution, the logistic function and the exponential."""

from __future__ import annotations

import math
from typing import Any

from flambeau.ops.activation_base import activation, inplace_form, into_input
from flambeau.ops.activation_kernels import erf, sigmoid_kernel
from flambeau.ops.operator import labelled, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- gelu


def _gelu_kernel(xp: Any, x: Any) -> Any:
    # In place where the tier allows it.
    result = erf(xp, x * math.sqrt(0.5))
    result += 1.0
    result *= 0.5 * x
    return result


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


@public(into="nn.functional", out="exact")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """``x Φ(x)`` with Φ the normal distribution function; with ``approximate="tanh"`` Φ by a tanh.

    Raises:
        RuntimeError: for any other ``approximate``.

    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([-1.0, 0.0, 1.0])
        >>> torch.nn.functional.gelu(x)
        tensor([-0.1587,  0.0000,  0.8413])
        >>> torch.nn.functional.gelu(x, approximate="tanh")
        tensor([-0.1588,  0.0000,  0.8412])
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
    """``x sigmoid(x)``, also called swish.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.silu(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.2689,  0.0000,  0.7311])
    """
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


@public(into="nn.functional", out="exact")
def logsigmoid(input: Tensor) -> Tensor:
    """``log(1 / (1 + exp(-x)))``, without overflow.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.logsigmoid(torch.tensor([-1000.0, 0.0, 1000.0]))
        tensor([-1.0000e+03, -6.9315e-01,  0.0000e+00])
    """
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


@public(into="nn.functional", out="exact")
def softplus(input: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """``log(1 + exp(beta x)) / beta``; x itself where ``beta x`` exceeds the threshold.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.softplus(torch.tensor([-1.0, 0.0, 30.0]))
        tensor([ 0.3133,  0.6931, 30.0000])
    """
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

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.mish(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-0.3034,  0.0000,  0.8651])
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
    """``scale · elu(x, alpha)`` with the constants that keep mean and variance; see ``nn.functional.selu``.

    Example:
        >>> import flambeau as torch
        >>> torch.selu(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([-1.1113,  0.0000,  1.0507])
    """
    return ELU(input, (SELU_ALPHA, SELU_SCALE, 1.0))


def _celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``; see ``nn.functional.celu``.

    Example:
        >>> import flambeau as torch
        >>> torch.celu(torch.tensor([-1.0, 0.0, 1.0]), alpha=2.0)
        tensor([-0.7869,  0.0000,  1.0000])
    """
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return labelled(ELU(input, (float(alpha), 1.0, 1.0 / alpha)), "CeluBackward0")


public("selu")(_selu)
public("celu")(_celu)
inplace_form(_elu, "nn.functional")
inplace_form(_selu, "torch nn.functional")
inplace_form(_celu, "torch nn.functional")


@public(into="nn.functional")
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` above 0, ``alpha (exp(x) - 1)`` below.

    Clevert, Unterthiner and Hochreiter, ELUs, ICLR 2016.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.elu(torch.tensor([-1.0, 0.0, 1.0]), alpha=2.0)
        tensor([-1.2642,  0.0000,  1.0000])
    """
    return into_input(input, _elu(input, alpha)) if inplace else _elu(input, alpha)


@public(into="nn.functional")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``scale · elu(x, alpha)`` with scale 1.0507 and alpha 1.6733, which keep mean 0 and variance 1.

    Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks, NeurIPS 2017.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.selu(torch.tensor([-100.0, 0.0, 1.0]))
        tensor([-1.7581,  0.0000,  1.0507])
    """
    return into_input(input, _selu(input)) if inplace else _selu(input)


@public(into="nn.functional")
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``.

    Barron, Continuously Differentiable Exponential Linear Units, 2017.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.celu(torch.tensor([-1.0, 0.0, 1.0]), alpha=2.0)
        tensor([-0.7869,  0.0000,  1.0000])
    """
    return into_input(input, _celu(input, alpha)) if inplace else _celu(input, alpha)
