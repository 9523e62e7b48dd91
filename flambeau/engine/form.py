"""A program as one tier runs it, and what its runs took."""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any

from flambeau.engine.tier import Executable, Tier

TURNS = 8
"""How many runs of each tier are compared at the most."""
FEW = 3
"""So many are enough where one tier is twice as fast as another, or where they are long."""
LONG = 0.3
"""Seconds of runs that are enough of each tier: noise is small beside them."""


class Form:
    """A program as one tier runs it.

    Attributes:
        seconds: of the last runs that were timed, the newest last.
        turns: how many of them belong to the trial in progress.
        recent: whether it has run since room was last made.
    """

    __slots__ = ("executable", "recent", "seconds", "tier", "turns")

    def __init__(self, tier: Tier, executable: Executable) -> None:
        self.tier = tier
        self.executable = executable
        self.seconds: deque[float] = deque(maxlen=TURNS)
        self.turns = 0
        self.recent = True

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        self.recent = True
        self.tier.count_run()
        return self.executable.run(values, donated)

    def timed(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Runs, waits for the results, and notes how long that took.

        Taking values over from another tier is not counted: once all of a loop runs on one tier, it does not happen.
        """
        self.recent = True
        self.executable.prepare(values)
        started = perf_counter()
        results = self.executable.run(values, donated)
        self.executable.wait(results)
        self.seconds.append(perf_counter() - started)
        self.turns += 1
        self.tier.count_run()
        return results

    def is_known(self, shared_by: int = 1) -> bool:
        """Whether the trial has seen enough of it, where so many programs of one kin are on trial together."""
        return self.turns >= FEW and self.turns >= turns_of(self.typical()) / shared_by

    def typical(self) -> float:
        """A lower quartile: what a run costs when nothing else gets in its way, but not by luck."""
        ordered = sorted(self.seconds)
        return ordered[len(ordered) // 4]


def turns_of(seconds: float) -> float:
    """How many runs of that length tell enough of a tier."""
    return max(FEW, min(TURNS, LONG / seconds))
