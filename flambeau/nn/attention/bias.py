"""Causal masks for attention between queries and keys of different numbers."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from flambeau import devices, dtypes
from flambeau.ops.create import ones
from flambeau.tensor.tensor import Tensor, blank
from flambeau.user_warnings import warn

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Where the triangle of a causal mask that is not square lies.

    ``UPPER_LEFT``: the first query attends to the first key alone.  ``LOWER_RIGHT``: the last query attends to all.

    Example:
        >>> from flambeau.nn.attention.bias import CausalVariant
        >>> CausalVariant(2)
        <CausalVariant.LOWER_RIGHT: 2>
    """

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A causal mask, to be given to ``scaled_dot_product_attention``: True where a query may attend to a key.

    Args:
        variant: where its triangle lies.
        seq_len_q, seq_len_kv: how many queries and keys.

    Raises:
        AssertionError: if ``variant`` is none.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.bias import CausalBias, causal_lower_right
        >>> mask = causal_lower_right(2, 4)
        >>> isinstance(mask, CausalBias), mask.variant.name
        (True, 'LOWER_RIGHT')
        >>> q, k = torch.zeros(1, 1, 2, 8), torch.zeros(1, 1, 4, 8)
        >>> torch.nn.functional.scaled_dot_product_attention(q, k, k, attn_mask=mask).shape
        torch.Size([1, 1, 2, 8])
    """

    variant: CausalVariant
    seq_len_q: int
    seq_len_kv: int

    def __new__(cls, variant: CausalVariant, seq_len_q: int, seq_len_kv: int) -> Any:
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        lower_right = variant is CausalVariant.LOWER_RIGHT
        if seq_len_q > seq_len_kv and lower_right:
            warn("Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!")
        mask = ones(seq_len_q, seq_len_kv, dtype=dtypes.bool_).tril(seq_len_kv - seq_len_q if lower_right else 0)
        self = blank(cls, mask._node)
        self.variant = variant
        self.seq_len_q = seq_len_q
        self.seq_len_kv = seq_len_kv
        return self

    def _materialize(self, device: devices.device | None = None) -> Tensor:
        """The mask as a plain tensor."""
        return self.to(device or devices.cpu, copy=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> CausalBias:
        return type(self)(self.variant, self.seq_len_q, self.seq_len_kv)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (type(self), (self.variant, self.seq_len_q, self.seq_len_kv))


def _sizes(name: str, size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) != 2:
        raise AssertionError(f"{name} only supports 2D tensors")
    return size


def causal_upper_left(*size: int) -> CausalBias:
    """A causal mask of (queries, keys) that counts both from the start, as ``is_causal`` does.

    Example:
        >>> from flambeau.nn.attention.bias import causal_upper_left
        >>> causal_upper_left(2, 3)
        tensor([[ True, False, False],
                [ True,  True, False]])
    """
    return CausalBias(CausalVariant.UPPER_LEFT, *_sizes("causal_upper_left", size))


def causal_lower_right(*size: int) -> CausalBias:
    """A causal mask of (queries, keys) that counts both from the end, as for queries that continue a sequence.

    Example:
        >>> from flambeau.nn.attention.bias import causal_lower_right
        >>> causal_lower_right(2, 3)
        tensor([[ True,  True, False],
                [ True,  True,  True]])
    """
    return CausalBias(CausalVariant.LOWER_RIGHT, *_sizes("causal_lower_right", size))
