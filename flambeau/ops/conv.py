"""Convolutions in one to three dimensions, their transposes, and their gradients.

Three operators are each other's derivatives: the convolution itself, and the gradients of its input and
of its weight, all linear in both of their operands.  The transposed convolution is the input gradient.
"""

from __future__ import annotations

from typing import Any

from flambeau.graph.node import Aval
from flambeau.ops import conv_kernels, conv_lax
from flambeau.ops.conv_kernels import Geometry, Ints, Pads
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import conj
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the family shares


def per_axis(value: Any, count: int, what: str) -> Ints:
    """One int for each spatial axis, from an int or a sequence.

    Raises:
        RuntimeError: if a sequence has neither one element nor one per axis.
    """
    if isinstance(value, int):
        return (value,) * count
    values = tuple([int(v) for v in value])
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise RuntimeError(
            f"expected {what} to be a single integer value or a list of {count} values to match the convolution "
            f"dimensions, but got {what}={list(values)}"
        )
    return values


def conv_extent(size: int, kernel: int, stride: int, pads: tuple[int, int], dilation: int) -> int:
    """How many outputs fit along one axis."""
    return (size + pads[0] + pads[1] - dilation * (kernel - 1) - 1) // stride + 1


def same_padding(size: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Pads:
    """Padding that gives ``ceil(size / stride)`` outputs; an odd one puts the extra zero behind."""
    pads = []
    for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


_CPP_NAMES = {"Float": "float", "Double": "double", "Long": "long int", "Int": "int", "Half": "c10::Half"}


def _check_types(x: Aval, weight: Aval, bias: Aval | None, transposed: bool = False) -> None:
    if bias is not None and bias.dtype is not x.dtype and not (transposed and weight.dtype is not x.dtype):
        first, second = (_CPP_NAMES.get(a.dtype.title, f"c10::{a.dtype.title}") for a in (x, bias))
        raise RuntimeError(
            f"Input type ({first}) and bias type ({second}) should be the same "
            f"(convolution: the input is {x}, the weight {weight}, the bias {bias}; convert with .to())"
        )
    if weight.dtype is not x.dtype:
        raise RuntimeError(
            f"expected scalar type {x.dtype.title} but found {weight.dtype.title} "
            f"(convolution: the input is {x}, the weight {weight}; convert one with .to())"
        )


def _check_padding(padding: Ints) -> None:
    if any(p < 0 for p in padding):
        raise RuntimeError("negative padding is not supported")


def _check_steps(stride: Ints, dilation: Ints) -> None:
    if any(s <= 0 for s in stride):
        raise RuntimeError("non-positive stride is not supported")
    if any(d <= 0 for d in dilation):
        raise RuntimeError("dilation should be greater than zero")


def _check_groups(weight: Aval, groups: int) -> None:
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    shape = weight.shape
    if shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{list(shape)} instead"
        )
    if shape[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            f"size {list(shape)} instead"
        )


def _check_channels(x: Aval, weight: Aval, expected: int, how: str) -> None:
    channels = x.shape[1]
    if channels == expected:
        return
    hint = ""
    if len(x.shape) > 2 and x.shape[-1] == expected:
        order = [0, len(x.shape) - 1, *range(1, len(x.shape) - 1)]
        hint = (
            f" (the last dimension has {expected}: channels come second here, after the batch; if the image has them "
            f"last, reorder it with .permute({', '.join(map(str, order))})"
        )
        if x.shape[0] == 1:
            order = [len(x.shape) - 2, *range(len(x.shape) - 2)]
            hint += f", or a single one without batch with .permute({', '.join(map(str, order))})"
        hint += ")"
    raise RuntimeError(
        f"Given {how}, weight of size {list(weight.shape)}, expected input{list(x.shape)} to have {expected} "
        f"channels, but got {channels} channels instead{hint}"
    )


def _check_bias(weight: Aval, bias: Aval | None, channels: int, transposed: bool) -> None:
    if bias is not None and bias.shape != (channels,):
        raise RuntimeError(
            f"Given {'transposed=1, ' if transposed else ''}weight of size {list(weight.shape)}, expected bias to be "
            f"1-dimensional with {channels} elements, but got bias of size {list(bias.shape)} instead"
        )


# ---------------------------------------------------------------- the convolution


def _conv_rule(
    x: Aval, weight: Aval, bias: Aval | None, *, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Aval:
    _check_types(x, weight, bias)
    _check_steps(stride, dilation)
    _check_groups(weight, groups)
    _check_channels(x, weight, weight.shape[1] * groups, f"groups={groups}")
    _check_bias(weight, bias, weight.shape[0], False)
    size, kernel = x.shape[2:], weight.shape[2:]
    padded = [n + lo + hi for n, (lo, hi) in zip(size, padding, strict=True)]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if any(n < span for n, span in zip(padded, spans, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel size: "
            f"({' x '.join(map(str, spans))}). Kernel size can't be greater than actual input size"
        )
    out = tuple(map(conv_extent, size, kernel, stride, padding, dilation))
    return x.of((x.shape[0], weight.shape[0], *out))


def _conv_numpy(
    np: Any, x: Any, weight: Any, bias: Any, *, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    out = tuple(map(conv_extent, x.shape[2:], weight.shape[2:], stride, padding, dilation))
    if 0 in x.shape or 0 in weight.shape:
        y = np.zeros((x.shape[0], weight.shape[0], *out), x.dtype)
        return y if bias is None else y + bias.reshape(-1, *(1,) * len(out))
    geo = Geometry(x.shape[2:], weight.shape[2:], stride, padding, dilation, groups, out)
    return conv_kernels.forward(np, x, weight, bias, geo)


def _conv_lax(
    jnp: Any, x: Any, weight: Any, bias: Any, *, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    out = tuple(map(conv_extent, x.shape[2:], weight.shape[2:], stride, padding, dilation))
    if 0 in weight.shape or 0 in x.shape:
        y = jnp.zeros((x.shape[0], weight.shape[0], *out), x.dtype)
    else:
        geo = Geometry(x.shape[2:], weight.shape[2:], stride, padding, dilation, groups, out)
        y = conv_lax.forward(jnp, x, weight, geo)
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(stride))


def _conv_derivative(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    needs: tuple[bool, ...],
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Any:
    size, kernel = x.shape[2:], weight.shape[2:]
    return (
        CONV_INPUT(grad, conj(weight), None, tuple(size), stride, padding, dilation, groups) if needs[0] else None,
        CONV_WEIGHT(conj(x), grad, tuple(kernel), stride, padding, dilation, groups) if needs[1] else None,
        grad.sum((0, *range(2, grad.ndim))) if needs[2] else None,
    )


CONV = operator(
    "convolution",
    _conv_rule,
    None,
    _conv_derivative,
    numpy=_conv_numpy,
    lax=_conv_lax,
    product=True,
    samples=lambda: [
        case("nn.functional.conv2d", T(2, 3, 6, 7), T(4, 3, 3, 2), T(4)),
        case("nn.functional.conv2d", T(2, 4, 7, 6), T(6, 2, 3, 3), stride=2, padding=1, groups=2),
        case("nn.functional.conv2d", T(2, 3, 8, 9), T(3, 1, 3, 3), T(3), padding=(2, 1), dilation=(2, 1), groups=3),
        case("nn.functional.conv2d", T(3, 5, 6), T(2, 3, 1, 1), T(2)),
        case("nn.functional.conv2d", T(1, 2, 5, 6), T(2, 2, 2, 3), padding="same"),
        case("nn.functional.conv2d", T(0, 2, 5, 6), T(2, 2, 2, 3), gradgrad=False),
        case("nn.functional.conv1d", T(2, 4, 9), T(6, 2, 3), T(6), stride=2, padding=2, dilation=2, groups=2),
        case("nn.functional.conv1d", T(2, 4, 9), T(6, 4, 3), padding="valid"),
        case("nn.functional.conv2d", T(2, 3, 6, 5), T(6, 1, 3, 2), T(6), stride=(2, 1), padding=1, groups=3),
        case("nn.functional.conv3d", T(1, 2, 4, 5, 4), T(3, 2, 2, 3, 2), T(3), padding=(1, 0, 1), stride=(1, 2, 1)),
    ],
    grad_name=lambda call: "ConvolutionBackward0",
)


# ---------------------------------------------------------------- the gradient of its input, and the transpose


def _conv_input_rule(
    grad: Aval,
    weight: Aval,
    bias: Aval | None,
    *,
    size: Ints,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Aval:
    _check_types(grad, weight, bias, True)
    _check_steps(stride, dilation)
    _check_groups(weight, groups)
    _check_channels(grad, weight, weight.shape[0], "transposed=1")
    _check_bias(weight, bias, weight.shape[1] * groups, True)
    if any(n < 1 for n in size):
        had = " x ".join(map(str, grad.shape[2:]))
        gives = " x ".join(map(str, size))
        raise RuntimeError(
            f"Given input size per channel: ({had}). Calculated output size per channel: ({gives}). Output size is too "
            "small"
        )
    return grad.of((grad.shape[0], weight.shape[1] * groups, *size))


def _conv_input_numpy(
    np: Any,
    grad: Any,
    weight: Any,
    bias: Any,
    *,
    size: Ints,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Any:
    if 0 in grad.shape or 0 in weight.shape:
        y = np.zeros((grad.shape[0], weight.shape[1] * groups, *size), grad.dtype)
    else:
        geo = Geometry(size, weight.shape[2:], stride, padding, dilation, groups, grad.shape[2:])
        y = conv_kernels.input_gradient(np, grad, weight, geo)
    if bias is not None:
        y += bias.reshape(-1, *(1,) * len(size))
    return y


def _conv_input_lax(
    jnp: Any,
    grad: Any,
    weight: Any,
    bias: Any,
    *,
    size: Ints,
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Any:
    if 0 in weight.shape or 0 in grad.shape:
        y = jnp.zeros((grad.shape[0], weight.shape[1] * groups, *size), grad.dtype)
    else:
        geo = Geometry(size, weight.shape[2:], stride, padding, dilation, groups, grad.shape[2:])
        y = conv_lax.input_gradient(jnp, grad, weight, geo)
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(size))


def _conv_input_derivative(
    grad: Tensor,
    inputs: Any,
    needs: tuple[bool, ...],
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Any:
    x, weight, _ = inputs
    kernel = tuple(weight.shape[2:])
    # Behind, just so much that as many outputs fit as there were: output_padding may have made room for more.
    exact = tuple(
        [
            (lo, (o - 1) * s + d * (k - 1) + 1 - n - lo)
            for n, k, s, (lo, _), d, o in zip(
                grad.shape[2:], kernel, stride, padding, dilation, x.shape[2:], strict=True
            )
        ]
    )
    return (
        CONV(grad, conj(weight), None, stride, exact, dilation, groups) if needs[0] else None,
        CONV_WEIGHT(grad, conj(x), kernel, stride, padding, dilation, groups) if needs[1] else None,
        grad.sum((0, *range(2, grad.ndim))) if needs[2] else None,
    )


CONV_INPUT = operator(
    "convolution_input",
    _conv_input_rule,
    None,
    _conv_input_derivative,
    numpy=_conv_input_numpy,
    lax=_conv_input_lax,
    product=True,
    samples=lambda: [
        case("nn.functional.conv_transpose2d", T(2, 4, 5, 4), T(4, 3, 3, 2), T(3)),
        case("nn.functional.conv_transpose2d", T(2, 4, 4, 5), T(4, 2, 3, 3), T(4), stride=2, padding=1, groups=2),
        case("nn.functional.conv_transpose2d", T(4, 4, 5), T(4, 3, 2, 2), stride=3, output_padding=(1, 2)),
        case("nn.functional.conv_transpose2d", T(1, 2, 4, 4), T(2, 2, 3, 3), padding=3, dilation=2),
        case("nn.functional.conv_transpose1d", T(2, 4, 5), T(4, 3, 3), T(3), stride=2, padding=1, output_padding=1),
        case("nn.functional.conv_transpose3d", T(1, 2, 3, 2, 3), T(2, 3, 2, 3, 2), T(3), stride=(1, 2, 1)),
    ],
    grad_name=lambda call: "ConvolutionBackward0",
)


# ---------------------------------------------------------------- the gradient of its weight


def _conv_weight_rule(
    x: Aval, grad: Aval, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Aval:
    return x.of((grad.shape[1], x.shape[1] // groups, *kernel))


def _conv_weight_numpy(
    np: Any, x: Any, grad: Any, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    if 0 in x.shape or 0 in grad.shape:
        return np.zeros((grad.shape[1], x.shape[1] // groups, *kernel), x.dtype)
    geo = Geometry(x.shape[2:], kernel, stride, padding, dilation, groups, grad.shape[2:])
    return conv_kernels.weight_gradient(np, x, grad, geo)


def _conv_weight_lax(
    jnp: Any, x: Any, grad: Any, *, kernel: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
) -> Any:
    if 0 in x.shape or 0 in grad.shape:
        return jnp.zeros((grad.shape[1], x.shape[1] // groups, *kernel), x.dtype)
    geo = Geometry(x.shape[2:], kernel, stride, padding, dilation, groups, grad.shape[2:])
    return conv_lax.weight_gradient(jnp, x, grad, geo)


def _conv_weight_derivative(
    grad: Tensor,
    inputs: Any,
    needs: tuple[bool, ...],
    stride: Ints,
    padding: Pads,
    dilation: Ints,
    groups: int,
) -> Any:
    x, g = inputs
    size = tuple(x.shape[2:])
    return (
        CONV_INPUT(conj(g), grad, None, size, stride, padding, dilation, groups) if needs[0] else None,
        CONV(conj(x), grad, None, stride, padding, dilation, groups) if needs[1] else None,
    )


CONV_WEIGHT = operator(
    "convolution_weight",
    _conv_weight_rule,
    None,
    _conv_weight_derivative,
    numpy=_conv_weight_numpy,
    lax=_conv_weight_lax,
    product=True,
    samples=lambda: [case("nn.functional.conv2d", T(2, 4, 6, 5), T(6, 2, 3, 3), stride=2, padding=1, groups=2)],
    grad_name=lambda call: "ConvolutionBackwardBackward0",
)


# ---------------------------------------------------------------- public functions


def _missing_hint(ndim: int, axes: int) -> str:
    if ndim != axes:
        return ""
    return (
        " (channels are missing, and the batch: add both with [None, None], or the channels alone with .unsqueeze(0))"
    )


def _batched(name: str, input: Tensor, weight: Tensor, axes: int) -> tuple[Tensor, bool]:
    """The input with a batch axis, and whether it had none."""
    if not isinstance(input, Tensor) or not isinstance(weight, Tensor):
        wrong = "input" if not isinstance(input, Tensor) else "weight"
        given = input if wrong == "input" else weight
        raise TypeError(f"{name}(): argument '{wrong}' must be Tensor, not {type(given).__name__}")
    ndim = input.ndim
    if ndim == axes + 2:
        plain = True
    elif ndim == axes + 1:
        plain = False
    else:
        raise RuntimeError(
            f"Expected {axes + 1}D (unbatched) or {axes + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input.shape)}{_missing_hint(input.ndim, axes)}"
        )
    if weight.ndim != axes + 2:
        raise RuntimeError(
            f"Expected {axes + 2}-dimensional weight for {name}, but got weight of size {list(weight.shape)} "
            f"({weight.ndim} dimensions; output channels, input channels / groups, then {axes} for the kernel)"
        )
    return (input, False) if plain else (input.unsqueeze(0), True)


def _conv(
    name: str,
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    x, single = _batched(name, input, weight, axes)
    steps = per_axis(stride, axes, "stride")
    spread = per_axis(dilation, axes, "dilation")
    if isinstance(padding, str):
        if padding == "same":
            _check_steps(steps, spread)
            pads = same_padding(tuple(x.shape[2:]), tuple(weight.shape[2:]), steps, spread)
        elif padding == "valid":
            pads = ((0, 0),) * axes
        else:
            raise RuntimeError(f"Invalid padding string: '{padding}' ({name} takes 'same', 'valid' or numbers)")
    else:
        given = per_axis(padding, axes, "padding")
        _check_padding(given)
        pads = tuple([(p, p) for p in given])
    y = CONV(x, weight, bias, steps, pads, spread, groups)
    return y.squeeze(0) if single else y


@public(into="torch nn.functional")
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """One-dimensional convolution (cross-correlation); see :func:`conv2d`.

    Shape: input (N, C, L) or (C, L), weight (O, C / groups, K), bias (O); result (N, O, L').

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
        >>> torch.nn.functional.conv1d(x, torch.tensor([[[1.0, -1.0]]]))
        tensor([[[-1., -1., -1.]]])
        >>> torch.nn.functional.conv1d(x, torch.tensor([[[1.0, -1.0]]]), stride=2, padding=1)
        tensor([[[-1., -1.,  4.]]])
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@public(into="torch nn.functional")
def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional convolution, as the field calls cross-correlation:

    ``y[n, o, h, w] = b[o] + sum over c, i, j of weight[o, c, i, j] * x[n, c, h*s + i*d - p, w*s + j*d - p]``.

    Args:
        input: (N, C, H, W), or (C, H, W) for a single image.
        weight: (O, C / groups, KH, KW).
        bias: (O) or None.
        stride, dilation: steps of the kernel, and between its elements.
        padding: zeros on both sides, or ``"valid"`` (none), or ``"same"`` (``ceil(size / stride)`` outputs).
        groups: channels are split into so many groups that do not see each other.

    Raises:
        RuntimeError: if channels or types do not fit, or the kernel is larger than the padded input.

    Example:
        >>> import flambeau as torch
        >>> torch.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
        tensor([[[[4., 4.],
                  [4., 4.]]]])
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@public(into="torch nn.functional")
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Three-dimensional convolution; see :func:`conv2d`.

    Shape: input (N, C, D, H, W) or (C, D, H, W), weight (O, C / groups, KD, KH, KW), bias (O).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.conv3d(torch.ones(1, 1, 3, 4, 5), torch.ones(2, 1, 2, 2, 2)).shape
        torch.Size([1, 2, 2, 3, 4])
    """
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def _by_axis(word: str, sizes: Ints) -> str:
    """Sizes as PyTorch tells them, one word per axis."""
    axes = ("depth", "height", "width")[-max(len(sizes), 2) :]
    # Of a sequence PyTorch makes an image one high.
    values = (1 if word != "output_padding" else 0, *sizes) if len(sizes) == 1 else sizes
    return " ".join(f"{word}_{axis}: {n}" for axis, n in zip(axes, values, strict=True))


def _conv_transpose(
    name: str,
    axes: int,
    input: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: int,
    dilation: Any,
) -> Tensor:
    x, single = _batched(name, input, weight, axes)
    steps = per_axis(stride, axes, "stride")
    spread = per_axis(dilation, axes, "dilation")
    pads = per_axis(padding, axes, "padding")
    extra = per_axis(output_padding, axes, "output_padding")
    if any(e < 0 for e in extra):
        raise RuntimeError("negative output_padding is not supported")
    _check_padding(pads)
    _check_steps(steps, spread)
    for e, s, d in zip(extra, steps, spread, strict=True):
        if e >= s and e >= d:
            given = {"output_padding": extra, "stride": steps, "dilation": spread}
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                + " ".join(_by_axis(word, sizes) for word, sizes in given.items())
            )
    size = tuple(
        [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
            for n, k, s, p, d, e in zip(x.shape[2:], weight.shape[2:], steps, pads, spread, extra, strict=True)
        ]
    )
    if bias is not None and bias.dtype.category <= input.dtype.category:
        # Added to a result that has its type by then.
        bias = bias.to(input.dtype)
    y = CONV_INPUT(x, weight, bias, size, steps, tuple([(p, p) for p in pads]), spread, groups)
    return y.squeeze(0) if single else y


@public(into="torch nn.functional")
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed one-dimensional convolution; see :func:`conv_transpose2d`.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[1.0, 2.0]]])
        >>> torch.nn.functional.conv_transpose1d(x, torch.tensor([[[1.0, 10.0, 100.0]]]))
        tensor([[[  1.,  12., 120., 200.]]])
        >>> torch.nn.functional.conv_transpose1d(x, torch.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
        tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public(into="torch nn.functional")
def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The linear map that is transposed to :func:`conv2d` with the same weight: its input gradient.

    Shape: input (N, C, H, W), weight (C, O / groups, KH, KW), bias (O); result (N, O, H', W') with
    ``H' = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + output_padding + 1``.

    Raises:
        RuntimeError: if channels or types do not fit, or ``output_padding`` is not smaller than both
            ``stride`` and ``dilation``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(1, 1, 2, 2)
        >>> torch.nn.functional.conv_transpose2d(x, torch.ones(1, 1, 2, 2))
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
        >>> torch.nn.functional.conv_transpose2d(x, torch.ones(1, 3, 3, 3), stride=2, padding=1, output_padding=1).shape
        torch.Size([1, 3, 4, 4])
    """
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public(into="torch nn.functional")
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Transposed three-dimensional convolution; see :func:`conv_transpose2d`.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.conv_transpose3d(torch.ones(1, 2, 3, 4, 5), torch.ones(2, 1, 2, 2, 2)).shape
        torch.Size([1, 1, 4, 5, 6])
    """
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@public()
def convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """Any of the convolutions, by the number of dimensions of ``weight``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
        >>> torch.convolution(x, torch.tensor([[[1.0, -1.0]]]), None, [1], [0], [1], False, [0], 1)
        tensor([[[-1., -1., -1.]]])
    """
    axes = weight.ndim - 2
    if transposed:
        return _conv_transpose(
            "convolution", axes, input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return _conv("convolution", axes, input, weight, bias, stride, padding, dilation, groups)


@public(into="torch nn.functional")
def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """One-dimensional convolution of sequences laid out as (time, batch, channels).

    Shape: input (T, N, C), weight (K, C, O), bias (O); result (T', N, O).

    Raises:
        RuntimeError: if dimensions or channels do not fit.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1.0, 2.0, 3.0]).reshape(3, 1, 1)
        >>> torch.conv_tbc(x, torch.tensor([1.0, -1.0]).reshape(2, 1, 1), torch.zeros(1)).flatten()
        tensor([-1., -1.])
    """
    if input.ndim != 3:
        raise RuntimeError("Input must have 3 dims: time, batch, in_channel.")
    if weight.ndim != 3:
        raise RuntimeError("Weight tensor must have 3 dims: kernel_width, in_channels, out_channels.")
    if bias.ndim != 1:
        raise RuntimeError("Bias must be 1-D")
    if input.shape[2] != weight.shape[1]:
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor")
    if weight.shape[2] != bias.shape[0]:
        raise RuntimeError("Bias size must equal dim 2 in the weight tensor (output channels).")
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, padding=pad).permute(2, 0, 1)
