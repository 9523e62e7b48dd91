"""Apple's GPUs, as far as programs ask about them: ``torch.backends.mps``.  They are not supported."""

from __future__ import annotations


def is_built() -> bool:
    """Whether they are supported: they are not.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.mps.is_built()
        False
    """
    return False


def is_available() -> bool:
    """Whether one can be used: none can.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.mps.is_available()
        False
    """
    return False
