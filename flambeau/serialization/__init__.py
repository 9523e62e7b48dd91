"""Checkpoints: ``torch.save``, ``torch.load`` and what belongs to them."""

from flambeau.serialization.loading import get_unsafe_globals_in_checkpoint, load
from flambeau.serialization.saving import save
from flambeau.serialization.unpickler import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals

__all__ = [
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
]
