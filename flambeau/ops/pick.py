"""Picking elements: take, masks, and results whose shape depends on values (nonzero and its kin)."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.graph.op import check_devices
from flambeau.ops.gather import GATHER, gather
from flambeau.ops.index import INDEX, INDEX_PUT, check_range, known_value
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.outs import written_apart
from flambeau.ops.pointwise import broadcast_shapes
from flambeau.ops.samples import T, case
from flambeau.ops.views import EXPAND, wrapped_dim
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.tensor.views import view_of

# ---------------------------------------------------------------- nonzero


@public(method=True)
def nonzero(input: Tensor, *, as_tuple: bool = False, out: Any = None) -> Any:
    """The indices of the elements that are not zero, one row for each; or a tuple with one vector per dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.nonzero(torch.tensor([0, 3, 4]))
        tensor([[1],
                [2]])
    """
    array, device = input._array(), input.device
    if as_tuple:
        return tuple(from_array(places, device=device) for places in np.nonzero(np.atleast_1d(array)))
    result = from_array(np.argwhere(array).astype(np.int64, copy=False), device=device)
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    return write_out("nonzero", result, out, "exact")


@public(method=True)
def argwhere(input: Tensor) -> Tensor:
    """The indices of the elements that are not zero, one row for each.

    Shape: with n dimensions and k elements that are not zero, (k, n).

    Example:
        >>> import flambeau as torch
        >>> torch.argwhere(torch.tensor([[0, 1], [2, 0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    return nonzero(input)


@public(method=True, out=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first ``size`` rows of :func:`nonzero`, filled up with ``fill_value``.

    Shape: with n dimensions, (size, n).

    Example:
        >>> import flambeau as torch
        >>> torch.nonzero_static(torch.tensor([0, 5, 7]), size=3, fill_value=-1)
        tensor([[ 1],
                [ 2],
                [-1]])
    """
    found = np.argwhere(input._array())[:size]
    result = np.full((size, input.ndim), fill_value, np.int64)
    result[: len(found)] = found
    return from_array(result, device=input.device)


# ---------------------------------------------------------------- masks


def _check_mask(name: str, mask: Any) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name}(): argument 'mask' (position 1) must be Tensor, not {type(mask).__name__}")
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"{name}: expected BoolTensor for mask")


@public(method=True)
def masked_select(input: Tensor, mask: Tensor, *, out: Any = None) -> Tensor:
    """The elements where ``mask`` is true, as a vector; both are broadcast.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1, 2], [3, 4]])
        >>> torch.masked_select(x, x > 2)
        tensor([3, 4])
    """
    _check_mask("masked_select", mask)
    check_devices("masked_select", (input._node.aval, mask._node.aval))
    shape = broadcast_shapes(input._node.aval.shape, mask._node.aval.shape)
    chosen = np.flatnonzero(np.broadcast_to(mask._array(), shape))
    result = INDEX([view_of(EXPAND, input, shape).reshape(-1), from_array(chosen, device=input.device)])
    return written_apart("masked_select", labelled(result, "MaskedSelectBackward0"), out, input, mask, exact=True)


@public(method=True, inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """``input`` with the elements where ``mask`` is true replaced by those of ``source``, in order.

    Raises:
        RuntimeError: if the types differ, ``mask`` is no bool tensor, or ``source`` has too few elements.

    Example:
        >>> import flambeau as torch
        >>> mask = torch.tensor([[True, False], [False, True]])
        >>> torch.masked_scatter(torch.zeros(2, 2), mask, torch.tensor([5., 7., 9.]))
        tensor([[5., 0.],
                [0., 7.]])
    """
    if source.dtype is not input.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{input.dtype.title} and {source.dtype.title}"
        )
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype.title}")
    check_devices("masked_scatter", (input._node.aval, mask._node.aval, source._node.aval))
    shape = broadcast_shapes(input._node.aval.shape, mask._node.aval.shape)
    chosen = np.flatnonzero(np.broadcast_to(mask._array(), shape))
    if len(chosen) > source._node.aval.size:
        raise RuntimeError(
            "masked_scatter: expected `source` to have at least as many elements as `mask` has true ones, got "
            f"{source._node.aval.size} and {len(chosen)}"
        )
    flat = view_of(EXPAND, input, shape).reshape(-1)
    places = from_array(chosen, device=input.device)
    return INDEX_PUT([flat, source.reshape(-1)[: len(chosen)], places], False).reshape(shape)


# ---------------------------------------------------------------- take, put


def _flat_indices(name: str, input: Tensor, index: Any) -> None:
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype.title}")
    check_devices(name, (input._node.aval, index._node.aval))
    count = input._node.aval.size
    if not count and index._node.aval.size:
        raise IndexError(f"{name}(): tried to take from an empty tensor")
    value = known_value(index)
    if value is not None and value.size and (value.min() < -count or value.max() >= count):
        wrong = int(value.max()) if value.max() >= count else int(value.min())
        raise IndexError(f"out of range: tried to access index {wrong} on a tensor of {count} elements.")


@public(method=True)
def take(input: Tensor, index: Tensor, *, out: Any = None) -> Tensor:
    """The elements at ``index`` of the flattened tensor, in the shape of ``index``.

    Example:
        >>> import flambeau as torch
        >>> torch.take(torch.tensor([[1, 2], [3, 4]]), torch.tensor([3, 0]))
        tensor([4, 1])
    """
    _flat_indices("take", input, index)
    result = labelled(INDEX([input.reshape(-1), index]), "TakeBackward0")
    return written_apart("take", result, out, input, index, exact=True)


@public(method=True, inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with the elements at ``index`` of the flattened tensor replaced by, or increased by, ``source``.

    Shape: that of ``input``; ``index`` and ``source`` may have any shape with the same number of elements.

    Raises:
        RuntimeError: if the types of ``input`` and ``source`` differ, or the numbers of indices and elements do.

    Example:
        >>> import flambeau as torch
        >>> torch.put(torch.zeros(2, 2), torch.tensor([1, 3]), torch.tensor([5., 7.]))
        tensor([[0., 5.],
                [0., 7.]])
    """
    _flat_indices("put_", input, index)
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {input.dtype.title} and "
            f"source.dtype = {source.dtype.title}"
        )
    check_devices("put_", (input._node.aval, source._node.aval))
    if source._node.aval.size != index._node.aval.size:
        raise RuntimeError(
            f"put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source._node.aval.size}, index.numel() = {index._node.aval.size}"
        )
    flat = INDEX_PUT([input.reshape(-1), source.reshape(-1), index.reshape(-1)], bool(accumulate))
    return labelled(flat.reshape(input._node.aval.shape), "PutBackward0")


@public(method=True, out="exact")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Like ``gather``, with both operands broadcast in the other dimensions; ``dim=None`` flattens them.

    Along a dimension, indices out of range wrap around.

    Raises:
        RuntimeError: if the indices are not of int64, or have another number of dimensions.
        IndexError: if ``dim`` is out of range.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[30, 10, 20], [1, 3, 2]])
        >>> torch.take_along_dim(x, x.argsort(1), dim=1)
        tensor([[10, 20, 30],
                [ 1,  2,  3]])
    """
    if indices.dtype is not dtypes.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {indices.dtype.title}")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input.ndim != indices.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    if not input.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    dim = wrapped_dim(dim, input.ndim)
    have, shape = list(input._node.aval.shape), list(indices._node.aval.shape)
    n, m = have[dim], shape[dim]
    have[dim] = shape[dim] = 1
    common = list(broadcast_shapes(tuple(have), tuple(shape)))
    whole = (*common[:dim], n, *common[dim + 1 :])
    wanted = (*common[:dim], m, *common[dim + 1 :])
    # As in PyTorch, indices out of range wrap around.
    index = view_of(EXPAND, indices, wanted)
    return GATHER(view_of(EXPAND, input, whole), index % n if n else index, dim)


# ---------------------------------------------------------------- index_put


@public(method=True, inplace=True)
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """``input`` with the elements that index tensors name replaced by, or increased by, ``values``.

    Args:
        indices: a tuple with one tensor of integers, mask or None per dimension.

    Raises:
        RuntimeError: if the types of ``input`` and ``values`` differ.
        TypeError: if ``indices`` is a tensor instead of a tuple of them.

    Example:
        >>> import flambeau as torch
        >>> x, index = torch.zeros(3), (torch.tensor([0, 2, 2]),)
        >>> torch.index_put(x, index, torch.tensor([1., 10., 20.]), accumulate=True)
        tensor([ 1.,  0., 30.])
    """
    from flambeau.ops.index import subscript

    if isinstance(indices, Tensor):
        raise TypeError("index_put(): argument 'indices' (position 1) must be tuple of Tensors, not Tensor")
    if values.dtype is not input.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype.title} for the destination "
            "and "
            f"{values.dtype.title} for the source."
        )
    places = tuple([slice(None) if i is None else i for i in indices])
    given: list[Tensor | None] = []
    if any(isinstance(i, Tensor) and i.ndim == 0 for i in places):
        # Here a tensor without dimensions is an index like any other, not a number that selects.
        given = [i if isinstance(i, Tensor) else None for i in places]
        view = input
    else:
        view, given = subscript(input, places)
    if not given:
        return values.expand(input._node.aval.shape).clone()
    check_range(view, given)
    return INDEX_PUT([view, values, *given], bool(accumulate))


# ---------------------------------------------------------------- one_hot


def _one_hot_rule(x: Aval, *, num_classes: int) -> Aval:
    return x.of((*x.shape, num_classes), dtypes.int64)


def _check_classes(x: Any, num_classes: int) -> None:
    if x.size and x.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if x.size and x.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")


def _one_hot_kernel(xp: Any, x: Any, *, num_classes: int) -> Any:
    if xp is np:
        _check_classes(x, num_classes)
    return (xp.expand_dims(x, -1) == xp.arange(num_classes)).astype(xp.int64)


def _one_hot_derivative(grad: Tensor) -> None:
    return None


ONE_HOT = operator(
    "one_hot",
    _one_hot_rule,
    _one_hot_kernel,
    _one_hot_derivative,
    moves=True,
    samples=lambda: [case("nn.functional.one_hot", T(3, 2, dtype="int64", low=0, high=4), 5)],
)


@public(into="nn.functional")
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """For each class number a row of zeros with a one at its place.

    Args:
        num_classes: the length of the rows; -1 for one more than the largest number.

    Raises:
        RuntimeError: for numbers that are negative, too large, or not int64.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.one_hot(torch.tensor([0, 2]), num_classes=3)
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    if tensor.dtype is not dtypes.int64:
        raise RuntimeError(
            f"one_hot is only applicable to index tensor of type LongTensor but got {tensor.dtype.title}"
        )
    if num_classes == -1:
        array = tensor._array()
        if not array.size:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(array.max()) + 1
    elif num_classes < 1 and tensor._node.aval.size == 0:
        raise RuntimeError("Class values must be smaller than num_classes.")
    value = known_value(tensor)
    if value is not None:
        _check_classes(value, num_classes)
    return ONE_HOT(tensor, num_classes)
