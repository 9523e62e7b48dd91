"""How exact products of float32 are where the hardware leaves a choice: on GPUs and TPUs, never on the CPU."""

from __future__ import annotations

LEVELS = {"highest": "highest", "high": "high", "medium": "default"}
"""PyTorch's words, and JAX's for the same: float32 itself, TF32 or three bfloat16 passes, the device's fastest."""

level = "highest"
"""PyTorch's word for the level in force; :func:`flambeau.engine.tiers.set_precision` sets it."""


def for_jax() -> str:
    """JAX's word for the level in force."""
    return LEVELS[level]
