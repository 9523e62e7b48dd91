"""Factorizations of any matrix: QR with its Householder reflections, and LU."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import int32
from flambeau.graph.node import Aval
from flambeau.ops.cholesky import triangular
from flambeau.ops.join import cat
from flambeau.ops.linalg import (
    adjoint,
    exchanged,
    factor,
    fits,
    floating,
    identity,
    matrices,
    raise_where,
    row_order,
    same_type,
    square,
    unit,
    zero_pivots,
)
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import not_implemented
from flambeau.ops.samples import T, case
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- QR


def _qr_rule(A: Aval, *, mode: str) -> tuple[Aval, Aval]:
    m, n = A.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    q = (0,) if mode == "r" else (*A.shape[:-2], m, k)
    return A.of(q), A.of((*A.shape[:-2], k, n))


def _qr_kernel(xp: Any, A: Any, *, mode: str) -> tuple[Any, Any]:
    m, n = A.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    if A.size == 0:
        q = xp.broadcast_to(xp.eye(m, k, dtype=A.dtype), (*A.shape[:-2], m, k))
        r = xp.zeros((*A.shape[:-2], k, n), A.dtype)
        return (xp.zeros((0,), A.dtype) if mode == "r" else q), r
    if mode == "r":
        return xp.zeros((0,), A.dtype), xp.linalg.qr(A, mode="r")
    q, r = xp.linalg.qr(A, mode=mode)
    return q, r


def _qr_derivative(grads: list[Tensor], outs: list[Tensor], A_shape: tuple[int, ...], mode: str) -> Tensor:
    # Roberts and Roberts, "QR and LQ decomposition matrix backpropagation algorithms for square, wide, and deep
    # matrices" (2020).
    m, n = A_shape[-2:]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
            "linalg.qr(A, mode='reduced') if you are going to require gradients through linalg.qr."
        )
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols. Please use "
            "linalg.qr(A, mode='reduced')."
        )
    (g_q, g_r), (Q, R) = grads, outs
    if m >= n:
        return _qr_back(g_q, g_r, Q, R)
    # The first columns have the square factor; the rest are Q times the rest of R.
    g_rest = g_r.narrow(-1, m, n - m)
    rest = R.narrow(-1, m, n - m)
    first = R.narrow(-1, 0, m)
    g_q = g_q + (Q @ rest) @ adjoint(g_rest)
    return cat([_qr_back(g_q, g_r.narrow(-1, 0, m), Q, first), Q @ g_rest], -1)


def _qr_back(g_q: Tensor, g_r: Tensor, Q: Tensor, R: Tensor) -> Tensor:
    inner = (g_r @ adjoint(R) - adjoint(Q) @ g_q).triu()
    ones = identity(inner)
    mirrored = inner + adjoint(inner)
    # Of what lies on the diagonal, only the real part, once.
    balanced = mirrored - ones * mirrored / 2
    return triangular(adjoint(R), g_q + Q @ balanced, upper=False, left=False)


QR = operator(
    "linalg_qr",
    _qr_rule,
    _qr_kernel,
    _qr_derivative,
    samples=lambda: [
        case("linalg.qr", T(4, 3)),
        case("linalg.qr", T(2, 3, 3)),
        case("linalg.qr", T(3, 5)),
        case("linalg.qr", T(3, 2), mode="complete", grad=False),
        case("linalg.qr", T(3, 2), mode="r", grad=False),
        case("linalg.qr", T(3, 0)),
    ],
)


@public("qr", into="linalg", out="exact")
def _linalg_qr(A: Tensor, mode: str = "reduced") -> Any:
    """``A = Q R``, Q having orthonormal columns and R being upper triangular.

    Args:
        A: (..., M, N).
        mode: ``"reduced"``: Q (..., M, K), R (..., K, N), K being the smaller of M and N; ``"complete"``: K is M;
            ``"r"``: R alone, Q being empty.

    Raises:
        RuntimeError: for another mode.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[3.0, 1.0], [4.0, 2.0], [0.0, 5.0]])
        >>> Q, R = torch.linalg.qr(A)
        >>> Q.shape, R.shape
        (torch.Size([3, 2]), torch.Size([2, 2]))
        >>> torch.allclose(Q @ R, A)
        True
        >>> torch.linalg.qr(A, mode="complete").Q.shape
        torch.Size([3, 3])
    """
    matrices("linalg.qr", A)
    floating("linalg.qr", A, "geqrf_cpu")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    return named("linalg_qr", *QR(A, mode))


@public(method=True, out="exact")
def qr(input: Tensor, some: bool = True) -> Any:
    """``input = Q R``; the older form of :func:`flambeau.linalg.qr`.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[3.0, 1.0], [4.0, 2.0]])
        >>> Q, R = torch.qr(A)
        >>> torch.allclose(Q @ R, A), torch.allclose(Q.T @ Q, torch.eye(2), atol=1e-6)
        (True, True)
    """
    matrices("linalg.qr", input)
    floating("linalg.qr", input, "geqrf_cpu")
    return named("qr", *QR(input, "reduced" if some else "complete"))


# ---------------------------------------------------------------- Householder reflections


def _geqrf_rule(A: Aval) -> tuple[Aval, Aval]:
    return A.of(), A.of((*A.shape[:-2], min(A.shape[-2:])))


def _geqrf_kernel(xp: Any, A: Any) -> tuple[Any, Any]:
    if A.size == 0:
        return A, xp.zeros((*A.shape[:-2], min(A.shape[-2:])), A.dtype)
    packed, tau = xp.linalg.qr(A, mode="raw")
    return xp.swapaxes(packed, -2, -1).astype(A.dtype), tau.astype(A.dtype)


GEQRF = operator(
    "geqrf",
    _geqrf_rule,
    _geqrf_kernel,
    lambda grads: _no_geqrf_derivative(),
    samples=lambda: [case("geqrf", T(4, 3), grad=False), case("geqrf", T(2, 3, 4), grad=False)],
)


def _no_geqrf_derivative() -> Any:
    raise RuntimeError("the derivative for 'geqrf' is not implemented. (Use torch.linalg.qr)")


@public(method=True, out=True)
def geqrf(input: Tensor) -> Any:
    """The QR factorization as reflections: R in the upper triangle, the vectors below it, and their factors tau.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[3.0, 1.0], [4.0, 2.0]])
        >>> a, tau = torch.geqrf(A)
        >>> torch.allclose(torch.linalg.householder_product(a, tau) @ a.triu(), A)
        True
    """
    matrices_of("torch.geqrf", input)
    floating("torch.geqrf", input, "geqrf_cpu")
    return named("geqrf", *GEQRF(input))


def matrices_of(function: str, input: Tensor) -> None:
    """Raises unless an argument called ``input`` has at least two dimensions."""
    if input.ndim < 2:
        raise RuntimeError(f"{function}: input must have at least 2 dimensions.")


def _reflections(input: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    """V and T such that the product of the reflections is ``I - V T Vᴴ``.

    T⁻¹ is the strict upper triangle of VᴴV with 1/tau on the diagonal (Joffrain et al., "Accumulating Householder
    transformations, revisited", 2006); written so that a tau of zero does no harm.
    """
    k = tau.shape[-1]
    vectors = input.narrow(-1, 0, k)
    V = vectors.tril(-1) + unit(vectors.shape, vectors)
    scale = tau.unsqueeze(-1)
    upper = (adjoint(V) @ V).triu(1) * scale
    diagonal = unit((k, k), vectors) * scale
    return V, triangular(upper, diagonal, upper=True, unitriangular=True)


def _check_reflections(function: str, input: Tensor, tau: Tensor) -> None:
    matrices_of(function, input)
    if input.dtype is not tau.dtype:
        raise RuntimeError(f"{function}: tau dtype {tau.dtype.title} does not match input dtype {input.dtype.title}")


@public("orgqr", method=True, out=True)
@public(into="linalg", out=True)
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first N columns of a product of reflections ``I - tau_i v_i v_iᴴ``.

    Args:
        input: (..., M, N), whose columns hold, below the diagonal, the vectors v_i; above them is a one.
        tau: (..., K).

    Raises:
        RuntimeError: unless M >= N >= K.

    Example:
        >>> import flambeau as torch
        >>> v = torch.tensor([[1.0], [1.0]])
        >>> torch.linalg.householder_product(v, torch.tensor([1.0]))
        tensor([[ 0.],
                [-1.]])
    """
    name = "torch.linalg.householder_product"
    _check_reflections(name, input, tau)
    if input.shape[-2] < input.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if input.shape[-1] < tau.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    V, T_ = _reflections(input, tau)
    n = input.shape[-1]
    return unit(input.shape, input) - V @ (T_ @ adjoint(V.narrow(-2, 0, n)))


@public(method=True, out="exact")
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """The product of ``other`` with the square Q that reflections stand for, from the left or the right.

    Args:
        input, tau: as :func:`geqrf` gives them.
        transpose: whether to multiply with Qᴴ.

    Raises:
        RuntimeError: if sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[3.0, 1.0], [4.0, 2.0]])
        >>> a, tau = torch.geqrf(A)
        >>> torch.allclose(torch.ormqr(a, tau, a.triu()), A)
        True
    """
    _check_reflections("torch.ormqr", input, tau)
    if other.ndim < 2:
        raise RuntimeError("torch.ormqr: other must have at least 2 dimensions.")
    side = -2 if left else -1
    if other.shape[side] < tau.shape[-1]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be greater than or equal to tau.shape[-1]")
    if tau.shape[-1] != min(other.shape[side], input.shape[-1]):
        raise RuntimeError(f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])")
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{side}] must be equal to input.shape[-2]")
    V, T_ = _reflections(input, tau)
    if transpose:
        T_ = adjoint(T_)
    if left:
        return other - V @ (T_ @ (adjoint(V) @ other))
    return other - ((other @ V) @ T_) @ adjoint(V)


# ---------------------------------------------------------------- LU


def _lu_rule(A: Aval) -> tuple[Aval, Aval, Aval]:
    k = min(A.shape[-2:])
    return A.of(), A.of((*A.shape[:-2], k), int32), A.of(A.shape[:-2], int32)


def _lu_numpy(np: Any, A: Any) -> tuple[Any, Any, Any]:
    lu, pivots = factor(np, A)
    return lu, pivots + np.int32(1), zero_pivots(np, lu)


def _lu_lax(jnp: Any, A: Any) -> tuple[Any, Any, Any]:
    from jax import lax

    if A.size == 0:
        k = min(A.shape[-2:])
        return A, jnp.zeros((*A.shape[:-2], k), jnp.int32), jnp.zeros(A.shape[:-2], jnp.int32)
    lu, pivots, _ = lax.linalg.lu(A)
    return lu, pivots.astype(jnp.int32) + 1, zero_pivots(jnp, lu)


def _lu_derivative(grads: list[Tensor], outs: list[Tensor]) -> Tensor:
    """From ``Pᵀ dA = dL U + L dU``, whose two terms ``L⁻¹ · U⁻¹`` turns into a strictly lower and an upper triangle.

    Where A is not square, the rest of L or U beyond the leading square block is a product with the inverse of
    the block's other factor.
    """
    LU, pivots = outs[0], outs[1]
    m, n = LU.shape[-2:]
    k = min(m, n)
    grad = grads[0]
    head, g_head = (x.narrow(-2, 0, k).narrow(-1, 0, k) for x in (LU, grad))
    L, U = head.tril(-1) + identity(head), head.triu()
    lower, upper = adjoint(L) @ g_head.tril(-1), g_head.triu() @ adjoint(U)
    rest = None
    if n > m:
        g_wide = grad.narrow(-1, k, n - k)
        lower = lower - g_wide @ adjoint(LU.narrow(-1, k, n - k))
        rest = triangular(adjoint(L), g_wide, upper=True, unitriangular=True)
    elif m > n:
        g_tall = grad.narrow(-2, k, m - k)
        upper = upper - adjoint(LU.narrow(-2, k, m - k)) @ g_tall
        rest = triangular(adjoint(U), g_tall, upper=False, left=False)
    found = triangular(adjoint(L), lower.tril(-1) + upper.triu(), upper=True, unitriangular=True)
    found = triangular(adjoint(U), found, upper=False, left=False)
    if rest is not None:
        found = cat([found, rest], -1 if n > m else -2)
    return PERMUTATION(pivots, m, LU.dtype) @ found


LU = operator(
    "linalg_lu_factor_ex",
    _lu_rule,
    None,
    _lu_derivative,
    numpy=_lu_numpy,
    lax=_lu_lax,
    samples=lambda: [
        case("linalg.lu_factor_ex", T(3, 3)),
        case("linalg.lu_factor_ex", T(2, 4, 3)),
        case("linalg.lu_factor", T(3, 5)),
        case("linalg.lu", T(3, 3, dtype="complex64")),
    ],
)


def _permutation_rule(pivots: Aval, *, rows: int, dtype: Any) -> Aval:
    return pivots.of((*pivots.shape[:-1], rows, rows), dtype)


def _permutation_numpy(np: Any, pivots: Any, *, rows: int, dtype: Any) -> Any:
    if pivots.size and not ((pivots >= 1) & (pivots <= rows)).all():
        raise RuntimeError(
            "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive."
            "Did you properly pass the result of lu_factor?"
        )
    order = row_order(np, pivots - 1, rows)
    return (order[..., None, :] == np.arange(rows)[:, None]).astype(dtype.numpy)


def _permutation_lax(jnp: Any, pivots: Any, *, rows: int, dtype: Any) -> Any:
    from jax import lax

    if pivots.size:
        order = lax.linalg.lu_pivots_to_permutation(pivots - 1, rows)
    else:
        order = jnp.broadcast_to(jnp.arange(rows), (*pivots.shape[:-1], rows))
    return (order[..., None, :] == jnp.arange(rows)[:, None]).astype(dtype.numpy)


PERMUTATION = operator(
    "permutation",
    _permutation_rule,
    None,
    # It only depends on integers.
    lambda grad: None,
    numpy=_permutation_numpy,
    lax=_permutation_lax,
    samples=lambda: [case("linalg.lu", T(2, 4, 3))],
)


def _check_lu(function: str, A: Tensor, pivot: bool) -> None:
    if A.ndim < 2:
        raise RuntimeError(f"{function}: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    if not A.dtype.category >= 2 or A.dtype.itemsize < 4:
        raise not_implemented("lu", A.dtype)
    if not pivot:
        raise RuntimeError(f"{function.removeprefix('torch.')}: LU without pivoting is not implemented on the CPU")


@public(into="linalg", out="exact")
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """Both factors of ``A = P L U`` in one matrix, the pivots, and an ``info`` that is positive where U is singular.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
        >>> torch.linalg.lu_factor_ex(A)
        torch.return_types.linalg_lu_factor_ex(
        LU=tensor([[2.0000, 4.0000],
                [0.5000, 0.0000]]),
        pivots=tensor([2, 2], dtype=torch.int32),
        info=tensor(2, dtype=torch.int32))
    """
    _check_lu("torch.linalg.lu_factor", A, pivot)
    packed, pivots, info = LU(A)
    if check_errors:
        raise_where(info, "torch.linalg.lu_factor_ex", _zero_pivot, RuntimeError)
    return named("linalg_lu_factor_ex", packed, pivots, info)


def _zero_pivot(code: int) -> str:
    return (
        f"U[{code},{code}] is zero and using it on lu_solve would result in a division by zero. If you still want to "
        "perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
    )


@public(into="linalg", out="exact")
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """Both factors of ``A = P L U`` in one matrix, and the pivots, for :func:`lu_solve`.

    Args:
        A: (..., M, N).

    Raises:
        RuntimeError: if U is singular.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 4.0]]))
        torch.return_types.linalg_lu_factor(
        LU=tensor([[4.0000, 4.0000],
                [0.2500, 1.0000]]),
        pivots=tensor([2, 2], dtype=torch.int32))
    """
    _check_lu("torch.lu_factor", A, True)
    _check_lu("linalg.lu_factor", A, pivot)
    packed, pivots, info = LU(A)
    raise_where(info, "torch.linalg.lu_factor", _zero_pivot, RuntimeError)
    return named("linalg_lu_factor", packed, pivots)


@public(method=True)
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """Both factors in one matrix, and the pivots; the older form of :func:`flambeau.linalg.lu_factor`.

    Example:
        >>> import flambeau as torch
        >>> LU, pivots = torch.lu(torch.tensor([[1.0, 2.0], [4.0, 4.0]]))
        >>> LU
        tensor([[4.0000, 4.0000],
                [0.2500, 1.0000]])
        >>> pivots
        tensor([2, 2], dtype=torch.int32)
    """
    _check_lu("torch.linalg.lu_factor", A, pivot)
    packed, pivots, info = LU(A)
    if not get_infos:
        raise_where(info, "torch.linalg.lu_factor", _zero_pivot, RuntimeError)
    result = named("_lu_with_info", packed, pivots, info) if get_infos else (packed, pivots)
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    return write_out("lu", result, out)


@public("lu", into="linalg", out="exact")
def _linalg_lu(A: Tensor, *, pivot: bool = True) -> Any:
    """``A = P L U``: a permutation, a unit lower and an upper triangular (or trapezoidal) matrix.

    Shape: A (..., M, N), P (..., M, M), L (..., M, K), U (..., K, N), K being the smaller of M and N.

    Example:
        >>> import flambeau as torch
        >>> P, L, U = torch.linalg.lu(torch.tensor([[1.0, 2.0], [4.0, 4.0]]))
        >>> P
        tensor([[0., 1.],
                [1., 0.]])
        >>> L
        tensor([[1.0000, 0.0000],
                [0.2500, 1.0000]])
        >>> U
        tensor([[4., 4.],
                [0., 1.]])
    """
    _check_lu("linalg.lu", A, pivot)
    packed, pivots, _ = LU(A)
    lower, upper = _unpacked(packed)
    return named("linalg_lu", PERMUTATION(pivots, A.shape[-2], A.dtype), lower, upper)


def _unpacked(packed: Tensor) -> tuple[Tensor, Tensor]:
    k = min(packed.shape[-2:])
    lower = packed.narrow(-1, 0, k).tril(-1)
    return lower + unit(lower.shape, packed), packed.narrow(-2, 0, k).triu()


@public(out="exact")
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """P, L and U from what :func:`flambeau.linalg.lu_factor` gives; what is not asked for is empty.

    Raises:
        RuntimeError: for pivots that are not int32, or out of range.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[1.0, 2.0], [4.0, 4.0]])
        >>> P, L, U = torch.lu_unpack(*torch.linalg.lu_factor(A))
        >>> torch.equal(P @ L @ U, A)
        True
    """
    if unpack_pivots and LU_pivots.dtype is not int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    m = LU_data.shape[-2]
    lower = upper = permutation = LU_data.new_zeros((0,))
    if unpack_data:
        lower, upper = _unpacked(LU_data)
    if unpack_pivots:
        if LU_pivots.shape[-1] != min(LU_data.shape[-2:]) or _out_of_range(LU_pivots, m):
            raise RuntimeError(
                "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive."
                "Did you properly pass the result of lu_factor?"
            )
        permutation = PERMUTATION(LU_pivots, m, LU_data.dtype)
    return named("lu_unpack", permutation, lower, upper)


def _out_of_range(pivots: Tensor, rows: int) -> bool:
    # Pivots not computed yet come from a factorization; those of an accelerator would have to be waited for.
    if not hasattr(pivots._node.value, "shape") or pivots.device.type != "cpu":
        return False
    known = pivots._array()
    return bool(((known < 1) | (known > rows)).any())


def _ordered_rule(B: Aval, pivots: Aval, *, back: bool) -> Aval:
    from flambeau.ops.pointwise import broadcast_shapes

    return B.of((*broadcast_shapes(B.shape[:-2], pivots.shape[:-1]), *B.shape[-2:]))


def _ordered_numpy(np: Any, B: Any, pivots: Any, *, back: bool) -> Any:
    return exchanged(np, B, pivots - 1) if not back else _put_back(np, B, row_order(np, pivots - 1, B.shape[-2]))


def _ordered_lax(jnp: Any, B: Any, pivots: Any, *, back: bool) -> Any:
    from jax import lax

    rows = B.shape[-2]
    if B.size == 0 or pivots.size == 0:
        return jnp.broadcast_to(B, (*jnp.broadcast_shapes(B.shape[:-2], pivots.shape[:-1]), *B.shape[-2:]))
    order = lax.linalg.lu_pivots_to_permutation(pivots - 1, rows)
    return _put_back(jnp, B, order if back else jnp.argsort(order, axis=-1))


def _put_back(xp: Any, B: Any, order: Any) -> Any:
    """Rows of which the first is put at ``order[0]`` and so on."""
    batch = xp.broadcast_shapes(order.shape[:-1], B.shape[:-2])
    B = xp.broadcast_to(B, (*batch, *B.shape[-2:]))
    places = xp.argsort(xp.broadcast_to(order, (*batch, order.shape[-1])), axis=-1)
    return xp.take_along_axis(B, places[..., None], axis=-2)


def _ordered_derivative(grad: Tensor, pivots: Tensor, back: bool) -> Any:
    return ORDERED(grad, pivots, not back), None


ORDERED = operator(
    "lu_ordered",
    _ordered_rule,
    None,
    _ordered_derivative,
    numpy=_ordered_numpy,
    lax=_ordered_lax,
    moves=True,
    samples=lambda: [case("linalg.lu", T(3, 3))],
)


@public("lu_solve", into="linalg", out="exact")
def _linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """The solutions of ``AX = B`` (``XA = B`` if not ``left``), given the factors of A; of Aᴴ if ``adjoint``.

    Example:
        >>> import flambeau as torch
        >>> LU, pivots = torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 4.0]]))
        >>> torch.linalg.lu_solve(LU, pivots, torch.tensor([[3.0], [8.0]]))
        tensor([[1.],
                [1.]])
    """
    function = "linalg.lu_solve"
    if pivots.dtype is not int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    matrices(function, B, "B")
    square(function, LU)
    fits(function, LU, B, left)
    if pivots.shape[-1] != LU.shape[-1]:
        raise RuntimeError("linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix")
    same_type(function, LU, B, "LU B")
    return _lu_solved(LU, pivots, B, left, adjoint)


def _lu_solved(packed: Tensor, pivots: Tensor, B: Tensor, left: bool, conjugated: bool) -> Tensor:
    if not left:
        # XA = B is AᴴXᴴ = Bᴴ.
        return adjoint(_lu_solved(packed, pivots, adjoint(B), True, not conjugated))
    if conjugated:
        half = triangular(adjoint(packed), B, upper=False)
        return ORDERED(triangular(adjoint(packed), half, upper=True, unitriangular=True), pivots, True)
    half = triangular(packed, ORDERED(B, pivots, False), upper=False, unitriangular=True)
    return triangular(packed, half, upper=True)


@public(method=True, out="exact")
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """The solutions of ``AX = input``, given the factors of A; see :func:`flambeau.linalg.lu_solve`.

    Example:
        >>> import flambeau as torch
        >>> LU, pivots = torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 4.0]]))
        >>> torch.lu_solve(torch.tensor([[3.0], [8.0]]), LU, pivots)
        tensor([[1.],
                [1.]])
    """
    return _linalg_lu_solve(LU_data, LU_pivots, input)
