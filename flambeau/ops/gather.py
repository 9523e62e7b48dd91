"""Gathering and scattering along a dimension: gather, scatter, index_select, index_add and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.graph.op import check_devices
from flambeau.ops.index import INDEX, INDEX_PUT, MASKED_FILL, add_at, added, checked_bounds, known_value
from flambeau.ops.numbers import fitting
from flambeau.ops.operator import Operator, labelled, operator, public
from flambeau.ops.outs import written_apart
from flambeau.ops.samples import T, case
from flambeau.ops.views import Shape, wrapped_dim
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn


def grid(xp: Any, index: Any, dim: int) -> tuple[Any, ...]:
    """Indices that together name, for each place of ``index``, that place with ``dim`` replaced."""
    key = []
    for d, n in enumerate(index.shape):
        if d == dim:
            key.append(index)
        else:
            shape = [1] * index.ndim
            shape[d] = n
            key.append(xp.arange(n).reshape(shape))
    return tuple(key)


def _check_index_type(name: str, index: Any) -> None:
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dtype not in (dtypes.int64, dtypes.int32) and index._node.aval.size:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def _check_range(index: Tensor, dim: int, n: int) -> None:
    """Raises for an index out of range, where its values are known; here they do not count from the end."""
    value = known_value(index)
    if value is None or not value.size:
        return
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= n:
        wrong = high if high >= n else low
        raise RuntimeError(f"index {wrong} is out of bounds for dimension {dim} with size {n}")


def _checked(index: Any, dim: int, n: int) -> None:
    if index.size and (index.min() < 0 or index.max() >= n):
        wrong = index.max() if index.max() >= n else index.min()
        raise RuntimeError(f"index {wrong} is out of bounds for dimension {dim} with size {n}")


# ---------------------------------------------------------------- gather


def _gather_rule(x: Aval, index: Aval, *, dim: int) -> Aval:
    if len(x.shape) != len(index.shape) and index.size and (len(x.shape) or 1) != (len(index.shape) or 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (n, m) in enumerate(zip(index.shape, x.shape, strict=False)):
        if d != dim and n > m and index.size:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no larger than self "
                f"{list(x.shape)} apart from dimension {dim}"
            )
    return x.of(index.shape)


def _gather_numpy(xp: Any, x: Any, index: Any, *, dim: int) -> Any:
    if not index.size:
        return np.zeros(index.shape, x.dtype)
    if not index.ndim or not x.ndim:
        _checked(index, dim, x.size)
        return np.broadcast_to(x.reshape(-1)[:1].reshape(()), index.shape)
    _checked(index, dim, x.shape[dim])
    return x[grid(np, index, dim)]


def _gather_lax(xp: Any, x: Any, index: Any, *, dim: int) -> Any:
    if not index.size:
        return xp.zeros(index.shape, x.dtype)
    if not index.ndim or not x.ndim:
        return xp.broadcast_to(x.reshape(-1)[0], index.shape)
    if not x.size:
        return xp.zeros(index.shape, x.dtype)
    return x.at[grid(xp, index, dim)].get(mode="promise_in_bounds")


def _gather_derivative(grad: Tensor, index: Tensor, x_shape: Shape, dim: int) -> Any:
    return SCATTER_ADD(grad.new_zeros(x_shape), index, grad, dim), None


GATHER = operator(
    "gather",
    _gather_rule,
    None,
    _gather_derivative,
    numpy=_gather_numpy,
    lax=_gather_lax,
    moves=True,
    samples=lambda: [
        case("gather", T(3, 4), 1, T(3, 2, dtype="int64", low=0, high=4)),
        case("gather", T(3, 4), 0, T(2, 4, dtype="int64", low=0, high=3)),
        case("gather", T(), 0, T(dtype="int64", low=0, high=1)),
    ],
)


@public(method=True)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Any = None) -> Tensor:
    """``out[i][j] = input[index[i][j]][j]`` for ``dim=0``, and likewise for other dimensions.

    Args:
        index: as many dimensions as ``input``, nowhere larger except along ``dim``.

    Raises:
        RuntimeError: if the shapes do not fit or an index is out of range.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1, 2, 3], [4, 5, 6]])
        >>> torch.gather(x, 1, torch.tensor([[2, 0], [1, 1]]))
        tensor([[3, 1],
                [5, 5]])
    """
    _check_index_type("gather", index)
    dim = wrapped_dim(dim, input.ndim)
    if input.ndim:
        _check_range(index, dim, input._node.aval.shape[dim])
    return written_apart("gather", GATHER(input, index, dim), out, input, index, exact=True)


# ---------------------------------------------------------------- scatter


def _scatter_rule(x: Aval, index: Aval, src: Aval, *, dim: int) -> Aval:
    if not index.size:
        return x.of()
    if (len(x.shape) or 1) != (len(index.shape) or 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    for d, n in enumerate(index.shape):
        if x.shape and d != dim and n > x.shape[d]:
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(x.shape)} apart from dimension "
                f"{dim} and to be no larger size than src {list(src.shape)}"
            )
    if not src.weak and src.shape != ():
        if len(src.shape) != len(index.shape):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        if any(n > m for n, m in zip(index.shape, src.shape, strict=True)):
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(x.shape)} apart from dimension "
                f"{dim} and to be no larger size than src {list(src.shape)}"
            )
    return x.of()


def _part(src: Any, index: Any) -> Any:
    """The part of the source that belongs to the index."""
    if not getattr(src, "ndim", 0) or src.shape == index.shape:
        return src
    return src[tuple([slice(n) for n in index.shape])]


def _flat(xp: Any, x: Any, index: Any, src: Any) -> tuple[Any, ...]:
    """Zero-dimensional operands as vectors."""
    if x.ndim:
        return x, index, src
    return x.reshape(1), index.reshape(-1), src.reshape(-1)


def _converted(value: Any, dtype: Any, xp: Any) -> Any:
    from flambeau.engine.kernels import converted

    return converted(value, dtype, xp)


def _placed_numpy(apply: Any) -> Any:
    def kernel(xp: Any, x: Any, index: Any, src: Any, *, dim: int) -> Any:
        if not index.size:
            return x
        shape = x.shape
        src = np.asarray(_converted(src, x.dtype, np))
        x, index, src = _flat(np, x, index, src)
        _checked(index, dim, x.shape[dim])
        out = np.array(x, order="C")
        src = _part(src, index)
        apply(out, grid(np, index, dim), src)
        return out.reshape(shape)

    return kernel


def _placed_lax(method: str) -> Any:
    def kernel(xp: Any, x: Any, index: Any, src: Any, *, dim: int) -> Any:
        if not index.size:
            return x
        shape = x.shape
        src = xp.asarray(_converted(src, x.dtype, xp))
        x, index, src = _flat(xp, x, index, src)
        place = x.at[grid(xp, index, dim)]
        if method == "add":
            return added(place, _part(src, index)).reshape(shape)
        # XLA does not multiply truth values in place.
        combine = "min" if method == "multiply" and x.dtype == np.bool_ else method
        return getattr(place, combine)(_part(src, index)).reshape(shape)

    return kernel


def _put(out: Any, key: Any, src: Any) -> None:
    out[key] = src


def _scatter_derivative(grad: Tensor, index: Tensor, needs: tuple[bool, ...], avals: Any, dim: int) -> Any:
    return (
        SCATTER(grad, index, 0, dim) if needs[0] else None,
        None,
        _gathered(grad, index, avals[2], dim) if needs[2] else None,
    )


def _gathered(grad: Tensor, index: Tensor, src: Aval, dim: int) -> Tensor:
    """The gradient of a source: what was gathered, and zero where the source was not read."""
    found = GATHER(grad, index, dim) if index._node.aval.size else grad.new_zeros(index.shape)
    shape = index._node.aval.shape
    if src.shape == shape or not src.shape:
        return found
    return _enlarged(found, src.shape)


def _enlarged(x: Tensor, shape: Shape) -> Tensor:
    """With zeros after it in every dimension, up to a shape."""
    from flambeau.ops.slicing import UNSLICE

    for d, n in enumerate(shape):
        if x._node.aval.shape[d] != n:
            x = UNSLICE(x, 0, d, n, 1)
    return x


SCATTER = operator(
    "scatter",
    _scatter_rule,
    None,
    _scatter_derivative,
    numpy=_placed_numpy(_put),
    lax=_placed_lax("set"),
    moves=True,
    samples=lambda: [case("scatter", T(3, 4), 1, T(3, 1, dtype="int64", low=0, high=4), T(3, 1))],
)


def _scatter_add_derivative(grad: Tensor, index: Tensor, needs: tuple[bool, ...], avals: Any, dim: int) -> Any:
    return grad, None, _gathered(grad, index, avals[2], dim) if needs[2] else None


SCATTER_ADD = operator(
    "scatter_add",
    _scatter_rule,
    None,
    _scatter_add_derivative,
    numpy=_placed_numpy(add_at),
    lax=_placed_lax("add"),
    samples=lambda: [case("scatter_add", T(3, 4), 1, T(3, 2, dtype="int64", low=0, high=4), T(3, 2))],
)


@public(method=True, inplace=True, out="exact")
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, reduce: str | None = None, value: Any = None
) -> Tensor:
    """``input`` with ``out[index[i][j]][j] = src[i][j]`` for ``dim=0``, and likewise for other dimensions.

    Args:
        index: as many dimensions as ``input``.
        src: a tensor at least as large as ``index``, or a number.
        reduce: ``"add"`` or ``"multiply"`` combines with what is there instead of replacing it.

    Raises:
        RuntimeError: if shapes or types do not fit, or an index is out of range.

    Example:
        >>> import flambeau as torch
        >>> torch.scatter(torch.zeros(2, 3), 1, torch.tensor([[2], [0]]), torch.tensor([[5.], [7.]]))
        tensor([[0., 0., 5.],
                [7., 0., 0.]])
    """
    src = value if src is None else src
    _check_index_type("scatter", index)
    dim = wrapped_dim(dim, input.ndim)
    if isinstance(src, Tensor) and src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if input.ndim:
        _check_range(index, dim, input._node.aval.shape[dim])
    if src is not None and not isinstance(src, Tensor):
        src = fitting(src, input.dtype)
    if reduce is None:
        return SCATTER(input, index, src, dim)
    if reduce == "add":
        return SCATTER_ADD(input, index, src, dim)
    if reduce == "multiply":
        return REDUCED["prod"](input, index, src, dim)
    raise RuntimeError("reduce argument must be either add or multiply.")


@public(method=True, inplace=True, out="exact")
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``input`` with ``out[index[i][j]][j] += src[i][j]`` for ``dim=0``, and likewise for other dimensions.

    Shape: that of ``input``; ``index`` has as many dimensions, and is no larger than ``src``, nor than ``input``
    except at ``dim``.

    Raises:
        RuntimeError: if the types of ``input`` and ``src`` differ, or ``index`` is larger than they are.

    Example:
        >>> import flambeau as torch
        >>> torch.scatter_add(torch.zeros(3), 0, torch.tensor([0, 2, 2]), torch.tensor([1., 10., 20.]))
        tensor([ 1.,  0., 30.])
    """
    _check_index_type("scatter_add", index)
    dim = wrapped_dim(dim, input.ndim)
    if src.dtype is not input.dtype:
        raise RuntimeError("scatter_add(): Expected self.dtype to be equal to src.dtype")
    if input.ndim:
        _check_range(index, dim, input._node.aval.shape[dim])
    return SCATTER_ADD(input, index, src, dim)


# ---------------------------------------------------------------- combining: prod, amax, amin, mean


def _ufunc_at(name: str) -> Any:
    def apply(out: Any, key: Any, src: Any) -> None:
        getattr(np, name).at(out, key, src)

    return apply


def _extreme_derivative(grad: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, dim: int) -> Any:
    # Shared evenly among all that equal the result.
    mine = (x == out).to(grad.dtype)
    theirs = (src == _gathered(out, index, src._node.aval, dim)).to(grad.dtype)
    count = SCATTER_ADD(mine, index, theirs, dim)
    share = grad / count
    return share * mine, None, _gathered(share, index, src._node.aval, dim) * theirs


def _product_derivative(grad: Tensor, x: Tensor, index: Tensor, src: Tensor, out: Tensor, dim: int) -> Any:
    # Zeros are left out of the product; an element gets a gradient only if no other factor is zero.
    part = src._node.aval
    my_zero, their_zero = (x == 0).to(grad.dtype), (src == 0).to(grad.dtype)
    zeros = SCATTER_ADD(my_zero, index, their_zero, dim)
    safe_x, safe_src = x + my_zero, src + their_zero
    product = REDUCED["prod"](safe_x, index, safe_src, dim)
    of_x = grad * product / safe_x * (zeros == my_zero)
    gathered = _gathered(grad * product, index, part, dim)
    of_src = gathered / safe_src * (_gathered(zeros, index, part, dim) == their_zero)
    return of_x, None, of_src


def _reduced(name: str, ufunc: str, method: str, derivative: Any) -> Operator:
    truth = T(5, dtype="bool")
    return operator(
        f"scatter_{name}",
        _scatter_rule,
        None,
        derivative,
        numpy=_placed_numpy(_ufunc_at(ufunc)),
        lax=_placed_lax(method),
        samples=lambda: [
            case("scatter_reduce", T(3, 4), 1, T(3, 2, dtype="int64", low=0, high=4), T(3, 2), reduce=name),
            case("scatter_reduce", T(3), 0, T(2, dtype="int64", low=0, high=3), T(2), reduce=name, include_self=False),
            case("scatter_reduce", truth, 0, T(5, dtype="int64", low=0, high=3), truth, reduce=name),
        ],
    )


REDUCED = {
    "prod": _reduced("prod", "multiply", "multiply", _product_derivative),
    "amax": _reduced("amax", "maximum", "max", _extreme_derivative),
    "amin": _reduced("amin", "minimum", "min", _extreme_derivative),
}


_MEANINGLESS = {"mean": dtypes.BOOL, "amax": dtypes.COMPLEX, "amin": dtypes.COMPLEX}
"""For which types there is no such combination."""


def _neutral(reduce: str, dtype: dtypes.dtype) -> Any:
    if reduce in ("sum", "mean"):
        return 0
    if reduce == "prod":
        return 1
    if dtype is dtypes.bool_:
        return reduce == "amin"
    if dtype.category == dtypes.INTEGER:
        info = np.iinfo(dtype.numpy)
        return int(info.min if reduce == "amax" else info.max)
    return -float("inf") if reduce == "amax" else float("inf")


@public(method=True, inplace=True, out="exact")
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Combines ``src`` into ``input`` at the places that ``index`` names.

    Args:
        reduce: ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.
        include_self: whether the elements of ``input`` are combined as well, or only replaced.

    Raises:
        RuntimeError: if shapes or types do not fit, or ``reduce`` is none of these.

    Example:
        >>> import flambeau as torch
        >>> x, index, src = torch.ones(3), torch.tensor([0, 2, 2]), torch.tensor([5., 2., 4.])
        >>> torch.scatter_reduce(x, 0, index, src, reduce="amax")
        tensor([5., 1., 4.])
        >>> torch.scatter_reduce(x, 0, index, src, reduce="mean", include_self=False)
        tensor([5., 1., 3.])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    _check_index_type("scatter_reduce", index)
    dim = wrapped_dim(dim, input.ndim)
    if src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if input.ndim:
        _check_range(index, dim, input._node.aval.shape[dim])
    if index._node.aval.size and input.dtype.category == _MEANINGLESS.get(reduce):
        raise NotImplementedError(
            f"\"scatter_gather_tensor_cpu_reduce_{reduce}\" not implemented for '{input.dtype.title}'"
        )
    base = input if include_self else SCATTER(input, index, _neutral(reduce, input.dtype), dim)
    if reduce in REDUCED:
        return REDUCED[reduce](base, index, src, dim)
    total = SCATTER_ADD(base, index, src, dim)
    if reduce == "sum":
        return total
    count = input.new_ones(input.shape, dtype=dtypes.int64)
    if not include_self:
        count = SCATTER(count, index, 0, dim)
    count = SCATTER_ADD(count, index, src.new_ones(src.shape, dtype=dtypes.int64), dim)
    return _averaged(total, count)


def _averaged(total: Tensor, count: Tensor) -> Tensor:
    count = count.masked_fill(count < 1, 1)
    if total.dtype.category >= dtypes.FLOATING:
        return total / count
    return total.div(count, rounding_mode="floor").to(total.dtype)


# ---------------------------------------------------------------- along a dimension by a vector


def _check_vector(name: str, index: Any) -> None:
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.ndim > 1:
        raise IndexError(
            f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim} with type: {index.dtype.title}"
        )
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32 or int64 for index but got: {index.dtype.title}")


def _check_vector_range(index: Tensor, n: int) -> None:
    value = known_value(index)
    if value is not None and value.size and (value.min() < 0 or value.max() >= n):
        raise IndexError("index out of range in self")


@public(method=True, out="exact")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The parts of a dimension that a vector of indices names, in its order.

    Shape: that of ``input`` with the size of ``index`` at ``dim``.

    Raises:
        IndexError: if an index is out of range.
        RuntimeError: if the index is no vector of integers.

    Example:
        >>> import flambeau as torch
        >>> torch.index_select(torch.tensor([[1, 2, 3], [4, 5, 6]]), 1, torch.tensor([2, 0]))
        tensor([[3, 1],
                [6, 4]])
    """
    if isinstance(index, Tensor) and index.ndim > 1:
        raise IndexError(f"index_select(): Index is supposed to be a vector, but got dim: {index.ndim}")
    _check_vector("index_select", index)
    check_devices("index_select", (input._node.aval, index._node.aval))
    dim = wrapped_dim(dim, input.ndim)
    if not input.ndim:
        if index._node.aval.size != 1:
            raise RuntimeError(
                "index_select(): Index to scalar can have only 1 value, got " + f"{index._node.aval.size} value(s)"
            )
        _check_vector_range(index, 1)
        return input.clone()
    _check_vector_range(index, input._node.aval.shape[dim])
    return labelled(INDEX([input, *[None] * dim, index.reshape(-1)]), "IndexSelectBackward0")


@public(method=True, inplace=True, out="exact")
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """``input`` with ``alpha * source`` added to the parts of a dimension that ``index`` names.

    Shape: that of ``input``; ``index`` is a vector (K), and ``source`` that of ``input`` with size K at ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.index_add(torch.zeros(3), 0, torch.tensor([0, 2, 2]), torch.tensor([1., 10., 20.]), alpha=2)
        tensor([ 2.,  0., 60.])
    """
    _check_source("index_add", input, dim, index, source)
    if alpha != 1:
        source = source * alpha
    return labelled(_index_put(input, dim, index, source, True), "IndexAddBackward0")


@public(method=True, inplace=True, out="exact")
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """``input`` with the parts of a dimension that ``index`` names replaced by those of ``source``.

    Shape: that of ``input``; ``index`` is a vector (K), and ``source`` that of ``input`` with size K at ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.index_copy(torch.zeros(3, 2), 0, torch.tensor([2, 0]), torch.tensor([[1., 2.], [3., 4.]]))
        tensor([[3., 4.],
                [0., 0.],
                [1., 2.]])
    """
    _check_source("index_copy", input, dim, index, source)
    return labelled(_index_put(input, dim, index, source, False), "IndexCopyBackward0")


def _check_source(name: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> None:
    if isinstance(index, Tensor) and index.ndim > 1:
        raise IndexError(f"{name}(): Index should have dimension 1 or 0 (got {index.ndim})")
    if index.dtype is not dtypes.int64 and (name == "index_copy" or index.dtype is not dtypes.int32):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index but got: {index.dtype.title}")
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"{name}(): self ({input.dtype.title}) and source ({source.dtype.title}) must have the same scalar type"
        )
    check_devices(name, (input._node.aval, index._node.aval, source._node.aval))
    dim = wrapped_dim(dim, input.ndim)
    n = input._node.aval.shape[dim] if input.ndim else 1
    count = index._node.aval.size
    have = source._node.aval.shape
    at_source = dim if have else 0
    if (
        input.ndim
        and source.ndim
        and (
            have[:at_source] + have[at_source + 1 :] != input._node.aval.shape[:dim] + input._node.aval.shape[dim + 1 :]
        )
    ):
        kind = IndexError if name == "index_copy" and input.ndim != source.ndim else RuntimeError
        raise kind(
            f"{name}(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{list(input.shape)} at dimension {dim} and source slice shape: {list(have)} at dimension {at_source}."
        )
    if (have[at_source] if have else 1) != count:
        kind = IndexError if name == "index_copy" else RuntimeError
        raise kind(
            f"{name}(): Number of indices ({count}) should be equal to source.size(dim): ({list(have)}), for dim: {dim}"
        )
    value = known_value(index)
    if value is not None and value.size and (value.min() < 0 or value.max() >= n):
        wrong = int(value.max()) if value.max() >= n else int(value.min())
        raise (IndexError if name == "index_copy" else RuntimeError)(
            f"index {wrong} is out of bounds for dimension {dim} with size {n}"
        )


def _index_put(input: Tensor, dim: int, index: Tensor, source: Any, accumulate: bool) -> Tensor:
    dim = wrapped_dim(dim, input.ndim)
    if not input.ndim:
        index = index.reshape(-1)
        source = source.reshape(index.shape) if isinstance(source, Tensor) and source.ndim else source
        return INDEX_PUT([input.reshape(1), source, index], accumulate).reshape(())
    index = index.reshape(-1)
    if isinstance(source, Tensor) and source.ndim == 0:
        source = source.reshape((1,) * input.ndim)
    return INDEX_PUT([input, source, *[None] * dim, index], accumulate)


@public(method=True, inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """``input`` with the parts of a dimension that ``index`` names filled with one value.

    Shape: that of ``input``; ``index`` is a vector.

    Raises:
        IndexError: if ``index`` is no vector of int64.
        RuntimeError: if ``value`` is a tensor with dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.index_fill(torch.zeros(2, 3), 1, torch.tensor([0, 2]), 9)
        tensor([[9., 0., 9.],
                [9., 0., 9.]])
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"Only supports 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s)."
            )
        value = value.to(input.device)
    elif isinstance(value, complex) and not input.dtype.is_complex:
        raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
    else:
        value = fitting(value, input.dtype)
    if index.dtype is not dtypes.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.ndim > 1:
        raise IndexError("Index has to be a vector/scalar")
    dim = wrapped_dim(dim, input.ndim)
    checked_bounds(index, dim, input._node.aval.shape[dim] if input.ndim else 1)
    shape = [1] * max(input.ndim, 1)
    n = shape[dim] = input._node.aval.shape[dim] if input.ndim else 1
    chosen = INDEX_PUT([index.new_zeros((n,), dtype=dtypes.bool_), True, index.reshape(-1)], False)
    result = MASKED_FILL(input, chosen.reshape(tuple(shape) if input.ndim else ()), value)
    return labelled(result, f"IndexFillBackward{int(isinstance(value, Tensor))}")


@public(method=True, inplace=True, out="exact")
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """Combines the parts of ``source`` into those of ``input`` that ``index`` names.  Warns that it may change.

    Args:
        reduce: ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.

    Raises:
        RuntimeError: for any other ``reduce``, or if the shapes do not match.
        NotImplementedError: for bools and complex numbers.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> x, index, source = torch.ones(3), torch.tensor([0, 2, 2]), torch.tensor([5., 2., 4.])
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.index_reduce(x, 0, index, source, "prod"))
        tensor([5., 1., 8.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    _check_source("index_reduce", input, dim, index, source)
    if source.ndim != input.ndim:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {list(input.shape)} source.shape = {list(source.shape)}"
        )
    warn("index_reduce() is in beta and the API may change at any time.")
    if input.dtype.category in (dtypes.BOOL, dtypes.COMPLEX) and index._node.aval.size:
        raise NotImplementedError(f"\"index_func_\" not implemented for '{input.dtype.title}'")
    dim = wrapped_dim(dim, input.ndim)
    if input.ndim:
        shape = [1] * source.ndim
        shape[dim] = -1
        index = index.to(dtypes.int64).reshape(tuple(shape)).expand(source.shape)
    else:
        index = index.to(dtypes.int64).reshape(source.shape)
    return scatter_reduce(input, dim, index, source, reduce, include_self=include_self)
