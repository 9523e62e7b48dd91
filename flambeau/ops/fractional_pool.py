"""Fractional maximum pooling (Graham, arXiv:1412.6071): windows at pseudo-random distances."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from flambeau.dtypes import int64
from flambeau.graph.node import Aval
from flambeau.ops.conv_kernels import Ints
from flambeau.ops.max_pool import POOL_SCATTER
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor


def _fractional_rule(x: Aval, samples: Aval, *, kernel: Ints, out: Ints) -> tuple[Aval, Aval]:
    axes = len(kernel)
    lead = x.shape[: len(x.shape) - axes]
    batch = lead[0] if len(lead) == 2 else 1
    name = f"fractional_max_pool{axes}d()"
    if x.dtype is not samples.dtype:
        raise RuntimeError(
            f"Expect _random_samples to have the same dtype as input ({name}: {samples.dtype} and {x.dtype})"
        )
    if len(samples.shape) != 3 or samples.shape[0] < batch or samples.shape[1:] != (lead[-1], axes):
        raise RuntimeError(
            f"Expect _random_samples to have shape {[batch, lead[-1], axes]}, but got {list(samples.shape)} ({name})"
        )
    for word, n, k, o in zip("THW"[-axes:], x.shape[-axes:], kernel, out, strict=True):
        if o + k - 1 > n:
            raise RuntimeError(f"{name}: pool {word} {k} too large relative to input {word} {n}")
    values = x.of((*lead, *out))
    return values, values.of(dtype=int64)


def _fractional_kernel(xp: Any, x: Any, samples: Any, *, kernel: Ints, out: Ints) -> Any:
    axes = len(kernel)
    size = x.shape[x.ndim - axes :]
    planes = prod(x.shape[: x.ndim - axes])
    flat = x.reshape(planes, prod(size))
    # There may be draws for more images than there are.
    draws = samples.reshape(prod(samples.shape[:2]), axes)[:planes]
    # In two dimensions the first number belongs to the width.
    order = (1, 0) if axes == 2 else (0, 1, 2)
    starts = []
    for a in range(axes):
        draw = draws[:, order[a]][:, None]
        i = xp.arange(out[a], dtype=samples.dtype)
        alpha = xp.asarray((size[a] - kernel[a]) / (out[a] - 1) if out[a] > 1 else 0.0, dtype=samples.dtype)
        begin = ((i + draw) * alpha).astype(xp.int64) - (draw * alpha).astype(xp.int64)
        begin = xp.where(xp.arange(out[a]) == out[a] - 1, size[a] - kernel[a], begin)
        starts.append(begin.reshape(planes, *[out[a] if b == a else 1 for b in range(axes)]))
    best = place_of_best = None
    for place in product(*map(range, kernel)):
        at = xp.zeros((planes, *(1,) * axes), xp.int64)
        for start, k, n in zip(starts, place, size, strict=True):
            at = at * n + start + k
        at = xp.broadcast_to(at, (planes, *out)).reshape(planes, prod(out))
        here = xp.take_along_axis(flat, at, axis=1)
        if best is None:
            best, place_of_best = here, at
            continue
        better = (here > best) | (here != here)
        best = xp.where(better, here, best)
        place_of_best = xp.where(better, at, place_of_best)
    assert best is not None and place_of_best is not None
    shape = (*x.shape[: x.ndim - axes], *out)
    return best.reshape(shape), place_of_best.reshape(shape)


FRACTIONAL_MAX_POOL = operator(
    "fractional_max_pool",
    _fractional_rule,
    _fractional_kernel,
    lambda grads, outs, x_shape, kernel: (
        POOL_SCATTER(grads[0], outs[1], tuple(x_shape[len(x_shape) - len(kernel) :])),
        None,
    ),
    samples=lambda: [
        case("nn.functional.fractional_max_pool2d", T(1, 2, 7, 8), 2, output_size=(4, 3), compare=False),
        case("nn.functional.fractional_max_pool3d", T(1, 2, 5, 6, 7), 2, output_size=(2, 4, 3), compare=False),
    ],
    grad_name=lambda call: f"FractionalMaxPool{len(call.params['kernel'])}DBackward0",
)


def _define(axes: int) -> None:
    name = f"fractional_max_pool{axes}d"

    def with_indices(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = True,
        _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
        if axes == 2 and output_size is None and isinstance(output_ratio, int | float):
            raise TypeError(
                f"object of type '{type(output_ratio).__name__}' has no len() ({name}: output_ratio has one ratio for "
                f"each axis; write output_ratio=({output_ratio}, {output_ratio}))"
            )
        each = [kernel_size, output_size if output_size is not None else output_ratio]
        kernel, wanted = ((v,) * axes if isinstance(v, int | float) else tuple(v) for v in each)
        if len(kernel) != axes:
            raise RuntimeError(f"{name}: kernel_size must either be a single int, or a tuple of {axes} ints")
        if len(wanted) != axes:
            kind = "output_size" if output_size is not None else "output_ratio"
            raise ValueError(f"{name} requires {kind} to either be a single Int or tuple of Ints.")
        if input.ndim not in (axes + 1, axes + 2):
            raise RuntimeError(f"{name}(): Expected {axes + 1}D or {axes + 2}D tensor, but got: {list(input.shape)}")
        size = input.shape[input.ndim - axes :]
        if output_size is None:
            wanted = tuple([int(n * ratio) for n, ratio in zip(size, wanted, strict=True)])
        if _random_samples is None:
            from flambeau.ops.operator import NAMESPACES

            batch = 1 if input.ndim == axes + 1 else input.shape[0]
            rand = NAMESPACES["torch"]["rand"]
            _random_samples = rand(
                batch, input.shape[input.ndim - axes - 1], axes, dtype=input.dtype, device=input.device
            )
        return FRACTIONAL_MAX_POOL(input, _random_samples, kernel, wanted)

    def values(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        found = with_indices(input, kernel_size, output_size, output_ratio, True, _random_samples)
        return found if return_indices else found[0]

    about = f"""Maxima of windows at pseudo-random distances (Graham, arXiv:1412.6071){{also}}.

    Args:
        input: an image with {axes} spatial axes, with or without a batch.
        kernel_size: of the windows.
        output_size, output_ratio: how many windows, or what part of the input's size; one must be given.
        return_indices: also give where in the image (flattened) each maximum is.

    Raises:
        TypeError: if an image of two dimensions is given a single ratio.
        ValueError: if neither size nor ratio is given, or not one for each axis.
        RuntimeError: if the kernel is larger than what the windows leave room for.

    Example:
        >>> import flambeau as torch
        >>> x = torch.arange(8.0 ** {axes}).reshape(1, 1, {", ".join("8" * axes)})
        """
    values.__name__ = name
    values.__doc__ = (
        about.format(also="")
        + f""">>> torch.nn.functional.{name}(x, kernel_size=2, output_size=3).shape
        torch.Size([1, 1, {", ".join("3" * axes)}])
    """
    )
    with_indices.__name__ = f"{name}_with_indices"
    with_indices.__doc__ = (
        about.format(also=", and where they are")
        + f""">>> largest, places = torch.nn.functional.{name}_with_indices(x, kernel_size=2, output_size=3)
        >>> bool((largest == places).all())
        True
    """
    )
    public(into="nn.functional")(values)
    public(into="nn.functional")(with_indices)


for _count in (2, 3):
    _define(_count)
