"""How exact products of float32 are where the hardware leaves a choice: on GPUs and TPUs, never on the CPU."""

from __future__ import annotations

from flambeau.engine.judge import entries

LEVELS = {"highest": "highest", "high": "high", "medium": "default"}
"""PyTorch's words, and JAX's for the same: float32 itself, TF32 or three bfloat16 passes, the device's fastest."""

_level = "highest"


def get_precision() -> str:
    """PyTorch's word for the level in force."""
    return _level


def set_precision(level: str) -> None:
    """Sets the level of programs compiled from now on; those of another level are forgotten."""
    global _level
    if level != _level:
        _level = level
        entries.clear()


def for_jax() -> str:
    """JAX's word for the level in force."""
    return LEVELS[_level]
