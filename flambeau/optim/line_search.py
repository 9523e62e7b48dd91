"""A search along a direction for a step that meets the strong Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

_DECREASE = 1e-4
_CURVATURE = 0.9
_CHANGE = 1e-9


class Point(NamedTuple):
    """A function and its slope at one place of a line.

    Attributes:
        place: the distance from where the line begins.
        value: the function.
        grad: its gradient.
        slope: the gradient along the line.
    """

    place: float
    value: float
    grad: Any
    slope: float


def strong_wolfe(
    at: Callable[[float], Point], start: Point, place: float, reach: float, limit: int
) -> tuple[Point, int]:
    """A place where the function has fallen enough, and its slope flattened enough.

    ``f(t) ≤ f(0) + c₁ t f'(0)`` and ``|f'(t)| ≤ -c₂ f'(0)``, with c₁ = 10⁻⁴ and c₂ = 0.9.

    Args:
        at: the function along the line.
        start: where the line begins.
        place: the first place to look at.
        reach: the largest part of the direction, to tell what change of place is too small.
        limit: how often to look on after the first time.

    Returns:
        The place found, and how often was looked.

    Source: Nocedal and Wright, Numerical Optimization (2006), algorithms 3.5 and 3.6.
    """
    before, here = start, at(place)
    looks = 0
    bracket: list[Point] | None = None
    while looks < limit:
        if _too_high(here, start) or (looks > 1 and here.value >= before.value):
            bracket = [before, here]
            break
        if _flat(here, start):
            return here, looks + 1
        if here.slope >= 0:
            bracket = [before, here]
            break
        # The place grows by a hundredth of the last growth at least, and ten times at most.
        bounds = (here.place + 0.01 * (here.place - before.place), here.place * 10)
        before, here = here, at(cubic(before, here, bounds))
        looks += 1
    if bracket is None:
        return (start if start.value <= here.value else here), looks + 1
    return _zoomed(at, start, bracket, reach, looks, limit)


def _zoomed(
    at: Callable[[float], Point], start: Point, bracket: list[Point], reach: float, looks: int, limit: int
) -> tuple[Point, int]:
    """Narrows down an interval that holds a place such as is sought."""
    slow = False
    low, high = (0, 1) if bracket[0].value <= bracket[1].value else (1, 0)
    while looks < limit:
        first, last = sorted(point.place for point in bracket)
        if (last - first) * reach < _CHANGE:
            break
        place = cubic(bracket[0], bracket[1])
        margin = 0.1 * (last - first)
        close = min(last - place, place - first) < margin
        if close and (slow or place >= last or place <= first):
            place = last - margin if abs(place - last) < abs(place - first) else first + margin
            slow = False
        else:
            slow = close
        here = at(place)
        looks += 1
        if _too_high(here, start) or here.value >= bracket[low].value:
            bracket[high] = here
            low, high = (0, 1) if bracket[0].value <= bracket[1].value else (1, 0)
            continue
        done = _flat(here, start)
        if not done and here.slope * (bracket[high].place - bracket[low].place) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = here
        if done:
            break
    return bracket[low], looks + 1


def _too_high(here: Point, start: Point) -> bool:
    return here.value > start.value + _DECREASE * here.place * start.slope


def _flat(here: Point, start: Point) -> bool:
    return abs(here.slope) <= -_CURVATURE * start.slope


def cubic(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """Where the cubic through two values and slopes is least, within bounds; their middle where it has no minimum."""
    if a.place > b.place:
        a, b = b, a
    least, most = bounds or (a.place, b.place)
    if a.place == b.place:
        return (least + most) / 2
    mean = a.slope + b.slope - 3 * (a.value - b.value) / (a.place - b.place)
    square = mean * mean - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    root = math.sqrt(square)
    under = b.slope - a.slope + 2 * root
    if under == 0:
        return (least + most) / 2
    place = b.place - (b.place - a.place) * ((b.slope + root - mean) / under)
    return min(max(place, least), most)
