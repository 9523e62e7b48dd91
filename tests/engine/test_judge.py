"""The judge's verdicts, on tiers that take as long as they are told to, by a clock of their own."""

from __future__ import annotations

import itertools
import operator
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

import flambeau
from flambeau.engine import form, judge, kin
from flambeau.graph.program import stretch_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Paced:
    """An executable whose runs take given seconds, one after the other; the last for ever."""

    lets_go = False

    def __init__(self, clock: Clock, seconds: Iterable[float]) -> None:
        self._clock = clock
        self._seconds: Iterator[float] = iter(seconds)
        self._last = 0.0

    def prepare(self, values: list) -> None:
        pass

    def run(self, values: list, donated: tuple) -> list:
        self._last = next(self._seconds, self._last)
        self._clock.now += self._last
        return []

    def wait(self, results: list) -> None:
        pass


@pytest.mark.parametrize(
    ("interpreted", "compiled", "verdict"),
    [
        ([0.003], [0.014, 0.009, 0.007, 0.001], "compiled"),
        ([0.003], [0.020, 0.009], "interpreter"),
        ([0.003], [0.001], "compiled"),
        ([0.003, 0.090, 0.003], [0.0028], "compiled"),
        ([0.3], [0.9], "interpreter"),
    ],
    ids=["slow at first", "slow for good", "fast", "much alike", "long"],
)
def test_a_tier_that_is_slow_in_its_first_runs_is_judged_by_the_later_ones(
    interpreted: list[float], compiled: list[float], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = on_trial(interpreted, compiled, monkeypatch)
    runs = 0
    while entry.chosen is None:
        entry.run([], ())
        runs += 1
    assert entry.chosen.tier.name == verdict
    # The verdict falls when there is a run for it, which puts the values into the form that stays.
    assert runs <= 2 * form.TURNS + 1


def on_trial(interpreted: list[float], compiled: list[float], monkeypatch: pytest.MonkeyPatch) -> judge.Entry:
    """A program that both tiers have made ready."""
    clock = Clock()
    monkeypatch.setattr(form, "perf_counter", clock)
    x = flambeau.ones(3)
    flambeau.engine.flush()
    entry = judge.Entry(stretch_of([(x + 1)._node]))
    entry.forms = {
        tier.name: form.Form(tier, Paced(clock, seconds))
        for tier, seconds in zip(judge.TIERS, (interpreted, compiled), strict=True)
    }
    entry.forms[judge.INTERPRETER.name].timed([], ())
    entry.forms[judge.INTERPRETER.name].turns = 0
    return entry


@pytest.mark.parametrize(("seconds", "again"), [(0.01, True), (0.4, False)], ids=["short", "long"])
def test_verdicts_on_short_runs_are_looked_at_again(
    seconds: float, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = on_trial([1.2 * seconds], [seconds], monkeypatch)
    verdicts = judge.counters.verdicts
    for _ in range(1000):
        entry.run([], ())
    assert entry.chosen is not None and entry.chosen.tier.name == "compiled"
    assert (judge.counters.verdicts - verdicts > 1) is again


class Waited:
    """Takes the background's place: what is submitted is done at once."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future:
        done: Future = Future()
        done.set_result(function(*args))
        return done


class PacedTier:
    """A tier whose executables take as long as a function of how often they ran says; counts what it builds."""

    name = "compiled"

    def __init__(self, clock: Clock, seconds: Callable[[], float]) -> None:
        self.built = 0
        self.clock = clock
        self._seconds = seconds

    def can_run(self, program: Any) -> bool:
        return True

    def expected_seconds(self, program: Any) -> float:
        return 0.25

    def build(self, program: Any, donated: Any, constants: Any) -> Paced:
        self.built += 1
        return Paced(self.clock, (self._seconds() for _ in itertools.count()))

    def count_run(self) -> None:
        pass

    def is_crowded(self) -> bool:
        return False


class PacedInterpreter(PacedTier):
    name = judge.INTERPRETER.name

    def expected_seconds(self, program: Any) -> float:
        return 0.0


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch) -> Callable[..., PacedTier]:
    """A function that sets both tiers' seconds and how much longer they may take; gives the further tier."""
    flambeau.engine.flush()
    clock = Clock()
    draw = random.Random(0)

    def set_up(interpreted: float, compiled: float, noise: float) -> PacedTier:
        def taking(seconds: float) -> Callable[[], float]:
            return lambda: seconds * draw.uniform(1, 1 + noise)

        tiers = PacedInterpreter(clock, taking(interpreted)), PacedTier(clock, taking(compiled))
        monkeypatch.setattr(judge, "perf_counter", clock)
        monkeypatch.setattr(form, "perf_counter", clock)
        monkeypatch.setattr(judge, "INTERPRETER", tiers[0])
        monkeypatch.setattr(judge, "TIERS", tiers)
        monkeypatch.setattr(kin, "TIERS", tiers)
        monkeypatch.setattr(judge, "_background", Waited)
        monkeypatch.setattr(judge, "spending", judge._Spending())
        monkeypatch.setattr(judge, "PLAIN", kin.Kin())
        monkeypatch.setattr(judge, "_plain", {})
        return tiers[1]

    return set_up


def entries_of_a_loop(count: int) -> list[judge.Entry]:
    """What the judge knows of programs that differ in shapes alone."""
    return [judge.Entry(stretch_of([(flambeau.tensor([0.0] * n) + 1)._node])) for n in range(1, count + 1)]


def kept_by(entries: list[judge.Entry]) -> set[str]:
    """The tiers on which programs run when nothing is tried."""
    return {entry.chosen.tier.name if entry.chosen else judge.INTERPRETER.name for entry in entries}


@pytest.mark.parametrize("gain", [0.5, 0.7, 1.15, 1.3, 1.6, 2.5])
def test_programs_of_one_loop_end_on_the_faster_tier_all_of_them(gain: float, paced: Callable[..., PacedTier]) -> None:
    paced(600e-6 * gain, 600e-6, noise=0.6)
    entries = entries_of_a_loop(30)
    for _ in range(2000):
        for entry in entries:
            entry.run([], ())
    while any(len(entry.forms) > 1 and entry.chosen is None for entry in entries):
        for entry in entries:
            entry.run([], ())
    assert kept_by(entries) == {"compiled" if gain > 1 else "interpreter"}


def judged(entries: list[judge.Entry]) -> None:
    """Runs programs, ready on both tiers, until each has a verdict."""
    for entry in entries:
        entry.run([], ())
        entry.form(judge.TIERS[1], ())
    run_until_judged(entries)


def run_until_judged(entries: list[judge.Entry]) -> None:
    while any(entry.chosen is None for entry in entries):
        for entry in entries:
            entry.run([], ())


def test_what_is_ready_late_follows_its_kin_without_a_trial(paced: Callable[..., PacedTier]) -> None:
    paced(600e-6, 900e-6, noise=0.0)
    early, late = (entries := entries_of_a_loop(12))[:4], entries[4:]
    judged(early)
    assert kept_by(early) == {"interpreter"}
    for entry in late:
        entry.run([], ())
        entry.form(judge.TIERS[1], ())
        entry.run([], ())
    assert all(entry.chosen is entry.first() for entry in late)


def test_programs_of_a_loop_are_tried_again_all_of_them_on_one_tier_at_a_time(
    paced: Callable[..., PacedTier],
) -> None:
    paced(900e-6, 600e-6, noise=0.2)
    judged(entries := entries_of_a_loop(12))
    assert kept_by(entries) == {"compiled"}
    trials = 0
    for _ in range(2000):
        for entry in entries:
            entry.run([], ())
        on_trial = [entry for entry in entries if entry.chosen is None]
        trials += bool(on_trial)
        # The turn may pass on in the middle of the loop.
        is_interpreted = [entry.first().turns > 0 for entry in on_trial]
        assert sum(map(operator.ne, is_interpreted, is_interpreted[1:])) <= 1
    assert trials
    assert kept_by(entries) == {"compiled"}


def test_a_verdict_of_a_noisy_moment_is_corrected_for_all_of_a_loop(paced: Callable[..., PacedTier]) -> None:
    seconds = {"compiled": 900e-6}
    clock = paced(700e-6, 0.0, noise=0.0).clock
    entries = entries_of_a_loop(12)
    for entry in entries:
        entry.run([], ())
        executable = Paced(clock, (seconds["compiled"] for _ in itertools.count()))
        entry.forms["compiled"] = form.Form(judge.TIERS[1], executable)
    run_until_judged(entries)
    assert kept_by(entries) == {"interpreter"}
    seconds["compiled"] = 500e-6
    for _ in range(2000):
        for entry in entries:
            entry.run([], ())
    run_until_judged(entries)
    assert kept_by(entries) == {"compiled"}


@pytest.mark.parametrize(("compiled", "verdict"), [(850e-6, "compiled"), (1100e-6, "interpreter")])
def test_of_many_programs_asked_for_a_few_may_look_slower_among_the_others(
    compiled: float, verdict: str, paced: Callable[..., PacedTier]
) -> None:
    paced(600e-6, compiled, noise=0.0)
    asked = kin.Kin(asked=True)
    entries = entries_of_a_loop(30)
    for entry in entries:
        entry.join(asked)
        entry.run([], ())
    judged(entries[: form.FEW])
    assert kept_by(entries[: form.FEW]) == {verdict}


def test_what_was_made_ready_anew_is_judged_anew(paced: Callable[..., PacedTier]) -> None:
    paced(900e-6, 600e-6, noise=0.0)
    judged(entries := entries_of_a_loop(1))
    (entry,) = entries
    assert entry.gain == pytest.approx(1.5)
    entry.constants[1] = entry.constants.get(1, 1) + 1
    entry.note_changes([None, 1])
    assert entry.gain is None
    judged(entries)
    assert entry.gain == pytest.approx(1.5)


def test_programs_that_stop_coming_by_do_not_hold_up_a_trial(paced: Callable[..., PacedTier]) -> None:
    paced(900e-6, 600e-6, noise=0.0)
    entries = entries_of_a_loop(6)
    for entry in entries:
        entry.run([], ())
        entry.form(judge.TIERS[1], ())
    for entry in entries:
        entry.run([], ())
    run_until_judged(entries[:1])
    assert kept_by(entries[:1]) == {"compiled"}


def test_programs_that_run_once_are_not_compiled_whatever_others_gained(paced: Callable[..., PacedTier]) -> None:
    tier = paced(1800e-6, 600e-6, noise=0.2)
    (loop,) = entries_of_a_loop(1)
    while loop.chosen is None:
        loop.run([], ())
    assert tier.built == 1
    for entry in entries_of_a_loop(30):
        entry.run([], ())
    assert tier.built == 1


@pytest.mark.parametrize("asked", [True, False])
def test_the_last_program_of_a_loop_pays_for_itself_where_somebody_asked(
    asked: bool, paced: Callable[..., PacedTier], monkeypatch: pytest.MonkeyPatch
) -> None:
    tier = paced(0.01, 0.004, noise=0.0)
    family = kin.Kin(asked=asked)
    entries = entries_of_a_loop(6)
    for entry in entries:
        entry.join(family)
    judged(entries[:5])
    # All others have cost more than what they were interpreted for allows.
    judge.spending.compiled = 1000.0
    monkeypatch.setattr(tier, "expected_seconds", lambda program: 1.0)
    for _ in range(45):
        entries[5].run([], ())
    assert len(entries[5].forms) == 1
    for _ in range(20):
        entries[5].run([], ())
    assert ("compiled" in entries[5].forms) is asked
