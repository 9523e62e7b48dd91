"""The training example: killed at any moment and resumed, it goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import flambeau

PROGRAM = Path(__file__).parents[2] / "examples" / "digits_training.py"
# The interpreter alone, since which step the compiled tier takes over at is a matter of time, and its last bits differ.
ENVIRONMENT = {**os.environ, "FLAMBEAU_TIER": "interpreter", "PYTHONPATH": str(PROGRAM.parents[1])}


def command(folder: Path, *options: str) -> list[str]:
    sizes = ("--epochs", "3", "--every", "4", "--lr", "1e-2", *options)
    return [sys.executable, str(PROGRAM), "--folder", str(folder), *sizes]


def run(folder: Path, *options: str) -> str:
    done = subprocess.run(command(folder, *options), env=ENVIRONMENT, capture_output=True, text=True)
    # Three epochs may fall short of the accuracy that the example asks for; what counts here is the way there.
    assert done.returncode == 0 or "FAILED: digits_training" in done.stderr, done.stderr
    return done.stdout


def killed(folder: Path, checkpoints: int, *options: str) -> None:
    """Runs until so many checkpoints have been written, and kills the process."""
    path = folder / "checkpoint.pt"
    seen = {path.stat().st_mtime_ns} if path.exists() else set()
    already = len(seen)
    process = subprocess.Popen(command(folder, *options), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    limit = time.monotonic() + 120
    while len(seen) - already < checkpoints:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < limit
        if path.exists():
            seen.add(path.stat().st_mtime_ns)
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def equal(one: Any, other: Any, where: str = "checkpoint") -> None:
    """Asserts that two checkpoints agree to the bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            equal(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            equal(a, b, f"{where}[{i}]")
    elif isinstance(one, flambeau.Tensor):
        assert one.dtype is other.dtype and flambeau.equal(one, other), where
    else:
        assert one == other, where


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_run_killed_twice_is_the_uninterrupted_one(dtype: str, tmp_path: Path) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    # Without a checkpoint there is nothing to resume.
    assert "starting at step 0" in run(whole, "--dtype", dtype, "--resume")
    killed(torn, 3, "--dtype", dtype)
    first = flambeau.load(torn / "checkpoint.pt")["run"]["step"]
    killed(torn, 11, "--dtype", dtype, "--resume")
    second = flambeau.load(torn / "checkpoint.pt")["run"]["step"]
    assert 0 < first < second < 135
    assert f"resumed at step {second}" in run(torn, "--dtype", dtype, "--resume")

    ours, theirs = (flambeau.load(folder / "checkpoint.pt") for folder in (torn, whole))
    assert theirs["run"]["step"] == len(theirs["run"]["losses"]) == 135
    equal(ours, theirs)
    assert theirs["run"]["losses"][-1] < theirs["run"]["losses"][0]
    # TensorBoard sees one run: what was logged twice is hidden.
    assert scalars(torn) == scalars(whole)
    assert len(scalars(torn)["training/loss"]) == 135


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    # A rate far too high: the loss does not go on falling.
    said = run(tmp_path, "--epochs", "12", "--lr", "0.5", "--patience", "1")
    kept = flambeau.load(tmp_path / "checkpoint.pt")
    assert kept["run"]["stopped"]
    assert kept["run"]["epoch"] < 12
    assert f"best held-out loss {kept['stopping']['best']:.4f}" in said
