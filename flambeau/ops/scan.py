"""Running sums, products and extremes along a dimension, and differences of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.compare import check_ordered
from flambeau.ops.join import CAT
from flambeau.ops.operator import Operator, operator, public
from flambeau.ops.outs import written
from flambeau.ops.samples import T, case
from flambeau.ops.slicing import SLICE
from flambeau.ops.views import wrapped_dim
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

Shape = tuple[int, ...]


def _same_rule(x: Aval, *, dim: int) -> Aval:
    return x.of()


def _wide(name: str, input: Tensor, dtype: dtypes.dtype | None) -> Tensor:
    """The operand in the type that it is accumulated in."""
    if dtype is dtypes.bool_:
        raise NotImplementedError(f"\"{name}_out_cpu\" not implemented for 'Bool' (give another dtype=)")
    if dtype is None and input.dtype.category < dtypes.FLOATING:
        dtype = dtypes.int64
    return input if dtype is None else input.to(dtype)


# ---------------------------------------------------------------- cumsum


def _cumsum_kernel(xp: Any, x: Any, *, dim: int) -> Any:
    return xp.cumsum(x, axis=dim, dtype=x.dtype) if x.ndim else x


def _cumsum_derivative(grad: Tensor, dim: int) -> Tensor:
    return CUMSUM(grad.flip(dim), dim).flip(dim) if grad.ndim else grad


CUMSUM = operator(
    "cumsum",
    _same_rule,
    _cumsum_kernel,
    _cumsum_derivative,
    samples=lambda: [case("cumsum", T(3, 4), 1), case("cumsum", T(3, 4), 0), case("cumsum", T(), 0)],
)


@public(method=True, inplace=True, out="typed")
def cumsum(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Running sums along ``dim``; integers and bools are summed as int64 unless ``dtype`` is given.

    Example:
        >>> import flambeau as torch
        >>> torch.cumsum(torch.tensor([1, 2, 3]), 0)
        tensor([1, 3, 6])
    """
    return CUMSUM(_wide("cumsum", input, dtype), wrapped_dim(dim, input.ndim))


# ---------------------------------------------------------------- linear recurrence


def _recurrence_rule(a: Aval, b: Aval, *, dim: int) -> Aval:
    return a.of()


def _recurrence_numpy(xp: Any, a: Any, b: Any, *, dim: int) -> Any:
    out = np.array(a)
    steps, rates = np.moveaxis(out, dim, 0), np.moveaxis(b, dim, 0)
    for t in range(1, len(steps)):
        steps[t] += rates[t] * steps[t - 1]
    return out


def _recurrence_lax(xp: Any, a: Any, b: Any, *, dim: int) -> Any:
    from jax import lax

    def join(first: Any, second: Any) -> Any:
        return second[0] + second[1] * first[0], first[1] * second[1]

    return lax.associative_scan(join, (a, b), axis=dim)[0] if a.shape[dim] else a


def _recurrence_derivative(grad: Tensor, b: Tensor, out: Tensor, dim: int) -> Any:
    rates = b.conj() if b.dtype.is_complex else b
    back = RECURRENCE(grad.flip(dim), _shifted(rates.flip(dim), dim, 0), dim).flip(dim)
    former = _shifted(out, dim, 0)
    return back, back * (former.conj() if former.dtype.is_complex else former)


def _shifted(x: Tensor, dim: int, first: float) -> Tensor:
    """The elements one place further on along a dimension, with ``first`` in front."""
    n = x._node.aval.shape[dim]
    if not n:
        return x
    shape = list(x._node.aval.shape)
    shape[dim] = 1
    return CAT([x.new_full(tuple(shape), first), SLICE(x, 0, dim, n - 1, 1)], dim)


RECURRENCE = operator(
    "linear_recurrence",
    _recurrence_rule,
    None,
    _recurrence_derivative,
    numpy=_recurrence_numpy,
    lax=_recurrence_lax,
    promote="common",
    samples=lambda: [case("cumprod", T(3, 4), 1)],
)
"""``h[t] = a[t] + b[t] * h[t - 1]`` along a dimension, from ``h[0] = a[0]``."""


# ---------------------------------------------------------------- cumprod


def _cumprod_kernel(xp: Any, x: Any, *, dim: int) -> Any:
    return xp.cumprod(x, axis=dim, dtype=x.dtype) if x.ndim else x


def _cumprod_derivative(grad: Tensor, x: Tensor, dim: int) -> Tensor:
    # dx[k] is the product before k times s[k] = g[k] + x[k+1] s[k+1]: no division, so zeros do no harm.
    if not x.ndim:
        return grad
    factors = x.conj() if x.dtype.is_complex else x
    after = RECURRENCE(grad.flip(dim), _shifted(factors.flip(dim), dim, 0), dim).flip(dim)
    return CUMPROD(_shifted(factors, dim, 1), dim) * after


CUMPROD = operator(
    "cumprod",
    _same_rule,
    _cumprod_kernel,
    _cumprod_derivative,
    samples=lambda: [case("cumprod", T(3, 4), 1), case("cumprod", T(3, 4), 0), case("cumprod", T(), 0)],
)


@public(method=True, inplace=True, out="typed")
def cumprod(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """Running products along ``dim``; integers and bools as int64 unless ``dtype`` is given.

    Shape: that of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.cumprod(torch.tensor([[1, 2, 3], [4, 5, 6]]), dim=1)
        tensor([[  1,   2,   6],
                [  4,  20, 120]])
    """
    return CUMPROD(_wide("cumprod", input, dtype), wrapped_dim(dim, input.ndim))


def product_of_others(x: Tensor, dim: int) -> Tensor:
    """For each element the product of all others along a dimension, without dividing."""
    before = CUMPROD(_shifted(x, dim, 1), dim)
    after = CUMPROD(_shifted(x.flip(dim), dim, 1), dim).flip(dim)
    return before * after


# ---------------------------------------------------------------- logcumsumexp


def _logcumsumexp_numpy(xp: Any, x: Any, *, dim: int) -> Any:
    return (
        np.logaddexp.accumulate(x, axis=dim, dtype=x.dtype) if x.ndim and x.dtype.kind == "f" else _log_scan(np, x, dim)
    )


def _log_scan(xp: Any, x: Any, dim: int) -> Any:
    if not x.ndim or not x.shape[dim]:
        return x
    parts = xp.moveaxis(x, dim, 0)
    out = [parts[0]]
    for part in parts[1:]:
        out.append(_log_add(xp, out[-1], part))
    return xp.stack(out, axis=dim)


def _log_add(xp: Any, a: Any, b: Any) -> Any:
    high = xp.where(a.real >= b.real, a, b)
    low = xp.where(a.real >= b.real, b, a)
    equal = xp.isinf(a.real) & (a == b)
    return xp.where(equal, a, high + xp.log1p(xp.exp(xp.where(equal, xp.zeros_like(low), low - high))))


def _logcumsumexp_lax(xp: Any, x: Any, *, dim: int) -> Any:
    from jax import lax

    if not x.ndim or not x.size:
        return x
    if x.dtype.kind == "c":
        return lax.associative_scan(lambda a, b: _log_add(xp, a, b), x, axis=dim)
    return lax.cumlogsumexp(x, axis=dim)


def _logcumsumexp_derivative(grad: Tensor, x: Tensor, out: Tensor, dim: int) -> Tensor:
    # dx[k] = exp(x[k] - out[k]) u[k] with u[k] = g[k] + exp(out[k] - out[k+1]) u[k+1]: no factor overflows.
    n = x._node.aval.shape[dim] if x.ndim else 1
    if not x.ndim or not n:
        return grad
    later = CAT([SLICE(out, 1, dim, n - 1, 1), SLICE(out, n - 1, dim, 1, 1)], dim)
    fade, share = _no_nan((out - later).exp()), _no_nan((x - out).exp())
    if x.dtype.is_complex:
        fade, share = fade.conj(), share.conj()
    return RECURRENCE(grad.flip(dim), fade.flip(dim), dim).flip(dim) * share


def _no_nan(x: Tensor) -> Tensor:
    return x.masked_fill(x != x, 0)


LOGCUMSUMEXP = operator(
    "logcumsumexp",
    _same_rule,
    None,
    _logcumsumexp_derivative,
    numpy=_logcumsumexp_numpy,
    lax=_logcumsumexp_lax,
    samples=lambda: [case("logcumsumexp", T(3, 4), 1), case("logcumsumexp", T(3, 4), 0)],
)


@public(method=True, out="exact")
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """``log(cumsum(exp(input)))`` along ``dim``, without overflow.

    Shape: that of ``input``.

    Raises:
        NotImplementedError: unless the type is floating or complex.

    Example:
        >>> import flambeau as torch
        >>> torch.logcumsumexp(torch.tensor([1., 1., 2.]).log(), dim=0).exp()
        tensor([1., 2., 4.])
    """
    if input.dtype.category < dtypes.FLOATING:
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{input.dtype.title}'")
    return LOGCUMSUMEXP(input, wrapped_dim(dim, input.ndim))


# ---------------------------------------------------------------- cummax, cummin


def _running_rule(x: Aval, *, dim: int) -> tuple[Aval, Aval]:
    return x.of(), x.of(dtype=dtypes.int64)


def _running(name: str, ufunc: str) -> Operator:

    def kernel_numpy(xp: Any, x: Any, *, dim: int) -> Any:
        if not x.ndim or not x.shape[dim]:
            return x, np.zeros(x.shape, np.int64)
        values = getattr(np, ufunc).accumulate(x, axis=dim)
        return values, _last_record(np, x, values, dim, np.maximum.accumulate)

    def kernel_lax(xp: Any, x: Any, *, dim: int) -> Any:
        from jax import lax

        if not x.ndim or not x.shape[dim]:
            return x, xp.zeros(x.shape, xp.int64)
        values = lax.associative_scan(getattr(xp, ufunc), x, axis=dim)
        return values, _last_record(xp, x, values, dim, lambda a, axis: lax.cummax(a, axis=axis))

    def derivative(grads: list[Tensor], outs: list[Tensor], dim: int) -> Tensor:
        grad, indices = grads[0], outs[1]
        if not indices.ndim:
            return grad
        return grad.new_zeros(grad.shape).scatter_add(dim, indices, grad)

    return operator(
        name,
        _running_rule,
        None,
        derivative,
        numpy=kernel_numpy,
        lax=kernel_lax,
        samples=lambda: [case(name, T(3, 4), 1), case(name, T(3, 4), 0)],
    )


def _last_record(xp: Any, x: Any, values: Any, dim: int, cummax: Any) -> Any:
    """Where along a dimension the running extreme was last reached."""
    shape = [1] * x.ndim
    shape[dim] = -1
    places = xp.reshape(xp.arange(x.shape[dim]), shape)
    reached = (x == values) | (x != x)
    return cummax(xp.where(reached, places, 0), axis=dim).astype(xp.int64)


CUMMAX = _running("cummax", "maximum")
CUMMIN = _running("cummin", "minimum")


@public(method=True)
def cummax(input: Tensor, dim: int, *, out: Any = None) -> Any:
    """Running maxima along ``dim``, and where each was last reached.

    Shape: that of ``input``, twice.

    Example:
        >>> import flambeau as torch
        >>> values, indices = torch.cummax(torch.tensor([1, 3, 2, 3]), dim=0)
        >>> values, indices
        (tensor([1, 3, 3, 3]), tensor([0, 1, 1, 3]))
    """
    check_ordered("cummax_helper_cpu", input)
    return written(named("cummax", *CUMMAX(input, wrapped_dim(dim, input.ndim))), out)


@public(method=True)
def cummin(input: Tensor, dim: int, *, out: Any = None) -> Any:
    """Running minima along ``dim``, and where each was last reached.

    Shape: that of ``input``, twice.

    Example:
        >>> import flambeau as torch
        >>> values, indices = torch.cummin(torch.tensor([3, 1, 2, 1]), dim=0)
        >>> values, indices
        (tensor([3, 1, 1, 1]), tensor([0, 1, 1, 3]))
    """
    check_ordered("cummin_helper_cpu", input)
    return written(named("cummin", *CUMMIN(input, wrapped_dim(dim, input.ndim))), out)
