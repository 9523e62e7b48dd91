"""Counters of the engine's work, for tests, reports and the curious."""

from __future__ import annotations


class Counters:
    """What the engine has done since the start or the last reset.

    Attributes:
        nodes: operations that were run, in programs.
        flushes: stretches of recorded work that were run.
        programs_seen: distinct structural keys met.
        programs_compiled: programs built by XLA.
        runs_interpreted, runs_compiled: programs run, by tier.
        programs_evicted: programs dropped because the cache was full, and compiled forms because the system
            lets a process hold no more.
        trials: comparisons of tiers that have begun, each on one program or on several of one origin.
        verdicts: programs of which it has been decided on which tier they run.
    """

    __slots__ = (
        "flushes",
        "nodes",
        "programs_compiled",
        "programs_evicted",
        "programs_seen",
        "runs_compiled",
        "runs_interpreted",
        "trials",
        "verdicts",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)


counters = Counters()


def reset_statistics() -> None:
    """Sets all counters to zero; what is cached stays.

    Example:
        >>> import flambeau
        >>> flambeau.engine.reset_statistics()
        >>> flambeau.engine.statistics()["flushes"]
        0
    """
    counters.clear()
