"""Sampling images at given places (Jaderberg et al., arXiv:1506.02025), and the places of an affine map."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.user_warnings import warn

Ints = tuple[int, ...]

# ---------------------------------------------------------------- picking pixels, the same in every channel


def _pick_rule(x: Aval, places: Aval) -> Aval:
    return x.of((*x.shape[:2], *places.shape[1:]))


def _pick_kernel(xp: Any, x: Any, places: Any) -> Any:
    flat = x.reshape(*x.shape[:2], prod(x.shape[2:]))
    found = xp.take_along_axis(flat, places.reshape(places.shape[0], 1, prod(places.shape[1:])), axis=2)
    return found.reshape(*x.shape[:2], *places.shape[1:])


PICK_PIXELS = operator(
    "pick_pixels",
    _pick_rule,
    _pick_kernel,
    lambda grad, places, x_shape: (PUT_PIXELS(grad, places, tuple(x_shape[2:])), None),
    moves=True,
    samples=lambda: [
        case("nn.functional.grid_sample", T(2, 3, 4, 5), T(2, 3, 4, 2, low=-0.9, high=0.9), align_corners=False)
    ],
)


def _put_rule(grad: Aval, places: Aval, *, size: Ints) -> Aval:
    return grad.of((*grad.shape[:2], *size))


def _put_numpy(np: Any, grad: Any, places: Any, *, size: Ints) -> Any:
    batch, channels = grad.shape[:2]
    count = prod(size)
    starts = np.arange(batch * channels).reshape(batch, channels, 1) * count
    at = (starts + places.reshape(batch, 1, -1)).ravel() if grad.size else np.zeros(0, np.int64)
    total = np.bincount(at, grad.ravel(), batch * channels * count)
    return total.astype(grad.dtype).reshape(batch, channels, *size)


def _put_lax(jnp: Any, grad: Any, places: Any, *, size: Ints) -> Any:
    batch, channels = grad.shape[:2]
    flat = jnp.moveaxis(grad.reshape(batch, channels, -1), 1, 2)
    total = jnp.zeros((batch, prod(size), channels), grad.dtype)
    total = total.at[jnp.arange(batch)[:, None], places.reshape(batch, -1)].add(flat)
    return jnp.moveaxis(total, 2, 1).reshape(batch, channels, *size)


PUT_PIXELS = operator(
    "put_pixels",
    _put_rule,
    None,
    lambda grad, places: (PICK_PIXELS(grad, places), None),
    numpy=_put_numpy,
    lax=_put_lax,
    samples=lambda: [
        case("nn.functional.grid_sample", T(2, 3, 4, 5), T(2, 3, 4, 2, low=-0.9, high=0.9), align_corners=True)
    ],
)

# ---------------------------------------------------------------- grid_sample


@public(into="nn.functional")
def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Samples images at the places that ``grid`` gives, x first, from -1 (first) to 1 (last).

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, H', W', 2) or (N, D', H', W', 3).
        mode: ``"bilinear"`` (trilinear in three dimensions), ``"nearest"`` or ``"bicubic"`` (two dimensions).
        padding_mode: what is outside: ``"zeros"``, ``"border"`` or ``"reflection"``.
        align_corners: whether -1 and 1 are the centres of the corner pixels rather than the images' edges.

    Raises:
        ValueError: for other modes.
        RuntimeError: if shapes or types do not fit.

    Example:
        >>> import flambeau as torch
        >>> image = torch.tensor([[[[0., 10.], [20., 30.]]]])
        >>> grid = torch.tensor([[[[-1., -1.], [0., 0.], [1., -1.]]]])
        >>> torch.nn.functional.grid_sample(image, grid, align_corners=True)
        tensor([[[[ 0., 15., 10.]]]])
    """
    if mode not in GRID_SAMPLE_INTERPOLATION_MODES:
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in GRID_SAMPLE_PADDING_MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', "
            f"but got: '{padding_mode}'"
        )
    if align_corners is None:
        warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
        )
        align_corners = False
    _check_grid(input, grid, mode)
    size = tuple(input.shape[2:])
    axes = len(size)
    # The grid names the last axis first.
    places = [_unnormalised(grid.select(-1, axes - 1 - a), n, align_corners) for a, n in enumerate(size)]
    if mode == "bicubic":
        return _sample(input, places, size, padding_mode, align_corners, _cubic_taps, before=False)
    taps = _nearest_taps if mode == "nearest" else _linear_taps
    return _sample(input, places, size, padding_mode, align_corners, taps, before=True)


GRID_SAMPLE_INTERPOLATION_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
GRID_SAMPLE_PADDING_MODES = {"zeros": 0, "border": 1, "reflection": 2}


def _by_number(input: Tensor, grid: Tensor, mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    if not 0 <= mode < 3 or not 0 <= padding_mode < 3:
        raise RuntimeError(
            f"grid_sampler(): modes are numbers from 0 to 2, got interpolation_mode={mode} and "
            f"padding_mode={padding_mode}"
        )
    word, beyond = [*GRID_SAMPLE_INTERPOLATION_MODES][mode], [*GRID_SAMPLE_PADDING_MODES][padding_mode]
    return grid_sample(input, grid, word, beyond, bool(align_corners))


@public()
def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """:func:`grid_sample` with its modes as numbers.

    Example:
        >>> import flambeau as torch
        >>> image, grid = torch.tensor([[[[0., 10.], [20., 30.]]]]), torch.tensor([[[[0., 0.]]]])
        >>> torch.grid_sampler(image, grid, 0, 0, True)
        tensor([[[[15.]]]])
    """
    return _by_number(input, grid, interpolation_mode, padding_mode, align_corners)


@public()
def grid_sampler_2d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """:func:`grid_sample` of images with its modes as numbers.

    Example:
        >>> import flambeau as torch
        >>> image, grid = torch.tensor([[[[0., 10.], [20., 30.]]]]), torch.tensor([[[[0., 1.]]]])
        >>> torch.grid_sampler_2d(image, grid, 0, 0, True)
        tensor([[[[25.]]]])
    """
    return _by_number(input, grid, interpolation_mode, padding_mode, align_corners)


@public()
def grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """:func:`grid_sample` of volumes with its modes as numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.grid_sampler_3d(torch.arange(8.).view(1, 1, 2, 2, 2), torch.zeros(1, 1, 1, 1, 3), 0, 0, True)
        tensor([[[[[3.5000]]]]])
    """
    return _by_number(input, grid, interpolation_mode, padding_mode, align_corners)


def _check_grid(input: Tensor, grid: Tensor, mode: str) -> None:
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != input.ndim - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.ndim - 2} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    if 0 in input.shape[2:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
            f"{list(input.shape)} with dimension {2 + list(input.shape[2:]).index(0)} being empty"
        )
    if input.ndim not in (4, 5) or input.ndim != grid.ndim:
        raise RuntimeError(
            f"grid_sampler(): expected {4 if input.ndim == 4 else 5}D input and grid with same number of dimensions, "
            f"but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if not input.dtype.is_floating_point:
        kernel = "grid_sampler_2d_cpu_kernel_impl" if input.ndim == 4 else "grid_sampler3d_cpu"
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{input.dtype.title}' (grid_sample: "
            f"the input is {input.dtype}; convert it and the grid with .float())"
        )
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            f"expected scalar type {input.dtype.title} but found {grid.dtype.title} (grid_sample: the input is "
            f"{input.dtype} and the grid {grid.dtype}; convert one with .to())"
        )
    if mode == "bicubic" and input.ndim == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")


def _unnormalised(place: Tensor, n: int, corners: bool) -> Tensor:
    return (place + 1) * ((n - 1) / 2) if corners else ((place + 1) * n - 1) / 2


def _clipped(place: Tensor, n: int) -> Tensor:
    inside = (place > 0) & (place < n - 1)
    return place.where(inside, place.detach().clamp(0, n - 1))


def _reflected(place: Tensor, n: int, corners: bool) -> Tensor:
    low, span = (0.0, float(n - 1)) if corners else (-0.5, float(n))
    if span == 0:
        return place * 0
    distance = (place - low).abs()
    turns = (distance.detach() / span).floor()
    extra = distance - turns * span
    odd = turns.remainder(2) == 1
    return (span - extra).where(odd, extra) + low


def _bounded(place: Tensor, n: int, padding_mode: str, corners: bool) -> Tensor:
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        place = _reflected(place, n, corners)
    return _clipped(place, n)


def _nearest_taps(place: Tensor) -> list[tuple[Tensor, Any]]:
    return [(place.detach().round(), None)]


def _linear_taps(place: Tensor) -> list[tuple[Tensor, Any]]:
    left = place.detach().floor()
    share = place - left
    return [(left, None), (left + 1, share)]


def _cubic_taps(place: Tensor) -> list[tuple[Tensor, Any]]:
    a = -0.75
    left = place.detach().floor()
    t = place - left

    def far(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    def near(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    return [(left - 1, far(t + 1)), (left, near(t)), (left + 1, near(1 - t)), (left + 2, far(2 - t))]


def _sample(
    input: Tensor, places: list[Tensor], size: Ints, padding_mode: str, corners: bool, taps: Any, before: bool
) -> Tensor:
    """The weighted sum over the taps of each axis; padding applies to places (``before``) or to single taps."""
    each = []
    for place, n in zip(places, size, strict=True):
        if before:
            place = _bounded(place, n, padding_mode, corners)
        found = []
        for at, weight in taps(place):
            if not before:
                at = _bounded(at, n, padding_mode, corners)
            inside = (at >= 0) & (at <= n - 1)
            found.append((at.clamp(0, n - 1).round().to(dtypes.int64), weight, inside))
        each.append(found)
    values = []
    for combination in product(*each):
        index = inside = None
        for (at, _, within), n in zip(combination, size, strict=True):
            index = at if index is None else index * n + at
            inside = within if inside is None else inside & within
        assert inside is not None
        part = PICK_PIXELS(input, index)
        values.append(part if padding_mode != "zeros" else part.where(inside.unsqueeze(1), part.new_zeros(())))
    # The last axis varies fastest: it is summed over first.
    for found in reversed(each):
        weights = [None if w is None else w.unsqueeze(1) for _, w, _ in found]
        count = len(found)
        values = [_weighted(values[k : k + count], weights) for k in range(0, len(values), count)]
    return values[0]


def _weighted(values: list[Tensor], weights: list[Any]) -> Tensor:
    if len(values) == 1:
        return values[0]
    if len(values) == 2:
        return values[0] + (values[1] - values[0]) * weights[1]
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total = total + value * weight
    return total


# ---------------------------------------------------------------- affine_grid


@public(into="nn.functional")
def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Places for :func:`grid_sample` from affine maps.

    Args:
        theta: (N, 2, 3), or (N, 3, 4) for three dimensions.
        size: of the result of sampling, (N, C, H, W) or (N, C, D, H, W).
        align_corners: as of :func:`grid_sample`.

    Returns:
        (N, H, W, 2) or (N, D, H, W, 3).

    Example:
        >>> import flambeau as torch
        >>> theta = torch.tensor([[[1., 0., 0.5], [0., 1., 0.]]])
        >>> torch.nn.functional.affine_grid(theta, (1, 1, 2, 2), align_corners=True)[0, 0]
        tensor([[-0.5000, -1.0000],
                [ 1.5000, -1.0000]])
    """
    if align_corners is None:
        warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample for "
            "details.",
        )
        align_corners = False
    places = places_of_maps(theta, size, align_corners)
    if align_corners and min(size[2:]) == 1:
        warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when align_corners=True. This "
            "is not an intended use case of affine_grid. See the documentation of affine_grid for details.",
        )
    return places


def places_of_maps(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """:func:`affine_grid` without its warnings."""
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    size = tuple([int(n) for n in size])
    axes = len(size) - 2
    if axes not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. "
            f"Got size {size}."
        )
    if theta.ndim != 3 or tuple(theta.shape[1:]) != (axes, axes + 1):
        raise ValueError(
            f"Expected a batch of {axes}D affine matrices of shape Nx{axes}x{axes + 1} for size {list(size)}. "
            f"Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {list(size)}")
    lines = []
    for n in size[2:]:
        line = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
        lines.append(line if align_corners else line * ((n - 1) / n))
    columns = np.meshgrid(*lines, indexing="ij")
    base = np.stack([*(c.ravel() for c in reversed(columns)), np.ones(prod(size[2:]))], 1)
    points = from_array(base.astype(theta.dtype.numpy), theta.dtype, theta.device) @ theta.transpose(1, 2)
    return points.reshape(size[0], *size[2:], axes)
