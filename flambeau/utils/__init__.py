"""What surrounds training: data loading and the like."""

from typing import Any

from flambeau.utils import data

__all__ = ["data"]


def __getattr__(name: str) -> Any:
    if name not in ("checkpoint", "dlpack", "hooks"):
        raise AttributeError(f"module 'flambeau.utils' has no attribute '{name}'")
    from importlib import import_module

    # Imported when first asked for: not every program needs them.
    return import_module(f"flambeau.utils.{name}")
