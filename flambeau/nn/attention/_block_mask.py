"""Masks of attention by blocks: which blocks have something in them, and which are full."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.nn.attention._mods import MaskMod, _sliced_mask_mod_error, noop_mask
from flambeau.ops.compare import where
from flambeau.ops.padding import pad
from flambeau.ops.pointwise import broadcast_shapes
from flambeau.ops.ranges import arange
from flambeau.tensor.tensor import Tensor

BLOCK = 128
"""The size of a block, unless given."""

Pair = tuple[Tensor, Tensor]
"""Per row of blocks how many there are, and which: those that count come first."""


class BlockMask:
    """Which blocks of queries and keys attention concerns itself with, and a function for the elements of these.

    A row of blocks is told by how many there are (``kv_num_blocks``, of shape (B, H, rows)) and which
    (``kv_indices``, (B, H, rows, columns), of which the first so many count).  ``full_kv_num_blocks`` and
    ``full_kv_indices`` tell of blocks in which nothing is masked, which then are not among the others.
    ``q_num_blocks``, ``q_indices`` and their full counterparts tell the same by columns.  Made by
    :func:`create_block_mask` or :meth:`from_kv_blocks`; ``mask[b, h, rows]`` is a part of it.

    Attention here computes all scores and masks them by ``mask_mod``, as PyTorch does where it does not compile; the
    blocks are there for programs that ask for them.

    Args:
        seq_lengths: numbers of queries and keys.
        kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices: by rows.
        q_num_blocks, q_indices, full_q_num_blocks, full_q_indices: by columns; None if not known.
        BLOCK_SIZE: queries and keys in a block.
        mask_mod: says of each element whether it counts.
        dq_write_order, dq_write_order_full, dq_kv_order, dq_kv_order_spt: the order in which a kernel adds up the
            gradients of queries; kept.

    Raises:
        RuntimeError: if the indices have fewer than two dimensions.
        AssertionError: if one of a pair is missing.
        ValueError: if the order for full blocks is given alone.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention.flex_attention import create_block_mask
        >>> mask = create_block_mask(lambda b, h, q, k: k <= q, None, None, 256, 256, device="cpu")
        >>> mask.shape, mask.sparsity()
        ((1, 1, 256, 256), 25.0)
    """

    _TENSORS = (
        "kv_num_blocks",
        "kv_indices",
        "full_kv_num_blocks",
        "full_kv_indices",
        "q_num_blocks",
        "q_indices",
        "full_q_num_blocks",
        "full_q_indices",
        "dq_write_order",
        "dq_write_order_full",
        "dq_kv_order",
    )

    def __init__(
        self,
        seq_lengths: tuple[int, int],
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None,
        full_kv_indices: Tensor | None,
        q_num_blocks: Tensor | None,
        q_indices: Tensor | None,
        full_q_num_blocks: Tensor | None,
        full_q_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, int] = (BLOCK, BLOCK),
        mask_mod: MaskMod = noop_mask,
        *,
        dq_write_order: Tensor | None = None,
        dq_write_order_full: Tensor | None = None,
        dq_kv_order: Tensor | None = None,
        dq_kv_order_spt: bool | None = None,
    ) -> None:
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if kv_num_blocks is None:
            raise AssertionError("kv_num_blocks must be provided")
        _check_pair("kv", full_kv_num_blocks, full_kv_indices)
        _check_pair("q", full_q_num_blocks, full_q_indices)
        if dq_write_order_full is not None and dq_write_order is None:
            raise ValueError("dq_write_order_full requires dq_write_order")
        self.seq_lengths = seq_lengths
        self.kv_num_blocks = kv_num_blocks
        self.kv_indices = kv_indices
        self.full_kv_num_blocks = full_kv_num_blocks
        self.full_kv_indices = full_kv_indices
        self.q_num_blocks = q_num_blocks
        self.q_indices = q_indices
        self.full_q_num_blocks = full_q_num_blocks
        self.full_q_indices = full_q_indices
        self.dq_write_order = dq_write_order
        self.dq_write_order_full = dq_write_order_full
        self.dq_kv_order = dq_kv_order
        self.dq_kv_order_spt = dq_kv_order_spt
        self.BLOCK_SIZE = BLOCK_SIZE
        self.mask_mod = mask_mod

    @classmethod
    def from_kv_blocks(
        cls,
        kv_num_blocks: Tensor,
        kv_indices: Tensor,
        full_kv_num_blocks: Tensor | None = None,
        full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = BLOCK,
        mask_mod: MaskMod | None = None,
        seq_lengths: tuple[int, int] | None = None,
        compute_q_blocks: bool = True,
        *,
        dq_write_order: Tensor | None = None,
        dq_write_order_full: Tensor | None = None,
        dq_kv_order: Tensor | bool | None = None,
    ) -> BlockMask:
        """A mask from its blocks by rows.

        Args:
            kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices: as of the class.
            BLOCK_SIZE: queries and keys in a block, or one number for both.
            mask_mod: says of each element whether it counts; all do if None.
            seq_lengths: numbers of queries and keys; as many as all blocks hold, if None.
            compute_q_blocks: whether to find the blocks by columns too.
            dq_write_order, dq_write_order_full, dq_kv_order: as of the class; ``dq_kv_order`` may be True for the
                last key block first, or False.

        Raises:
            RuntimeError: if the indices have fewer than two dimensions.
            AssertionError: if one of the full pair is missing.
            ValueError: if ``dq_kv_order`` is neither a tensor nor a bool.
        """
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        _check_pair("kv", full_kv_num_blocks, full_kv_indices)
        if dq_kv_order is not None and not isinstance(dq_kv_order, bool | Tensor):
            raise ValueError(f"dq_kv_order must be a bool, Tensor, or None, got {dq_kv_order!r}")
        by_column: list[Any] = [None] * 4
        if compute_q_blocks:
            by_column[:2] = _by_column(kv_num_blocks, kv_indices)
            if full_kv_num_blocks is not None and full_kv_indices is not None:
                by_column[2:] = _by_column(full_kv_num_blocks, full_kv_indices)
        sizes = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * sizes[0], kv_indices.shape[-1] * sizes[1])
        return cls(
            seq_lengths,
            kv_num_blocks,
            kv_indices,
            full_kv_num_blocks,
            full_kv_indices,
            *by_column,
            BLOCK_SIZE=sizes,
            mask_mod=noop_mask if mask_mod is None else mask_mod,
            dq_write_order=dq_write_order,
            dq_write_order_full=dq_write_order_full,
            dq_kv_order=dq_kv_order if isinstance(dq_kv_order, Tensor) else None,
            dq_kv_order_spt=dq_kv_order if isinstance(dq_kv_order, bool) else None,
        )

    def as_tuple(self, flatten: bool = True) -> tuple[Any, ...]:
        """All attributes: lengths, tensors, the order's direction, sizes of blocks, mask_mod.

        Args:
            flatten: whether lengths and sizes stand in the tuple as two numbers each.
        """
        lengths: tuple[Any, ...] = tuple(self.seq_lengths) if flatten else (self.seq_lengths,)
        sizes: tuple[Any, ...] = tuple(self.BLOCK_SIZE) if flatten else (self.BLOCK_SIZE,)
        return (*lengths, *self._tensors().values(), self.dq_kv_order_spt, *sizes, self.mask_mod)

    def _tensors(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._TENSORS}

    @property
    def shape(self) -> tuple[int, ...]:
        """(B, H, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def numel(self) -> int:
        """How many elements there are, masked or not."""
        return math.prod(self.shape)

    def sparsity(self) -> float:
        """The share of the elements that lie in no block, in percent."""
        blocks = self.kv_num_blocks.sum()
        if self.full_kv_num_blocks is not None:
            blocks = blocks + self.full_kv_num_blocks.sum()
        held = blocks.item() * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1]
        return 100 * (1 - held / self.numel())

    def to_dense(self) -> Tensor:
        """One for each block that has something in it, (B, H, rows, columns)."""
        dense = dense_blocks(self.kv_num_blocks, self.kv_indices, self.kv_indices.shape[-1])
        if self.full_kv_num_blocks is None or self.full_kv_indices is None:
            return dense
        return dense | dense_blocks(self.full_kv_num_blocks, self.full_kv_indices, self.full_kv_indices.shape[-1])

    def to(self, device: Any) -> BlockMask:
        """The same on another device."""
        moved: dict[str, Any] = {
            name: None if tensor is None else tensor.to(device) for name, tensor in self._tensors().items()
        }
        return BlockMask(
            self.seq_lengths,
            **moved,
            BLOCK_SIZE=self.BLOCK_SIZE,
            mask_mod=self.mask_mod,
            dq_kv_order_spt=self.dq_kv_order_spt,
        )

    def __getitem__(self, index: Any) -> BlockMask:
        """A part: by batch, head and row of blocks; all three dimensions stay.

        Its ``mask_mod`` raises, since the elements are numbered anew: set it again.
        """
        self._check_order("Slicing")
        given = index if isinstance(index, tuple) else (index,)
        places = (*given, slice(None), slice(None), slice(None))[:3]
        at = tuple([_kept(place, n) for place, n in zip(places, self.kv_num_blocks.shape[:3], strict=True)])
        return self._changed(lambda pair: (pair[0][at], pair[1][at]), _sliced_mask_mod_error, self.seq_lengths)

    def _adjust(self, new_q_len: int, new_kv_len: int) -> BlockMask:
        """The upper left corner, of so many queries and keys."""
        self._check_order("Adjusting")
        rows = -(-new_q_len // self.BLOCK_SIZE[0])
        columns = -(-new_kv_len // self.BLOCK_SIZE[1])
        return self._changed(lambda pair: _corner(*pair, rows, columns), self.mask_mod, (new_q_len, new_kv_len))

    def _check_order(self, doing: str) -> None:
        if self.dq_kv_order is not None:
            raise NotImplementedError(
                f"{doing} BlockMask with tensor dq_kv_order is not supported yet. Construct a new BlockMask with "
                "matching precomputed dq_write_order metadata."
            )

    def _changed(self, change: Callable[[Pair], Pair], mask_mod: MaskMod, lengths: tuple[int, int]) -> BlockMask:
        full: tuple[Any, Any] = (None, None)
        if self.full_kv_num_blocks is not None and self.full_kv_indices is not None:
            full = change((self.full_kv_num_blocks, self.full_kv_indices))
        result = BlockMask.from_kv_blocks(
            *change((self.kv_num_blocks, self.kv_indices)),
            *full,
            BLOCK_SIZE=self.BLOCK_SIZE,
            mask_mod=mask_mod,
            seq_lengths=lengths,
            compute_q_blocks=self.q_indices is not None,
        )
        result.dq_kv_order_spt = self.dq_kv_order_spt
        if self.dq_write_order is not None:
            set_write_order(result, bool(self.dq_kv_order_spt))
        return result

    # ------------------------------------------------------------ printed

    def to_string(self, grid_size: int | tuple[int, int] = (20, 20), limit: int = 4) -> str:
        """A picture per batch and head: two characters for one block or several, dark where all have something.

        Args:
            grid_size: at most so many rows and columns; -1 for all.
            limit: at most so many pictures.
        """
        dense = self.to_dense()
        grid = (grid_size, grid_size) if isinstance(grid_size, int) else grid_size
        pictures = []
        for count, place in enumerate(itertools.product(*map(range, dense.shape[:-2]))):
            if count == limit:
                pictures += [
                    "...",
                    "To print out more, set BlockMask.to_string(limit=N)",
                    "You can also index (BlockMask[batch, head]) to choose a specific batch or head",
                ]
                break
            pictures.append(f"{place}\n{_picture(dense[place], grid)}")
        return "\n".join(pictures)

    def __str__(self) -> str:
        return f"BlockMask(shape={self.shape}, sparsity={self.sparsity():.2f}%, \n{self.to_string().strip()}\n)"

    def __repr__(self) -> str:
        shapes = [(name, None if t is None else t.shape) for name, t in list(self._tensors().items())[:8]]
        known = [
            *shapes,
            ("BLOCK_SIZE", self.BLOCK_SIZE),
            ("shape", self.shape),
            ("sparsity", f"{self.sparsity():.2f}%"),
            ("mask_mod", getattr(self.mask_mod, "__name__", self.mask_mod)),
        ]
        return "BlockMask(\n" + ",\n".join(f"    {name}={value}" for name, value in known) + "\n)"


def _check_pair(kind: str, count: Tensor | None, indices: Tensor | None) -> None:
    if (count is None) != (indices is None):
        raise AssertionError(
            f"full_{kind}_num_blocks and full_{kind}_indices must be both provided or omitted, got "
            f"{'no' if count is None else 'only'} full_{kind}_num_blocks"
        )


def _kept(place: Any, size: int) -> Any:
    """An index that keeps its dimension."""
    if not isinstance(place, int):
        return place
    start = place + size if -size <= place < 0 else place
    return slice(start, start + 1)


def _picture(dense: Tensor, grid: tuple[int, int]) -> str:
    rows, columns = [max(1, -(-n // most)) for n, most in zip(dense.shape, grid, strict=True)]
    lines = []
    for r in range(0, dense.shape[0], rows):
        shares = [dense[r : r + rows, c : c + columns].float().mean().item() for c in range(0, dense.shape[1], columns)]
        lines.append("".join("██" if share == 1 else "░░" if share else "  " for share in shares))
    return "".join(f"{line}\n" for line in lines)


# ---------------------------------------------------------------- blocks in lists, and in a grid


def dense_blocks(count: Tensor, indices: Tensor, columns: int) -> Tensor:
    """A grid of ones for the blocks of lists, of int32."""
    counted = arange(indices.shape[-1], device=indices.device) < count.unsqueeze(-1)
    # What does not count goes to a column that is then left out.
    places = where(counted, indices, columns).long()
    grid = indices.new_zeros((*indices.shape[:-1], columns + 1), dtype=dtypes.int32)
    return grid.scatter(-1, places, 1)[..., :columns].contiguous()


def listed_blocks(grid: Tensor) -> Pair:
    """The lists of blocks of a grid."""
    order = grid.to(dtypes.int32).argsort(-1, descending=True, stable=True)
    return grid.sum(-1).to(dtypes.int32), order.to(dtypes.int32)


def _by_column(count: Tensor, indices: Tensor) -> Pair:
    return listed_blocks(dense_blocks(count, indices, indices.shape[-1]).transpose(-2, -1))


def _corner(count: Tensor, indices: Tensor, rows: int, columns: int) -> Pair:
    indices = indices[:, :, :rows, :columns]
    count = count[:, :, :rows].clamp(max=columns)
    return (indices < count.unsqueeze(-1)).sum(-1).to(dtypes.int32), indices


def blocks_of(mask: Tensor, rows: int, columns: int, separate: bool) -> tuple[Tensor, Tensor | None]:
    """Which blocks of a mask have something in them: those that are not full, and those that are.

    Args:
        mask: (B, H, L, S).
        rows, columns: sizes of a block.
        separate: whether to tell full blocks from others.
    """
    below, beyond = -mask.shape[-2] % rows, -mask.shape[-1] % columns
    mask = pad(mask, (0, beyond, 0, below))
    grid = mask.reshape(*mask.shape[:2], mask.shape[2] // rows, rows, mask.shape[3] // columns, columns)
    held = grid.sum((3, 5))
    if not separate:
        return held > 0, None
    return (held > 0) & (held < rows * columns), held == rows * columns


def set_write_order(mask: BlockMask, last_first: bool) -> None:
    """Notes the order in which key blocks add to the gradient of a block of queries, per column.

    Raises:
        ValueError: if the blocks by columns are not known.
    """
    by_column, full_by_column = mask.q_indices, mask.full_q_indices
    if mask.q_num_blocks is None or by_column is None:
        raise ValueError("BlockMask must have q_num_blocks and q_indices to compute dq_write_order")
    columns = by_column.shape[-2]
    grid = dense_blocks(mask.kv_num_blocks, mask.kv_indices, columns)
    if mask.full_kv_num_blocks is not None and mask.full_kv_indices is not None:
        grid = grid | dense_blocks(mask.full_kv_num_blocks, mask.full_kv_indices, columns)
    seen = grid.cumsum(-1)
    rank = seen - grid
    if last_first:
        rank = seen[..., -1:] - 1 - rank
    mask.dq_write_order = _picked(rank, by_column)
    mask.dq_write_order_full = None if full_by_column is None else _picked(rank, full_by_column)


def _picked(rank: Tensor, rows: Tensor) -> Tensor:
    """Of each column, the ranks at some rows."""
    batch = broadcast_shapes(rank.shape[:2], rows.shape[:2])
    by_column = rank.transpose(-2, -1).expand(*batch, -1, -1)
    places = rows.long().clamp(0, rank.shape[-2] - 1).expand(*batch, -1, -1)
    return by_column.gather(-1, places).to(dtypes.int32)
