"""``python -m benchmarks``: Flambeau and PyTorch on the same programs, weights and data, in turns."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import processes, report, runner
from benchmarks.libraries import CONTENDERS
from benchmarks.setting import Setting
from benchmarks.workloads import Workload, all_workloads

OUTPUT = Path(__file__).with_name("output")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    found.add_argument("--workloads", metavar="1,2,...", help="numbers or names, separated by commas (default: all)")
    found.add_argument("--rounds", type=int, default=7, help="turns of each contender (default: 7)")
    add_common(found)
    return found


def add_common(found: argparse.ArgumentParser) -> None:
    """The options that the scaling study has too."""
    found.add_argument("--threads", type=int, default=cores(), help="threads of each library (default: all cores)")
    found.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    found.add_argument("--dtype", choices=tuple(runner.TOLERANCE), default="float32")
    found.add_argument("--no-inductor", action="store_true", help="leave compiled PyTorch out: it is slow to build")
    found.add_argument(
        "--contenders", metavar="NAME,...", default=",".join(CONTENDERS), help="who takes part (default: %(default)s)"
    )
    found.add_argument("--json", type=Path, metavar="FILE", help=f"where to write (default: in {OUTPUT})")
    found.add_argument("--verbose", action="store_true", help="show what failing contenders wrote")


def options_of(arguments: argparse.Namespace, turn_seconds: float = runner.TURN_SECONDS) -> runner.Options:
    """What the command line asks for.

    Raises:
        ValueError: for a contender that does not exist.
    """
    wanted = set(arguments.contenders.split(","))
    if unknown := wanted - set(CONTENDERS):
        raise ValueError(f"there is no contender {unknown.pop()!r}; known: {', '.join(CONTENDERS)}")
    if arguments.no_inductor:
        wanted.discard("pytorch-compiled")
    return runner.Options(
        contenders=tuple(name for name in CONTENDERS if name in wanted),
        rounds=arguments.rounds,
        threads=arguments.threads,
        setting=Setting(arguments.device, arguments.dtype),
        turn_seconds=turn_seconds,
    )


def selected(words: str | None) -> tuple[list[Workload], bool]:
    """The workloads that were asked for, and whether whole processes were.

    Raises:
        ValueError: for a word that is neither a number nor a name of one.
    """
    workloads = all_workloads()
    if words is None:
        return workloads, True
    wanted = [word.strip() for word in words.split(",")]
    known = {name for workload in workloads for name in (str(workload.number), workload.name)} | {"10", "processes"}
    for word in wanted:
        if word not in known:
            raise ValueError(f"there is no workload {word!r}; known: {', '.join(sorted(known))}")
    chosen = [workload for workload in workloads if str(workload.number) in wanted or workload.name in wanted]
    return chosen, "10" in wanted or "processes" in wanted


def main(words: list[str] | None = None) -> int:
    """Measures, prints and writes; the exit status is 1 if a contender failed or computed something else."""
    found = parser()
    arguments = found.parse_args(words)
    try:
        workloads, whole = selected(arguments.workloads)
        options = options_of(arguments)
    except ValueError as error:
        found.error(str(error))
    lines: list[runner.Line] = []

    def tell(text: str) -> None:
        if arguments.verbose:
            print(text, file=sys.stderr)

    def add(line: runner.Line) -> None:
        lines.append(line)
        print(report.row(line, options), flush=True)

    print(report.heading(options), flush=True)
    with tempfile.TemporaryDirectory() as cache:
        for workload in workloads:
            if workload.first:
                add(runner.run_first(workload, options, tell))
        for line in runner.run(workloads, options, cache, tell):
            add(line)
    if whole:
        for line in processes.run(options, tell):
            add(line)

    for text in ("", report.memory(lines, {w.name for w in workloads if w.memory}, options), *report.absent(lines)):
        print(text)
    path = arguments.json or OUTPUT / f"{options.setting.device}-{options.setting.dtype}.json"
    for text in report.write(lines, options, path.parent, path.stem):
        print(text)
    return 1 if any(line.failed for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
