"""How exact products of float32 are where the hardware leaves a choice: on GPUs and TPUs, never on the CPU."""

from __future__ import annotations

LEVELS = {"highest": "highest", "high": "high", "medium": "default"}
"""PyTorch's words, and JAX's for the same: float32 itself, TF32 or three bfloat16 passes, the device's fastest."""

level = "highest"
"""PyTorch's word for the level in force; :func:`flambeau.engine.tiers.set_precision` sets it."""

convolutions = True
"""Whether convolutions of float32 may be TF32 on GPUs, as they may in PyTorch unless told otherwise;
:func:`flambeau.engine.tiers.set_convolutions` sets it."""


def for_jax() -> str:
    """JAX's word for the level in force."""
    return LEVELS[level]


_PARENTS = {"matmul": "cuda", "conv": "cuda", "rnn": "cuda", "cuda": "generic"}
words = {"generic": "none", "cuda": "none", "matmul": "none"}
"""What was asked for, by what it is about: ``"ieee"``, ``"tf32"``, or ``"none"``, which leaves it to the more general.

Where nothing is said at all, convolutions and recurrent layers may be TF32.
"""


def word_for(about: str) -> str:
    """The word that holds for something: its own, or that of what is more general."""
    asked = about
    while words.get(about, "none") == "none" and about in _PARENTS:
        about = _PARENTS[about]
    found = words[about]
    if found == "none" and asked not in words:
        return "tf32"
    # What all backends may do, CUDA's does not.
    return "none" if found == "bf16" and asked != "generic" else found
