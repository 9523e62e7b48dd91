"""7: a GPT learns; its model serves generation too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers
from benchmarks.workloads import Workload

LEARNING_RATE = 1e-3
DECAY = 0.1
BATCHES = 2


@dataclass(frozen=True)
class Sizes:
    batch: int = 4
    length: int = 256
    words: int = 65
    width: int = 384
    heads: int = 6
    layers: int = 6


def data(sizes: Sizes) -> list[tuple]:
    texts = [integers(f"gpt.x{i}", sizes.words, sizes.batch, sizes.length + 1) for i in range(BATCHES)]
    return [(text[:, :-1].copy(), text[:, 1:].copy()) for text in texts]


def gpt(torch: Any, sizes: Sizes) -> Any:
    nn = torch.nn
    F = nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(sizes.width)
            self.project = nn.Linear(sizes.width, 3 * sizes.width)
            self.out = nn.Linear(sizes.width, sizes.width)
            self.norm2 = nn.LayerNorm(sizes.width)
            self.linear1 = nn.Linear(sizes.width, 4 * sizes.width)
            self.linear2 = nn.Linear(4 * sizes.width, sizes.width)

        def split(self, x):
            n, length, _ = x.shape
            return x.view(n, length, sizes.heads, -1).transpose(1, 2)

        def forward(self, x, cache=None):
            query, key, value = (self.split(part) for part in self.project(self.norm1(x)).chunk(3, dim=-1))
            if cache is not None:
                key = torch.cat([cache[0], key], dim=2)
                value = torch.cat([cache[1], value], dim=2)
            # What is generated word by word looks at all that is in the cache.
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=cache is None)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            return x + self.linear2(F.gelu(self.linear1(self.norm2(x)))), (key, value)

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(sizes.words, sizes.width)
            self.places = nn.Embedding(sizes.length, sizes.width)
            self.blocks = nn.ModuleList([Block() for _ in range(sizes.layers)])
            self.norm = nn.LayerNorm(sizes.width)
            self.scores = nn.Linear(sizes.width, sizes.words)

        def forward(self, words, caches=None):
            past = 0 if caches is None else caches[0][0].shape[2]
            places = torch.arange(past, past + words.shape[1], device=words.device)
            x = self.words(words) + self.places(places)
            kept = []
            for i, block in enumerate(self.blocks):
                x, cache = block(x, None if caches is None else caches[i])
                kept.append(cache)
            return self.scores(self.norm(x)), kept

    return GPT()


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, gpt(torch, sizes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=DECAY)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(words, following):
        optimizer.zero_grad()
        scores, _ = model(words)
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), following.flatten())
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    from benchmarks import floors

    width = sizes.width
    found: dict[str, tuple[int, ...]] = {"words.weight": (sizes.words, width), "places.weight": (sizes.length, width)}
    for i in range(sizes.layers):
        name = f"blocks.{i}"
        found |= floors.norm_shapes(f"{name}.norm1", width)
        found |= floors.linear_shapes(f"{name}.project", width, 3 * width)
        found |= floors.linear_shapes(f"{name}.out", width, width)
        found |= floors.norm_shapes(f"{name}.norm2", width)
        found |= floors.linear_shapes(f"{name}.linear1", width, 4 * width)
        found |= floors.linear_shapes(f"{name}.linear2", 4 * width, width)
    return found | floors.norm_shapes("norm", width) | floors.linear_shapes("scores", width, sizes.words)


def feed_forward(weights: dict[str, Any], name: str, x: Any) -> Any:
    """The second half of a block, in JAX."""
    import jax

    from benchmarks import floors

    hidden = floors.linear(weights, f"{name}.linear1", floors.layer_norm(weights, f"{name}.norm2", x))
    return x + floors.linear(weights, f"{name}.linear2", jax.nn.gelu(hidden, approximate=False))


def floor(setting: Setting) -> Program:
    import jax.numpy as jnp

    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(shapes(sizes))
    batches = setting.arrays(data(sizes))

    def loss(weights, words, following):
        x = weights["words.weight"][words] + weights["places.weight"][: words.shape[1]]
        for i in range(sizes.layers):
            name = f"blocks.{i}"
            projected = floors.linear(weights, f"{name}.project", floors.layer_norm(weights, f"{name}.norm1", x))
            mixed = floors.attention(*jnp.split(projected, 3, -1), heads=sizes.heads, causal=True)
            x = feed_forward(weights, name, x + floors.linear(weights, f"{name}.out", mixed))
        scores = floors.linear(weights, "scores", floors.layer_norm(weights, "norm", x))
        return floors.cross_entropy(scores, following)

    step = floors.trained(floors.adam(loss, LEARNING_RATE, DECAY), weights)
    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


SMALL = {"batch": 2, "length": 6, "words": 20, "width": 8, "heads": 2, "layers": 2}

WORKLOADS = [
    Workload(
        7,
        "gpt",
        "GPT, 6 x 384, batch 4 x 256, AdamW step",
        program,
        floor,
        checked=6,
        small=SMALL,
        memory=True,
    ),
]
