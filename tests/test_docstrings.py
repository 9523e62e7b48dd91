"""Every example in a docstring runs and prints what it says, in PyTorch too; every public name has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch.nn.utils.prune  # noqa: F401 - PyTorch does not import it by itself

import flambeau

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(flambeau.__path__, "flambeau.") if not m.name.endswith("__main__")
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OURS = "import flambeau as torch"
THEIRS = re.compile(r"(from )flambeau(?=\.(?!safetensors)\S+ import)")

SPACES = [
    f"flambeau.{space}".rstrip(".")
    for space in """
        . nn nn.functional nn.init nn.utils nn.utils.rnn nn.utils.parametrize nn.utils.parametrizations nn.utils.prune
        nn.utils.stateless nn.attention nn.attention.bias nn.attention.flex_attention nn.parallel special linalg fft
        signal.windows optim optim.lr_scheduler optim.swa_utils utils.data utils.checkpoint utils.dlpack autograd
        autograd.graph autograd.functional autograd.forward_ad func amp random serialization masked engine cpu cpu.amp
        cuda cuda.amp accelerator symbolic safetensors
    """.split()
]
"""The public namespaces."""

DIFFERENT = {
    # PyTorch compiles with Inductor, for seconds.
    "flambeau.capture.compile.compile",
    # PyTorch warns of what is not compiled, and gives no maxima of scores on the CPU.
    "flambeau.nn.attention.flex_attention.AuxOutput",
    "flambeau.nn.attention.flex_attention.AuxRequest",
    "flambeau.nn.attention.flex_attention.FlexKernelOptions",
    "flambeau.nn.attention.flex_attention.flex_attention",
    # PyTorch has it on GPUs alone.
    "flambeau.nn.attention.varlen.AuxRequest",
    "flambeau.nn.attention.varlen.varlen_attn",
    "flambeau.nn.attention.varlen.varlen_attn_out",
    # There are no sparse gradients.
    "flambeau.optim.sparse_adam.SparseAdam",
    # Denormal numbers are as the processor and XLA treat them.
    "flambeau.settings.set_flush_denormal",
    # Without a GPU PyTorch refuses.
    "flambeau.nn.parallel.data_parallel.data_parallel",
    # oneDNN is PyTorch's.
    "flambeau.backends.mkldnn.is_available",
    # Additions of Flambeau's.
    "flambeau.engine.report.statistics",
    "flambeau.nn.functional.min_pool1d",
    "flambeau.nn.functional.min_pool2d",
    "flambeau.nn.functional.min_pool3d",
    "flambeau.nn.modules.pooling.MinPool1d",
    "flambeau.nn.modules.pooling.MinPool2d",
    "flambeau.nn.modules.pooling.MinPool3d",
    "flambeau.nn.modules.recurrent.LayerNormLSTMCell",
    "flambeau.nn.modules.recurrent.Recurrent",
    "flambeau.tensor.printing.get_printoptions",
    "flambeau.tensor.printing.printoptions",
    "flambeau.utils.data.dataloader.DataLoader.load_state_dict",
    "flambeau.utils.data.dataloader.DataLoader.state_dict",
}
"""Examples of what PyTorch does not have or does otherwise (docs/differences.md), by the names of what they explain."""


def public() -> Iterator[tuple[str, Any]]:
    """Flambeau's functions and classes in the public namespaces, and the Tensor's methods, each once."""
    seen = set()
    for space in [*SPACES, "flambeau.Tensor"]:
        holder = flambeau.Tensor if space == "flambeau.Tensor" else importlib.import_module(space)
        # What a module imports when it is first asked for is not among its names before.
        names = {*dir(holder), *getattr(holder, "_NAMES_LATER", ())}
        for name in getattr(holder, "__all__", None) or sorted(name for name in names if not name.startswith("_")):
            found = inspect.unwrap(getattr(holder, name))
            if not (inspect.isfunction(found) or inspect.isclass(found)) or id(found) in seen:
                continue
            if (found.__module__ or "").startswith("flambeau"):
                seen.add(id(found))
                yield f"{space}.{name}", found


def is_in_its_module(found: Any) -> bool:
    """Whether doctest finds it: not what a factory made that stands in another module."""
    home = sys.modules[found.__globals__["__name__"] if inspect.isfunction(found) else found.__module__]
    return inspect.unwrap(getattr(home, found.__name__, None)) is found  # type: ignore[arg-type]


def examples(name: str) -> list[doctest.DocTest]:
    """Those of a module, or of what factories made for a public namespace."""
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=name in MODULES)
    if name in MODULES:
        return finder.find(importlib.import_module(name), name)
    made = [(path, found) for path, found in public() if path.rpartition(".")[0] == name.removesuffix(" by factories")]
    return [
        test
        for path, found in made
        if not is_in_its_module(found)
        for test in finder.find(found, path, module=False, globs={})  # type: ignore[arg-type]
    ]


FOR_ACCELERATORS = ("flambeau.accelerator", "flambeau.cuda", "flambeau.streams", "flambeau.ops.cast")
"""Modules with examples of what there is only with an accelerator."""

WHERE = [*MODULES, *(f"{space} by factories" for space in (*SPACES, "flambeau.Tensor"))]


@pytest.mark.parametrize("name", WHERE)
def test_examples(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples(name):
        runner.run(test)
    assert not runner.failures


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning")
@pytest.mark.filterwarnings("ignore:.*is deprecated in favor of:UserWarning")
@pytest.mark.parametrize("name", WHERE)
def test_examples_in_pytorch(name: str) -> None:
    """What is an example of PyTorch's interface prints there what it prints here."""
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples(name):
        text = test.docstring or ""
        if test.name in DIFFERENT or not (OURS in text or THEIRS.search(text)):
            continue
        test.globs.clear()
        for example in test.examples:
            example.source = THEIRS.sub(r"\1torch", example.source.replace(OURS, "import torch"))
        # What calls itself by another name is Flambeau's own.
        if not any("flambeau" in example.source for example in test.examples):
            runner.run(test)
    assert not runner.failures


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(FOR_ACCELERATORS)])
def test_examples_with_accelerators(accelerators: Any, name: str) -> None:
    stands_in = accelerators[0].platform == "cpu"
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples(name):
        # What stands in for a GPU has no figures of memory, nor a compute capability.
        if not (stands_in and ("memory" in test.name or "properties" in test.name)):
            runner.run(test)
    assert not runner.failures


def test_what_is_different_has_an_example() -> None:
    assert {test.name for name in WHERE for test in examples(name)} >= DIFFERENT


def is_a_form_of_another(found: Any) -> bool:
    """Whether a rule made it of a function whose example is enough."""
    return (found.__doc__ or "").startswith(("In-place form of", "Deprecated form of", "Deprecated name of"))


WITHOUT = {
    # They need a GPU and the package nvidia-ml-py.
    "flambeau.cuda.clock_rate",
    "flambeau.cuda.device_memory_used",
    "flambeau.cuda.list_gpu_processes",
    "flambeau.cuda.memory_usage",
    "flambeau.cuda.power_draw",
    "flambeau.cuda.temperature",
    "flambeau.cuda.utilization",
    # They always raise.
    "flambeau.cuda.can_device_access_peer",
    "flambeau.Tensor.chalf",
    "flambeau.masked.MaskedTensor",
    "flambeau.masked.as_masked_tensor",
    "flambeau.masked.masked_tensor",
}
"""Public names that need no example."""


def test_every_other_public_name_has_an_example() -> None:
    lacking = {
        name for name, found in public() if ">>>" not in (found.__doc__ or "") and not is_a_form_of_another(found)
    }
    assert lacking == WITHOUT
