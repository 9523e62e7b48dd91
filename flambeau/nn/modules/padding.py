"""Padding layers."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple
from flambeau.tensor.tensor import Tensor

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _PadNd(Module):
    """What padding layers share.

    Attributes:
        padding: elements before and behind each axis, beginning with the last.
    """

    __constants__ = ("padding",)
    _axes: int
    _mode: str
    padding: tuple[int, ...]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self._axes)(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    __constants__ = ("padding", "value")

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Puts ``value`` before and behind the last axis.

    Args:
        padding: one number, or (before, behind).
        value: the constant.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ConstantPad1d((2, 1), 9.0)(torch.tensor([[1., 2.]]))
        tensor([[9., 9., 1., 2., 9.]])
    """

    _axes = 1


class ConstantPad2d(_ConstantPadNd):
    """Puts ``value`` around the last two axes; ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ConstantPad2d((1, 0, 0, 1), 9.0)(torch.tensor([[[1., 2.]]]))
        tensor([[[9., 1., 2.],
                 [9., 9., 9.]]])
    """

    _axes = 2


class ConstantPad3d(_ConstantPadNd):
    """Puts ``value`` around the last three axes; (left, right, top, bottom, front, back).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ConstantPad3d((1, 1, 2, 2, 0, 3), 9.0)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 7, 9, 8])
    """

    _axes = 3


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd):
    """Puts zeros before and behind the last axis.

    Shape: (N, C, L) or (C, L); ``padding`` is one number or (before, behind).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ZeroPad1d((2, 1))(torch.tensor([[1., 2.]]))
        tensor([[0., 0., 1., 2., 0.]])
    """

    _axes = 1


class ZeroPad2d(_ZeroPadNd):
    """Puts zeros around the last two axes.

    Shape: (N, C, H, W) or (C, H, W); ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ZeroPad2d((1, 0, 0, 1))(torch.tensor([[[1., 2.]]]))
        tensor([[[0., 1., 2.],
                 [0., 0., 0.]]])
    """

    _axes = 2


class ZeroPad3d(_ZeroPadNd):
    """Puts zeros around the last three axes.

    Shape: (N, C, D, H, W) or (C, D, H, W); ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ZeroPad3d((1, 1, 2, 2, 0, 3))(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 7, 9, 8])
    """

    _axes = 3


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors the last axis at its first and last element.

    Shape: (N, C, L) or (C, L); ``padding`` is one number or (before, behind).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReflectionPad1d(2)(torch.tensor([[1., 2., 3.]]))
        tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    _axes = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Mirrors the last two axes at their first and last elements.

    Shape: (N, C, H, W) or (C, H, W); ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReflectionPad2d((1, 0, 1, 0))(torch.tensor([[[1., 2.], [3., 4.]]]))
        tensor([[[4., 3., 4.],
                 [2., 1., 2.],
                 [4., 3., 4.]]])
    """

    _axes = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Mirrors the last three axes at their first and last elements.

    Shape: (N, C, D, H, W) or (C, D, H, W); ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReflectionPad3d(1)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 6, 7, 8])
    """

    _axes = 3


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the first and last element of the last axis.

    Shape: (N, C, L) or (C, L); ``padding`` is one number or (before, behind).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReplicationPad1d(2)(torch.tensor([[1., 2., 3.]]))
        tensor([[1., 1., 1., 2., 3., 3., 3.]])
    """

    _axes = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Repeats the border of the last two axes.

    Shape: (N, C, H, W) or (C, H, W); ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReplicationPad2d((1, 0, 1, 0))(torch.tensor([[[1., 2.], [3., 4.]]]))
        tensor([[[1., 1., 2.],
                 [1., 1., 2.],
                 [3., 3., 4.]]])
    """

    _axes = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Repeats the border of the last three axes.

    Shape: (N, C, D, H, W) or (C, D, H, W); ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReplicationPad3d(1)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 6, 7, 8])
    """

    _axes = 3


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ValueError(f"expected {self._axes + 1}D or {self._axes + 2}D input (got {input.ndim}D input)")
        return F.pad(input, self.padding, "circular")


class CircularPad1d(_CircularPadNd):
    """Continues the last axis at each end with elements from the other.

    Shape: (N, C, L) or (C, L); ``padding`` is one number or (before, behind).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.CircularPad1d((2, 1))(torch.tensor([[1., 2., 3.]]))
        tensor([[2., 3., 1., 2., 3., 1.]])
    """

    _axes = 1


class CircularPad2d(_CircularPadNd):
    """Continues the last two axes at each end with elements from the other.

    Shape: (N, C, H, W) or (C, H, W); ``padding`` is one number or (left, right, top, bottom).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.CircularPad2d((1, 0, 1, 0))(torch.tensor([[[1., 2.], [3., 4.]]]))
        tensor([[[4., 3., 4.],
                 [2., 1., 2.],
                 [4., 3., 4.]]])
    """

    _axes = 2


class CircularPad3d(_CircularPadNd):
    """Continues the last three axes at each end with elements from the other.

    Shape: (N, C, D, H, W) or (C, D, H, W); ``padding`` is one number or (left, right, top, bottom, front, back).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.CircularPad3d(1)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 6, 7, 8])
    """

    _axes = 3
