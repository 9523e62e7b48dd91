"""Memory while programs are compiled, and in those with much between their leaves and results."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flambeau
from flambeau.engine import memory, single_kernel, xla

compiling = pytest.mark.parametrize("tier", ["compiled"], indirect=True)


def test_free_memory_goes_back_to_the_system_while_something_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = threading.Event()
    monkeypatch.setattr(memory, "SECONDS_BETWEEN_RETURNS", 0.001)
    monkeypatch.setattr(memory, "return_free_memory", returned.set)
    with memory.returning_free_memory():
        assert returned.wait(10)
    assert "flambeau-memory" not in [thread.name for thread in threading.enumerate()]


@compiling
@pytest.mark.parametrize(("much", "options"), [(0, xla._SPARING), (1 << 40, None)], ids=["much", "little"])
def test_programs_with_much_in_between_are_ordered_for_memory(
    much: int, options: Any, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    as_before = single_kernel.compiled

    def compiled(function: Any, structs: Any, donated: Any, given: Any) -> Any:
        asked.append(given)
        return as_before(function, structs, donated, given)

    monkeypatch.setattr(xla, "MUCH", much)
    monkeypatch.setattr(single_kernel, "compiled", compiled)
    assert (flambeau.ones(7) * 3 + 1).tolist() == [4.0] * 7
    assert asked and all(given == options for given in asked)


@compiling
def test_options_that_xla_does_not_know_are_left_out(tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xla, "MUCH", 0)
    monkeypatch.setattr(xla, "_SPARING", {"xla_cpu_no_such_option": True})
    assert (flambeau.ones(6) * 3 + 2).tolist() == [5.0] * 6
