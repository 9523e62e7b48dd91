"""Functions of one element of the attention scores, and what they give for all elements."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flambeau import devices, dtypes
from flambeau.accelerator import current_accelerator
from flambeau.func.vmap import vmap
from flambeau.ops.compare import where
from flambeau.ops.create import zeros
from flambeau.ops.ranges import arange
from flambeau.tensor.tensor import Tensor

ScoreMod = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""From a score, batch, head, query and key index, each a tensor of one element, to a new score."""
MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From batch, head, query and key index to whether the query attends to the key."""


def takes_score(mod: Callable[..., Any]) -> bool:
    """Whether a function changes scores, and is no mask.

    Raises:
        AssertionError: if it takes neither five nor four arguments.
    """
    parameters = inspect.signature(mod).parameters.values()
    count = sum(1 for parameter in parameters if parameter.default is inspect.Parameter.empty)
    if count not in (4, 5):
        raise AssertionError(
            f"Expected 4 or 5 positional args, got {count}: a mask_mod takes (b, h, q_idx, kv_idx), and a score_mod "
            "the score before these"
        )
    return count == 5


def over_scores(mod: ScoreMod, scores: Tensor) -> Tensor:
    """Every score changed; scores are (B, H, L, S)."""
    return _mapped(mod, (0,))(scores, *_indices(tuple(scores.shape), scores.device))


def over_places(mod: MaskMod, sizes: tuple[int, ...], device: Any) -> Tensor:
    """The mask of all places, (B, H, L, S)."""
    return _mapped(mod, ())(*_indices(sizes, device))


def _indices(sizes: tuple[int, ...], device: Any) -> list[Tensor]:
    return [arange(n, device=device) for n in sizes]


def _mapped(mod: Callable[..., Any], first: tuple[int, ...]) -> Callable[..., Tensor]:
    """A function of single elements as one of all batches, heads, queries and keys."""
    for which in (3, 2, 1, 0):
        mod = vmap(mod, in_dims=(*first, *[0 if i == which else None for i in range(4)]))
    return mod


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """The mask by which every query attends to every key.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import create_mask, noop_mask
        >>> create_mask(noop_mask, 1, 1, 1, 2)
        tensor([[[[True, True]]]])
    """
    return batch.new_ones((), dtype=dtypes.bool_)


def _sliced_mask_mod_error(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """The mask of a part of a BlockMask, whose elements are numbered from elsewhere: raises."""
    raise RuntimeError(SLICED)


SLICED = (
    "Cannot use mask_mod from a sliced BlockMask: mask[...] numbers its elements anew, which the function that made "
    "the whole mask does not know. Set the part's mask_mod to one that adds where the part begins to the indices that "
    "it hands to the whole mask's mask_mod"
)


def or_masks(*mask_mods: MaskMod) -> MaskMod:
    """The mask of what one of the masks lets through.

    Raises:
        RuntimeError: if one is not callable.

    Example:
        >>> from flambeau.nn.attention.flex_attention import create_mask, or_masks
        >>> near = or_masks(lambda b, h, q, k: q == k, lambda b, h, q, k: q == k + 1)
        >>> create_mask(near, None, None, 3, 3).int().tolist()
        [[[[1, 0, 0], [1, 1, 0], [0, 1, 1]]]]
    """
    _check_callable(mask_mods)

    def or_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = b.new_zeros((), dtype=dtypes.bool_)
        for mask in mask_mods:
            result = result | mask(b, h, q_idx, kv_idx)
        return result

    return or_mask


def and_masks(*mask_mods: MaskMod) -> MaskMod:
    """The mask of what all of the masks let through.

    Raises:
        RuntimeError: if one is not callable.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import and_masks, create_mask
        >>> mask = and_masks(lambda b, h, q, k: k <= q, lambda b, h, q, k: q - k < 2)
        >>> create_mask(mask, 1, 1, 3, 3).int()[0, 0]
        tensor([[1, 0, 0],
                [1, 1, 0],
                [0, 1, 1]], dtype=torch.int32)
    """
    _check_callable(mask_mods)

    def and_mask(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        result = b.new_ones((), dtype=dtypes.bool_)
        for mask in mask_mods:
            result = result & mask(b, h, q_idx, kv_idx)
        return result

    return and_mask


def _check_callable(mask_mods: tuple[Any, ...]) -> None:
    if not all(callable(mask) for mask in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")


def create_mask(
    mod_fn: ScoreMod | MaskMod, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None
) -> Tensor:
    """The mask that a function stands for, of shape (B, H, Q_LEN, KV_LEN).

    Args:
        mod_fn: a mask_mod; or a score_mod, which masks where it gives minus infinity for a score of zero.
        B, H: sizes of batch and heads; 1 if None.
        Q_LEN, KV_LEN: numbers of queries and keys.
        device: where the mask is made; an accelerator if None, or the CPU if there is none.

    Raises:
        AssertionError: if the function takes neither four nor five arguments.

    Example:
        >>> from flambeau.nn.attention.flex_attention import create_mask
        >>> create_mask(lambda b, h, q, k: q >= k, 1, 1, 2, 3)
        tensor([[[[ True, False, False],
                  [ True,  True, False]]]])
    """
    if device is None:
        device = current_accelerator() or devices.cpu
    sizes = (1 if B is None else B, 1 if H is None else H, Q_LEN, KV_LEN)
    if takes_score(mod_fn):
        scores = over_scores(mod_fn, zeros(sizes, device=device))  # type: ignore[arg-type]
        return where(scores.isneginf(), False, True)
    return over_places(mod_fn, sizes, device)  # type: ignore[arg-type]
