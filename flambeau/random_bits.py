"""The CPU random generator: PyTorch's numbers for PyTorch's seeds, in NumPy.

:class:`CPUGenerator` is a Mersenne Twister (MT19937; Matsumoto and Nishimura 1998) seeded by
Knuth's linear recurrence, as NumPy's legacy seeding and PyTorch do it. Its samplers turn 32-bit
words into numbers by the recipes of PyTorch 2.13's CPU kernels, so that a seed gives the same
tensors and any sequence of different draws stays in step.

Vocabulary: a *word* is one 32-bit output of the twister, a *double word* is two of them, the high
half first. ``u`` is a uniform number in [0, 1): the low 24 bits of a word times 2^-24 in single
precision, the low 53 bits of a double word times 2^-53 in double precision.

Equality with PyTorch on x86-64 is bit for bit wherever only integer arithmetic, additions,
products and square roots are involved, and for the single-precision normal, whose logarithm, sine
and cosine are evaluated here by the same polynomials. Double-precision logarithms and
trigonometric functions are those of the C library for a handful of values, and NumPy's for more
than that; NumPy calls the C library too, save on AVX-512 processors, where the last bit may differ.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flambeau.random_transforms import (
    TWO_PI,
    Binomial,
    box_muller_double,
    box_muller_single,
    cast,
    digits_of,
    fma32,
    fma64,
    forward_shuffle,
    gamma_one,
    inner_high,
    inner_low,
    inside_out_shuffle,
    libm,
    poisson_one,
)

Shape = int | Iterable[int]

_REAL_OF_COMPLEX = {
    np.dtype(np.complex64): np.dtype(np.float32),
    np.dtype(np.complex128): np.dtype(np.float64),
}

# From this range on, integers are reduced from a double word, to keep the skew of modulo small.
_WIDE_RANGE = 1 << 28
_INT64_MIN = -(1 << 63)
_INT64_MAX = (1 << 63) - 1

# The saved state is a C struct; 64-bit slots hold the 32-bit twister words.
_STATE = np.dtype(
    {
        "names": [
            "seed",
            "left",
            "seeded",
            "next",
            "key",
            "normal_y",
            "normal_valid",
            "float_normal",
            "float_normal_valid",
        ],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", 624), "<f8", "<i4", "<f4", "u1"],
        # normal_x and normal_rho (8 bytes each, around normal_y) have no use any more.
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
        "itemsize": 5056,
    }
)


def _shape(shape: Shape) -> tuple[int, ...]:
    result = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(map(int, shape))
    for size in result:
        if size < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {size}: {list(result)}")
    return result


def _real_digits(dtype: np.dtype, name: str) -> int:
    """Mantissa bits of a floating-point dtype; an error names the sampler for any other dtype."""
    digits = digits_of(dtype)
    if digits is None:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype.name}'")
    return digits


def _check_bounds(low: int, last: int, dtype: np.dtype) -> None:
    """Both ends must lie in the dtype's range; ``last`` is inclusive."""
    if digits_of(dtype) is not None:
        largest = 65504.0 if dtype.name == "float16" else math.inf
        smallest = -largest
    elif dtype == np.bool_:
        smallest, largest = 0, 1
    else:
        smallest, largest = int(np.iinfo(dtype).min), min(int(np.iinfo(dtype).max), _INT64_MAX)
    for name, value in (("from", low), ("to - 1", last)):
        if not smallest <= value <= largest:
            raise RuntimeError(f"{name} is out of bounds for {dtype.name}")


def _check_positive_sums(weights: np.ndarray) -> None:
    if not bool(np.all(weights.sum(axis=-1) > 0.0)):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")


class _Doubles:
    """Double-precision uniforms one at a time, for samplers that reject.

    Words are drawn ahead in blocks; leaving the ``with`` block puts the twister back to just
    behind the last number that was used. The generator stays locked meanwhile.
    """

    def __init__(self, generator: CPUGenerator, expected: int) -> None:
        self._generator = generator
        self._chunk = max(16, min(expected, 1 << 16))
        self._used = 0
        self._buffer: list[float] = []
        self._position = 0

    def __enter__(self) -> _Doubles:
        self._generator._lock.acquire()
        self._start = self._generator._twister.state
        self._untouched = self._generator._untouched
        return self

    def __exit__(self, *exception: object) -> None:
        generator = self._generator
        used = self._used + self._position
        generator._twister.state = self._start
        generator._untouched = self._untouched
        generator._skip(2 * used)
        generator._lock.release()

    def uniform(self) -> float:
        if self._position == len(self._buffer):
            self._used += self._position
            self._buffer = self._generator._doubles(self._chunk).tolist()
            self._position = 0
        value = self._buffer[self._position]
        self._position += 1
        return value

    def normal(self) -> float:
        generator = self._generator
        cached = generator._next_normal
        if cached is not None:
            generator._next_normal = None
            return cached
        angle = TWO_PI * self.uniform()
        radius = math.sqrt(-2.0 * math.log1p(-self.uniform()))
        generator._next_normal = radius * math.sin(angle)
        return radius * math.cos(angle)


class CPUGenerator:
    """PyTorch's CPU random generator and its samplers, on NumPy arrays.

    Every sampler takes a shape (an int or a sequence of ints) and a NumPy dtype (``float16``,
    ``float32``, ``float64``, the integers, or ml_dtypes' ``bfloat16``), and returns a new array. An
    empty shape draws nothing. Draws are safe between threads.

    Twister: M. Matsumoto and T. Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998).

    >>> CPUGenerator(0).uniform(2, np.float32).tolist()
    [0.49625658988952637, 0.7682217955589294]
    """

    def __init__(self, seed: int = 67280421310721) -> None:
        self._lock = threading.RLock()
        self._twister = np.random.MT19937(0)
        # RandomState.seed is NumPy's public door to the legacy seeding of a given twister.
        self._seeder = np.random.RandomState(self._twister)
        self.manual_seed(seed)

    # State

    def manual_seed(self, seed: int) -> CPUGenerator:
        """Start the sequence of ``seed``, taken modulo 2^64; the twister uses its low 32 bits.

        Accepted are -2^63 to 2^64 - 1; anything else raises ValueError.
        """
        seed = int(seed)
        if not _INT64_MIN <= seed < 1 << 64:
            raise ValueError("Overflow when unpacking long long")
        with self._lock:
            self._seed = seed % (1 << 64)
            self._seeder.seed(self._seed & 0xFFFFFFFF)
            self._next_normal: float | None = None
            self._next_float_normal: float | None = None
            # A twister that has given nothing yet is saved with position 0 instead of 624.
            self._untouched = True
        return self

    def seed(self) -> int:
        """Seed from the operating system's entropy (53 bits) and return that seed."""
        seed = int.from_bytes(os.urandom(8), "little") & ((1 << 53) - 1)
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed that the current sequence started from."""
        return self._seed

    def get_state(self) -> np.ndarray:
        """The whole state as 5056 bytes, in the layout of ``torch.get_rng_state()``.

        Seed, words left before the next twist (plus one), position, the 624 words in 64-bit
        slots, and the second value of the last Box-Muller pair where one waits.
        """
        record = np.zeros(1, _STATE)
        with self._lock:
            twister = self._twister.state["state"]
            position = int(twister["pos"])
            record["seed"] = self._seed
            record["left"] = 625 - position
            record["seeded"] = 1
            record["next"] = 0 if self._untouched else position
            record["key"] = twister["key"]
            if self._next_normal is not None:
                record["normal_valid"] = 1
                record["normal_y"] = self._next_normal
            if self._next_float_normal is not None:
                record["float_normal_valid"] = 1
                record["float_normal"] = self._next_float_normal
        return record.view(np.uint8)

    def set_state(self, state: np.ndarray) -> CPUGenerator:
        """Resume from bytes that :meth:`get_state` or ``torch.get_rng_state()`` gave."""
        state = np.asarray(state)
        if state.dtype != np.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        if state.size != _STATE.itemsize:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {_STATE.itemsize} but found the input "
                f"RNG state size to be {state.size}"
            )
        record = np.ascontiguousarray(state).reshape(-1).view(_STATE)[0]
        left = int(record["left"])
        position = int(record["next"])
        if int(record["seeded"]) != 1 or not 0 < left <= 624 or position > 624:
            raise RuntimeError("Invalid mt19937 state")
        key = record["key"].astype(np.uint32)
        with self._lock:
            self._seed = int(record["seed"])
            self._twister.state = {
                "bit_generator": "MT19937",
                "state": {"key": key, "pos": 625 - left},
            }
            self._untouched = left == 1 and position == 0
            self._next_normal = float(record["normal_y"]) if record["normal_valid"] else None
            self._next_float_normal = float(record["float_normal"]) if record["float_normal_valid"] else None
        return self

    def clone_state(self) -> CPUGenerator:
        """A new generator that goes on from here independently."""
        return CPUGenerator(0).set_state(self.get_state())

    def __getstate__(self) -> np.ndarray:
        return self.get_state()

    def __setstate__(self, state: np.ndarray) -> None:
        self.__init__(0)
        self.set_state(state)

    # Words

    def _words(self, count: int) -> np.ndarray:
        """The next ``count`` words, as uint32."""
        with self._lock:
            if count:
                self._untouched = False
            return self._twister.random_raw(count).astype(np.uint32)

    def _double_words(self, count: int) -> np.ndarray:
        """The next ``count`` double words, as uint64."""
        with self._lock:
            if count:
                self._untouched = False
            words = self._twister.random_raw(2 * count)
        high = words[::2] << np.uint64(32)
        high |= words[1::2]
        return high

    def _skip(self, count: int) -> None:
        if count:
            self._untouched = False
            self._twister.random_raw(count, output=False)

    def _singles(self, count: int) -> np.ndarray:
        """float32 uniforms: the low 24 bits of a word times 2^-24."""
        words = self._words(count)
        words &= np.uint32(0xFFFFFF)
        # As signed integers, for which processors have a conversion.
        result = words.view(np.int32).astype(np.float32)
        result *= np.float32(2.0**-24)
        return result

    def _doubles(self, count: int) -> np.ndarray:
        """float64 uniforms: the low 53 bits of a double word times 2^-53."""
        words = self._double_words(count)
        words &= np.uint64((1 << 53) - 1)
        result = words.view(np.int64).astype(np.float64)
        result *= 2.0**-53
        return result

    def random_words(self, count: int) -> np.ndarray:
        """The next ``count`` raw 32-bit outputs, as a uint32 array."""
        return self._words(count)

    def random_word(self) -> int:
        """The next raw 32-bit output."""
        return int(self._words(1)[0])

    def random_double_word(self) -> int:
        """The next two raw outputs as one 64-bit number, the first one high."""
        return int(self._double_words(1)[0])

    # Continuous distributions

    def uniform(self, shape: Shape, dtype: Any = np.float32, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform numbers in [low, high): ``u*(high - low) + low`` with a single rounding.

        float64 takes a double word, every other type one word, in float32 arithmetic; a value
        that rounds up to ``high`` becomes ``low``. Complex types draw real and imaginary parts in
        turn. As ``torch.rand`` and ``Tensor.uniform_``; bit for bit.
        """
        dtype = np.dtype(dtype)
        shape = _shape(shape)
        if dtype.kind == "c":
            parts = self.uniform((*shape, 2), _REAL_OF_COMPLEX[dtype], low, high)
            return parts.view(dtype)[..., 0]
        digits = _real_digits(dtype, "check_uniform_bounds")
        if not low <= high:
            raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
        count = math.prod(shape)
        if digits == 53:
            low, high = float(low), float(high)
            values = self._doubles(count)
            if (low, high) != (0.0, 1.0):
                values = fma64(values, high - low, low)
                values[values == high] = low
            return values.reshape(shape)
        with np.errstate(over="ignore"):
            low_single, high_single = np.float32(low), np.float32(high)
            span = high_single - low_single
        if not np.isfinite(span):
            raise RuntimeError(
                f"uniform_ expects to-from to be finite in {dtype.name}, but found to={high:g} and from={low:g}"
            )
        values = self._singles(count)
        if (low, high) != (0.0, 1.0):
            values = fma32(values, float(span), float(low_single))
        values = values.astype(dtype, copy=False)
        # From 24 bits, 1 is never reached in float32; every other case can round up to the end.
        if digits != 24 or (low, high) != (0.0, 1.0):
            low_end, high_end = (cast(np.array(end), dtype) for end in (low, high))
            values[values == high_end] = low_end
        return values.reshape(shape)

    def normal(self, shape: Shape, dtype: Any = np.float32, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
        """Normal numbers by Box and Muller (Ann. Math. Stat. 29, 1958): ``r*cos t*std + mean``.

        Under 16 values: float64 pairs (u1, u2), r = sqrt(-2 log1p(-u2)), t = 2 pi u1; the sine of
        a pair is kept in the generator for the next such draw, whatever comes between.

        From 16 values: blocks of 16 uniforms, r = sqrt(-2 log(1 - u)) from the first eight,
        t = 2 pi u from the last eight, eight cosines, then eight sines; a ragged tail replaces the
        last 16 values by a fresh block. float64 has its own precision, all other types float32.

        Complex types draw real and imaginary parts with std / sqrt(2). As ``torch.randn`` and
        ``Tensor.normal_`` on x86-64 with AVX2: bit for bit, save the last bit of a float64 where
        NumPy does not use the C library's functions, and of about one value in 10^8 among 16 and
        more in the other types, where a fused step is rounded twice.
        """
        dtype = np.dtype(dtype)
        shape = _shape(shape)
        mean, std = float(mean), float(std)
        if not std >= 0.0:
            raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
        if dtype.kind == "c":
            real = _REAL_OF_COMPLEX[dtype]
            return self.normal((*shape, 2), real, mean, std / math.sqrt(2.0)).view(dtype)[..., 0]
        digits = _real_digits(dtype, "normal_kernel_cpu")
        count = math.prod(shape)
        if count < 16:
            values = self._normal_pairs(count, mean, std)
        elif digits == 53:
            values = self._normal_blocks(self._doubles, count, box_muller_double, mean, std)
        else:
            # The 16-bit types draw block by block, and so never draw the uniforms of a ragged tail.
            values = self._normal_blocks(self._singles, count, box_muller_single, mean, std, fill_tail=digits == 24)
        return cast(values, dtype).reshape(shape)

    def _normal_pairs(self, count: int, mean: float, std: float) -> np.ndarray:
        """``count`` float64 normals, drawn in pairs, the odd one out kept."""
        if not count:
            return np.empty(0)
        with self._lock:
            cached = self._next_normal
            pairs = (count - (cached is not None) + 1) // 2
            uniforms = self._doubles(2 * pairs)
            self._next_normal = None
            angle = TWO_PI * uniforms[::2]
            radius = np.sqrt(-2.0 * libm(math.log1p, np.log1p, -uniforms[1::2]))
            values = np.empty(2 * pairs + 1)
            values[1::2] = radius * libm(math.cos, np.cos, angle)
            values[2::2] = radius * libm(math.sin, np.sin, angle)
            start = 1
            if cached is not None:
                values[0] = cached
                start = 0
            if start + count < values.size:
                self._next_normal = float(values[-1])
            values = values[start : start + count]
        # Always done, as the sum with a mean of +0 also turns -0 into +0.
        return fma64(values, std, mean)

    def _normal_blocks(
        self,
        draw: Callable[[int], np.ndarray],
        count: int,
        transform: Callable[[np.ndarray, float, float], None],
        mean: float,
        std: float,
        fill_tail: bool = True,
    ) -> np.ndarray:
        """Blocks of 16 normals; ``fill_tail`` draws uniforms for a ragged tail as well."""
        whole = count - count % 16
        with self._lock:
            values = draw(count if fill_tail else whole)
            tail = draw(16) if count % 16 else None
        transform(values[:whole].reshape(-1, 16), mean, std)
        if tail is None:
            return values
        transform(tail.reshape(1, 16), mean, std)
        # The fresh block overwrites the end of the last whole one.
        return np.concatenate((values[: count - 16], tail))

    def exponential(self, shape: Shape, dtype: Any = np.float32, rate: float = 1.0) -> np.ndarray:
        """Exponential numbers by inversion: ``-1/rate * log1p(-u)``, in float64.

        As ``Tensor.exponential_``; bit for bit where NumPy's log1p is the C library's.
        """
        dtype = np.dtype(dtype)
        rate = float(rate)
        if digits_of(dtype) is None:
            raise RuntimeError(
                "Exponential distribution is a continuous probability distribution. dtype must be "
                f"a floating point but you specified {dtype.name}"
            )
        if not rate > 0.0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
        shape = _shape(shape)
        values = (-1.0 / rate) * libm(math.log1p, np.log1p, -self._doubles(math.prod(shape)))
        return cast(values, dtype).reshape(shape)

    def cauchy(self, shape: Shape, dtype: Any = np.float32, median: float = 0.0, sigma: float = 1.0) -> np.ndarray:
        """Cauchy numbers by inversion: ``median + sigma * tan(pi * (u - 1/2))``, in float64.

        As ``Tensor.cauchy_``; bit for bit where NumPy's tan is the C library's.
        """
        dtype = np.dtype(dtype)
        _real_digits(dtype, "cauchy_cpu")
        median, sigma = float(median), float(sigma)
        if not sigma > 0.0:
            raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
        shape = _shape(shape)
        angle = math.pi * (self._doubles(math.prod(shape)) - 0.5)
        values = fma64(libm(math.tan, np.tan, angle), sigma, median)
        return cast(values, dtype).reshape(shape)

    def log_normal(self, shape: Shape, dtype: Any = np.float32, mean: float = 1.0, std: float = 2.0) -> np.ndarray:
        """Log-normal numbers: ``exp(mean + std*z)``, z from float64 Box-Muller pairs at any size.

        The kept second value of a pair is shared with :meth:`normal`. As ``Tensor.log_normal_``;
        bit for bit where NumPy's functions are the C library's.
        """
        dtype = np.dtype(dtype)
        _real_digits(dtype, "log_normal_cpu")
        mean, std = float(mean), float(std)
        if not std > 0.0:
            raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
        shape = _shape(shape)
        with np.errstate(over="ignore"):
            values = np.exp(self._normal_pairs(math.prod(shape), mean, std))
            return cast(values, dtype).reshape(shape)

    def gamma(self, concentration: Any) -> np.ndarray:
        """Standard gamma numbers, one per concentration, by Marsaglia and Tsang's rejection.

        ``d*v`` with d = a - 1/3, v = (1 + z/sqrt(9d))^3 for normal z (ACM TOMS 26, 2000); a
        concentration below 1 is raised by 1 and the sample scaled by ``u^(1/a)``. Takes float32
        or float64 and returns that; results are at least the smallest normal number. As
        ``torch._standard_gamma``; bit for bit on x86-64 Linux.
        """
        alpha = np.asarray(concentration)
        if alpha.dtype.name not in ("float32", "float64"):
            raise NotImplementedError(f"\"gamma_cpu\" not implemented for '{alpha.dtype.name}'")
        tiny = float(np.finfo(alpha.dtype).tiny)
        result = np.empty(alpha.size, alpha.dtype)
        # Float literals and the element's own type decide where single precision enters.
        third = alpha.dtype.type(np.float32(1.0) / np.float32(3.0))
        one = alpha.dtype.type(1.0)
        flat = alpha.reshape(-1)
        below_one = flat < one
        with np.errstate(divide="ignore", invalid="ignore"):
            inverses = (one / flat).tolist()
        boosted = np.where(below_one, flat + one, flat) - third
        steps = zip(flat.tolist(), inverses, boosted.tolist(), strict=True)
        with _Doubles(self, 4 * alpha.size) as draws:
            uniform, normal = draws.uniform, draws.normal
            for index, (value, inverse, d) in enumerate(steps):
                result[index] = gamma_one(uniform, normal, value, inverse, d)
        np.maximum(result, tiny, out=result)
        return result.reshape(alpha.shape)

    # Discrete distributions

    def randint(self, shape: Shape, low: int, high: int, dtype: Any = np.int64) -> np.ndarray:
        """Integers in [low, high), as any dtype: ``low + word mod (high - low)``.

        A range of 2^28 or more takes double words. For a floating-point dtype the ends are moved
        inwards to numbers that it holds. As ``torch.randint`` and ``Tensor.random_(low, high)``;
        bit for bit.
        """
        dtype = np.dtype(dtype)
        low, high = int(low), int(high)
        if not low < high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        if digits_of(dtype) is not None:
            low, high = inner_low(low, dtype), inner_high(high, dtype)
            if not low < high:
                raise RuntimeError(
                    "random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, "
                    f"but got from={low} >= to={high}"
                )
        _check_bounds(low, high - 1, dtype)
        return self._integers(_shape(shape), dtype, low, high - low)

    def random(self, shape: Shape, dtype: Any = np.float32, low: int | None = None) -> np.ndarray:
        """Integers over the whole range of a dtype, as ``Tensor.random_()``; bit for bit.

        Without ``low``: 0 to the largest value of an integer type, 0 to 2^digits of a
        floating-point one, where digits counts the mantissa's bits. With ``low``, the same from
        there, and for the lowest int64 all 64 bits.
        """
        dtype = np.dtype(dtype)
        shape = _shape(shape)
        count = math.prod(shape)
        digits = digits_of(dtype)
        if digits is not None:
            top = 1 << digits
        elif dtype == np.bool_:
            top = 1
        else:
            top = min(int(np.iinfo(dtype).max), _INT64_MAX)
        if low is None:
            if dtype.name in ("int64", "float64"):
                values = self._double_words(count) % np.uint64(top + 1)
            else:
                values = self._words(count).astype(np.uint64) % np.uint64(top + 1)
            return cast(values.view(np.int64), dtype).reshape(shape)
        low = int(low)
        if low == _INT64_MIN:
            return cast(self._double_words(count).view(np.int64), dtype).reshape(shape)
        if digits is not None:
            low = inner_low(low, dtype)
        if not low <= top:
            raise RuntimeError(
                f"random_ expects 'from' to be less than the largest {dtype.name}, but got from={low} > {top}"
            )
        _check_bounds(low, top, dtype)
        return self._integers(shape, dtype, low, top - low + 1)

    def _integers(self, shape: tuple[int, ...], dtype: np.dtype, base: int, span: int) -> np.ndarray:
        count = math.prod(shape)
        if span >= _WIDE_RANGE:
            values = self._double_words(count)
            if span < 1 << 64:
                values %= np.uint64(span)
            # In unsigned arithmetic, which wraps round, as a sum of int64 must not overflow.
            values += np.uint64(base % (1 << 64))
            return cast(values.view(np.int64), dtype).reshape(shape)
        values = self._words(count)
        values %= np.uint32(span)
        wide = values.astype(np.int64)
        wide += base
        return cast(wide, dtype).reshape(shape)

    def randperm(self, n: int, dtype: Any = np.int64) -> np.ndarray:
        """A permutation of 0 to n - 1 by the forward Fisher-Yates shuffle.

        Position i changes places with position ``i + word mod (n - i)``; n - 1 words are used. As
        ``torch.randperm``, bit for bit below 2^32 / 20 elements; beyond, PyTorch shuffles inside
        out with double words, and so does this.
        """
        n = int(n)
        _shape(n)
        dtype = np.dtype(dtype)
        if n == 0:
            return np.empty(0, dtype)
        if n >= 0xFFFFFFFF // 20:
            return inside_out_shuffle(self._double_words(n)).astype(dtype)
        targets = self._words(n - 1)
        targets %= np.arange(n, 1, -1, dtype=np.uint32)
        targets = targets.astype(np.int64)
        targets += np.arange(n - 1)
        return cast(forward_shuffle(targets), dtype)

    def bernoulli(self, p: Any, shape: Shape | None = None, dtype: Any = np.float32) -> np.ndarray:
        """1 with probability p, else 0: ``u < p``.

        A Python number p compares float64 uniforms; an array p (broadcast to ``shape``, which is
        its own by default) does so if it is float64, and float32 uniforms otherwise. As
        ``Tensor.bernoulli_`` and ``torch.bernoulli``, bit for bit, but for a number p where
        PyTorch uses Intel's library on Intel's processors: same distribution, other numbers.
        """
        dtype = np.dtype(dtype)
        if isinstance(p, (bool, int, float)):
            p = float(p)
            if not 0.0 <= p <= 1.0:
                raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
            shape = _shape(() if shape is None else shape)
            return (self._doubles(math.prod(shape)) < p).astype(dtype).reshape(shape)
        p = np.asarray(p)
        _real_digits(p.dtype, "bernoulli_tensor_cpu_p_")
        p = p if p.dtype == np.float64 else p.astype(np.float32, copy=False)
        if not bool(np.all((p >= 0.0) & (p <= 1.0))):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
        if shape is not None:
            p = np.broadcast_to(p, _shape(shape))
        draw = self._doubles if p.dtype == np.float64 else self._singles
        return (draw(p.size).reshape(p.shape) < p).astype(dtype)

    def geometric(self, shape: Shape, p: float, dtype: Any = np.float32) -> np.ndarray:
        """Trials up to the first success: ``ceil(log u / log1p(-p))``, in float64.

        As ``Tensor.geometric_``; bit for bit where NumPy's log is the C library's.
        """
        p = float(p)
        if not 0.0 < p < 1.0:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        shape = _shape(shape)
        logarithms = libm(math.log, np.log, self._doubles(math.prod(shape)))
        values = np.ceil(logarithms / math.log1p(-p))
        return cast(values, np.dtype(dtype)).reshape(shape)

    def multinomial(self, weights: Any, count: int, replacement: bool = False) -> np.ndarray:
        """``count`` category indices for each row of unnormalised ``weights``; int64.

        With replacement: the first category whose normalised cumulative weight reaches a float64
        uniform. Without, and for a single sample: the ``count`` largest of weight / q, where q is
        exponential (the race of exponentials; Efraimidis and Spirakis 2006). As
        ``torch.multinomial``; bit for bit save the order among equal keys, which only 16-bit
        types and exhausted categories (weight 0) have.
        """
        weights = np.asarray(weights)
        count = int(count)
        if weights.ndim not in (1, 2):
            raise RuntimeError("prob_dist must be 1 or 2 dim")
        if digits_of(weights.dtype) is None:
            raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {weights.dtype.name}")
        if count <= 0:
            raise RuntimeError("cannot sample n_sample <= 0 samples")
        categories = weights.shape[-1]
        if not replacement and count > categories:
            raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
        if categories > 1 << 24:
            raise RuntimeError("number of categories cannot exceed 2^24")
        if weights.size == 0:
            return np.empty((*weights.shape[:-1], count), np.int64)
        wide = weights if weights.dtype == np.float64 else weights.astype(np.float32, copy=False)
        if not replacement or count == 1:
            if not bool(np.all((wide >= 0.0) & (wide < np.inf))):
                raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
            _check_positive_sums(wide)
            keys = self._race(wide, weights.dtype)
            if count == 1:
                return np.argmax(keys, axis=-1, keepdims=True)
            return np.argsort(-keys, axis=-1, kind="stable")[..., :count]
        if not bool(np.all(wide >= 0.0)):
            raise RuntimeError("invalid multinomial distribution (encountering probability entry < 0)")
        if not bool(np.all(np.isfinite(wide))):
            raise RuntimeError("invalid multinomial distribution (encountering probability entry = infinity or NaN)")
        _check_positive_sums(wide)
        rows = np.cumsum(wide.reshape(-1, categories), axis=-1, dtype=wide.dtype)
        rows /= rows[:, -1:].copy()
        rows[:, -1] = 1.0
        uniforms = self._doubles(rows.shape[0] * count).reshape(-1, count)
        picks = [np.searchsorted(row.astype(np.float64), u) for row, u in zip(rows, uniforms, strict=True)]
        return np.stack(picks).astype(np.int64).reshape(*weights.shape[:-1], count)

    def _race(self, wide: np.ndarray, dtype: np.dtype) -> np.ndarray:
        clocks = self.exponential(wide.shape, dtype).astype(wide.dtype, copy=False)
        with np.errstate(divide="ignore", invalid="ignore"):
            keys = wide / clocks
        # The quotient is rounded to the weights' own type before it is compared.
        return cast(keys, dtype).astype(wide.dtype, copy=False)

    def poisson(self, rate: Any) -> np.ndarray:
        """Poisson counts, one per rate, in the rates' dtype.

        Below 10, Knuth's product of uniforms until it falls to exp(-rate); from 10, the
        transformed rejection PTRS of Hoermann (Insurance: Math. and Econ. 12, 1993). As
        ``torch.poisson``; bit for bit on x86-64 Linux.
        """
        rate = np.asarray(rate)
        _real_digits(rate.dtype, "poisson_cpu")
        rates = rate.astype(np.float64).reshape(-1)
        if not bool(np.all(rates >= 0.0)):
            raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
        result = np.empty(rate.size, np.float64)
        expected = int(np.minimum(rates + 1.0, 12.0).sum())
        with _Doubles(self, expected) as draws:
            for index, value in enumerate(rates.tolist()):
                result[index] = poisson_one(draws.uniform, value)
        return cast(result, rate.dtype).reshape(rate.shape)

    def binomial(self, count: Any, prob: Any) -> np.ndarray:
        """Successes among ``count`` trials of probability ``prob``, element by element.

        With q = min(prob, 1 - prob): below 10 expected successes, sums of geometric gaps; from 10,
        the transformed rejection BTRS of Hoermann (J. Stat. Comput. Simul. 46, 1993). Both
        arguments float32 or both float64, of one shape. As ``torch.binomial``; bit for bit on
        x86-64 Linux.
        """
        count, prob = np.asarray(count), np.asarray(prob)
        if count.dtype.name not in ("float32", "float64"):
            raise NotImplementedError(f"\"binomial_cpu\" not implemented for '{count.dtype.name}'")
        if count.dtype != prob.dtype:
            raise RuntimeError(f"Found dtype {prob.dtype.name} but expected {count.dtype.name}")
        count, prob = np.broadcast_arrays(count, prob)
        result = np.empty(count.size, count.dtype)
        setups: dict[tuple[float, float], Binomial] = {}
        with _Doubles(self, 4 * count.size) as draws, np.errstate(all="ignore"):
            pairs = zip(count.reshape(-1), prob.reshape(-1), strict=True)
            for index, pair in enumerate(pairs):
                setup = setups.get(pair)
                if setup is None:
                    setup = Binomial(*pair)
                    # NaN never equals itself; without a bound such elements would pile up.
                    if len(setups) < 4096:
                        setups[pair] = setup
                result[index] = setup.sample(draws.uniform)
        return result.reshape(count.shape)
