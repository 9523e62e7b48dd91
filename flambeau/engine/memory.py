"""What the process keeps of freed memory, and how much more the system lets it map."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAPPINGS_USED = 0.5
"""Machine code may take this part of the memory mappings that the system allows a process."""

LARGE = 16 << 20
"""Bytes: for smaller blocks no gap is kept."""
NOTABLE = 1 << 16
"""Bytes: smaller blocks find a place that is too small for a large one."""
SPARE = 1 << 20
"""Bytes of a gap beyond its block: nothing small is put there as long as there are smaller pieces of free memory."""
ALIGNING = 64 + 32
"""Bytes that the GNU library looks for beyond a block that begins at a multiple of 64 bytes."""
FREE_MOVES = 8
"""So often a gap may be moved as it comes: the values of another tier lie about at first.  Then ever more rarely ..."""
HUGE = 128 << 20
"""... but for a block of so many bytes: to compute what fills it takes long beside getting it anew every other run."""
EARLY = 8
"""In so many runs the results still come to lie here and there, and what they leave would be kept."""

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
    mallopt = _of_allocator("mallopt", ctypes.c_int, ctypes.c_int)
    if mallopt is not None:
        mallopt(_MOST_MAPPED, 0)
        mallopt(_TRIM_ABOVE, (1 << 31) - 1)
        mallopt(_MOST_ARENAS, os.cpu_count() or 1)


def return_free_memory() -> None:
    """Hands what was kept so far back to the system.

    What one tier has left behind, the compiler included, may be hundreds of megabytes in pieces for which the next
    has no use: a compiled program takes one buffer for all that it does.
    """
    trim = _of_allocator("malloc_trim", ctypes.c_size_t)
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


class Gap:
    """Free memory in one piece, for what a program takes at once each time it runs.

    The GNU library looks for more than a block on an aligned address needs, and gives the rest to whoever comes next:
    then what the block leaves is too small for the next of its kind, and memory that is kept is there twice.  Some
    room beyond the block, with something behind it that stays, lets each run find the gap that the last one left.

    Args:
        size: bytes of the block.
        first: bytes of the blocks that are taken before it, and may be put anywhere.
    """

    __slots__ = ("_due", "_first", "_free", "_malloc", "_moves", "_place", "_realloc", "_runs", "_size")

    def __init__(self, size: int, first: Sequence[int] = ()) -> None:
        self._size = size
        # XLA takes the largest first: in another order they would fall into other places.
        self._first = sorted([other for other in first if other >= NOTABLE], reverse=True)
        self._place = 0
        self._runs = self._moves = self._due = 0
        self._malloc = _of_allocator("malloc", ctypes.c_size_t, result=ctypes.c_void_p)
        self._realloc = _of_allocator("realloc", ctypes.c_void_p, ctypes.c_size_t, result=ctypes.c_void_p)
        self._free = _of_allocator("free", ctypes.c_void_p)

    @classmethod
    def of(cls, size: int, first: Sequence[int] = ()) -> Gap | None:
        """A gap for a block of that size, where one is worth its while."""
        return cls(size, first) if size >= LARGE and _of_allocator("mallopt") is not None else None

    def restore(self) -> None:
        """Makes sure that the block will lie where the last one lay; if it would not, makes room anew.

        A new place is filled with zeros by the system, page by page, so it may not move again and again.
        """
        self._runs += 1
        if self._runs < self._due:
            return
        first = [self._malloc(size + ALIGNING) for size in self._first]
        is_in_place = abs(self._next_place() - self._place) < SPARE
        if not is_in_place:
            return_free_memory()
            self._make_room()
            self._place = self._next_place()
            self._moves += 1
            if self._moves >= FREE_MOVES and (self._size < HUGE or 2 * self._moves > self._runs):
                self._due = 2 * self._runs
        for block in first:
            self._free(block)
        if is_in_place and self._runs <= EARLY:
            self._return_all_else()

    def _return_all_else(self) -> None:
        held = self._malloc(self._size + ALIGNING)
        return_free_memory()
        self._free(held)

    def _next_place(self) -> int:
        found = self._malloc(self._size + ALIGNING)
        self._free(found)
        return found or 0

    def _make_room(self) -> None:
        place = self._malloc(self._size + SPARE)
        # At the end of the heap nothing would bound the gap but what is put right behind the block.
        behind = self._malloc(self._size + SPARE)
        if place and behind and 0 < behind - place < self._size + 2 * SPARE:
            self._realloc(behind, 1)
        else:
            self._free(behind)
        self._free(place)


def _of_allocator(name: str, *arguments: Any, result: Any = ctypes.c_int) -> Any:
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
