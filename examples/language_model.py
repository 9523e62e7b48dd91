"""A small causal transformer learns to write Python, one character after another.

It reads modules of the standard library, is judged by its loss on modules that it never saw, and
writes a few lines of its own at the end.
"""

from __future__ import annotations

import math

import numpy as np
from _report import Stopwatch, plot_curve, require, save
from _source import HELD_OUT, TRAINING, read
from matplotlib.figure import Figure
from tqdm import tqdm

import flambeau as torch
import flambeau.nn.functional as F

STEPS = 500
BATCH = 24
CONTEXT = 64
WIDTH = 96
HEADS = 4
LAYERS = 2
LEARNING_RATE = 4e-3
# By how many nats per character it must do better than a table of character pairs.
MARGIN = 0.2
PROMPT = "    def __init__(self, "
WRITTEN = 240

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
# One character for one step of indentation, or most of what there is to predict would be blanks.
INDENT = "    "
TAB = "\t"


class Text:
    """Characters as numbers, and the way back."""

    def __init__(self, training: str) -> None:
        # What is not printable ASCII is too rare here to be learned, and becomes one character.
        plain = {c for c in training if c == "\n" or (c.isascii() and c.isprintable())}
        self.characters = [UNKNOWN, TAB, *sorted(plain)]
        self.numbers = {c: i for i, c in enumerate(self.characters)}

    def encode(self, text: str) -> np.ndarray:
        """The numbers of a text's characters."""
        text = text.replace(INDENT, TAB)
        return np.array([self.numbers.get(c, 0) for c in text], dtype=np.int64)

    def decode(self, numbers: list[int]) -> str:
        """The text that these numbers stand for."""
        return "".join(self.characters[i] for i in numbers).replace(TAB, INDENT)


class LanguageModel(torch.nn.Module):
    """Characters and their places embedded, then transformer layers that look back only."""

    def __init__(self, characters, context, width, heads, layers):
        super().__init__()
        self.character = torch.nn.Embedding(characters, width)
        self.place = torch.nn.Embedding(context, width)
        layer = torch.nn.TransformerEncoderLayer(
            width,
            heads,
            dim_feedforward=4 * width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = torch.nn.TransformerEncoder(
            layer, layers, norm=torch.nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.scores = torch.nn.Linear(width, characters)
        # Small beginnings: what the layers add must not drown in what the embeddings start from.
        torch.nn.init.normal_(self.character.weight, std=0.1)
        torch.nn.init.normal_(self.place.weight, std=0.1)

    def forward(self, text):
        """Character numbers (N, L); scores for the character after each, (N, L, characters)."""
        length = text.shape[1]
        mask = torch.nn.Transformer.generate_square_subsequent_mask(length)
        x = self.character(text) + self.place(torch.arange(length))
        return self.scores(self.layers(x, mask=mask, is_causal=True))


def cut(text: np.ndarray, starts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Stretches of text beginning at these places, and the same one character later."""
    stretches = text[starts[:, None] + np.arange(CONTEXT + 1)]
    return torch.tensor(stretches[:, :-1]), torch.tensor(stretches[:, 1:])


def loss_of(model: LanguageModel, text: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Mean loss in nats per character."""
    return F.cross_entropy(model(text).flatten(0, 1), following.flatten())


def loss_of_pairs(training: np.ndarray, unseen: np.ndarray, characters: int) -> float:
    """What a table of which character follows which would lose: the mark to beat."""
    counts = np.ones((characters, characters))
    np.add.at(counts, (training[:-1], training[1:]), 1)
    likely = counts / counts.sum(1, keepdims=True)
    return float(-np.log(likely[unseen[:-1], unseen[1:]]).mean())


def write(model: LanguageModel, text: Text, prompt: str, length: int) -> str:
    """Go on from a prompt, drawing each character as likely as the model holds it."""
    numbers = text.encode(prompt).tolist()
    model.eval()
    with torch.no_grad():
        for _ in range(length):
            scores = model(torch.tensor([numbers[-CONTEXT:]]))[0, -1]
            likely = F.softmax(scores / 0.7, dim=-1)
            numbers.append(torch.multinomial(likely, 1).item())
    return text.decode(numbers)


def picture(losses: list[float], held_out: float, pairs: float) -> Figure:
    """The loss curve; across it the loss on text never seen, and the one to beat."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    plot_curve(axes, losses, "training loss")
    axes.axhline(held_out, color="black", linestyle="--", label="held-out loss")
    axes.axhline(pairs, color="gray", linestyle=":", label="held-out loss of character pairs")
    axes.set_ylabel("loss (nats per character)")
    axes.legend()
    return figure


def main() -> None:
    """Train, measure on the held-out modules, write a few lines."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    sources = "".join(read(TRAINING))
    text = Text(sources)
    training = text.encode(sources)
    unseen = text.encode("".join(read(HELD_OUT)))

    model = LanguageModel(len(text.characters), CONTEXT, WIDTH, HEADS, LAYERS)
    print(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    losses = []
    watch = Stopwatch()
    bar = tqdm(range(STEPS), desc="language model", unit="step", mininterval=0.5)
    for step in bar:
        # A short climb, then half a cosine down: the usual schedule for a transformer.
        rate = LEARNING_RATE * min(1, (step + 1) / 30) * (1 + math.cos(math.pi * step / STEPS)) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = random.integers(0, len(training) - CONTEXT, BATCH)
        optimizer.zero_grad()
        loss = loss_of(model, *cut(training, starts))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        watch.count(BATCH)
        if step % 50 == 49:
            bar.set_postfix(loss=f"{loss.item():.3f}", rate=f"{watch.rate():,.0f}/s")
    print(watch.report())

    model.eval()
    starts = np.linspace(0, len(unseen) - CONTEXT - 1, 256, dtype=np.int64)
    with torch.no_grad():
        held_out = loss_of(model, *cut(unseen, starts)).item()
    pairs = loss_of_pairs(training, unseen, len(text.characters))
    print(f"held-out loss: {held_out:.3f} nats per character (character pairs: {pairs:.3f})")
    print("-" * 72)
    print(write(model, text, PROMPT, WRITTEN))
    print("-" * 72)
    save(picture([loss.item() for loss in losses], held_out, pairs), "language_model.png")
    wanted = pairs - MARGIN
    require(held_out <= wanted, f"language model: loss {held_out:.3f}, {wanted:.3f} wanted")


if __name__ == "__main__":
    main()
