"""A few eigenvalues of a large Hermitian matrix, by iteration."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.dtypes import finfo
from flambeau.ops.linalg import adjoint, square
from flambeau.ops.operator import public
from flambeau.ops.pointwise import conj
from flambeau.tensor.tensor import Tensor, from_array

METHODS_KNOWN = (None, "basic", "ortho")


def _orthonormal(S: np.ndarray, B: np.ndarray | None) -> np.ndarray:
    """A basis of the columns' space, orthonormal in the product with B; columns that add nothing are dropped."""
    S = S / np.maximum(np.linalg.norm(S, axis=0), np.finfo(S.dtype).tiny)
    for _ in range(2):
        gram = S.conj().T @ (S if B is None else B @ S)
        sizes, turns = np.linalg.eigh((gram + gram.conj().T) / 2)
        kept = sizes > sizes[-1] * np.finfo(S.dtype).eps * len(sizes)
        S = S @ (turns[:, kept] / np.sqrt(sizes[kept]))
    return S


def _iterated(
    A: np.ndarray,
    B: np.ndarray | None,
    X: np.ndarray,
    K: np.ndarray | None,
    k: int,
    niter: int,
    tol: float,
    largest: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Knyazev, "Toward the optimal preconditioned eigensolver" (2001), on an orthonormal basis of each space."""
    n = X.shape[1]
    scale = np.linalg.norm(A, 2), 1.0 if B is None else np.linalg.norm(B, 2)
    basis = _orthonormal(X, B)
    before = None
    for _ in range(max(niter, 1)):
        projected = basis.conj().T @ A @ basis
        values, turns = np.linalg.eigh((projected + projected.conj().T) / 2)
        order = np.argsort(-values if largest else values)[:n]
        values, X = values[order], basis @ turns[:, order]
        residual = A @ X - (X if B is None else B @ X) * values
        error = np.linalg.norm(residual, axis=0) / (np.linalg.norm(X, axis=0) * (scale[0] + abs(values) * scale[1]))
        if (error[:k] < tol).all():
            break
        parts = [X, residual if K is None else K @ residual]
        if before is not None:
            # The direction of the last step: what of the new vectors lies outside the old ones.
            parts.append(X - before @ (before.conj().T @ (X if B is None else B @ X)))
        before = X
        basis = _orthonormal(np.concatenate(parts, axis=1), B)
    return values[:k], X[:, :k]


@public()
def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: Any = None,
    ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:
    """The ``k`` largest, or smallest, eigenvalues of ``A x = λ B x`` and their vectors, by LOBPCG.

    Args:
        A: (..., M, M), Hermitian.
        k: how many; one by default, or as many as ``X`` has columns.
        B: (..., M, M), Hermitian and positive-definite; the unit matrix by default.
        X: (..., M, N), where to start from; random by default.
        n: the number of columns to iterate with, ``k`` by default.
        iK: a preconditioner, (..., M, M).
        niter, tol: the most steps (1000), and the relative size of residuals at which to stop (the precision's root).
        largest: which end of the spectrum; the largest by default.

    Returns:
        eigenvalues (..., k), differentiable, and eigenvectors (..., M, k), which are not.

    Raises:
        ValueError: if M is below three times the number of columns, or for an unknown ``method``.

    Example:
        >>> import flambeau as torch
        >>> A = torch.diag(torch.arange(1., 13.))
        >>> torch.lobpcg(A, k=2, X=torch.eye(12)[:, :2] + 0.1)[0].round()
        tensor([12., 11.])
        >>> torch.lobpcg(A, k=2, X=torch.eye(12)[:, :2] + 0.1, largest=False)[0].round()
        tensor([1., 2.])
    """
    square("lobpcg", A)
    if method not in METHODS_KNOWN:
        raise ValueError(f"lobpcg: method must be one of {METHODS_KNOWN}, got {method!r}")
    if tracker is not None:
        raise NotImplementedError("lobpcg: tracker is not supported")
    m = A.shape[-1]
    k = (1 if X is None else X.shape[-1]) if k is None else k
    n = (k if n is None else n) if X is None else X.shape[-1]
    if m < 3 * n:
        raise ValueError(
            f"LPBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={n})"
        )
    if X is None:
        from flambeau.ops.random import randn

        X = randn(*A.shape[:-2], m, n, dtype=A.dtype, device=A.device)
    if tol is None:
        tol = float(finfo(A.dtype).eps ** 0.5)
    arrays = [None if t is None else t.detach()._array() for t in (A, B, X, iK)]
    values, vectors = _each(arrays, A, k, 1000 if niter is None or niter < 0 else niter, tol, largest is not False)
    if not (A.requires_grad or (B is not None and B.requires_grad)):
        return values, vectors
    # The vectors make the quotient stationary, so the values' derivative does not need theirs.
    change = A @ vectors
    if B is not None:
        change = change - (B @ vectors) * values.unsqueeze(-2)
        norm = (adjoint(vectors) @ (B.detach() @ vectors)).detach()
    else:
        norm = adjoint(vectors) @ vectors
    slope = (conj(vectors) * change).sum(-2)
    slope = (slope.real if A.dtype.is_complex else slope) / norm.diagonal(0, -2, -1).abs()
    return values + (slope - slope.detach()), vectors


def _each(arrays: list[Any], A: Tensor, k: int, niter: int, tol: float, largest: bool) -> tuple[Tensor, Tensor]:
    """One matrix of the batch after the other, in double precision."""
    batch = tuple(A.shape[:-2])
    wide = np.complex128 if A.dtype.is_complex else np.float64
    flat = []
    for array in arrays:
        if array is not None:
            array = np.broadcast_to(array, (*batch, *array.shape[-2:])).reshape(-1, *array.shape[-2:]).astype(wide)
        flat.append(array)
    found = [
        _iterated(*[None if part is None else part[i] for part in flat], k, niter, tol, largest)  # type: ignore[arg-type]
        for i in range(len(flat[0]))
    ]
    m = A.shape[-1]
    real = A.dtype.to_real()
    values = np.array([v for v, _ in found], real.numpy).reshape(*batch, k)
    vectors = np.array([x for _, x in found], A.dtype.numpy).reshape(*batch, m, k)
    return from_array(values, real, A.device), from_array(vectors, A.dtype, A.device)
