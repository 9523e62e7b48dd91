"""3: an LSTM that tags batches of sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers
from benchmarks.workloads import Workload

LEARNING_RATE = 1e-3
BATCHES = 4


@dataclass(frozen=True)
class Sizes:
    length: int = 32
    batch: int = 16
    words: int = 1000
    tags: int = 20
    embedding: int = 64
    hidden: int = 128


def data(sizes: Sizes) -> list[tuple]:
    return [
        (
            integers(f"lstm.x{i}", sizes.words, sizes.length, sizes.batch),
            integers(f"lstm.y{i}", sizes.tags, sizes.length, sizes.batch),
        )
        for i in range(BATCHES)
    ]


def tagger(torch: Any, sizes: Sizes) -> Any:
    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(sizes.words, sizes.embedding)
            self.lstm = torch.nn.LSTM(sizes.embedding, sizes.hidden)
            self.tags = torch.nn.Linear(sizes.hidden, sizes.tags)

        def forward(self, words):
            out, _ = self.lstm(self.embedding(words))
            return self.tags(out)

    return Tagger()


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, tagger(torch, sizes))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(words, tags):
        optimizer.zero_grad()
        scores = model(words)
        loss = torch.nn.functional.cross_entropy(scores.view(-1, sizes.tags), tags.view(-1))
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


def lstm_shapes(name: str, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights of an LSTM of one layer."""
    return {
        f"{name}.weight_ih_l0": (4 * hidden, inputs),
        f"{name}.weight_hh_l0": (4 * hidden, hidden),
        f"{name}.bias_ih_l0": (4 * hidden,),
        f"{name}.bias_hh_l0": (4 * hidden,),
    }


def lstm(weights: dict[str, Any], name: str, x: Any) -> Any:
    """The hidden states of an LSTM over (L, N, C): the inputs' share of the gates in one product, then a scan."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    recurrent = weights[f"{name}.weight_hh_l0"]
    biases = weights[f"{name}.bias_ih_l0"] + weights[f"{name}.bias_hh_l0"]
    gates = x @ weights[f"{name}.weight_ih_l0"].T + biases
    start = jnp.zeros((x.shape[1], recurrent.shape[1]), x.dtype)

    def cell(carry, gate):
        hidden, memory = carry
        i, f, g, o = jnp.split(gate + hidden @ recurrent.T, 4, -1)
        memory = jax.nn.sigmoid(f) * memory + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(memory)
        return (hidden, memory), hidden

    return lax.scan(cell, (start, start), gates)[1]


def floor(setting: Setting) -> Program:
    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(
        {"embedding.weight": (sizes.words, sizes.embedding)}
        | lstm_shapes("lstm", sizes.embedding, sizes.hidden)
        | floors.linear_shapes("tags", sizes.hidden, sizes.tags)
    )
    batches = setting.arrays(data(sizes))

    def loss(weights, words, tags):
        out = lstm(weights, "lstm", weights["embedding.weight"][words])
        return floors.cross_entropy(floors.linear(weights, "tags", out), tags)

    step = floors.trained(floors.adam(loss, LEARNING_RATE), weights)
    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


WORKLOADS = [
    Workload(
        3,
        "lstm",
        "LSTM tagger, 32 x 16, Adam step",
        program,
        floor,
        checked=30,
        small={"length": 4, "batch": 3, "words": 30, "tags": 5, "embedding": 6, "hidden": 8},
    ),
]
