"""What the writer is given, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.tensor.tensor import Tensor


def as_array(value: Any) -> np.ndarray:
    """A tensor, array or number as an array; reduced types as float32.

    Raises:
        NotImplementedError: for anything else.
    """
    if isinstance(value, Tensor):
        detached = value.detach()
        return (detached.float() if value.dtype in dtypes.REDUCED else detached).cpu().numpy()
    if isinstance(value, np.ndarray):
        return value
    if np.isscalar(value):
        return np.array([value])
    raise NotImplementedError(f"Got {type(value)}, but numpy array or torch tensor are expected.")
