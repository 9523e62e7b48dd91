"""Tensors from data: numbers, nested sequences, arrays, buffers and other tensors."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.ops.operator import public
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.user_warnings import warn

_PYTHON_TYPES = (np.dtype(np.float64), np.dtype(np.complex128), np.dtype(np.int64), np.dtype(np.bool_))


def array_of(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    """A fresh array of nested sequences, numbers, arrays or tensors, with PyTorch's choice of type.

    Raises:
        TypeError, ValueError, RuntimeError: for what is no data, as PyTorch raises them.
    """
    if isinstance(data, Tensor):
        array = data._array()
    elif isinstance(data, np.ndarray | np.generic):
        array = np.asarray(data)
        if array.dtype.kind in "USOMmV" and array.dtype not in dtypes._BY_NUMPY:
            raise TypeError(
                f"can't convert np.ndarray of type {array.dtype.type.__module__}.{array.dtype.type.__name__}. The only "
                "supported types are: float64, float32, float16, complex64, complex128, int64, int32, int16, int8, "
                "uint64, "
                "uint32, uint16, uint8, and bool."
            )
        dtypes.from_numpy(array.dtype)
    elif isinstance(data, bool | int | float | complex):
        return _number(data, dtype)
    else:
        array = _array_of_nested(data, dtype)
    return _converted(array, dtype)


def _number(value: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise ValueError("Overflow when unpacking long long")
    if dtype is None:
        if isinstance(value, int) and value >= 1 << 63:
            raise ValueError("Overflow when unpacking long long")
        dtype = dtypes.of_number(value)
    if dtype.category == dtypes.INTEGER and not isinstance(value, complex):
        info = np.iinfo(dtype.numpy)
        if value != value or not info.min <= int(value) <= info.max:
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        value = int(value)
    if isinstance(value, complex) and not dtype.is_complex:
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return np.asarray(value, dtype=dtype.numpy)


def _converted(array: np.ndarray, dtype: dtypes.dtype | None) -> np.ndarray:
    """A copy in row-major order and, if one is given, of another type."""
    target = array.dtype.newbyteorder("=") if dtype is None else dtype.numpy
    if array.dtype.kind == "c" and target.kind not in "cb":
        array = array.real
    with np.errstate(all="ignore"):
        return np.array(array, dtype=target, order="C")


def _array_of_nested(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        if hasattr(data, "__array__"):
            return np.asarray(data)
        if isinstance(data, str):
            raise TypeError("new(): invalid data type 'str'")
        if hasattr(data, "__array_interface__"):
            return np.asarray(data)
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    try:
        array = np.asarray(data) if _is_plain(data) else None
    except (ValueError, OverflowError):
        array = None
    if array is None or array.dtype not in _PYTHON_TYPES:
        array = _checked_array(data, dtype)
    if dtype is not None:
        if array.dtype.kind == "c" and not dtype.is_complex and dtype is not dtypes.bool_:
            raise TypeError("must be real number, not complex")
        return array
    if array.size == 0 and array.dtype == np.float64:
        return array.astype(dtypes.get_default_dtype().numpy)
    if _is_plain(data):
        if array.dtype.kind == "f":
            return array.astype(dtypes.get_default_dtype().numpy)
        if array.dtype.kind == "c":
            return array.astype(dtypes.default_complex().numpy)
    return array


def _is_plain(data: Any) -> bool:
    """Whether the first element of nested sequences is a number of Python's own."""
    while isinstance(data, list | tuple) and data:
        data = data[0]
    return type(data) in (int, float, bool, complex, list, tuple)


def _checked_array(data: Any, dtype: dtypes.dtype | None) -> np.ndarray:
    """Element by element: finds the shape and the type, and what is wrong."""
    shape: list[int] = []
    level = data
    while (isinstance(level, Sequence) and not isinstance(level, str)) or (
        isinstance(level, np.ndarray) and level.ndim
    ):
        shape.append(len(level))
        if not len(level):
            break
        level = level[0]
        if isinstance(level, Tensor) and level.ndim and len(level) > 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
    if isinstance(level, str):
        raise ValueError("too many dimensions 'str'")
    scalars: list[Any] = []
    kinds: list[dtypes.dtype] = []
    _collect(data, shape, 0, scalars, kinds)
    if not scalars:
        return np.zeros(shape, (dtype or dtypes.get_default_dtype()).numpy)
    common = dtype
    if common is None:
        common = kinds[0]
        for kind in kinds[1:]:
            common = dtypes.promote_types(common, kind)
    if common.category < dtypes.FLOATING:
        for value in scalars:
            if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
                raise ValueError("Overflow when unpacking long long")
    wide = np.complex128 if any(isinstance(v, complex) for v in scalars) else None
    if wide is not None and not common.is_complex:
        raise TypeError("must be real number, not complex")
    array = (
        np.asarray(scalars, wide)
        if common.category >= dtypes.FLOATING
        else np.asarray([int(v) for v in scalars], np.int64)
    )
    return array.reshape(shape).astype(common.numpy)


def _collect(data: Any, shape: list[int], depth: int, scalars: list[Any], kinds: list[dtypes.dtype]) -> None:
    if depth == len(shape):
        value, kind = _scalar(data)
        scalars.append(value)
        if kind not in kinds:
            kinds.append(kind)
        return
    if not isinstance(data, Sequence | np.ndarray | Tensor) or isinstance(data, str):
        raise TypeError("not a sequence")
    if len(data) != shape[depth]:
        raise ValueError(f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})")
    for item in data:
        _collect(item, shape, depth + 1, scalars, kinds)


def _scalar(value: Any) -> tuple[Any, dtypes.dtype]:
    if isinstance(value, Tensor):
        return value.item(), value.dtype
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and not value.ndim):
        return value.item(), dtypes.from_numpy(value.dtype)
    if isinstance(value, bool | int | float | complex):
        return value, dtypes.of_number(value)
    if isinstance(value, list | tuple):
        raise TypeError(f"'{type(value).__name__}' object cannot be interpreted as an integer")
    if isinstance(value, str):
        raise TypeError("new(): invalid data type 'str'")
    raise RuntimeError(f"Could not infer dtype of {type(value).__name__}")


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

    Raises:
        ValueError, TypeError, RuntimeError: if the data is ragged, or no numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]])
    """
    if isinstance(data, Tensor):
        warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
        )
    return made(data, dtype, devices.injected(device), requires_grad)


def made(data: Any, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """What :func:`tensor` returns."""
    result = from_array(array_of(data, dtype), dtype, devices.cpu)
    if device is None and isinstance(data, Tensor):
        device = data.device
    result = result.to(devices.resolve(device))
    if not requires_grad:
        return result
    if result.dtype.category < dtypes.FLOATING:
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return result.requires_grad_()


@public()
def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: Any = None) -> Tensor:
    """The data as a tensor; a tensor that is as asked for already is returned itself.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1.0, 2.0])
        >>> torch.as_tensor(x) is x
        True
        >>> torch.as_tensor([1, 2], dtype=torch.float64)
        tensor([1., 2.], dtype=torch.float64)
    """
    device = devices.injected(device)
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype) if dtype or device else data
    return made(data, dtype, device)


@public()
def asarray(
    obj: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The object as a tensor; a tensor that is as asked for already is returned itself, unless ``copy`` is set.

    Raises:
        ValueError: if ``copy`` is False and a copy is needed.

    Example:
        >>> import flambeau as torch
        >>> torch.asarray([1, 2], dtype=torch.float32)
        tensor([1., 2.])
        >>> x = torch.zeros(2)
        >>> torch.asarray(x) is x, torch.asarray(x, copy=True) is x
        (True, False)
    """
    device = devices.injected(device)
    if isinstance(obj, Tensor):
        result = obj.to(device=device, dtype=dtype) if dtype or device else obj
        if copy is False and result is not obj:
            raise ValueError("can't alias tensor with dtype or device other than its own; pass copy=True or None")
        if copy and result is obj:
            result = result.clone()
        if not requires_grad and result._rg:
            result = result.detach()
        return result.requires_grad_() if requires_grad and not result._rg else result
    if isinstance(obj, bytes | bytearray | memoryview):
        obj = np.frombuffer(obj, (dtype or dtypes.get_default_dtype()).numpy)
    return made(obj, dtype, device, requires_grad)


@public()
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor with a copy of an array's values.

    Raises:
        TypeError: for anything but an array, and for types of elements that tensors do not have.

    Example:
        >>> import flambeau as torch
        >>> import numpy
        >>> torch.from_numpy(numpy.array([1.0, 2.0], dtype="float32"))
        tensor([1., 2.])
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return from_array(np.array(ndarray, dtype=dtypes.from_numpy(ndarray.dtype).numpy, order="C"))


@public()
def frombuffer(
    buffer: Any, *, dtype: dtypes.dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector with a copy of the bytes of a buffer, from ``offset`` on.

    Raises:
        ValueError: if there are too few bytes, or no whole number of elements.

    Example:
        >>> import flambeau as torch
        >>> torch.frombuffer(bytearray(b"abc"), dtype=torch.uint8, offset=1)
        tensor([98, 99], dtype=torch.uint8)
    """
    length = memoryview(buffer).nbytes
    size = dtype.itemsize
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if not 0 <= offset < length:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({length} bytes) minus 1"
        )
    if count < 0 and (length - offset) % size:
        raise ValueError(
            f"buffer length ({length - offset} bytes) after offset ({offset} bytes) must be a multiple of element "
            f"size ({size})"
        )
    if count > 0 and offset + count * size > length:
        raise ValueError(
            f"requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than "
            "actual "
            f"buffer length ({length} bytes)"
        )
    result = from_array(np.frombuffer(buffer, dtype.numpy, count, offset).copy(), dtype)
    return result.requires_grad_() if requires_grad else result


@public()
def scalar_tensor(
    s: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor without dimensions, of the default floating type unless ``dtype`` is given.

    Raises:
        TypeError: for anything but a number.

    Example:
        >>> import flambeau as torch
        >>> torch.scalar_tensor(2)
        tensor(2.)
    """
    if not isinstance(s, Tensor | int | float | complex | np.generic):
        raise TypeError(f"scalar_tensor(): argument 's' (position 1) must be Number, not {type(s).__name__}")
    return made(
        s,
        dtype or (dtypes.default_complex() if isinstance(s, complex) else dtypes.get_default_dtype()),
        device,
        requires_grad,
    )


@public()
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor with a copy of the values of any object that speaks DLPack.

    Example:
        >>> import flambeau as torch
        >>> import numpy
        >>> torch.from_dlpack(numpy.array([1, 2]))
        tensor([1, 2])
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if type(ext_tensor).__name__ == "PyCapsule":
        ext_tensor = _Capsule(ext_tensor)
    return made(np.from_dlpack(ext_tensor), None, device)


class _Capsule:
    """Something that gives a DLPack capsule, made of the capsule itself."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack_device(self)  # type: ignore[arg-type]


@public(into="", method="__dlpack__")
def dlpack(input: Tensor, *, stream: Any = None, **options: Any) -> Any:
    """A DLPack capsule of a copy of the values, on the tensor's device.

    Raises:
        BufferError: if the tensor requires a gradient.
    """
    if input.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if input.device.type not in ("cuda", "tpu"):
        return input.numpy().__dlpack__()
    # What a program computes is in memory of its own.
    return input.clone()._value().__dlpack__(stream=stream)


@public()
def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of a copy of the values, for what takes capsules alone.

    Example:
        >>> import flambeau as torch
        >>> torch.from_dlpack(torch.to_dlpack(torch.tensor([1, 2])))
        tensor([1, 2])
    """
    return dlpack(tensor)


@public()
def from_file(
    filename: str,
    shared: bool | None = None,
    size: int = 0,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """A vector with the first elements of a file.

    Args:
        shared: whether what is written to the tensor reaches the file: not supported, as values are never shared.
        size: how many elements.

    Raises:
        RuntimeError: if there is no such file, or it is too small.
        NotImplementedError: for a shared one.

    Example:
        >>> import flambeau as torch
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "numbers")
        ...     with open(path, "wb") as file:
        ...         _ = file.write(bytes([1, 2, 3]))
        ...     torch.from_file(path, size=2, dtype=torch.uint8)
        tensor([1, 2], dtype=torch.uint8)
    """
    if not isinstance(filename, str):
        raise TypeError(f"from_file(): argument 'filename' (position 1) must be str, not {type(filename).__name__}")
    if not isinstance(shared, bool | None):
        raise TypeError(f"from_file(): argument 'shared' (position 2) must be bool, not {type(shared).__name__}")
    if shared:
        raise NotImplementedError("from_file(shared=True) is not supported: a tensor shares no memory with a file")
    if size < 0:
        raise RuntimeError(f"from_file(): size must not be negative, got {size}")
    dtype = dtype or dtypes.get_default_dtype()
    try:
        array = np.fromfile(filename, dtype.numpy, size)
    except OSError as error:
        raise RuntimeError(
            f"unable to open file <{filename}> in read-only mode: {error.strerror} ({error.errno})"
        ) from None
    if array.size < size:
        raise RuntimeError(
            f"file <{filename}> size <{os.path.getsize(filename)}> is smaller than the required mapping size "
            f"<{size * dtype.itemsize}>"
        )
    return made(array, dtype, device, requires_grad)


@public(into="", method="__dlpack_device__")
def dlpack_device(input: Tensor) -> tuple[int, int]:
    """DLPack's type and number of the device: (1, 0) for the CPU, (2, number) for a GPU.

    Example:
        >>> import flambeau as torch
        >>> tuple(map(int, torch.ones(2).__dlpack_device__()))
        (1, 0)
    """
    return (2, input.device.index or 0) if input.device.type == "cuda" else (1, 0)
