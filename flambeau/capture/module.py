"""A module whose calls are captured and replayed."""

from __future__ import annotations

from typing import Any

from flambeau.capture.compiled import Compiled
from flambeau.nn.modules.module import Module


class OptimizedModule(Module):
    """What ``compile(module)`` gives: the module, with its calls captured.

    Shares the module's parameters; its state dict has PyTorch's ``_orig_mod.`` prefix.
    """

    def __init__(self, module: Module) -> None:
        super().__init__()
        self._orig_mod = module
        self.training = module.training
        object.__setattr__(self, "_compiled", Compiled(_caller(module)))

    @property
    def program(self) -> Any:
        """The newest captured program, to be looked at."""
        return self._compiled.program  # type: ignore[union-attr]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)  # type: ignore[operator]

    def train(self, mode: bool = True) -> Any:
        self._orig_mod.train(mode)
        self.training = mode
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self._modules["_orig_mod"]
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._orig_mod, name)


def _caller(module: Module) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return module(*args, **kwargs)

    call.__qualname__ = type(module).__qualname__
    return call
