"""Writes docs/nn-coverage.md: every public name of PyTorch's torch.nn and what became of it here.

python tests/parity/coverage.py
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import torch

import flambeau

MODULES = ("nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.parametrize", "nn.utils.prune")
TARGET = Path(__file__).parents[2] / "docs" / "nn-coverage.md"
# What is no part of an interface: imports, typing helpers, machinery of PyTorch's own.
OBSOLETE = {"Container": "obsolete", "DataParallel": "obsolete in PyTorch; one program runs on all devices"}


def resolved(library, dotted: str):
    """A module of a library, or None."""
    try:
        return importlib.import_module(f"{library.__name__}.{dotted}")
    except ImportError:
        return None


def public(module) -> list[str]:
    """Names that the module itself offers: classes and functions of PyTorch, not what it imported."""
    names = []
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if not callable(value) or not str(getattr(value, "__module__", "")).startswith("torch"):
            continue
        if name in ("Tensor", "boolean_dispatch", "assert_int_or_pair") or "torch_function" in name:
            continue
        names.append(name)
    return sorted(names)


def state(ours, name: str) -> str:
    if ours is not None and hasattr(ours, name):
        return "here"
    return OBSOLETE.get(name, "missing")


def main() -> None:
    lines = ["# What of torch.nn is here", "", "Written by `python tests/parity/coverage.py`, for PyTorch 2.13.", ""]
    for dotted in MODULES:
        theirs, ours = resolved(torch, dotted), resolved(flambeau, dotted)
        rows = [(name, state(ours, name)) for name in public(theirs)]
        here = sum(1 for _, found in rows if found == "here")
        lines += [f"## torch.{dotted}: {here} of {len(rows)}", "", "| name | state |", "| --- | --- |"]
        lines += [f"| `{name}` | {found} |" for name, found in rows]
        lines.append("")
    TARGET.write_text("\n".join(lines), encoding="utf-8")
    print(f"wrote {TARGET.name}")


if __name__ == "__main__":
    main()
