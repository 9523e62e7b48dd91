"""Streams and events of GPUs: ``torch.cuda.streams``.  Of what they order and wait for, ``flambeau.streams`` tells."""

from __future__ import annotations

from typing import Any

from flambeau import streams
from flambeau.cuda.selection import device_for, gpus
from flambeau.engine import accelerators
from flambeau.engine.flush import synchronize as finish

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


class Stream(streams.Stream):
    """A queue of a GPU's work, kept for programs that use several: all work is done in the program's order.

    Args:
        device: the GPU; the selected one, if it is left out or negative.
        priority: kept.

    Raises:
        RuntimeError: if there is no such GPU.
        ValueError: if it is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     side = torch.cuda.Stream()
        ...     with torch.cuda.stream(side):
        ...         y = torch.ones(2, device="cuda") * 2
        ...     torch.cuda.current_stream().wait_stream(side)
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        if not accelerators.available("cuda"):
            raise accelerators.MissingAcceleratorError(
                f"torch.cuda.Stream requires CUDA support: {accelerators.missing('cuda')}"
            )
        super().__init__(device_for(device), priority=priority)

    def _new_event(self) -> Event:
        return Event()

    def __repr__(self) -> str:
        return f"<torch.cuda.Stream device={self.device} stream_id={self.stream_id}>"


class Event(streams.Event):
    """A point in the program, to be waited for, and to measure the time between two of them.

    Recording an event with timing waits until everything before it is done, so that the time between two events is
    that of the work between them.

    Args:
        enable_timing: whether it takes the time.
        blocking, interprocess, external: accepted.

    Raises:
        RuntimeError: if there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        ...     start.record()
        ...     y = torch.ones(64, 64, device="cuda").sum()
        ...     end.record()
        ...     end.synchronize()
        ...     milliseconds = start.elapsed_time(end)
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
    ) -> None:
        if not accelerators.available("cuda"):
            raise accelerators.MissingAcceleratorError(
                f"torch.cuda.Event requires a GPU: {accelerators.missing('cuda')}"
            )
        super().__init__("cuda", enable_timing=enable_timing, blocking=blocking, interprocess=interprocess)

    def record(self, stream: streams.Stream | None = None) -> None:
        """Notes that the program has come here; with timing, waits until everything before is done.

        Raises:
            RuntimeError: with timing inside of a captured function, which runs as one program.
        """
        super().record(current_stream() if stream is None else stream)

    def __repr__(self) -> str:
        return f"<torch.cuda.Event {self.event_id or 'uninitialized'}>"


def default_stream(device: Any = None) -> Stream:
    """The stream that a GPU's work is put into unless another is chosen.

    Args:
        device: number, name or device; the selected one, if it is left out.

    Raises:
        AssertionError: if there is no GPU.
        RuntimeError: if there is none of that number.
        ValueError: if it is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     first = torch.cuda.default_stream() == torch.cuda.current_stream()
    """
    gpus()
    return streams.default_of(device_for(device))  # type: ignore[return-value]  (GPUs' streams are of this class)


def current_stream(device: Any = None) -> streams.Stream:
    """The stream in use on a GPU in this thread.  Takes and raises what :func:`default_stream` does.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.current_stream().synchronize()
    """
    gpus()
    return streams.current_of(device_for(device))


def set_stream(stream: streams.Stream | None) -> None:
    """Uses a stream in this thread, and selects its GPU; None changes nothing.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.set_stream(torch.cuda.default_stream())
    """
    if stream is not None:
        streams.use(stream)


class StreamContext:
    """Uses a stream inside of a ``with`` block; the same one, if it is None or there is no GPU.

    Args:
        stream: the stream.

    Example:
        >>> import flambeau as torch
        >>> with torch.cuda.StreamContext(None):
        ...     print("the stream in use stays")
        the stream in use stays
    """

    def __init__(self, stream: streams.Stream | None) -> None:
        self.stream = stream if accelerators.available("cuda") else None

    def __enter__(self) -> None:
        if self.stream is not None:
            self.stream.__enter__()

    def __exit__(self, *exc: object) -> None:
        if self.stream is not None:
            self.stream.__exit__(*exc)


def stream(stream: streams.Stream | None) -> StreamContext:
    """A :class:`StreamContext`.

    Example:
        >>> import flambeau as torch
        >>> side = torch.cuda.Stream() if torch.cuda.is_available() else None
        >>> with torch.cuda.stream(side):
        ...     x = torch.ones(2)
    """
    return StreamContext(stream)


def synchronize(device: Any = None) -> None:
    """Runs what is recorded and waits until it is done, on every device.

    Args:
        device: number, name or device.

    Raises:
        AssertionError: if there is no GPU.
        RuntimeError: if there is none of that number.
        ValueError: if it is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     y = torch.ones(2, device="cuda") * 2
        ...     torch.cuda.synchronize()
    """
    gpus()
    device_for(device)
    finish()


def is_current_stream_capturing() -> bool:
    """Whether a CUDA graph is being captured: there are none, so it never is.

    Raises:
        RuntimeError: if there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     capturing = torch.cuda.is_current_stream_capturing()
    """
    device_for()
    return False
