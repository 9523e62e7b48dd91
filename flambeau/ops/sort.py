"""Order: sort, topk, the k-th value, medians, quantiles and the mode."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.compare import check_ordered
from flambeau.ops.extrema import check_not_empty, put_back
from flambeau.ops.gather import GATHER
from flambeau.ops.operator import INTEGER_RESULT, labelled, operator, public
from flambeau.ops.outs import written
from flambeau.ops.reduce import reduced_shape
from flambeau.ops.samples import T, case
from flambeau.ops.views import Shape, wrapped_dim
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- argsort


def _order_rule(x: Aval, *, dim: int, descending: bool) -> Aval:
    return x.of(dtype=dtypes.int64)


def _order_numpy(xp: Any, x: Any, *, dim: int, descending: bool) -> Any:
    """The stable order; NaN is larger than all else."""
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    # Reversed before and after, so that equal elements stay in their order.
    backwards = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return x.shape[dim] - 1 - np.flip(backwards, dim)


def _order_lax(xp: Any, x: Any, *, dim: int, descending: bool) -> Any:
    if not x.ndim:
        return xp.zeros((), xp.int64)
    return xp.argsort(x, axis=dim, stable=True, descending=descending).astype(xp.int64)


ORDER = operator(
    "argsort",
    _order_rule,
    None,
    INTEGER_RESULT,
    numpy=_order_numpy,
    lax=_order_lax,
    samples=lambda: [case("argsort", T(3, 4)), case("argsort", T(3, 4), 0, True), case("argsort", T())],
)


@public(method=True)
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that put the elements along ``dim`` in order; equal elements stay in their order.

    Example:
        >>> import flambeau as torch
        >>> torch.argsort(torch.tensor([3, 1, 2]))
        tensor([1, 2, 0])
    """
    return ORDER(input, _sorted_dim(input, dim), bool(descending))


def _sorted_dim(input: Tensor, dim: int) -> int:
    if input.dtype.is_complex:
        raise RuntimeError(f"Sort does not support complex dtypes on CPU (got {input.dtype})")
    return wrapped_dim(dim, input.ndim)


# ---------------------------------------------------------------- sort


def _sort_rule(x: Aval, *, dim: int, descending: bool) -> tuple[Aval, Aval]:
    return x.of(), x.of(dtype=dtypes.int64)


def _sort_kernel(order: Any) -> Any:
    def kernel(xp: Any, x: Any, *, dim: int, descending: bool) -> Any:
        indices = order(xp, x, dim=dim, descending=descending)
        return (xp.take_along_axis(x, indices, axis=dim) if x.ndim else x), indices

    return kernel


def _sort_derivative(grads: list[Tensor], outs: list[Tensor], x_shape: Shape, dim: int) -> Tensor:
    return put_back(grads[0], outs[1], x_shape, dim, True)


SORT = operator(
    "sort",
    _sort_rule,
    None,
    _sort_derivative,
    numpy=_sort_kernel(_order_numpy),
    lax=_sort_kernel(_order_lax),
    moves=True,
    samples=lambda: [case("sort", T(3, 4)), case("sort", T(3, 4), 0, True), case("sort", T())],
)


@public(method=True)
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None) -> Any:
    """The elements in order along ``dim``, and where each came from.  Always stable; NaN is the largest.

    Example:
        >>> import flambeau as torch
        >>> torch.sort(torch.tensor([3, 1, 2])).values
        tensor([1, 2, 3])
    """
    return written(named("sort", *SORT(input, _sorted_dim(input, dim), bool(descending))), out)


@public(method=True, out="exact")
def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dimension.

    Shape: that of ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.msort(torch.tensor([[3, 1], [2, 4]]))
        tensor([[2, 1],
                [3, 4]])
    """
    return sort(input, 0)[0]


# ---------------------------------------------------------------- topk


def _topk_rule(x: Aval, *, k: int, dim: int, largest: bool) -> tuple[Aval, Aval]:
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :]) if x.shape else ()
    return x.of(shape), x.of(shape, dtypes.int64)


def _topk_numpy(xp: Any, x: Any, *, k: int, dim: int, largest: bool) -> Any:
    if not x.ndim:
        return x, np.zeros((), np.int64)
    front = (slice(None),) * dim
    n = x.shape[dim]
    if n > 64 and k < n // 4 and x.dtype.kind in "fiu":
        # Parting is linear in n; only what is chosen gets sorted.
        at = n - k if largest else k
        parted = np.argpartition(x, (at if largest else at - 1) if k else 0, axis=dim)
        chosen = parted[(*front, slice(at, None) if largest else slice(0, at))]
        chosen = np.sort(chosen, axis=dim)
        order = _order_numpy(np, np.take_along_axis(x, chosen, axis=dim), dim=dim, descending=largest)
        indices = np.take_along_axis(chosen, order, axis=dim)
    else:
        indices = _order_numpy(np, x, dim=dim, descending=largest)[(*front, slice(0, k))]
    return np.take_along_axis(x, indices, axis=dim), indices


def _topk_lax(xp: Any, x: Any, *, k: int, dim: int, largest: bool) -> Any:
    if not x.ndim:
        return x, xp.zeros((), xp.int64)
    indices = _order_lax(xp, x, dim=dim, descending=largest)[(slice(None),) * dim + (slice(0, k),)]
    return xp.take_along_axis(x, indices, axis=dim), indices


def _topk_derivative(grads: list[Tensor], outs: list[Tensor], x_shape: Shape, dim: int) -> Tensor:
    return put_back(grads[0], outs[1], x_shape, dim, True)


TOPK = operator(
    "topk",
    _topk_rule,
    None,
    _topk_derivative,
    numpy=_topk_numpy,
    lax=_topk_lax,
    moves=True,
    samples=lambda: [case("topk", T(3, 5), 2), case("topk", T(3, 5), 2, 0, False), case("topk", T(2, 80), 5)],
)


@public(method=True)
def topk(input: Tensor, k: Any, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None) -> Any:
    """The ``k`` largest (or smallest) elements along ``dim``, in order, and where they are.

    Raises:
        RuntimeError: if there are fewer than ``k``.

    Example:
        >>> import flambeau as torch
        >>> torch.topk(torch.tensor([1., 3., 2.]), 2).indices
        tensor([1, 2])
    """
    check_ordered("topk_cpu", input)
    k = int(k)
    dim = wrapped_dim(dim, input.ndim)
    if k < 0 or k > (input._node.aval.shape[dim] if input.ndim else 1):
        raise RuntimeError("selected index k out of range")
    return written(named("topk", *TOPK(input, k, dim, bool(largest))), out)


# ---------------------------------------------------------------- kthvalue, median, mode: one element of each row


def _picked_rule(x: Aval, *, dim: int, keepdim: bool) -> tuple[Aval, Aval]:
    shape = reduced_shape(x.shape, (dim,), keepdim) if x.shape else ()
    return x.of(shape), x.of(shape, dtypes.int64)


def _picked_derivative(grads: list[Tensor], outs: list[Tensor], x_shape: Shape, dim: int, keepdim: bool) -> Tensor:
    return put_back(grads[0], outs[1], x_shape, dim, keepdim)


def _picked(xp: Any, x: Any, indices: Any, dim: int, keepdim: bool) -> Any:
    """Values at indices, both as wanted: the indices come with the dimension kept."""
    values = xp.take_along_axis(x, indices, axis=dim)
    if not keepdim:
        values, indices = xp.squeeze(values, dim), xp.squeeze(indices, dim)
    return values, indices.astype(xp.int64)


def _kth_rule(x: Aval, *, dim: int, keepdim: bool, k: int) -> tuple[Aval, Aval]:
    return _picked_rule(x, dim=dim, keepdim=keepdim)


def _kth_kernel(order: Any) -> Any:
    def kernel(xp: Any, x: Any, *, dim: int, keepdim: bool, k: int) -> Any:
        if not x.ndim:
            return x, xp.zeros((), xp.int64)
        indices = order(xp, x, dim=dim, descending=False)[(slice(None),) * dim + (slice(k - 1, k),)]
        return _picked(xp, x, indices, dim, keepdim)

    return kernel


KTH = operator(
    "kthvalue",
    _kth_rule,
    None,
    _picked_derivative,
    numpy=_kth_kernel(_order_numpy),
    lax=_kth_kernel(_order_lax),
    moves=True,
    samples=lambda: [case("kthvalue", T(3, 4), 2), case("kthvalue", T(3, 4), 1, 0, True)],
)


@public(method=True)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The ``k``-th smallest element along ``dim`` (counted from 1), and its index.

    Shape: those of values and indices: that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Raises:
        RuntimeError: if ``k`` is not between 1 and the size of the dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.kthvalue(torch.tensor([30, 10, 20]), 2)
        torch.return_types.kthvalue(
        values=tensor(20),
        indices=tensor(2))
    """
    check_ordered("kthvalue_cpu", input)
    shape = input._node.aval.shape
    dim = wrapped_dim(dim, len(shape))
    check_not_empty("kthvalue()".rstrip("()"), shape, (dim,) if shape else ())
    if k < 1 or k > (shape[dim] if shape else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim}")
    return written(named("kthvalue", *KTH(input, dim, bool(keepdim), int(k))), out, input)


def _median_kernel(order: Any, skips_nan: bool) -> Any:
    def kernel(xp: Any, x: Any, *, dim: int, keepdim: bool) -> Any:
        if not x.ndim:
            return x, xp.zeros((), xp.int64)
        n = x.shape[dim]
        indices = order(xp, x, dim=dim, descending=False)
        if x.dtype.kind in "biu":
            place = xp.full(reduced_shape(x.shape, (dim,), True), (n - 1) // 2)
        else:
            good = n - xp.sum(x != x, axis=dim, keepdims=True)
            middle = (xp.maximum(good, 1) - 1) // 2
            # NaN is sorted to the end: the first of them is the median where there is one.
            place = middle if skips_nan else xp.where(good < n, good, middle)
            place = xp.where(good == 0, 0, place)
        return _picked(xp, x, xp.take_along_axis(indices, place, axis=dim), dim, keepdim)

    return kernel


MEDIAN = operator(
    "median",
    _picked_rule,
    None,
    _picked_derivative,
    numpy=_median_kernel(_order_numpy, False),
    lax=_median_kernel(_order_lax, False),
    samples=lambda: [case("median", T(3, 4), 1), case("median", T(3, 5), 0, True)],
)
NANMEDIAN = operator(
    "nanmedian",
    _picked_rule,
    None,
    _picked_derivative,
    numpy=_median_kernel(_order_numpy, True),
    lax=_median_kernel(_order_lax, True),
    samples=lambda: [case("nanmedian", T(3, 4), 1), case("nanmedian", T(3, 5), 0, True)],
)


def _median(name: str, op: Any, input: Tensor, dim: int | None, keepdim: bool, out: Any) -> Any:
    check_ordered("median_out_cpu" if name == "median" else "nanmedian_cpu", input)
    if input.dtype is dtypes.bool_:
        raise NotImplementedError(f"\"{name}_out\" not implemented for 'Bool'")
    shape = input._node.aval.shape
    if dim is None:
        flat = input.reshape(-1)
        if not flat._node.aval.size:
            value = float("nan") if input.dtype.is_floating_point else int(np.iinfo(input.dtype.numpy).min)
            return input.new_full((), value)
        return op(flat, 0, False)[0]
    dim = wrapped_dim(dim, len(shape))
    check_not_empty(name, shape, (dim,) if shape else ())
    values, indices = op(input, dim, bool(keepdim))
    return written(named(name, labelled(values, f"{name.capitalize()}Backward1"), indices), out)


@public(method=True)
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median of all, or along ``dim`` with its index; of two middle elements the lower.  NaN if one is NaN.

    Shape: without ``dim``, one element; else that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Example:
        >>> import flambeau as torch
        >>> torch.median(torch.tensor([4., 1., 3., 2.]))
        tensor(2.)
        >>> torch.median(torch.tensor([[3, 1, 2], [6, 4, 5]]), dim=1)
        torch.return_types.median(
        values=tensor([2, 5]),
        indices=tensor([2, 2]))
    """
    return _median("median", MEDIAN, input, dim, keepdim, out)


@public(method=True)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The median of the elements that are not NaN: of all, or along ``dim`` with its index.

    Shape: as of :func:`median`.

    Example:
        >>> import flambeau as torch
        >>> torch.nanmedian(torch.tensor([3., float("nan"), 1., 2.]))
        tensor(2.)
    """
    return _median("nanmedian", NANMEDIAN, input, dim, keepdim, out)


def _mode_kernel(order: Any) -> Any:
    def kernel(xp: Any, x: Any, *, dim: int, keepdim: bool) -> Any:
        if not x.ndim:
            return x, xp.zeros((), xp.int64)
        indices = xp.moveaxis(order(xp, x, dim=dim, descending=False), dim, -1)
        ordered = xp.take_along_axis(xp.moveaxis(x, dim, -1), indices, axis=-1)
        n = ordered.shape[-1]
        places = xp.broadcast_to(xp.arange(n), ordered.shape)
        fresh = xp.concatenate(
            [xp.ones_like(ordered[..., :1], dtype=bool), ordered[..., 1:] != ordered[..., :-1]], axis=-1
        )
        starts = xp.where(fresh, places, 0)
        starts = np.maximum.accumulate(starts, axis=-1) if xp is np else _running_max(starts)
        best = xp.argmax(places - starts, axis=-1, keepdims=True)
        found = xp.moveaxis(xp.take_along_axis(indices, best, axis=-1), -1, dim)
        return _picked(xp, x, found, dim, keepdim)

    return kernel


def _running_max(x: Any) -> Any:
    from jax import lax

    return lax.cummax(x, axis=x.ndim - 1)


MODE = operator(
    "mode",
    _picked_rule,
    None,
    _picked_derivative,
    numpy=_mode_kernel(_order_numpy),
    lax=_mode_kernel(_order_lax),
    samples=lambda: [case("mode", T(3, 4), 1), case("mode", T(3, 5), 0, True)],
)


@public(method=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """The most frequent element along ``dim``, the smallest of several, and the index of its last occurrence.

    Shape: those of values and indices: that of ``input`` without ``dim``, or with size 1 there if ``keepdim``.

    Example:
        >>> import flambeau as torch
        >>> torch.mode(torch.tensor([[1, 2, 2], [3, 3, 1]]), dim=1).values
        tensor([2, 3])
    """
    check_ordered("mode_cpu", input)
    shape = input._node.aval.shape
    dim = wrapped_dim(dim, len(shape))
    check_not_empty("mode", shape, (dim,) if shape else ())
    return written(named("mode", *MODE(input, dim, bool(keepdim))), out)


# ---------------------------------------------------------------- quantile

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skips_nan: bool
) -> Tensor:
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if not isinstance(q, Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = input.new_full((), q)
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    known = q._node.value
    if isinstance(known, np.ndarray) and known.size and not ((known >= 0) & (known <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if not input._node.aval.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    shape = input._node.aval.shape
    if dim is None:
        rows = input.reshape(-1)
    else:
        dim = wrapped_dim(dim, len(shape))
        rows = input.movedim(dim, -1) if shape else input.reshape(-1)
    n = rows._node.aval.shape[-1]
    ordered = SORT(rows, rows.ndim - 1, False)[0]
    missing = (rows != rows).sum(-1, keepdim=True)
    # Ranks: one row of q for each row of data.
    last = (n - 1 - missing).clamp(min=0).to(input.dtype) if skips_nan else ordered.new_full(missing.shape, n - 1)
    ranks = q.reshape(-1) * last
    if not skips_nan:
        ranks = ranks.masked_fill(missing > 0, n - 1)
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    below = ranks.to(dtypes.int64)
    values = GATHER(ordered, below, ordered.ndim - 1)
    if interpolation in ("linear", "midpoint"):
        weight = (
            ranks.new_full((), 0.5).expand(ranks.shape)
            if interpolation == "midpoint"
            else ranks - below.to(ranks.dtype)
        )
        above = GATHER(ordered, ranks.ceil().to(dtypes.int64), ordered.ndim - 1)
        values = values.lerp(above, weight)
    if not q.ndim:
        values = values.squeeze(-1)
        if keepdim:
            values = values.unsqueeze(dim) if dim is not None and shape else values.reshape((1,) * len(shape))
        return values
    values = values.movedim(-1, 0)
    if keepdim:
        values = (
            values.unsqueeze(dim + 1) if dim is not None else values.reshape((q._node.aval.size, *(1,) * len(shape)))
        )
    if dim is not None and not shape:
        values = values.reshape((q._node.aval.size,))
    return values


@public(method=True, out="exact")
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The ``q``-quantiles along ``dim`` (of all if None); the dimension of ``q`` comes first.

    Args:
        q: a number or vector of numbers in [0, 1].
        interpolation: between the two neighbours of a rank: ``"linear"``, ``"lower"``, ``"higher"``,
            ``"midpoint"`` or ``"nearest"``.

    Example:
        >>> import flambeau as torch
        >>> torch.quantile(torch.tensor([1., 2., 3., 4.]), 0.5)
        tensor(2.5000)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@public(method=True, out="exact")
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Like :func:`quantile`, of the elements that are not NaN.

    Example:
        >>> import flambeau as torch
        >>> torch.nanquantile(torch.tensor([1., float("nan"), 3.]), torch.tensor([0., 0.5]))
        tensor([1., 2.])
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
