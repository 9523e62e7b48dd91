"""Sliding blocks as columns (im2col), and columns added back up to an image."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.conv_kernels import Geometry, Ints
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor


def _counts(size: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Ints:
    return tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(size, kernel, dilation, padding, stride, strict=True)
        ]
    )


def _geometry(size: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Geometry:
    out = _counts(size, kernel, dilation, padding, stride)
    return Geometry(size, kernel, stride, tuple([(p, p) for p in padding]), dilation, 1, out)


# ---------------------------------------------------------------- image to columns


def _unfold_rule(x: Aval, *, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Aval:
    out = _counts(x.shape[2:], kernel, dilation, padding, stride)
    if any(n < 1 for n in out):
        raise RuntimeError(
            f"Given input with spatial size ({', '.join(map(str, x.shape[2:]))}), kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, calculated shape of the array of sliding blocks as "
            f"({', '.join(map(str, out))}), but its components must be at least one. (the stride is {stride})"
        )
    return x.of((x.shape[0], x.shape[1] * prod(kernel), prod(out)))


def _unfold_numpy(np: Any, x: Any, *, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Any:
    geo = _geometry(x.shape[2:], kernel, dilation, padding, stride)
    columns = np.zeros((*x.shape[:2], *kernel, *geo.out), x.dtype)
    for i, j in product(*map(range, kernel)):
        (rows, from_rows), (cols, from_cols) = geo.valid(0, i), geo.valid(1, j)
        columns[:, :, i, j, rows, cols] = x[:, :, from_rows, from_cols]
    return columns.reshape(x.shape[0], x.shape[1] * prod(kernel), prod(geo.out))


def _unfold_lax(jnp: Any, x: Any, *, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Any:
    geo = _geometry(x.shape[2:], kernel, dilation, padding, stride)
    padded = jnp.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    parts = []
    for place in product(*map(range, kernel)):
        cut = [
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, n, s in zip(place, dilation, geo.out, stride, strict=True)
        ]
        parts.append(padded[:, :, cut[0], cut[1]])
    return jnp.stack(parts, 2).reshape(x.shape[0], x.shape[1] * prod(kernel), prod(geo.out))


def _unfold_derivative(
    grad: Tensor, x_shape: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints
) -> Tensor:
    return COL2IM(grad, tuple(x_shape[2:]), kernel, dilation, padding, stride)


IM2COL = operator(
    "im2col",
    _unfold_rule,
    None,
    _unfold_derivative,
    numpy=_unfold_numpy,
    lax=_unfold_lax,
    moves=True,
    grad_name=lambda call: "Im2ColBackward0",
    samples=lambda: [
        case("nn.functional.unfold", T(2, 3, 5, 6), (2, 3)),
        case("nn.functional.unfold", T(3, 5, 6), 2, dilation=2, padding=1, stride=2),
    ],
)

# ---------------------------------------------------------------- columns to image


def _fold_rule(x: Aval, *, size: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Aval:
    places = prod(kernel)
    if x.shape[1] % places:
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={x.shape[1]} and kernel_size={kernel}."
        )
    out = _counts(size, kernel, dilation, padding, stride)
    if prod(out) != x.shape[2] or any(n < 1 for n in out):
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, stride={stride}, "
            f"expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{' * '.join(map(str, out))} = {prod(out)}, but got input.size(2)={x.shape[2]}."
        )
    return x.of((x.shape[0], x.shape[1] // places, *size))


def _fold_numpy(np: Any, x: Any, *, size: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Any:
    geo = _geometry(size, kernel, dilation, padding, stride)
    columns = x.reshape(x.shape[0], x.shape[1] // prod(kernel), *kernel, *geo.out)
    image = np.zeros((*columns.shape[:2], *size), x.dtype)
    for i, j in product(*map(range, kernel)):
        (rows, to_rows), (cols, to_cols) = geo.valid(0, i), geo.valid(1, j)
        image[:, :, to_rows, to_cols] += columns[:, :, i, j, rows, cols]
    return image


def _fold_lax(jnp: Any, x: Any, *, size: Ints, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Any:
    from jax import lax

    geo = _geometry(size, kernel, dilation, padding, stride)
    columns = x.reshape(x.shape[0], x.shape[1] // prod(kernel), *kernel, *geo.out)
    zero = jnp.zeros((), x.dtype)
    image = None
    for place in product(*map(range, kernel)):
        config = [(0, 0, 0), (0, 0, 0)]
        for k, d, p, s, n, o in zip(place, dilation, padding, stride, size, geo.out, strict=True):
            before = k * d - p
            config.append((before, n - before - (o - 1) * s - 1, s - 1))
        part = lax.pad(columns[:, :, place[0], place[1]], zero, config)
        image = part if image is None else image + part
    return image


def _fold_derivative(grad: Tensor, kernel: Ints, dilation: Ints, padding: Ints, stride: Ints) -> Tensor:
    return IM2COL(grad, kernel, dilation, padding, stride)


COL2IM = operator(
    "col2im",
    _fold_rule,
    None,
    _fold_derivative,
    numpy=_fold_numpy,
    lax=_fold_lax,
    grad_name=lambda call: "Col2ImBackward0",
    samples=lambda: [
        case("nn.functional.fold", T(2, 12, 12), (4, 5), (2, 2)),
        case("nn.functional.fold", T(12, 6), (5, 4), 2, dilation=2, padding=1, stride=2),
    ],
)

# ---------------------------------------------------------------- public functions


def _pair(name: str, what: str, value: Any) -> Ints:
    values = (value, value) if isinstance(value, int) else tuple([int(v) for v in value])
    if len(values) == 1:
        values = values * 2
    if len(values) != 2:
        raise RuntimeError(f"It is expected {what} equals to 2, but got size {len(values)} ({name})")
    return values


def _checked(name: str, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[Ints, Ints, Ints, Ints]:
    found = (
        _pair(name, "kernel_size", kernel),
        _pair(name, "dilation", dilation),
        _pair(name, "padding", padding),
        _pair(name, "stride", stride),
    )
    for what, values in zip(("kernel", "dilation", "padding", "stride"), found, strict=True):
        if any(v < 0 if what == "padding" else v <= 0 for v in values):
            least = "non-negative" if what == "padding" else "greater than zero"
            subject = "kernel size" if what == "kernel" else what
            short = "pad" if what == "padding" else what
            height, width = values
            raise RuntimeError(
                f"{subject} should be {least}, but got {short}_height: {height} {short}_width: {width} ({name})"
            )
    return found


def _require_numbers(kernel: str, input: Tensor) -> None:
    if input.dtype.category < dtypes.FLOATING and input.dtype is not dtypes.bool_:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{input.dtype.title}'")


@public(into="nn.functional")
def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Sliding blocks of images as columns.

    Shape: (N, C, H, W) gives (N, C · KH · KW, blocks); without N alike.

    Raises:
        RuntimeError: if the input has other dimensions, or no block fits.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.unfold(torch.arange(9.0).reshape(1, 1, 3, 3), kernel_size=2)
        tensor([[[0., 1., 3., 4.],
                 [1., 2., 4., 5.],
                 [3., 4., 6., 7.],
                 [4., 5., 7., 8.]]])
    """
    options = _checked("unfold", kernel_size, dilation, padding, stride)
    shape = tuple(input.shape)
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(shape)}"
        )
    _require_numbers("im2col_out_cpu", input)
    if len(shape) == 3:
        return labelled(IM2COL(input.unsqueeze(0), *options).squeeze(0), "Im2ColBackward0")
    return IM2COL(input, *options)


@public(into="nn.functional")
def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Adds columns of sliding blocks up to images of ``output_size``; the transpose of :func:`unfold`.

    Shape: (N, C · KH · KW, blocks) gives (N, C, H, W); without N alike.

    Raises:
        RuntimeError: if the number of rows or of blocks does not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.fold(torch.ones(1, 4, 4), output_size=(3, 3), kernel_size=2)
        tensor([[[[1., 2., 1.],
                  [2., 4., 2.],
                  [1., 2., 1.]]]])
    """
    size = _pair("fold", "output_size", output_size)
    options = _checked("fold", kernel_size, dilation, padding, stride)
    shape = tuple(input.shape)
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(shape)}"
        )
    if any(n < 1 for n in size):
        raise RuntimeError(f"Expected output spatial dimensions to be positive, but got: output_size={list(size)}.")
    _require_numbers("col2im_out_cpu", input)
    if len(shape) == 2:
        return labelled(COL2IM(input.unsqueeze(0), size, *options).squeeze(0), "Col2ImBackward0")
    return COL2IM(input, size, *options)
