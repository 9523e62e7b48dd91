"""Memory that the process holds without need."""

from __future__ import annotations

import ctypes
import sys


def return_free_memory() -> None:
    """Hands memory that is free, but kept by the allocator, back to the system.

    The interpreter's intermediate results and the compiler's work leave hundreds of megabytes behind, for
    which a compiled program, with a buffer of its own for all that it does, has no use.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
