"""Every example in a docstring runs and prints what it says, in PyTorch too."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest
import torch.nn.utils.prune  # noqa: F401 - PyTorch does not import it by itself

import flambeau

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(flambeau.__path__, "flambeau.") if not m.name.endswith("__main__")
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OURS = "import flambeau as torch"

DIFFERENT = {
    # PyTorch compiles with Inductor, for seconds.
    "flambeau.capture.compile.compile",
    # Additions of Flambeau's.
    "flambeau.engine.report.statistics",
    "flambeau.nn.modules.pooling.MinPool1d",
    "flambeau.nn.modules.pooling.MinPool2d",
    "flambeau.nn.modules.pooling.MinPool3d",
    "flambeau.nn.modules.recurrent.LayerNormLSTMCell",
    "flambeau.nn.modules.recurrent.Recurrent",
}
"""Examples of what PyTorch does not have or does otherwise (docs/differences.md), by the names of what they explain."""


def examples(module: ModuleType) -> list[doctest.DocTest]:
    """The examples in a module's own docstrings that import Flambeau in the place of PyTorch."""
    found = doctest.DocTestFinder(exclude_empty=True).find(module, module.__name__, globs={})
    return [test for test in found if OURS in (test.docstring or "")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=FLAGS)
    assert not failed


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.parametrize("name", MODULES)
def test_examples_in_pytorch(name: str) -> None:
    """What is an example of PyTorch's interface prints there what it prints here."""
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples(importlib.import_module(name)):
        for example in test.examples:
            example.source = example.source.replace(OURS, "import torch")
        # What speaks of Flambeau besides is its own.
        if test.name not in DIFFERENT and not any("flambeau" in example.source for example in test.examples):
            runner.run(test)
    assert not runner.failures


def test_what_is_different_has_an_example() -> None:
    modules = {name.rpartition(".")[0] for name in DIFFERENT}
    assert {test.name for name in modules for test in examples(importlib.import_module(name))} >= DIFFERENT
