"""What CONTRIBUTING.md says of adding an operator and a layer is true to the letter."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("flambeau", "tests/ops", "tests/conftest.py", "tests/test_namespace.py", "pyproject.toml")


def block(heading: str) -> str:
    """The first block of Python under a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {heading}\n.*?^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found, f"no code under {heading!r}"
    return found[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the parts of the tree that an operator has to do with."""
    for part in PARTS:
        source, target = ROOT / part, tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    return tmp_path


def run(place: Path, *command: str) -> str:
    settings = {**os.environ, "PYTHONPATH": str(place)}
    done = subprocess.run(
        [sys.executable, *command], cwd=place, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


USE = """
import flambeau as torch
from flambeau.ops import math
assert math.__file__.startswith({place!r})
x = torch.tensor([1.0, 2.0], requires_grad=True)
x.cube().sum().backward()
assert x.grad.tolist() == [3.0, 12.0]
out = torch.zeros(2)
assert torch.cube(x.detach(), out=out) is out and out.tolist() == [1.0, 8.0]
assert out.cube_() is out and out.tolist() == [1.0, 512.0]
import doctest
finder = doctest.DocTestFinder()
assert [test.name for test in finder.find(math.cube, "cube") if test.examples] == ["cube"]
runner = doctest.DocTestRunner()
for test in finder.find(math.cube, "cube"):
    assert not runner.run(test).failed
"""


def test_an_operator_is_one_block_and_one_line(copy: Path) -> None:
    family = copy / "flambeau/ops/math.py"
    family.write_text(f"{family.read_text(encoding='utf-8')}\n\n{block('Adding an operator')}", encoding="utf-8")
    package = copy / "flambeau/__init__.py"
    before = package.read_text(encoding="utf-8")
    # The one line that exports it.
    after = before.replace("OPERATORS = (\n", 'OPERATORS = (\n    "cube",\n', 1)
    assert after != before
    package.write_text(after, encoding="utf-8")

    run(copy, "-c", USE.format(place=str(copy)))
    generic = ("test_operators.py", "test_mapped.py", "test_second_derivatives.py")
    told = run(
        copy, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-k", "cube or list_of_public or has_examples",
        *(f"tests/ops/{name}" for name in generic), "tests/test_namespace.py",
    )  # fmt: skip
    for test in (
        "test_operators.py::test_values_and_gradients_agree_with_pytorch[interpreter-cube-0] PASSED",
        "test_operators.py::test_values_and_gradients_agree_with_pytorch[compiled-cube-0] PASSED",
        "test_operators.py::test_first_derivative_by_finite_differences[cube-0] PASSED",
        "test_second_derivatives.py::test_second_derivative_by_finite_differences[cube-0] PASSED",
        "test_operators.py::test_every_operator_has_examples PASSED",
        "test_namespace.py::test_the_list_of_public_operators_is_complete PASSED",
    ):
        assert test in told, told
    assert re.search(r"test_mapped.py::\S*cube-0\S* PASSED", told)


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed")
def test_the_operator_is_written_as_the_tree_is(copy: Path) -> None:
    family = copy / "flambeau/ops/math.py"
    family.write_text(f"{family.read_text(encoding='utf-8')}\n\n{block('Adding an operator')}", encoding="utf-8")
    run(copy, "-m", "ruff", "check", "--no-cache", str(family))
    run(copy, "-m", "ruff", "format", "--no-cache", "--check", str(family))


def test_the_layer_works_as_it_stands() -> None:
    import flambeau.nn.modules.linear as family

    source = block("Adding a layer")
    names = {**vars(family)}
    exec(compile("from __future__ import annotations\n" + source, "CONTRIBUTING.md", "exec"), names)
    import flambeau

    layer = names["Scale"](3)
    assert repr(layer) == "Scale(features=3)"
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    layer(flambeau.ones(2, 3)).sum().backward()
    assert layer.weight.grad.tolist() == [2.0, 2.0, 2.0]
