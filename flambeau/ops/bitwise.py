"""Operations on bits, shifts, and common divisors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.dtypes import BOOL, FLOATING
from flambeau.graph.node import Aval
from flambeau.ops.operator import INTEGER_RESULT, Operator, public
from flambeau.ops.pointwise import (
    binary,
    binary_function,
    broadcast_rule,
    checked_one_tensor,
    not_implemented,
    unary,
    unary_function,
    with_example,
)
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor


def _bits_rule(name: str, bools: bool = True) -> Callable[[Aval, Aval], Aval]:
    def rule(x: Aval, y: Aval) -> Aval:
        if x.dtype.category >= FLOATING or (x.dtype.category == BOOL and not bools):
            raise not_implemented(name, x.dtype)
        return broadcast_rule(x, y)

    return rule


def _integers(name: str, low: int = -9, high: int = 9, second: tuple[int, int] = (-9, 9)) -> Callable[[], list[Any]]:
    x = {"dtype": "int64", "low": low, "high": high}
    y = {"dtype": "int64", "low": second[0], "high": second[1]}
    return lambda: [
        case(name, T(3, 4, **x), T(3, 4, **y)),
        case(name, T(3, 1, **x), T(4, **y)),
        case(name, T(0, **x), T(1, **y)),
    ]


# ---------------------------------------------------------------- and, or, xor, not


def _bitwise(name: str, kernel: Callable[..., Any], words: str, example: str) -> Callable[[Any, Any], Tensor]:
    op = binary(
        name,
        kernel,
        INTEGER_RESULT,
        rule=_bits_rule(name),
        samples=lambda: [
            *_integers(name)(),
            case(name, T(6, dtype="bool"), T(6, dtype="bool")),
            case(name, T(3, dtype="int32"), 6),
        ],
    )

    doc = f"The bits that are set in {words}, broadcast; for bools the logical operation."
    shown = (f"torch.{name}(torch.tensor([0b1100, 0b0101]), 0b0110)", example)
    return _function(op, doc, "neither an integer one nor bool", shown)


def _function(op: Operator, doc: str, refused: str, example: tuple[str, str]) -> Callable[[Any, Any], Tensor]:
    """The public function of an operator on bits, either operand of which may be a number."""

    def function(input: Any, other: Any) -> Tensor:
        checked_one_tensor(op.name, input, other)
        return op(input, other)

    raises = f"Raises:\n    NotImplementedError: if the operands' common type is {refused}."
    function.__name__ = function.__qualname__ = op.name
    function.__doc__ = with_example(f"{doc}\n\n{raises}", *example)
    return public(method=True, inplace=True, out=True)(function)


bitwise_and = _bitwise("bitwise_and", lambda xp, x, y: xp.bitwise_and(x, y), "both integers", "tensor([4, 4])")
bitwise_or = _bitwise("bitwise_or", lambda xp, x, y: xp.bitwise_or(x, y), "either integer", "tensor([14,  7])")
bitwise_xor = _bitwise(
    "bitwise_xor", lambda xp, x, y: xp.bitwise_xor(x, y), "exactly one of the integers", "tensor([10,  3])"
)


def _not_rule(x: Aval) -> Aval:
    if x.dtype.category >= FLOATING:
        raise not_implemented("bitwise_not", x.dtype)
    return x.of()


BITWISE_NOT = unary(
    "bitwise_not",
    lambda xp, x: xp.logical_not(x) if x.dtype.kind == "b" else xp.invert(x),
    INTEGER_RESULT,
    rule=_not_rule,
    samples=lambda: [case("bitwise_not", T(5, dtype="int64")), case("bitwise_not", T(5, dtype="bool"))],
)
bitwise_not = unary_function(
    BITWISE_NOT,
    "Every bit turned over; for bools the logical negation.",
    out="exact",
    example=("torch.bitwise_not(torch.tensor([0, 5, -1]))", "tensor([-1, -6,  0])"),
)

# ---------------------------------------------------------------- shifts


def _left_kernel(xp: Any, x: Any, y: Any) -> Any:
    bits = x.dtype.itemsize * 8
    # More places than there are bits leave nothing, and so do negative ones.
    inside = (y >= 0) & (y < bits)
    return xp.where(inside, xp.left_shift(x, xp.where(inside, y, 0)), y * 0)


def _right_kernel(xp: Any, x: Any, y: Any) -> Any:
    bits = x.dtype.itemsize * 8
    inside = (y >= 0) & (y < bits)
    return (
        xp.right_shift(x, xp.where(inside, y, bits - 1))
        if x.dtype.kind == "i"
        else xp.where(inside, xp.right_shift(x, xp.where(inside, y, 0)), y * 0)
    )


def _shift(name: str, kernel: Callable[..., Any], doc: str, example: str) -> Callable[[Any, Any], Tensor]:
    op = binary(
        name,
        kernel,
        INTEGER_RESULT,
        rule=_bits_rule(name, bools=False),
        samples=lambda: [*_integers(name, second=(0, 9))(), case(name, T(6, dtype="uint8", low=0, high=99), 3)],
    )

    return _function(op, doc, "no integer one", (f"torch.{name}(torch.tensor([5, -8]), 2)", example))


bitwise_left_shift = _shift(
    "bitwise_left_shift",
    _left_kernel,
    "``input * 2 ** other`` by shifting bits, broadcast.",
    "tensor([ 20, -32])",
)
bitwise_right_shift = _shift(
    "bitwise_right_shift",
    _right_kernel,
    "``input // 2 ** other`` by shifting bits, keeping the sign; broadcast.",
    "tensor([ 1, -2])",
)

# ---------------------------------------------------------------- common divisors

GCD = binary(
    "gcd", lambda xp, x, y: xp.gcd(x, y), INTEGER_RESULT, rule=_bits_rule("gcd", bools=False), samples=_integers("gcd")
)
gcd = binary_function(
    GCD,
    "The greatest common divisor, never negative; broadcast.",
    numbers=False,
    example=("torch.gcd(torch.tensor([12, -8]), torch.tensor([18, 20]))", "tensor([6, 4])"),
)

LCM = binary(
    "lcm", lambda xp, x, y: xp.lcm(x, y), INTEGER_RESULT, rule=_bits_rule("lcm", bools=False), samples=_integers("lcm")
)
lcm = binary_function(
    LCM,
    "The least common multiple, never negative; broadcast.",
    numbers=False,
    example=("torch.lcm(torch.tensor([4, -6]), torch.tensor([6, 8]))", "tensor([12, 24])"),
)
