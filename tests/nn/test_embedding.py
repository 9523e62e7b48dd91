"""Embeddings: padding, bounds on norms, bags, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle
from both import same

import flambeau as torch

F = torch.nn.functional


def test_many_gradients_for_few_rows_are_summed(tier: str) -> None:
    random = np.random.default_rng(0)
    for rows, count in ((5, 400), (300, 500), (1, 50)):
        indices = random.integers(0, rows, count)
        weight = torch.zeros(rows, 3, requires_grad=True)
        factor = random.standard_normal((count, 3)).astype(np.float32)
        (F.embedding(torch.tensor(indices), weight) * torch.tensor(factor)).sum().backward()
        expected = np.zeros((rows, 3))
        np.add.at(expected, indices, factor)
        np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_layer_starts_and_learns_as_pytorchs(tier: str) -> None:
    def program(t):
        layer = t.nn.Embedding(10, 4, padding_idx=-2, scale_grad_by_freq=True)
        y = layer(t.tensor([[1, 8], [1, 9]]))
        (y * t.arange(16.0).reshape(2, 2, 4)).sum().backward()
        return [str(layer), layer.weight, y, layer.weight.grad]

    same(program, rtol=1e-6)


def test_norms_are_bounded_in_place(tier: str) -> None:
    def program(t):
        weight = t.tensor([[3.0, 4.0], [0.3, 0.4], [6.0, 8.0]])
        return [t.nn.functional.embedding(t.tensor([0, 1]), weight, max_norm=1.0), weight]

    same(program, rtol=1e-6)


def test_a_given_table_is_frozen_unless_told_otherwise() -> None:
    table = torch.eye(3)
    assert not torch.nn.Embedding.from_pretrained(table).weight.requires_grad
    assert torch.nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_bags_with_offsets(mode: str, padding_idx: int | None, tier: str) -> None:
    def program(t):
        weight = (t.arange(12.0).reshape(4, 3) * 1.3).sin().requires_grad_()
        bags = t.nn.functional.embedding_bag(
            t.tensor([0, 2, 2, 1, 3, 0]), weight, t.tensor([0, 3, 3, 5]), mode=mode, padding_idx=padding_idx
        )
        (bags * t.arange(12.0).reshape(4, 3)).sum().backward()
        return [bags, weight.grad]

    same(program, rtol=1e-5, atol=1e-6)


def test_a_bag_layer_prints_and_computes_as_pytorchs() -> None:
    def program(t):
        layer = t.nn.EmbeddingBag(5, 2, mode="sum", include_last_offset=True, padding_idx=0)
        return [str(layer), layer(t.tensor([1, 2, 0, 4]), t.tensor([0, 2, 4]), t.tensor([1.0, 2.0, 3.0, 4.0]))]

    same(program, rtol=1e-6)


ERRORS = [
    lambda t: t.nn.functional.embedding(t.ones(2), t.ones(3, 3)),
    lambda t: t.nn.functional.embedding(t.tensor([5]), t.ones(3, 3)),
    lambda t: t.nn.functional.embedding(t.tensor([-1]), t.ones(3, 3)),
    lambda t: t.nn.functional.embedding(t.tensor([1]), t.ones(3, 3), padding_idx=4),
    lambda t: t.nn.functional.embedding(t.tensor([1]), t.ones(3)),
    lambda t: t.nn.Embedding(3, 2, padding_idx=3),
    lambda t: t.nn.Embedding.from_pretrained(t.ones(3)),
    lambda t: t.nn.functional.embedding_bag(t.tensor([1]), t.ones(3, 2)),
    lambda t: t.nn.functional.embedding_bag(t.tensor([[1]]), t.ones(3, 2), t.tensor([0])),
    lambda t: t.nn.functional.embedding_bag(t.tensor([1]), t.ones(3, 2), t.tensor([1])),
    lambda t: t.nn.functional.embedding_bag(t.tensor([1]), t.ones(3, 2), t.tensor([0, 2])),
    lambda t: t.nn.functional.embedding_bag(t.tensor([[1]]), t.ones(3, 2), mode="most"),
    lambda t: t.nn.functional.embedding_bag(t.tensor([[1]]), t.ones(3, 2), mode="max", scale_grad_by_freq=True),
    lambda t: t.nn.functional.embedding_bag(t.tensor([[1]]), t.ones(3, 2), per_sample_weights=t.ones(2)),
]


@pytest.mark.parametrize("program", ERRORS)
def test_errors_begin_as_pytorchs(program) -> None:
    with pytest.raises(Exception, match=r".") as theirs:
        program(oracle)
    with pytest.raises(type(theirs.value)) as ours:
        program(torch)
    expected = str(theirs.value).split("\n")[0].split(" Please open")[0].replace("<class 'torch.", "<class '")
    assert str(ours.value).replace("<class 'flambeau.tensor.tensor.", "<class '").startswith(expected)
