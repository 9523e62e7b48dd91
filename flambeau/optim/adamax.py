"""Adamax."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, by_step, check_betas, check_lr, check_positive, moments_like, updatable
from flambeau.optim.update import Update


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, beta1, beta2, eps, weight_decay, correction = numbers
    maximize, decays = flags
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    mean = states[0] + (1 - beta1) * (grad - states[0])
    largest = xp.maximum(beta2 * states[1], xp.abs(grad) + eps)
    return param - (lr / correction) * (mean / largest), (mean, largest)


_ADAMAX = Update("adamax_update", _rule, lambda: [case("optim._examples.adamax", compare=False)])


class Adamax(Optimizer):
    r"""Adam with the infinity norm in place of the second moment.

    ``m ← β₁m + (1-β₁)g;  u ← max(β₂u, |g| + ε);  θ ← θ - γ/(1-β₁ᵗ) · m/u``

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: added to the gradient as ``λθ``.
        maximize: ascend instead.
        foreach, differentiable, capturable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization (2015), section 7.

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.Adamax([w], lr=0.1)
        >>> (w * torch.tensor([1000., -0.1])).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.9000, 1.1000])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_positive(epsilon=eps)
        check_betas(betas)
        check_positive(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "Adamax")
        names = ("exp_avg", "exp_inf")
        for p in params:
            moments_like(self.state[p], p, names)

        def numbers(step: float) -> tuple[Any, ...]:
            beta1, beta2 = group["betas"]
            return (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], 1 - beta1**step)

        flags = (group["maximize"], group["weight_decay"] != 0)
        for these, those, counts in by_step(self.state, params, grads):
            states = [[self.state[p][name] for p in these] for name in names]
            _ADAMAX(these, those, states, numbers, flags, counts)
