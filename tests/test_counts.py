"""What the benchmarks' workloads cost, in counts and bytes, which no noise can change: a guard on speed and memory.

A change that makes a count smaller lowers the figure here; one that makes it larger has to say why.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest

import flambeau as torch
from benchmarks.setting import Setting
from benchmarks.workloads import by_name
from flambeau import engine
from flambeau.engine import judge

NODES = {
    "mlp": (19, 1),
    "lenet": (49, 1),
    "lstm": (49, 1),
    "sentences": (105, 3),
    "encoder": (199, 1),
    "bert": (58, 1),
    "gpt": (268, 1),
    "resnet-forward": (109, 1),
    "resnet-training": (469, 1),
    "generation": (311, 5),
}
"""Operations recorded and run, and programs run, in one unit of work at the small sizes."""

BYTES = {"mlp": 15_360, "lenet": 665_504, "lstm": 6_560, "encoder": 15_728, "generation": 6_800}
"""Bytes that the largest compiled program of a workload needs beside its arguments and results."""
ROOM = 1.25
"""Versions of XLA differ a little in how they reuse buffers."""

INTERPRETED_BYTES = {"mlp": 45_000, "lenet": 750_000, "encoder": 115_000}
"""The most that the interpreter holds at once during one unit, beside what is there before."""


@pytest.fixture(autouse=True)
def tier():
    before = engine.get_tier()
    yield
    engine.set_tier(before)


def _program(name: str):
    return by_name(name).program(torch, Setting(sizes=by_name(name).small))


@pytest.mark.parametrize("name", NODES)
def test_a_unit_records_no_more_than_it_did(name):
    engine.set_tier("interpreter")
    program = _program(name)
    for i in range(2):
        program.unit(program.step, i)
    engine.flush()
    engine.reset_statistics()
    program.unit(program.step, 0)
    engine.flush()
    found = engine.statistics()
    nodes, runs = NODES[name]
    assert found["nodes"] <= nodes
    assert found["flushes"] <= runs
    assert found["programs_seen"] == 0, "a unit that was seen before is a new program"


@pytest.mark.parametrize("name", BYTES)
def test_a_captured_unit_records_and_compiles_nothing(name):
    engine.set_tier("compiled")
    program = _program(name)
    step = torch.compile(program.step)
    for i in range(4):
        program.unit(step, i)
    engine.reset_statistics()
    program.unit(step, 0)
    found = engine.statistics()
    assert found["nodes"] == 0
    assert found["programs_seen"] == 0
    assert found["programs_compiled"] == 0
    assert found["runs_compiled"] == NODES[name][1]
    forms = [form for entry in judge.entries.values() for form in entry.forms.values()]
    needed = max(form.executable.memory().temp_size_in_bytes for form in forms)
    assert needed <= ROOM * BYTES[name]


@pytest.mark.parametrize("name", INTERPRETED_BYTES)
def test_the_interpreter_holds_no_more_than_it_did(name):
    engine.set_tier("interpreter")
    program = _program(name)
    for i in range(3):
        program.unit(program.step, i)
    engine.flush()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        program.unit(program.step, 0)
        engine.flush()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= INTERPRETED_BYTES[name]
