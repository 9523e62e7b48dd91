"""Conversion between types and devices."""

from __future__ import annotations

from typing import Any

from flambeau import devices, dtypes
from flambeau.engine.flush import from_numbers, hand_over, value_of
from flambeau.graph.node import Aval
from flambeau.graph.observer import current as looking
from flambeau.layouts import (
    contiguous_format,
    memory_format,
    preserve_format,
    preserved_strides,
    strides_of,
    suggested_format,
)
from flambeau.ops.operator import OPERATORS, operator, public
from flambeau.ops.pointwise import with_example
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor, current, from_array
from flambeau.tensor.views import layout


def _cast_rule(x: Aval, *, dtype: dtypes.dtype) -> Aval:
    return x.of(dtype=dtype)


def _cast_kernel(xp: Any, x: Any, *, dtype: dtypes.dtype) -> Any:
    from flambeau.engine.kernels import converted

    return converted(x, dtype.numpy, xp)


def _cast_derivative(grad: Tensor) -> Tensor:
    # The engine converts a gradient to the type of what it belongs to.
    return grad


CAST = operator(
    "cast",
    _cast_rule,
    _cast_kernel,
    _cast_derivative,
    moves=True,
    grad_name="ToCopyBackward0",
    samples=lambda: [
        case("Tensor.double", T(2, 3)),
        case("Tensor.half", T(2, 3), finite=False),
        case("Tensor.long", T(2, 3)),
    ],
)


def _move_rule(x: Aval, *, device: devices.device) -> Aval:
    return Aval(x.shape, x.dtype, device)


def _move_kernel(xp: Any, x: Any, *, device: devices.device) -> Any:
    return x


def _move_derivative(grad: Tensor, avals: Any) -> Tensor:
    return moved(grad, avals[0].device) if grad.device is not avals[0].device else grad


MOVE = operator(
    "move",
    _move_rule,
    _move_kernel,
    _move_derivative,
    moves=True,
    grad_name="ToCopyBackward0",
    samples=lambda: [case("Tensor.cpu", T(2, 3))],
)
MOVE.hands_over = True


@public(into="", method=True)
def to(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor in another dtype, on another device, or like another tensor; itself if it is so already.

    Forms: ``to(dtype)``, ``to(device, dtype=None)``, ``to(other)``, each with ``non_blocking``, ``copy``
    and ``memory_format``.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1, 2]).to(torch.float64)
        tensor([1., 2.], dtype=torch.float64)
    """
    dtype, device, copy = parsed_to(*args, **kwargs)
    wanted = checked_format("to", kwargs.get("memory_format"))
    result = input
    if dtype is not None and dtype is not input.dtype:
        result = CAST(input, dtype)
    if device is not None and device is not input.device:
        result = moved(result, device)
    if result is input:
        kept = wanted in (None, preserve_format) or suggested_format(tuple(input.shape), layout(input)[0]) is wanted
        if kept and not copy:
            return input
        result = CLONE(input)
    return laid_out(result, wanted, input)


def checked_format(name: str, wanted: Any) -> Any:
    """A memory format, or None."""
    if wanted is not None and not isinstance(wanted, memory_format):
        raise TypeError(f"{name}(): argument 'memory_format' must be torch.memory_format, not {type(wanted).__name__}")
    return wanted


def laid_out(result: Tensor, wanted: memory_format | None, like: Tensor) -> Tensor:
    """A fresh tensor in a memory format; None and ``preserve_format`` stand for that of another of its shape."""
    if wanted is None or wanted is preserve_format:
        if like._base is None and like._layout is None:
            return result
        strides = preserved_strides(like._node.aval.shape, layout(like)[0])
    elif wanted is contiguous_format:
        return result
    else:
        strides = strides_of(result._node.aval.shape, wanted)
    result._layout = (strides, 0)
    return result


def moved(input: Tensor, device: devices.device) -> Tensor:
    """The tensor's values on another device."""
    if device.type == "meta":
        return OPERATORS["full"](0, input._node.aval.shape, input.dtype, device)
    if input.device.type == "meta":
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    at_once = device is not devices.cpu and looking.observer is None
    if at_once:
        node = input._node if input._base is None else current(input)
        made = None if node.value is not None or input._rg else from_numbers(node)
        if made is None:
            value_of(node)
        else:
            # What is recorded besides is not disturbed by a mask or a state that a program makes on the CPU first.
            input = from_array(made, input.dtype)
    result = MOVE(input, device)
    if at_once:
        # Models are moved tensor by tensor, and none of that should be part of the program that comes next.
        hand_over(result._node)
    return result


def parsed_to(*args: Any, **kwargs: Any) -> tuple[dtypes.dtype | None, devices.device | None, bool]:
    """What the arguments of ``to`` ask for: dtype, device, and whether to copy in any case."""
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    copy = kwargs.pop("copy", False)
    dtype = kwargs.pop("dtype", None)
    device = kwargs.pop("device", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
    elif rest and isinstance(rest[0], str | devices.device | int) and not isinstance(rest[0], bool):
        device = rest.pop(0)
        if rest and (rest[0] is None or isinstance(rest[0], dtypes.dtype)):
            dtype = rest.pop(0)
    elif rest and isinstance(rest[0], dtypes.dtype):
        dtype = rest.pop(0)
    elif rest and rest[0] is None:
        rest.pop(0)
        if rest and isinstance(rest[0], dtypes.dtype):
            dtype = rest.pop(0)
    flags = [flag for flag in rest if isinstance(flag, bool)]
    if len(flags) != len(rest):
        wrong = next(x for x in rest if not isinstance(x, bool))
        raise TypeError(f"to() received an invalid combination of arguments - got ({type(wrong).__name__})")
    if len(flags) > 1:
        copy = flags[1]
    if other is not None:
        dtype, device = other.dtype, other.device
    if dtype is not None and not isinstance(dtype, dtypes.dtype):
        raise TypeError(f"to(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    return dtype, (devices.resolve(device) if device is not None else None), copy


def _converter(name: str, dtype: dtypes.dtype) -> None:
    def convert(input: Tensor, memory_format: Any = None) -> Tensor:
        return input.to(dtype, memory_format=memory_format)

    convert.__name__ = name
    about = f"The tensor converted to {dtype.name}; itself if it is so already."
    convert.__doc__ = with_example(about, f"torch.tensor([0, 1]).{name}().dtype", f"torch.{dtype.name}")
    public(name, into="", method=True)(convert)


for _name, _dtype in {
    "double": dtypes.float64,
    "float": dtypes.float32,
    "half": dtypes.float16,
    "bfloat16": dtypes.bfloat16,
    "long": dtypes.int64,
    "int": dtypes.int32,
    "short": dtypes.int16,
    "char": dtypes.int8,
    "byte": dtypes.uint8,
    "bool": dtypes.bool_,
    "cfloat": dtypes.complex64,
    "cdouble": dtypes.complex128,
}.items():
    _converter(_name, _dtype)


@public(into="", method=True)
def chalf(input: Tensor, memory_format: Any = None) -> Tensor:
    """Would convert to complex32, which is not supported.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "chalf(): flambeau has no complex32, a type in which PyTorch itself does little; use cfloat() for complex64"
    )


@public(into="", method=True)
def cpu(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor on the CPU; itself if it is there already.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2).cpu().device
        device(type='cpu')
    """
    return input.to("cpu", memory_format=memory_format)


@public(into="", method=True)
def cuda(input: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """The tensor on a GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     x = torch.ones(2).cuda()
    """
    return input.to("cuda" if device is None else device, memory_format=memory_format)


@public(into="", method=True)
def to_dense(input: Tensor, dtype: dtypes.dtype | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself, as every tensor is dense; converted, if a ``dtype`` is given.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2).to_dense(torch.float64).dtype
        torch.float64
    """
    return input if dtype is None else input.to(dtype)


@public(into="", method=True)
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor converted to another's dtype, on its device.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1.7]).type_as(torch.tensor([0]))
        tensor([1])
    """
    return input.to(other)


def _clone_rule(x: Aval) -> Aval:
    return x.of()


def _clone_kernel(xp: Any, x: Any) -> Any:
    return x


CLONE = operator(
    "clone", _clone_rule, _clone_kernel, lambda grad: grad, moves=True, samples=lambda: [case("clone", T(2, 3))]
)


@public(method=True)
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A tensor of its own with the same values, differentiable.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2)
        >>> y = x.clone()
        >>> y[0] = 1.0
        >>> x
        tensor([0., 0.])
    """
    return laid_out(CLONE(input), checked_format("clone", memory_format), input)
