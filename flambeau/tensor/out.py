"""Writing results into tensors that the caller gives as ``out=``."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import write


def write_out(name: str, results: Any, out: Any) -> Any:
    """Puts results into the tensors of ``out``, resizing those whose shape differs, and returns these.

    Raises:
        RuntimeError: if a result's type cannot be cast to the tensor's, or a gradient would be lost.
    """
    if isinstance(results, Tensor):
        _write_one(name, results, out)
        return out
    for result, target in zip(results, out, strict=True):
        _write_one(name, result, target)
    # Named results stay named.
    return type(results)(tuple(out)) if type(results) not in (tuple, list) else tuple(out)


def _write_one(name: str, result: Tensor, out: Tensor) -> None:
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if mode.grad and (result._rg or out._rg):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    if not dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(
            f"result type {result.dtype.title} can't be cast to the desired output type {out.dtype.title}"
        )
    if result.dtype is not out.dtype:
        result = result.to(out.dtype)
    if result._node.aval.shape != out._node.aval.shape:
        if out._node.aval.size:
            warnings.warn(
                f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does not "
                f"match the required output shape {list(result.shape)}. This behavior is deprecated, and in a future "
                "PyTorch release outputs will not be resized unless they have zero elements.",
                UserWarning,
                stacklevel=4,
            )
        if out._base is not None:
            raise RuntimeError(f"{name}(): the view given as out= cannot be resized to {list(result.shape)}")
        out._layout = None
    write(out, result)
