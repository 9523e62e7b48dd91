"""Pixel shuffling."""

from __future__ import annotations

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor

__all__ = ["PixelShuffle", "PixelUnshuffle"]


class PixelShuffle(Module):
    """Channels spread over a finer grid (Shi et al., arXiv:1609.05158).

    Shape: (..., C r², H, W) gives (..., C, H r, W r) with r the ``upscale_factor``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.PixelShuffle(2)(torch.tensor([1., 2., 3., 4.]).reshape(4, 1, 1))
        tensor([[[1., 2.],
                 [3., 4.]]])
        >>> torch.nn.PixelShuffle(3)(torch.zeros(1, 9, 4, 4)).shape
        torch.Size([1, 1, 12, 12])
    """

    __constants__ = ("upscale_factor",)

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """The inverse of :class:`PixelShuffle`: (..., C, H r, W r) gives (..., C r², H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.PixelUnshuffle(2)(torch.tensor([[[1., 2.], [3., 4.]]])).flatten()
        tensor([1., 2., 3., 4.])
        >>> torch.nn.PixelUnshuffle(3)(torch.zeros(1, 1, 12, 12)).shape
        torch.Size([1, 9, 4, 4])
    """

    __constants__ = ("downscale_factor",)

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"
