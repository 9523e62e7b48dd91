"""Fold and Unfold."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor

__all__ = ["Fold", "Unfold"]


class Fold(Module):
    """Adds columns of sliding blocks up to images, the transpose of :class:`Unfold`.

    Shape: (N, C · KH · KW, blocks) gives (N, C, H, W).

    Args:
        output_size: (H, W).
        kernel_size, dilation, padding, stride: of the blocks.

    Example:
        >>> import flambeau as torch
        >>> columns = torch.nn.Unfold(kernel_size=2)(torch.ones(1, 1, 3, 3))
        >>> torch.nn.Fold((3, 3), kernel_size=2)(columns)
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """

    __constants__ = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Unfold(Module):
    """Sliding blocks of images as columns.

    Shape: (N, C, H, W) gives (N, C · KH · KW, blocks).

    Args:
        kernel_size, dilation, padding, stride: of the blocks.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Unfold(kernel_size=2)(torch.arange(9.).reshape(1, 1, 3, 3))
        tensor([[[0., 1., 3., 4.],
                 [1., 2., 4., 5.],
                 [3., 4., 6., 7.],
                 [4., 5., 7., 8.]]])
        >>> torch.nn.Unfold(kernel_size=2, stride=2)(torch.zeros(2, 3, 4, 6)).shape
        torch.Size([2, 12, 6])
    """

    __constants__ = ("kernel_size", "dilation", "padding", "stride")

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
