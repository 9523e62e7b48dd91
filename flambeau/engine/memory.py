"""What the process keeps of freed memory, and how much more the system lets it map."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAPPINGS_USED = 0.5
"""Machine code may take this part of the memory mappings that the system allows a process."""

LARGE = 16 << 20
"""Bytes: smaller blocks are not worth the trouble."""
NOTABLE = 1 << 16
"""Bytes: smaller blocks find a place that is too small for a large one."""

SECONDS_BETWEEN_RETURNS = 0.05
"""More often takes the work time; more rarely, little comes back."""

_MOST_MAPPED = -4
_TRIM_ABOVE = -1
_MOST_ARENAS = -8
"""Parameters of the GNU library's ``mallopt``."""
_kept = False


def keep_freed_memory() -> None:
    """Has the allocator keep what is freed, for the next run of the same program to take.

    By default the GNU library hands large blocks back to the system when they are freed.  Programs run over and
    over, and each run would have its buffers filled with zeros by the system again, page by page: for a model with
    250 megabytes of intermediate results, a quarter of the time.

    What one thread frees in a heap of its own is of no use to others, so there are only as many as cores: a compiler's
    threads would leave some hundred megabytes more.
    """
    global _kept
    if _kept:
        return
    _kept = True
    mallopt = of_allocator("mallopt", ctypes.c_int, ctypes.c_int)
    if mallopt is not None:
        mallopt(_MOST_MAPPED, 0)
        mallopt(_TRIM_ABOVE, (1 << 31) - 1)
        mallopt(_MOST_ARENAS, os.cpu_count() or 1)


def return_free_memory() -> None:
    """Hands what was kept so far back to the system.

    What one tier has left behind, the compiler included, may be hundreds of megabytes in pieces for which the next
    has no use: a compiled program takes one buffer for all that it does.
    """
    trim = of_allocator("malloc_trim", ctypes.c_size_t)
    if trim is not None:
        trim(0)


@contextmanager
def returning_free_memory() -> Iterator[None]:
    """Hands what is freed meanwhile back to the system now and then, for work that takes and frees much.

    A compiler's passes leave each their own pieces behind: of 400 megabytes that compiling a model of six layers
    took, 150 were free at any time.
    """
    done = threading.Event()
    helper = threading.Thread(target=_return_until, args=(done,), name="flambeau-memory", daemon=True)
    helper.start()
    try:
        yield
    finally:
        done.set()
        helper.join()


def _return_until(done: threading.Event) -> None:
    while not done.wait(SECONDS_BETWEEN_RETURNS):
        return_free_memory()


def of_allocator(name: str, *arguments: Any, result: Any = ctypes.c_int) -> Any:
    """A function of the GNU library's allocator; None where there is another."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function.argtypes = arguments
        function.restype = result
    return function


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
