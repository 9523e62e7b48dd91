"""Attention whose scores a function of one's own changes and masks: ``torch.nn.attention.flex_attention``."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypedDict, get_args

from flambeau import dtypes
from flambeau.nn.attention._block_mask import BLOCK, BlockMask, blocks_of, listed_blocks, set_write_order
from flambeau.nn.attention._mods import (
    SLICED,
    MaskMod,
    ScoreMod,
    _sliced_mask_mod_error,
    and_masks,
    create_mask,
    noop_mask,
    or_masks,
    over_places,
    over_scores,
    takes_score,
)
from flambeau.nn.attention._scores import for_queries, log_sum_of, weights_of
from flambeau.ops.compare import where
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = [
    "AuxOutput",
    "AuxRequest",
    "BlockMask",
    "FlexKernelOptions",
    "and_masks",
    "create_block_mask",
    "create_mask",
    "flex_attention",
    "noop_mask",
    "or_masks",
]

_Backend = Literal["AUTO", "TRITON", "FLASH", "TRITON_DECODE"]


class FlexKernelOptions(TypedDict, total=False):
    """Options of PyTorch's own kernels: checked as there, and without effect, since the engine decides here.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import FlexKernelOptions, flex_attention
        >>> x = torch.zeros(1, 1, 4, 8)
        >>> flex_attention(x, x, x, kernel_options=FlexKernelOptions(BLOCK_M=32)).shape
        torch.Size([1, 1, 4, 8])
    """

    num_warps: int
    num_stages: int
    BLOCK_M: int
    BLOCK_N: int
    BLOCK_M1: int
    BLOCK_N1: int
    BLOCK_M2: int
    BLOCK_N2: int
    PRESCALE_QK: bool
    ROWS_GUARANTEED_SAFE: bool
    BLOCKS_ARE_CONTIGUOUS: bool
    WRITE_DQ: bool
    FORCE_USE_FLEX_ATTENTION: bool
    USE_TMA: bool
    kpack: int
    matrix_instr_nonkdim: int
    waves_per_eu: int
    BACKEND: _Backend


class AuxRequest(NamedTuple):
    """What else :func:`flex_attention` is to give.

    Attributes:
        lse: the logarithm of the sum of exponentials of each query's scores.
        max_scores: each query's greatest score.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import AuxRequest, flex_attention
        >>> x = torch.zeros(1, 1, 4, 8)
        >>> out, aux = flex_attention(x, x, x, return_aux=AuxRequest(lse=True))
        >>> aux.lse.exp().round()
        tensor([[[4., 4., 4., 4.]]])
    """

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What was asked for by :class:`AuxRequest`, each (B, Hq, L); None for what was not.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import AuxOutput, AuxRequest, flex_attention
        >>> x = torch.zeros(1, 1, 4, 8)
        >>> _, aux = flex_attention(x, x, x, return_aux=AuxRequest(max_scores=True))
        >>> isinstance(aux, AuxOutput), aux.lse, aux.max_scores.shape
        (True, None, torch.Size([1, 1, 4]))
    """

    lse: Tensor | None = None
    max_scores: Tensor | None = None


def create_block_mask(
    mask_mod: MaskMod,
    B: int | None,
    H: int | None,
    Q_LEN: int,
    KV_LEN: int,
    device: Any = None,
    BLOCK_SIZE: int | tuple[int, int] = BLOCK,
    _compile: bool = False,
    separate_full_blocks: bool = True,
    compute_dq_write_order: bool = False,
    dq_kv_order: bool = True,
) -> BlockMask:
    """The blocks of a mask.

    Args:
        mask_mod: from batch, head, query and key index to whether the query attends to the key.
        B, H: sizes of batch and heads; 1 if None, for a mask that all share.
        Q_LEN, KV_LEN: numbers of queries and keys.
        device: where the mask is made; an accelerator if None, or the CPU if there is none.
        BLOCK_SIZE: queries and keys in a block, or one number for both.
        separate_full_blocks: whether blocks in which nothing is masked are told from others.
        compute_dq_write_order: whether to note the order in which key blocks add to the gradients of queries.
        dq_kv_order: whether the last of them is first in that order.

    Raises:
        AssertionError: if the function does not take four arguments.
        ValueError: if ``dq_kv_order`` is no bool.

    Example:
        >>> from flambeau.nn.attention.flex_attention import create_block_mask
        >>> mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, 256, 256)
        >>> mask.shape, mask.sparsity()
        ((1, 1, 256, 256), 25.0)
    """
    if takes_score(mask_mod):
        raise AssertionError(f"create-block_mask requires a mask_mod function! Got {mask_mod}")
    if _compile:
        warn(
            "create_block_mask: _compile=True has no effect; compile the function that calls it instead",
            DeprecationWarning,
        )
    if not isinstance(dq_kv_order, bool):
        raise ValueError(f"dq_kv_order must be a bool when using create_block_mask, got {dq_kv_order!r}")
    sizes = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    partial, full = blocks_of(create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device), *sizes, separate_full_blocks)
    result = BlockMask.from_kv_blocks(
        *listed_blocks(partial),
        *((None, None) if full is None else listed_blocks(full)),
        BLOCK_SIZE=sizes,
        mask_mod=mask_mod,
        seq_lengths=(Q_LEN, KV_LEN),
    )
    if compute_dq_write_order:
        set_write_order(result, dq_kv_order)
        result.dq_kv_order_spt = dq_kv_order
    return result


def flex_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    score_mod: ScoreMod | None = None,
    block_mask: BlockMask | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
    return_lse: bool = False,
    kernel_options: FlexKernelOptions | None = None,
    *,
    return_aux: AuxRequest | None = None,
) -> Any:
    """``softmax(score_mod(scale · Q Kᵀ)) V``, over the keys that a mask lets through.

    Functions are called once, with tensors of one element each, and what they do is done for all scores together;
    they may read tensors of the outside by index, whose gradients are had as well.  A query that attends to no key
    gets zeros.  Scores are computed in float32, or float64 if the queries are that.

    Shape: query (B, Hq, L, E), key (B, Hkv, S, E), value (B, Hkv, S, Ev) give (B, Hq, L, Ev).

    Args:
        score_mod: from a score, batch, head, query and key index to a new score.
        block_mask: whose ``mask_mod`` says which query attends to which key; all to all if None.
        scale: of the scores; ``1/sqrt(E)`` if None.
        enable_gqa: whether there may be fewer heads of keys than of queries, each for a group of these.
        return_lse: whether to give the logarithm of the sum of exponentials of each query's scores, (B, Hq, L), too;
            deprecated for ``return_aux``.
        kernel_options: checked, and without effect.
        return_aux: what else to give, as an :class:`AuxOutput`.

    Raises:
        NotImplementedError: if a tensor is not four-dimensional.
        ValueError: if sizes do not fit each other or the mask, or both ways of asking for more are used.
        RuntimeError: if the mask is part of another and was not given a ``mask_mod``; for contradicting options.

    Dong et al., Flex Attention: A Programming Model for Generating Optimized Attention Kernels, 2024.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import flex_attention
        >>> x = torch.randn(1, 2, 5, 4)
        >>> slopes = torch.tensor([0.5, 0.25])
        >>> flex_attention(x, x, x, lambda score, b, h, q, k: score + slopes[h] * (k - q)).shape
        torch.Size([1, 2, 5, 4])
    """
    _check_inputs(query, key, value, enable_gqa)
    _check_batch(query, key, block_mask)
    if block_mask is not None:
        _check_mask(query, key, block_mask)
    if return_lse and return_aux is not None:
        raise ValueError(
            "Cannot specify both return_lse and return_aux. return_lse is deprecated, please use "
            "return_aux=AuxRequest(lse=True) instead."
        )
    if return_lse:
        _warn_of_return_lse()
    _check_options(kernel_options or {}, return_aux)
    key, value = [for_queries(x, query.shape[1], 1).expand(query.shape[0], -1, -1, -1) for x in (key, value)]
    scores = _scores(query, key, score_mod, block_mask, 1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    out = weights_of(scores).to(query.dtype) @ value.to(query.dtype)
    if return_aux is not None:
        lse = log_sum_of(scores) if return_aux.lse else None
        return out, AuxOutput(lse, scores.amax(-1) if return_aux.max_scores else None)
    return (out, log_sum_of(scores)) if return_lse else out


def _scores(
    query: Tensor, key: Tensor, score_mod: ScoreMod | None, block_mask: BlockMask | None, scale: float
) -> Tensor:
    precise = dtypes.float64 if query.dtype is dtypes.float64 else dtypes.float32
    scores = (query.to(precise) @ key.to(precise).transpose(-2, -1)) * scale
    changed = scores if score_mod is None else over_scores(score_mod, scores).to(precise)
    if block_mask is None or block_mask.mask_mod is noop_mask:
        return changed
    return where(over_places(block_mask.mask_mod, tuple(scores.shape), scores.device), changed, -math.inf)


# ---------------------------------------------------------------- what is checked


def _check_inputs(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> None:
    if query.device != key.device or query.device != value.device:
        raise ValueError(
            "Expected query, key, and value to have the same device type, but got query.device: "
            f"{query.device}, key.device: {key.device}, and value.device: {value.device} instead."
        )
    dims = [x.dim() for x in (query, key, value)]
    if min(dims) < 2:
        raise ValueError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{dims[0]}, key.dim: {dims[1]} and value.dim: {dims[2]} instead."
        )
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(
            "Expect query and key/value to have the same embedding dimension but got "
            f"E={query.shape[-1]} and E={key.shape[-1]}."
        )
    if dims != [4, 4, 4]:
        raise NotImplementedError(
            "NYI: query, key, and value must be 4D tensors, (batch, heads, length, size), but got "
            f"{[list(x.shape) for x in (query, key, value)]}"
        )
    if key.shape[-2] != value.shape[-2]:
        raise RuntimeError(
            f"flex_attention: there are {key.shape[-2]} keys {list(key.shape)} but {value.shape[-2]} values "
            f"{list(value.shape)}"
        )
    check_heads(query.shape[1], key.shape[1], enable_gqa)


def check_heads(queries: int, keys: int, enable_gqa: bool) -> None:
    """Raises ValueError unless keys have the heads of queries, or those divide among them."""
    if not enable_gqa and queries != keys:
        raise ValueError(
            f"Expect query and key/value to have the same number of heads but got Hq={queries} and Hkv={keys}. Try "
            "setting enable_gqa=True for GQA."
        )
    if enable_gqa and queries % keys:
        raise ValueError(
            f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={queries} and Hkv={keys}."
        )


def _check_batch(query: Tensor, key: Tensor, block_mask: BlockMask | None) -> None:
    queries, keys = query.shape[0], key.shape[0]
    if queries == keys:
        return
    if block_mask is None:
        raise ValueError(
            "Expect query and key/value to have the same batch size, or non-none block_mask, but got block_mask=None, "
            f"Bq={queries}, and Bkv={keys}."
        )
    if block_mask.kv_num_blocks.shape[0] != queries:
        raise ValueError(
            "Expect query and key/value to have the same batch size, or block_mask and query to have the same batch "
            f"size, but got Bq={queries}, Bkv={keys}, B_block_mask={block_mask.kv_num_blocks.shape[0]}."
        )
    if keys != 1:
        raise RuntimeError(f"Bq and Bkv must broadcast. Got Bq={queries} and Bkv={keys}")


def _check_mask(query: Tensor, key: Tensor, block_mask: BlockMask) -> None:
    if block_mask.mask_mod is _sliced_mask_mod_error:
        raise RuntimeError(SLICED)
    lengths, made = (query.shape[-2], key.shape[-2]), tuple(block_mask.shape[-2:])
    if lengths != made:
        told = (
            f"block_mask was created for block_mask.shape={block_mask.shape} but got q_len={lengths[0]} and "
            f"kv_len={lengths[1]}. "
        )
        if lengths[0] > made[0] or lengths[1] > made[1]:
            raise ValueError(
                f"{told}As the block mask was created for a smaller length than you're using it for, you likely need "
                "to create a new block mask."
            )
        raise ValueError(
            f"{told}As the block mask was created for a larger length than you're using it for, you can either 1. "
            "create a new block mask with the correct length, or 2. take its upper left corner by "
            "block_mask._adjust(q_len, kv_len), where that is what mask_mod means"
        )
    if query.device != block_mask.kv_num_blocks.device:
        raise RuntimeError(
            f"Expect q/k/v and block_mask to be on the same device but got {query.device} and "
            f"{block_mask.kv_num_blocks.device}."
        )


def _check_options(options: Any, wanted: AuxRequest | None) -> None:
    backend = options.get("BACKEND", "AUTO")
    if "BACKEND" in options and options.get("FORCE_USE_FLEX_ATTENTION", False):
        raise RuntimeError(
            "BACKEND cannot be combined with legacy FORCE_USE_FLEX_ATTENTION: BACKEND takes its place, leave "
            "FORCE_USE_FLEX_ATTENTION out"
        )
    if backend not in get_args(_Backend):
        raise ValueError(f"Invalid BACKEND value '{backend}'. Must be one of {get_args(_Backend)}")
    for name in ("OUTPUT_LOGSUMEXP", "OUTPUT_MAX"):
        if name in options:
            raise AssertionError(f"{name} must not be in kernel_options: ask for it by return_aux")
    if backend == "FLASH" and wanted is not None and wanted.max_scores:
        raise NotImplementedError(
            "Returning max scores is not supported with BACKEND='FLASH'. Use return_aux=AuxRequest(lse=True) or omit "
            "max_scores."
        )


_told: set[str] = set()


def _warn_of_return_lse() -> None:
    if "return_lse" in _told:
        return
    _told.add("return_lse")
    warn(
        "return_lse is deprecated and will be removed in v2.10. Please use return_aux=AuxRequest(lse=True) instead.",
        FutureWarning,
    )
