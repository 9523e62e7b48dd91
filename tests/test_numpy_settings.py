"""What is set for NumPy: before it is imported, and not over the user's word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
import sys


class Witness:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print(*map(os.environ.get, ("OPENBLAS_THREAD_TIMEOUT", "NUMPY_MADVISE_HUGEPAGE")))


sys.meta_path.insert(0, Witness())
"""


ADVISED = """
import flambeau as torch

held = torch.ones(4096, 4096) + 1
held.tolist()
with open("/proc/self/smaps") as maps:
    print(sum(" hg " in line for line in maps if line.startswith("VmFlags:")))
"""

USER = {"OPENBLAS_THREAD_TIMEOUT": "26", "NUMPY_MADVISE_HUGEPAGE": "1"}


@pytest.mark.parametrize(("given", "expected"), [({}, "20 0"), (USER, "26 1")])
def test_they_are_set_when_numpy_is_imported(given: dict[str, str], expected: str) -> None:
    assert _said(PROGRAM + "import flambeau", given) == expected


def test_benchmarks_import_the_library_before_numpy() -> None:
    begin = "from benchmarks.worker import Worker; Worker('flambeau', 'mlp', {}, 1)"
    assert _said(PROGRAM + begin, {}) == "20 0"


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the system has no huge pages")
def test_no_huge_pages_are_asked_for_unless_the_user_says_so() -> None:
    assert int(_said(ADVISED, {})) == 0
    assert int(_said(ADVISED, USER)) > 0


def _said(program: str, given: dict[str, str]) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in USER}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        env=environment | given,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
