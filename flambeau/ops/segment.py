"""Reductions over segments of one dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.gather import scatter_reduce
from flambeau.ops.operator import INTEGER_RESULT, operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

_REDUCTIONS = {
    "sum": ("sum", 0.0),
    "mean": ("sum", 0.0),
    "prod": ("prod", 1.0),
    "max": ("amax", -math.inf),
    "min": ("amin", math.inf),
}


def _check_lengths(lengths: Any, count: int) -> None:
    if lengths.size and lengths.min() < 0:
        raise RuntimeError("lengths contains negative value!")
    if (lengths.sum(-1) != count).any():
        raise RuntimeError(
            "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when "
            f"!unsafe. (data has {count} elements there)"
        )


def _segment_of_rule(bounds: Aval, *, count: int, by_lengths: bool, unsafe: bool) -> Aval:
    return bounds.of((*bounds.shape[:-1], count), dtypes.int64)


def _segment_of_kernel(xp: Any, bounds: Any, *, count: int, by_lengths: bool, unsafe: bool) -> Any:
    """How many segments end at or before each place; past the last one, where there are none."""
    if by_lengths:
        if xp is np and not unsafe:
            _check_lengths(bounds, count)
        ends, start = xp.cumsum(bounds, -1), None
    else:
        ends, start = bounds[..., 1:], bounds[..., :1]
    place = xp.arange(count)
    if ends.ndim == 1:
        found = xp.searchsorted(ends, place, side="right").astype(np.int64)
    else:
        found = xp.sum(ends[..., :, None] <= place, axis=-2, dtype=np.int64)
    return found if start is None else xp.where(place < start, ends.shape[-1], found)


SEGMENT_OF = operator(
    "segment_of",
    _segment_of_rule,
    _segment_of_kernel,
    INTEGER_RESULT,
    samples=lambda: [
        case("segment_reduce", T(6, 2), "sum", lengths=T(1, dtype="int64", low=6, high=7), gradgrad=False)
    ],
)
"""For each place along a dimension the segment that it belongs to."""


@public()
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Any = None,
) -> Tensor:
    """Reduces segments that lie one after the other along a dimension.

    Args:
        data: floating point, (*, N, ...), its dimension ``axis`` that of size N.
        reduce: ``"sum"``, ``"mean"``, ``"prod"``, ``"max"`` or ``"min"``.
        lengths: of the segments, (*, S).
        offsets: where each segment begins and the last one ends, (*, S + 1); instead of ``lengths``.
        axis: the last dimension of ``lengths``.
        unsafe: do not check that the lengths add up to N.
        initial: what each reduction starts from; an empty segment gives that, or the reduction's identity.

    Returns:
        (*, S, ...).

    Raises:
        RuntimeError: for lengths that are negative or do not add up, another dimension, or an unknown reduction.

    Example:
        >>> import flambeau as torch
        >>> torch.segment_reduce(torch.tensor([1.0, 2.0, 4.0]), "sum", lengths=torch.tensor([2, 1]))
        tensor([3., 4.])
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    axis = wrapped_dim(axis, data.ndim)
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    bounds = lengths if offsets is None else offsets
    if bounds is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if axis != bounds.ndim - 1:
        raise RuntimeError(f"segment_reduce(): Expected axis to be the last dimension of lengths but got {axis}.")
    if not data.dtype.is_floating_point:
        raise NotImplementedError(f"\"_segment_reduce_cpu\" not implemented for '{data.dtype.title}'")
    if bounds.dtype not in (dtypes.int32, dtypes.int64):
        raise NotImplementedError(f"\"_segment_reduce_lengths_cpu_kernel1\" not implemented for '{bounds.dtype.title}'")
    count = data.shape[axis]
    segments = bounds.shape[axis] - (offsets is not None)
    known = bounds._node.value
    if offsets is None and not unsafe and type(known) is np.ndarray:
        _check_lengths(known, count)
    segment = SEGMENT_OF(bounds, count, offsets is None, bool(unsafe))
    segment = segment.reshape(segment.shape + (1,) * (data.ndim - axis - 1)).expand(data.shape)
    word, identity = _REDUCTIONS[reduce]
    # One more segment takes what belongs to none.
    shape = (*data.shape[:axis], segments + 1, *data.shape[axis + 1 :])
    found = scatter_reduce(data.new_full(shape, identity), axis, segment, data, word)
    if initial is not None:
        found = _from(found, initial, word)
    if reduce == "mean":
        sizes = scatter_reduce(data.new_zeros(shape), axis, segment, data.new_ones(data.shape), "sum")
        # An empty segment's mean is what it starts from; nan, if that is nothing.
        found = found / (sizes if initial is None else sizes.clamp(min=1))
    return found.narrow(axis, 0, segments)


def _from(found: Tensor, initial: Any, word: str) -> Tensor:
    """Reductions that began with a number."""
    if word == "sum":
        return found + initial
    if word == "prod":
        return found * initial
    return found.masked_fill(found < initial if word == "amax" else found > initial, initial)
