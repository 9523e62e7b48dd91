"""Views and writing: how aliases stay one.

A view keeps its base and the chain of view operators that leads to it.  Writing to a view writes the
new values into the base, back through the chain; a view whose base was written to since derives its
values anew when they are next looked at.  Strides are bookkeeping, worked out when asked for.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.graph.observer import current as looking
from flambeau.tensor.tensor import Tensor, current, wrap

Layout = tuple[tuple[int, ...], int]

OPERATORS: dict[str, Any] = {}
"""The view operators by name; :mod:`flambeau.ops.views` puts them here."""

SHAPES_KEPT = 2048
"""For so many shapes each, what follows from a shape alone is remembered."""


@lru_cache(SHAPES_KEPT)
def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def layout(tensor: Tensor) -> Layout:
    """Strides and storage offset, in elements."""
    known = tensor._layout
    if known is not None:
        return known
    if tensor._base is None:
        return contiguous_strides(tensor._node.aval.shape), 0
    base = tensor._base
    tensor._layout = found = _through(base._node.aval.shape, layout(base), tensor._chain)
    return found


@lru_cache(SHAPES_KEPT)
def _through(shape: tuple[int, ...], base: Layout, chain: tuple[Any, ...]) -> Layout:
    """The layout that a chain of view operators leads to."""
    strides, offset = base
    for op, attrs in chain:
        shape, strides, offset = op.restride(shape, strides, offset, *attrs)
    return tuple(strides), offset


def is_contiguous(tensor: Tensor) -> bool:
    """Whether the elements lie in row-major order without gaps."""
    if tensor._base is None and tensor._layout is None:
        return True
    shape = tensor._node.aval.shape
    if 0 in shape:
        return True
    expected = 1
    for n, stride in zip(reversed(shape), reversed(layout(tensor)[0]), strict=True):
        if n != 1:
            if stride != expected:
                return False
            expected *= n
    return True


def view_of(op: Any, tensor: Tensor, *attrs: Any) -> Tensor:
    """Applies a view operator: the result shares its elements with the tensor."""
    result = op(tensor, *attrs)
    base = tensor._base
    chain: tuple[Any, ...] = ((op, attrs),)
    if tensor._rg and not mode.grad and op.name != "detach":
        # Made where nothing is noted, it stays out of differentiation when derived anew, too.
        chain = ((OPERATORS["detach"], ()), *chain)
    if base is None:
        result._base = tensor
        result._chain = chain
        result._seen = tensor._writes
    else:
        result._base = base
        result._chain = tensor._chain + chain
        result._seen = base._writes
    return result


def refresh(view: Tensor) -> None:
    """Derives a view anew from its base."""
    base = view._base
    assert base is not None
    before = mode.grad
    try:
        found = base
        for op, attrs in view._chain:
            mode.grad = op.name != "detach"
            found = op(found, *attrs)
    finally:
        mode.grad = before
    if view._rg and view._grad_fn is None and not found._rg:
        # A leaf by its own word stays one.
        view._node = found._node
    else:
        _show(view, found)
    if view._grad_fn is not None and view._chain:
        view._grad_fn.label = "AsStridedBackward0"  # type: ignore[attr-defined]
    view._seen = base._writes


# A tensor knows nothing of views but that it may be one.
Tensor._refresh = refresh  # type: ignore[attr-defined]


def _show(box: Tensor, new: Tensor) -> None:
    box._node = new._node
    box._rg = new._rg
    box._grad_fn = new._grad_fn
    box._output_nr = new._output_nr


def check_writable(tensor: Tensor) -> None:
    """Raises if an in-place operation on the tensor would lose its place in differentiation."""
    if not mode.grad:
        return
    if tensor._base is not None:
        current(tensor)
    if not tensor._rg:
        return
    if tensor.grad_fn is None:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    base = tensor._base
    if base is not None and base._rg and base._grad_fn is None:
        raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")


def write(tensor: Tensor, new: Tensor) -> Tensor:
    """Puts new values, of the same shape and type, into a tensor and so into all its aliases.

    Raises:
        RuntimeError: if two of the tensor's elements are the same place in memory, or the values are on another device.
    """
    if new._node.aval.device is not tensor._node.aval.device:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {tensor.device} and "
            f"{new.device}! (a result on {new.device} is to be written into a tensor on {tensor.device}; "
            f"move one of them, or use copy_)"
        )
    if looking.observer is not None:
        looking.observer.written(tensor, new)
    base = tensor._base
    if base is None:
        put(tensor, new)
        return tensor
    chain = tensor._chain
    if any(op.name == "expand" for op, _ in chain) or any(op.name in _WINDOWED for op, _ in chain[:-1]):
        chain = _without_expansion(tensor)
    stale = tensor._seen != base._writes
    parents = [_snapshot(base)]
    for op, attrs in chain[:-1]:
        parents.append(op(parents[-1], *attrs))
    written = new
    detached = False
    for (op, attrs), parent in zip(reversed(chain), reversed(parents), strict=True):
        if op.name == "detach":
            detached = True
            written = wrap(written._node)
        elif detached:
            written = op.scatter(wrap(parent._node), written, *attrs)
        else:
            written = op.scatter(parent, written, *attrs)
    if detached:
        base._node = written._node
        base._writes += 1
    else:
        put(base, written)
    if mode.grad and base._rg and not detached:
        # It is differentiated through the base from now on, and derived anew when next looked at.
        base._grad_fn.label = "torch::autograd::CopySlices"  # type: ignore[union-attr]
        return tensor
    if stale and base._rg and not detached:
        # Nor is its place in differentiation what it was when last seen.
        return tensor
    tensor._node = new._node
    tensor._seen = base._writes
    return tensor


_WINDOWED = ("unfold", "as_strided")
"""Views that may show an element of their base at several places."""


def _without_expansion(tensor: Tensor) -> tuple[Any, ...]:
    """Another chain to the same places of the base: an element shown twice on the way makes the way back ambiguous."""
    strides, offset = layout(tensor)
    shape = tensor._node.aval.shape
    if 0 not in shape and any(step == 0 and n > 1 for n, step in zip(shape, strides, strict=True)):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
            "Please clone() the tensor before performing the operation."
        )
    return tensor._in_storage(shape, strides, offset)._chain


def _snapshot(box: Tensor) -> Tensor:
    """What a box shows now, in a box of its own."""
    copy = wrap(box._node)
    copy._rg = box._rg
    copy._grad_fn = box._grad_fn
    copy._output_nr = box._output_nr
    if box._rg and box._grad_fn is None:
        return box
    return copy


def put(box: Tensor, new: Tensor) -> None:
    """Makes a box that is no view show what another shows."""
    if mode.grad:
        _show(box, new)
    else:
        box._node = new._node
    box._writes += 1
