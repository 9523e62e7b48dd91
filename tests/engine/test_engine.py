"""The engine: what is run, how often, on which tier, and what is held."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau import engine
from flambeau.engine import judge, memory, tier
from flambeau.ops import operator


@pytest.fixture(autouse=True)
def fresh():
    before = engine.get_tier()
    engine.flush()
    engine.reset_statistics()
    yield
    engine.set_tier(before)


def counted(name: str) -> int:
    return engine.statistics()[name]


def test_nothing_runs_until_a_value_is_wanted():
    x = torch.ones(3)
    y = x * 2 + 1
    assert counted("flushes") == 0
    assert y.tolist() == [3.0, 3.0, 3.0]
    assert counted("flushes") == 1


def test_what_nobody_owns_is_not_run():
    x = torch.ones(3)
    engine.flush()
    engine.reset_statistics()
    kept = x + 1
    dropped = kept * 5
    del dropped
    assert kept.tolist() == [2.0, 2.0, 2.0]
    assert counted("nodes") == 1


def test_no_work_is_done_twice():
    x = torch.ones(3)
    y = x + 1
    assert y.sum().item() == 6.0
    nodes = counted("nodes")
    assert y.sum().item() == 6.0
    assert counted("nodes") == nodes + 1


def test_a_loop_builds_one_program():
    engine.set_tier("interpreter")
    x = torch.ones(3)
    for _ in range(5):
        x = x * 2 + 1
        engine.flush()
    assert counted("programs_seen") <= 2


def test_a_changing_number_costs_no_program():
    engine.set_tier("interpreter")
    x = torch.ones(3)
    engine.flush()
    engine.reset_statistics()
    for i in range(10):
        assert (x * float(i)).sum().item() == 3.0 * i
    assert counted("programs_seen") == 1


def test_a_changing_number_is_compiled_at_most_twice():
    engine.set_tier("compiled")
    x = torch.ones(3)
    engine.flush()
    engine.reset_statistics()
    for i in range(10):
        np.testing.assert_allclose((x * (0.1 * i)).numpy(), np.full(3, 0.1 * i, np.float32), rtol=1e-6)
    assert counted("programs_compiled") == 2


def test_the_second_call_compiles_nothing():
    engine.set_tier("compiled")
    for _ in range(2):
        x = torch.arange(6).reshape(2, 3).float()
        assert x.sum(0).tolist() == [3.0, 5.0, 7.0]
    compiled = counted("programs_compiled")
    x = torch.arange(6).reshape(2, 3).float()
    assert x.sum(0).tolist() == [3.0, 5.0, 7.0]
    assert counted("programs_compiled") == compiled


def test_thirty_lengths_compile_nothing_on_the_first_pass():
    engine.set_tier("auto")
    w = torch.ones(8, 8)
    for length in range(3, 33):
        (torch.ones(length, 8) @ w).tanh().sum().item()
    engine.synchronize()
    assert counted("programs_compiled") == 0


def test_program_cache_is_bounded(monkeypatch):
    engine.set_tier("interpreter")
    monkeypatch.setattr(judge, "ENTRIES_KEPT", 8)
    for length in range(1, 30):
        torch.ones(length).sum().item()
    assert engine.statistics()["programs_held"] <= 8
    assert counted("programs_evicted") > 0


def test_compiled_programs_are_given_up_before_the_system_has_no_room(monkeypatch):
    """Those that ran since room was last made stay; all of them come back when they are wanted."""
    engine.set_tier("compiled")
    # Programs of other tests would be among those that are given up.
    gc.collect()
    crowded = False
    monkeypatch.setattr(tier, "is_crowded", lambda: crowded)
    step = torch.compile(lambda x: (x * 3).sum())
    lengths = [1, 2, 3, 4]
    for length in lengths:
        torch.ones(length).sum().item()
    for _ in range(3):
        step(torch.ones(2)).item()
    crowded = True
    torch.ones(5).sum().item()
    assert counted("programs_evicted") >= len(lengths) // 2
    crowded = False
    built = counted("programs_compiled")
    assert [torch.ones(length).sum().item() for length in lengths] == lengths
    assert step(torch.ones(2)).item() == 6.0
    assert counted("programs_compiled") > built
    torch.ones(4).sum().item()
    crowded = True
    torch.ones(6).sum().item()
    crowded = False
    built = counted("programs_compiled")
    torch.ones(4).sum().item()
    assert counted("programs_compiled") == built


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds a process's mappings")
def test_mappings_stay_within_their_bound(monkeypatch):
    def mappings() -> int:
        return Path("/proc/self/maps").read_bytes().count(b"\n")

    engine.set_tier("compiled")
    torch.ones(3).sum().item()
    gc.collect()
    allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    start = mappings()
    monkeypatch.setattr(memory, "MAPPINGS_USED", (start + 50) / allowed)
    for length in range(4, 24):
        torch.ones(length).softmax(0).cumsum(0).sum().item()
    assert counted("programs_evicted") > 0
    assert mappings() < start + 150


def test_a_long_chain_that_nobody_reads_flushes_by_itself():
    total = torch.zeros(())
    one = torch.ones(())
    for _ in range(10_000):
        total = total + one
    assert counted("flushes") >= 2
    assert total.item() == 10_000.0


@pytest.mark.parametrize("tier", ["interpreter", "compiled"])
def test_an_operation_with_several_results_may_be_what_fills_the_record(tier, monkeypatch):
    engine.set_tier(tier)
    monkeypatch.setattr(operator, "LIMIT", 8)
    x = torch.tensor([[1.0, 3.0, 2.0]])
    # Each in turn is the one after which nothing more may wait.
    for steps in range(4, 10):
        engine.flush()
        kept = [x + 1 for _ in range(steps)]
        values, indices = x.max(dim=1)
        assert (values.tolist(), indices.tolist()) == ([3.0], [1])
        assert len(kept) == steps


def test_unread_running_total_holds_memory_steady():
    """A thousand steps with statistics, a total that nobody reads, and inputs of differing length."""
    engine.set_tier("interpreter")
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm1d(4)
    layer = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD([*norm.parameters(), *layer.parameters()], lr=0.01)
    total = torch.zeros(())
    held = []
    nodes = []
    for i in range(1000):
        x = torch.ones(3 + i % 7, 4) * torch.arange(4).float()
        optimizer.zero_grad()
        loss = layer(norm(x)).square().mean()
        loss.backward()
        optimizer.step()
        total += loss.detach()
        if i in (200, 999):
            gc.collect()
            held.append(sum(1 for o in gc.get_objects() if type(o).__name__ in ("Node", "Tensor", "GradNode")))
        if i > 900:
            nodes.append(counted("nodes"))
    assert held[1] <= held[0] + 20, "nodes or tensors pile up"
    steps = np.diff(nodes)
    assert steps.max() == steps.min(), "a step's work is run more than once"
    assert torch.isfinite(total).item()


@pytest.mark.parametrize("tier", ("auto", "interpreter", "compiled"))
def test_an_error_in_a_kernel_reaches_who_asks_and_nobody_else(tier):
    engine.set_tier(tier)
    good = torch.ones(2) + 1
    table = torch.arange(6).reshape(3, 2)
    with pytest.raises(IndexError):
        torch.index_select(table, 0, torch.tensor([5])).tolist()
    assert good.tolist() == [2.0, 2.0]
    assert table.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("use", [lambda bad: bad.reshape(1, 2).clone(), lambda bad: torch.stack([bad, bad])])
def test_what_is_made_of_a_failed_result_raises_its_error(use):
    engine.set_tier("interpreter")
    place = torch.tensor([[7], [8]]) + 0
    bad = torch.ones(2, 3).gather(1, place)
    message = "out of bounds for dimension 1 with size 3"
    with pytest.raises(RuntimeError, match=message):
        bad.tolist()
    made, apart = use(bad), torch.ones(2) + 1
    with pytest.raises(RuntimeError, match=message):
        made.tolist()
    assert apart.tolist() == [2.0, 2.0]


def test_setting_an_unknown_tier_raises():
    with pytest.raises(ValueError, match="the tier must be one of auto, interpreter, compiled, both, got 'fast'"):
        engine.set_tier("fast")


def test_import_needs_no_jax():
    import subprocess
    import sys

    code = "import sys, flambeau; assert 'jax' not in sys.modules and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_debug_mode_names_the_operation_that_disagrees(monkeypatch):
    from flambeau.engine.compare import TiersDisagree
    from flambeau.ops.operator import OPERATORS

    engine.set_tier("both")
    x = torch.ones(3)
    assert (x * 2).exp().sum().item() == pytest.approx(3 * np.exp(2.0))
    monkeypatch.setattr(OPERATORS["neg"], "lax", lambda xp, x: x)
    with pytest.raises(
        TiersDisagree, match=r"neg: result 0 differs between the interpreter and XLA: neg\(float32\[3\]\)"
    ):
        (-x).tolist()


def test_determinism_fixes_when_a_program_is_compiled():
    engine.set_tier("auto")
    torch.use_deterministic_algorithms(True)
    try:
        engine.reset_statistics()
        for _ in range(5):
            (torch.ones(7) * 3).sum().item()
        assert counted("runs_interpreted") == 2
        assert counted("runs_compiled") == 3
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_a_value_without_dimensions_is_viewed(dtype):
    # NumPy may hold it as a scalar, whose type need not have an array's methods.
    engine.set_tier("interpreter")
    x = torch.ones(2, dtype=dtype)
    assert x[0].view(1, 1).permute(1, 0).tolist() == [[1]]
    assert x.sum().view(1, 1).transpose(0, -1).tolist() == [[2]]
