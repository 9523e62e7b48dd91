"""Large programs are compiled in pieces, and compute what they compute whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch as pytorch

import flambeau as torch
from flambeau import engine
from flambeau.engine import judge

pieces = pytest.importorskip("flambeau.engine.pieces")


@pytest.fixture(params=[1, 5, 1000])
def kinds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many different operations make a piece: each its own, a few, all."""
    monkeypatch.setattr(pieces, "KINDS_OF_PIECE", request.param)
    monkeypatch.setattr(pieces, "KINDS_TOGETHER", request.param)
    before = engine.get_tier()
    engine.set_tier("compiled")
    yield request.param
    engine.set_tier(before)


def learn(torch, rates: list[float]) -> tuple[list[float], list[list[float]]]:
    """Losses and state of a small net with running statistics, moments of gradients and a rate that changes."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, bias=False),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(288, 40),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.0)
    losses = []
    for i, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        x = torch.arange(4 * 3 * 64, dtype=torch.float32).reshape(4, 3, 8, 8) / (700 + i)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x.sin()), torch.arange(4) * 9)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, [value.double().flatten().tolist() for value in net.state_dict().values()]


def test_training_in_pieces_is_training(kinds: int) -> None:
    rates = [0.01, 0.01, 0.02, 0.003, 0.003]
    losses, state = learn(torch, rates)
    wanted_losses, wanted = learn(pytorch, rates)
    assert losses == pytest.approx(wanted_losses, rel=1e-4)
    for found, expected in zip(state, wanted, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=2e-4)


def test_a_program_has_as_many_pieces_as_its_kinds_want(kinds: int) -> None:
    x = torch.linspace(0, 1, 4096)
    engine.flush()
    y = x
    for _ in range(3):
        y = y.sin().cos().exp().sqrt()
    _, place = y.max(0)
    _ = y + x, place
    engine.flush()
    entry = next(reversed(judge.entries.values()))
    executable = entry.forms["compiled"].executable
    found = executable.text().count("ENTRY ")
    # The three rounds are of the same four kinds, and then there are two more.
    assert found == {5: 2, 1000: 1}[kinds] if kinds > 1 else 4 <= found <= pieces.MOST_PIECES


def test_what_is_still_read_is_not_given_up(kinds: int) -> None:
    x = torch.linspace(0, 1, 4096)
    engine.flush()
    for _ in range(3):
        doubled = x * 2
        total = doubled.sin() + doubled.cos() + x.exp()
        x = total.sqrt() + doubled
        engine.flush()
        assert doubled.sum().item() < x.sum().item()
    y = pytorch.linspace(0, 1, 4096)
    for _ in range(3):
        y = ((y * 2).sin() + (y * 2).cos() + y.exp()).sqrt() + y * 2
    assert x.tolist() == pytest.approx(y.tolist(), rel=1e-5)
