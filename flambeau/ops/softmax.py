"""Softmax and its logarithm."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.norm_layer import sum_product
from flambeau.ops.operator import operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- what the family shares


def _rule_named(kernel: str) -> Any:
    def rule(x: Aval, *, dim: int) -> Aval:
        if x.dtype.category != dtypes.FLOATING:
            raise NotImplementedError(
                f"\"{kernel}\" not implemented for '{x.dtype.title}' (given {x}: convert it with .float(), or give "
                "dtype=)"
            )
        return x.of()

    return rule


def _backward_rule(g: Aval, y: Aval, *, dim: int) -> Aval:
    return y.of()


def _axis_of(x: Any, dim: int) -> int | None:
    """The axis for NumPy, which knows none in an array without dimensions."""
    return dim if x.ndim else None


def _shifted(xp: Any, x: Any, axis: int | None) -> Any:
    """Logits less their largest, so that no exponential overflows."""
    return x - xp.max(x, axis=axis, keepdims=True, initial=-xp.inf)


def _exp(xp: Any, x: Any) -> Any:
    """Exponential; in NumPy it takes over the memory of its operand, which must be the caller's own."""
    if xp.__name__ == "numpy" and x.ndim:
        return xp.exp(x, out=x)
    return xp.exp(x)


def _samples(name: str) -> Any:
    return lambda: [
        case(name, T(3, 4), dim=1),
        case(name, T(2, 3, 4), dim=0),
        case(name, T(2, 3, 4), dim=-2),
        case(name, T(), dim=0),
        case(name, T(0, 3), dim=0),
        case(name, T(2, 0), dim=1),
        case(name, T(3, 4, low=-300.0, high=300.0), dim=1, gradgrad=False, finite=False),
    ]


# ---------------------------------------------------------------- softmax


def _softmax_kernel(xp: Any, x: Any, *, dim: int) -> Any:
    axis = _axis_of(x, dim)
    e = _exp(xp, _shifted(xp, x, axis))
    e /= xp.sum(e, axis=axis, keepdims=True)
    return e


def _softmax_derivative(grad: Tensor, out: Tensor, dim: int) -> Tensor:
    return SOFTMAX_BACKWARD(grad, out, dim)


SOFTMAX = operator(
    "softmax",
    _rule_named("softmax_lastdim_kernel_impl"),
    _softmax_kernel,
    _softmax_derivative,
    samples=_samples("softmax"),
)


def _softmax_backward_kernel(xp: Any, g: Any, y: Any, *, dim: int) -> Any:
    axes = (dim,) if y.ndim else ()
    difference = g - sum_product(xp, g, y, axes)
    # Where nearly all weight is on one element, the difference is nearly nothing, and the rounding of the sum would
    # be most of it; as weights add up to one, the same sum of what is left is that rounding.
    difference -= sum_product(xp, difference, y, axes)
    difference *= y
    return difference


def _softmax_backward_derivative(grad: Tensor, g: Tensor, y: Tensor, dim: int, needs: tuple[bool, ...]) -> Any:
    first = SOFTMAX_BACKWARD(grad, y, dim) if needs[0] else None
    if not needs[1]:
        return first, None
    return first, grad * (g - (g * y).sum(dim, keepdim=True)) - g * (grad * y).sum(dim, keepdim=True)


SOFTMAX_BACKWARD = operator(
    "softmax_backward",
    _backward_rule,
    _softmax_backward_kernel,
    _softmax_backward_derivative,
    samples=lambda: [case("softmax", T(3, 4), dim=1)],
)


# ---------------------------------------------------------------- log_softmax


def _log_softmax_kernel(xp: Any, x: Any, *, dim: int) -> Any:
    axis = _axis_of(x, dim)
    shifted = _shifted(xp, x, axis)
    shifted -= xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
    return shifted


def _log_softmax_derivative(grad: Tensor, out: Tensor, dim: int) -> Tensor:
    return LOG_SOFTMAX_BACKWARD(grad, out, dim)


LOG_SOFTMAX = operator(
    "log_softmax",
    _rule_named("log_softmax_lastdim_kernel_impl"),
    _log_softmax_kernel,
    _log_softmax_derivative,
    samples=_samples("log_softmax"),
)


def _log_softmax_backward_kernel(xp: Any, g: Any, y: Any, *, dim: int) -> Any:
    return g - xp.exp(y) * xp.sum(g, axis=_axis_of(y, dim), keepdims=True)


def _log_softmax_backward_derivative(grad: Tensor, g: Tensor, y: Tensor, dim: int, needs: tuple[bool, ...]) -> Any:
    p = y.exp()
    weighed = grad * p
    first = grad - weighed.sum(dim, keepdim=True) if needs[0] else None
    second = -weighed * g.sum(dim, keepdim=True) if needs[1] else None
    return first, second


LOG_SOFTMAX_BACKWARD = operator(
    "log_softmax_backward",
    _backward_rule,
    _log_softmax_backward_kernel,
    _log_softmax_backward_derivative,
    samples=lambda: [case("log_softmax", T(3, 4), dim=1)],
)


# ---------------------------------------------------------------- public functions


def implicit_dim(name: str, ndim: int, stacklevel: int = 3) -> int:
    """The dimension that is taken where none is given, with a warning; ``stacklevel`` is accepted and not needed."""
    warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
    )
    return 0 if ndim in (0, 1, 3) else 1


def _applied(op: Any, input: Tensor, dim: int, dtype: dtypes.dtype | None) -> Tensor:
    if dtype is not None and dtype is not input.dtype:
        input = input.to(dtype)
    return op(input, wrapped_dim(dim, input.ndim))


@public("softmax", into="torch special", method=True, out="exact")
def _softmax(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """``exp(xᵢ) / Σⱼ exp(xⱼ)`` along ``dim``.

    Args:
        dtype: convert to it first.

    Raises:
        IndexError: if ``dim`` is out of range.
        NotImplementedError: for integers, unless ``dtype`` is given.

    Example:
        >>> import flambeau as torch
        >>> torch.softmax(torch.zeros(2), dim=0)
        tensor([0.5000, 0.5000])
    """
    return _applied(SOFTMAX, input, dim, dtype)


@public("log_softmax", into="torch special", method=True, out="exact")
def _log_softmax(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """``xᵢ - log Σⱼ exp(xⱼ)`` along ``dim``, without overflow; arguments as of ``softmax``.

    Example:
        >>> import flambeau as torch
        >>> torch.log_softmax(torch.tensor([[0., 0.], [0., 100.]]), dim=1)
        tensor([[  -0.6931,   -0.6931],
                [-100.0000,    0.0000]])
    """
    return _applied(LOG_SOFTMAX, input, dim, dtype)


@public(into="nn.functional")
def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """``exp(xᵢ) / Σⱼ exp(xⱼ)`` along ``dim``; without ``dim`` one is chosen, with a warning.

    Shape: that of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.softmax(torch.tensor([[1., 3.], [2., 2.]]).log(), dim=1)
        tensor([[0.2500, 0.7500],
                [0.5000, 0.5000]])
    """
    if dim is None:
        dim = implicit_dim("softmax", input.ndim)
    return _applied(SOFTMAX, input, dim, dtype)


@public(into="nn.functional")
def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None
) -> Tensor:
    """The logarithm of ``softmax``, computed without overflow.

    Shape: that of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.log_softmax(torch.tensor([0., 0., 0.]), dim=0)
        tensor([-1.0986, -1.0986, -1.0986])
    """
    if dim is None:
        dim = implicit_dim("log_softmax", input.ndim)
    return _applied(LOG_SOFTMAX, input, dim, dtype)


@public(into="nn.functional")
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """``softmax(-input)``: small elements get large weights.

    Shape: that of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.softmin(torch.tensor([1., 3.]).log(), dim=0)
        tensor([0.7500, 0.2500])
    """
    if dim is None:
        dim = implicit_dim("softmin", input.ndim)
    return _applied(SOFTMAX, -input, dim, dtype)


@public(into="nn.functional")
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Samples of the Gumbel-softmax distribution: ``softmax((logits + Gumbel noise) / tau)``.

    Args:
        tau: the temperature; small values are near to one-hot.
        hard: give one-hot samples, whose gradient is that of the soft ones.
        eps: has no effect, and warns when changed.

    Jang, Gu and Poole, Categorical Reparameterization with Gumbel-Softmax, ICLR 2017.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.gumbel_softmax(torch.tensor([[0., 100.]]), hard=True)
        tensor([[0., 1.]])
    """
    if eps != 1e-10:
        warn("`eps` parameter is deprecated and has no effect.")
    from flambeau.ops.operator import NAMESPACES

    noise = -NAMESPACES["torch"]["empty_like"](logits).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = NAMESPACES["torch"]["zeros_like"](logits).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
