"""LeNet reads handwritten digits.

The 1,797 digits that scikit-learn ships (8x8 pixels) are enlarged to the 36x36 that this LeNet
wants; a fifth of them is held out and must be read with 98 % accuracy.
"""

from __future__ import annotations

import numpy as np
from _report import Stopwatch, plot_curve, require, save
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_digits
from tqdm import tqdm

import flambeau as torch
import flambeau.functional as F

EPOCHS = 16
BATCH = 32
LEARNING_RATE = 2e-3
SIDE = 36
# How many pixels a training image may be shifted by, in each direction.
SHIFT = 4
WANTED = 0.98


class LeNet(torch.nn.Module):
    """Two convolutions with pooling, then three linear layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 6, 5)
        self.conv2 = torch.nn.Conv2d(6, 16, 5)
        self.fc1 = torch.nn.Linear(16 * 6 * 6, 120)
        self.fc2 = torch.nn.Linear(120, 84)
        self.fc3 = torch.nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.flatten(1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def enlarge(images: np.ndarray, side: int) -> np.ndarray:
    """Scale (N, h, h) images to (N, side, side), linearly between the pixels' centres."""
    pixels = np.arange(images.shape[1])
    places = np.linspace(0, len(pixels) - 1, side)
    weights = np.stack([np.interp(places, pixels, one) for one in np.eye(len(pixels))], axis=1)
    return weights @ images @ weights.T


def load() -> tuple[np.ndarray, np.ndarray]:
    """All digits as (N, 36, 36) images with values from -1 (paper) to 1 (ink), and their labels."""
    data = load_digits()
    return enlarge(data.images / 8 - 1, SIDE).astype(np.float32), data.target


class Shifted:
    """Images shifted at random, a fresh way each time they are asked for.

    A thousand digits are few: without this the network knows them by heart before it reads well.
    """

    def __init__(self, images: np.ndarray, shift: int, seed: int) -> None:
        margins = ((0, 0), (shift, shift), (shift, shift))
        padded = np.pad(images, margins, constant_values=-1)
        self.windows = sliding_window_view(padded, images.shape[1:], axis=(1, 2))
        self.random = np.random.default_rng(seed)

    def __getitem__(self, which: torch.Tensor) -> torch.Tensor:
        """The images of these numbers, (N, 1, 36, 36)."""
        places = self.random.integers(0, self.windows.shape[1], (2, len(which)))
        return torch.from_numpy(self.windows[which.numpy(), *places]).unsqueeze(1)


def picture(losses: list[float], images, labels, predicted) -> Figure:
    """The loss curve, and held-out digits with what the network read, its mistakes first."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    plot_curve(axes, losses, "training loss")
    axes.legend()
    order = np.argsort(labels == predicted, kind="stable")
    for axes, i in zip(right.subplots(4, 8).flat, order, strict=False):
        axes.imshow(images[i, 0], cmap="gray")
        axes.set_title(str(predicted[i]), color="green" if labels[i] == predicted[i] else "red", fontsize=10)
        axes.axis("off")
    return figure


def main() -> None:
    """Train, read the held-out digits, draw the picture."""
    torch.manual_seed(0)
    pixels, target = load()
    images = torch.from_numpy(pixels).unsqueeze(1)
    labels = torch.from_numpy(target)
    shifted = Shifted(pixels, SHIFT, seed=0)
    order = torch.randperm(len(images))
    held_out, training = order[: len(order) // 5], order[len(order) // 5 :]

    model = LeNet()
    print(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    losses = []
    watch = Stopwatch()
    bar = tqdm(range(EPOCHS), desc="digits", unit="epoch")
    for epoch in bar:
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - epoch / EPOCHS)
        order = training[torch.randperm(len(training))]
        for batch in order.split(BATCH):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(shifted[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            watch.count(len(batch))
        bar.set_postfix(loss=f"{losses[-1].item():.3f}", rate=f"{watch.rate():,.0f}/s")
    print(watch.report())

    model.eval()
    with torch.no_grad():
        predicted = model(images[held_out]).argmax(1)
    accuracy = (predicted == labels[held_out]).float().mean().item()
    print(f"held-out accuracy: {accuracy:.2%} of {len(held_out)} digits")
    save(
        picture(
            [loss.item() for loss in losses],
            images[held_out].numpy(),
            labels[held_out].numpy(),
            predicted.numpy(),
        ),
        "digits.png",
    )
    require(accuracy >= WANTED, f"digits: {accuracy:.2%} accuracy, {WANTED:.0%} wanted")


if __name__ == "__main__":
    main()
