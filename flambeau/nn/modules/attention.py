"""Multi-head attention."""

from __future__ import annotations

from typing import Any

from flambeau.nn import init
from flambeau.nn.modules.linear import Linear
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.attention import canonical_mask, dtype_or_none, multi_head_attention_forward
from flambeau.ops.create import empty
from flambeau.tensor.tensor import Tensor

__all__ = ["MultiheadAttention"]


class NonDynamicallyQuantizableLinear(Linear):
    """A linear layer under the name that the printed form of attention shows."""


class MultiheadAttention(Module):
    """``Concat(head_1 ... head_h) W_O`` with ``head_i = softmax(Q_i K_iᵀ / sqrt(E / h) + mask) V_i``, where
    ``Q_i``, ``K_i`` and ``V_i`` are the i-th slices of linear projections of query, key and value.
    Vaswani et al., Attention Is All You Need (2017), section 3.2.2.

    Shape: query (L, N, embed_dim), key (S, N, kdim), value (S, N, vdim), with ``batch_first`` (N, L, ...) and
    so on, or without N.  Result like query; weights (N, L, S).  The projections into heads start
    Xavier-uniform, biases at zero, the projection of the result as of :class:`Linear`.

    Args:
        embed_dim: E, the size of queries and results.
        num_heads: h, the number of heads; divides E.
        dropout: the share of weights left out at random in training.
        bias: whether the projections have biases.
        add_bias_kv: whether a learned key and value are put behind the others.
        add_zero_attn: whether a key and value of zeros are put behind the others.
        kdim, vdim: sizes of keys and values; E if None.
        batch_first: whether N comes first.

    Raises:
        AssertionError: if E is no multiple of h, or sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> attend = torch.nn.MultiheadAttention(4, 2, batch_first=True)
        >>> x = torch.zeros(3, 5, 4)
        >>> y, weights = attend(x, x, x)
        >>> y.shape, weights.shape
        (torch.Size([3, 5, 4]), torch.Size([3, 5, 5]))
    """

    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        super().__init__()
        where = {"device": device, "dtype": dtype}
        self.embed_dim = embed_dim
        self.kdim = kdim if kdim is not None else embed_dim
        self.vdim = vdim if vdim is not None else embed_dim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        if self._qkv_same_embed_dim:
            self.in_proj_weight = Parameter(empty((3 * embed_dim, embed_dim), **where))
            for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
                self.register_parameter(name, None)
        else:
            self.q_proj_weight = Parameter(empty((embed_dim, embed_dim), **where))
            self.k_proj_weight = Parameter(empty((embed_dim, self.kdim), **where))
            self.v_proj_weight = Parameter(empty((embed_dim, self.vdim), **where))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", Parameter(empty(3 * embed_dim, **where)) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **where)
        if add_bias_kv:
            self.bias_k = Parameter(empty((1, 1, embed_dim), **where))
            self.bias_v = Parameter(empty((1, 1, embed_dim), **where))
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        if self._qkv_same_embed_dim:
            init.xavier_uniform_(self.in_proj_weight)
        else:
            init.xavier_uniform_(self.q_proj_weight)
            init.xavier_uniform_(self.k_proj_weight)
            init.xavier_uniform_(self.v_proj_weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)  # type: ignore[arg-type]
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
        if self.bias_v is not None:
            init.xavier_normal_(self.bias_v)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends.

        Args:
            query, key, value: see the class.
            key_padding_mask: (N, S); bool: True leaves a key out; floating: added to the weights' logits.
            need_weights: also give the weights; without them attention is a single operation.
            attn_mask: (L, S) or (N * heads, L, S), likewise.
            average_attn_weights: give the mean weights over heads, instead of (N, heads, L, S).
            is_causal: says that ``attn_mask`` is the causal mask.

        Returns:
            The result, and the weights or None.
        """
        batched = query.ndim == 3
        key_padding_mask = canonical_mask(
            key_padding_mask, "key_padding_mask", dtype_or_none(attn_mask), "attn_mask", query.dtype
        )
        attn_mask = canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
        if self.batch_first and batched:
            query, key, value = _time_first(query, key, value)
        output, weights = multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        if self.batch_first and batched:
            output = output.transpose(1, 0)
        return output, weights

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Both masks as one, for queries (N, L, E), with its kind: 0 none but for attention, 1 padding, 2 both."""
        merged, kind = None, None
        if key_padding_mask is not None:
            merged, kind = key_padding_mask, 1
        if attn_mask is not None:
            batch, length, _ = query.shape
            if attn_mask.ndim == 3:
                merged = attn_mask.view(batch, -1, length, length)
            else:
                merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
            if key_padding_mask is not None:
                merged = merged + key_padding_mask.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
            kind = 2
        return merged, kind


def _time_first(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, L, E) as (L, N, E); what was one tensor stays one, so that its projections share a product."""
    swapped = query.transpose(1, 0)
    if key is value:
        other = swapped if query is key else key.transpose(1, 0)
        return swapped, other, other
    return swapped, key.transpose(1, 0), value.transpose(1, 0)
