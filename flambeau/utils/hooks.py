"""What hooks return when they are registered."""

from flambeau.autograd.hooks import RemovableHandle

__all__ = ["RemovableHandle"]
