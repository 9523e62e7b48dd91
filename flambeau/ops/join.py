"""Joining tensors along a dimension."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.engine import target
from flambeau.graph.node import Aval
from flambeau.graph.op import Call
from flambeau.ops.operator import inputs_of, operator, public
from flambeau.ops.outs import written_apart
from flambeau.ops.samples import T, case
from flambeau.ops.slicing import SLICE, UNBIND
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor

Shape = tuple[int, ...]

# ---------------------------------------------------------------- cat


def _skipped(aval: Aval) -> bool:
    """Whether a tensor is an empty vector, which joins with anything."""
    return aval.shape == (0,)


def _cat_rule(*tensors: Aval, dim: int) -> Aval:
    for i, aval in enumerate(tensors):
        if not aval.shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    kept = [aval for aval in tensors if not _skipped(aval)]
    if not kept:
        return tensors[0].of((0,))
    first = kept[0].shape
    total = 0
    for i, aval in enumerate(tensors):
        if _skipped(aval):
            continue
        if len(aval.shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(aval.shape)}")
        for d, (n, m) in enumerate(zip(first, aval.shape, strict=True)):
            if d != dim and n != m:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {n} but got size {m} for "
                    f"tensor number {i} in the list."
                )
        total += aval.shape[dim]
    return kept[0].of((*first[:dim], total, *first[dim + 1 :]))


def _cat_kernel(xp: Any, *arrays: Any, dim: int) -> Any:
    kept = [a for a in arrays if a.shape != (0,)] or [arrays[0]]
    dim = dim if kept[0].ndim > 1 else 0
    if xp is np or target.kind() != "cpu":
        return xp.concatenate(kept, axis=dim)
    # As rows of a matrix, which XLA for the CPU copies in blocks; else it asks of each element where it comes from.
    shape = list(kept[0].shape)
    shape[dim] = sum(a.shape[dim] for a in kept)
    outer = math.prod(shape[:dim])
    rows = [a.reshape(outer, math.prod(a.shape[dim:])) for a in kept]
    return xp.concatenate(rows, axis=1).reshape(shape)


def _cat_fitted(call: Call) -> Any:
    if any(_skipped(aval) for aval in call.inputs):  # type: ignore[arg-type]
        return None
    dim = call.params["dim"]
    return lambda *arrays: np.concatenate(arrays, dim)


def _cat_derivative(grad: Tensor, avals: tuple[Aval, ...], needs: tuple[bool, ...], dim: int) -> list[Tensor | None]:
    found: list[Tensor | None] = []
    start = 0
    for aval, wanted in zip(avals, needs, strict=True):
        if _skipped(aval):
            found.append(grad.new_zeros((0,)) if wanted else None)
            continue
        found.append(SLICE(grad, start, dim, aval.shape[dim], 1) if wanted else None)
        start += aval.shape[dim]
    return found


CAT = operator(
    "cat",
    _cat_rule,
    _cat_kernel,
    _cat_derivative,
    promote="common",
    moves=True,
    samples=lambda: [
        case("cat", [T(2, 3), T(4, 3)]),
        case("cat", [T(2, 3), T(2, 1), T(2, 0)], -1),
        case("cat", [T(0), T(2, 2)]),
    ],
)
CAT.fitted = _cat_fitted


def _sequence(name: str, tensors: Any) -> list[Tensor]:
    # A list or a tuple is told at once; what else is a sequence takes as long to find as recording the operation.
    if type(tensors) not in (list, tuple) and (isinstance(tensors, Tensor) or not isinstance(tensors, Sequence)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}"
        )
    return inputs_of(tensors)


@public()
def cat(tensors: Any, dim: int = 0, *, axis: int | None = None, out: Any = None) -> Tensor:
    """Tensors one after the other along ``dim``.

    Args:
        tensors: of the same shape except along ``dim``; empty vectors are left out.

    Raises:
        RuntimeError: if shapes do not fit, or there is no tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.cat([torch.ones(1, 2), torch.zeros(1, 2)])
        tensor([[1., 1.],
                [0., 0.]])
    """
    dim = dim if axis is None else axis
    given = _sequence("cat", tensors)
    if not given:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    shape = next((shape for tensor in given if (shape := tensor._node.aval.shape) != (0,)), (0,))
    if shape:
        dim = wrapped_dim(dim, len(shape))
    return written_apart("cat", CAT(given, dim), out, *given)


concat = public("concat")(cat)
concatenate = public("concatenate")(cat)

# ---------------------------------------------------------------- stack


def _stack_rule(*tensors: Aval, dim: int) -> Aval:
    first = tensors[0].shape
    for i, aval in enumerate(tensors):
        if aval.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(aval.shape)} "
                f"at entry {i}"
            )
        if aval.device is not tensors[0].device:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{tensors[0].device} and {aval.device}! (stack; move one of them with .to('{tensors[0].device}'))"
            )
    return tensors[0].of((*first[:dim], len(tensors), *first[dim:]))


def _stack_kernel(xp: Any, *arrays: Any, dim: int) -> Any:
    return xp.stack(arrays, axis=dim)


def _stack_derivative(grad: Tensor, dim: int) -> Any:
    return UNBIND(grad, dim)


STACK = operator(
    "stack",
    _stack_rule,
    _stack_kernel,
    _stack_derivative,
    promote="common",
    moves=True,
    samples=lambda: [
        case("stack", [T(2, 3), T(2, 3)]),
        case("stack", [T(2, 3), T(2, 3)], -1),
        case("stack", [T(), T()]),
    ],
)


@public(out=True)
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension.

    Raises:
        RuntimeError: if there are none, or their shapes differ.

    Example:
        >>> import flambeau as torch
        >>> torch.stack([torch.tensor(1), torch.tensor(2)])
        tensor([1, 2])
    """
    given = _sequence("stack", tensors)
    if not given:
        raise RuntimeError("stack expects a non-empty TensorList")
    return STACK(given, wrapped_dim(dim, len(given[0]._node.aval.shape) + 1))
