"""``python -m benchmarks.scaling``: the time of a GPT's training step against length, width and batch.

Each is doubled four times while the other two stay, and the growth is compared with PyTorch's.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
from pathlib import Path

from benchmarks import report, runner
from benchmarks.__main__ import OUTPUT, add_common, options_of
from benchmarks.setting import Setting
from benchmarks.workloads import by_name
from benchmarks.workloads.gpt import Sizes

DOUBLINGS = 4
BASE = {axis: getattr(Sizes, axis) for axis in ("batch", "length", "width")}
START = {"batch": 1, "length": 64, "width": 96}
"""Where the doubling of each begins; the others are as in the workload meanwhile."""
TURN_SECONDS = 0.1


def points(start: int, doublings: int) -> list[int]:
    """The sizes, each twice the one before."""
    return [start * 2**i for i in range(doublings + 1)]


def growth(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log time against log size, by least squares: 1 is linear, 2 quadratic."""
    x = [math.log(size) for size in sizes]
    y = [math.log(second) for second in seconds]
    middle, level = sum(x) / len(x), sum(y) / len(y)
    return sum((a - middle) * (b - level) for a, b in zip(x, y)) / sum((a - middle) ** 2 for a in x)


def main(words: list[str] | None = None) -> int:
    """Measures, prints and writes; the exit status is 1 if a contender failed."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    found.add_argument("--axes", default="length,width,batch", help="what to double (default: length,width,batch)")
    found.add_argument("--doublings", type=int, default=DOUBLINGS)
    found.add_argument("--rounds", type=int, default=3, help="turns of each contender (default: 3)")
    add_common(found)
    arguments = found.parse_args(words)
    axes = arguments.axes.split(",")
    if unknown := set(axes) - set(BASE):
        found.error(f"there is no axis {unknown.pop()!r}; known: {', '.join(BASE)}")
    try:
        options = options_of(arguments, TURN_SECONDS)
    except ValueError as error:
        found.error(str(error))
    workload = by_name("gpt")
    lines: list[runner.Line] = []

    def tell(text: str) -> None:
        if arguments.verbose:
            print(text, file=sys.stderr)

    print(report.heading(options), flush=True)
    with tempfile.TemporaryDirectory() as cache:
        for axis in axes:
            series = []
            for size in points(START[axis], arguments.doublings):
                sizes = BASE | {axis: size}
                setting = Setting(arguments.device, arguments.dtype, sizes)
                (line,) = runner.run([workload], dataclasses.replace(options, setting=setting), cache, tell)
                line.name = f"gpt-{axis}-{size}"
                line.title = "GPT, 6 layers, " + ", ".join(f"{name} {value}" for name, value in sizes.items())
                print(report.row(line, options), flush=True)
                series.append((size, line))
            lines += [line for _, line in series]
            print(summary(axis, series, options), flush=True)

    path = arguments.json or Path(OUTPUT) / f"scaling-{arguments.device}-{arguments.dtype}.json"
    for text in [*report.absent(lines), *report.write(lines, options, path.parent, path.stem)]:
        print(text)
    return 1 if any(line.failed for line in lines) else 0


def summary(axis: str, series: list[tuple[int, runner.Line]], options: runner.Options) -> str:
    """How each contender's time grows along an axis.

    In all, what a step costs whatever its size makes the growth smaller, and the more so the slower a contender is at
    small sizes; the upper half tells more of what becomes of large ones.
    """
    upper = series[len(series) // 2 :]
    lines = [
        _growths(f"time grows as {axis} to the power of", series, options),
        _growths(f"from {axis} {upper[0][0]} on", upper, options),
    ]
    return "\n".join(lines) + "\n"


def _growths(title: str, series: list[tuple[int, runner.Line]], options: runner.Options) -> str:
    cells = []
    for name in options.contenders:
        known = [(size, line.median(name)) for size, line in series if line.median(name) is not None]
        whole = len(known) == len(series) and len(known) > 1
        cells.append(f"{growth(*map(list, zip(*known))):.2f}" if whole else "-")
    return f"   {title:{report.TITLE_WIDTH - 3}}" + "".join(f"{cell:>10}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
