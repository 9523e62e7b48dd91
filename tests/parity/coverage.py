"""Writes docs/nn-coverage.md: every public name of PyTorch's torch.nn and what became of it here.

python tests/parity/coverage.py
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType

import torch

import flambeau

MODULES = (
    "nn",
    "nn.functional",
    "nn.init",
    "nn.utils",
    "nn.utils.rnn",
    "nn.utils.parametrize",
    "nn.utils.parametrizations",
    "nn.utils.prune",
    "nn.utils.fusion",
    "nn.utils.stateless",
    "nn.parameter",
    "nn.attention",
    "nn.attention.bias",
    "nn.attention.flex_attention",
    "nn.attention.varlen",
    "nn.grad",
)
TARGET = Path(__file__).parents[2] / "docs" / "nn-coverage.md"
HERE = "here"
# What is left out on purpose, each with the reason.
LEFT_OUT = {
    **dict.fromkeys(
        [
            "activate_flash_attention_impl",
            "current_flash_attention_impl",
            "list_flash_attention_impls",
            "register_flash_attention_impl",
            "restore_flash_attention_impl",
        ],
        "GPU: chooses among versions of a kernel that is PyTorch's own",
    ),
    "ScalingType": "quantised: belongs to the products of 8-bit floats",
    "SwizzleType": "quantised: belongs to the products of 8-bit floats",
    "scaled_mm": "quantised: products of 8-bit floats with scales",
    "scaled_grouped_mm": "quantised: products of 8-bit floats with scales",
}
# Functions that PyTorch's modules import for their own use, from a place that passes for torch.nn's.
IMPORTED = {"assert_int_or_pair", "boolean_dispatch", "NamedMemberAccessor", "bind"}


def public(module: ModuleType) -> list[str]:
    """Names that a module of PyTorch itself offers: its classes and functions, not what it imported."""
    listed = getattr(module, "__all__", None)
    names = []
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value) or not callable(value) or name in IMPORTED:
            continue
        home = str(getattr(value, "__module__", None) or "torch._C._nn")
        # The functions that are built into PyTorch have another home than the module that offers them.
        builtin = inspect.isbuiltin(value) and home.startswith(("torch._C._nn", "torch"))
        if name in (listed or ()) or home.startswith("torch.nn") or (builtin and "overrides" not in home):
            if name.startswith("has_torch_function") or name == "handle_torch_function":
                continue
            names.append(name)
    return sorted(names)


def state(ours: ModuleType, name: str) -> str:
    """What became of a name: here, left out for a reason, or missing."""
    return HERE if hasattr(ours, name) else LEFT_OUT.get(name, "missing")


def table() -> dict[str, list[tuple[str, str]]]:
    """For each of PyTorch's modules, its names with their state."""
    found = {}
    for dotted in MODULES:
        theirs = importlib.import_module(f"torch.{dotted}")
        ours = importlib.import_module(f"flambeau.{dotted}")
        found[dotted] = [(name, state(ours, name)) for name in public(theirs)]
    return found


def text() -> str:
    """The whole document."""
    lines = [
        "# What of torch.nn is here",
        "",
        f"Written by `python tests/parity/coverage.py`, for PyTorch {torch.__version__.split('+')[0]}; a test keeps it",
        "current. What is not here says why.",
        "",
    ]
    for dotted, rows in table().items():
        here = sum(1 for _, found in rows if found == HERE)
        lines += [f"## torch.{dotted}: {here} of {len(rows)}", "", "| name | state |", "| --- | --- |"]
        lines += [f"| `{name}` | {found} |" for name, found in rows]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.name}: {flambeau.__name__} beside PyTorch {torch.__version__}")
