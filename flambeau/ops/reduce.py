"""Reductions: what becomes of many elements along some dimensions."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the family shares


def reduced_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    """Which dimensions to reduce, counted from the front; all for None or an empty sequence."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return tuple(range(ndim))
    if isinstance(dim, int):
        dim = (dim,)
    dims = tuple([wrapped_dim(d, ndim) for d in dim])
    if len(set(dims)) != len(dims):
        repeated = next(d for d in dims if dims.count(d) > 1)
        raise RuntimeError(f"dim {repeated} appears multiple times in the list of dims")
    return dims if ndim else ()


def reduced_shape(shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape that is left."""
    if keepdim:
        return tuple([1 if i in dims else n for i, n in enumerate(shape)])
    return tuple([n for i, n in enumerate(shape) if i not in dims])


def restored(reduced: Tensor, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """A reduced tensor with its reduced dimensions back, as ones, to broadcast against the operand."""
    if keepdim or not dims:
        return reduced
    return reduced.reshape(tuple([1 if i in dims else n for i, n in enumerate(shape)]))


def reduce_rule(x: Aval, *, dims: tuple[int, ...], keepdim: bool) -> Aval:
    return x.of(reduced_shape(x.shape, dims, keepdim))


# ---------------------------------------------------------------- sum, mean


def _sum_kernel(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return xp.sum(x, axis=dims, keepdims=keepdim, dtype=x.dtype)


def _sum_derivative(grad: Tensor, x_shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return restored(grad, x_shape, dims, keepdim).expand(x_shape)


SUM = operator(
    "sum",
    reduce_rule,
    _sum_kernel,
    _sum_derivative,
    samples=lambda: [case("sum", T(2, 3)), case("sum", T(2, 3, 4), dim=(0, -1), keepdim=True), case("sum", T(0, 3), dim=0)],
)


@public(method=True)
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The sum along ``dim`` (all dimensions if None).

    Args:
        dim: one dimension or several.
        keepdim: leave the reduced dimensions as ones.
        dtype: convert to it first; integers and bools are summed as int64 unless it is given.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2, 3).sum(dim=1)
        tensor([3., 3.])
    """
    if dtype is None and input.dtype.category < dtypes.FLOATING:
        dtype = dtypes.int64
    if dtype is not None:
        input = input.to(dtype)
    return SUM(input, reduced_dims(dim, input.ndim), keepdim)


def _mean_kernel(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return xp.mean(x, axis=dims, keepdims=keepdim, dtype=x.dtype)


def _mean_derivative(grad: Tensor, x_shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    count = 1
    for d in dims:
        count *= x_shape[d]
    return (restored(grad, x_shape, dims, keepdim) / count).expand(x_shape)


MEAN = operator(
    "mean",
    reduce_rule,
    _mean_kernel,
    _mean_derivative,
    samples=lambda: [case("mean", T(2, 3)), case("mean", T(2, 3, 4), dim=1), case("mean", T(2, 3), dim=(0, 1), keepdim=True)],
)


@public(method=True)
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The arithmetic mean along ``dim`` (all dimensions if None).

    Raises:
        RuntimeError: for integer and bool tensors, unless ``dtype`` is given.
    """
    if dtype is not None:
        input = input.to(dtype)
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype.title}"
        )
    return MEAN(input, reduced_dims(dim, input.ndim), keepdim)
