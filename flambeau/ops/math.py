"""Elementwise mathematics: magnitude and rounding, powers, exponentials and logarithms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER
from flambeau.graph.node import Aval
from flambeau.ops.compare import eq, ge, logical_and, where
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import (
    binary,
    broadcast_rule_without,
    checked_one_tensor,
    checked_tensor,
    conj,
    no_slope,
    not_implemented,
    same_rule_without,
    unary,
    unary_function,
)
from flambeau.ops.samples import T, case
from flambeau.ops.special_kernels import expm1_single, log1p_single
from flambeau.tensor.tensor import Tensor

LN2 = 0.6931471805599453
LN10 = 2.302585092994046

# ---------------------------------------------------------------- magnitude and sign


def _abs_rule(x: Aval) -> Aval:
    if x.dtype.category == BOOL:
        raise not_implemented("abs", x.dtype)
    return x.of(dtype=x.dtype.to_real())


ABS = unary("abs", lambda xp, x: xp.abs(x), lambda grad, x: grad * sgn(x), rule=_abs_rule)
_abs = unary_function(
    ABS,
    "The absolute value; of a complex number its distance from zero.",
    "absolute",
    inplace=False,
    out="exact",
    example=("torch.abs(torch.tensor([-1., 2., -3.]))", "tensor([1., 2., 3.])"),
)


def _abs_(input: Tensor) -> Tensor:
    """The absolute value, to be written in place.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([-1., 2.]).abs_()
        tensor([1., 2.])
    """
    if input.dtype.is_complex:
        raise RuntimeError("In-place abs is not supported for complex tensors.")
    return _abs(input)


for _name in ("abs", "absolute"):
    public(_name, into="", inplace=True)(_abs_)


def _sign_rule(x: Aval) -> Aval:
    if x.dtype.category == COMPLEX:
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead."
        )
    return x.of()


def _sign_kernel(xp: Any, x: Any) -> Any:
    if x.dtype.kind == "b":
        return x
    if x.dtype.kind == "f":
        # The sign of what is not a number is zero.
        return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype)
    return xp.sign(x)


SIGN = unary("sign", _sign_kernel, no_slope, rule=_sign_rule)
sign = unary_function(
    SIGN,
    "-1, 0 or 1 by the sign of the element.",
    out="exact",
    example=("torch.sign(torch.tensor([-4., 0., 0.5]))", "tensor([-1.,  0.,  1.])"),
)


def _sgn_derivative(grad: Tensor, x: Tensor, out: Tensor) -> Tensor:
    if not x.dtype.is_complex:
        return no_slope(grad)
    size = ABS(x)
    turned = (grad - out * (conj(grad) * out).real) / size
    return where(eq(size, 0), 0, turned)


SGN = unary(
    "sgn",
    _sign_kernel,
    _sgn_derivative,
    samples=lambda: [case("sgn", T(3, 4)), case("sgn", T(4, dtype="complex64"))],
)
sgn = unary_function(
    SGN,
    "The sign of the element; of a complex number ``x / |x|``, and zero of zero.",
    out="exact",
    example=("torch.sgn(torch.tensor([3 + 4j, 0j]))", "tensor([0.6000+0.8000j, 0.0000+0.0000j])"),
)

# ---------------------------------------------------------------- rounding


def _rounding(
    name: str, kernel: Callable[..., Any], doc: str, *aliases: str, example: tuple[str, str]
) -> Callable[[Tensor], Tensor]:
    def rule(x: Aval) -> Aval:
        if x.dtype.category == COMPLEX:
            raise NotImplementedError(f"{name} is not supported for complex inputs")
        if x.dtype.category == BOOL:
            raise not_implemented(name, x.dtype)
        return x.of()

    op = unary(
        name,
        lambda xp, x: x if x.dtype.kind in "iu" else kernel(xp, x),
        no_slope,
        rule=rule,
        samples=lambda: [case(name, T(3, 4)), case(name, T(5, dtype="int64"))],
    )
    return unary_function(op, doc, *aliases, example=example, out="exact")


floor = _rounding(
    "floor",
    lambda xp, x: xp.floor(x),
    "The largest integer not above the element.",
    example=("torch.floor(torch.tensor([1.5, -1.5]))", "tensor([ 1., -2.])"),
)
ceil = _rounding(
    "ceil",
    lambda xp, x: xp.ceil(x),
    "The smallest integer not below the element.",
    example=("torch.ceil(torch.tensor([1.5, -1.5]))", "tensor([ 2., -1.])"),
)
trunc = _rounding(
    "trunc",
    lambda xp, x: xp.trunc(x),
    "The element without its fraction.",
    "fix",
    example=("torch.trunc(torch.tensor([1.5, -1.5]))", "tensor([ 1., -1.])"),
)


def _round_rule(x: Aval, *, decimals: int) -> Aval:
    if x.dtype.category == COMPLEX:
        raise NotImplementedError("round is not supported for complex inputs")
    if x.dtype.category == BOOL or (decimals and x.dtype.category == INTEGER):
        raise not_implemented("round", x.dtype)
    return x.of()


def _round_kernel(xp: Any, x: Any, *, decimals: int) -> Any:
    if x.dtype.kind in "iu":
        return x
    if decimals == 0:
        return xp.round(x)
    # As products and quotients by whole powers of ten, which are exact numbers.
    tens = x.dtype.type(10.0 ** abs(decimals))
    return xp.round(x * tens) / tens if decimals > 0 else xp.round(x / tens) * tens


ROUND = operator(
    "round",
    _round_rule,
    _round_kernel,
    no_slope,
    grad_name=lambda call: "RoundBackward1" if call.attrs[0] else "RoundBackward0",
    samples=lambda: [
        case("round", T(3, 4)),
        case("round", T(3, 4), decimals=2),
        case("round", T(3, 4, low=-99, high=99), decimals=-1),
        case("round", T(5, dtype="int64")),
    ],
)


@public(into="special", out="exact")
@public(method=True, inplace=True, out="exact")
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, a half going to the even one; or the nearest number of ``decimals`` digits.

    Example:
        >>> import flambeau as torch
        >>> torch.round(torch.tensor([0.5, 1.5, -2.7]))
        tensor([ 0.,  2., -3.])
    """
    checked_tensor("round", "input", 1, input)
    return ROUND(input, decimals)


FRAC = unary(
    "frac", lambda xp, x: x - xp.trunc(x), lambda grad: grad, rule=same_rule_without("frac", BOOL, INTEGER, COMPLEX)
)
frac = unary_function(
    FRAC,
    "The fraction of the element, with its sign.",
    out="exact",
    example=("torch.frac(torch.tensor([1.5, -1.25]))", "tensor([ 0.5000, -0.2500])"),
)

# ---------------------------------------------------------------- powers

RECIPROCAL = unary(
    "reciprocal", lambda xp, x: 1 / x, lambda grad, out: -grad * conj(out * out), promote="float", low=0.5
)
reciprocal = unary_function(
    RECIPROCAL, "``1 / input``.", example=("torch.reciprocal(torch.tensor([2., -4.]))", "tensor([ 0.5000, -0.2500])")
)

SQRT = unary("sqrt", lambda xp, x: xp.sqrt(x), lambda grad, out: grad / (2 * conj(out)), promote="float", low=0.1)
sqrt = unary_function(
    SQRT,
    "The square root; nan of negative numbers.",
    example=("torch.sqrt(torch.tensor([4., 9., -1.]))", "tensor([2., 3., nan])"),
)


def _rsqrt_lax(xp: Any, x: Any) -> Any:
    from jax import lax

    return lax.rsqrt(x)


RSQRT = unary(
    "rsqrt",
    None,
    lambda grad, out: -0.5 * grad * conj(out * out * out),
    numpy=lambda xp, x: 1 / xp.sqrt(x),
    lax=_rsqrt_lax,
    promote="float",
    low=0.1,
)
rsqrt = unary_function(
    RSQRT, "One over the square root.", example=("torch.rsqrt(torch.tensor([4., 16.]))", "tensor([0.5000, 0.2500])")
)

SQUARE = unary(
    "square_", lambda xp, x: x * x, lambda grad, x: grad * conj(2 * x), fn="square", grad_name="PowBackward0"
)


@public(method=True, inplace=True, out=True)
def square(input: Tensor) -> Tensor:
    """``input * input``.

    Example:
        >>> import flambeau as torch
        >>> torch.square(torch.tensor([-3., 4.]))
        tensor([ 9., 16.])
    """
    checked_tensor("square", "input", 1, input)
    return SQUARE(input.to(dtypes.int64) if input.dtype.category == BOOL else input)


_FAST: dict[Any, Callable[[Any, Any], Any]] = {
    -2: lambda xp, x: 1 / (x * x),
    -1: lambda xp, x: 1 / x,
    -0.5: lambda xp, x: 1 / xp.sqrt(x),
    0: lambda xp, x: xp.ones_like(x),
    0.5: lambda xp, x: xp.sqrt(x),
    1: lambda xp, x: x,
    2: lambda xp, x: x * x,
    3: lambda xp, x: x * x * x,
    4: lambda xp, x: xp.square(x * x),
}
"""Exponents that need no general power: they shape the program; any other is a value in it."""


def _power_rule(x: Aval, *, exponent: Any) -> Aval:
    return x.of()


def _power_kernel(xp: Any, x: Any, *, exponent: Any) -> Any:
    return _FAST[exponent](xp, x)


def _power_derivative(grad: Tensor, x: Tensor, exponent: Any) -> Tensor:
    if exponent == 0:
        return no_slope(grad)
    if exponent == 1:
        return grad
    if exponent == 2:
        return grad * conj(2 * x)
    return grad * conj(exponent * pow(x, exponent - 1))


POWER = operator(
    "power",
    _power_rule,
    _power_kernel,
    _power_derivative,
    grad_name="PowBackward0",
    samples=lambda: [case("pow", T(3, 4, low=0.3), exponent) for exponent in _FAST],
)


def _pow_kernel(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind != "i":
        return xp.power(x, y)
    # A whole number to a negative power is 0, but for 1 and -1.
    negative = y < 0
    turned = xp.where(x == -1, 1 - 2 * (y & 1), xp.where(x == 1, y * 0 + 1, y * 0))
    return xp.where(negative, turned, xp.power(x, xp.where(negative, 0, y)))


def _pow_derivative(grad: Tensor, x: Tensor, y: Tensor, out: Tensor, needs: tuple[bool, ...]) -> Any:
    first = second = None
    # Python numbers get the width that the result has.
    x, y = x.to(out.dtype), y.to(out.dtype)
    if needs[0]:
        first = where(eq(y, 0), 0, grad * conj(y * POW(x, y - 1)))
    if needs[1]:
        flat = eq(x, 0)
        real = y.real if y.dtype.is_complex else y
        flat = logical_and(flat, ge(real, 0))
        second = where(flat, 0, grad * conj(out * log(x)))
    return (first, second)


def _pow_grad_name(call: Any) -> str:
    base, exponent = call.inputs
    return "PowBackward2" if base.weak else "PowBackward0" if exponent.weak else "PowBackward1"


POW = binary(
    "pow",
    _pow_kernel,
    _pow_derivative,
    rule=broadcast_rule_without("pow", BOOL),
    grad_name=_pow_grad_name,
    samples=lambda: [
        case("pow", T(3, 4, low=0.2), T(3, 4)),
        case("pow", T(3, 1, low=0.2), T(4)),
        case("pow", T(3, 4, low=0.2), 1.7),
        case("pow", 2.5, T(3, 4)),
        case("pow", T(6, dtype="int64", low=-3, high=4), T(6, dtype="int64", low=0, high=4)),
        case("pow", T(6, dtype="int64", low=-1, high=3), T(6, dtype="int64", low=-3, high=0)),
    ],
)


@public(method=True, inplace=True, out=True)
def pow(input: Any, exponent: Any) -> Tensor:
    """``input`` to the power of ``exponent``, broadcast; either may be a number.

    Raises:
        RuntimeError: for integers to a negative integer number.

    Example:
        >>> import flambeau as torch
        >>> torch.pow(torch.tensor([1., 2., 3.]), 2)
        tensor([1., 4., 9.])
    """
    if isinstance(exponent, Tensor):
        return POW(input, exponent)
    if not isinstance(input, Tensor):
        checked_one_tensor("pow", input, exponent)
    kind = dtypes.of_number(exponent)
    if kind.category <= INTEGER and input.dtype.category <= INTEGER and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    if kind.category <= FLOATING and kind.category != BOOL and exponent in _FAST:
        common = dtypes.result_dtype((input._node.aval, Aval((), kind, weak=True)))
        return POWER(input if common is input.dtype else input.to(common), exponent)
    return POW(input, exponent)


@public(method=True, out=True)
def float_power(input: Any, exponent: Any) -> Tensor:
    """``input`` to the power of ``exponent`` in double precision.

    Example:
        >>> import flambeau as torch
        >>> torch.float_power(torch.tensor([2, 3]), -1)
        tensor([0.5000, 0.3333], dtype=torch.float64)
    """
    checked_one_tensor("float_power", input, exponent)
    categories = [
        x.dtype.category if isinstance(x, Tensor) else dtypes.of_number(x).category for x in (input, exponent)
    ]
    wide = dtypes.complex128 if max(categories) == COMPLEX else dtypes.float64
    input = input.to(wide) if isinstance(input, Tensor) else _wide(input, wide)
    exponent = exponent.to(wide) if isinstance(exponent, Tensor) else _wide(exponent, wide)
    return pow(input, exponent)


@public("float_power", into="", inplace=True)
def _float_power_(input: Tensor, exponent: Any) -> Tensor:
    """The power in double precision, to be written in place.

    Raises:
        RuntimeError: if the tensor is not of double precision already.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([2., 3.], dtype=torch.float64).float_power_(2)
        tensor([4., 9.], dtype=torch.float64)
    """
    result = float_power(input, exponent)
    if result.dtype is not input.dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {input.dtype.title} but the operation's result requires dtype "
            f"{result.dtype.title}"
        )
    return result


def _wide(value: Any, dtype: dtypes.dtype) -> Any:
    return complex(value) if dtype.is_complex else float(value)


# ---------------------------------------------------------------- exponentials and logarithms

EXP = unary("exp", lambda xp, x: xp.exp(x), lambda grad, out: grad * conj(out), promote="float")
exp = unary_function(
    EXP, "e to the power of the element.", example=("torch.exp(torch.tensor([0., 1.]))", "tensor([1.0000, 2.7183])")
)

EXP2 = unary(
    "exp2",
    lambda xp, x: xp.exp(x * LN2) if x.dtype.kind == "c" else xp.exp2(x),
    lambda grad, out: grad * conj(out) * LN2,
    promote="float",
)
exp2 = unary_function(
    EXP2,
    "2 to the power of the element.",
    special="exp2",
    example=("torch.exp2(torch.tensor([0., 3., -1.]))", "tensor([1.0000, 8.0000, 0.5000])"),
)

EXPM1 = unary(
    "expm1",
    lambda xp, x: xp.expm1(x),
    lambda grad, out: grad * conj(out + 1),
    numpy=lambda np, x: expm1_single(x) if x.dtype == np.float32 else np.expm1(x),
    promote="float",
)
expm1 = unary_function(
    EXPM1,
    "``exp(input) - 1``, exact near zero.",
    special="expm1",
    example=("torch.expm1(torch.tensor([0., 1e-8]))", "tensor([0.0000e+00, 1.0000e-08])"),
)

LOG = unary("log", lambda xp, x: xp.log(x), lambda grad, x: grad / conj(x), promote="float", low=0.1)
log = unary_function(
    LOG,
    "The natural logarithm.",
    example=("torch.log(torch.tensor([1., 10., 0.]))", "tensor([0.0000, 2.3026,   -inf])"),
)

LOG2 = unary("log2", lambda xp, x: xp.log2(x), lambda grad, x: grad / (conj(x) * LN2), promote="float", low=0.1)
log2 = unary_function(
    LOG2, "The logarithm to base 2.", example=("torch.log2(torch.tensor([1., 8., 0.5]))", "tensor([ 0.,  3., -1.])")
)


def _log10_kernel(xp: Any, x: Any) -> Any:
    # By way of double, or powers of ten would miss the whole number by a last bit.
    return xp.log10(x.astype(xp.float64)).astype(x.dtype) if x.dtype == xp.float32 else xp.log10(x)


LOG10 = unary("log10", _log10_kernel, lambda grad, x: grad / (conj(x) * LN10), promote="float", low=0.1)
log10 = unary_function(
    LOG10,
    "The logarithm to base 10.",
    example=("torch.log10(torch.tensor([1., 1000., 0.01]))", "tensor([ 0.,  3., -2.])"),
)

LOG1P = unary(
    "log1p",
    lambda xp, x: xp.log1p(x),
    lambda grad, x: grad / conj(x + 1),
    numpy=lambda np, x: log1p_single(x) if x.dtype == np.float32 else np.log1p(x),
    promote="float",
    low=-0.9,
)
log1p = unary_function(
    LOG1P,
    "``log(1 + input)``, exact near zero.",
    special="log1p",
    example=("torch.log1p(torch.tensor([0., 1e-8]))", "tensor([0.0000e+00, 1.0000e-08])"),
)


def _sigmoid_numpy(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def _sigmoid_lax(xp: Any, x: Any) -> Any:
    from jax import lax

    return lax.logistic(x)


SIGMOID = unary(
    "sigmoid",
    None,
    lambda grad, out: grad * conj((1 - out) * out),
    numpy=_sigmoid_numpy,
    lax=_sigmoid_lax,
    promote="float",
)
sigmoid = unary_function(
    SIGMOID,
    "``1 / (1 + exp(-input))``.",
    special="expit",
    example=("torch.sigmoid(torch.tensor([-2., 0., 2.]))", "tensor([0.1192, 0.5000, 0.8808])"),
)

TANH = unary("tanh", lambda xp, x: xp.tanh(x), lambda grad, out: grad * conj(1 - out * out), promote="float")
tanh = unary_function(
    TANH,
    "The hyperbolic tangent.",
    example=("torch.tanh(torch.tensor([-1., 0., 1.]))", "tensor([-0.7616,  0.0000,  0.7616])"),
)
SIN = unary("sin", lambda xp, x: xp.sin(x), lambda grad, x: grad * conj(cos(x)), promote="float")
sin = unary_function(
    SIN,
    "The sine.",
    example=("torch.sin(torch.tensor([0., torch.pi / 6, torch.pi / 2]))", "tensor([0.0000, 0.5000, 1.0000])"),
)
COS = unary("cos", lambda xp, x: xp.cos(x), lambda grad, x: -grad * conj(sin(x)), promote="float")
cos = unary_function(
    COS,
    "The cosine.",
    example=("torch.cos(torch.tensor([0., torch.pi / 3, torch.pi]))", "tensor([ 1.0000,  0.5000, -1.0000])"),
)


# Named last: the rest of this file uses Python's own.
abs_ = _abs
