"""``flambeau.compile``: the way in for functions, modules and decorators."""

from __future__ import annotations

from typing import Any

from flambeau.capture.compiled import Compiled
from flambeau.capture.module import OptimizedModule
from flambeau.nn.modules.module import Module


def compile(
    model: Any = None,
    *,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: Any = "xla",
    mode: str | None = None,
    options: Any = None,
    disable: bool = False,
    name: str | None = None,
) -> Any:
    """Makes a function or module whose calls are replayed as one compiled program once they repeat.

    Args:
        model: a function or a :class:`~flambeau.nn.Module`; without it, a decorator is returned.
        fullgraph, dynamic, backend, mode, options: accepted; the whole function is always one program, a new
            shape of an argument means a new program, and the tiers are the engine's business.
        disable: return the function as it is.

    Raises:
        CaptureError: in a call that does what a replay could not repeat: asks for a value, or does something
            else each time.  It names the line.

    Example:
        >>> import flambeau as torch
        >>> double = torch.compile(lambda x: x * 2)
        >>> double(torch.ones(2))
        tensor([2., 2.])
    """
    if model is None:
        return lambda chosen: compile(
            chosen, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options, disable=disable
        )
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model)
    return Compiled(model)
