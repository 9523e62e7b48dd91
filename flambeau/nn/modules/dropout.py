"""Dropout layers: in training they leave elements or channels out at random, in evaluation they do nothing."""

from __future__ import annotations

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _DropoutNd(Module):
    p: float
    inplace: bool

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Sets elements to 0 with probability p and multiplies the others by ``1 / (1 - p)``.

    Args:
        p: the probability.
        inplace: write the result into the input.

    Srivastava et al., Dropout, JMLR 2014.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Dropout(p=0.75)
        >>> y = layer(torch.ones(1000))
        >>> y.unique()
        tensor([0., 4.])
        >>> layer.eval()(torch.ones(3))
        tensor([1., 1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Sets whole channels to 0 with probability p.  Shape: (N, C, L) or (C, L).

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Dropout1d()
        >>> y = layer(torch.ones(100, 3, 8))
        >>> bool((y == y[:, :, :1]).all())
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Sets whole channels to 0 with probability p.  Shape: (N, C, H, W).

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.Dropout2d()(torch.ones(100, 3, 4, 4))
        >>> y.amax(dim=(2, 3)).unique(), y.amin(dim=(2, 3)).unique()
        (tensor([0., 2.]), tensor([0., 2.]))
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Sets whole channels to 0 with probability p.  Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.Dropout3d()(torch.ones(100, 3, 2, 2, 2))
        >>> bool((y == y[:, :, :1, :1, :1]).all())
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout that keeps mean and variance, for networks of SELUs.  ``inplace`` has no effect, as in PyTorch.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.AlphaDropout(p=0.5)
        >>> layer(torch.ones(1000)).unique()
        tensor([-0.7792,  1.6656])
        >>> layer.eval()(torch.ones(3))
        tensor([1., 1., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_DropoutNd):
    """Alpha dropout of whole channels.  ``inplace`` has no effect, as in PyTorch.  Shape: (N, C, ...).

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.FeatureAlphaDropout()(torch.zeros(100, 3, 8))
        >>> bool((y == y[:, :, :1]).all())
        True
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
