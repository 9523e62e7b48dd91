"""Dropout: how much it leaves out, that going back agrees, and that both tiers do the same."""

from __future__ import annotations

import numpy as np
import pytest
from both import same

import flambeau as torch
from flambeau import engine
from flambeau.ops.dropout import DROPOUT, KEPT, drawn_key
from flambeau.tensor.tensor import from_array

F = torch.nn.functional


def test_survivors_are_scaled_and_the_share_is_right(tier: str) -> None:
    torch.manual_seed(0)
    y = F.dropout(torch.ones(100_000), 0.3)
    values = set(y.tolist())
    assert values == {0.0, np.float32(1 / 0.7)}
    assert abs((y == 0).float().mean().item() - 0.3) < 0.01


def test_gradients_pass_where_elements_did(tier: str) -> None:
    x = torch.ones(33, 77, requires_grad=True)
    y = F.dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_both_tiers_leave_out_the_same_elements() -> None:
    key = drawn_key(torch.device("cpu"))
    x = torch.ones(101, 1003)
    before = engine.get_tier()
    found = []
    try:
        for name in ("interpreter", "compiled"):
            engine.set_tier(name)
            found.append(DROPOUT(x, key, 0.4).numpy())
    finally:
        engine.set_tier(before)
    assert np.array_equal(*found)


def test_masks_of_different_keys_and_of_neighbours_are_unrelated() -> None:
    random = np.random.default_rng(0)
    masks = []
    for _ in range(12):
        key = from_array(random.integers(0, 2**32, 2, dtype=np.uint32))
        masks.append(KEPT(key, (100_000,), 0.5).numpy() * 2.0 - 1.0)
    related = np.corrcoef(masks) - np.eye(12)
    assert abs(related).max() < 0.015
    for lag in (1, 2, 64, 1000):
        assert abs(np.mean(masks[0][lag:] * masks[0][:-lag])) < 0.015


def test_a_seed_gives_the_same_masks_again() -> None:
    torch.manual_seed(7)
    first = F.dropout(torch.ones(50))
    torch.manual_seed(7)
    assert torch.equal(F.dropout(torch.ones(50)), first)
    assert not torch.equal(F.dropout(torch.ones(50)), first)


def test_nothing_happens_in_evaluation_or_without_probability() -> None:
    x = torch.ones(3)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert torch.nn.Dropout(0.5).eval()(x).tolist() == [1.0, 1.0, 1.0]


def test_everything_goes_at_probability_one() -> None:
    same(lambda t: t.nn.functional.dropout(t.ones(3), 1.0))


def test_inplace_writes_into_the_input() -> None:
    x = torch.ones(1000)
    assert F.dropout(x, 0.5, inplace=True) is x
    assert set(x.tolist()) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("name", "shape"), [("dropout1d", (4, 50, 3)), ("dropout2d", (4, 50, 3, 2)), ("dropout3d", (4, 50, 3, 2, 2))]
)
def test_whole_channels_go(name: str, shape: tuple[int, ...]) -> None:
    y = getattr(F, name)(torch.ones(shape), 0.5).reshape(200, -1)
    assert bool((y == y[:, :1]).all())
    assert set(y.flatten().tolist()) == {0.0, 2.0}


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    torch.manual_seed(0)
    y = F.alpha_dropout(torch.randn(200_000), 0.2, training=True)
    assert abs(y.mean().item()) < 0.02
    assert abs(y.var().item() - 1) < 0.02


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.functional.dropout(t.ones(2), 2.0),
        lambda t: t.nn.Dropout(-0.5),
        lambda t: t.dropout(t.ones(2), 2.0, True),
        lambda t: t.nn.functional.dropout(t.ones(2).long(), 0.5),
        lambda t: t.nn.functional.dropout1d(t.ones(2), 0.5),
        lambda t: t.nn.functional.dropout2d(t.ones(2, 3, 4), 0.5, training=False),
        lambda t: str(t.nn.Dropout(0.1)),
    ],
)
def test_errors_and_warnings_are_pytorchs(program) -> None:
    same(program)
