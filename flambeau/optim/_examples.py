"""Small runs of the optimizers, on which their update operators are tested."""

from __future__ import annotations

from typing import Any

from flambeau.ops.create import ones
from flambeau.tensor.tensor import Tensor


def run(kind: Any, **options: Any) -> list[Tensor]:
    """Two steps on two parameters; the parameters after."""
    params = [ones(2, 3, requires_grad=True), ones(4, requires_grad=True)]
    optimizer = kind(params, **options)
    for _ in range(2):
        optimizer.zero_grad()
        (params[0] * params[0]).sum().backward()
        (params[1] * 3).sum().backward()
        optimizer.step()
    return [p.detach() for p in params]


def sgd() -> list[Tensor]:
    from flambeau.optim.sgd import SGD

    return run(SGD, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True)


def adam() -> list[Tensor]:
    from flambeau.optim.adam import Adam

    return run(Adam, amsgrad=True, weight_decay=0.1)
