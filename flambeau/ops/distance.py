"""Distances between vectors, and their cosine."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops.operator import NotDifferentiable, labelled, operator, public
from flambeau.ops.pointwise import broadcast_shapes
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor, from_array

DIRECT = 1 << 22
"""Up to so many elements, differences are formed one by one; beyond, by products of matrices."""


@public(into="torch nn.functional")
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """``‖x1 - x2 + eps‖ₚ`` along the last dimension.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> torch.nn.functional.pairwise_distance(x, torch.tensor([[3.0, 4.0], [1.0, 3.0]]))
        tensor([5.0000, 2.0000])
    """
    difference = x1 - x2 + eps
    return labelled(difference.norm(p, difference.ndim - 1, keepdim=keepdim), "NormBackward1")


@public(into="torch nn.functional")
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """``x1 · x2 / (max(‖x1‖, eps) max(‖x2‖, eps))`` along ``dim``.

    Raises:
        RuntimeError: if the common type is not a floating-point one.

    Example:
        >>> import flambeau as torch
        >>> torch.cosine_similarity(torch.ones(1, 2), torch.ones(1, 2))
        tensor([1.0000])
    """
    common = dtypes.result_dtype((x1._node.aval, x2._node.aval))
    if common.category < dtypes.FLOATING:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {common.title}")
    x1, x2 = x1.to(common), x2.to(common)
    shape = broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    x1, x2 = x1.expand(shape), x2.expand(shape)
    return (_direction(x1, dim, eps) * _direction(x2, dim, eps)).sum(dim)


def _direction(x: Tensor, dim: int, eps: float) -> Tensor:
    length = x.norm(2, dim, keepdim=True)
    # The bound holds for values only: below it the gradient is that of the norm still.
    return x / (length + (length.detach().clamp(min=eps) - length.detach()))


# ---------------------------------------------------------------- all pairs


def _cdist_rule(x1: Aval, x2: Aval, *, p: float) -> Aval:
    if x1.dtype.category != dtypes.FLOATING:
        raise RuntimeError(f"cdist only supports floating-point dtypes, X1 got: {x1.dtype.title}")
    if x2.dtype.category != dtypes.FLOATING:
        raise RuntimeError(f"cdist only supports floating-point dtypes, X2 got: {x2.dtype.title}")
    if x1.ndim < 2:
        raise RuntimeError("cdist: X1 must have at least two dimensions")
    if x2.ndim < 2:
        raise RuntimeError("cdist: X2 must have at least two dimensions")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if x1.dtype is not x2.dtype:
        raise RuntimeError(f"expected scalar type {x1.dtype.title} but found {x2.dtype.title} (cdist: X1 and X2)")
    return x1.of(broadcast_shapes(x1.shape[:-2], x2.shape[:-2]) + (x1.shape[-2], x2.shape[-2]))


def _by_products(x1: Any, x2: Any, p: float) -> bool:
    rows = x1.shape[-2] * x2.shape[-2]
    return p == 2 and rows * x1.shape[-1] > DIRECT


def _cdist_kernel(xp: Any, x1: Any, x2: Any, *, p: float) -> Any:
    if x1.shape[-1] == 0:
        lead = broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
        return xp.zeros((*lead, x1.shape[-2], x2.shape[-2]), x1.dtype)
    if _by_products(x1, x2, p):
        squares = xp.sum(x1 * x1, axis=-1)[..., :, None] + xp.sum(x2 * x2, axis=-1)[..., None, :]
        squares = squares - 2 * xp.matmul(x1, xp.swapaxes(x2, -1, -2))
        return xp.sqrt(xp.maximum(squares, xp.zeros((), x1.dtype)))
    size = xp.abs(x1[..., :, None, :] - x2[..., None, :, :])
    if p == 2:
        return xp.sqrt(xp.sum(size * size, axis=-1))
    if p == 0:
        return xp.sum(size != 0, axis=-1, dtype=x1.dtype)
    if p == float("inf"):
        return xp.max(size, axis=-1)
    if p == 1:
        return xp.sum(size, axis=-1)
    return xp.sum(size**p, axis=-1) ** (1.0 / p)


def _cdist_derivative(grad: Tensor, x1: Tensor, x2: Tensor, out: Tensor, needs: tuple[bool, ...], p: float) -> Any:
    if mode.grad:
        difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
        slope = _composed_slope(grad, difference, p)
        return slope.sum(-2) if needs[0] else None, -slope.sum(-3) if needs[1] else None
    parts = iter(CDIST_BACKWARD(grad, x1, x2, out.detach(), p, needs))
    return tuple(next(parts) if need else None for need in needs)


def _composed_slope(grad: Tensor, difference: Tensor, p: float) -> Tensor:
    """The gradient of each difference, in Tensor operations."""
    grad = grad.unsqueeze(-1)
    size = difference.abs()
    if p == 0:
        return difference * 0
    if p == 1:
        return grad * difference.sign()
    if p == float("inf"):
        return grad * difference.sign() * (size == size.amax(-1, keepdim=True))
    # Where a difference or a distance is zero there is no slope; a one keeps the powers finite there.
    still = size == 0
    raised = (size + still.to(size.dtype)) ** (p - 1)
    total = (size.masked_fill(still, 1.0) ** p).masked_fill(still, 0.0).sum(-1, keepdim=True)
    apart = total == 0
    distance = total.masked_fill(apart, 1.0) ** (1.0 / p)
    return (grad * difference.sign() * raised / distance ** (p - 1)).masked_fill(apart, 0.0)


def _cdist_samples() -> list[Any]:
    return [
        case("cdist", T(3, 4), T(5, 4), gradgrad=False),
        case("cdist", T(2, 3, 4), T(5, 4), p=1.0, gradgrad=False),
        case("cdist", T(3, 4), T(5, 4), p=float("inf"), gradgrad=False),
        case("cdist", T(3, 4), T(5, 4), p=3.0, gradgrad=False),
        case("cdist", T(3, 4), T(5, 4), p=0.0, gradgrad=False),
        case("cdist", T(3, 0), T(5, 0), gradgrad=False),
    ]


CDIST = operator("cdist", _cdist_rule, _cdist_kernel, _cdist_derivative, samples=_cdist_samples)


def _cdist_backward_rule(g: Aval, x1: Aval, x2: Aval, distance: Aval, *, p: float, wanted: tuple[bool, ...]) -> Any:
    lead = distance.shape[:-2]
    outs = (x1.of(lead + x1.shape[-2:]), x2.of(lead + x2.shape[-2:]))
    return tuple(aval for aval, want in zip(outs, wanted, strict=True) if want)


def _cdist_backward_kernel(
    xp: Any, g: Any, x1: Any, x2: Any, distance: Any, *, p: float, wanted: tuple[bool, ...]
) -> Any:
    one = xp.ones((), x1.dtype)
    zero = xp.zeros((), x1.dtype)
    apart = distance == 0
    if _by_products(x1, x2, p):
        ratio = xp.where(apart, zero, g / xp.where(apart, one, distance))
        found = []
        if wanted[0]:
            found.append(x1 * xp.sum(ratio, axis=-1)[..., None] - xp.matmul(ratio, x2))
        if wanted[1]:
            turned = xp.swapaxes(ratio, -1, -2)
            found.append(x2 * xp.sum(turned, axis=-1)[..., None] - xp.matmul(turned, x1))
        return tuple(found)
    difference = x1[..., :, None, :] - x2[..., None, :, :]
    distance, g, apart = distance[..., None], g[..., None], apart[..., None]
    size = xp.abs(difference)
    if p == 0:
        slope = difference * 0
    elif p == 1:
        slope = g * xp.sign(difference)
    elif p == float("inf"):
        slope = g * xp.sign(difference) * (size == distance)
    else:
        still = size == 0
        raised = xp.where(still, zero, xp.where(still, one, size) ** (p - 1))
        slope = xp.where(apart, zero, g * xp.sign(difference) * raised / xp.where(apart, one, distance) ** (p - 1))
    found = []
    if wanted[0]:
        found.append(xp.sum(slope, axis=-2, dtype=x1.dtype))
    if wanted[1]:
        found.append(-xp.sum(slope, axis=-3, dtype=x1.dtype))
    return tuple(found)


CDIST_BACKWARD = operator(
    "cdist_backward",
    _cdist_backward_rule,
    _cdist_backward_kernel,
    NotDifferentiable("it is composed of other operators where a second derivative is wanted"),
    samples=lambda: _cdist_samples()[:2],
)


@public()
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The distance ``‖x1ᵢ - x2ⱼ‖ₚ`` of each pair of rows, batched.

    Shape: x1 (B, P, M), x2 (B, R, M), result (B, P, R).

    Args:
        p: from 0, the number of differing elements, to infinity.
        compute_mode: accepted; how a Euclidean distance is computed is left to the size of the work.

    Raises:
        RuntimeError: for a negative ``p``, or shapes that do not fit.
        ValueError: for an unknown ``compute_mode``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> torch.cdist(x, torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]))
        tensor([[0., 3., 4.],
                [5., 4., 3.]])
        >>> torch.cdist(x, x, p=1.0)
        tensor([[0., 7.],
                [7., 0.]])
    """
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode not in modes:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    return CDIST(x1, x2, float(p))


@public(into="torch nn.functional")
def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The distance ``‖xᵢ - xⱼ‖ₚ`` of each pair of rows i < j.

    Shape: (N, M) gives (N (N - 1) / 2).

    Raises:
        RuntimeError: for a negative ``p``, integers, or other than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.pdist(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]]))
        tensor([5., 4., 3.])
    """
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if input.dtype.category != dtypes.FLOATING:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    rows = input.shape[0]
    first, second = np.triu_indices(rows, 1)
    places = from_array((first * rows + second).astype(np.int64), device=input.device)
    return CDIST(input, input, float(p)).reshape(-1).index_select(0, places)
