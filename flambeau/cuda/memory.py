"""The memory of GPUs: ``torch.cuda.memory``.

XLA's allocator keeps it, and JAX tells its figures.  Whoever asks for them has what is recorded run first, so that
every tensor counts.  Without a GPU nothing is in use, as in PyTorch.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from flambeau.cuda.selection import gpu_of
from flambeau.engine import accelerators, peaks
from flambeau.engine.flush import flush
from flambeau.user_warnings import warn

__all__ = [
    "empty_cache",
    "max_memory_allocated",
    "max_memory_cached",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_cached",
    "memory_reserved",
    "memory_stats",
    "memory_stats_as_nested_dict",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "reset_peak_memory_stats",
]

_SUMMARY = {"Allocated memory": "allocated_bytes", "Reserved memory": "reserved_bytes"}


def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
    """What :func:`memory_stats` tells, as dictionaries within each other.

    Example:
        >>> import flambeau as torch
        >>> isinstance(torch.cuda.memory_stats_as_nested_dict(), dict)
        True
    """
    return nested(gpu_of(device)) if accelerators.available("cuda") else {}


def nested(device: Any) -> dict[str, Any]:
    """What JAX tells of the memory of one of its devices, under PyTorch's names."""
    flush()
    in_use = {"current": peaks.told(device, "bytes_in_use"), "peak": peaks.peak(device)}
    stats: dict[str, Any] = {"active_bytes": {"all": in_use}, "allocated_bytes": {"all": in_use}}
    told = device.memory_stats()
    if told.get("num_allocs", -1) >= 0:
        stats["allocation"] = {"all": {"allocated": told["num_allocs"]}}
    if told.get("pool_bytes", -1) >= 0:
        stats["reserved_bytes"] = {"all": {"current": told["pool_bytes"], "peak": told["peak_pool_bytes"]}}
    return stats


def flattened(stats: dict[str, Any]) -> OrderedDict[str, Any]:
    """Dictionaries within each other as one, with the names joined by dots."""
    flat: OrderedDict[str, Any] = OrderedDict()
    for name, value in sorted(stats.items()):
        if isinstance(value, dict):
            flat.update((f"{name}.{rest}", figure) for rest, figure in flattened(value).items())
        else:
            flat[name] = value
    return flat


def memory_stats(device: Any = None) -> OrderedDict[str, Any]:
    """What JAX tells of a GPU's memory, under PyTorch's names.

    - ``active_bytes.all``, ``allocated_bytes.all``: bytes that tensors and running programs take, ``current`` and
      ``peak``.
    - ``allocation.all.allocated``: how many allocations there were.
    - ``reserved_bytes.all``: bytes that XLA has taken from the system, ``current`` and ``peak``.

    Nothing else is told, and nothing at all without a GPU.

    Args:
        device: number, name or device; the selected one, if it is left out.

    Raises:
        AssertionError: if it is not among those that are there.
        ValueError: if it is no GPU.
        RuntimeError: if JAX tells nothing of its memory.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.memory_stats().get("allocated_bytes.all.current", 0) >= 0
        True
    """
    return flattened(memory_stats_as_nested_dict(device))


def memory_allocated(device: Any = None) -> int:
    """How many bytes of a GPU's memory are in use; as :func:`memory_stats` otherwise.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        0
    """
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes of a GPU's memory that were in use since :func:`reset_peak_memory_stats`, or since the start.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.max_memory_allocated() >= 0
        True
    """
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Any = None) -> int:
    """How many bytes of a GPU's memory XLA has taken; it keeps them.  As :func:`memory_stats` otherwise.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.memory_reserved() >= 0
        True
    """
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes of a GPU's memory that XLA had taken.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.max_memory_reserved() >= 0
        True
    """
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Counts the peak of a GPU's memory anew from what is in use now.

    JAX tells the highest peak of the process and cannot be made to forget it.  Until that one is exceeded, the peak
    since the reset is what was in use when the hungriest program started, with XLA's own account of its results and
    intermediate values: right but for the rounding of single allocations to 256 bytes.

    Raises:
        AttributeError: without a GPU, as with PyTorch's CPU build.
        AssertionError, ValueError, RuntimeError: as :func:`memory_stats`.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.reset_peak_memory_stats()
        ...     y = torch.ones(1024, device="cuda").sum()
        ...     peak = torch.cuda.max_memory_allocated()
    """
    if not accelerators.available("cuda"):
        raise AttributeError(accelerators.missing("cuda"))
    gpu = gpu_of(device)
    flush()
    peaks.reset(gpu)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """How many bytes of a GPU's memory can still be taken, and how many XLA may take in all.

    XLA limits itself to three quarters of the memory, unless ``XLA_PYTHON_CLIENT_MEM_FRACTION`` says otherwise; what
    other processes take is not seen.

    Raises:
        AssertionError: if there is no GPU, or none of that number.
        ValueError, RuntimeError: as :func:`memory_stats`.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     free, total = torch.cuda.mem_get_info()
    """
    return free_and_all(gpu_of(device))


def free_and_all(device: Any) -> tuple[int, int]:
    """How many bytes of the memory of one of JAX's devices can still be taken, and how many XLA may take."""
    flush()
    limit = peaks.told(device, "bytes_limit")
    return limit - peaks.told(device, "bytes_in_use"), limit


def empty_cache() -> None:
    """Accepted: XLA keeps the memory that it took, and gives tensors that of others that are gone.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.empty_cache()
    """


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """What is told of a GPU's memory as a table, to be printed.

    Raises:
        KeyError: without a GPU, as in PyTorch.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     table = torch.cuda.memory_summary()
    """
    stats = memory_stats(device)
    lines = [f"{'':<20}{'current':>16}{'peak':>16}"]
    for title, name in _SUMMARY.items():
        figures = [f"{stats[f'{name}.all.{when}'] / 2**20:.1f} MiB" for when in ("current", "peak")]
        lines.append(f"{title:<20}{figures[0]:>16}{figures[1]:>16}")
    return "\n".join(lines)


def memory_cached(device: Any = None) -> int:
    """Deprecated name of :func:`memory_reserved`: warns."""
    _deprecated("`torch.cuda.memory_cached` has been renamed to `torch.cuda.memory_reserved`")
    return memory_reserved(device)


def max_memory_cached(device: Any = None) -> int:
    """Deprecated name of :func:`max_memory_reserved`: warns."""
    _deprecated("`torch.cuda.max_memory_cached` has been renamed to `torch.cuda.max_memory_reserved`")
    return max_memory_reserved(device)


def reset_max_memory_allocated(device: Any = None) -> None:
    """Deprecated name of :func:`reset_peak_memory_stats`: warns."""
    _deprecated(f"torch.cuda.reset_max_memory_allocated {_NOW_RESETS_ALL}")
    reset_peak_memory_stats(device)


def reset_max_memory_cached(device: Any = None) -> None:
    """Deprecated name of :func:`reset_peak_memory_stats`: warns."""
    _deprecated(f"torch.cuda.reset_max_memory_cached {_NOW_RESETS_ALL}")
    reset_peak_memory_stats(device)


_NOW_RESETS_ALL = "now calls torch.cuda.reset_peak_memory_stats, which resets /all/ peak memory stats."


def _deprecated(message: str) -> None:
    warn(message, FutureWarning)
