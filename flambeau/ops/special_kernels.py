"""Array code of the special functions, for NumPy and ``jax.numpy`` alike.

Everything is computed in double precision and rounded to the operand's type at the end.  Unless said
otherwise, approximations are those of the Cephes Mathematical Library (see ``special_tables``); formulas
are numbered as in the NIST Digital Library of Mathematical Functions (DLMF, https://dlmf.nist.gov).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

from flambeau.ops import special_tables as table

Kernel = Callable[..., Any]
EPS = 2.0**-53
_LIMIT = 20_000


def in_double(kernel: Kernel) -> Kernel:
    """A kernel of float64 arrays as one of any floating-point type."""

    @functools.wraps(kernel)
    def run(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        wide = [array.astype(xp.float64) for array in arrays]
        return xp.asarray(kernel(xp, *wide, **attrs)).astype(arrays[-1].dtype)

    return run


def polynomial(x: Any, coefficients: tuple[float, ...]) -> Any:
    """By Horner's rule, highest power first."""
    result = coefficients[0] + 0 * x
    for c in coefficients[1:]:
        result = result * x + c
    return result


def chebyshev_series(x: Any, coefficients: tuple[float, ...]) -> Any:
    """By Clenshaw's recurrence, highest order first; the last coefficient counts half, and ``x`` twice."""
    p = q = 0 * x
    b = coefficients[0] + q
    for c in coefficients[1:]:
        p, q = q, b
        b = x * q - p + c
    return 0.5 * (b - p)


def repeated(xp: Any, body: Callable[[Any, Any], Any], state: tuple[Any, ...], limit: Any) -> tuple[Any, ...]:
    """``state = body(k, state)`` for k from 0, while any of the mask ``state[0]`` holds, ``limit`` times at most."""
    if xp.__name__ == "numpy":
        k = 0
        while k < limit and state[0].any():
            state = body(float(k), state)
            k += 1
        return state
    from jax import lax

    def going(carried: Any) -> Any:
        return (carried[0] < limit) & carried[1][0].any()

    def step(carried: Any) -> Any:
        return carried[0] + 1.0, body(*carried)

    return lax.while_loop(going, step, (xp.asarray(0.0, xp.float64), state))[1]


# ---------------------------------------------------------------- error function


def _erfc_scaled(xp: Any, a: Any) -> Any:
    """``exp(a**2) * erfc(a)`` for a >= 1."""
    near = polynomial(a, table.ERFC_P) / polynomial(a, table.ERFC_Q)
    bounded = xp.minimum(a, 1e8)
    far = polynomial(bounded, table.ERFC_R) / polynomial(bounded, table.ERFC_S)
    # DLMF 7.12.1, whose first term is all that is left.
    return xp.where(a < 8, near, xp.where(a < 1e8, far, 1 / (a * sqrt(pi))))


def _erf_small(x: Any) -> Any:
    square = x * x
    return x * polynomial(square, table.ERF_T) / polynomial(square, table.ERF_U)


@in_double
def erf(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    return xp.where(a < 1, _erf_small(xp.clip(x, -1, 1)), xp.sign(x) * (1 - xp.exp(-a * a) * _erfc_scaled(xp, a)))


@in_double
def erfc(xp: Any, x: Any) -> Any:
    return _erfc(xp, x)


def _erfc(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    tail = xp.exp(-a * a) * _erfc_scaled(xp, a)
    return xp.where(a < 1, 1 - _erf_small(xp.clip(x, -1, 1)), xp.where(x < 0, 2 - tail, tail))


@in_double
def erfcx(xp: Any, x: Any) -> Any:
    return _erfcx(xp, x)


def _erfcx(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    growth = xp.exp(a * a)
    inner = xp.minimum(a, 1)
    positive = xp.where(a < 1, xp.exp(inner * inner) * (1 - _erf_small(inner)), _erfc_scaled(xp, a))
    return xp.where(x < 0, 2 * growth - positive, positive)


@in_double
def erfinv(xp: Any, y: Any) -> Any:
    a = xp.abs(y)
    found = _quantile(xp, y / 2, (1 - a) / 2) / sqrt(2)
    return xp.where(a < 1, found, xp.where(a == 1, xp.sign(y) * xp.inf, xp.nan))


# ---------------------------------------------------------------- normal distribution


@in_double
def ndtr(xp: Any, x: Any) -> Any:
    return 0.5 * _erfc(xp, -x / sqrt(2))


@in_double
def log_ndtr(xp: Any, x: Any) -> Any:
    t = x / sqrt(2)
    left = xp.log(_erfcx(xp, -t) / 2) - t * t
    return xp.where(x < -1, left, xp.log1p(-_erfc(xp, t) / 2))


def _quantile(xp: Any, d: Any, rest: Any) -> Any:
    """Of the normal distribution: at 1/2 + d, where ``rest`` is the probability of the tail on that side."""
    square = d * d
    centre = d + d * (square * polynomial(square, table.NDTRI_P0) / polynomial(square, table.NDTRI_Q0))
    edge = 0.1353352832366127
    x = xp.sqrt(-2 * xp.log(xp.minimum(rest, edge)))
    z = 1 / x
    near = z * polynomial(z, table.NDTRI_P1) / polynomial(z, table.NDTRI_Q1)
    far = z * polynomial(z, table.NDTRI_P2) / polynomial(z, table.NDTRI_Q2)
    tail = x - xp.log(x) / x - xp.where(x < 8, near, far)
    return xp.where(rest > edge, centre * sqrt(2 * pi), xp.where(d > 0, tail, -tail))


@in_double
def ndtri(xp: Any, p: Any) -> Any:
    found = _quantile(xp, p - 0.5, xp.minimum(p, 1 - p))
    found = xp.where(p == 0, -xp.inf, xp.where(p == 1, xp.inf, found))
    return xp.where((p < 0) | (p > 1), xp.nan, found)


# ---------------------------------------------------------------- gamma and its logarithmic derivatives

# DLMF 5.11.1 and 5.11.2: Stirling's series, highest power of 1/x**2 first.
_STIRLING = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)


def _stirling_rest(x: Any) -> Any:
    return polynomial(1 / (x * x), _STIRLING) / x


def _lgamma_positive(xp: Any, x: Any) -> Any:
    """For x >= 0.5: eight steps up where it is small."""
    product = x
    for k in range(1, 8):
        product = product * (x + k)
    small = x < 8
    y = xp.where(small, x + 8, x)
    found = (y - 0.5) * xp.log(y) - y + 0.5 * log(2 * pi) + _stirling_rest(y)
    return found - xp.where(small, xp.log(product), 0)


@in_double
def lgamma(xp: Any, x: Any) -> Any:
    return _lgamma(xp, x)


def _lgamma(xp: Any, x: Any) -> Any:
    low = x < 0.5
    found = _lgamma_positive(xp, xp.where(low, 1 - x, x))
    # DLMF 5.5.3, reflection; its sine from the fraction alone, which is exact.
    sine = xp.abs(xp.sin(pi * (x - xp.floor(x))))
    found = xp.where(low, log(pi) - xp.log(sine) - found, found)
    return xp.where(xp.isinf(x) | ((x <= 0) & (x == xp.floor(x))), xp.inf, found)


def lgamma_lax(xp: Any, x: Any) -> Any:
    from jax import lax

    return lax.lgamma(x)


@in_double
def digamma(xp: Any, x: Any) -> Any:
    low = x < 0
    y = xp.where(low, 1 - x, x)
    total = xp.zeros_like(y)
    for _ in range(10):
        small = y < 10
        total = total - xp.where(small, 1 / y, 0)
        y = xp.where(small, y + 1, y)
    square = 1 / (y * y)
    found = total + xp.log(y) - 0.5 / y - square * polynomial(square, _DIGAMMA)
    fraction = x - xp.trunc(x)
    found = xp.where(low, found - pi / xp.tan(pi * fraction), found)
    found = xp.where(low & (fraction == 0), xp.nan, found)
    return xp.where(x == 0, xp.copysign(xp.inf, -x), found)


# The Euler-Maclaurin terms (2k)! / B2k, as in Cephes' zeta.c.
_ZETA = (
    *(12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183791606e9, 7.47242496e10),
    *(-2.950130727918164224e12, 1.1646782814350067249e14, -4.5979787224074726105e15),
    *(1.8152105401943546773e17, -7.1661652561756670113e18),
)


@in_double
def zeta(xp: Any, x: Any, q: Any) -> Any:
    return _zeta(xp, x, q)


def _zeta(xp: Any, x: Any, q: Any) -> Any:
    x, q = xp.broadcast_arrays(x, q)
    start = xp.where(q > 0, q, xp.where(x == xp.floor(x), q, 1))
    start = xp.where(xp.isfinite(start), start, 1)

    def add(k: Any, state: Any) -> Any:
        going, total, a = state
        total = total + xp.where(going, a**-x, 0)
        a = xp.where(going, a + 1, a)
        return (k < 8) | (a <= 9), total, a

    _, total, a = repeated(xp, add, (start == start, 0 * start, start), 1_000_000)
    # From here on the sum is an integral and corrections to it.
    power = a**-x
    total = total + power * a / (x - 1) + 0.5 * power
    factor = 1.0
    for k, term in enumerate(_ZETA):
        factor = factor * (x + 2 * k)
        power = power / a
        total = total + factor * power / term
        factor = factor * (x + 2 * k + 1)
        power = power / a
    pole = (q <= 0) & (q == xp.floor(q))
    found = xp.where(pole, xp.inf, xp.where((q <= 0) & (x != xp.floor(x)), xp.nan, total))
    found = xp.where(q == xp.inf, 0, found)
    return xp.where(x == 1, xp.inf, xp.where((x < 1) | xp.isnan(x) | xp.isnan(q), xp.nan, found))


@in_double
def polygamma(xp: Any, x: Any, *, n: int) -> Any:
    """For n >= 1, by DLMF 5.15.1."""
    factorial = 1.0
    for k in range(2, n + 1):
        factorial *= k
    return (-1.0) ** (n + 1) * factorial * _zeta(xp, xp.asarray(n + 1.0, xp.float64), x)


# ---------------------------------------------------------------- incomplete gamma


def _prefactor(xp: Any, a: Any, x: Any) -> Any:
    """``x**a * exp(-x) / gamma(a + 1)``, for large ``a`` by Stirling's series, which does not cancel."""
    safe = xp.maximum(a, 1)
    ratio = xp.maximum(x, 1e-300) / safe
    gap = (x - safe) / safe
    logarithm = xp.where(xp.abs(gap) < 0.5, xp.log1p(xp.maximum(gap, -0.75)), xp.log(ratio))
    large = safe * (logarithm - gap) - 0.5 * xp.log(2 * pi * safe) - _stirling_rest(safe)
    small = a * xp.log(xp.where(x > 0, x, 1)) - x - _lgamma(xp, a + 1)
    return xp.exp(xp.where(a > 10, large, small))


def _gamma_pair(xp: Any, a: Any, x: Any) -> tuple[Any, Any]:
    """Lower and upper regularised incomplete gamma function, for finite a > 0 and x > 0 where both are usable.

    The series DLMF 8.11.4 below the mean and the continued fraction DLMF 8.9.2, by Lentz's method, above it.
    """
    a, x = xp.broadcast_arrays(a, x)
    usable = (a > 0) & (x > 0) & xp.isfinite(a) & xp.isfinite(x)
    a = xp.where(usable, a, 1)
    x = xp.where(usable, x, 1)
    factor = _prefactor(xp, a, x)
    by_series = x < a + 1

    def add(k: Any, state: Any) -> Any:
        going, term, total = state
        term = xp.where(going, term * x / (a + k + 1), term)
        total = xp.where(going, total + term, total)
        return going & (term > EPS * total), term, total

    ones = x * 0 + 1
    _, _, total = repeated(xp, add, (usable & by_series, ones, ones), _LIMIT)
    tiny = 1e-300
    first = x + 1 - a
    first = xp.where(xp.abs(first) < tiny, tiny, first)

    def descend(k: Any, state: Any) -> Any:
        going, c, d, h = state
        numerator = -(k + 1) * (k + 1 - a)
        b = x + 1 - a + 2 * (k + 1)
        d = numerator * d + b
        d = 1 / xp.where(xp.abs(d) < tiny, tiny, d)
        fresh = b + numerator / c
        fresh = xp.where(xp.abs(fresh) < tiny, tiny, fresh)
        step = fresh * d
        h = xp.where(going, h * step, h)
        return going & (xp.abs(step - 1) > 2 * EPS), fresh, d, h

    begin = (usable & ~by_series, ones / tiny, 1 / first, 1 / first)
    fraction = repeated(xp, descend, begin, _LIMIT)[3]
    lower = factor * total
    upper = factor * a * fraction
    return xp.where(by_series, lower, 1 - upper), xp.where(by_series, 1 - lower, upper)


@in_double
def gammainc(xp: Any, a: Any, x: Any) -> Any:
    found = _gamma_pair(xp, a, x)[0]
    found = xp.where(x == 0, 0, found)
    found = xp.where(xp.isinf(a), 0, xp.where(xp.isinf(x), 1, found))
    found = xp.where((a == 0) & (x > 0), 1, found)
    undefined = (a < 0) | (x < 0) | ((a == 0) & (x == 0)) | (xp.isinf(a) & xp.isinf(x)) | xp.isnan(a) | xp.isnan(x)
    return xp.where(undefined, xp.nan, found)


@in_double
def gammaincc(xp: Any, a: Any, x: Any) -> Any:
    found = _gamma_pair(xp, a, x)[1]
    found = xp.where(x == 0, 1, found)
    found = xp.where(xp.isinf(a), 1, xp.where(xp.isinf(x), 0, found))
    found = xp.where((a == 0) & (x > 0), 0, found)
    undefined = (a < 0) | (x < 0) | ((a == 0) & (x == 0)) | (xp.isinf(a) & xp.isinf(x)) | xp.isnan(a) | xp.isnan(x)
    return xp.where(undefined, xp.nan, found)


# ---------------------------------------------------------------- modified Bessel functions


def _i_scaled(xp: Any, a: Any, near: tuple[float, ...], far: tuple[float, ...]) -> tuple[Any, Any]:
    inner = xp.minimum(a, 8)
    outer = xp.maximum(a, 8)
    return chebyshev_series(inner / 2 - 2, near), chebyshev_series(32 / outer - 2, far) / xp.sqrt(outer)


def _i0e(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    near, far = _i_scaled(xp, a, table.I0E_A, table.I0E_B)
    return xp.where(a <= 8, near, far)


def _i1e(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    near, far = _i_scaled(xp, a, table.I1E_A, table.I1E_B)
    return xp.sign(x) * xp.where(a <= 8, near * a, far)


i0e = in_double(_i0e)
i1e = in_double(_i1e)
i0 = in_double(lambda xp, x: _i0e(xp, x) * xp.exp(xp.abs(x)))
i1 = in_double(lambda xp, x: _i1e(xp, x) * xp.exp(xp.abs(x)))


def _k(order: int, scaled: bool) -> Kernel:
    small, large = (table.K0_A, table.K0_B) if order == 0 else (table.K1_A, table.K1_B)

    def kernel(xp: Any, x: Any) -> Any:
        inner = xp.minimum(x, 2)
        series = chebyshev_series(inner * inner - 2, small)
        logarithm = xp.log(inner / 2)
        if order == 0:
            near = series - logarithm * _i0e(xp, inner) * xp.exp(inner)
        else:
            near = logarithm * _i1e(xp, inner) * xp.exp(inner) + series / inner
        outer = xp.maximum(x, 2)
        far = chebyshev_series(8 / outer - 2, large) / xp.sqrt(outer)
        found = xp.where(x <= 2, near * xp.exp(inner), far) if scaled else xp.where(x <= 2, near, far * xp.exp(-outer))
        return xp.where(x == 0, xp.inf, xp.where(x < 0, xp.nan, found))

    return in_double(kernel)


k0, k1 = _k(0, False), _k(1, False)
k0_scaled, k1_scaled = _k(0, True), _k(1, True)

# ---------------------------------------------------------------- Bessel functions


def _modulus_and_phase(xp: Any, a: Any, order: int) -> tuple[Any, Any, Any]:
    pp, pq, qp, qq = (
        (table.JY0_PP, table.JY0_PQ, table.JY0_QP, table.JY0_QQ)
        if order == 0
        else (table.JY1_PP, table.JY1_PQ, table.JY1_QP, table.JY1_QQ)
    )
    w = 5 / a
    z = w * w
    p = polynomial(z, pp) / polynomial(z, pq)
    q = w * polynomial(z, qp) / polynomial(z, qq)
    scale = sqrt(2 / pi) / xp.sqrt(a)
    return p * scale, q * scale, a - (pi / 4 if order == 0 else 3 * pi / 4)


def _j0(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    z = xp.minimum(a, 5) ** 2
    near = (z - 5.78318596294678452118) * (z - 30.4712623436620863991)
    near = near * polynomial(z, table.J0_RP) / polynomial(z, table.J0_RQ)
    p, q, angle = _modulus_and_phase(xp, xp.maximum(a, 5), 0)
    return xp.where(a <= 5, near, p * xp.cos(angle) - q * xp.sin(angle))


def _j1(xp: Any, x: Any) -> Any:
    a = xp.abs(x)
    inner = xp.minimum(a, 5)
    z = inner * inner
    near = inner * (z - 14.6819706421238932572) * (z - 49.2184563216946036703)
    near = near * polynomial(z, table.J1_RP) / polynomial(z, table.J1_RQ)
    p, q, angle = _modulus_and_phase(xp, xp.maximum(a, 5), 1)
    return xp.sign(x) * xp.where(a <= 5, near, p * xp.cos(angle) - q * xp.sin(angle))


def _y(order: int) -> Kernel:
    def kernel(xp: Any, x: Any) -> Any:
        inner = xp.minimum(x, 5)
        z = inner * inner
        if order == 0:
            near = polynomial(z, table.Y0_YP) / polynomial(z, table.Y0_YQ) + 2 / pi * xp.log(inner) * _j0(xp, inner)
        else:
            near = inner * polynomial(z, table.Y1_YP) / polynomial(z, table.Y1_YQ)
            near = near + 2 / pi * (_j1(xp, inner) * xp.log(inner) - 1 / inner)
        p, q, angle = _modulus_and_phase(xp, xp.maximum(x, 5), order)
        found = xp.where(x <= 5, near, p * xp.sin(angle) + q * xp.cos(angle))
        return xp.where(x == 0, -xp.inf, xp.where(x < 0, xp.nan, found))

    return in_double(kernel)


j0, j1 = in_double(_j0), in_double(_j1)
y0, y1 = _y(0), _y(1)


@in_double
def spherical_j0(xp: Any, x: Any) -> Any:
    found = xp.sin(x) / xp.where(x == 0, 1, x)
    return xp.where(x == 0, 1, xp.where(xp.isinf(x), 0, found))


@in_double
def airy_ai(xp: Any, x: Any) -> Any:
    # DLMF 9.4.1: both series about zero.
    inner = xp.clip(x, -2.09, 2.09)
    cube = inner**3
    f = m = 1 + 0 * inner
    g = n = inner
    for k in range(1, 25):
        m = m * cube / ((3 * k - 1) * (3 * k))
        n = n * cube / ((3 * k) * (3 * k + 1))
        f = f + m
        g = g + n
    centre = 0.355028053887817239260 * f - 0.258819403792806798405 * g
    outer = xp.clip(xp.abs(x), 2.09, 1e60)
    root = xp.sqrt(outer)
    arc = 2 * outer * root / 3
    scale = 1 / (sqrt(pi) * xp.sqrt(root))
    z = 1 / arc
    right = scale * xp.exp(-arc) / 2 * polynomial(z, table.AIRY_AN) / polynomial(z, table.AIRY_AD)
    square = z * z
    cosine = 1 + square * polynomial(square, table.AIRY_AFN) / polynomial(square, table.AIRY_AFD)
    sine = z * polynomial(square, table.AIRY_AGN) / polynomial(square, table.AIRY_AGD)
    angle = arc + pi / 4
    left = scale * (xp.sin(angle) * cosine - xp.cos(angle) * sine)
    found = xp.where(x > 2.09, right, xp.where(x < -2.09, left, centre))
    return xp.where(xp.isinf(x), xp.nan, found)


# ---------------------------------------------------------------- orthogonal polynomials


def _degree(xp: Any, n: Any) -> Any:
    return xp.where(xp.isfinite(n), xp.trunc(n), -1)


def chebyshev(kind: str, shifted: bool) -> Kernel:
    """Chebyshev polynomials of kind t, u, v or w, by their trigonometric forms (DLMF 18.5.1 to 18.5.4)."""

    def kernel(xp: Any, x: Any, n: Any) -> Any:
        n = _degree(xp, n)
        x = 2 * x - 1 if shifted else x
        angle = xp.arccos(xp.clip(x, -1, 1))
        growth = xp.arccosh(xp.maximum(xp.abs(x), 1))
        # On the left of -1 the kinds v and w change places.
        sign = xp.where((x < 0) & (n % 2 == 1), -1, 1)
        if kind == "t":
            inside, outside, ends = xp.cos(n * angle), xp.cosh(n * growth), (1, 1)
        elif kind == "u":
            inside = xp.sin((n + 1) * angle) / xp.sin(angle)
            outside, ends = xp.sinh((n + 1) * growth) / xp.sinh(growth), (n + 1, n + 1)
        else:
            even = xp.cosh((n + 0.5) * growth) / xp.cosh(growth / 2)
            odd = xp.sinh((n + 0.5) * growth) / xp.sinh(growth / 2)
            if kind == "v":
                inside = xp.cos((n + 0.5) * angle) / xp.cos(angle / 2)
                outside, ends = xp.where(x > 0, even, odd), (1, 2 * n + 1)
            else:
                inside = xp.sin((n + 0.5) * angle) / xp.sin(angle / 2)
                outside, ends = xp.where(x > 0, odd, even), (2 * n + 1, 1)
        end = sign * xp.where(x > 0, ends[0], ends[1])
        found = xp.where(xp.abs(x) == 1, end, xp.where(xp.abs(x) < 1, inside, sign * outside))
        found = xp.where(xp.isnan(x), x, found)
        return xp.where(n < 0, 0, xp.where(n == 0, 1, found))

    return in_double(kernel)


def _recurrence(first: Kernel, step: Kernel, bounded: bool = False) -> Kernel:
    """Polynomials by their recurrence (DLMF 18.9.1): ``step(k, x, q, p)`` is of degree k + 1, q of k, p of k - 1."""

    def kernel(xp: Any, x: Any, n: Any, *, limit: int) -> Any:
        x, n = xp.broadcast_arrays(x, _degree(xp, n))

        def advance(k: Any, state: Any) -> Any:
            going, q, p = state
            fresh = step(k + 1, x, q, p)
            going = n > k + 1
            return n > k + 2, xp.where(going, fresh, q), xp.where(going, q, p)

        capped = xp.where(n > limit, 0, n) if bounded else n
        start = (capped > 1, first(x), x * 0 + 1)
        found = repeated(xp, advance, start, limit)[1]
        found = xp.where(n > limit, xp.nan, found) if bounded else found
        return xp.where(n < 0, 0, xp.where(n == 0, 1, found))

    return in_double(kernel)


hermite_h = _recurrence(lambda x: 2 * x, lambda k, x, q, p: 2 * x * q - 2 * k * p, bounded=True)
hermite_he = _recurrence(lambda x: x, lambda k, x, q, p: x * q - k * p, bounded=True)
laguerre = _recurrence(lambda x: 1 - x, lambda k, x, q, p: ((2 * k + 1 - x) * q - k * p) / (k + 1))
legendre = _recurrence(lambda x: x, lambda k, x, q, p: ((2 * k + 1) * x * q - k * p) / (k + 1))
