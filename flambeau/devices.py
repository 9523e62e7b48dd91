"""Devices: where a tensor's values are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

_TYPES = ("cpu", "cuda", "tpu", "meta")


_outer: list[device] = []
"""The default devices around the ``with`` blocks that are open."""


class device:
    """A device, named as in PyTorch: ``device("cpu")``, ``device("cuda:0")``, ``device("cuda", 0)``.

    Devices are interned: equal devices are one object.  In a ``with`` block a device is the default one.

    Attributes:
        type: ``"cpu"``, ``"cuda"``, ``"tpu"`` or ``"meta"``.
        index: which of several, or None.

    Example:
        >>> import flambeau as torch
        >>> device = torch.device("cuda", 0)
        >>> device, device.type, device.index
        (device(type='cuda', index=0), 'cuda', 0)
        >>> with torch.device("meta"):
        ...     torch.zeros(2).device
        device(type='meta')
    """

    __slots__ = ("index", "type")
    _known: ClassVar[dict[tuple[str, int | None], device]] = {}
    type: str
    index: int | None

    def __new__(cls, type: Any, index: int | None = None) -> device:
        if isinstance(type, device):
            return type
        if isinstance(type, int):
            type, index = "cuda", type
        if isinstance(type, str) and ":" in type:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed explicitly: {type}"
                )
            type, _, number = type.partition(":")
            if not number.isdigit():
                raise RuntimeError(f"Invalid device string: '{type}:{number}'")
            index = int(number)
        if index is not None and index < 0:
            raise RuntimeError("Device index must not be negative")
        if type not in _TYPES:
            raise RuntimeError(f"Expected one of {', '.join(_TYPES)} device type at start of device string: {type}")
        found = cls._known.get((type, index))
        if found is None:
            found = object.__new__(cls)
            found.type = type
            found.index = index
            cls._known[type, index] = found
        return found

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __enter__(self) -> device:
        _outer.append(_default)
        replace_default(resolve(self))
        return self

    def __exit__(self, *exc: object) -> None:
        replace_default(_outer.pop())

    def __reduce__(self) -> tuple[Any, ...]:
        return (device, (self.type, self.index))


cpu = device("cpu")
meta = device("meta")
_default = cpu


def default() -> device:
    """The device of tensors that are made without saying where."""
    return _default


def replace_default(new: device) -> None:
    global _default
    _default = new


class _Selected(threading.local):
    """By the name of a kind of accelerator, a number: in every thread the first device, until another is selected."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}


_selected = _Selected()


def selected(kind: str) -> int:
    """The number of the device that a kind's name alone stands for in this thread, as in ``device("cuda")``."""
    return _selected.numbers.get(kind, 0)


def select(kind: str, number: int) -> None:
    """Has a kind's name alone stand for the device of a number in this thread."""
    _selected.numbers[kind] = number


def injected(given: Any) -> Any:
    """A device argument of a function that may be given a tensor: None stays, unless a default was set."""
    return _default if given is None and _default is not cpu else given


def resolve(given: Any) -> device:
    """The device that an argument names (None: the default one), checked to be there."""
    if given is None:
        return _default
    found = device(given)
    if found.type in ("cpu", "meta"):
        return device(found.type)
    for check in _accelerator_checks:
        found = check(found)
    global accelerated
    accelerated = True
    return found


accelerated = False
"""Whether an accelerator has been named so far: else all work is the CPU's, and nobody need ask."""
_accelerator_checks: list[Callable[[device], device]] = []


def know_accelerators(check: Callable[[device], device]) -> None:
    """Takes over from the engine how to tell whether an accelerator is there."""
    _accelerator_checks.append(check)
