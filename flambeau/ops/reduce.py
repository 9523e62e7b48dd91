"""Reductions: what becomes of many elements along some dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.cast import CAST
from flambeau.ops.operator import INTEGER_RESULT, labelled, operator, public
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
    samples=lambda: [
        case("sum", T(2, 3)),
        case("sum", T(2, 3, 4), dim=(0, -1), keepdim=True),
        case("sum", T(0, 3), dim=0),
    ],
)


@public(method=True, out="typed")
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
    result = SUM(input, reduced_dims(dim, input.ndim), keepdim)
    return result if dim is None else labelled(result, "SumBackward1")


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
    samples=lambda: [
        case("mean", T(2, 3)),
        case("mean", T(2, 3, 4), dim=1),
        case("mean", T(2, 3), dim=(0, 1), keepdim=True),
    ],
)


@public(method=True, out="typed")
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The arithmetic mean along ``dim`` (all dimensions if None).

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Raises:
        RuntimeError: for integer and bool tensors, unless ``dtype`` is given.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1., 3.], [5., 7.]])
        >>> torch.mean(x), torch.mean(x, dim=1, keepdim=True).shape
        (tensor(4.), torch.Size([2, 1]))
    """
    if dtype is not None:
        input = input.to(dtype)
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {input.dtype.title}"
        )
    result = MEAN(input, reduced_dims(dim, input.ndim), keepdim)
    return result if dim is None else labelled(result, "MeanBackward1")


# ---------------------------------------------------------------- prod


def _prod_kernel(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    return xp.prod(x, axis=dims, keepdims=keepdim, dtype=x.dtype)


def _prod_derivative(grad: Tensor, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    from flambeau.ops.scan import product_of_others

    shape = x._node.aval.shape
    if not shape:
        return grad
    others = product_of_others(x, dims[0]) if len(dims) == 1 else product_of_others(x.reshape(-1), 0).reshape(shape)
    return restored(grad, shape, dims, keepdim) * (others.conj() if x.dtype.is_complex else others)


PROD = operator(
    "prod",
    reduce_rule,
    _prod_kernel,
    _prod_derivative,
    samples=lambda: [case("prod", T(2, 3)), case("prod", T(2, 3, 4), 1, keepdim=True), case("prod", T(0, 3), 0)],
)


@public(method=True, out="typed")
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The product of all elements, or along ``dim``.

    Integers and bools are multiplied as int64 unless ``dtype`` is given.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Example:
        >>> import flambeau as torch
        >>> torch.prod(torch.tensor([[1, 2], [3, 4]]), dim=1)
        tensor([ 2, 12])
    """
    if dtype is None and input.dtype.category < dtypes.FLOATING:
        dtype = dtypes.int64
    if dtype is not None:
        input = input.to(dtype)
    result = PROD(input, reduced_dims(dim, input.ndim), bool(keepdim))
    return result if dim is None else labelled(result, "ProdBackward1")


# ---------------------------------------------------------------- any, all


def _logic_rule(x: Aval, *, dims: tuple[int, ...], keepdim: bool) -> Aval:
    dtype = x.dtype if x.dtype is dtypes.uint8 else dtypes.bool_
    return x.of(reduced_shape(x.shape, dims, keepdim), dtype)


def _logic_kernel(name: str) -> Any:
    def kernel(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
        result = getattr(xp, name)(x if x.dtype.kind == "b" else x != 0, axis=dims, keepdims=keepdim)
        return xp.asarray(result).astype(x.dtype) if x.dtype == "uint8" else result

    return kernel


ANY = operator(
    "any",
    _logic_rule,
    _logic_kernel("any"),
    INTEGER_RESULT,
    samples=lambda: [case("any", T(3, 4, dtype="bool")), case("any", T(3, 4, dtype="bool"), 1, True)],
)
ALL = operator(
    "all",
    _logic_rule,
    _logic_kernel("all"),
    INTEGER_RESULT,
    samples=lambda: [case("all", T(3, 4, dtype="bool")), case("all", T(3, 4, dtype="bool"), 1, True)],
)


def _logic_dims(dim: Any, ndim: int) -> tuple[int, ...]:
    # Unlike elsewhere, no dimensions means none, not all.
    return () if isinstance(dim, list | tuple) and not dim else reduced_dims(dim, ndim)


@public(method=True, out="exact")
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether an element along ``dim`` (of all if None) is not zero.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Example:
        >>> import flambeau as torch
        >>> torch.any(torch.tensor([[0, 0], [1, 0]]), dim=1)
        tensor([False,  True])
    """
    return ANY(input, _logic_dims(dim, input.ndim), bool(keepdim))


@public(method=True, out="exact")
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether no element along ``dim`` (of all if None) is zero.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Example:
        >>> import flambeau as torch
        >>> torch.all(torch.tensor([[1, 1], [1, 0]]), dim=1)
        tensor([ True, False])
    """
    return ALL(input, _logic_dims(dim, input.ndim), bool(keepdim))


# ---------------------------------------------------------------- hash_tensor


def _hash_rule(x: Aval, *, dims: tuple[int, ...], keepdim: bool) -> Aval:
    if x.dtype.is_complex:
        raise NotImplementedError(f"\"xor_sum_cpu\" not implemented for '{x.dtype.title}'")
    return x.of(reduced_shape(x.shape, dims, keepdim), dtypes.uint64)


def _hash_numpy(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    wide = x.astype("float64") if x.dtype.kind not in "iub" else x.astype("int64")
    return np.bitwise_xor.reduce(wide.view("uint64"), axis=dims, keepdims=keepdim)


def _hash_lax(xp: Any, x: Any, *, dims: tuple[int, ...], keepdim: bool) -> Any:
    from jax import lax

    wide = x.astype("float64") if x.dtype.kind not in "iub" else x.astype("int64")
    words = lax.bitcast_convert_type(wide, np.uint64)
    return lax.reduce(words, np.uint64(0), lax.bitwise_xor, dims).reshape(reduced_shape(x.shape, dims, keepdim))


HASH = operator(
    "hash_tensor",
    _hash_rule,
    None,
    INTEGER_RESULT,
    numpy=_hash_numpy,
    lax=_hash_lax,
    samples=lambda: [
        case("hash_tensor", T(3, 4)),
        case("hash_tensor", T(3, 4, dtype="int32"), dim=1),
        case("hash_tensor", T(2, 3, 4, dtype="bfloat16"), dim=(0, 2), keepdim=True),
        case("hash_tensor", T(dtype="bool")),
    ],
)


@public(method=True, out=True)
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """The exclusive or of the bits of the elements along ``dim`` (of all if empty), as uint64.

    Floating-point elements count with the bits of their float64 value, others with those of their int64 value.

    Args:
        mode: 0, the only one there is.

    Raises:
        NotImplementedError: for complex tensors.
        RuntimeError: for another mode, or for a tensor without elements unless ``dim`` is given.
        IndexError: if a dimension reduced has no elements.

    Example:
        >>> import flambeau as torch
        >>> torch.hash_tensor(torch.tensor([1, 2, 7]))
        tensor(4, dtype=torch.uint64)
    """
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    dims = reduced_dims(dim, input.ndim)
    shape = input._node.aval.shape
    if not input._node.aval.size:
        if dim is None or dim == () or dim == []:
            raise RuntimeError(
                "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        for d in dims:
            if not shape[d]:
                raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    return HASH(input, dims, keepdim)


# ---------------------------------------------------------------- counting, and sums without NaN


@public(method=True)
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements along ``dim`` (of all if None) are not zero.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.count_nonzero(torch.tensor([[1, 0], [2, 3]]), dim=1)
        tensor([1, 2])
    """
    return SUM(CAST(input != 0, dtypes.int64), reduced_dims(dim, input.ndim), False)


@public(method=True, out="typed")
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The sum along ``dim``, NaN counted as zero.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Raises:
        RuntimeError: for complex numbers.
        NotImplementedError: for a complex ``dtype``.

    Example:
        >>> import flambeau as torch
        >>> torch.nansum(torch.tensor([1., float("nan"), 3.]))
        tensor(4.)
    """
    if input.dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs")
    if input.dtype.is_floating_point:
        if dtype is not None and dtype.is_complex:
            raise NotImplementedError(f"\"nansum_cpu\" not implemented for '{dtype.title}'")
        input = input.masked_fill(input != input, 0)
    return labelled(sum(input, dim, keepdim, dtype=dtype), "NansumBackward0")


@public(method=True, out="typed")
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The mean along ``dim`` of the elements that are not NaN.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Raises:
        RuntimeError: unless the type is floating or complex.

    Example:
        >>> import flambeau as torch
        >>> torch.nanmean(torch.tensor([1., float("nan"), 3.]))
        tensor(2.)
    """
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype.title}"
        )
    if dtype is not None and dtype.category < dtypes.FLOATING:
        raise RuntimeError(
            "nanmean(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype. "
            f"Got: {dtype.title}"
        )
    return nansum(input, dim, keepdim, dtype=dtype) / (input == input).sum(dim, keepdim)
