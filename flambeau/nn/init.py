"""Starting values for parameters.  All write into the tensor they are given, and return it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.autograd.grad_mode import no_grad
from flambeau.ops.random import normal_ as fill_normal
from flambeau.ops.random import randperm
from flambeau.ops.random import uniform_ as fill_uniform
from flambeau.random import generator_for
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.tensor.views import write
from flambeau.user_warnings import warn

__all__ = [
    "calculate_gain",
    "uniform_",
    "normal_",
    "trunc_normal_",
    "constant_",
    "ones_",
    "zeros_",
    "eye_",
    "dirac_",
    "xavier_uniform_",
    "xavier_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "orthogonal_",
    "sparse_",
    "uniform",
    "normal",
    "constant",
    "eye",
    "dirac",
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "orthogonal",
    "sparse",
]


def _filled(tensor: Tensor, array: np.ndarray) -> Tensor:
    """Writes an array's values into a tensor, unless it is on the device "meta"."""
    if tensor.device.type == "meta":
        return tensor
    aval = tensor._node.aval
    new = from_array(np.broadcast_to(array, aval.shape).astype(aval.dtype.numpy), aval.dtype, aval.device)
    with no_grad():
        return write(tensor, new)


def calculate_gain(nonlinearity: str, param: Any = None) -> float:
    """The factor by which a nonlinearity asks for larger weights.

    1 for linear layers and ``sigmoid``, 5/3 for ``tanh``, sqrt(2) for ``relu``, sqrt(2 / (1 + a²)) for
    ``leaky_relu`` of slope a (0.01 unless ``param`` says otherwise), 3/4 for ``selu``.

    Raises:
        ValueError: for another name, or a slope that is no number.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.init.calculate_gain("leaky_relu", 0.2)
        1.3867504905630728
    """
    if nonlinearity in _LINEAR or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4
    if nonlinearity != "leaky_relu":
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    if param is None:
        slope = 0.01
    elif isinstance(param, int | float) and not isinstance(param, bool):
        slope = param
    else:
        raise ValueError(f"negative_slope {param} not a valid number")
    return math.sqrt(2.0 / (1 + slope**2))


_LINEAR = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform numbers in [a, b).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.init.uniform_(torch.empty(3, 5)).shape
        torch.Size([3, 5])
    """
    with no_grad():
        return fill_uniform(tensor, a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Normal numbers of a mean and a standard deviation.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> w = torch.nn.init.normal_(torch.empty(1000), mean=5.0, std=0.1)
        >>> w.mean().round(decimals=1), w.std().round(decimals=1)
        (tensor(5.), tensor(0.1000))
    """
    with no_grad():
        return fill_normal(tensor, mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Normal numbers kept within [a, b] by drawing again.

    Where more than 0.3 of the distribution lies within the bounds, those outside are drawn anew; else the
    numbers are uniform ones accepted with the density's probability (von Neumann 1951).

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.init.trunc_normal_(torch.empty(1000), std=1.0, a=-0.5, b=0.5)
        >>> bool((w.abs() <= 0.5).all())
        True
    """
    if tensor.device.type == "meta":
        return tensor
    if mean < a - 2 * std or mean > b + 2 * std:
        warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
        )
    within = _below((b - mean) / std) - _below((a - mean) / std)
    fill = _redrawn_normal if within > 0.3 else _accepted_uniform
    return _filled(tensor, fill(tensor, mean, std, a, b, generator))


def _below(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _redrawn_normal(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any) -> np.ndarray:
    aval = tensor._node.aval
    low, high = (np.asarray(end).astype(aval.dtype.numpy) for end in (a, b))
    fill_normal_of = generator_for(aval.device, generator).bits.normal
    values = fill_normal_of(aval.shape, aval.dtype.numpy, mean, std)
    while True:
        outside = (values < low) | (values > high)
        if not outside.any():
            return values
        values = np.where(outside, fill_normal_of(aval.shape, aval.dtype.numpy, mean, std), values)


def _accepted_uniform(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any) -> np.ndarray:
    aval = tensor._node.aval
    kind = aval.dtype.numpy
    mode = max(a, min(mean, b))
    peak = -0.5 * ((mode - mean) / std) ** 2
    uniform = generator_for(aval.device, generator).bits.uniform

    def refused(candidates: np.ndarray) -> np.ndarray:
        # Rounded after each step, as operations on tensors are.
        density = (candidates - kind.type(mean)) / kind.type(std)
        density = density * density * kind.type(-0.5) - kind.type(peak)
        with np.errstate(divide="ignore"):
            return np.log(uniform(aval.shape, kind)) > density

    values = uniform(aval.shape, kind, a, b)
    pending = refused(values)
    while pending.any():
        candidates = uniform(aval.shape, kind, a, b)
        values = np.where(pending, candidates, values)
        pending = pending & refused(candidates)
    return values


def constant_(tensor: Tensor, val: float) -> Tensor:
    """The same number everywhere.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.init.constant_(torch.empty(2, 3), 0.3)
        tensor([[0.3000, 0.3000, 0.3000],
                [0.3000, 0.3000, 0.3000]])
    """
    return _filled(tensor, np.asarray(val.item() if isinstance(val, Tensor) else val))


def ones_(tensor: Tensor) -> Tensor:
    """One everywhere.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.init.ones_(torch.empty(3))
        tensor([1., 1., 1.])
    """
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Zero everywhere.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.init.zeros_(torch.empty(3))
        tensor([0., 0., 0.])
    """
    return constant_(tensor, 0.0)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix, else zeros.

    Raises:
        ValueError: if it is no matrix.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.init.eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    return _filled(tensor, np.eye(rows, columns))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution's weight that passes on as many channels unchanged as it can, in each group.

    Raises:
        ValueError: if it has not 3 to 5 dimensions, or the groups do not divide the output channels.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Conv1d(2, 2, kernel_size=3, padding=1, bias=False)
        >>> torch.nn.init.dirac_(layer.weight).shape
        torch.Size([2, 2, 3])
        >>> layer(torch.tensor([[1., 2., 3.], [4., 5., 6.]])).detach()
        tensor([[1., 2., 3.],
                [4., 5., 6.]])
    """
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    shape = tuple(tensor.shape)
    if shape[0] % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = shape[0] // groups
    values = np.zeros(shape)
    centre = tuple(n // 2 for n in shape[2:])
    for group in range(groups):
        for channel in range(min(per_group, shape[1])):
            values[(group * per_group + channel, channel, *centre)] = 1
    return _filled(tensor, values)


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    """How many inputs each output sees, and how many outputs each input feeds."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in ±gain · sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.init.xavier_uniform_(torch.empty(2, 4))
        >>> bool((w.abs() <= 1.0).all())
        True
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with standard deviation gain · sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010).

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> w = torch.nn.init.xavier_normal_(torch.empty(100, 100), gain=5.0)
        >>> w.std().round(decimals=1)
        tensor(0.5000)
    """
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    std = gain * math.sqrt(2.0 / float(fan_in + fan_out))
    return normal_(tensor, 0.0, std, generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    if 0 in tensor.shape:
        warn("Initializing zero-element tensors is a no-op")
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform in ±gain · sqrt(3 / fan) (He et al. 2015).

    Args:
        a: the slope, where the nonlinearity is ``"leaky_relu"``.
        mode: ``"fan_in"`` keeps the variance of the activations, ``"fan_out"`` that of the gradients.
        nonlinearity: as of :func:`calculate_gain`.

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.init.kaiming_uniform_(torch.empty(6, 24), nonlinearity="relu")
        >>> bool((w.abs() <= 0.5).all())
        True
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with standard deviation gain / sqrt(fan) (He et al. 2015); arguments as of kaiming_uniform_.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> w = torch.empty(800, 200)
        >>> torch.nn.init.kaiming_normal_(w, nonlinearity="relu").std().round(decimals=2)
        tensor(0.1000)
        >>> torch.nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu").std().round(decimals=2)
        tensor(0.0500)
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """A random matrix with orthonormal rows or columns, whichever are fewer, times ``gain``.

    Dimensions after the first count as columns.  Uniform over such matrices, by the signs of R in the QR
    decomposition of a normal matrix (Mezzadri 2007; Saxe et al. 2014).

    Raises:
        ValueError: if it has fewer than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.init.orthogonal_(torch.empty(2, 5), gain=3.0)
        >>> torch.allclose(w @ w.T, 9 * torch.eye(2), atol=1e-5)
        True
    """
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    aval = tensor._node.aval
    if aval.size == 0 or tensor.device.type == "meta":
        return tensor
    rows = aval.shape[0]
    columns = aval.size // rows
    drawn = generator_for(aval.device, generator).bits.normal((rows, columns), aval.dtype.numpy)
    q, r = np.linalg.qr(drawn.T if rows < columns else drawn)
    q = q * np.sign(np.diagonal(r))
    if rows < columns:
        q = q.T
    return _filled(tensor, q.reshape(aval.shape) * q.dtype.type(gain))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal numbers, with a fraction ``sparsity`` of each column zero (Martens 2010).

    Raises:
        ValueError: if it is no matrix.

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.init.sparse_(torch.empty(10, 4), sparsity=0.3)
        >>> (w == 0).sum(dim=0)
        tensor([3, 3, 3, 3])
    """
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if tensor.device.type == "meta":
        return tensor
    rows, columns = tensor.shape
    absent = math.ceil(sparsity * rows)
    normal_(tensor, 0, std, generator)
    values = np.array(tensor._array())
    for column in range(columns):
        values[randperm(rows)._array()[:absent], column] = 0
    return _filled(tensor, values)


# ---------------------------------------------------------------- the names without underscore


def _deprecated(function: Callable[..., Tensor], shape: str, *arguments: str) -> Callable[..., Tensor]:
    """A function under the name without underscore, which warns; its example fills a tensor of a shape."""
    old = function.__name__[:-1]

    def outdated(*args: Any, **kwargs: Any) -> Tensor:
        warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{function.__name__}`.", FutureWarning)
        return function(*args, **kwargs)

    outdated.__name__ = old
    outdated.__doc__ = _OUTDATED.format(
        old=old, shape=shape, arguments=", ".join((f"torch.empty({shape})", *arguments))
    )
    return outdated


_OUTDATED = """The former name of :func:`{old}_`, which warns of that.

    Example:
        >>> import warnings
        >>> import flambeau as torch
        >>> with warnings.catch_warnings(action="ignore"):
        ...     w = torch.nn.init.{old}({arguments})
        >>> w.shape
        torch.Size([{shape}])
"""

uniform = _deprecated(uniform_, "2, 3")
normal = _deprecated(normal_, "2, 3")
constant = _deprecated(constant_, "2, 3", "0.5")
eye = _deprecated(eye_, "2, 3")
dirac = _deprecated(dirac_, "2, 3, 5")
xavier_uniform = _deprecated(xavier_uniform_, "2, 3")
xavier_normal = _deprecated(xavier_normal_, "2, 3")
kaiming_uniform = _deprecated(kaiming_uniform_, "2, 3")
kaiming_normal = _deprecated(kaiming_normal_, "2, 3")
orthogonal = _deprecated(orthogonal_, "2, 3")
sparse = _deprecated(sparse_, "4, 3", "sparsity=0.5")
