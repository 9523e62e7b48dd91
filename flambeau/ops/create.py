"""Filled tensors, and tensors like others."""

from __future__ import annotations

from typing import Any

from flambeau import devices, dtypes
from flambeau.graph.node import Aval
from flambeau.layouts import preserve_format
from flambeau.ops.cast import checked_format, laid_out
from flambeau.ops.data import array_of, as_tensor, from_numpy, made, tensor
from flambeau.ops.numbers import fitting
from flambeau.ops.operator import operator, public
from flambeau.ops.ranges import arange
from flambeau.ops.samples import case
from flambeau.ops.views import sizes_of
from flambeau.tensor.tensor import Tensor

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


def filled(
    shape: tuple[int, ...], value: Any, dtype: dtypes.dtype, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of one value."""
    for n in shape:
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(shape)}")
    result = FULL(value, shape, dtype, devices.resolve(device))
    return result.requires_grad_() if requires_grad else result


def _shape(name: str, size: tuple[Any, ...], named: dict[str, Any]) -> tuple[int, ...]:
    if not size and "size" not in named:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    shape = sizes_of(size or (named.pop("size"),), name)
    if named:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
    return shape


def _float_filled(name: str, value: int) -> Any:
    def make(
        *size: Any,
        dtype: dtypes.dtype | None = None,
        layout: Any = None,
        device: Any = None,
        pin_memory: bool = False,
        requires_grad: bool = False,
        **named: Any,
    ) -> Tensor:
        return filled(_shape(name, size, named), value, dtype or dtypes.get_default_dtype(), device, requires_grad)

    make.__name__ = name
    make.__doc__ = f"""A tensor of {name} in the given shape.

    Args:
        size: the shape, as integers or one sequence.
        dtype: the default floating type if None.

    Example:
        >>> import flambeau as torch
        >>> torch.{name}(3)
        tensor([{value}., {value}., {value}.])
        >>> torch.{name}((1, 2), dtype=torch.int64)
        tensor([[{value}, {value}]])
    """
    return public(name, out="made")(make)


zeros = _float_filled("zeros", 0)
ones = _float_filled("ones", 1)


@public(out="made")
def empty(
    *size: Any,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    memory_format: Any = None,
    **named: Any,
) -> Tensor:
    """A tensor in the given shape whose values do not matter (here: zeros).

    Raises:
        RuntimeError: for ``memory_format=preserve_format``, as there is nothing to preserve.

    Example:
        >>> import flambeau as torch
        >>> torch.empty(2, 3).shape
        torch.Size([2, 3])
        >>> torch.empty((2, 3), dtype=torch.int64).dtype
        torch.int64
    """
    shape = _shape("empty", size, named)
    result = filled(shape, 0, dtype or dtypes.get_default_dtype(), device, requires_grad)
    if checked_format("empty", memory_format) is preserve_format:
        raise RuntimeError("unsupported memory format Preserve")
    return laid_out(result, memory_format, result)


@public(out="made")
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
    """A tensor of one value; its dtype is the value's unless given.

    Example:
        >>> import flambeau as torch
        >>> torch.full((2, 2), 7)
        tensor([[7, 7],
                [7, 7]])
        >>> torch.full((2,), 0.5, dtype=torch.float64)
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    kind = dtype or dtypes.of_number(fill_value)
    return filled(sizes_of((size,), "full"), fitting(fill_value, kind, reduced=False), kind, device, requires_grad)


# ---------------------------------------------------------------- like another tensor


def _like(name: str, value: int) -> Any:
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
        result = filled(aval.shape, value, dtype or aval.dtype, device or aval.device, requires_grad)
        return laid_out(result, checked_format(f"{name}_like", memory_format), input)

    like.__name__ = f"{name}_like"
    what = "any values (here: zeros)" if name == "empty" else name
    shown = "torch.Size([2])" if name == "empty" else f"tensor([{value}, {value}])"
    like.__doc__ = f"""A tensor of {what} with the shape, type and device of ``input``, unless given.

    Example:
        >>> import flambeau as torch
        >>> torch.{name}_like(torch.tensor([5, 6])){".shape" if name == "empty" else ""}
        {shown}
    """
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
        return filled(
            _shape(f"new_{name}", size, named), value, dtype or aval.dtype, device or aval.device, requires_grad
        )

    new.__name__ = f"new_{name}"
    new.__doc__ = f"""A tensor of {what} in the given shape, with the type and device of this one, unless given.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([5]).new_{name}(2){".shape" if name == "empty" else ""}
        {shown}
    """
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
    """A tensor of one value with the shape, type and device of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.full_like(torch.tensor([1.0, 2.0]), 7)
        tensor([7., 7.])
    """
    aval = input._node.aval
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = dtype or aval.dtype
    result = filled(aval.shape, fitting(value, kind, reduced=False), kind, device or aval.device, requires_grad)
    return laid_out(result, checked_format("full_like", memory_format), input)


@public(into="", method=True)
def new_full(
    input: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value in the given shape, with the type and device of this one.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1.0]).new_full((3,), 7)
        tensor([7., 7., 7.])
    """
    aval = input._node.aval
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    kind = dtype or aval.dtype
    return filled(sizes_of((size,)), fitting(value, kind, reduced=False), kind, device or aval.device, requires_grad)


@public(into="", method=True)
def new_tensor(
    input: Tensor, data: Any, *, dtype: dtypes.dtype | None = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new leaf with a copy of the data, of the type of this tensor unless given.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1.0]).new_tensor([1, 2])
        tensor([1., 2.])
    """
    return made(data, dtype or input.dtype, input.device if device is None else device, requires_grad)


@public()
def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with given strides, whose values do not matter (here: zeros).

    Example:
        >>> import flambeau as torch
        >>> torch.empty_strided((2, 3), (1, 2)).stride()
        (1, 2)
    """
    return _strided(size, stride, dtype or dtypes.get_default_dtype(), device, requires_grad)


def _strided(size: Any, stride: Any, dtype: dtypes.dtype, device: Any, requires_grad: bool) -> Tensor:
    size, stride = sizes_of((size,)), sizes_of((stride,))
    if len(size) != len(stride):
        raise RuntimeError(f"mismatch in length of strides and shape: {list(size)} and {list(stride)}")
    for n in (*size, *stride):
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(size)}")
    count = 0 if 0 in size else 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    storage = filled((count,), 0, dtype, device)
    result = storage.as_strided(size, stride, 0)
    return result.requires_grad_() if requires_grad else result


@public(into="", method=True)
def new_empty_strided(
    input: Tensor,
    size: Any,
    stride: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor with given strides and the type of this one, whose values do not matter (here: zeros).

    Example:
        >>> import flambeau as torch
        >>> torch.ones(1).new_empty_strided((2, 3), (1, 2)).stride()
        (1, 2)
    """
    return _strided(size, stride, dtype or input.dtype, device or input.device, requires_grad)


@public()
def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: dtypes.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A tensor whose dimensions lie in memory in the order given, outermost first; its values do not matter.

    Raises:
        RuntimeError: unless ``physical_layout`` names each dimension once.

    Example:
        >>> import flambeau as torch
        >>> torch.empty_permuted((2, 3, 4), (0, 2, 1)).stride()
        (12, 1, 3)
    """
    size, order = sizes_of((size,)), sizes_of((physical_layout,))
    if len(size) != len(order):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = "
            f"{len(size)} is "
            f"not equal to len(physical_layout) = {len(order)}"
        )
    strides = [0] * len(size)
    step = 1
    seen = set()
    for d in reversed(order):
        if not 0 <= d < len(size):
            raise RuntimeError(f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {d}).")
        if d in seen:
            raise RuntimeError("Duplicate dim not allowed")
        seen.add(d)
        strides[d] = step
        step *= max(size[d], 1)
    return _strided(size, strides, dtype or dtypes.get_default_dtype(), device, requires_grad)


__all__ = ["FULL", "arange", "array_of", "as_tensor", "filled", "from_numpy", "tensor"]
