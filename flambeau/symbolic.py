"""PyTorch's arithmetic on sizes that are not known yet; here all are, so these work on Python's numbers."""

from __future__ import annotations

import builtins
import math
from typing import Any

__all__ = [
    "SymBool", "SymFloat", "SymInt", "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt",
    "sym_sum",
]  # fmt: skip


class _Symbol:
    def __init__(self, node: Any) -> None:
        raise NotImplementedError(
            f"flambeau makes no {type(self).__name__}: sizes are always known, and are Python's numbers"
        )


class SymInt(_Symbol):
    """The type of sizes that are not known yet, for ``isinstance``: nothing is of it.

    Example:
        >>> import flambeau as torch
        >>> isinstance(torch.zeros(2, 3).shape[0], torch.SymInt)
        False
    """


class SymFloat(_Symbol):
    """The type of numbers that are not known yet, for ``isinstance``: nothing is of it.

    Example:
        >>> import flambeau as torch
        >>> isinstance(torch.tensor(1.5).item(), torch.SymFloat)
        False
    """


class SymBool(_Symbol):
    """The type of truths that are not known yet, for ``isinstance``: nothing is of it.

    Example:
        >>> import flambeau as torch
        >>> isinstance(torch.zeros(2).shape[0] > 1, torch.SymBool)
        False
    """


def sym_float(a: Any) -> float:
    """``float(a)``.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_float(3)
        3.0
    """
    return builtins.float(a)


def sym_int(a: Any) -> int:
    """``int(a)``, which rounds towards zero.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_int(2.7), torch.sym_int(-2.7)
        (2, -2)
    """
    return builtins.int(a)


def _as_floats_if_one_is(a: Any, b: Any) -> tuple[Any, Any]:
    for number in (a, b):
        if not isinstance(number, builtins.int | builtins.float):
            raise AssertionError(f"expected a number, got {type(number)}")
    if isinstance(a, builtins.float) or isinstance(b, builtins.float):
        return builtins.float(a), builtins.float(b)
    return a, b


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers, as a float if either is one.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_max(3, 2.0)
        3.0
    """
    return max(*_as_floats_if_one_is(a, b))


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers, as a float if either is one.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_min(3, 2.0), torch.sym_min(3, 2)
        (2.0, 2)
    """
    return min(*_as_floats_if_one_is(a, b))


def sym_not(a: Any) -> bool:
    """``not a``.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_not(torch.zeros(2).shape[0] > 1)
        False
    """
    return not a


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """``t if b else f``, for values of one type.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_ite(torch.zeros(2).shape[0] > 1, 10, 20)
        10
    """
    if not isinstance(b, builtins.bool):
        raise AssertionError(f"expected SymBool or bool, got {type(b)}")
    if type(t) is not type(f):
        raise AssertionError(f"type mismatch: {type(t)} vs {type(f)}")
    return t if b else f


def sym_sqrt(a: Any) -> float:
    """The square root.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_sqrt(16)
        4.0
    """
    return math.sqrt(a)


def sym_sum(*args: Any) -> Any:
    """The sum of numbers, or of a list of them.

    Example:
        >>> import flambeau as torch
        >>> torch.sym_sum([1, 2, 3])
        6
    """
    return sum(args[0] if len(args) == 1 and isinstance(args[0], tuple | list) else args)
