"""Kernels of scaled dot product attention, in NumPy and for XLA.

Queries are taken in blocks where the table of weights, one per query and key, would be large: it is never
whole in memory then, and worked out again on the way back from the logarithm of each row's sum.  Under a
causal mask a block only meets the keys up to its last query.

Accelerators may give queries, keys and values in half precision: products are of these, and all else is in float32.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from flambeau.engine import target
from flambeau.ops.dropout import mixed
from flambeau.ops.multiply import matmul, summed_in

KEPT_WEIGHTS = 1 << 22
"""Up to so many attention weights are kept for the way back."""
BLOCK_WEIGHTS = 1 << 21
"""About so many are worked on at once where they are not kept; a cache holds them."""
ROWS = 16
"""A block's queries are a multiple of this: products of other sizes leave lanes of vector registers empty."""
ACCELERATED_WEIGHTS = 1 << 27
"""On accelerators it is memory that limits them: half a gigabyte in float32."""

Shape = tuple[int, ...]


def keeps_weights(q: Shape, keys: int) -> bool:
    """Whether the weights are a result of the forward kernel, for queries of this shape."""
    return math.prod(q[:-1]) * keys <= KEPT_WEIGHTS


@functools.lru_cache(16)
def later(queries: int, keys: int, first: int) -> np.ndarray:
    """Whether each key comes after each query, the queries being counted from ``first``; made once per size."""
    return np.arange(keys) > np.arange(first, first + queries)[:, None]


def _forbidden(xp: Any, queries: int, keys: int, first: int) -> Any:
    if xp is np:
        return later(queries, keys, first)
    # Inside a program the comparison is fused into what uses it, so no mask is stored at all.
    return xp.arange(keys) > xp.arange(first, first + queries)[:, None]


def _blocks(batch: int, queries: int, keys: int, is_causal: bool) -> list[tuple[int, int, int]]:
    """(first query, one past the last, keys met) of each block of queries."""
    on_cpu = target.kind() == "cpu"
    size = (BLOCK_WEIGHTS if on_cpu else ACCELERATED_WEIGHTS) // max(1, batch * keys)
    size = min(queries, max(ROWS, size // ROWS * ROWS))
    if is_causal:
        # The more blocks, the fewer keys that come later are met; the larger, the better accelerators are at work.
        size = min(size, max(64, -(-queries // 8)) if on_cpu else max(256, -(-queries // 4)))
    found = []
    for start in range(0, queries, size):
        end = min(queries, start + size)
        found.append((start, end, max(1, min(keys, end)) if is_causal and keys else keys))
    return found or [(0, 0, keys)]


def _kept(xp: Any, key: Any, shape: Shape, first: int, queries: int, keys: int, p: float) -> Any:
    """What dropout leaves of a block of weights: 0 or 1 / (1 - p) for each.

    A weight's counter is its place in the whole table, so blocks of any size agree.
    """
    batch = math.prod(shape[:-2])
    rows = xp.arange(batch, dtype=np.uint32)[:, None] * np.uint32(queries & 0xFFFFFFFF)
    rows = rows + xp.arange(first, first + shape[-2], dtype=np.uint32)
    places = rows[..., None] * np.uint32(keys & 0xFFFFFFFF) + xp.arange(shape[-1], dtype=np.uint32)
    words = mixed(xp, places * (key[1] | np.uint32(1)) + key[0])
    kept = words >= np.uint32(min(round(p * 2**32), 2**32 - 1))
    return kept.reshape(shape)


def _grouped(q: Any, k: Any, v: Any) -> tuple[Any, Any, Any, Shape]:
    """Operands whose leading dimensions broadcast: with fewer heads of keys, heads of queries in groups."""
    shape = q.shape
    if q.ndim >= 3 and q.shape[-3] != k.shape[-3] and k.shape[-3] not in (0, 1) and q.shape[-3] % k.shape[-3] == 0:
        heads = k.shape[-3]
        q = q.reshape((*shape[:-3], heads, shape[-3] // heads, *shape[-2:]))
        k = k[..., :, None, :, :]
        v = v[..., :, None, :, :]
    return q, k, v, shape


def _mask_like(mask: Any, q: Any, original: Shape) -> Any:
    """A mask that broadcasts against weights of grouped heads."""
    if mask is None or q.ndim == len(original) or mask.ndim < 3:
        return mask
    if mask.shape[-3] == 1:
        return mask[..., None, :, :]
    return mask.reshape((*mask.shape[:-3], q.shape[-4], q.shape[-3], *mask.shape[-2:]))


def _part_of(mask: Any, start: int, end: int, keys: int) -> Any:
    """The part of a mask that belongs to a block."""
    if mask is None:
        return None
    if mask.ndim > 1 and mask.shape[-2] != 1:
        mask = mask[..., start:end, :]
    return mask[..., :keys] if mask.ndim and mask.shape[-1] != 1 else mask


def _scores(xp: Any, q: Any, k: Any, mask: Any, forbidden: Any, scale: float) -> Any:
    wide = summed_in(q)
    if wide == q.dtype:
        scores = matmul(xp, q * wide.type(scale), k.swapaxes(-1, -2))
    else:
        scores = matmul(xp, q, k.swapaxes(-1, -2)) * wide.type(scale)
    if mask is not None:
        never = scores.dtype.type(-np.inf)
        if mask.dtype == np.bool_:
            scores = xp.where(mask, scores, never)
        elif xp is np and scores.flags.writeable and np.broadcast_shapes(scores.shape, mask.shape) == scores.shape:
            scores += mask
        else:
            scores = scores + mask
    if forbidden is not None:
        never = scores.dtype.type(-np.inf)
        if xp is np:
            np.copyto(scores, never, where=forbidden)
        else:
            scores = xp.where(forbidden, never, scores)
    return scores


def _softmax(xp: Any, scores: Any) -> tuple[Any, Any, Any]:
    """Weights, and each row's largest score and sum; a row that may attend to nothing gets zeros."""
    if not scores.shape[-1]:
        nothing = xp.zeros((*scores.shape[:-1], 1), scores.dtype)
        return scores, nothing, nothing + 1
    if xp is np:
        return _softmax_numpy(scores)
    top = scores.max(-1, keepdims=True)
    top = xp.where(xp.isneginf(top), scores.dtype.type(0), top)
    weights = xp.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    return weights / xp.where(total == 0, scores.dtype.type(1), total), top, total


def _softmax_numpy(scores: Any) -> tuple[Any, Any, Any]:
    """As :func:`_softmax`, in the memory of the scores."""
    top = np.maximum.reduce(scores, axis=-1, keepdims=True)
    is_lost = np.isneginf(top)
    some_lost = is_lost.any()
    if some_lost:
        top[is_lost] = 0
    scores -= top
    np.exp(scores, out=scores)
    total = np.add.reduce(scores, axis=-1, keepdims=True)
    scores /= np.where(is_lost, scores.dtype.type(1), total) if some_lost else total
    return scores, top, total


def forward(
    xp: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    key: Any,
    *,
    scale: float,
    is_causal: bool,
    p: float,
) -> tuple[Any, Any]:
    """The attended values, and the weights (or, where these are many, the logarithms of their rows' sums)."""
    out_shape = (*q.shape[:-1], v.shape[-1])
    weights_shape = (*q.shape[:-1], k.shape[-2])
    whole = keeps_weights(q.shape, k.shape[-2])
    q, k, v, original = _grouped(q, k, v)
    mask = _mask_like(mask, q, original)
    queries, keys = q.shape[-2], k.shape[-2]
    batch = math.prod(q.shape[:-2])
    parts, saved = [], []
    for start, end, met in [(0, queries, keys)] if whole else _blocks(batch, queries, keys, is_causal):
        forbidden = _forbidden(xp, end - start, met, start) if is_causal else None
        scores = _scores(xp, q[..., start:end, :], k[..., :met, :], _part_of(mask, start, end, met), forbidden, scale)
        weights, top, total = _softmax(xp, scores)
        used = weights
        if key is not None:
            kept = _kept(xp, key, weights.shape, start, queries, keys, p)
            used = weights * kept * weights.dtype.type(1 / (1 - p))
        parts.append(matmul(xp, used.astype(v.dtype, copy=False), v[..., :met, :]))
        saved.append(weights if whole else (top + xp.log(total))[..., 0])
    out = parts[0] if len(parts) == 1 else xp.concatenate(parts, -2)
    if whole:
        return out.reshape(out_shape), saved[0].reshape(weights_shape)
    total = saved[0] if len(saved) == 1 else xp.concatenate(saved, -1)
    return out.reshape(out_shape), total.reshape(weights_shape[:-1])


def backward(
    xp: Any,
    grad: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    key: Any,
    out: Any,
    saved: Any,
    *,
    scale: float,
    is_causal: bool,
    p: float,
    wants_mask: bool,
) -> tuple[Any, ...]:
    """Gradients of queries, keys and values, and of an additive mask if wanted."""
    shapes = (q.shape, k.shape, v.shape)
    whole = keeps_weights(q.shape, k.shape[-2])
    q, k, v, original = _grouped(q, k, v)
    mask_shape = None if mask is None else mask.shape
    mask = _mask_like(mask, q, original)
    grouped_mask_shape = None if mask is None else mask.shape
    grad = grad.reshape((*q.shape[:-1], v.shape[-1]))
    out = out.reshape(grad.shape)
    queries, keys = q.shape[-2], k.shape[-2]
    saved = saved.reshape((*q.shape[:-1], keys) if whole else q.shape[:-1])
    batch = math.prod(q.shape[:-2])
    # sum over keys of weight times its gradient, which is also this:
    wide = summed_in(q)
    balance = (grad.astype(wide, copy=False) * out).sum(-1, keepdims=True)
    dq, dmask = [], []
    dk = dv = None
    factor = wide.type(scale)
    for start, end, met in [(0, queries, keys)] if whole else _blocks(batch, queries, keys, is_causal):
        q_now, grad_now = q[..., start:end, :], grad[..., start:end, :]
        k_now, v_now = k[..., :met, :], v[..., :met, :]
        if whole:
            weights = saved
        else:
            forbidden = _forbidden(xp, end - start, met, start) if is_causal else None
            scores = _scores(xp, q_now, k_now, _part_of(mask, start, end, met), forbidden, scale)
            total = saved[..., start:end, None]
            weights = xp.exp(scores - xp.where(xp.isneginf(total), total.dtype.type(0), total))
        used = weights
        d_weights = matmul(xp, grad_now, v_now.swapaxes(-1, -2))
        if key is not None:
            kept = _kept(xp, key, weights.shape, start, queries, keys, p) * weights.dtype.type(1 / (1 - p))
            used = weights * kept
            d_weights = d_weights * kept
        # In place where the tier allows it: a table of weights is the largest array here.
        d_scores = d_weights
        d_scores -= balance[..., start:end, :]
        d_scores *= weights
        factors = d_scores.astype(q.dtype, copy=False)
        dq.append(matmul(xp, factors, k_now) * factor)
        dk = _added(xp, dk, matmul(xp, factors.swapaxes(-1, -2), q_now) * factor, met, keys)
        used = used.astype(grad.dtype, copy=False)
        dv = _added(xp, dv, matmul(xp, used.swapaxes(-1, -2), grad_now), met, keys)
        if wants_mask:
            missing = keys - met
            if missing:
                zeros = xp.zeros((*d_scores.shape[:-1], missing), d_scores.dtype)
                d_scores = xp.concatenate((d_scores, zeros), -1)
            dmask.append(d_scores)
    grads = [dq[0] if len(dq) == 1 else xp.concatenate(dq, -2), dk, dv]
    results = [
        _summed(g, (*part.shape,)).reshape(shape) for g, part, shape in zip(grads, (q, k, v), shapes, strict=True)
    ]
    if wants_mask:
        d_mask = dmask[0] if len(dmask) == 1 else xp.concatenate(dmask, -2)
        results.append(_summed(d_mask, grouped_mask_shape).reshape(mask_shape))  # type: ignore[arg-type]
    return tuple(results)


def _added(xp: Any, total: Any, part: Any, met: int, keys: int) -> Any:
    if met != keys:
        zeros = xp.zeros((*part.shape[:-2], keys - met, part.shape[-1]), part.dtype)
        part = xp.concatenate((part, zeros), -2)
    return part if total is None else total + part


def _summed(x: Any, shape: Shape) -> Any:
    """Broadcasting undone."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    dims = tuple(d for d in range(x.ndim) if d < extra or (shape[d - extra] == 1 and x.shape[d] != 1))
    return x.sum(dims, dtype=x.dtype).reshape(shape) if dims else x.reshape(shape)
