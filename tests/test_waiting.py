"""How long NumPy's threads wait busily: said before NumPy is imported, and not over the user's word."""

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
            print(os.environ.get("OPENBLAS_THREAD_TIMEOUT"))


sys.meta_path.insert(0, Witness())
"""


@pytest.mark.parametrize(("given", "expected"), [({}, "20"), ({"OPENBLAS_THREAD_TIMEOUT": "26"}, "26")])
def test_it_is_set_when_numpy_is_imported(given: dict[str, str], expected: str) -> None:
    assert _seen_by_numpy("import flambeau", given) == expected


def test_benchmarks_import_the_library_before_numpy() -> None:
    begin = "from benchmarks.worker import Worker; Worker('flambeau', 'mlp', {}, 1)"
    assert _seen_by_numpy(begin, {}) == "20"


def _seen_by_numpy(begin: str, given: dict[str, str]) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + begin],
        cwd=Path(__file__).parents[1],
        env=environment | given,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
