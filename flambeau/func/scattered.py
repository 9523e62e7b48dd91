"""Gradients of what all examples share, where each example read a few elements of it by index.

Of one example such a gradient is as large as what was read from, and zero but for a few places.  What lies at these
places leaves the level instead, and is added up for all examples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.graph.node import NONE, Node
from flambeau.ops.index import UNINDEX
from flambeau.tensor.tensor import Tensor, wrap

Shown = Sequence[tuple[Tensor, bool]]
"""Tensors outside of a level, each with whether it has a dimension of examples."""


def scattered(gradient: Node, inside: Callable[[Node], bool]) -> list[list[Tensor]] | None:
    """What is added up at which places to give a gradient: per sum the values, and the indices.  None if unknown.

    Args:
        gradient: of one example.
        inside: whether a node stands for one example.
    """
    found = []
    waiting = [gradient]
    while waiting:
        node = waiting.pop()
        call = node.call
        if call is None or not inside(node):
            return None
        if call.op is UNINDEX and NONE not in node.inputs:
            found.append([wrap(read) for read in node.inputs])
        elif call.op.name == "add" and call.casts is None and all(_alike(read, node) for read in node.inputs):
            waiting.extend(node.inputs)
        else:
            return None
    return found


def _alike(read: Node, node: Node) -> bool:
    return read.aval.shape == node.aval.shape


def added_up(parts: Shown, shape: tuple[int, ...], size: int) -> Tensor:
    """The sum over all examples.

    Args:
        parts: the values and the indices of one sum.
        shape: of what was read from.
        size: the number of examples.
    """
    (value, many), *indices = parts
    if not any(stacked for _, stacked in indices):
        value = value.sum(0) if many else value * size
        return UNINDEX([value, *[index for index, _ in indices]], shape)
    ndim = max(index.ndim - stacked for index, stacked in indices)
    if not many:
        value = value.expand(size, *value.shape)
    return UNINDEX([value, *[_aligned(index, stacked, ndim) for index, stacked in indices]], shape)


def _aligned(index: Any, stacked: bool, ndim: int) -> Any:
    """An index whose dimensions for one example are in line with those of the others."""
    if not stacked:
        return index
    return index.reshape(index.shape[0], *(1,) * (ndim - index.ndim + 1), *index.shape[1:])
