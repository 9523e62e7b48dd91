"""Variance and standard deviation, norms, and the logarithm of a sum of exponentials."""

from __future__ import annotations

import math
from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.operator import operator, public
from flambeau.ops.reduce import MEAN, reduce_rule, reduced_dims, reduced_shape, restored
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

Shape = tuple[int, ...]

# ---------------------------------------------------------------- var, std


def _count(shape: Shape, dims: Shape) -> int:
    count = 1
    for d in dims:
        count *= shape[d]
    return count


def _real_rule(x: Aval, *, dims: Shape, correction: float, keepdim: bool) -> Aval:
    return x.of(reduced_shape(x.shape, dims, keepdim), x.dtype.to_real())


def _var_kernel(xp: Any, x: Any, *, dims: Shape, correction: float, keepdim: bool) -> Any:
    away = x - xp.mean(x, axis=dims, keepdims=True, dtype=x.dtype)
    squares = (away * xp.conj(away)).real if away.dtype.kind == "c" else away * away
    free = max(_count(x.shape, dims) - correction, 0)
    total = xp.sum(squares, axis=dims, keepdims=keepdim, dtype=squares.dtype)
    return total / squares.dtype.type(free)


def _var_derivative(grad: Tensor, x: Tensor, dims: Shape, correction: float, keepdim: bool) -> Tensor:
    shape = x._node.aval.shape
    free = max(_count(shape, dims) - correction, 0)
    factor = 2 / free if free else math.inf
    return restored(grad, shape, dims, keepdim) * factor * (x - MEAN(x, dims, True))


VAR = operator(
    "var",
    _real_rule,
    _var_kernel,
    _var_derivative,
    samples=lambda: [case("var", T(3, 4)), case("var", T(3, 4), dim=1, correction=0, keepdim=True)],
)


def _std_kernel(xp: Any, x: Any, *, dims: Shape, correction: float, keepdim: bool) -> Any:
    return xp.sqrt(_var_kernel(xp, x, dims=dims, correction=correction, keepdim=keepdim))


def _std_derivative(grad: Tensor, x: Tensor, out: Tensor, dims: Shape, correction: float, keepdim: bool) -> Tensor:
    of_var = (grad / (out * 2)).masked_fill(out == 0, 0)
    return _var_derivative(of_var, x, dims, correction, keepdim)


STD = operator(
    "std",
    _real_rule,
    _std_kernel,
    _std_derivative,
    samples=lambda: [case("std", T(3, 4)), case("std", T(3, 4), dim=1, correction=0, keepdim=True)],
)


def _spread(name: str, input: Tensor, dim: Any, unbiased: Any, keepdim: bool, correction: Any) -> tuple[Any, ...]:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(
            f"{name.replace('_', ' and ') if '_' in name else 'std and var'} only support floating point and complex "
            "dtypes"
        )
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}() received both unbiased and correction, which say the same")
    if unbiased is not None:
        correction = int(unbiased)
    elif correction is None:
        correction = 1
    return reduced_dims(dim, input.ndim), correction, bool(keepdim)


@public(method=True, out=True)
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance along ``dim``: the sum of squared distances from the mean, over N - correction.

    Args:
        dim: one dimension or several; all if None.
        unbiased: True for ``correction=1`` (the default), False for 0.
        correction: what to take off the number of elements.

    Example:
        >>> import flambeau as torch
        >>> torch.var(torch.tensor([1., 2., 3.]))
        tensor(1.)
    """
    return VAR(input, *_spread("var", input, dim, unbiased, keepdim, correction))


@public(method=True, out=True)
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation along ``dim``, the root of :func:`var`.

    Example:
        >>> import flambeau as torch
        >>> torch.std(torch.tensor([1., 2., 3.])), torch.std(torch.tensor([1., 3.]), unbiased=False)
        (tensor(1.), tensor(1.))
    """
    return STD(input, *_spread("std", input, dim, unbiased, keepdim, correction))


@public()
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean along ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.var_mean(torch.tensor([[1., 3.], [2., 2.]]), dim=1)
        (tensor([2., 0.]), tensor([2., 2.]))
    """
    dims, correction, keepdim = _spread("var_mean", input, dim, unbiased, keepdim, correction)
    return VAR(input, dims, correction, keepdim), MEAN(input, dims, keepdim)


@public()
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean along ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.std_mean(torch.tensor([[1., 3.], [2., 2.]]), dim=1, correction=0)
        (tensor([1., 0.]), tensor([2., 2.]))
    """
    dims, correction, keepdim = _spread("std_mean", input, dim, unbiased, keepdim, correction)
    return STD(input, dims, correction, keepdim), MEAN(input, dims, keepdim)


# ---------------------------------------------------------------- norm


def _norm_rule(x: Aval, *, p: float, dims: Shape, keepdim: bool) -> Aval:
    return x.of(reduced_shape(x.shape, dims, keepdim), x.dtype.to_real())


def _norm_kernel(xp: Any, x: Any, *, p: float, dims: Shape, keepdim: bool) -> Any:
    options = {"axis": dims, "keepdims": keepdim}
    if p == 2:
        squares = x.real * x.real + x.imag * x.imag if x.dtype.kind == "c" else x * x
        return xp.sqrt(xp.sum(squares, dtype=squares.dtype, **options))
    size = xp.abs(x)
    if p == math.inf:
        return xp.max(size, initial=0, **options)
    if p == -math.inf:
        return xp.min(size, initial=math.inf, **options)
    if p == 0:
        return xp.sum(x != 0, dtype=size.dtype, **options)
    if p == 1:
        return xp.sum(size, dtype=size.dtype, **options)
    return xp.sum(size ** size.dtype.type(p), dtype=size.dtype, **options) ** size.dtype.type(1 / p)


def _norm_derivative(grad: Tensor, x: Tensor, out: Tensor, p: float, dims: Shape, keepdim: bool) -> Tensor | None:
    shape = x._node.aval.shape
    grad, out = restored(grad, shape, dims, keepdim), restored(out, shape, dims, keepdim)
    if p == 0:
        return x.new_zeros(shape)
    if p == 1:
        return x.sgn() * grad
    if p == 2:
        return x * (grad / out).masked_fill(out == 0, 0)
    if math.isinf(p):
        chosen = x.abs() == out
        return x.sgn() * chosen * (grad / chosen.sum(dims, keepdim=True) if dims else grad)
    size = x.abs()
    if p < 1:
        pulled = (x.sgn() * size.pow(p - 1)).masked_fill(x == 0, 0)
        return pulled * grad * out.pow(1 - p)
    if p < 2:
        pulled = x.sgn() * size.pow(p - 1)
        return pulled * (grad / out.pow(p - 1)).masked_fill(out == 0, 0)
    return x * size.pow(p - 2) * (grad / out.pow(p - 1)).masked_fill(out == 0, 0)


NORM = operator(
    "norm",
    _norm_rule,
    _norm_kernel,
    _norm_derivative,
    grad_name="LinalgVectorNormBackward0",
    samples=lambda: [
        case("norm", T(3, 4)),
        case("norm", T(3, 4), 1, 1),
        case("norm", T(3, 4), 3, 0, True),
        case("norm", T(3, 4), 1.5, 0),
        case("norm", T(3, 4), math.inf, 1),
    ],
)


@public(method=True)
def norm(
    input: Tensor,
    p: Any = "fro",
    dim: Any = None,
    keepdim: bool = False,
    out: Any = None,
    dtype: dtypes.dtype | None = None,
) -> Tensor:
    """The p-norm of the elements along ``dim``: ``(sum |x|^p)^(1/p)``.

    Args:
        p: a number, inf and -inf included, ``"fro"`` (the same as 2) or ``"nuc"``, the sum of singular values.
        dim: one dimension or several; all if None.

    Raises:
        RuntimeError: for integer and bool tensors.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[3., 4.], [0., -5.]])
        >>> torch.norm(x), torch.norm(x, p=1, dim=1)
        (tensor(7.0711), tensor([7., 5.]))
    """
    if dtype is not None:
        input = input.to(dtype)
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got " + input.dtype.title
        )
    if p == "nuc":
        dims = (-2, -1) if dim is None else dim
        result = input.movedim(tuple(dims), (-2, -1))
        from flambeau.ops.operator import NAMESPACES

        result = NAMESPACES["linalg"]["svdvals"](result).sum(-1)
        if keepdim:
            for d in sorted(reduced_dims(dims, input.ndim)):
                result = result.unsqueeze(d)
    else:
        if p == "fro" or p is None:
            p = 2
        if isinstance(p, str):
            raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found: {p}")
        result = NORM(input, float(p), reduced_dims(dim, input.ndim), bool(keepdim))
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    return write_out("norm", result, out, "exact")


# ---------------------------------------------------------------- logsumexp


def _logsumexp_kernel(xp: Any, x: Any, *, dims: Shape, keepdim: bool) -> Any:
    if x.dtype.kind == "c":
        top = xp.max(x.real, axis=dims, keepdims=True, initial=-math.inf)
    else:
        top = xp.max(x, axis=dims, keepdims=True, initial=-math.inf)
    top = xp.where(xp.isinf(top), xp.zeros((), top.dtype), top)
    total = xp.log(xp.sum(xp.exp(x - top), axis=dims, keepdims=True, dtype=x.dtype)) + top
    return total if keepdim else xp.squeeze(total, dims)


def _logsumexp_derivative(grad: Tensor, x: Tensor, out: Tensor, dims: Shape, keepdim: bool) -> Tensor:
    shape = x._node.aval.shape
    share = (x - restored(out, shape, dims, keepdim)).exp()
    return restored(grad, shape, dims, keepdim) * (share.conj() if x.dtype.is_complex else share)


LOGSUMEXP = operator(
    "logsumexp",
    reduce_rule,
    _logsumexp_kernel,
    _logsumexp_derivative,
    promote="float",
    samples=lambda: [case("logsumexp", T(3, 4), 1), case("logsumexp", T(3, 4), (0, 1), True)],
)


@public(into="torch special", method=True, out=True)
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(input)))`` along ``dim``, without overflow.

    Example:
        >>> import flambeau as torch
        >>> torch.logsumexp(torch.tensor([1000., 1000.]), 0)
        tensor(1000.6932)
    """
    return LOGSUMEXP(input, reduced_dims(dim, input.ndim), bool(keepdim))
