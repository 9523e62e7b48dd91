"""Streams and events of any device: ``torch.Stream`` and ``torch.Event``.

What is recorded runs on a device in the order of the program, and XLA finds out by itself what may run side by side.
Streams therefore order nothing that is not in order already: they are kept, and waiting for one waits for all work.
"""

from __future__ import annotations

import itertools
import threading
from time import perf_counter
from typing import Any

from flambeau import devices
from flambeau.engine import accelerators
from flambeau.engine.flush import synchronize as finish
from flambeau.graph.observer import current as looking

_numbers = itertools.count(1)
_HOST = ("cpu", "meta")


def _place_of(given: Any, what: str) -> devices.device:
    """The device that is meant: the accelerator, if none is given and there is one."""
    if not isinstance(given, str | int | devices.device | None):
        raise TypeError(f"{what}(): argument 'device' (position 1) must be torch.device, not {type(given).__name__}")
    if given is not None and not isinstance(given, int):
        return devices.resolve(given)
    kind = next((kind for kind in ("cuda", "tpu") if accelerators.available(kind)), None)
    if kind is None and given is not None:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return devices.cpu if kind is None else devices.resolve(devices.device(kind, given))


class Stream:
    """A queue of a device's work, kept for programs that use several: all work is done in the program's order.

    Args:
        device: the device; the accelerator that is selected, or without one the CPU, if it is left out.
        priority: kept.

    Attributes:
        device: the device.
        stream_id: a number; 0 for the default stream, and on the CPU.

    Raises:
        RuntimeError: if the device is not there.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     side = torch.Stream()
        ...     with side:
        ...         y = torch.ones(2, device=side.device) * 2
        ...     torch.accelerator.current_stream().wait_stream(side)
    """

    def __init__(self, device: Any = None, *, priority: int = 0) -> None:
        self.device = _place_of(device, "Stream")
        self.priority = priority
        self.stream_id = 0 if self.device.type in _HOST else next(_numbers)

    @property
    def device_index(self) -> int:
        """The device's number; -1 for the CPU."""
        return -1 if self.device.index is None else self.device.index

    def wait_event(self, event: Event) -> None:
        """What comes later in the program waits for what came before the event in any case."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """What comes later in the program waits for what came before in any case."""
        self.wait_event(stream.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        """Records an event, a new one if none is given, and returns it."""
        recorded = self._new_event() if event is None else event
        recorded.record(self)
        return recorded

    def _new_event(self) -> Event:
        return Event(self.device)

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
        return (
            f"torch.Stream device_type={self.device.type}, device_index={self.device_index}, stream_id={self.stream_id}"
        )

    def __enter__(self) -> Stream:
        if self.device.type not in _HOST:
            selected = devices.resolve(self.device.type)
            _thread.entered.append((current_of(self.device), current_of(selected)))
            use(self)
        return self

    def __exit__(self, *exc: object) -> None:
        if self.device.type not in _HOST:
            for before in _thread.entered.pop():
                use(before)


class _Thread(threading.local):
    """What each thread has for itself.

    Attributes:
        streams: the stream in use on an accelerator, once one was chosen.
        entered: of each ``with`` block that is open, the streams to come back to: its device's, and that in use before.
    """

    def __init__(self) -> None:
        self.streams: dict[devices.device, Stream] = {}
        self.entered: list[tuple[Stream, Stream]] = []


_thread = _Thread()
_defaults: dict[devices.device, Stream] = {}


def default_of(place: devices.device) -> Stream:
    """The stream that an accelerator's work is put into unless another is chosen."""
    found = _defaults.get(place)
    if found is None:
        found = _defaults[place] = _kind_for(place)(place)
        found.stream_id = 0
    return found


def _kind_for(place: devices.device) -> type[Stream]:
    if place.type != "cuda":
        return Stream
    # GPUs have a class of their own, which builds on this one.
    from flambeau.cuda.streams import Stream as GPUStream

    return GPUStream


def current_of(place: devices.device) -> Stream:
    """The stream in use on an accelerator in this thread."""
    found = _thread.streams.get(place)
    return default_of(place) if found is None else found


def use(stream: Stream) -> None:
    """Uses a stream in this thread, and selects its accelerator."""
    _thread.streams[stream.device] = stream
    devices.select(stream.device.type, stream.device_index)


class Event:
    """A point in the program, to be waited for, and to measure the time between two of them.

    Recording an event with timing waits until everything before it is done, so that the time between two events is
    that of the work between them.

    Args:
        device: the device; the accelerator that is selected, or without one the CPU, if it is left out.
        enable_timing: whether it takes the time.
        blocking, interprocess: accepted.

    Raises:
        RuntimeError: if the device is not there.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     event = torch.Event()
        ...     event.record()
        ...     event.synchronize()
    """

    def __init__(
        self, device: Any = None, *, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self.device = _place_of(device, "Event")
        self.enable_timing = enable_timing
        self.event_id = 0
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Notes that the program has come here; with timing, waits until everything before is done.

        Raises:
            RuntimeError: on the CPU, which has no events; with timing inside of a captured function, which runs as one
                program.
        """
        place = self.device if stream is None else stream.device
        if place.type in _HOST:
            raise RuntimeError(f"{place.type} backend doesn't support events.")
        if self.enable_timing and looking.observer is not None:
            raise RuntimeError(
                "an event with enable_timing=True cannot be recorded inside of a captured function: it runs as one "
                "program; record events around the call"
            )
        self.device = place
        self.event_id = self.event_id or next(_numbers)
        if self.enable_timing:
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
        if self.event_id and self._time is None:
            finish()

    def elapsed_time(self, other: Event) -> float:
        """The milliseconds from this event to a later one.

        Raises:
            ValueError: unless both were made with timing and have been recorded.
            RuntimeError: if it is no event.
        """
        if not isinstance(other, Event):
            raise RuntimeError("expected other to be a torch.Event object")
        if not (self.enable_timing and other.enable_timing):
            raise ValueError("Both events must be created with argument 'enable_timing=True'.")
        if self._time is None or other._time is None:
            raise ValueError("Both events must be recorded before calculating elapsed time.")
        return (other._time - self._time) * 1000.0

    def __repr__(self) -> str:
        index = -1 if self.device.index is None else self.device.index
        return (
            f"torch.Event device_type={self.device.type}, device_index={index}, event_flag={int(self.enable_timing)}, "
            f"event_id={self.event_id}"
        )
