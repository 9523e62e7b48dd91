"""Attention of sequences of different lengths that lie one behind another: ``torch.nn.attention.varlen``."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from flambeau import dtypes
from flambeau.autograd.grad_mode import is_grad_enabled, no_grad
from flambeau.nn.attention._scores import for_queries, log_sum_of, weights_of
from flambeau.nn.attention.flex_attention import check_heads
from flambeau.ops.compare import where
from flambeau.ops.counting import searchsorted
from flambeau.ops.ranges import arange
from flambeau.tensor.tensor import Tensor

__all__ = ["AuxRequest", "varlen_attn", "varlen_attn_out"]


class AuxRequest(NamedTuple):
    """What else :func:`varlen_attn` is to give.

    Attributes:
        lse: the logarithm of the sum of exponentials of each query's scores.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.varlen import AuxRequest, varlen_attn
        >>> x, begin = torch.zeros(5, 2, 4), torch.tensor([0, 2, 5])
        >>> out, lse = varlen_attn(x, x, x, begin, begin, 3, 3, return_aux=AuxRequest(lse=True))
        >>> lse.exp().round()
        tensor([[2., 2., 3., 3., 3.],
                [2., 2., 3., 3., 3.]])
    """

    lse: bool = False


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    *,
    return_aux: AuxRequest | None = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
    seqused_k: Tensor | None = None,
    block_table: Tensor | None = None,
    num_splits: int | None = None,
) -> Any:
    """Attention inside of each of N sequences, whose tokens lie one behind another.

    The tokens of sequence n are those from ``cu_seq[n]`` up to ``cu_seq[n + 1]``.  A window is counted from the place
    at which the last query stands beside the last key.  A query that attends to no key gets zeros.  PyTorch has this
    on GPUs alone, for float16 and bfloat16.

    Shape: query (Tq, Hq, D), key (Tk, Hkv, D), value (Tk, Hkv, Dv) give (Tq, Hq, Dv); with ``block_table``, key and
    value are (pages, tokens of a page, Hkv, D).

    Args:
        cu_seq_q, cu_seq_k: where sequences of queries and keys begin, and the last ends, (N + 1); ``cu_seq_k`` may be
            None if there is a block table.
        max_q, max_k: the length of the longest.
        return_aux: whether to give the logarithm of the sum of exponentials of each query's scores, (Hq, Tq), too.
        scale: of the scores; ``1/sqrt(D)`` if None.
        window_size: how many keys before and behind its own place a query attends to; -1 for all.  (-1, 0) is causal.
        enable_gqa: whether there may be fewer heads of keys than of queries, each for a group of these.
        seqused_k: how many keys of each sequence count, (N); not together with gradients.
        block_table: which pages the keys of each sequence lie in, (N, pages of a sequence); needs ``seqused_k``.
        num_splits: accepted, and without effect.

    Raises:
        ValueError: if numbers of heads do not fit; for a window of other than two sizes; if a block table comes
            without ``seqused_k``, or keys without either.
        RuntimeError: if ``seqused_k`` or ``block_table`` is given where gradients are wanted.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.varlen import varlen_attn
        >>> x, begin = torch.randn(5, 2, 4), torch.tensor([0, 2, 5])
        >>> varlen_attn(x, x, x, begin, begin, 3, 3, window_size=(-1, 0)).shape
        torch.Size([5, 2, 4])
    """
    window = tuple(window_size)
    if len(window) != 2:
        raise ValueError(f"window_size must have length 2, got {len(window)}")
    check_heads(query.shape[1], key.shape[-2], enable_gqa)
    if block_table is not None and seqused_k is None:
        raise ValueError("varlen_attn: block_table needs seqused_k, the number of keys of each sequence")
    if cu_seq_k is None and block_table is None:
        raise ValueError("varlen_attn: cu_seq_k may be None only with a block_table")
    if is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad):
        for name, given in (("seqused_k", seqused_k), ("block_table", block_table)):
            if given is not None:
                raise RuntimeError(f"{name} is an inference-only parameter.")
    queries = _places(cu_seq_q, max_q)
    if block_table is not None:
        keys = _paged(block_table, key.shape[1], max_k)
        key, value = key.flatten(0, 1), value.flatten(0, 1)
    else:
        keys = _places(cu_seq_k, max_k)  # type: ignore[arg-type]
    length = cu_seq_k.diff() if seqused_k is None else seqused_k  # type: ignore[union-attr]
    mask = _mask(cu_seq_q.diff(), length, max_q, max_k, window)
    out, lse = _padded_attention(query, key, value, queries, keys, mask, scale)
    sequence, place = _rows(cu_seq_q, query.shape[0])
    out = out[sequence, :, place].to(query.dtype)
    if return_aux is None or not return_aux.lse:
        return out
    return out, lse[sequence, :, place].transpose(0, 1).contiguous()


def varlen_attn_out(out: Tensor, *args: Any, return_aux: AuxRequest | None = None, **kwargs: Any) -> Any:
    """As :func:`varlen_attn`, with the result written into ``out``; not differentiable.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.varlen import varlen_attn_out
        >>> x, begin = torch.zeros(5, 2, 4), torch.tensor([0, 2, 5])
        >>> out = torch.ones(5, 2, 4)
        >>> varlen_attn_out(out, x, x, x, begin, begin, 3, 3).shape
        torch.Size([5, 2, 4])
        >>> bool((out == 0).all())
        True
    """
    with no_grad():
        result = varlen_attn(*args, return_aux=return_aux, **kwargs)
        if return_aux is None or not return_aux.lse:
            return out.copy_(result)
        return out.copy_(result[0]), result[1]


def _places(begin: Tensor, most: int) -> Tensor:
    """Where the tokens of each sequence lie, (N, most); anywhere for those that it does not have."""
    return begin[:-1].unsqueeze(1) + arange(most, device=begin.device)


def _paged(table: Tensor, page: int, most: int) -> Tensor:
    """Where the keys of each sequence lie among those of all pages, (N, most)."""
    token = arange(most, device=table.device)
    return table.long()[:, token // page] * page + token % page


def _rows(begin: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of each token its sequence, and its place there."""
    begin = begin.long()
    token = arange(count, device=begin.device)
    sequence = searchsorted(begin[1:], token, right=True).clamp(max=begin.shape[0] - 2)
    return sequence, token - begin[sequence]


def _mask(queries: Tensor, keys: Tensor, max_q: int, max_k: int, window: tuple[int, ...]) -> Tensor:
    """Which query of a sequence attends to which key, (N, 1, max_q, max_k)."""
    device = queries.device
    query, key = arange(max_q, device=device).unsqueeze(1), arange(max_k, device=device)
    queries, keys = [lengths.long().view(-1, 1, 1, 1) for lengths in (queries, keys)]
    # The last query stands beside the last key.
    behind = key - (query + keys - queries)
    mask = key < keys
    before, after = window
    if before >= 0:
        mask = mask & (behind >= -before)
    if after >= 0:
        mask = mask & (behind <= after)
    return mask


def _padded_attention(
    query: Tensor, key: Tensor, value: Tensor, queries: Tensor, keys: Tensor, mask: Tensor, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Results (N, Hq, max_q, Dv), and the logarithms of the sums of exponentials."""
    heads = query.shape[1]
    precise = dtypes.float64 if query.dtype is dtypes.float64 else dtypes.float32
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    q, k, v = [
        for_queries(x[places.long().clamp(0, x.shape[0] - 1)].transpose(1, 2), heads, 1).to(precise)
        for x, places in ((query, queries), (key, keys), (value, keys))
    ]
    scores = where(mask, (q @ k.transpose(-2, -1)) * scale, -math.inf)
    return weights_of(scores) @ v, log_sum_of(scores)
