"""2: the tutorial's LeNet on 32 x 32 images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers, normal, weight
from benchmarks.workloads import Workload

# At larger ones a pixel that is nearly the largest of its window decides, at 0.04 also between PyTorch's float32 losses
# and its float64 losses: they part by half a per cent.
LEARNING_RATE = 0.02
BATCHES = 4
CLASSES = 10


@dataclass(frozen=True)
class Sizes:
    batch: int = 64


def data(sizes: Sizes) -> list[tuple]:
    return [
        (normal(f"lenet.x{i}", sizes.batch, 1, 32, 32), integers(f"lenet.y{i}", CLASSES, sizes.batch))
        for i in range(BATCHES)
    ]


def lenet(torch: Any) -> Any:
    F = torch.nn.functional

    class LeNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 6, 5)
            self.conv2 = torch.nn.Conv2d(6, 16, 5)
            self.fc1 = torch.nn.Linear(16 * 5 * 5, 120)
            self.fc2 = torch.nn.Linear(120, 84)
            self.fc3 = torch.nn.Linear(84, CLASSES)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), 2)
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            x = torch.flatten(x, 1)
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            return self.fc3(x)

    return LeNet()


def program(torch: Any, setting: Setting) -> Program:
    model = setting.load(torch, lenet(torch))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(Sizes(**setting.sizes))]

    def step(x, y):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


def floor(setting: Setting) -> Program:
    import jax
    from jax import lax

    from benchmarks import floors

    # Channels come last, as XLA has it on the CPU; the weights are turned once, at the start.
    flat = weight("fc1.weight", (120, 400)).reshape(120, 16, 5, 5).transpose(0, 2, 3, 1).reshape(120, 400)
    weights = setting.weights(
        {"conv1.bias": (6,), "conv2.bias": (16,), "fc1.bias": (120,)}
        | floors.linear_shapes("fc2", 120, 84)
        | floors.linear_shapes("fc3", 84, CLASSES)
    ) | setting.arrays(
        {
            "conv1.weight": weight("conv1.weight", (6, 1, 5, 5)).transpose(2, 3, 1, 0),
            "conv2.weight": weight("conv2.weight", (16, 6, 5, 5)).transpose(2, 3, 1, 0),
            "fc1.weight": flat,
        }
    )
    batches = setting.arrays([(x.transpose(0, 2, 3, 1), y) for x, y in data(Sizes(**setting.sizes))])

    def block(weights, name, x):
        x = lax.conv_general_dilated(
            x, weights[f"{name}.weight"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + weights[f"{name}.bias"])
        n, height, width, channels = x.shape
        # Windows that do not overlap: a maximum over two new axes, whose gradient is cheap.
        return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))

    def loss(weights, x, y):
        x = block(weights, "conv2", block(weights, "conv1", x))
        x = x.reshape(x.shape[0], -1)
        x = jax.nn.relu(floors.linear(weights, "fc1", x))
        x = jax.nn.relu(floors.linear(weights, "fc2", x))
        return floors.cross_entropy(floors.linear(weights, "fc3", x), y)

    step = floors.trained(floors.sgd(loss, LEARNING_RATE), weights)
    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


WORKLOADS = [
    Workload(2, "lenet", "LeNet 32x32, batch 64, SGD step", program, floor, checked=40, small={"batch": 3}),
]
