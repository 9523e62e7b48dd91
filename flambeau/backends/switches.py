"""Attributes that check what they are set to, of modules too."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from flambeau.engine import precision, tiers
from flambeau.engine.precision import word_for


class SwitchModule(ModuleType):
    """A module with attributes that check what they are set to."""


def become(name: str, kind: type[SwitchModule]) -> None:
    """Makes a module that is being imported one of a kind with such attributes."""
    sys.modules[name].__class__ = kind


def checked(setter: str, value: Any) -> bool:
    """What a switch is set to.

    Args:
        setter: PyTorch's name for what sets it, as its message tells.

    Raises:
        RuntimeError: unless it is True or False.
    """
    if not isinstance(value, bool):
        raise RuntimeError(f"{setter} expects a bool, but got {type(value).__name__}")
    return value


class Switch:
    """A switch that is kept and has no effect.

    Args:
        setter: PyTorch's name for what sets it.
        value: what it is at first.
    """

    def __init__(self, setter: str, value: bool) -> None:
        self.setter = setter
        self.value = value

    def __get__(self, owner: Any, kind: Any = None) -> bool:
        return self.value

    def __set__(self, owner: Any, value: Any) -> None:
        self.value = checked(self.setter, value)


# ---------------------------------------------------------------- how exact products are


def set_word(about: str, word: str) -> None:
    """Sets the word for something, and for all that leaves it to that.

    Raises:
        RuntimeError: for an unknown word.
    """
    if word not in ("none", "ieee", "tf32", "bf16"):
        raise RuntimeError(f"Unknown precision: {word}")
    if word == "bf16" and about != "generic":
        raise RuntimeError("backend 'cuda' does not support precision 'bf16'")
    before = word_for("matmul")
    precision.words[about] = word
    after = word_for("matmul")
    if about == "matmul" or after != before:
        tiers.set_precision("high" if after == "tf32" else "highest")
    tiers.set_convolutions(word_for("conv") == "tf32")


class Precision:
    """How exact products of float32 must be: ``"ieee"``, ``"tf32"``, or ``"none"``, which leaves it to the whole.

    Args:
        about: what it holds for.
    """

    def __init__(self, about: str) -> None:
        self.about = about

    def __get__(self, owner: Any, kind: Any = None) -> str:
        return word_for(self.about)

    def __set__(self, owner: Any, word: str) -> None:
        set_word(self.about, word)


class Attributes:
    """What has certain attributes and takes no others."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"Unknown attribute {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(f"Unknown attribute {name}")
        super().__setattr__(name, value)
