"""``python -m benchmarks.convolutions``: convolutions of every kind, forward and with gradients, beside PyTorch.

Both tiers and PyTorch take turns in one process.  The last column is the time of the faster tier, which is
the one that the engine settles on, by PyTorch's: under 1, Flambeau is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.setting import normal

CONTENDERS = ("interpreter", "compiled", "pytorch")
PAUSE_SECONDS = 0.03
"""Between turns, so that the threads of one contender have gone to sleep when the next begins."""
TURN_SECONDS = 0.05
"""Of each turn, after as long again in which nothing is timed: a program that is made anew is given its memory in
the first runs, page by page."""


@dataclass(frozen=True)
class Kind:
    """One kind of convolution.

    Attributes:
        name: in the words of the table.
        function: its name in ``torch.nn.functional``.
        input, weight: the shapes.
        options: further arguments.
    """

    name: str
    function: str
    input: tuple[int, ...]
    weight: tuple[int, ...]
    options: dict[str, Any]


KINDS = [
    Kind("2-d, 3x3, 64 to 64", "conv2d", (8, 64, 28, 28), (64, 64, 3, 3), {"padding": 1}),
    Kind("2-d, 1x1, 256 to 64", "conv2d", (8, 256, 14, 14), (64, 256, 1, 1), {}),
    Kind("2-d, strided", "conv2d", (8, 64, 28, 28), (128, 64, 3, 3), {"padding": 1, "stride": 2}),
    Kind("2-d, dilated", "conv2d", (8, 32, 28, 28), (32, 32, 3, 3), {"padding": 2, "dilation": 2}),
    Kind("2-d, 8 groups of 128", "conv2d", (4, 128, 28, 28), (128, 16, 3, 3), {"padding": 1, "groups": 8}),
    Kind("depthwise", "conv2d", (8, 64, 28, 28), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
    Kind("depthwise, strided", "conv2d", (8, 64, 28, 28), (64, 1, 3, 3), {"padding": 1, "stride": 2, "groups": 64}),
    Kind("transposed, 4x4, stride 2", "conv_transpose2d", (8, 64, 14, 14), (64, 32, 4, 4), {"stride": 2, "padding": 1}),
    Kind("1-d", "conv1d", (8, 64, 256), (64, 64, 5), {"padding": 2}),
    Kind("3-d", "conv3d", (2, 16, 12, 16, 16), (16, 16, 3, 3, 3), {"padding": 1}),
]


def work(torch: Any, kind: Kind, backward: bool) -> Callable[[], Any]:
    """One convolution, or one with the gradients of input and weight, whose result is known when it returns."""
    x = torch.from_numpy(normal(f"{kind.name}.x", *kind.input)).requires_grad_(backward)
    weight = torch.from_numpy(normal(f"{kind.name}.w", *kind.weight)).requires_grad_(backward)
    function = getattr(torch.nn.functional, kind.function)

    def once() -> Any:
        y = function(x, weight, **kind.options)
        if not backward:
            return y.sum().item()
        x.grad = weight.grad = None
        y.square().sum().backward()
        return x.grad.sum().item() + weight.grad.sum().item()

    return once


def contender(name: str, kind: Kind, backward: bool) -> Callable[[], Any]:
    """A contender's work."""
    if name == "pytorch":
        import torch

        return work(torch, kind, backward)
    import flambeau
    from flambeau import engine

    once = work(flambeau, kind, backward)

    def on_tier() -> Any:
        engine.set_tier(name)
        for _ in range(2):
            once()
        return once

    return on_tier()


def turn(name: str, once: Callable[[], Any]) -> float:
    """Seconds of one run, as the mean of a short turn."""
    if name != "pytorch":
        from flambeau import engine

        # What the tier compiled stays in XLA's cache.
        if engine.get_tier() != name:
            engine.set_tier(name)
            once()
    _mean(once)
    return _mean(once)


def _mean(once: Callable[[], Any]) -> float:
    """Seconds of one run, as the mean of as many as a turn has time for."""
    count, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < TURN_SECONDS or not count:
        once()
        count += 1
    return spent / count


def measured(works: list[tuple[Kind, bool]], rounds: int) -> list[dict[str, float]]:
    """For each kind, forward or with gradients, each contender's median seconds.

    A round takes all kinds: a machine that is slow for some seconds spoils one turn of each, and no median.
    """
    seconds = [{name: [] for name in CONTENDERS} for _ in works]
    ready = [{name: contender(name, kind, backward) for name in CONTENDERS} for kind, backward in works]
    for _ in range(rounds):
        for found, contenders in zip(seconds, ready, strict=True):
            for name, once in contenders.items():
                time.sleep(PAUSE_SECONDS)
                found[name].append(turn(name, once))
    return [{name: statistics.median(turns) for name, turns in found.items()} for found in seconds]


def main(words: list[str] | None = None) -> int:
    """Measures every kind and prints the table."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.convolutions", description=__doc__)
    found.add_argument("--rounds", type=int, default=5, help="turns of each contender (default: 5)")
    found.add_argument("--kinds", default="", help="only kinds whose name contains this")
    arguments = found.parse_args(words)
    print(f"{'milliseconds':28}{'':10}" + "".join(f"{name:>13}" for name in CONTENDERS) + f"{'ratio':>8}")
    works = [(kind, backward) for kind in KINDS if arguments.kinds in kind.name for backward in (False, True)]
    for (kind, backward), took in zip(works, measured(works, arguments.rounds), strict=True):
        best = min(took["interpreter"], took["compiled"])
        figures = "".join(f"{took[name] * 1e3:13.2f}" for name in CONTENDERS)
        print(f"{kind.name:28}{'gradients' if backward else 'forward':10}{figures}{best / took['pytorch']:8.2f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
