"""Tensors of evenly spaced values, and the identity matrix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.graph.node import Aval
from flambeau.ops.operator import INTEGER_RESULT, operator, public
from flambeau.ops.pointwise import not_implemented
from flambeau.ops.samples import case
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.user_warnings import warn


def _plain(*values: Any) -> list[Any]:
    for v in values:
        if not isinstance(v, Tensor | int | float | complex | np.generic):
            raise TypeError(f"a bound or step must be Number, not {type(v).__name__}")
    return [v.item() if isinstance(v, Tensor) else v for v in values]


def _check_type(name: str, dtype: dtypes.dtype, *refused: int) -> None:
    if dtype.category in refused:
        raise not_implemented(name, dtype)


def _finished(array: np.ndarray, dtype: dtypes.dtype, device: Any, requires_grad: bool) -> Tensor:
    result = from_array(array.astype(dtype.numpy, copy=False), dtype, devices.cpu)
    result = result.to(devices.resolve(device))
    return result.requires_grad_() if requires_grad else result


# ---------------------------------------------------------------- arange


def _arange_rule(*, start: Any, step: Any, count: int, dtype: dtypes.dtype, device: devices.device) -> Aval:
    return Aval((count,), dtype, device)


def _arange_kernel(xp: Any, *, start: Any, step: Any, count: int, dtype: dtypes.dtype, device: Any) -> Any:
    wide = np.int64 if isinstance(start, int) and isinstance(step, int) else np.float64
    return xp.asarray((start + np.arange(count, dtype=wide) * step).astype(dtype.numpy))


ARANGE = operator(
    "arange",
    _arange_rule,
    _arange_kernel,
    INTEGER_RESULT,
    moves=True,
    samples=lambda: [case("arange", 5), case("arange", 1, 2, 0.25), case("arange", 5, 0, -2)],
)


@public()
def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``start``, ``start + step`` and so on, up to but without ``end``.

    Args:
        dtype: int64 where all three are integers, else the default floating type.

    Raises:
        RuntimeError: if ``step`` is zero or leads away from ``end``.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(3)
        tensor([0, 1, 2])
    """
    if end is None:
        start, end = 0, start
    start, end, step = _plain(start, end, step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(x, int | np.integer) for x in (start, end, step))
    if out is not None:
        dtype = out.dtype
    dtype = dtype or (dtypes.int64 if integral else dtypes.get_default_dtype())
    _check_type("arange", dtype, dtypes.BOOL, dtypes.COMPLEX)
    if integral:
        start, end, step = int(start), int(end), int(step)
    elif dtype.category < dtypes.FLOATING:
        start, end, step = math.trunc(start), math.trunc(end), math.trunc(step)
        if not step:
            raise ValueError("step must be nonzero")
        integral = True
    count = -((start - end) // step) if integral else math.ceil((end - start) / step)
    if device is None and isinstance(out, Tensor):
        device = out.device
    result = ARANGE(start, step, max(count, 0), dtype, devices.resolve(device))
    if out is not None:
        from flambeau.tensor.out import write_out

        return write_out("arange", result, out, "made")
    return result.requires_grad_() if requires_grad else result


@public(out=True)
def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``start``, ``start + step`` and so on, up to and with ``end``.  Deprecated: use :func:`arange`.

    Raises:
        RuntimeError: if ``step`` is zero or leads away from ``end``.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.range(1, 2, 0.5))
        tensor([1.0000, 1.5000, 2.0000])
    """
    if end is None:
        raise TypeError("range() missing 1 required positional argument: 'end'")
    start, end, step = _plain(start, end, step)
    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
    )
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    dtype = dtype or dtypes.get_default_dtype()
    _check_type("range", dtype, dtypes.BOOL, dtypes.COMPLEX)
    count = math.floor((end - start) / step) + 1
    return _finished(start + np.arange(count) * step, dtype, device, requires_grad)


# ---------------------------------------------------------------- linspace, logspace


def spaced(start: Any, end: Any, steps: int, dtype: dtypes.dtype) -> np.ndarray:
    """``steps`` values from ``start`` to ``end``, counted from the nearer end, as PyTorch does."""
    if not hasattr(steps, "__index__"):
        raise TypeError(
            f"linspace() received an invalid combination of arguments - got ({type(start).__name__}, "
            f"{type(end).__name__}, "
            f"{type(steps).__name__})"
        )
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    wide = np.complex128 if dtype.is_complex else np.float64
    if dtype.category == dtypes.INTEGER:
        start, end = int(start), int(end)
    places = np.arange(steps)
    if steps == 1:
        return np.asarray([start], wide)
    kind = dtype.numpy if dtype in (dtypes.float32, dtypes.complex64) else wide
    with np.errstate(all="ignore"):
        first, last = np.asarray(start).astype(kind), np.asarray(end).astype(kind)
        step = (last - first) / kind_of(kind)(max(steps - 1, 1))
        if dtype.category == dtypes.INTEGER:
            step = (end - start) / max(steps - 1, 1)
        # Half from each end; a fused multiply-add is what the wide product stands for.
        wide_step, wide_first, wide_last = (np.asarray(v).astype(wide) for v in (step, first, last))
        return np.where(
            places < steps // 2, wide_first + wide_step * places, wide_last - wide_step * (steps - 1 - places)
        )


def kind_of(kind: Any) -> Any:
    """The scalar type of a NumPy dtype."""
    return np.dtype(kind).type


def _spaced_type(start: Any, end: Any, dtype: dtypes.dtype | None) -> dtypes.dtype:
    if dtype is not None:
        if not dtype.is_complex and (isinstance(start, complex) or isinstance(end, complex)):
            raise RuntimeError(
                "torch.linspace(): inferred dtype ComplexFloat can't be safely cast to passed dtype " + dtype.title
            )
        return dtype
    if isinstance(start, complex) or isinstance(end, complex):
        return dtypes.default_complex()
    return dtypes.get_default_dtype()


def _scalar_ends(name: str, start: Any, end: Any) -> tuple[Any, Any]:
    for what, value in (("start", start), ("end", end)):
        if isinstance(value, Tensor) and value.ndim:
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {what} with {value.ndim} "
                "dimension(s)."
            )
    first, last = _plain(start, end)
    return first, last


@public(out="made")
def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` values, evenly spaced from ``start`` to ``end``, both included.

    Example:
        >>> import flambeau as torch
        >>> torch.linspace(0, 1, 3)
        tensor([0.0000, 0.5000, 1.0000])
    """
    start, end = _scalar_ends("linspace", start, end)
    dtype = _spaced_type(start, end, dtype)
    _check_type("linspace", dtype, dtypes.BOOL)
    values = spaced(start, end, steps, dtype)
    if dtype.category == dtypes.INTEGER:
        values = np.trunc(values)
    return _finished(values, dtype, device, requires_grad)


@public(out="made")
def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the power of ``steps`` values evenly spaced from ``start`` to ``end``, both included.

    Example:
        >>> import flambeau as torch
        >>> torch.logspace(0, 3, steps=4)
        tensor([   1.,   10.,  100., 1000.])
        >>> torch.logspace(0, 3, steps=4, base=2)
        tensor([1., 2., 4., 8.])
    """
    start, end = _scalar_ends("logspace", start, end)
    dtype = _spaced_type(start, end, dtype)
    _check_type("logspace", dtype, dtypes.BOOL)
    with np.errstate(all="ignore"):
        if dtype.category == dtypes.INTEGER:
            values = np.trunc(np.power(np.float64(base), spaced(int(start), int(end), steps, dtypes.float64)))
        else:
            values = np.power(
                np.complex128(base) if dtype.is_complex else np.float64(base), spaced(start, end, steps, dtype)
            )
        return _finished(values, dtype, device, requires_grad)


# ---------------------------------------------------------------- eye


def _eye_rule(*, n: int, m: int, dtype: dtypes.dtype, device: devices.device) -> Aval:
    return Aval((n, m), dtype, device)


def _eye_kernel(xp: Any, *, n: int, m: int, dtype: dtypes.dtype, device: Any) -> Any:
    return xp.eye(n, m, dtype=dtype.numpy)


EYE = operator(
    "eye", _eye_rule, _eye_kernel, INTEGER_RESULT, moves=True, samples=lambda: [case("eye", 3), case("eye", 2, 4)]
)


@public(out="made")
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A matrix with ones on the diagonal and zeros elsewhere.

    Raises:
        RuntimeError: if a size is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.eye(2, 3)
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    m = n if m is None else m
    for what, size in (("n", n), ("m", m)):
        if size < 0:
            raise RuntimeError(f"{what} must be greater or equal to 0, got {size}")
    result = EYE(n, m, dtype or dtypes.get_default_dtype(), devices.resolve(device))
    return result.requires_grad_() if requires_grad else result
