"""Errors for arguments of the wrong type, found once something has gone wrong."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flambeau import dtypes
from flambeau.tensor.tensor import Tensor

# Annotations are strings, since every module postpones their evaluation.
_CHECKED = {
    "Tensor": (Tensor, "Tensor"),
    "Tensor | None": ((Tensor, type(None)), "Tensor"),
    "dtypes.dtype": (dtypes.dtype, "torch.dtype"),
}


def is_checkable(fn: Callable[..., Any] | property, beyond_first: bool = False) -> bool:
    """Whether a function says of some argument, or of one but the first, that it must be a tensor or a dtype."""
    if isinstance(fn, property):
        return False
    checked = [name for name, kind in fn.__annotations__.items() if kind in _CHECKED and name != "return"]
    return len(checked) > beyond_first


def refuse_wrong_types(
    name: str, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], method: bool = False
) -> None:
    """Raises TypeError if an argument is not what its function says; names it, its place and what it is.

    Args:
        name, fn: of the public function, and what it runs.
        args, kwargs: what it was given.
        method: whether it was called as a method, whose first argument does not count.
    """
    parameters = inspect.signature(fn).parameters
    given = {**dict(zip(parameters, args, strict=False)), **kwargs}
    for i, (parameter, declared) in enumerate(parameters.items()):
        if parameter not in given or declared.annotation not in _CHECKED:
            continue
        wanted, title = _CHECKED[declared.annotation]
        value = given[parameter]
        if not isinstance(value, wanted):
            where = "" if parameter in kwargs else f" (position {i + (not method)})"
            raise TypeError(f"{name}(): argument '{parameter}'{where} must be {title}, not {type(value).__name__}")


def made_type(name: str, dtype: dtypes.dtype | None, out: Any) -> dtypes.dtype:
    """The type in which a function makes a tensor for ``out``: that of ``out``, which no other may contradict."""
    if not isinstance(out, Tensor):
        raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(out).__name__}")
    if dtype not in (None, out.dtype):
        raise RuntimeError(f"dtype {dtype.title} does not match dtype of out parameter ({out.dtype.title})")
    return out.dtype
