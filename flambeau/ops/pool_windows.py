"""Windows of pooling: their sizes, what they cover, and the checks that all kinds of pooling share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from flambeau.graph.node import Aval
from flambeau.ops.conv_kernels import Ints
from flambeau.tensor.tensor import Tensor


class Windows:
    """Windows over the last axes of an image; hashable, so that it can be a static parameter.

    Attributes:
        size, out: extents of the image and how many windows there are, per axis.
        kernel, stride, padding, dilation: of the windows.
        count_padding, divisor: what a mean divides by: whether padding counts, or a given number.
        adaptive: window i spans ``floor(i * size / out)`` to ``ceil((i + 1) * size / out)`` instead.
    """

    __slots__ = (
        "_key",
        "adaptive",
        "count_padding",
        "dilation",
        "divisor",
        "kernel",
        "out",
        "padding",
        "size",
        "stride",
    )

    def __init__(
        self,
        size: Ints,
        out: Ints,
        kernel: Ints,
        stride: Ints,
        padding: Ints,
        dilation: Ints,
        count_padding: bool = True,
        divisor: int | None = None,
        adaptive: bool = False,
    ) -> None:
        self.size = size
        self.out = out
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.count_padding = count_padding
        self.divisor = divisor
        self.adaptive = adaptive
        self._key = (size, out, kernel, stride, padding, dilation, count_padding, divisor, adaptive)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Windows) and self._key == other._key

    def __repr__(self) -> str:
        return f"Windows(size={self.size}, out={self.out}, kernel={self.kernel}, stride={self.stride})"

    def valid(self, axis: int, place: int) -> tuple[slice, slice]:
        """For one place in the windows: which windows have it inside the image, and which elements those are."""
        stride = self.stride[axis]
        shift = place * self.dilation[axis] - self.padding[axis]
        first = max(0, -(shift // stride))
        last = min(self.out[axis], (self.size[axis] - 1 - shift) // stride + 1)
        if last <= first:
            return slice(0, 0), slice(0, 0)
        begin = first * stride + shift
        return slice(first, last), slice(begin, begin + (last - first - 1) * stride + 1, stride)

    @property
    def tiles(self) -> bool:
        """Whether no element is in two windows."""
        return all(s >= d * (k - 1) + 1 for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True))

    @property
    def covers(self) -> bool:
        """Whether windows lie side by side and every element is in one."""
        return (
            self.tiles
            and self.kernel == self.stride
            and all(o * s - p >= n for o, s, p, n in zip(self.out, self.stride, self.padding, self.size, strict=True))
        )

    def counts(self, axis: int) -> Any:
        """How many elements of each window a mean counts along one axis."""
        n, pad = self.size[axis], self.padding[axis]
        start = np.arange(self.out[axis]) * self.stride[axis] - pad
        end = np.minimum(start + self.kernel[axis], n + pad)
        if not self.count_padding:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        return end - start


@lru_cache(maxsize=256)
def window_tables(windows: Windows) -> tuple[Any, ...]:
    """Per axis an array (windows, places) of element numbers.

    A place outside the image repeats the nearest one inside, which no maximum minds.
    """
    tables = []
    for a, n in enumerate(windows.size):
        if windows.adaptive:
            i = np.arange(windows.out[a])
            start = i * n // windows.out[a]
            end = -(-(i + 1) * n // windows.out[a])
            width = int((end - start).max(initial=1))
            tables.append(np.minimum(start[:, None] + np.arange(width), end[:, None] - 1))
            continue
        start = np.arange(windows.out[a])[:, None] * windows.stride[a] - windows.padding[a]
        places = start + np.arange(windows.kernel[a]) * windows.dilation[a]
        inside = (places >= 0) & (places < n)
        first = np.where(inside, places, n).min(1, keepdims=True)
        last = np.where(inside, places, -1).max(1, keepdims=True)
        tables.append(np.clip(places, first, last))
    return tuple(tables)


def axes_of(windows: Windows, ndim: int) -> range:
    return range(ndim - len(windows.size), ndim)


def along(ndim: int, axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,) + (slice(None),) * (ndim - axis - 1)


def lowest(np: Any, dtype: Any) -> Any:
    return np.asarray(-np.inf if dtype.kind == "f" else np.iinfo(dtype).min, dtype)


def place_parts(windows: Windows, ndim: int, place: Ints) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """For one place of the windows: which windows have it inside the image, and where it lies."""
    pairs = [windows.valid(a, k) for a, k in enumerate(place)]
    lead = (slice(None),) * (ndim - len(place))
    return lead + tuple(w for w, _ in pairs), lead + tuple(g for _, g in pairs)


def pool_rule(x: Aval, *, windows: Windows) -> Aval:
    return x.of((*x.shape[: -len(windows.size)], *windows.out))


def padded_to_reach(jnp: Any, x: Any, windows: Windows, a: int, axis: int, value: Any) -> Any:
    """The image with as much around it along one axis as the windows reach out, and no more."""
    from jax import lax

    reach = (windows.out[a] - 1) * windows.stride[a] + windows.dilation[a] * (windows.kernel[a] - 1) + 1
    after = reach - windows.padding[a] - windows.size[a]
    config = [(0, 0, 0)] * x.ndim
    config[axis] = (windows.padding[a], after, 0)
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def axis_values(name: str, what: str, value: Any, axes: int) -> Ints:
    """One int per axis from an int, a one-element sequence, or one element per axis."""
    if isinstance(value, int):
        return (value,) * axes
    values = tuple([int(v) for v in value])
    if len(values) not in (1, axes):
        words = {1: "a single int", 2: "either be a single int, or a tuple of two ints"}.get(
            axes, "either be a single int, or a tuple of three ints"
        )
        raise RuntimeError(f"{name}: {what} must {words}")
    return values * axes if len(values) == 1 else values


def check_image(name: str, input: Tensor, axes: int) -> None:
    """Raises unless the input has one or two axes before the spatial ones, none of the latter empty."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    shape = tuple(input.shape)
    if len(shape) not in (axes + 1, axes + 2):
        if axes == 1:
            raise RuntimeError(f"{name}() Expected 2D or 3D input tensor, but got [{', '.join(map(str, shape))}]")
        raise RuntimeError(
            f"{name}: non-empty {axes + 1}D or {axes + 2}D (batch mode) tensor expected for input, but got input of "
            f"size {list(shape)}"
        )
    if 0 in shape[len(shape) - axes - 1 :]:
        raise RuntimeError(
            f"{name}: Expected {axes + 1}D or {axes + 2}D (batch mode) tensor with optional 0 dim batch size for "
            f"input, but got: {list(shape)}"
        )


def sliding(
    name: str,
    input: Tensor,
    axes: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Windows:
    """The windows of a sliding pooling, all checked.

    Raises:
        RuntimeError: for windows that do not fit.
    """
    check_image(name, input, axes)
    kernel = axis_values(name, "kernel_size", kernel_size, axes)
    none = stride is None or (not isinstance(stride, int) and len(stride) == 0)
    steps = kernel if none else axis_values(name, "stride", stride, axes)
    pads = axis_values(name, "padding", padding, axes)
    spread = axis_values(name, "dilation", dilation, axes)
    if any(k <= 0 for k in kernel):
        raise RuntimeError(f"kernel size should be greater than zero, but got kernel size {list(kernel)} ({name})")
    if any(s <= 0 for s in steps):
        raise RuntimeError(f"stride should be greater than zero, but got stride {list(steps)} ({name})")
    if any(d <= 0 for d in spread):
        raise RuntimeError(f"dilation should be greater than zero, but got dilation {list(spread)} ({name})")
    if any(p < 0 for p in pads):
        raise RuntimeError(f"pad must be non-negative, but got pad: {min(pads)} ({name})")
    for k, p, d in zip(kernel, pads, spread, strict=True):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d} ({name})"
            )
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    size = tuple(input.shape[input.ndim - axes :])
    out = tuple([_count(*values, ceil_mode) for values in zip(size, kernel, steps, pads, spread, strict=True)])
    if any(n < 1 for n in out):
        lead = list(input.shape)[input.ndim - axes - 1]
        gives = "x".join(map(str, (lead, *out)))
        had = "x".join(map(str, (lead, *size)))
        raise RuntimeError(
            f"Given input size: ({had}). Calculated output size: ({gives}). Output size is too small ({name}: a window "
            f"of {list(kernel)} does not fit)"
        )
    return Windows(size, out, kernel, steps, pads, spread, count_include_pad, divisor_override)


def _count(size: int, kernel: int, stride: int, pad: int, dilation: int, ceil_mode: bool) -> int:
    span = size + 2 * pad - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return span // stride + 1
    count = -(-span // stride) + 1
    # A window that would begin in the padding behind the image is dropped.
    return count - 1 if (count - 1) * stride >= size + pad else count


def adaptive(name: str, input: Tensor, axes: int, output_size: Any) -> Windows:
    """The windows of a pooling to a given output size; None in it keeps an extent."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    shape = tuple(input.shape)
    if axes > 1 and not (output_size is None or isinstance(output_size, int)) and len(shape) <= len(output_size):
        raise ValueError(f"Input dimension should be at least {len(output_size) + 1}")
    if len(shape) not in (axes + 1, axes + 2):
        raise RuntimeError(
            f"{name}(): Expected {axes + 1}D to {axes + 2}D tensor, but got [{', '.join(map(str, shape))}]"
        )
    size = shape[len(shape) - axes :]
    wanted = (output_size,) * axes if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(wanted) == 1:
        wanted = wanted * axes
    if len(wanted) != axes:
        raise RuntimeError(f"{name}: internal error: output_size.size() must be {axes}, but got {len(wanted)}")
    out = tuple([n if w is None else int(w) for w, n in zip(wanted, size, strict=True)])
    if any(n < 0 for n in out):
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received {list(out)}"
        )
    if any(n == 0 for n in size):
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes "
            f"{list(shape)} with dimension {len(shape) - axes + size.index(0)} being empty"
        )
    if all(o and n % o == 0 for n, o in zip(size, out, strict=True)):
        kernel = tuple([n // o for n, o in zip(size, out, strict=True)])
        return Windows(size, out, kernel, kernel, (0,) * axes, (1,) * axes)
    return Windows(size, out, (1,) * axes, (1,) * axes, (0,) * axes, (1,) * axes, adaptive=True)
