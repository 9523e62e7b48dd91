"""From uniform numbers to samples: the arithmetic behind :mod:`flambeau.random_bits`.

Pure functions on NumPy arrays and Python floats. What they share is care about rounding: a sample
equals PyTorch's only if each operation rounds where PyTorch's compiled kernel rounds, fused
multiply-adds included, which NumPy does not offer and which are therefore rebuilt here from
float64 operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

# Below this size the C library is called value by value: no slower, and exactly what PyTorch calls.
_FEW = 16

# Values per block in the block-wise loops: temporaries stay in the cache, and are small enough for
# the allocator to hand the same memory out again.
_BLOCK = 1 << 12

TWO_PI = 2.0 * math.pi

# Mantissa bits, the hidden one included: what C++ calls numeric_limits<T>::digits.
_DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}


@lru_cache(maxsize=64)
def digits_of(dtype: np.dtype) -> int | None:
    """Mantissa bits of a floating-point dtype, None for any other. A dtype's name costs a while."""
    return _DIGITS.get(dtype.name)


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``values`` as ``dtype``, with C++'s roundings.

    The 16-bit types are reached through float32, as C++ does, which rounds twice.
    """
    if dtype.itemsize == 2 and digits_of(dtype) is not None:
        values = values.astype(np.float32, copy=False)
    return values.astype(dtype, copy=False)


def libm(function: Callable[[float], float], ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
    """A double-precision elementary function: the C library's for few values, else NumPy's."""
    if values.size < _FEW and bool(np.all(values != 0.0)):
        return np.array([function(value) for value in values.tolist()], dtype=np.float64)
    with np.errstate(divide="ignore", over="ignore"):
        return ufunc(values)


def fma32(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """``round32(a*b + c)``, one rounding, of float32 values.

    The product of two float32 is exact in float64. The sum is rounded there and once more on the
    way to float32; the second rounding can only go wrong where the first one landed exactly half
    way between two float32, and there the error of the sum decides.
    """
    result = np.empty_like(a)
    for start in range(0, a.size, _BLOCK):
        product = a[start : start + _BLOCK].astype(np.float64)
        product *= b
        total = product + c
        halfway = (total.view(np.int64) & 0x1FFFFFFF) == 0x10000000
        if halfway.any():
            where = np.flatnonzero(halfway)
            exact_part = total[where]
            virtual = exact_part - product[where]
            error = (product[where] - (exact_part - virtual)) + (c - virtual)
            total[where] = np.where(error == 0.0, exact_part, np.nextafter(exact_part, np.copysign(np.inf, error)))
        result[start : start + _BLOCK] = total
    return result


def _split(a: Any) -> tuple[Any, Any]:
    """Veltkamp's split of a float64 into two halves of 26 bits, whose products are exact."""
    scaled = a * 134217729.0
    high = scaled - (scaled - a)
    return high, a - high


def fma64(a: np.ndarray, b: float, c: float) -> np.ndarray:
    """``round64(a*b + c)`` with one rounding, by Dekker's product and Knuth's sum."""
    if b == 1.0:
        return a + c
    product = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    product_error = a_low * b_low - (((product - a_high * b_high) - a_low * b_high) - a_high * b_low)
    total = product + c
    virtual = total - product
    total_error = (product - (total - virtual)) + (c - virtual)
    result = total + (total_error + product_error)
    # The error terms are meaningless where something overflowed; the plain sum is right there.
    return np.where(np.isfinite(result), result, total)


def inner_low(low: int, dtype: np.dtype) -> int:
    """The least integer from ``low`` upwards that a floating-point dtype does not round below it.

    Where the dtype's spacing exceeds 1 this is one spacing above the number that ``low + 1``
    rounds down to, as in PyTorch.
    """
    rounded = _through(low + 1, dtype)
    if rounded < low:
        return rounded + (1 << max(abs(low + 1).bit_length() - _DIGITS[dtype.name], 0))
    return low


def inner_high(high: int, dtype: np.dtype) -> int:
    """The counterpart of :func:`inner_low` for an exclusive upper end."""
    rounded = _through(high - 1, dtype)
    if rounded >= high:
        return rounded - (1 << max(abs(high - 1).bit_length() - _DIGITS[dtype.name], 0))
    return high


def _through(value: int, dtype: np.dtype) -> int:
    """``value`` after a conversion to a floating-point dtype; what overflows stays as it is."""
    with np.errstate(over="ignore"):
        result = float(cast(np.array([value], np.float64), dtype)[0])
    return int(result) if math.isfinite(result) else value


class _Single:
    """Chains of float32 operations, with fused multiply-adds, on float64 carriers.

    Every value is a float32 held in a float64, so that ``round32(a*b + c)`` is a float64 product
    (exact), a float64 sum and a rounding. Double rounding misses the true fused result about once
    in 2^29 operations.
    """

    def __init__(self, size: int) -> None:
        self._narrow = np.empty(size, np.float32)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """Round ``values`` to float32, in place."""
        narrow = self._narrow[: values.size]
        np.copyto(narrow, values, casting="same_kind")
        np.copyto(values, narrow)
        return values

    def horner(self, x: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
        """The polynomial with these coefficients, highest power first, by fused steps."""
        result = x * coefficients[0]
        result += coefficients[1]
        self.rounded(result)
        for coefficient in coefficients[2:]:
            result *= x
            result += coefficient
            self.rounded(result)
        return result


def constants(*values: float) -> tuple[float, ...]:
    return tuple(float(np.float32(value)) for value in values)


# Single-precision polynomials of the Cephes library (Moshier 1992): logf, sinf and cosf.
_LOG = constants(
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_LN2_LOW, _LN2_HIGH = constants(-2.12194440e-4, 0.693359375)
_SQRT_HALF_BITS = int(np.array(constants(math.sqrt(0.5))).view(np.int64)[0])
_SIN = constants(-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
_COS = constants(2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
_PI_QUARTERS = constants(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)
_FOUR_OVER_PI, _TWO_PI_SINGLE = constants(4.0 / math.pi, TWO_PI)


def log_single(x: np.ndarray, single: _Single) -> np.ndarray:
    """Natural logarithm of float32 values in (0, 1], by Cephes' logf with fused steps."""
    # x = m * 2^e with m from sqrt(1/2) to sqrt(2), by integer arithmetic on the bits of a float64.
    bits = x.view(np.int64)
    exponents = (bits - _SQRT_HALF_BITS) >> 52
    reduced = (bits - (exponents << 52)).view(np.float64)
    reduced -= 1.0
    exponent = exponents.astype(np.float64)
    square = single.rounded(reduced * reduced)
    result = single.horner(reduced, _LOG)
    single.rounded(np.multiply(result, reduced, out=result))
    result *= square
    result += single.rounded(exponent * _LN2_LOW)
    single.rounded(result)
    square *= 0.5
    result -= square
    single.rounded(result)
    result += reduced
    single.rounded(result)
    exponent *= _LN2_HIGH
    result += exponent
    return single.rounded(result)


def sincos_single(x: np.ndarray, single: _Single) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of float32 values in [0, 8192), by Cephes' sinf and cosf, fused steps."""
    octant = single.rounded(x * _FOUR_OVER_PI).astype(np.int64)
    octant += 1
    octant &= ~1
    quarters = octant.astype(np.float64)
    reduced = x
    for part in _PI_QUARTERS:
        reduced = single.rounded(quarters * part + reduced)
    square = single.rounded(reduced * reduced)

    cosine = single.horner(square, _COS)
    single.rounded(np.multiply(cosine, square, out=cosine))
    cosine *= square
    cosine -= 0.5 * square
    single.rounded(cosine)
    cosine += 1.0
    single.rounded(cosine)

    sine = single.horner(square, _SIN)
    single.rounded(np.multiply(sine, square, out=sine))
    sine *= reduced
    sine += reduced
    single.rounded(sine)

    # Exchanges and signs as bit operations, since a branch per value would be mispredicted.
    sine_bits, cosine_bits = sine.view(np.int64), cosine.view(np.int64)
    exchange = -((octant >> 1) & 1)
    exchange &= sine_bits ^ cosine_bits
    sine_bits ^= exchange
    cosine_bits ^= exchange
    sine_bits ^= (octant & 4) << 61
    octant += 2
    octant &= 4
    cosine_bits ^= octant << 61
    return sine, cosine


def box_muller_double(blocks: np.ndarray, mean: float, std: float) -> None:
    """Turn rows of 16 float64 uniforms into normals, in place."""
    first = blocks[:, :8].reshape(-1)
    radius = np.sqrt(-2.0 * libm(math.log, np.log, 1.0 - first))
    angle = TWO_PI * blocks[:, 8:].reshape(-1)
    cosines = fma64(radius * libm(math.cos, np.cos, angle), std, mean)
    sines = fma64(radius * libm(math.sin, np.sin, angle), std, mean)
    blocks[:, :8] = cosines.reshape(-1, 8)
    blocks[:, 8:] = sines.reshape(-1, 8)


def box_muller_single(blocks: np.ndarray, mean: float, std: float) -> None:
    """Turn rows of 16 float32 uniforms into normals, in place."""
    mean, std = constants(mean, std)
    rows = _BLOCK // 8
    single = _Single(_BLOCK)
    for start in range(0, len(blocks), rows):
        block = blocks[start : start + rows]
        radius = log_single(1.0 - block[:, :8].reshape(-1).astype(np.float64), single)
        radius *= -2.0
        # A float64 root rounded to float32 is the float32 root: 53 bits are more than 2*24 + 1.
        single.rounded(np.sqrt(radius, out=radius))
        angle = block[:, 8:].reshape(-1).astype(np.float64)
        angle *= _TWO_PI_SINGLE
        sine, cosine = sincos_single(single.rounded(angle), single)
        for wave, columns in ((cosine, slice(0, 8)), (sine, slice(8, 16))):
            wave *= radius
            single.rounded(wave)
            wave *= std
            wave += mean
            block[:, columns] = wave.reshape(-1, 8)


# Below this size a plain loop wins over sorting.
_SHUFFLE_BY_LOOP = 1024


def forward_shuffle(targets: np.ndarray) -> np.ndarray:
    """The result of exchanging positions i and ``targets[i]`` >= i of 0, 1, 2... for rising i.

    Large shuffles run without a loop. Position i is final after step i; what it gets is what was
    at its target, put there by the last earlier step k with the same target, which left there its
    own position's value at that time. Following such k back to a position that nobody had touched
    is a walk in a forest, done for all positions at once by pointer doubling.
    """
    steps = targets.size
    if steps < _SHUFFLE_BY_LOOP:
        order = list(range(steps + 1))
        for i, j in enumerate(targets.tolist()):
            order[i], order[j] = order[j], order[i]
        return np.array(order, dtype=np.int64)

    n = steps + 1
    own = np.arange(n)
    targets = np.append(targets, steps)
    moving = np.flatnonzero(targets != own)
    # Sorting (target, step) pairs puts the earlier step with the same target next to each step.
    shift = int(n).bit_length()
    keys = (targets[moving] << shift) | moving
    keys.sort()
    target_of = keys >> shift
    step_of = keys & ((1 << shift) - 1)

    # parent[k]: the last step that wrote to position k before its own step, or k itself.
    parent = own.copy()
    last_of_run = np.append(target_of[1:] != target_of[:-1], True)
    parent[target_of[last_of_run]] = step_of[last_of_run]
    while True:
        grandparent = parent[parent]
        if np.array_equal(grandparent, parent):
            break
        parent = grandparent

    # Steps with an untouched target take its own number; others what the previous step left there.
    result = parent.copy()
    result[step_of] = target_of
    repeated = np.flatnonzero(~last_of_run[:-1])
    result[step_of[repeated + 1]] = parent[step_of[repeated]]
    return result


def inside_out_shuffle(words: np.ndarray) -> np.ndarray:
    """The inside-out Fisher-Yates shuffle: position i gets what is at ``word mod (i + 1)``."""
    order = np.arange(words.size)
    targets = words % np.arange(1, words.size + 1, dtype=np.uint64)
    for i, j in enumerate(targets.astype(np.int64)):
        order[i] = order[j]
        order[j] = i
    return order


_SQUEEZE = float(np.float32(0.0331))


def gamma_one(
    uniform: Callable[[], float],
    normal: Callable[[], float],
    alpha: float,
    inverse: float,
    d: float,
) -> float:
    """One standard gamma number; ``inverse`` is 1/alpha, ``d`` the raised alpha less a third."""
    scale = 1.0
    if alpha < 1.0:
        if alpha == 0.0:
            return 0.0
        scale = math.pow(1.0 - uniform(), inverse)
    if not 0.0 < d < math.inf:
        return math.nan if not d > 0.0 else math.inf
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal()
        y = 1.0 + c * x
        if y <= 0.0:
            continue
        v = y * y * y
        u = 1.0 - uniform()
        square = x * x
        if u < 1.0 - _SQUEEZE * square * square:
            return scale * d * v
        if math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return scale * d * v


def poisson_one(uniform: Callable[[], float], rate: float) -> float:
    """One Poisson count."""
    if rate == 0.0:
        return 0.0
    if rate < 10.0:
        limit = math.exp(-rate)
        product = uniform()
        count = 0
        while product > limit:
            product *= uniform()
            count += 1
        return float(count)
    root = math.sqrt(rate)
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    accept_at_once = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = uniform() - 0.5
        v = uniform()
        margin = 0.5 - abs(u)
        if margin == 0.0:
            # The quotient below would be infinite: PyTorch rejects such a count as well.
            continue
        k = math.floor((2.0 * a / margin + b) * u + rate + 0.43)
        if margin >= 0.07 and v <= accept_at_once:
            return float(k)
        if k < 0 or (margin < 0.013 and v > margin):
            continue
        left = log_or_inf(v) + math.log(inverse_alpha) - math.log(a / (margin * margin) + b)
        if left <= -rate + k * log_rate - math.lgamma(k + 1.0):
            return float(k)


def log_or_inf(value: float) -> float:
    """The logarithm, minus infinity at 0 and NaN below, where Python's own raises."""
    if value > 0.0:
        return math.log(value)
    return -math.inf if value == 0.0 else math.nan


# Stirling's formula's error, log(k!) less its main terms, for k = 0 to 9.
_STIRLING_TAILS = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.0104112652619720,
    0.00925546218271273,
    0.00833056343336287,
)


def _stirling_tail(k: float) -> float:
    if k < len(_STIRLING_TAILS):
        return _STIRLING_TAILS[int(k)]
    square = (k + 1.0) * (k + 1.0)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1.0)


class Binomial:
    """What binomial samples of one (count, probability) pair share.

    ``count`` and ``prob`` are NumPy scalars of one type: products of the two stay in that type
    before they widen, as in PyTorch.
    """

    def __init__(self, count: Any, prob: Any) -> None:
        self.fixed: float | None = None
        self.mirrored = False
        self.single = count.dtype == np.float32
        self.count = float(count)
        if count <= 0.0 or prob <= 0.0:
            self.fixed = 0.0
        elif prob >= 1.0:
            self.fixed = self.count
        elif prob != prob:
            self.fixed = math.nan
        if self.fixed is not None:
            return
        real = type(count)
        if prob > 0.5:
            self.mirrored = True
            prob = real(1.0 - float(prob))
        one = real(1.0)
        self.by_gaps = not float(count * prob) >= 10.0
        if self.by_gaps:
            self.log_failure = float(np.log1p(-prob))
            return
        deviation = float(np.sqrt(count * prob * (one - prob)))
        self.b = 1.15 + 2.53 * deviation
        self.a = -0.0873 + 0.0248 * self.b + 0.01 * float(prob)
        self.c = float(count * prob) + 0.5
        self.accept_at_once = 0.92 - 4.2 / self.b
        self.odds = float(prob / (one - prob))
        self.alpha = (2.83 + 5.1 / self.b) * deviation
        self.mode = float(np.floor((count + one) * prob))
        self.count_plus = float(count + one)
        self.mode_term = _stirling_tail(self.mode) + _stirling_tail(self.count - self.mode)

    def sample(self, uniform: Callable[[], float]) -> float:
        if self.fixed is not None:
            return self.fixed
        value = self._gaps(uniform) if self.by_gaps else self._rejection(uniform)
        return self.count - value if self.mirrored else value

    def _gaps(self, uniform: Callable[[], float]) -> float:
        total = 0.0
        successes = 0.0
        while True:
            gap = log_or_inf(uniform()) / self.log_failure
            if gap == math.inf:
                return successes
            total += math.ceil(gap)
            if total > self.count:
                return successes
            successes += 1.0

    def _rejection(self, uniform: Callable[[], float]) -> float:
        count, mode, odds = self.count, self.mode, self.odds
        while True:
            u = uniform() - 0.5
            v = uniform()
            margin = 0.5 - abs(u)
            if margin == 0.0:
                continue
            k = float(math.floor((2.0 * self.a / margin + self.b) * u + self.c))
            if self.single:
                k = float(np.float32(k))
            if k < 0.0 or k > count:
                continue
            if margin >= 0.07 and v <= self.accept_at_once:
                return k
            above = count - k + 1.0
            k_plus = k + 1.0
            if self.single:
                above = float(np.float32(np.float32(count - k) + np.float32(1.0)))
                k_plus = float(np.float32(k_plus))
            v = log_or_inf(v * self.alpha / (self.a / (margin * margin) + self.b))
            bound = (
                (mode + 0.5) * math.log((mode + 1.0) / (odds * (count - mode + 1.0)))
                + self.count_plus * math.log((count - mode + 1.0) / above)
                + (k + 0.5) * math.log(odds * above / k_plus)
                + self.mode_term
                - _stirling_tail(k)
                - _stirling_tail(count - k)
            )
            if v <= bound:
                return k
