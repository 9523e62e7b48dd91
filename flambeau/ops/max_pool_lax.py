"""The gradient of maximum pooling for XLA.

On the CPU each place of the windows takes what those before it left, in loops that write to memory what is left; what
NaN gets is only looked at if there is any.  Accelerators look for each window's maximum once more, and then send its
gradient to where that is: nothing is left to be written, and nothing to be decided by the host.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from flambeau.engine import target
from flambeau.ops.conv_kernels import Ints
from flambeau.ops.pool_windows import Windows, axes_of, lowest, padded_to_reach

FUSED = 9
"""Places of a window that XLA may merge into one loop on the CPU."""


class _Reach:
    """Images with as much around them as the windows reach out: NaN, which is equal to no maximum."""

    def __init__(self, jnp: Any, x: Any, windows: Windows) -> None:
        self.windows = windows
        self.image = x
        around = np.nan if x.dtype.kind == "f" else lowest(np, x.dtype)
        for a, axis in enumerate(axes_of(windows, x.ndim)):
            self.image = padded_to_reach(jnp, self.image, windows, a, axis, around)
        self.zero = jnp.zeros((), x.dtype)
        self.size = x.shape
        self.lead = x.ndim - len(windows.size)
        self.steps = [1] * self.lead + list(windows.stride)
        self.out = (*x.shape[: self.lead], *windows.out)

    def _span(self, place: Ints) -> tuple[list[int], list[int]]:
        starts = [0] * self.lead + [k * d for k, d in zip(place, self.windows.dilation, strict=True)]
        return starts, [b + (n - 1) * s + 1 for b, n, s in zip(starts, self.out, self.steps, strict=True)]

    def read(self, place: Ints) -> Any:
        """What all windows have in a place."""
        from jax import lax

        return lax.slice(self.image, *self._span(place), self.steps)

    def sent(self, part: Any, place: Ints) -> Any:
        """The images' gradient, of what goes back to a place of all windows."""
        from jax import lax

        sizes = zip(*self._span(place), self.image.shape, self.steps, strict=True)
        return lax.pad(part, self.zero, [(b, n - stop, s - 1) for b, stop, n, s in sizes])

    def inside(self, jnp: Any, place: Ints) -> Any:
        """Which windows have a place inside the image; None if all have."""
        found = None
        for a, k in enumerate(place):
            wanted, _ = self.windows.valid(a, k)
            if wanted == slice(0, self.windows.out[a]):
                continue
            at = jnp.arange(self.windows.out[a]).reshape(-1, *(1,) * (len(place) - 1 - a))
            here = (at >= wanted.start) & (at < wanted.stop)
            found = here if found is None else found & here
        return found

    def cut_out(self, result: Any) -> Any:
        """The part of the gradient that belongs to the images; where windows do not reach their end there is none."""
        from jax import lax

        begin = [0] * self.lead + list(self.windows.padding)
        end = [b + n for b, n in zip(begin, self.size, strict=True)]
        config = [(0, max(0, r - n), 0) for r, n in zip(end, result.shape, strict=True)]
        return lax.slice(lax.pad(result, self.zero, config), begin, end)


def input_gradient(jnp: Any, grad: Any, x: Any, y: Any, *, windows: Windows) -> Any:
    """Each window's gradient goes to its first maximum; to its last NaN, if it has any."""
    reach = _Reach(jnp, x, windows)
    places = list(product(*map(range, windows.kernel)))
    if target.kind() == "cpu":
        return reach.cut_out(_sent_in_turn(jnp, grad, y, reach, places))
    return reach.cut_out(_sent_to_winners(jnp, grad, reach, places))


def _sent_in_turn(jnp: Any, grad: Any, y: Any, reach: _Reach, places: list[Ints]) -> Any:
    from jax import lax

    def spread(result: Any, order: Any, free: Any, is_hit: Any) -> Any:
        for count, place in enumerate(order):
            if count and count % FUSED == 0:
                # Each place needs what the one before left: fused in one piece, they would be computed over and over.
                result, free = lax.optimization_barrier((result, free))
            hit = is_hit(place) & free
            free = free & ~hit
            part = reach.sent(jnp.where(hit, grad, reach.zero), place)
            result = part if result is None else result + part
        return result

    def is_nan(place: Ints) -> Any:
        found, inside = jnp.isnan(reach.read(place)), reach.inside(jnp, place)
        return found if inside is None else found & inside

    result = spread(None, places, jnp.ones(y.shape, bool), lambda place: reach.read(place) == y)
    if y.dtype.kind != "f":
        return result
    nan = jnp.isnan(y)
    return lax.cond(nan.any(), lambda found: spread(found, places[::-1], nan, is_nan), lambda found: found, result)


def _sent_to_winners(jnp: Any, grad: Any, reach: _Reach, places: list[Ints]) -> Any:
    best = jnp.full(reach.out, lowest(np, reach.image.dtype), reach.image.dtype)
    winner = jnp.full(reach.out, -1, np.int32)
    for number, place in enumerate(places):
        here = reach.read(place)
        better = (winner < 0) | (here > best) | (here != here)
        inside = reach.inside(jnp, place)
        if inside is not None:
            better &= inside
        best = jnp.where(better, here, best)
        winner = jnp.where(better, np.int32(number), winner)
    result = None
    for number, place in enumerate(places):
        part = reach.sent(jnp.where(winner == number, grad, reach.zero), place)
        result = part if result is None else result + part
    return result
