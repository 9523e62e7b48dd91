"""Padding: elements put around a tensor, or cut off where the padding is negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.graph.node import Aval
from flambeau.ops import autocast
from flambeau.ops.conv_kernels import Pads
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.taps import TAPS, Taps
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- with a constant


def _pad_rule(x: Aval, value: Aval, *, pads: Pads) -> Aval:
    shape = []
    for d, (n, (lo, hi)) in enumerate(zip(x.shape, pads, strict=True)):
        if n + lo + hi < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {lo} and {hi} resulted in a negative output size, which is "
                f"invalid. Check dimension {d} of your input."
            )
        shape.append(n + lo + hi)
    return x.of(tuple(shape))


def _pad_numpy(np: Any, x: Any, value: Any, *, pads: Pads) -> Any:
    shape = tuple([n + lo + hi for n, (lo, hi) in zip(x.shape, pads, strict=True)])
    result = np.full_like(x, value, shape=shape)
    wanted = tuple([slice(max(lo, 0), n - max(hi, 0)) for n, (lo, hi) in zip(shape, pads, strict=True)])
    given = tuple([slice(max(-lo, 0), n - max(-hi, 0)) for n, (lo, hi) in zip(x.shape, pads, strict=True)])
    if all(w.stop > w.start for w in wanted):
        result[wanted] = x[given]
    return result


def _pad_lax(jnp: Any, x: Any, value: Any, *, pads: Pads) -> Any:
    from jax import lax

    return lax.pad(x, jnp.asarray(value).astype(x.dtype), [(lo, hi, 0) for lo, hi in pads])


PAD = operator(
    "constant_pad_nd",
    _pad_rule,
    None,
    lambda grad, pads: (PAD(grad, 0, tuple([(-lo, -hi) for lo, hi in pads])), None),
    numpy=_pad_numpy,
    lax=_pad_lax,
    moves=True,
    samples=lambda: [
        case("nn.functional.pad", T(2, 3), (1, 2)),
        case("nn.functional.pad", T(2, 3, 4), (1, -1, 0, 2), value=1.5),
        case("nn.functional.pad", T(2, 3, dtype="int64"), (-1, 0, 1, 0), value=7),
        case("nn.functional.pad", T(2, 3), (-3, 0)),
    ],
)

# ---------------------------------------------------------------- with the tensor's own elements


def _by_elements(x: Tensor, pads: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Pads the last axes, the last one first in ``pads``, with elements of the tensor."""
    if mode == "circular" and any(p < 0 for pair in pads for p in pair):
        # What is cut off does not come back from the other end.
        cut = [(min(lo, 0), min(hi, 0)) for lo, hi in pads]
        x = PAD(x, 0, tuple([(0, 0)] * (x.ndim - len(cut)) + cut[::-1]))
        pads = [(max(lo, 0), max(hi, 0)) for lo, hi in pads]
    for i, (lo, hi) in enumerate(pads):
        size = x.shape[x.ndim - 1 - i]
        if lo or hi:
            x = TAPS(x, -1 - i, Taps(mode, size, size + lo + hi, lo))
    return x


def _check_mode(x: Tensor, pads: list[tuple[int, int]], mode: str) -> None:
    axes = len(pads)
    shape = list(x.shape)
    if 0 in shape[1:] or (0 in shape and x.ndim == axes + 1):
        raise RuntimeError(
            f"Expected {axes + 1}D or {axes + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {shape}"
        )
    for i, (lo, hi) in enumerate(pads):
        size, dim = shape[x.ndim - 1 - i], x.ndim - 1 - i
        if mode == "reflect" and (lo >= size or hi >= size):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
                f"({lo}, {hi}) at dimension {dim} of input {shape}"
            )
        if mode == "circular":
            if lo > size or hi > size:
                raise RuntimeError("Padding value causes wrapping around more than once.")
            if lo + hi + size < 0:
                raise RuntimeError("Negative padding value is resulting in an empty dimension")
        if lo + hi + size < 1:
            raise RuntimeError(
                f"input (size: {size}) is too small. Calculated output size: {lo + hi + size} (pad: mode {mode!r}, "
                f"dimension {dim})"
            )


@public(into="nn.functional")
def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Puts elements around a tensor, or takes them off where a number is negative.

    Args:
        pad: two numbers per axis, before and behind, beginning with the last axis.
        mode: ``"constant"``; or for as many of the last axes as there are pairs ``"reflect"`` (mirrored at the
            first and last element), ``"replicate"`` (those repeated) or ``"circular"`` (from the other end).
        value: the constant, zero if None.

    Raises:
        RuntimeError: if ``pad`` has an odd length or names too many axes, or the mode cannot pad so far.
        NotImplementedError: for other modes, or other numbers of axes than the mode pads.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.pad(torch.tensor([1, 2, 3]), (1, 2))
        tensor([0, 1, 2, 3, 0, 0])
    """
    numbers = [int(p) for p in pad]
    if len(numbers) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(numbers) > 2 * input.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(numbers)} and input of dimension {input.ndim}"
        )
    pads = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)]
    if mode == "constant":
        return constant_pad_nd(input, numbers, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    axes = len(pads)
    if not 1 <= axes <= 3 or input.ndim not in (axes + 1, axes + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now "
            f"(mode {mode!r} pads the last 1 to 3 dimensions of a tensor with one or two more; got {axes} of "
            f"{input.ndim})"
        )
    _check_mode(input, pads, mode)
    result = _BY_ELEMENTS[mode, axes](input, pads, mode)
    if mode == "circular":
        return result
    return labelled(result, f"{'Reflection' if mode == 'reflect' else 'Replication'}Pad{axes}DBackward0")


_BY_ELEMENTS = {
    (mode, axes): autocast.governed(f"{word}_pad{axes}d", _by_elements)
    for mode, word in (("reflect", "reflection"), ("replicate", "replication"), ("circular", "circular"))
    for axes in (1, 2, 3)
}
"""By mode and number of axes, since autocast's lists name them apart."""


@public()
def constant_pad_nd(input: Tensor, pad: Any, value: Any = 0) -> Tensor:
    """Puts a constant around a tensor; ``pad`` as in ``nn.functional.pad``.

    Raises:
        RuntimeError: if the numbers in ``pad`` are odd, or more than two for each dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.constant_pad_nd(torch.tensor([[1, 2]]), (1, 2), 9)
        tensor([[9, 1, 2, 9, 9]])
    """
    numbers = [int(p) for p in pad]
    if len(numbers) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(numbers)}")
    if len(numbers) > 2 * input.ndim:
        raise RuntimeError(
            f"Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(numbers)} while the input has {input.ndim} dimensions."
        )
    if isinstance(value, Tensor):
        value = value.item()
    pairs = [(numbers[i], numbers[i + 1]) for i in range(0, len(numbers), 2)]
    return PAD(input, value, tuple([(0, 0)] * (input.ndim - len(pairs)) + pairs[::-1]))
