"""Maximum pooling: the maxima of windows, where they are, and what goes back to there."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from flambeau.dtypes import int64
from flambeau.graph.node import Aval
from flambeau.ops import max_pool_lax
from flambeau.ops.conv_kernels import Ints
from flambeau.ops.operator import operator
from flambeau.ops.pool_windows import (
    Windows,
    along,
    axes_of,
    lowest,
    padded_to_reach,
    place_parts,
    pool_rule,
    window_tables,
)
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

BLOCK = 1 << 19
"""Elements of images whose gradient the interpreter computes at a time: two megabytes in float32."""

# ---------------------------------------------------------------- the maximum


def _max_numpy(np: Any, x: Any, *, windows: Windows) -> Any:
    # Along the first axis neighbours are far apart in memory and lie in long runs: it makes the image smaller first.
    for a, axis in enumerate(axes_of(windows, x.ndim)):
        x = _max_along(np, x, windows, a, axis)
    return x


def _max_along(np: Any, x: Any, windows: Windows, a: int, axis: int) -> Any:
    if windows.kernel[a] == 1 and windows.stride[a] == 1 and not windows.padding[a]:
        return x
    result = None
    parts = [windows.valid(a, k) for k in range(windows.kernel[a])]
    whole = [given for wanted, given in parts if wanted == slice(0, windows.out[a])]
    if len(whole) > 1:
        result = np.maximum(x[along(x.ndim, axis, whole[0])], x[along(x.ndim, axis, whole[1])])
    elif whole:
        result = x[along(x.ndim, axis, whole[0])].copy(order="K")
    else:
        shape = (*x.shape[:axis], windows.out[a], *x.shape[axis + 1 :])
        result = np.full(shape, lowest(np, x.dtype), x.dtype)
    for given in whole[2:]:
        np.maximum(result, x[along(x.ndim, axis, given)], out=result)
    for wanted, given in parts:
        if wanted.start < wanted.stop and wanted != slice(0, windows.out[a]):
            target = result[along(x.ndim, axis, wanted)]
            np.maximum(target, x[along(x.ndim, axis, given)], out=target)
    return result


def _max_lax(jnp: Any, x: Any, *, windows: Windows) -> Any:
    import numpy as np

    for a, axis in reversed(list(enumerate(axes_of(windows, x.ndim)))):
        padded = padded_to_reach(jnp, x, windows, a, axis, lowest(np, x.dtype))
        step, out = windows.stride[a], windows.out[a]
        result = None
        for k in range(windows.kernel[a]):
            begin = k * windows.dilation[a]
            part = padded[along(x.ndim, axis, slice(begin, begin + (out - 1) * step + 1, step))]
            result = part if result is None else jnp.maximum(result, part)
        x = result
    return x


def _max_derivative(grad: Tensor, x: Tensor, out: Tensor, windows: Windows) -> Tensor:
    return MAX_POOL_INPUT(grad, x, out, windows)


def _grad_name(call: Any) -> str:
    axes = len(call.params["windows"].size)
    return f"MaxPool{axes}DWithIndicesBackward0" if axes > 1 else "SqueezeBackward1"


MAX_POOL = operator(
    "max_pool",
    pool_rule,
    None,
    _max_derivative,
    numpy=_max_numpy,
    lax=_max_lax,
    samples=lambda: [
        case("nn.functional.max_pool2d", T(2, 3, 6, 8), 2),
        case("nn.functional.max_pool2d", T(2, 3, 7, 9), (3, 2), stride=(2, 1), padding=1),
        case("nn.functional.max_pool2d", T(3, 7, 9), 3, stride=2, padding=1, ceil_mode=True),
        case("nn.functional.max_pool2d", T(1, 2, 9, 9), 3, stride=1, padding=1, dilation=2),
        case("nn.functional.max_pool2d", T(2, 2, 6, 6, dtype="int64"), 2),
        case("nn.functional.max_pool1d", T(2, 3, 8), 3),
        case("nn.functional.max_pool3d", T(1, 2, 5, 4, 6), 2, padding=1),
    ],
    grad_name=_grad_name,
)


# ---------------------------------------------------------------- its gradient


def _max_input_rule(grad: Aval, x: Aval, y: Aval, *, windows: Windows) -> Aval:
    return x.of()


def _max_input_numpy(np: Any, grad: Any, x: Any, y: Any, *, windows: Windows) -> Any:
    """What goes back to the images, some of them or some channels at a time, whose windows the caches hold."""
    lead = x.ndim - len(windows.size)
    axis = max(range(lead), key=lambda a: x.strides[a], default=0)
    some = max(1, BLOCK * x.shape[axis] // max(1, x.size))
    if not lead or some >= x.shape[axis]:
        return _sent_to_maxima(np, grad, x, y, windows)
    result = np.empty_like(x)
    for begin in range(0, x.shape[axis], some):
        here = along(x.ndim, axis, slice(begin, begin + some))
        result[here] = _sent_to_maxima(np, grad[here], x[here], y[here], windows)
    return result


def _sent_to_maxima(np: Any, grad: Any, x: Any, y: Any, windows: Windows) -> Any:
    """Each window's gradient goes to its first maximum; to its last NaN, if it has any."""
    # Bits are multiplied by 0 or 1 rather than numbers, so that infinite gradients stay where they belong.
    bits = np.dtype(f"i{x.itemsize}")
    left = np.empty_like(y)
    left[...] = grad
    left = left.view(bits)
    tiled = windows.tiles
    result = np.empty_like(x) if windows.covers else np.zeros_like(x)
    source, target = _Phases(x, windows), _Phases(result, windows)
    places = list(product(*map(range, windows.kernel)))
    for place in places:
        wanted, given = place_parts(windows, x.ndim, place)
        hit = source.part(given) == y[wanted]
        if tiled:
            moved = np.multiply(left[wanted], hit, out=target.part(given).view(bits))
        else:
            moved = np.multiply(left[wanted], hit)
            target.part(given)[...] += moved.view(x.dtype)
        if place != places[-1]:
            left[wanted] -= moved
    if y.dtype.kind == "f" and np.isnan(y.min(initial=0)):
        left[...] = np.where(np.isnan(y), grad, 0).astype(y.dtype).view(bits)
        for place in reversed(places):
            wanted, given = place_parts(windows, x.ndim, place)
            moved = np.multiply(left[wanted], np.isnan(source.part(given)))
            target.part(given)[...] += moved.view(x.dtype)
            left[wanted] -= moved
    target.put_together()
    return result


class _Phases:
    """An image in which windows read every s-th element, taken apart where they overlap.

    Of each phase several places read runs, then, instead of gathering single elements from the image.
    """

    def __init__(self, image: Any, windows: Windows) -> None:
        self._image = image
        self._stride = windows.stride
        self._phases: dict[Ints, Any] = {}
        if not windows.tiles and any(s > 1 for s in windows.stride):
            for begins in product(*map(range, windows.stride)):
                self._phases[begins] = image[self._every(begins)].copy(order="K")

    def _every(self, begins: Ints) -> tuple[Any, ...]:
        return (..., *[slice(b, None, s) for b, s in zip(begins, self._stride, strict=True)])

    def part(self, given: tuple[slice, ...]) -> Any:
        """The part of the image that a place reads: every s-th element along each axis, to be written to as well."""
        if not self._phases:
            return self._image[given]
        cuts = list(zip(given[-len(self._stride) :], self._stride, strict=True))
        inside = [slice(cut.start // s, cut.start // s + len(range(cut.start, cut.stop, s))) for cut, s in cuts]
        return self._phases[tuple([cut.start % s for cut, s in cuts])][(..., *inside)]

    def put_together(self) -> None:
        """Writes the phases back to the image."""
        for begins, phase in self._phases.items():
            self._image[self._every(begins)] = phase


def _max_input_derivative(grad: Tensor, x: Tensor, needs: tuple[bool, ...], windows: Windows) -> Any:
    return POOL_GATHER(grad, MAX_POOL_INDICES(x, windows)[1], len(windows.size)), None, None


MAX_POOL_INPUT = operator(
    "max_pool_input",
    _max_input_rule,
    None,
    _max_input_derivative,
    numpy=_max_input_numpy,
    lax=max_pool_lax.input_gradient,
    samples=lambda: [case("nn.functional.max_pool2d", T(2, 3, 6, 5), 3, stride=1, padding=1)],
    grad_name=lambda call: f"MaxPool{len(call.params['windows'].size)}DWithIndicesBackwardBackward0",
)


# ---------------------------------------------------------------- the maximum with its place


def _max_indices_rule(x: Aval, *, windows: Windows) -> tuple[Aval, Aval]:
    values = pool_rule(x, windows=windows)
    return values, values.of(dtype=int64)


def _max_indices_kernel(xp: Any, x: Any, *, windows: Windows) -> Any:
    import numpy as np

    tables = window_tables(windows)
    dims = len(windows.size)
    best = place_of_best = None
    for place in product(*[range(table.shape[1]) for table in tables]):
        grids = np.ix_(*[table[:, k] for table, k in zip(tables, place, strict=True)])
        here = x[(..., *grids)]
        at = np.zeros((1,) * dims, np.int64)
        for grid, n in zip(grids, windows.size, strict=True):
            at = at * n + grid
        if best is None:
            best, place_of_best = here, xp.broadcast_to(xp.asarray(at), here.shape)
            continue
        better = (here > best) | (here != here)
        best = xp.where(better, here, best)
        place_of_best = xp.where(better, at, place_of_best)
    return best, place_of_best


def _max_indices_derivative(grads: Any, outs: Any, x_shape: Ints, windows: Windows) -> Tensor:
    return POOL_SCATTER(grads[0], outs[1], windows.size)


MAX_POOL_INDICES = operator(
    "max_pool_indices",
    _max_indices_rule,
    _max_indices_kernel,
    _max_indices_derivative,
    samples=lambda: [
        case("nn.functional.max_pool2d", T(2, 3, 6, 5), 3, stride=2, padding=1, return_indices=True),
        case("nn.functional.adaptive_max_pool2d", T(2, 3, 6, 5), (4, 3)),
        case("nn.functional.adaptive_max_pool1d", T(3, 7), 3, return_indices=True),
        case("nn.functional.adaptive_max_pool3d", T(1, 2, 4, 5, 3), 2),
    ],
    grad_name=_grad_name,
)


# ---------------------------------------------------------------- places as numbers: gather, scatter, unpool


def _flat(xp: Any, x: Any, axes: int) -> Any:
    lead = x.shape[: x.ndim - axes]
    return x.reshape(*lead, prod(x.shape[x.ndim - axes :]))


def _gather_rule(x: Aval, indices: Aval, *, axes: int) -> Aval:
    return x.of(indices.shape)


def _gather_kernel(xp: Any, x: Any, indices: Any, *, axes: int) -> Any:
    return xp.take_along_axis(_flat(xp, x, axes), _flat(xp, indices, axes), axis=-1).reshape(indices.shape)


POOL_GATHER = operator(
    "pool_gather",
    _gather_rule,
    _gather_kernel,
    lambda grad, indices, x_shape, axes: (POOL_SCATTER(grad, indices, tuple(x_shape[len(x_shape) - axes :])), None),
    moves=True,
    samples=lambda: [case("nn.functional.max_unpool1d", T(1, 1, 1), T(1, 1, 1, dtype="int64", low=0, high=3), 3)],
)


def _scatter_rule(grad: Aval, indices: Aval, *, size: Ints) -> Aval:
    return grad.of((*grad.shape[: len(grad.shape) - len(size)], *size))


def _scatter_numpy(np: Any, grad: Any, indices: Any, *, size: Ints) -> Any:
    axes = len(size)
    values, places = _flat(np, grad, axes), _flat(np, indices, axes)
    rows = prod(values.shape[:-1])
    places = places.reshape(rows, places.shape[-1]) + np.arange(rows)[:, None] * prod(size)
    count = rows * prod(size)
    total = np.bincount(places.ravel(), values.ravel(), count) if count else np.zeros(0)
    return total.astype(grad.dtype).reshape(*grad.shape[: grad.ndim - axes], *size)


def _scatter_lax(jnp: Any, grad: Any, indices: Any, *, size: Ints) -> Any:
    axes = len(size)
    values, places = _flat(jnp, grad, axes), _flat(jnp, indices, axes)
    rows = prod(values.shape[:-1])
    values, places = (a.reshape(rows, a.shape[-1]) for a in (values, places))
    target = jnp.zeros((rows, prod(size)), grad.dtype).at[jnp.arange(rows)[:, None], places].add(values)
    return target.reshape(*grad.shape[: grad.ndim - axes], *size)


POOL_SCATTER = operator(
    "pool_scatter",
    _scatter_rule,
    None,
    lambda grad, indices, size: (POOL_GATHER(grad, indices, len(size)), None),
    numpy=_scatter_numpy,
    lax=_scatter_lax,
    samples=lambda: [case("nn.functional.adaptive_max_pool2d", T(2, 3, 6, 5), (4, 3))],
)


def _unpool_numpy(np: Any, x: Any, indices: Any, *, size: Ints) -> Any:
    axes = len(size)
    if indices.size and (indices.min() < 0 or indices.max() >= prod(size)):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        # PyTorch unpools a line as an image of width 1.
        shown = (*size, 1) if axes == 1 else size
        raise RuntimeError(
            f"Found an invalid max index: {wrong} (output volumes are of size {'x'.join(map(str, shown))})"
        )
    target = np.zeros((*x.shape[: x.ndim - axes], prod(size)), x.dtype)
    np.put_along_axis(target, _flat(np, indices, axes), _flat(np, x, axes), -1)
    return target.reshape(*x.shape[: x.ndim - axes], *size)


def _unpool_lax(jnp: Any, x: Any, indices: Any, *, size: Ints) -> Any:
    axes = len(size)
    rows = prod(x.shape[: x.ndim - axes])
    values, places = (_flat(jnp, a, axes).reshape(rows, prod(x.shape[x.ndim - axes :])) for a in (x, indices))
    target = jnp.zeros((rows, prod(size)), x.dtype).at[jnp.arange(rows)[:, None], places].set(values)
    return target.reshape(*x.shape[: x.ndim - axes], *size)


MAX_UNPOOL = operator(
    "max_unpool",
    _scatter_rule,
    None,
    lambda grad, indices, size: (POOL_GATHER(grad, indices, len(size)), None),
    numpy=_unpool_numpy,
    lax=_unpool_lax,
    moves=True,
    samples=lambda: [case("nn.functional.max_unpool1d", T(1, 1, 1), T(1, 1, 1, dtype="int64", low=0, high=3), 3)],
    grad_name=lambda call: f"MaxUnpool{n}DBackward0" if (n := len(call.params["size"])) > 1 else "SqueezeBackward1",
)
