"""Loops of little work become one kernel, and compute what they did."""

from __future__ import annotations

import numpy as np
import pytest
import torch as pytorch

import flambeau
from flambeau import engine
from flambeau.engine import single_kernel

jax = pytest.importorskip("jax")
MARK = '{inlineable="false",xla_cpu_small_call="true"}'
"""XLA marks calls as small by itself too, but lets others have them inlined."""


@pytest.fixture(autouse=True)
def interpreter_first(interpreter):
    """What is recorded before a function is captured need not be compiled."""


def captured(function, *args):
    """A function compiled, after two calls in the interpreter."""
    step = flambeau.compile(function)
    for _ in range(2):
        step(*args)
    engine.set_tier("compiled")
    return step


def tagger(t, words: int, hidden: int):
    table = t.nn.Embedding(words, hidden, padding_idx=0)
    lstm = t.nn.LSTM(hidden, hidden)
    scores = t.nn.Linear(hidden, 3)
    weights = np.random.default_rng(0)
    parts = t.nn.ModuleList([table, lstm, scores])
    with t.no_grad():
        for p in parts.parameters():
            p.copy_(t.tensor(weights.standard_normal(tuple(p.shape)).astype(np.float32) * 0.3))
    optimizer = t.optim.SGD(parts.parameters(), lr=0.1)

    def step(sentence, tags):
        optimizer.zero_grad()
        out, _ = lstm(table(sentence).view(len(sentence), 1, -1))
        loss = t.nn.functional.cross_entropy(scores(out[:, 0]), tags)
        loss.backward()
        optimizer.step()
        return loss

    return step, parts


SENTENCE, TAGS = [3, 1, 3, 0, 3, 2, 0, 19], [0, 1, 2, 0, 1, 2, 0, 1]


SENTENCE, TAGS = [3, 1, 3, 0, 3, 2, 0, 19], [0, 1, 2, 0, 1, 2, 0, 1]
GIVEN = flambeau.tensor(SENTENCE), flambeau.tensor(TAGS)


def test_a_small_loop_is_one_kernel_and_computes_what_pytorch_does():
    mine, parts = tagger(flambeau, 20, 6)
    reference, expected = tagger(pytorch, 20, 6)
    step = captured(mine, *GIVEN)
    losses = [step(*GIVEN).item() for _ in range(3)]
    wanted = [reference(pytorch.tensor(SENTENCE), pytorch.tensor(TAGS)).item() for _ in range(5)]
    np.testing.assert_allclose(losses, wanted[2:], rtol=1e-5)
    assert MARK in step.program.xla
    for p, q in zip(parts.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)
        assert q.grad is not None
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_a_loop_of_much_work_is_not(monkeypatch):
    monkeypatch.setattr(single_kernel, "MOST_WORK", 1000)
    assert MARK not in captured(tagger(flambeau, 20, 6)[0], *GIVEN).program.xla


@pytest.mark.parametrize(
    "function",
    [
        lambda x, lstm: x @ x,
        lambda x, lstm: lstm(x)[0].sort()[0],
        lambda x, lstm: lstm(x)[0][:0].sum(0),
        lambda x, lstm: lstm(x)[0].half(),
    ],
    ids=["no loop", "needs the runtime", "nothing in it", "another type"],
)
def test_what_else_stays_as_it_is(function):
    lstm = flambeau.nn.LSTM(4, 4)
    x = flambeau.ones(4, 4)
    with flambeau.no_grad():
        expected = function(x, lstm).numpy()
        step = captured(lambda x: function(x, lstm), x)
        np.testing.assert_allclose(step(x).numpy(), expected, rtol=1e-3, atol=1e-6)
    assert MARK not in step.program.xla


def test_an_xla_of_other_options_makes_several_kernels(monkeypatch):
    monkeypatch.setattr(single_kernel, "_OPTIONS", {"xla_cpu_no_such_option": True})
    step = captured(tagger(flambeau, 20, 6)[0], *GIVEN)
    losses = [step(*GIVEN).item() for _ in range(4)]
    assert losses == sorted(losses, reverse=True)
    assert MARK not in step.program.xla


def test_rows_of_an_embedding_get_their_own_gradients_alone():
    step, (table, _, scores) = tagger(flambeau, 20, 6)
    with flambeau.no_grad():
        scores.weight[0, 0] = float("inf")
    step = captured(step, *GIVEN)
    step(*GIVEN)
    assert MARK in step.program.xla
    unread = [i for i in range(20) if i not in SENTENCE]
    assert table.weight.grad[unread].abs().sum().item() == 0
    assert table.weight.grad[0].abs().sum().item() == 0
    assert table.weight.grad[3].isnan().any().item()


def test_operands_of_which_nothing_is_left_do_not_matter():
    def step(rows, weight):
        # Of a single turn XLA makes no loop, and then the weight is of no use.
        _, sums = jax.lax.scan(lambda state, row: (row @ weight, state + row), rows[0], rows)
        return sums

    kinds = [jax.ShapeDtypeStruct((1, 4), np.float32), jax.ShapeDtypeStruct((4, 4), np.float32)]
    program = single_kernel.compiled(step, kinds, ())
    assert MARK in program.as_text()
    assert program(np.ones((1, 4), np.float32), np.ones((4, 4), np.float32)).tolist() == [[2.0] * 4]
