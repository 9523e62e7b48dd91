"""Normalization over a batch, and what builds on it: batch, instance, local response norm, unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops.norm_layer import (
    GROUP_NORM,
    ONCE,
    by_channel,
    check_types,
    composed_backward,
    inverse_root,
    moments,
    parameter_type,
    product,
    require_floating,
    scaled,
    sum_product,
    torch_size,
)
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import write

# ---------------------------------------------------------------- batch norm, in training


def _batch_norm_rule(x: Aval, weight: Aval | None, bias: Aval | None, *, eps: float) -> Any:
    require_floating("batch_norm", x)
    check_types("batch_norm", x, weight, bias)
    statistics = Aval(x.shape[1:2], parameter_type(x, weight, bias), x.device)
    return (x.of(), statistics, statistics)


def _channels(x: Any) -> Any:
    return x.reshape(x.shape[0], x.shape[1], product(x.shape[2:]))


def _batch_norm_kernel(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    mean, variance, centred = moments(xp, _channels(x), (0, 2))
    factor = inverse_root(xp, variance, eps)
    centred *= factor if weight is None else factor * by_channel(weight)
    y = scaled(xp, centred, None, by_channel(bias))
    return y.reshape(x.shape).astype(x.dtype, copy=False), mean.reshape(-1), variance.reshape(-1)


def _batch_norm_derivative(grad: Tensor, x: Tensor, weight: Any, outs: Any, needs: tuple[bool, ...], eps: float) -> Any:
    if mode.grad:
        return _composed_batch_norm(grad, x, weight, needs, eps)
    found = BATCH_NORM_BACKWARD(grad, x, outs[1], outs[2], weight, eps, needs)
    parts = iter(found)
    return tuple(next(parts) if need else None for need in needs)


def _composed_batch_norm(g: Tensor, x: Tensor, weight: Any, needs: tuple[bool, ...], eps: float) -> Any:
    axes = (0, *range(2, x.ndim))
    along = g if weight is None else g * _as_channels(weight, x.ndim)
    from_x, normal = composed_backward(along, x, axes, eps)
    from_weight = (g * normal).sum(axes) if needs[1] else None
    return from_x if needs[0] else None, from_weight, g.sum(axes) if needs[2] else None


def _as_channels(parameter: Tensor, ndim: int) -> Tensor:
    return parameter.reshape((1, -1) + (1,) * (ndim - 2))


def _batch_norm_samples() -> list[Any]:
    fn = "nn.functional.batch_norm"
    training = {"training": True}
    return [
        case(fn, T(4, 3), None, None, **training),
        case(fn, T(4, 3, 2), None, None, T(3), T(3), **training),
        case(fn, T(2, 3, 2, 2), None, None, T(3), eps=1e-3, **training),
        case(fn, T(2, 3, 4, dtype="float16"), None, None, gradgrad=False, finite=False, **training),
    ]


BATCH_NORM = operator(
    "native_batch_norm",
    _batch_norm_rule,
    _batch_norm_kernel,
    _batch_norm_derivative,
    samples=_batch_norm_samples,
)


def _batch_norm_backward_rule(
    g: Aval, x: Aval, mean: Aval, variance: Aval, weight: Aval | None, *, eps: float, wanted: tuple[bool, ...]
) -> Any:
    return tuple(aval for aval, want in zip((x.of(), mean.of(), mean.of()), wanted, strict=True) if want)


def _batch_norm_backward_kernel(
    xp: Any, g: Any, x: Any, mean: Any, variance: Any, weight: Any, *, eps: float, wanted: tuple[bool, ...]
) -> Any:
    g, given = _channels(g), _channels(x)
    inverse = by_channel(inverse_root(xp, variance, eps))
    centred = given - by_channel(mean)
    # Sums over the batch serve all three gradients.
    total = xp.sum(g, axis=(0, 2), keepdims=True, dtype=g.dtype)
    along = sum_product(xp, g, centred, (0, 2)) * inverse
    found = []
    if wanted[0]:
        count = max(given.shape[0] * given.shape[2], 1)
        centred *= inverse * along / count
        slope = inverse if weight is None else inverse * by_channel(weight)
        from_x = g - centred
        from_x -= total / count
        from_x *= slope
        found.append(from_x.reshape(x.shape).astype(x.dtype, copy=False))
    if wanted[1]:
        found.append(along.reshape(-1).astype(mean.dtype))
    if wanted[2]:
        found.append(total.reshape(-1).astype(mean.dtype))
    return tuple(found)


BATCH_NORM_BACKWARD = operator(
    "batch_norm_backward",
    _batch_norm_backward_rule,
    _batch_norm_backward_kernel,
    ONCE,
    samples=lambda: _batch_norm_samples()[:2],
)


# ---------------------------------------------------------------- batch norm, in evaluation


def _batch_norm_eval_rule(
    x: Aval, mean: Aval, variance: Aval, weight: Aval | None, bias: Aval | None, *, eps: float
) -> Aval:
    require_floating("batch_norm", x)
    check_types("batch_norm", x, weight, bias)
    return x.of()


def _batch_norm_eval_kernel(xp: Any, x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    factor = by_channel(inverse_root(xp, variance, eps))
    if weight is not None:
        factor = factor * by_channel(weight)
    shift = -by_channel(mean) * factor
    if bias is not None:
        shift = shift + by_channel(bias)
    # Two passes over the image rather than three.
    y = _channels(x) * factor
    y += shift
    return y.reshape(x.shape).astype(x.dtype, copy=False)


def _batch_norm_eval_derivative(
    grad: Tensor, x: Tensor, mean: Tensor, variance: Tensor, weight: Any, needs: tuple[bool, ...], eps: float
) -> Any:
    inverse = (variance + eps).rsqrt()
    factor = inverse if weight is None else inverse * weight
    from_x = grad * _as_channels(factor, x.ndim) if needs[0] else None
    axes = (0, *range(2, x.ndim))
    from_weight = None
    if needs[3]:
        from_weight = (grad * (x - _as_channels(mean, x.ndim))).sum(axes) * inverse
    return from_x, None, None, from_weight, grad.sum(axes) if needs[4] else None


BATCH_NORM_EVAL = operator(
    "batch_norm_eval",
    _batch_norm_eval_rule,
    _batch_norm_eval_kernel,
    _batch_norm_eval_derivative,
    grad_name="NativeBatchNormBackward0",
    samples=lambda: [case("nn.functional.batch_norm", T(4, 3, 2), None, None, T(3), T(3), training=True)],
)


# ---------------------------------------------------------------- running statistics


def _running_rule(old: Aval, new: Aval, momentum: Aval, *, factor: float) -> Aval:
    return old.of()


def _running_kernel(xp: Any, old: Any, new: Any, momentum: Any, *, factor: float) -> Any:
    # A Python number, or a tensor without dimensions.
    momentum = xp.asarray(momentum, dtype=old.dtype)
    return (old * (1 - momentum) + new * (momentum * factor)).astype(old.dtype)


RUNNING = operator(
    "running_average",
    _running_rule,
    _running_kernel,
    NotDifferentiable("running statistics are kept outside of differentiation"),
    samples=lambda: [case("nn.functional.batch_norm", T(4, 3, 2), None, None, training=True)],
)


def update_running(running: Tensor, new: Tensor, momentum: Any, factor: float) -> None:
    """``running ← (1 - momentum) running + momentum · factor · new``, outside of differentiation."""
    before = mode.grad
    mode.grad = False
    try:
        write(running, RUNNING(running, new, momentum, factor))
    finally:
        mode.grad = before


# ---------------------------------------------------------------- public functions


def _check_channel_sizes(
    input: Tensor, running_mean: Any, running_var: Any, weight: Any, bias: Any, channels: int
) -> None:
    for name, parameter in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if parameter is not None and parameter._node.aval.size != channels:
            raise RuntimeError(
                f"{name} should contain {channels} elements not {parameter._node.aval.size} (the input of shape "
                f"{list(input.shape)} has {channels} channels)"
            )


def check_batch_size(size: Sequence[int]) -> None:
    """Raises ValueError if there is one value only for each channel."""
    if product([*size[:1], *size[2:]]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {size} "
            "(batch_norm: its variance would be zero; use a larger batch, drop_last=True in the DataLoader, or "
            "eval())"
        )


@public(into="nn.functional")
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` for each channel.

    Args:
        input: (N, C) or (N, C, ...).
        running_mean, running_var: of each channel; used in evaluation, and updated in place in training
            (with the unbiased variance).
        training: whether mean and (biased) variance are those of the batch.
        momentum: the weight of the batch in the update.

    Raises:
        ValueError: in training, if there is one value only for each channel.
        RuntimeError: if sizes do not fit.

    Ioffe and Szegedy, Batch Normalization, ICML 2015.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1., 10.], [3., 30.]])
        >>> torch.nn.functional.batch_norm(x, None, None, training=True)
        tensor([[-1.0000, -1.0000],
                [ 1.0000,  1.0000]])
        >>> mean, variance = torch.zeros(2), torch.ones(2)
        >>> _ = torch.nn.functional.batch_norm(x, mean, variance, training=True, momentum=0.5)
        >>> mean
        tensor([ 1., 10.])
    """
    if training:
        if eps <= 0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
        check_batch_size(input.shape)
    return _batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)


@public("batch_norm")
def _batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """As ``nn.functional.batch_norm``, its arguments in another order.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1., 10.], [3., 30.]])
        >>> torch.batch_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
        tensor([[-1.0000, -1.0000],
                [ 1.0000,  1.0000]])
    """
    return batch_norm_with_statistics(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


def batch_norm_with_statistics(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The normalised input, and mean and variance of each channel of the batch (None in evaluation)."""
    if input.ndim < 2:
        if input._node.aval.size:
            raise IndexError(
                "Dimension out of range (expected to be in range of [-1, 0], but got 1) (batch_norm: the input of "
                f"shape {list(input.shape)} has no dimension of channels; shape (N, C, ...) is expected)"
            )
        return input.clone(), None, None
    channels = input.shape[1]
    if not training and (running_mean is None or running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    _check_channel_sizes(input, running_mean, running_var, weight, bias, channels)
    for running in (running_mean, running_var):
        if running is not None:
            check_types("batch_norm", input._node.aval, running._node.aval)
    if not training:
        assert running_mean is not None and running_var is not None
        y = BATCH_NORM_EVAL(input, running_mean.detach(), running_var.detach(), weight, bias, float(eps))
        return y, None, None
    y, mean, variance = BATCH_NORM(input, weight, bias, float(eps))
    if not input._node.aval.size:
        return y, mean, variance
    count = input._node.aval.size // max(channels, 1)
    if running_mean is not None:
        update_running(running_mean, mean, momentum, 1.0)
    if running_var is not None:
        update_running(running_var, variance, momentum, count / max(count - 1, 1))
    return y, mean, variance


@public(into="nn.functional")
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` for each channel of each example.

    Args:
        input: (N, C, ...).
        running_mean, running_var: of each channel, averaged over the examples.
        use_input_stats: whether mean and variance are those of the input; else the running ones.

    Ulyanov, Vedaldi and Lempitsky, Instance Normalization, 2016.

    Raises:
        ValueError: if there is but one element to take the mean of.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.instance_norm(torch.tensor([[[1., 3.], [10., 30.]]]))
        tensor([[[-1.0000,  1.0000],
                 [-1.0000,  1.0000]]])
    """
    if use_input_stats:
        sizes = tuple(input.shape)
        if product(sizes[2:]) == 1:
            raise ValueError(f"Expected more than 1 spatial element when training, got input size {torch_size(sizes)}")
    return _instance_norm(input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps)


@public("instance_norm")
def _instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """As ``nn.functional.instance_norm``, its arguments in another order.

    Raises:
        RuntimeError: if the running statistics are to be used and are None.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[1., 3.], [10., 30.]]])
        >>> torch.instance_norm(x, None, None, None, None, True, 0.1, 1e-5, False)
        tensor([[[-1.0000,  1.0000],
                 [-1.0000,  1.0000]]])
    """
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    channels = input.shape[1]
    _check_channel_sizes(input, running_mean, running_var, weight, bias, channels)
    if not use_input_stats:
        assert running_mean is not None and running_var is not None
        return BATCH_NORM_EVAL(input, running_mean.detach(), running_var.detach(), weight, bias, float(eps))
    y, mean, variance = GROUP_NORM(input, weight, bias, channels, float(eps))
    count = product(input.shape[2:])
    before = mode.grad
    mode.grad = False
    try:
        if running_mean is not None:
            update_running(running_mean, mean.mean(0), momentum, 1.0)
        if running_var is not None:
            update_running(running_var, variance.mean(0), momentum, count / max(count - 1, 1))
    finally:
        mode.grad = before
    return y


# ---------------------------------------------------------------- local response norm


def _window_rule(x: Aval, *, before: int, after: int) -> Aval:
    return x.of()


def _window_kernel(xp: Any, x: Any, *, before: int, after: int) -> Any:
    channels = x.shape[1]
    padding = [(0, 0)] * x.ndim
    padding[1] = (before, after)
    padded = xp.pad(x, padding)
    total = padded[:, :channels]
    for shift in range(1, before + after + 1):
        total = total + padded[:, shift : shift + channels]
    return total


WINDOW_SUM = operator(
    "channel_window_sum",
    _window_rule,
    _window_kernel,
    lambda grad, before, after: WINDOW_SUM(grad, after, before),
    samples=lambda: [
        case("nn.functional.local_response_norm", T(2, 6, 3), 3),
        case("nn.functional.local_response_norm", T(2, 6, 3, 2), 4, alpha=0.5, beta=0.6, k=2.0),
    ],
)


@public(into="nn.functional")
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """``x / (k + alpha / size · Σ x'²)^beta``, the sum over ``size`` neighbouring channels.

    Shape: (N, C, ...).

    Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep Networks, NeurIPS 2012, section 3.3.

    Raises:
        ValueError: if there are fewer than three dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.local_response_norm(torch.tensor([[[2.], [4.]]]), size=1, alpha=1., beta=1.)
        tensor([[[0.4000],
                 [0.2353]]])
    """
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.ndim} dimensions)"
        )
    if input._node.aval.size == 0:
        return input
    total = WINDOW_SUM(input * input, size // 2, (size - 1) // 2)
    return input / (total * (alpha / size) + k) ** beta


# ---------------------------------------------------------------- unit vectors


@public(into="nn.functional")
def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: Tensor | None = None) -> Tensor:
    """``x / max(‖x‖ₚ, eps)`` along ``dim``.

    Shape: that of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.normalize(torch.tensor([[3., 4.], [0., 0.]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    result = input / input.norm(p, dim, keepdim=True).clamp_min(eps)
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    return write_out("normalize", result, out)
