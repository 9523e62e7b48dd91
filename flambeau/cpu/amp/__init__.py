"""Older names of :mod:`flambeau.amp` for the CPU."""

from flambeau import dtypes
from flambeau.amp.older import autocast_for, scaler_for

__all__ = ["GradScaler", "autocast"]

autocast = autocast_for("cpu", dtypes.bfloat16)
GradScaler = scaler_for("cpu")
