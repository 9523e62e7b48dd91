"""Special functions: error, normal, gamma, zeta and Bessel functions, and orthogonal polynomials."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.dtypes import BOOL, COMPLEX
from flambeau.graph.node import Aval
from flambeau.ops import special_kernels as kernels
from flambeau.ops.activation_kernels import erf as erf_kernel
from flambeau.ops.compare import eq, where
from flambeau.ops.operator import NotDifferentiable, Operator, operator, public
from flambeau.ops.pointwise import (
    binary,
    broadcast_rule_without,
    checked_one_tensor,
    checked_tensor,
    same_rule_without,
    unary,
    unary_function,
    with_example,
)
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the family shares


def _function(
    name: str,
    kernel: Any,
    derivative: Any,
    *,
    lax: Any = None,
    low: float = -3.0,
    high: float = 3.0,
    fn: str | None = None,
    **options: Any,
) -> Operator:
    """An operator of one real operand, of which integers become floating."""
    return unary(
        name,
        kernel,
        derivative,
        lax=lax,
        rule=same_rule_without(name, COMPLEX),
        promote="float",
        low=low,
        high=high,
        fn=fn,
        **options,
    )


def _special(op: Operator, doc: str, example: tuple[str, str]) -> Callable[[Tensor], Tensor]:
    """The public function of an operator that exists in the namespace ``special`` alone."""
    name = op.name.removeprefix("special_")

    def function(input: Tensor) -> Tensor:
        if not isinstance(input, Tensor):
            checked_tensor(op.name, "input", 1, input)
        return op(input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = with_example(doc, *example)
    return public(name, into="special", out=True)(function)


# ---------------------------------------------------------------- error function


def _erf_numpy(np: Any, x: Any) -> Any:
    # Single precision has a rational function of its own, at a fifth of the cost.
    if x.dtype == np.float32:
        return kernels.by_blocks(lambda part: erf_kernel(np, part), x)
    return kernels.erf(np, x)


def _lax(name: str) -> Callable[..., Any]:
    def kernel(xp: Any, x: Any) -> Any:
        from jax import lax

        return getattr(lax, name)(x)

    return kernel


ERF = _function(
    "erf",
    _erf_numpy,
    lambda grad, x: grad * ((-x * x).exp() * (2 / math.sqrt(math.pi))),
    lax=_lax("erf"),
)
erf = unary_function(
    ERF,
    "The error function ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0.",
    special="erf",
    example=("torch.erf(torch.tensor([0., 0.5, 3.]))", "tensor([0.0000, 0.5205, 1.0000])"),
)

ERFC = _function(
    "erfc",
    kernels.erfc,
    lambda grad, x: grad * ((-x * x).exp() * (-2 / math.sqrt(math.pi))),
    lax=_lax("erfc"),
)
erfc = unary_function(
    ERFC,
    "``1 - erf(input)``, exact where it is small.",
    special="erfc",
    example=("torch.erfc(torch.tensor([0., 0.5, 6.]))", "tensor([1.0000e+00, 4.7950e-01, 2.1520e-17])"),
)

ERFINV = _function(
    "erfinv",
    kernels.erfinv,
    lambda grad, out: grad * ((out * out).exp() * (math.sqrt(math.pi) / 2)),
    lax=_lax("erf_inv"),
    low=-0.9,
    high=0.9,
)
erfinv = unary_function(
    ERFINV,
    "The inverse of the error function; nan outside of [-1, 1].",
    special="erfinv",
    example=("torch.erfinv(torch.tensor([0., 0.5205, 1., 2.]))", "tensor([0.0000, 0.5000,    inf,    nan])"),
)

ERFCX = _function(
    "special_erfcx",
    kernels.erfcx,
    lambda grad, x, out: grad * (2 * x * out - 2 / math.sqrt(math.pi)),
    fn="special.erfcx",
)
erfcx = _special(
    ERFCX,
    "``exp(input**2) * erfc(input)`` without underflow.",
    example=("torch.special.erfcx(torch.tensor([0., 1., 100.]))", "tensor([1.0000, 0.4276, 0.0056])"),
)

# ---------------------------------------------------------------- normal distribution

NDTR = _function(
    "special_ndtr",
    kernels.ndtr,
    lambda grad, x: grad * ((x * x * -0.5).exp() / math.sqrt(2 * math.pi)),
    fn="special.ndtr",
)
ndtr = _special(
    NDTR,
    "The distribution function of the standard normal distribution.",
    example=("torch.special.ndtr(torch.tensor([-1.96, 0., 1.96]))", "tensor([0.0250, 0.5000, 0.9750])"),
)

NDTRI = _function(
    "special_ndtri",
    kernels.ndtri,
    lambda grad, out: grad * ((out * out * 0.5).exp() * math.sqrt(2 * math.pi)),
    fn="special.ndtri",
    low=0.05,
    high=0.95,
)
ndtri = _special(
    NDTRI,
    "The quantile function of the standard normal distribution.",
    example=("torch.special.ndtri(torch.tensor([0.025, 0.5, 0.975]))", "tensor([-1.9600,  0.0000,  1.9600])"),
)

LOG_NDTR = _function(
    "special_log_ndtr",
    kernels.log_ndtr,
    lambda grad, x: grad / ERFCX(x * -math.sqrt(0.5)) * math.sqrt(2 / math.pi),
    fn="special.log_ndtr",
)
log_ndtr = _special(
    LOG_NDTR,
    "The logarithm of the distribution function of the standard normal distribution.",
    example=("torch.special.log_ndtr(torch.tensor([0., -10.]))", "tensor([ -0.6931, -53.2313])"),
)


def _entr_kernel(xp: Any, x: Any) -> Any:
    inside = xp.where(x == 0, x.dtype.type(0), -x * xp.log(xp.where(x > 0, x, 1)))
    return xp.where(x < 0, x.dtype.type(-xp.inf), inside)


ENTR = _function(
    "special_entr",
    _entr_kernel,
    lambda grad, x: grad * (-1 - x.log()),
    fn="special.entr",
    low=0.1,
)
entr = _special(
    ENTR,
    "The entropy ``-x log(x)``: 0 at 0, minus infinity below.",
    example=("torch.special.entr(torch.tensor([-1., 0., 0.5, 1.]))", "tensor([  -inf, 0.0000, 0.3466, -0.0000])"),
)

# ---------------------------------------------------------------- gamma and its logarithmic derivatives

LGAMMA = _function(
    "lgamma", kernels.lgamma, lambda grad, x: grad * DIGAMMA(x), lax=kernels.lgamma_lax, low=0.2, high=5.0
)
lgamma = unary_function(
    LGAMMA,
    "The logarithm of the absolute value of the gamma function.",
    special="gammaln",
    example=("torch.lgamma(torch.tensor([3., 5., 0.5]))", "tensor([0.6931, 3.1781, 0.5724])"),
)

DIGAMMA = _function("digamma", kernels.digamma, lambda grad, x: grad * POLYGAMMA(x, 1), low=0.2, high=5.0)
digamma = unary_function(
    DIGAMMA,
    "The derivative of ``lgamma``.",
    special="digamma",
    example=("torch.digamma(torch.tensor([1., 2., 0.5]))", "tensor([-0.5772,  0.4228, -1.9635])"),
)
public("psi", into="special", out=True)(digamma)


def _polygamma_rule(x: Aval, *, n: int) -> Aval:
    if x.dtype.category == COMPLEX:
        raise NotImplementedError("polygamma is not supported for complex inputs")
    return x.of()


POLYGAMMA = operator(
    "polygamma",
    _polygamma_rule,
    kernels.polygamma,
    lambda grad, x, n: grad * POLYGAMMA(x, n + 1),
    promote="float",
    samples=lambda: [
        case("polygamma", 1, T(3, 4, low=0.3, high=5.0)),
        case("polygamma", 2, T(3, 4, low=0.3, high=5.0)),
        case("polygamma", 0, T(3, low=0.3, high=5.0)),
    ],
)


@public(into="torch special", out=True)
def polygamma(n: int, input: Tensor) -> Tensor:
    """The derivative of order ``n`` of the digamma function.

    Raises:
        RuntimeError: if ``n`` is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.polygamma(1, torch.tensor([1., 2.]))
        tensor([1.6449, 0.6449])
    """
    checked_tensor("polygamma", "input", 2, input)
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return DIGAMMA(input) if n == 0 else POLYGAMMA(input, int(n))


@public("polygamma", into="", method=True, inplace=True)
def _polygamma_method(input: Tensor, n: int) -> Tensor:
    """The derivative of order ``n`` of the digamma function.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1., 2.]).polygamma(1)
        tensor([1.6449, 0.6449])
    """
    return polygamma(n, input)


@public("multigammaln", into="special", out=True)
@public(method=True, inplace=True, out=True)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension ``p``.

    ``p (p - 1) / 4 log(pi)`` plus the sum of ``lgamma(input - j / 2)`` for j from 0 to p - 1.

    Raises:
        RuntimeError: if ``p`` is less than 1.

    Example:
        >>> import flambeau as torch
        >>> torch.mvlgamma(torch.tensor([2., 5.]), 2)
        tensor([0.4516, 6.2042])
    """
    checked_tensor("mvlgamma", "input", 1, input)
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if input.dtype.category == BOOL:
        raise RuntimeError(f"mvlgamma: result type {dtypes.get_default_dtype().title} can't be cast from Bool")
    offsets = input.new_tensor([-0.5 * j for j in range(p)], dtype=_floating(input))
    return LGAMMA(input.unsqueeze(-1) + offsets).sum(-1) + p * (p - 1) / 4 * math.log(math.pi)


def _floating(input: Tensor) -> dtypes.dtype:
    return input.dtype if input.dtype.is_floating_point else dtypes.get_default_dtype()


# ---------------------------------------------------------------- incomplete gamma


def _gamma_density(grad: Tensor, a: Tensor, x: Tensor) -> Tensor:
    return grad * ((a - 1) * x.log() - x - LGAMMA(a)).exp()


def _incomplete(name: str, kernel: Any, sign: float, doc: str, special: str, example: tuple[str, str]) -> Operator:
    def derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
        if needs[0]:
            raise RuntimeError(
                f"the derivative for 'self' is not implemented: {name} has no closed derivative with respect to its "
                "first argument; detach() it"
            )
        return (None, sign * _gamma_density(grad, x, y))

    op = binary(
        name,
        kernel,
        derivative,
        promote="float",
        rule=broadcast_rule_without(name, COMPLEX),
        samples=lambda: [
            case(name, T(3, 4, low=0.2, high=5.0), T(3, 4, low=0.2, high=5.0), grad=False),
            case(name, T(3, 1, low=0.2, high=50.0), T(4, low=0.2, high=50.0), grad=False),
        ],
    )

    def function(input: Tensor, other: Tensor) -> Tensor:
        checked_tensor(name, "input", 1, input)
        checked_tensor(name, "other", 2, other)
        return op(input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = with_example(doc, *example)
    public(name, method=True, inplace=True, out=True)(function)
    public(special, into="special", out=True)(function)
    return op


IGAMMA = _incomplete(
    "igamma",
    kernels.gammainc,
    1.0,
    "The regularised lower incomplete gamma function of order ``input`` at ``other``, broadcast.",
    "gammainc",
    example=(
        "torch.igamma(torch.tensor([1., 1., 2.]), torch.tensor([0., 1., 1.]))",
        "tensor([0.0000, 0.6321, 0.2642])",
    ),
)
IGAMMAC = _incomplete(
    "igammac",
    kernels.gammaincc,
    -1.0,
    "The regularised upper incomplete gamma function of order ``input`` at ``other``, broadcast.",
    "gammaincc",
    example=(
        "torch.igammac(torch.tensor([1., 1., 2.]), torch.tensor([0., 1., 1.]))",
        "tensor([1.0000, 0.3679, 0.7358])",
    ),
)

# ---------------------------------------------------------------- zeta


def _zeta_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    if needs[0]:
        raise RuntimeError(
            "the derivative for 'self' is not implemented: zeta has no closed derivative with respect to its first "
            "argument; detach() it"
        )
    # A Python number gets the width of the gradient.
    x = x.to(grad.dtype)
    return (None, grad * -x * ZETA(x + 1, y))


ZETA = binary(
    "special_zeta",
    kernels.zeta,
    _zeta_derivative,
    promote="float",
    rule=broadcast_rule_without("zeta", COMPLEX),
    samples=lambda: [
        case("special.zeta", T(3, 4, low=1.5, high=5.0), T(3, 4, low=0.2, high=5.0), grad=False),
        case("special.zeta", 2.5, T(4, low=0.2, high=5.0)),
    ],
)


@public(into="special", out=True)
def zeta(input: Any, other: Any) -> Tensor:
    """The Hurwitz zeta function: the sum of ``(k + other) ** -input`` for k from 0, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.special.zeta(torch.tensor([2., 4.]), 1)
        tensor([1.6449, 1.0823])
    """
    checked_one_tensor("special_zeta", input, other)
    return ZETA(input, other)


# ---------------------------------------------------------------- Bessel functions


def _over(x: Tensor, numerator: Tensor, at_zero: float) -> Tensor:
    """A quotient by x, with its limit at zero."""
    return where(eq(x, 0), at_zero, numerator / x)


I0 = _function("i0", kernels.i0, lambda grad, x: grad * I1(x))
i0 = unary_function(
    I0,
    "The modified Bessel function of the first kind of order 0.",
    special="i0",
    example=("torch.i0(torch.tensor([0., 1., -1.]))", "tensor([1.0000, 1.2661, 1.2661])"),
)

I1 = _function("special_i1", kernels.i1, lambda grad, x, out: grad * (I0(x) - _over(x, out, 0.5)), fn="special.i1")
i1 = _special(
    I1,
    "The modified Bessel function of the first kind of order 1.",
    example=("torch.special.i1(torch.tensor([0., 1., -1.]))", "tensor([ 0.0000,  0.5652, -0.5652])"),
)

I0E = _function("special_i0e", kernels.i0e, lambda grad, x, out: grad * (I1E(x) - x.sgn() * out), fn="special.i0e")
i0e = _special(
    I0E,
    "``exp(-|input|) * i0(input)``, without overflow.",
    example=("torch.special.i0e(torch.tensor([0., 1., 100.]))", "tensor([1.0000, 0.4658, 0.0399])"),
)

I1E = _function(
    "special_i1e",
    kernels.i1e,
    lambda grad, x, out: grad * (I0E(x) - out * x.sgn() - _over(x, out, 0.5)),
    fn="special.i1e",
)
i1e = _special(
    I1E,
    "``exp(-|input|) * i1(input)``, without overflow.",
    example=("torch.special.i1e(torch.tensor([0., 1., 100.]))", "tensor([0.0000, 0.2079, 0.0397])"),
)


def _bessel(
    name: str, kernel: Any, derivative: Any, doc: str, low: float = -9.0, *, example: tuple[str, str]
) -> Operator:
    # PyTorch has no derivative of these to compare with.
    op = _function(
        f"special_{name}",
        kernel,
        derivative,
        samples=lambda: [
            case(f"special.{name}", T(3, 4, low=low, high=9.0), grad=False),
            case(f"special.{name}", T(0, 2), grad=False),
        ],
    )
    _special(op, doc, example)
    return op


J0 = _bessel(
    "bessel_j0",
    kernels.j0,
    lambda grad, x: -grad * J1(x),
    "The Bessel function of the first kind of order 0.",
    example=("torch.special.bessel_j0(torch.tensor([0., 1., 2.]))", "tensor([1.0000, 0.7652, 0.2239])"),
)
J1 = _bessel(
    "bessel_j1",
    kernels.j1,
    lambda grad, x, out: grad * (J0(x) - _over(x, out, 0.5)),
    "The Bessel function of the first kind of order 1.",
    example=("torch.special.bessel_j1(torch.tensor([0., 1., 2.]))", "tensor([0.0000, 0.4401, 0.5767])"),
)
Y0 = _bessel(
    "bessel_y0",
    kernels.y0,
    lambda grad, x: -grad * Y1(x),
    "The Bessel function of the second kind of order 0.",
    0.1,
    example=("torch.special.bessel_y0(torch.tensor([0., 1., 2.]))", "tensor([  -inf, 0.0883, 0.5104])"),
)
Y1 = _bessel(
    "bessel_y1",
    kernels.y1,
    lambda grad, x, out: grad * (Y0(x) - out / x),
    "The Bessel function of the second kind of order 1.",
    0.1,
    example=("torch.special.bessel_y1(torch.tensor([0., 1., 2.]))", "tensor([   -inf, -0.7812, -0.1070])"),
)
MODIFIED_I0 = _bessel(
    "modified_bessel_i0",
    kernels.i0,
    lambda grad, x: grad * I1(x),
    "The modified Bessel function of the first kind of order 0.",
    example=("torch.special.modified_bessel_i0(torch.tensor([0., 1., 2.]))", "tensor([1.0000, 1.2661, 2.2796])"),
)
MODIFIED_I1 = _bessel(
    "modified_bessel_i1",
    kernels.i1,
    lambda grad, x, out: grad * (I0(x) - _over(x, out, 0.5)),
    "The modified Bessel function of the first kind of order 1.",
    example=("torch.special.modified_bessel_i1(torch.tensor([0., 1., 2.]))", "tensor([0.0000, 0.5652, 1.5906])"),
)
K0 = _bessel(
    "modified_bessel_k0",
    kernels.k0,
    lambda grad, x: -grad * K1(x),
    "The modified Bessel function of the second kind of order 0.",
    0.1,
    example=("torch.special.modified_bessel_k0(torch.tensor([0., 1., 2.]))", "tensor([   inf, 0.4210, 0.1139])"),
)
K1 = _bessel(
    "modified_bessel_k1",
    kernels.k1,
    lambda grad, x, out: -grad * (K0(x) + out / x),
    "The modified Bessel function of the second kind of order 1.",
    0.1,
    example=("torch.special.modified_bessel_k1(torch.tensor([0., 1., 2.]))", "tensor([   inf, 0.6019, 0.1399])"),
)
SCALED_K0 = _bessel(
    "scaled_modified_bessel_k0",
    kernels.k0_scaled,
    lambda grad, x, out: grad * (out - SCALED_K1(x)),
    "``exp(input) * modified_bessel_k0(input)``, without underflow.",
    0.1,
    example=(
        "torch.special.scaled_modified_bessel_k0(torch.tensor([0., 1., 100.]))",
        "tensor([   inf, 1.1445, 0.1252])",
    ),
)
SCALED_K1 = _bessel(
    "scaled_modified_bessel_k1",
    kernels.k1_scaled,
    lambda grad, x, out: grad * (out - SCALED_K0(x) - out / x),
    "``exp(input) * modified_bessel_k1(input)``, without underflow.",
    0.1,
    example=(
        "torch.special.scaled_modified_bessel_k1(torch.tensor([0., 1., 100.]))",
        "tensor([   inf, 1.6362, 0.1258])",
    ),
)
SPHERICAL_J0 = _bessel(
    "spherical_bessel_j0",
    kernels.spherical_j0,
    lambda grad, x, out: grad * _over(x, x.cos() - out, 0.0),
    "The spherical Bessel function of the first kind of order 0, ``sin(x) / x``.",
    example=("torch.special.spherical_bessel_j0(torch.tensor([0., torch.pi / 2]))", "tensor([1.0000, 0.6366])"),
)
AIRY_AI = _bessel(
    "airy_ai",
    kernels.airy_ai,
    NotDifferentiable("it needs the derivative of the Airy function, which is not provided"),
    "The Airy function Ai.",
    example=("torch.special.airy_ai(torch.tensor([0., 1., -1.]))", "tensor([0.3550, 0.1353, 0.5356])"),
)

# ---------------------------------------------------------------- orthogonal polynomials

# Beyond this degree the values of Hermite polynomials leave the range of the type.
_HERMITE_LIMITS = {dtypes.float32: 128, dtypes.float64: 512}
_NO_LIMIT = 2**62


def _polynomial(
    name: str,
    kernel: Any,
    doc: str,
    example: tuple[str, str],
    limits: dict[dtypes.dtype, int] | None = None,
) -> None:
    attributed = limits is not None or name[:2] == "la" or name[:2] == "le"

    def rule(x: Aval, y: Aval) -> Aval:
        return broadcast_rule_without(name, COMPLEX)(x, y)

    def limited(xp: Any, x: Any, n: Any) -> Any:
        limit = _NO_LIMIT if limits is None else limits[dtypes.from_numpy(x.dtype)]
        return kernel(xp, x, n, limit=limit)

    op = binary(
        f"special_{name}",
        limited if attributed else kernel,
        NotDifferentiable("PyTorch has no derivative of it either"),
        promote="float",
        rule=rule,
        samples=lambda: [
            case(f"special.{name}", T(3, 4, low=-1.5, high=1.5), T(4, dtype="int64", low=-1, high=9), grad=False),
            case(f"special.{name}", T(3, 4, low=-1.5, high=1.5), 5, grad=False),
            case(f"special.{name}", 0.3, T(9, dtype="int64", low=0, high=20), grad=False),
        ],
    )

    def function(input: Any, n: Any) -> Tensor:
        checked_one_tensor(f"special_{name}", input, n)
        return op(input, n)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = with_example(
        f"{doc} of degree ``n`` at ``input``, broadcast; ``n`` is cut to an integer.", *example
    )
    public(name, into="special", out=True)(function)


_polynomial(
    "chebyshev_polynomial_t",
    kernels.chebyshev("t", shifted=False),
    "The Chebyshev polynomial of the first kind",
    example=("torch.special.chebyshev_polynomial_t(torch.tensor([0., 1., 2.]), 2)", "tensor([-1.,  1.,  7.])"),
)
_polynomial(
    "chebyshev_polynomial_u",
    kernels.chebyshev("u", shifted=False),
    "The Chebyshev polynomial of the second kind",
    example=("torch.special.chebyshev_polynomial_u(torch.tensor([0., 1., 2.]), 2)", "tensor([-1.,  3., 15.])"),
)
_polynomial(
    "chebyshev_polynomial_v",
    kernels.chebyshev("v", shifted=False),
    "The Chebyshev polynomial of the third kind",
    example=("torch.special.chebyshev_polynomial_v(torch.tensor([0., 1., 2.]), 2)", "tensor([-1.,  1., 11.])"),
)
_polynomial(
    "chebyshev_polynomial_w",
    kernels.chebyshev("w", shifted=False),
    "The Chebyshev polynomial of the fourth kind",
    example=("torch.special.chebyshev_polynomial_w(torch.tensor([0., 1., 2.]), 2)", "tensor([-1.,  5., 19.])"),
)
_polynomial(
    "shifted_chebyshev_polynomial_t",
    kernels.chebyshev("t", shifted=True),
    "The Chebyshev polynomial of the first kind, moved to [0, 1],",
    example=("torch.special.shifted_chebyshev_polynomial_t(torch.tensor([0., 0.5, 1.]), 2)", "tensor([ 1., -1.,  1.])"),
)
_polynomial(
    "shifted_chebyshev_polynomial_u",
    kernels.chebyshev("u", shifted=True),
    "The Chebyshev polynomial of the second kind, moved to [0, 1],",
    example=("torch.special.shifted_chebyshev_polynomial_u(torch.tensor([0., 0.5, 1.]), 2)", "tensor([ 3., -1.,  3.])"),
)
_polynomial(
    "shifted_chebyshev_polynomial_v",
    kernels.chebyshev("v", shifted=True),
    "The Chebyshev polynomial of the third kind, moved to [0, 1],",
    example=("torch.special.shifted_chebyshev_polynomial_v(torch.tensor([0., 0.5, 1.]), 2)", "tensor([ 5., -1.,  1.])"),
)
_polynomial(
    "shifted_chebyshev_polynomial_w",
    kernels.chebyshev("w", shifted=True),
    "The Chebyshev polynomial of the fourth kind, moved to [0, 1],",
    example=("torch.special.shifted_chebyshev_polynomial_w(torch.tensor([0., 0.5, 1.]), 2)", "tensor([ 1., -1.,  5.])"),
)
_polynomial(
    "hermite_polynomial_h",
    kernels.hermite_h,
    "The physicist's Hermite polynomial",
    limits=_HERMITE_LIMITS,
    example=("torch.special.hermite_polynomial_h(torch.tensor([0., 1., 2.]), 3)", "tensor([-0., -4., 40.])"),
)
_polynomial(
    "hermite_polynomial_he",
    kernels.hermite_he,
    "The probabilist's Hermite polynomial",
    limits=_HERMITE_LIMITS,
    example=("torch.special.hermite_polynomial_he(torch.tensor([0., 1., 2.]), 3)", "tensor([-0., -2.,  2.])"),
)
_polynomial(
    "laguerre_polynomial_l",
    kernels.laguerre,
    "The Laguerre polynomial",
    example=(
        "torch.special.laguerre_polynomial_l(torch.tensor([0., 1., 2.]), 2)",
        "tensor([ 1.0000, -0.5000, -1.0000])",
    ),
)
_polynomial(
    "legendre_polynomial_p",
    kernels.legendre,
    "The Legendre polynomial",
    example=(
        "torch.special.legendre_polynomial_p(torch.tensor([0., 0.5, 1.]), 2)",
        "tensor([-0.5000, -0.1250,  1.0000])",
    ),
)
