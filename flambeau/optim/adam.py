"""Adam."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import (
    Optimizer,
    by_step,
    check_betas,
    check_lr,
    check_positive,
    check_ways,
    count_of,
    moments_like,
    updatable,
)
from flambeau.optim.update import Update
from flambeau.tensor.tensor import Tensor


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, beta1, beta2, eps, weight_decay, correction1, correction2_root = numbers
    amsgrad, maximize, decays, decoupled = flags
    if maximize:
        grad = -grad
    if decays and decoupled:
        param = param * (1 - lr * weight_decay)
    elif decays:
        grad = grad + weight_decay * param
    mean = states[0] + (1 - beta1) * (grad - states[0])
    square = beta2 * states[1] + (1 - beta2) * (grad * grad)
    if amsgrad:
        spread = xp.maximum(states[2], square)
        states = (mean, square, spread)
    else:
        spread = square
        states = (mean, square)
    root = xp.sqrt(spread) / correction2_root + eps
    return param - (lr / correction1) * (mean / root), states


_ADAM = Update("adam_update", _rule, lambda: [case("optim._examples.adam", compare=False)])


class Adam(Optimizer):
    r"""Adam: steps scaled by running moments of the gradient.

    ``m ← β₁m + (1-β₁)g;  v ← β₂v + (1-β₂)g²;  θ ← θ - γ m̂ / (√v̂ + ε)``

    with ``m̂ = m/(1-β₁ᵗ)``, ``v̂ = v/(1-β₂ᵗ)``.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        betas: β₁ and β₂.
        eps: ε.
        weight_decay: added to the gradient as ``λθ``; subtracted from θ as ``γλθ`` if decoupled.
        amsgrad: divide by the largest v̂ so far.
        maximize: ascend instead.
        decoupled_weight_decay: decay as AdamW does.
        foreach, capturable, differentiable, fused: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization (2015); amsgrad: Reddi et al. (2018).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.Adam([w], lr=0.1)
        >>> (w * torch.tensor([1000., -0.001])).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.9000, 1.1000])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_lr(lr)
        check_positive(epsilon=eps)
        check_betas(betas)
        check_positive(weight_decay=weight_decay)
        betas = _plain_betas(betas, bool(foreach and not capturable))
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_ways(fused, foreach, differentiable)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, type(self).__name__)
        names = ["exp_avg", "exp_avg_sq"] + (["max_exp_avg_sq"] if group["amsgrad"] else [])
        for p in params:
            moments_like(self.state[p], p, names)
        flags = (group["amsgrad"], group["maximize"], group["weight_decay"] != 0, group["decoupled_weight_decay"])

        def numbers(step: float) -> tuple[Any, ...]:
            beta1, beta2 = group["betas"]
            corrections = (1 - beta1**step, (1 - beta2**step) ** 0.5)
            return (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], *corrections)

        for these, those, counts in by_step(self.state, params, grads):
            states = [[self.state[p][name] for p in these] for name in names]
            _ADAM(these, those, states, numbers, flags, counts)


def _plain_betas(betas: Any, listed: bool) -> tuple[float, float]:
    """Both coefficients as numbers; ``listed``: the way of computing that takes no tensors in PyTorch."""
    kinds = [Tensor if isinstance(beta, Tensor) else float for beta in betas]
    if kinds[0] is not kinds[1] or not all(isinstance(beta, kinds[0]) for beta in betas):
        raise ValueError("betas must be either both floats or both Tensors")
    for i, beta in enumerate(betas):
        if not isinstance(beta, Tensor):
            continue
        if listed:
            raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
        if beta.numel() != 1:
            raise ValueError(f"Tensor betas[{i}] must be 1-element")
    return count_of(betas[0]), count_of(betas[1])
