"""The thread that compiles in the background."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRIORITY = """
import os
import threading

first = os.getpriority(os.PRIO_PROCESS, 0)
os.nice(3)

import flambeau as torch
from flambeau import engine

x = torch.ones(256, 256)
while not engine.statistics()["programs_compiled"]:
    (x @ x).exp().sum().tolist()
(builder,) = [thread for thread in threading.enumerate() if thread.name.startswith("flambeau-tiers")]
print(os.getpriority(os.PRIO_PROCESS, builder.native_id) - first)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all threads are alike")
def test_what_compiles_steps_back_behind_a_process_that_has_stepped_back_itself(tmp_path):
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-c", PRIORITY],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"FLAMBEAU_CACHE_DIR": str(tmp_path)},
    )
    assert done.stdout == "8\n"
