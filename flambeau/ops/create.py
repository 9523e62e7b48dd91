"""Making tensors: from data, filled, and in ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.graph.node import Aval
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import case
from flambeau.ops.views import sizes_of
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- filled


def _full_rule(value: Aval, *, shape: tuple[int, ...], dtype: dtypes.dtype, device: devices.device) -> Aval:
    return Aval(shape, dtype, device)


def _full_kernel(xp: Any, value: Any, *, shape: tuple[int, ...], dtype: dtypes.dtype, device: Any) -> Any:
    from flambeau.engine.kernels import converted

    return xp.broadcast_to(converted(value, dtype.numpy, xp), shape)


FULL = operator(
    "full",
    _full_rule,
    _full_kernel,
    lambda grad: grad.sum(),
    moves=True,
    samples=lambda: [case("full", (2, 3), 1.5), case("zeros", 2, 3), case("ones", (2,))],
)


def filled(shape: tuple[int, ...], value: Any, dtype: dtypes.dtype, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of one value."""
    for n in shape:
        if n < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(shape)}"
            )
    result = FULL(value, shape, dtype, devices.resolve(device))
    return result.requires_grad_() if requires_grad else result


def _shape(size: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    return sizes_of(size or (kwargs.pop("size"),))


def _float_filled(name: str, value: float) -> Any:
    def make(
        *size: Any,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        **named: Any,
    ) -> Tensor:
        return filled(_shape(size, named), value, dtype or dtypes.get_default_dtype(), device, requires_grad)

    make.__name__ = name
    make.__doc__ = f"A tensor of {name} in the given shape, float32 unless ``dtype`` says otherwise."
    return public(name)(make)


zeros = _float_filled("zeros", 0)
ones = _float_filled("ones", 1)
empty = _float_filled("empty", 0)
empty.__doc__ = "A tensor in the given shape whose values do not matter (here: zeros)."


@public()
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value; its dtype is the value's unless given."""
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    return filled(sizes_of((size,)), fill_value, dtype or dtypes.of_number(fill_value), device, requires_grad)


# ---------------------------------------------------------------- from data


def array_of(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    """A fresh array of nested sequences, numbers, arrays or tensors, with PyTorch's choice of type."""
    if isinstance(data, Tensor):
        array = data._array()
    elif isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        dtypes.from_numpy(array.dtype)
    elif isinstance(data, bool | int | float | complex):
        return np.asarray(data, dtype=(dtype or dtypes.of_number(data)).numpy)
    else:
        array = _array_of_nested(data, dtype)
    target = array.dtype if dtype is None else dtype.numpy
    if array.dtype.kind == "c" and target.kind not in "cb":
        array = array.real
    return np.array(array, dtype=target, order="C")


def _array_of_nested(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    if not isinstance(data, list | tuple) and hasattr(data, "__array__"):
        return np.asarray(data)
    plain = _plain(data)
    try:
        array = np.asarray(plain)
    except ValueError as error:
        raise ValueError(f"expected sequence of equal length at every level: {error}") from None
    if array.size == 0 and dtype is None:
        return array.astype(dtypes.get_default_dtype().numpy)
    if array.dtype.kind in "fc" and dtype is None and not _holds_arrays(data):
        wide = dtypes.default_complex() if array.dtype.kind == "c" else dtypes.get_default_dtype()
        return array.astype(wide.numpy)
    if array.dtype.kind in "OUS":
        kind = type(_first(data)).__name__
        if dtype is None or array.dtype.kind != "O":
            raise TypeError(f"new(): invalid data type '{kind}'") if kind == "str" else RuntimeError(f"Could not infer dtype of {kind}")
    return array


def _plain(data: Any) -> Any:
    if isinstance(data, Tensor):
        return data._array()
    if isinstance(data, list | tuple):
        return [_plain(x) for x in data] if any(isinstance(x, list | tuple | Tensor) for x in data) else list(data)
    return data


def _first(data: Any) -> Any:
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return data


def _holds_arrays(data: Any) -> bool:
    return isinstance(_first(data), np.ndarray | np.generic | Tensor)


@public()
def tensor(
    data: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new leaf with a copy of the data.

    Args:
        data: a number, nested sequences, an array or a tensor.
        dtype: inferred if None: bool, int64, the default floating type, or the array's own.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    result = from_array(array_of(data, dtype), None, devices.cpu)
    if device is not None:
        result = result.to(device)
    return result.requires_grad_() if requires_grad else result


@public()
def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """The data as a tensor; a tensor that is as asked for already is returned itself."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype) if dtype or device else data
    return tensor(data, dtype=dtype, device=device)


@public()
def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor with a copy of an array's values."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    return from_array(np.array(array, dtype=dtypes.from_numpy(array.dtype).numpy, order="C"))


# ---------------------------------------------------------------- ranges


@public()
def arange(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``start``, ``start + step`` and so on, up to but without ``end``.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(3)
        tensor([0, 1, 2])
    """
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(x, int) for x in (start, end, step))
    dtype = dtype or (dtypes.int64 if integral else dtypes.get_default_dtype())
    count = -((start - end) // step) if integral else int(np.ceil((end - start) / step))
    wide = np.int64 if dtype.category < dtypes.FLOATING and integral else np.float64
    values = (start + np.arange(count, dtype=wide) * step).astype(dtype.numpy)
    result = from_array(values, dtype, devices.cpu)
    if device is not None:
        result = result.to(device)
    return result.requires_grad_() if requires_grad else result




# ---------------------------------------------------------------- like another tensor


def _like(name: str, value: float) -> Any:
    def like(
        input: Tensor,
        *,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        aval = input._node.aval
        return filled(aval.shape, value, dtype or aval.dtype, device or aval.device, requires_grad)

    like.__name__ = f"{name}_like"
    like.__doc__ = f"A tensor of {name} with the shape, type and device of ``input``."
    public(like.__name__)(like)

    def new(
        input: Tensor,
        *size: Any,
        dtype: dtypes.dtype | None = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **named: Any,
    ) -> Tensor:
        aval = input._node.aval
        return filled(_shape(size, named), value, dtype or aval.dtype, device or aval.device, requires_grad)

    new.__name__ = f"new_{name}"
    new.__doc__ = f"A tensor of {name} in the given shape, with the type and device of this one."
    public(new.__name__, into="", method=True)(new)
    return like


zeros_like = _like("zeros", 0)
ones_like = _like("ones", 1)
empty_like = _like("empty", 0)


@public()
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of one value with the shape, type and device of ``input``."""
    aval = input._node.aval
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    return filled(aval.shape, value, dtype or aval.dtype, device or aval.device, requires_grad)


@public(into="", method=True)
def new_full(
    input: Tensor, size: Any, fill_value: Any, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of one value in the given shape, with the type and device of this one."""
    aval = input._node.aval
    return filled(sizes_of((size,)), fill_value, dtype or aval.dtype, device or aval.device, requires_grad)


@public(into="", method=True)
def new_tensor(input: Tensor, data: Any, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new leaf with a copy of the data, of the type of this tensor unless given."""
    return tensor(data, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
