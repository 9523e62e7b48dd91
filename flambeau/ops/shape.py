"""Reshaping that is built from view operators, joining and splitting."""

from __future__ import annotations

from typing import Any

from flambeau.ops.operator import public
from flambeau.ops.views import RESHAPE, wrapped_dim
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import view_of


@public(method=True)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of size one at ``dim``."""
    shape = input._node.aval.shape
    at = wrapped_dim(dim, len(shape) + 1)
    return view_of(RESHAPE, input, (*shape[:at], 1, *shape[at:]))


@public(method=True)
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without dimensions of size one: all of them, or those named."""
    shape = input._node.aval.shape
    if dim is None:
        dims = set(range(len(shape)))
    else:
        dims = {wrapped_dim(d, len(shape)) for d in ((dim,) if isinstance(dim, int) else dim)}
    return view_of(RESHAPE, input, tuple([n for i, n in enumerate(shape) if n != 1 or i not in dims]))


@public(method=True)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` as one."""
    shape = input._node.aval.shape
    if not shape:
        return input.reshape(1)
    first, last = wrapped_dim(start_dim, len(shape)), wrapped_dim(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if first == last:
        return input
    count = 1
    for n in shape[first : last + 1]:
        count *= n
    return input.reshape((*shape[:first], count, *shape[last + 1 :]))
