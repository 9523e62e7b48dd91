"""Normalization within each example."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.create import empty
from flambeau.tensor.tensor import Tensor

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class LocalResponseNorm(Module):
    """``x / (k + alpha / size · Σ x'²)^beta``, the sum over ``size`` neighbouring channels.  Shape: (N, C, ...).

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1., 2., 3.]).reshape(1, 3, 1)
        >>> torch.nn.LocalResponseNorm(3, alpha=3.0, beta=1.0)(x).flatten()
        tensor([0.1667, 0.1333, 0.2143])
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(Module):
    """As :class:`LocalResponseNorm`, for images.  Shape: (N, C, H, W).

    Raises:
        ValueError: for an input of other dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.CrossMapLRN2d(3)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.ndim}D instead.")
        from flambeau.ops.norm import WINDOW_SUM

        # The window lies evenly around its channel, so an even size counts as the odd one below it.
        before = (self.size - 1) // 2
        total = WINDOW_SUM(input * input, before, before)
        return input * (total * (self.alpha / self.size) + self.k) ** -self.beta

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _shape_of(normalized_shape: Any) -> tuple[int, ...]:
    return (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)


class LayerNorm(Module):
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` over the last dimensions.

    Shape: (..., *normalized_shape), as the result.  Weight (ones) and bias (zeros) have ``normalized_shape``.

    Args:
        normalized_shape: the sizes of those dimensions.
        eps: added to the variance.
        elementwise_affine: whether there are weight and bias.
        bias: whether there is a bias, given that there is a weight.

    Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LayerNorm(2)(torch.tensor([[1., 3.]])).detach()
        tensor([[-1.0000,  1.0000]])
    """

    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        if elementwise_affine and bias:
            self.bias = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to ones and the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        try:
            # As in Linear.
            weight, bias = self._parameters["weight"], self._parameters["bias"]
        except KeyError:
            weight, bias = self.weight, self.bias
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class GroupNorm(Module):
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` over each group of channels.

    Shape: (N, C, ...), as the result.  Weight (ones) and bias (zeros) have one element per channel.

    Args:
        num_groups: how many groups; divides ``num_channels``.
        num_channels: C.
        eps: added to the variance.
        affine: whether there are weight and bias.
        bias: whether there is a bias, given that there is a weight.

    Wu and He, Group Normalization, ECCV 2018.

    Raises:
        ValueError: if ``num_groups`` does not divide ``num_channels``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1., 3., 10., 30.]])
        >>> torch.nn.GroupNorm(2, 4, affine=False)(x)
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
        >>> torch.nn.GroupNorm(3, 6)(torch.zeros(2, 6, 5, 5)).shape
        torch.Size([2, 6, 5, 5])
    """

    num_groups: int
    num_channels: int
    eps: float
    affine: bool

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        if affine:
            self.weight = Parameter(empty(num_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        if affine and bias:
            self.bias = Parameter(empty(num_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to ones and the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """``x / sqrt(mean(x²) + eps) · weight`` over the last dimensions.

    Shape: (..., *normalized_shape), as the result.  The weight (ones) has ``normalized_shape``.

    Args:
        normalized_shape: the sizes of those dimensions.
        eps: the smallest difference from 1 that the type can hold, if None.
        elementwise_affine: whether there is a weight.

    Zhang and Sennrich, Root Mean Square Layer Normalization, NeurIPS 2019.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.RMSNorm(2)(torch.tensor([[1., 7.]])).detach()
        tensor([[0.2000, 1.4000]])
    """

    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = _shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weight to ones."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
