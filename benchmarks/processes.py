"""10: whole processes, from the start of Python to the end of the work."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.libraries import environment
from benchmarks.runner import ROOT, Contender, Line, Options, run_fresh
from benchmarks.workloads import by_name

NUMBER = 10
MODULES = {"flambeau": "flambeau", "pytorch": "torch", "jax": "jax"}
TUTORIAL = Path(__file__).with_name("tutorial.py")
COLD_STEPS = 100

IMPORT = """
import time
started = time.perf_counter()
import {module}
print(time.perf_counter() - started)
"""


def run(options: Options, tell: Callable[[str], None]) -> list[Line]:
    """The lines of workload 10."""
    return [import_time(options), tutorial(options), *cold_start(options, tell)]


def import_time(options: Options) -> Line:
    """Seconds of the import statement."""
    line = Line(NUMBER, "import", "import")

    def importing(name: str, cache: str) -> float:
        return float(python(["-c", IMPORT.format(module=MODULES[name])], options, cache))

    return interleaved(line, ["flambeau", "pytorch", "jax"], options, importing)


def tutorial(options: Options) -> Line:
    """Seconds of the tutorial's script as a process."""
    line = Line(NUMBER, "tutorial", "the tutorial's script, whole process")

    def whole(name: str, cache: str) -> float:
        started = time.perf_counter()
        python([str(TUTORIAL), MODULES[name]], options, cache)
        return time.perf_counter() - started

    return interleaved(line, ["flambeau", "pytorch"], options, whole)


def python(arguments: list[str], options: Options, cache: str) -> str:
    """What a new Python prints.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    env = environment(options.threads, cache)
    env["PYTHONPATH"] = str(ROOT)
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=True)
    return done.stdout


def interleaved(line: Line, names: list[str], options: Options, work: Callable[[str, str], float]) -> Line:
    """Runs commands in turns; the first round only fills the system's file cache."""
    for round_ in range(options.rounds + 1):
        for name in names:
            if name not in options.contenders or name in line.notes:
                continue
            with tempfile.TemporaryDirectory() as cache:
                try:
                    seconds = work(name, cache)
                except subprocess.CalledProcessError as error:
                    words = error.stderr.strip().splitlines()
                    line.notes[name] = words[-1] if words else f"status {error.returncode}"
                    if f"No module named '{MODULES[name]}'" not in line.notes[name]:
                        line.failed.add(name)
                    continue
            if round_:
                line.seconds.setdefault(name, []).append(seconds)
    return line


def cold_start(options: Options, tell: Callable[[str], None]) -> list[Line]:
    """Workload 2 from the start of the process: to the first loss and to a later one, caches empty and filled."""
    workload = by_name("lenet")
    first = Line(NUMBER, "cold-first", "LeNet, process start to first loss")
    later = Line(NUMBER, "cold-later", f"LeNet, process start to loss {COLD_STEPS}")
    again = Line(NUMBER, "cold-again", f"LeNet, the same, caches filled, to loss {COLD_STEPS}")

    def start(contender: Contender) -> list[float]:
        contender.build(workload, options)
        contender.ask("measure", units=1)
        to_first = time.perf_counter() - contender.started
        contender.ask("measure", units=COLD_STEPS - 1)
        return [to_first, time.perf_counter() - contender.started]

    def fill(contender: Contender) -> list[float]:
        contender.build(workload, options)
        # What compiles in the background must be ready to be kept.
        contender.ask("settle")
        return []

    run_fresh([first, later], options.contenders, options, start, tell)
    with tempfile.TemporaryDirectory() as cache:
        once = dataclasses.replace(options, rounds=1)
        run_fresh([], [name for name in options.contenders if name not in first.notes], once, fill, tell, cache)
        run_fresh([again], options.contenders, options, lambda contender: start(contender)[1:], tell, cache)
    return [first, later, again]
