"""The old constructors: ``torch.Tensor(2, 3)``, ``torch.LongTensor([1, 2])`` and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.ops.arrange import alias
from flambeau.ops.create import filled
from flambeau.ops.data import array_of
from flambeau.ops.operator import NAMESPACES, public
from flambeau.tensor.tensor import Size, Tensor, from_array


def legacy_tensor(*args: Any, **kwargs: Any) -> Tensor:
    """What ``torch.Tensor(...)`` makes: sizes, or data, in the default type; a tensor given is shown again.

    Raises:
        TypeError: for anything else.
    """
    if len(args) == 1 and isinstance(args[0], Tensor) and not kwargs:
        return alias(args[0]).detach()
    return legacy(dtypes.get_default_dtype(), *args, **kwargs)


def legacy(
    dtype: dtypes.dtype, *args: Any, device: Any = None, data: Any = None, size: Any = None, **wrong: Any
) -> Tensor:
    """A tensor of a type, from sizes or from data."""
    if wrong:
        raise TypeError(
            "new() received an invalid combination of arguments - got ("
            + ", ".join(f"{k}={type(v).__name__}" for k, v in wrong.items())
            + ")"
        )
    if device is not None and devices.resolve(device).type not in ("cpu", "meta"):
        raise RuntimeError(
            f"legacy constructor expects device type: cpu but device type: {devices.resolve(device).type} was passed"
        )
    if data is not None or size is not None:
        args = (data if data is not None else Size(size),)
    if not args:
        return _sized((0,), dtype)
    first = args[0]
    if len(args) > 1 or (isinstance(first, int | np.integer) and not isinstance(first, bool)):
        for i, n in enumerate(args):
            if not hasattr(n, "__index__") or isinstance(n, bool):
                raise TypeError(
                    f"new(): argument 'size' failed to unpack the object at pos {i + 1} with error \"type must be "
                    "tuple of "
                    f'ints,but got {type(n).__name__}"'
                )
        return _sized(tuple(int(n) for n in args), dtype)
    if isinstance(first, Size):
        return _sized(tuple(first), dtype)
    if isinstance(first, Tensor):
        if first.dtype is not dtype:
            raise TypeError(f"expected a tensor of type {dtype.title} (got {first.dtype.title})")
        return alias(first).detach()
    if isinstance(first, str):
        raise TypeError("new(): invalid data type 'str'")
    if not isinstance(first, Sequence | np.ndarray) and not hasattr(first, "__array__"):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return from_array(array_of(first, dtype), dtype)


def _sized(shape: tuple[int, ...], dtype: dtypes.dtype) -> Tensor:
    return filled(shape, 0, dtype, devices.cpu)


@public(into="", method=True)
def new(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A tensor of this one's type: of the sizes given, or with the data given.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1, 2]).new([3, 4])
        tensor([3, 4])
    """
    return legacy(input.dtype, *args, **kwargs)


# ---------------------------------------------------------------- types of tensors


class _TensorType(type):
    """The type of ``torch.FloatTensor`` and the like: tensors of that dtype on that kind of device are its instances.

    Attributes:
        dtype: the dtype.
        place: the kind of device, ``"cpu"`` or ``"cuda"``.
    """

    dtype: dtypes.dtype
    place: str

    @property
    def is_cuda(cls) -> bool:
        """Whether its tensors are on GPUs."""
        return cls.place == "cuda"

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.device.type == cls.place

    def __call__(cls, *args: Any, **kwargs: Any) -> Tensor:
        if not cls.is_cuda:
            return legacy(cls.dtype, *args, **kwargs)
        place = cls.available()
        given = devices.resolve(kwargs.pop("device", None) or place)
        if given.type != "cuda":
            raise RuntimeError(f"legacy constructor expects device type: cuda but device type: {given.type} was passed")
        if len(args) == 1 and isinstance(args[0], Tensor) and not isinstance(args[0], cls):
            raise TypeError(f"expected a {shown(cls)} (got {type_of(args[0])})")
        return legacy(cls.dtype, *args, **kwargs).to(given)

    def available(cls) -> devices.device:
        """The device.

        Raises:
            TypeError: if it is not there.
        """
        try:
            return devices.resolve(cls.place)
        except RuntimeError as error:
            raise TypeError(f"type {shown(cls)} not available: {error}") from None

    def __repr__(cls) -> str:
        return f"<class '{shown(cls)}'>"


def shown(kind: _TensorType) -> str:
    """A type's name, such as ``"torch.FloatTensor"`` or ``"torch.cuda.FloatTensor"``."""
    return f"torch.{'cuda.' if kind.is_cuda else ''}{kind.__name__}"


def type_of(tensor: Tensor) -> str:
    """The name of a tensor's type, such as ``"torch.FloatTensor"`` or ``"torch.cuda.FloatTensor"``."""
    kind = tensor.device.type
    return f"torch.{'' if kind == 'cpu' else f'{kind}.'}{tensor.dtype.title}Tensor"


_TITLED = {
    f"{dtype.title}Tensor": dtype
    for dtype in (
        dtypes.float32, dtypes.float64, dtypes.float16, dtypes.bfloat16, dtypes.uint8, dtypes.int8, dtypes.int16,
        dtypes.int32, dtypes.int64, dtypes.bool_,
    )
}  # fmt: skip


_TYPE = """Tensors of type {dtype}{where}: an old constructor, of data or of sizes, and a name for ``type``.

    Example:
        >>> import flambeau as torch
        >>> torch.{name}([1, 0]).dtype
        torch.{dtype}
        >>> torch.{name}(2, 3).shape
        torch.Size([2, 3])
"""


def _types(place: str) -> dict[str, _TensorType]:
    where = " on GPUs" if place == "cuda" else ""
    return {
        name: _TensorType(
            name,
            (),
            {
                "__doc__": _TYPE.format(dtype=dtype.name, where=where, name=f"{'cuda.' * bool(where)}{name}"),
                "dtype": dtype,
                "place": place,
            },
        )
        for name, dtype in _TITLED.items()
    }


CPU_TYPES = _types("cpu")
CUDA_TYPES = _types("cuda")
"""``torch.cuda``'s, by name."""
NAMESPACES["torch"].update(CPU_TYPES)


def type_named(name: Any) -> tuple[dtypes.dtype, _TensorType | None]:
    """The dtype that a dtype, a tensor type or its name, such as ``"torch.LongTensor"``, stands for; and the type.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(name, dtypes.dtype):
        return name, None
    if isinstance(name, _TensorType):
        return name.dtype, name
    short = str(name).removeprefix("torch.")
    if name is Tensor or short == "Tensor":
        return dtypes.get_default_dtype(), None
    known = CUDA_TYPES if short.startswith("cuda.") else CPU_TYPES
    found = known.get(short.removeprefix("cuda."))
    if found is None:
        raise ValueError(f"invalid type: '{name}'")
    return found.dtype, found


@public("type", into="", method=True)
def type_(input: Tensor, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    """The name of the tensor's type, such as ``"torch.FloatTensor"``; or the tensor converted to another type.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2)
        >>> x.type(), x.type(torch.int64), x.type("torch.DoubleTensor").dtype
        ('torch.FloatTensor', tensor([1, 1]), torch.float64)
    """
    if dtype is None:
        return type_of(input)
    wanted, kind = type_named(dtype)
    place = input.device.type if kind is None else kind.place
    return input.to(wanted) if place == input.device.type else input.to(place, wanted)
