"""Discrete Fourier transforms along one, two or several dimensions.

All of them are three operators: complex to complex, real to the half of a Hermitian result, and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau import devices, dtypes
from flambeau.dtypes import FLOATING, REDUCED
from flambeau.graph.node import Aval
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.pointwise import checked_tensor, conj
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor, from_array

Shape = tuple[int, ...]

# ---------------------------------------------------------------- what the family shares


def _along(xp: Any, name: str, x: Any, dims: Shape) -> Any:
    """Transforms one dimension after the other; ``name`` is ``"fft"`` or ``"ifft"``, neither of them scaled."""
    transform = getattr(xp.fft, name)
    norm = "backward" if name == "fft" else "forward"
    for d in dims:
        x = transform(x, axis=d, norm=norm)
    return x


def _scaled(xp: Any, x: Any, scale: float) -> Any:
    if scale == 1:
        return x
    return x * (x.dtype.type(scale) if xp is numpy else xp.asarray(scale, x.real.dtype))


def _scale(norm: str | None, count: int, forward: bool, function: str) -> float:
    """The factor of a transform of ``count`` elements."""
    if norm is None:
        norm = "backward"
    if norm not in ("forward", "backward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    if norm == "ortho":
        return 1 / math.sqrt(count)
    return 1 / count if (norm == "forward") is forward else 1.0


# ---------------------------------------------------------------- to size: cut or filled with zeros at the end


def _fit_rule(x: Aval, *, dims: Shape, sizes: Shape) -> Aval:
    shape = list(x.shape)
    for d, n in zip(dims, sizes, strict=True):
        shape[d] = n
    return x.of(tuple(shape))


def _fit_kernel(xp: Any, x: Any, *, dims: Shape, sizes: Shape) -> Any:
    cut = [slice(None)] * x.ndim
    room = [(0, 0)] * x.ndim
    for d, n in zip(dims, sizes, strict=True):
        cut[d] = slice(0, n)
        room[d] = (0, max(n - x.shape[d], 0))
    x = x[tuple(cut)]
    return xp.pad(x, room) if any(after for _, after in room) else x


def _fit_derivative(grad: Tensor, x_shape: Shape, dims: Shape) -> Tensor:
    return FIT(grad, dims, tuple([x_shape[d] for d in dims]))


FIT = operator(
    "fft_fit",
    _fit_rule,
    _fit_kernel,
    _fit_derivative,
    moves=True,
    samples=lambda: [case("fft.fft", T(2, 5), 8), case("fft.fftn", T(4, 5), (2, 6))],
)


def _fitted(x: Tensor, dims: Shape, sizes: Shape) -> Tensor:
    shape = x._node.aval.shape
    return x if all(shape[d] == n for d, n in zip(dims, sizes, strict=True)) else FIT(x, dims, sizes)


# ---------------------------------------------------------------- complex to complex


def _c2c_rule(x: Aval, *, dims: Shape, scale: float, forward: bool) -> Aval:
    return x.of()


def _c2c_kernel(xp: Any, x: Any, *, dims: Shape, scale: float, forward: bool) -> Any:
    if x.size == 0:
        return x
    return _scaled(xp, _along(xp, "fft" if forward else "ifft", x, dims), scale)


def _c2c_derivative(grad: Tensor, dims: Shape, scale: float, forward: bool) -> Tensor:
    return C2C(grad, dims, scale, not forward)


C2C = operator(
    "fft_c2c",
    _c2c_rule,
    _c2c_kernel,
    _c2c_derivative,
    grad_name="FftC2CBackward0",
    samples=lambda: [
        case("fft.fft", T(3, 4, dtype="complex64")),
        case("fft.ifft", T(3, 5, dtype="complex64"), dim=0, norm="ortho"),
        case("fft.fftn", T(2, 3, 4, 2, dtype="complex64")),
        case("fft.fft2", T(3, 4), norm="forward"),
    ],
)


# ---------------------------------------------------------------- real to complex


def _r2c_rule(x: Aval, *, dims: Shape, scale: float) -> Aval:
    shape = list(x.shape)
    shape[dims[-1]] = shape[dims[-1]] // 2 + 1
    return x.of(tuple(shape), x.dtype.to_complex())


def _r2c_kernel(xp: Any, x: Any, *, dims: Shape, scale: float) -> Any:
    half = xp.fft.rfft(x, axis=dims[-1])
    return _scaled(xp, _along(xp, "fft", half, dims[:-1]), scale)


def _r2c_derivative(grad: Tensor, x_shape: Shape, dims: Shape, scale: float) -> Tensor:
    last = dims[-1]
    return C2C(_fitted(grad, (last,), (x_shape[last],)), dims, scale, False).real


R2C = operator(
    "fft_r2c",
    _r2c_rule,
    _r2c_kernel,
    _r2c_derivative,
    grad_name="FftR2CBackward0",
    samples=lambda: [
        case("fft.rfft", T(3, 4)),
        case("fft.rfft", T(3, 5), dim=0, norm="ortho"),
        case("fft.rfftn", T(2, 3, 4)),
        case("fft.ihfft", T(5)),
    ],
)


# ---------------------------------------------------------------- complex to real


def _c2r_rule(x: Aval, *, dims: Shape, scale: float, size: int) -> Aval:
    shape = list(x.shape)
    shape[dims[-1]] = size
    return x.of(tuple(shape), x.dtype.to_real())


def _c2r_kernel(xp: Any, x: Any, *, dims: Shape, scale: float, size: int) -> Any:
    x = _along(xp, "ifft", x, dims[:-1])
    return _scaled(xp, xp.fft.irfft(x, size, axis=dims[-1], norm="forward"), scale)


def _c2r_derivative(grad: Tensor, x_shape: Shape, dims: Shape, scale: float, size: int) -> Tensor:
    last = dims[-1]
    half = x_shape[last]
    # What lies strictly between the ends stood for itself and for its mirror image.
    counted = numpy.ones((half,) + (1,) * (len(x_shape) - 1 - last), grad.dtype.numpy)
    counted[1 : 1 + size - half] = 2
    return R2C(grad, dims, scale) * from_array(counted, device=grad.device)


C2R = operator(
    "fft_c2r",
    _c2r_rule,
    _c2r_kernel,
    _c2r_derivative,
    grad_name="FftC2RBackward0",
    samples=lambda: [
        case("fft.irfft", T(3, 4, dtype="complex64")),
        case("fft.irfft", T(3, 4, dtype="complex64"), 7, 1, "ortho"),
        case("fft.irfftn", T(2, 3, 4, dtype="complex64")),
        case("fft.hfft", T(4, dtype="complex64")),
    ],
)


# ---------------------------------------------------------------- reading the arguments


def _operand(function: str, input: Tensor, complex_wanted: bool | None) -> Tensor:
    checked_tensor(function, "input", 1, input)
    if input.dtype in REDUCED:
        raise RuntimeError(f"Unsupported dtype {input.dtype.title}")
    if input.dtype.category < FLOATING:
        input = input.to(dtypes.get_default_dtype())
    if complex_wanted is False and input.dtype.is_complex:
        raise RuntimeError(f"{function} expects a real input tensor, but got {input.dtype.title}")
    return input.to(input.dtype.to_complex()) if complex_wanted else input


def _one(input: Tensor, n: int | None, dim: int, half: bool) -> tuple[int, int]:
    """The dimension and its size; ``half`` of a result whose size is not known counts as n // 2 + 1."""
    if not input.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    at = wrapped_dim(dim, input.ndim)
    size = (2 * (input.shape[at] - 1) if half else input.shape[at]) if n is None else int(n)
    if size < 1:
        raise RuntimeError(f"Invalid number of data points ({size}) specified")
    return at, size


def _many(function: str, input: Tensor, s: Any, dim: Any, half: bool) -> tuple[Shape, Shape]:
    """The dimensions and their sizes."""
    if dim is not None:
        dim = (dim,) if isinstance(dim, int) else tuple(dim)
        for d in dim:
            if not input.ndim:
                raise IndexError(f"Dimension specified as {d} but tensor has no dimensions")
    if s is not None:
        s = (s,) if isinstance(s, int) else tuple(s)
        if dim is not None and len(s) != len(dim):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if len(s) > input.ndim:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {input.ndim} dimensions.")
    if dim is None:
        dim = range(input.ndim - len(s), input.ndim) if s is not None else range(input.ndim)
    dims = tuple([wrapped_dim(d, input.ndim) for d in dim])
    if len(set(dims)) != len(dims):
        raise RuntimeError("FFT dims must be unique")
    sizes = [input.shape[d] for d in dims]
    if half and sizes and (s is None or s[-1] == -1):
        sizes[-1] = 2 * (sizes[-1] - 1)
    for i, n in enumerate(s or ()):
        if n != -1:
            sizes[i] = int(n)
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return dims, tuple(sizes)


def _count(sizes: Sequence[int]) -> int:
    return math.prod(sizes)


# ---------------------------------------------------------------- complex transforms


def _complex_transform(
    function: str, input: Tensor, dims: Shape, sizes: Shape, norm: str | None, forward: bool
) -> Tensor:
    x = _operand(function, input, True)
    result = C2C(_fitted(x, dims, sizes), dims, _scale(norm, _count(sizes), forward, function), forward)
    # PyTorch takes real vectors through the transform of its own, and conjugates for the inverse.
    if input.dtype.is_complex or not function.endswith("fft"):
        return result
    return labelled(result, "FftR2CBackward0" if forward else "ConjBackward0")


@public(into="fft", out=True)
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """``X_k = sum_j x_j exp(-2πi jk / n)`` along a dimension.

    Args:
        n: the size to transform; the input is cut, or filled with zeros, to it.
        dim: along which.
        norm: what is scaled: ``"forward"`` (this one, by 1/n), ``"backward"`` (the inverse; the default) or
            ``"ortho"`` (both, by the root of 1/n).

    Raises:
        RuntimeError: for an ``n`` below one or an unknown ``norm``.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.fft(torch.tensor([1., 0., 0., 0.])).real
        tensor([1., 1., 1., 1.])
    """
    at, size = _one(input, n, dim, False)
    return _complex_transform("fft", input, (at,), (size,), norm, True)


@public(into="fft", out=True)
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fft`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.ifft(torch.fft.fft(torch.tensor([1.0, 2.0, 3.0, 4.0]))).real
        tensor([1., 2., 3., 4.])
    """
    at, size = _one(input, n, dim, False)
    return _complex_transform("ifft", input, (at,), (size,), norm, False)


@public(into="fft", out=True)
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """:func:`fft` along several dimensions; ``s`` gives their sizes (-1: as it is).

    Example:
        >>> import flambeau as torch
        >>> torch.fft.fftn(torch.ones(2, 2)).real
        tensor([[4., 0.],
                [0., 0.]])
        >>> torch.fft.fftn(torch.ones(2, 3), s=(4,), dim=(1,)).shape
        torch.Size([2, 4])
    """
    dims, sizes = _many("fftn", input, s, dim, False)
    return _complex_transform("fftn", input, dims, sizes, norm, True)


@public(into="fft", out=True)
def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of :func:`fftn`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.ifftn(torch.tensor([[4.0, 0.0], [0.0, 0.0]])).real
        tensor([[1., 1.],
                [1., 1.]])
    """
    dims, sizes = _many("ifftn", input, s, dim, False)
    return _complex_transform("ifftn", input, dims, sizes, norm, False)


# ---------------------------------------------------------------- real transforms


def _real_transform(function: str, input: Tensor, dims: Shape, sizes: Shape, scale: float) -> Tensor:
    if not dims:
        raise RuntimeError(f"{function} must transform at least one axis")
    return R2C(_fitted(_operand(function, input, False), dims, sizes), dims, scale)


def _to_real(function: str, input: Tensor, dims: Shape, sizes: Shape, scale: float) -> Tensor:
    if not dims:
        raise RuntimeError(f"{function} must transform at least one axis")
    x = _operand(function, input, True)
    return C2R(_fitted(x, dims, (*sizes[:-1], sizes[-1] // 2 + 1)), dims, scale, sizes[-1])


@public(into="fft", out=True)
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """:func:`fft` of real values; of the result, which is Hermitian, the first n // 2 + 1 elements.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.rfft(torch.tensor([1.0, 0.0, -1.0, 0.0])).real
        tensor([0., 2., 0.])
        >>> torch.fft.rfft(torch.ones(5)).shape
        torch.Size([3])
    """
    _operand("rfft", input, False)
    at, size = _one(input, n, dim, False)
    return _real_transform("rfft", input, (at,), (size,), _scale(norm, size, True, "rfft"))


@public(into="fft", out=True)
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`rfft`: real values of size ``n``, by default twice that of the input less two.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
        >>> torch.fft.irfft(torch.fft.rfft(x)).shape
        torch.Size([4])
        >>> torch.allclose(torch.fft.irfft(torch.fft.rfft(x), n=5), x)
        True
    """
    at, size = _one(input, n, dim, True)
    return _to_real("irfft", input, (at,), (size,), _scale(norm, size, False, "irfft"))


@public(into="fft", out=True)
def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """:func:`fftn` of real values; the last dimension is halved as in :func:`rfft`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.rfftn(torch.ones(2, 4)).real
        tensor([[8., 0., 0.],
                [0., 0., 0.]])
    """
    _operand("rfftn", input, False)
    dims, sizes = _many("rfftn", input, s, dim, False)
    return _real_transform("rfftn", input, dims, sizes, _scale(norm, _count(sizes), True, "rfftn"))


@public(into="fft", out=True)
def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of :func:`rfftn`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.irfftn(torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
        tensor([[1., 1.],
                [1., 1.]])
    """
    dims, sizes = _many("irfftn", input, s, dim, True)
    return _to_real("irfftn", input, dims, sizes, _scale(norm, _count(sizes), False, "irfftn"))


@public(into="fft", out=True)
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """:func:`fft` of the first half of a Hermitian signal: real values.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.hfft(torch.tensor([1.0, 1.0, 1.0]))
        tensor([4., 0., 0., 0.])
    """
    at, size = _one(input, n, dim, True)
    return _to_real("hfft", conj(input), (at,), (size,), _scale(norm, size, True, "hfft"))


@public(into="fft", out="exact")
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of :func:`hfft`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.ihfft(torch.tensor([4.0, 0.0, 0.0, 0.0])).real
        tensor([1., 1., 1.])
    """
    _operand("ihfft", input, False)
    at, size = _one(input, n, dim, False)
    return conj(_real_transform("ihfft", input, (at,), (size,), _scale(norm, size, False, "ihfft")))


@public(into="fft", out=True)
def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """:func:`fftn` of a signal that is Hermitian, of which the last dimension is half: real values.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.hfftn(torch.ones(2, 2))
        tensor([[4., 0.],
                [0., 0.]])
    """
    dims, sizes = _many("hfftn", input, s, dim, True)
    return _to_real("hfftn", conj(input), dims, sizes, _scale(norm, _count(sizes), True, "hfftn"))


@public(into="fft", out=True)
def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of :func:`hfftn`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.ihfftn(torch.tensor([[4.0, 0.0], [0.0, 0.0]])).real
        tensor([[1., 1.],
                [1., 1.]])
    """
    _operand("ihfftn", input, False)
    dims, sizes = _many("ihfftn", input, s, dim, False)
    return conj(_real_transform("ihfftn", input, dims, sizes, _scale(norm, _count(sizes), False, "ihfftn")))


def _of_two(transform: Callable[..., Tensor], shown: str) -> None:
    def two(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None) -> Tensor:
        return transform(input, s, dim, norm)

    two.__name__ = two.__qualname__ = transform.__name__[:-1] + "2"
    two.__doc__ = f"""``{transform.__name__}`` along two dimensions, the last ones by default.

    Args:
        s: the sizes to transform; those of the input if None.
        dim: along which.
        norm: as of :func:`fft`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.{two.__name__}(torch.ones(2, 4)).real.tolist()
        {shown}
    """
    public(two.__name__, into="fft", out=True)(two)


_of_two(fftn, "[[8.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]")
_of_two(ifftn, "[[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]")
_of_two(rfftn, "[[8.0, 0.0, 0.0], [0.0, 0.0, 0.0]]")
_of_two(irfftn, "[[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]")
_of_two(hfftn, "[[12.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]")
_of_two(ihfftn, "[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]")


# ---------------------------------------------------------------- frequencies, and their order


def _frequencies(
    n: int, d: float, out: Any, dtype: dtypes.dtype | None, device: Any, requires_grad: bool, numerators: Any
) -> Tensor:
    dtype = dtype or dtypes.get_default_dtype()
    result = from_array((numerators / (n * d)).astype(dtype.numpy), dtype, devices.cpu)
    result = result.to(devices.resolve(out.device if isinstance(out, Tensor) and device is None else device))
    if out is not None:
        from flambeau.tensor.out import write_out

        return write_out("fftfreq", result, out)
    return result.requires_grad_() if requires_grad else result


@public(into="fft")
def fftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of :func:`fft` of ``n`` samples ``d`` apart: 0, 1, ..., -2, -1, over ``n d``.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.fftfreq(4, d=0.5)
        tensor([ 0.0000,  0.5000, -1.0000, -0.5000])
        >>> torch.fft.fftfreq(5)
        tensor([ 0.0000,  0.2000,  0.4000, -0.4000, -0.2000])
    """
    order = numpy.fft.ifftshift(numpy.arange(-(n // 2), (n + 1) // 2))
    return _frequencies(n, d, out, dtype, device, requires_grad, order)


@public(into="fft")
def rfftfreq(
    n: int,
    d: float = 1.0,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The frequencies of :func:`rfft` of ``n`` samples ``d`` apart: 0, 1, ..., n // 2, over ``n d``.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.rfftfreq(4, d=0.5)
        tensor([0.0000, 0.5000, 1.0000])
    """
    return _frequencies(n, d, out, dtype, device, requires_grad, numpy.arange(n // 2 + 1))


def _shift_rule(x: Aval, *, dims: Shape, shifts: Shape) -> Aval:
    return x.of()


def _shift_kernel(xp: Any, x: Any, *, dims: Shape, shifts: Shape) -> Any:
    return xp.roll(x, shifts, axis=dims)


def _shift_derivative(grad: Tensor, dims: Shape, shifts: Shape) -> Tensor:
    return SHIFT(grad, dims, tuple([-n for n in shifts]))


SHIFT = operator(
    "fft_shift",
    _shift_rule,
    _shift_kernel,
    _shift_derivative,
    moves=True,
    grad_name="RollBackward0",
    samples=lambda: [case("fft.fftshift", T(4, 5)), case("fft.ifftshift", T(5, 3), dim=0)],
)


def _shifted(input: Tensor, dim: Any, forward: bool) -> Tensor:
    chosen = range(input.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    dims = tuple([wrapped_dim(d, input.ndim) for d in chosen])
    sizes = [input.shape[d] for d in dims]
    return SHIFT(input, dims, tuple([n // 2 if forward else (n + 1) // 2 for n in sizes]))


@public(into="fft")
def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Puts the zero frequency into the middle of each dimension of ``dim`` (all if None).

    Example:
        >>> import flambeau as torch
        >>> torch.fft.fftshift(torch.fft.fftfreq(4))
        tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted(input, dim, True)


@public(into="fft")
def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of :func:`fftshift`.

    Example:
        >>> import flambeau as torch
        >>> torch.fft.ifftshift(torch.tensor([-2, -1, 0, 1]))
        tensor([ 0,  1, -2, -1])
    """
    return _shifted(input, dim, False)
