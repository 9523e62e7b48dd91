"""Results that show other results in another order have no memory of their own, and keep their values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch as pytorch

import flambeau as torch
from flambeau import engine
from flambeau.engine import judge

pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def compiled() -> Iterator[None]:
    before = engine.get_tier()
    engine.set_tier("compiled")
    yield
    engine.set_tier(before)


def heads(torch: Any, scale: float) -> tuple[Any, ...]:
    """A projection, and its three parts for eight heads."""
    x = torch.arange(16 * 64, dtype=torch.float32).reshape(2, 8, 64).sin()
    weight = (torch.arange(64 * 3072, dtype=torch.float32).reshape(3072, 64) * scale).cos()
    projected = torch.nn.functional.linear(x, weight)
    return projected, *[part.view(2, 8, 8, -1).transpose(1, 2) for part in projected.chunk(3, dim=-1)]


def test_views_share_the_memory_of_what_they_show() -> None:
    projected, *parts = heads(torch, 0.5)
    engine.flush()
    for part, wanted in zip(parts, heads(pytorch, 0.5)[1:], strict=True):
        assert np.shares_memory(part._array(), projected._array())
        assert part.flatten().tolist() == pytest.approx(wanted.flatten().tolist(), abs=1e-4)


def test_the_program_does_not_compute_them() -> None:
    kept = heads(torch, 0.25)
    engine.flush()
    (entry,) = judge.entries.values()
    assert len(entry.program.outputs) == len(kept)
    text = entry.forms["compiled"].executable.text()
    root = next(line for line in text.splitlines() if "entry_computation_layout" in line)
    assert root.split("->")[1].count("f32[") == 1


def test_a_view_of_a_view_shows_the_source() -> None:
    x = torch.ones(2, 300, 200)
    source = x * 2
    once = source.transpose(0, 1)
    twice = once.transpose(1, 2)
    engine.flush()
    assert twice.shape == (300, 200, 2)
    assert np.shares_memory(twice._array(), source._array())
    assert np.shares_memory(once._array(), source._array())


def test_small_results_are_computed() -> None:
    source = torch.ones(2, 3) * 2
    shown = source.transpose(0, 1)
    engine.flush()
    assert not np.shares_memory(shown._array(), source._array())


@pytest.mark.parametrize("form", ["plain", "compiled"])
def test_a_view_outlives_the_next_value_of_its_base(form: str) -> None:
    """The base is given up to the next program, which may write over what nobody else reads."""
    state = torch.ones(256, 256)
    wanted = pytorch.ones(256, 256)

    def step(state: Any) -> tuple[Any, Any]:
        state = state * 2 + 1
        return state, state.transpose(0, 1)

    run = torch.compile(step) if form == "compiled" else step
    kept = []
    expected = []
    for _ in range(6):
        state, shown = run(state)
        kept.append(shown)
        engine.flush()
        wanted = wanted * 2 + 1
        expected.append(wanted[0, 0].item())
    assert [shown.unique().tolist() for shown in kept] == [[value] for value in expected]


def test_writing_to_a_view_writes_to_its_base() -> None:
    results = []
    for library in (torch, pytorch):
        base = library.arange(60000, dtype=library.float32).reshape(300, 200) * 1
        shown = base.transpose(0, 1)
        engine.flush()
        shown[0] = -1.0
        base.mul_(2)
        results.append((base[:3].tolist(), shown[:2].tolist()))
    assert results[0] == results[1]
