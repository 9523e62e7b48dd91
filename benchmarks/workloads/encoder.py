"""5: PyTorch's transformer encoder as a classifier of sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers
from benchmarks.workloads import Workload

LEARNING_RATE = 0.01
BATCHES = 2


@dataclass(frozen=True)
class Sizes:
    batch: int = 4
    length: int = 128
    words: int = 1000
    width: int = 256
    heads: int = 4
    layers: int = 4
    classes: int = 10


def data(sizes: Sizes) -> list[tuple]:
    return [
        (
            integers(f"encoder.x{i}", sizes.words, sizes.batch, sizes.length),
            integers(f"encoder.y{i}", sizes.classes, sizes.batch),
        )
        for i in range(BATCHES)
    ]


def classifier(torch: Any, sizes: Sizes) -> Any:
    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.words = torch.nn.Embedding(sizes.words, sizes.width)
            layer = torch.nn.TransformerEncoderLayer(
                sizes.width, sizes.heads, 4 * sizes.width, dropout=0.0, batch_first=True
            )
            self.encoder = torch.nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False)
            self.classes = torch.nn.Linear(sizes.width, sizes.classes)

        def forward(self, words):
            return self.classes(self.encoder(self.words(words)).mean(1))

    return Classifier()


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, classifier(torch, sizes))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(words, labels):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(words), labels)
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


def shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    from benchmarks import floors

    width = sizes.width
    found: dict[str, tuple[int, ...]] = {"words.weight": (sizes.words, width)}
    for i in range(sizes.layers):
        name = f"encoder.layers.{i}"
        found[f"{name}.self_attn.in_proj_weight"] = (3 * width, width)
        found[f"{name}.self_attn.in_proj_bias"] = (3 * width,)
        found |= floors.linear_shapes(f"{name}.self_attn.out_proj", width, width)
        found |= floors.linear_shapes(f"{name}.linear1", width, 4 * width)
        found |= floors.linear_shapes(f"{name}.linear2", 4 * width, width)
        found |= floors.norm_shapes(f"{name}.norm1", width)
        found |= floors.norm_shapes(f"{name}.norm2", width)
    return found | floors.linear_shapes("classes", width, sizes.classes)


def floor(setting: Setting) -> Program:
    import jax
    import jax.numpy as jnp

    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(shapes(sizes))
    batches = setting.arrays(data(sizes))

    def layer(weights, name, x):
        projected = floors.product(x, weights[f"{name}.self_attn.in_proj_weight"])
        projected += weights[f"{name}.self_attn.in_proj_bias"]
        mixed = floors.attention(*jnp.split(projected, 3, -1), heads=sizes.heads)
        x = floors.layer_norm(weights, f"{name}.norm1", x + floors.linear(weights, f"{name}.self_attn.out_proj", mixed))
        hidden = jax.nn.relu(floors.linear(weights, f"{name}.linear1", x))
        return floors.layer_norm(weights, f"{name}.norm2", x + floors.linear(weights, f"{name}.linear2", hidden))

    def loss(weights, words, labels):
        x = weights["words.weight"][words]
        for i in range(sizes.layers):
            x = layer(weights, f"encoder.layers.{i}", x)
        return floors.cross_entropy(floors.linear(weights, "classes", x.mean(1)), labels)

    step = floors.trained(floors.sgd(loss, LEARNING_RATE), weights)
    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


WORKLOADS = [
    Workload(
        5,
        "encoder",
        "transformer encoder, 4 x 256, batch 4 x 128, SGD step",
        program,
        floor,
        checked=8,
        small={"batch": 2, "length": 6, "words": 30, "width": 8, "heads": 2, "layers": 2},
    ),
]
