"""Python numbers on their way into tensors: which fit a type, and what is said of those that do not."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from flambeau import dtypes

# What PyTorch's messages call the types.
_NAMES = {
    "uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t", "int32": "int", "int64": "int64_t",
    "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t",
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>", "bool": "bool",
}  # fmt: skip
# How a C++ compiler spells the types, which is what some of PyTorch's messages show.
_SPELLED = {
    "uint8": "unsigned char", "int8": "signed char", "int16": "short int", "int32": "int", "int64": "long int",
    "uint16": "short unsigned int", "uint32": "unsigned int", "uint64": "long unsigned int",
    "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip
_LARGEST = {name: float(ml_dtypes.finfo(name).max) for name in ("float16", "bfloat16", "float32")}
_LARGEST["complex64"] = _LARGEST["float32"]
_REDUCED = (dtypes.float16, dtypes.bfloat16)


def spelled_out(dtype: dtypes.dtype) -> str:
    """A type's name in C++."""
    return _SPELLED.get(dtype.name, dtype.name)


def overflow(dtype: dtypes.dtype) -> RuntimeError:
    """What is raised for a number that a type cannot hold."""
    name = _NAMES.get(dtype.name, "double")
    return RuntimeError(f"value cannot be converted to type {name} without overflow")


def fitting(value: Any, dtype: dtypes.dtype, *, reduced: bool = True) -> Any:
    """A Python number that is to be an element of a type, checked to be one.

    Unsigned types take negative numbers down to minus their largest, which wrap around.

    Args:
        reduced: whether float16 and bfloat16 are held to their own range, not to that of double.

    Raises:
        RuntimeError: if the number is out of the type's range, or has an imaginary part and the type has none.
        OverflowError: for an integer of more than 64 bits.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        raise OverflowError("int too big to convert")
    if isinstance(value, bool) or dtype.category == dtypes.BOOL:
        return bool(value)
    if not reduced and dtype in _REDUCED:
        dtype = dtypes.float64
    if isinstance(value, complex):
        if dtype.is_complex:
            _check_size(value.real, dtype)
            _check_size(value.imag, dtype)
            return value
        if value.imag:
            raise overflow(dtype)
        value = value.real
    if dtype.category == dtypes.INTEGER:
        return _integer(value, dtype)
    _check_size(value, dtype)
    return value


def _check_size(value: float, dtype: dtypes.dtype) -> None:
    if _LARGEST.get(dtype.name, math.inf) < abs(value) < math.inf:
        raise overflow(dtype)


def _integer(value: Any, dtype: dtypes.dtype) -> int:
    limits = np.iinfo(dtype.numpy)
    lowest = int(limits.min)
    if isinstance(value, int) and not dtype.is_signed:
        lowest = -int(limits.max)
    # The comparison is false for nan.
    if not lowest <= value <= limits.max:
        raise overflow(dtype)
    return int(value) if value >= 0 or dtype.is_signed else int(value) + int(limits.max) + 1
