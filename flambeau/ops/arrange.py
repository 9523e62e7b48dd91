"""Elements in another order or repeated: flip, roll, repeat, triangles, and copies in other layouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.graph.op import check_devices
from flambeau.ops.data import tensor
from flambeau.ops.index import INDEX
from flambeau.ops.operator import inputs_of, labelled, operator, public
from flambeau.ops.pointwise import broadcast_shapes
from flambeau.ops.samples import T, case
from flambeau.ops.views import ALIAS, EXPAND, Shape, given_or_named, sizes_of, wrapped_dim
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.tensor.views import view_of

# ---------------------------------------------------------------- flip, roll


def _same_rule_dims(x: Aval, *, dims: Shape) -> Aval:
    return x.of()


def _flip_kernel(xp: Any, x: Any, *, dims: Shape) -> Any:
    return xp.flip(x, dims)


FLIP = operator(
    "flip",
    _same_rule_dims,
    _flip_kernel,
    lambda grad, dims: FLIP(grad, dims),
    moves=True,
    samples=lambda: [case("flip", T(3, 4), (0, 1)), case("flip", T(3, 4), (-1,))],
)


def _distinct(dims: Any, ndim: int) -> Shape:
    wanted = tuple([wrapped_dim(d, ndim) for d in dims])
    for d in wanted:
        if wanted.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return wanted


@public(method=True)
def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """The elements in reverse order along the dimensions given.  A copy.

    Example:
        >>> import flambeau as torch
        >>> torch.flip(torch.tensor([1, 2, 3]), (0,))
        tensor([3, 2, 1])
    """
    wanted = _distinct(sizes_of(given_or_named("flip", "dims", dims, named)), input.ndim)
    return FLIP(input, wanted if input.ndim else ())


@public(method=True)
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse order.

    Raises:
        RuntimeError: if there are fewer than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.fliplr(torch.tensor([[1, 2], [3, 4]]))
        tensor([[2, 1],
                [4, 3]])
    """
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return FLIP(input, (1,))


@public(method=True)
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse order.

    Raises:
        RuntimeError: if there are no dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.flipud(torch.tensor([[1, 2], [3, 4]]))
        tensor([[3, 4],
                [1, 2]])
    """
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return FLIP(input, (0,))


def _roll_rule(x: Aval, *, shifts: Shape, dims: Shape) -> Aval:
    return x.of()


def _roll_kernel(xp: Any, x: Any, *, shifts: Shape, dims: Shape) -> Any:
    return xp.roll(x, shifts, dims)


def _roll_derivative(grad: Tensor, shifts: Shape, dims: Shape) -> Tensor:
    return ROLL(grad, tuple([-n for n in shifts]), dims)


ROLL = operator(
    "roll",
    _roll_rule,
    _roll_kernel,
    _roll_derivative,
    moves=True,
    samples=lambda: [case("roll", T(3, 4), (1, -2), (0, 1)), case("roll", T(3, 4), 5)],
)


@public(method=True)
def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The elements moved on by ``shifts`` places along ``dims``; those at the end come back at the beginning.

    Raises:
        RuntimeError: if there is not one shift for each dimension.
        IndexError: for a tensor without dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.roll(torch.tensor([1, 2, 3, 4]), 1)
        tensor([4, 1, 2, 3])
        >>> torch.roll(torch.tensor([[1, 2], [3, 4], [5, 6]]), shifts=-1, dims=0)
        tensor([[3, 4],
                [5, 6],
                [1, 2]])
    """
    shifts = (shifts,) if isinstance(shifts, int) else sizes_of((shifts,))
    dims = () if dims is None else (dims,) if isinstance(dims, int) else tuple(dims)
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) == 1:
        return labelled(ROLL(input.reshape(-1), shifts, (0,)).reshape(input.shape), "RollBackward0")
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not input.ndim:
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    return ROLL(input, shifts, tuple([wrapped_dim(d, input.ndim) for d in dims]))


@public(method=True)
def rot90(input: Tensor, k: int = 1, dims: Any = (0, 1)) -> Tensor:
    """Turned by ``k`` right angles in the plane of two dimensions, from the first towards the second.

    Raises:
        RuntimeError: unless ``dims`` are two different dimensions that the tensor has.

    Example:
        >>> import flambeau as torch
        >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
        tensor([[2, 4],
                [1, 3]])
    """
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == input.ndim:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    for i, d in enumerate(dims):
        if not -input.ndim <= d < input.ndim:
            raise RuntimeError(f"Rotation dim{i} out of range, dim{i} = {d}")
    first, second = (wrapped_dim(d, input.ndim) for d in dims)
    k %= 4
    if k == 0:
        turned = input.clone()
    elif k == 2:
        turned = FLIP(input, (first, second))
    else:
        turned = FLIP(input, (second if k == 1 else first,)).transpose(first, second)
    return labelled(turned, "Rot90Backward0")


# ---------------------------------------------------------------- repeat


def _repeat_rule(x: Aval, *, repeats: Shape) -> Aval:
    shape = (1,) * (len(repeats) - len(x.shape)) + x.shape
    return x.of(tuple([n * m for n, m in zip(shape, repeats, strict=True)]))


def _repeat_kernel(xp: Any, x: Any, *, repeats: Shape) -> Any:
    return xp.tile(x, repeats)


def _repeat_derivative(grad: Tensor, x_shape: Shape, repeats: Shape) -> Tensor:
    shape: list[int] = []
    dims = []
    extra = len(repeats) - len(x_shape)
    for i, times in enumerate(repeats):
        if i < extra:
            dims.append(len(shape))
            shape.append(times)
        else:
            if times != 1:
                dims.append(len(shape))
                shape.append(times)
            shape.append(x_shape[i - extra])
    return grad.reshape(tuple(shape)).sum(dims) if dims else grad


REPEAT = operator(
    "repeat",
    _repeat_rule,
    _repeat_kernel,
    _repeat_derivative,
    moves=True,
    samples=lambda: [
        case("Tensor.repeat", T(3, 4), 2, 1, 3),
        case("Tensor.repeat", T(), 2),
        case("tile", T(2, 3), (2,)),
    ],
)


@public(into="", method=True)
def repeat(input: Tensor, *repeats: Any, **named: Any) -> Tensor:
    """The tensor laid ``repeats`` times side by side in each dimension.  A copy.

    Raises:
        RuntimeError: if there are fewer numbers than dimensions, or one is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1, 2]).repeat(2, 3)
        tensor([[1, 2, 1, 2, 1, 2],
                [1, 2, 1, 2, 1, 2]])
    """
    times = sizes_of(given_or_named("repeat", "repeats", repeats, named))
    if len(times) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    for n in times:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(times)}")
    return REPEAT(input, times)


@public(method=True)
def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """Like ``repeat``, with ones put in front of ``dims`` where they are too few.

    Example:
        >>> import flambeau as torch
        >>> torch.tile(torch.tensor([[1, 2], [3, 4]]), (2,))
        tensor([[1, 2, 1, 2],
                [3, 4, 3, 4]])
    """
    times = sizes_of(given_or_named("tile", "dims", dims, named))
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


@public(method=True)
def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element repeated: so often, or as often as a tensor says for each place along ``dim``.

    Args:
        dim: None flattens first.
        output_size: the size of the result along ``dim``, where the caller knows it.

    Raises:
        RuntimeError: if ``repeats`` are negative, no integers or not one for each place, or ``output_size`` is wrong.

    Example:
        >>> import flambeau as torch
        >>> torch.repeat_interleave(torch.tensor([1, 2]), 2)
        tensor([1, 1, 2, 2])
    """
    if repeats is None:
        times = input
        if times.ndim != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        if times.dtype not in (dtypes.int64, dtypes.int32):
            raise RuntimeError("repeats has to be Long or Int tensor")
        counts = times._array()
        if (counts < 0).any():
            raise RuntimeError("repeats can not be negative")
        return from_array(np.repeat(np.arange(len(counts), dtype=counts.dtype), counts), device=times.device)
    if dim is None:
        input, dim = input.reshape(-1), 0
    dim = wrapped_dim(dim, input.ndim)
    if not input.ndim:
        input = input.reshape(1)
    shape = input._node.aval.shape
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        spread = input.unsqueeze(dim + 1).expand((*shape[: dim + 1], repeats, *shape[dim + 1 :]))
        return spread.reshape((*shape[:dim], shape[dim] * repeats, *shape[dim + 1 :])).clone()
    if not isinstance(repeats, Tensor):
        repeats = tensor(repeats, device=input.device)
    if repeats.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("repeats has to be Long or Int tensor")
    check_devices("repeat_interleave", (input._node.aval, repeats._node.aval))
    counts = repeats._array()
    if counts.ndim > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    if counts.size == 1:
        counts = np.broadcast_to(counts.reshape(-1), (shape[dim],))
    elif len(counts) != shape[dim]:
        raise RuntimeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {len(counts)} and "
            f"input.size({dim}) = {shape[dim]}"
        )
    if (counts < 0).any():
        raise RuntimeError("repeats can not be negative")
    places = np.repeat(np.arange(shape[dim]), counts)
    if output_size is not None and output_size != len(places):
        raise RuntimeError(f"allocated size does not match required size: {output_size} and {len(places)}")
    return INDEX([input, *[None] * dim, from_array(places, device=input.device)])


# ---------------------------------------------------------------- triangles


def _triangle_rule(x: Aval, *, diagonal: int) -> Aval:
    return x.of()


def _triangle(name: str, example: str) -> Any:
    def kernel(xp: Any, x: Any, *, diagonal: int) -> Any:
        rows, columns = x.shape[-2:]
        below = xp.arange(columns)[None, :] <= xp.arange(rows)[:, None] + (diagonal if name == "tril" else diagonal - 1)
        return xp.where(below if name == "tril" else ~below, x, xp.zeros((), x.dtype))

    def derivative(grad: Tensor, diagonal: int) -> Tensor:
        return op(grad, diagonal)

    op = operator(
        name,
        _triangle_rule,
        kernel,
        derivative,
        moves=True,
        samples=lambda: [case(name, T(3, 4)), case(name, T(2, 4, 3), -1), case(name, T(3, 3), 1)],
    )
    side = "below" if name == "tril" else "above"

    def triangle(input: Tensor, diagonal: int = 0) -> Tensor:
        if input.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return op(input, int(diagonal))

    triangle.__name__ = triangle.__qualname__ = name
    triangle.__doc__ = f"""The elements of the last two dimensions on and {side} a diagonal; zero elsewhere.

    Args:
        diagonal: which one: above the main one if positive, below it if negative.

    Raises:
        RuntimeError: if there are fewer than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.{name}(torch.tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))
        {example}
    """
    return public(name, method=True, inplace=True, out="exact")(triangle)


tril = _triangle(
    "tril",
    """tensor([[1, 0, 0],
                [4, 5, 0],
                [7, 8, 9]])""",
)
triu = _triangle(
    "triu",
    """tensor([[1, 2, 3],
                [0, 5, 6],
                [0, 0, 9]])""",
)


def _triangle_indices(name: str, row: int, col: int, offset: int, dtype: Any, device: Any) -> Tensor:
    for what, n in (("row", row), ("col", col)):
        if n < 0:
            raise RuntimeError(f"{what} must be non-negative, got{n}")
    dtype = dtype or dtypes.int64
    if dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"\"{name}\" not implemented for '{dtype.title}'")
    found = getattr(np, name.replace("indices", "indices"))(row, offset, col) if row and col else ([], [])
    return tensor(np.stack([np.asarray(i, np.int64) for i in found]), dtype=dtype, device=device)


@public()
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """The row and column indices of the elements on and below a diagonal, row by row.

    Example:
        >>> import flambeau as torch
        >>> torch.tril_indices(2, 3)
        tensor([[0, 1, 1],
                [0, 0, 1]])
    """
    return _triangle_indices("tril_indices", row, col, offset, dtype, device)


@public()
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """The row and column indices of the elements on and above a diagonal, row by row.

    Example:
        >>> import flambeau as torch
        >>> torch.triu_indices(2, 3, offset=1)
        tensor([[0, 0, 1],
                [1, 2, 2]])
    """
    return _triangle_indices("triu_indices", row, col, offset, dtype, device)


# ---------------------------------------------------------------- broadcasting


@public(into="", method=True)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Expanded to the shape of another tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1, 2]).expand_as(torch.zeros(2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    return input.expand(other.shape)


@public(into="", method=True)
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Viewed in the shape of another tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(4).view_as(torch.zeros(2, 2))
        tensor([[0, 1],
                [2, 3]])
    """
    return input.view(other.shape)


@public(into="", method=True)
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Reshaped to the shape of another tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(4).reshape_as(torch.zeros(2, 2))
        tensor([[0, 1],
                [2, 3]])
    """
    return input.reshape(other.shape)


@public(method=True)
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """Expanded to a shape.  A view.

    Example:
        >>> import flambeau as torch
        >>> torch.broadcast_to(torch.tensor([1, 2]), (2, 2))
        tensor([[1, 2],
                [1, 2]])
    """
    return input.expand(size)


@public()
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape.

    Example:
        >>> import flambeau as torch
        >>> rows, columns = torch.broadcast_tensors(torch.tensor([[1], [2]]), torch.tensor([3, 4]))
        >>> rows
        tensor([[1, 1],
                [2, 2]])
        >>> columns
        tensor([[3, 4],
                [3, 4]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tuple(tensors[0])
    tensors = tuple(inputs_of(tensors))
    shape = broadcast_shapes(*[t._node.aval.shape for t in tensors]) if tensors else ()
    return tuple([view_of(EXPAND, t, shape) for t in tensors])


@public(name="broadcast_shapes")
def common_shape(*shapes: Any) -> Any:
    """The shape that shapes have in common once sizes of one are stretched.

    Raises:
        RuntimeError: if the shapes do not fit, or a size is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.broadcast_shapes((2, 1, 3), (4, 1))
        torch.Size([2, 4, 3])
    """
    from flambeau.tensor.tensor import Size

    given = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    for shape in given:
        for n in shape:
            if n < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({n}): ({n})")
    try:
        return Size(broadcast_shapes(*given) if given else ())
    except RuntimeError:
        raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape") from None


@public()
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinate grids of vectors: the i-th result varies along dimension i as the i-th vector does.

    Args:
        indexing: ``"ij"`` (the default), or ``"xy"`` to exchange the first two dimensions.

    Raises:
        RuntimeError: if there are no tensors, they differ in type or device, or have more than one dimension.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.meshgrid(torch.tensor([1, 2]), torch.tensor([3, 4, 5]), indexing="ij")
        >>> x
        tensor([[1, 1, 1],
                [2, 2, 2]])
        >>> y
        tensor([[3, 4, 5],
                [3, 4, 5]])
    """
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tuple(tensors[0])
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    tensors = tuple(inputs_of(tensors))
    for t in tensors:
        if t.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {t}")
        if t.dtype is not tensors[0].dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
        if t.device is not tensors[0].device:
            raise RuntimeError(
                "torch.meshgrid expects all tensors to have the same device, but got "
                f"{tensors[0].device} and {t.device}"
            )
    if indexing is None:
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    order = list(tensors)
    swap = indexing == "xy" and len(order) > 1
    if swap:
        order[0], order[1] = order[1], order[0]
    shape = tuple([t._node.aval.size for t in order])
    grids = []
    for i, t in enumerate(order):
        place = [1] * len(order)
        place[i] = shape[i]
        grids.append(t.reshape(tuple(place)).expand(shape))
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def alias(input: Tensor) -> Tensor:
    """Another tensor that shows the same elements."""
    return view_of(ALIAS, input)
