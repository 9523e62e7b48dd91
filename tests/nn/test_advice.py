"""Errors inside a model name the place, and the commonest mistakes are told what to change."""

from __future__ import annotations

import re

import pytest
import torch as oracle

import flambeau


class Net(flambeau.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        nn = flambeau.nn
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(288, 10)

    def forward(self, x):
        return self.head(self.body(x))


def nested(t, *layers):
    """A model with the layers two levels down."""
    outer = t.nn.Module()
    outer.blocks = t.nn.ModuleList([t.nn.Sequential(*layers)])
    outer.forward = lambda *x: outer.blocks[0](*x)
    return outer


def indices(t, *shape):
    return t.zeros(*shape, dtype=t.int64)


CASES = {
    "wrong features": (
        lambda t: nested(t, t.nn.Linear(288, 10))(t.ones(2, 392)),
        r"\(linear: the input's last dimension has 392 features and the weight takes 288: make the layer "
        r"Linear\(392, 10\), or check what comes before it\)",
        "blocks.0.0: Linear(in_features=288, out_features=10, bias=True), input (2, 392)",
    ),
    "unflattened image": (
        lambda t: nested(t, t.nn.Linear(784, 10))(t.ones(2, 1, 28, 28)),
        r"each sample of the input \[2, 1, 28, 28\] has 784 values in all: flatten it first, with nn.Flatten\(\)",
        "blocks.0.0: Linear(in_features=784, out_features=10, bias=True), input (2, 1, 28, 28)",
    ),
    "features not last": (
        lambda t: nested(t, t.nn.Linear(5, 10))(t.ones(2, 5, 7)),
        r"the features come last, and the input \[2, 5, 7\] has 5 in another dimension: transpose it",
        "blocks.0.0: Linear(in_features=5, out_features=10, bias=True), input (2, 5, 7)",
    ),
    "wrong type into linear": (
        lambda t: nested(t, t.nn.Linear(3, 4))(t.ones(2, 3, dtype=t.float64)),
        r"\(linear: input float64\[2,3\] and weight float32\[4,3\]; convert one with .to\(\)\)",
        "blocks.0.0: Linear(in_features=3, out_features=4, bias=True), input (2, 3)",
    ),
    "channels last": (
        lambda t: nested(t, t.nn.Conv2d(3, 8, 3))(t.ones(2, 9, 9, 3)),
        r"channels come second here, after the batch; if the image has them last, reorder it with "
        r".permute\(0, 3, 1, 2\)\)",
        "blocks.0.0: Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1)), input (2, 9, 9, 3)",
    ),
    "channels last without batch": (
        lambda t: nested(t, t.nn.Conv2d(3, 8, 3))(t.ones(9, 9, 3)),
        r"or a single one without batch with .permute\(2, 0, 1\)\)",
        "blocks.0.0: Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1)), input (9, 9, 3)",
    ),
    "no batch and no channels": (
        lambda t: nested(t, t.nn.Conv2d(1, 8, 3))(t.ones(9, 9)),
        r"add both with \[None, None\], or the channels alone with .unsqueeze\(0\)",
        "blocks.0.0: Conv2d(1, 8, kernel_size=(3, 3), stride=(1, 1)), input (9, 9)",
    ),
    "no batch under batch normalization": (
        lambda t: nested(t, t.nn.Conv2d(3, 8, 3), t.nn.BatchNorm2d(8))(t.ones(3, 8, 8)),
        r"\(a single sample \[8, 6, 6\] without a batch dimension: add it with .unsqueeze\(0\)\)",
        "blocks.0.1: BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True), "
        "input (8, 6, 6)",
    ),
    "no batch of features under batch normalization": (
        lambda t: nested(t, t.nn.BatchNorm1d(8))(t.ones(8)),
        r"\(a single sample \[8\] without a batch dimension: add it with .unsqueeze\(0\)\)",
        "blocks.0.0: BatchNorm1d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True), "
        "input (8,)",
    ),
    "no batch of volumes under batch normalization": (
        lambda t: nested(t, t.nn.BatchNorm3d(8))(t.ones(8, 2, 2, 2)),
        r"\(a single sample \[8, 2, 2, 2\] without a batch dimension",
        "blocks.0.0: BatchNorm3d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True), "
        "input (8, 2, 2, 2)",
    ),
    "one sample in training": (
        lambda t: nested(t, t.nn.BatchNorm1d(4))(t.ones(1, 4)),
        r"use a larger batch, drop_last=True in the DataLoader, or eval\(\)\)",
        "blocks.0.0: BatchNorm1d(4, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True), "
        "input (1, 4)",
    ),
    "target of floats": (
        lambda t: nested(t, t.nn.CrossEntropyLoss()).blocks[0][0](t.ones(4, 3), t.ones(4)),
        r"\(cross_entropy: convert class indices with .long\(\); class probabilities have the shape of the input, "
        r"here \[4, 3\]\)",
        "CrossEntropyLoss(), input (4, 3), (4,)",
    ),
    "target of one-hot integers": (
        lambda t: t.nn.CrossEntropyLoss()(t.ones(4, 3), indices(t, 4, 3)),
        r"\(cross_entropy: the target has the input's shape \[4, 3\]; class indices have no class dimension\)",
        "CrossEntropyLoss(), input (4, 3), (4, 3)",
    ),
    "target with a column": (
        lambda t: t.nn.CrossEntropyLoss()(t.ones(4, 3), indices(t, 4, 1)),
        r"drop the target's last dimension with .squeeze\(1\)",
        "CrossEntropyLoss(), input (4, 3), (4, 1)",
    ),
    "target with too many columns": (
        lambda t: t.nn.CrossEntropyLoss()(t.ones(4, 3), indices(t, 4, 2)),
        r"class indices have no dimension of classes \(one-hot rows become indices by .argmax\(1\)\)",
        "CrossEntropyLoss(), input (4, 3), (4, 2)",
    ),
    "target of another batch": (
        lambda t: t.nn.CrossEntropyLoss()(t.ones(4, 3), indices(t, 5)),
        r"\(cross_entropy: input \[4, 3\], target \[5\]; the target has one class index for each row\)",
        "CrossEntropyLoss(), input (4, 3), (5,)",
    ),
    "classes last": (
        lambda t: t.nn.CrossEntropyLoss()(t.ones(4, 7, 3), indices(t, 4, 7)),
        r"classes come second, and here they seem to come last: reorder the input with .permute\(0, 2, 1\)",
        "CrossEntropyLoss(), input (4, 7, 3), (4, 7)",
    ),
    "spatial target of another size": (
        lambda t: t.nn.CrossEntropyLoss()(t.ones(4, 7, 3), indices(t, 4, 5)),
        r"input \[4, 7, 3\] with classes second, target \[4, 5\] without classes",
        "CrossEntropyLoss(), input (4, 7, 3), (4, 5)",
    ),
    "binary target without a column": (
        lambda t: t.nn.BCEWithLogitsLoss()(t.ones(4, 1), t.ones(4)),
        r"give it one with .unsqueeze\(-1\)",
        "BCEWithLogitsLoss(), input (4, 1), (4,)",
    ),
    "binary target with a column": (
        lambda t: t.nn.BCEWithLogitsLoss()(t.ones(4), t.ones(4, 1)),
        r"drop that with .squeeze\(-1\)",
        "BCEWithLogitsLoss(), input (4,), (4, 1)",
    ),
    "binary target of integers": (
        lambda t: t.nn.BCEWithLogitsLoss()(t.ones(4), indices(t, 4)),
        r"\(binary_cross_entropy_with_logits: convert the target with .float\(\)\)",
        "BCEWithLogitsLoss(), input (4,), (4,)",
    ),
    "binary target of bools": (
        lambda t: t.nn.BCEWithLogitsLoss()(t.ones(4), indices(t, 4).bool()),
        r"convert the target with .float\(\)\)",
        "BCEWithLogitsLoss(), input (4,), (4,)",
    ),
    "integer logits": (
        lambda t: t.nn.BCEWithLogitsLoss()(indices(t, 4), t.ones(4)),
        r"\(logits are floating point\)",
        "BCEWithLogitsLoss(), input (4,), (4,)",
    ),
    "divergence of integers": (
        lambda t: t.nn.KLDivLoss(reduction="sum")(t.ones(4), indices(t, 4)),
        r"\(got Float and Long; convert with .float\(\)\)",
        "KLDivLoss(), input (4,), (4,)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_common_mistakes_are_told_what_to_change(name: str) -> None:
    program, advice, place = CASES[name]
    with pytest.raises(Exception, match=r".") as theirs:
        program(oracle)
    with pytest.raises(type(theirs.value), match=advice) as ours:
        program(flambeau)
    # PyTorch's own words come first, for programs that look at them.
    assert str(ours.value).startswith(str(theirs.value))
    assert ours.value.__notes__[-1].endswith(place)


def test_a_forgotten_batch_dimension_shows_at_the_first_linear_layer() -> None:
    assert Net()(flambeau.ones(2, 3, 8, 8)).shape == (2, 10)
    with pytest.raises(RuntimeError, match=re.escape("(8x36 and 288x10)")) as caught:
        Net()(flambeau.ones(3, 8, 8))
    assert "one sample without its batch dimension: add it with .unsqueeze(0)" in str(caught.value)
    assert caught.value.__notes__ == ["in Net.head: Linear(in_features=288, out_features=10, bias=True), input (8, 36)"]


def test_a_class_that_does_not_exist_names_the_classes() -> None:
    with pytest.raises(IndexError, match=r"Target 3 is out of bounds. \(Classes are 0 to 2; .* ignore_index, which"):
        flambeau.nn.CrossEntropyLoss()(flambeau.ones(4, 3), flambeau.tensor([0, 3, 1, 2])).item()
