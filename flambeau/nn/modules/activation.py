"""Activation functions as layers.  Each keeps the shape of its input unless it says otherwise."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn import init as initial
from flambeau.nn.modules.attention import MultiheadAttention
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.create import empty
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "MultiheadAttention",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


def _also_inplace(module: Any) -> str:
    return ", inplace=True" if module.inplace else ""


class _Inplace(Module):
    """A layer whose only setting is whether it writes into its input."""

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ReLU(_Inplace):
    """``max(x, 0)``.

    Args:
        inplace: write the result into the input.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReLU()(torch.tensor([-1., 2.]))
        tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, inplace=self.inplace)


class SELU(_Inplace):
    """``scale (max(x, 0) + min(alpha (exp(x) - 1), 0))``, see :func:`flambeau.nn.functional.selu`.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.SELU()(torch.tensor([-1., 0., 1.]))
        tensor([-1.1113,  0.0000,  1.0507])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


class SiLU(_Inplace):
    """``x sigmoid(x)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.SiLU()(torch.tensor([-1., 0., 1.]))
        tensor([-0.2689,  0.0000,  0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, inplace=self.inplace)


class Mish(_Inplace):
    """``x tanh(softplus(x))``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Mish()(torch.tensor([-1., 0., 1.]))
        tensor([-0.3034,  0.0000,  0.8651])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, inplace=self.inplace)


class Hardsigmoid(Module):
    """``relu6(x + 3) / 6``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Hardsigmoid()(torch.tensor([-3., 0., 1.5, 3.]))
        tensor([0.0000, 0.5000, 0.7500, 1.0000])
    """

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardswish(Module):
    """``x relu6(x + 3) / 6``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Hardswish()(torch.tensor([-3., 1., 3., 4.]))
        tensor([-0.0000, 0.6667, 3.0000, 4.0000])
    """

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)


class Threshold(Module):
    """``x`` where it exceeds ``threshold``, else ``value``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Threshold(1.0, -5.0)(torch.tensor([0., 1., 2.]))
        tensor([-5., -5.,  2.])
    """

    threshold: float
    value: float
    inplace: bool

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}{_also_inplace(self)}"


class RReLU(Module):
    """``x`` above 0, below it x times a slope drawn from [lower, upper); in evaluation times their mean.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.RReLU(lower=0.2, upper=0.3)
        >>> layer.eval()(torch.tensor([-4., 2.]))
        tensor([-1.,  2.])
    """

    lower: float
    upper: float
    inplace: bool

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}{_also_inplace(self)}"


class Hardtanh(Module):
    """``x`` kept between ``min_val`` and ``max_val``.

    Raises:
        AssertionError: unless ``max_val`` exceeds ``min_val``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Hardtanh(min_val=-2.0, max_val=3.0)(torch.tensor([-5., 1., 5.]))
        tensor([-2.,  1.,  3.])
    """

    min_val: float
    max_val: float
    inplace: bool

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        if min_value is not None:
            warn("keyword argument `min_value` is deprecated and renamed to `min_val`", FutureWarning)
            min_val = min_value
        if max_value is not None:
            warn("keyword argument `max_value` is deprecated and renamed to `max_val`", FutureWarning)
            max_val = max_value
        self.min_val = min_val
        self.max_val = max_val
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(f"max_val ({max_val}) must be greater than min_val ({min_val})")

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}{_also_inplace(self)}"


class ReLU6(Hardtanh):
    """``min(max(x, 0), 6)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ReLU6()(torch.tensor([-1., 3., 8.]))
        tensor([0., 3., 6.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Sigmoid()(torch.tensor([-1., 0., 1.]))
        tensor([0.2689, 0.5000, 0.7311])
    """

    def forward(self, input: Tensor) -> Tensor:
        return input.sigmoid()


class Tanh(Module):
    """``(exp(x) - exp(-x)) / (exp(x) + exp(-x))``, the hyperbolic tangent.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Tanh()(torch.tensor([-1., 0., 1.]))
        tensor([-0.7616,  0.0000,  0.7616])
    """

    def forward(self, input: Tensor) -> Tensor:
        return input.tanh()


class _Alpha(Module):
    alpha: float
    inplace: bool

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}{_also_inplace(self)}"


class ELU(_Alpha):
    """``x`` above 0, ``alpha (exp(x) - 1)`` below.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.ELU(alpha=2.0)(torch.tensor([-1., 0., 1.]))
        tensor([-1.2642,  0.0000,  1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Alpha):
    """``max(0, x) + min(0, alpha (exp(x / alpha) - 1))``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.CELU(alpha=2.0)(torch.tensor([-1., 0., 1.]))
        tensor([-0.7869,  0.0000,  1.0000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class GLU(Module):
    """``a sigmoid(b)`` for the halves a and b of the input along ``dim``, whose size is halved.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.GLU()(torch.tensor([2., 4., 0., 100.]))
        tensor([1., 4.])
        >>> torch.nn.GLU(dim=1)(torch.zeros(2, 6, 5)).shape
        torch.Size([2, 3, 5])
    """

    dim: int

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GELU(Module):
    """``x Φ(x)`` with Φ the normal distribution function.

    Args:
        approximate: ``"none"``, or ``"tanh"`` for an approximation.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([-1., 0., 1.])
        >>> torch.nn.GELU()(x)
        tensor([-0.1587,  0.0000,  0.8413])
        >>> torch.nn.GELU(approximate="tanh")(x)
        tensor([-0.1588,  0.0000,  0.8412])
    """

    approximate: str

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardshrink(Module):
    """``x``, but 0 between ``-lambd`` and ``lambd``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Hardshrink()(torch.tensor([-1., -0.5, 0.2, 0.7]))
        tensor([-1.0000,  0.0000,  0.0000,  0.7000])
    """

    lambd: float

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """``x`` moved towards 0 by ``lambd``, and 0 in between.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Softshrink()(torch.tensor([-1., -0.5, 0.25, 0.75]))
        tensor([-0.5000, -0.0000,  0.0000,  0.2500])
    """

    lambd: float

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class LeakyReLU(Module):
    """``x`` above 0, ``negative_slope · x`` below.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LeakyReLU(0.1)(torch.tensor([-2., 3.]))
        tensor([-0.2000,  3.0000])
    """

    negative_slope: float
    inplace: bool

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}{_also_inplace(self)}"


class LogSigmoid(Module):
    """``log(1 / (1 + exp(-x)))``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LogSigmoid()(torch.tensor([-100., 0., 1.]))
        tensor([-100.0000,   -0.6931,   -0.3133])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Softplus(Module):
    """``log(1 + exp(beta x)) / beta``; x itself where ``beta x`` exceeds the threshold.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Softplus()(torch.tensor([-1., 0., 25.]))
        tensor([ 0.3133,  0.6931, 25.0000])
    """

    beta: float
    threshold: float

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class PReLU(Module):
    """``x`` above 0, ``weight · x`` below, with a learnt weight.

    Args:
        num_parameters: 1, or the number of channels (dimension 1) for one weight each.
        init: what the weights start from.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.PReLU()(torch.tensor([-2., 3.])).detach()
        tensor([-0.5000,  3.0000])
        >>> torch.nn.PReLU(num_parameters=3).weight.shape
        torch.Size([3])
    """

    num_parameters: int

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the weights to what they start from."""
        initial.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class Softsign(Module):
    """``x / (1 + |x|)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Softsign()(torch.tensor([-1., 0., 3.]))
        tensor([-0.5000,  0.0000,  0.7500])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """``x - tanh(x)``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Tanhshrink()(torch.tensor([-1., 0., 1.]))
        tensor([-0.2384,  0.0000,  0.2384])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class _AlongDim(Module):
    dim: int | None

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        if not hasattr(self, "dim"):
            self.dim = None

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(_AlongDim):
    """``softmax(-x)`` along ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Softmin(dim=0)(torch.tensor([0., 1., 2.]))
        tensor([0.6652, 0.2447, 0.0900])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax(_AlongDim):
    """``exp(xᵢ) / Σⱼ exp(xⱼ)`` along ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Softmax(dim=0)(torch.zeros(2))
        tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class LogSoftmax(_AlongDim):
    """``xᵢ - log Σⱼ exp(xⱼ)`` along ``dim``: the logarithm of the softmax.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.LogSoftmax(dim=1)(torch.zeros(1, 4))
        tensor([[-1.3863, -1.3863, -1.3863, -1.3863]])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """The softmax over the channels of each place.  Shape: (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: for an input of other dimensions.

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.Softmax2d()(torch.ones(1, 4, 2, 2))
        >>> y[0, :, 0, 0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.ndim}D instead")
        return F.softmax(input, -3, _stacklevel=5)
