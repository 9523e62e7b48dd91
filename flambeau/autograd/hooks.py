"""Handles by which hooks are taken off again."""

from __future__ import annotations

from itertools import count
from typing import Any

_ids = count()


class RemovableHandle:
    """Takes a hook off again: ``handle.remove()``, or at the end of a ``with`` block.

    Attributes:
        id: its number, the key of the hook in the dictionary that holds it.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(1, requires_grad=True)
        >>> with x.register_hook(lambda grad: grad * 10):
        ...     x.backward()
        >>> x.grad
        tensor([10.])
    """

    def __init__(self, hooks: Any, extra_dict: Any = None) -> None:
        self.hooks = hooks
        self.extra = (
            extra_dict if isinstance(extra_dict, list | tuple) else [extra_dict] if extra_dict is not None else []
        )
        self.id = next(_ids)
        self.entry: Any = None

    @classmethod
    def in_list(cls, hooks: list[Any], entry: Any) -> RemovableHandle:
        """Appends a hook to a list and returns the handle that takes it off."""
        handle = cls(hooks)
        # Wrapped, so that the same function put on twice is two hooks.
        handle.entry = entry
        hooks.append(entry)
        return handle

    def remove(self) -> None:
        """Takes the hook off.  Doing so twice is fine."""
        if isinstance(self.hooks, list):
            for i, entry in enumerate(self.hooks):
                if entry is self.entry:
                    del self.hooks[i]
                    break
            return
        for hooks in (self.hooks, *self.extra):
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
