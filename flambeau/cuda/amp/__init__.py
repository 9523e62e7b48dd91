"""Older names of :mod:`flambeau.amp` for GPUs."""

from flambeau import cuda, dtypes
from flambeau.amp.older import autocast_for, custom_bwd, custom_fwd, scaler_for

__all__ = ["GradScaler", "amp_definitely_not_available", "autocast", "custom_bwd", "custom_fwd"]

autocast = autocast_for("cuda", dtypes.float16)
GradScaler = scaler_for("cuda")


def amp_definitely_not_available() -> bool:
    """Whether there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.amp.amp_definitely_not_available() != torch.cuda.is_available()
        True
    """
    return not cuda.is_available()
