"""Faults in arguments are told as PyTorch tells them, with what was given behind that."""

from __future__ import annotations

import pytest
import torch as oracle

import flambeau


def zeros(t, *shape, **options):
    return t.zeros(*shape, **options)


def transposed(t, x, *sizes, **options):
    axes = len(x.shape) - 2
    return getattr(t.nn, f"ConvTranspose{axes}d")(*sizes, **options)(x)


def grid(t, image, places):
    return t.nn.functional.grid_sample(image, places, align_corners=False)


SAME = {
    "features in words": lambda t: t.nn.Linear("a", 2),
    "features out in words": lambda t: t.nn.Linear(2, "a"),
    "features in halves": lambda t: t.nn.Linear(2.5, 2),
    "no features": lambda t: t.nn.Linear(None, 2),
    "two kinds of features in words": lambda t: t.nn.Bilinear("a", 2, 3),
    "channels in words": lambda t: t.nn.BatchNorm1d("a"),
    "a shape in words": lambda t: t.nn.LayerNorm("a"),
    "a kernel in words": lambda t: t.nn.Conv2d(1, 2, "a"),
    "an embedding in words": lambda t: t.nn.Embedding("a", 2),
    "sizes in words": lambda t: t.rand(2, "a"),
    "sizes in halves": lambda t: t.randn((2.5, 3)),
    "a view in words": lambda t: t.zeros(2).view(1, "a"),
    "another shape in words": lambda t: t.zeros(2).reshape((2, "a")),
    "no size": lambda t: t.zeros(),
    "padding of a sequence's result": lambda t: transposed(t, zeros(t, 1, 3, 4), 3, 4, 2, stride=2, output_padding=2),
    "padding of an image's result": lambda t: transposed(t, zeros(t, 1, 3, 4, 4), 3, 4, 2, output_padding=1),
    "padding of a volume's result": lambda t: transposed(
        t, zeros(t, 1, 3, 4, 4, 4), 3, 4, 2, stride=(1, 2, 3), output_padding=(2, 1, 1)
    ),
    "transposed channels": lambda t: transposed(t, zeros(t, 1, 5, 4, 4), 3, 4, 2),
    "transposed types": lambda t: transposed(t, zeros(t, 1, 3, 4, 4).double(), 3, 4, 2),
    "transposed integers": lambda t: transposed(t, zeros(t, 1, 3, 4, 4).long(), 3, 4, 2, bias=False),
    "a transposed bias's size": lambda t: t.nn.functional.conv_transpose2d(
        zeros(t, 1, 3, 4, 4), zeros(t, 3, 5, 2, 2), zeros(t, 4)
    ),
    "a bias's type": lambda t: t.nn.functional.conv2d(zeros(t, 1, 3, 4, 4), zeros(t, 5, 3, 2, 2), zeros(t, 5).double()),
    "a cell's input": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 5)),
    "a cell's state": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3), zeros(t, 2, 5)),
    "a cell's batch": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3), zeros(t, 3, 4)),
    "a state without batch": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3), zeros(t, 4)),
    "a state without batch, as long as that": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3), zeros(t, 2)),
    "a state with a batch alone": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 3), zeros(t, 1, 4)),
    "a cell's types": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3).double()),
    "a cell of integers": lambda t: t.nn.RNNCell(3, 4)(zeros(t, 2, 3).long()),
    "a state's type": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3), zeros(t, 2, 4).double()),
    "a cell of nothing": lambda t: t.nn.GRUCell(3, 4)(None),
    "a cell of numbers": lambda t: t.nn.GRUCell(3, 4)([1.0, 2.0, 3.0]),
    "a pair for one state": lambda t: t.nn.GRUCell(3, 4)(zeros(t, 2, 3), (zeros(t, 2, 4), zeros(t, 2, 4))),
    "one state for a pair": lambda t: t.nn.LSTMCell(3, 4)(zeros(t, 2, 3), zeros(t, 2, 4)),
    "the second of a pair": lambda t: t.nn.LSTMCell(3, 4)(zeros(t, 2, 3), (zeros(t, 2, 4), zeros(t, 2, 5))),
    "a base that does not run": lambda t: t.nn.RNNBase("LSTM", 3, 4)(zeros(t, 2, 2, 3)),
    "a cell's base that does not run": lambda t: t.nn.RNNCellBase(3, 4, True, 4)(zeros(t, 2, 3)),
    "places of another type": lambda t: grid(t, zeros(t, 1, 1, 3, 3), zeros(t, 1, 2, 2, 2).double()),
    "places of integers": lambda t: grid(t, zeros(t, 1, 1, 3, 3), zeros(t, 1, 2, 2, 2).long()),
    "an image of integers": lambda t: grid(t, zeros(t, 1, 1, 3, 3).int(), zeros(t, 1, 2, 2, 2).int()),
    "an image of bools": lambda t: grid(t, zeros(t, 1, 1, 3, 3).bool(), zeros(t, 1, 2, 2, 2).bool()),
    "a complex image": lambda t: grid(t, zeros(t, 1, 1, 3, 3) * 1j, zeros(t, 1, 2, 2, 2) * 1j),
    "a volume of integers": lambda t: grid(t, zeros(t, 1, 1, 3, 3, 3).int(), zeros(t, 1, 2, 2, 2, 3).int()),
    "an image without channels": lambda t: grid(t, zeros(t, 1, 3, 3), zeros(t, 1, 2, 2, 2)),
    "places in space of an image": lambda t: grid(t, zeros(t, 1, 1, 3, 3), zeros(t, 1, 1, 2, 2, 3)),
    "places in space of a flat image": lambda t: grid(t, zeros(t, 1, 1, 3, 3), zeros(t, 1, 1, 2, 2, 2)),
    "places of another batch": lambda t: grid(t, zeros(t, 1, 1, 3, 3), zeros(t, 2, 2, 2, 2)),
    "a matrix of another size": lambda t: t.nn.functional.affine_grid(zeros(t, 1, 2, 2), [1, 1, 2, 2], False),
    "a grid of nothing": lambda t: t.nn.functional.affine_grid(zeros(t, 1, 2, 3), [1, 1, 0, 2], False),
}


@pytest.mark.parametrize("name", SAME)
def test_pytorchs_words_come_first(name: str) -> None:
    program = SAME[name]
    with pytest.raises(Exception, match=r".") as theirs:
        program(oracle)
    with pytest.raises(type(theirs.value)) as ours:
        program(flambeau)
    assert str(ours.value).startswith(str(theirs.value).split("\n")[0])


VALUES = {
    "transposed types": r"\(convolution: the input is float64\[1,3,4,4\], the weight float32\[3,4,2,2\]; convert one",
    "a cell's types": r"\(gru cell: the input is torch.float64, w_ih torch.float32; convert one with .to\(\)\)",
    "a state's type": r"\(gru cell: the hidden state is torch.float64, w_hh torch.float32; convert one with .to\(\)\)",
    "a state without batch, as long as that": r"\(gru cell: the input \[2, 3\] is a batch, the hidden state \[2\] is",
    "one state for a pair": r"\(LSTMCell: it is the pair of hidden state and cell, got one of shape \[2, 4\]\)",
    "places of another type": r"\(grid_sample: the input is torch.float32 and the grid torch.float64; convert one",
    "an image of integers": r"\(grid_sample: the input is torch.int32; convert it and the grid with .float\(\)\)",
}


@pytest.mark.parametrize("name", VALUES)
def test_what_was_given_is_told_with_it(name: str) -> None:
    with pytest.raises(Exception, match=VALUES[name]):
        SAME[name](flambeau)


def test_a_transposed_bias_of_another_type_is_converted(tier) -> None:
    found = []
    for t in (flambeau, oracle):
        bias = t.linspace(0, 1, 5, dtype=t.float64).requires_grad_()
        y = t.nn.functional.conv_transpose2d(t.ones(1, 3, 4, 4), t.ones(3, 5, 2, 2), bias)
        y.sum().backward()
        found.append((str(y.dtype), str(bias.grad.dtype), y.tolist(), bias.grad.tolist()))
    assert found[0] == found[1]
