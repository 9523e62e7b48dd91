"""RAdam."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, by_step, check_betas, check_lr, check_positive, moments_like, updatable
from flambeau.optim.update import Update


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, beta1, beta2, eps, weight_decay, correction, rectified = numbers
    maximize, decays, decoupled = flags
    if maximize:
        grad = -grad
    if decays and decoupled:
        param = param * (1 - lr * weight_decay)
    elif decays:
        grad = grad + weight_decay * param
    mean = states[0] + (1 - beta1) * (grad - states[0])
    square = beta2 * states[1] + (1 - beta2) * (grad * grad)
    # Where nothing is rectified, the root must not be divided by: it may be zero.
    root = xp.where(rectified > 0, xp.sqrt(square) + eps, 1)
    factor = xp.where(rectified > 0, rectified, 1)
    step = (lr / correction) * mean * (factor / root)
    return param - step.astype(param.dtype), (mean, square)


_RADAM = Update("radam_update", _rule, lambda: [case("optim._examples.radam", compare=False)])


class RAdam(Optimizer):
    r"""Adam whose scale is rectified, and left out while its variance is not tractable.

    ``ρ∞ = 2/(1-β₂) - 1;  ρ = ρ∞ - 2tβ₂ᵗ/(1-β₂ᵗ)``; where ρ > 5, ``θ ← θ - γ m̂ r √(1-β₂ᵗ)/(√v + ε)``
    with ``r = √((ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ))``, else ``θ ← θ - γ m̂``.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: added to the gradient as ``λθ``; subtracted from θ as ``γλθ`` if decoupled.
        decoupled_weight_decay: decay as AdamW does.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Liu et al., On the Variance of the Adaptive Learning Rate and Beyond (2020).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.RAdam([w], lr=0.1)
        >>> (w * torch.tensor([1., -2.])).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.9000, 1.2000])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
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
        check_positive(weight_decay=weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "RAdam")
        names = ("exp_avg", "exp_avg_sq")
        for p in params:
            moments_like(self.state[p], p, names)

        def numbers(step: float) -> tuple[Any, ...]:
            beta1, beta2 = group["betas"]
            given = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"])
            return (*given, 1 - beta1**step, _rectified(beta2, step))

        flags = (group["maximize"], group["weight_decay"] != 0, group["decoupled_weight_decay"])
        for these, those, counts in by_step(self.state, params, grads):
            states = [[self.state[p][name] for p in these] for name in names]
            _RADAM(these, those, states, numbers, flags, counts)


def _rectified(beta2: float, step: float) -> float:
    """``r √(1-β₂ᵗ)``; zero where the variance is not tractable."""
    correction = 1 - beta2**step
    limit = 2 / (1 - beta2) - 1
    length = limit - 2 * step * beta2**step / correction
    if length <= 5:
        return 0.0
    ratio = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
    return (ratio * correction) ** 0.5
