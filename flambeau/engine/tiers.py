"""The judge: which tier runs a program.

A tier turns a :class:`~flambeau.graph.program.Program` into an executable, an object with a ``name``
and ``run(values, donated) -> results``.  What layout, precision of intermediate steps or reuse of
buffers a tier chooses is its own business; no operator's meaning depends on it.

A program met for the first time is interpreted.  One that comes back, and whose measured cost
promises a gain, is compiled in the background; then both are timed on the work at hand and the
faster one keeps it.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from flambeau.engine.interpreter import Interpreted
from flambeau.engine.statistics import counters
from flambeau.graph.program import Stretch, program_of

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

MODES = ("auto", "interpreter", "compiled", "both")
ENTRIES_KEPT = 1024
TRIALS = 8
"""How often a freshly compiled program is timed before it is judged, against as many runs of the interpreter."""
WORTHWHILE = 40e-6
"""Seconds: a program that the interpreter runs faster than this has little to gain."""
PATIENCE = 0.5
"""Compile once the interpreter has spent this part of what compiling is expected to take."""


INTERPRETED_RUNS = 2
"""Where the choice must not depend on measurement, a program is compiled after this many runs."""


BUDGET = 0.5
"""All compiling together may take this part of the time that all interpreting has taken."""
CLEARLY = 0.9
"""The compiled form takes over where it needs less than this part of the interpreter's time."""


class _Cost:
    """What compiling costs, first guessed from the number of operations and then learned.

    Attributes:
        guessed, measured: seconds of all compilations so far.
        promised: seconds expected of those that have not finished.
        interpreted: seconds spent in the interpreter so far.
    """

    guessed = 0.0
    measured = 0.0
    promised = 0.0
    interpreted = 0.0

    def guess(self, steps: int) -> float:
        return 0.1 + 0.004 * steps

    def expected(self, steps: int) -> float:
        """Seconds: programs of one process are of a kind, so the last ones tell of the next."""
        seconds = self.guess(steps)
        return seconds * max(1.0, self.measured / self.guessed) if self.guessed else seconds

    def affords(self, seconds: float) -> bool:
        """Whether that much more compiling stays within what interpreting has cost so far."""
        return self.measured + self.promised + seconds <= BUDGET * self.interpreted

    def learn(self, steps: int, seconds: float) -> None:
        self.guessed += self.guess(steps)
        self.measured += seconds


cost = _Cost()


class Executable(Protocol):
    """A program made ready by a tier."""

    name: str

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Results for the values of the leaves; ``donated`` says which of them nobody reads again."""
        ...


class Entry:
    """What is known of one structural key.

    Attributes:
        program: the work.
        constants: Python numbers among the leaves, by position, that were never seen to change.
        interpreted, compiled: its executables, as far as they are made.
        runs, spent, recent: of the interpreter, in all and the last few, in seconds.
        trials: seconds of the compiled form's first runs.
        chosen: the executable that keeps the key, once judged.
        urgent: whether somebody asked for compilation: then it is not waited for a second run.
    """

    __slots__ = (
        "chosen",
        "compiled",
        "constants",
        "expected",
        "interpreted",
        "job",
        "program",
        "recent",
        "runs",
        "spent",
        "trials",
        "urgent",
    )

    def __init__(self, stretch: Stretch) -> None:
        self.program = program_of(stretch)
        self.constants: dict[int, Any] = {i: node.value for i, node in enumerate(stretch.leaves) if node.aval.weak}
        self.interpreted: Interpreted | None = None
        self.compiled: Executable | None = None
        self.chosen: Executable | None = None
        self.job: Future[Executable] | None = None
        self.runs = 0
        self.spent = 0.0
        self.expected = 0.0
        self.recent: deque[float] = deque(maxlen=TRIALS)
        self.trials: list[float] = []
        self.urgent = any(step.call.op.urgent for step in self.program.steps)

    def note_changes(self, values: list[Any]) -> None:
        """A Python number is a constant of its program until it is seen to change."""
        changed = [i for i, known in self.constants.items() if values[i] != known]
        if changed:
            for i in changed:
                del self.constants[i]
            # What was compiled holds the old numbers.
            if self.job is not None:
                cost.promised -= self.expected
            self.compiled = self.chosen = self.job = None
            self.trials.clear()

    def interpret(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        executable = self.interpreted
        if executable is None:
            executable = self.interpreted = Interpreted(self.program)
        started = perf_counter()
        results = executable.run(values, donated)
        seconds = perf_counter() - started
        self.runs += 1
        self.spent += seconds
        cost.interpreted += seconds
        self.recent.append(seconds)
        counters.runs_interpreted += 1
        return results

    def promises_gain(self) -> bool:
        if self.urgent:
            return True
        if self.runs < 2 or min(self.recent) < WORTHWHILE:
            return False
        seconds = cost.expected(len(self.program.steps))
        return self.spent > PATIENCE * seconds and cost.affords(seconds)

    def try_out(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Times the compiled form; after some runs the faster of the two keeps the key."""
        assert self.compiled is not None
        started = perf_counter()
        results = self.compiled.run(values, donated)
        self.compiled.wait(results)  # type: ignore[attr-defined]
        self.trials.append(perf_counter() - started)
        counters.runs_compiled += 1
        if len(self.trials) >= TRIALS:
            self.chosen = self.compiled if _typical(self.trials) < CLEARLY * _typical(self.recent) else self.interpreted
        return results


def _typical(seconds: Iterable[float]) -> float:
    """A lower quartile: what a run costs when nothing else gets in its way, but not by luck."""
    ordered = sorted(seconds)
    return ordered[len(ordered) // 4]


entries: dict[tuple[Any, ...], Entry] = {}
_mode = os.environ.get("FLAMBEAU_TIER", "auto")
if _mode not in MODES:
    raise ValueError(f"FLAMBEAU_TIER must be one of {', '.join(MODES)}, got {_mode!r}")
_deterministic = False
_builder: ThreadPoolExecutor | None = None


def get_tier() -> str:
    """The tier in force, as :func:`set_tier` takes it."""
    return _mode


def set_tier(mode: str) -> None:
    """Chooses the tier from now on, as the variable FLAMBEAU_TIER does at the start.

    Args:
        mode: ``"interpreter"``: everything in NumPy.  ``"compiled"``: everything in XLA, compiled when
            first met.  ``"auto"``: measured choice.  ``"both"``: for debugging, each operation on both;
            raises :class:`~flambeau.engine.compare.TiersDisagree` at the first that disagrees.

    Raises:
        ValueError: for any other word.
    """
    global _mode
    if mode not in MODES:
        raise ValueError(f"the tier must be one of {', '.join(MODES)}, got {mode!r}")
    _mode = mode
    entries.clear()


def is_deterministic() -> bool:
    """Whether the choice of tier must not depend on measurement."""
    return _deterministic


def set_deterministic(wanted: bool) -> None:
    """Has a program compiled at its third run, whatever it costs, instead of when that promises a gain."""
    global _deterministic
    _deterministic = wanted
    entries.clear()


def run(stretch: Stretch) -> list[Any]:
    """Runs a stretch of recorded work on the tier that is held to be the fastest."""
    leaves = stretch.leaves
    values = [node.value for node in leaves]
    results = execute(entry_of(stretch), values, stretch.donated)
    for node, value in zip(leaves, values, strict=True):
        # A tier may have put a value into a form of its own: next time it need not.
        if node.value is not value:
            node.value = value
    return results


def entry_of(stretch: Stretch) -> Entry:
    """What is known of a stretch's structural key; made if it was never met."""
    return entries.get(stretch.key) or _admitted(stretch)


def execute(entry: Entry, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
    """Runs a known program on values for its leaves."""
    if entry.constants:
        entry.note_changes(values)
    if _mode == "auto":
        return _run_measured(entry, values, donated)
    if _mode == "interpreter":
        return entry.interpret(values, donated)
    if _mode == "both":
        from flambeau.engine import compare

        return compare.run(entry.program, values)
    if entry.compiled is None:
        entry.compiled = _build(entry, donated, dict(entry.constants))
    counters.runs_compiled += 1
    return entry.compiled.run(values, donated)


def _run_measured(entry: Entry, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
    chosen = entry.chosen
    if chosen is not None:
        if chosen is entry.interpreted:
            counters.runs_interpreted += 1
        else:
            counters.runs_compiled += 1
        return chosen.run(values, donated)
    if entry.compiled is not None:
        return entry.try_out(values, donated)
    if _deterministic:
        return _run_by_count(entry, values, donated)
    results = entry.interpret(values, donated)
    if entry.job is not None:
        if entry.job.done():
            _collect(entry, entry.job)
    elif entry.promises_gain() and _xla_installed():
        entry.expected = cost.expected(len(entry.program.steps))
        cost.promised += entry.expected
        entry.job = _background().submit(_build, entry, donated, dict(entry.constants))
    return results


def _run_by_count(entry: Entry, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
    if entry.runs < INTERPRETED_RUNS or not _xla_installed():
        return entry.interpret(values, donated)
    entry.chosen = entry.compiled = _build(entry, donated, dict(entry.constants))
    counters.runs_compiled += 1
    return entry.compiled.run(values, donated)


def _admitted(stretch: Stretch) -> Entry:
    counters.programs_seen += 1
    if len(entries) >= ENTRIES_KEPT:
        # Dictionaries keep the order of insertion: the oldest quarter goes.
        for key in list(entries)[: ENTRIES_KEPT // 4]:
            del entries[key]
            counters.programs_evicted += 1
    entry = entries[stretch.key] = Entry(stretch)
    return entry


def _collect(entry: Entry, job: Future[Executable]) -> None:
    entry.job = None
    cost.promised -= entry.expected
    error = job.exception()
    if error is None:
        entry.compiled = job.result()
        return
    entry.chosen = entry.interpreted
    warnings.warn(
        f"flambeau: XLA could not compile a program of {len(entry.program.steps)} operations, which goes on "
        f"in the interpreter: {type(error).__name__}: {error}",
        RuntimeWarning,
        stacklevel=2,
    )


def _build(entry: Entry, donated: tuple[bool, ...], constants: dict[int, Any]) -> Executable:
    # Imported here: JAX takes a second or more, and many programs never need it.
    from flambeau.engine import xla

    started = perf_counter()
    executable = xla.Compiled(entry.program, donated, constants)
    cost.learn(len(entry.program.steps), perf_counter() - started)
    counters.programs_compiled += 1
    return executable


def _xla_installed() -> bool:
    global _installed
    if _installed is None:
        from importlib.util import find_spec

        _installed = find_spec("jax") is not None
    return _installed


_installed: bool | None = None


def _background() -> ThreadPoolExecutor:
    global _builder
    if _builder is None:
        from concurrent.futures import ThreadPoolExecutor

        _builder = ThreadPoolExecutor(1, "flambeau-xla")
    return _builder


def finish(entry: Entry) -> None:
    """Compiles a program now, unless it is compiled already."""
    if entry.job is not None:
        entry.job.exception()
        _collect(entry, entry.job)
    if entry.compiled is None:
        entry.compiled = _build(entry, (False,) * len(entry.program.leaves), dict(entry.constants))


def wait() -> None:
    """Waits for background compilation to finish."""
    for entry in list(entries.values()):
        if entry.job is not None:
            entry.job.exception()
            _collect(entry, entry.job)
