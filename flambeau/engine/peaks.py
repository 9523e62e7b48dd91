"""How much of an accelerator's memory was in use at most since somebody asked for that to be counted anew.

JAX tells the peak since the process began and cannot be made to forget it.  A peak below that one is found from what
XLA says of its programs: when one starts, what is in use, its results and its intermediate values are all there.
"""

from __future__ import annotations

from typing import Any


class _Since:
    """What is known since the peak of a device was reset.

    Attributes:
        before: JAX's peak at the reset.
        seen: the most that was in use since, as far as that is below ``before``.
    """

    __slots__ = ("before", "seen")

    def __init__(self, before: int, seen: int) -> None:
        self.before = before
        self.seen = seen


resets: dict[Any, _Since] = {}
"""For JAX's devices whose peak was reset; empty as long as nobody asks, so that programs need not be looked at."""


def told(device: Any, figure: str) -> int:
    """One of the figures that JAX tells of a device's memory.

    Raises:
        RuntimeError: if it does not tell that one.
    """
    value = (device.memory_stats() or {}).get(figure, -1)
    if value < 0:
        raise RuntimeError(
            f"JAX does not tell '{figure}' of {device.device_kind}: only XLA's default allocator counts it "
            "(XLA_PYTHON_CLIENT_ALLOCATOR)"
        )
    return value


def reset(device: Any) -> None:
    """Counts a device's peak anew from what is in use now."""
    resets[device] = _Since(told(device, "peak_bytes_in_use"), told(device, "bytes_in_use"))


def note(device: Any, memory: Any) -> None:
    """Takes account of a program that is about to start on a device.

    Args:
        memory: what XLA says of its memory (``memory_analysis()`` of the compiled program).
    """
    since = resets.get(device)
    if since is not None:
        results = memory.output_size_in_bytes - memory.alias_size_in_bytes
        needed = told(device, "bytes_in_use") + results + memory.temp_size_in_bytes
        since.seen = max(since.seen, needed)


def peak(device: Any) -> int:
    """The most of a device's memory that was in use since the reset, or since the process began."""
    highest = told(device, "peak_bytes_in_use")
    since = resets.get(device)
    if since is None or highest > since.before:
        return highest
    since.seen = min(max(since.seen, told(device, "bytes_in_use")), highest)
    return since.seen
