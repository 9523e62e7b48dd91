"""Convolutional layers."""

from __future__ import annotations

import math
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.lazy import LazyModuleMixin
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _ntuple, _reverse_repeat_tuple
from flambeau.nn.parameter import Parameter, UninitializedParameter
from flambeau.ops.conv import same_padding
from flambeau.ops.create import empty
from flambeau.tensor.tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What convolutional layers share: parameters, how they start, and how they print."""

    __constants__ = (
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    )
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: str | tuple[int, ...],
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError(f"in_channels must be divisible by groups (got {in_channels} and {groups})")
        if out_channels % groups != 0:
            raise ValueError(f"out_channels must be divisible by groups (got {out_channels} and {groups})")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # Pairs for F.pad, which begins with the last axis.
        self._reversed_padding_repeated_twice: Any
        if isinstance(padding, str):
            self._reversed_padding_repeated_twice = [0] * (2 * len(kernel_size))
            if padding == "same":
                totals = [d * (k - 1) for k, d in zip(reversed(kernel_size), reversed(dilation), strict=True)]
                self._reversed_padding_repeated_twice = [n for t in totals for n in (t // 2, t - t // 2)]
        else:
            self._reversed_padding_repeated_twice = _reverse_repeat_tuple(padding, 2)
        outer, inner = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = Parameter(empty((outer, inner // groups, *kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias anew, uniform in ±1/sqrt(fan in)."""
        # A gain of sqrt(1/3) makes the bound of the weight 1/sqrt(fan_in).
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input padded as the mode says, and the padding that is left to the convolution."""
        if self.padding_mode == "zeros":
            return input, self.padding
        pads = self._reversed_padding_repeated_twice
        if self.padding == "same" and any(s != 1 for s in self.stride):
            size = tuple(input.shape[input.ndim - len(self.stride) :])
            pairs = same_padding(size, self.kernel_size, self.stride, self.dilation)
            pads = [n for pair in reversed(pairs) for n in pair]
        return F.pad(input, pads, mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0,) * len(self.padding):
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * len(self.dilation):
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * len(self.output_padding):
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if not hasattr(self, "padding_mode"):
            self.padding_mode = "zeros"


class _PlainConv(_ConvNd):
    _axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        each = _ntuple(self._axes)
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size),
            each(stride),
            padding if isinstance(padding, str) else each(padding),
            each(dilation),
            False,
            (0,) * self._axes,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError


class Conv1d(_PlainConv):
    """One-dimensional convolution (cross-correlation); arguments as of :class:`Conv2d`.

    Shape: (N, C, L) or (C, L) gives (N, O, L') or (O, L').

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Conv1d(3, 8, kernel_size=5, stride=2)(torch.zeros(2, 3, 20)).shape
        torch.Size([2, 8, 8])
        >>> torch.nn.Conv1d(3, 8, kernel_size=5, padding="same")(torch.zeros(2, 3, 20)).shape
        torch.Size([2, 8, 20])
    """

    _axes = 1

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input, padding = self._padded(input)
        return F.conv1d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_PlainConv):
    """Two-dimensional convolution, as the field calls cross-correlation:

    ``y[n, o, h, w] = b[o] + sum over c, i, j of weight[o, c, i, j] * x[n, c, h*s + i*d - p, w*s + j*d - p]``.

    Shape: (N, C, H, W) or (C, H, W) gives (N, O, H', W') or (O, H', W') with
    ``H' = floor((H + 2p - d(k - 1) - 1) / s) + 1``.  Weight (O, C / groups, KH, KW) and bias (O) start uniform in
    ±1/sqrt(C / groups · KH · KW).

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, dilation: one number or one per axis.
        padding: one number, one per axis, ``"valid"`` (none) or ``"same"`` (``ceil(size / stride)`` outputs).
        groups: channels are split into so many groups that do not see each other.
        bias: whether there is a b.
        padding_mode: what the padding consists of: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Raises:
        ValueError: if channels cannot be split so, or ``padding`` or ``padding_mode`` is another word.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Conv2d(3, 8, kernel_size=3, padding=1)(torch.ones(2, 3, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
    """

    _axes = 2

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input, padding = self._padded(input)
        return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_PlainConv):
    """Three-dimensional convolution; arguments as of :class:`Conv2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) gives (N, O, D', H', W') or (O, D', H', W').

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Conv3d(3, 8, kernel_size=(1, 3, 3), padding=(0, 1, 1))(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 8, 4, 5, 6])
    """

    _axes = 3

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        input, padding = self._padded(input)
        return F.conv3d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class _ConvTransposeNd(_ConvNd):
    _axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        each = _ntuple(self._axes)
        super().__init__(
            in_channels,
            out_channels,
            each(kernel_size),
            each(stride),
            each(padding),
            each(dilation),
            True,
            each(output_padding),
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(
        self,
        input: Tensor,
        output_size: Any,
        stride: Any,
        padding: Any,
        kernel_size: Any,
        num_spatial_dims: int,
        dilation: Any = None,
    ) -> tuple[int, ...]:
        """What must be added behind for the result to have the size asked for."""
        if output_size is None:
            return _ntuple(1)(self.output_padding)
        lead = 2 if input.ndim == num_spatial_dims + 2 else 1
        wanted = list(output_size)
        if len(wanted) == lead + num_spatial_dims:
            wanted = wanted[lead:]
        if len(wanted) != num_spatial_dims:
            raise ValueError(
                f"ConvTranspose{num_spatial_dims}D: for {input.ndim}D input, output_size must have {num_spatial_dims} "
                f"or {lead + num_spatial_dims} elements (got {len(wanted)})"
            )
        spread = dilation or (1,) * num_spatial_dims
        sizes = input.shape[lead:]
        smallest = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(sizes, stride, padding, spread, kernel_size, strict=True)
        ]
        largest = [n + s - 1 for n, s in zip(smallest, stride, strict=True)]
        if any(not low <= n <= high for n, low, high in zip(wanted, smallest, largest, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {smallest} to {largest} "
                f"(for an input of {input.shape[2:]})"
            )
        return tuple([n - low for n, low in zip(wanted, smallest, strict=True)])

    def _extra(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        return self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, self._axes, self.dilation
        )


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed one-dimensional convolution; arguments as of :class:`ConvTranspose2d`.

    Shape: (N, C, L) or (C, L) gives (N, O, L') or (O, L').

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.ConvTranspose1d(8, 3, kernel_size=4, stride=2, padding=1)
        >>> layer(torch.zeros(2, 8, 10)).shape
        torch.Size([2, 3, 20])
    """

    _axes = 1

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self._extra(input, output_size)
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose2d(_ConvTransposeNd):
    """The transpose of a :class:`Conv2d` of the same sizes as a linear map, not its inverse.

    Shape: (N, C, H, W) or (C, H, W) gives (N, O, H', W') or (O, H', W') with
    ``H' = (H - 1) s - 2p + d(k - 1) + output_padding + 1``.  Weight (C, O / groups, KH, KW) and bias (O) start
    uniform in ±1/sqrt(O / groups · KH · KW).

    Args:
        in_channels, out_channels: C and O.
        kernel_size, stride, padding, dilation: of the convolution that it is the transpose of.
        output_padding: added behind each axis, since several sizes of a strided convolution give one.
        groups, bias: as of :class:`Conv2d`.

    ``forward`` also takes ``output_size``, the sizes wanted, in place of ``output_padding``.

    Raises:
        ValueError: if channels cannot be split so, or ``padding_mode`` is not ``"zeros"``.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.ConvTranspose2d(8, 3, kernel_size=3, stride=2, padding=1)
        >>> layer(torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 3, 9, 9])
        >>> layer(torch.zeros(2, 8, 5, 5), output_size=(10, 10)).shape
        torch.Size([2, 3, 10, 10])
        >>> layer.weight.shape
        torch.Size([8, 3, 3, 3])
    """

    _axes = 2

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self._extra(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed three-dimensional convolution; arguments as of :class:`ConvTranspose2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W) gives (N, O, D', H', W') or (O, D', H', W').

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ConvTranspose3d(8, 3, kernel_size=2, stride=2)(torch.zeros(1, 8, 2, 3, 4)).shape
        torch.Size([1, 3, 4, 6, 8])
    """

    _axes = 3

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self._extra(input, output_size)
        return F.conv_transpose3d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


# ---------------------------------------------------------------- with in_channels from the first input


class _LazyConvXdMixin(LazyModuleMixin):
    """What lazy convolutions share: the weight gets its shape from the first input's channels."""

    _axes: int
    groups: int
    transposed: bool
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    weight: Any
    bias: Any

    def _await_parameters(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.out_channels = out_channels
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Draws weight and bias anew, once they have shapes."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Takes the shapes from the first input."""
        if not self.has_uninitialized_params():
            return
        self.in_channels = self._get_in_channels(input)
        if self.in_channels % self.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        channels = (self.out_channels, self.in_channels)
        outer, inner = reversed(channels) if self.transposed else channels
        self.weight.materialize((outer, inner // self.groups, *self.kernel_size))
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()

    def _get_in_channels(self, input: Tensor) -> int:
        batched = self._axes + 2
        if input.ndim not in (batched - 1, batched):
            raise RuntimeError(
                f"Expected {batched - 1}D (unbatched) or {batched}D (batched) input to {type(self).__name__}, but got "
                f"input of size: {input.shape}"
            )
        return input.shape[input.ndim - self._axes - 1]


class _LazyPlainConv(_LazyConvXdMixin):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self._await_parameters(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvXdMixin):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device, dtype
        )
        self._await_parameters(out_channels, bias, device, dtype)


class LazyConv1d(_LazyPlainConv, Conv1d):  # type: ignore[misc]
    """A :class:`Conv1d` that takes ``in_channels`` from the first input, and becomes a plain one then.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyConv1d(8, kernel_size=3)
        >>> layer(torch.zeros(2, 3, 10)).shape
        torch.Size([2, 8, 8])
        >>> layer
        Conv1d(3, 8, kernel_size=(3,), stride=(1,))
    """

    cls_to_become = Conv1d


class LazyConv2d(_LazyPlainConv, Conv2d):  # type: ignore[misc]
    """A :class:`Conv2d` that takes ``in_channels`` from the first input, and becomes a plain one then.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyConv2d(8, kernel_size=3, padding=1)
        >>> layer(torch.zeros(2, 3, 5, 5)).shape
        torch.Size([2, 8, 5, 5])
        >>> layer.weight.shape
        torch.Size([8, 3, 3, 3])
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyPlainConv, Conv3d):  # type: ignore[misc]
    """A :class:`Conv3d` that takes ``in_channels`` from the first input, and becomes a plain one then.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyConv3d(8, kernel_size=3)
        >>> layer(torch.zeros(2, 3, 5, 5, 5)).shape
        torch.Size([2, 8, 3, 3, 3])
        >>> layer.in_channels
        3
    """

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):  # type: ignore[misc]
    """A :class:`ConvTranspose1d` that takes ``in_channels`` from the first input, and becomes a plain one then.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyConvTranspose1d(3, kernel_size=2, stride=2)
        >>> layer(torch.zeros(2, 8, 5)).shape
        torch.Size([2, 3, 10])
        >>> layer.in_channels
        8
    """

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):  # type: ignore[misc]
    """A :class:`ConvTranspose2d` that takes ``in_channels`` from the first input, and becomes a plain one then.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyConvTranspose2d(3, kernel_size=2, stride=2)
        >>> layer(torch.zeros(2, 8, 5, 5)).shape
        torch.Size([2, 3, 10, 10])
        >>> layer.weight.shape
        torch.Size([8, 3, 2, 2])
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):  # type: ignore[misc]
    """A :class:`ConvTranspose3d` that takes ``in_channels`` from the first input, and becomes a plain one then.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyConvTranspose3d(3, kernel_size=2, stride=2)
        >>> layer(torch.zeros(1, 8, 2, 3, 4)).shape
        torch.Size([1, 3, 4, 6, 8])
        >>> layer.in_channels
        8
    """

    cls_to_become = ConvTranspose3d
