"""What the examples share: the report at the end of a run, and where pictures go."""

from __future__ import annotations

import time
from pathlib import Path

import matplotlib

# The pictures go to files, so no display is asked for.
matplotlib.use("Agg")

from matplotlib.figure import Figure

from flambeau import engine

OUTPUT = Path(__file__).parent / "output"


class Stopwatch:
    """Counts the examples of a stretch of training and says how fast it went, and on which tier.

    >>> watch = Stopwatch()
    >>> watch.count(32)
    >>> print(watch.report())  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.examples = 0
        self.started = time.perf_counter()
        self.before = _programs_run()

    def count(self, examples: int) -> None:
        """Note that so many more examples have been trained on."""
        self.examples += examples

    def rate(self) -> float:
        """Examples per second since the start."""
        return self.examples / (time.perf_counter() - self.started)

    def report(self) -> str:
        """One line: examples, seconds, examples per second, and the programs run on each tier."""
        seconds = time.perf_counter() - self.started
        tiers = ", ".join(
            f"{count - self.before[tier]:,} on the {tier} tier" for tier, count in _programs_run().items()
        )
        return (
            f"{self.examples:,} examples in {seconds:.1f} s: {self.examples / seconds:,.0f} "
            f"examples per second; programs run: {tiers}"
        )


def _programs_run() -> dict[str, int]:
    """How many recorded programs each tier of the engine has run so far."""
    counters = engine.statistics()
    return {
        "interpreter": counters.get("runs_interpreted", 0),
        "compiled": counters.get("runs_compiled", 0),
    }


def save(figure: Figure, name: str) -> None:
    """Write a picture into the examples' output folder and say where it is."""
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / name
    figure.savefig(path, dpi=120)
    print(f"picture: {path}")


def plot_curve(axes, values: list[float], label: str, smooth: int = 20) -> None:
    """Draw the loss of every step lightly, and its running mean over it."""
    (line,) = axes.plot(values, alpha=0.25, linewidth=0.8)
    window = min(smooth, len(values))
    means = [sum(values[i - window : i]) / window for i in range(window, len(values) + 1)]
    steps = range(window - 1, len(values))
    axes.plot(steps, means, color=line.get_color(), label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)


def require(condition: bool, message: str) -> None:
    """End the program with an error, loudly, where a result falls short of what it promises."""
    if not condition:
        raise SystemExit(f"FAILED: {message}")
