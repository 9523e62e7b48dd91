"""What the families of elementwise operators share: rules of shape and type, and the factories of operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, bool_, dtype
from flambeau.graph.node import Aval
from flambeau.ops.operator import Operator, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor


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


def with_example(doc: str, source: str, shown: str) -> str:
    """The docstring of a function that a factory makes: what it is, and an expression with what it shows."""
    lines = [
        "Example:",
        "    >>> import flambeau as torch",
        f"    >>> {source}",
        *(f"    {line}" for line in shown.splitlines()),
    ]
    return f"{doc}\n\n" + "\n".join(lines) + "\n"


def unary_function(
    op: Operator,
    doc: str,
    *aliases: str,
    example: tuple[str, str],
    into: str = "torch",
    special: str | None = None,
    inplace: bool = True,
    out: bool | str = True,
) -> Callable[[Tensor], Tensor]:
    """Makes the public function of an operator of one operand, under its name and other ones.

    ``special`` names it in the namespace ``special`` as well; ``example`` is an expression and what it shows.
    """
    name = op.name

    def function(input: Tensor) -> Tensor:
        if not isinstance(input, Tensor):
            checked_tensor(name, "input", 1, input)
        return op(input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = with_example(doc, *example)
    for known in (name, *aliases):
        public(known, into=into, method=True, inplace=inplace, out=out)(function)
    if special:
        public(special, into="special", out=out)(function)
    return function


def binary_function(
    op: Operator,
    doc: str,
    *aliases: str,
    example: tuple[str, str],
    numbers: bool = True,
    special: str | None = None,
    inplace: bool = True,
) -> Callable[[Any, Any], Tensor]:
    """Makes the public function of an operator of two operands; ``numbers`` may be operands unless it is False.

    ``special`` and ``example`` as in :func:`unary_function`.
    """
    name = op.name

    def function(input: Any, other: Any) -> Tensor:
        if not numbers or not isinstance(input, Tensor):
            checked_tensor(name, "input", 1, input)
            if not numbers:
                checked_tensor(name, "other", 2, other)
        return op(input, other)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = with_example(doc, *example)
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


def category_of(value: Any) -> int:
    """The category of a tensor's type, or of a Python number's."""
    if isinstance(value, Tensor):
        return value.dtype.category
    if isinstance(value, bool):
        return BOOL
    return INTEGER if isinstance(value, int) else COMPLEX if isinstance(value, complex) else FLOATING
