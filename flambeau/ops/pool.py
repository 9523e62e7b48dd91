"""Pooling: what becomes of the elements in a window that slides over an image."""

from __future__ import annotations

from math import prod
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops import fractional_pool  # noqa: F401  (registers its operator)
from flambeau.ops.avg_pool import AVG_POOL
from flambeau.ops.max_pool import MAX_POOL, MAX_POOL_INDICES, MAX_UNPOOL
from flambeau.ops.operator import labelled, public
from flambeau.ops.pointwise import with_example
from flambeau.ops.pool_windows import adaptive, axis_values, sliding
from flambeau.ops.taps import Taps, tapped
from flambeau.tensor.tensor import Tensor


def _max_pool(
    name: str,
    axes: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    windows = sliding(name, input, axes, kernel_size, stride, padding, dilation, ceil_mode)
    return MAX_POOL_INDICES(input, windows) if return_indices else MAX_POOL(input, windows)


_MAX_DOC = """The largest element of each window{more}.

Args:
    input: (N, C, {axes}) or (C, {axes}).
    kernel_size, stride, padding, dilation: of the windows, one number or {count}; the stride is the kernel's size if
        None, padding counts as minus infinity.
    ceil_mode: round the number of windows up rather than down.
    return_indices: also give where in the image (flattened) each maximum is.

Raises:
    RuntimeError: if the windows do not fit, or padding exceeds half of them."""
_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
_IMAGES = {
    1: "torch.tensor([[1., 5., 2., 4.]])",
    2: "torch.tensor([[[1., 5., 2., 4.], [3., 0., 8., 6.]]])",
    3: "torch.arange(8.).view(1, 2, 2, 2)",
}
"""What the examples of the docstrings pool, in windows of 2; the largest and smallest elements of these, and where."""
_LARGEST = {1: "5., 4.", 2: "5., 8.", 3: "7."}
_PLACES = {1: "1, 3", 2: "1, 6", 3: "7"}
_SMALLEST = {1: "1., 2.", 2: "0., 2.", 3: "0."}
_WHOLE = {1: ("5.", "1"), 2: ("8.", "6"), 3: ("7.", "7")}
"""The largest element of each whole image, and where it is."""


def _image_of(elements: str, axes: int) -> str:
    """How a tensor of one channel, and of one line of elements, is written."""
    return f"tensor({'[' * (axes + 1)}{elements}{']' * (axes + 1)})"


def _define_max_pool(axes: int) -> None:
    name = f"max_pool{axes}d"

    def max_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        return _max_pool(name, axes, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)

    def max_pool_with_indices(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = True,
    ) -> Any:
        return _max_pool(name, axes, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    def torch_max_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:
        return _max_pool(name, axes, input, kernel_size, stride, padding, dilation, ceil_mode, False)

    def min_pool(
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        found = _max_pool(
            f"min_pool{axes}d", axes, -input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
        )
        return (-found[0], found[1]) if return_indices else -found

    words = {"axes": _AXES[axes], "count": axes}
    largest, places, smallest = (_image_of(shown[axes], axes) for shown in (_LARGEST, _PLACES, _SMALLEST))
    of_maxima = _MAX_DOC.format(more="", **words)
    located = _MAX_DOC.format(more=", and where it is", **words)
    of_minima = _MAX_DOC.format(more=" of the negated input, negated: the smallest", **words)
    operands = f"({_IMAGES[axes]}, 2)"
    max_pool.__name__ = torch_max_pool.__name__ = name
    max_pool.__doc__ = with_example(of_maxima, f"torch.nn.functional.{name}{operands}", largest)
    torch_max_pool.__doc__ = with_example(of_maxima, f"torch.{name}{operands}", largest)
    max_pool_with_indices.__name__ = f"{name}_with_indices"
    max_pool_with_indices.__doc__ = with_example(
        located, f"torch.nn.functional.{name}_with_indices{operands}", f"({largest}, {places})"
    )
    min_pool.__name__ = f"min_pool{axes}d"
    min_pool.__doc__ = with_example(of_minima, f"torch.nn.functional.min_pool{axes}d{operands}", smallest)
    public(into="nn.functional")(max_pool)
    public(into="torch")(torch_max_pool)
    public(into="nn.functional")(max_pool_with_indices)
    if axes == 1:
        public(name="max_pool1d_with_indices", into="torch")(max_pool_with_indices)
    public(into="nn.functional")(min_pool)


for _axes_count in (1, 2, 3):
    _define_max_pool(_axes_count)


@public(into="torch nn.functional")
def avg_pool1d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window; see :func:`avg_pool2d`.  Shape: (N, C, L) or (C, L).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.avg_pool1d(torch.tensor([[1., 3., 5., 9.]]), 2)
        tensor([[2., 7.]])
    """
    windows = sliding("avg_pool1d", input, 1, kernel_size, stride, padding, 1, ceil_mode, count_include_pad)
    return AVG_POOL(input, windows)


@public(into="nn.functional", out="exact")
def avg_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, stride, padding: of the windows; the stride is the kernel's size if None.
        ceil_mode: round the number of windows up rather than down.
        count_include_pad: whether the zeros of the padding count as elements.
        divisor_override: divide by this instead of the number of elements.

    Raises:
        RuntimeError: if the windows do not fit, or padding exceeds half of them.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[2., 4.], [6., 8.]]])
        >>> torch.nn.functional.avg_pool2d(x, 2)
        tensor([[[5.]]])
        >>> torch.nn.functional.avg_pool2d(x, 2, padding=1, count_include_pad=False)
        tensor([[[2., 4.],
                 [6., 8.]]])
    """
    windows = sliding(
        "avg_pool2d", input, 2, kernel_size, stride, padding, 1, ceil_mode, count_include_pad, divisor_override
    )
    return AVG_POOL(input, windows)


@public(into="nn.functional", out="exact")
def avg_pool3d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window; see :func:`avg_pool2d`.  Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.avg_pool3d(torch.arange(8.).view(1, 2, 2, 2), 2)
        tensor([[[[3.5000]]]])
    """
    windows = sliding(
        "avg_pool3d", input, 3, kernel_size, stride, padding, 1, ceil_mode, count_include_pad, divisor_override
    )
    return AVG_POOL(input, windows)


def _adaptive_avg(name: str, axes: int, input: Tensor, output_size: Any) -> Tensor:
    windows = adaptive(name, input, axes, output_size)
    if windows.adaptive:
        result = tapped(input, [Taps("mean", n, out) for n, out in zip(windows.size, windows.out, strict=True)])
    else:
        result = AVG_POOL(input, windows)
    if axes == 1:
        return labelled(result, "SqueezeBackward1")
    return labelled(result, "MeanBackward1" if set(windows.out) == {1} else f"AdaptiveAvgPool{axes}DBackward0")


@public(into="torch nn.functional")
def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows chosen so that ``output_size`` results come out; see :func:`adaptive_avg_pool2d`.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.adaptive_avg_pool1d(torch.tensor([[1., 3., 5.]]), 2)
        tensor([[2., 4.]])
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


@public(into="nn.functional")
def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows chosen so that ``output_size`` results come out.

    Window i along an axis spans ``floor(i * n / out)`` to ``ceil((i + 1) * n / out)``.

    Args:
        input: (N, C, H, W) or (C, H, W).
        output_size: one number or one per axis; None keeps the axis as it is.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.adaptive_avg_pool2d(torch.tensor([[[2., 4.], [6., 8.]]]), (None, 1))
        tensor([[[3.],
                 [7.]]])
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


@public(into="nn.functional")
def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows chosen so that ``output_size`` results come out; see :func:`adaptive_avg_pool2d`.

    Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.adaptive_avg_pool3d(torch.arange(8.).view(1, 2, 2, 2), 1)
        tensor([[[[3.5000]]]])
    """
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_max(name: str, axes: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    windows = adaptive(name, input, axes, output_size)
    found = MAX_POOL_INDICES(input, windows) if return_indices or windows.adaptive else (MAX_POOL(input, windows),)
    labelled(found[0], f"AdaptiveMaxPool{axes}DBackward0" if axes > 1 else "SqueezeBackward1")
    return found if return_indices else found[0]


def _define_adaptive_max(axes: int) -> None:
    name = f"adaptive_max_pool{axes}d"

    def adaptive_max_pool(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
        return _adaptive_max(name, axes, input, output_size, return_indices)

    def with_indices(input: Tensor, output_size: Any, return_indices: bool = True) -> Any:
        return _adaptive_max(name, axes, input, output_size, True)

    adaptive_max_pool.__name__ = name
    with_indices.__name__ = f"{name}_with_indices"
    largest, place = _image_of(_WHOLE[axes][0], axes), _image_of(_WHOLE[axes][1], axes)
    adaptive_max_pool.__doc__ = with_example(
        "Maxima of windows chosen so that ``output_size`` results come out (as for the means).",
        f"torch.nn.functional.{name}({_IMAGES[axes]}, 1)",
        largest,
    )
    with_indices.__doc__ = with_example(
        "Maxima of windows chosen so that ``output_size`` results come out, and where they are.",
        f"torch.nn.functional.{name}_with_indices({_IMAGES[axes]}, 1)",
        f"({largest}, {place})",
    )
    public(into="nn.functional")(adaptive_max_pool)
    public(into="nn.functional")(with_indices)
    if axes == 1:
        public(name=name, into="torch")(with_indices)


for _axes_count in (1, 2, 3):
    _define_adaptive_max(_axes_count)


_UNPOOL_DOC = """Puts the results of a max pooling back where ``indices`` says they were, zeros elsewhere.

Args:
    input, indices: as ``max_pool{axes}d`` gives them.
    kernel_size, stride, padding: of that pooling, from which the size follows unless ``output_size`` gives it.

Raises:
    ValueError: if a pooling of ``output_size`` could not have given ``input``."""
_UNPOOLED = {
    1: "tensor([0., 5., 0., 4.])",
    2: "tensor([0., 5., 0., 0., 0., 0., 8., 0.])",
    3: "tensor([0., 0., 0., 0., 0., 0., 0., 7.])",
}


def _define_unpool(axes: int) -> None:
    name = f"max_unpool{axes}d"

    def max_unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        output_size: Any = None,
    ) -> Tensor:
        kernel = axis_values(name, "kernel_size", kernel_size, axes)
        steps = kernel if stride is None else axis_values(name, "stride", stride, axes)
        pads = axis_values(name, "padding", padding, axes)
        if indices.dtype is not int64:
            raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype.title}")
        # PyTorch unpools a line as an image of width 1.
        extra = [1] if axes == 1 else []
        seen = axes + len(extra)
        if input.ndim not in (axes + 1, axes + 2):
            raise RuntimeError(
                f"Input to max_unpooling{seen}d should be a {seen + 1}d or {seen + 2}d Tensor, but got a tensor with "
                f"{input.ndim + len(extra)} dimensions."
            )
        if input.shape != indices.shape:
            raise RuntimeError(
                f"Expected shape of indices to be same as that of the input tensor ({[*input.shape, *extra]}) but got "
                f"indices tensor with shape: {[*indices.shape, *extra]}"
            )
        have = tuple(input.shape[input.ndim - axes :])
        default = tuple([(n - 1) * s + k - 2 * p for n, s, k, p in zip(have, steps, kernel, pads, strict=True)])
        size = default if output_size is None else output_size[-axes:]
        if output_size is not None and len(output_size) not in (axes, axes + 1, axes + 2):
            raise ValueError(
                f"output_size should be a sequence containing {axes} or {axes + 2} elements, but it has a length of "
                f"'{len(output_size)}'"
            )
        for d, (n, base, s) in enumerate(zip(size, default, steps, strict=True)):
            if not base - s < n < base + s:
                raise ValueError(f'invalid output_size "{size}" (dim {d} must be between {base - s} and {base + s})')
        return MAX_UNPOOL(input, indices, tuple([int(n) for n in size]))

    max_unpool.__name__ = name
    pooled = ", ".join(f"torch.{_image_of(shown[axes], axes)}" for shown in (_LARGEST, _PLACES))
    max_unpool.__doc__ = with_example(
        _UNPOOL_DOC.format(axes=axes), f"torch.nn.functional.{name}({pooled}, 2).flatten()", _UNPOOLED[axes]
    )
    public(into="nn.functional")(max_unpool)


for _axes_count in (1, 2, 3):
    _define_unpool(_axes_count)


def _lp_pool(input: Tensor, norm_type: float, axes: int, kernel_size: Any, stride: Any, ceil_mode: bool) -> Tensor:
    name = f"lp_pool{axes}d"
    kernel = axis_values(name, "kernel_size", kernel_size, axes)
    if norm_type in (float("inf"), -float("inf")):
        sign = 1 if norm_type > 0 else -1
        return sign * MAX_POOL(sign * input.abs(), sliding(name, input, axes, kernel, stride, 0, 1, ceil_mode))
    mean = AVG_POOL(input.pow(norm_type), sliding(name, input, axes, kernel, stride, 0, 1, ceil_mode))
    return (mean.sign() * mean.abs().relu() * prod(kernel)).pow(1.0 / norm_type)


@public(into="nn.functional")
def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """``(sum of x^p)^(1/p)`` over each window, with p the ``norm_type``.

    Shape: (N, C, L) or (C, L).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.lp_pool1d(torch.tensor([[3., 4., 5., 12.]]), 2, 2)
        tensor([[ 5., 13.]])
    """
    return _lp_pool(input, norm_type, 1, kernel_size, stride, ceil_mode)


@public(into="nn.functional")
def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """``(sum of x^p)^(1/p)`` over each window, with p the ``norm_type``.

    Shape: (N, C, H, W) or (C, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.lp_pool2d(torch.tensor([[[3., 4.], [0., 12.]]]), 2, 2)
        tensor([[[13.]]])
    """
    return _lp_pool(input, norm_type, 2, kernel_size, stride, ceil_mode)


@public(into="nn.functional")
def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """``(sum of x^p)^(1/p)`` over each window, with p the ``norm_type``.

    Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.lp_pool3d(torch.full((1, 2, 2, 2), 3.), 1, 2)
        tensor([[[[24.]]]])
    """
    return _lp_pool(input, norm_type, 3, kernel_size, stride, ceil_mode)
