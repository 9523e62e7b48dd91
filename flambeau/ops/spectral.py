"""Eigenvalues and singular values, and what is made of them: pseudo-inverse, rank, least squares."""

from __future__ import annotations

from typing import Any

import numpy

from flambeau.dtypes import FLOATING, finfo, int32, int64
from flambeau.graph.node import Aval
from flambeau.ops.linalg import adjoint, batch_of, floating, identity, inspect, matrices, raise_where, square
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import conj, not_implemented
from flambeau.ops.samples import T, case
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the family shares


def _finite(xp: Any, A: Any) -> Any:
    return xp.isfinite(A).all(axis=(-2, -1))


def _batched(np: Any, solve: Any, A: Any) -> tuple[Any, Any]:
    """Results for a stack of matrices, nan for those that are not finite or do not converge, and their info."""
    good = _finite(np, A)
    if good.all():
        try:
            return solve(A), np.zeros(A.shape[:-2], np.int32)
        except np.linalg.LinAlgError:
            pass
    flat = A.reshape(-1, *A.shape[-2:])
    found = []
    info = np.zeros(len(flat), np.int32)
    blank = solve(np.zeros_like(flat[0]))
    for i, matrix in enumerate(flat):
        part = tuple(np.full_like(x, np.nan) for x in blank)
        info[i] = 1
        if good.reshape(-1)[i]:
            try:
                part = solve(matrix)
                info[i] = 0
            except np.linalg.LinAlgError:
                pass
        found.append(part)
    stacked = tuple(np.stack(parts) for parts in zip(*found, strict=True))
    return tuple(x.reshape(*A.shape[:-2], *x.shape[1:]) for x in stacked), info.reshape(A.shape[:-2])


def _pairwise(values: Tensor) -> Tensor:
    """The matrix of differences ``v_j - v_i``, with ones on the diagonal."""
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    return gaps + identity(gaps)


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix * (1 - identity(matrix))


def _column_scaled(matrix: Tensor, values: Tensor) -> Tensor:
    """``matrix @ diag(values)``."""
    return matrix * values.unsqueeze(-2)


def _as_diagonal(values: Tensor) -> Tensor:
    spread = values.unsqueeze(-1)
    n = values.shape[-1]
    return spread * identity(spread.expand((*values.shape, n)))


# ---------------------------------------------------------------- Hermitian matrices


def _eigh_rule(A: Aval, *, uplo: str) -> tuple[Aval, Aval]:
    return A.of(A.shape[:-1], A.dtype.to_real()), A.of()


def _eigh_numpy(np: Any, A: Any, *, uplo: str) -> tuple[Any, Any]:
    if A.size == 0:
        return np.zeros(A.shape[:-1], A.real.dtype), A
    return _batched(np, lambda a: tuple(np.linalg.eigh(a, UPLO=uplo)), A)[0]


def _eigh_lax(jnp: Any, A: Any, *, uplo: str) -> tuple[Any, Any]:
    if A.size == 0:
        return jnp.zeros(A.shape[:-1], A.real.dtype), A
    values, vectors = jnp.linalg.eigh(A, UPLO=uplo, symmetrize_input=False)
    good = _finite(jnp, A)[..., None]
    return jnp.where(good, values, jnp.nan), jnp.where(good[..., None], vectors, jnp.nan)


def _eigh_derivative(grads: list[Tensor], outs: list[Tensor]) -> Tensor:
    values, vectors = outs
    turned = _off_diagonal(adjoint(vectors) @ grads[1]) / _pairwise(values)
    return vectors @ (turned + _as_diagonal(grads[0])) @ adjoint(vectors)


EIGH = operator(
    "linalg_eigh",
    _eigh_rule,
    None,
    _eigh_derivative,
    numpy=_eigh_numpy,
    lax=_eigh_lax,
    # A derivative for Hermitian changes: a change of one triangle alone is none.
    samples=lambda: [
        case("linalg.eigvalsh", T(3, 3), finite=False, gradgrad=False),
        case("linalg.eigvalsh", T(2, 2, 2), UPLO="U", finite=False, gradgrad=False),
    ],
)


def _check_eigh(A: Tensor, UPLO: str) -> str:
    square("linalg.eigh", A)
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    if A.dtype.category < FLOATING or A.dtype.itemsize < 4:
        raise not_implemented("linalg_eigh", A.dtype)
    return UPLO.upper()


@public(into="linalg", out="exact")
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """Eigenvalues, in ascending order, and eigenvectors of Hermitian matrices: ``A = V diag(w) Vᴴ``.

    Args:
        A: (..., N, N).
        UPLO: which triangle is read.

    The vectors' derivative exists where the values differ.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.eigh(torch.tensor([[2., 0.], [0., 1.]]))
        torch.return_types.linalg_eigh(
        eigenvalues=tensor([1., 2.]),
        eigenvectors=tensor([[0., 1.],
                [1., 0.]]))
    """
    return named("linalg_eigh", *EIGH(A, _check_eigh(A, UPLO)))


@public(into="linalg", out="exact")
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of Hermitian matrices, in ascending order.

    Shape: (..., N, N) gives (..., N).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.eigvalsh(torch.tensor([[2., 1.], [1., 2.]]))
        tensor([1., 3.])
    """
    return EIGVALSH(A, _check_eigh(A, UPLO))


def _eigvalsh_rule(A: Aval, *, uplo: str) -> Aval:
    return A.of(A.shape[:-1], A.dtype.to_real())


def _eigvalsh_numpy(np: Any, A: Any, *, uplo: str) -> Any:
    if A.size == 0:
        return np.zeros(A.shape[:-1], A.real.dtype)
    return _batched(np, lambda a: (np.linalg.eigvalsh(a, UPLO=uplo),), A)[0][0]


def _eigvalsh_lax(jnp: Any, A: Any, *, uplo: str) -> Any:
    return _eigh_lax(jnp, A, uplo=uplo)[0]


def _eigvalsh_derivative(grad: Tensor, A: Tensor, uplo: str) -> Tensor:
    vectors = EIGH(A, uplo)[1]
    return _column_scaled(vectors, grad) @ adjoint(vectors)


EIGVALSH = operator(
    "linalg_eigvalsh",
    _eigvalsh_rule,
    None,
    _eigvalsh_derivative,
    numpy=_eigvalsh_numpy,
    lax=_eigvalsh_lax,
    grad_name="LinalgEighBackward0",
    samples=lambda: [
        case("linalg.eigvalsh", T(3, 3), finite=False, gradgrad=False),
        case("linalg.eigvalsh", T(2, 3, 3), UPLO="U", finite=False, gradgrad=False),
        case("linalg.eigvalsh", T(0, 0)),
    ],
)


# ---------------------------------------------------------------- any square matrices


def _eig_rule(A: Aval) -> tuple[Aval, Aval, Aval]:
    wide = A.dtype.to_complex()
    return A.of(A.shape[:-1], wide), A.of(A.shape, wide), A.of(A.shape[:-2], int32)


def _eig_numpy(np: Any, A: Any) -> tuple[Any, Any, Any]:
    wide = np.result_type(A.dtype, np.complex64)
    info = np.zeros(A.shape[:-2], np.int32)
    if A.size == 0:
        return np.zeros(A.shape[:-1], wide), A.astype(wide), info

    def solve(a: Any) -> Any:
        values, vectors = np.linalg.eig(a)
        return values.astype(wide), vectors.astype(wide)

    (values, vectors), info = _batched(np, solve, A)
    return values, vectors, info


def _eig_lax(jnp: Any, A: Any) -> tuple[Any, Any, Any]:
    wide = jnp.result_type(A.dtype, jnp.complex64)
    if A.size == 0:
        return jnp.zeros(A.shape[:-1], wide), A.astype(wide), jnp.zeros(A.shape[:-2], jnp.int32)
    values, vectors = jnp.linalg.eig(A)
    return values.astype(wide), vectors.astype(wide), (~_finite(jnp, A)).astype(jnp.int32)


def _eig_derivative(grads: list[Tensor], outs: list[Tensor]) -> Tensor:
    # Boeddeker et al., "On the computation of complex-valued gradients" (2017), equation 4.77; vectors have norm one.
    from flambeau.ops.linalg import SOLVE

    values, vectors = outs[0], outs[1]
    back = adjoint(vectors)
    inner = back @ grads[1]
    along = (identity(inner) * inner.real).to(inner.dtype)
    inner = _off_diagonal(inner - (back @ vectors) @ along) / conj(_pairwise(values))
    inner = inner + _as_diagonal(grads[0])
    return SOLVE(back, inner @ back)[0]


EIG = operator(
    "linalg_eig",
    _eig_rule,
    None,
    _eig_derivative,
    numpy=_eig_numpy,
    lax=_eig_lax,
    samples=lambda: [
        case("linalg.eig", T(2, 1, 1), grad=False),
        case("linalg.eig", T(3, 3, dtype="complex64"), compare=False, finite=False),
        case("linalg.eig", T(0, 0), grad=False),
    ],
)


def _check_eig(function: str, A: Tensor) -> None:
    square(function, A)
    if A.dtype.category < FLOATING:
        raise RuntimeError(f"Unknown Complex ScalarType for {A.dtype.title}")
    if A.dtype.itemsize < 4:
        raise not_implemented("linalg_eig_out", A.dtype)


def _eigen(function: str, A: Tensor) -> tuple[Tensor, Tensor]:
    _check_eig(function, A)
    values, vectors, info = EIG(A)
    inspect(info, _check_finite)
    return values, vectors


def _check_finite(info: Any) -> None:
    if info.any():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")


@public(into="linalg", out=True)
def eig(A: Tensor) -> Any:
    """Eigenvalues and eigenvectors of square matrices: ``A = V diag(w) V⁻¹``, complex, the vectors of norm one.

    Shape: (..., N, N) gives (..., N) and (..., N, N).

    Raises:
        RuntimeError: if an element is not finite.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.eig(torch.tensor([[1., 0.], [0., 2.]]))
        torch.return_types.linalg_eig(
        eigenvalues=tensor([1.+0.j, 2.+0.j]),
        eigenvectors=tensor([[1.+0.j, 0.+0.j],
                [0.+0.j, 1.+0.j]]))
    """
    return named("linalg_eig", *_eigen("linalg.eig", A))


@public(into="linalg", out=True)
def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues of square matrices, complex.

    Shape: (..., N, N) gives (..., N).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.eigvals(torch.tensor([[0., 1.], [-1., 0.]])).imag.abs()
        tensor([1., 1.])
    """
    return _eigen("linalg.eigvals", A)[0]


# ---------------------------------------------------------------- singular values


def _svd_rule(A: Aval, *, full: bool) -> tuple[Aval, Aval, Aval, Aval]:
    m, n = A.shape[-2:]
    k = min(m, n)
    batch = A.shape[:-2]
    return (
        A.of((*batch, m, m if full else k)),
        A.of((*batch, k), A.dtype.to_real()),
        A.of((*batch, n if full else k, n)),
        A.of(batch, int32),
    )


def _empty_svd(xp: Any, A: Any, full: bool) -> tuple[Any, Any, Any, Any]:
    m, n = A.shape[-2:]
    k = min(m, n)
    batch = A.shape[:-2]
    u = xp.broadcast_to(xp.eye(m, m if full else k, dtype=A.dtype), (*batch, m, m if full else k))
    vh = xp.broadcast_to(xp.eye(n if full else k, n, dtype=A.dtype), (*batch, n if full else k, n))
    return u, xp.zeros((*batch, k), A.real.dtype), vh, xp.zeros(batch, xp.int32)


def _svd_numpy(np: Any, A: Any, *, full: bool) -> tuple[Any, Any, Any, Any]:
    if A.size == 0:
        return _empty_svd(np, A, full)
    (u, s, vh), info = _batched(np, lambda a: tuple(np.linalg.svd(a, full_matrices=full)), A)
    return u, s, vh, info


def _svd_lax(jnp: Any, A: Any, *, full: bool) -> tuple[Any, Any, Any, Any]:
    if A.size == 0:
        return _empty_svd(jnp, A, full)
    u, s, vh = jnp.linalg.svd(A, full_matrices=full)
    return u, s, vh, (~_finite(jnp, A)).astype(jnp.int32)


def _svd_derivative(grads: list[Tensor], outs: list[Tensor]) -> Tensor:
    # Townsend, "Differentiating the singular value decomposition" (2016); complex: Wan and Zhang,
    # "Automatic differentiation for complex valued SVD" (2019).
    k = outs[1].shape[-1]
    U, S, Vh = outs[0].narrow(-1, 0, k), outs[1], outs[2].narrow(-2, 0, k)
    g_u, g_s, g_vh = grads[0].narrow(-1, 0, k), grads[1], grads[2].narrow(-2, 0, k)
    m, n = U.shape[-2], Vh.shape[-1]
    g_v = adjoint(g_vh)
    u_inner, v_inner = adjoint(U) @ g_u, Vh @ g_v
    squares = _pairwise(S * S)
    row, column = S.unsqueeze(-1), S.unsqueeze(-2)
    inner = (_off_diagonal(u_inner - adjoint(u_inner)) / squares) * column
    inner = inner + row * (_off_diagonal(v_inner - adjoint(v_inner)) / squares)
    inner = inner + _as_diagonal(g_s)
    if U.dtype.is_complex:
        inner = inner + identity(u_inner) * (u_inner - adjoint(u_inner)) / (2 * column)
    found = U @ inner @ Vh
    if m > k:
        found = found + (g_u - U @ u_inner) / column @ Vh
    if n > k:
        found = found + _column_scaled(U, 1 / S) @ (g_vh - adjoint(v_inner) @ Vh)
    return found


SVD = operator(
    "linalg_svd",
    _svd_rule,
    None,
    _svd_derivative,
    numpy=_svd_numpy,
    lax=_svd_lax,
    samples=lambda: [
        # Vectors are determined up to a sign, which only rank one fixes for products.
        case("linalg.pinv", T(3, 2)),
        case("linalg.svd", T(0, 3), full_matrices=True, grad=False),
        case("linalg.svd", T(2, 3, dtype="complex64"), compare=False, finite=False),
    ],
)


def _svdvals_rule(A: Aval) -> tuple[Aval, Aval]:
    return A.of((*A.shape[:-2], min(A.shape[-2:])), A.dtype.to_real()), A.of(A.shape[:-2], int32)


def _svdvals_numpy(np: Any, A: Any) -> tuple[Any, Any]:
    if A.size == 0:
        return _empty_svd(np, A, False)[1::2]
    (s,), info = _batched(np, lambda a: (np.linalg.svd(a, compute_uv=False),), A)
    return s, info


def _svdvals_lax(jnp: Any, A: Any) -> tuple[Any, Any]:
    if A.size == 0:
        return _empty_svd(jnp, A, False)[1::2]
    return jnp.linalg.svd(A, compute_uv=False), (~_finite(jnp, A)).astype(jnp.int32)


def _svdvals_derivative(grads: list[Tensor], A: Tensor) -> Tensor:
    U, _, Vh, _ = SVD(A, False)
    return _column_scaled(U, grads[0]) @ Vh


SVDVALS = operator(
    "linalg_svdvals",
    _svdvals_rule,
    None,
    _svdvals_derivative,
    numpy=_svdvals_numpy,
    lax=_svdvals_lax,
    grad_name="LinalgSvdBackward0",
    samples=lambda: [
        case("linalg.svdvals", T(3, 4)),
        case("linalg.svdvals", T(2, 3, 2)),
        case("linalg.svdvals", T(3, 2, dtype="complex64")),
        case("linalg.svdvals", T(0, 2)),
    ],
)


def _diverged(code: int) -> str:
    return "The algorithm failed to converge because the input matrix contained non-finite values."


def _check_svd(A: Tensor, driver: str | None) -> None:
    matrices("linalg.svd", A)
    floating("linalg.svd", A, "linalg_svd_cpu")
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )


def decomposed(A: Tensor, full: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and Vᴴ, checked to be finite."""
    U, S, Vh, info = SVD(A, full)
    raise_where(info, "linalg.svd", _diverged)
    return U, S, Vh


@public("svd", into="linalg", out="exact")
def _linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """``A = U diag(S) Vᴴ``: orthonormal columns, and singular values in descending order.

    Args:
        A: (..., M, N).
        full_matrices: whether U and Vᴴ are square, or have only as many columns and rows as there are values.

    Raises:
        LinAlgError: if an element is not finite.

    Example:
        >>> import flambeau as torch
        >>> U, S, Vh = torch.linalg.svd(torch.tensor([[3., 0.], [0., -4.], [0., 0.]]), full_matrices=False)
        >>> S, U.shape, Vh.shape
        (tensor([4., 3.]), torch.Size([3, 2]), torch.Size([2, 2]))
        >>> torch.allclose(U @ torch.diag(S) @ Vh, torch.tensor([[3., 0.], [0., -4.], [0., 0.]]))
        True
    """
    _check_svd(A, driver)
    return named("linalg_svd", *decomposed(A, bool(full_matrices)))


@public(into="linalg", out="exact")
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, in descending order.

    Shape: (..., M, N) gives (..., min(M, N)).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.svdvals(torch.tensor([[3., 0.], [0., -4.]]))
        tensor([4., 3.])
    """
    _check_svd(A, driver)
    values, info = SVDVALS(A)
    raise_where(info, "linalg.svd", _diverged)
    return values


@public(method=True, out="exact")
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """``input = U diag(S) Vᴴ`` as U, S and V; the older form of :func:`flambeau.linalg.svd`.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[3., 0.], [0., -4.]])
        >>> U, S, V = torch.svd(A)
        >>> S, torch.allclose(U @ torch.diag(S) @ V.mT, A)
        (tensor([4., 3.]), True)
    """
    matrices("linalg.svd", input)
    floating("linalg.svd", input, "linalg_svd_cpu")
    if not compute_uv:
        m, n = input.shape[-2:]
        batch = tuple(input.shape[:-2])
        return named("svd", input.new_zeros((*batch, m, m)), svdvals(input), input.new_zeros((*batch, n, n)))
    U, S, Vh = decomposed(input, not some)
    return named("svd", U, S, adjoint(Vh))


# ---------------------------------------------------------------- pseudo-inverse


def _pinv_rule(A: Aval, atol: Aval, rtol: Aval, *, hermitian: bool) -> Aval:
    m, n = A.shape[-2:]
    from flambeau.ops.pointwise import broadcast_shapes

    batch = broadcast_shapes(A.shape[:-2], atol.shape, rtol.shape)
    return A.of((*batch, n, m))


def _threshold(xp: Any, sizes: Any, atol: Any, rtol: Any) -> Any:
    """What counts as zero beside the largest of some sizes, as one more dimension."""
    top = xp.max(sizes, axis=-1, initial=0)
    return xp.maximum(xp.asarray(atol, sizes.dtype), xp.asarray(rtol, sizes.dtype) * top)[..., None]


def _inverted(xp: Any, values: Any, sizes: Any, limit: Any) -> Any:
    safe = xp.where(sizes > limit, values, xp.ones((), values.dtype))
    return xp.where(sizes > limit, 1 / safe, xp.zeros((), values.dtype)).astype(values.dtype)


def _pinv_kernel(xp: Any, A: Any, atol: Any, rtol: Any, *, hermitian: bool) -> Any:
    m, n = A.shape[-2:]
    if A.size == 0:
        return xp.zeros((*A.shape[:-2], n, m), A.dtype)
    if hermitian:
        # JAX would average the triangles, of which only the lower is to be read.
        options = {} if xp is numpy else {"symmetrize_input": False}
        values, vectors = xp.linalg.eigh(A, **options)
        sizes = xp.abs(values)
        back = _inverted(xp, values, sizes, _threshold(xp, sizes, atol, rtol))
        return ((vectors * back[..., None, :]) @ xp.conj(xp.swapaxes(vectors, -2, -1))).astype(A.dtype)
    u, s, vh = xp.linalg.svd(A, full_matrices=False)
    back = _inverted(xp, s, s, _threshold(xp, s, atol, rtol))
    scaled = xp.conj(xp.swapaxes(vh, -2, -1)) * back[..., None, :]
    return (scaled @ xp.conj(xp.swapaxes(u, -2, -1))).astype(A.dtype)


def _pinv_derivative(grad: Tensor, A: Tensor, out: Tensor) -> Any:
    # Golub and Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables
    # separate" (1973), equation 4.12.
    P, G, back = out, adjoint(grad), adjoint(out)
    m, n = A.shape[-2:]
    found = -(back @ grad @ back)
    # Each product in the order in which the smaller side comes first.
    if m <= n:
        tall = G @ P
        found = found + (tall - A @ (P @ tall)) @ back
        wide = back @ P
        return found + wide @ (G - (G @ P) @ A), None, None
    left = G - A @ (P @ G)
    found = found + left @ (P @ back)
    right = P @ G
    return found + back @ (right - (right @ P) @ A), None, None


PINV = operator(
    "linalg_pinv",
    _pinv_rule,
    _pinv_kernel,
    _pinv_derivative,
    samples=lambda: [
        case("linalg.pinv", T(3, 4)),
        case("linalg.pinv", T(2, 4, 3)),
        case("linalg.pinv", T(3, 2, dtype="complex64")),
        case("pinverse", T(3, 3)),
        case("linalg.pinv", T(0, 3)),
        case("linalg.pinv", T(3, 3), hermitian=True, grad=False),
    ],
)


def _limits(function: str, A: Tensor, atol: Any, rtol: Any) -> tuple[Any, Any]:
    """What counts as zero: by default, relative to the largest, the precision times the larger size."""
    for name, limit in (("atol", atol), ("rtol", rtol)):
        if isinstance(limit, Tensor) and limit.dtype.is_complex:
            raise RuntimeError(f"{function}: {name} tensor of complex type is not supported. Got {limit.dtype.title}")
    if rtol is None:
        usual = finfo(A.dtype.to_real()).eps * max(A.shape[-2:])
        if isinstance(atol, Tensor):
            rtol = (atol <= 0).to(A.dtype.to_real()) * usual
        else:
            rtol = 0.0 if atol is not None and atol > 0 else usual
    return 0.0 if atol is None else atol, rtol


def _limit_tensor(limit: Any, A: Tensor) -> Tensor:
    real = A.dtype.to_real()
    if isinstance(limit, Tensor):
        return limit.to(real)
    from flambeau.ops.create import tensor

    return tensor(float(limit), dtype=real, device=A.device)


@public(into="linalg", out=True)
def pinv(A: Tensor, *, atol: Any = None, rtol: Any = None, rcond: Any = None, hermitian: bool = False) -> Tensor:
    """The Moore-Penrose pseudo-inverses.

    Args:
        A: (..., M, N); the result is (..., N, M).
        atol, rtol: singular values up to the larger of ``atol`` and ``rtol`` times the largest count as zero.
        rcond: the older name of ``rtol``.
        hermitian: whether A is Hermitian, which is faster.

    Raises:
        RuntimeError: if there are fewer than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.pinv(torch.tensor([[2., 0.], [0., 4.], [0., 0.]]))
        tensor([[0.5000, 0.0000, 0.0000],
                [0.0000, 0.2500, 0.0000]])
    """
    if A.ndim < 2 or A.dtype.category < FLOATING or A.dtype.itemsize < 4:
        raise RuntimeError(
            f"linalg.pinv({A.dtype.title}{{{list(A.shape)}}}): expected a tensor with 2 or more dimensions of float, "
            "double, cfloat or cdouble types"
        )
    if hermitian:
        square("linalg.pinv", A)
    atol, rtol = _limits("torch.linalg.pinv", A, atol, rcond if rtol is None else rtol)
    return PINV(A, _limit_tensor(atol, A), _limit_tensor(rtol, A), bool(hermitian))


@public(method=True)
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose pseudo-inverses; see :func:`flambeau.linalg.pinv`.

    Example:
        >>> import flambeau as torch
        >>> torch.pinverse(torch.tensor([[2., 0.], [0., 0.]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.0000]])
    """
    return pinv(input, rcond=rcond)


# ---------------------------------------------------------------- rank


@public(into="linalg", out=True)
def matrix_rank(A: Tensor, *, atol: Any = None, rtol: Any = None, tol: Any = None, hermitian: bool = False) -> Tensor:
    """How many singular values count as more than zero.

    Args:
        A: (..., M, N); the result is (...), int64.
        atol, rtol: as of :func:`pinv`; ``tol`` is the older name of ``atol``.

    Raises:
        RuntimeError: unless the type is floating or complex.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.matrix_rank(torch.tensor([[1., 2.], [2., 4.]]))
        tensor(1)
        >>> torch.linalg.matrix_rank(torch.tensor([[1., 0.], [0., 0.01]]), atol=0.1)
        tensor(1)
    """
    function = "torch.linalg.matrix_rank"
    matrices(function, A, "input")
    if A.dtype.category < FLOATING or A.dtype.itemsize < 4:
        raise RuntimeError("This function doesn't handle types other than float and double")
    if tol is not None and atol is None and rtol is None:
        atol, rtol = tol, 0.0
    atol, rtol = _limits(function, A, atol, rtol)
    values = eigvalsh(A).abs() if hermitian else svdvals(A)
    atol, rtol = _limit_tensor(atol, A), _limit_tensor(rtol, A)
    batch = tuple(A.shape[:-2])
    if not values.shape[-1]:
        return values.new_zeros(batch, dtype=int64)
    top = values.max(-1).values if hermitian else values.select(-1, 0)
    relative = rtol * top
    limit = relative.maximum(atol) if isinstance(relative, Tensor) else relative
    return (values > limit.unsqueeze(-1)).sum(-1)


# ---------------------------------------------------------------- least squares


_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


@public(into="linalg", out=True)
def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> Any:
    """The X for which ``|AX - B|`` is least, the shortest one where there are several.

    Args:
        A: (..., M, N).
        B: (..., M, K) or, one vector per matrix, (..., M).
        rcond: singular values up to this part of the largest count as zero.
        driver: LAPACK's name for the method, which decides what else is returned: ``"gels"`` (no rank), ``"gelsy"``,
            ``"gelsd"`` and ``"gelss"`` (singular values as well).  The solution comes from the pseudo-inverse.

    Returns:
        solution, residuals (the squares of the columns' norms, where M > N and all ranks are full, else empty),
        rank, singular values.

    Raises:
        RuntimeError: if the types or the numbers of rows differ, or for any other ``driver``.

    Example:
        >>> import flambeau as torch
        >>> A, B = torch.tensor([[1., 0.], [1., 1.], [1., 2.]]), torch.tensor([[1.], [3.], [5.]])
        >>> torch.linalg.lstsq(A, B).solution.round()
        tensor([[1.],
                [2.]])
    """
    function = "torch.linalg.lstsq"
    for name, tensor in (("input", A), ("other", B)):
        if tensor.ndim < (2 if name == "input" else 1):
            raise RuntimeError(f"{function}: {name} must have at least {2 if name == 'input' else 1} dimensions.")
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{function}: Expected input and other to have the same dtype, but got input's dtype {A.dtype.title} and "
            f"other's dtype {B.dtype.title}"
        )
    driver = "gelsy" if driver is None else driver
    if driver not in _DRIVERS:
        raise RuntimeError(f"{function}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    if A.shape[-2] != B.shape[-1 if vector else -2]:
        raise RuntimeError(f"{function}: input.size(-2) should match other.size({-1 if vector or B.ndim == 1 else -2})")
    floating(function, A)
    return _least_squares(A, B.unsqueeze(-1) if vector else B, vector, rcond, driver)


def _least_squares(A: Tensor, B: Tensor, vector: bool, rcond: Any, driver: str) -> Any:
    m, n = A.shape[-2:]
    batch = batch_of(A._node.aval, B._node.aval)
    limit = finfo(A.dtype.to_real()).eps * max(m, n) if rcond is None else rcond
    solution = pinv(A, rtol=0.0 if driver == "gels" else limit) @ B
    fixed = A.detach()
    values = svdvals(fixed) if min(m, n) else fixed.new_zeros((*A.shape[:-2], 0), dtype=A.dtype.to_real())
    rank = matrix_rank(fixed, rtol=limit) if min(m, n) else fixed.new_zeros(A.shape[:-2], dtype=int64)
    rank, values = (x.expand((*batch, *x.shape[A.ndim - 2 :])) for x in (rank, values))
    residuals = solution.new_zeros((0,), dtype=A.dtype.to_real())
    if m > n and (driver == "gels" or (driver != "gelsy" and bool((rank == n).all()))):
        gap = A @ solution - B
        residuals = (gap * conj(gap)).sum(-2)
        residuals = residuals.real if A.dtype.is_complex else residuals
        if vector:
            residuals = residuals.squeeze(-1)
    if driver == "gels":
        rank = rank.new_zeros((0,))
    if driver in ("gels", "gelsy"):
        values = values.new_zeros((0,))
    return named("linalg_lstsq", solution.squeeze(-1) if vector else solution, residuals, rank, values)
