"""Convolution's array code for XLA.

Accelerators get XLA's own convolution and its transposes (``conv_native.py``).  On the CPU these are slow for groups
and for three dimensions, up to a hundred times in the gradients, and for images of a few pixels.  There a depthwise
convolution is a sum of shifted multiples, and the others are patches and one batched product, products that are added
up, or a convolution for each group.  Where a kernel has many places, only those along all axes but the first make
patches; the first axis is shifted and added up.  Which form is used where was chosen by measurement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

from flambeau.engine import target
from flambeau.ops import conv_native
from flambeau.ops.conv_kernels import Geometry, Ints, gathering, phases, within

FUSED = 9
"""Places of a kernel that XLA may merge into one loop; with many more it takes very long to compile."""


# ---------------------------------------------------------------- XLA's own gradients, as they suit the CPU


def input_gradient_native(jnp: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    from jax import lax

    kernel = weight.shape[2:]
    axes = tuple(range(2, weight.ndim))
    groups = geo.groups
    w = jnp.flip(weight, axes).reshape(groups, weight.shape[0] // groups, weight.shape[1], *kernel)
    w = jnp.swapaxes(w, 1, 2).reshape(weight.shape[1] * groups, -1, *kernel)
    pads = []
    rows = zip(geo.size, kernel, geo.stride, geo.padding, geo.dilation, geo.out, strict=True)
    for n, k, s, (lo, _), d, o in rows:
        before = d * (k - 1) - lo
        pads.append((before, n + d * (k - 1) - (o - 1) * s - 1 - before))
    return lax.conv_general_dilated(
        grad,
        w,
        (1,) * len(kernel),
        pads,
        lhs_dilation=geo.stride,
        rhs_dilation=geo.dilation,
        feature_group_count=groups,
    )


def weight_gradient_native(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    from jax import lax

    found = lax.conv_general_dilated(
        jnp.swapaxes(x, 0, 1),
        jnp.swapaxes(grad, 0, 1),
        geo.dilation,
        geo.exact_padding(),
        rhs_dilation=geo.stride,
        batch_group_count=geo.groups,
    )
    return jnp.swapaxes(found, 0, 1)


# ---------------------------------------------------------------- for the CPU


def _shifted(x: Any, geo: Geometry) -> Iterator[Any]:
    """For each place of the kernel, what all outputs read there.

    Where several places read the same phase of a strided image, it is taken apart first: XLA then reads runs, where
    it would gather single elements for each place.  Zeros around are put there as they are read, but for large
    kernels only once.
    """
    reads = []
    for place in product(*map(range, geo.kernel)):
        rows = zip(place, geo.dilation, geo.padding, geo.stride, strict=True)
        reads.append(tuple([divmod(k * d - low, s) for k, d, (low, _), s in rows]))
    wanted = list(dict.fromkeys(tuple([phase for _, phase in read]) for read in reads))
    images = [x[(..., *[slice(b, None, s) for b, s in zip(phase, geo.stride, strict=True)])] for phase in wanted]
    origin = (0,) * len(geo.out)
    if len(reads) > FUSED:
        origin = tuple([min(begin for begin, _ in axis) for axis in zip(*reads, strict=True)])
        last = [max(begin for begin, _ in axis) for axis in zip(*reads, strict=True)]
        whole = [end - begin + o for begin, end, o in zip(origin, last, geo.out, strict=True)]
        images = [_window(image, origin, whole) for image in images]
    if 1 < len(wanted) < len(reads):
        images = _computed(*images)
    image_of = dict(zip(wanted, images, strict=True))
    for read in reads:
        image = image_of[tuple([phase for _, phase in read])]
        yield _window(image, [begin - first for (begin, _), first in zip(read, origin, strict=True)], geo.out)


def _window(image: Any, begin: Sequence[int], size: Sequence[int]) -> Any:
    """A window of images (N, C, ...), with zeros where it reaches beyond them."""
    from jax import lax

    pads = [(-b, b + o - n, 0) for b, o, n in zip(begin, size, image.shape[2:], strict=True)]
    return lax.pad(image, image.dtype.type(0), [(0, 0, 0), (0, 0, 0), *pads])


def _put_back(jnp: Any, parts: Iterator[Any], geo: Geometry, dtype: Any) -> Any:
    """The sum of what each place of the kernel sends back to the input."""
    from jax import lax

    zero = jnp.zeros((), dtype)
    total = None
    for count, (place, part) in enumerate(zip(product(*map(range, geo.kernel)), parts, strict=True)):
        if count and count % FUSED == 0:
            total = lax.optimization_barrier(total)
        config = [(0, 0, 0), (0, 0, 0)]
        rows = zip(place, geo.dilation, geo.padding, geo.stride, geo.out, geo.size, strict=True)
        for k, d, (lo, _), s, o, n in rows:
            before = k * d - lo
            config.append((before, n - before - (o - 1) * s - 1, s - 1))
        spread = lax.pad(part, zero, config)
        total = spread if total is None else total + spread
    return total


def _per_place(weight: Any, geo: Geometry) -> Iterator[Any]:
    """The weights of a depthwise convolution, place by place, shaped to go with an image."""
    for place in product(*map(range, geo.kernel)):
        yield weight[(slice(None), 0, *place)].reshape(-1, *(1,) * len(place))


def _computed(*arrays: Any) -> Any:
    """Arrays that XLA shall compute first, and not over and over again at each place of the kernel that reads them."""
    from jax import lax

    return lax.optimization_barrier(arrays)


def forward_depthwise(jnp: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    (x,) = _computed(x)
    x = _repeated(jnp, x, weight.shape[0])
    total = None
    for part, w in zip(_shifted(x, geo), _per_place(weight, geo), strict=True):
        total = part * w if total is None else total + part * w
    return total


def input_gradient_depthwise(jnp: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    """Each phase of the input's gradient as a convolution of the outputs' with those weights that read it, flipped."""
    several = weight.shape[0] // geo.groups
    found = {}
    for phase in phases(geo):
        wanted, given = within(phase, geo)
        sub = gathering(phase, wanted, geo)
        if 0 in sub.out:
            continue
        part = weight[(slice(None), slice(None), *[taps.places for taps in phase])]
        image = forward_depthwise(jnp, grad, jnp.flip(part, tuple(range(2, part.ndim))), sub)
        found[tuple([cut.start for cut in given])] = image
    total = _interleaved(jnp, found, (*grad.shape[:2], *geo.size), geo.stride, grad.dtype)
    if several == 1:
        return total
    return total.reshape(grad.shape[0], geo.groups, several, *geo.size).sum(2)


def _interleaved(jnp: Any, phases: dict[Ints, Any], shape: Ints, stride: Ints, dtype: Any) -> Any:
    """Images (N, C, ...) of which each phase is given by its first element's place, or zero; phases may end early."""
    counts = tuple([-(-n // s) for n, s in zip(shape[2:], stride, strict=True)])
    if phases:
        phases = dict(zip(phases, _computed(*phases.values()), strict=True))
    zeros = jnp.zeros((*shape[:2], *counts), dtype)
    images = {}
    for place in product(*map(range, stride)):
        image = phases.get(place)
        if image is None:
            images[place] = zeros
        else:
            rows = zip(counts, image.shape[2:], strict=True)
            images[place] = jnp.pad(image, [(0, 0), (0, 0), *[(0, n - m) for n, m in rows]])
    for axis in reversed(range(len(stride))):
        merged = {}
        for place in product(*map(range, stride[:axis])):
            stacked = jnp.stack([images[(*place, b)] for b in range(stride[axis])], axis + 3)
            joined = stacked.reshape(*stacked.shape[: axis + 2], -1, *stacked.shape[axis + 4 :])
            merged[place] = joined[(slice(None),) * (axis + 2) + (slice(0, shape[axis + 2]),)]
        images = merged
    return images[()]


def weight_gradient_depthwise(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """The sums of all places' products in one loop, which reads the gradient once; without the last axis at first.

    A loop for each place takes two and a half times as long.
    """
    from jax import lax

    x, grad = _computed(x, grad)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    zero = wide.type(0)
    axes = (0, *range(2, x.ndim - 1))
    parts = [part.astype(wide) * grad.astype(wide) for part in _shifted(_repeated(jnp, x, grad.shape[1]), geo)]
    sums: list[Any] = []
    for begin in range(0, len(parts), FUSED):
        some = tuple(parts[begin : begin + FUSED])
        sums += lax.reduce(some, (zero,) * len(some), _added, axes)
    return jnp.stack(sums, 1).sum(-1).astype(x.dtype).reshape(-1, 1, *geo.kernel)


def _added(some: Any, others: Any) -> Any:
    return tuple([a + b for a, b in zip(some, others, strict=True)])


def _repeated(jnp: Any, x: Any, channels: int) -> Any:
    several = channels // x.shape[1]
    return x if several == 1 else jnp.repeat(x, several, axis=1)


def _patches(jnp: Any, x: Any, geo: Geometry) -> Any:
    """(places, N, G, C / G, outputs)."""
    stacked = jnp.stack(list(_shifted(x, geo)))
    groups = geo.groups
    return stacked.reshape(len(stacked), x.shape[0], groups, x.shape[1] // groups, prod(geo.out))


def forward_patches(jnp: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    groups, channels = geo.groups, weight.shape[0]
    w = weight.reshape(groups, channels // groups, weight.shape[1], prod(geo.kernel))
    y = jnp.einsum("kngcp,gock->ngop", _patches(jnp, x, geo), w)
    return y.reshape(x.shape[0], channels, *geo.out)


def input_gradient_patches(jnp: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    groups, (batch, channels) = geo.groups, grad.shape[:2]
    g = grad.reshape(batch, groups, channels // groups, prod(geo.out))
    w = weight.reshape(groups, channels // groups, weight.shape[1], prod(geo.kernel))
    parts = jnp.einsum("ngop,gock->kngcp", g, w)
    parts = parts.reshape(len(parts), batch, groups * weight.shape[1], *geo.out)
    return _put_back(jnp, iter(parts[k] for k in range(len(parts))), geo, grad.dtype)


def weight_gradient_patches(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    groups, (batch, channels) = geo.groups, grad.shape[:2]
    g = grad.reshape(batch, groups, channels // groups, prod(geo.out))
    found = jnp.einsum("kngcp,ngop->gock", _patches(jnp, x, geo), g)
    return found.reshape(channels, x.shape[1] // groups, *geo.kernel)


def forward_sent(jnp: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    """Each input's products added up where they are wanted: the input gradient by the flipped weight; no strides."""
    return input_gradient_patches(jnp, x, _flipped(jnp, weight, geo), _backwards(geo))


def _backwards(geo: Geometry) -> Geometry:
    """The convolution from the outputs to the inputs, without strides."""
    around = [d * (k - 1) - low for k, d, (low, _) in zip(geo.kernel, geo.dilation, geo.padding, strict=True)]
    return Geometry(
        geo.out, geo.kernel, geo.stride, tuple([(n, n) for n in around]), geo.dilation, geo.groups, geo.size
    )


def _flipped(jnp: Any, weight: Any, geo: Geometry) -> Any:
    """The weight of that: (C, O/G, ...) from (O, C/G, ...), or the other way round."""
    flipped = jnp.flip(weight, tuple(range(2, weight.ndim))).reshape(geo.groups, -1, *weight.shape[1:])
    return jnp.swapaxes(flipped, 1, 2).reshape(-1, flipped.shape[1], *geo.kernel)


def forward_rows(jnp: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    """Patches along all axes but the first, and products for each place along that, added up where they belong.

    The stride along the first axis must be 1.
    """
    tall, groups, channels = geo.kernel[0], geo.groups, weight.shape[0]
    patches = _patches(jnp, x, geo.across())
    w = weight.reshape(groups, channels // groups, weight.shape[1], tall, len(patches))
    products = jnp.einsum("kngcp,gochk->nhgop", patches, w)
    products = products.reshape(len(x), tall, channels, geo.size[0], *geo.out[1:])
    rest = (0,) * (len(geo.out) - 1)
    total = None
    for place in range(tall):
        begin = place * geo.dilation[0] - geo.padding[0][0]
        part = _window(products[:, place], (begin, *rest), geo.out)
        total = part if total is None else total + part
    return total


def input_gradient_rows(jnp: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    """The convolution of the outputs' gradient by the flipped weight, row by row; no strides."""
    return forward_rows(jnp, grad, _flipped(jnp, weight, geo), _backwards(geo))


def weight_gradient_rows(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """One product of patches along all axes but the first with gradients shifted along that.

    The stride along the first axis must be 1.
    """
    tall, groups = geo.kernel[0], geo.groups
    x, grad = _computed(jnp.swapaxes(x, 0, 1), jnp.swapaxes(grad, 0, 1))
    rows = (geo.size[0], *geo.out[1:])
    begins = [geo.padding[0][0] - place * geo.dilation[0] for place in range(tall)]
    shifted = [_window(grad, (begin, *[0] * (len(rows) - 1)), rows) for begin in begins]
    columns = grad.shape[1] * prod(rows)
    sides = [jnp.stack(list(parts), 1).reshape(groups, -1, columns) for parts in (_shifted(x, geo.across()), shifted)]
    found = jnp.einsum("gap,gbp->gab", *_computed(*sides))
    found = found.reshape(groups, len(x) // groups, -1, len(grad) // groups, tall)
    return found.transpose(0, 3, 1, 4, 2).reshape(len(grad), -1, *geo.kernel)


def forward_split(jnp: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    """Each group by itself."""
    parts = zip(jnp.split(x, geo.groups, 1), jnp.split(weight, geo.groups), strict=True)
    return jnp.concatenate([conv_native.forward(part, w, _single(geo)) for part, w in parts], 1)


def weight_gradient_split(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """Each group by itself."""
    parts = zip(jnp.split(x, geo.groups, 1), jnp.split(grad, geo.groups, 1), strict=True)
    return jnp.concatenate([weight_gradient_native(jnp, part, g, _single(geo)) for part, g in parts])


def _single(geo: Geometry) -> Geometry:
    return Geometry(geo.size, geo.kernel, geo.stride, geo.padding, geo.dilation, 1, geo.out)


def weight_gradient_places(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """A product for each place of the kernel."""
    flat = (geo.groups, -1, prod(geo.out))
    g = grad.reshape(len(grad), *flat)
    found = [jnp.einsum("ngcp,ngop->goc", part.reshape(len(part), *flat), g) for part in _shifted(x, geo)]
    return jnp.stack(found, -1).reshape(grad.shape[1], -1, *geo.kernel)


# ---------------------------------------------------------------- the choice

SPLIT = 64
"""So many groups may be programs of their own; more take long to compile."""

CACHED = 5 << 19
"""Patches and gradients of so many elements, ten megabytes in float32, are multiplied while a cache holds them."""

SHORT = 32
"""With no more elements in each patch XLA's own convolution takes three times as long as a product of patches."""


def _is_depthwise(weight: Any, geo: Geometry) -> bool:
    return geo.groups > 1 and weight.shape[1] == 1


def _is_small(weight: Any, geo: Geometry) -> bool:
    """Whether patches are small, or a kernel has more places than there are outputs.

    For the latter XLA takes up to a hundred times as long.
    """
    return weight.shape[1] * prod(geo.kernel) <= SHORT or prod(geo.out) < prod(geo.kernel)


def _rows_pay(source: int, target: int, geo: Geometry) -> bool:
    """Whether to make patches along all axes but the first, of so many channels a group, rather than to send back.

    Adding up what many places send back takes up to twenty times as long, unless there are few channels to send to.
    """
    return all(s == 1 for s in geo.stride) and prod(geo.kernel) > FUSED and source < 4 * target


def _forward_on_cpu(weight: Any, geo: Geometry) -> Any:
    if _is_depthwise(weight, geo):
        return forward_depthwise
    if geo.groups > 1 or len(geo.size) == 3:
        if _rows_pay(weight.shape[1], weight.shape[0] // geo.groups, geo):
            return forward_rows
        if all(s == 1 for s in geo.stride):
            return forward_sent
        return forward_split if 1 < geo.groups <= SPLIT and len(geo.size) < 3 else forward_patches
    return forward_patches if _is_small(weight, geo) else None


def _input_gradient_on_cpu(weight: Any, geo: Geometry) -> Any:
    if _is_depthwise(weight, geo):
        return input_gradient_depthwise
    if geo.groups > 1 or len(geo.size) == 3:
        rows = _rows_pay(weight.shape[0] // geo.groups, weight.shape[1], geo)
        return input_gradient_rows if rows else input_gradient_patches
    return input_gradient_patches if _is_small(weight, geo) else None


def _weight_gradient_on_cpu(x: Any, grad: Any, geo: Geometry) -> Any:
    if geo.groups > 1 and x.shape[1] == geo.groups:
        return weight_gradient_depthwise
    if geo.groups == 1 and len(geo.size) < 3:
        return None
    factors = x.shape[1] * prod(geo.kernel[1:]) + grad.shape[1] * geo.kernel[0]
    if geo.stride[0] == 1 and factors * len(x) * geo.size[0] * prod(geo.out[1:]) <= CACHED:
        return weight_gradient_rows
    if len(geo.size) == 3:
        return weight_gradient_places
    return weight_gradient_split if geo.groups <= SPLIT else weight_gradient_patches


def _is_convolved(x: Any) -> bool:
    """Whether accelerators' libraries convolve this type: integers they do not."""
    return x.dtype.kind not in "iub"


def forward(jnp: Any, x: Any, weight: Any, geo: Geometry) -> Any:
    """The convolution."""
    if target.kind() == "cpu":
        made = _forward_on_cpu(weight, geo)
    else:
        made = None if _is_convolved(x) else forward_patches
    return conv_native.forward(x, weight, geo) if made is None else made(jnp, x, weight, geo)


def input_gradient(jnp: Any, grad: Any, weight: Any, geo: Geometry) -> Any:
    """The gradient of the input."""
    if target.kind() == "cpu":
        made = _input_gradient_on_cpu(weight, geo) or input_gradient_native
        return made(jnp, grad, weight, geo)
    if _is_convolved(grad):
        return conv_native.input_gradient(grad, weight, geo)
    return input_gradient_patches(jnp, grad, weight, geo)


def weight_gradient(jnp: Any, x: Any, grad: Any, geo: Geometry) -> Any:
    """The gradient of the weight."""
    if target.kind() == "cpu":
        made = _weight_gradient_on_cpu(x, grad, geo) or weight_gradient_native
        return made(jnp, x, grad, geo)
    if _is_convolved(x):
        return conv_native.weight_gradient(x, grad, geo)
    return weight_gradient_patches(jnp, x, grad, geo)
