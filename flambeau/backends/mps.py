"""Apple's GPUs, as far as programs ask about them: ``torch.backends.mps``.  They are not supported."""

from __future__ import annotations


def is_built() -> bool:
    """Whether they are supported: they are not."""
    return False


def is_available() -> bool:
    """Whether one can be used: none can."""
    return False
