"""Data types, PyTorch's promotion rules, and numerical limits.

Promotion is decided here, once, before any kernel runs, so that neither NumPy's nor JAX's own
rules ever decide the type of a result.  The rules are PyTorch's: operands fall into three classes
(tensors with dimensions, zero-dimensional tensors, Python numbers), a class only matters when it
raises the category (bool, integer, floating, complex), and within a class the wider type wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np

BOOL, INTEGER, FLOATING, COMPLEX = range(4)


class dtype:
    """The type of a tensor's elements.

    Attributes:
        name: PyTorch's name, such as ``"float32"``.
        numpy: the NumPy dtype of the array that carries the values.
        itemsize: bytes per element.
        category: ``BOOL``, ``INTEGER``, ``FLOATING`` or ``COMPLEX``.

    Example:
        >>> import flambeau as torch
        >>> torch.bfloat16.itemsize, torch.bfloat16.is_floating_point
        (2, True)
        >>> torch.ones(2, dtype=torch.float16).dtype
        torch.float16
    """

    __slots__ = ("category", "is_complex", "is_floating_point", "is_signed", "itemsize", "name", "numpy")

    def __init__(self, name: str, numpy: Any, category: int, signed: bool = True) -> None:
        self.name = name
        self.numpy = np.dtype(numpy)
        self.itemsize = self.numpy.itemsize
        self.category = category
        self.is_floating_point = category == FLOATING
        self.is_complex = category == COMPLEX
        self.is_signed = signed

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (named, (self.name,))

    @property
    def title(self) -> str:
        """The name that PyTorch's messages use, such as ``"Float"``."""
        return _TITLES.get(self.name, self.name)

    def to_complex(self) -> dtype:
        """The complex type whose parts have this type."""
        return _TO_COMPLEX[self]

    def to_real(self) -> dtype:
        """The type of the real part."""
        return _TO_REAL.get(self, self)


float64 = double = dtype("float64", np.float64, FLOATING)
float32 = float_ = dtype("float32", np.float32, FLOATING)
float16 = half = dtype("float16", np.float16, FLOATING)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOATING)
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, FLOATING)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, FLOATING)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, FLOATING)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, FLOATING)
uint8 = dtype("uint8", np.uint8, INTEGER, signed=False)
uint16 = dtype("uint16", np.uint16, INTEGER, signed=False)
uint32 = dtype("uint32", np.uint32, INTEGER, signed=False)
uint64 = dtype("uint64", np.uint64, INTEGER, signed=False)
int8 = dtype("int8", np.int8, INTEGER)
int16 = short = dtype("int16", np.int16, INTEGER)
int32 = int_ = dtype("int32", np.int32, INTEGER)
int64 = long = dtype("int64", np.int64, INTEGER)
bool_ = dtype("bool", np.bool_, BOOL, signed=False)
complex64 = cfloat = dtype("complex64", np.complex64, COMPLEX)
complex128 = cdouble = dtype("complex128", np.complex128, COMPLEX)

ALL = (
    float64, float32, float16, bfloat16, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz,
    uint8, uint16, uint32, uint64, int8, int16, int32, int64, bool_, complex64, complex128,
)  # fmt: skip
REDUCED = frozenset((float16, bfloat16, float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz))

_TITLES = {
    **{"float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16", "bool": "Bool"},
    **{"uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long"},
    **{"uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64"},
    **{"complex64": "ComplexFloat", "complex128": "ComplexDouble"},
}
_BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}
_TO_COMPLEX = {
    float64: complex128,
    float32: complex64,
    float16: complex64,
    bfloat16: complex64,
    complex64: complex64,
    complex128: complex128,
}
_TO_REAL = {complex64: float32, complex128: float64}


def named(name: str) -> dtype:
    """The dtype of that name."""
    return _BY_NAME[name]


def from_numpy(numpy_dtype: Any) -> dtype:
    """The dtype whose values a NumPy dtype carries; TypeError where PyTorch has none."""
    numpy_dtype = np.dtype(numpy_dtype)
    found = _BY_NUMPY.get(numpy_dtype) or _BY_NUMPY.get(numpy_dtype.newbyteorder("="))
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {numpy_dtype}. The only supported types are: float64, float32, "
            "float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
        )
    return found


# ---------------------------------------------------------------- promotion

_WIDTHS = {
    **{bool_: 0, uint8: 1, int8: 2, int16: 3, int32: 4, int64: 5},
    **{float16: 6, bfloat16: 6, float32: 7, float64: 8, complex64: 9, complex128: 10},
}
_WIDE_UNSIGNED = frozenset((uint16, uint32, uint64))


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest type that both types convert to, by PyTorch's table."""
    if type1 is type2:
        return type1
    if type1 in _WIDE_UNSIGNED or type2 in _WIDE_UNSIGNED:
        return _promote_wide_unsigned(type1, type2)
    if type1 not in _WIDTHS or type2 not in _WIDTHS:
        raise RuntimeError(f"Promotion for Float8 Types is not supported, attempted to promote {type1} and {type2}")
    low, high = sorted((type1, type2), key=_WIDTHS.__getitem__)
    if {low, high} == {uint8, int8}:
        return int16
    if {low, high} == {float16, bfloat16}:
        return float32
    if high is complex64 and low is float64:
        return complex128
    return high


def _promote_wide_unsigned(type1: dtype, type2: dtype) -> dtype:
    wide, other = (type1, type2) if type1 in _WIDE_UNSIGNED else (type2, type1)
    if other.category >= FLOATING:
        return other
    if other is bool_:
        return wide
    if not other.is_signed:
        return wide if wide.itemsize >= other.itemsize else other
    raise RuntimeError(
        f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {type1} and {type2}"
    )


_default = float32


def get_default_dtype() -> dtype:
    """The type of floating-point tensors made from Python numbers (float32 unless set)."""
    return _default


def replace_default_dtype(new: dtype) -> None:
    global _default
    _default = new


def default_complex() -> dtype:
    return _TO_COMPLEX[_default]


def of_number(value: Any) -> dtype:
    """The type a tensor made from this Python number has."""
    kind = type(value)
    if kind is float:
        return _default
    if kind is bool:
        return bool_
    if kind is int:
        return int64
    if kind is complex:
        return default_complex()
    if isinstance(value, bool | np.bool_):
        return bool_
    if isinstance(value, int | np.integer):
        return int64
    if isinstance(value, float | np.floating):
        return _default
    if isinstance(value, complex | np.complexfloating):
        return default_complex()
    raise TypeError(f"expected a number, got {type(value).__name__}")


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    if higher is None or lower is None:
        return higher or lower
    if higher.is_complex:
        return higher
    if higher.is_floating_point:
        return _TO_COMPLEX[higher] if lower.is_complex else higher
    if higher is bool_ or lower.category >= FLOATING:
        return promote_types(higher, lower)
    return higher


def result_dtype(operands: Iterable[Any]) -> dtype:
    """The common type of operands described by ``dtype``, ``shape`` and ``weak`` attributes."""
    dimensioned = zero_dim = number = None
    for operand in operands:
        if operand.weak:
            number = operand.dtype if number is None else promote_types(number, operand.dtype)
        elif operand.shape:
            dimensioned = operand.dtype if dimensioned is None else promote_types(dimensioned, operand.dtype)
        else:
            zero_dim = operand.dtype if zero_dim is None else promote_types(zero_dim, operand.dtype)
    result = _combine(dimensioned, _combine(zero_dim, number))
    assert result is not None, "an operator that promotes has at least one operand"
    return result


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether PyTorch lets a result of one type be written into a tensor of the other.

    A category may rise but never fall: float into int, int into bool and complex into real are refused.
    """
    return from_.category <= to.category


# ---------------------------------------------------------------- limits


class finfo:
    """Limits of a floating-point type.

    Attributes:
        bits, eps, max, min, tiny, smallest_normal, resolution, dtype: as in PyTorch.

    Example:
        >>> import flambeau as torch
        >>> torch.finfo(torch.float32).eps
        1.1920928955078125e-07
    """

    def __init__(self, type: dtype | None = None) -> None:
        type = _default if type is None else type
        if not isinstance(type, dtype) or type.category < FLOATING:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{type}'")
        info = ml_dtypes.finfo(type.to_real().numpy)
        self.bits = int(info.bits)
        self.eps = float(info.eps)
        self.max = float(info.max)
        self.min = float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = float(info.resolution)
        self.dtype = type.to_real().name

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer type.

    Attributes:
        bits, max, min, dtype: as in PyTorch.

    Example:
        >>> import flambeau as torch
        >>> torch.iinfo(torch.int8).max
        127
    """

    def __init__(self, type: dtype) -> None:
        if not isinstance(type, dtype) or type.category != INTEGER:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'")
        info = np.iinfo(type.numpy)
        self.bits = int(info.bits)
        self.max = int(info.max)
        self.min = int(info.min)
        self.dtype = type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
