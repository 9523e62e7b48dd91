"""Names for how elements lie in memory: PyTorch's layouts and memory formats."""

from __future__ import annotations

from typing import Any


class _Named:
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str | tuple[Any, ...]:
        return (_find, (self.name,))


class memory_format(_Named):
    """In which order the elements of a dense tensor lie.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(1, 3, 4, 4).to(memory_format=torch.channels_last)
        >>> x.stride(), x.is_contiguous(memory_format=torch.channels_last)
        ((48, 1, 12, 3), True)
    """

    __slots__ = ()


class layout(_Named):
    """How a tensor is stored; only dense ones (``torch.strided``) are supported.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2).layout
        torch.strided
    """

    __slots__ = ()


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")

NAMES = {
    known.name: known
    for known in (
        contiguous_format, preserve_format, channels_last, channels_last_3d,
        strided, sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc,
    )
}  # fmt: skip
NAMES.update(memory_format=memory_format, layout=layout)  # type: ignore[dict-item]


def _find(name: str) -> Any:
    return NAMES[name]


# The dimensions, innermost first, of images and volumes whose channels lie last.
_CHANNELS_LAST = {channels_last: (1, 3, 2, 0), channels_last_3d: (1, 4, 3, 2, 0)}


def strides_of(shape: tuple[int, ...], wanted: memory_format) -> tuple[int, ...]:
    """The strides of a tensor in a memory format that does not depend on another tensor.

    Raises:
        RuntimeError: if the tensor has not 4 dimensions (5 for ``channels_last_3d``).
    """
    order = _CHANNELS_LAST.get(wanted, tuple(range(len(shape)))[::-1])
    if len(shape) != len(order):
        raise RuntimeError(f"required rank {len(order)} tensor to use {wanted.name} format")
    strides = [0] * len(shape)
    step = 1
    for d in order:
        strides[d] = step
        step *= max(shape[d], 1)
    return tuple(strides)


def lies_in(shape: tuple[int, ...], strides: tuple[int, ...], wanted: memory_format) -> bool:
    """Whether elements lie without gaps with their channels last; dimensions of size 1 do not count."""
    order = _CHANNELS_LAST[wanted]
    if len(shape) != len(order):
        return False
    step = 1
    for d in order:
        if shape[d] != 1:
            if strides[d] != step:
                return False
            step *= shape[d]
    return True


def suggested_format(shape: tuple[int, ...], strides: tuple[int, ...]) -> memory_format:
    """The format that PyTorch takes a tensor to be in: with gaps, too, and row-major where nothing else fits."""
    for wanted, order in _CHANNELS_LAST.items():
        if len(shape) == len(order) and _looks_like(order, shape, strides):
            return wanted
    return contiguous_format


def _looks_like(order: tuple[int, ...], shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    least = 0
    if not strides[1]:
        return False
    for d in order:
        if not shape[d] or strides[d] < least or (d == 0 and least == strides[1]):
            return False
        least = strides[d] * max(shape[d], 1)
    return True


def innermost_first(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The dimensions in the order of their strides, smallest first, as PyTorch orders them.

    An expanded dimension, of stride 0, stays where it is; of two equal strides the larger size counts as further out.
    """

    def further_out(a: int, b: int) -> int:
        if not strides[a] or not strides[b]:
            return 0
        if strides[a] != strides[b]:
            return 1 if strides[a] > strides[b] else -1
        return 1 if shape[a] > shape[b] else 0

    order = list(range(len(shape)))[::-1]
    for i in range(1, len(order)):
        at = i
        for before in range(i - 1, -1, -1):
            found = further_out(order[before], order[at])
            if found < 0:
                break
            if found > 0:
                order[before], order[at] = order[at], order[before]
                at = before
    return order


def preserved_strides(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a copy that keeps a tensor's order of dimensions: its own, where it has no gaps nor overlaps."""
    found = [0] * len(shape)
    step = 1
    for d in innermost_first(shape, strides):
        found[d] = step
        step *= shape[d]
    return strides if is_dense(shape, strides) else tuple(found)


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements fill their stretch of memory, each in a place of its own."""
    if 0 in shape:
        return True
    step = 1
    for stride, n in sorted((stride, n) for stride, n in zip(strides, shape, strict=True) if n != 1):
        if stride != step:
            return False
        step *= n
    return True
