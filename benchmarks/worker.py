"""One contender's process: builds a workload, then does what it is told, line by line, in JSON.

Each contender has a process of its own, so that thread pools, settings and memory are its own too; the
runner gives them turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

SETTLED_SECONDS = {"cpu": 4.0, "cuda": 1.0}
"""So long must pass without anything new being compiled; for a GPU nothing is compiled in the background."""
SETTLED_UNITS = 16
"""Nor in so many units of work: a choice between two tiers takes a few runs of each, however long they are, and what
is chosen then hands memory back in its first runs until its results lie where they will."""
PATIENCE_SECONDS = 240.0
"""But no longer than this: the many lengths of a growing cache are as many programs."""


def numbers(result: Any) -> list[float]:
    """A tensor, an array or nested lists of numbers as one flat list; waits for them."""
    if hasattr(result, "tolist"):
        result = result.tolist()
    if isinstance(result, list):
        return [number for part in result for number in numbers(part)]
    return [float(result)]


class Worker:
    """Holds a library and a workload's unit of work."""

    def __init__(self, contender: str, workload: str, setting: dict[str, Any], threads: int) -> None:
        from benchmarks.libraries import library
        from benchmarks.setting import Setting
        from benchmarks.workloads import by_name

        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        self.library = library(contender, Setting(**setting), threads)
        self.workload = by_name(workload)
        self.unit: Callable[[int], Any] = self.library.build(self.workload)
        self.done = 0

    def one(self) -> Any:
        result = self.unit(self.done)
        self.done += 1
        return result

    def check(self) -> dict[str, Any]:
        """The results of the first units: half of them before, half after what compiles meanwhile is ready."""
        results = []
        for i in range(self.workload.checked):
            results.append(numbers(self.one()))
            if i == self.workload.checked // 2:
                self.library.wait()
        return {"results": results}

    def settle(self) -> dict[str, Any]:
        """Runs until nothing new is compiled any more; the seconds of one unit then."""
        compiled = self.library.wait()
        began = quiet_since = time.perf_counter()
        fastest = float("inf")
        while True:
            started = time.perf_counter()
            numbers(self.one())
            now = time.perf_counter()
            fastest = min(fastest, now - started)
            quiet = now - quiet_since
            if (
                quiet > max(SETTLED_SECONDS[self.library.setting.device], SETTLED_UNITS * fastest)
                or now - began > PATIENCE_SECONDS
            ):
                before, compiled = compiled, self.library.wait()
                if compiled == before or now - began > PATIENCE_SECONDS:
                    return {"seconds": fastest}
                quiet_since = time.perf_counter()

    def measure(self, units: int) -> dict[str, Any]:
        """Seconds of so many units, until the last one's result is known."""
        started = time.perf_counter()
        for _ in range(units - 1):
            self.one()
        numbers(self.one())
        return {"seconds": time.perf_counter() - started}

    def memory(self) -> dict[str, Any]:
        """Peak bytes of the process and of the device."""
        from benchmarks.libraries import peak_bytes

        return {"peak_bytes": peak_bytes(), "device_bytes": self.library.device_bytes()}


def main() -> None:
    # What the libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers)

    from benchmarks.libraries import Absent

    worker = None
    for line in sys.stdin:
        request = json.loads(line)
        action = request.pop("do")
        try:
            if action == "build":
                worker = Worker(**request)
                answer(import_seconds=worker.library.import_seconds)
            else:
                answer(**getattr(worker, action)(**request))
        except Absent as error:
            answer(absent=str(error))
        except Exception as error:
            traceback.print_exc()
            answer(failed=" ".join(f"{type(error).__name__}: {error}".split())[:300])


if __name__ == "__main__":
    main()
