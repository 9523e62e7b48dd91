"""Room in the allocator's heap for what a compiled program takes at once each time it runs."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from flambeau.engine.memory import LARGE, NOTABLE, of_allocator, return_free_memory

ALIGNMENT = 64
"""Of the blocks that XLA asks for, in bytes."""
SPARE = 1 << 20
"""Bytes of a gap beyond its block: nothing small is put there as long as there are smaller pieces of free memory."""
FREE_MOVES = 8
"""So often a gap may be moved as it comes: the values of another tier lie about at first.  Then ever more rarely ..."""
HUGE = 128 << 20
"""... but for a block of so many bytes: to compute what fills it takes long beside getting it anew every other run."""
EARLY = 8
"""In so many runs the results still come to lie here and there, and what they leave would be kept ..."""
SELDOM = 32
"""... and later once in so many: in 250 steps of a GPT 80 megabytes came together, with huge pages."""
MOST_SPOILT = 8
"""So many places are kept from being taken instead of a gap."""


class Gap:
    """Free memory in one piece, for what a program takes at once each time it runs.

    The GNU library looks for more than a block on an aligned address needs, and gives the rest to whoever comes next:
    then what the block leaves is too small for the next of its kind, and memory that is kept is there twice.  Some
    room beyond the block, with something on either side that stays, lets each run find the gap that the last one left.

    A piece of free memory that is whole but was another program's gap once, or this one's, fits as well.  The library
    would take now this one, now that one, and what they hold stays in memory; so it is spoilt.

    Args:
        size: bytes of the block.
        first: bytes of the blocks that are taken before it, and may be put anywhere.
    """

    __slots__ = (
        "_due",
        "_first",
        "_free",
        "_malloc",
        "_moves",
        "_place",
        "_realloc",
        "_runs",
        "_size",
        "_spoiling",
        "_take",
    )

    def __init__(self, size: int, first: Sequence[int] = ()) -> None:
        self._size = size
        # XLA takes the largest first: in another order they would fall into other places.
        self._first = sorted([other for other in first if other >= NOTABLE], reverse=True)
        self._place = 0
        self._spoiling: list[int] = []
        self._runs = self._moves = self._due = 0
        self._malloc = of_allocator("malloc", ctypes.c_size_t, result=ctypes.c_void_p)
        self._take = of_allocator("aligned_alloc", ctypes.c_size_t, ctypes.c_size_t, result=ctypes.c_void_p)
        self._realloc = of_allocator("realloc", ctypes.c_void_p, ctypes.c_size_t, result=ctypes.c_void_p)
        self._free = of_allocator("free", ctypes.c_void_p)

    @classmethod
    def of(cls, size: int, first: Sequence[int] = ()) -> Gap | None:
        """A gap for a block of that size, where one is worth its while."""
        return cls(size, first) if size >= LARGE and of_allocator("mallopt") is not None else None

    def __del__(self) -> None:
        for block in self._spoiling:
            self._free(block)

    def restore(self) -> None:
        """Makes sure that the block will lie where the last one lay; if it would not, makes room anew.

        A new place is filled with zeros by the system, page by page, so it may not move again and again.
        """
        self._runs += 1
        if self._runs < self._due:
            return
        # Looking changes where the next block lies, if several places fit: only what holds twice can be relied on.
        if not (self._place and self._is_next() and self._is_next()):
            self._move()
        elif self._runs <= EARLY or self._runs % SELDOM == 0:
            self._return_all_else()

    def _is_next(self) -> bool:
        """Whether the block would lie where the last one lay, now that another place that was preferred is spoilt."""
        first = self._taken_first()
        found = self._take(ALIGNMENT, self._size)
        is_next = self._is_last(found)
        if not is_next:
            other = self._take(ALIGNMENT, self._size)
            is_next = self._is_last(other)
            if is_next:
                # It was chosen, so it is no larger than the gap: without a piece of it, it is too small.
                self._spoiling.append(self._realloc(found, 2 * SPARE))
                found = self._spoiling.pop(0) if len(self._spoiling) > MOST_SPOILT else None
            self._free(other)
        for block in (found, *first):
            self._free(block)
        return is_next

    def _taken_first(self) -> list[int | None]:
        return [self._take(ALIGNMENT, size) for size in self._first]

    def _is_last(self, place: int | None) -> bool:
        return abs((place or 0) - self._place) < SPARE

    def _move(self) -> None:
        return_free_memory()
        first = self._taken_first()
        self._make_room()
        self._place = self._take(ALIGNMENT, self._size) or 0
        for block in (self._place, *first):
            self._free(block)
        self._moves += 1
        if self._moves >= FREE_MOVES and (self._size < HUGE or 2 * self._moves > self._runs):
            self._due = 2 * self._runs

    def _make_room(self) -> None:
        # What stays in front keeps the gap apart from what lies before it and comes and goes.
        self._realloc(self._malloc(self._size + 3 * SPARE), 1)
        place = self._malloc(self._size + SPARE)
        # At the end of the heap nothing would bound the gap but what is put right behind the block.
        behind = self._malloc(self._size + SPARE)
        if place and behind and 0 < behind - place < self._size + 2 * SPARE:
            self._realloc(behind, 1)
        else:
            self._free(behind)
        self._free(place)

    def _return_all_else(self) -> None:
        held = self._take(ALIGNMENT, self._size)
        return_free_memory()
        self._free(held)
