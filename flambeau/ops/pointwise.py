"""Elementwise arithmetic: the factories that the pointwise families share, and plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import BOOL
from flambeau.graph.node import Aval
from flambeau.ops.operator import Operator, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- what the family shares


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that shapes have in common once sizes of one are stretched.

    Raises:
        RuntimeError: if they have none; names the sizes and the dimension.
    """
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    ndim = max(map(len, shapes))
    result = [1] * ndim
    for shape in shapes:
        for i, n in enumerate(shape, ndim - len(shape)):
            if n != 1:
                if result[i] not in (1, n):
                    raise RuntimeError(
                        f"The size of tensor a ({result[i]}) must match the size of tensor b ({n}) at non-singleton "
                        f"dimension {i}"
                    )
                result[i] = n
    return tuple(result)


def same_rule(x: Aval) -> Aval:
    """The result is like the operand."""
    return x.of()


def broadcast_rule(x: Aval, y: Aval) -> Aval:
    """The result has the operands' common shape and type."""
    if x.shape == y.shape:
        return x.of()
    return x.of(broadcast_shapes(x.shape, y.shape))


def unary(
    name: str,
    kernel: Callable[..., Any],
    derivative: Any,
    *,
    samples: Callable[[], list[Any]] | None = None,
    promote: str | None = None,
    rule: Callable[..., Any] = same_rule,
    **options: Any,
) -> Operator:
    """An elementwise operator of one operand, ``kernel(xp, x)``."""
    samples = samples or (lambda: [case(name, T(3, 4)), case(name, T()), case(name, T(0, 2))])
    return operator(name, rule, kernel, derivative, samples=samples, promote=promote, **options)


def binary(
    name: str,
    kernel: Callable[..., Any],
    derivative: Any,
    *,
    samples: Callable[[], list[Any]] | None = None,
    promote: str | None = "common",
    rule: Callable[..., Any] = broadcast_rule,
    **options: Any,
) -> Operator:
    """An elementwise operator of two broadcast operands, ``kernel(xp, x, y)``."""
    samples = samples or (
        lambda: [case(name, T(3, 4), T(3, 4)), case(name, T(3, 1), T(4)), case(name, T(3, 4), 2.5), case(name, T(), T(2))]
    )
    return operator(name, rule, kernel, derivative, samples=samples, promote=promote, **options)


def conj(tensor: Tensor) -> Tensor:
    """The conjugate, which is the tensor itself unless it is complex."""
    return tensor.conj() if tensor.dtype.is_complex else tensor


# ---------------------------------------------------------------- add, sub, mul, div

ADD = binary("add", lambda xp, x, y: xp.add(x, y), lambda grad: (grad, grad))


@public(method=True, inplace=True, out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.add(torch.tensor([1., 2.]), 1)
        tensor([2., 3.])
    """
    return ADD(input, other if alpha == 1 else scaled(input, other, alpha))


def scaled(input: Any, other: Any, alpha: Any) -> Any:
    """``alpha * other``, refused where the types would make it lossy."""
    integral = not any(
        isinstance(x, Tensor) and x.dtype.category > 1 or isinstance(x, float | complex) for x in (input, other)
    )
    if integral and isinstance(alpha, float):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return MUL(other, alpha) if isinstance(other, Tensor) else other * alpha


def _sub_rule(x: Aval, y: Aval) -> Aval:
    if x.dtype.category == BOOL:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    return broadcast_rule(x, y)


SUB = binary("sub", lambda xp, x, y: xp.subtract(x, y), lambda grad: (grad, -grad), rule=_sub_rule)


@public(method=True, inplace=True, out=True)
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``, broadcast."""
    return SUB(input, other if alpha == 1 else scaled(input, other, alpha))


def _mul_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return (grad * conj(y) if needs[0] else None, grad * conj(x) if needs[1] else None)


MUL = binary("mul", lambda xp, x, y: xp.multiply(x, y), _mul_derivative)


@public(method=True, inplace=True, out=True)
def mul(input: Any, other: Any) -> Tensor:
    """``input * other``, broadcast."""
    return MUL(input, other)


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


@public(method=True, inplace=True, out=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, broadcast; rounded towards zero (``"trunc"``) or down (``"floor"``) if asked for.

    Raises:
        RuntimeError: for any other ``rounding_mode``.
    """
    if rounding_mode is None:
        return DIV(input, other)
    if rounding_mode == "floor":
        return input.floor_divide(other)
    if rounding_mode == "trunc":
        return input.trunc_divide(other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


NEG = unary("neg", lambda xp, x: xp.negative(x), lambda grad: -grad)


@public(method=True, inplace=True, out=True)
def neg(input: Tensor) -> Tensor:
    """``-input``."""
    if input.dtype.category == BOOL:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the "
            "`~` or `logical_not()` operator instead."
        )
    return NEG(input)
