"""The table of what is here of torch.nn is current, and lacks nothing without a reason."""

from __future__ import annotations

import pytest
import torch as oracle
from coverage import LEFT_OUT, TARGET, table, text

import flambeau


def test_the_table_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "run: python tests/parity/coverage.py"


def test_nothing_is_missing_but_what_has_a_reason() -> None:
    states = {state for rows in table().values() for _, state in rows}
    assert "missing" not in states
    assert all(reason.startswith(("obsolete", "quantised", "GPU")) for reason in LEFT_OUT.values())


def test_a_name_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(flambeau.nn, "Linear")
    assert ("Linear", "missing") in table()["nn"]
    assert "| `Linear` | missing |" in text()


def test_every_module_class_is_counted() -> None:
    names = {name for name, _ in table()["nn"]}
    classes = {
        name
        for name, value in vars(oracle.nn).items()
        if isinstance(value, type) and issubclass(value, oracle.nn.Module) and not name.startswith("_")
    }
    assert classes <= names
