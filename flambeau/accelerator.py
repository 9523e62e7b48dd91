"""The accelerator that is there, whatever its kind: ``torch.accelerator``.

That is the GPU (``"cuda"``) or else the TPU (``"tpu"``).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flambeau import devices, streams
from flambeau.engine import accelerators, peaks
from flambeau.engine.flush import flush
from flambeau.engine.flush import synchronize as _finish
from flambeau.user_warnings import warn

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "empty_host_cache",
    "get_memory_info",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]


def current_accelerator(check_available: bool = False) -> devices.device | None:
    """The kind of accelerator that is there, as a device without a number; None if there is none.

    Example:
        >>> import flambeau as torch
        >>> device = torch.accelerator.current_accelerator() or torch.device("cpu")
    """
    for kind in ("cuda", "tpu"):
        if accelerators.available(kind):
            return devices.device(kind)
    return None


def is_available() -> bool:
    """Whether there is an accelerator.

    Example:
        >>> import flambeau as torch
        >>> device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    """
    return current_accelerator() is not None


def device_count() -> int:
    """How many accelerators there are.

    Example:
        >>> import flambeau as torch
        >>> (torch.accelerator.device_count() > 0) == torch.accelerator.is_available()
        True
    """
    found = current_accelerator()
    return 0 if found is None else len(accelerators.available(found.type))


def _kind() -> str:
    found = current_accelerator()
    if found is None:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return found.type


def _place(given: Any, optional: bool = True) -> devices.device:
    """The accelerator of a number, name or device, checked to be there."""
    kind = _kind()
    if isinstance(given, int):
        return devices.resolve(devices.device(kind, given))
    named = None if given is None else devices.device(given)
    if named is not None and named.type != kind:
        raise ValueError(f"{named.type} doesn't match the current accelerator {kind}.")
    if not optional and (named is None or named.index is None):
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{given}")
    return devices.resolve(named or kind)


def _of_jax(given: Any) -> Any:
    place = _place(given)
    return accelerators.available(place.type)[place.index or 0]


def current_device_index() -> int:
    """The number of the accelerator that its kind's name alone stands for in this thread.

    Raises:
        RuntimeError: if there is none.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     number = torch.accelerator.current_device_index()
    """
    return devices.selected(_kind())


def set_device_index(device: Any, /) -> None:
    """Selects an accelerator for this thread.

    Args:
        device: number, name or device; a negative number selects nothing.

    Raises:
        RuntimeError: if it is not there.
        ValueError: if it is of another kind, or without a number.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.set_device_index(0)
    """
    if isinstance(device, int) and device < 0:
        _kind()
        return
    place = _place(device, optional=False)
    devices.select(place.type, place.index or 0)


class device_index:
    """Selects an accelerator inside of a ``with`` block.

    Args:
        device: its number; None selects nothing.

    Raises:
        RuntimeError: at the block's beginning, if it is not there.

    Example:
        >>> import flambeau as torch
        >>> with torch.accelerator.device_index(None):
        ...     x = torch.ones(2)
    """

    def __init__(self, device: int | None, /) -> None:
        self.idx = device
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx is not None:
            self.prev_idx = current_device_index()
            set_device_index(self.idx)

    def __exit__(self, *exc: object) -> None:
        if self.prev_idx >= 0:
            set_device_index(self.prev_idx)


def current_device_idx() -> int:
    """Deprecated name of :func:`current_device_index`: warns."""
    warn("Use `current_device_index` instead.", FutureWarning)
    return current_device_index()


def set_device_idx(device: Any, /) -> None:
    """Deprecated name of :func:`set_device_index`: warns."""
    warn("Use `set_device_index` instead.", FutureWarning)
    set_device_index(device)


def current_stream(device: Any = None, /) -> streams.Stream:
    """The stream in use on an accelerator in this thread.

    Raises:
        RuntimeError: if it is not there.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.current_stream().synchronize()
    """
    return streams.current_of(_place(device))


def set_stream(stream: streams.Stream) -> None:
    """Uses a stream in this thread, and selects its accelerator.

    Raises:
        TypeError: if it is no stream.
        RuntimeError: if it is no accelerator's.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.set_stream(torch.accelerator.current_stream())
    """
    if not isinstance(stream, streams.Stream):
        raise TypeError(f"set_stream(): expected a torch.Stream, but got {type(stream).__name__}")
    kind = _kind()
    if stream.device.type != kind:
        raise RuntimeError(
            f"set_stream(): expected a stream of the accelerator, {kind}, but got one of {stream.device}"
        )
    streams.use(stream)


def synchronize(device: Any = None, /) -> None:
    """Runs what is recorded and waits until it is done, on all devices.

    Raises:
        RuntimeError: if there is no accelerator, or none of that number.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.synchronize()
    """
    _place(device)
    _finish()


def empty_cache() -> None:
    """Accepted: XLA keeps the memory that it took.

    Raises:
        RuntimeError: if there is no accelerator.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.empty_cache()
    """
    _kind()


def empty_host_cache() -> None:
    """Accepted: no memory of the host is kept for copies.

    Raises:
        RuntimeError: if there is no accelerator.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.empty_host_cache()
    """
    _kind()


def memory_stats(device_index: Any = None, /) -> OrderedDict[str, Any]:
    """What JAX tells of an accelerator's memory, under the names of :func:`flambeau.cuda.memory_stats`.

    Args:
        device_index: number, name or device; the selected one, if it is left out.

    Raises:
        RuntimeError: if there is no accelerator, or none of that number, or JAX tells nothing of its memory.
        ValueError: if it is of another kind.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     used = torch.accelerator.memory_stats()["allocated_bytes.all.current"]
    """
    from flambeau.cuda import memory

    return memory.flattened(memory.nested(_of_jax(device_index)))


def memory_allocated(device_index: Any = None, /) -> int:
    """How many bytes are in use; as :func:`memory_stats` otherwise.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     size = torch.accelerator.memory_allocated()
    """
    return memory_stats(device_index)["allocated_bytes.all.current"]


def max_memory_allocated(device_index: Any = None, /) -> int:
    """The most bytes that were in use since :func:`reset_peak_memory_stats`, or since the start.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     size = torch.accelerator.max_memory_allocated()
    """
    return memory_stats(device_index)["allocated_bytes.all.peak"]


def memory_reserved(device_index: Any = None, /) -> int:
    """How many bytes XLA has taken, 0 where JAX does not tell; as :func:`memory_stats` otherwise.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     size = torch.accelerator.memory_reserved()
    """
    return memory_stats(device_index).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device_index: Any = None, /) -> int:
    """The most bytes that XLA had taken, 0 where JAX does not tell; as :func:`memory_stats` otherwise.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     size = torch.accelerator.max_memory_reserved()
    """
    return memory_stats(device_index).get("reserved_bytes.all.peak", 0)


def reset_peak_memory_stats(device_index: Any = None, /) -> None:
    """Counts the peak anew, as :func:`flambeau.cuda.reset_peak_memory_stats` does; raises as :func:`memory_stats`.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     torch.accelerator.reset_peak_memory_stats()
    """
    device = _of_jax(device_index)
    flush()
    peaks.reset(device)


def get_memory_info(device_index: Any = None, /) -> tuple[int, int]:
    """How many bytes can still be taken, and how many XLA may take in all; raises as :func:`memory_stats`.

    Example:
        >>> import flambeau as torch
        >>> if torch.accelerator.is_available():
        ...     free, total = torch.accelerator.get_memory_info()
    """
    from flambeau.cuda import memory

    return memory.free_and_all(_of_jax(device_index))
