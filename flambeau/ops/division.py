"""Elementwise division: exact, rounded, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import BOOL, COMPLEX, INTEGER
from flambeau.graph.node import Aval
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.pointwise import (
    binary,
    broadcast_rule_without,
    category_of,
    checked_one_tensor,
    checked_tensor,
    conj,
    no_slope,
)
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor


def _div_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    first = grad / conj(y)
    return (first, -first * conj(x / y) if needs[1] else None)


DIV = binary(
    "div",
    lambda xp, x, y: xp.divide(x, y),
    _div_derivative,
    promote="float",
    samples=lambda: [case("div", T(3, 4), T(3, 4, low=0.5)), case("div", T(3), 2), case("div", T(2, dtype="int64"), 2)],
)


@public("divide", method=True, inplace=True, out=True)
@public(method=True, inplace=True, out=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, broadcast; rounded towards zero (``"trunc"``) or down (``"floor"``) if asked for.

    Raises:
        RuntimeError: for any other ``rounding_mode``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([7., -7.])
        >>> torch.div(x, 2)
        tensor([ 3.5000, -3.5000])
        >>> torch.div(x, 2, rounding_mode="trunc"), torch.div(x, 2, rounding_mode="floor")
        (tensor([ 3., -3.]), tensor([ 3., -4.]))
    """
    if rounding_mode is None:
        return DIV(input, other)
    if rounding_mode == "floor":
        _checked_divisor(input, other)
        return DIV_FLOOR(input, other)
    if rounding_mode == "trunc":
        _checked_divisor(input, other)
        return DIV_TRUNC(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


@public("__div__", into="", method=True)
def _python_div(input: Tensor, other: Any) -> Tensor:
    """``input / other``, by the name that Python once had for it."""
    return DIV(input, other)


@public("__idiv__", into="", method=True)
def _python_idiv(input: Tensor, other: Any) -> Tensor:
    """``input /= other``, by the name that Python once had for it."""
    return input.div_(other)


@public("__rdiv__", into="", method=True)
def _python_rdiv(input: Tensor, other: Any) -> Tensor:
    """``other / input``, by the name that Python once had for it."""
    return DIV(other, input)


@public(method=True, inplace=True, out=True)
def true_divide(input: Any, other: Any) -> Tensor:
    """``input / other``, broadcast; never rounded.

    Example:
        >>> import flambeau as torch
        >>> torch.true_divide(torch.tensor([7, 8]), 2)
        tensor([3.5000, 4.0000])
    """
    return DIV(input, other)


# ---------------------------------------------------------------- with rounding, and what it leaves


def _checked_divisor(x: Any, y: Any) -> None:
    """Raises where integers would be divided by a zero that is known already."""
    if max(category_of(x), category_of(y)) > INTEGER:
        return
    if isinstance(y, Tensor):
        value = y._node.value
        if hasattr(value, "shape") and y._base is None and y.device.type == "cpu" and not _all(value):
            raise RuntimeError("ZeroDivisionError")
    elif y == 0:
        raise RuntimeError("ZeroDivisionError")


def _all(value: Any) -> bool:
    import numpy as np

    return bool(np.asarray(value).all())


def _refuse_zero(y: Any) -> None:
    if y.dtype.kind in "iub" and not y.all():
        raise RuntimeError("ZeroDivisionError")


def _floor_numpy(xp: Any, x: Any, y: Any) -> Any:
    _refuse_zero(y)
    return xp.floor_divide(x, y)


def _floor_lax(xp: Any, x: Any, y: Any) -> Any:
    found = xp.floor_divide(x, y)
    # Where the divisor is zero, the quotient is infinite, not undefined.
    return xp.where(y == 0, x / y, found) if x.dtype.kind == "f" else found


def _divide_rule(name: str) -> Callable[[Aval, Aval], Aval]:
    return broadcast_rule_without(name, BOOL, COMPLEX)


def _division_samples(name: str, **options: Any) -> Callable[[], list[Any]]:
    return lambda: [
        case(name, T(3, 4), T(3, 4, low=0.5), **options),
        case(name, T(3, 1), T(4, low=-2.0, high=-0.5), **options),
        case(name, T(3, 4), 0.75, **options),
        case(name, T(5, dtype="int64", low=-9, high=9), T(5, dtype="int64", low=1, high=4), **options),
        case(name, T(5, dtype="int64", low=-9, high=9), -3, **options),
    ]


DIV_FLOOR = operator(
    "div_floor",
    _divide_rule("div_floor"),
    None,
    lambda grad: (no_slope(grad), no_slope(grad)),
    numpy=_floor_numpy,
    lax=_floor_lax,
    promote="common",
    grad_name="DivBackward2",
    samples=_division_samples("div", rounding_mode="floor"),
)

FLOOR_DIVIDE = operator(
    "floor_divide",
    _divide_rule("floor_divide"),
    None,
    NotDifferentiable("it is constant between its steps; use div(..., rounding_mode='floor') for a derivative of zero"),
    numpy=_floor_numpy,
    lax=_floor_lax,
    promote="common",
    grad_name="NotImplemented",
    samples=_division_samples("floor_divide", grad=False),
)


@public(method=True, inplace=True, out=True)
def floor_divide(input: Any, other: Any) -> Tensor:
    """The largest integer not above ``input / other``, broadcast.

    Raises:
        RuntimeError: if an integer is divided by zero.

    Example:
        >>> import flambeau as torch
        >>> torch.floor_divide(torch.tensor([7, -7]), 2)
        tensor([ 3, -4])
    """
    _checked_divisor(input, other)
    return FLOOR_DIVIDE(input, other)


def _trunc_kernel(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind == "u":
        return xp.floor_divide(x, y)
    if x.dtype.kind == "i":
        down = xp.floor_divide(x, y)
        inexact = (down * y != x) & ((x < 0) != (y < 0))
        return down + inexact.astype(x.dtype)
    return xp.trunc(x / y)


def _trunc_numpy(xp: Any, x: Any, y: Any) -> Any:
    _refuse_zero(y)
    return _trunc_kernel(xp, x, y)


DIV_TRUNC = operator(
    "div_trunc",
    _divide_rule("div_trunc"),
    _trunc_kernel,
    lambda grad: (no_slope(grad), no_slope(grad)),
    numpy=_trunc_numpy,
    promote="common",
    grad_name="DivBackward2",
    samples=_division_samples("div", rounding_mode="trunc"),
)


def _remainder_numpy(xp: Any, x: Any, y: Any) -> Any:
    _refuse_zero(y)
    if x.dtype.kind != "f":
        return xp.remainder(x, y)
    # NumPy's own loop of it is several times slower than this.
    rest = xp.fmod(x, y)
    return rest + xp.where((rest != 0) & ((rest < 0) != (y < 0)), y, y.dtype.type(0))


def _remainder_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return (grad, -grad * div(x, y, rounding_mode="floor") if needs[1] else None)


REMAINDER = operator(
    "remainder",
    _divide_rule("remainder"),
    lambda xp, x, y: xp.remainder(x, y),
    _remainder_derivative,
    numpy=_remainder_numpy,
    promote="common",
    grad_name=lambda call: f"RemainderBackward{int(not call.inputs[1].weak)}",
    samples=_division_samples("remainder"),
)


@public(method=True, inplace=True, out=True)
def remainder(input: Any, other: Any) -> Tensor:
    """What is left of ``input`` by floor division by ``other``, with the sign of ``other``; broadcast.

    Raises:
        RuntimeError: if an integer is divided by zero.

    Example:
        >>> import flambeau as torch
        >>> torch.remainder(torch.tensor([5, -5]), 3), torch.remainder(torch.tensor([5, -5]), -3)
        (tensor([2, 1]), tensor([-1, -2]))
    """
    checked_one_tensor("remainder", input, other)
    _checked_divisor(input, other)
    return REMAINDER(input, other)


def _fmod_numpy(xp: Any, x: Any, y: Any) -> Any:
    _refuse_zero(y)
    return xp.fmod(x, y)


def _fmod_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return (grad, -grad * div(x, y, rounding_mode="trunc") if needs[1] else None)


FMOD = operator(
    "fmod",
    _divide_rule("fmod"),
    lambda xp, x, y: xp.fmod(x, y),
    _fmod_derivative,
    numpy=_fmod_numpy,
    promote="common",
    grad_name=lambda call: f"FmodBackward{int(not call.inputs[1].weak)}",
    samples=_division_samples("fmod"),
)


@public(method=True, inplace=True, out=True)
def fmod(input: Any, other: Any) -> Tensor:
    """What is left of ``input`` by truncated division by ``other``, with the sign of ``input``; broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.fmod(torch.tensor([5, -5]), 3), torch.fmod(torch.tensor([5, -5]), -3)
        (tensor([ 2, -2]), tensor([ 2, -2]))
    """
    checked_tensor("fmod", "input", 1, input)
    _checked_divisor(input, other)
    return FMOD(input, other)
