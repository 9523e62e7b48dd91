"""``python -m benchmarks.recurrent``: ``nn.Recurrent`` around a cell beside the built-in layer of the same size.

Both take turns on the same input, plainly and under ``compile``; what is reported is the lower quartile of each.
Beside the layer-normalized LSTM, which PyTorch lacks, stands the same written by hand in JAX.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import Any

import flambeau as torch
from flambeau.engine import set_tier

BATCH, INPUTS, HIDDEN = 16, 64, 128
NORMALIZED = "LayerNormLSTMCell"
BY_HAND = f"{NORMALIZED} in JAX, by hand"


def layers() -> dict[str, Callable[[], Any]]:
    """What takes part; the first of a kind is the measure for those after it."""
    nn = torch.nn
    return {
        "nn.LSTM": lambda: nn.LSTM(INPUTS, HIDDEN),
        "Recurrent(LSTMCell)": lambda: nn.Recurrent(nn.LSTMCell(INPUTS, HIDDEN)),
        "Recurrent(LayerNormLSTMCell)": lambda: nn.Recurrent(nn.LayerNormLSTMCell(INPUTS, HIDDEN)),
        "nn.GRU": lambda: nn.GRU(INPUTS, HIDDEN),
        "Recurrent(GRUCell)": lambda: nn.Recurrent(nn.GRUCell(INPUTS, HIDDEN)),
        "nn.RNN": lambda: nn.RNN(INPUTS, HIDDEN),
        "Recurrent(RNNCell)": lambda: nn.Recurrent(nn.RNNCell(INPUTS, HIDDEN)),
    }


def forward_of(layer: Any, x: Any) -> Callable[[], Any]:
    """A forward pass without gradients."""

    def forward() -> Any:
        with torch.no_grad():
            return layer(x)[0].sum()

    return forward


def step_of(layer: Any, x: Any) -> Callable[[], Any]:
    """A training step: forward, backward and SGD."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)

    def step() -> Any:
        optimizer.zero_grad()
        loss = (layer(x)[0] ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def by_hand(x: Any) -> dict[str, Callable[[], Any]]:
    """The layer-normalized LSTM as a scan in JAX: a run for each of the compiled columns."""
    import jax
    import jax.numpy as jnp

    from benchmarks import floors

    cell = torch.nn.LayerNormLSTMCell(INPUTS, HIDDEN)
    weights = {name: jnp.asarray(value.numpy()) for name, value in cell.state_dict().items()}
    given = jnp.asarray(x.numpy())

    def outputs(weights: Any, given: Any) -> Any:
        gates = floors.layer_norm(weights, "norm_ih", given @ weights["weight_ih"].T)
        # Turned outside of the scan, which would turn it at every step.
        recurrent = weights["weight_hh"].T

        def step(carry: Any, gate: Any) -> Any:
            hidden, memory = carry
            i, f, g, o = jnp.split(gate + floors.layer_norm(weights, "norm_hh", hidden @ recurrent), 4, -1)
            memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(floors.layer_norm(weights, "norm_cell", memory))
            return (hidden, memory), hidden

        start = jnp.zeros((BATCH, HIDDEN), jnp.float32)
        return jax.lax.scan(step, (start, start), gates)[1]

    forward = jax.jit(lambda weights, given: outputs(weights, given).sum())
    # A step takes over the memory of the weights that it is given.
    own = {name: jnp.array(value) for name, value in weights.items()}
    step = floors.trained(floors.sgd(lambda w, given: (outputs(w, given) ** 2).mean(), 0.01), own)
    return {"forward, compile": lambda: forward(weights, given), "step, compile": lambda: step(given)}


def in_turns(runs: dict[str, Callable[[], Any]], warm_up: int, rounds: int) -> dict[str, float]:
    """Milliseconds of each, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        # What is compiled meanwhile is then tried.
        for _ in range(2):
            for _ in range(warm_up):
                run().item()
            torch.engine.synchronize()
    for _ in range(rounds):
        for name, run in runs.items():
            # The first after another layer finds a cold cache.
            run().item()
            for _ in range(3):
                started = perf_counter()
                run().item()
                times[name].append(1e3 * (perf_counter() - started))
    return {name: sorted(measured)[len(measured) // 4] for name, measured in times.items()}


def report(steps: int, wanted: str, warm_up: int, rounds: int) -> None:
    """One table for one length of sequence."""
    makers = {name: make for name, make in layers().items() if not wanted or wanted in name}
    x = torch.randn(steps, BATCH, INPUTS)
    hand = by_hand(x) if f"Recurrent({NORMALIZED})" in makers else {}
    columns = {}
    for title, way, captured in [
        ("forward", forward_of, False),
        ("forward, compile", forward_of, True),
        ("step", step_of, False),
        ("step, compile", step_of, True),
    ]:
        runs = {}
        for name, make in makers.items():
            run = way(make(), x)
            runs[name] = torch.compile(run) if captured else run
        if title in hand:
            runs[BY_HAND] = hand[title]
        columns[title] = in_turns(runs, warm_up, rounds)
    print(f"T {steps}, N {BATCH}, {INPUTS} to {HIDDEN}: milliseconds, and times the built-in layer's")
    print(f"{'':30}" + "".join(f"{title:>22}" for title in columns))
    measure = ""
    names = [name for maker in makers for name in ([maker, BY_HAND] if NORMALIZED in maker else [maker])]
    for name in names:
        measure = name if name.startswith("nn.") else measure
        cells = [
            f"{c[name]:.2f} ({c[name] / c.get(measure, c[name]):.2f})" if name in c else "-" for c in columns.values()
        ]
        print(f"{name:30}" + "".join(f"{cell:>22}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrent", description=__doc__)
    parser.add_argument("--steps", default="32,128", help="lengths of the sequences (default: %(default)s)")
    parser.add_argument("--tier", default="auto", choices=("auto", "interpreter", "compiled"))
    parser.add_argument("--only", default="", metavar="WORD", help="layers whose names have this")
    parser.add_argument("--warm-up", type=int, default=60, help="half the runs before measuring (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each (default: %(default)s)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    set_tier(arguments.tier)
    for steps in arguments.steps.split(","):
        report(int(steps), arguments.only, arguments.warm_up, arguments.rounds)


if __name__ == "__main__":
    main()
