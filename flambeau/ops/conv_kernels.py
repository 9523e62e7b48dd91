"""Convolution's array code for the interpreter: patches along all axes but one, and batched products.

A kernel keeps images with the batch innermost, in the order (H, C, W, N): H is the first spatial axis, W
stands for the remaining ones.  Copying the patches along W then moves long runs, and along H no copy is
needed at all, since the patch matrix of one output row,

    rows (i, c, j): kernel row, channel, kernel column      columns (w, n): output column, batch

is a contiguous stretch of what was copied, beginning ``stride`` rows after that of the row before.  One
batched product over such overlapping windows is the convolution; the two gradients use the same windows.
Results are handed on in that order, as views in PyTorch's order of axes, so that a chain of layers never
reorders its images.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


class Geometry:
    """Sizes and steps of one convolution, with a first spatial axis of one added to 1-d ones.

    Attributes:
        stride, dilation, padding: per spatial axis; padding as pairs.
        kernel, size, out: extents of the kernel, of the input and of the output.
    """

    __slots__ = ("dilation", "groups", "kernel", "out", "padding", "size", "stride")

    def __init__(
        self, size: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int, out: Ints
    ) -> None:
        if len(size) == 1:
            size, kernel, out = (1, *size), (1, *kernel), (1, *out)
            stride, dilation, padding = (1, *stride), (1, *dilation), ((0, 0), *padding)
        self.size = size
        self.kernel = kernel
        self.stride = stride
        self.dilation = dilation
        self.padding = padding
        self.groups = groups
        self.out = out

    @property
    def overlapping(self) -> bool:
        """Whether kernel rows are neighbours, so that windows along H need no copy."""
        return self.dilation[0] == 1 or self.kernel[0] == 1

    def valid(self, axis: int, offset: int) -> tuple[slice, slice]:
        """Along one axis, for one place in the kernel: which outputs read inside the input, and what."""
        stride, size, out = self.stride[axis], self.size[axis], self.out[axis]
        shift = offset * self.dilation[axis] - self.padding[axis][0]
        first = max(0, -(shift // stride))
        last = min(out, (size - 1 - shift) // stride + 1)
        if last <= first:
            return slice(0, 0), slice(0, 0)
        begin = first * stride + shift
        return slice(first, last), slice(begin, begin + (last - first - 1) * stride + 1, stride)


def rows_first(np: Any, x: Any, groups: int) -> Any:
    """An image batch (N, C, ...) in the kernels' order, (H, G, C/G, W..., N), copied unless it lies so already."""
    if x.ndim == 3:
        x = x[:, :, None]
    moved = x.transpose(2, 1, *range(3, x.ndim), 0)
    moved = np.ascontiguousarray(moved)
    height, channels = moved.shape[:2]
    return moved.reshape(height, groups, channels // max(groups, 1), *moved.shape[2:])


def usual_order(y: Any, ndim: int) -> Any:
    """(H, C, W..., N) seen as (N, C, spatial...), with ``ndim`` axes in all."""
    y = y.transpose(y.ndim - 1, 1, 0, *range(2, y.ndim - 1))
    return y[:, :, 0] if ndim == 3 else y


def windows(np: Any, rows: Any, geo: Geometry) -> Any:
    """The patch matrices (G, H', K, W'N) of an image in the kernels' order; K runs over (i, c, j)."""
    height, groups, channels = rows.shape[:3]
    batch = rows.shape[-1]
    kernel, out = geo.kernel, geo.out
    inner = kernel[1:]
    columns = prod(out[1:]) * batch
    block = channels * prod(inner) * columns
    above, below = geo.padding[0]
    if not geo.overlapping:
        return _copied_windows(np, rows, geo)
    plain = all(k == 1 for k in inner) and out[1:] == geo.size[1:] and geo.groups == 1 and not above and not below
    if plain and all(s == 1 for s in geo.stride[1:]) and not any(p for pair in geo.padding[1:] for p in pair):
        patches = rows
    else:
        # Only the rows that some output reads.
        needed = (out[0] - 1) * geo.stride[0] + kernel[0]
        patches = np.empty((groups, needed, channels, *inner, *out[1:], batch), rows.dtype)
        first, last = min(above, needed), max(min(above + height, needed), min(above, needed))
        patches[:, :first] = 0
        patches[:, last:] = 0
        source = rows[: last - first].swapaxes(0, 1)
        _copy_patches(patches[:, first:last], source, geo, 3)
    return np.lib.stride_tricks.as_strided(
        patches,
        (groups, out[0], kernel[0] * channels * prod(inner), columns),
        tuple(n * rows.itemsize for n in (patches.size // max(groups, 1), geo.stride[0] * block, columns, 1)),
        writeable=False,
    )


def _copy_patches(target: Any, source: Any, geo: Geometry, lead: int) -> None:
    """Fills (..., kernel places, outputs, N) from (..., W, N), zero where a place lies outside."""
    padded = any(p for pair in geo.padding[1:] for p in pair)
    axes = len(geo.kernel) - 1
    for place in product(*map(range, geo.kernel[1:])):
        part = target[(slice(None),) * lead + place]
        pairs = [geo.valid(axis + 1, place[axis]) for axis in range(axes)]
        wanted = (slice(None),) * lead + tuple(pair[0] for pair in pairs)
        given = (slice(None),) * lead + tuple(pair[1] for pair in pairs)
        if padded and part[wanted].shape != part.shape:
            part[...] = 0
        part[wanted] = source[given]


def _copied_windows(np: Any, rows: Any, geo: Geometry) -> Any:
    """Patch matrices with the kernel rows copied too, for dilated ones."""
    _, groups, channels = rows.shape[:3]
    batch = rows.shape[-1]
    kernel, out = geo.kernel, geo.out
    patches = np.zeros((groups, out[0], kernel[0], channels, *kernel[1:], *out[1:], batch), rows.dtype)
    source = rows.swapaxes(0, 1)
    for i in range(kernel[0]):
        wanted, given = geo.valid(0, i)
        _copy_patches(patches[:, wanted, i], source[:, given], geo, 3)
    return patches.reshape(groups, out[0], -1, prod(out[1:]) * batch)


def weight_matrix(weight: Any, geo: Geometry) -> Any:
    """(O, C/G, i, j...) as (G, O/G, K) with K over (i, c, j)."""
    groups = geo.groups
    w = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], geo.kernel[0], -1)
    return w.transpose(0, 1, 3, 2, 4).reshape(groups, w.shape[1], -1)


def is_depthwise(geo: Geometry, weight_shape: Ints) -> bool:
    return geo.groups > 1 and weight_shape[1] == 1 and weight_shape[0] == geo.groups


PORTION = 1 << 19
"""Elements of patches that are made at a time where groups allow it: they are used again while in the cache."""


def portions(geo: Geometry, channels: int, batch: int) -> list[slice]:
    """Groups that are worked on together."""
    each = geo.size[0] * channels * prod(geo.kernel[1:]) * prod(geo.out[1:]) * batch
    count = max(1, PORTION // max(each, 1))
    return [slice(g, min(g + count, geo.groups)) for g in range(0, geo.groups, count)]


def forward(np: Any, x: Any, weight: Any, bias: Any, geo: Geometry) -> Any:
    """The convolution."""
    rows = rows_first(np, x, geo.groups)
    batch, channels = x.shape[0], weight.shape[0]
    matrix = weight_matrix(weight, geo)[:, None]
    out = np.empty((geo.out[0], geo.groups, channels // geo.groups, prod(geo.out[1:]) * batch), x.dtype)
    for part in portions(geo, rows.shape[2], batch):
        np.matmul(matrix[part], windows(np, rows[:, part], geo), out=out[:, part].swapaxes(0, 1))
    if bias is not None:
        out += bias.reshape(geo.groups, -1, 1)
    return usual_order(out.reshape(geo.out[0], channels, *geo.out[1:], batch), x.ndim)


def weight_gradient(np: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """The gradient of the weight, (O, C/G, spatial...)."""
    groups = geo.groups
    rows = rows_first(np, x, groups)
    g = rows_first(np, grad, groups)
    g = g.reshape(g.shape[0], groups, g.shape[2], -1).swapaxes(0, 1)
    channels = x.shape[1] // groups
    total = np.empty((groups, g.shape[2], channels * prod(geo.kernel)), x.dtype)
    for part in portions(geo, channels, x.shape[0]):
        np.matmul(g[part], windows(np, rows[:, part], geo).swapaxes(2, 3)).sum(1, dtype=x.dtype, out=total[part])
    total = total.reshape(-1, geo.kernel[0], channels, prod(geo.kernel[1:])).swapaxes(1, 2)
    kernel = geo.kernel[1:] if x.ndim == 3 else geo.kernel
    return np.ascontiguousarray(total).reshape(-1, channels, *kernel)


def input_gradient(np: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    """The gradient of the input: what each output sends back, added up where it was read."""
    groups, kernel = geo.groups, geo.kernel
    batch, channels = grad.shape[0], weight.shape[1]
    g = rows_first(np, grad, groups)
    g = g.reshape(g.shape[0], groups, g.shape[2], -1)
    inner = prod(kernel[1:])
    w = weight.reshape(groups, -1, channels, kernel[0], inner)
    stepwise = geo.overlapping and geo.stride[0] == 1
    if stepwise:
        # Input row r gets, from output row r + above - i, kernel row i: windows over the output rows.
        matrix = w[..., ::-1, :].transpose(0, 2, 4, 3, 1).reshape(groups, channels * inner, -1)
    else:
        matrix = w.transpose(0, 3, 2, 4, 1).reshape(groups, 1, -1, w.shape[1])
    parts = portions(geo, channels, batch)
    result = None
    for part in parts:
        if stepwise:
            found = _fold_inner(np, _row_products(np, g[:, part], matrix[part], geo), geo, channels, batch)
        else:
            found = _fold(np, np.matmul(matrix[part], g[:, part].swapaxes(0, 1)), geo, channels, batch)
        if len(parts) == 1:
            result = found
        else:
            if result is None:
                result = np.empty((geo.size[0], groups, *found.shape[2:]), grad.dtype)
            result[:, part] = found
    assert result is not None
    result = result.reshape(geo.size[0], groups * channels, *geo.size[1:], batch)
    return usual_order(result, grad.ndim)


def _fold(np: Any, parts: Any, geo: Geometry, channels: int, batch: int) -> Any:
    """Adds what each output sends to each place of the kernel up, into (H, G, C/G, W..., N)."""
    parts = parts.reshape(-1, geo.out[0], geo.kernel[0], channels, *geo.kernel[1:], *geo.out[1:], batch)
    result = np.zeros((geo.size[0], len(parts), channels, *geo.size[1:], batch), parts.dtype)
    target = result.swapaxes(0, 1)
    for i in range(geo.kernel[0]):
        given, wanted = geo.valid(0, i)
        _add_patches(target[:, wanted], parts[:, given, i], geo)
    return result


def _row_products(np: Any, g: Any, matrix: Any, geo: Geometry) -> Any:
    """For each input row the products (H, G, C/G * j, W'N) with all output rows that read it."""
    high, groups, channels, columns = g.shape
    height, tall = geo.size[0], geo.kernel[0]
    above = geo.padding[0][0]
    result = np.empty((height, groups, matrix.shape[1], columns), g.dtype)
    # Row r reads the output rows r + above - (tall - 1) and on: all of them exist between these bounds.
    shift = above - (tall - 1)
    first = min(max(0, -shift), height)
    last = max(min(height, high - tall + 1 - shift), first)
    if last > first:
        step = g.strides[0]
        if groups == 1:
            view = np.lib.stride_tricks.as_strided(
                g[first + shift :],
                (last - first, tall * channels, columns),
                (step, columns * g.itemsize, g.itemsize),
                writeable=False,
            )
            np.matmul(matrix[0], view, out=result[first:last, 0])
        else:
            by_group = np.ascontiguousarray(g.swapaxes(0, 1))
            block = channels * columns
            view = np.lib.stride_tricks.as_strided(
                by_group[:, first + shift :],
                (groups, last - first, tall * channels, columns),
                (by_group.strides[0], block * g.itemsize, columns * g.itemsize, g.itemsize),
                writeable=False,
            )
            np.matmul(matrix[:, None], view, out=result[first:last].swapaxes(0, 1))
    for r in (*range(first), *range(last, height)):
        begin, end = max(0, r + shift), min(high, r + shift + tall)
        if end <= begin:
            result[r] = 0
            continue
        skipped = begin - (r + shift)
        part = matrix[:, :, skipped * channels : (skipped + end - begin) * channels]
        rows = g[begin:end].swapaxes(0, 1).reshape(groups, -1, columns)
        np.matmul(part, rows, out=result[r])
    return result


def _fold_inner(np: Any, parts: Any, geo: Geometry, channels: int, batch: int) -> Any:
    """Adds the contributions of the kernel columns up, into (H, G, C/G, W..., N)."""
    height, groups = parts.shape[:2]
    padded = any(p for pair in geo.padding[1:] for p in pair)
    if all(k == 1 for k in geo.kernel[1:]) and geo.out[1:] == geo.size[1:] and not padded:
        return parts.reshape(height, groups, channels, *geo.size[1:], batch)
    parts = parts.reshape(height, groups, channels, *geo.kernel[1:], *geo.out[1:], batch)
    result = np.zeros((height, groups, channels, *geo.size[1:], batch), parts.dtype)
    _add_patches(result, parts, geo)
    return result


def _add_patches(target: Any, parts: Any, geo: Geometry) -> None:
    axes = len(geo.kernel) - 1
    lead = (slice(None),) * 3
    for place in product(*map(range, geo.kernel[1:])):
        pairs = [geo.valid(axis + 1, place[axis]) for axis in range(axes)]
        wanted = lead + tuple(pair[1] for pair in pairs)
        target[wanted] += parts[lead + place][lead + tuple(pair[0] for pair in pairs)]
