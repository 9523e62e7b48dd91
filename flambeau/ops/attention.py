"""Attention: scaled dot products as one node, and the multi-head form built on it."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops import attention_kernels, composed
from flambeau.ops.dropout import KEPT, drawn_key, dropout
from flambeau.ops.join import cat
from flambeau.ops.matmul import linear
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.pointwise import broadcast_shapes
from flambeau.ops.samples import T, case
from flambeau.ops.views import Shape
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import SHAPES_KEPT
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- scaled dot products


def _attention_rule(
    q: Aval, k: Aval, v: Aval, mask: Aval | None, key: Aval | None, *, scale: float, is_causal: bool, p: float
) -> tuple[Aval, Aval]:
    weights = (*q.shape[:-1], k.shape[-2])
    if q.shape[-1] != k.shape[-1]:
        raise RuntimeError(
            f"scaled_dot_product_attention: queries {q} and keys {k} differ in their last size, over which products run"
        )
    if k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            f"scaled_dot_product_attention: there are {k.shape[-2]} keys {k} but {v.shape[-2]} values {v}"
        )
    if mask is not None and broadcast_shapes(mask.shape, weights) != weights:
        raise RuntimeError(
            f"The expanded size of the tensor must match the existing size: attn_mask {list(mask.shape)} does not "
            f"broadcast to the attention weights {list(weights)}"
        )
    out = q.of((*q.shape[:-1], v.shape[-1]))
    if attention_kernels.keeps_weights(q.shape, k.shape[-2], is_causal):
        return out, q.of(weights)
    # Logarithms of sums, of which exponentials are taken again.
    return out, q.of(weights[:-1], dtypes.float32 if q.dtype in dtypes.REDUCED else None)


def _attention_derivative(
    grad: Tensor,
    inputs: list[Any],
    outs: list[Tensor],
    needs: tuple[bool, ...],
    scale: float,
    is_causal: bool,
    p: float,
) -> Any:
    q, k, v, mask, key = inputs
    if mode.grad:
        attention = partial(written_out, scale=scale, is_causal=is_causal, p=p)
        return composed.gradients(attention, inputs, needs, [grad])
    found = ATTENTION_BACKWARD(grad, q, k, v, mask, key, outs[0], outs[1], scale, is_causal, p, needs[3])
    return (*found[:3], found[3] if needs[3] else None, None)


def written_out(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, key: Tensor | None, scale: float, is_causal: bool, p: float
) -> tuple[Tensor, Tensor]:
    """Attention in elementary operations: the result, and the weights after dropout."""
    heads = q.shape[-3] if q.ndim > 2 else 1
    if q.ndim > 2 and k.shape[-3] not in (1, heads):
        k = k.repeat_interleave(heads // k.shape[-3], -3)
        v = v.repeat_interleave(heads // v.shape[-3], -3)
    scores = (q * scale) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf) if mask.dtype is dtypes.bool_ else scores + mask
    if is_causal:
        allowed = scores.new_ones(scores.shape[-2:], dtype=dtypes.bool_).tril()
        scores = scores.masked_fill(allowed.logical_not(), -math.inf)
    if mask is None and not is_causal:
        weights = scores.softmax(-1)
    else:
        # A query that may attend to nothing gets zeros.
        lost = (scores.detach() == -math.inf).all(-1, keepdim=True)
        weights = scores.masked_fill(lost, 0.0).softmax(-1).masked_fill(lost, 0.0)
    if key is not None:
        weights = weights * KEPT(key, tuple(weights.shape), p) * (1 / (1 - p))
    return weights @ v, weights


def _attention_samples() -> list[case]:
    name = "nn.functional.scaled_dot_product_attention"
    q, k, v = T(2, 3, 5, 4), T(2, 3, 6, 4), T(2, 3, 6, 2)
    return [
        case(name, q, k, v),
        case(name, T(5, 4), T(6, 4), T(6, 4), scale=0.3),
        case(name, q, k, v, T(5, 6)),
        case(name, q, k, v, T(2, 1, 5, 6)),
        case(name, q, k, v, T(2, 1, 1, 6, dtype="bool")),
        # PyTorch's own kernel for these has no second derivative to compare with.
        case(name, q, q, q, is_causal=True, gradgrad=False),
        case(name, q, k, k, is_causal=True, gradgrad=False),
        case(name, T(2, 4, 5, 3), T(2, 2, 6, 3), T(2, 2, 6, 3), enable_gqa=True, gradgrad=False),
        case(name, T(2, 4, 5, 3), T(2, 2, 6, 3), T(2, 2, 6, 3), T(2, 4, 5, 6), enable_gqa=True),
        # A single query, as where words are written one by one.
        case(name, T(2, 3, 1, 4), k, v),
        case(name, T(2, 4, 1, 3), T(2, 2, 6, 3), T(2, 2, 6, 3), enable_gqa=True, gradgrad=False),
        case(name, T(2, 0, 4), T(2, 3, 4), T(2, 3, 4)),
        case(name, q, k, v, dropout_p=0.5, compare=False),
    ]


ATTENTION = operator(
    "scaled_dot_product_attention",
    _attention_rule,
    attention_kernels.forward,
    _attention_derivative,
    product=True,
    grad_name="ScaledDotProductFlashAttentionForCpuBackward0",
    samples=_attention_samples,
)


def _attention_backward_rule(
    grad: Aval,
    q: Aval,
    k: Aval,
    v: Aval,
    mask: Aval | None,
    key: Aval | None,
    out: Aval,
    saved: Aval,
    *,
    scale: float,
    is_causal: bool,
    p: float,
    wants_mask: bool,
) -> tuple[Aval, ...]:
    if wants_mask:
        assert mask is not None
        return q.of(), k.of(), v.of(), mask.of()
    return q.of(), k.of(), v.of()


ATTENTION_BACKWARD = operator(
    "scaled_dot_product_attention_backward",
    _attention_backward_rule,
    attention_kernels.backward,
    NotDifferentiable(
        "where a second derivative is wanted, attention is differentiated in elementary operations instead"
    ),
    product=True,
    samples=lambda: _attention_samples()[:1],
)


_WORDS = {
    "Half": "c10::Half",
    "BFloat16": "c10::BFloat16",
    "Long": "long int",
    "Short": "short int",
    "Char": "signed char",
    "Byte": "unsigned char",
}


def _word(x: Aval) -> str:
    """The C++ name of a type, as PyTorch's messages give it."""
    return _WORDS.get(x.dtype.title, x.dtype.title.lower())


@lru_cache(SHAPES_KEPT)
def _check_attention(query: Aval, key: Aval, value: Aval, mask: Aval | None, is_causal: bool) -> None:
    name = "scaled_dot_product_attention"
    if not query.dtype is key.dtype is value.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{_word(query)} key.dtype: {_word(key)} and value.dtype: {_word(value)} instead."
        )
    if query.ndim < 2 or key.ndim < 2 or value.ndim < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
            f"{query.ndim} key.dim: {key.ndim} and value.dim: {value.ndim} instead."
        )
    if not query.dtype.is_floating_point:
        raise RuntimeError(f"{name}: expected floating queries, got {query.dtype}; convert them with .to()")
    if mask is not None:
        if mask.dtype not in (dtypes.bool_, dtypes.float32, query.dtype):
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{_word(mask)} and  query.dtype: {_word(query)} instead."
            )
        if is_causal:
            raise RuntimeError(
                "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True"
            )


@public(into="nn.functional")
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(Q Kᵀ * scale + mask) V``.  Vaswani et al., Attention Is All You Need (2017), section 3.2.1.

    Shape: query (N..., L, E), key (N..., S, E), value (N..., S, Ev); result (N..., L, Ev).

    Args:
        attn_mask: broadcasts to (N..., L, S).  Bool: True where a query may attend to a key.  Floating: added.
        dropout_p: the share of weights left out at random; applied whenever it is not zero.
        is_causal: a query attends to no key after it, both counted from the start.
        scale: 1 / sqrt(E) unless given.
        enable_gqa: allow fewer heads (third size from the end) of keys and values than of queries; each
            serves a group of query heads.

    Raises:
        RuntimeError: if sizes or types do not fit, or there are both a mask and ``is_causal``.

    Example:
        >>> import flambeau as torch
        >>> q, k = torch.zeros(1, 2), torch.zeros(2, 2)
        >>> torch.nn.functional.scaled_dot_product_attention(q, k, torch.tensor([[0.0], [1.0]]))
        tensor([[0.5000]])
    """
    if attn_mask is not None and attn_mask.device is not query.device:
        attn_mask = _beside(attn_mask, query)
    mask = None if attn_mask is None else attn_mask._node.aval
    _check_attention(query._node.aval, key._node.aval, value._node.aval, mask, bool(is_causal))
    if enable_gqa:
        key, value = _grouped_heads(query, key, value)
    size = query._node.aval.shape
    batch = _batch_of(size, key._node.aval.shape, value._node.aval.shape, mask and mask.shape, bool(enable_gqa))
    if batch != size[:-2]:
        query = query.expand(*batch, *size[-2:])
    if attn_mask is not None and attn_mask.dtype is not dtypes.bool_ and attn_mask.dtype is not query.dtype:
        attn_mask = attn_mask.to(query.dtype)
    if scale is None:
        scale = 1 / math.sqrt(size[-1]) if size[-1] else 1.0
    random_key = None
    if dropout_p:
        if not 0.0 <= dropout_p <= 1.0:
            raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
        if dropout_p == 1.0:
            value = value * 0.0
        else:
            random_key = drawn_key(query.device)
    p = float(dropout_p) if random_key is not None else 0.0
    return ATTENTION(query, key, value, attn_mask, random_key, float(scale), bool(is_causal), p)[0]


@lru_cache(SHAPES_KEPT)
def _batch_of(query: Shape, key: Shape, value: Shape, mask: Shape | None, shares_heads: bool) -> Shape:
    """The leading sizes of the result."""
    batch = query[:-2]
    for other in (key, value):
        lead = other[:-2]
        if shares_heads and lead and lead[-1] != query[-3]:
            lead = (*lead[:-1], 1)
        batch = broadcast_shapes(batch, lead)
    return batch if mask is None else broadcast_shapes(batch, mask[:-2])


def _beside(mask: Tensor, query: Tensor) -> Tensor:
    """A causal bias, which belongs to no device, where the queries are; any other mask as it is."""
    # Imported here: it builds on operators.
    from flambeau.nn.attention.bias import CausalBias

    return mask._materialize(query.device) if isinstance(mask, CausalBias) else mask


def _grouped_heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values whose heads the kernel can share among groups of query heads."""
    if query.ndim < 3 or key.ndim < 3 or value.ndim < 3:
        raise RuntimeError("enable_gqa expects query, key and value with a dimension of heads, the third from the end")
    heads, keys, values = query.shape[-3], key.shape[-3], value.shape[-3]
    if (keys and heads % keys) or (values and heads % values):
        raise RuntimeError(
            "Number of heads in key and value must divide the number of heads in query, but got "
            f"{heads} heads in query, {keys} in key and {values} in value"
        )
    if keys != values:
        return key.repeat_interleave(heads // keys, -3), value.repeat_interleave(heads // values, -3)
    return key, value


# ---------------------------------------------------------------- several heads


def canonical_mask(
    mask: Tensor | None,
    mask_name: str,
    other_type: dtypes.dtype | None,
    other_name: str,
    target_type: dtypes.dtype,
    check_other: bool = True,
) -> Tensor | None:
    """A mask to be added: a bool mask (True: left out) as zeros and minus infinity.

    Raises:
        AssertionError: if it is neither bool nor floating.
    """
    if mask is None:
        return None
    floating = mask.dtype.is_floating_point
    if mask.dtype is not dtypes.bool_ and not floating:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype is not other_type:
        warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both instead.",
        )
    if floating:
        return mask
    return mask.new_zeros(mask.shape, dtype=target_type).masked_fill(mask, -math.inf)


def dtype_or_none(mask: Tensor | None) -> dtypes.dtype | None:
    """The type of a mask, if there is one."""
    if mask is None:
        return None
    if not isinstance(mask, Tensor):
        raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")
    return mask.dtype


def _require(condition: bool, message: str) -> None:
    # PyTorch's multi-head attention raises AssertionError, also where Python runs without assertions.
    if not condition:
        raise AssertionError(message)


def _is_batched(q: Tensor, k: Tensor, v: Tensor, padding: Tensor | None, mask: Tensor | None, num_heads: int) -> bool:
    _require(
        q.ndim in (2, 3), f"query should be unbatched 2D or batched 3D tensor but received {q.ndim}-D query tensor"
    )
    batched = q.ndim == 3
    what = "batched (3-D)" if batched else "unbatched (2-D)"
    _require(
        k.ndim == q.ndim and v.ndim == q.ndim,
        f"For {what} `query`, expected `key` and `value` to be {q.ndim}-D but found {k.ndim}-D and {v.ndim}-D tensors "
        "respectively",
    )
    if padding is not None:
        _require(
            padding.ndim == q.ndim - 1,
            f"For {what} `query`, expected `key_padding_mask` to be `None` or {q.ndim - 1}-D but found "
            f"{padding.ndim}-D tensor instead",
        )
    if mask is not None:
        _require(
            mask.ndim in (2, 3),
            f"For {what} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found {mask.ndim}-D tensor instead",
        )
        if not batched and mask.ndim == 3:
            expected = (num_heads, q.shape[0], k.shape[0])
            _require(
                tuple(mask.shape) == expected,
                f"Expected `attn_mask` shape to be {expected} but got {mask.shape}",
            )
    return batched


def projected(
    query: Tensor, key: Tensor, value: Tensor, weight: Any, bias: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values through their projections: in as few products as the sharing of inputs allows.

    ``weight`` is one (3 E, E) tensor, or three.
    """
    size = query.shape[-1]
    if isinstance(weight, tuple):
        biases = bias.chunk(3) if bias is not None else (None, None, None)
        q, k, v = [linear(x, w, b) for x, w, b in zip((query, key, value), weight, biases, strict=True)]
        return q, k, v
    if query is key and key is value:
        return linear(query, weight, bias).chunk(3, -1)
    if key is value:
        w_q, w_kv = weight.split([size, 2 * size])
        b_q, b_kv = bias.split([size, 2 * size]) if bias is not None else (None, None)
        k, v = linear(key, w_kv, b_kv).chunk(2, -1)
        return linear(query, w_q, b_q), k, v
    return projected(query, key, value, tuple(weight.chunk(3)), bias)


def _by_head(x: Tensor, batch: int, num_heads: int) -> Tensor:
    """(L, N, E) as (N, heads, L, E / heads)."""
    return x.reshape(x.shape[0], batch, num_heads, -1).permute(1, 2, 0, 3)


def _static(given: Tensor, name: str, batch: int, num_heads: int, head_dim: int) -> Tensor:
    """(N * heads, S, E / heads) as (N, heads, S, E / heads)."""
    rows = batch * num_heads
    _require(given.shape[0] == rows, f"expecting {name}.size(0) of {rows}, but got {given.shape[0]}")
    _require(given.shape[2] == head_dim, f"expecting {name}.size(2) of {head_dim}, but got {given.shape[2]}")
    return given.reshape(batch, num_heads, given.shape[1], head_dim)


def _checked_mask(mask: Tensor | None, queries: int, keys: int, batch: int, num_heads: int) -> Tensor | None:
    """A mask that broadcasts to (N, heads, L, S)."""
    if mask is None:
        return None
    expected = (queries, keys) if mask.ndim == 2 else (batch * num_heads, queries, keys)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f"The shape of the {mask.ndim}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask if mask.ndim == 2 else mask.reshape(batch, num_heads, queries, keys)


def _longer(mask: Tensor | None) -> Tensor | None:
    """A mask with one key more, which is not masked."""
    if mask is None:
        return None
    return cat([mask, mask.new_zeros((*mask.shape[:-1], 1))], -1)


@public(into="nn.functional")
def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention with its projections: see :class:`flambeau.nn.MultiheadAttention`.

    Shape: query (L, N, E), key (S, N, E), value (S, N, E), or each without N; masks (L, S), (N * heads, L, S)
    and (N, S), where True or minus infinity leaves a key out.  Result (L, N, E) and, with ``need_weights``,
    weights (N, L, S), per head (N, heads, L, S) unless ``average_attn_weights``.

    Raises:
        AssertionError: if sizes or numbers of dimensions do not fit.
        RuntimeError: if a mask's shape does not, or ``is_causal`` comes without a mask.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.MultiheadAttention(4, 2)
        >>> x = torch.ones(3, 1, 4)
        >>> y, weights = torch.nn.functional.multi_head_attention_forward(
        ...     x, x, x, 4, 2, layer.in_proj_weight, layer.in_proj_bias, None, None, False, 0.0,
        ...     layer.out_proj.weight, layer.out_proj.bias,
        ... )
        >>> y.shape
        torch.Size([3, 1, 4])
        >>> weights[0].detach()
        tensor([[0.3333, 0.3333, 0.3333],
                [0.3333, 0.3333, 0.3333],
                [0.3333, 0.3333, 0.3333]])
    """
    batched = _is_batched(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = query is key and key is value
        query = query.unsqueeze(1)
        key, value = (query, query) if same else (key.unsqueeze(1), value.unsqueeze(1))
        key_padding_mask = key_padding_mask.unsqueeze(0) if key_padding_mask is not None else None
    queries, batch, embed_dim = query.shape
    keys = key.shape[0]
    key_padding_mask = canonical_mask(
        key_padding_mask, "key_padding_mask", dtype_or_none(attn_mask), "attn_mask", query.dtype
    )
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
            "`generate_square_subsequent_mask` to create this mask."
        )
    if is_causal and key_padding_mask is None and not need_weights:
        # The hint says what the mask would say.
        attn_mask = None
    else:
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        is_causal = False
    _require(
        embed_dim == embed_dim_to_check,
        f"was expecting embedding dimension of {embed_dim_to_check}, but got {embed_dim}",
    )
    head_dim = embed_dim // num_heads
    _require(head_dim * num_heads == embed_dim, f"embed_dim {embed_dim} not divisible by num_heads {num_heads}")
    weight = _projection_weights(
        key, value, in_proj_weight, use_separate_proj_weight, (q_proj_weight, k_proj_weight, v_proj_weight)
    )
    q, k, v = projected(query, key, value, weight, in_proj_bias)
    mask = _checked_mask(attn_mask, queries, keys, batch, num_heads)
    _require((bias_k is None) == (bias_v is None), "bias_k and bias_v must be given together")
    if bias_k is not None and bias_v is not None:
        _require(static_k is None, "bias cannot be added to static key.")
        _require(static_v is None, "bias cannot be added to static value.")
        k = cat([k, bias_k.expand(1, batch, bias_k.shape[-1])])
        v = cat([v, bias_v.expand(1, batch, bias_v.shape[-1])])
        mask, key_padding_mask = _longer(mask), _longer(key_padding_mask)
    q = _by_head(q, batch, num_heads)
    static = (batch, num_heads, head_dim)
    k = _by_head(k, batch, num_heads) if static_k is None else _static(static_k, "static_k", *static)
    v = _by_head(v, batch, num_heads) if static_v is None else _static(static_v, "static_v", *static)
    if add_zero_attn:
        zero = k.new_zeros((batch, num_heads, 1, head_dim))
        k, v = cat([k, zero], 2), cat([v, zero], 2)
        mask, key_padding_mask = _longer(mask), _longer(key_padding_mask)
    mask = _merged(mask, key_padding_mask, batch, k.shape[2])
    p = dropout_p if training else 0.0
    if need_weights:
        out, weights = _with_weights(q, k, v, mask, p)
    else:
        out = scaled_dot_product_attention(q, k, v, mask, p, is_causal)
        weights = None
    out = linear(out.permute(2, 0, 1, 3).reshape(queries, batch, embed_dim), out_proj_weight, out_proj_bias)
    if not batched:
        out = out.squeeze(1)
    if weights is None:
        return out, None
    if average_attn_weights:
        weights = weights.mean(1)
    return out, weights if batched else weights.squeeze(0)


def _projection_weights(key: Tensor, value: Tensor, packed: Tensor | None, separate: bool, apart: Any) -> Any:
    if separate:
        _require(
            key.shape[:2] == value.shape[:2],
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}",
        )
        for name, weight in zip(("q_proj_weight", "k_proj_weight", "v_proj_weight"), apart, strict=True):
            _require(weight is not None, f"use_separate_proj_weight is True but {name} is None")
        return apart
    _require(key.shape == value.shape, f"key shape {key.shape} does not match value shape {value.shape}")
    _require(packed is not None, "use_separate_proj_weight is False but in_proj_weight is None")
    return packed


def _merged(mask: Tensor | None, padding: Tensor | None, batch: int, keys: int) -> Tensor | None:
    if padding is None:
        return mask
    _require(
        padding.shape[0] == batch,
        f"Expected key_padded_mask.shape[0] to be {batch}, but got {padding.shape[0]}",
    )
    _require(
        padding.shape[1] == keys,
        f"Expected key_padded_mask.shape[1] to be {keys}, but got {padding.shape[1]}",
    )
    per_key = padding.reshape(batch, 1, 1, keys)
    return per_key if mask is None else mask + per_key


def _with_weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, p: float) -> tuple[Tensor, Tensor]:
    scores = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(-2, -1)
    if mask is not None:
        # Under autocast the product has another type; one operator with the mask, as in PyTorch, keeps it.
        scores = scores + (mask if mode.autocast is None else mask.to(scores.dtype))
    weights = scores.softmax(-1)
    if p > 0.0:
        weights = dropout(weights, p)
    return weights @ v, weights
