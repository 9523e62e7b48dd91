"""What the process keeps of freed memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

KEEPING = """
import sys
import flambeau as torch
from flambeau import engine
from flambeau.engine.memory import Gap

if sys.argv[1] == "without":
    Gap.of = classmethod(lambda cls, size: None)


def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


engine.set_tier("compiled")
left = torch.ones(4096, 32)
held = []
most = 0
for i in range(30):
    result = (left @ left.t()).exp() @ left
    result.tolist()
    if i == 0:
        (entry,) = [e for e in engine.judge.entries.values() if len(e.program.steps) > 2]
        needed = entry.forms["compiled"].executable.memory().temp_size_in_bytes
        before = resident()
    # What outlives the step lies beside what the step has freed.
    held.append((result, *[bytes(size) for size in range(600, 40_000, 5_000)]))
    most = max(most, resident())
print(needed, most - before)
"""


def _keeping(how: str) -> tuple[int, int]:
    command = [sys.executable, "-c", KEEPING, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    needed, more = map(int, done.stdout.split())
    return needed, more


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is the GNU library's")
def test_what_a_compiled_program_takes_is_not_kept_twice():
    needed, more = _keeping("with")
    assert needed >= 4096 * 4096 * 4
    assert more < 0.5 * needed
