"""Programs of one origin: what compiling gained for some tells of the rest, and they are tried together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from flambeau.engine.form import FEW, TURNS, Form
from flambeau.engine.statistics import counters
from flambeau.engine.tier import TIERS

if TYPE_CHECKING:
    from concurrent.futures import Future

GAIN = 1.25
"""Compiling has paid where it made programs faster by this factor."""
AT_ONCE = 3
"""So many programs are compiled before it is known whether that pays, of all that nobody asked for together."""
RUNS_HELD_UP = 1024
"""So many runs of others wait for the first verdict before they are compiled without one."""
CLEARLY = 0.9
"""A tier gives way to one that was ready before it only if that needs less than this part of its time ..."""
CLEARLY_THOUGH_ASKED = 0.8
"""... or this, where somebody asked for compilation, which goes on as long as its results are kept.

A trial shows each tier at its best, run after run.  With other work in between, the interpreter's many steps lose more
of that than one compiled program: of a growing cache's programs, slower by a sixth in trials, a loop is faster.
"""
CLEARLY_FOR_A_FEW = 0.6
"""... or this, while only a few of many programs that somebody asked for have been tried.

Among many more on the first tier, a few of a growing cache's programs looked slower by a quarter; all together, on
the same machine, they were faster by a half.
"""
HOPELESS = 2.0
"""Tiers slower than the fastest by this factor get no second trial."""


class Tried(Protocol):
    """A program, as a trial sees it.

    Attributes:
        forms: the program as tiers run it, by the tier's name, in the order in which they were ready.
        gain: how much faster the best further tier was than the first in the last trial; None while that is not known.
    """

    forms: dict[str, Form]
    gain: float | None

    def first(self) -> Form:
        """The program on the tier that was ready first."""
        ...

    def begin_trial(self) -> None:
        """Leaves open which tier keeps the program until a trial has shown it."""
        ...

    def was_on_trial(self) -> bool:
        """Whether enough has been seen for a verdict."""
        ...

    def measure(self) -> float:
        """How much faster the best further tier is than the first; known from now on."""
        ...

    def is_clear(self) -> bool:
        """Whether the newest tier has shown that it is far ahead of all others."""
        ...

    def stands(self) -> bool:
        """Whether there is a verdict that another trial would not change."""
        ...


class Kin:
    """Programs of one origin, say of one captured function.

    Attributes:
        asked: whether somebody asked for compilation.
        wider: a larger family that it belongs to.
        gains: for the last programs that were judged, how much faster the best further tier was than the first.
    """

    __slots__ = ("__weakref__", "_jobs", "_members", "_programs", "_trial", "asked", "gains", "wider")

    def __init__(self, asked: bool = False, wider: Kin | None = None) -> None:
        self.asked = asked
        self.wider = wider
        self.gains: list[float] = []
        self._jobs: list[Future] = []
        self._programs: WeakSet[Tried] = WeakSet()
        self._members: WeakSet[Tried] = WeakSet()
        self._trial: Trial | None = None

    # ------------------------------------------------------------ what is known

    def gain(self) -> float | None:
        """By what factor compiling has typically made programs faster; None while that is not known.

        What has paid in the larger family is expected to pay here; what has not, may.
        """
        if self.gains:
            return _typical(self.gains)
        expected = self.wider.gain() if self.wider is not None else None
        return expected if expected is None or expected >= GAIN else None

    def clearly(self) -> float:
        """How much faster than a further tier the first must be to keep its programs."""
        if not self.asked:
            return CLEARLY
        return CLEARLY_THOUGH_ASKED if 2 * len(self.gains) >= len(self._programs) else CLEARLY_FOR_A_FEW

    def meet(self, entry: Tried) -> None:
        """Notes that a program is one of its own."""
        self._programs.add(entry)

    def favours(self) -> bool | None:
        """Whether its programs are to run on a further tier; None while too few were judged."""
        return _typical(self.gains) >= self.clearly() if len(self.gains) >= FEW else None

    def builds(self, job: Future) -> None:
        """Notes that one of its programs is being compiled."""
        for kin in self._families():
            kin._jobs.append(job)

    def is_trying(self) -> bool:
        """Whether as many programs are being compiled, or on trial, as there should be while nothing is known."""
        if self._trial is not None and self._trial.holds_up():
            return True
        return max(kin._building() for kin in self._families()) >= AT_ONCE

    def _building(self) -> int:
        self._jobs = [job for job in self._jobs if not job.done()]
        return len(self._jobs)

    def _families(self) -> tuple[Kin, ...]:
        return (self,) if self.wider is None else (self, self.wider)

    # ------------------------------------------------------------ trials

    def form_on_trial(self, entry: Tried) -> Form | None:
        """In which form a program that several tiers have made ready runs next; None if there is enough for a verdict.

        What is ready too late for the trial in progress waits for its end.
        """
        self._members.add(entry)
        if self._trial is None:
            if entry.gain is not None or self.favours() is not None:
                return None
            if self._building() and entry.first().turns < FEW:
                return entry.first()
            self.begin_trial()
        assert self._trial is not None
        if not self._trial.concerns(entry):
            return entry.first()
        form = self._trial.form_of(entry)
        if form is None:
            self._learn(self._trial.gains())
            self._trial = None
        return form

    def begin_trial(self) -> None:
        """Has all programs that several tiers have made ready take turns on them."""
        entries = [entry for entry in self._members if len(entry.forms) > 1 and not entry.stands()]
        for entry in entries:
            entry.begin_trial()
        self._trial = Trial(entries)
        counters.trials += 1

    def _learn(self, gains: list[float]) -> None:
        if gains:
            self.gains = [*self.gains, *gains][-max(TURNS, len(gains)) :]
            if self.wider is not None:
                self.wider.gains = [*self.wider.gains, _typical(gains)][-TURNS:]


class Trial:
    """A comparison of tiers on programs of one kin: all of them on one tier, then all on the next.

    Programs that run in turn hand values over, and wait for each other's threads, where their tiers differ: by itself
    among others on another tier, each would look slow on whichever is new.
    """

    __slots__ = ("_entries", "_patience", "_tiers")

    def __init__(self, entries: Iterable[Tried]) -> None:
        self._entries = WeakSet(entries)
        # The newest begins: it may never be worth another turn of the old ones.
        self._tiers = [tier.name for tier in reversed(TIERS)]
        self._patience = RUNS_HELD_UP

    def holds_up(self) -> bool:
        """Whether others should not be compiled, which would disturb the trial; it may have been left unfinished."""
        self._patience -= 1
        return self._patience > 0

    def concerns(self, entry: Tried) -> bool:
        """Whether a program takes part."""
        return entry in self._entries

    def form_of(self, entry: Tried) -> Form | None:
        """The form of a program whose turn it is; None if all is known."""
        while self._tiers and not self._is_clear(entry):
            form = entry.forms.get(self._tiers[0])
            if form is not None and not self._is_over(form):
                return form
            del self._tiers[0]
        return None

    def gains(self) -> list[float]:
        """How much faster the best further tier was than the first, of all programs that took part; they know then."""
        entries = [entry for entry in self._entries if entry.was_on_trial()]
        return [entry.measure() for entry in entries]

    def _is_over(self, form: Form) -> bool:
        """Whether a tier has had its turn; those that do not come by any more do not hold up the rest."""
        if not form.is_known(len(self._entries)):
            return False
        return form.turns >= 2 * TURNS or all(self._is_known(entry) for entry in self._entries)

    def _is_known(self, entry: Tried) -> bool:
        form = entry.forms.get(self._tiers[0])
        return form is None or form.is_known(len(self._entries))

    def _is_clear(self, entry: Tried) -> bool:
        """Whether the newest tier is far ahead, runs before the trial included.

        Whether it is far behind is not known so soon: in its first runs the system gives it memory, page by page,
        which may take longer than the work.
        """
        return entry.is_clear() and all(other.is_clear() for other in self._entries)


def _typical(gains: list[float]) -> float:
    return sorted(gains)[len(gains) // 2]
