"""Convolution's array code for the interpreter: patches, and one matrix product.

A kernel keeps images with the channels first and the batch innermost, (G, C/G, H, W..., N) with G groups.  There the
patches of an image are a matrix for each group,

    rows (c, i, j...): channel, place in the kernel      columns (h, w..., n): output, batch

whose rows are in the order in which a weight lies anyway, so that weights and their gradients are never turned.  What
a place of the kernel reads is one long run.  Patches are made block by block and multiplied while they are in the
cache: making them then costs a tenth of the product.  Images go from layer to layer in this order, as views in
PyTorch's order of axes; a normalization finds each channel in one piece.

A stride is taken apart into its phases first: outputs that are neighbours read every s-th element, and these are
neighbours in one of s smaller images.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import gcd, prod
from typing import Any

Ints = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

SHORT = 16
"""Batches of fewer images are reordered image by image, since NumPy goes along the last axis of what it writes."""

BLOCK = 1 << 19
"""Elements of patches that are made at a time: two megabytes in float32, which the caches of two cores hold."""

FEW, UNPACKED = 8, 500_000
"""Products with so few vectors are faster in so many multiplications: OpenBLAS then does not pack its factors."""

NARROW = 48
"""Matrices with fewer rows are multiplied at half the speed, since packing the other factor takes over."""


class Geometry:
    """Sizes and steps of one convolution.

    Attributes:
        size, kernel, out: extents of the input, of the kernel and of the output.
        stride, dilation, padding: per spatial axis; padding as pairs, of which only the first of each matters.
    """

    __slots__ = ("dilation", "groups", "kernel", "out", "padding", "size", "stride")

    def __init__(
        self, size: Ints, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int, out: Ints
    ) -> None:
        self.size = size
        self.kernel = kernel
        self.stride = stride
        self.dilation = dilation
        self.padding = padding
        self.groups = groups
        self.out = out

    def valid(self, axis: int, offset: int) -> tuple[slice, slice]:
        """Along one axis, for one place in the kernel: which outputs read inside the input, and what."""
        first = offset * self.dilation[axis] - self.padding[axis][0]
        return inside(first, self.stride[axis], self.out[axis], self.size[axis])

    @property
    def is_plain(self) -> bool:
        """Whether each output reads just the element in its own place."""
        return (
            all(k == 1 for k in self.kernel)
            and self.out == self.size
            and all(s == 1 for s in self.stride)
            and not any(low for low, _ in self.padding)
        )

    def exact_padding(self) -> list[tuple[int, int]]:
        """Padding with just so much behind that ``out`` outputs fit; may be negative there."""
        rows = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, self.out, strict=True)
        return [(lo, (o - 1) * s + d * (k - 1) + 1 - n - lo) for n, k, s, (lo, _), d, o in rows]

    def across(self) -> Geometry:
        """The same along all axes but the first, where each row is taken by itself."""
        return Geometry(
            self.size,
            (1, *self.kernel[1:]),
            (1, *self.stride[1:]),
            ((0, 0), *self.padding[1:]),
            (1, *self.dilation[1:]),
            self.groups,
            (self.size[0], *self.out[1:]),
        )

    def given(self, rows: slice, place: int) -> tuple[slice, slice]:
        """Which of some input rows a place of the kernel reads, counted from the first of them, and for which outputs.

        The stride along the first axis must be 1.
        """
        shift = self.padding[0][0] - place * self.dilation[0]
        begin = max(rows.start, -shift)
        end = max(begin, min(rows.stop, self.out[0] - shift))
        return slice(begin - rows.start, end - rows.start), slice(begin + shift, end + shift)


def inside(first: int, step: int, count: int, size: int) -> tuple[slice, slice]:
    """Of the ``count`` positions ``first + step * m`` those m that lie in 0 ... size - 1, and the positions."""
    begin = max(0, -(first // step))
    end = min(count, (size - 1 - first) // step + 1)
    if end <= begin:
        return slice(0, 0), slice(0, 0)
    start = first + begin * step
    return slice(begin, end), slice(start, start + (end - begin - 1) * step + 1, step)


def batch_last(np: Any, x: Any, groups: int) -> Any:
    """Images (N, C, ...) in the kernels' order, (G, C/G, ..., N), copied unless they lie so already."""
    moved = x.transpose(*range(1, x.ndim), 0)
    if len(x) < SHORT and not moved.flags.c_contiguous:
        moved = np.empty(moved.shape, x.dtype)
        for n, image in enumerate(x):
            moved[..., n] = image
    moved = np.ascontiguousarray(moved)
    return moved.reshape(groups, moved.shape[0] // groups, *moved.shape[1:])


def usual_order(y: Any) -> Any:
    """(G, C/G, ..., N) seen as (N, C, ...)."""
    y = y.reshape(y.shape[0] * y.shape[1], *y.shape[2:])
    return y.transpose(y.ndim - 1, *range(y.ndim - 1))


# ---------------------------------------------------------------- phases


class Taps:
    """Places of the kernel along one axis that read the same phase of the image.

    Attributes:
        places: which places of the kernel, as a slice.
        count: how many.
        first: where in the image the phase begins; may lie before it.
        begin, step: the i-th place reads the phase from ``begin + i * step`` on.
        length: how much of the phase is read in all.
    """

    __slots__ = ("begin", "count", "first", "length", "places", "step")

    def __init__(self, geo: Geometry, axis: int, place: int, every: int) -> None:
        stride, dilation = geo.stride[axis], geo.dilation[axis]
        self.places = slice(place, None, every)
        self.count = len(range(place, geo.kernel[axis], every))
        self.begin, phase = divmod(place * dilation, stride)
        self.first = phase - geo.padding[axis][0]
        self.step = every * dilation // stride
        self.length = self.begin + (self.count - 1) * self.step + geo.out[axis]


def phases(geo: Geometry) -> Iterator[tuple[Taps, ...]]:
    """The phases that are read, each with its places in the kernel, axis by axis."""
    axes = []
    for axis, (k, s, d) in enumerate(zip(geo.kernel, geo.stride, geo.dilation, strict=True)):
        every = s // gcd(s, d)
        axes.append([Taps(geo, axis, place, every) for place in range(min(k, every))])
    return product(*axes)


def within(phase: tuple[Taps, ...], geo: Geometry) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Which part of a phase lies in the image, and where."""
    pairs = [inside(t.first, s, t.length, n) for t, s, n in zip(phase, geo.stride, geo.size, strict=True)]
    return tuple([pair[0] for pair in pairs]), tuple([pair[1] for pair in pairs])


def gathering(phase: tuple[Taps, ...], wanted: tuple[slice, ...], geo: Geometry) -> Geometry:
    """The convolution of the outputs, by the flipped weights that read a phase, that gives what it is sent back."""
    befores = [t.begin + (t.count - 1) * t.step - cut.start for t, cut in zip(phase, wanted, strict=True)]
    return Geometry(
        geo.out,
        tuple([taps.count for taps in phase]),
        (1,) * len(geo.out),
        tuple([(before, 0) for before in befores]),
        tuple([taps.step for taps in phase]),
        geo.groups,
        tuple([cut.stop - cut.start for cut in wanted]),
    )


def _image_of(np: Any, x: Any, phase: tuple[Taps, ...], geo: Geometry) -> Any:
    """A phase of images in the kernels' order, with zeros around."""
    wanted, given = within(phase, geo)
    lengths = [taps.length for taps in phase]
    whole = all(cut == slice(0, n) for cut, n in zip(wanted, lengths, strict=True))
    if whole and (all(s == 1 for s in geo.stride) or all(taps.count == 1 for taps in phase)):
        return x[(..., *given, slice(None))]
    image = (np.empty if whole else np.zeros)((*x.shape[:2], *lengths, x.shape[-1]), x.dtype)
    image[(..., *wanted, slice(None))] = x[(..., *given, slice(None))]
    return image


# ---------------------------------------------------------------- patches


class Patches:
    """The patches of images (G, C/G, ..., N), block by block.

    Attributes:
        blocks: groups and first-axis outputs that are worked on together.
    """

    def __init__(self, np: Any, x: Any, geo: Geometry, partners: int) -> None:
        self._np = np
        self._geo = geo
        self._batch = x.shape[-1]
        self._plain = geo.is_plain
        if self._plain:
            self._image = x
            self.blocks = [(slice(0, geo.groups), slice(0, geo.out[0]))]
            return
        self.blocks = blocks(geo, x.shape[1], self._batch, partners)
        self._sources = [self._windows(_image_of(np, x, phase, geo), phase) for phase in phases(geo)]
        groups, rows = self.blocks[0]
        shape = (groups.stop, x.shape[1], *geo.kernel, rows.stop, *geo.out[1:], self._batch)
        self._room = np.empty(shape, x.dtype)

    def _windows(self, image: Any, phase: tuple[Taps, ...]) -> tuple[tuple[slice, ...], Any]:
        """Which places of the kernel a phase serves, and what they read, (G, C/G, places..., outputs..., N)."""
        strides = image.strides
        begin = (slice(None), slice(None), *[slice(taps.begin, None) for taps in phase])
        view = self._np.lib.stride_tricks.as_strided(
            image[begin],
            (*image.shape[:2], *[taps.count for taps in phase], *self._geo.out, self._batch),
            (*strides[:2], *[t.step * s for t, s in zip(phase, strides[2:-1], strict=True)], *strides[2:]),
            writeable=False,
        )
        return tuple([taps.places for taps in phase]), view

    def matrix(self, groups: slice, rows: slice) -> Any:
        """The patch matrices (G, K, columns) of one block; good until the next is asked for."""
        if self._plain:
            return self._image.reshape(*self._image.shape[:2], -1)
        axes = len(self._geo.kernel)
        room = self._room[: groups.stop - groups.start]
        cut = (slice(None),) * (2 + axes)
        room = room[(*cut, slice(0, rows.stop - rows.start))]
        if room.shape[2 + axes] != self._room.shape[2 + axes]:
            room = self._np.empty(room.shape, room.dtype)
        for places, view in self._sources:
            room[(slice(None), slice(None), *places)] = view[(groups, *cut[1:], rows)]
        return room.reshape(room.shape[0], room.shape[1] * prod(self._geo.kernel), -1)


def blocks(geo: Geometry, channels: int, batch: int, partners: int) -> list[tuple[slice, slice]]:
    """Groups, and outputs along the first axis, whose patches are made together, for products with so many vectors."""
    most = min(BLOCK, UNPACKED // partners) if partners <= FEW else BLOCK
    row = channels * prod(geo.kernel) * prod(geo.out[1:]) * batch
    groups = min(max(1, BLOCK // (row * geo.out[0])), geo.groups)
    parts = max(1, -(-row * geo.out[0] // most))
    rows = -(-geo.out[0] // min(parts, geo.out[0]))
    return [
        (slice(g, min(g + groups, geo.groups)), slice(h, min(h + rows, geo.out[0])))
        for g in range(0, geo.groups, groups)
        for h in range(0, geo.out[0], rows)
    ]


def _columns(y: Any, groups: slice, rows: slice) -> Any:
    """The part of (G, C/G, H, W..., N) that belongs to a block, with the outputs as one axis, in place."""
    part = y[groups, :, rows]
    return part.reshape(*part.shape[:2], -1)


# ---------------------------------------------------------------- the convolution and its gradients


def forward(np: Any, x: Any, weight: Any, bias: Any, geo: Geometry) -> Any:
    """The convolution."""
    groups = geo.groups
    y = _convolved(np, batch_last(np, x, groups), weight.reshape(groups, -1, *weight.shape[1:]), geo)
    if bias is not None:
        y += bias.reshape(groups, -1, *(1,) * (y.ndim - 2))
    return usual_order(y)


def _convolved(np: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    """Images (G, C/G, ..., N) with weights (G, O/G, C/G, ...): (G, O/G, ..., N)."""
    if 1 < weight.shape[1] < NARROW and _by_rows(geo, x.shape[1]):
        return _convolved_by_rows(np, x, weight, geo)
    matrix = weight.reshape(*weight.shape[:2], -1)
    y = np.empty((*matrix.shape[:2], *geo.out, x.shape[-1]), x.dtype)
    patches = Patches(np, x, geo, matrix.shape[1])
    for groups, rows in patches.blocks:
        np.matmul(matrix[groups], patches.matrix(groups, rows), out=_columns(y, groups, rows))
    return y


def _by_rows(geo: Geometry, channels: int) -> bool:
    """Whether the kernel's rows can be products of their own, with enough in each."""
    return geo.stride[0] == 1 and geo.kernel[0] > 1 and channels * prod(geo.kernel[1:]) >= NARROW


def _convolved_by_rows(np: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    """The same with the kernel's rows stacked in one matrix, whose products are added up where they belong."""
    tall, channels = geo.kernel[0], weight.shape[1]
    stacked = np.moveaxis(weight, 3, 1).reshape(geo.groups, tall * channels, -1)
    patches = Patches(np, x, geo.across(), len(stacked[0]))
    whole = slice(0, geo.size[0])
    # Where a place of the kernel serves all outputs of a block, its products come first, and need no zeros to add to.
    places = sorted(range(tall), key=lambda place: geo.given(whole, place)[1] != slice(0, geo.out[0]))
    begun = geo.given(whole, places[0])[1] == slice(0, geo.out[0]) and all(rows == whole for _, rows in patches.blocks)
    y = (np.empty if begun else np.zeros)((geo.groups, channels, *geo.out, x.shape[-1]), x.dtype)
    for groups, rows in patches.blocks:
        products = np.matmul(stacked[groups], patches.matrix(groups, rows))
        products = products.reshape(-1, tall, channels, rows.stop - rows.start, *geo.out[1:], x.shape[-1])
        for place in places:
            given, wanted = geo.given(rows, place)
            if begun and place == places[0]:
                y[groups] = products[:, place, :, given]
            else:
                y[groups, :, wanted] += products[:, place, :, given]
    return y


def weight_gradient(np: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """The gradient of the weight, (O, C/G, ...)."""
    x, g = batch_last(np, x, geo.groups), batch_last(np, grad, geo.groups)
    turned = _turning_pays(geo.out, g)
    if turned and _by_rows(geo, x.shape[1]):
        total = _weight_gradient_by_rows(np, x, g, geo)
    else:
        total = _weight_gradient(np, x, g, geo, turned)
    return total.reshape(-1, x.shape[1], *geo.kernel)


def _weight_gradient(np: Any, x: Any, g: Any, geo: Geometry, turned: bool) -> Any:
    """The gradient as matrices (G, O/G, K); ``turned``: computed as (G, K, O/G)."""
    sides = g.shape[1], x.shape[1] * prod(geo.kernel)
    total = np.empty((geo.groups, *(sides[::-1] if turned else sides)), x.dtype)
    patches = Patches(np, x, geo, g.shape[1])
    for groups, rows in patches.blocks:
        left, right = _columns(g, groups, rows), patches.matrix(groups, rows)
        if turned:
            left, right = right, left
        right = right.swapaxes(1, 2)
        if rows.start:
            total[groups] += np.matmul(left, right)
        else:
            np.matmul(left, right, out=total[groups])
    return np.ascontiguousarray(total.swapaxes(1, 2)) if turned else total


def _weight_gradient_by_rows(np: Any, x: Any, g: Any, geo: Geometry) -> Any:
    """One product for each row of the kernel, with patches along the other axes alone."""
    inner = x.shape[1] * prod(geo.kernel[1:])
    total = np.zeros((geo.groups, geo.kernel[0], inner, g.shape[1]), x.dtype)
    patches = Patches(np, x, geo.across(), g.shape[1])
    for groups, rows in patches.blocks:
        matrix = patches.matrix(groups, rows)
        matrix = matrix.reshape(*matrix.shape[:2], rows.stop - rows.start, -1)
        for place in range(geo.kernel[0]):
            given, wanted = geo.given(rows, place)
            total[groups, place] += np.matmul(
                _columns(matrix, slice(None), given), _columns(g, groups, wanted).swapaxes(1, 2)
            )
    total = total.reshape(geo.groups, geo.kernel[0], x.shape[1], -1, g.shape[1])
    return np.ascontiguousarray(total.transpose(0, 4, 2, 1, 3))


def input_gradient(np: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    """The gradient of the input: what each output sends back, added up where it was read."""
    groups, channels = geo.groups, weight.shape[1]
    g = batch_last(np, grad, groups)
    if not geo.is_plain and _turning_pays(geo.out, g):
        return usual_order(_gathered_back(np, g, weight.reshape(groups, -1, *weight.shape[1:]), geo))
    matrix = weight.reshape(groups, g.shape[1], -1).swapaxes(1, 2)
    if geo.is_plain:
        found = _products(np, matrix, g.reshape(*g.shape[:2], -1)).reshape(groups, channels, *g.shape[2:])
    else:
        found = _sent_back(np, g, matrix, channels, geo)
    return usual_order(found)


def _gathered_back(np: Any, g: Any, weight: Any, geo: Geometry) -> Any:
    """Each phase of the input's gradient as a convolution of the outputs' with those weights that read it, flipped."""
    shape = (geo.groups, weight.shape[2], *geo.size, g.shape[-1])
    found = None
    for phase in phases(geo):
        wanted, given = within(phase, geo)
        sub = gathering(phase, wanted, geo)
        if 0 in sub.out:
            continue
        part = weight[(slice(None),) * 3 + tuple([taps.places for taps in phase])]
        part = np.flip(part, tuple(range(3, part.ndim))).swapaxes(1, 2)
        image = _convolved(np, g, np.ascontiguousarray(part), sub)
        if sub.out == geo.size:
            return image
        if found is None:
            found = np.zeros(shape, g.dtype)
        found[(..., *given, slice(None))] = image
    return np.zeros(shape, g.dtype) if found is None else found


def _products(np: Any, a: Any, b: Any) -> Any:
    """Batched products; of a column with a row, NumPy's matmul makes one element at a time."""
    return a * b if a.shape[2] == 1 else np.matmul(a, b)


def _turning_pays(out: Ints, g: Any) -> bool:
    """Whether there are so many outputs (G, O/G, ..., N) that turning a weight costs little beside the product.

    OpenBLAS is faster where the longer side of a result comes first, and gathering is cheaper than sending back.
    """
    return 2 * g.shape[1] <= prod(out) * g.shape[-1]


def _sent_back(np: Any, g: Any, matrix: Any, channels: int, geo: Geometry) -> Any:
    """What ``matrix`` (G, C/G * places, O/G) makes of the outputs, added up where they were read, phase by phase."""
    batch = g.shape[-1]
    found = np.zeros((geo.groups, channels, *geo.size, batch), g.dtype)
    parts = [
        (phase, np.zeros((geo.groups, channels, *[taps.length for taps in phase], batch), g.dtype))
        for phase in phases(geo)
    ]
    for groups, rows in blocks(geo, channels, batch, g.shape[1]):
        products = _products(np, matrix[groups], _columns(g, groups, rows))
        products = products.reshape(-1, channels, *geo.kernel, rows.stop - rows.start, *geo.out[1:], batch)
        for phase, image in parts:
            _add_up(image[groups], products[(slice(None), slice(None), *[t.places for t in phase])], phase, rows, geo)
    for phase, image in parts:
        inner, outer = within(phase, geo)
        found[(..., *outer, slice(None))] = image[(..., *inner, slice(None))]
    return found


def _add_up(image: Any, products: Any, phase: tuple[Taps, ...], rows: slice, geo: Geometry) -> None:
    """Adds products (G, C/G, places..., outputs..., N) to the phase that the outputs ``rows`` read."""
    extents = [rows, *[slice(0, n) for n in geo.out[1:]]]
    lead = (slice(None), slice(None))
    for places in product(*[range(taps.count) for taps in phase]):
        shifts = [taps.begin + i * taps.step for i, taps in zip(places, phase, strict=True)]
        where = [slice(shift + e.start, shift + e.stop) for shift, e in zip(shifts, extents, strict=True)]
        image[(*lead, *where)] += products[lead + places]
