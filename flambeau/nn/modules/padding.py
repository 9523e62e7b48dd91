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
    """

    _axes = 1


class ConstantPad2d(_ConstantPadNd):
    """Puts ``value`` around the last two axes; ``padding`` is one number or (left, right, top, bottom)."""

    _axes = 2


class ConstantPad3d(_ConstantPadNd):
    """Puts ``value`` around the last three axes; (left, right, top, bottom, front, back)."""

    _axes = 3


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd):
    """Puts zeros before and behind the last axis."""

    _axes = 1


class ZeroPad2d(_ZeroPadNd):
    """Puts zeros around the last two axes."""

    _axes = 2


class ZeroPad3d(_ZeroPadNd):
    """Puts zeros around the last three axes."""

    _axes = 3


class _ReflectionPadNd(_PadNd):
    _mode = "reflect"


class ReflectionPad1d(_ReflectionPadNd):
    """Mirrors the last axis at its first and last element."""

    _axes = 1


class ReflectionPad2d(_ReflectionPadNd):
    """Mirrors the last two axes at their first and last elements."""

    _axes = 2


class ReflectionPad3d(_ReflectionPadNd):
    """Mirrors the last three axes at their first and last elements."""

    _axes = 3


class _ReplicationPadNd(_PadNd):
    _mode = "replicate"


class ReplicationPad1d(_ReplicationPadNd):
    """Repeats the first and last element of the last axis."""

    _axes = 1


class ReplicationPad2d(_ReplicationPadNd):
    """Repeats the border of the last two axes."""

    _axes = 2


class ReplicationPad3d(_ReplicationPadNd):
    """Repeats the border of the last three axes."""

    _axes = 3


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self._axes + 1, self._axes + 2):
            raise ValueError(f"expected {self._axes + 1}D or {self._axes + 2}D input (got {input.ndim}D input)")
        return F.pad(input, self.padding, "circular")


class CircularPad1d(_CircularPadNd):
    """Continues the last axis at each end with elements from the other."""

    _axes = 1


class CircularPad2d(_CircularPadNd):
    """Continues the last two axes at each end with elements from the other."""

    _axes = 2


class CircularPad3d(_CircularPadNd):
    """Continues the last three axes at each end with elements from the other."""

    _axes = 3
