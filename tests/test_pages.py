"""What NumPy is told before it is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ADVISED = """
import flambeau as torch

held = torch.ones(4096, 4096) + 1
held.tolist()
with open("/proc/self/smaps") as maps:
    print(sum(" hg " in line for line in maps if line.startswith("VmFlags:")))
"""


def _advised(**variables: str) -> int:
    env = {name: value for name, value in os.environ.items() if name != "NUMPY_MADVISE_HUGEPAGE"} | variables
    done = subprocess.run([sys.executable, "-c", ADVISED], capture_output=True, text=True, check=True, env=env)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked for huge pages")
def test_no_huge_pages_are_asked_for_unless_the_user_says_so():
    assert _advised() == 0
    if not _advised(NUMPY_MADVISE_HUGEPAGE="1"):
        pytest.skip("this system tells of no advice on pages, or NumPy gives none")
