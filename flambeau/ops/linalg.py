"""Linear algebra: what the family shares, inverses and solutions of linear systems.

Where a function of PyTorch raises for a singular matrix, its operator gives, beside the result, an
``info`` tensor (zero where all went well), and the function looks at it: that computes what was recorded
so far.  The forms whose names end in ``_ex`` don't look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau.dtypes import FLOATING, REDUCED, int32
from flambeau.graph.node import Aval
from flambeau.graph.observer import current as looking
from flambeau.ops.join import cat
from flambeau.ops.operator import NAMESPACES, operator, public
from flambeau.ops.pointwise import broadcast_shapes, checked_tensor, conj
from flambeau.ops.samples import T, case
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- what the family shares


class _LinAlgError(RuntimeError):
    """A matrix does not allow what was asked for: it is singular, not positive-definite, not finite.

    Example:
        >>> import flambeau as torch
        >>> try:
        ...     torch.linalg.inv(torch.zeros(2, 2))
        ... except torch.linalg.LinAlgError as error:
        ...     print(str(error)[:42])
        linalg.inv: The diagonal element 1 is zero
    """


LinAlgError = _LinAlgError
NAMESPACES.setdefault("linalg", {})["LinAlgError"] = LinAlgError


def matrices(function: str, A: Tensor, name: str = "A") -> None:
    """Raises unless a tensor has at least two dimensions."""
    checked_tensor(function, name, 1, A)
    if A.ndim < 2:
        raise RuntimeError(f"{function}: The input tensor {name} must have at least 2 dimensions.")


def square(function: str, A: Tensor, name: str = "A") -> None:
    """Raises unless a tensor holds square matrices."""
    matrices(function, A, name)
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"{function}: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        )


def floating(function: str, A: Tensor, kernel: str | None = None) -> None:
    """Raises unless the type is floating or complex, of at least 32 bits.

    ``kernel``: the name under which PyTorch refuses a type of fewer bits.
    """
    if A.dtype.category < FLOATING:
        raise RuntimeError(f"{function}: Expected a floating point or complex tensor as input. Got {A.dtype.title}")
    if A.dtype in REDUCED:
        if kernel is None:
            raise RuntimeError(f"{function}: Low precision dtypes not supported. Got {A.dtype.title}")
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{A.dtype.title}' (convert it, with .float())")


def same_type(function: str, A: Tensor, B: Tensor, names: str = "A B") -> None:
    """Raises unless two operands have one type."""
    if A.dtype is not B.dtype:
        one, two = names.split()
        raise RuntimeError(
            f"{function}: Expected {one} and {two} to have the same dtype, but found {one} of type {A.dtype.title} and "
            f"{two} of type {B.dtype.title} instead"
        )


def raise_where(info: Tensor, function: str, text: Callable[[int], str], error: type[Exception] = LinAlgError) -> None:
    """Raises for the first matrix whose ``info`` is not zero; computes what was recorded."""

    def check(codes: numpy.ndarray) -> None:
        if not codes.any():
            return
        flat = codes.reshape(-1)
        first = int(numpy.flatnonzero(flat)[0])
        where = f"(Batch element {first}): " if codes.ndim else ""
        raise error(f"{function}: {where}{text(int(flat[first]))}")

    inspect(info, check)


def inspect(tensor: Tensor, check: Callable[[numpy.ndarray], None]) -> None:
    """Has a check look at values: now, or while a function is mapped, when those of all examples are known."""
    if tensor.device.type == "meta":
        return
    if looking.observer is None or not looking.observer.postponed(tensor, lambda known: inspect(known, check)):
        check(tensor._array())


def unit(shape: Sequence[int], like: Tensor) -> Tensor:
    """The matrix of a shape's last two sizes with ones on its diagonal, in the type of another tensor."""
    aval = like._node.aval
    return from_array(numpy.eye(shape[-2], shape[-1], dtype=aval.dtype.numpy), aval.dtype, aval.device)


def identity(A: Tensor) -> Tensor:
    """The unit matrix that fits square matrices."""
    return unit(A._node.aval.shape, A)


def adjoint(A: Tensor) -> Tensor:
    """The conjugate transpose of matrices."""
    return conj(A).transpose(-2, -1)


def batch_of(*avals: Aval) -> tuple[int, ...]:
    """The common leading sizes of stacks of matrices."""
    return broadcast_shapes(*[aval.shape[:-2] for aval in avals])


def first_true(xp: Any, flags: Any) -> Any:
    """Per row, one more than the place of the first flag set; zero where none is."""
    if flags.shape[-1] == 0:
        return xp.zeros(flags.shape[:-1], xp.int32)
    return xp.where(xp.any(flags, axis=-1), xp.argmax(flags, axis=-1) + 1, 0).astype(xp.int32)


# ---------------------------------------------------------------- kernels that several operators use

BLOCK = 32


def substitute(np: Any, a: Any, b: Any, lower: bool, unitriangular: bool) -> Any:
    """Solves triangular systems by blocks: substitution inside one, products for the rest."""
    if not lower:
        return substitute(np, a[..., ::-1, ::-1], b[..., ::-1, :], True, unitriangular)[..., ::-1, :]
    n = a.shape[-1]
    x = np.array(np.broadcast_to(b, (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])))
    for start in range(0, n, BLOCK):
        end = min(start + BLOCK, n)
        for i in range(start, end):
            if i > start:
                x[..., i : i + 1, :] -= a[..., i : i + 1, start:i] @ x[..., start:i, :]
            if not unitriangular:
                x[..., i, :] /= a[..., i, i, None]
        if end < n:
            x[..., end:, :] -= a[..., end:, start:end] @ x[..., start:end, :]
    return x


def substitute_lax(jnp: Any, a: Any, b: Any, lower: bool, unitriangular: bool) -> Any:
    from jax import lax

    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = jnp.broadcast_to(a, (*batch, *a.shape[-2:])), jnp.broadcast_to(b, (*batch, *b.shape[-2:]))
    if b.size == 0:
        return b
    return lax.linalg.triangular_solve(a, b, left_side=True, lower=lower, unit_diagonal=unitriangular)


def factor(np: Any, a: Any) -> tuple[Any, Any]:
    """LU with partial pivoting, by blocks of columns (Golub and Van Loan, Matrix Computations, section 3.4).

    Both factors in one matrix, and for each column the row, from 0, that was exchanged with its own.
    """
    m, n = a.shape[-2:]
    lu = np.array(a).reshape(-1, m, n) if a.size else np.zeros((0, m, n), a.dtype)
    k = min(m, n)
    pivots = np.zeros((lu.shape[0], k), np.int32)
    rows = np.arange(lu.shape[0])
    for start in range(0, k, BLOCK):
        end = min(start + BLOCK, k)
        for j in range(start, end):
            column = lu[:, j:, j]
            size = np.abs(column.real) + np.abs(column.imag) if column.dtype.kind == "c" else np.abs(column)
            found = size.argmax(axis=1) + j
            pivots[:, j] = found
            lu[rows, j], lu[rows, found] = lu[rows, found], lu[rows, j]
            pivot = lu[:, j, j, None]
            below = np.divide(lu[:, j + 1 :, j], pivot, out=lu[:, j + 1 :, j].copy(), where=pivot != 0)
            lu[:, j + 1 :, j] = below
            lu[:, j + 1 :, j + 1 : end] -= below[:, :, None] * lu[:, j, None, j + 1 : end]
        if end < n:
            lu[:, start:end, end:] = substitute(np, lu[:, start:end, start:end], lu[:, start:end, end:], True, True)
            lu[:, end:, end:] -= lu[:, end:, start:end] @ lu[:, start:end, end:]
    return lu.reshape(a.shape), pivots.reshape(*a.shape[:-2], k)


def zero_pivots(xp: Any, lu: Any) -> Any:
    """Which pivot is zero, counted from 1; zero if none is."""
    return first_true(xp, xp.diagonal(lu, axis1=-2, axis2=-1) == 0)


def solve_lax(jnp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Solutions of linear systems, and which pivot was zero."""
    from jax import lax

    batch = jnp.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    info = jnp.zeros(a.shape[:-2], jnp.int32)
    if a.size == 0 or b.size == 0:
        shape = (*batch, a.shape[-1], b.shape[-1])
        return jnp.zeros(shape, a.dtype), zero_pivots(jnp, lax.linalg.lu(a)[0]) if a.size else info
    lu, _, order = lax.linalg.lu(a)
    b = jnp.broadcast_to(b, (*batch, *b.shape[-2:]))
    order = jnp.broadcast_to(order, (*batch, order.shape[-1]))
    b = jnp.take_along_axis(b, order[..., None], axis=-2)
    half = substitute_lax(jnp, lu, b, True, True)
    return substitute_lax(jnp, lu, half, False, False), zero_pivots(jnp, lu)


def solve_numpy(np: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Solutions of linear systems, and which pivot was zero."""
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.solve(a, b), info
    except np.linalg.LinAlgError:
        # Some of the matrices are singular: of those the solutions are not finite.
        lu, pivots = factor(np, a)
        b = exchanged(np, b, pivots)
        half = substitute(np, lu, b, True, True)
        return substitute(np, lu, half, False, False), zero_pivots(np, lu)


def exchanged(np: Any, b: Any, pivots: Any) -> Any:
    """Rows of ``b`` exchanged as a factorization exchanged those of its matrix."""
    order = row_order(np, pivots, b.shape[-2])
    batch = np.broadcast_shapes(order.shape[:-1], b.shape[:-2])
    b = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    return np.take_along_axis(b, np.broadcast_to(order, (*batch, order.shape[-1]))[..., None], axis=-2)


def row_order(np: Any, pivots: Any, m: int) -> Any:
    """The order of rows that exchanges (row i with row ``pivots[i]``, one after the other) lead to."""
    flat = pivots.reshape(math.prod(pivots.shape[:-1]), pivots.shape[-1])
    order = np.tile(np.arange(m), (flat.shape[0], 1))
    rows = np.arange(flat.shape[0])
    for i in range(flat.shape[1]):
        found = flat[:, i]
        order[rows, i], order[rows, found] = order[rows, found], order[rows, i]
    return order.reshape(*pivots.shape[:-1], m)


# ---------------------------------------------------------------- inverse


def _inv_rule(A: Aval) -> tuple[Aval, Aval]:
    return A.of(), A.of(A.shape[:-2], int32)


def _inv_numpy(np: Any, A: Any) -> tuple[Any, Any]:
    try:
        return np.linalg.inv(A), np.zeros(A.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        return solve_numpy(np, A, np.eye(A.shape[-1], dtype=A.dtype))


def inv_lax(jnp: Any, A: Any) -> tuple[Any, Any]:
    """Inverses and what was wrong with them, compiled."""
    return solve_lax(jnp, A, jnp.eye(A.shape[-1], dtype=A.dtype))


def _inv_derivative(grads: list[Tensor], outs: list[Tensor]) -> Tensor:
    inverse = adjoint(outs[0])
    return -(inverse @ grads[0] @ inverse)


INV = operator(
    "linalg_inv_ex",
    _inv_rule,
    None,
    _inv_derivative,
    numpy=_inv_numpy,
    lax=inv_lax,
    samples=lambda: [
        case("linalg.inv", T(3, 3)),
        case("linalg.inv_ex", T(2, 4, 4)),
        case("linalg.inv", T(0, 3, 3)),
        case("linalg.inv", T(2, 2, dtype="complex64")),
    ],
)


def _singular(code: int) -> str:
    return (
        f"The diagonal element {code} is zero, the inversion could not be completed because the input "
        "matrix is singular."
    )


@public(into="linalg", out="exact")
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """The inverses of square matrices, and an ``info`` that is positive where there is none.

    Shape: (..., N, N) gives the same, and (...).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.inv_ex(torch.tensor([[1., 0.], [0., 0.]])).info
        tensor(2, dtype=torch.int32)
    """
    square("linalg.inv_ex", A)
    floating("linalg.inv_ex", A)
    inverse, info = INV(A)
    if check_errors:
        raise_where(info, "linalg.inv_ex", _singular)
    return named("linalg_inv_ex", inverse, info)


@public(into="linalg", out="exact")
def inv(A: Tensor) -> Tensor:
    """The inverses of square matrices.

    Shape: (..., N, N).

    Raises:
        LinAlgError: if a matrix is singular.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.inv(torch.tensor([[2., 0.], [0., 4.]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    square("linalg.inv", A)
    floating("linalg.inv", A)
    inverse, info = INV(A)
    raise_where(info, "linalg.inv", _singular)
    return inverse


@public(method=True, out=True)
def inverse(input: Tensor) -> Tensor:
    """The inverses of square matrices; see :func:`flambeau.linalg.inv`.

    Example:
        >>> import flambeau as torch
        >>> torch.inverse(torch.tensor([[2., 0.], [0., 4.]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return inv(input)


# ---------------------------------------------------------------- solve


def _solve_rule(A: Aval, B: Aval) -> tuple[Aval, Aval]:
    batch = batch_of(A, B)
    return A.of((*batch, A.shape[-1], B.shape[-1])), A.of(A.shape[:-2], int32)


def _solve_derivative(grads: list[Tensor], A: Tensor, outs: list[Tensor], needs: tuple[bool, ...]) -> Any:
    right = SOLVE(adjoint(A), grads[0])[0]
    return -(right @ adjoint(outs[0])) if needs[0] else None, right


SOLVE = operator(
    "linalg_solve_ex",
    _solve_rule,
    None,
    _solve_derivative,
    numpy=solve_numpy,
    lax=solve_lax,
    samples=lambda: [
        case("linalg.solve", T(3, 3), T(3, 2)),
        case("linalg.solve", T(3, 3), T(3)),
        case("linalg.solve", T(2, 3, 3), T(3, 2)),
        case("linalg.solve", T(3, 3), T(2, 3), left=False),
        case("linalg.solve_ex", T(2, 2, dtype="complex64"), T(2, 2, dtype="complex64")),
    ],
)


def _is_vector(A: Tensor, B: Tensor) -> bool:
    return B.ndim == 1 or (B.ndim == A.ndim - 1 and tuple(B.shape) == tuple(A.shape[:-1]))


def _solved(A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    square("linalg.solve", A)
    floating("linalg.solve", A)
    same_type("linalg.solve", A, B)
    vector = _is_vector(A, B)
    if vector and not left:
        raise RuntimeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case "
            "linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    if B.ndim < 2 and not vector:
        raise RuntimeError("linalg.solve: The input tensor B must have at least 2 dimensions.")
    matrix = B.unsqueeze(-1) if vector else B
    fits("linalg.solve", A, matrix, left)
    if not left:
        result, info = SOLVE(A.transpose(-2, -1), matrix.transpose(-2, -1))
        return result.transpose(-2, -1), info
    result, info = SOLVE(A, matrix)
    return (result.squeeze(-1) if vector else result), info


def fits(function: str, A: Tensor, B: Tensor, left: bool) -> None:
    """Raises unless the sizes of ``AX = B`` (or, if not ``left``, ``XA = B``) agree."""
    if A.shape[-2 if left else -1] != B.shape[-2 if left else -1]:
        raise RuntimeError(
            f"{function}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})"
        )


@public(into="linalg", out="exact")
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """Solutions of ``AX = B``, and an ``info`` that is positive where a matrix is singular.

    Shape: A (..., N, N), B (..., N, K) or (..., N); ``info`` is (...).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.solve_ex(torch.tensor([[2., 0.], [0., 4.]]), torch.tensor([2., 2.]))
        torch.return_types.linalg_solve_ex(
        result=tensor([1.0000, 0.5000]),
        info=tensor(0, dtype=torch.int32))
    """
    result, info = _solved(A, B, left)
    if check_errors:
        raise_where(info, "torch.linalg.solve_ex", _unsolvable)
    return named("linalg_solve_ex", result, info)


def _unsolvable(code: int) -> str:
    return "The solver failed because the input matrix is singular."


@public(into="linalg", out="exact")
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The solutions of ``AX = B``, or of ``XA = B`` if not ``left``.

    Shape: A (..., N, N), B (..., N, K) or, one vector per matrix, (..., N).

    Raises:
        LinAlgError: if a matrix is singular.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.solve(torch.tensor([[2., 0.], [0., 4.]]), torch.tensor([1., 1.]))
        tensor([0.5000, 0.2500])
    """
    result, info = _solved(A, B, left)
    raise_where(info, "torch.linalg.solve", _unsolvable)
    return result


# ---------------------------------------------------------------- matrix exponential

# Higham, "The scaling and squaring method for the matrix exponential revisited" (2005): the approximant of
# degree 13, and up to which norm it is good to the last bit of a float64.
_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600,
    670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
_REACH = 5.371920351148152


def _matrix_exp_rule(A: Aval) -> Aval:
    return A.of()


def _matrix_exp_numpy(np: Any, A: Any) -> Any:
    if A.size == 0:
        return A
    wide = A.astype(np.complex128 if A.dtype.kind == "c" else np.float64)
    norm = np.abs(wide).sum(axis=-2).max(axis=-1)
    if not np.isfinite(norm).all():
        finite = np.isfinite(norm)[..., None, None]
        return np.where(finite, _matrix_exp_numpy(np, np.where(finite, A, A.dtype.type(0))), A.dtype.type(np.nan))
    squarings = np.maximum(np.ceil(np.log2(np.maximum(norm / _REACH, 1e-300))), 0)
    a = wide / (2.0**squarings)[..., None, None]
    eye = np.eye(A.shape[-1])
    b = _PADE
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * eye)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * eye
    result = np.linalg.solve(even - odd, even + odd)
    for done in range(int(squarings.max())):
        result = np.where((squarings > done)[..., None, None], result @ result, result)
    return result.astype(A.dtype)


def _matrix_exp_lax(jnp: Any, A: Any) -> Any:
    from jax.scipy.linalg import expm

    if A.size == 0:
        return A
    wide = A.astype(jnp.complex128 if A.dtype.kind == "c" else jnp.float64)
    return expm(wide, max_squarings=64).astype(A.dtype)


def _matrix_exp_derivative(grad: Tensor, A: Tensor) -> Tensor:
    # exp [[X, G], [0, X]] has the derivative of exp at X along G in its corner (Mathias 1996, theorem 2.1).
    n = A.shape[-1]
    back = adjoint(A)
    blocks = cat([cat([back, grad], -1), cat([back.new_zeros(back.shape), back], -1)], -2)
    return MATRIX_EXP(blocks).narrow(-2, 0, n).narrow(-1, n, n)


MATRIX_EXP = operator(
    "linalg_matrix_exp",
    _matrix_exp_rule,
    None,
    _matrix_exp_derivative,
    numpy=_matrix_exp_numpy,
    lax=_matrix_exp_lax,
    samples=lambda: [
        case("matrix_exp", T(3, 3)),
        case("linalg.matrix_exp", T(2, 3, 3, low=-5, high=5)),
        case("matrix_exp", T(2, 2, dtype="complex64")),
    ],
)


@public(into="torch linalg", method=True)
def matrix_exp(input: Tensor) -> Tensor:
    """The exponentials of square matrices, by scaling and squaring (Higham 2005).

    Shape: (..., N, N).

    Example:
        >>> import flambeau as torch
        >>> torch.matrix_exp(torch.tensor([[0., 1.], [0., 0.]]))
        tensor([[1., 1.],
                [0., 1.]])
    """
    square("linalg.matrix_exp", input)
    if input.dtype.category < FLOATING:
        floating("linalg.matrix_exp", input)
    return MATRIX_EXP(input)


# ---------------------------------------------------------------- tensors as linear maps


@public(into="linalg", out=True)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of the map that ``tensordot`` with ``A`` over its last dimensions is.

    Args:
        ind: how many of the first dimensions are those of the map's results.

    Raises:
        RuntimeError: if both sides do not have equally many elements.

    Example:
        >>> import flambeau as torch
        >>> A = torch.eye(4).view(4, 2, 2) * 2
        >>> torch.linalg.tensorinv(A, ind=1).shape
        torch.Size([2, 2, 4])
        >>> torch.tensordot(torch.linalg.tensorinv(A, ind=1), torch.ones(4), dims=1)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    rows, columns = A.shape[:ind].numel(), A.shape[ind:].numel()
    if rows != columns:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{columns} != {rows}"
        )
    return inv(A.reshape(rows, columns)).reshape(tuple(A.shape[ind:]) + tuple(A.shape[:ind]))


@public(into="linalg", out=True)
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X for which ``tensordot(A, X, X.ndim) = B``.

    Args:
        dims: dimensions of ``A`` to be moved to its end first.

    Raises:
        RuntimeError: if A is not square once its first dimensions, and its last ones, are taken together.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.tensorsolve(torch.eye(4).view(4, 2, 2) * 2, torch.tensor([2., 4., 6., 8.]))
        tensor([[1., 2.],
                [3., 4.]])
    """
    if dims is not None:
        A = A.movedim(tuple(dims), tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    columns, rows = A.shape[B.ndim :].numel(), A.shape[: B.ndim].numel()
    if columns != rows:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {columns} != {rows}"
        )
    return solve(A.reshape(rows, columns), B.reshape(-1)).reshape(shape)


@public(into="linalg")
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices, along a new last dimension.

    Shape: (..., M, N) gives (..., min(M, N)) on the main diagonal.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.diagonal(torch.arange(8).view(2, 2, 2))
        tensor([[0, 3],
                [4, 7]])
    """
    return A.diagonal(offset, dim1, dim2)
