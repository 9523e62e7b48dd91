"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import (
    Optimizer,
    by_step,
    check_lr,
    check_positive,
    count_of,
    counted,
    moments_like,
    recount,
    updatable,
)
from flambeau.optim.update import Update
from flambeau.tensor.tensor import Tensor


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lambd, weight_decay, eta, mu = numbers
    maximize, decays = flags
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    param = param * (1 - lambd * eta) - eta * grad
    # In this form the average is exactly the parameter as long as mu is one.
    return param, ((1 - mu) * states[0] + mu * param,)


_ASGD = Update("asgd_update", _rule, lambda: [case("optim._examples.asgd", compare=False)])


class ASGD(Optimizer):
    r"""Averaged stochastic gradient descent.

    ``θ ← (1 - λη)θ - ηg;  a ← a + μ(θ - a);  η ← γ/(1 + λγt)^α;  μ ← 1/max(1, t - t₀)``

    The average a is in the state, as ``"ax"``.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        lambd: decay λ.
        alpha: power α.
        t0: the step t₀ at which averaging begins.
        weight_decay: times θ, added to the gradient.
        maximize: ascend instead.
        foreach, differentiable, capturable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a negative learning rate or weight decay.

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging (1992).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1.], requires_grad=True)
        >>> optimizer = torch.optim.ASGD([w], lr=0.1, t0=0, lambd=0.0)
        >>> w.grad = torch.tensor([1.])
        >>> for _ in range(3):
        ...     optimizer.step()
        ...     print(w.detach(), optimizer.state[w]["ax"])
        tensor([0.9000]) tensor([0.9000])
        tensor([0.8000]) tensor([0.8000])
        tensor([0.7000]) tensor([0.7500])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_positive(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "ASGD")
        for p in params:
            state = self.state[p]
            moments_like(state, p, ())
            for name, first in (("eta", group["lr"]), ("mu", 1.0)):
                if not isinstance(state.get(name), Tensor):
                    state[name] = counted(count_of(state.get(name, first)))
            moments_like(state, p, ["ax"])
        flags = (group["maximize"], group["weight_decay"] != 0)
        for these, those, counts in by_step(self.state, params, grads, ("eta", "mu")):
            etas, mus, averages = ([self.state[p][name] for p in these] for name in ("eta", "mu", "ax"))
            _ASGD(these, those, [averages], _numbers(group, etas, mus), flags, counts)


def _numbers(group: dict[str, Any], etas: list[Tensor], mus: list[Tensor]) -> Any:
    def numbers(step: float) -> tuple[Any, ...]:
        eta, mu = count_of(etas[0]), count_of(mus[0])
        lr, lambd = count_of(group["lr"]), group["lambd"]
        recount(etas, lr / (1 + lambd * lr * step) ** group["alpha"])
        recount(mus, 1 / max(1, step - group["t0"]))
        return (lambd, group["weight_decay"], eta, mu)

    return numbers
