"""Memory that the process holds without need, and how much more the system lets it map."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

MAPPINGS_USED = 0.5
"""Machine code may take this part of the memory mappings that the system allows a process."""


def return_free_memory() -> None:
    """Hands memory that is free, but kept by the allocator, back to the system.

    The interpreter's intermediate results and the compiler's work leave hundreds of megabytes behind, for
    which a compiled program, with a buffer of its own for all that it does, has no use.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def is_crowded() -> bool:
    """Whether the process has so many memory mappings that no more machine code should be kept.

    Linux bounds their number (``vm.max_map_count``), and ends a process that cannot map what it was
    promised.  A compiled program takes some for each of its kernels: hundreds, for a model of many layers.
    """
    if sys.platform != "linux":
        return False
    try:
        allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
        used = Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        # Not to be seen from within some containers.
        return False
    return used > MAPPINGS_USED * allowed
