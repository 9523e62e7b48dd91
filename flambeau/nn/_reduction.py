"""Reductions of losses by number, and by the arguments of old."""

from __future__ import annotations

from flambeau.ops.loss_class import REDUCTIONS, checked_reduction, legacy_reduction


def get_enum(reduction: str) -> int:
    """The number of a reduction.

    Raises:
        ValueError: if it is none.

    Example:
        >>> from flambeau.nn import _reduction
        >>> _reduction.get_enum("mean")
        1
    """
    return REDUCTIONS.index(checked_reduction(reduction))


def legacy_get_string(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> str:
    """The reduction that ``size_average`` and ``reduce`` ask for, both True if None."""
    return legacy_reduction(size_average is not False, reduce is not False, "mean", emit_warning)


def legacy_get_enum(size_average: bool | None, reduce: bool | None, emit_warning: bool = True) -> int:
    """The number of the reduction that ``size_average`` and ``reduce`` ask for."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))
