"""From a call to a function of arrays: conversion of operands, and arithmetic in reduced precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.engine.target import kind as device_kind
from flambeau.graph.node import Aval
from flambeau.graph.op import Call

HALVES = (dtypes.float16, dtypes.bfloat16)
"""What accelerators multiply as it is; smaller types they only take with scales."""


def prepared(call: Call, kernel: Callable[..., Any], xp: Any) -> Callable[..., Any]:
    """The kernel of a call as a function of arrays alone.

    Operands are converted to the common type first.  A kernel that computes gets float16 and
    bfloat16 operands as float32, and its result is rounded once, as on PyTorch's CPU.  Products on accelerators
    get them as they are, and their results are rounded likewise.
    """
    function = partial(kernel, xp, **call.params)
    casts = list(call.casts or (None,) * len(call.inputs))
    if not call.op.moves and is_reduced(call):
        kept = HALVES if call.op.product and xp is not np and device_kind() != "cpu" else ()
        casts = [_widened(aval, cast, kept) for aval, cast in zip(call.inputs, casts, strict=True)]
        function = _rounded(function, call.out, xp)
    targets = [cast.numpy if cast is not None else None for cast in casts]
    if not any(targets):
        return function
    if len(targets) == 1:
        return _cast_one(function, targets[0], xp)
    return _cast_all(function, targets, xp)


def fitted(call: Call) -> Callable[..., Any]:
    """What NumPy does in a call, as a function of arrays alone: made for this one call if its operator can."""
    found = call.op.fitted(call) if call.op.fitted is not None and call.casts is None else None
    return prepared(call, call.op.numpy, np) if found is None else found


def is_reduced(call: Call) -> bool:
    """Whether float16 or bfloat16 goes into a call or comes out of it."""
    outs = call.out if isinstance(call.out, tuple) else (call.out,)
    known = [cast for cast in call.casts or () if cast is not None]
    known += [aval.dtype for aval in (*call.inputs, *outs) if isinstance(aval, Aval)]
    return any(dtype in dtypes.REDUCED for dtype in known)


def _widened(aval: Aval | None, cast: dtypes.dtype | None, kept: tuple[dtypes.dtype, ...]) -> dtypes.dtype | None:
    if aval is None:
        return None
    dtype = cast or aval.dtype
    return dtypes.float32 if dtype in dtypes.REDUCED and dtype not in kept else cast


def _rounded(function: Callable[..., Any], out: Any, xp: Any) -> Callable[..., Any]:
    if isinstance(out, tuple):
        types = [aval.dtype.numpy for aval in out]

        def round_all(*arrays: Any) -> Any:
            return tuple(xp.asarray(result).astype(t) for result, t in zip(function(*arrays), types, strict=True))

        return round_all

    def round_one(*arrays: Any) -> Any:
        return xp.asarray(function(*arrays)).astype(out.dtype.numpy)

    return round_one


def _cast_one(function: Callable[..., Any], target: Any, xp: Any) -> Callable[..., Any]:
    def run(array: Any) -> Any:
        return function(converted(array, target, xp))

    return run


def _cast_all(function: Callable[..., Any], targets: list[Any], xp: Any) -> Callable[..., Any]:
    def run(*arrays: Any) -> Any:
        return function(*[a if t is None else converted(a, t, xp) for a, t in zip(arrays, targets, strict=True)])

    return run


def converted(value: Any, target: Any, xp: Any) -> Any:
    """An array or Python number as an array of a NumPy dtype, wrapping and truncating as C does."""
    if isinstance(value, float) and target.kind == "f":
        return target.type(value)
    if isinstance(value, int) and target.kind in "iu":
        info = np.iinfo(target)
        if not info.min <= value <= info.max:
            value = (value - int(info.min)) % (1 << info.bits) + int(info.min)
        return target.type(value)
    array = value if hasattr(value, "astype") else xp.asarray(value)
    if array.dtype == target:
        return array
    if array.dtype.kind == "c" and target.kind != "c":
        array = array.real if target.kind != "b" else array != 0
    return array.astype(target)
