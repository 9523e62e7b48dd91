"""Elementwise arithmetic: the factories that the pointwise families share, and plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, bool_, dtype, result_dtype
from flambeau.graph.node import Aval
from flambeau.ops.operator import NotDifferentiable, Operator, operator, public
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


def not_implemented(name: str, dtype: dtype) -> NotImplementedError:
    """The error for a type that an operator has no meaning for."""
    return NotImplementedError(f"\"{name}_cpu\" not implemented for '{dtype.title}'")


def same_rule(x: Aval) -> Aval:
    """The result is like the operand."""
    return x.of()


def same_rule_without(name: str, *refused: int) -> Callable[[Aval], Aval]:
    """As :func:`same_rule`, refusing operands of some categories."""

    def rule(x: Aval) -> Aval:
        if x.dtype.category in refused:
            raise not_implemented(name, x.dtype)
        return x.of()

    return rule


def bool_rule(x: Aval) -> Aval:
    """The result is a bool of the operand's shape."""
    return x.of(dtype=bool_)


def broadcast_rule(x: Aval, y: Aval) -> Aval:
    """The result has the operands' common shape and type."""
    if x.shape == y.shape and x.device is y.device:
        return x.of()
    return Aval(broadcast_shapes(x.shape, y.shape), x.dtype, common_device(x, y))


def broadcast_rule_without(name: str, *refused: int) -> Callable[[Aval, Aval], Aval]:
    """As :func:`broadcast_rule`, refusing operands of some categories."""

    def rule(x: Aval, y: Aval) -> Aval:
        if x.dtype.category in refused:
            raise not_implemented(name, x.dtype)
        return broadcast_rule(x, y)

    return rule


def common_device(*avals: Aval | None) -> Any:
    """Where a result belongs: with the operands that have dimensions, or that are not on the CPU."""
    given = [aval for aval in avals if aval is not None]
    for aval in given:
        if aval.shape or aval.device.type != "cpu":
            return aval.device
    return given[0].device


def unary(
    name: str,
    kernel: Callable[..., Any] | None,
    derivative: Any,
    *,
    samples: Callable[[], list[Any]] | None = None,
    promote: str | None = None,
    rule: Callable[..., Any] = same_rule,
    low: float = -2.0,
    high: float = 2.0,
    fn: str | None = None,
    **options: Any,
) -> Operator:
    """An elementwise operator of one operand, ``kernel(xp, x)``; ``low`` and ``high`` bound its examples."""

    def examples() -> list[Any]:
        called = fn or name
        return [case(called, T(*shape, low=low, high=high)) for shape in ((3, 4), (), (0, 2))]

    made = operator(name, rule, kernel, derivative, samples=samples or examples, promote=promote, **options)
    made.elementwise = True
    return made


def binary(
    name: str,
    kernel: Callable[..., Any] | None,
    derivative: Any,
    *,
    samples: Callable[[], list[Any]] | None = None,
    promote: str | None = "common",
    rule: Callable[..., Any] = broadcast_rule,
    numbers: bool = True,
    fn: str | None = None,
    low: float = -2.0,
    high: float = 2.0,
    **options: Any,
) -> Operator:
    """An elementwise operator of two broadcast operands, ``kernel(xp, x, y)``.

    ``numbers``: whether its examples include one whose second operand is a Python number.
    """

    def examples() -> list[Any]:
        called = fn or name
        bounds: dict[str, Any] = {"low": low, "high": high}
        pairs = [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2,)), ((0, 2), (2,))]
        found = [case(called, T(*a, **bounds), T(*b, **bounds)) for a, b in pairs]
        return [*found, case(called, T(3, 4, **bounds), 1.5)] if numbers else found

    made = operator(name, rule, kernel, derivative, samples=samples or examples, promote=promote, **options)
    made.elementwise = True
    return made


def checked_tensor(fn: str, name: str, position: int, value: Any) -> None:
    """Raises TypeError unless an argument is a tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{fn}(): argument '{name}' (position {position}) must be Tensor, not {type(value).__name__}")


def checked_one_tensor(fn: str, *values: Any) -> None:
    """Raises TypeError unless one of the operands is a tensor."""
    if not any(isinstance(value, Tensor) for value in values):
        given = ", ".join(type(value).__name__ for value in values)
        raise TypeError(
            f"{fn}() received an invalid combination of arguments - got ({given}), but at least one must be a Tensor"
        )


def unary_function(
    op: Operator,
    doc: str,
    *aliases: str,
    into: str = "torch",
    special: str | None = None,
    inplace: bool = True,
    out: bool | str = True,
) -> Callable[[Tensor], Tensor]:
    """Makes the public function of an operator of one operand, under its name and other ones.

    ``special`` names it in the namespace ``special`` as well.
    """
    name = op.name

    def function(input: Tensor) -> Tensor:
        if not isinstance(input, Tensor):
            checked_tensor(name, "input", 1, input)
        return op(input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    for known in (name, *aliases):
        public(known, into=into, method=True, inplace=inplace, out=out)(function)
    if special:
        public(special, into="special", out=out)(function)
    return function


def binary_function(
    op: Operator,
    doc: str,
    *aliases: str,
    numbers: bool = True,
    special: str | None = None,
    inplace: bool = True,
) -> Callable[[Any, Any], Tensor]:
    """Makes the public function of an operator of two operands; ``numbers`` may be operands unless it is False."""
    name = op.name

    def function(input: Any, other: Any) -> Tensor:
        if not numbers or not isinstance(input, Tensor):
            checked_tensor(name, "input", 1, input)
            if not numbers:
                checked_tensor(name, "other", 2, other)
        return op(input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    for known in (name, *aliases):
        public(known, method=True, inplace=inplace, out=True)(function)
    if special:
        public(special, into="special", out=True)(function)
    return function


def conj(tensor: Tensor) -> Tensor:
    """The conjugate, which is the tensor itself unless it is complex."""
    return tensor.conj() if tensor.dtype.is_complex else tensor


def no_slope(grad: Tensor) -> Tensor:
    """The derivative of what is constant between its steps."""
    return grad.new_zeros(grad.shape)


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
    return ADD(input, other if alpha == 1 and alpha is not True else scaled(input, other, alpha))


def scaled(input: Any, other: Any, alpha: Any) -> Any:
    """``alpha * other``, refused where the types would make it lossy."""
    kind = max(_category(input), _category(other))
    given = _category(alpha)
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


def _category(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.dtype.category
    if isinstance(value, bool):
        return BOOL
    return INTEGER if isinstance(value, int) else COMPLEX if isinstance(value, complex) else FLOATING


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
    """
    _checked_sub(input, other)
    return SUB(input, other if alpha == 1 and alpha is not True else scaled(input, other, alpha))


@public(method=True)
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """``other - alpha * input``, broadcast."""
    checked_tensor("rsub", "input", 1, input)
    _checked_sub(other, input)
    return SUB(other, input if alpha == 1 and alpha is not True else scaled(other, input, alpha))


def _mul_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return (grad * conj(y) if needs[0] else None, grad * conj(x) if needs[1] else None)


MUL = binary("mul", lambda xp, x, y: xp.multiply(x, y), _mul_derivative)


@public("multiply", method=True, inplace=True, out=True)
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


@public("divide", method=True, inplace=True, out=True)
@public(method=True, inplace=True, out=True)
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, broadcast; rounded towards zero (``"trunc"``) or down (``"floor"``) if asked for.

    Raises:
        RuntimeError: for any other ``rounding_mode``.
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
    """``input / other``, broadcast; never rounded."""
    return DIV(input, other)


NEG = unary("neg", lambda xp, x: xp.negative(x), lambda grad: -grad)


@public("negative", method=True, inplace=True, out="exact")
@public(method=True, inplace=True, out="exact")
def neg(input: Tensor) -> Tensor:
    """``-input``."""
    checked_tensor("neg", "input", 1, input)
    if input.dtype.category == BOOL:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return NEG(input)


@public(method=True)
def positive(input: Tensor) -> Tensor:
    """``+input``, the tensor itself."""
    if input.dtype.category == BOOL:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


# ---------------------------------------------------------------- division with rounding, and what it leaves


def _checked_divisor(x: Any, y: Any) -> None:
    """Raises where integers would be divided by a zero that is known already."""
    if max(_category(x), _category(y)) > INTEGER:
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


@public(into="", method=True)
def trunc_divide(input: Any, other: Any) -> Tensor:
    """``input / other`` rounded towards zero, broadcast."""
    _checked_divisor(input, other)
    return DIV_TRUNC(input, other)


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
    samples=_division_samples("remainder"),
)


@public(method=True, inplace=True, out=True)
def remainder(input: Any, other: Any) -> Tensor:
    """What is left of ``input`` by floor division by ``other``, with the sign of ``other``; broadcast.

    Raises:
        RuntimeError: if an integer is divided by zero.
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
    samples=_division_samples("fmod"),
)


@public(method=True, inplace=True, out=True)
def fmod(input: Any, other: Any) -> Tensor:
    """What is left of ``input`` by truncated division by ``other``, with the sign of ``input``; broadcast."""
    checked_tensor("fmod", "input", 1, input)
    _checked_divisor(input, other)
    return FMOD(input, other)


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
    """``input + value * tensor1 * tensor2``, broadcast."""
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
