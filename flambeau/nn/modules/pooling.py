"""Pooling layers."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple
from flambeau.tensor.tensor import Tensor

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "MinPool1d",
    "MinPool2d",
    "MinPool3d",
]


class _MaxPoolNd(Module):
    __constants__ = ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")
    _function: str

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return getattr(F, self._function)(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The largest element of each window; arguments as of :class:`MaxPool2d`.  Shape: (N, C, L) or (C, L).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MaxPool1d(2)(torch.tensor([[1., 5., 2., 0., 7.]]))
        tensor([[5., 2.]])
        >>> torch.nn.MaxPool1d(2, ceil_mode=True)(torch.tensor([[1., 5., 2., 0., 7.]]))
        tensor([[5., 2., 7.]])
    """

    _function = "max_pool1d"


class MaxPool2d(_MaxPoolNd):
    """The largest element of each window.

    Shape: (N, C, H, W) or (C, H, W); H' = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.

    Args:
        kernel_size, padding, dilation: of the windows, one number or one per axis; padding counts as minus infinity.
        stride: between windows; ``kernel_size`` if None.
        return_indices: also give where each maximum is, for :class:`MaxUnpool2d`.
        ceil_mode: round H' up rather than down.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MaxPool2d(2)(torch.arange(16.).reshape(1, 4, 4))
        tensor([[[ 5.,  7.],
                 [13., 15.]]])
    """

    _function = "max_pool2d"


class MaxPool3d(_MaxPoolNd):
    """The largest element of each window; arguments as of :class:`MaxPool2d`.  Shape: (N, C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MaxPool3d(2, stride=1)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 3, 4, 5])
    """

    _function = "max_pool3d"


class MinPool1d(_MaxPoolNd):
    """The smallest element of each window; arguments as of :class:`MaxPool2d`.  Shape: (N, C, L) or (C, L).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MinPool1d(2)(torch.tensor([[1., 5., 2., 0.]]))
        tensor([[1., 0.]])
    """

    _function = "min_pool1d"


class MinPool2d(_MaxPoolNd):
    """The smallest element of each window; arguments as of :class:`MaxPool2d`.  Shape: (N, C, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MinPool2d(2)(torch.arange(16.).reshape(1, 4, 4))
        tensor([[[ 0.,  2.],
                 [ 8., 10.]]])
    """

    _function = "min_pool2d"


class MinPool3d(_MaxPoolNd):
    """The smallest element of each window; arguments as of :class:`MaxPool2d`.  Shape: (N, C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.MinPool3d(2, stride=1)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 3, 4, 5])
    """

    _function = "min_pool3d"


class _MaxUnpoolNd(Module):
    _axes: int

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        each = _ntuple(self._axes)
        self.kernel_size = each(kernel_size)
        self.stride = each(stride if stride is not None else kernel_size)
        self.padding = each(padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        unpool = getattr(F, f"max_unpool{self._axes}d")
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts what a :class:`MaxPool1d` found back where it was, zeros elsewhere; arguments as of :class:`MaxUnpool2d`.

    Shape: (N, C, L) or (C, L) gives the same with L' = (L - 1) stride - 2 padding + kernel_size.

    Example:
        >>> import flambeau as torch
        >>> y, places = torch.nn.MaxPool1d(2, return_indices=True)(torch.tensor([[1., 5., 2., 0.]]))
        >>> torch.nn.MaxUnpool1d(2)(y, places)
        tensor([[0., 5., 2., 0.]])
    """

    _axes = 1


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts what a :class:`MaxPool2d` found back where it was, zeros elsewhere.

    Shape: (N, C, H, W) or (C, H, W) gives the same with H' = (H - 1) stride - 2 padding + kernel_size.

    Args:
        kernel_size, stride, padding: of that pooling.

    ``forward`` takes the pooled values, their indices, and if need be the ``output_size``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[1., 2., 0.], [4., 3., 0.], [0., 0., 0.]]])
        >>> y, places = torch.nn.MaxPool2d(2, return_indices=True)(x)
        >>> torch.nn.MaxUnpool2d(2)(y, places).shape
        torch.Size([1, 2, 2])
        >>> torch.nn.MaxUnpool2d(2)(y, places, output_size=(3, 3))
        tensor([[[0., 0., 0.],
                 [4., 0., 0.],
                 [0., 0., 0.]]])
    """

    _axes = 2


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts what a :class:`MaxPool3d` found back where it was, zeros elsewhere; arguments as of :class:`MaxUnpool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> y, places = torch.nn.MaxPool3d(2, return_indices=True)(torch.zeros(1, 3, 4, 4, 4))
        >>> torch.nn.MaxUnpool3d(2)(y, places).shape
        torch.Size([1, 3, 4, 4, 4])
    """

    _axes = 3


class _AvgPoolNd(Module):
    __constants__ = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window; arguments as of :class:`AvgPool2d`.  Shape: (N, C, L) or (C, L).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AvgPool1d(2)(torch.tensor([[1., 5., 2., 0.]]))
        tensor([[3., 1.]])
        >>> torch.nn.AvgPool1d(3, stride=1, padding=1, count_include_pad=False)(torch.tensor([[1., 5., 3.]]))
        tensor([[3., 3., 4.]])
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        each = _ntuple(1)
        self.kernel_size = each(kernel_size)
        self.stride = each(stride if stride is not None else kernel_size)
        self.padding = each(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPoolNd):
    """The mean of each window.

    Shape: (N, C, H, W) or (C, H, W); H' = floor((H + 2 padding - kernel_size) / stride) + 1.

    Args:
        kernel_size, padding: of the windows, one number or one per axis.
        stride: between windows; ``kernel_size`` if None.
        ceil_mode: round H' up rather than down.
        count_include_pad: whether the zeros of the padding count as elements.
        divisor_override: divide by this instead of the number of elements.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AvgPool2d(2)(torch.arange(16.).reshape(1, 4, 4))
        tensor([[[ 2.5000,  4.5000],
                 [10.5000, 12.5000]]])
    """

    __constants__ = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool3d(AvgPool2d):
    """The mean of each window; arguments as of :class:`AvgPool2d`.  Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AvgPool3d((1, 2, 2))(torch.zeros(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 2, 2])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class _FractionalMaxPoolNd(Module):
    __constants__ = ("kernel_size", "return_indices", "output_size", "output_ratio")
    _axes: int

    def __init__(
        self,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        each = _ntuple(self._axes)
        self.kernel_size = each(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = each(output_size) if output_size is not None else None
        self.output_ratio = each(output_ratio) if output_ratio is not None else None
        if output_size is None and output_ratio is None:
            raise ValueError(f"{type(self).__name__} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        pool = getattr(F, f"fractional_max_pool{self._axes}d")
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima of windows at pseudo-random distances (Graham, arXiv:1412.6071).  Shape: (N, C, H, W) or (C, H, W).

    Args:
        kernel_size: of the windows.
        output_size, output_ratio: how many windows, or what part of the input's size; just one must be given.
        return_indices: also give where each maximum is.

    Raises:
        ValueError: if both or neither are given, or a ratio is not between 0 and 1.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.FractionalMaxPool2d(2, output_size=5)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 5, 5])
        >>> torch.nn.FractionalMaxPool2d(2, output_ratio=0.75)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 3, 6, 6])
    """

    _axes = 2


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Maxima of windows at pseudo-random distances; arguments as of :class:`FractionalMaxPool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.FractionalMaxPool3d(2, output_size=3)(torch.zeros(2, 3, 6, 6, 6)).shape
        torch.Size([2, 3, 3, 3, 3])
    """

    _axes = 3


class _LPPoolNd(Module):
    __constants__ = ("norm_type", "kernel_size", "stride", "ceil_mode")
    _axes: int

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        pool = getattr(F, f"lp_pool{self._axes}d")
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """``(sum of x^p)^(1/p)`` over each window, with p the ``norm_type``.

    Shape: (N, C, L) or (C, L); L' = floor((L - kernel_size) / stride) + 1.

    Args:
        norm_type: p; 1 gives sums.
        kernel_size: of the windows, one number or one per axis.
        stride: between windows; ``kernel_size`` if None.
        ceil_mode: round L' up rather than down.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LPPool1d(2, kernel_size=2)(torch.tensor([[3., 4., 5., 12.]]))
        tensor([[ 5., 13.]])
    """

    _axes = 1


class LPPool2d(_LPPoolNd):
    """``(sum of x^p)^(1/p)`` over each window; arguments as of :class:`LPPool1d`.  Shape: (N, C, H, W) or (C, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LPPool2d(1, kernel_size=2)(torch.arange(16.).reshape(1, 4, 4))
        tensor([[[10., 18.],
                 [42., 50.]]])
    """

    _axes = 2


class LPPool3d(_LPPoolNd):
    """``(sum of x^p)^(1/p)`` over each window; arguments as of :class:`LPPool1d`.  Shape: (N, C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LPPool3d(2, kernel_size=2)(torch.ones(1, 2, 4, 4, 4)).shape
        torch.Size([1, 2, 2, 2, 2])
    """

    _axes = 3


class _AdaptiveMaxPoolNd(Module):
    __constants__ = ("output_size", "return_indices")
    _axes: int

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        return getattr(F, f"adaptive_max_pool{self._axes}d")(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima of windows chosen so that ``output_size`` results come out.

    Shape: (N, C, L) or (C, L); the spatial axes become ``output_size``, one number or one per axis.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AdaptiveMaxPool1d(2)(torch.tensor([[1., 5., 2., 0., 7.]]))
        tensor([[5., 7.]])
    """

    _axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima of windows chosen so that ``output_size`` results come out; None keeps an axis.

    Shape: (N, C, H, W) or (C, H, W); the spatial axes become ``output_size``, one number or one per axis.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AdaptiveMaxPool2d((1, None))(torch.arange(6.).reshape(1, 2, 3))
        tensor([[[3., 4., 5.]]])
    """

    _axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima of windows chosen so that ``output_size`` results come out; None keeps an axis.

    Shape: (N, C, D, H, W) or (C, D, H, W); the spatial axes become ``output_size``, one number or one per axis.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AdaptiveMaxPool3d((2, None, 1))(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 2, 5, 1])
    """

    _axes = 3


class _AdaptiveAvgPoolNd(Module):
    __constants__ = ("output_size",)
    _axes: int

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return getattr(F, f"adaptive_avg_pool{self._axes}d")(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means of windows chosen so that ``output_size`` results come out.

    Shape: (N, C, L) or (C, L); the spatial axes become ``output_size``, one number or one per axis.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AdaptiveAvgPool1d(2)(torch.tensor([[1., 5., 3., 0., 6.]]))
        tensor([[3., 3.]])
    """

    _axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means of windows chosen so that ``output_size`` results come out; None keeps an axis.

    Shape: (N, C, H, W) or (C, H, W); the spatial axes become ``output_size``, one number or one per axis.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AdaptiveAvgPool2d(1)(torch.ones(2, 3, 5, 7)).shape
        torch.Size([2, 3, 1, 1])
    """

    _axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means of windows chosen so that ``output_size`` results come out; None keeps an axis.

    Shape: (N, C, D, H, W) or (C, D, H, W); the spatial axes become ``output_size``, one number or one per axis.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.AdaptiveAvgPool3d((2, None, 1))(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 2, 5, 1])
    """

    _axes = 3
