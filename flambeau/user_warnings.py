"""Warnings that point to the user's line."""

from __future__ import annotations

import os
import sys
import warnings

_PACKAGE = os.path.join(os.path.dirname(__file__), "")


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns of the nearest line outside of the package that led here.

    How many of the package's own frames lie between differs: autocast, ``out=`` and methods wrap functions.
    """
    level, frame = 2, sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
