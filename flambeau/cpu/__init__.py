"""The CPU, as far as programs ask about it: ``torch.cpu``."""

from __future__ import annotations

from typing import Any

from flambeau.cpu import amp as amp
from flambeau.engine.flush import synchronize as _synchronize


def is_available() -> bool:
    """Whether there is a CPU: always.

    Example:
        >>> import flambeau as torch
        >>> torch.cpu.is_available()
        True
    """
    return True


def device_count() -> int:
    """How many CPU devices there are: always 1.

    Example:
        >>> import flambeau as torch
        >>> torch.cpu.device_count()
        1
    """
    return 1


def current_device() -> str:
    """The name of the device in use: always ``"cpu"``.

    Example:
        >>> import flambeau as torch
        >>> torch.cpu.current_device()
        'cpu'
    """
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Waits until everything recorded so far is done.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2) + 1
        >>> torch.cpu.synchronize()
    """
    _synchronize()


def is_initialized() -> bool:
    """Whether the CPU is in use: always.

    Example:
        >>> import flambeau as torch
        >>> torch.cpu.is_initialized()
        True
    """
    return True


def set_device(device: Any) -> None:
    """Accepted: there is one CPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cpu.set_device("cpu")
        >>> torch.cpu.current_device()
        'cpu'
    """


class Stream:
    """A queue of work, for programs that are written for any device: the CPU has one, which is always waited for.

    Example:
        >>> import flambeau as torch
        >>> with torch.cpu.stream(torch.cpu.Stream()):
        ...     x = torch.ones(2) + 1
        >>> x
        tensor([2., 2.])
    """

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        """Accepted: there is no other to wait for."""

    def record_event(self) -> None:
        """Accepted: nothing is recorded."""

    def wait_event(self, event: Any) -> None:
        """Accepted: all has happened."""


class Event:
    """A point in a stream: it has always happened.

    Example:
        >>> import flambeau as torch
        >>> event = torch.cpu.Event()
        >>> event.record()
        >>> event.query()
        True
    """

    def query(self) -> bool:
        """Whether it has happened: yes."""
        return True

    def record(self, stream: Any = None) -> None:
        """Accepted."""

    def synchronize(self) -> None:
        """Waits until everything recorded so far is done."""
        synchronize()

    def wait(self, stream: Any = None) -> None:
        """Accepted."""


_current = Stream()


def current_stream(device: Any = None) -> Stream:
    """The stream in use.

    Example:
        >>> import flambeau as torch
        >>> type(torch.cpu.current_stream()).__name__
        'Stream'
    """
    return _current


class StreamContext:
    """Uses a stream inside of a ``with`` block; the same one, if it is None.

    Example:
        >>> import flambeau as torch
        >>> side = torch.cpu.Stream()
        >>> with torch.cpu.StreamContext(side):
        ...     torch.cpu.current_stream() is side
        True
    """

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        global _current
        self._before = _current
        _current = self.stream or _current

    def __exit__(self, *exc: object) -> None:
        global _current
        _current = self._before


def stream(stream: Stream | None) -> StreamContext:
    """A :class:`StreamContext`.

    Example:
        >>> import flambeau as torch
        >>> side = torch.cpu.Stream()
        >>> with torch.cpu.stream(side):
        ...     torch.cpu.current_stream() is side
        True
        >>> torch.cpu.current_stream() is side
        False
    """
    return StreamContext(stream)
