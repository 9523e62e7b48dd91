"""Triangular systems and the Cholesky factorization."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int32
from flambeau.graph.node import Aval
from flambeau.ops.linalg import (
    adjoint,
    batch_of,
    fits,
    floating,
    identity,
    matrices,
    raise_where,
    same_type,
    square,
    substitute,
    substitute_lax,
)
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import T, case
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- triangular systems


def _triangular_rule(A: Aval, B: Aval, *, lower: bool, unitriangular: bool) -> Aval:
    return B.of((*batch_of(A, B), *B.shape[-2:]))


def _triangular_numpy(np: Any, A: Any, B: Any, *, lower: bool, unitriangular: bool) -> Any:
    return substitute(np, A, B, lower, unitriangular)


def _triangular_lax(jnp: Any, A: Any, B: Any, *, lower: bool, unitriangular: bool) -> Any:
    return substitute_lax(jnp, A, B, lower, unitriangular)


def _triangular_derivative(
    grad: Tensor, A: Tensor, out: Tensor, lower: bool, unitriangular: bool, needs: tuple[bool, ...]
) -> Any:
    right = TRIANGULAR(adjoint(A), grad, not lower, unitriangular)
    if not needs[0]:
        return None, right
    off = 1 if unitriangular else 0
    left = -(right @ adjoint(out))
    return left.tril(-off) if lower else left.triu(off), right


TRIANGULAR = operator(
    "linalg_solve_triangular",
    _triangular_rule,
    None,
    _triangular_derivative,
    numpy=_triangular_numpy,
    lax=_triangular_lax,
    samples=lambda: [
        case("linalg.solve_triangular", T(3, 3, low=1), T(3, 2), upper=True),
        case("linalg.solve_triangular", T(2, 3, 3, low=1), T(3, 2), upper=False),
        case("linalg.solve_triangular", T(3, 3, low=1), T(2, 3), upper=True, left=False, unitriangular=True),
        case("linalg.solve_triangular", T(2, 2, dtype="complex64"), T(2, 2, dtype="complex64"), upper=False),
    ],
)


def triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """Solutions of triangular systems, nothing checked."""
    if left:
        return TRIANGULAR(A, B, not upper, unitriangular)
    found = TRIANGULAR(A.transpose(-2, -1), B.transpose(-2, -1), upper, unitriangular)
    return found.transpose(-2, -1)


@public(into="linalg", out="exact")
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """The solutions of ``AX = B``, or ``XA = B`` if not ``left``, by substitution.

    Args:
        A: (..., N, N), of which one triangle is read.
        B: (..., N, K), or (..., K, N) if not ``left``.
        upper: which triangle.
        unitriangular: whether the diagonal is taken to be ones.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[2.0, 1.0], [0.0, 4.0]])
        >>> torch.linalg.solve_triangular(A, torch.tensor([[4.0], [8.0]]), upper=True)
        tensor([[1.],
                [2.]])
    """
    square("linalg.solve_triangular", A)
    matrices("linalg.solve_triangular", B, "B")
    fits("linalg.solve_triangular", A, B, left)
    floating("linalg.solve_triangular", A, "triangular_solve_cpu")
    same_type("linalg.solve_triangular", A, B)
    return triangular(A, B, upper=upper, left=left, unitriangular=unitriangular)


@public(method=True)
def triangular_solve(
    input: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
    *,
    out: Any = None,
) -> Any:
    """The solutions of ``AX = input`` for triangular A, and a copy of A; the older form of :func:`solve_triangular`.

    Raises:
        RuntimeError: if either has fewer than two dimensions, or the sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[2.0, 1.0], [0.0, 4.0]])
        >>> torch.triangular_solve(torch.tensor([[4.0], [8.0]]), A).solution
        tensor([[1.],
                [2.]])
    """
    for name, matrix in (("b", input), ("A", A)):
        if matrix.ndim < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it has {matrix.ndim} "
                "dimensions instead"
            )
    _pair("triangular_solve", input, A)
    batch = batch_of(input._node.aval, A._node.aval)
    wide = A.expand((*batch, *A.shape[-2:]))
    given = A.transpose(-2, -1) if transpose else A
    solution = triangular(given, input, upper=upper is not transpose, unitriangular=unitriangular)
    result = named("triangular_solve", solution, wide.clone())
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    return write_out("triangular_solve", result, out, "exact")


def _pair(function: str, b: Tensor, A: Tensor) -> None:
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"{function}: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        )
    if A.shape[-2] != b.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {function}: each A matrix is {A.shape[-1]} by {A.shape[-1]} but each b "
            f"matrix is {b.shape[-2]} by {b.shape[-1]}"
        )


# ---------------------------------------------------------------- Cholesky


def _cholesky_rule(A: Aval) -> tuple[Aval, Aval]:
    return A.of(), A.of(A.shape[:-2], int32)


def _cholesky_numpy(np: Any, A: Any) -> tuple[Any, Any]:
    info = np.zeros(A.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(A), info
    except np.linalg.LinAlgError:
        n = A.shape[-1]
        flat = A.reshape(-1, n, n)
        parts = [_columnwise(np, matrix) for matrix in flat]
        factors = np.stack([part for part, _ in parts]).reshape(A.shape)
        return factors, np.array([code for _, code in parts], np.int32).reshape(info.shape)


def _columnwise(np: Any, a: Any) -> tuple[Any, int]:
    """Column by column, as far as it goes, and the order of the first leading minor that is not positive."""
    lower = np.tril(a)
    for j in range(a.shape[0]):
        pivot = (lower[j, j] - np.vdot(lower[j, :j], lower[j, :j])).real
        if not pivot > 0:
            return lower, j + 1
        lower[j, j] = np.sqrt(pivot)
        lower[j + 1 :, j] = (lower[j + 1 :, j] - lower[j + 1 :, :j] @ lower[j, :j].conj()) / lower[j, j]
    return lower, 0


def _cholesky_lax(jnp: Any, A: Any) -> tuple[Any, Any]:
    from jax import lax

    if A.size == 0:
        return A, jnp.zeros(A.shape[:-2], jnp.int32)
    lower = jnp.tril(lax.linalg.cholesky(A, symmetrize_input=False))
    failed = jnp.isnan(jnp.diagonal(lower, axis1=-2, axis2=-1).real).any(-1)
    good = jnp.zeros(A.shape[:-2], jnp.int32)
    info = lax.cond(failed.any(), lambda _: _minors(jnp, A), lambda _: good, None)
    return lower, info


def _minors(jnp: Any, A: Any) -> Any:
    """The order of the first leading minor that is not positive, by elimination."""
    from jax import lax

    n = A.shape[-1]
    lower = jnp.tril(A)
    full = lower + jnp.conj(jnp.swapaxes(jnp.tril(A, -1), -2, -1))

    def step(j: Any, state: Any) -> Any:
        rest, info = state
        pivot = lax.dynamic_index_in_dim(lax.dynamic_index_in_dim(rest, j, -2, False), j, -1, False).real
        info = jnp.where((info == 0) & ~(pivot > 0), (j + 1).astype(jnp.int32), info)
        row = lax.dynamic_index_in_dim(rest, j, -2, True)
        column = lax.dynamic_index_in_dim(rest, j, -1, True)
        return rest - column * row / pivot[..., None, None].astype(rest.dtype), info

    return lax.fori_loop(0, n, step, (full, jnp.zeros(A.shape[:-2], jnp.int32)))[1]


def _cholesky_derivative(grads: list[Tensor], outs: list[Tensor]) -> Tensor:
    # Murray, "Differentiation of the Cholesky decomposition" (2016), equation 10.
    L = outs[0]
    inner = (adjoint(L) @ grads[0]).tril()
    inner = inner - identity(L) * inner / 2
    half = triangular(adjoint(L), inner, upper=True)
    found = triangular(L, half, upper=False, left=False)
    return (found + adjoint(found)) / 2


CHOLESKY = operator(
    "linalg_cholesky_ex",
    _cholesky_rule,
    None,
    _cholesky_derivative,
    numpy=_cholesky_numpy,
    lax=_cholesky_lax,
    # A matrix that is not made definite by its diagonal has no factor to compare.
    samples=lambda: [case("linalg.cholesky_ex", T(1, 1, low=0.5)), case("linalg.cholesky_ex", T(3, 1, 1, low=0.5))],
)


def _indefinite(code: int) -> str:
    return (
        "The factorization could not be completed because the input is not positive-definite (the leading minor of "
        f"order {code} is not positive-definite)."
    )


def _factor(function: str, A: Tensor, upper: bool) -> tuple[Tensor, Tensor]:
    square(function, A)
    floating(function, A, "cholesky_cpu")
    lower, info = CHOLESKY(adjoint(A) if upper else A)
    return (adjoint(lower) if upper else lower), info


@public(into="linalg", out="exact")
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Cholesky factors, and an ``info``: the order of the leading minor that is not positive, or zero.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[[4.0, 2.0], [2.0, 5.0]], [[1.0, 2.0], [2.0, 1.0]]])
        >>> torch.linalg.cholesky_ex(A).info
        tensor([0, 2], dtype=torch.int32)
        >>> torch.linalg.cholesky_ex(A).L[0]
        tensor([[2., 0.],
                [1., 2.]])
    """
    result, info = _factor("linalg.cholesky", A, upper)
    if check_errors:
        raise_where(info, "linalg.cholesky_ex", _indefinite)
    return named("linalg_cholesky_ex", result, info)


@public("cholesky", into="linalg", out="exact")
def _linalg_cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``A = L Lᴴ``, or the upper triangular U with ``A = Uᴴ U``.

    Shape: (..., N, N), Hermitian and positive-definite; one triangle is read.

    Raises:
        LinAlgError: if a matrix is not positive-definite.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.cholesky(torch.tensor([[4., 2.], [2., 2.]]))
        tensor([[2., 0.],
                [1., 1.]])
    """
    result, info = _factor("linalg.cholesky", A, upper)
    raise_where(info, "linalg.cholesky", _indefinite)
    return result


@public(method=True, out=True)
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Cholesky factors; see :func:`flambeau.linalg.cholesky`.

    Example:
        >>> import flambeau as torch
        >>> torch.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    square("cholesky", input)
    result, info = _factor("cholesky", input, upper)
    raise_where(info, "cholesky", _indefinite)
    return result


@public(method=True, out=True)
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """The solutions of ``AX = input``, given the Cholesky factor of A.

    Raises:
        RuntimeError: if either has fewer than two dimensions, or the sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> L = torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
        >>> torch.cholesky_solve(torch.tensor([[8.0], [8.0]]), L)
        tensor([[1.5000],
                [1.0000]])
    """
    for name, matrix in (("b", input), ("u", L)):
        if matrix.ndim < 2:
            raise RuntimeError(f"{name} should have at least 2 dimensions, but has {matrix.ndim} dimensions instead")
    _pair("cholesky_solve", input, L)
    if upper:
        return triangular(L, triangular(adjoint(L), input, upper=False), upper=True)
    return triangular(adjoint(L), triangular(L, input, upper=False), upper=True)


@public(method=True, out=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, given its Cholesky factor.

    Example:
        >>> import flambeau as torch
        >>> L = torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 2.0]]))
        >>> torch.cholesky_inverse(L)
        tensor([[ 0.5000, -0.5000],
                [-0.5000,  1.0000]])
    """
    square("cholesky_inverse", L)
    inverted = triangular(L, identity(L).expand(L.shape), upper=upper)
    if upper:
        return inverted @ adjoint(inverted)
    return adjoint(inverted) @ inverted
