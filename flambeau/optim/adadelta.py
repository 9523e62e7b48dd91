"""Adadelta."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, by_step, check_lr, check_positive, moments_like, updatable
from flambeau.optim.update import Update


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, rho, eps, weight_decay = numbers
    maximize, decays = flags
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    square = rho * states[0] + (1 - rho) * (grad * grad)
    delta = xp.sqrt(states[1] + eps) / xp.sqrt(square + eps) * grad
    deltas = rho * states[1] + (1 - rho) * (delta * delta)
    return param - lr * delta, (square, deltas)


_ADADELTA = Update("adadelta_update", _rule, lambda: [case("optim._examples.adadelta", compare=False)])


class Adadelta(Optimizer):
    r"""Steps in the measure of earlier steps, scaled by running squares.

    ``v ← ρv + (1-ρ)g²;  Δ = √(u+ε)/√(v+ε) · g;  u ← ρu + (1-ρ)Δ²;  θ ← θ - γΔ``

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        rho: ρ.
        eps: ε.
        weight_decay: added to the gradient as ``λθ``.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Zeiler, ADADELTA: An Adaptive Learning Rate Method (2012).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.Adadelta([w], lr=10.0)
        >>> w.grad = torch.tensor([1., -100.])
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.9684, 1.0316])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_positive(epsilon=eps, weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "Adadelta")
        names = ("square_avg", "acc_delta")
        for p in params:
            moments_like(self.state[p], p, names)

        def numbers(step: float) -> tuple[Any, ...]:
            return (group["lr"], group["rho"], group["eps"], group["weight_decay"])

        flags = (group["maximize"], group["weight_decay"] != 0)
        for these, those, counts in by_step(self.state, params, grads):
            states = [[self.state[p][name] for p in these] for name in names]
            _ADADELTA(these, those, states, numbers, flags, counts)
