"""Branches and loops on values of tensors, as functions: ``torch.cond`` and ``torch.while_loop``.

They look at the value that decides, as Python's own ``if`` and ``while`` would, and so cannot be captured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.tensor.tensor import Tensor
from flambeau.utils._pytree import tree_flatten

__all__ = ["cond", "while_loop"]


def cond(
    pred: bool | int | float | Tensor,
    true_fn: Callable[..., Any],
    false_fn: Callable[..., Any],
    operands: Sequence[Any] = (),
) -> Any:
    """``true_fn(*operands)`` if ``pred`` holds, else ``false_fn(*operands)``.

    Args:
        pred: a bool, or a tensor of one element.
        operands: a tuple of nested lists, tuples and dictionaries of tensors.

    Raises:
        RuntimeError: for arguments that are none of these.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1.0, -2.0])
        >>> torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))
        tensor([ 0., -3.])
    """
    if isinstance(pred, Tensor):
        if pred.numel() != 1:
            raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    elif not isinstance(pred, bool | int | float):
        raise RuntimeError(f"Expected pred to be bool or tensor, but got {pred}.")
    if not callable(true_fn) or not callable(false_fn):
        raise RuntimeError("Expect both branches to be callable.")
    leaves = tree_flatten(operands)[0]
    if not isinstance(operands, tuple | list) or any(not isinstance(leaf, Tensor) for leaf in leaves):
        raise RuntimeError(
            "Expect operands to be a tuple of possibly nested dict/list/tuple that only consists of tensor leaves, but "
            f"got {operands}."
        )
    return (true_fn if pred else false_fn)(*operands)


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Sequence[Any]
) -> tuple[Any, ...]:
    """Runs ``carried = body_fn(*carried)`` while ``cond_fn(*carried)`` holds.

    Args:
        cond_fn: gives a bool, or a bool tensor of one element.
        body_fn: gives as many values as it takes, tensors of the same shape and type, or integers.
        carried_inputs: what it starts with.

    Raises:
        RuntimeError: if the body gives something else than it takes.

    Example:
        >>> import flambeau as torch
        >>> torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (torch.tensor(0), torch.ones(1)))
        (tensor(3), tensor([8.]))
    """
    if not callable(cond_fn) or not callable(body_fn):
        raise RuntimeError("Expect cond_fn and body_fn to be callable.")
    if not isinstance(carried_inputs, tuple | list):
        raise RuntimeError(f"Expect carried_inputs to be a tuple, but got {type(carried_inputs).__name__}.")
    carried = tuple(carried_inputs)
    while _holds(cond_fn(*carried)):
        found = body_fn(*carried)
        found = tuple(found) if isinstance(found, tuple | list) else (found,)
        _check_alike(found, carried)
        carried = found
    return carried


def _holds(decision: Any) -> bool:
    if isinstance(decision, Tensor) and (decision.numel() != 1 or str(decision.dtype) != "torch.bool"):
        raise RuntimeError(
            f"cond_fn must return a boolean scalar tensor or a boolean but got {decision.dtype} of shape "
            f"{list(decision.shape)}"
        )
    return bool(decision)


def _check_alike(found: tuple[Any, ...], carried: tuple[Any, ...]) -> None:
    (new, new_form), (old, old_form) = tree_flatten(found), tree_flatten(carried)
    if new_form != old_form:
        raise RuntimeError(
            f"body_fn should return as many values as it takes, in the same form: got {len(new)}, takes {len(old)}"
        )
    for i, (a, b) in enumerate(zip(new, old, strict=True)):
        if _looks(a) != _looks(b):
            raise RuntimeError(
                "Expected body_fn_output and carried_inputs to have same metadata but found: "
                f"value {i} is {_looks(a)}, was {_looks(b)}"
            )


def _looks(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} and shape {list(value.shape)} on {value.device}"
    return f"of type {type(value).__name__}"
