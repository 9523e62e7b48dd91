"""The benchmarks at small sizes: every library computes the same, and the figures are put together rightly."""

from __future__ import annotations

import json

import pytest
import torch

import flambeau
from benchmarks import __main__ as command
from benchmarks import recurrent, report, runner, scaling
from benchmarks.libraries import environment
from benchmarks.setting import Setting, weight
from benchmarks.worker import numbers
from benchmarks.workloads import all_workloads

UNITS = 3


def results(program) -> list[list[float]]:
    """What a workload's first units give."""
    return [numbers(program.unit(program.step, i)) for i in range(UNITS)]


@pytest.mark.parametrize("workload", all_workloads(), ids=lambda workload: workload.name)
class TestWorkload:
    def test_flambeau_computes_what_pytorch_computes(self, workload):
        setting = Setting(sizes=workload.small)
        wanted = results(workload.program(torch, setting))
        found = results(workload.program(flambeau, setting))
        assert runner.first_difference(found, wanted, 1e-3) is None

    def test_the_floor_computes_what_pytorch_computes(self, workload):
        pytest.importorskip("jax")
        setting = Setting(sizes=workload.small)
        wanted = results(workload.program(torch, setting))
        assert runner.first_difference(results(workload.floor(setting)), wanted, 1e-3) is None


def test_weights_depend_on_the_name_alone():
    assert (weight("a.weight", (3, 4)) == weight("a.weight", (3, 4))).all()
    assert (weight("a.weight", (3, 4)) != weight("b.weight", (3, 4))).any()
    assert abs(weight("norm.weight", (500,)).mean() - 1) < 0.05
    assert abs(weight("norm.bias", (500,)).mean()) < 0.05


def test_ratios_are_taken_round_by_round():
    line = runner.Line(1, "mlp", "MLP")
    line.seconds = {
        "flambeau": [1.0, 2.0, 4.0],
        "flambeau-compiled": [0.5, 1.0, 1.0],
        "pytorch": [2.0, 6.0, 4.0],
        "pytorch-compiled": [9.0],
        "jax": [0.25, 1.0, 2.0],
    }
    assert line.best_peer() == "pytorch"
    assert line.ratios() == {"plain": 2.0, "compiled": 4.0, "floor": 1.0}
    assert runner.Line(1, "", "").ratios() == {"plain": None, "compiled": None, "floor": None}


def test_other_results_fail_and_are_named():
    line = runner.Line(1, "mlp", "MLP")
    runner.compare(line, {"pytorch": [[1.0], [2.0]], "jax": [[1.0001], [2.0]], "flambeau": [[1.0], [2.5]]}, 1e-3)
    assert line.failed == {"flambeau"}
    assert line.notes == {"flambeau": "unit 1 gives 2.5, PyTorch's gives 2"}
    assert runner.first_difference([[float("nan")]], [[1.0]], 1e-3) == "unit 0 gives nan, PyTorch's gives 1"
    assert runner.first_difference([[1.0, 2.0]], [[1.0]], 1e-3) == "unit 0 has 2 results, PyTorch's has 1"


def test_durations():
    assert [report.duration(s) for s in (None, 2e-5, 0.00234, 0.5, 12.345)] == [
        "-",
        "20 us",
        "2.34 ms",
        "500 ms",
        "12.3 s",
    ]


def test_growth_is_the_slope_of_the_logarithms():
    assert scaling.points(64, 4) == [64, 128, 256, 512, 1024]
    assert scaling.growth([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)


def test_every_process_gets_as_many_threads_and_its_cache(tmp_path):
    env = environment(3, str(tmp_path))
    assert {env[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"3"}
    assert env["FLAMBEAU_CACHE_DIR"].startswith(str(tmp_path))


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--workloads", "11"])
    assert "there is no workload '11'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["--contenders", "tinygrad"])
    assert "there is no contender 'tinygrad'" in capsys.readouterr().err


def test_the_command_measures_prints_and_writes(tmp_path, capsys):
    path = tmp_path / "figures.json"
    words = ["--workloads", "mlp", "--rounds", "2", "--threads", "1", "--contenders", "flambeau,pytorch"]
    status = command.main([*words, "--json", str(path)])
    printed = capsys.readouterr().out
    assert status == 0, printed
    (line,) = json.loads(path.read_text())["lines"]
    assert line["failed"] == []
    assert {name: len(taken) for name, taken in line["seconds"].items()} == {"flambeau": 2, "pytorch": 2}
    assert line["ratios"]["plain"] > 0
    assert line["memory"]["pytorch"]["peak_bytes"] > 2**20
    assert " 1 MLP 100-200-10, batch 64, SGD step" in printed
    assert (tmp_path / "figures.png").stat().st_size > 0


def test_recurrent_layers_are_timed_beside_cells_of_their_size(capsys):
    recurrent.report(2, "RNN", warm_up=1, rounds=1)
    title, header, layer, cell = capsys.readouterr().out.splitlines()
    assert title == "T 2, N 16, 64 to 128: milliseconds, and times the built-in layer's"
    assert header.split("  ")[-1].strip() == "step, compile"
    assert layer.startswith("nn.RNN") and layer.count("(1.00)") == 4
    assert cell.startswith("Recurrent(RNNCell)")


def test_the_layer_normalized_cell_is_timed_beside_one_written_by_hand(capsys):
    flambeau.manual_seed(0)
    x = flambeau.randn(3, recurrent.BATCH, recurrent.INPUTS)
    flambeau.manual_seed(1)
    ours = recurrent.step_of(
        flambeau.nn.Recurrent(flambeau.nn.LayerNormLSTMCell(recurrent.INPUTS, recurrent.HIDDEN)), x
    )
    flambeau.manual_seed(1)
    theirs = recurrent.by_hand(x)["step, compile"]
    for _ in range(3):
        assert ours().item() == pytest.approx(float(theirs()), rel=1e-4)
    recurrent.report(2, "LayerNorm", warm_up=1, rounds=1)
    *_, cell, hand = capsys.readouterr().out.splitlines()
    assert cell.startswith("Recurrent(LayerNormLSTMCell)")
    assert hand.startswith(recurrent.BY_HAND) and hand.count("-") == 2
