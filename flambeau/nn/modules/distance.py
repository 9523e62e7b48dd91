"""Distances and similarities as layers."""

from __future__ import annotations

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    """``‖x1 - x2 + eps‖ₚ`` along the last dimension.  Shape: (N, D) or (D) each; result (N) or ().

    Args:
        p: which norm.
        eps: lest the distance be zero.
        keepdim: leave the last dimension as one.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor([[3., 4.], [1., 1.]]), torch.zeros(2, 2)
        >>> torch.nn.PairwiseDistance()(x, y)
        tensor([5.0000, 1.4142])
        >>> torch.nn.PairwiseDistance(p=1, keepdim=True)(x, y)
        tensor([[7.0000],
                [2.0000]])
    """

    norm: float
    eps: float
    keepdim: bool

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    """``x1 · x2 / (max(‖x1‖, eps) max(‖x2‖, eps))`` along ``dim``.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor([[3., 4.], [1., 0.]]), torch.tensor([[6., 8.], [0., 2.]])
        >>> torch.nn.CosineSimilarity(dim=1)(x, y)
        tensor([1., 0.])
    """

    dim: int
    eps: float

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
