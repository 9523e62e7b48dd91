"""Angles: circular and hyperbolic functions with their inverses, and what is built like them."""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, REDUCED, finfo, int32
from flambeau.graph.node import Aval
from flambeau.ops.compare import eq, gt, logical_and, logical_or, lt, where
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.pointwise import (
    binary,
    binary_function,
    broadcast_rule,
    broadcast_rule_without,
    checked_one_tensor,
    checked_tensor,
    conj,
    no_slope,
    not_implemented,
    unary,
    unary_function,
)
from flambeau.ops.samples import T, case
from flambeau.ops.special_kernels import in_double, log1p_single
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- circular

TAN = unary("tan", lambda xp, x: xp.tan(x), lambda grad, out: grad * conj(1 + out * out), promote="float", high=1.2)
tan = unary_function(TAN, "The tangent.", example=("torch.tan(torch.tensor([0., torch.pi / 4]))", "tensor([0., 1.])"))

ASIN = unary(
    "asin",
    lambda xp, x: xp.arcsin(x),
    lambda grad, x: grad * conj((1 - x * x).rsqrt()),
    promote="float",
    low=-0.9,
    high=0.9,
)
asin = unary_function(
    ASIN,
    "The inverse of the sine, between -pi/2 and pi/2.",
    "arcsin",
    example=("torch.asin(torch.tensor([0., 1., 2.]))", "tensor([0.0000, 1.5708,    nan])"),
)

ACOS = unary(
    "acos",
    lambda xp, x: xp.arccos(x),
    lambda grad, x: -grad * conj((1 - x * x).rsqrt()),
    promote="float",
    low=-0.9,
    high=0.9,
)
acos = unary_function(
    ACOS,
    "The inverse of the cosine, between 0 and pi.",
    "arccos",
    example=("torch.acos(torch.tensor([1., 0., -1.]))", "tensor([0.0000, 1.5708, 3.1416])"),
)

ATAN = unary("atan", lambda xp, x: xp.arctan(x), lambda grad, x: grad / conj(1 + x * x), promote="float")
atan = unary_function(
    ATAN,
    "The inverse of the tangent, between -pi/2 and pi/2.",
    "arctan",
    example=('torch.atan(torch.tensor([0., 1., float("inf")]))', "tensor([0.0000, 0.7854, 1.5708])"),
)


def _atan2_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    shared = grad / (x * x + y * y)
    return (shared * y if needs[0] else None, -shared * x if needs[1] else None)


ATAN2 = binary(
    "atan2",
    lambda xp, x, y: xp.arctan2(x, y),
    _atan2_derivative,
    promote="float",
    rule=broadcast_rule_without("atan2", COMPLEX),
    numbers=False,
)
atan2 = binary_function(
    ATAN2,
    "The angle of the point with ordinate ``input`` and abscissa ``other``, broadcast.",
    "arctan2",
    numbers=False,
    example=(
        "torch.atan2(torch.tensor([1., 1., -1.]), torch.tensor([1., -1., -1.]))",
        "tensor([ 0.7854,  2.3562, -2.3562])",
    ),
)

# ---------------------------------------------------------------- hyperbolic

SINH = unary("sinh", lambda xp, x: xp.sinh(x), lambda grad, x: grad * conj(cosh(x)), promote="float")
sinh = unary_function(
    SINH, "The hyperbolic sine.", example=("torch.sinh(torch.tensor([0., 1.]))", "tensor([0.0000, 1.1752])")
)
COSH = unary("cosh", lambda xp, x: xp.cosh(x), lambda grad, x: grad * conj(sinh(x)), promote="float")
cosh = unary_function(
    COSH, "The hyperbolic cosine.", example=("torch.cosh(torch.tensor([0., 1.]))", "tensor([1.0000, 1.5431])")
)
ASINH = unary("asinh", lambda xp, x: xp.arcsinh(x), lambda grad, x: grad * conj((x * x + 1).rsqrt()), promote="float")
asinh = unary_function(
    ASINH,
    "The inverse of the hyperbolic sine.",
    "arcsinh",
    example=("torch.asinh(torch.tensor([0., 1.1752]))", "tensor([0.0000, 1.0000])"),
)
ACOSH = unary(
    "acosh",
    lambda xp, x: xp.arccosh(x),
    # By two roots: for complex numbers their product is not the root of the product.
    lambda grad, x: grad * conj((x - 1).rsqrt() * (x + 1).rsqrt()),
    promote="float",
    low=1.1,
    high=4.0,
)
acosh = unary_function(
    ACOSH,
    "The inverse of the hyperbolic cosine, not negative.",
    "arccosh",
    example=("torch.acosh(torch.tensor([1., 1.5431, 0.5]))", "tensor([0.0000, 1.0000,    nan])"),
)
ATANH = unary(
    "atanh", lambda xp, x: xp.arctanh(x), lambda grad, x: grad / conj(1 - x * x), promote="float", low=-0.9, high=0.9
)
atanh = unary_function(
    ATANH,
    "The inverse of the hyperbolic tangent.",
    "arctanh",
    example=("torch.atanh(torch.tensor([0., 0.5, 1.]))", "tensor([0.0000, 0.5493,    inf])"),
)

# ---------------------------------------------------------------- sinc


def _sinc_kernel(xp: Any, x: Any) -> Any:
    # One at zero, where the quotient is undefined.
    angle = xp.where(x == 0, 1, math.pi * x).astype(x.dtype)
    return xp.where(x == 0, 1, xp.sin(angle) / angle).astype(x.dtype)


def _sinc_derivative(grad: Tensor, x: Tensor) -> Tensor:
    angle = x * math.pi
    slope = (angle * angle.cos() - angle.sin()) / (angle * x)
    return grad * conj(where(eq(x, 0), 0, slope))


SINC = unary("sinc", _sinc_kernel, _sinc_derivative, promote="float")
sinc = unary_function(
    SINC,
    "``sin(pi x) / (pi x)``, and 1 at zero.",
    special="sinc",
    example=("torch.sinc(torch.tensor([0., 0.5, 1.5]))", "tensor([ 1.0000,  0.6366, -0.2122])"),
)

# ---------------------------------------------------------------- degrees and radians


def _angle_unit(name: str, factor: float, doc: str, example: tuple[str, str]) -> Any:
    def rule(x: Aval) -> Aval:
        if x.dtype.category == COMPLEX:
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return x.of()

    op = unary(name, lambda xp, x: x * factor, lambda grad: grad * factor, promote="float", rule=rule)
    return unary_function(op, doc, example=example)


deg2rad = _angle_unit(
    "deg2rad",
    math.pi / 180,
    "Degrees to radians.",
    example=("torch.deg2rad(torch.tensor([0., 90., 180.]))", "tensor([0.0000, 1.5708, 3.1416])"),
)
rad2deg = _angle_unit(
    "rad2deg",
    180 / math.pi,
    "Radians to degrees.",
    example=("torch.rad2deg(torch.tensor([0., torch.pi / 2, torch.pi]))", "tensor([  0.,  90., 180.])"),
)

# ---------------------------------------------------------------- distance, sign, neighbours


def _hypot_kernel(xp: Any, x: Any, y: Any) -> Any:
    return xp.hypot(x, y)


def _hypot_derivative(grad: Tensor, x: Tensor, y: Tensor, out: Tensor, needs: tuple[bool, ...]) -> Any:
    return (grad * (x / out) if needs[0] else None, grad * (y / out) if needs[1] else None)


HYPOT = binary(
    "hypot",
    _hypot_kernel,
    _hypot_derivative,
    # JAX scales by the larger operand, which costs the last bits.
    lax=in_double(_hypot_kernel),
    rule=broadcast_rule_without("hypot", BOOL, INTEGER, COMPLEX),
    numbers=False,
)
hypot = binary_function(
    HYPOT,
    "``sqrt(input**2 + other**2)`` without overflow, broadcast.",
    numbers=False,
    example=("torch.hypot(torch.tensor([1., 1e30]), torch.tensor([1., 0.]))", "tensor([1.4142e+00, 1.0000e+30])"),
)


def _copysign_derivative(grad: Tensor, x: Tensor, out: Tensor, needs: tuple[bool, ...]) -> Any:
    first = where(eq(x, 0), 0, grad * (out / x)) if needs[0] else None
    return (first, no_slope(grad) if needs[1] else None)


COPYSIGN = binary(
    "copysign",
    lambda xp, x, y: xp.copysign(x, y),
    _copysign_derivative,
    promote="float",
    rule=broadcast_rule_without("copysign", COMPLEX),
    grad_name=lambda call: f"CopysignBackward{int(call.inputs[1].weak)}",
)
copysign = binary_function(
    COPYSIGN,
    "The magnitude of ``input`` with the sign of ``other``, broadcast.",
    example=("torch.copysign(torch.tensor([1., -2.]), torch.tensor([-0., 3.]))", "tensor([-1.,  2.])"),
)

NEXTAFTER = binary(
    "nextafter",
    lambda xp, x, y: xp.nextafter(x, y),
    lambda grad, x, y: (where(eq(x, y), 0, grad), no_slope(grad)),
    rule=broadcast_rule_without("nextafter", BOOL, INTEGER, COMPLEX),
    numbers=False,
    samples=lambda: [case("nextafter", T(3, 4), T(3, 4), finite=False)],
)
nextafter = binary_function(
    NEXTAFTER,
    "The next number of the type after ``input`` towards ``other``.",
    numbers=False,
    example=(
        "torch.nextafter(torch.tensor([1.]), torch.tensor([2.])) == 1 + torch.finfo(torch.float32).eps",
        "tensor([True])",
    ),
)


def _heaviside_rule(x: Aval, y: Aval) -> Aval:
    if x.dtype.category == COMPLEX or y.dtype.category == COMPLEX:
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if x.dtype is not y.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return broadcast_rule(x, y)


def _heaviside_kernel(xp: Any, x: Any, values: Any) -> Any:
    return xp.where(x == 0, values, (x > 0).astype(x.dtype))


HEAVISIDE = binary(
    "heaviside",
    _heaviside_kernel,
    NotDifferentiable("it is a step"),
    promote=None,
    grad_name="NotImplemented",
    rule=_heaviside_rule,
    samples=lambda: [
        case("heaviside", T(3, 4), T(4), grad=False),
        case("heaviside", T(6, dtype="int64"), T(6, dtype="int64")),
    ],
)


@public(method=True, inplace=True, out="exact")
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, and ``values`` at zero; broadcast.

    Raises:
        RuntimeError: if the types of the tensors differ.

    Example:
        >>> import flambeau as torch
        >>> torch.heaviside(torch.tensor([-1., 0., 2.]), torch.tensor(7.))
        tensor([0., 7., 1.])
    """
    checked_tensor("heaviside", "input", 1, input)
    checked_tensor("heaviside", "values", 2, values)
    return HEAVISIDE(input, values)


# ---------------------------------------------------------------- mantissa and exponent


@public(method=True, inplace=True, out=True)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """``input * 2 ** other``, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.ldexp(torch.tensor([1., 3.]), torch.tensor([4, 1]))
        tensor([16.,  6.])
    """
    checked_tensor("ldexp", "input", 1, input)
    checked_tensor("ldexp", "other", 2, other)
    return input * (2.0**other)


def _frexp_rule(x: Aval) -> tuple[Aval, Aval]:
    if x.dtype.category != FLOATING:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return (x.of(), x.of(dtype=int32))


def _frexp_kernel(xp: Any, x: Any) -> Any:
    mantissa, exponent = xp.frexp(x)
    return (mantissa, exponent.astype(xp.int32))


def _frexp_derivative(grads: list[Any], outs: list[Tensor]) -> Any:
    return grads[0] / (2.0 ** outs[1])


FREXP = operator("frexp", _frexp_rule, _frexp_kernel, _frexp_derivative, samples=lambda: [case("frexp", T(3, 4))])


@public(method=True, out="exact")
def frexp(input: Tensor) -> Any:
    """Mantissa and exponent: ``input = mantissa * 2 ** exponent`` with ``0.5 <= |mantissa| < 1``.

    Example:
        >>> import flambeau as torch
        >>> torch.frexp(torch.tensor([6., 0.25]))
        torch.return_types.frexp(
        mantissa=tensor([0.7500, 0.5000]),
        exponent=tensor([ 3, -1], dtype=torch.int32))
    """
    checked_tensor("frexp", "input", 1, input)
    return named("frexp", *FREXP(input))


# ---------------------------------------------------------------- sums of exponentials


def _logaddexp_kernel(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind != "c":
        return xp.logaddexp(x, y)
    first = xp.real(x) >= xp.real(y)
    high, low = xp.where(first, x, y), xp.where(first, y, x)
    same = ~xp.isfinite(xp.real(x)) & (xp.real(x) == xp.real(y))
    usual = high + xp.log1p(xp.exp(low - high))
    infinite = xp.where(xp.real(high) < 0, high, xp.log(xp.exp(low) + xp.exp(high)))
    return xp.where(same, infinite, usual)


def _logaddexp_derivative(grad: Tensor, x: Tensor, y: Tensor, out: Tensor, needs: tuple[bool, ...]) -> Any:
    # The share that each has in the sum; equal infinities would give nan, and have no share.
    first = grad * conj(_share(x, out)) if needs[0] else None
    second = grad * conj(_share(y, out)) if needs[1] else None
    return (first, second)


def _share(x: Tensor, out: Tensor) -> Tensor:
    return where(eq(x, -math.inf), 0, (x - out).exp())


def _logaddexp_numpy(np: Any, x: Any, y: Any) -> Any:
    if x.dtype != np.float32:
        return _logaddexp_kernel(np, x, y)
    # Equal infinities have no difference.
    gap = np.where(x == y, x.dtype.type(0), -np.abs(x - y))
    return np.maximum(x, y) + log1p_single(np.exp(gap))


LOGADDEXP = binary(
    "logaddexp",
    _logaddexp_kernel,
    _logaddexp_derivative,
    numpy=_logaddexp_numpy,
    rule=broadcast_rule_without("logaddexp", BOOL, INTEGER),
    numbers=False,
)
logaddexp = binary_function(
    LOGADDEXP,
    "``log(exp(input) + exp(other))`` without overflow.",
    numbers=False,
    inplace=False,
    example=("torch.logaddexp(torch.tensor([1000.]), torch.tensor([1000.]))", "tensor([1000.6932])"),
)


def _logaddexp2_derivative(grad: Tensor, x: Tensor, y: Tensor, out: Tensor, needs: tuple[bool, ...]) -> Any:
    first = grad * where(eq(x, -math.inf), 0, (x - out).exp2()) if needs[0] else None
    second = grad * where(eq(y, -math.inf), 0, (y - out).exp2()) if needs[1] else None
    return (first, second)


LOGADDEXP2 = binary(
    "logaddexp2",
    lambda xp, x, y: xp.logaddexp2(x, y),
    _logaddexp2_derivative,
    rule=broadcast_rule_without("logaddexp2", BOOL, INTEGER, COMPLEX),
    numbers=False,
)
logaddexp2 = binary_function(
    LOGADDEXP2,
    "``log2(2**input + 2**other)`` without overflow.",
    numbers=False,
    inplace=False,
    example=(
        "torch.logaddexp2(torch.tensor([1000.]), torch.tensor([1000.]))",
        "tensor([1001.])",
    ),
)

# ---------------------------------------------------------------- products with a logarithm


def _xlogy_kernel(xp: Any, x: Any, y: Any) -> Any:
    product = xp.where(x == 0, 0, x * xp.log(y)).astype(x.dtype)
    return xp.where(xp.isnan(y), y, product)


def _xlogy_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    # Python numbers get the width of the gradient.
    x, y = x.to(grad.dtype), y.to(grad.dtype)
    first = None
    if needs[0]:
        first = where(logical_and(eq(x, 0), y <= 0), 0, grad * y.log())
    return (first, grad * x / y if needs[1] else None)


XLOGY = binary(
    "xlogy",
    _xlogy_kernel,
    _xlogy_derivative,
    promote="float",
    rule=broadcast_rule_without("xlogy", COMPLEX),
    grad_name=lambda call: f"XlogyBackward{1 if call.inputs[0].weak else 2 if call.inputs[1].weak else 0}",
    low=0.1,
)


@public(into="torch special", method=True, inplace=True, out=True)
def xlogy(input: Any, other: Any) -> Tensor:
    """``input * log(other)``, and 0 where ``input`` is, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.xlogy(torch.tensor([0., 2.]), torch.tensor([0., 10.]))
        tensor([0.0000, 4.6052])
    """
    checked_one_tensor("xlogy", input, other)
    return XLOGY(input, other)


def _xlog1py_kernel(xp: Any, x: Any, y: Any) -> Any:
    product = xp.where(x == 0, 0, x * xp.log1p(y)).astype(x.dtype)
    return xp.where(xp.isnan(y), y, product)


def _xlog1py_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    x, y = x.to(grad.dtype), y.to(grad.dtype)
    first = None
    if needs[0]:
        first = where(logical_and(eq(x, 0), y <= -1), 0, grad * y.log1p())
    return (first, grad * x / (y + 1) if needs[1] else None)


XLOG1PY = binary(
    "special_xlog1py",
    _xlog1py_kernel,
    _xlog1py_derivative,
    promote="float",
    rule=broadcast_rule_without("special_xlog1py", COMPLEX),
    low=0.1,
    fn="special.xlog1py",
)


@public(into="special", out=True)
def xlog1py(input: Any, other: Any) -> Tensor:
    """``input * log1p(other)``, and 0 where ``input`` is, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.special.xlog1py(torch.tensor([0., 2.]), torch.tensor([-1., 9.]))
        tensor([0.0000, 4.6052])
    """
    checked_one_tensor("special_xlog1py", input, other)
    return XLOG1PY(input, other)


# ---------------------------------------------------------------- logit


def _logit_rule(x: Aval, *, eps: float | None) -> Aval:
    if x.dtype.category == COMPLEX:
        raise not_implemented("logit", x.dtype)
    return x.of()


def _logit_kernel(xp: Any, x: Any, *, eps: float | None) -> Any:
    if eps is not None:
        x = xp.clip(x, eps, 1 - eps)
    return xp.log(x / (1 - x))


def _logit_derivative(grad: Tensor, x: Tensor, eps: float | None) -> Tensor:
    low, high = (0.0, 1.0) if eps is None else (eps, 1.0 - eps)
    outside = math.nan if eps is None else 0
    return where(logical_or(lt(x, low), gt(x, high)), outside, grad / (x * (1 - x)))


LOGIT = operator(
    "logit",
    _logit_rule,
    _logit_kernel,
    _logit_derivative,
    promote="float",
    samples=lambda: [case("logit", T(3, 4, low=0.1, high=0.9)), case("logit", T(3, 4, low=0.0, high=1.0), eps=0.2)],
)


@public(into="special", out=True)
@public(method=True, inplace=True, out=True)
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """``log(x / (1 - x))``, x brought into ``[eps, 1 - eps]`` first if ``eps`` is given.

    Example:
        >>> import flambeau as torch
        >>> torch.logit(torch.tensor([0.5, 0.]))
        tensor([0., -inf])
        >>> torch.logit(torch.tensor([0.5, 0.]), eps=0.25)
        tensor([ 0.0000, -1.0986])
    """
    checked_tensor("logit", "input", 1, input)
    return LOGIT(input, eps)


# ---------------------------------------------------------------- replacing what is no number


def _nan_to_num_rule(x: Aval, *, nan: float | None, posinf: float | None, neginf: float | None) -> Aval:
    return x.of()


def _nan_to_num_kernel(xp: Any, x: Any, *, nan: float | None, posinf: float | None, neginf: float | None) -> Any:
    if x.dtype.kind in "iub":
        return x
    if xp.__name__ == "numpy" and xp.isfinite(x).all():
        return x
    if x.dtype.kind == "c":
        parts = [_replaced_parts(xp, part, nan, posinf, neginf) for part in (xp.real(x), xp.imag(x))]
        return (parts[0] + 1j * parts[1]).astype(x.dtype)
    return _replaced_parts(xp, x, nan, posinf, neginf)


def _replaced_parts(xp: Any, x: Any, nan: float | None, posinf: float | None, neginf: float | None) -> Any:
    limits = xp.finfo(x.dtype)
    # Bounds are rounded to the type, as numbers in it.
    high = x.dtype.type(limits.max if posinf is None else posinf)
    low = x.dtype.type(limits.min if neginf is None else neginf)
    x = xp.where(xp.isnan(x), x.dtype.type(0 if nan is None else nan), x)
    return xp.where(x == xp.inf, high, xp.where(x == -xp.inf, low, x))


def _nan_to_num_derivative(grad: Tensor, x: Tensor) -> Tensor:
    return where(x.isfinite() if not x.dtype.is_complex else x.real.isfinite() & x.imag.isfinite(), grad, 0)


NAN_TO_NUM = operator(
    "nan_to_num",
    _nan_to_num_rule,
    _nan_to_num_kernel,
    _nan_to_num_derivative,
    samples=lambda: [case("nan_to_num", T(3))],
)


@public(method=True, inplace=True, out="exact")
def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """nan replaced by ``nan`` (0 unless given), infinities by ``posinf`` and ``neginf`` (the type's limits).

    Example:
        >>> import flambeau as torch
        >>> torch.nan_to_num(torch.tensor([float("nan"), float("inf"), 1.]), nan=-1., posinf=9.)
        tensor([-1.,  9.,  1.])
    """
    checked_tensor("nan_to_num", "input", 1, input)
    if input.dtype.category >= FLOATING:
        if input.dtype in REDUCED:
            # The limits are those of the type itself, not of the one it is computed in.
            limits = finfo(input.dtype)
            posinf = limits.max if posinf is None else posinf
            neginf = limits.min if neginf is None else neginf
    return NAN_TO_NUM(input, nan, posinf, neginf)
