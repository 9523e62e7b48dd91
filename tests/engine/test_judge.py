"""The judge's verdicts, on tiers that take as long as they are told to, by a clock of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

import flambeau
from flambeau.engine import judge
from flambeau.graph.program import stretch_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Paced:
    """An executable whose runs take given seconds, one after the other; the last for ever."""

    def __init__(self, clock: Clock, seconds: Sequence[float]) -> None:
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
    clock = Clock()
    monkeypatch.setattr(judge, "perf_counter", clock)
    x = flambeau.ones(3)
    flambeau.engine.flush()
    entry = judge.Entry(stretch_of([(x + 1)._node]))
    entry.forms = {
        tier.name: judge.Form(tier, Paced(clock, seconds))
        for tier, seconds in zip(judge.TIERS, (interpreted, compiled), strict=True)
    }
    entry.forms[judge.INTERPRETER.name].timed([], ())
    entry.forms[judge.INTERPRETER.name].turns = 0
    runs = 0
    while entry.chosen is None:
        entry.run([], ())
        runs += 1
    assert entry.chosen.tier.name == verdict
    assert runs <= 2 * judge.TURNS
