"""The CPU, as far as programs ask about it: ``torch.cpu``."""

from __future__ import annotations

from typing import Any

from flambeau.cpu import amp as amp
from flambeau.engine.flush import synchronize as _synchronize


def is_available() -> bool:
    """Whether there is a CPU: always."""
    return True


def device_count() -> int:
    """How many CPU devices there are: always 1."""
    return 1


def current_device() -> str:
    """The name of the device in use: always ``"cpu"``."""
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Waits until everything recorded so far is done."""
    _synchronize()
