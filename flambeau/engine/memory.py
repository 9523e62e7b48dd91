"""What the process keeps of freed memory, and how much more the system lets it map."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

MAPPINGS_USED = 0.5
"""Machine code may take this part of the memory mappings that the system allows a process."""

_MOST_MAPPED = -4
_TRIM_ABOVE = -1
"""Parameters of the GNU library's ``mallopt``."""
_kept = False


def keep_freed_memory() -> None:
    """Has the allocator keep what is freed, for the next run of the same program to take.

    By default the GNU library hands large blocks back to the system when they are freed.  Programs run over and
    over, and each run would have its buffers filled with zeros by the system again, page by page: for a model with
    250 megabytes of intermediate results, a quarter of the time.
    """
    global _kept
    if _kept:
        return
    _kept = True
    mallopt = _of_allocator("mallopt")
    if mallopt is not None:
        mallopt(_MOST_MAPPED, 0)
        mallopt(_TRIM_ABOVE, (1 << 31) - 1)


def return_free_memory() -> None:
    """Hands what was kept so far back to the system.

    What one tier has left behind, the compiler included, may be hundreds of megabytes in pieces for which the next
    has no use: a compiled program takes one buffer for all that it does.
    """
    trim = _of_allocator("malloc_trim")
    if trim is not None:
        trim(0)


def _of_allocator(name: str) -> Any:
    """A function of the GNU library's allocator; None where there is another."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


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
