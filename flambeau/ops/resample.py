"""Images at other resolutions: interpolation, sampling at given places, and pixels traded for channels."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.ops import fold, grid  # noqa: F401  (registers their operators)
from flambeau.ops.operator import labelled, public
from flambeau.ops.pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from flambeau.ops.taps import TAPS, Taps
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- interpolation

_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
_MODES = "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact"


@public(into="nn.functional")
def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images of another size.

    Args:
        input: (N, C, one to three spatial axes).
        size, scale_factor: of the result; one of them, one number or one per axis.
        mode: ``"nearest"``, ``"nearest-exact"``, ``"linear"``, ``"bilinear"`` or ``"trilinear"`` (by the number of
            axes), ``"bicubic"`` (two axes), ``"lanczos"`` (two axes, with ``antialias``), ``"area"`` (means).
        align_corners: whether the centres of the corner pixels coincide, rather than the images' edges.
        recompute_scale_factor: go by the ratio of the sizes in place of ``scale_factor``.
        antialias: widen the kernel when reducing (bilinear, bicubic and lanczos).

    Raises:
        ValueError: for options that exclude each other.
        NotImplementedError: for a mode that does not fit the number of axes.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.interpolate(torch.tensor([[[1., 2.]]]), scale_factor=2)
        tensor([[[1., 1., 2., 2.]]])
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear"
            )
    elif align_corners is None:
        align_corners = False
    axes = input.ndim - 2
    out, factors = _sizes(input, size, scale_factor, axes)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if recompute_scale_factor or mode == "area":
        factors = None
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input"
        )
    if mode == "lanczos" and input.ndim == 4:
        if align_corners:
            raise ValueError("Lanczos mode does not support align_corners=True")
        if not antialias:
            raise ValueError("Lanczos mode requires antialias=True")
    _check_interpolation(input, mode, out, antialias)
    if mode == "area":
        pool = {3: adaptive_avg_pool1d, 4: adaptive_avg_pool2d, 5: adaptive_avg_pool3d}[input.ndim]
        return pool(input, out)
    kind = {"bicubic": "cubic", "lanczos": "lanczos"}.get(mode, mode if mode.startswith("nearest") else "linear")
    result = _interpolated(input, f"smooth-{kind}" if antialias else kind, out, factors, bool(align_corners))
    words = f"{mode.title().replace('-', '')}{axes}D{'Aa' if antialias else ''}"
    return labelled(result, f"Upsample{words}Backward0")


def _sizes(input: Tensor, size: Any, scale_factor: Any, axes: int) -> tuple[tuple[int, ...], Any]:
    """The result's extents, and the factors if they were given."""
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, list | tuple):
            if len(size) != axes:
                raise ValueError(
                    "Input and output must have the same number of spatial dimensions, but got input with spatial "
                    f"dimensions of {list(input.shape[2:])} and output size of {size}. Please provide input tensor in "
                    "(N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
                )
            if not all(isinstance(n, int) for n in size):
                raise TypeError(f"expected size to be one of int or Tuple[int] or Tuple[int, int], but got {size}")
            return tuple(size), None
        return (int(size),) * axes, None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, list | tuple):
        if len(scale_factor) != axes:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with spatial "
                f"dimensions of {list(input.shape[2:])} and scale_factor of shape {scale_factor}. Please provide input "
                "tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
            )
        factors = [float(f) for f in scale_factor]
    else:
        factors = [float(scale_factor)] * axes
    return tuple([math.floor(n * f) for n, f in zip(input.shape[2:], factors, strict=True)]), factors


def _spatial(sizes: Any) -> str:
    names = "DHW"[-len(sizes) :]
    return f"({', '.join([f'{name}: {n}' for name, n in zip(names, sizes, strict=True)])})"


def _kernel_name(mode: str, ndim: int, antialias: bool) -> str:
    """PyTorch's name for what computes a mode, which its messages show."""
    if mode == "area":
        return f"adaptive_avg_pool{ndim - 2}d"
    if antialias:
        return "compute_index_ranges_weights"
    kind = {"bicubic": "cubic", "nearest": "nearest", "nearest-exact": "nearest"}.get(mode, "linear")
    if ndim == 4 and kind != "cubic":
        return f"upsample_{'nearest' if kind == 'nearest' else 'bilinear'}2d_channels_last"
    return f"compute_indices_weights_{kind}"


def _check_interpolation(input: Tensor, mode: str, out: tuple[int, ...], antialias: bool) -> None:
    ndim = input.ndim
    known = mode in ("nearest", "nearest-exact", "area", "bicubic", "lanczos", *_LINEAR.values())
    if not 3 <= ndim <= 5 or not known:
        raise NotImplementedError(
            f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: {_MODES} "
            f"(got {mode})"
        )
    wanted = {"linear": 3, "bilinear": 4, "trilinear": 5, "bicubic": 4, "lanczos": 4}.get(mode, ndim)
    if wanted != ndim:
        if mode in ("bicubic", "lanczos"):
            raise NotImplementedError(
                f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: {_MODES} "
                f"(got {mode}) ({mode} needs 4D input)"
            )
        raise NotImplementedError(f"Got {ndim}D input, but {mode} mode needs {wanted}D input")
    if 0 in out or 0 in input.shape[2:]:
        between = " and" if ndim == 3 else ""
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {_spatial(input.shape[2:])}{between} "
            f"output {_spatial(out)}"
        )
    if 0 in input.shape[1:]:
        raise RuntimeError(f"Non-empty {ndim}D data tensor expected but got a tensor with sizes {list(input.shape)}")
    if input.dtype.category < dtypes.FLOATING and (input.dtype is not dtypes.uint8 or mode == "area"):
        name = _kernel_name(mode, ndim, antialias)
        raise NotImplementedError(f"\"{name}\" not implemented for '{input.dtype.title}'")


def _interpolated(input: Tensor, kind: str, out: tuple[int, ...], factors: Any, corners: bool) -> Tensor:
    x = input
    whole = input.dtype is dtypes.uint8 and not kind.startswith("nearest")
    if whole:
        x = x.to(dtypes.float32)
    axes = len(out)
    # The last axis first: it is the one on which the input is still small.
    for i in reversed(range(axes)):
        n = input.shape[2 + i]
        scale = 1.0 / factors[i] if factors is not None and factors[i] > 0 else n / out[i]
        if n == out[i] and (scale == 1.0 or corners) and not kind.startswith("smooth"):
            continue
        x = TAPS(x, i - axes, Taps(kind, n, out[i], scale, corners))
    if x is input:
        return input.clone()
    return x.round().clamp(0, 255).to(dtypes.uint8) if whole else x


@public(into="nn.functional")
def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """Deprecated name of :func:`interpolate`.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.nn.functional.upsample(torch.tensor([[[1., 2.]]]), scale_factor=2))
        tensor([[[1., 1., 2., 2.]]])
    """
    _deprecated("upsample", "nn.functional.interpolate")
    return interpolate(input, size, scale_factor, mode, align_corners)


@public(into="nn.functional")
def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated: :func:`interpolate` with mode ``"nearest"``.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.nn.functional.upsample_nearest(torch.tensor([[[1., 2.]]]), size=4))
        tensor([[[1., 1., 2., 2.]]])
    """
    _deprecated("upsample_nearest", "nn.functional.interpolate")
    return interpolate(input, size, scale_factor, mode="nearest")


@public(into="nn.functional")
def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """Deprecated: :func:`interpolate` with mode ``"bilinear"`` and aligned corners.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.nn.functional.upsample_bilinear(torch.tensor([[[[1., 3.]]]]), size=(1, 3)))
        tensor([[[[1., 2., 3.]]]])
    """
    _deprecated("upsample_bilinear", "nn.functional.interpolate")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _deprecated(old: str, new: str) -> None:
    warn(f"`nn.functional.{old}` is deprecated. Use `{new}` instead.")


# ---------------------------------------------------------------- pixels and channels


@public(into="torch nn.functional")
def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels spread over a finer grid (Shi et al., arXiv:1609.05158).

    Shape: (..., C r², H, W) gives (..., C, H r, W r) with r the ``upscale_factor``.

    Raises:
        RuntimeError: if there are fewer than three dimensions, or the channels do not divide by the factor's square.

    Example:
        >>> import flambeau as torch
        >>> torch.pixel_shuffle(torch.arange(4.).view(1, 4, 1, 1), 2)
        tensor([[[[0., 1.],
                  [2., 3.]]]])
    """
    r = int(upscale_factor)
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    split = input.reshape(*lead, channels // (r * r), r, r, height, width)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return split.permute(order).reshape(*lead, channels // (r * r), height * r, width * r)


@public(into="torch nn.functional")
def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """The inverse of :func:`pixel_shuffle`: (..., C, H r, W r) gives (..., C r², H, W).

    Raises:
        RuntimeError: if there are fewer than three dimensions, or height or width do not divide by the factor.

    Example:
        >>> import flambeau as torch
        >>> torch.pixel_unshuffle(torch.tensor([[[0., 1.], [2., 3.]]]), 2).shape
        torch.Size([4, 1, 1])
    """
    r = int(downscale_factor)
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, channels, height, width = input.shape
    for word, n, at in (("height", height, -2), ("width", width, -1)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {word} to be divisible by downscale_factor, but input.size({at})={n} is not "
                f"divisible by {r}"
            )
    n = len(lead)
    split = input.reshape(*lead, channels, height // r, r, width // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return split.permute(order).reshape(*lead, channels * r * r, height // r, width // r)


@public(into="torch nn.functional")
def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleaves the channels of ``groups`` groups (Zhang et al., arXiv:1707.01083).

    Shape: (N, C, ...) gives the same.

    Raises:
        RuntimeError: if there are fewer than three dimensions, or the channels do not divide by ``groups``.

    Example:
        >>> import flambeau as torch
        >>> torch.channel_shuffle(torch.arange(4.).view(1, 4, 1, 1), 2).flatten()
        tensor([0., 2., 1., 3.])
    """
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    channels = input.shape[1]
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if channels % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {channels} channels and {groups} groups."
        )
    if 0 in input.shape:
        return input.clone()
    split = input.reshape(input.shape[0], groups, channels // groups, -1)
    return split.transpose(1, 2).reshape(tuple(input.shape))


@public(into="torch nn.functional")
def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """:func:`channel_shuffle` under another name.

    Example:
        >>> import flambeau as torch
        >>> torch.native_channel_shuffle(torch.arange(4.).view(1, 4, 1, 1), 2).flatten()
        tensor([0., 2., 1., 3.])
    """
    return channel_shuffle(input, groups)
