"""The list of what of PyTorch is not here is current, and nothing is missing without a reason."""

from __future__ import annotations

import pytest
from names import ABSENT, SPACES, TARGET, absent, matches, patterns, text

import flambeau


def test_the_list_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "run: python tests/parity/names.py"


@pytest.mark.parametrize("dotted", SPACES)
def test_nothing_is_missing_but_what_has_a_reason(dotted: str) -> None:
    assert "missing" not in absent(dotted)


def test_every_pattern_of_the_list_is_needed() -> None:
    names = [(dotted, name) for dotted in SPACES for told in absent(dotted).values() for name in told]
    assert len(ABSENT) > 5
    for pattern, reason in patterns():
        assert any(matches(pattern, *name) for name in names), f"{pattern} ({reason}) is here by now"


def test_a_name_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(flambeau, "matmul")
    monkeypatch.delattr(flambeau.Tensor, "matmul")
    assert absent("")["missing"] == ["matmul"]
    assert absent("Tensor")["missing"] == ["matmul"]
    assert "- missing: `matmul`" in text()
