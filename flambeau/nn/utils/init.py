"""Making modules without drawing their starting values."""

from __future__ import annotations

import inspect
from typing import Any

from flambeau.nn.modules.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module whose parameters and buffers hold no particular values.

    Args:
        module_cls: the module's class, whose constructor takes ``device``.
        args, kwargs: for the constructor.

    Raises:
        RuntimeError: if it is no module, or its constructor takes no ``device``.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.skip_init(torch.nn.Linear, 3, 2)
        >>> layer, layer.weight.device
        (Linear(in_features=3, out_features=2, bias=True), device(type='cpu'))
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=device)
