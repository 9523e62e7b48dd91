"""An LSTM reads lines of Python and tells the role of each word in them.

Lines of the standard library are the sentences, `ast` and `tokenize` say what the roles are, and
on modules that training never sees 95 % of the words must get the right one.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from _report import Stopwatch, plot_curve, require, save
from _roles import ROLES, Sentence, sentences, shape
from _source import HELD_OUT, TRAINING, read
from matplotlib.figure import Figure
from tqdm import tqdm

import flambeau as torch
import flambeau.nn.functional as F

EPOCHS = 1
BATCH = 64
EMBEDDING = 48
HIDDEN = 64
LEARNING_RATE = 5e-3
# Longer lines are rare, mostly tables, and teach little.
LONGEST = 40
# A word that training has seen less often than this is known by its shape alone.
SEEN = 10
END = "<end>"
WANTED = 0.95

Batch = tuple[torch.Tensor, torch.Tensor]


class LSTMTagger(torch.nn.Module):
    """An embedding of the words, an LSTM along the line, and a score for each role."""

    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super().__init__()
        self.word_embeddings = torch.nn.Embedding(vocab_size, embedding_dim)
        self.lstm = torch.nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = torch.nn.Linear(hidden_dim, tagset_size)

    def forward(self, lines):
        """Lines of one length as word numbers (L, N); log-probabilities (L, N, roles)."""
        outputs, _ = self.lstm(self.word_embeddings(lines))
        return F.log_softmax(self.hidden2tag(outputs), dim=-1)


class Vocabulary:
    """Numbers for words, for the shapes of words too rare to have one, and for a line's end."""

    def __init__(self, corpus: list[Sentence]) -> None:
        counts = Counter(word for words, _ in corpus for word in words)
        known = [word for word, count in counts.items() if count >= SEEN]
        shapes = sorted({shape(word) for word in counts})
        self.numbers = {word: i for i, word in enumerate([END, *shapes, *known])}

    def __len__(self) -> int:
        return len(self.numbers)

    def encode(self, words: list[str]) -> list[int]:
        """The numbers of a line's words, and of its end."""
        numbers = [self.numbers.get(word, -1) for word in words]
        rare = [self.numbers.get(shape(word), 0) for word in words]
        return [n if n >= 0 else r for n, r in zip(numbers, rare, strict=True)] + [0]


def batches(corpus: list[Sentence], vocabulary: Vocabulary) -> list[Batch]:
    """Lines of equal length together: words (L + 1, N) and roles (L, N), without any padding."""
    by_length: dict[int, list[Sentence]] = defaultdict(list)
    for words, roles in corpus:
        if len(words) <= LONGEST:
            by_length[len(words)].append((words, roles))
    found = []
    for group in by_length.values():
        for start in range(0, len(group), BATCH):
            some = group[start : start + BATCH]
            words = np.array([vocabulary.encode(words) for words, _ in some]).T
            roles = np.array([roles for _, roles in some]).T
            found.append((torch.tensor(words), torch.tensor(roles)))
    return found


def scores_of(model: LSTMTagger, words: torch.Tensor) -> torch.Tensor:
    """Scores for each word of the lines, given once the word after it has been read.

    Whether a name is called or bound shows only in what follows it, and an LSTM reads one way.
    """
    return model(words)[1:]


def confusion(model: LSTMTagger, data: list[Batch]) -> np.ndarray:
    """How often each role (row) was taken for each (column)."""
    counts = np.zeros((len(ROLES), len(ROLES)), dtype=np.int64)
    model.eval()
    with torch.no_grad():
        for words, roles in data:
            predicted = scores_of(model, words).argmax(-1)
            np.add.at(counts, (roles.numpy(), predicted.numpy()), 1)
    return counts


def picture(losses: list[float], counts: np.ndarray) -> Figure:
    """The loss curve, and the confusion matrix in percent of each role's words."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_curve(left, losses, "training loss")
    left.set_yscale("log")
    left.legend()
    percent = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    right.imshow(percent, cmap="Blues")
    for (row, column), value in np.ndenumerate(percent):
        if value >= 0.5:
            color = "white" if value > 50 else "black"
            right.text(column, row, f"{value:.0f}", ha="center", va="center", color=color)
    right.set_xticks(range(len(ROLES)), ROLES, rotation=60, ha="right")
    right.set_yticks(range(len(ROLES)), ROLES)
    right.set_xlabel("predicted")
    right.set_ylabel("role in the source (% of its words)")
    return figure


def show(model: LSTMTagger, vocabulary: Vocabulary, line: str) -> None:
    """Print the words of a line with the roles that the model gives them."""
    ((words, _),) = sentences(line)
    with torch.no_grad():
        predicted = scores_of(model, torch.tensor(vocabulary.encode(words)).unsqueeze(1))
    roles = [ROLES[i] for i in predicted[:, 0].argmax(-1).tolist()]
    widths = [max(len(word), len(role)) for word, role in zip(words, roles, strict=True)]
    for row in (words, roles):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))


def main() -> None:
    """Train, tag the held-out modules, draw the picture."""
    torch.manual_seed(0)
    corpus = [line for source in read(TRAINING) for line in sentences(source)]
    unseen = [line for source in read(HELD_OUT) for line in sentences(source)]
    vocabulary = Vocabulary(corpus)
    training = batches(corpus, vocabulary)
    held_out = batches(unseen, vocabulary)

    model = LSTMTagger(EMBEDDING, HIDDEN, len(vocabulary), len(ROLES))
    print(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    losses = []
    watch = Stopwatch()
    bar = tqdm(total=EPOCHS * len(training), desc="tagger", unit="step", mininterval=0.5)
    for _ in range(EPOCHS):
        for i in torch.randperm(len(training)).tolist():
            words, roles = training[i]
            optimizer.zero_grad()
            scores = scores_of(model, words)
            loss = F.nll_loss(scores.flatten(0, 1), roles.flatten())
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            watch.count(words.shape[1])
            bar.update()
        bar.set_postfix(loss=f"{losses[-1].item():.3f}", rate=f"{watch.rate():,.0f}/s")
    bar.close()
    print(watch.report())

    counts = confusion(model, held_out)
    accuracy = counts.trace() / counts.sum()
    print(f"held-out accuracy: {accuracy:.2%} of {counts.sum():,} words")
    show(model, vocabulary, "self.table[name] = make(value, strict=True)")
    save(picture([loss.item() for loss in losses], counts), "tagger.png")
    require(accuracy >= WANTED, f"tagger: {accuracy:.2%} accuracy, {WANTED:.0%} wanted")


if __name__ == "__main__":
    main()
