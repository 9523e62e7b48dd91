"""Operators that the interpreter runs on all examples at once, with the examples along a first dimension.

The rest it calls once per example: right, and fast enough for small numbers of them.  XLA needs none of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engine.kernels import prepared
from flambeau.graph.op import Call


def all_at_once(call: Call, flags: list[bool], size: int) -> Callable[..., Any] | None:
    """The NumPy kernel of a call, for all examples; None if there is no such form of it.

    Args:
        flags: per input, whether it has a dimension of examples.
        size: the number of examples.
    """
    name = call.op.name
    kernel = prepared(call, call.op.numpy, np)
    if name == "project":
        return kernel
    if call.op.elementwise or name in _BROADCASTING:
        return _aligned(kernel, [0 if aval is None else aval.ndim for aval in call.inputs], flags)
    if name == "matmul":
        return _products(kernel, call, flags)
    if name == "index":
        return _picked(kernel, call, flags, size)
    if name == "outer_sum":
        return _aligned(kernel, [2, 2], flags)
    if name == "linear":
        # Rows of the input are rows whichever example they belong to; weights of each example are another matter.
        return kernel if flags[0] and not any(flags[1:]) else None
    if name in _ROWWISE and all(flags):
        return kernel
    shifted = _SHIFTED.get(name)
    if shifted is None or not flags[0] or any(flags[1:]) != (name == "cat" and all(flags) and len(flags) > 1):
        return None
    params = shifted(dict(call.params), call, size)
    if params is None:
        return None
    moved = Call(call.op, tuple(params[k] for k in call.op.attr_names), call.inputs, call.out, call.casts)
    return prepared(moved, call.op.numpy, np)


def _aligned(kernel: Callable[..., Any], ndims: list[int], flags: list[bool]) -> Callable[..., Any]:
    """A kernel that broadcasts: sizes of one keep an example's dimensions in line."""
    ndim = max(ndims)
    gaps = [(1,) * (ndim - n) if flag else () for n, flag in zip(ndims, flags, strict=True)]

    def run(*arrays: Any) -> Any:
        return kernel(
            *[a.reshape(a.shape[0], *gap, *a.shape[1:]) if gap else a for a, gap in zip(arrays, gaps, strict=True)]
        )

    return run


def _picked(kernel: Callable[..., Any], call: Call, flags: list[bool], size: int) -> Callable[..., Any] | None:
    """Elements by index: each example is one more place of the indices, if these are of the first dimensions."""
    if None in call.inputs:
        return None
    ndims = [aval.ndim for aval in call.inputs[1:]]  # type: ignore[union-attr]
    own = np.arange(size).reshape(size, *(1,) * max(ndims))

    def run(x: Any, *indices: Any) -> Any:
        return kernel(x, own, *indices) if flags[0] else kernel(x, *indices)

    aligned = _aligned(lambda *indices: indices, ndims, flags[1:])
    return lambda x, *indices: run(x, *aligned(*indices))


def _products(kernel: Callable[..., Any], call: Call, flags: list[bool]) -> Callable[..., Any]:
    """Matrix products: a vector is a row on the left, and a column on the right."""
    ndims = [aval.ndim for aval in call.inputs if aval is not None]
    out = call.out.shape
    product = _aligned(kernel, [max(n, 2) for n in ndims], flags)

    def run(x: Any, y: Any) -> Any:
        if ndims[0] == 1:
            x = x[..., None, :]
        if ndims[1] == 1:
            y = y[..., :, None]
        result = product(x, y)
        return result.reshape(result.shape[0], *out)

    return run


def _dim(params: dict[str, Any], call: Call, size: int) -> Any:
    ndims = {aval.ndim for aval in call.inputs if aval is not None and not aval.weak}
    if call.op.name == "cat" and len(ndims) > 1:
        # Empty vectors may stand among arrays of any kind.
        return None
    if ndims == {0} and call.op.name != "unsqueeze":
        return None
    return {**params, "dim": params["dim"] + 1}


def _dims(params: dict[str, Any], call: Call, size: int) -> Any:
    return {**params, "dims": tuple(dim + 1 for dim in params["dims"])}


def _order(params: dict[str, Any], call: Call, size: int) -> Any:
    order = params["dims"]
    if len(order) != call.inputs[0].ndim:  # type: ignore[union-attr]
        return None
    return {**params, "dims": (0, *[dim + 1 for dim in order])}


def _shape(params: dict[str, Any], call: Call, size: int) -> Any:
    return {**params, "shape": (size, *params["shape"])}


def _expanded(params: dict[str, Any], call: Call, size: int) -> Any:
    if len(params["shape"]) != call.inputs[0].ndim:  # type: ignore[union-attr]
        return None
    return _shape(params, call, size)


def _same(params: dict[str, Any], call: Call, size: int) -> Any:
    return params


_BROADCASTING = {"masked_fill", "where"}
"""Operators of several arrays that are elementwise but for the types that these may have."""
_ROWWISE = {"gru_gates", "lstm_gates", "normalized_backward"}
"""Operators that treat any dimensions in front alike, those of all their inputs."""

# What becomes of an operator's static parameters, its input having one more dimension in front.
_SHIFTED: dict[str, Callable[[dict[str, Any], Call, int], Any]] = {
    "amax": _dims,
    "amin": _dims,
    "cat": _dim,
    "detach": _same,
    "expand": _expanded,
    "flip": _dims,
    "log_softmax": _dim,
    "mean": _dims,
    "normalized": _same,
    "permute": _order,
    "select": _dim,
    "slice": _dim,
    "softmax": _dim,
    "squeeze": _dims,
    "sum": _dims,
    "transpose": _order,
    "unsqueeze": _dim,
    "view": _shape,
}
