"""4: the tutorial's tagger, one sentence at a time, every sentence of another length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers
from benchmarks.workloads import Workload
from benchmarks.workloads.lstm_tagger import lstm, lstm_shapes

LEARNING_RATE = 0.1


@dataclass(frozen=True)
class Sizes:
    words: int = 100
    tags: int = 3
    embedding: int = 6
    hidden: int = 6
    shortest: int = 3
    lengths: int = 30


def data(sizes: Sizes) -> list[tuple]:
    lengths = sizes.shortest + integers("sentence.order", 2**32, sizes.lengths).argsort()
    return [
        (
            integers(f"sentence.x{length}", sizes.words, int(length)),
            integers(f"sentence.y{length}", sizes.tags, int(length)),
        )
        for length in lengths
    ]


def tagger(torch: Any, sizes: Sizes) -> Any:
    class LSTMTagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.word_embeddings = torch.nn.Embedding(sizes.words, sizes.embedding)
            self.lstm = torch.nn.LSTM(sizes.embedding, sizes.hidden)
            self.hidden2tag = torch.nn.Linear(sizes.hidden, sizes.tags)

        def forward(self, sentence):
            embeds = self.word_embeddings(sentence)
            lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
            tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
            return torch.nn.functional.log_softmax(tag_space, dim=1)

    return LSTMTagger()


def epoch(batches: list[tuple]) -> Any:
    """A unit of work: all sentences once; the loss of the last."""

    def unit(step, _):
        loss = None
        for batch in batches:
            loss = step(*batch)
        return loss

    return unit


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, tagger(torch, sizes))
    loss_function = torch.nn.NLLLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    batches = [tuple(setting.tensor(torch, array) for array in batch) for batch in data(sizes)]

    def step(sentence, targets):
        model.zero_grad()
        tag_scores = model(sentence)
        loss = loss_function(tag_scores, targets)
        loss.backward()
        optimizer.step()
        return loss

    return Program(step, epoch(batches))


def floor(setting: Setting) -> Program:
    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(
        {"word_embeddings.weight": (sizes.words, sizes.embedding)}
        | lstm_shapes("lstm", sizes.embedding, sizes.hidden)
        | floors.linear_shapes("hidden2tag", sizes.hidden, sizes.tags)
    )

    def loss(weights, sentence, targets):
        out = lstm(weights, "lstm", weights["word_embeddings.weight"][sentence][:, None, :])
        return floors.cross_entropy(floors.linear(weights, "hidden2tag", out[:, 0]), targets)

    return Program(
        floors.trained(floors.sgd(loss, LEARNING_RATE), weights),
        epoch(setting.arrays(data(sizes))),
    )


WORKLOADS = [
    Workload(
        4,
        "sentences",
        "tagger, 30 lengths one by one, a later epoch",
        program,
        floor,
        checked=4,
        small={"words": 20, "lengths": 3},
        first=True,
    ),
]
