"""8: ResNet-18, forward and in training (He et al., "Deep Residual Learning", 2015, table 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.setting import Program, Setting, integers, normal, weight
from benchmarks.workloads import Workload

# Small: with larger steps PyTorch's float32 losses soon leave its own float64 losses by some tenths of a per cent.
LEARNING_RATE = 2e-4
MOMENTUM = 0.9
EPSILON = 1e-5
BATCHES = 2


@dataclass(frozen=True)
class Sizes:
    batch: int = 8
    side: int = 224
    width: int = 64
    classes: int = 1000


@dataclass(frozen=True)
class TrainingSizes(Sizes):
    side: int = 64


def data(sizes: Sizes) -> list[tuple]:
    return [
        (
            normal(f"resnet.x{i}", sizes.batch, 3, sizes.side, sizes.side),
            integers(f"resnet.y{i}", sizes.classes, sizes.batch),
        )
        for i in range(BATCHES)
    ]


def plan(width: int) -> list[tuple[str, int, int, int]]:
    """The blocks: name, channels in and out, stride."""
    blocks = []
    channels = width
    for stage in range(4):
        for i in range(2):
            out = width * 2**stage
            blocks.append((f"layer{stage + 1}.{i}", channels, out, 2 if stage and not i else 1))
            channels = out
    return blocks


def resnet(torch: Any, sizes: Sizes) -> Any:
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels, out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(out)
            self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(out)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if channels != out:
                self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

        def forward(self, x):
            straight = x if self.downsample is None else self.downsample(x)
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.bn2(self.conv2(x))
            x += straight
            return self.relu(x)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, sizes.width, 7, 2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(sizes.width)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, 2, padding=1)
            blocks = [Block(channels, out, stride) for _, channels, out, stride in plan(sizes.width)]
            for stage in range(4):
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks[2 * stage : 2 * stage + 2]))
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(8 * sizes.width, sizes.classes)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(torch.flatten(self.avgpool(x), 1))

    return ResNet()


def forward_program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, resnet(torch, sizes)).eval()
    images = [setting.tensor(torch, x) for x, _ in data(sizes)]

    def step(x):
        with torch.no_grad():
            return model(x)

    return Program(step, lambda step, i: step(images[i % BATCHES]).tolist())


def training_program(torch: Any, setting: Setting) -> Program:
    sizes = TrainingSizes(**setting.sizes)
    model = setting.load(torch, resnet(torch, sizes))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(x, y):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


def floor_weights(setting: Setting, sizes: Sizes) -> dict[str, Any]:
    """Weights for channels last: kernels are turned once, at the start."""
    from benchmarks import floors

    kernels: dict[str, tuple[int, ...]] = {"conv1.weight": (sizes.width, 3, 7, 7)}
    rest = floors.norm_shapes("bn1", sizes.width)
    for name, channels, out, _ in plan(sizes.width):
        kernels[f"{name}.conv1.weight"] = (out, channels, 3, 3)
        kernels[f"{name}.conv2.weight"] = (out, out, 3, 3)
        rest |= floors.norm_shapes(f"{name}.bn1", out) | floors.norm_shapes(f"{name}.bn2", out)
        if channels != out:
            kernels[f"{name}.downsample.0.weight"] = (out, channels, 1, 1)
            rest |= floors.norm_shapes(f"{name}.downsample.1", out)
    rest |= floors.linear_shapes("fc", 8 * sizes.width, sizes.classes)
    turned = {name: weight(name, shape).transpose(2, 3, 1, 0) for name, shape in kernels.items()}
    return setting.weights(rest) | setting.arrays(turned)


def floor_forward(sizes: Sizes, norm: Any) -> Any:
    """``forward(weights, x) -> scores``; ``norm(weights, name, x)`` normalises a batch."""
    import jax
    from jax import lax

    from benchmarks import floors

    def conv(weights, name, x, stride, padding):
        return lax.conv_general_dilated(
            x,
            weights[f"{name}.weight"],
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def forward(weights, x):
        x = jax.nn.relu(norm(weights, "bn1", conv(weights, "conv1", x, 2, 3)))
        lowest = np.array(-np.inf, x.dtype)
        x = lax.reduce_window(x, lowest, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
        for name, channels, out, stride in plan(sizes.width):
            straight = x
            if channels != out:
                straight = conv(weights, f"{name}.downsample.0", x, stride, 0)
                straight = norm(weights, f"{name}.downsample.1", straight)
            x = jax.nn.relu(norm(weights, f"{name}.bn1", conv(weights, f"{name}.conv1", x, stride, 1)))
            x = norm(weights, f"{name}.bn2", conv(weights, f"{name}.conv2", x, 1, 1))
            x = jax.nn.relu(x + straight)
        return floors.linear(weights, "fc", x.mean((1, 2)))

    return forward


def forward_floor(setting: Setting) -> Program:
    import jax

    sizes = Sizes(**setting.sizes)
    weights = floor_weights(setting, sizes)
    images = setting.arrays([x.transpose(0, 2, 3, 1) for x, _ in data(sizes)])

    def norm(weights, name, x):
        # The running statistics of a fresh model: mean 0, variance 1.
        return x * (weights[f"{name}.weight"] * (1 + EPSILON) ** -0.5) + weights[f"{name}.bias"]

    forward = jax.jit(floor_forward(sizes, norm))
    return Program(
        lambda x: forward(weights, x),
        lambda step, i: step(images[i % BATCHES]).tolist(),
    )


def training_floor(setting: Setting) -> Program:
    import jax
    import jax.numpy as jnp
    from jax import lax

    from benchmarks import floors

    sizes = TrainingSizes(**setting.sizes)
    weights = floor_weights(setting, sizes)
    batches = setting.arrays([(x.transpose(0, 2, 3, 1), y) for x, y in data(sizes)])
    names = [name.removesuffix(".weight") for name, w in weights.items() if w.ndim == 1 and name.endswith(".weight")]
    keep = 0.9

    def loss(weights, running, x, y):
        updated = {}

        def norm(weights, name, x):
            wide = x.astype(jnp.float32)
            count = x.size // x.shape[-1]
            mean = wide.mean((0, 1, 2))
            variance = jnp.square(wide - mean).mean((0, 1, 2))
            old_mean, old_variance = running[name]
            unbiased = variance * (count / (count - 1))
            updated[name] = (
                keep * old_mean + (1 - keep) * lax.stop_gradient(mean).astype(x.dtype),
                keep * old_variance + (1 - keep) * lax.stop_gradient(unbiased).astype(x.dtype),
            )
            normed = ((wide - mean) * lax.rsqrt(variance + EPSILON)).astype(x.dtype)
            return normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]

        scores = floor_forward(sizes, norm)(weights, x)
        return floors.cross_entropy(scores, y), updated

    def whole(state, x, y):
        weights, velocity, running = state
        (value, running), grads = jax.value_and_grad(loss, has_aux=True)(weights, running, x, y)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
        weights = jax.tree.map(lambda w, v: w - LEARNING_RATE * v, weights, velocity)
        return value, (weights, velocity, running)

    jitted = jax.jit(whole, donate_argnums=0)
    running = {
        name: (jnp.zeros_like(weights[f"{name}.weight"]), jnp.ones_like(weights[f"{name}.weight"])) for name in names
    }
    held = [(weights, jax.tree.map(jnp.zeros_like, weights), running)]

    def step(x, y):
        loss, held[0] = jitted(held[0], x, y)
        return loss

    return Program(step, lambda step, i: step(*batches[i % BATCHES]))


WORKLOADS = [
    Workload(
        8,
        "resnet-forward",
        "ResNet-18 forward, 8 x 3 x 224 x 224",
        forward_program,
        forward_floor,
        checked=3,
        small={"batch": 2, "side": 32, "width": 4, "classes": 5},
        memory=True,
    ),
    Workload(
        8,
        "resnet-training",
        "ResNet-18, 8 x 3 x 64 x 64, SGD step",
        training_program,
        training_floor,
        checked=6,
        small={"batch": 3, "side": 64, "width": 4, "classes": 5},
        memory=True,
    ),
]
