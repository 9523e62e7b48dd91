"""Kernels of scaled dot product attention, in NumPy and for XLA.

Queries are taken in blocks where the table of weights, one per query and key, would be large: it is never
whole in memory then, and worked out again on the way back from the logarithm of each row's sum.  Under a
causal mask a block only meets the keys up to its last query.

XLA's products of stacks of matrices run on one thread on the CPU.  Where there is more than one, the stack is
therefore cut into as many shares, of which each goes its own way from the scores to the results.

Accelerators may give queries, keys and values in half precision: products are of these, and all else is in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.engine import target
from flambeau.ops.dropout import mixed
from flambeau.ops.multiply import matmul, summed_in

KEPT_WEIGHTS = 1 << 22
"""Up to so many attention weights are kept for the way back ..."""
KEPT_CAUSAL_WEIGHTS = 1 << 20
"""... or so many under a causal mask: in blocks nearly half of them need not be worked out at all."""
BLOCK_WEIGHTS = 1 << 22
"""About so many are worked on at once where they are not kept; a cache holds them."""
ROWS = 16
"""A block's queries are a multiple of this: products of other sizes leave lanes of vector registers empty."""
ACCELERATED_WEIGHTS = 1 << 27
"""On accelerators it is memory that limits them: half a gigabyte in float32."""

SHARED_PRODUCT = 1 << 22
"""From so many multiplications on, a product of each share is worth being a step of its own."""

Shape = tuple[int, ...]


def keeps_weights(q: Shape, keys: int, is_causal: bool) -> bool:
    """Whether the weights are a result of the forward kernel, for queries of this shape."""
    return math.prod(q[:-1]) * keys <= (KEPT_CAUSAL_WEIGHTS if is_causal else KEPT_WEIGHTS)


@functools.lru_cache(16)
def later(queries: int, keys: int, first: int) -> np.ndarray:
    """Whether each key comes after each query, the queries being counted from ``first``; made once per size."""
    return np.arange(keys) > np.arange(first, first + queries)[:, None]


def _forbidden(xp: Any, queries: int, keys: int, first: int) -> Any:
    if xp is np:
        return later(queries, keys, first)
    # Inside a program the comparison is fused into what uses it, so no mask is stored at all.
    return xp.arange(keys) > xp.arange(first, first + queries)[:, None]


def _blocks(xp: Any, batch: int, along: int, across: int, is_causal: bool) -> list[tuple[int, int]]:
    """First and one past the last of each block of queries (or keys), that all meet ``across`` keys (or queries)."""
    if not along:
        return [(0, 0)]
    on_cpu = target.kind() == "cpu"
    limit = (BLOCK_WEIGHTS if on_cpu else ACCELERATED_WEIGHTS) // max(1, batch * across)
    if is_causal:
        # The more blocks, the fewer pairs without weight are met; but XLA compiles kernels for each (for a GPT's step
        # 172 in blocks of 64, 129 of 128), and larger ones make up for the pairs by faster products.
        least, most = (64, 8) if xp is np else (128 if on_cpu else 256, 4)
        limit = min(limit, max(least, -(-along // most)))
    count = -(-along // max(ROWS, limit))
    size = -(-along // (count * ROWS)) * ROWS
    return [(start, min(along, start + size)) for start in range(0, along, size)]


def _kept(xp: Any, key: Any, shape: Shape, first: tuple[int, int, int], queries: int, keys: int, p: float) -> Any:
    """Which of a block of weights dropout leaves.

    A weight's counter is its place in the whole table, so blocks of any size agree.  ``first`` gives the block's
    first matrix, query and key.
    """
    row, query, column = first
    batch = math.prod(shape[:-2])
    rows = xp.arange(row, row + batch, dtype=np.uint32)[:, None] * np.uint32(queries & 0xFFFFFFFF)
    rows = rows + xp.arange(query, query + shape[-2], dtype=np.uint32)
    columns = xp.arange(column, column + shape[-1], dtype=np.uint32)
    places = rows[..., None] * np.uint32(keys & 0xFFFFFFFF) + columns
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


def _part_of(mask: Any, queries: slice, keys: slice) -> Any:
    """The part of a mask that belongs to a block."""
    if mask is None:
        return None
    if mask.ndim > 1 and mask.shape[-2] != 1:
        mask = mask[..., queries, :]
    return mask[..., keys] if mask.ndim and mask.shape[-1] != 1 else mask


def _products(xp: Any, q: Any, k: Any) -> Any:
    if xp is not np and q.shape[-2] == 1 and target.kind() == "cpu":
        # With the keys first they are read as they lie; XLA would make a transposed copy of them.
        return matmul(xp, k, q.swapaxes(-1, -2)).swapaxes(-1, -2)
    return matmul(xp, q, k.swapaxes(-1, -2))


def _scores(xp: Any, q: Any, k: Any, mask: Any, forbidden: Any, scale: float) -> Any:
    wide = summed_in(q)
    if wide == q.dtype:
        scores = _products(xp, q * wide.type(scale), k)
    else:
        scores = _products(xp, q, k) * wide.type(scale)
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


def _exponentials(xp: Any, scores: Any) -> tuple[Any, Any, Any]:
    """Exponentials of the scores less each row's largest, which is the second result, and the rows' sums.

    A row that may attend to nothing has zeros.  In NumPy they take the place of the scores.
    """
    if not scores.shape[-1]:
        nothing = xp.zeros((*scores.shape[:-1], 1), scores.dtype)
        return scores, nothing, nothing
    if xp is np:
        top = np.maximum.reduce(scores, axis=-1, keepdims=True)
        top[np.isneginf(top)] = 0
        scores -= top
        np.exp(scores, out=scores)
        return scores, top, np.add.reduce(scores, axis=-1, keepdims=True)
    top = scores.max(-1, keepdims=True)
    top = xp.where(xp.isneginf(top), scores.dtype.type(0), top)
    weights = xp.exp(scores - top)
    return weights, top, weights.sum(-1, keepdims=True)


class Terms(NamedTuple):
    """What all shares have in common."""

    key: Any
    scale: float
    is_causal: bool
    p: float
    whole: bool
    """Whether weights are kept, and all queries meet all keys at once."""


class Share(NamedTuple):
    """A range of the stack of matrices, along one of its dimensions."""

    dim: int
    start: int
    end: int
    row: int
    """How many matrices come before it."""

    def of(self, x: Any) -> Any:
        """Its part of an operand, which may broadcast."""
        if x is None or x.ndim < -self.dim or x.shape[self.dim] == 1:
            return x
        places = [slice(None)] * x.ndim
        places[self.dim] = slice(self.start, self.end)
        return x[tuple(places)]


def _shares(q: Any, keys: int) -> list[Share]:
    """What XLA is to work on at once; none where there is nothing to be gained."""
    batch = q.shape[:-2]
    at = next((i for i, size in enumerate(batch) if size > 1), None)
    if at is None or target.kind() != "cpu":
        return []
    size, after = batch[at], math.prod(batch[at + 1 :])
    count = min(size, target.threads(), q.size * keys // SHARED_PRODUCT)
    ends = [size * (i + 1) // count for i in range(count)]
    return [Share(at - q.ndim, start, end, start * after) for start, end in zip([0, *ends], ends, strict=False)]


def _in_shares(
    xp: Any, work: Callable[..., Sequence[Any]], q: Any, keys: int, operands: Sequence[Any]
) -> Sequence[Any]:
    """The results of work on all operands, which it is given together with the number of matrices before them."""
    shares = [] if xp is np else _shares(q, keys)
    if len(shares) < 2:
        return work(operands, 0)
    found = [work([share.of(x) for x in operands], share.row) for share in shares]
    return [xp.concatenate(parts, shares[0].dim) for parts in zip(*found, strict=True)]


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
    whole = keeps_weights(q.shape, k.shape[-2], is_causal)
    q, k, v, original = _grouped(q, k, v)
    mask = _mask_like(mask, q, original)
    work = functools.partial(_forward, xp, Terms(key, scale, is_causal, p, whole))
    out, saved = _in_shares(xp, work, q, k.shape[-2], (q, k, v, mask))
    return out.reshape(out_shape), saved.reshape(weights_shape if whole else weights_shape[:-1])


def _forward(xp: Any, terms: Terms, operands: Sequence[Any], row: int) -> tuple[Any, Any]:
    """The attended values of a share, and its weights or the logarithms of their rows' sums."""
    q, k, v, mask = operands
    key, scale, is_causal, p, whole = terms
    queries, keys = q.shape[-2], k.shape[-2]
    batch = math.prod(q.shape[:-2])
    parts, saved = [], []
    for start, end in [(0, queries)] if whole else _blocks(xp, batch, queries, keys, is_causal):
        met = min(keys, end) if is_causal and not whole else keys
        forbidden = _forbidden(xp, end - start, met, start) if is_causal else None
        now = _part_of(mask, slice(start, end), slice(met))
        scores = _scores(xp, q[..., start:end, :], k[..., :met, :], now, forbidden, scale)
        weights, top, total = _exponentials(xp, scores)
        divisor = total if xp is np and total.all() else xp.where(total == 0, total.dtype.type(1), total)
        if whole:
            weights /= divisor
        used = weights
        if key is not None:
            kept = _kept(xp, key, weights.shape, (row, start, 0), queries, keys, p)
            used = weights * kept * weights.dtype.type(1 / (1 - p))
        part = matmul(xp, used.astype(v.dtype, copy=False), v[..., :met, :])
        # Fewer values than weights are left to be divided.
        parts.append(part if whole else part / divisor)
        saved.append(weights if whole else top + xp.log(total))
    return _joined(xp, parts, -2), _joined(xp, saved, -2)


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
    wanted = 4 if wants_mask else 3
    shapes = [x.shape for x in (q, k, v, mask)[:wanted]]
    whole = keeps_weights(q.shape, k.shape[-2], is_causal)
    q, k, v, original = _grouped(q, k, v)
    mask = _mask_like(mask, q, original)
    grad = grad.reshape((*q.shape[:-1], v.shape[-1]))
    out = out.reshape(grad.shape)
    saved = saved.reshape((*q.shape[:-1], k.shape[-2] if whole else 1))
    work = functools.partial(_backward, xp, Terms(key, scale, is_causal, p, whole), wants_mask)
    grads = _in_shares(xp, work, q, k.shape[-2], (grad, q, k, v, mask, out, saved))
    return tuple(
        [
            _summed(g, x.shape).reshape(shape)
            for g, x, shape in zip(grads, (q, k, v, mask)[:wanted], shapes, strict=True)
        ]
    )


def _backward(xp: Any, terms: Terms, wants_mask: bool, operands: Sequence[Any], row: int) -> list[Any]:
    """Gradients of a share, before broadcasting is undone."""
    grad, q, k, v, mask, out, saved = operands
    key, scale, is_causal, p, whole = terms
    queries, keys = q.shape[-2], k.shape[-2]
    batch = math.prod(q.shape[:-2])
    # sum over keys of weight times its gradient, which is also this:
    wide = summed_in(q)
    balance = (grad.astype(wide, copy=False) * out).sum(-1, keepdims=True)
    dq: Any = None
    dk, dv, dmask = [], [], []
    factor = wide.type(scale)
    # Blocks of keys: one gradient, of the queries, is a sum over them; blocks of queries would make two such sums.
    for start, end in [(0, keys)] if whole else _blocks(xp, batch, keys, queries, is_causal):
        begin = min(start, queries) if is_causal and not whole else 0
        q_now, grad_now = q[..., begin:, :], grad[..., begin:, :]
        k_now, v_now = k[..., start:end, :], v[..., start:end, :]
        if whole:
            weights = saved
        else:
            forbidden = _forbidden(xp, queries - begin, end - start, begin - start) if is_causal else None
            now = _part_of(mask, slice(begin, None), slice(start, end))
            scores = _scores(xp, q_now, k_now, now, forbidden, scale)
            total = saved[..., begin:, :]
            weights = xp.exp(scores - xp.where(xp.isneginf(total), total.dtype.type(0), total))
        used = weights
        d_weights = matmul(xp, grad_now, v_now.swapaxes(-1, -2))
        if key is not None:
            kept = _kept(xp, key, weights.shape, (row, begin, start), queries, keys, p)
            kept = kept * weights.dtype.type(1 / (1 - p))
            used = weights * kept
            d_weights = d_weights * kept
        # In place where the tier allows it: a table of weights is the largest array here.
        d_scores = d_weights
        d_scores -= balance[..., begin:, :]
        d_scores *= weights
        factors = d_scores.astype(q.dtype, copy=False)
        dq = _added(xp, dq, matmul(xp, factors, k_now) * factor, begin)
        dk.append(matmul(xp, factors.swapaxes(-1, -2), q_now) * factor)
        used = used.astype(grad.dtype, copy=False)
        dv.append(matmul(xp, used.swapaxes(-1, -2), grad_now))
        if wants_mask:
            dmask.append(_lower(xp, d_scores, begin))
    joined = [dq, _joined(xp, dk, -2), _joined(xp, dv, -2)]
    if wants_mask:
        joined.append(_joined(xp, dmask, -1))
    return joined


def _lower(xp: Any, part: Any, missing: int) -> Any:
    """Zeros for the rows that come before a part's."""
    if not missing:
        return part
    zeros = xp.zeros((*part.shape[:-2], missing, part.shape[-1]), part.dtype)
    return xp.concatenate((zeros, part), -2)


def _added(xp: Any, total: Any, part: Any, missing: int) -> Any:
    """A sum, and what is to be added to all of its rows but the first ones."""
    if total is None:
        return _lower(xp, part, missing)
    if xp is np:
        total[..., missing:, :] += part
        return total
    return total + _lower(xp, part, missing)


def _joined(xp: Any, parts: Sequence[Any], dim: int) -> Any:
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, dim)


def _summed(x: Any, shape: Shape) -> Any:
    """Broadcasting undone."""
    if x.shape == shape:
        return x
    extra = x.ndim - len(shape)
    dims = tuple(d for d in range(x.ndim) if d < extra or (shape[d - extra] == 1 and x.shape[d] != 1))
    return x.sum(dims, dtype=x.dtype).reshape(shape) if dims else x.reshape(shape)
