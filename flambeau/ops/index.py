"""Indexing: ``x[...]`` and ``x[...] = y``, and the gathers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_int
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.graph.observer import current as looking
from flambeau.ops.numbers import fitting, overflow, spelled_out
from flambeau.ops.operator import OPERATORS, labelled, operator, public
from flambeau.ops.pointwise import broadcast_shapes
from flambeau.ops.samples import T, case
from flambeau.ops.slicing import SELECT, SLICE, slice_bounds
from flambeau.ops.views import Shape
from flambeau.tensor.tensor import Tensor, current, from_array
from flambeau.tensor.views import check_writable, view_of, write
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- index


def _indexed_shape(shape: Shape, indices: tuple[Aval | None, ...]) -> tuple[Shape, int]:
    """The shape of an indexing result, and the dimension where the indices' common shape begins."""
    given = [i for i, aval in enumerate(indices) if aval is not None]
    try:
        common = broadcast_shapes(*[indices[i].shape for i in given])  # type: ignore[union-attr]
    except RuntimeError:
        shapes = ", ".join(str(list(indices[i].shape)) for i in given)  # type: ignore[union-attr]
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    kept = [n for i, n in enumerate(shape) if i >= len(indices) or indices[i] is None]
    adjacent = given[-1] - given[0] + 1 == len(given)
    at = given[0] if adjacent else 0
    return (*kept[:at], *common, *kept[at:]), at


def _index_rule(x: Aval, *indices: Aval | None) -> Aval:
    shape, _ = _indexed_shape(x.shape, indices)
    _check_not_empty(x.shape, indices)
    return x.of(shape)


def _check_not_empty(shape: Shape, indices: tuple[Aval | None, ...]) -> None:
    """Raises if elements are asked for of a dimension that has none."""
    given = [(n, index) for n, index in zip(shape, indices, strict=False) if index is not None]
    if any(not n for n, _ in given) and not any(0 in index.shape for _, index in given):
        raise IndexError("index is out of bounds for dimension with size 0")


def _key(indices: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple([slice(None) if i is None else i for i in indices])


def outside(shape: Shape, indices: tuple[Any, ...]) -> IndexError | None:
    """What is wrong with indices of an array, if one that is used is out of range."""
    given = [(index, n) for index, n in zip(indices, shape, strict=False) if index is not None]
    common = np.broadcast_shapes(*[index.shape for index, _ in given])
    kept = [n for i, n in enumerate(shape) if i >= len(indices) or indices[i] is None]
    if 0 in common or 0 in kept:
        return None
    wrong = [np.broadcast_to((index < -n) | (index >= n), common).reshape(-1) for index, n in given]
    at = np.flatnonzero(np.logical_or.reduce(wrong))
    if not len(at):
        return None
    rank = next(i for i, bad in enumerate(wrong) if bad[at[0]])
    index, n = given[rank]
    value = np.broadcast_to(index, common).reshape(-1)[at[0]]
    # PyTorch counts the dimensions that are indexed.
    return IndexError(f"index {value} is out of bounds for dimension {rank} with size {n}")


def _index_numpy(xp: Any, x: Any, *indices: Any) -> Any:
    try:
        if len(indices) == 1:
            return x.take(indices[0], axis=0)
        return x[_key(indices)]
    except IndexError:
        wrong = outside(x.shape, indices)
        if wrong is not None:
            raise wrong from None
        # Nothing is read.
        return np.zeros(_indexed_shape(x.shape, indices)[0], x.dtype)


def _index_lax(xp: Any, x: Any, *indices: Any) -> Any:
    return x.at[_key(indices)].get(mode="clip")


def _index_derivative(grad: Tensor, inputs: list[Any], avals: tuple[Any, ...]) -> list[Any]:
    indices = inputs[1:]
    return [UNINDEX([grad, *indices], avals[0].shape), *[None] * len(indices)]


INDEX = operator(
    "index",
    _index_rule,
    None,
    _index_derivative,
    numpy=_index_numpy,
    lax=_index_lax,
    moves=True,
    samples=lambda: [
        case("Tensor.__getitem__", T(4, 3), T(5, dtype="int64", low=-4, high=4)),
        case(
            "Tensor.__getitem__",
            T(4, 3, 2),
            (T(2, 1, dtype="int64", low=0, high=4), slice(None), T(5, dtype="int64", low=0, high=2)),
        ),
        case("Tensor.__getitem__", T(4, 3), (slice(1, 3), T(2, dtype="int64", low=0, high=3))),
    ],
)


# ---------------------------------------------------------------- adding into zeros at indices


def _unindex_rule(value: Aval, *indices: Aval | None, shape: Shape) -> Aval:
    return value.of(shape)


def add_at(out: np.ndarray, indices: tuple[Any, ...], value: Any) -> None:
    """Adds values into an array in row-major order at indices, which may repeat.

    NumPy's ``add.at`` is fast for one index of a flat array, so the indices are flattened first.
    """
    places = _index_numpy(np, np.arange(out.size).reshape(out.shape), *indices)
    if not places.size:
        return
    value = np.broadcast_to(value, places.shape).reshape(-1)
    flat = out.reshape(-1)
    if out.dtype.kind == "b":
        np.logical_or.at(flat, places.reshape(-1), value)
    else:
        np.add.at(flat, places.reshape(-1), np.ascontiguousarray(value, dtype=out.dtype))


def _unindex_numpy(xp: Any, value: Any, *indices: Any, shape: Shape) -> Any:
    out = np.zeros(shape, value.dtype)
    add_at(out, indices, value)
    return out


def _unindex_lax(xp: Any, value: Any, *indices: Any, shape: Shape) -> Any:
    return added(xp.zeros(shape, value.dtype).at[_key(indices)], value)


def _unindex_derivative(grad: Tensor, inputs: list[Any]) -> list[Any]:
    indices = inputs[1:]
    return [INDEX([grad, *indices]), *[None] * len(indices)]


UNINDEX = operator(
    "unindex",
    _unindex_rule,
    None,
    _unindex_derivative,
    numpy=_unindex_numpy,
    lax=_unindex_lax,
    samples=lambda: [case("Tensor.__getitem__", T(4, 3), T(5, dtype="int64", low=-4, high=4))],
)


# ---------------------------------------------------------------- index_put


def _index_put_rule(x: Aval, value: Aval, *indices: Aval | None, accumulate: bool) -> Aval:
    shape, _ = _indexed_shape(x.shape, indices)
    _check_not_empty(x.shape, indices)
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing result of "
            "shape "
            f"{list(shape)}"
        )
    return x.of()


def _index_put_numpy(xp: Any, x: Any, value: Any, *indices: Any, accumulate: bool) -> Any:
    out = np.array(x, order="C")
    if accumulate:
        add_at(out, indices, value)
        return out
    try:
        out[_key(indices)] = value
    except IndexError:
        wrong = outside(x.shape, indices)
        if wrong is not None:
            raise wrong from None
    return out


def _index_put_lax(xp: Any, x: Any, value: Any, *indices: Any, accumulate: bool) -> Any:
    place = x.at[_key(indices)]
    value = xp.asarray(value).astype(x.dtype)
    return added(place, value) if accumulate else place.set(value)


def added(place: Any, value: Any) -> Any:
    """Adds values at places of a JAX array; of truth values the sum is whether one is true."""
    return place.max(value) if value.dtype == bool else place.add(value)


def _index_put_derivative(grad: Tensor, inputs: list[Any], avals: tuple[Any, ...], accumulate: bool) -> list[Any]:
    indices = inputs[2:]
    kept = grad if accumulate else INDEX_PUT([grad, grad.new_zeros(()), *indices], False)
    return [kept, INDEX([grad, *indices]), *[None] * len(indices)]


INDEX_PUT = operator(
    "index_put",
    _index_put_rule,
    None,
    _index_put_derivative,
    numpy=_index_put_numpy,
    lax=_index_put_lax,
    samples=lambda: [
        case("index_put", T(4, 3), (T(2, dtype="int64", low=0, high=4),), T(3), accumulate=True),
    ],
)


# ---------------------------------------------------------------- what stands between the brackets


def known_value(tensor: Tensor) -> Any:
    """A tensor's array if it is there already, without computing anything."""
    node = tensor._node if tensor._base is None else current(tensor)
    value = node.value
    return value if isinstance(value, np.ndarray) else None


def checked_bounds(index: Tensor, dim: int, n: int) -> None:
    """Raises for an index out of range, where its values are known already."""
    value = known_value(index)
    if value is None or not value.size:
        return
    low, high = int(value.min()), int(value.max())
    if low < -n or high >= n:
        wrong = high if high >= n else low
        raise IndexError(f"index {wrong} is out of bounds for dimension {dim} with size {n}")


def _as_index(item: Any, device: devices.device) -> Any:
    """An item of a subscript as an index tensor, or as it is."""
    if isinstance(item, Tensor):
        return item
    if isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    if isinstance(item, np.ndarray) or (isinstance(item, Sequence) and not isinstance(item, bytes)):
        from flambeau.ops.data import array_of

        found = array_of(item, None)
        return from_array(found if found.dtype.kind in "biu" else array_of(item, dtypes.int64), device=device)
    return item


def _is_tuple_like(index: Any) -> bool:
    """Whether a list stands for a tuple, as one with anything but numbers in it does."""
    if not isinstance(index, list) or len(index) >= 32:
        return False
    return any(
        item is None
        or item is Ellipsis
        or (isinstance(item, slice | Tensor | Sequence | np.ndarray) and not isinstance(item, str))
        for item in index
    )


def _width(item: Any) -> int:
    """How many dimensions of the indexed tensor an item stands for."""
    if item is None or item is Ellipsis or isinstance(item, bool | np.bool_):
        return 0
    if isinstance(item, Tensor) and _is_mask(item):
        return item.ndim
    return 1


def _is_mask(tensor: Tensor) -> bool:
    return tensor.dtype is dtypes.bool_ or tensor.dtype is dtypes.uint8


def subscript(tensor: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None]]:
    """Applies what a subscript says in plain numbers and ranges; what is left are index tensors.

    Returns:
        the view, and one index tensor or None per dimension (empty if none is left).

    Raises:
        IndexError: as PyTorch does.
    """
    view, items = _sliced(tensor, index)
    return view, _without_masks(view, items) if items else items


def _sliced(tensor: Tensor, index: Any) -> tuple[Tensor, list[Tensor | None]]:
    """The first half of :func:`subscript`: a mask still stands for all its dimensions."""
    kind = type(index)
    if kind is list and _is_tuple_like(index):
        warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in pytorch "
            "2.9; use "
            "x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as tensor index, "
            "x[torch.tensor(seq)], which will result either in an error or a different result",
        )
        kind, index = tuple, tuple(index)
    if kind is int or isinstance(index, np.integer):
        return _selected(tensor, int(index), 0, 0), []
    items = index if kind is tuple else (index,)
    ndim = len(tensor._node.aval.shape)
    wide = sum(map(_width, items))
    if wide > ndim:
        if kind is slice:
            raise IndexError("slice() cannot be applied to a 0-dim tensor.")
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    view, device = tensor, tensor.device
    dim = 0
    indices: list[Tensor | None] = []
    for place, given in enumerate(items):
        item = _as_index(given, device)
        if item is Ellipsis:
            skip = ndim - wide
            dim += skip
            indices.extend([None] * skip)
            wide = ndim
        elif item is None:
            view = view.unsqueeze(dim)
            indices.append(None)
            dim += 1
        elif isinstance(item, slice):
            n = view._node.aval.shape[dim]
            start, length, step = slice_bounds(item.start, item.stop, item.step, n)
            if length != n or step != 1:
                view = view_of(SLICE, view, start, dim, length, step)
            indices.append(None)
            dim += 1
        elif isinstance(item, bool | np.bool_):
            view = view.unsqueeze(dim)
            indices.append(from_array(np.zeros(int(item), np.int64), device=device))
            dim += 1
        elif isinstance(item, Tensor):
            if item.ndim:
                indices.append(item)
                dim += item.ndim if _is_mask(item) else 1
            elif _is_mask(item):
                view = view.unsqueeze(dim)
                indices.append(from_array(np.zeros(int(bool(item)), np.int64), device=device))
                dim += 1
            elif item.dtype.category == dtypes.INTEGER:
                if looking.observer is not None and looking.observer.varies(item):
                    # Each example takes another element: no view of one place.
                    indices.append(item)
                    dim += 1
                else:
                    view = _selected_by(view, item, dim, place)
            else:
                raise _not_an_index()
        else:
            try:
                at = as_int(item)
            except TypeError:
                raise IndexError(
                    "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
                    f"(got {'numpy.' if isinstance(item, np.generic) else ''}{type(item).__name__})"
                ) from None
            view = _selected(view, at, dim, place)
    while indices and indices[-1] is None:
        indices.pop()
    return view, indices


def _selected(view: Tensor, index: int, dim: int, place: int) -> Tensor:
    shape = view._node.aval.shape
    if not shape and not index:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert "
            "a 0-dim tensor to a number"
        )
    n = shape[dim] if shape else 0
    if not -n <= index < n:
        # PyTorch names the item's place between the brackets, not the tensor's dimension.
        raise IndexError(f"index {index} is out of bounds for dimension {place} with size {n}")
    return view_of(SELECT, view, index + n if index < 0 else index, dim)


def _selected_by(view: Tensor, index: Tensor, dim: int, place: int) -> Tensor:
    """Selects by a tensor of one index."""
    value = known_value(index)
    return _selected(view, int(index.item() if value is None else value), dim, place)


def _not_an_index() -> IndexError:
    return IndexError("tensors used as indices must be long, int, byte or bool tensors")


def _without_masks(view: Tensor, items: list[Tensor | None]) -> list[Tensor | None]:
    """Index tensors where the view is, with masks replaced by the indices of their true elements."""
    shape, device = view._node.aval.shape, view.device
    if any(item is not None and item.dtype.category > dtypes.INTEGER for item in items):
        raise _not_an_index()
    indices: list[Tensor | None] = []
    for item in items:
        if item is None or not _is_mask(item):
            indices.append(None if item is None else _brought(item, device))
            continue
        _check_reachable(item, device)
        if item.dtype is dtypes.uint8:
            warn(
                "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.",
            )
        check_mask_shape(shape, item, len(indices))
        indices.extend([from_array(places, device=device) for places in np.nonzero(item._array())])
    return indices


def _check_reachable(index: Tensor, device: devices.device) -> None:
    if index.device is not device and index.device is not devices.cpu:
        raise RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor ({device}); this one is on "
            f"{index.device}: move it with .to('{device}')"
        )


def _brought(index: Tensor, device: devices.device) -> Tensor:
    """An index tensor on a device; those of the CPU may index a tensor on any."""
    _check_reachable(index, device)
    return index if index.device is device else index.to(device)


def check_mask_shape(shape: Shape, mask: Tensor, dim: int) -> None:
    """Raises unless a mask has the sizes of the dimensions from ``dim`` on."""
    for i, n in enumerate(mask._node.aval.shape):
        if n != shape[dim + i]:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {i} does not match the shape of the indexed tensor "
                f"{list(shape)} at index {dim + i}"
            )


def check_range(view: Tensor, indices: list[Tensor | None]) -> None:
    """Raises if indices whose values are known already are out of range."""
    known = [None if index is None else known_value(index) for index in indices]
    shape = view._node.aval.shape
    suspicious = False
    for n, index, value in zip(shape, indices, known, strict=False):
        if index is None:
            continue
        if value is None:
            return
        suspicious = suspicious or (value.size and (value.min() < -n or value.max() >= n))
    wrong = outside(shape, tuple(known)) if suspicious else None
    if wrong is not None:
        raise wrong


@public(into="", method="__getitem__")
def getitem(input: Tensor, index: Any) -> Tensor:
    """``input[index]``: a view for integers, ranges, None and ``...``; a copy where tensors or masks index.

    Raises:
        IndexError: if an index is out of range or of the wrong kind, or there are too many.
    """
    view, indices = subscript(input, index)
    if indices:
        result = INDEX([view, *indices])
        check_range(view, indices)
        return result
    if view is input:
        from flambeau.ops.views import ALIAS

        return view_of(ALIAS, input)
    return view


@public(into="", method="__setitem__")
def setitem(input: Tensor, index: Any, value: Any) -> None:
    """``input[index] = value``: writes into the tensor, and so into all that share its elements.

    Raises:
        IndexError: as :func:`getitem` does.
        TypeError: if the value is neither a tensor nor a number.
        RuntimeError: if the value does not broadcast to the part written to, or index tensors are used and it
            has another type.
    """
    if not isinstance(value, Tensor):
        value = _assigned(input, value)
    if index is False:
        return
    if index is True:
        index = None
    leading = 0
    shape = value._node.aval.shape
    while leading < len(shape) and shape[leading] == 1:
        leading += 1
    if leading:
        value = value.reshape(shape[leading:])
    view, items = _sliced(input, index)
    check_writable(view)
    dtype = view.dtype
    if value.device is not view.device and not (items and value.ndim):
        value = value.to(view.device)
    if not items:
        new = fitted(value, view._node.aval.shape)
        if new.dtype is not dtype:
            new = fitted(value.to(dtype), view._node.aval.shape)
        new = written_over(view, new)
        write(view, new if value._node.aval.shape else labelled(new, "FillBackward3"))
        return
    if not value._node.aval.shape and _is_mask(items[-1]) and items.count(None) == len(items) - 1:  # type: ignore[arg-type]
        mask = _stretched(_brought(items[-1], view.device), len(items) - 1, view)  # type: ignore[arg-type]
        write(view, labelled(MASKED_FILL(view, mask, value), "IndexPutBackward0"))
        return
    indices = _without_masks(view, items)
    new = INDEX_PUT([view, value, *indices], False)
    if value.dtype is not dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {dtype.title} for the destination and "
            f"{value.dtype.title} for the source."
        )
    check_range(view, indices)
    write(view, new)


def _assigned(input: Tensor, value: Any) -> Tensor:
    """A Python number as a tensor of the type of what it is assigned to."""
    if not isinstance(value, bool | int | float | complex | np.integer):
        # PyTorch does not take NumPy's single-precision numbers or arrays either.
        kind = type(value)
        name = f"numpy.{kind.__name__}" if kind.__module__ == "numpy" else kind.__name__
        raise TypeError(f"can't assign a {name} to a torch.{input.dtype.title}Tensor")
    dtype = input.dtype
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError("Overflow when unpacking long long")
    return OPERATORS["full"](fitting(value, dtype, reduced=False), (), dtype, input.device)


def _stretched(mask: Tensor, dim: int, view: Tensor) -> Tensor:
    """A mask of the dimensions from ``dim`` on, to be broadcast with the tensor."""
    shape = view._node.aval.shape
    check_mask_shape(shape, mask, dim)
    sizes = mask._node.aval.shape
    return mask.reshape((*sizes, *[1] * (len(shape) - dim - len(sizes))))


def fitted(value: Tensor, shape: Shape) -> Tensor:
    """A value stretched to a shape, to be written into a tensor; leading dimensions of one may fall away."""
    have = value._node.aval.shape
    while len(have) > len(shape) and have[0] == 1:
        have = have[1:]
    if len(have) != value.ndim:
        value = value.reshape(have)
    return value if have == shape else value.expand(shape)


# ---------------------------------------------------------------- writing over a whole tensor


def _copy_rule(x: Aval, value: Aval) -> Aval:
    return x.of()


def _copy_derivative(grad: Tensor) -> tuple[Tensor, Tensor]:
    return grad.new_zeros(()).expand(grad.shape), grad


COPY = operator(
    "copy",
    _copy_rule,
    lambda xp, x, value: value,
    _copy_derivative,
    moves=True,
    grad_name="torch::autograd::CopyBackwards",
    samples=lambda: [case("Tensor.copy_", T(2, 3, dtype="int64"), T(2, 3, dtype="int64"), grad=False)],
)
"""Keeps the place of what is written over in differentiation, though its gradient is zero."""


def written_over(old: Tensor, value: Tensor) -> Tensor:
    """What a tensor shows once a value of its shape and type is written over it."""
    return COPY(old, value) if mode.grad and (old.requires_grad or value.requires_grad) else value


# ---------------------------------------------------------------- masked_fill


def _masked_fill_rule(x: Aval, mask: Aval, value: Aval) -> Aval:
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {spelled_out(mask.dtype)}"
        )
    if value.shape:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {len(value.shape)} "
            "dimension(s)."
        )
    if value.dtype.is_complex and not x.dtype.is_complex:
        raise overflow(x.dtype)
    return x.of(broadcast_shapes(x.shape, mask.shape))


def _masked_fill_kernel(xp: Any, x: Any, mask: Any, value: Any) -> Any:
    from flambeau.engine.kernels import converted

    return xp.where(mask, converted(value, x.dtype, xp), x)


def _masked_fill_derivative(grad: Tensor, mask: Tensor, needs: tuple[bool, ...]) -> Any:
    return (
        MASKED_FILL(grad, mask, 0),
        None,
        MASKED_FILL(grad, ~mask, 0).sum() if needs[2] else None,
    )


MASKED_FILL = operator(
    "masked_fill",
    _masked_fill_rule,
    _masked_fill_kernel,
    _masked_fill_derivative,
    moves=True,
    grad_name=lambda call: f"MaskedFillBackward{int(not call.inputs[2].weak)}",
    samples=lambda: [
        case("masked_fill", T(3, 4), T(3, 4, dtype="bool"), 2.5),
        case("masked_fill", T(3, 4), T(3, 1, dtype="bool"), T()),
    ],
)


@public(method=True, inplace=True)
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """``value`` where ``mask`` is true, else ``input``.

    Raises:
        RuntimeError: if the mask is not of type bool, or the value not a single one.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2).masked_fill(torch.tensor([True, False]), 1.0)
        tensor([1., 0.])
    """
    return MASKED_FILL(input, mask, value if isinstance(value, Tensor) else fitting(value, input.dtype))
