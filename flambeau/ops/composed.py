"""Second derivatives of heavy operators: those of the same computation in elementary operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.tensor.tensor import Tensor


def gradients(
    composed: Callable[..., Sequence[Tensor]], inputs: Sequence[Any], needs: Sequence[bool], grads: Sequence[Any]
) -> list[Tensor | None]:
    """Gradients that can be differentiated in turn.

    Args:
        composed: does in elementary operations what the operator does; gives its results, in order.
        inputs: what it is given.
        needs: of which inputs the gradient is wanted.
        grads: the gradients of the results.
    """
    # Imported here: the tape builds on operators.
    from flambeau.autograd.backward import grad

    # Aliases, so that one tensor given twice still has a gradient for each place.
    aliases = [t.view(t.shape) if need else t for t, need in zip(inputs, needs, strict=True)]
    used = [(out, g) for out, g in zip(composed(*aliases), grads, strict=False) if out.requires_grad]
    wanted = [alias for alias, need in zip(aliases, needs, strict=True) if need]
    found = iter(grad([out for out, _ in used], wanted, [g for _, g in used], create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needs]
