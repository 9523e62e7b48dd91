"""Asking about tensors and types, and setting the default type."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, cast

from flambeau import devices, dtypes
from flambeau.graph.node import forget_weak_types
from flambeau.graph.op import forget_calls
from flambeau.layouts import NAMES, strided
from flambeau.ops.operator import METHODS, NAMESPACES, public
from flambeau.ops.pointwise import checked_tensor
from flambeau.tensor import construct  # noqa: F401  (registers the tensor types)
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

NAMESPACES["torch"].update(cast(Any, NAMES))
METHODS["layout"] = property(lambda self: strided, doc="How it is stored: always dense.")  # type: ignore[assignment]


@public()
def is_tensor(obj: Any) -> bool:
    """Whether an object is a tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.is_tensor(torch.zeros(2)), torch.is_tensor([0., 0.])
        (True, False)
    """
    return isinstance(obj, Tensor)


@public()
def numel(input: Tensor) -> int:
    """The number of elements.

    Example:
        >>> import flambeau as torch
        >>> torch.numel(torch.zeros(2, 3))
        6
    """
    return input._node.aval.size


@public()
def is_floating_point(input: Tensor) -> bool:
    """Whether a tensor's type is a floating-point one.

    Example:
        >>> import flambeau as torch
        >>> torch.is_floating_point(torch.tensor([1.5])), torch.is_floating_point(torch.tensor([1]))
        (True, False)
    """
    return input.dtype.is_floating_point


@public()
def is_signed(input: Tensor) -> bool:
    """Whether a tensor's type has negative numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.is_signed(torch.tensor([-1])), torch.is_signed(torch.tensor([1], dtype=torch.uint8))
        (True, False)
    """
    return input.dtype.is_signed


@public()
def is_inference(input: Tensor) -> bool:
    """Whether a tensor was made in inference mode.

    Example:
        >>> import flambeau as torch
        >>> with torch.inference_mode():
        ...     x = torch.zeros(2)
        >>> torch.is_inference(x), torch.is_inference(torch.zeros(2))
        (True, False)
    """
    return input._inference


@public(method=True)
def is_distributed(input: Tensor) -> bool:
    """Whether a tensor's elements lie on several machines: never.

    Example:
        >>> import flambeau as torch
        >>> torch.is_distributed(torch.zeros(2))
        False
    """
    checked_tensor("is_distributed", "input", 1, input)
    return False


@public(method=True)
def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, 3)
        >>> torch.is_same_size(x, torch.ones(2, 3)), torch.is_same_size(x, torch.ones(2, 1))
        (True, False)
    """
    return input._node.aval.shape == other._node.aval.shape


@public()
def get_device(input: Tensor) -> int:
    """The number of a tensor's device, -1 for the CPU.

    Example:
        >>> import flambeau as torch
        >>> torch.get_device(torch.zeros(2))
        -1
    """
    return input.get_device()


@public()
def get_device_module(device: Any = None) -> ModuleType:
    """The module of a kind of device: ``torch.cpu`` or ``torch.cuda``; the current device's if None.

    The device need not be there.

    Raises:
        RuntimeError: for devices without a module.

    Example:
        >>> import flambeau as torch
        >>> torch.get_device_module("cuda") is torch.cuda
        True
    """
    if not isinstance(device, str | devices.device | None):
        raise TypeError(f"get_device_module(): argument 'device' must be a device or str, not {type(device).__name__}")
    kind = (devices.default() if device is None else devices.device(device)).type
    if kind not in ("cpu", "cuda"):
        raise RuntimeError(f"Device '{kind}' does not have a corresponding module registered as 'torch.{kind}'.")
    return import_module(f"flambeau.{kind}")


@public(method=True)
def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero.

    Raises:
        RuntimeError: if there is not exactly one element.

    Example:
        >>> import flambeau as torch
        >>> torch.is_nonzero(torch.tensor([0.5])), torch.is_nonzero(torch.tensor(0))
        (True, False)
    """
    size = input._node.aval.size
    if size == 0:
        raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
    if size > 1:
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(input.item())


class _Number:
    """A Python number among the operands of a promotion."""

    __slots__ = ("dtype", "shape", "weak")

    def __init__(self, value: Any) -> None:
        self.dtype = dtypes.of_number(value)
        self.shape = ()
        self.weak = True


@public()
def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The type of the result of arithmetic on two tensors or numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.result_type(torch.tensor([1, 2]), 1.0)
        torch.float32
    """
    operands = [x._node.aval if isinstance(x, Tensor) else _Number(x) for x in (tensor1, tensor2)]
    return dtypes.result_dtype(operands)


@public()
def can_cast(from_: dtypes.dtype, to: dtypes.dtype) -> bool:
    """Whether PyTorch's rules let results of one type be written into tensors of the other.

    Example:
        >>> import flambeau as torch
        >>> torch.can_cast(torch.float64, torch.float32), torch.can_cast(torch.float32, torch.int64)
        (True, False)
    """
    return dtypes.can_cast(from_, to)


@public()
def promote_types(type1: dtypes.dtype, type2: dtypes.dtype) -> dtypes.dtype:
    """The smallest type that both types convert to.

    Example:
        >>> import flambeau as torch
        >>> torch.promote_types(torch.int64, torch.float16)
        torch.float16
    """
    return dtypes.promote_types(type1, type2)


@public()
def get_default_dtype() -> dtypes.dtype:
    """The type of floating-point tensors made from Python numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.get_default_dtype()
        torch.float32
    """
    return dtypes.get_default_dtype()


@public()
def set_default_dtype(d: Any) -> None:
    """Sets the type of floating-point tensors made from Python numbers, float32 unless set.

    Raises:
        TypeError: for any but a floating-point type.

    Example:
        >>> import flambeau as torch
        >>> torch.set_default_dtype(torch.float64)
        >>> torch.tensor([1.5]).dtype
        torch.float64
        >>> torch.set_default_dtype(torch.float32)
    """
    if not isinstance(d, dtypes.dtype):
        raise TypeError("invalid dtype object: only floating-point types are supported as the default type")
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    dtypes.replace_default_dtype(d)
    forget_calls()
    forget_weak_types()


@public()
def set_default_tensor_type(t: Any) -> None:
    """Sets the default type by a tensor type, such as ``torch.DoubleTensor``, or its name.  Deprecated: warns.

    A type of ``torch.cuda`` makes the GPU the default device too.

    Raises:
        TypeError: if it is no type of tensors of floating-point numbers, or there is no GPU for it.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     torch.set_default_tensor_type(torch.DoubleTensor)
        ...     print(torch.tensor([1.5]).dtype)
        ...     torch.set_default_tensor_type(torch.FloatTensor)
        torch.float64
    """
    from flambeau.tensor.construct import type_named

    if not isinstance(t, str | type):
        raise TypeError("invalid type object: only floating-point types are supported as the default type")
    warn(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() and "
        "torch.set_default_device() as alternatives.",
    )
    dtype, kind = type_named(t)
    place = devices.default() if kind is None else kind.available()
    set_default_dtype(dtype)
    if "cuda" in (place.type, devices.default().type):
        devices.replace_default(place)
