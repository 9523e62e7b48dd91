"""Comparing elements, logic on them, and choosing between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, bool_
from flambeau.graph.node import Aval
from flambeau.ops.operator import INTEGER_RESULT, operator, public
from flambeau.ops.pointwise import (
    binary,
    binary_function,
    bool_rule,
    broadcast_rule,
    broadcast_shapes,
    checked_tensor,
    common_device,
    not_implemented,
    unary,
    unary_function,
)
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- comparisons


def check_ordered(name: str, input: Tensor) -> None:
    """Raises for complex tensors, whose elements have no order."""
    if input.dtype.is_complex:
        raise RuntimeError(f"\"{name}\" not implemented for '{input.dtype.title}'")


def _comparison_rule(name: str) -> Callable[[Aval, Aval], Aval]:
    ordered = name not in ("eq", "ne")

    def rule(x: Aval, y: Aval) -> Aval:
        if ordered and x.dtype.category == COMPLEX:
            raise not_implemented(name, x.dtype)
        return broadcast_rule(x, y).of(dtype=bool_)

    return rule


def _comparison(
    name: str, kernel: Callable[..., Any], sign: str, *aliases: str, example: tuple[str, str]
) -> Callable[[Any, Any], Tensor]:
    op = binary(
        name,
        kernel,
        INTEGER_RESULT,
        rule=_comparison_rule(name),
        samples=lambda: [
            case(name, T(3, 4), T(3, 4)),
            case(name, T(6, dtype="int64", low=0, high=3), T(6, dtype="int64", low=0, high=3)),
            case(name, T(6, dtype="int64", low=0, high=3), 1.5),
            case(name, T(3, 1), T(4)),
            case(name, T(6, dtype="bool"), T(6, dtype="bool")),
        ],
    )
    return binary_function(
        op, f"Whether ``input {sign} other``, elementwise and broadcast; a bool tensor.", *aliases, example=example
    )


eq = _comparison(
    "eq",
    lambda xp, x, y: xp.equal(x, y),
    "==",
    example=("torch.eq(torch.tensor([1, 2, 3]), 2)", "tensor([False,  True, False])"),
)
ne = _comparison(
    "ne",
    lambda xp, x, y: xp.not_equal(x, y),
    "!=",
    "not_equal",
    example=("torch.ne(torch.tensor([1, 2, 3]), 2)", "tensor([ True, False,  True])"),
)
lt = _comparison(
    "lt",
    lambda xp, x, y: xp.less(x, y),
    "<",
    "less",
    example=("torch.lt(torch.tensor([1, 2, 3]), 2)", "tensor([ True, False, False])"),
)
le = _comparison(
    "le",
    lambda xp, x, y: xp.less_equal(x, y),
    "<=",
    "less_equal",
    example=("torch.le(torch.tensor([1, 2, 3]), 2)", "tensor([ True,  True, False])"),
)
gt = _comparison(
    "gt",
    lambda xp, x, y: xp.greater(x, y),
    ">",
    "greater",
    example=("torch.gt(torch.tensor([1, 2, 3]), 2)", "tensor([False, False,  True])"),
)
ge = _comparison(
    "ge",
    lambda xp, x, y: xp.greater_equal(x, y),
    ">=",
    "greater_equal",
    example=("torch.ge(torch.tensor([1, 2, 3]), 2)", "tensor([False,  True,  True])"),
)

# ---------------------------------------------------------------- logic


def _logical(
    name: str, kernel: Callable[..., Any], words: str, example: tuple[str, str]
) -> Callable[[Any, Any], Tensor]:
    op = binary(
        name,
        kernel,
        INTEGER_RESULT,
        rule=lambda x, y: broadcast_rule(x, y).of(dtype=bool_),
        promote=None,
        samples=lambda: [
            case(name, T(6, dtype="bool"), T(6, dtype="bool")),
            case(name, T(6, dtype="int64", low=0, high=2), T(6)),
        ],
    )
    return binary_function(
        op, f"Whether {words}, elementwise and broadcast; zero is False.", example=example, numbers=False
    )


logical_and = _logical(
    "logical_and",
    lambda xp, x, y: xp.logical_and(x, y),
    "both are true",
    example=(
        "torch.logical_and(torch.tensor([True, True, False]), torch.tensor([True, False, False]))",
        "tensor([ True, False, False])",
    ),
)
logical_or = _logical(
    "logical_or",
    lambda xp, x, y: xp.logical_or(x, y),
    "either is true",
    example=(
        "torch.logical_or(torch.tensor([True, True, False]), torch.tensor([True, False, False]))",
        "tensor([ True,  True, False])",
    ),
)
logical_xor = _logical(
    "logical_xor",
    lambda xp, x, y: xp.logical_xor(x, y),
    "exactly one is true",
    example=(
        "torch.logical_xor(torch.tensor([True, True, False]), torch.tensor([True, False, False]))",
        "tensor([False,  True, False])",
    ),
)

LOGICAL_NOT = unary(
    "logical_not",
    lambda xp, x: xp.logical_not(x),
    INTEGER_RESULT,
    rule=bool_rule,
    samples=lambda: [case("logical_not", T(6, dtype="bool")), case("logical_not", T(6, dtype="int64", low=0, high=2))],
)
logical_not = unary_function(
    LOGICAL_NOT,
    "Whether the element is zero.",
    example=("torch.logical_not(torch.tensor([0., 2.]))", "tensor([ True, False])"),
)

# ---------------------------------------------------------------- kinds of numbers


def _no_integer(kernel: Callable[..., Any], answer: bool) -> Callable[..., Any]:
    """A kernel that need not look at integers."""

    def run(xp: Any, x: Any) -> Any:
        if x.dtype.kind in "iub":
            return xp.full(x.shape, answer, dtype=bool)
        return kernel(xp, x)

    return run


def _real_rule(name: str) -> Callable[[Aval], Aval]:
    def rule(x: Aval) -> Aval:
        if x.dtype.category == COMPLEX:
            raise RuntimeError(f"{name} does not support complex inputs.")
        return x.of(dtype=bool_)

    return rule


ISNAN = unary("isnan", _no_integer(lambda xp, x: xp.isnan(x), False), INTEGER_RESULT, rule=bool_rule)
isnan = unary_function(
    ISNAN,
    "Whether the element is not a number (for complex ones: either part).",
    inplace=False,
    out=False,
    example=('torch.isnan(torch.tensor([1., float("nan"), float("inf")]))', "tensor([False,  True, False])"),
)
ISINF = unary("isinf", _no_integer(lambda xp, x: xp.isinf(x), False), INTEGER_RESULT, rule=bool_rule)
isinf = unary_function(
    ISINF,
    "Whether the element is infinite (for complex ones: either part).",
    inplace=False,
    out=False,
    example=('torch.isinf(torch.tensor([1., float("nan"), -float("inf")]))', "tensor([False, False,  True])"),
)
ISFINITE = unary("isfinite", _no_integer(lambda xp, x: xp.isfinite(x), True), INTEGER_RESULT, rule=bool_rule)
isfinite = unary_function(
    ISFINITE,
    "Whether the element is neither infinite nor not a number.",
    inplace=False,
    out=False,
    example=('torch.isfinite(torch.tensor([1., float("nan"), float("inf")]))', "tensor([ True, False, False])"),
)
ISPOSINF = unary("isposinf", _no_integer(lambda xp, x: x == xp.inf, False), INTEGER_RESULT, rule=_real_rule("isposinf"))
isposinf = unary_function(
    ISPOSINF,
    "Whether the element is positive infinity.",
    inplace=False,
    out="exact",
    example=('torch.isposinf(torch.tensor([float("inf"), -float("inf"), 1.]))', "tensor([ True, False, False])"),
)
ISNEGINF = unary(
    "isneginf", _no_integer(lambda xp, x: x == -xp.inf, False), INTEGER_RESULT, rule=_real_rule("isneginf")
)
isneginf = unary_function(
    ISNEGINF,
    "Whether the element is negative infinity.",
    inplace=False,
    out="exact",
    example=('torch.isneginf(torch.tensor([float("inf"), -float("inf"), 1.]))', "tensor([False,  True, False])"),
)
ISREAL = unary("isreal", lambda xp, x: xp.imag(x) == 0, INTEGER_RESULT, rule=bool_rule)
isreal = unary_function(
    ISREAL,
    "Whether the element's imaginary part is zero.",
    inplace=False,
    out=False,
    example=("torch.isreal(torch.tensor([1 + 0j, 1j]))", "tensor([ True, False])"),
)


def _signbit_rule(x: Aval) -> Aval:
    if x.dtype.category == COMPLEX:
        raise NotImplementedError("signbit is not implemented for complex tensors.")
    return x.of(dtype=bool_)


def _signbit_kernel(xp: Any, x: Any) -> Any:
    return xp.signbit(x) if x.dtype.kind == "f" else x < 0


SIGNBIT = unary("signbit", _signbit_kernel, INTEGER_RESULT, rule=_signbit_rule)
signbit = unary_function(
    SIGNBIT,
    "Whether the sign is negative; True for -0.0.",
    inplace=False,
    out="exact",
    example=("torch.signbit(torch.tensor([1., -1., -0.]))", "tensor([False,  True,  True])"),
)

# ---------------------------------------------------------------- where


def _where_rule(condition: Aval, x: Aval, y: Aval, *, dtype: dtypes.dtype) -> Aval:
    shape = broadcast_shapes(condition.shape, x.shape, y.shape)
    return Aval(shape, dtype, common_device(condition, x, y))


def _where_kernel(xp: Any, condition: Any, x: Any, y: Any, *, dtype: dtypes.dtype) -> Any:
    from flambeau.engine.kernels import converted

    # Reduced precision arrives widened, and is rounded afterwards.
    target = dtype.numpy if dtype not in dtypes.REDUCED else dtypes.float32.numpy
    return xp.where(condition, converted(x, target, xp), converted(y, target, xp))


def _where_derivative(grad: Tensor, condition: Tensor, needs: tuple[bool, ...]) -> Any:
    first = where(condition, grad, 0) if needs[1] else None
    second = where(condition, 0, grad) if needs[2] else None
    return (None, first, second)


WHERE = operator(
    "where",
    _where_rule,
    _where_kernel,
    _where_derivative,
    samples=lambda: [
        case("where", T(3, 4, dtype="bool"), T(3, 4), T(3, 4)),
        case("where", T(3, 1, dtype="bool"), T(4), T(3, 4)),
        case("where", T(3, dtype="bool"), T(3), 2.0),
        case("where", T(3, dtype="bool"), 1, T(3)),
        case("where", T(3, dtype="bool"), 1, 0),
        case("where", T(3, dtype="bool"), T(3, dtype="int64"), T(3)),
    ],
)


@public(out="exact")
def where(condition: Tensor, input: Any = None, other: Any = None, *, self: Any = None) -> Any:
    """``input`` where the condition holds and ``other`` elsewhere; all three are broadcast.

    With the condition alone, the indices at which it holds, as ``nonzero(as_tuple=True)``.

    Args:
        condition: a bool tensor.
        input, other: tensors or numbers, converted to their common type.

    Raises:
        RuntimeError: if the condition is not a bool tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.where(torch.tensor([True, False]), 1., 2.)
        tensor([1., 2.])
    """
    if self is not None:
        input = self
    checked_tensor("where", "condition", 1, condition)
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if input is None or other is None:
        raise TypeError(
            "where() received an invalid combination of arguments: give both input and other, or neither of them"
        )
    kind = condition.dtype
    if kind is not bool_:
        if kind is not dtypes.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype {kind.title}"
            )
        condition = condition.to(bool_)
    return WHERE(condition, input, other, _common_dtype(input, other))


def _common_dtype(x: Any, y: Any) -> dtypes.dtype:
    if isinstance(x, Tensor):
        if isinstance(y, Tensor):
            if x._node.aval.dtype is y._node.aval.dtype:
                return x._node.aval.dtype
            return dtypes.result_dtype((x._node.aval, y._node.aval))
        return dtypes.result_dtype((x._node.aval, _weak(y)))
    return dtypes.result_dtype((_weak(x), y._node.aval if isinstance(y, Tensor) else _weak(y)))


def _weak(value: Any) -> Aval:
    return Aval((), dtypes.of_number(value), weak=True)


@public("where", into="", method=True)
def _where_method(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """``input`` where the condition holds and ``other`` elsewhere.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1, 2]).where(torch.tensor([True, False]), 0)
        tensor([1, 0])
    """
    return where(condition, input, other)


# ---------------------------------------------------------------- maximum, minimum


def _extremum_rule(name: str) -> Callable[[Aval, Aval], Aval]:
    def rule(x: Aval, y: Aval) -> Aval:
        if x.dtype.category == COMPLEX:
            raise RuntimeError(f"{name} not implemented for complex tensors.")
        return broadcast_rule(x, y)

    return rule


def _shared(grad: Tensor, better: Tensor, tied: Tensor) -> Tensor:
    """The gradient where one operand is better, half of it where both are equal."""
    return where(better, grad, where(tied, grad / 2, 0))


def _maximum_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    tied = eq(x, y)
    # Where either is not a number, both comparisons fail and both operands get the gradient.
    first = _shared(grad, logical_not(le(x, y)), tied) if needs[0] else None
    second = _shared(grad, logical_not(ge(x, y)), tied) if needs[1] else None
    return (first, second)


def _minimum_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    tied = eq(x, y)
    first = _shared(grad, logical_not(ge(x, y)), tied) if needs[0] else None
    second = _shared(grad, logical_not(le(x, y)), tied) if needs[1] else None
    return (first, second)


MAXIMUM = binary(
    "maximum", lambda xp, x, y: xp.maximum(x, y), _maximum_derivative, rule=_extremum_rule("maximum"), numbers=False
)
maximum = binary_function(
    MAXIMUM,
    "The larger of two elements, broadcast; nan if either is.",
    numbers=False,
    inplace=False,
    example=(
        'torch.maximum(torch.tensor([1., 5., float("nan")]), torch.tensor([3., 2., 0.]))',
        "tensor([3., 5., nan])",
    ),
)
MINIMUM = binary(
    "minimum", lambda xp, x, y: xp.minimum(x, y), _minimum_derivative, rule=_extremum_rule("minimum"), numbers=False
)
minimum = binary_function(
    MINIMUM,
    "The smaller of two elements, broadcast; nan if either is.",
    numbers=False,
    inplace=False,
    example=(
        'torch.minimum(torch.tensor([1., 5., float("nan")]), torch.tensor([3., 2., 0.]))',
        "tensor([1., 2., nan])",
    ),
)


def _chosen(grad: Tensor, first: Tensor, needs: tuple[bool, ...]) -> Any:
    return (where(first, grad, 0) if needs[0] else None, where(first, 0, grad) if needs[1] else None)


def _fmax_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return _chosen(grad, logical_or(ge(x, y), isnan(y)), needs)


def _fmin_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    return _chosen(grad, logical_or(le(x, y), isnan(y)), needs)


FMAX = binary("fmax", lambda xp, x, y: xp.fmax(x, y), _fmax_derivative, rule=_extremum_rule("fmax"), numbers=False)
fmax = binary_function(
    FMAX,
    "The larger of two elements, broadcast; the other one if one is nan.",
    numbers=False,
    inplace=False,
    example=('torch.fmax(torch.tensor([1., 5., float("nan")]), torch.tensor([3., 2., 0.]))', "tensor([3., 5., 0.])"),
)
FMIN = binary("fmin", lambda xp, x, y: xp.fmin(x, y), _fmin_derivative, rule=_extremum_rule("fmin"), numbers=False)
fmin = binary_function(
    FMIN,
    "The smaller of two elements, broadcast; the other one if one is nan.",
    numbers=False,
    inplace=False,
    example=('torch.fmin(torch.tensor([1., 5., float("nan")]), torch.tensor([3., 2., 0.]))', "tensor([1., 2., 0.])"),
)

# ---------------------------------------------------------------- clamp


def _clamp_rule(x: Aval, low: Aval | None, high: Aval | None) -> Aval:
    if x.dtype.category == COMPLEX:
        raise NotImplementedError("clamp is not supported for complex types")
    given = [aval for aval in (x, low, high) if aval is not None]
    return Aval(broadcast_shapes(*[aval.shape for aval in given]), x.dtype, common_device(*given))


def _clamp_kernel(xp: Any, x: Any, low: Any, high: Any) -> Any:
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


def _clamp_numpy(np: Any, x: Any, low: Any, high: Any) -> Any:
    if low is None or high is None or x.dtype.kind == "b":
        return _clamp_kernel(np, x, low, high)
    return np.clip(x, low, high)


def _clamp_derivative(grad: Tensor, x: Tensor, low: Tensor | None, high: Tensor | None, needs: tuple[bool, ...]) -> Any:
    first = second = third = None
    if needs[0]:
        inside = None if low is None else ge(x, low)
        if high is not None:
            below = le(x, high)
            inside = below if inside is None else logical_and(inside, below)
        first = where(inside, grad, 0)
    if needs[1]:
        raised = lt(x, low)
        second = where(raised if high is None else logical_and(raised, lt(low, high)), grad, 0)
    if needs[2]:
        lowered = gt(x, high)
        third = where(lowered if low is None else logical_or(lowered, lt(high, low)), grad, 0)
    return (first, second, third)


CLAMP = operator(
    "clamp",
    _clamp_rule,
    _clamp_kernel,
    _clamp_derivative,
    numpy=_clamp_numpy,
    promote="common",
    grad_name=lambda call: "ClampBackward1" if _by_numbers(call) else "ClampBackward0",
    samples=lambda: [
        case("clamp", T(3, 4), -1.0, 1.0),
        case("clamp", T(3, 4), min=0.5),
        case("clamp", T(3, 4), max=0),
        case("clamp", T(3, 4), T(3, 4), T(4)),
        case("clamp", T(6, dtype="int64", low=-5, high=5), -2, 2),
    ],
)


def _by_numbers(call: Any) -> bool:
    return all(aval is None or aval.weak for aval in call.inputs[1:])


@public("clip", method=True, inplace=True, out="exact")
@public(method=True, inplace=True, out="exact")
def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Each element brought into ``[min, max]``; either bound may be a number, a tensor or None.

    Raises:
        RuntimeError: if there is no bound.

    Example:
        >>> import flambeau as torch
        >>> torch.clamp(torch.tensor([-2., 0.5, 2.]), -1, 1)
        tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    checked_tensor("clamp", "input", 1, input)
    for bound in (min, max):
        if isinstance(bound, bool) and input.dtype.category == BOOL:
            raise not_implemented("clamp_scalar", input.dtype)
        if isinstance(bound, int) and not isinstance(bound, bool) and input.dtype.category == INTEGER:
            _checked_fit(input.dtype, bound)
        elif bound is not None and not isinstance(bound, Tensor | int | float):
            dtypes.of_number(bound)
    return CLAMP(input, min, max)


def _checked_fit(dtype: dtypes.dtype, value: int) -> None:
    limits = dtypes.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")


@public(method=True, inplace=True, out=True)
def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Each element, but at least ``min``.

    Example:
        >>> import flambeau as torch
        >>> torch.clamp_min(torch.tensor([-1, 2, 5]), 0)
        tensor([0, 2, 5])
    """
    return clamp(input, min, None)


@public(method=True, inplace=True, out=True)
def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Each element, but at most ``max``.

    Example:
        >>> import flambeau as torch
        >>> torch.clamp_max(torch.tensor([-1, 2, 5]), 3)
        tensor([-1,  2,  3])
    """
    return clamp(input, None, max)


# ---------------------------------------------------------------- closeness and equality of whole tensors


def _isclose_rule(x: Aval, y: Aval, *, rtol: float, atol: float, equal_nan: bool) -> Aval:
    return broadcast_rule(x, y).of(dtype=bool_)


def _isclose_kernel(xp: Any, x: Any, y: Any, *, rtol: float, atol: float, equal_nan: bool) -> Any:
    close = x == y
    if equal_nan and x.dtype.kind in "fc":
        close = close | (xp.isnan(x) & xp.isnan(y))
    if rtol == 0 and atol == 0:
        return close
    if x.dtype.kind in "iub":
        x, y = x.astype(xp.float64), y.astype(xp.float64)
    gap = xp.abs(x - y)
    return close | (xp.isfinite(gap) & (gap <= atol + xp.abs(rtol * y)))


ISCLOSE = operator(
    "isclose",
    _isclose_rule,
    _isclose_kernel,
    INTEGER_RESULT,
    samples=lambda: [
        case("isclose", T(6), T(6)),
        case("isclose", T(6, dtype="int64"), T(6, dtype="int64"), atol=1.0),
        case("isclose", T(3, 1), T(4), rtol=0.5, equal_nan=True),
    ],
)


@public(method=True)
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether ``|input - other| <= atol + rtol * |other|``, elementwise.

    Raises:
        RuntimeError: if the types differ, or a tolerance is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.isclose(torch.tensor([1.0, 2.0]), torch.tensor([1.000001, 2.1]))
        tensor([ True, False])
    """
    checked_tensor("isclose", "input", 1, input)
    checked_tensor("isclose", "other", 2, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype.title} did not match {other.dtype.title}")
    if rtol < 0:
        raise RuntimeError(f"rtol must be greater than or equal to zero, but got {rtol}")
    if atol < 0:
        raise RuntimeError(f"atol must be greater than or equal to zero, but got {atol}")
    return ISCLOSE(input, other, float(rtol), float(atol), bool(equal_nan))


@public(method=True)
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether all elements are close, as :func:`isclose` has it; a Python bool.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1.0, float("nan")])
        >>> torch.allclose(x, x)
        False
        >>> torch.allclose(x, x, equal_nan=True)
        True
    """
    return bool(isclose(input, other, rtol, atol, equal_nan)._array().all())


@public(method=True)
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements; a Python bool.

    Raises:
        RuntimeError: for tensors on different devices.

    Example:
        >>> import flambeau as torch
        >>> torch.equal(torch.tensor([1, 2]), torch.tensor([1, 2]))
        True
        >>> torch.equal(torch.tensor([1, 2]), torch.tensor([[1, 2]]))
        False
    """
    checked_tensor("equal", "other", 2, other)
    if input.device is not other.device:
        raise RuntimeError(f"Cannot compare two tensors on different devices. Got: {input.device} and {other.device}")
    if input.shape != other.shape:
        return False
    return bool(eq(input, other)._array().all())


# ---------------------------------------------------------------- isin


def _isin_rule(x: Aval, y: Aval, *, invert: bool) -> Aval:
    return Aval(x.shape, bool_, common_device(x, y))


def _isin_numpy(xp: Any, x: Any, y: Any, *, invert: bool) -> Any:
    return xp.isin(x, y, invert=invert)


def _isin_lax(xp: Any, x: Any, y: Any, *, invert: bool) -> Any:
    # A sorted table and bisection: n log m steps, and no array of n by m.
    if y.size == 0:
        return xp.full(x.shape, invert)
    table = xp.sort(y.reshape(-1))
    place = xp.searchsorted(table, x)
    found = table[xp.clip(place, 0, table.size - 1)] == x
    return ~found if invert else found


ISIN = operator(
    "isin",
    _isin_rule,
    None,
    INTEGER_RESULT,
    numpy=_isin_numpy,
    lax=_isin_lax,
    promote="common",
    samples=lambda: [
        case("isin", T(3, 4, dtype="int64", low=0, high=5), T(3, dtype="int64", low=0, high=5)),
        case("isin", T(6, dtype="int64", low=0, high=5), 2, invert=True),
        case("isin", 2, T(6, dtype="int64", low=0, high=5)),
        case("isin", T(6), T(0)),
    ],
)


@public(out="exact")
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each of ``elements`` occurs in ``test_elements`` (or, with ``invert``, does not).

    Args:
        elements, test_elements: tensors, or one of them a number.
        assume_unique: a promise that makes no difference here.

    Raises:
        TypeError: if neither is a tensor.
        RuntimeError: for complex numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 4]))
        tensor([False,  True, False])
        >>> torch.isin(torch.tensor([1, 2, 3]), 2, invert=True)
        tensor([ True, False,  True])
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        raise TypeError("isin() received an invalid combination of arguments: at least one must be a Tensor")
    for given in (elements, test_elements):
        kind = given.dtype if isinstance(given, Tensor) else dtypes.of_number(given)
        if kind.category > FLOATING:
            raise RuntimeError(f"Unsupported input type encountered for isin(): {kind.title}")
    return ISIN(elements, test_elements, bool(invert))
