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


def adamax() -> list[Tensor]:
    from flambeau.optim.adamax import Adamax

    return run(Adamax, weight_decay=0.1)


def nadam() -> list[Tensor]:
    from flambeau.optim.nadam import NAdam

    return run(NAdam, weight_decay=0.1, decoupled_weight_decay=True)


def radam() -> list[Tensor]:
    from flambeau.optim.radam import RAdam

    return run(RAdam, weight_decay=0.1)


def adagrad() -> list[Tensor]:
    from flambeau.optim.adagrad import Adagrad

    return run(Adagrad, lr_decay=0.1, initial_accumulator_value=0.5)


def adadelta() -> list[Tensor]:
    from flambeau.optim.adadelta import Adadelta

    return run(Adadelta, weight_decay=0.1)


def rmsprop() -> list[Tensor]:
    from flambeau.optim.rmsprop import RMSprop

    return run(RMSprop, momentum=0.9, centered=True)


def rprop() -> list[Tensor]:
    from flambeau.optim.rprop import Rprop

    return run(Rprop, maximize=True)


def asgd() -> list[Tensor]:
    from flambeau.optim.asgd import ASGD

    return run(ASGD, t0=1, weight_decay=0.1)


def adafactor() -> list[Tensor]:
    from flambeau.optim.adafactor import Adafactor

    return run(Adafactor, weight_decay=0.1)


def muon() -> list[Tensor]:
    from flambeau.optim.muon import Muon

    params = [ones(2, 3, requires_grad=True)]
    optimizer = Muon(params)
    (params[0] * params[0]).sum().backward()
    optimizer.step()
    return [p.detach() for p in params]


def lbfgs() -> list[Tensor]:
    from flambeau.optim.lbfgs import LBFGS

    x = ones(3, requires_grad=True)
    optimizer = LBFGS([x], lr=0.1, max_iter=4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (x * x * x * x).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return [x.detach()]
