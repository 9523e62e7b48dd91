"""Normalization within each example: layer, group and root mean square norm.

Each is one operator whose further results, the mean and the (biased) variance, are what its
derivative wants again.  First derivatives are operators of their own; when they are to be
differentiated in turn, they are composed of ordinary operators instead.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import SHAPES_KEPT

Shape = tuple[int, ...]

ONCE = NotDifferentiable("it is composed of other operators where a second derivative is wanted")

# ---------------------------------------------------------------- what the family shares


def product(sizes: Any) -> int:
    return math.prod(sizes)


def require_floating(name: str, x: Aval) -> None:
    if x.dtype.category < dtypes.FLOATING:
        raise NotImplementedError(f"\"{name}\" not implemented for '{x.dtype.title}' (convert {x} with .float())")


def parameter_type(x: Aval, *parameters: Aval | None) -> dtypes.dtype:
    """The type of the statistics: the parameters' own where they are wider than the input."""
    for parameter in parameters:
        if parameter is not None:
            return parameter.dtype
    return x.dtype


def check_types(name: str, x: Aval, *parameters: Aval | None) -> None:
    for parameter in parameters:
        if parameter is None or parameter.dtype is x.dtype:
            continue
        if x.dtype in dtypes.REDUCED and parameter.dtype is dtypes.float32:
            continue
        single = parameter.dtype is dtypes.float32
        kind = "all inputs must share same datatype." if single else "expect parameter to have scalar type of Float"
        raise RuntimeError(
            f"mixed dtype (CPU): {kind} ({name}: the input is {x.dtype.name}, a parameter {parameter.dtype.name}; "
            "convert one of them)"
        )


def moments(xp: Any, x: Any, axes: Shape) -> tuple[Any, Any, Any]:
    """The mean along axes (kept as ones), the biased variance, and what is left of x."""
    mean = mean_along(xp, x, axes)
    centred = x - mean
    return mean, mean_square(xp, centred, axes), centred


def mean_along(xp: Any, x: Any, axes: Shape) -> Any:
    """The mean along axes, kept as ones; NumPy's own takes three times as long where there is little to add."""
    if xp is not np:
        return xp.mean(x, axis=axes, keepdims=True, dtype=x.dtype)
    total = np.add.reduce(x, axis=axes, keepdims=True)
    total /= product(x.shape[a] for a in axes)
    return total


def mean_square(xp: Any, x: Any, axes: Shape) -> Any:
    return mean_product(xp, x, x, axes)


def mean_product(xp: Any, x: Any, y: Any, axes: Shape) -> Any:
    count = product(x.shape[a] for a in axes)
    return sum_product(xp, x, y, axes) / max(count, 1)


def sum_product(xp: Any, x: Any, y: Any, axes: Shape) -> Any:
    """``Σ x y`` along axes, kept as ones; in NumPy without the product in between."""
    if xp is not np:
        return xp.sum(x * y, axis=axes, keepdims=True)
    if axes == (x.ndim - 1,) and x.dtype.kind == "f":
        return np.vecdot(x, y)[..., None]
    letters = "abcdefghijklmnop"[: x.ndim]
    kept = "".join(c for i, c in enumerate(letters) if i not in axes)
    found = np.einsum(f"{letters},{letters}->{kept}", x, y)
    return np.asarray(found, x.dtype).reshape([1 if i in axes else n for i, n in enumerate(x.shape)])


def inverse_root(xp: Any, variance: Any, eps: float) -> Any:
    return 1 / xp.sqrt(variance + eps)


def scaled(xp: Any, normalized: Any, weight: Any, bias: Any) -> Any:
    """``normalized · weight + bias``; takes over the memory of its first operand."""
    if weight is not None:
        normalized *= weight
    if bias is not None:
        normalized += bias
    return normalized


def backward_of_normal(xp: Any, g: Any, normal: Any, inverse: Any, axes: Shape) -> Any:
    """The gradient of x for that of ``(x - mean) · inverse``."""
    mean = mean_along(xp, g, axes)
    along = normal * mean_product(xp, g, normal, axes)
    return (g - mean - along) * inverse


def composed_backward(g: Tensor, x: Tensor, axes: Shape, eps: float) -> tuple[Tensor, Tensor]:
    """The same in Tensor operations, from x itself; and the normalized x."""
    centred = x - x.mean(axes, keepdim=True)
    inverse = ((centred * centred).mean(axes, keepdim=True) + eps).rsqrt()
    normal = centred * inverse
    along = normal * (g * normal).mean(axes, keepdim=True)
    return (g - g.mean(axes, keepdim=True) - along) * inverse, normal


# ---------------------------------------------------------------- layer norm


def _layer_norm_rule(x: Aval, weight: Aval | None, bias: Aval | None, *, dims: int, eps: float) -> Any:
    require_floating("LayerNormKernelImpl", x)
    check_types("layer_norm", x, weight, bias)
    statistics = Aval(x.shape[: len(x.shape) - dims], parameter_type(x, weight, bias), x.device)
    return (x.of(), statistics, statistics)


def _rows(x: Any, dims: int) -> Any:
    """An array of two dimensions whose rows are what is normalized."""
    lead = x.ndim - dims
    return x.reshape(product(x.shape[:lead]), product(x.shape[lead:]))


def _layer_norm_kernel(xp: Any, x: Any, weight: Any, bias: Any, *, dims: int, eps: float) -> Any:
    rows = _rows(x, dims)
    mean, variance, centred = moments(xp, rows, (1,))
    centred *= inverse_root(xp, variance, eps)
    y = scaled(xp, centred, _flat(weight), _flat(bias))
    lead = x.shape[: x.ndim - dims]
    return y.reshape(x.shape).astype(x.dtype, copy=False), mean.reshape(lead), variance.reshape(lead)


def _layer_norm_numpy(xp: Any, x: Any, weight: Any, bias: Any, *, dims: int, eps: float) -> Any:
    if dims > 1 or not x.size:
        return _layer_norm_kernel(xp, x, weight, bias, dims=dims, eps=eps)
    # Where a text is written word by word, the rows are few, and what is not arithmetic would take most of the time.
    size = x.shape[-1]
    mean = np.add.reduce(x, axis=-1, keepdims=True)
    mean /= size
    y = x - mean
    variance = np.vecdot(y, y) / size
    y *= inverse_root(np, variance, eps)[..., None]
    y = scaled(np, y, weight, bias)
    return y.astype(x.dtype, copy=False), mean[..., 0], variance


def _flat(parameter: Any) -> Any:
    return None if parameter is None else parameter.reshape(-1)


def _layer_norm_derivative(
    grad: Tensor, x: Tensor, weight: Any, outs: Any, needs: tuple[bool, ...], dims: int, eps: float
) -> Any:
    if mode.grad:
        return _composed_layer_norm(grad, x, weight, needs, dims, eps)
    found = LAYER_NORM_BACKWARD(grad, x, outs[1], outs[2], weight, dims, eps, needs)
    parts = iter(found)
    return tuple(next(parts) if need else None for need in needs)


def _composed_layer_norm(g: Tensor, x: Tensor, weight: Any, needs: tuple[bool, ...], dims: int, eps: float) -> Any:
    axes = tuple(range(x.ndim - dims, x.ndim))
    lead = tuple(range(x.ndim - dims))
    scaled = g if weight is None else g * weight
    from_x, normal = composed_backward(scaled, x, axes, eps)
    from_weight = from_bias = None
    if needs[1]:
        from_weight = (g * normal).sum(lead) if lead else g * normal
    if needs[2]:
        from_bias = g.sum(lead) if lead else g
    return from_x if needs[0] else None, from_weight, from_bias


def _layer_norm_samples() -> list[Any]:
    fn = "nn.functional.layer_norm"
    return [
        case(fn, T(3, 4), (4,)),
        case(fn, T(2, 3, 4), (4,), T(4), T(4)),
        case(fn, T(2, 3, 4), (3, 4), T(3, 4), T(3, 4), eps=1e-3),
        case(fn, T(2, 3, 4), (4,), T(4)),
        case(fn, T(4), (4,), T(4), T(4)),
        case(fn, T(2, 3, dtype="float16"), (3,), gradgrad=False, finite=False),
    ]


LAYER_NORM = operator(
    "native_layer_norm",
    _layer_norm_rule,
    _layer_norm_kernel,
    _layer_norm_derivative,
    numpy=_layer_norm_numpy,
    grad_name="NativeLayerNormBackward0",
    samples=_layer_norm_samples,
)


def _layer_norm_backward_rule(
    g: Aval,
    x: Aval,
    mean: Aval,
    variance: Aval,
    weight: Aval | None,
    *,
    dims: int,
    eps: float,
    wanted: tuple[bool, ...],
) -> Any:
    parameter = Aval(x.shape[len(x.shape) - dims :], mean.dtype, x.device)
    return tuple(aval for aval, want in zip((x.of(), parameter, parameter), wanted, strict=True) if want)


def _layer_norm_backward_kernel(
    xp: Any,
    g: Any,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any,
    *,
    dims: int,
    eps: float,
    wanted: tuple[bool, ...],
) -> Any:
    rows, g_rows = _rows(x, dims), _rows(g, dims)
    inverse = inverse_root(xp, variance, eps).reshape(-1, 1)
    found = []
    if wanted[0] or wanted[1]:
        normal = rows - mean.reshape(-1, 1)
        normal *= inverse
    if wanted[0]:
        scaled = g_rows if weight is None else g_rows * weight.reshape(-1)
        found.append(backward_of_normal(xp, scaled, normal, inverse, (1,)).reshape(x.shape).astype(x.dtype, copy=False))
    shape = x.shape[x.ndim - dims :]
    if wanted[1]:
        found.append(sum_product(xp, g_rows, normal, (0,)).reshape(shape).astype(mean.dtype))
    if wanted[2]:
        found.append(xp.sum(g_rows, axis=0, dtype=mean.dtype).reshape(shape))
    return tuple(found)


LAYER_NORM_BACKWARD = operator(
    "layer_norm_backward",
    _layer_norm_backward_rule,
    _layer_norm_backward_kernel,
    ONCE,
    samples=lambda: _layer_norm_samples()[:2],
)


def _checked_normalized_shape(name: str, x: Tensor, normalized_shape: Any, *parameters: Any) -> Shape:
    if type(normalized_shape) is not tuple:
        normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    kept = [None if parameter is None else parameter._node.aval.shape for parameter in parameters]
    return _checked_shapes(name, normalized_shape, x._node.aval.shape, *kept)


@lru_cache(SHAPES_KEPT)
def _checked_shapes(name: str, given: tuple[Any, ...], have: Shape, *parameters: Shape | None) -> Shape:
    shape = tuple(map(int, given))
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for word, parameter in zip(("weight", "bias"), parameters, strict=False):
        if parameter is not None and parameter != shape:
            raise RuntimeError(
                f"Expected {word} to be of same shape as normalized_shape, but got {word} of shape "
                f"{list(parameter)} and normalized_shape = {list(shape)}"
            )
    if len(have) < len(shape) or have[len(have) - len(shape) :] != shape:
        stars = ", ".join(["*", *map(str, shape)])
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [{stars}], but got input of size"
            f"{list(have)} ({name}: normalized_shape must equal the last sizes of the input)"
        )
    return shape


@public(into="nn.functional")
def layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` over the last dimensions.

    Args:
        normalized_shape: the sizes of those dimensions; also the shape of weight and bias.

    Raises:
        RuntimeError: if the input does not end in these sizes.

    Ba, Kiros and Hinton, Layer Normalization, 2016.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.layer_norm(torch.tensor([[1., 3.], [10., 30.]]), (2,), weight=torch.tensor([1., 5.]))
        tensor([[-1.0000,  5.0000],
                [-1.0000,  5.0000]])
    """
    shape = _checked_normalized_shape("layer_norm", input, normalized_shape, weight, bias)
    return LAYER_NORM(input, weight, bias, len(shape), float(eps))[0]


@public("layer_norm")
def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """As ``nn.functional.layer_norm``.

    Example:
        >>> import flambeau as torch
        >>> torch.layer_norm(torch.tensor([[1., 3.], [10., 30.]]), (2,))
        tensor([[-1.0000,  1.0000],
                [-1.0000,  1.0000]])
    """
    return layer_norm(input, normalized_shape, weight, bias, eps)


@public()
def native_layer_norm(
    input: Tensor, normalized_shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``layer_norm`` with the mean and the reciprocal of the standard deviation.

    Example:
        >>> import flambeau as torch
        >>> out, mean, rstd = torch.native_layer_norm(torch.tensor([[1., 3.]]), (2,), None, None, 1e-5)
        >>> mean, rstd
        (tensor([[2.]]), tensor([[1.0000]]))
    """
    shape = _checked_normalized_shape("native_layer_norm", input, normalized_shape, weight, bias)
    axes = tuple(range(-len(shape), 0))
    mean = input.mean(axes, keepdim=True)
    inverse = (((input - mean) ** 2).mean(axes, keepdim=True) + eps).rsqrt()
    return layer_norm(input, shape, weight, bias, eps), mean, inverse


# ---------------------------------------------------------------- root mean square norm


def _rms_norm_rule(x: Aval, weight: Aval | None, *, dims: int, eps: float) -> Aval:
    return x.of()


def _rms_parts(xp: Any, x: Any, dims: int, eps: float) -> Any:
    rows = _rows(x, dims)
    return rows, inverse_root(xp, mean_square(xp, rows, (1,)), eps)


def _rms_norm_kernel(xp: Any, x: Any, weight: Any, *, dims: int, eps: float) -> Any:
    rows, inverse = _rms_parts(xp, x, dims, eps)
    y = rows * inverse
    if weight is not None:
        y = (y * weight.reshape(-1)).astype(x.dtype, copy=False)
    return y.reshape(x.shape)


def _rms_norm_derivative(grad: Tensor, x: Tensor, weight: Any, needs: tuple[bool, ...], dims: int, eps: float) -> Any:
    if not mode.grad:
        parts = iter(RMS_NORM_BACKWARD(grad, x, weight, dims, eps, needs))
        return tuple(next(parts) if need else None for need in needs)
    axes = tuple(range(x.ndim - dims, x.ndim))
    inverse = ((x * x).mean(axes, keepdim=True) + eps).rsqrt()
    normal = x * inverse
    scaled = grad if weight is None else grad * weight
    from_x = (scaled - normal * (scaled * normal).mean(axes, keepdim=True)) * inverse
    # The engine sums over the leading dimensions.
    return from_x, grad * normal if needs[1] else None


def _rms_norm_samples() -> list[Any]:
    fn = "nn.functional.rms_norm"
    return [
        case(fn, T(3, 4), (4,)),
        case(fn, T(2, 3, 4), (4,), T(4)),
        case(fn, T(2, 3, 4), (3, 4), T(3, 4), eps=1e-3),
    ]


RMS_NORM = operator(
    "rms_norm",
    _rms_norm_rule,
    _rms_norm_kernel,
    _rms_norm_derivative,
    grad_name="FusedRmsNormBackward0",
    samples=_rms_norm_samples,
)


def _rms_norm_backward_rule(
    g: Aval, x: Aval, weight: Aval | None, *, dims: int, eps: float, wanted: tuple[bool, ...]
) -> Any:
    outs = (x.of(), weight and weight.of())
    return tuple(aval for aval, want in zip(outs, wanted, strict=True) if want)


def _rms_norm_backward_kernel(
    xp: Any, g: Any, x: Any, weight: Any, *, dims: int, eps: float, wanted: tuple[bool, ...]
) -> Any:
    rows, inverse = _rms_parts(xp, x, dims, eps)
    normal = rows * inverse
    g_rows = _rows(g, dims)
    found = []
    if wanted[0]:
        scaled = g_rows if weight is None else g_rows * weight.reshape(-1)
        along = normal * mean_product(xp, scaled, normal, (1,))
        found.append(((scaled - along) * inverse).reshape(x.shape).astype(x.dtype, copy=False))
    if wanted[1]:
        assert weight is not None
        found.append(sum_product(xp, g_rows, normal, (0,)).reshape(weight.shape).astype(weight.dtype))
    return tuple(found)


RMS_NORM_BACKWARD = operator(
    "rms_norm_backward",
    _rms_norm_backward_rule,
    _rms_norm_backward_kernel,
    ONCE,
    samples=lambda: _rms_norm_samples()[:2],
)


@public(into="torch nn.functional")
def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """``x / sqrt(mean(x²) + eps) · weight`` over the last dimensions.

    Args:
        normalized_shape: the sizes of those dimensions; also the shape of the weight.
        eps: the smallest difference from 1 that the type can hold, if None.

    Zhang and Sennrich, Root Mean Square Layer Normalization, NeurIPS 2019.

    Raises:
        RuntimeError: if the input does not end in ``normalized_shape``.
        TypeError: for integers; NotImplementedError if ``eps`` is given.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.rms_norm(torch.tensor([[1., 7.]]), (2,))
        tensor([[0.2000, 1.4000]])
    """
    shape = _checked_normalized_shape("rms_norm", input, normalized_shape, weight)
    if input.dtype.is_complex:
        return _complex_rms_norm(input, shape, weight, eps)
    if eps is None:
        kind = dtypes.float32 if input.dtype in dtypes.REDUCED else input.dtype
        eps = dtypes.finfo(kind).eps
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"rms_norm not implemented for '{input.dtype.title}'")
    return RMS_NORM(input, weight, len(shape), float(eps))


def _complex_rms_norm(input: Tensor, shape: Shape, weight: Tensor | None, eps: float | None) -> Tensor:
    axes = tuple(range(-len(shape), 0))
    eps = dtypes.finfo(input.dtype.to_real()).eps if eps is None else eps
    result = input * ((input * input).mean(axes, keepdim=True) + eps).rsqrt()
    return result if weight is None else result * weight


# ---------------------------------------------------------------- group norm


def _group_norm_rule(x: Aval, weight: Aval | None, bias: Aval | None, *, groups: int, eps: float) -> Any:
    require_floating("GroupNormKernelImpl", x)
    check_types("group_norm", x, weight, bias)
    statistics = Aval((x.shape[0], groups), parameter_type(x, weight, bias), x.device)
    return (x.of(), statistics, statistics)


def _grouped(x: Any, groups: int) -> Any:
    return x.reshape(x.shape[0], groups, product(x.shape[1:]) // groups)


def by_channel(parameter: Any) -> Any:
    return None if parameter is None else parameter.reshape(1, -1, 1)


def _group_norm_kernel(xp: Any, x: Any, weight: Any, bias: Any, *, groups: int, eps: float) -> Any:
    mean, variance, centred = moments(xp, _grouped(x, groups), (2,))
    centred *= inverse_root(xp, variance, eps)
    normal = centred.reshape(x.shape[0], x.shape[1], product(x.shape[2:]))
    y = scaled(xp, normal, by_channel(weight), by_channel(bias))
    return y.reshape(x.shape).astype(x.dtype, copy=False), mean[:, :, 0], variance[:, :, 0]


def _group_norm_derivative(
    grad: Tensor, x: Tensor, weight: Any, outs: Any, needs: tuple[bool, ...], groups: int, eps: float
) -> Any:
    if mode.grad:
        return _composed_group_norm(grad, x, weight, needs, groups, eps)
    found = GROUP_NORM_BACKWARD(grad, x, outs[1], outs[2], weight, groups, eps, needs)
    parts = iter(found)
    return tuple(next(parts) if need else None for need in needs)


def _composed_group_norm(g: Tensor, x: Tensor, weight: Any, needs: tuple[bool, ...], groups: int, eps: float) -> Any:
    n, c = x.shape[:2]
    shape = (n, c, product(x.shape[2:]))
    g = g.reshape(shape)
    scaled = g if weight is None else g * weight.reshape(1, c, 1)
    size = product(x.shape[1:]) // groups
    from_x, normal = composed_backward(scaled.reshape(n, groups, size), x.reshape(n, groups, size), (2,), eps)
    from_weight = (g * normal.reshape(shape)).sum((0, 2)) if needs[1] else None
    return from_x.reshape(x.shape) if needs[0] else None, from_weight, g.sum((0, 2)) if needs[2] else None


def _group_norm_samples() -> list[Any]:
    fn = "nn.functional.group_norm"
    return [
        case(fn, T(2, 4, 3), 2),
        case(fn, T(2, 4, 3, 2), 2, T(4), T(4)),
        case(fn, T(2, 4, 3, 2), 4, T(4), eps=1e-3),
        case(fn, T(2, 6), 3, T(6), T(6)),
        case("nn.functional.instance_norm", T(2, 3, 5)),
    ]


GROUP_NORM = operator(
    "native_group_norm",
    _group_norm_rule,
    _group_norm_kernel,
    _group_norm_derivative,
    samples=_group_norm_samples,
)


def _group_norm_backward_rule(
    g: Aval,
    x: Aval,
    mean: Aval,
    variance: Aval,
    weight: Aval | None,
    *,
    groups: int,
    eps: float,
    wanted: tuple[bool, ...],
) -> Any:
    parameter = Aval((x.shape[1],), mean.dtype, x.device)
    return tuple(aval for aval, want in zip((x.of(), parameter, parameter), wanted, strict=True) if want)


def _group_norm_backward_kernel(
    xp: Any,
    g: Any,
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any,
    *,
    groups: int,
    eps: float,
    wanted: tuple[bool, ...],
) -> Any:
    by_channel = (x.shape[0], x.shape[1], product(x.shape[2:]))
    by_group = _grouped(x, groups)
    inverse = inverse_root(xp, variance, eps)[:, :, None]
    normal = (by_group - mean[:, :, None]) * inverse
    g = g.reshape(by_channel)
    found = []
    if wanted[0]:
        scaled = g if weight is None else g * weight.reshape(1, -1, 1)
        from_x = backward_of_normal(xp, scaled.reshape(by_group.shape), normal, inverse, (2,))
        found.append(from_x.reshape(x.shape).astype(x.dtype, copy=False))
    if wanted[1]:
        found.append(sum_product(xp, g, normal.reshape(by_channel), (0, 2)).reshape(-1).astype(mean.dtype))
    if wanted[2]:
        found.append(xp.sum(g, axis=(0, 2), dtype=mean.dtype))
    return tuple(found)


GROUP_NORM_BACKWARD = operator(
    "group_norm_backward",
    _group_norm_backward_rule,
    _group_norm_backward_kernel,
    ONCE,
    samples=lambda: _group_norm_samples()[:2],
)


@public(into="nn.functional")
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` over each group of channels.

    Shape: input (N, C, ...), weight and bias (C).

    Raises:
        RuntimeError: if the channels do not divide into the groups.

    Wu and He, Group Normalization, ECCV 2018.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.group_norm(torch.tensor([[1., 3., 10., 30.]]), 2)
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    n, c = input.shape[:2]
    _check_batch_size(input, n * c // num_groups if num_groups else 0, num_groups)
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if c % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    for word, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and tuple(parameter.shape) != (c,):
            raise RuntimeError(
                f"Expected {word} to be a vector of size equal to the number of channels in input, but got {word} of "
                f"shape {list(parameter.shape)} and input of shape {list(input.shape)}"
            )
    return GROUP_NORM(input, weight, bias, int(num_groups), float(eps))[0]


def _check_batch_size(input: Tensor, each: int, num_groups: int) -> None:
    sizes = [each, num_groups, *input.shape[2:]]
    count = sizes[0]
    for n in sizes[2:]:
        count *= n
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {torch_size(sizes)}")


def torch_size(sizes: Any) -> str:
    return f"torch.Size([{', '.join(map(str, sizes))}])"


@public("group_norm")
def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    """As ``nn.functional.group_norm``.

    Example:
        >>> import flambeau as torch
        >>> torch.group_norm(torch.tensor([[1., 3., 10., 30.]]), 2)
        tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    return group_norm(input, num_groups, weight, bias, eps)
