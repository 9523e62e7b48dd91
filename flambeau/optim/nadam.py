"""NAdam."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import (
    Optimizer,
    by_step,
    check_betas,
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
    lr, beta1, beta2, eps, weight_decay, correction_root, gradient_part, mean_part = numbers
    maximize, decays, decoupled = flags
    if maximize:
        grad = -grad
    if decays and decoupled:
        param = param * (1 - lr * weight_decay)
    elif decays:
        grad = grad + weight_decay * param
    mean = states[0] + (1 - beta1) * (grad - states[0])
    square = beta2 * states[1] + (1 - beta2) * (grad * grad)
    root = xp.sqrt(square) / correction_root + eps
    return param - lr * ((gradient_part * grad + mean_part * mean) / root), (mean, square)


_NADAM = Update("nadam_update", _rule, lambda: [case("optim._examples.nadam", compare=False)])


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum, after a schedule of its own.

    ``μₜ = β₁(1 - 0.96^(tψ)/2);  θ ← θ - γ(μₜ₊₁ m/(1 - Πₜ₊₁μ) + (1-μₜ) g/(1 - Πₜμ)) / (√v̂ + ε)``

    with Adam's moments m and v.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: added to the gradient as ``λθ``; subtracted from θ as ``γλθ`` if decoupled.
        momentum_decay: ψ.
        decoupled_weight_decay: decay as AdamW does.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Dozat, Incorporating Nesterov Momentum into Adam (2016).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.NAdam([w], lr=0.1)
        >>> (w * torch.tensor([1000., -0.1])).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.8944, 1.1056])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_positive(epsilon=eps)
        check_betas(betas)
        check_positive(weight_decay=weight_decay, momentum_decay=momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "NAdam")
        names = ("exp_avg", "exp_avg_sq")
        for p in params:
            state = self.state[p]
            moments_like(state, p, ())
            if not isinstance(state.get("mu_product"), Tensor):
                state["mu_product"] = counted(float(state.get("mu_product", 1.0)))
            moments_like(state, p, names)
        flags = (group["maximize"], group["weight_decay"] != 0, group["decoupled_weight_decay"])
        for these, those, counts in by_step(self.state, params, grads, ("mu_product",)):
            states = [[self.state[p][name] for p in these] for name in names]
            numbers = _numbers(group, [self.state[p]["mu_product"] for p in these])
            _NADAM(these, those, states, numbers, flags, counts)


def _numbers(group: dict[str, Any], products: list[Tensor]) -> Any:
    def numbers(step: float) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        decay = group["momentum_decay"]
        now = beta1 * (1 - 0.5 * 0.96 ** (step * decay))
        then = beta1 * (1 - 0.5 * 0.96 ** ((step + 1) * decay))
        product = recount(products, count_of(products[0]) * now)
        parts = ((1 - now) / (1 - product), then / (1 - product * then))
        return (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], (1 - beta2**step) ** 0.5, *parts)

    return numbers
