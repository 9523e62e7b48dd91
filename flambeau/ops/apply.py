"""Python functions called once per element, in place: slow, on the CPU, and seen by nothing that differentiates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops.numbers import fitting
from flambeau.ops.operator import public
from flambeau.tensor.tensor import Tensor, from_array
from flambeau.tensor.views import write


def _checked(name: str, tensors: tuple[Tensor, ...]) -> None:
    for tensor in tensors:
        if tensor.requires_grad:
            raise RuntimeError(
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead."
            )
        if tensor.device.type != "cpu":
            raise TypeError(f"{name} is only implemented on CPU tensors")


def _written(name: str, input: Tensor, others: tuple[Any, ...], function: Callable[..., Any]) -> Tensor:
    for other in others:
        if not isinstance(other, Tensor):
            raise TypeError(f"{name}(): argument 'other' must be Tensor, not {type(other).__name__}")
    _checked(name, (input, *others))
    for other in others:
        if other.dtype is not input.dtype:
            raise TypeError(
                f"{name}: expected torch.{input.dtype.title}Tensor for 'other' (got torch.{other.dtype.title}Tensor)"
            )
    operands = [tensor.expand(input.shape).reshape(-1).tolist() for tensor in (input, *others)]
    found = [_element(function(*elements), input.dtype) for elements in zip(*operands, strict=True)]
    return write(input, from_array(np.array(found, input.dtype.numpy).reshape(input.shape), input.dtype))


def _element(value: Any, dtype: dtypes.dtype) -> Any:
    """What a function gave, as a number that fits the type."""
    if isinstance(value, Tensor):
        value = value.item()
    if not isinstance(value, int | float | complex | np.generic):
        raise TypeError(f"must be real number, not {type(value).__name__}")
    if isinstance(value, complex) and dtype.category not in (dtypes.BOOL, dtypes.COMPLEX):
        raise TypeError("must be real number, not complex")
    if dtype.is_floating_point:
        return float(value)  # type: ignore[arg-type]
    return fitting(value, dtype)


@public(into="", method=True)
def apply_(input: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replaces each element by ``callable(element)``, which gets and gives Python numbers.

    Raises:
        RuntimeError: if the tensor requires a gradient.
        TypeError: if the tensor is not on the CPU, or the function gives no number.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1.0, 2.0]).apply_(lambda x: x + 0.5)
        tensor([1.5000, 2.5000])
    """
    return _written("apply_", input, (), callable)


@public(into="", method=True)
def map_(input: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replaces each element by ``callable(element, other)``, the other of ``tensor``, broadcast.

    Raises:
        RuntimeError: if either tensor requires a gradient, or the shapes do not fit.
        TypeError: if the types differ.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1.0, 2.0])
        >>> x.map_(torch.tensor([3.0, 4.0]), lambda a, b: a * b)
        tensor([3., 8.])
    """
    return _written("map_", input, (tensor,), callable)


@public(into="", method=True)
def map2_(input: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replaces each element by ``callable(element, x, y)``, with two more tensors, broadcast.

    Example:
        >>> import flambeau as torch
        >>> x, ones = torch.tensor([1.0, 2.0]), torch.ones(2)
        >>> x.map2_(ones, ones, lambda a, b, c: a + b * c)
        tensor([2., 3.])
    """
    return _written("map2_", input, (x, y), callable)
