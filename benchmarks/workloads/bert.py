"""6: BERT-base, forward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers
from benchmarks.workloads import Workload

EPSILON = 1e-12
BATCHES = 2


@dataclass(frozen=True)
class Sizes:
    batch: int = 1
    length: int = 128
    words: int = 30522
    places: int = 512
    width: int = 768
    heads: int = 12
    layers: int = 12


def data(sizes: Sizes) -> list[tuple]:
    return [(integers(f"bert.x{i}", sizes.words, sizes.batch, sizes.length),) for i in range(BATCHES)]


def bert(torch: Any, sizes: Sizes) -> Any:
    nn = torch.nn
    F = nn.functional

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.query = nn.Linear(sizes.width, sizes.width)
            self.key = nn.Linear(sizes.width, sizes.width)
            self.value = nn.Linear(sizes.width, sizes.width)
            self.out = nn.Linear(sizes.width, sizes.width)
            self.norm1 = nn.LayerNorm(sizes.width, eps=EPSILON)
            self.linear1 = nn.Linear(sizes.width, 4 * sizes.width)
            self.linear2 = nn.Linear(4 * sizes.width, sizes.width)
            self.norm2 = nn.LayerNorm(sizes.width, eps=EPSILON)

        def split(self, x):
            n, length, _ = x.shape
            return x.view(n, length, sizes.heads, -1).transpose(1, 2)

        def forward(self, x):
            mixed = F.scaled_dot_product_attention(
                self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
            )
            x = self.norm1(x + self.out(mixed.transpose(1, 2).flatten(2)))
            return self.norm2(x + self.linear2(F.gelu(self.linear1(x))))

    class Bert(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(sizes.words, sizes.width)
            self.places = nn.Embedding(sizes.places, sizes.width)
            self.segments = nn.Embedding(2, sizes.width)
            self.norm = nn.LayerNorm(sizes.width, eps=EPSILON)
            self.layers = nn.ModuleList([Layer() for _ in range(sizes.layers)])
            self.pooler = nn.Linear(sizes.width, sizes.width)

        def forward(self, words):
            places = torch.arange(words.shape[1], device=words.device)
            segments = torch.zeros_like(words)
            x = self.norm(self.words(words) + self.places(places) + self.segments(segments))
            for layer in self.layers:
                x = layer(x)
            return torch.tanh(self.pooler(x[:, 0]))

    return Bert()


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, bert(torch, sizes)).eval()
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(words):
        with torch.no_grad():
            return model(words)

    return Program(step, lambda step, i: step(*batches[i % BATCHES]).tolist())


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    from benchmarks import floors

    width = sizes.width
    found: dict[str, tuple[int, ...]] = {
        "words.weight": (sizes.words, width),
        "places.weight": (sizes.places, width),
        "segments.weight": (2, width),
    }
    found |= floors.norm_shapes("norm", width)
    for i in range(sizes.layers):
        name = f"layers.{i}"
        for part in ("query", "key", "value", "out"):
            found |= floors.linear_shapes(f"{name}.{part}", width, width)
        found |= floors.norm_shapes(f"{name}.norm1", width)
        found |= floors.linear_shapes(f"{name}.linear1", width, 4 * width)
        found |= floors.linear_shapes(f"{name}.linear2", 4 * width, width)
        found |= floors.norm_shapes(f"{name}.norm2", width)
    return found | floors.linear_shapes("pooler", width, width)


def floor(setting: Setting) -> Program:
    import jax
    import jax.numpy as jnp

    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(shapes(sizes))
    batches = setting.arrays(data(sizes))

    def layer(weights, name, x):
        query, key, value = (floors.linear(weights, f"{name}.{part}", x) for part in ("query", "key", "value"))
        mixed = floors.linear(weights, f"{name}.out", floors.attention(query, key, value, sizes.heads))
        x = floors.layer_norm(weights, f"{name}.norm1", x + mixed, EPSILON)
        hidden = jax.nn.gelu(floors.linear(weights, f"{name}.linear1", x), approximate=False)
        hidden = floors.linear(weights, f"{name}.linear2", hidden)
        return floors.layer_norm(weights, f"{name}.norm2", x + hidden, EPSILON)

    @jax.jit
    def forward(weights, words):
        places = weights["places.weight"][: words.shape[1]]
        x = weights["words.weight"][words] + places + weights["segments.weight"][0]
        x = floors.layer_norm(weights, "norm", x, EPSILON)
        for i in range(sizes.layers):
            x = layer(weights, f"layers.{i}", x)
        return jnp.tanh(floors.linear(weights, "pooler", x[:, 0]))

    return Program(
        lambda words: forward(weights, words),
        lambda step, i: step(*batches[i % BATCHES]).tolist(),
    )


WORKLOADS = [
    Workload(
        6,
        "bert",
        "BERT-base forward, 1 x 128",
        program,
        floor,
        checked=6,
        small={"length": 5, "words": 30, "places": 8, "width": 8, "heads": 2, "layers": 2},
        memory=True,
    ),
]
