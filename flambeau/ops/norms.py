"""Norms of vectors and matrices, and condition numbers."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.dtypes import FLOATING
from flambeau.ops.linalg import INV, floating, matrices, square
from flambeau.ops.moments import NORM
from flambeau.ops.operator import labelled, public
from flambeau.ops.pointwise import checked_tensor
from flambeau.ops.reduce import reduced_dims
from flambeau.ops.spectral import svdvals
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- vectors


def _in_type(function: str, x: Tensor, dtype: dtypes.dtype | None) -> Tensor:
    if x.dtype.category < FLOATING:
        raise RuntimeError(f"{function}: Expected a floating point or complex tensor as input. Got {x.dtype.title}")
    if dtype is None:
        return x
    if dtype.category < FLOATING:
        raise RuntimeError(f"{function}: dtype should be floating point or complex, but got {dtype.title}")
    if x.dtype.is_complex is not dtype.is_complex:
        kind = "complex" if x.dtype.is_complex else "real"
        raise RuntimeError(f"{function}: dtype should be {kind} for {kind} inputs, but got {dtype.title}")
    if dtypes.promote_types(x.dtype, dtype) is not dtype:
        raise RuntimeError(
            f"{function}: the dtype of the input ({x.dtype.title}) should be convertible without narrowing to the "
            f"specified dtype ({dtype.title})"
        )
    return x.to(dtype)


def _check_identity(x: Tensor, ord: float, dim: Any, dims: tuple[int, ...]) -> None:
    """Some norms of no elements have no meaning."""
    if ord >= 0 and ord != math.inf:
        return
    text = "inf" if ord == math.inf else "-inf" if ord == -math.inf else f"{ord:g}"
    if not x._node.aval.size and dim is None:
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {text} norm on an empty tensor because the operation does not have "
            "an identity"
        )
    for d in dims if x.ndim else ():
        if not x.shape[d]:
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {text} norm on the dimension {d} because this dimension is "
                "empty and the operation does not have an identity"
            )


@public(into="linalg", out="exact")
def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """``(sum |x|^ord)^(1/ord)`` along ``dim``, all dimensions if None.

    Args:
        ord: any number; inf and -inf give the largest and the smallest size, 0 how many elements are not zero.
        dtype: convert to it first.

    Raises:
        RuntimeError: for integer tensors, or where there are no elements and the norm needs one.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.vector_norm(torch.tensor([3., 4.]))
        tensor(5.)
    """
    checked_tensor("linalg_vector_norm", "x", 1, x)
    x = _in_type("linalg.vector_norm", x, dtype)
    dims = reduced_dims(dim, x.ndim)
    order = float(ord)
    _check_identity(x, order, dim, dims)
    return NORM(x, order, dims, bool(keepdim))


# ---------------------------------------------------------------- matrices


def _two_dims(A: Tensor, dim: Any) -> tuple[int, int]:
    if not isinstance(dim, list | tuple):
        raise TypeError(
            "linalg_matrix_norm() received an invalid combination of arguments - got (Tensor, "
            f"dim={type(dim).__name__}), but expected a tuple of two ints"
        )
    if len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {', '.join(map(str, dim))}")
    first, second = (wrapped_dim(d, A.ndim) for d in dim)
    if first == second:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


def _largest(sizes: Tensor, dim: int, keepdim: bool) -> Tensor:
    """The largest of some sizes, zero where there are none."""
    return sizes.amax(dim, keepdim) if sizes.shape[dim] else sizes.sum(dim, keepdim)


def _singular(A: Tensor, first: int, second: int, keepdim: bool, ord: Any) -> Tensor:
    """A norm made of singular values."""
    floating("linalg.matrix_norm", A, "linalg_svd_cpu")
    values = svdvals(A.movedim((first, second), (-2, -1)))
    result = values.sum(-1) if ord == "nuc" else _largest(values, -1, False) if ord == 2 else values.amin(-1)
    if keepdim:
        for d in sorted((first, second)):
            result = result.unsqueeze(d)
    return result


@public(into="linalg", out="exact")
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Any = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtypes.dtype | None = None,
) -> Tensor:
    """Norms of matrices.

    Args:
        A: (..., M, N).
        ord: ``"fro"`` (root of the sum of squares), ``"nuc"`` (sum of singular values), 2 and -2 (the largest, the
            smallest singular value), 1 and -1 (of the columns' sums of sizes), inf and -inf (of the rows').
        dim: the two dimensions that hold the matrices.

    Raises:
        RuntimeError: for any other ``ord``.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[3., 0.], [4., 0.]])
        >>> torch.linalg.matrix_norm(A), torch.linalg.matrix_norm(A, ord=1), torch.linalg.matrix_norm(A, ord="nuc")
        (tensor(5.), tensor(7.), tensor(5.))
    """
    matrices("linalg.matrix_norm", A)
    if A.dtype.category < FLOATING:
        raise RuntimeError(
            f"linalg.matrix_norm: Expected a floating point or complex tensor as input. Got {A.dtype.title}"
        )
    if isinstance(ord, str) and ord not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    if not isinstance(ord, str) and abs(ord) not in (1, 2, math.inf):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    first, second = _two_dims(A, dim)
    A = _in_type("linalg.matrix_norm", A, dtype)
    if ord == "fro":
        return NORM(A, 2.0, (first, second), bool(keepdim))
    if isinstance(ord, str) or abs(ord) == 2:
        return _singular(A, first, second, keepdim, ord)
    summed, over = (first, second) if abs(ord) == 1 else (second, first)
    sums = NORM(A, 1.0, (summed,), True)
    result = _largest(sums, over, True) if ord > 0 else sums.amin(over, True)
    return result if keepdim else result.squeeze((first, second))


@public("norm", into="linalg", out="exact")
def _linalg_norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Tensor:
    """A vector norm or a matrix norm, depending on ``ord`` and ``dim``.

    Without ``ord``, the root of the sum of squares along ``dim``.  With it, :func:`matrix_norm` where ``dim`` has
    two dimensions, or is None and A is a matrix; else :func:`vector_norm`.

    Raises:
        RuntimeError: if there are more than two dimensions to be taken together and ``ord`` is given.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[3., 4.], [0., 5.]])
        >>> torch.linalg.norm(x), torch.linalg.norm(x, ord=1), torch.linalg.norm(x, ord=1, dim=1)
        (tensor(7.0711), tensor(9.), tensor([7., 5.]))
    """
    checked_tensor("linalg_norm", "A", 1, A)
    dims = None if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if isinstance(ord, str):
        return matrix_norm(A, ord, (-2, -1) if dims is None else dims, keepdim, dtype=dtype)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if dims is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
        )
    if A.ndim == 2 if dims is None else len(dims) == 2:
        return matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)


# ---------------------------------------------------------------- condition


@public(into="linalg", out=True)
def cond(A: Tensor, p: Any = None) -> Tensor:
    """Condition numbers: the norm of a matrix times that of its inverse; inf where it is singular.

    Args:
        A: (..., M, N), square unless ``p`` is None, 2 or -2.
        p: the norm, as of :func:`matrix_norm`; by default 2, the largest singular value over the smallest.

    Raises:
        RuntimeError: if there are fewer than two dimensions, or for an unknown norm.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.cond(torch.tensor([[1., 0.], [0., 100.]]))
        tensor(100.)
    """
    if A.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p is None or (not isinstance(p, str) and abs(p) == 2):
        values = svdvals(A)
        if not values._node.aval.size:
            return values.new_zeros(A.shape[:-2])
        largest, smallest = values.select(-1, 0), values.select(-1, values.shape[-1] - 1)
        return smallest / largest if p == -2 else largest / smallest
    if not isinstance(p, str) and abs(p) not in (1, math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    square(f"linalg.cond(ord={p})", A)
    floating("linalg.cond", A)
    if not A._node.aval.size:
        return A.new_zeros(A.shape[:-2], dtype=A.dtype.to_real())
    inverse, info = INV(A)
    size = matrix_norm(inverse, p).masked_fill(info > 0, math.inf)
    found = matrix_norm(A, p) * size
    # Nothing times infinity.
    return found.masked_fill(found != found, math.inf)


# ---------------------------------------------------------------- distance of two tensors, and rows cut to a length


@public(method=True, out=True)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of ``input - other``, over all elements, after broadcasting.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor([1., 1.]), torch.tensor([4., 5.])
        >>> torch.dist(x, y), torch.dist(x, y, p=1)
        (tensor(5.), tensor(7.))
    """
    return NORM(input - other, float(p), tuple(range(max(input.ndim, other.ndim))), False)


@public(method=True, inplace=True, out="exact")
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Scales down each slice along ``dim`` whose p-norm is above ``maxnorm``.

    Raises:
        RuntimeError: if ``p`` is not positive, ``maxnorm`` is negative, or there are fewer than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.renorm(torch.tensor([[3., 4.], [0.3, 0.4]]), p=2, dim=0, maxnorm=1)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]])
    """
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    at = wrapped_dim(dim, input.ndim)
    length = NORM(input, float(p), tuple([d for d in range(input.ndim) if d != at]), True)
    # The small addend is PyTorch's.
    factor = (maxnorm / (length + 1e-7)).masked_fill(length <= maxnorm, 1)
    return labelled(input * factor.to(input.dtype), "RenormBackward0")
