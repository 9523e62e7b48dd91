"""Weighted sums of a few elements along one axis: what interpolation and adaptive means are made of.

Each result element along the axis is a sum over its taps, numbers of input elements with weights.  Which
taps there are follows from a rule and the two extents alone.  The gradient is the same operator with the
relation turned round.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from flambeau.graph.node import Aval
from flambeau.ops.operator import operator
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

Tables = tuple[Any, Any]
GATHERED = 8
"""With more taps than this a product with the whole matrix is cheaper than picking elements."""


class Taps:
    """A rule for taps along an axis; hashable, so that it can be a static parameter.

    Attributes:
        kind: the name of a rule in :data:`RULES`.
        size, out: extents of the input and of the result.
        scale: input elements per output element; for the rules of padding, the elements put in front.
        corners: whether the first and last elements of both coincide.
        turned: whether the relation is turned round, from results to inputs.
    """

    __slots__ = ("_key", "corners", "kind", "out", "scale", "size", "turned")

    def __init__(
        self, kind: str, size: int, out: int, scale: float = 0.0, corners: bool = False, turned: bool = False
    ) -> None:
        self.kind = kind
        self.size = size
        self.out = out
        self.scale = scale
        self.corners = corners
        self.turned = turned
        self._key = (kind, size, out, scale, corners, turned)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Taps) and self._key == other._key

    def __repr__(self) -> str:
        return f"Taps({self.kind}, {self.size} to {self.out}{', turned' if self.turned else ''})"

    @property
    def extent(self) -> int:
        """The extent of what comes out."""
        return self.size if self.turned else self.out

    def turn(self) -> Taps:
        """The same relation the other way round."""
        return Taps(self.kind, self.size, self.out, self.scale, self.corners, not self.turned)


@lru_cache(maxsize=256)
def tap_tables(taps: Taps) -> Tables:
    """Element numbers and float64 weights, each (results, taps)."""
    places, weights = RULES[taps.kind](taps)
    return _turned(places, weights, taps.size) if taps.turned else (places, weights)


def _turned(places: Any, weights: Any, size: int) -> Tables:
    count, width = places.shape
    pairs = places.ravel() * count + np.repeat(np.arange(count), width)
    # One element may be met twice from one result, where taps were held back at the border.
    merged, where = np.unique(pairs, return_inverse=True)
    sums = np.bincount(where.ravel(), weights.ravel(), len(merged))
    merged, sums = merged[sums != 0], sums[sums != 0]
    sources, results = merged // count, merged % count
    fill = np.bincount(sources, minlength=size)
    wide = max(int(fill.max(initial=0)), 1)
    position = np.arange(len(sources)) - np.repeat(np.cumsum(fill) - fill, fill)
    places = np.zeros((size, wide), np.int64)
    turned = np.zeros((size, wide))
    places[sources, position] = results
    turned[sources, position] = sums
    return places, turned


@lru_cache(maxsize=64)
def _matrix(taps: Taps) -> Any:
    places, weights = tap_tables(taps)
    matrix = np.zeros((places.shape[0], taps.out if taps.turned else taps.size))
    np.add.at(matrix, (np.arange(len(places))[:, None], places), weights)
    return matrix


# ---------------------------------------------------------------- rules


def _mean(taps: Taps) -> Tables:
    i = np.arange(taps.out)
    start = i * taps.size // taps.out
    end = -(-(i + 1) * taps.size // taps.out)
    offsets = np.arange(int((end - start).max(initial=1)))
    places = np.minimum(start[:, None] + offsets, end[:, None] - 1)
    inside = offsets < (end - start)[:, None]
    return places, inside / (end - start)[:, None]


def _nearest(taps: Taps) -> Tables:
    i = np.arange(taps.out)
    if taps.size == taps.out:
        places = i
    elif taps.out == 2 * taps.size:
        places = i // 2
    else:
        places = np.minimum(np.floor(i.astype(np.float32) * np.float32(taps.scale)).astype(np.int64), taps.size - 1)
    return places[:, None], np.ones((taps.out, 1))


def _nearest_exact(taps: Taps) -> Tables:
    i = np.arange(taps.out, dtype=np.float32)
    places = np.minimum(np.floor((i + np.float32(0.5)) * np.float32(taps.scale)).astype(np.int64), taps.size - 1)
    return places[:, None], np.ones((taps.out, 1))


def _source(taps: Taps) -> Any:
    i = np.arange(taps.out, dtype=np.float64)
    if taps.corners:
        return i * ((taps.size - 1) / (taps.out - 1) if taps.out > 1 else 0.0)
    return (i + 0.5) * taps.scale - 0.5


def _linear(taps: Taps) -> Tables:
    source = np.maximum(_source(taps), 0.0)
    left = np.minimum(np.floor(source).astype(np.int64), taps.size - 1)
    share = np.clip(source - left, 0.0, 1.0)
    places = np.stack([left, np.minimum(left + 1, taps.size - 1)], 1)
    return places, np.stack([1 - share, share], 1)


def cubic(distance: Any, a: float) -> Any:
    """Cubic convolution's kernel (Keys, IEEE Trans. ASSP 29, 1981) with parameter ``a``."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _lanczos(distance: Any) -> Any:
    """A sinc windowed by the central lobe of one three times as wide (Duchon, J. Applied Meteorology 18, 1979)."""
    return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


def _cubic(taps: Taps) -> Tables:
    source = _source(taps)
    left = np.floor(source)
    offsets = np.arange(-1, 3)
    places = np.clip(left[:, None].astype(np.int64) + offsets, 0, taps.size - 1)
    return places, cubic((source - left)[:, None] - offsets, -0.75)


def _smoothed(kernel: Callable[[Any], Any], radius: float) -> Callable[[Taps], Tables]:
    """Interpolation whose kernel is widened by the factor of reduction, so that fine detail does not alias."""

    def rule(taps: Taps) -> Tables:
        scale = taps.scale
        if taps.corners:
            scale = (taps.size - 1) / (taps.out - 1) if taps.out > 1 else 0.0
        reach = radius * max(scale, 1.0)
        center = (np.arange(taps.out) + 0.5) * scale
        start = np.maximum((center - reach + 0.5).astype(np.int64), 0)
        end = np.minimum((center + reach + 0.5).astype(np.int64), taps.size)
        offsets = np.arange(max(int((end - start).max(initial=1)), 1))
        places = start[:, None] + offsets
        weights = kernel((places - center[:, None] + 0.5) / max(scale, 1.0))
        weights = np.where(offsets < (end - start)[:, None], weights, 0.0)
        total = weights.sum(1, keepdims=True)
        weights = np.where(total != 0, weights / np.where(total == 0, 1.0, total), weights)
        return np.clip(places, 0, taps.size - 1), weights

    return rule


def _outside(fold: Callable[[Any, int], Any]) -> Callable[[Taps], Tables]:
    """Padding: numbers beyond the ends are folded back to elements there are."""

    def rule(taps: Taps) -> Tables:
        i = np.arange(taps.out) - int(taps.scale)
        return fold(i, taps.size)[:, None], np.ones((taps.out, 1))

    return rule


RULES: dict[str, Callable[[Taps], Tables]] = {
    "mean": _mean,
    "reflect": _outside(lambda i, n: (n - 1) - np.abs((n - 1) - np.abs(i))),
    "replicate": _outside(lambda i, n: np.clip(i, 0, n - 1)),
    "circular": _outside(lambda i, n: i % n),
    "nearest": _nearest,
    "nearest-exact": _nearest_exact,
    "linear": _linear,
    "cubic": _cubic,
    "smooth-linear": _smoothed(lambda d: np.maximum(1 - np.abs(d), 0.0), 1.0),
    "smooth-cubic": _smoothed(lambda d: cubic(d, -0.5), 2.0),
    "smooth-lanczos": _smoothed(_lanczos, 3.0),
}

# ---------------------------------------------------------------- the operator


def _taps_rule(x: Aval, *, axis: int, taps: Taps) -> Aval:
    at = len(x.shape) + axis
    return x.of((*x.shape[:at], taps.extent, *x.shape[at + 1 :]))


def _taps_kernel(xp: Any, x: Any, *, axis: int, taps: Taps) -> Any:
    places, weights = tap_tables(taps)
    if places.shape[1] == 1 and (weights == 1).all():
        return xp.take(x, places[:, 0], axis=axis)
    if places.shape[1] > GATHERED:
        matrix = xp.asarray(_matrix(taps).T.astype(x.dtype))
        return xp.swapaxes(xp.matmul(xp.swapaxes(x, axis, -1), matrix), axis, -1)
    weights = weights.astype(x.dtype)
    total = None
    for t in range(places.shape[1]):
        part = xp.take(x, places[:, t], axis=axis) * weights[:, t].reshape(-1, *(1,) * (-1 - axis))
        total = part if total is None else total + part
    return total


TAPS = operator(
    "taps",
    _taps_rule,
    _taps_kernel,
    lambda grad, axis, taps: TAPS(grad, axis, taps.turn()),
    samples=lambda: [
        case("nn.functional.adaptive_avg_pool2d", T(2, 3, 7, 5), (3, 2)),
        case("nn.functional.interpolate", T(2, 3, 4, 5), size=(7, 6), mode="bilinear"),
        case("nn.functional.interpolate", T(2, 3, 4, 5), scale_factor=2),
        case("nn.functional.pad", T(2, 3, 4, 5), (1, 2, 3, 0), mode="reflect"),
        case("nn.functional.pad", T(3, 4, 5), (1, 2, -1, 3), mode="replicate"),
        case("nn.functional.pad", T(2, 3, 4), (3, 2), mode="circular"),
    ],
)


def tapped(x: Tensor, taps: list[Taps]) -> Tensor:
    """Applies a rule to each of the last axes."""
    for i, rule in enumerate(taps):
        if rule.size != rule.out or rule.kind not in ("mean", "nearest", "nearest-exact") or rule.scale not in (0, 1):
            x = TAPS(x, i - len(taps), rule)
    return x
