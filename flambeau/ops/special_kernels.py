"""Array code of the special functions, for NumPy and ``jax.numpy`` alike.

Everything is computed in double precision and rounded to the operand's type at the end.  Unless said
otherwise, approximations are those of the Cephes Mathematical Library (see ``special_tables``); formulas
are numbered as in the NIST Digital Library of Mathematical Functions (DLMF, https://dlmf.nist.gov).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

import numpy as np

from flambeau.ops import special_tables as table

Kernel = Callable[..., Any]
EPS = 2.0**-53
_LIMIT = 20_000


def in_double(kernel: Kernel) -> Kernel:
    """A kernel of float64 arrays as one of any floating-point type."""

    @functools.wraps(kernel)
    def run(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        if xp.__name__ == "numpy":
            return by_blocks(lambda *parts: kernel(xp, *[part.astype(xp.float64) for part in parts], **attrs), *arrays)
        wide = [array.astype(xp.float64) for array in arrays]
        return kernel(xp, *wide, **attrs).astype(arrays[-1].dtype)

    return run


BLOCK = 1 << 13
"""Elements worked on at a time, few enough that all intermediate results stay in the cache."""


def by_blocks(function: Callable[..., Any], *arrays: Any) -> Any:
    """An elementwise function of NumPy arrays, applied to a stretch of them at a time; of the last one's type."""
    target = arrays[-1].dtype
    if all(array.size <= BLOCK for array in arrays):
        return np.asarray(function(*arrays)).astype(target, copy=False)
    shape = np.broadcast_shapes(*[array.shape for array in arrays])
    # A single number stays one: it broadcasts against each block.
    flat = [array if array.ndim == 0 else np.broadcast_to(array, shape).reshape(-1) for array in arrays]
    result = np.empty(math.prod(shape), target)
    for start in range(0, result.size, BLOCK):
        part = slice(start, start + BLOCK)
        result[part] = function(*[array if array.ndim == 0 else array[part] for array in flat])
    return result.reshape(shape)


def either(xp: Any, condition: Any, yes: Kernel, no: Kernel, *arrays: Any) -> Any:
    """``yes`` of the elements where the condition holds, ``no`` of the others; NumPy computes only what is needed."""
    if xp.__name__ != "numpy":
        return xp.where(condition, yes(*arrays), no(*arrays))
    if condition.all():
        return yes(*arrays)
    if not condition.any():
        return no(*arrays)
    result = xp.empty(condition.shape)
    result[condition] = yes(*[array[condition] for array in arrays])
    rest = ~condition
    result[rest] = no(*[array[rest] for array in arrays])
    return result


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


# ---------------------------------------------------------------- single precision by way of double

# NumPy's own single-precision loops of these call the C library once for each element.


def log1p_single(x: Any) -> Any:
    """``log1p`` of a float32 NumPy array."""

    def kernel(part: Any) -> Any:
        wide = part.astype(np.float64)
        # Below this the result rounds to the operand.
        return np.where(np.abs(part) < 1e-8, wide, np.log(1 + wide))

    return by_blocks(kernel, x)


def expm1_single(x: Any) -> Any:
    """``expm1`` of a float32 NumPy array."""

    def kernel(part: Any) -> Any:
        wide = part.astype(np.float64)
        return np.where(np.abs(part) < 1e-5, wide + wide * wide / 2, np.exp(wide) - 1)

    return by_blocks(kernel, x)


# ---------------------------------------------------------------- error function


def _erfc_scaled(xp: Any, a: Any) -> Any:
    """``exp(a**2) * erfc(a)`` for a >= 1."""

    def near(a: Any) -> Any:
        return polynomial(a, table.ERFC_P) / polynomial(a, table.ERFC_Q)

    def far(a: Any) -> Any:
        bounded = xp.minimum(a, 1e8)
        # DLMF 7.12.1, whose first term is all that is left beyond the bound.
        found = polynomial(bounded, table.ERFC_R) / polynomial(bounded, table.ERFC_S)
        return xp.where(a < 1e8, found, 1 / (a * sqrt(pi)))

    return either(xp, a < 8, near, far, a)


def _erf_small(x: Any) -> Any:
    """For |x| <= 1."""
    square = x * x
    return x * polynomial(square, table.ERF_T) / polynomial(square, table.ERF_U)


def _erf_inner(xp: Any, x: Any) -> Any:
    return _erf_small(xp.clip(x, -1, 1))


@in_double
def erf(xp: Any, x: Any) -> Any:
    def large(x: Any) -> Any:
        a = xp.abs(x)
        return xp.sign(x) * (1 - xp.exp(-a * a) * _erfc_scaled(xp, a))

    return either(xp, xp.abs(x) < 1, lambda x: _erf_inner(xp, x), large, x)


@in_double
def erfc(xp: Any, x: Any) -> Any:
    return _erfc(xp, x)


def _erfc(xp: Any, x: Any) -> Any:
    def large(x: Any) -> Any:
        a = xp.abs(x)
        tail = xp.exp(-a * a) * _erfc_scaled(xp, a)
        return xp.where(x < 0, 2 - tail, tail)

    return either(xp, xp.abs(x) < 1, lambda x: 1 - _erf_inner(xp, x), large, x)


@in_double
def erfcx(xp: Any, x: Any) -> Any:
    return _erfcx(xp, x)


def _erfcx(xp: Any, x: Any) -> Any:
    def small(x: Any) -> Any:
        return xp.exp(x * x) * (1 - _erf_inner(xp, x))

    def large(x: Any) -> Any:
        a = xp.abs(x)
        positive = _erfc_scaled(xp, a)
        return xp.where(x < 0, 2 * xp.exp(a * a) - positive, positive)

    return either(xp, xp.abs(x) < 1, small, large, x)


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
    edge = 0.1353352832366127

    def centre(d: Any, rest: Any) -> Any:
        square = d * d
        found = d + d * (square * polynomial(square, table.NDTRI_P0) / polynomial(square, table.NDTRI_Q0))
        return found * sqrt(2 * pi)

    def tail(d: Any, rest: Any) -> Any:
        x = xp.sqrt(-2 * xp.log(xp.minimum(rest, edge)))
        z = 1 / x
        near = z * polynomial(z, table.NDTRI_P1) / polynomial(z, table.NDTRI_Q1)
        far = z * polynomial(z, table.NDTRI_P2) / polynomial(z, table.NDTRI_Q2)
        found = x - xp.log(x) / x - xp.where(x < 8, near, far)
        return xp.where(d > 0, found, -found)

    return either(xp, rest > edge, centre, tail, d, rest)


@in_double
def ndtri(xp: Any, p: Any) -> Any:
    found = _quantile(xp, p - 0.5, xp.minimum(p, 1 - p))
    found = xp.where(p == 0, -xp.inf, xp.where(p == 1, xp.inf, found))
    return xp.where((p < 0) | (p > 1), xp.nan, found)


# ---------------------------------------------------------------- gamma and its logarithmic derivatives

# DLMF 5.11.1 and 5.11.2: Stirling's series, highest power of 1/x**2 first.
_STIRLING = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
# DLMF 5.7.3: (-1)**k (zeta(k) - 1) / k, k falling to 2, and 1 less Euler's constant.
_LGAMMA = (
    *(1.330476437424449e-10, -2.7595228851242334e-10, 5.731367241678862e-10, -1.1921401405860912e-09),
    *(2.4836745438024785e-09, -5.183475041970047e-09, 1.0838659214896955e-08, -2.2711094608943164e-08),
    *(4.7698101693639804e-08, -1.0043224823968099e-07, 2.1207184805554665e-07, -4.492469198764566e-07),
    *(9.55141213040742e-07, -2.039215753801366e-06, 4.374866789907488e-06, -9.439488275268397e-06),
    *(2.050721277567069e-05, -4.492623673813314e-05, 9.945751278180853e-05, -0.00022315475845357939),
    *(0.0005096695247430425, -0.001192753911703261, 0.0028905103307415234, -0.007385551028673986),
    *(0.020580808427784546, -0.0673523010531981, 0.3224670334241132, 0.42278433509846713),
)


def _stirling_rest(x: Any) -> Any:
    return polynomial(1 / (x * x), _STIRLING) / x


def _lgamma_positive(xp: Any, x: Any) -> Any:
    """For x >= 0.5: eight steps up where it is small, a series about the zeros at 1 and 2."""

    def large(x: Any) -> Any:
        return (x - 0.5) * xp.log(x) - x + 0.5 * log(2 * pi) + _stirling_rest(x)

    def small(x: Any) -> Any:
        product = x
        for k in range(1, 8):
            product = product * (x + k)
        return large(x + 8) - xp.log(product)

    def near(x: Any) -> Any:
        first = x < 1.5
        gap = xp.where(first, x - 1, x - 2)
        # Of gamma(2 + gap), and one step down if that is beside 1.
        return gap * polynomial(gap, _LGAMMA) - xp.where(first, xp.log(x), 0)

    return either(xp, x < 2.5, near, lambda x: either(xp, x < 8, small, large, x), x)


@in_double
def lgamma(xp: Any, x: Any) -> Any:
    return _lgamma(xp, x)


def _lgamma(xp: Any, x: Any) -> Any:
    def reflected(x: Any) -> Any:
        # DLMF 5.5.3; its sine from the fraction alone, which is exact.
        sine = xp.abs(xp.sin(pi * (x - xp.floor(x))))
        return log(pi) - xp.log(sine) - _lgamma_positive(xp, 1 - x)

    found = either(xp, x < 0.5, reflected, lambda x: _lgamma_positive(xp, x), x)
    return xp.where(xp.isinf(x) | ((x <= 0) & (x == xp.floor(x))), xp.inf, found)


@in_double
def lgamma_lax(xp: Any, x: Any) -> Any:
    from jax import lax

    return lax.lgamma(x)


def _digamma_positive(xp: Any, y: Any) -> Any:
    total = xp.zeros_like(y)
    for _ in range(10):
        small = y < 10
        total = total - xp.where(small, 1 / y, 0)
        y = xp.where(small, y + 1, y)
    square = 1 / (y * y)
    return total + xp.log(y) - 0.5 / y - square * polynomial(square, _DIGAMMA)


@in_double
def digamma(xp: Any, x: Any) -> Any:
    def reflected(x: Any) -> Any:
        # DLMF 5.5.4, with the tangent from the fraction alone, which is exact.
        fraction = x - xp.trunc(x)
        found = _digamma_positive(xp, 1 - x) - pi / xp.tan(pi * fraction)
        return xp.where(fraction == 0, xp.nan, found)

    found = either(xp, x < 0, reflected, lambda x: _digamma_positive(xp, x), x)
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


def _i_scaled(xp: Any, a: Any, near: tuple[float, ...], far: tuple[float, ...], power: int) -> Any:
    def inner(a: Any) -> Any:
        return chebyshev_series(xp.minimum(a, 8) / 2 - 2, near) * a**power

    def outer(a: Any) -> Any:
        a = xp.maximum(a, 8)
        return chebyshev_series(32 / a - 2, far) / xp.sqrt(a)

    return either(xp, a <= 8, inner, outer, a)


def _i0e(xp: Any, x: Any) -> Any:
    return _i_scaled(xp, xp.abs(x), table.I0E_A, table.I0E_B, 0)


def _i1e(xp: Any, x: Any) -> Any:
    return xp.sign(x) * _i_scaled(xp, xp.abs(x), table.I1E_A, table.I1E_B, 1)


i0e = in_double(_i0e)
i1e = in_double(_i1e)
i0 = in_double(lambda xp, x: _i0e(xp, x) * xp.exp(xp.abs(x)))
i1 = in_double(lambda xp, x: _i1e(xp, x) * xp.exp(xp.abs(x)))


def _k(order: int, scaled: bool) -> Kernel:
    small, large = (table.K0_A, table.K0_B) if order == 0 else (table.K1_A, table.K1_B)

    def kernel(xp: Any, x: Any) -> Any:
        def near(x: Any) -> Any:
            x = xp.minimum(x, 2)
            series = chebyshev_series(x * x - 2, small)
            logarithm = xp.log(x / 2)
            growth = xp.exp(x)
            if order == 0:
                found = series - logarithm * _i0e(xp, x) * growth
            else:
                found = logarithm * _i1e(xp, x) * growth + series / x
            return found * growth if scaled else found

        def far(x: Any) -> Any:
            x = xp.maximum(x, 2)
            found = chebyshev_series(8 / x - 2, large) / xp.sqrt(x)
            return found if scaled else found * xp.exp(-x)

        found = either(xp, x <= 2, near, far, x)
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
    a = xp.maximum(a, 5)
    w = 5 / a
    z = w * w
    p = polynomial(z, pp) / polynomial(z, pq)
    q = w * polynomial(z, qp) / polynomial(z, qq)
    scale = sqrt(2 / pi) / xp.sqrt(a)
    return p * scale, q * scale, a - (pi / 4 if order == 0 else 3 * pi / 4)


def _first_kind_far(xp: Any, a: Any, order: int) -> Any:
    p, q, angle = _modulus_and_phase(xp, a, order)
    return p * xp.cos(angle) - q * xp.sin(angle)


def _j0(xp: Any, x: Any) -> Any:
    def near(a: Any) -> Any:
        z = xp.minimum(a, 5) ** 2
        zeros = (z - 5.78318596294678452118) * (z - 30.4712623436620863991)
        return zeros * polynomial(z, table.J0_RP) / polynomial(z, table.J0_RQ)

    a = xp.abs(x)
    return either(xp, a <= 5, near, lambda a: _first_kind_far(xp, a, 0), a)


def _j1(xp: Any, x: Any) -> Any:
    def near(a: Any) -> Any:
        a = xp.minimum(a, 5)
        z = a * a
        zeros = a * (z - 14.6819706421238932572) * (z - 49.2184563216946036703)
        return zeros * polynomial(z, table.J1_RP) / polynomial(z, table.J1_RQ)

    a = xp.abs(x)
    return xp.sign(x) * either(xp, a <= 5, near, lambda a: _first_kind_far(xp, a, 1), a)


def _y(order: int) -> Kernel:
    def kernel(xp: Any, x: Any) -> Any:
        def near(x: Any) -> Any:
            x = xp.minimum(x, 5)
            z = x * x
            if order == 0:
                return polynomial(z, table.Y0_YP) / polynomial(z, table.Y0_YQ) + 2 / pi * xp.log(x) * _j0(xp, x)
            found = x * polynomial(z, table.Y1_YP) / polynomial(z, table.Y1_YQ)
            return found + 2 / pi * (_j1(xp, x) * xp.log(x) - 1 / x)

        def far(x: Any) -> Any:
            p, q, angle = _modulus_and_phase(xp, x, order)
            return p * xp.sin(angle) + q * xp.cos(angle)

        found = either(xp, x <= 5, near, far, x)
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
