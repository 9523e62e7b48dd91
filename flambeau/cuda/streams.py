"""Streams and events of GPUs: ``torch.cuda.streams``.

What is recorded runs on a GPU in the order of the program, and XLA finds out by itself what may run side by side.
Streams therefore order nothing that is not in order already: they are kept, and waiting for one waits for all work.
"""

from __future__ import annotations

import itertools
import threading
from time import perf_counter
from typing import Any

from flambeau import devices
from flambeau.cuda.selection import device_for, gpus
from flambeau.engine import accelerators
from flambeau.engine.flush import synchronize as finish
from flambeau.graph.observer import current as looking

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_stream",
    "default_stream",
    "is_current_stream_capturing",
    "set_stream",
    "stream",
    "synchronize",
]

_numbers = itertools.count(1)


class Stream:
    """A queue of a GPU's work, kept for programs that use several: all work is done in the program's order.

    Args:
        device: the GPU; the selected one, if it is left out or negative.
        priority: kept.

    Attributes:
        device: the GPU.
        stream_id: a number; 0 for the default stream.

    Raises:
        RuntimeError: if there is no such GPU.
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        if not accelerators.available("cuda"):
            raise RuntimeError(f"torch.cuda.Stream requires CUDA support: {accelerators.missing('cuda')}")
        self.device: devices.device = device_for(device)
        self.priority = priority
        self.stream_id = next(_numbers)

    @property
    def device_index(self) -> int:
        """The GPU's number."""
        return self.device.index or 0

    def wait_event(self, event: Event) -> None:
        """What comes later in the program waits for what came before the event in any case."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What comes later in the program waits for what came before in any case."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Records an event, a new one if none is given, and returns it."""
        recorded = Event() if event is None else event
        recorded.record(self)
        return recorded

    def query(self) -> bool:
        """Whether all work is done: it is, since asking waits for it."""
        self.synchronize()
        return True

    def synchronize(self) -> None:
        """Runs what is recorded and waits until it is done."""
        finish()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self.device, self.stream_id) == (other.device, other.stream_id)

    def __hash__(self) -> int:
        return hash((self.device, self.stream_id))

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} stream_id={self.stream_id}>"

    def __enter__(self) -> Stream:
        _thread.entered.append((current_stream(self.device), current_stream()))
        set_stream(self)
        return self

    def __exit__(self, *exc: object) -> None:
        for before in _thread.entered.pop():
            set_stream(before)


class _Thread(threading.local):
    """What each thread has for itself.

    Attributes:
        streams: the stream in use on a GPU, once one was chosen.
        entered: of each ``with`` block that is open, the streams to come back to: its GPU's, and that in use before.
    """

    def __init__(self) -> None:
        self.streams: dict[devices.device, Stream] = {}
        self.entered: list[tuple[Stream, Stream]] = []


_thread = _Thread()
_defaults: dict[devices.device, Stream] = {}


def default_stream(device: Any = None) -> Stream:
    """The stream that a GPU's work is put into unless another is chosen.

    Args:
        device: number, name or device; the selected one, if it is left out.

    Raises:
        AssertionError: if there is no GPU.
        RuntimeError: if there is none of that number.
        ValueError: if it is no GPU.
    """
    gpus()
    place = device_for(device)
    found = _defaults.get(place)
    if found is None:
        found = _defaults[place] = Stream(place)
        found.stream_id = 0
    return found


def current_stream(device: Any = None) -> Stream:
    """The stream in use on a GPU in this thread.  Takes and raises what :func:`default_stream` does."""
    default = default_stream(device)
    return _thread.streams.get(default.device, default)


def set_stream(stream: Stream | None) -> None:
    """Uses a stream in this thread, and selects its GPU; None changes nothing."""
    if stream is None:
        return
    _thread.streams[stream.device] = stream
    devices.select("cuda", stream.device_index)


class StreamContext:
    """Uses a stream inside of a ``with`` block; the same one, if it is None or there is no GPU.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream if accelerators.available("cuda") else None

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self.stream is not None:
            self.stream.__exit__(*exc)


def stream(stream: Stream | None) -> StreamContext:
    """A :class:`StreamContext`."""
    return StreamContext(stream)


def synchronize(device: Any = None) -> None:
    """Runs what is recorded and waits until it is done, on every device.

    Args:
        device: number, name or device.

    Raises:
        AssertionError: if there is no GPU.
        RuntimeError: if there is none of that number.
        ValueError: if it is no GPU.
    """
    gpus()
    device_for(device)
    finish()


def is_current_stream_capturing() -> bool:
    """Whether a CUDA graph is being captured: there are none, so it never is.

    Raises:
        RuntimeError: if there is no GPU.
    """
    device_for()
    return False


class Event:
    """A point in the program, to be waited for, and to measure the time between two of them.

    Recording an event with timing waits until everything before it is done, so that the time between two events is
    that of the work between them.

    Args:
        enable_timing: whether it takes the time.
        blocking, interprocess, external: accepted.

    Raises:
        RuntimeError: if there is no GPU.
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
    ) -> None:
        if not accelerators.available("cuda"):
            raise RuntimeError(f"torch.cuda.Event requires a GPU: {accelerators.missing('cuda')}")
        self.enable_timing = enable_timing
        self.device: devices.device | None = None
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Notes that the program has come here; with timing, waits until everything before is done.

        Raises:
            RuntimeError: with timing inside of a captured function, which runs as one program.
        """
        self.device = (current_stream() if stream is None else stream).device
        if not self.enable_timing:
            return
        if looking.observer is not None:
            raise RuntimeError(
                "an event with enable_timing=True cannot be recorded inside of a captured function: it runs as one "
                "program; record events around the call"
            )
        finish()
        self._time = perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        """What comes later in the program waits for what came before the event in any case."""

    def query(self) -> bool:
        """Whether what came before the event is done: it is, since asking waits for it."""
        self.synchronize()
        return True

    def synchronize(self) -> None:
        """Runs what is recorded and waits until it is done."""
        if self._time is None and self.device is not None:
            finish()

    def elapsed_time(self, end_event: Event) -> float:
        """The milliseconds from this event to a later one.

        Raises:
            ValueError: unless both were made with timing and have been recorded.
        """
        if not (self.enable_timing and end_event.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or end_event._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return (end_event._time - self._time) * 1000.0

    def __repr__(self) -> str:
        return f"<torch.cuda.Event {'uninitialized' if self.device is None else self.device}>"
