"""1: a perceptron with one hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers, normal
from benchmarks.workloads import Workload

LEARNING_RATE = 0.05
BATCHES = 4


@dataclass(frozen=True)
class Sizes:
    batch: int = 64
    inputs: int = 100
    hidden: int = 200
    classes: int = 10


def data(sizes: Sizes) -> list[tuple]:
    return [
        (normal(f"mlp.x{i}", sizes.batch, sizes.inputs), integers(f"mlp.y{i}", sizes.classes, sizes.batch))
        for i in range(BATCHES)
    ]


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = torch.nn.Sequential(
        torch.nn.Linear(sizes.inputs, sizes.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(sizes.hidden, sizes.classes),
    )
    setting.load(torch, model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(x, y):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


def floor(setting: Setting) -> Program:
    import jax

    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(
        floors.linear_shapes("0", sizes.inputs, sizes.hidden) | floors.linear_shapes("2", sizes.hidden, sizes.classes)
    )
    batches = setting.arrays(data(sizes))

    def loss(weights, x, y):
        hidden = jax.nn.relu(floors.linear(weights, "0", x))
        return floors.cross_entropy(floors.linear(weights, "2", hidden), y)

    step = floors.trained(floors.sgd(loss, LEARNING_RATE), weights)
    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


WORKLOADS = [
    Workload(1, "mlp", "MLP 100-200-10, batch 64, SGD step", program, floor, checked=100, small={"hidden": 20}),
]
