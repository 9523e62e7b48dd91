"""Approximate decompositions of low rank, by random projection."""

from __future__ import annotations

from flambeau.ops.linalg import adjoint
from flambeau.ops.operator import public
from flambeau.ops.spectral import decomposed
from flambeau.tensor.tensor import Tensor


@public()
def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """An approximate singular value decomposition of rank ``q``: U, S and V.

    Projects onto a random subspace, turned towards the largest values ``niter`` times (Halko, Martinsson and Tropp,
    "Finding structure with randomness", 2009, algorithms 4.4 and 5.1).

    Args:
        A: (..., M, N).
        M: subtracted from A first.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[1.], [2.], [2.]]) @ torch.tensor([[1., 0., 1.]])
        >>> U, S, V = torch.svd_lowrank(A, q=1)
        >>> torch.allclose(U @ torch.diag(S) @ V.T, A, atol=1e-5), U.shape, V.shape
        (True, torch.Size([3, 1]), torch.Size([3, 1]))
    """
    q = 6 if q is None else q
    niter = 2 if niter is None else niter
    if M is not None:
        A = A - M.expand(A.shape)
    # The projection goes along the longer side.
    wide = A.shape[-2] < A.shape[-1]
    if wide:
        A = adjoint(A)
    Q = _range(A, q, niter)
    U, S, Vh = decomposed(adjoint(Q) @ A)
    U, V = Q @ U, adjoint(Vh)
    return (V, S, U) if wide else (U, S, V)


def _range(A: Tensor, q: int, niter: int) -> Tensor:
    from flambeau.ops.factor import QR
    from flambeau.ops.random import randn

    found = randn(A.shape[-1], q, dtype=A.dtype, device=A.device)
    Q = QR(A @ found, "reduced")[0]
    for _ in range(niter):
        Q = QR(adjoint(A) @ Q, "reduced")[0]
        Q = QR(A @ Q, "reduced")[0]
    return Q


@public()
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """The first ``q`` principal components of the rows of ``A``, approximately: U, S and V of :func:`svd_lowrank`.

    Args:
        A: (..., M, N): M samples of N features.
        q: 6, or the smaller of M and N, by default.
        center: whether to subtract the features' means.

    Raises:
        ValueError: if ``q`` is not between 0 and the smaller of M and N, or ``niter`` is negative.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[1., 10.], [2., 20.], [3., 30.]])
        >>> U, S, V = torch.pca_lowrank(A, q=1)
        >>> torch.allclose(U @ torch.diag(S) @ V.T, A - A.mean(0), atol=1e-4)
        True
    """
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
