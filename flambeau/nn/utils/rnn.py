"""Sequences of different lengths in one batch: padded, or packed without padding.

A packed batch holds the rows of all sequences, longest sequence first, one time step after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau import dtypes
from flambeau.tensor.tensor import Tensor, from_array

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence_(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequence_):
    """Sequences of different lengths without padding, as :func:`pack_padded_sequence` makes them.

    Attributes:
        data: the elements, (sum of lengths, ...).
        batch_sizes: how many sequences reach each time step, on the CPU.
        sorted_indices: the order in which the sequences were taken, or None for the given one.
        unsorted_indices: its inverse.

    Example:
        >>> import flambeau as torch
        >>> packed = torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])])
        >>> packed.data, packed.batch_sizes
        (tensor([1, 4, 2, 3]), tensor([2, 1, 1]))
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, list | tuple) and len(data) == 2):
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequences in "
                "nn.utils.rnn. https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)  # type: ignore[arg-type]

    def _with(self, data: Tensor, move: Callable[[Tensor], Tensor]) -> PackedSequence:
        indices = [None if t is None else move(t) for t in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With ``data`` of another type or on another device, as by ``Tensor.to``; itself if nothing changes."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        return self._with(data, lambda t: t.to(data.device))

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the accelerator "cuda", or the device given."""
        return self.to(*args, **kwargs) if args or "device" in kwargs else self.to(device="cuda", **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the CPU."""
        return self.to(*args, **kwargs) if args or "device" in kwargs else self.to(device="cpu", **kwargs)

    def double(self) -> PackedSequence:
        return self.to(dtype=dtypes.float64)

    def float(self) -> PackedSequence:
        return self.to(dtype=dtypes.float32)

    def half(self) -> PackedSequence:
        return self.to(dtype=dtypes.float16)

    def long(self) -> PackedSequence:
        return self.to(dtype=dtypes.int64)

    def int(self) -> PackedSequence:
        return self.to(dtype=dtypes.int32)

    def short(self) -> PackedSequence:
        return self.to(dtype=dtypes.int16)

    def char(self) -> PackedSequence:
        return self.to(dtype=dtypes.int8)

    def byte(self) -> PackedSequence:
        return self.to(dtype=dtypes.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether ``data`` is on an accelerator "cuda"."""
        return self.data.device.type == "cuda"

    def is_pinned(self) -> bool:
        """Whether ``data`` is in pinned memory."""
        return self.data.is_pinned()

    def pin_memory(self) -> PackedSequence:
        """With its tensors in pinned memory."""
        return self._with(self.data.pin_memory(), lambda t: t.pin_memory())


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes another; None for None.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.utils.rnn.invert_permutation(torch.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    order = permutation._array()
    inverse = np.empty_like(order)
    inverse[order] = np.arange(order.size, dtype=order.dtype)
    return _index(inverse, permutation)


def _index(array: Any, like: Tensor) -> Tensor:
    return from_array(np.ascontiguousarray(array, dtype=np.int64), device=like.device)


def _lengths_of(lengths: Any) -> np.ndarray:
    if not isinstance(lengths, Tensor):
        return np.asarray([int(n) for n in lengths], dtype=np.int64)
    if lengths.ndim != 1 or lengths.device.type != "cpu":
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.ndim}D {lengths.device} Long tensor"
        )
    return lengths._array().astype(np.int64)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch without its padding.

    Args:
        input: (T, N, ...), or (N, T, ...) if ``batch_first``.
        lengths: of the N sequences; a tensor must be on the CPU.
        enforce_sorted: require the longest to come first; otherwise they are sorted here.

    Raises:
        RuntimeError: if a length is not positive or exceeds T, their number is not N, or they are not sorted.

    Example:
        >>> import flambeau as torch
        >>> packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor([[1, 3], [2, 0]]), [2, 1])
        >>> packed.data, packed.batch_sizes
        (tensor([1, 3, 2]), tensor([2, 1]))
    """
    sizes = _lengths_of(lengths)
    order = None
    if not enforce_sorted:
        order = np.argsort(-sizes, kind="stable")
        sizes = sizes[order]
    if input.ndim < 2 or not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    batch, steps = (input.shape[0], input.shape[1]) if batch_first else (input.shape[1], input.shape[0])
    if sizes.size != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {sizes.size} (batch_size={batch})"
        )
    if (sizes <= 0).any():
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if (np.diff(sizes) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you "
            "do not need ONNX exportability."
        )
    if sizes[0] > steps:
        raise RuntimeError(
            f"pack_padded_sequence: a sequence of length {sizes[0]} does not fit into {steps} padded time steps; "
            "check `lengths` and `batch_first`"
        )
    reached = sizes > np.arange(sizes[0])[:, None]
    step, member = np.nonzero(reached)
    if order is not None:
        member = order[member]
    rows = member * steps + step if batch_first else step * batch + member
    flat = input.reshape(-1, *input.shape[2:])
    data = flat.index_select(0, _index(rows, input))
    sorted_indices = None if order is None else _index(order, input)
    return PackedSequence(data, from_array(reached.sum(1, dtype=np.int64)), sorted_indices, None)


def _padded(
    rows: Tensor, starts: np.ndarray, steps: np.ndarray, inside: np.ndarray, padding_value: Any, batch_first: bool
) -> Tensor:
    """Rows laid out as (T, N, ...) or (N, T, ...), with padding where not ``inside``.

    The place of the row for (step, sequence) is ``starts + steps`` there.
    """
    places = np.where(inside, starts + steps, 0)
    if batch_first:
        places, inside = places.T, inside.T
    found = rows.index_select(0, _index(places.reshape(-1), rows)).reshape(*places.shape, *rows.shape[1:])
    if inside.all():
        return found
    outside = ~inside.reshape(*inside.shape, *(1,) * (rows.ndim - 1))
    return found.masked_fill(from_array(np.ascontiguousarray(outside), device=rows.device), padding_value)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: Any = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """A packed batch with padding, its sequences in their original order: the inverse of packing.

    Args:
        batch_first: (N, T, ...) instead of (T, N, ...).
        total_length: T; that of the longest sequence if None.

    Returns:
        The padded batch, and the lengths.

    Raises:
        ValueError: if ``total_length`` is less than the longest sequence.

    Example:
        >>> import flambeau as torch
        >>> packed = torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4])])
        >>> torch.nn.utils.rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1)
        (tensor([[ 1,  2,  3],
                [ 4, -1, -1]]), tensor([3, 1]))
    """
    sizes = sequence.batch_sizes._array()
    longest = sizes.size
    if total_length is not None and total_length < longest:
        raise ValueError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    steps = longest if total_length is None else total_length
    batch = int(sizes[0])
    reached = np.zeros((steps, batch), dtype=bool)
    reached[:longest] = sizes[:, None] > np.arange(batch)
    starts = np.zeros((steps, 1), dtype=np.int64)
    starts[1:longest, 0] = np.cumsum(sizes)[:-1]
    member = np.arange(batch)[None, :]
    if sequence.unsorted_indices is not None:
        order = sequence.unsorted_indices._array()
        member, reached = member[:, order], reached[:, order]
    lengths = from_array(reached.sum(0, dtype=np.int64))
    return _padded(sequence.data, starts, member, reached, padding_value, batch_first), lengths


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: Any = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences (L_i, ...) as one padded batch, (T, N, ...) or, if ``batch_first``, (N, T, ...).

    Raises:
        RuntimeError: if there are none, they differ in more than length, or ``padding_side`` is neither
            ``"left"`` nor ``"right"``.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.utils.rnn.pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
        tensor([[1, 2],
                [3, 0]])
    """
    from flambeau.ops.join import cat

    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    given = list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    first = given[0]
    for i, part in enumerate(given):
        if not isinstance(part, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(part).__name__}")
        if part.shape[1:] != first.shape[1:]:
            raise RuntimeError(
                "pad_sequence: the sequences must agree in all sizes but the first; "
                f"got {tuple(first.shape)} at place 0 and {tuple(part.shape)} at place {i}"
            )
    given = [part if part.dtype is first.dtype else part.to(first.dtype) for part in given]
    lengths = np.array([part.shape[0] for part in given], dtype=np.int64)
    steps = int(lengths.max())
    if not lengths.sum():
        return first.new_zeros((len(given), 0, *first.shape[1:]) if batch_first else (0, len(given), *first.shape[1:]))
    step = np.arange(steps)[:, None]
    if padding_side == "left":
        step = step - (steps - lengths)
    inside = (step >= 0) & (step < lengths)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))[None, :]
    rows = given[0] if len(given) == 1 else cat(given)
    return _padded(rows, starts, step, inside, padding_value, batch_first)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences of a padded batch, each of its length: the inverse of :func:`pad_sequence`.

    Raises:
        ValueError: if there are not as many lengths as sequences.

    Example:
        >>> import flambeau as torch
        >>> padded = torch.tensor([[1, 2, 3], [4, 0, 0]])
        >>> torch.nn.utils.rnn.unpad_sequence(padded, torch.tensor([3, 1]), batch_first=True)
        [tensor([1, 2, 3]), tensor([4])]
    """
    sizes = lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths]
    batch = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    if batch.shape[0] != len(sizes):
        raise ValueError(f"unpad_sequence: {batch.shape[0]} sequences, but {len(sizes)} lengths")
    return [batch[i, : max(0, n)] for i, n in enumerate(sizes)]


def pack_sequence(sequences: list[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (L_i, ...), packed; longest first if ``enforce_sorted``, else in any order.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]).data
        tensor([1, 3, 2])
    """
    lengths = [part.shape[0] for part in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in their original order: the inverse of :func:`pack_sequence`.

    Example:
        >>> import flambeau as torch
        >>> packed = torch.nn.utils.rnn.pack_sequence([torch.tensor([1]), torch.tensor([2, 3])], enforce_sorted=False)
        >>> torch.nn.utils.rnn.unpack_sequence(packed)
        [tensor([1]), tensor([2, 3])]
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
