"""Counting and finding: unique values, bins, and places in a sorted sequence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.dtypes import BOOL
from flambeau.graph.node import Aval
from flambeau.ops.index import UNINDEX
from flambeau.ops.operator import INTEGER_RESULT, operator, public
from flambeau.ops.outs import written
from flambeau.ops.pointwise import not_implemented
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- unique


def _returned(values: Tensor, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    results = [values]
    if return_inverse:
        results.append(from_array(np.asarray(inverse, np.int64), device=values.device))
    if return_counts:
        results.append(from_array(np.asarray(counts, np.int64), device=values.device))
    return results[0] if len(results) == 1 else tuple(results)


@public()
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in ascending order, or the distinct parts along ``dim``.

    Args:
        return_inverse: also where in the result each element is.
        return_counts: also how often each occurs.

    Example:
        >>> import flambeau as torch
        >>> torch.unique(torch.tensor([3, 1, 3]))
        tensor([1, 3])
    """
    array = input._array()
    if dim is None:
        _, first, inverse, counts = np.unique(
            array.reshape(-1), return_index=True, return_inverse=True, return_counts=True, equal_nan=False
        )
        values = from_array(array.reshape(-1)[first], device=input.device)
        return _returned(values, inverse.reshape(array.shape), counts, return_inverse, return_counts)
    dim = wrapped_dim(dim, array.ndim)
    _check_parts("unique", array.shape, dim)
    rows = np.moveaxis(array, dim, 0).reshape(array.shape[dim] if array.ndim else 1, -1)
    _, first, inverse, counts = np.unique(rows, axis=0, return_index=True, return_inverse=True, return_counts=True)
    values = from_array(np.take(array, first, axis=dim), device=input.device)
    return _returned(values, inverse.reshape(-1), counts, return_inverse, return_counts)


def _check_parts(name: str, shape: tuple[int, ...], dim: int) -> None:
    if 0 in shape and not (shape[dim] == 0 and math.prod(n for i, n in enumerate(shape) if i != dim)):
        raise RuntimeError(
            f"{name}: There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
            if shape[dim]
            else "Dimensions of 0 size other than the one selected"
        )


@public(name="unique", into="", method=True)
def unique_method(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in ascending order; see ``torch.unique``.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([3, 1, 3]).unique()
        tensor([1, 3])
    """
    return unique(input, sorted, return_inverse, return_counts, dim)


@public(method=True)
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """All but the first of each run of equal elements left out; along ``dim``, of equal parts.

    Example:
        >>> import flambeau as torch
        >>> torch.unique_consecutive(torch.tensor([1, 1, 2, 2, 2, 1]), return_counts=True)
        (tensor([1, 2, 1]), tensor([2, 3, 1]))
    """
    array = input._array()
    if dim is None:
        rows, at = array.reshape(-1, 1), 0
        flat = array.reshape(-1)
    else:
        at = wrapped_dim(dim, array.ndim)
        _check_parts("unique_consecutive", array.shape, at)
        rows = np.moveaxis(array, at, 0).reshape(array.shape[at] if array.ndim else 1, -1)
        flat = array
    n = len(rows)
    fresh = np.ones(n, bool)
    if n:
        fresh[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    starts = np.flatnonzero(fresh)
    inverse = np.cumsum(fresh) - 1
    counts = np.diff(np.append(starts, n))
    kept = flat[starts] if dim is None else np.take(array, starts, axis=at)
    values = from_array(kept, device=input.device)
    return _returned(
        values, inverse.reshape(array.shape) if dim is None else inverse, counts, return_inverse, return_counts
    )


# ---------------------------------------------------------------- bincount, histograms


@public(method=True)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 on occurs in a vector, or the sum of its weights.

    Raises:
        RuntimeError: if the numbers are negative or not integers, or the weights do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.bincount(torch.tensor([0, 2, 2]), minlength=4)
        tensor([1, 0, 2, 0])
        >>> torch.bincount(torch.tensor([0, 2, 2]), weights=torch.tensor([0.5, 1.0, 2.0]))
        tensor([0.5000, 0.0000, 3.0000])
    """
    if input.dtype.category != dtypes.INTEGER:
        raise RuntimeError(f"\"bincount_cpu\" not implemented for '{input.dtype.title}'")
    array = input._array()
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if array.ndim == 1 and not array.size:
        return from_array(np.zeros(minlength, np.int64), device=input.device)
    if array.ndim != 1 or array.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return from_array(np.bincount(array, minlength=minlength).astype(np.int64), device=input.device)
    if weights.ndim != 1 or len(weights) != len(array):
        raise RuntimeError("weights should be 1-d and have the same length as input")
    weights = weights.detach() if weights.dtype is dtypes.float32 else weights.detach().to(dtypes.float64)
    places = from_array(array.astype(np.int64), device=input.device)
    return UNINDEX([weights, places], (max(int(array.max()) + 1, minlength),))


def _range_of(name: str, array: np.ndarray, low: float, high: float) -> tuple[float, float]:
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"range of [{low}, {high}] is not finite")
    if low > high:
        raise RuntimeError("max must be larger than min")
    return low, high


@public(method=True, out="exact")
def histc(input: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """How many elements fall into each of ``bins`` intervals of equal width between ``min`` and ``max``.

    Elements outside count nowhere.  If both ends are equal, the smallest and largest element are taken.

    Raises:
        RuntimeError: if ``bins`` is not positive, or the tensor is of integers.

    Example:
        >>> import flambeau as torch
        >>> torch.histc(torch.tensor([1.0, 2.0, 2.5, 9.0]), bins=2, min=0, max=4)
        tensor([1., 2.])
    """
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    if input.dtype.category < dtypes.FLOATING or input.dtype.is_complex:
        raise RuntimeError(f"\"histogram_cpu\" not implemented for '{input.dtype.title}'")
    array = input._array().reshape(-1)
    low, high = _range_of("histc", array, float(min), float(max))
    wide = array.astype(np.float64)
    inside = wide[(wide >= low) & (wide <= high)]
    places = np.minimum(((inside - low) * (bins / (high - low))).astype(np.int64), bins - 1)
    return from_array(np.bincount(places, minlength=bins).astype(input.dtype.numpy), device=input.device)


def _edges(low: float, high: float, bins: int, dtype: Any) -> np.ndarray:
    return np.linspace(low, high, bins + 1).astype(dtype)


def _binned(columns: np.ndarray, edges: list[np.ndarray], weight: np.ndarray | None, dtype: Any) -> np.ndarray:
    """Counts, or sums of weights, in the boxes that edges span; a box's upper edge belongs to the last box only."""
    inside = np.ones(len(columns), bool)
    place = np.zeros(len(columns), np.int64)
    for column, edge in zip(columns.T, edges, strict=True):
        at = np.searchsorted(edge, column, side="right") - 1
        at = np.where(column == edge[-1], len(edge) - 2, at)
        inside &= (column >= edge[0]) & (column <= edge[-1])
        place = place * (len(edge) - 1) + at
    shape = [len(edge) - 1 for edge in edges]
    weights = None if weight is None else weight[inside].astype(np.float64)
    found = np.bincount(place[inside], weights, minlength=math.prod(shape))
    return found.reshape(shape).astype(dtype)


def _density(counts: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    volume: Any = 1.0
    for edge in edges:
        volume = np.multiply.outer(volume, np.diff(edge.astype(np.float64)))
    return (counts / volume / counts.sum()).astype(counts.dtype)


@public(method=True)
def histogram(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False, out: Any = None
) -> Any:
    """Counts of the elements, or sums of their weights, in bins; with the bins' edges.

    Args:
        bins: how many of equal width, or a vector of edges.
        range: the outermost edges; the smallest and largest element if None.
        density: divide by the total and by each bin's width.

    Raises:
        RuntimeError: for integers, no bins, a ``range`` in the wrong order, or weights of another shape or type.

    Example:
        >>> import flambeau as torch
        >>> torch.histogram(torch.tensor([1.0, 2.0, 2.5, 4.0]), bins=2, range=(0.0, 4.0))
        torch.return_types.histogram(
        hist=tensor([1., 3.]),
        bin_edges=tensor([0., 2., 4.]))
    """
    if not input.dtype.is_floating_point or input.dtype in dtypes.REDUCED:
        raise RuntimeError(f"\"histogram_cpu\" not implemented for '{input.dtype.title}'")
    if weight is not None:
        if weight.shape != input.shape:
            raise RuntimeError(
                "torch.histogramdd(): if weight tensor is provided it should have the same shape as the input tensor"
            )
        if weight.dtype is not input.dtype:
            raise RuntimeError(
                "torch.histogramdd(): if weight tensor is provided, input tensor and weight tensor should have the "
                "same dtype"
            )
    array = input._array().reshape(-1)
    if isinstance(bins, Tensor):
        if bins.ndim != 1 or bins.dtype is not input.dtype:
            raise RuntimeError("torch.histogramdd(): input tensor and bins tensors should have the same dtype")
        edges = bins._array()
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
        low, high = (float(range[0]), float(range[1])) if range is not None else (0.0, 0.0)
        if range is not None and low > high:
            raise RuntimeError(
                f"torch.histogramdd(): min should not exceed max, but got min {low} max {high} for dimension 0"
            )
        if range is None:
            low, high = _range_of("histogram", array, 0.0, 0.0) if array.size else (0.0, 1.0)
        elif low == high:
            low, high = low - 0.5, high + 0.5
        edges = _edges(*_fixed(low, high, array, range), bins, input.dtype.numpy)
    counts = _binned(
        array[:, None], [edges], None if weight is None else weight._array().reshape(-1), input.dtype.numpy
    )
    if density:
        counts = _density(counts, [edges])
    device = input.device
    return written(named("histogram", from_array(counts, device=device), from_array(edges, device=device)), out)


def _fixed(low: float, high: float, array: np.ndarray, given: Any) -> tuple[float, float]:
    if given is None and array.size and array.min() == array.max():
        return float(array.min()) - 0.5, float(array.max()) + 0.5
    return low, high


@public()
def histogramdd(
    input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False
) -> Any:
    """Counts of points, or sums of their weights, in boxes; with the edges for each coordinate.

    Args:
        input: points along the last dimension.
        bins: how many per coordinate (or one number for all), or vectors of edges.
        range: the outermost edges, two numbers per coordinate in a row.

    Raises:
        RuntimeError: for fewer than two dimensions, or not one sequence of edges for each coordinate.

    Example:
        >>> import flambeau as torch
        >>> points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> found = torch.histogramdd(points, bins=[2, 2])
        >>> found.hist
        tensor([[1., 1.],
                [0., 1.]])
        >>> found.bin_edges[0]
        tensor([0.0000, 0.5000, 1.0000])
    """
    if input.ndim < 2:
        raise RuntimeError(f"torch.histogramdd(): input tensor should have at least 2 dimensions, but got {input.ndim}")
    width = input.shape[-1]
    points = input._array().reshape(-1, width)
    dtype = input.dtype.numpy
    if isinstance(bins, int):
        bins = [bins] * width
    if len(bins) != width:
        raise RuntimeError(
            f"torch.histogramdd(): expected {width} sequences of bin edges for a {width}-dimensional histogram but "
            f"got {len(bins)}"
        )
    edges = []
    for i, given in enumerate(bins):
        if isinstance(given, Tensor):
            edges.append(given._array())
            continue
        column = points[:, i]
        if range is not None:
            low, high = float(range[2 * i]), float(range[2 * i + 1])
            if low == high:
                low, high = low - 0.5, high + 0.5
        else:
            low, high = (float(column.min()), float(column.max())) if len(column) else (0.0, 1.0)
            if low == high:
                low, high = low - 0.5, high + 0.5
        edges.append(_edges(low, high, given, dtype))
    counts = _binned(points, edges, None if weight is None else weight._array().reshape(-1), dtype)
    if density:
        counts = _density(counts, edges)
    device = input.device
    placed = tuple([from_array(edge, device=device) for edge in edges])
    return named("histogramdd", from_array(counts, device=device), placed)


# ---------------------------------------------------------------- searchsorted


def _search_rule(ordered: Aval, values: Aval, *, right: bool, dtype: dtypes.dtype) -> Aval:
    if ordered.dtype.category == BOOL:
        raise not_implemented("searchsorted_out", ordered.dtype)
    if len(ordered.shape) > 1 and ordered.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries "
            "tensor "
            f"and input value tensor must match, but we got boundaries tensor {list(ordered.shape)} and input value "
            "tensor "
            f"{list(values.shape)}"
        )
    return values.of(dtype=dtype)


def _search_numpy(xp: Any, ordered: Any, values: Any, *, right: bool, dtype: dtypes.dtype) -> Any:
    side = "right" if right else "left"
    if ordered.ndim == 1:
        return np.asarray(np.searchsorted(ordered, values, side)).astype(dtype.numpy)
    out = np.empty(values.shape, dtype.numpy)
    for place in np.ndindex(ordered.shape[:-1]):
        out[place] = np.searchsorted(ordered[place], values[place], side)
    return out


def _search_lax(xp: Any, ordered: Any, values: Any, *, right: bool, dtype: dtypes.dtype) -> Any:
    import jax

    side = "right" if right else "left"
    if 0 in values.shape or not ordered.shape[-1]:
        return xp.zeros(values.shape, dtype.numpy)
    find = lambda a, v: xp.searchsorted(a, v, side=side)  # noqa: E731
    if ordered.ndim == 1:
        return find(ordered, values).astype(dtype.numpy)
    rows = ordered.reshape(-1, ordered.shape[-1])
    found = jax.vmap(find)(rows, values.reshape(len(rows), values.shape[-1]))
    return found.reshape(values.shape).astype(dtype.numpy)


SEARCH = operator(
    "searchsorted",
    _search_rule,
    None,
    INTEGER_RESULT,
    promote="common",
    numpy=_search_numpy,
    lax=_search_lax,
    samples=lambda: [
        case("bucketize", T(3, 4), T(1)),
        case("bucketize", T(3, 4, dtype="bfloat16"), T(1)),
        case("searchsorted", T(2, 1), T(2, 3)),
        case("searchsorted", T(0, 0), T(0, 0)),
        case("searchsorted", T(2, 0), T(2, 3)),
        case("searchsorted", T(2, 1, dtype="int64"), T(2, 3)),
    ],
)


@public(out="exact")
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where elements would have to be put into sorted rows to keep these in order.

    Elements and rows of different types are compared in their common type.

    Args:
        right: after elements that are equal, rather than before.  Likewise ``side="right"``.
        sorter: indices that sort the rows, if they are not sorted.

    Raises:
        RuntimeError: for a ``side`` that contradicts ``right``, rows that do not fit, or a ``sorter`` out of range.

    Example:
        >>> import flambeau as torch
        >>> rows = torch.tensor([1, 3, 5])
        >>> torch.searchsorted(rows, torch.tensor([0, 3, 9]))
        tensor([0, 1, 3])
        >>> torch.searchsorted(rows, torch.tensor([0, 3, 9]), right=True)
        tensor([0, 2, 3])
    """
    from flambeau.ops.gather import GATHER

    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
        if right and side == "left":
            raise RuntimeError(
                "torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True"
            )
        right = right or side == "right"
    if not isinstance(input, Tensor):
        input = sorted_sequence.new_tensor(input, dtype=dtypes.of_number(input))
    if not sorted_sequence.ndim:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension"
        )
    if not input.ndim and sorted_sequence.ndim != 1:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got "
            f"boundaries tensor dim({sorted_sequence.ndim}) and input value's dim(0) numel(1)"
        )
    if sorter is not None:
        if sorter.shape != sorted_sequence.shape:
            raise RuntimeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(sorted_sequence.shape)}and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype is not dtypes.int64:
            raise RuntimeError(
                f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {sorter.dtype.title}"
            )
        array = sorter._array()
        if array.size and (array.min() < 0 or array.max() >= sorted_sequence.shape[-1]):
            raise RuntimeError("torch.searchsorted(): sorter index out of range")
        sorted_sequence = GATHER(sorted_sequence, sorter, sorter.ndim - 1)
    return SEARCH(sorted_sequence, input, bool(right), dtypes.int32 if out_int32 else dtypes.int64)


@public(out="exact")
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Which of the intervals between ascending boundaries each element falls into.

    Raises:
        RuntimeError: if the boundaries are no vector.

    Example:
        >>> import flambeau as torch
        >>> torch.bucketize(torch.tensor([0.5, 1.5]), torch.tensor([0., 1.]))
        tensor([1, 2])
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)
