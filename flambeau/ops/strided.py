"""Views along diagonals, in sliding windows, and with strides of one's own."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from flambeau.graph.node import Aval
from flambeau.ops.index import INDEX, INDEX_PUT, UNINDEX
from flambeau.ops.operator import METHODS, operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.views import Shape, sizes_of, view_operator, wrapped_dim
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.tensor.views import layout, view_of

# ---------------------------------------------------------------- diagonal


def _diagonal_length(rows: int, columns: int, offset: int) -> int:
    return max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)


def _rest(items: Shape, dim1: int, dim2: int) -> Shape:
    return tuple([n for i, n in enumerate(items) if i not in (dim1, dim2)])


def _diagonal_shape(shape: Shape, offset: int, dim1: int, dim2: int) -> Shape:
    return (*_rest(shape, dim1, dim2), _diagonal_length(shape[dim1], shape[dim2], offset))


def _diagonal_rule(x: Aval, *, offset: int, dim1: int, dim2: int) -> Aval:
    return x.of(_diagonal_shape(x.shape, offset, dim1, dim2))


def _diagonal_numpy(xp: Any, x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    return np.diagonal(x, offset, dim1, dim2)


def _diagonal_lax(xp: Any, x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    if not _diagonal_length(x.shape[dim1], x.shape[dim2], offset):
        return xp.zeros(_diagonal_shape(x.shape, offset, dim1, dim2), x.dtype)
    return xp.diagonal(x, offset, dim1, dim2)


def _diagonal_key(xp: Any, shape: Shape, offset: int) -> tuple[Any, ...]:
    """Indices of the diagonal of the last two dimensions."""
    along = xp.arange(_diagonal_length(shape[-2], shape[-1], offset))
    return (..., along + max(-offset, 0), along + max(offset, 0))


def _undiagonal_rule(value: Aval, *, shape: Shape, offset: int, dim1: int, dim2: int) -> Aval:
    return value.of(shape)


def _undiagonal_kernel(xp: Any, value: Any, *, shape: Shape, offset: int, dim1: int, dim2: int) -> Any:
    moved = (*_rest(shape, dim1, dim2), shape[dim1], shape[dim2])
    out = xp.zeros(moved, value.dtype)
    out = _placed(xp, out, _diagonal_key(xp, moved, offset), value)
    return xp.moveaxis(out, (-2, -1), (dim1, dim2))


def _placed(xp: Any, out: Any, key: Any, value: Any) -> Any:
    if xp is np:
        out[key] = value
        return out
    return out.at[key].set(value)


UNDIAGONAL = operator(
    "undiagonal",
    _undiagonal_rule,
    _undiagonal_kernel,
    lambda grad, offset, dim1, dim2: DIAGONAL(grad, offset, dim1, dim2),
    moves=True,
    samples=lambda: [case("diag_embed", T(2, 3)), case("diag_embed", T(2, 3), 1, 0, 2), case("diag", T(3), -1)],
    grad_name="DiagEmbedBackward0",
)


def _diagonal_scatter_rule(x: Aval, value: Aval, *, offset: int, dim1: int, dim2: int) -> Aval:
    wanted = _diagonal_shape(x.shape, offset, dim1, dim2)
    if value.shape != wanted:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(value.shape)}, slice size = "
            f"{list(wanted)}"
        )
    return x.of()


def _diagonal_scatter_kernel(xp: Any, x: Any, value: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    moved = xp.moveaxis(xp.array(x), (dim1, dim2), (-2, -1))
    out = _placed(xp, moved, _diagonal_key(xp, moved.shape, offset), value.astype(x.dtype))
    return xp.moveaxis(out, (-2, -1), (dim1, dim2))


def _diagonal_scatter_derivative(grad: Tensor, value_shape: Shape, offset: int, dim1: int, dim2: int) -> Any:
    return (
        DIAGONAL_SCATTER(grad, grad.new_zeros(value_shape), offset, dim1, dim2),
        DIAGONAL(grad, offset, dim1, dim2),
    )


DIAGONAL_SCATTER = operator(
    "diagonal_scatter",
    _diagonal_scatter_rule,
    _diagonal_scatter_kernel,
    _diagonal_scatter_derivative,
    moves=True,
    samples=lambda: [case("diagonal_scatter", T(3, 4), T(3), 1)],
)


def _diagonal_restride(shape: Shape, strides: Shape, start: int, offset: int, dim1: int, dim2: int) -> Any:
    found = _diagonal_shape(shape, offset, dim1, dim2)
    if found[-1]:
        start += offset * strides[dim2] if offset >= 0 else -offset * strides[dim1]
    return found, (*_rest(strides, dim1, dim2), strides[dim1] + strides[dim2]), start


DIAGONAL = view_operator(
    "diagonal",
    _diagonal_rule,
    None,
    lambda grad, x_shape, offset, dim1, dim2: UNDIAGONAL(grad, x_shape, offset, dim1, dim2),
    numpy=_diagonal_numpy,
    lax=_diagonal_lax,
    scatter=lambda parent, value, offset, dim1, dim2: DIAGONAL_SCATTER(parent, value, offset, dim1, dim2),
    restride=_diagonal_restride,
    samples=lambda: [case("diagonal", T(3, 4)), case("diagonal", T(2, 3, 4), -1, 2, 0), case("diagonal", T(2, 2), 3)],
)


def _plane(ndim: int, dim1: int, dim2: int) -> tuple[int, int]:
    first, second = wrapped_dim(dim1, ndim), wrapped_dim(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return first, second


@public(into="torch", method=True)
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of a plane of two dimensions, as a last dimension.  A view.

    Example:
        >>> import flambeau as torch
        >>> torch.diagonal(torch.tensor([[1, 2], [3, 4]]))
        tensor([1, 4])
    """
    return view_of(DIAGONAL, input, int(offset), *_plane(input.ndim, dim1, dim2))


@public(method=True)
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """``input`` with a diagonal replaced by ``src``.  A copy.

    Example:
        >>> import flambeau as torch
        >>> torch.diagonal_scatter(torch.zeros(2, 2), torch.tensor([1., 2.]))
        tensor([[1., 0.],
                [0., 2.]])
    """
    return DIAGONAL_SCATTER(input, src, int(offset), *_plane(input.ndim, dim1, dim2))


@public(method=True)
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last dimension of ``input`` on a diagonal, and zero elsewhere.

    Raises:
        RuntimeError: if ``dim1`` and ``dim2`` are the same.

    Example:
        >>> import flambeau as torch
        >>> torch.diag_embed(torch.tensor([[1, 2], [3, 4]])).shape
        torch.Size([2, 2, 2])
        >>> torch.diag_embed(torch.tensor([1, 2]), offset=1)
        tensor([[0, 1, 0],
                [0, 0, 2],
                [0, 0, 0]])
    """
    ndim = input.ndim + 1
    first, second = wrapped_dim(dim1, ndim), wrapped_dim(dim2, ndim)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    shape = input._node.aval.shape
    size = shape[-1] + abs(offset)
    rest = iter(shape[:-1])
    wanted = tuple([size if i in (first, second) else next(rest) for i in range(ndim)])
    return UNDIAGONAL(input, wanted, int(offset), first, second)


@public(method=True, out="exact")
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A copy of a matrix's diagonal, or a matrix with a vector on its diagonal.

    Raises:
        RuntimeError: if there are more than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.diag(torch.tensor([1, 2])), torch.diag(torch.tensor([[1, 2], [3, 4]]))
        (tensor([[1, 0],
                [0, 2]]), tensor([1, 4]))
    """
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim == 2:
        return DIAGONAL(input, int(diagonal), 0, 1)
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")


@public(method=True)
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of ``input`` on a diagonal.

    Example:
        >>> import flambeau as torch
        >>> torch.diagflat(torch.tensor([[1], [2]]))
        tensor([[1, 0],
                [0, 2]])
    """
    return diag_embed(input.reshape(-1), offset)


@public(into="", method=True)
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Writes one value along the main diagonal; ``wrap`` starts it anew below, in a tall matrix.

    Raises:
        RuntimeError: if there are fewer than two dimensions, or more of unequal sizes.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 3).fill_diagonal_(5)
        tensor([[5., 0., 0.],
                [0., 5., 0.]])
    """
    shape = input._node.aval.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) != 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    size = min(shape)
    step = sum(layout(input)[0])
    base_strides, offset = layout(input)
    as_strided(input, (size,), (step,), offset).fill_(fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        begin = offset + base_strides[0] * (shape[1] + 1)
        count = max(shape[0] - shape[1] - 1, 0)
        rows = -(-count // (shape[1] + 1))
        for i in range(rows):
            start = begin + i * base_strides[0] * (shape[1] + 1)
            length = min(shape[1], shape[0] - (i + 1) * (shape[1] + 1))
            as_strided(input, (length,), (step,), start).fill_(fill_value)
    return input


# ---------------------------------------------------------------- unfold


def _unfolded_shape(shape: Shape, dim: int, size: int, step: int) -> Shape:
    if not shape:
        return (size,)
    return (*shape[:dim], (shape[dim] - size) // step + 1, *shape[dim + 1 :], size)


def _unfold_rule(x: Aval, *, dim: int, size: int, step: int) -> Aval:
    return x.of(_unfolded_shape(x.shape, dim, size, step))


def _windows(xp: Any, n: int, size: int, step: int) -> Any:
    starts = xp.arange(0, n - size + 1, step)
    return starts[:, None] + xp.arange(size)[None, :]


def _unfold_numpy(xp: Any, x: Any, *, dim: int, size: int, step: int) -> Any:
    if not x.ndim:
        return np.broadcast_to(x, (size,))
    if not size:
        return np.zeros(_unfolded_shape(x.shape, dim, size, step), x.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return windows[(slice(None),) * dim + (slice(None, None, step),)]


def _unfold_lax(xp: Any, x: Any, *, dim: int, size: int, step: int) -> Any:
    if not x.ndim:
        return xp.broadcast_to(x, (size,))
    if not size or not x.size:
        return xp.zeros(_unfolded_shape(x.shape, dim, size, step), x.dtype)
    found = xp.take(x, _windows(xp, x.shape[dim], size, step), axis=dim)
    return xp.moveaxis(found, dim + 1, -1)


def _fold_rule(value: Aval, *, shape: Shape, dim: int, size: int, step: int) -> Aval:
    return value.of(shape)


def _fold_numpy(xp: Any, value: Any, *, shape: Shape, dim: int, size: int, step: int) -> Any:
    if not shape:
        return value.sum(dtype=value.dtype) if size else np.zeros((), value.dtype)
    out = np.zeros(shape, value.dtype)
    count = value.shape[dim]
    front = (slice(None),) * dim
    for k in range(size):
        out[(*front, slice(k, k + (count - 1) * step + 1, step))] += value[..., k]
    return out


def _fold_lax(xp: Any, value: Any, *, shape: Shape, dim: int, size: int, step: int) -> Any:
    if not shape:
        return xp.sum(value, dtype=value.dtype)
    places = _windows(xp, shape[dim], size, step)
    return xp.zeros(shape, value.dtype).at[(slice(None),) * dim + (places,)].add(xp.moveaxis(value, -1, dim + 1))


FOLD = operator(
    "unfold_backward",
    _fold_rule,
    None,
    lambda grad, dim, size, step: UNFOLD(grad, dim, size, step),
    numpy=_fold_numpy,
    lax=_fold_lax,
    samples=lambda: [case("Tensor.unfold", T(5), 0, 3, 1)],
)


def _unfold_scatter(parent: Tensor, value: Tensor, dim: int, size: int, step: int) -> Tensor:
    n = parent._node.aval.shape[dim]
    places = from_array(np.asarray(_windows(np, n, size, step)), device=parent.device)
    return INDEX_PUT([parent, value.movedim(-1, dim + 1), *[None] * dim, places], False)


def _unfold_restride(shape: Shape, strides: Shape, offset: int, dim: int, size: int, step: int) -> Any:
    if not shape:
        return (size,), (1,), offset
    found = _unfolded_shape(shape, dim, size, step)
    return found, (*strides[:dim], strides[dim] * step, *strides[dim + 1 :], strides[dim]), offset


UNFOLD = view_operator(
    "unfold",
    _unfold_rule,
    None,
    lambda grad, x_shape, dim, size, step: FOLD(grad, x_shape, dim, size, step),
    numpy=_unfold_numpy,
    lax=_unfold_lax,
    scatter=_unfold_scatter,
    restride=_unfold_restride,
    samples=lambda: [case("Tensor.unfold", T(2, 7), 1, 3, 2), case("Tensor.unfold", T(5, 2), 0, 2, 1)],
)


@public(into="", method=True)
def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` elements of a dimension, ``step`` apart; their elements are a last dimension.  A view.

    Raises:
        RuntimeError: if ``size`` is negative or beyond that of the dimension, or ``step`` is not positive.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(5).unfold(0, 3, 2)
        tensor([[0, 1, 2],
                [2, 3, 4]])
    """
    shape = input._node.aval.shape
    dim = wrapped_dim(dimension, len(shape))
    longest = shape[dim] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > longest:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {longest} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return view_of(UNFOLD, input, dim, size, step)


# ---------------------------------------------------------------- as_strided


def reach(size: Shape, stride: Shape, offset: int) -> int:
    """One more than the last place that is read."""
    if 0 in size:
        return 0
    return offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))


def _places(size: Shape, stride: Shape, offset: int) -> np.ndarray:
    """Storage places of elements so laid out."""
    found = np.full((1,) * len(size), offset, np.int64)
    for d, (n, step) in enumerate(zip(size, stride, strict=True)):
        shape = [1] * len(size)
        shape[d] = n
        found = found + (np.arange(n) * step).reshape(shape)
    return found.reshape(size)


@lru_cache(maxsize=64)
def _restrided(size: Shape, stride: Shape, offset: int, shape: Shape, strides: Shape, start: int) -> np.ndarray | None:
    """Which elements of a tensor laid out in one way are those of another layout; None if some are not among them."""
    wanted = _places(size, stride, offset)
    if not wanted.size:
        return wanted
    have = _places(shape, strides, start)
    if not have.size or wanted.min() < 0:
        return None
    table = np.full(max(int(have.max()), int(wanted.max())) + 1, -1, np.int64)
    table[have.reshape(-1)] = np.arange(have.size)
    found = table[wanted]
    return None if (found < 0).any() else found


Geometry = tuple[Shape, Shape, int]
"""Shape, strides and storage offset."""


def _as_strided_rule(
    x: Aval, *, size: Shape, stride: Shape, offset: int, strides: Shape, start: int, through: Geometry | None
) -> Aval:
    return x.of(size)


def _as_strided_kernel(
    xp: Any,
    x: Any,
    *,
    size: Shape,
    stride: Shape,
    offset: int,
    strides: Shape,
    start: int,
    through: Geometry | None,
) -> Any:
    found = _restrided(size, stride, offset, x.shape, strides, start)
    return xp.reshape(x, -1)[found]


def _as_strided_derivative(
    grad: Tensor,
    x_shape: Shape,
    size: Shape,
    stride: Shape,
    offset: int,
    strides: Shape,
    start: int,
    through: Geometry | None,
) -> Tensor:
    found = _restrided(size, stride, offset, x_shape, strides, start)
    if through is not None:
        reached = np.isin(_places(size, stride, offset), _places(*through))
        grad = grad * from_array(reached, device=grad.device)
    count = 1
    for n in x_shape:
        count *= n
    return UNINDEX([grad, from_array(found, device=grad.device)], (count,)).reshape(x_shape)


def scattered(
    parent: Tensor,
    value: Tensor,
    size: Shape,
    stride: Shape,
    offset: int,
    strides: Shape,
    start: int,
    through: Geometry | None = None,
) -> Tensor:
    """A tensor, itself laid out by ``strides`` from ``start`` on, with values put at the places of another layout."""
    shape = parent._node.aval.shape
    found = _restrided(size, stride, offset, shape, strides, start)
    places = from_array(found, device=parent.device)
    return INDEX_PUT([parent.reshape(-1), value, places], False).reshape(shape)


AS_STRIDED = view_operator(
    "as_strided",
    _as_strided_rule,
    _as_strided_kernel,
    _as_strided_derivative,
    scatter=scattered,
    restride=lambda shape, strides, offset, size, stride, at, *rest: (size, stride, at),
    samples=lambda: [case("as_strided", T(3, 4), (2, 2), (1, 2), 3), case("as_strided", T(5), (3, 3), (1, 1))],
)


def _geometry(input: Tensor, size: Any, stride: Any, storage_offset: int | None) -> tuple[Any, ...]:
    size, stride = sizes_of((size,)), sizes_of((stride,))
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    for what in stride:
        if what < 0:
            raise RuntimeError(
                f"as_strided: Negative strides are not supported at the moment, got strides: {list(stride)}"
            )
    offset = layout(input)[1] if storage_offset is None else storage_offset
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    return size, stride, offset


@public(method=True)
def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """The elements of the tensor's storage at ``storage_offset + sum(i * stride)``.  A view.

    Raises:
        RuntimeError: if that reaches outside the storage.

    Example:
        >>> import flambeau as torch
        >>> torch.as_strided(torch.arange(5), (3, 3), (1, 1))
        tensor([[0, 1, 2],
                [1, 2, 3],
                [2, 3, 4]])
    """
    size, stride, offset = _geometry(input, size, stride, storage_offset)
    strides, start = layout(input)
    if _restrided(size, stride, offset, input._node.aval.shape, strides, start) is not None:
        return view_of(AS_STRIDED, input, size, stride, offset, strides, start, None)
    found = None if input._base is None else in_storage(input, size, stride, offset)
    if found is not None:
        return found
    base = input if input._base is None else input._base
    item = input.dtype.itemsize
    raise RuntimeError(
        f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize {item} "
        "requiring a "
        f"storage size of {reach(size, stride, offset) * item} are out of bounds for storage of size "
        f"{base._node.aval.nbytes}"
    )


def in_storage(view: Tensor, size: Shape, stride: Shape, offset: int) -> Tensor | None:
    """Elements of a view's storage at ``offset + sum(i * stride)``, whether the view shows them or not.

    As in PyTorch, gradients reach only those that the view shows.

    Returns:
        a view of the base that no expansion leads to; None where that reaches outside the storage.
    """
    from flambeau.ops.complex import CONJ, IMAG, is_conj

    conjugated = False
    for op, _ in view._chain:
        if op is CONJ:
            conjugated = not conjugated
        elif op is IMAG and conjugated:
            raise NotImplementedError("as_strided() of the imaginary part of a conjugate is not supported; clone() it")
    root = _storage_as(view)
    strides, start = layout(root)
    if _restrided(size, stride, offset, root._node.aval.shape, strides, start) is None:
        return None
    through = (view._node.aval.shape, *layout(view))
    found = view_of(AS_STRIDED, root, size, stride, offset, strides, start, through)
    return view_of(CONJ, found) if is_conj(view) else found


METHODS["_in_storage"] = in_storage


def _storage_as(view: Tensor) -> Tensor:
    """All that a view's base holds, as elements of the view's type."""
    from flambeau.ops.complex import VIEW_AS_COMPLEX, VIEW_AS_REAL
    from flambeau.ops.shape import view_dtype
    from flambeau.ops.views import DETACH, RESHAPE, detach

    base, dtype = view._base, view.dtype
    assert base is not None
    if any(op is DETACH for op, _ in view._chain):
        base = detach(base)
    if base.dtype is dtype:
        return base
    count = reach(base._node.aval.shape, *layout(base))
    flat = view_of(AS_STRIDED, base, (count,), (1,), 0, *layout(base), None)
    if base.dtype.is_complex and base.dtype.to_real() is dtype:
        return view_of(RESHAPE, view_of(VIEW_AS_REAL, flat), (2 * count,))
    whole = count * base.dtype.itemsize // dtype.itemsize * dtype.itemsize // base.dtype.itemsize
    flat = view_of(AS_STRIDED, flat, (whole,), (1,), 0, (1,), 0, None)
    if dtype.is_complex and dtype.to_real() is base.dtype:
        return view_of(VIEW_AS_COMPLEX, view_of(RESHAPE, flat, (whole // 2, 2)))
    return view_dtype(flat, dtype)


@public(into="", method=True)
def as_strided_(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """In-place form of ``as_strided``: the tensor itself takes the new layout.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(4).as_strided_((2,), (2,))
        tensor([0, 2])
    """
    from flambeau.ops.shape import become

    become(input, as_strided(input, size, stride, storage_offset))
    return input


@public(method=True)
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """``input`` with the elements that ``as_strided`` would show replaced by ``src``.  A copy.

    Raises:
        RuntimeError: if ``src`` has another shape than what it replaces, or that lies outside of the storage.

    Example:
        >>> import flambeau as torch
        >>> torch.as_strided_scatter(torch.zeros(5), torch.ones(2), (2,), (2,), storage_offset=1)
        tensor([0., 1., 0., 1., 0.])
    """
    size, stride, offset = _geometry(input, size, stride, storage_offset)
    if src._node.aval.shape != size:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(size)}"
        )
    strides, start = layout(input)
    if _restrided(size, stride, offset, input._node.aval.shape, strides, start) is None:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset} are out of bounds for "
            "storage"
        )
    return scattered(input, src.to(input.dtype), size, stride, offset, strides, start)


def along(input: Tensor, places: np.ndarray) -> Tensor:
    """Elements of a flattened tensor at places known beforehand."""
    return INDEX([input.reshape(-1), from_array(places, device=input.device)])
