"""Gives the contenders turns, and turns what they took into medians and ratios."""

from __future__ import annotations

import json
import math
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.libraries import environment
from benchmarks.setting import Setting
from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parents[1]
TURN_SECONDS = 0.15
"""A turn lasts as many units as fit, at least one."""
PAUSE_SECONDS = 0.03
"""Between two turns: threads that wait for more work spin for a while before they sleep."""
LIMIT_SECONDS = 900
TOLERANCE = {"float32": 2e-3, "bfloat16": 1e-1}
"""How far results may be apart, relative to the larger: sums in another order, many steps of training."""
FIRST_ROUNDS = 3

REFERENCE = "pytorch"
PLAIN = "flambeau"
COMPILED = "flambeau-compiled"
PEERS = ("pytorch", "pytorch-compiled")
FLOOR = "jax"


@dataclass(frozen=True)
class Options:
    """What to run and how."""

    contenders: tuple[str, ...]
    rounds: int
    threads: int
    setting: Setting
    turn_seconds: float = TURN_SECONDS


@dataclass
class Line:
    """One line of the table.

    Attributes:
        seconds: by contender, the seconds of one unit in each round.
        notes: by contender, why it has no figure, or what is wrong with it.
        failed: contenders that ran into an error or computed something else.
        memory: by contender, the peak bytes of its process and of the device.
    """

    number: int
    name: str
    title: str
    seconds: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)

    def median(self, contender: str) -> float | None:
        """The median seconds of one unit."""
        taken = self.seconds.get(contender)
        return statistics.median(taken) if taken else None

    def best_peer(self) -> str | None:
        """PyTorch's better form, eager or compiled."""
        there = [peer for peer in PEERS if self.seconds.get(peer)]
        return min(there, key=lambda peer: statistics.median(self.seconds[peer]), default=None)

    def ratio(self, of: str | None, to: str | None) -> float | None:
        """The median over the rounds of one contender's seconds divided by another's in the same round."""
        if of is None or to is None or not self.seconds.get(of) or not self.seconds.get(to):
            return None
        # A contender that is slow to start may have had fewer rounds: they are the first ones.
        pairs = zip(self.seconds[of], self.seconds[to], strict=False)
        return statistics.median(a / b for a, b in pairs)

    def ratios(self) -> dict[str, float | None]:
        """The ratios that the table shows; over 1 means that Flambeau is faster."""
        best = self.best_peer()
        return {
            "plain": self.ratio(best, PLAIN),
            "compiled": self.ratio(best, COMPILED),
            "floor": self.ratio(FLOOR, COMPILED),
        }


class Failed(Exception):
    """A contender's process reported an error, died or took too long."""


class Absent(Exception):
    """A contender that cannot take part; says why."""


class Contender:
    """A contender's process."""

    def __init__(self, name: str, options: Options, cache: str) -> None:
        self.name = name
        self.started = time.perf_counter()
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            cwd=ROOT,
            env=environment(options.threads, cache),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self, action: str, **fields: Any) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            Absent, Failed: with the contender's own words.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": action} | fields) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(LIMIT_SECONDS):
                raise Failed(f"no answer to {action!r} in {LIMIT_SECONDS} seconds")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        answer = json.loads(line)
        if "absent" in answer:
            raise Absent(answer["absent"])
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer

    def build(self, workload: Workload, options: Options) -> dict[str, Any]:
        """Imports the library and builds the workload."""
        return self.ask(
            "build",
            contender=self.name,
            workload=workload.name,
            setting=vars(options.setting),
            threads=options.threads,
        )

    def errors(self) -> str:
        """What the process wrote to its standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        status = self._process.wait()
        written = self.errors().strip().splitlines()
        return f"the process ended with status {status}: {written[-1] if written else 'it wrote nothing'}"


class Session:
    """A workload on every contender: checked and timed in turns.

    Attributes:
        line: what was found.
    """

    def __init__(self, workload: Workload, options: Options, cache: str, tell: Callable[[str], None]) -> None:
        self.line = Line(workload.number, workload.name, workload.title)
        self._workload = workload
        self._options = options
        self._cache = cache
        self._tell = tell
        self._contenders: dict[str, Contender] = {}
        self._results: dict[str, list[list[float]]] = {}
        self._units: dict[str, int] = {}

    def prepare(self) -> None:
        """Starts the contenders, checks what they compute, and lets them run until nothing new is compiled."""
        # With an accelerator, compiling is most of the wait, and disturbs nobody.
        at_once = 1 if self._options.setting.device == "cpu" else len(self._options.contenders)
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self._start, self._options.contenders))

    def measure(self) -> Line:
        """Gives those that are prepared their turns, and ends them."""
        for _ in range(self._options.rounds):
            for name in list(self._contenders):
                time.sleep(PAUSE_SECONDS)
                self._attempt(name, self._turn)
        for name in list(self._contenders):
            self._attempt(name, self._weigh)
        self.close()
        compare(self.line, self._results, TOLERANCE[self._options.setting.dtype])
        return self.line

    def close(self) -> None:
        """Ends all processes."""
        for name in list(self._contenders):
            self._contenders.pop(name).close()

    def _start(self, name: str) -> None:
        self._contenders[name] = Contender(name, self._options, self._cache)
        self._attempt(name, self._ready)

    def _attempt(self, name: str, work: Callable[[Contender], None]) -> None:
        contender = self._contenders[name]
        try:
            work(contender)
        except (Absent, Failed) as error:
            self.line.notes[name] = str(error)
            if isinstance(error, Failed):
                self.line.failed.add(name)
                self._tell(contender.errors())
            self._contenders.pop(name).close()

    def _ready(self, contender: Contender) -> None:
        contender.build(self._workload, self._options)
        self._results[contender.name] = contender.ask("check")["results"]
        fastest = contender.ask("settle")["seconds"]
        self._units[contender.name] = max(1, int(self._options.turn_seconds / fastest))

    def _turn(self, contender: Contender) -> None:
        count = self._units[contender.name]
        if count > 1:
            # The others have been through the caches since.
            contender.ask("measure", units=1)
        seconds = contender.ask("measure", units=count)["seconds"] / count
        self.line.seconds.setdefault(contender.name, []).append(seconds)

    def _weigh(self, contender: Contender) -> None:
        self.line.memory[contender.name] = contender.ask("memory")


SESSIONS_AT_ONCE = 4
"""So many workloads are prepared together where an accelerator does the work."""


def run(workloads: Iterable[Workload], options: Options, cache: str, tell: Callable[[str], None]) -> Iterator[Line]:
    """Checks and times workloads, one after the other; those that an accelerator runs are all prepared first."""
    sessions = [Session(workload, options, cache, tell) for workload in workloads]
    try:
        if options.setting.device != "cpu":
            with ThreadPoolExecutor(SESSIONS_AT_ONCE) as pool:
                list(pool.map(Session.prepare, sessions))
        for session in sessions:
            if options.setting.device == "cpu":
                session.prepare()
            yield session.measure()
    finally:
        for session in sessions:
            session.close()


def compare(line: Line, results: dict[str, list[list[float]]], tolerance: float) -> None:
    """Notes on the line which contenders computed something else than PyTorch."""
    wanted = results.get(REFERENCE)
    if wanted is None:
        return
    for name, found in results.items():
        where = first_difference(found, wanted, tolerance)
        if where is not None:
            line.failed.add(name)
            line.notes[name] = where


def first_difference(found: list[list[float]], wanted: list[list[float]], tolerance: float) -> str | None:
    """Where two contenders' results part, in words; None if they agree."""
    for i, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        if len(ours) != len(theirs):
            return f"unit {i} has {len(ours)} results, PyTorch's has {len(theirs)}"
        scale = max(map(abs, theirs))
        for a, b in zip(ours, theirs, strict=True):
            if not abs(a - b) <= tolerance * max(scale, 1e-6):
                return f"unit {i} gives {a:.6g}, PyTorch's gives {b:.6g}"
        if any(map(math.isnan, theirs)):
            return f"unit {i} is not a number"
    return None


def run_first(workload: Workload, options: Options, tell: Callable[[str], None]) -> Line:
    """Times a workload's first unit in new processes, with nothing compiled before."""
    line = Line(workload.number, f"{workload.name}-first", "tagger, the first epoch in a new process")

    def first(contender: Contender) -> list[float]:
        contender.build(workload, options)
        return [contender.ask("measure", units=1)["seconds"]]

    # By hand one would not compile a program per length for a single epoch: no floor here.
    names = [name for name in options.contenders if name != FLOOR]
    run_fresh([line], names, options, first, tell)
    return line


def run_fresh(
    lines: list[Line],
    names: Iterable[str],
    options: Options,
    work: Callable[[Contender], list[float]],
    tell: Callable[[str], None],
    cache: str | None = None,
) -> None:
    """Lets each contender do something in a new process per round.

    Args:
        lines: take the seconds.
        names: the contenders.
        options: of the run.
        work: what to do with a new process; gives the seconds for each line.
        tell: takes what a failing process wrote.
        cache: the directory of compiled programs; a new, empty one per process without.
    """
    names = list(names)
    for i in range(min(options.rounds, FIRST_ROUNDS)):
        for name in names:
            # Inductor takes up to minutes, which one round shows well enough.
            if any(name in line.notes for line in lines) or (i and name == "pytorch-compiled"):
                continue
            with tempfile.TemporaryDirectory() as empty:
                contender = Contender(name, options, cache or empty)
                try:
                    for line, seconds in zip(lines, work(contender), strict=True):
                        line.seconds.setdefault(name, []).append(seconds)
                except (Absent, Failed) as error:
                    if isinstance(error, Failed):
                        tell(contender.errors())
                    for line in lines:
                        line.notes[name] = str(error)
                        if isinstance(error, Failed):
                            line.failed.add(name)
                finally:
                    contender.close()
