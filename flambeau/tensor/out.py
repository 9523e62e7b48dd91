"""Writing results into tensors that the caller gives as ``out=``."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import write
from flambeau.user_warnings import warn


def write_out(name: str, results: Any, out: Any, kind: bool | str = True) -> Any:
    """Puts results into the tensors of ``out``, resizing those whose shape differs, and returns these.

    Args:
        kind: ``"exact"`` if the tensors must have the results' very types, ``"made"`` if it is no mistake that
            their shape differs.

    Raises:
        RuntimeError: if a result's type cannot be cast to the tensor's, or a gradient would be lost.
    """
    if isinstance(results, Tensor):
        _write_one(name, results, out, kind)
        return out
    if isinstance(out, Tensor) or len(out) != len(results):
        given = "1" if isinstance(out, Tensor) else str(len(out))
        raise TypeError(f"{name}(): argument 'out' must be tuple of {len(results)} Tensors, but got {given}")
    for result, target in zip(results, out, strict=True):
        _write_one(name, result, target, kind)
    # Named results stay named.
    return type(results)(tuple(out)) if type(results) not in (tuple, list) else tuple(out)


def _write_one(name: str, result: Tensor, out: Tensor, kind: bool | str) -> None:
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if mode.grad and (result.requires_grad or out.requires_grad):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    _check_type(name, result, out, kind)
    if result.dtype is not out.dtype:
        result = result.to(out.dtype)
    if result._node.aval.shape != out._node.aval.shape:
        if out._node.aval.size and kind != "made":
            warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
                f"match the required output shape {list(result.shape)}. This behavior is deprecated, and in a future "
                "PyTorch release outputs will not be resized unless they have zero elements.",
            )
        if out._base is not None:
            raise RuntimeError(f"{name}(): the view given as out= cannot be resized to {list(result.shape)}")
        out._layout = None
    write(out, result)


def _check_type(name: str, result: Tensor, out: Tensor, kind: bool | str) -> None:
    if kind == "exact" and out.dtype is not result.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {result.dtype.title.lower()}, but got {out.dtype.title.lower()} "
            f"instead ({name} converts no results; give a tensor made with dtype={result.dtype})"
        )
    if not dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"result type {result.dtype.title} can't be cast to the desired output type {out.dtype.title}"
        )
