"""What surrounds training: data loading and the like."""

from flambeau.utils import data

__all__ = ["data"]
