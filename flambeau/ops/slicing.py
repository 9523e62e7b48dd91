"""Views of a part: one index, a range with steps, and what cuts a tensor into pieces.

Where a piece begins is an input of the operator, not a static parameter, so that a program in which
only the position changes (a batch of the data, a step of a sequence) stays one program.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import index as as_int
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.graph.op import Call
from flambeau.ops.operator import OPERATORS, operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.views import DETACH, Shape, view_operator, wrapped_dim
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import view_of

# ---------------------------------------------------------------- select


def _without(shape: Shape, dim: int) -> Shape:
    return shape[:dim] + shape[dim + 1 :]


def _with(shape: Shape, dim: int, size: int) -> Shape:
    return (*shape[:dim], size, *shape[dim + 1 :])


def _at(dim: int, index: Any) -> tuple[Any, ...]:
    return (slice(None),) * dim + (index,)


def _select_rule(x: Aval, index: Aval, *, dim: int) -> Aval:
    return x.of(_without(x.shape, dim))


def _select_numpy(xp: Any, x: Any, index: Any, *, dim: int) -> Any:
    try:
        return x[_at(dim, int(index))]
    except IndexError:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {x.shape[dim]}") from None


def _select_lax(xp: Any, x: Any, index: Any, *, dim: int) -> Any:
    from jax import lax

    if isinstance(index, int):
        return lax.index_in_dim(x, index, dim, keepdims=False)
    return lax.dynamic_index_in_dim(x, index, dim, keepdims=False)


def _select_derivative(grad: Tensor, index: Tensor, x_shape: Shape, dim: int) -> Any:
    return UNSELECT(grad, index, dim, x_shape[dim]), None


def _unselect_rule(value: Aval, index: Aval, *, dim: int, size: int) -> Aval:
    return value.of((*value.shape[:dim], size, *value.shape[dim:]))


def _unselect_numpy(xp: Any, value: Any, index: Any, *, dim: int, size: int) -> Any:
    value = xp.asarray(value)
    out = xp.zeros((*value.shape[:dim], size, *value.shape[dim:]), value.dtype)
    out[_at(dim, int(index))] = value
    return out


def _unselect_lax(xp: Any, value: Any, index: Any, *, dim: int, size: int) -> Any:
    from jax import lax

    value = xp.expand_dims(value, dim)
    if isinstance(index, int):
        index = index % size
        pads = [(0, 0, 0)] * value.ndim
        pads[dim] = (index, size - index - 1, 0)
        return lax.pad(value, xp.zeros((), value.dtype), pads)
    out = xp.zeros(_with(value.shape, dim, size), value.dtype)
    return lax.dynamic_update_slice_in_dim(out, value, index, dim)


def _select_scatter_rule(x: Aval, value: Aval, index: Aval, *, dim: int) -> Aval:
    if value.shape != _without(x.shape, dim):
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(value.shape)}, slice size = {list(_without(x.shape, dim))}"
        )
    return x.of()


def _select_scatter_numpy(xp: Any, x: Any, value: Any, index: Any, *, dim: int) -> Any:
    out = xp.array(x)
    out[_at(dim, int(index))] = value
    return out


def _select_scatter_lax(xp: Any, x: Any, value: Any, index: Any, *, dim: int) -> Any:
    from jax import lax

    return lax.dynamic_update_index_in_dim(x, value.astype(x.dtype), index, dim)


def _select_scatter_derivative(grad: Tensor, value_shape: Shape, index: Tensor, dim: int) -> Any:
    return SELECT_SCATTER(grad, grad.new_zeros(value_shape), index, dim), SELECT(grad, index, dim), None


SELECT_SCATTER = operator(
    "select_scatter",
    _select_scatter_rule,
    None,
    _select_scatter_derivative,
    numpy=_select_scatter_numpy,
    lax=_select_scatter_lax,
    moves=True,
    samples=lambda: [case("select_scatter", T(3, 4), T(3), 1, -2)],
)
UNSELECT = operator(
    "unselect",
    _unselect_rule,
    None,
    lambda grad, index, dim: (SELECT(grad, index, dim), None),
    numpy=_unselect_numpy,
    lax=_unselect_lax,
    moves=True,
    samples=lambda: [case("select", T(3, 4), 1, 2)],
)


def _select_restride(shape: Shape, strides: Shape, offset: int, index: Any, dim: int) -> Any:
    index = int(index)
    index += shape[dim] if index < 0 else 0
    return _without(shape, dim), _without(strides, dim), offset + index * strides[dim]


SELECT = view_operator(
    "select",
    _select_rule,
    None,
    _select_derivative,
    numpy=_select_numpy,
    lax=_select_lax,
    scatter=lambda parent, value, index, dim: SELECT_SCATTER(parent, value, index, dim),
    restride=_select_restride,
    samples=lambda: [case("select", T(3, 4), 1, 2), case("select", T(3), 0, -1)],
)


@public(method=True)
def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """The part at ``index`` of a dimension, which falls away.  A view.

    Raises:
        IndexError: if the dimension or the index is out of range.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([[1, 2], [3, 4]]).select(1, 0)
        tensor([1, 3])
    """
    shape = input._node.aval.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim = wrapped_dim(dim, len(shape))
    index = as_int(index)
    n = shape[dim]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}")
    return view_of(SELECT, input, index + n if index < 0 else index, dim)


@public(method=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """``input`` with ``input.select(dim, index)`` replaced by ``src``.  A copy.

    Raises:
        IndexError: if ``index`` is out of range.
        RuntimeError: if ``src`` has another shape than what it replaces.

    Example:
        >>> import flambeau as torch
        >>> torch.select_scatter(torch.zeros(2, 3), torch.ones(2), dim=1, index=0)
        tensor([[1., 0., 0.],
                [1., 0., 0.]])
    """
    dim = wrapped_dim(dim, input.ndim)
    n = input._node.aval.shape[dim]
    if not -n <= index < n:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {n}")
    return SELECT_SCATTER(input, src.to(input.dtype), index + n if index < 0 else index, dim)


# ---------------------------------------------------------------- slice


def _slice_rule(x: Aval, start: Aval, *, dim: int, length: int, step: int) -> Aval:
    return x.of(_with(x.shape, dim, length))


def _range(start: Any, length: int, step: int) -> slice:
    start = int(start)
    return slice(start, start + max((length - 1) * step + 1, 0) if length else start, step)


def _slice_numpy(xp: Any, x: Any, start: Any, *, dim: int, length: int, step: int) -> Any:
    return x[_at(dim, _range(start, length, step))]


def _slice_lax(xp: Any, x: Any, start: Any, *, dim: int, length: int, step: int) -> Any:
    from jax import lax

    span = (length - 1) * step + 1 if length else 0
    if isinstance(start, int):
        return lax.slice_in_dim(x, start, start + span, step, dim)
    part = lax.dynamic_slice_in_dim(x, start, span, dim)
    return part if step == 1 else lax.slice_in_dim(part, 0, span, step, dim)


def _slice_derivative(grad: Tensor, start: Tensor, x_shape: Shape, dim: int, step: int) -> Any:
    return UNSLICE(grad, start, dim, x_shape[dim], step), None


def _unslice_rule(value: Aval, start: Aval, *, dim: int, size: int, step: int) -> Aval:
    return value.of(_with(value.shape, dim, size))


def _unslice_numpy(xp: Any, value: Any, start: Any, *, dim: int, size: int, step: int) -> Any:
    out = xp.zeros(_with(value.shape, dim, size), value.dtype)
    out[_at(dim, _range(start, value.shape[dim], step))] = value
    return out


def _unslice_lax(xp: Any, value: Any, start: Any, *, dim: int, size: int, step: int) -> Any:
    from jax import lax

    length = value.shape[dim]
    span = (length - 1) * step + 1 if length else 0
    fixed = isinstance(start, int)
    pads = [(0, 0, 0)] * value.ndim
    pads[dim] = (start if fixed else 0, size - start - span if fixed else 0, step - 1)
    spread = lax.pad(value, xp.zeros((), value.dtype), pads)
    if fixed:
        return spread
    return lax.dynamic_update_slice_in_dim(xp.zeros(_with(value.shape, dim, size), value.dtype), spread, start, dim)


def _slice_derivative_length(grad: Tensor, start: Tensor, value_shape: Shape, dim: int, step: int) -> Any:
    return SLICE(grad, start, dim, value_shape[dim], step), None


def _slice_scatter_rule(x: Aval, value: Aval, start: Aval, *, dim: int, step: int) -> Aval:
    if _without(value.shape, dim) != _without(x.shape, dim):
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(value.shape)}, slice size = {list(_with(x.shape, dim, value.shape[dim]))}"
        )
    return x.of()


def _slice_scatter_numpy(xp: Any, x: Any, value: Any, start: Any, *, dim: int, step: int) -> Any:
    out = xp.array(x)
    out[_at(dim, _range(start, value.shape[dim], step))] = value
    return out


def _slice_scatter_lax(xp: Any, x: Any, value: Any, start: Any, *, dim: int, step: int) -> Any:
    from jax import lax

    value = value.astype(x.dtype)
    if step == 1:
        return lax.dynamic_update_slice_in_dim(x, value, start, dim)
    places = start + step * xp.arange(value.shape[dim])
    return x.at[_at(dim, places)].set(value, unique_indices=True, indices_are_sorted=True)


def _slice_scatter_derivative(grad: Tensor, value_shape: Shape, start: Tensor, dim: int, step: int) -> Any:
    return (
        SLICE_SCATTER(grad, grad.new_zeros(value_shape), start, dim, step),
        SLICE(grad, start, dim, value_shape[dim], step),
        None,
    )


SLICE_SCATTER = operator(
    "slice_scatter",
    _slice_scatter_rule,
    None,
    _slice_scatter_derivative,
    numpy=_slice_scatter_numpy,
    lax=_slice_scatter_lax,
    moves=True,
    samples=lambda: [
        case("slice_scatter", T(5, 3), T(2, 3), start=1, end=5, step=2),
        case("slice_scatter", T(3, 4), T(3, 2), 1, 1, 3),
    ],
)
UNSLICE = operator(
    "unslice",
    _unslice_rule,
    None,
    _slice_derivative_length,
    numpy=_unslice_numpy,
    lax=_unslice_lax,
    moves=True,
    samples=lambda: [case("narrow", T(4, 3), 0, 1, 2)],
)


def _slice_restride(shape: Shape, strides: Shape, offset: int, start: Any, dim: int, length: int, step: int) -> Any:
    return _with(shape, dim, length), _with(strides, dim, strides[dim] * step), offset + int(start) * strides[dim]


SLICE = view_operator(
    "slice",
    _slice_rule,
    None,
    _slice_derivative,
    numpy=_slice_numpy,
    lax=_slice_lax,
    scatter=lambda parent, value, start, dim, length, step: SLICE_SCATTER(parent, value, start, dim, step),
    restride=_slice_restride,
    samples=lambda: [case("narrow", T(4, 3), 0, 1, 2), case("narrow", T(4, 3), 1, -2, 0)],
)


def slice_bounds(start: Any, stop: Any, step: Any, n: int) -> tuple[int, int, int]:
    """Where a range begins, how many elements it has, and its step, clipped to ``n`` elements."""
    step = 1 if step is None else as_int(step)
    if step <= 0:
        raise ValueError("step must be greater than zero" if step else "slice step cannot be zero")
    first, end, step = slice(
        None if start is None else as_int(start), None if stop is None else as_int(stop), step
    ).indices(n)
    return first, max(0, -(-(end - first) // step)), step


def sliced(input: Tensor, dim: int, start: Any, stop: Any, step: Any = 1) -> Tensor:
    """The range ``start:stop:step`` of a dimension, as a view."""
    first, length, step = slice_bounds(start, stop, step, input._node.aval.shape[dim])
    return view_of(SLICE, input, first, dim, length, step)


@public(method=True, out="exact")
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """``input`` with the range ``start:end:step`` of a dimension replaced by ``src``.  A copy.

    Raises:
        RuntimeError: if ``src`` has another shape than what it replaces.

    Example:
        >>> import flambeau as torch
        >>> torch.slice_scatter(torch.zeros(5), torch.ones(2), start=1, end=5, step=2)
        tensor([0., 1., 0., 1., 0.])
    """
    dim = wrapped_dim(dim, input.ndim)
    shape = input._node.aval.shape
    first, length, step = slice_bounds(start, end, step, shape[dim])
    if src._node.aval.shape != _with(shape, dim, length):
        raise RuntimeError(
            "expected src to have a size equal to the slice of self. src size = "
            f"{list(src.shape)}, slice size = {list(_with(shape, dim, length))}"
        )
    return SLICE_SCATTER(input, src.to(input.dtype), first, dim, step)


@public(method=True)
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """``length`` elements of a dimension, from ``start`` on.  A view.

    Raises:
        RuntimeError: if the range does not lie within the dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.narrow(torch.tensor([[1, 2, 3], [4, 5, 6]]), 1, 1, 2)
        tensor([[2, 3],
                [5, 6]])
    """
    shape = input._node.aval.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if isinstance(start, Tensor) and (start.ndim or start.dtype.category != 1):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    dim = wrapped_dim(dim, len(shape))
    n = shape[dim]
    start = as_int(start)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    start += n if start < 0 else 0
    if start > n - length:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return view_of(SLICE, input, start, dim, length, 1)


# ---------------------------------------------------------------- cutting into several pieces


def views_of_pieces(
    op: Any, tensor: Tensor, attrs: tuple[Any, ...], pieces: Sequence[tuple[Any, ...]]
) -> tuple[Tensor, ...]:
    """Applies an operator with several results, each of which is the view that its piece (operator,
    attributes) describes.

    One operation for all, so that the way back joins the gradients once instead of adding up
    as many tensors of the full size as there are pieces.
    """
    results = op(tensor, *attrs)
    base = tensor if tensor._base is None else tensor._base
    way = (*tensor._chain, (DETACH, ())) if tensor._rg and not mode.grad else tensor._chain
    for result, piece in zip(results, pieces, strict=True):
        result._base = base
        result._chain = (*way, piece)
        result._seen = base._writes
    return results


def _unbind_rule(x: Aval, *, dim: int) -> tuple[Aval, ...]:
    return (x.of(_without(x.shape, dim)),) * x.shape[dim]


def _unbind_kernel(xp: Any, x: Any, *, dim: int) -> tuple[Any, ...]:
    return tuple([x[_at(dim, i)] for i in range(x.shape[dim])])


def _unbind_derivative(grads: list[Tensor], dim: int) -> Tensor:
    return OPERATORS["stack"](grads, dim)


UNBIND = operator(
    "unbind",
    _unbind_rule,
    _unbind_kernel,
    _unbind_derivative,
    moves=True,
    samples=lambda: [case("unbind", T(3, 2)), case("unbind", T(2, 3), -1)],
)


@public(method=True)
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts along a dimension, which falls away: a tuple of views.

    Raises:
        IndexError: if there is no dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.unbind(torch.tensor([[1, 2], [3, 4]]), dim=1)
        (tensor([1, 3]), tensor([2, 4]))
    """
    shape = input._node.aval.shape
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    dim = wrapped_dim(dim, len(shape))
    if not shape[dim]:
        return ()
    return views_of_pieces(UNBIND, input, (dim,), [(SELECT, (i, dim)) for i in range(shape[dim])])


def _split_rule(x: Aval, *, sizes: Shape, dim: int) -> tuple[Aval, ...]:
    return tuple([x.of(_with(x.shape, dim, n)) for n in sizes])


def _split_kernel(xp: Any, x: Any, *, sizes: Shape, dim: int) -> tuple[Any, ...]:
    return tuple([x[part] for part in _parts(sizes, dim)])


def _parts(sizes: Shape, dim: int) -> list[tuple[Any, ...]]:
    """The index of each piece."""
    ends = list(accumulate(sizes))
    return [_at(dim, slice(end - n, end)) for n, end in zip(sizes, ends, strict=True)]


def _split_fitted(call: Call) -> Any:
    parts = _parts(**call.params)

    def run(x: Any) -> tuple[Any, ...]:
        return tuple([x[part] for part in parts])

    return run


def _split_derivative(grads: list[Tensor], dim: int) -> Tensor:
    return OPERATORS["cat"](grads, dim)


SPLIT = operator(
    "split",
    _split_rule,
    _split_kernel,
    _split_derivative,
    moves=True,
    samples=lambda: [case("split", T(5, 2), 2), case("split", T(2, 5), [1, 4], -1)],
)
SPLIT.fitted = _split_fitted


def pieces_of(input: Tensor, sizes: tuple[int, ...], dim: int) -> tuple[Tensor, ...]:
    """Views of consecutive ranges of a dimension, which together are all of it."""
    views = []
    start = 0
    for n in sizes:
        views.append((SLICE, (start, dim, n, 1)))
        start += n
    return views_of_pieces(SPLIT, input, (sizes, dim), views)


@public(method=True)
def split(
    input: Tensor, split_size: Any = None, dim: int = 0, *, split_size_or_sections: Any = None
) -> tuple[Tensor, ...]:
    """Pieces of ``split_size`` along a dimension (the last may be smaller), or of the sizes listed.

    Raises:
        RuntimeError: if listed sizes do not add up to the dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(3).split(2)
        (tensor([0, 1]), tensor([2]))
    """
    if split_size is None:
        split_size = split_size_or_sections
    shape = input._node.aval.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    at = wrapped_dim(dim, len(shape))
    if isinstance(split_size, list | tuple):
        return split_with_sizes(input, split_size, dim)
    size, n = as_int(split_size), shape[at]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if not size and n:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    count = max(-(-n // size), 1) if size else 1
    sizes = (*(size,) * (count - 1), n - size * (count - 1))
    return pieces_of(input, sizes, at)


@public(method=True)
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Pieces of the sizes listed along a dimension: a tuple of views.

    Raises:
        RuntimeError: if a size is negative, or they do not sum up to that of the dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.split_with_sizes(torch.arange(5), [2, 3])
        (tensor([0, 1]), tensor([2, 3, 4]))
    """
    shape = input._node.aval.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    dim = wrapped_dim(dim, len(shape))
    sizes = tuple([as_int(n) for n in split_sizes])
    if builtins.any(n < 0 for n in sizes):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={list(sizes)}"
        )
    if sum(sizes) != shape[dim]:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {shape[dim]} (input tensor's size at dimension "
            f"{dim}), but got split_sizes={list(sizes)}"
        )
    return pieces_of(input, sizes, dim)


@public(method=True)
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` pieces of equal size (the last may be smaller): a tuple of views.

    Raises:
        RuntimeError: if there is no dimension, or ``chunks`` is not positive.

    Example:
        >>> import flambeau as torch
        >>> torch.chunk(torch.arange(7), 3)
        (tensor([0, 1, 2]), tensor([3, 4, 5]), tensor([6]))
    """
    shape = input._node.aval.shape
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    dim = wrapped_dim(dim, len(shape))
    n = shape[dim]
    size = -(-n // chunks)
    if not size:
        return pieces_of(input, (0,) * chunks, dim)
    return split(input, size, dim)


@public(method=True)
def tensor_split(
    input: Tensor, indices_or_sections: Any = None, dim: int = 0, *, indices: Any = None, sections: Any = None
) -> tuple[Tensor, ...]:
    """Pieces along a dimension: so many of nearly equal size, or cut at the indices listed.

    Raises:
        RuntimeError: if there is no dimension, or the number of pieces is not positive.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor_split(torch.arange(5), 3)
        (tensor([0, 1]), tensor([2, 3]), tensor([4]))
        >>> torch.tensor_split(torch.arange(5), (1, 3))
        (tensor([0]), tensor([1, 2]), tensor([3, 4]))
    """
    given = next((x for x in (indices_or_sections, indices, sections) if x is not None), None)
    shape = input._node.aval.shape
    if not shape:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    dim = wrapped_dim(dim, len(shape))
    n = shape[dim]
    if isinstance(given, Tensor):
        if given.device.type != "cpu":
            raise RuntimeError(
                f"tensor_split expected tensor_indices_or_sections to be on cpu, but it's on {given.device}"
            )
        if given.dtype.name != "int64":
            raise RuntimeError(
                f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {given.dtype.title}"
            )
        if given.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, "
                f"but got a tensor with {given.ndim} dims"
            )
        given = given.tolist()
    if isinstance(given, int):
        if given <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {given}")
        small, extra = divmod(n, given)
        return pieces_of(input, tuple([small + (i < extra) for i in range(given)]), dim)
    if given is None:
        raise TypeError("tensor_split() received no indices and no number of sections; pass indices_or_sections")
    cuts = [0, *[as_int(i) for i in given], n]
    results = []
    for start, stop in pairwise(cuts):
        results.append(sliced(input, dim, start, stop))
    return tuple(results)
