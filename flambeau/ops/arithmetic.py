"""Elementwise arithmetic: sums, differences, products, and what is made of them."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, dtype, result_dtype
from flambeau.graph.node import Aval
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import (
    binary,
    broadcast_rule,
    broadcast_shapes,
    category_of,
    checked_tensor,
    common_device,
    conj,
    not_implemented,
    unary,
)
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- sums, differences, products

ADD = binary("add", lambda xp, x, y: xp.add(x, y), lambda grad: (grad, grad))


@public(method=True, inplace=True, out=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input + alpha * other``, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.add(torch.tensor([1., 2.]), 1)
        tensor([2., 3.])
    """
    return ADD(input, other if alpha == 1 and alpha is not True else scaled(input, other, alpha))


def scaled(input: Any, other: Any, alpha: Any) -> Any:
    """``alpha * other``, refused where the types would make it lossy."""
    kind = max(category_of(input), category_of(other))
    given = category_of(alpha)
    if given == BOOL and kind != BOOL:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if given >= FLOATING and kind <= INTEGER:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if given == COMPLEX and kind != COMPLEX:
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")
    if alpha == 1:
        return other
    if kind == BOOL:
        return MUL(other, bool(alpha)) if isinstance(other, Tensor) else other and bool(alpha)
    if not isinstance(other, Tensor):
        return other * alpha
    if other.dtype.category < given and isinstance(input, Tensor):
        # The product must have the type of the sum, not be rounded to that of the default.
        other = other.to(_common(input, other))
    return MUL(other, alpha)


def _common(*tensors: Any) -> dtype:
    return result_dtype(tensor._node.aval for tensor in tensors)


def _sub_rule(x: Aval, y: Aval) -> Aval:
    if x.dtype.category == BOOL:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    return broadcast_rule(x, y)


SUB = binary("sub", lambda xp, x, y: xp.subtract(x, y), lambda grad: (grad, -grad), rule=_sub_rule)


def _checked_sub(x: Any, y: Any) -> None:
    first = x.dtype.category == BOOL if isinstance(x, Tensor) else isinstance(x, bool)
    second = y.dtype.category == BOOL if isinstance(y, Tensor) else isinstance(y, bool)
    if first and second:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    if first or second:
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, "
            "use the `~` or `logical_not()` operator instead."
        )


@public("subtract", method=True, inplace=True, out=True)
@public(method=True, inplace=True, out=True)
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``input - alpha * other``, broadcast.

    Raises:
        RuntimeError: if an operand is a bool tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.sub(torch.tensor([5., 7.]), torch.tensor([1., 2.]), alpha=2)
        tensor([3., 3.])
    """
    _checked_sub(input, other)
    return SUB(input, other if alpha == 1 and alpha is not True else scaled(input, other, alpha))


@public()
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.rsub(torch.tensor([1., 2.]), 10)
        tensor([9., 8.])
    """
    checked_tensor("rsub", "input", 1, input)
    _checked_sub(other, input)
    return SUB(other, input if alpha == 1 and alpha is not True else scaled(other, input, alpha))


def _mul_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return (grad * conj(y) if needs[0] else None, grad * conj(x) if needs[1] else None)


MUL = binary("mul", lambda xp, x, y: xp.multiply(x, y), _mul_derivative)


@public("multiply", method=True, inplace=True, out=True)
@public(method=True, inplace=True, out=True)
def mul(input: Any, other: Any) -> Tensor:
    """``input * other``, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.mul(torch.tensor([[1.], [2.]]), torch.tensor([3., 4.]))
        tensor([[3., 4.],
                [6., 8.]])
    """
    return MUL(input, other)


NEG = unary("neg", lambda xp, x: xp.negative(x), lambda grad: -grad)


@public("negative", method=True, inplace=True, out="exact")
@public(method=True, inplace=True, out="exact")
def neg(input: Tensor) -> Tensor:
    """``-input``.

    Raises:
        RuntimeError: if it is a bool tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.neg(torch.tensor([1., -2.]))
        tensor([-1.,  2.])
    """
    checked_tensor("neg", "input", 1, input)
    if input.dtype.category == BOOL:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return NEG(input)


@public(method=True)
def positive(input: Tensor) -> Tensor:
    """``+input``, the tensor itself.

    Raises:
        RuntimeError: if it is a bool tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.positive(torch.tensor([1., -2.]))
        tensor([ 1., -2.])
    """
    if input.dtype.category == BOOL:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


# ---------------------------------------------------------------- fused arithmetic of three operands


def _three_rule(x: Aval, y: Aval, z: Aval, value: Aval) -> Aval:
    return Aval(broadcast_shapes(x.shape, y.shape, z.shape), x.dtype, common_device(x, y, z))


def _addcmul_derivative(grad: Tensor, y: Tensor, z: Tensor, value: Tensor, needs: tuple[bool, ...]) -> Any:
    second = grad * conj(z * value) if needs[1] else None
    third = grad * conj(y * value) if needs[2] else None
    return (grad, second, third, None)


ADDCMUL = operator(
    "addcmul",
    _three_rule,
    lambda xp, x, y, z, value: x + value * y * z,
    _addcmul_derivative,
    promote="common",
    samples=lambda: [
        case("addcmul", T(3, 4), T(3, 4), T(3, 4)),
        case("addcmul", T(3, 4), T(3, 1), T(4), value=0.5),
        case("addcmul", T(3, dtype="int64"), T(3, dtype="int64"), T(3, dtype="int64"), value=2),
    ],
)


def _whole(value: Any, *tensors: Tensor) -> Any:
    """A factor for integer operands is cut to an integer."""
    if isinstance(value, float) and all(tensor.dtype.category <= INTEGER for tensor in tensors):
        return int(value)
    return value


@public(method=True, inplace=True, out=True)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``, broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.addcmul(torch.tensor([1., 1.]), torch.tensor([2., 3.]), torch.tensor([4., 5.]), value=10)
        tensor([ 81., 151.])
    """
    return ADDCMUL(input, tensor1, tensor2, _whole(value, input, tensor1, tensor2))


def _addcdiv_derivative(grad: Tensor, y: Tensor, z: Tensor, value: Tensor, needs: tuple[bool, ...]) -> Any:
    second = grad * conj(value / z) if needs[1] else None
    third = -grad * conj((value * y) / (z * z)) if needs[2] else None
    return (grad, second, third, None)


ADDCDIV = operator(
    "addcdiv",
    _three_rule,
    lambda xp, x, y, z, value: x + value * y / z,
    _addcdiv_derivative,
    promote="common",
    samples=lambda: [
        case("addcdiv", T(3, 4), T(3, 4), T(3, 4, low=0.5)),
        case("addcdiv", T(3, 4), T(3, 1), T(4, low=0.5), value=0.5),
    ],
)


@public(method=True, inplace=True, out=True)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``, broadcast.

    Raises:
        RuntimeError: if both of the operands of the division are integers.

    Example:
        >>> import flambeau as torch
        >>> torch.addcdiv(torch.tensor([1., 1.]), torch.tensor([6., 8.]), torch.tensor([3., 2.]), value=10)
        tensor([21., 41.])
    """
    if tensor1.dtype.category <= INTEGER and tensor2.dtype.category <= INTEGER:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a "
            "true division of tensor1 and tensor2. Convert an operand with .float() for a true division, or use "
            "input + value * torch.div(tensor1, tensor2, rounding_mode='trunc')."
        )
    return ADDCDIV(input, tensor1, tensor2, value)


def _lerp_rule(x: Aval, y: Aval, w: Aval) -> Aval:
    if x.dtype.category < FLOATING:
        raise not_implemented("lerp", x.dtype)
    return Aval(broadcast_shapes(x.shape, y.shape, w.shape), x.dtype, common_device(x, y))


def _lerp_kernel(xp: Any, x: Any, y: Any, w: Any) -> Any:
    # From the nearer end, so that both ends are met exactly.
    span = y - x
    near = xp.abs(w) < 0.5
    return xp.where(near, x + w * span, y - span * (1 - w)).astype(span.dtype)


def _lerp_numpy(np: Any, x: Any, y: Any, w: Any) -> Any:
    if w.ndim:
        return _lerp_kernel(np, x, y, w)
    return x + w * (y - x) if abs(w) < 0.5 else y - (y - x) * (1 - w)


def _lerp_derivative(grad: Tensor, x: Tensor, y: Tensor, w: Tensor, needs: tuple[bool, ...]) -> Any:
    w = w.to(grad.dtype)
    first = grad * conj(1 - w) if needs[0] else None
    second = grad * conj(w) if needs[1] else None
    third = grad * conj(y - x) if needs[2] else None
    return (first, second, third)


LERP = operator(
    "lerp",
    _lerp_rule,
    _lerp_kernel,
    _lerp_derivative,
    numpy=_lerp_numpy,
    promote="common",
    grad_name=lambda call: f"LerpBackward{int(not call.inputs[2].weak)}",
    samples=lambda: [
        case("lerp", T(3, 4), T(3, 4), 0.25),
        case("lerp", T(3, 4), T(4), 0.75),
        case("lerp", T(3, 4), T(3, 1), T(3, 4)),
    ],
)


@public(method=True, inplace=True, out=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """``input + weight * (end - input)``, broadcast.

    Raises:
        RuntimeError: if the types of the tensors differ.

    Example:
        >>> import flambeau as torch
        >>> torch.lerp(torch.tensor([0., 10.]), torch.tensor([4., 20.]), 0.25)
        tensor([ 1.0000, 12.5000])
    """
    checked_tensor("lerp", "end", 2, end)
    operands = [("end", end)]
    if isinstance(weight, Tensor) and weight.ndim:
        operands.append(("weight", weight))
    for name, operand in operands:
        if operand.dtype is not input.dtype:
            raise RuntimeError(
                f"expected dtype {_c_name(input.dtype)} for `{name}` but got dtype {_c_name(operand.dtype)}"
            )
    if isinstance(weight, Tensor) and weight.dtype is not input.dtype:
        weight = weight.to(input.dtype)
    return LERP(input, end, weight)


def _c_name(dtype: dtype) -> str:
    return {"float32": "float", "float64": "double", "int64": "long int", "int32": "int"}.get(dtype.name, dtype.name)
