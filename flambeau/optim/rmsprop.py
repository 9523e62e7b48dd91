"""RMSprop."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, by_step, check_lr, check_positive, moments_like, updatable
from flambeau.optim.update import Update


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, alpha, eps, weight_decay, momentum = numbers
    maximize, decays, moving, centered = flags
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    square = alpha * states[0] + (1 - alpha) * (grad * grad)
    spread = square
    new = [square]
    if centered:
        mean = states[-1] + (1 - alpha) * (grad - states[-1])
        spread = square - mean * mean
    step = grad / (xp.sqrt(spread) + eps)
    if moving:
        step = momentum * states[1] + step
        new.append(step)
    if centered:
        new.append(mean)
    return param - lr * step, tuple(new)


_RMSPROP = Update("rmsprop_update", _rule, lambda: [case("optim._examples.rmsprop", compare=False)])


class RMSprop(Optimizer):
    r"""Steps scaled by the root of a running mean square.

    ``v ← αv + (1-α)g²;  b ← μb + g/(√v + ε);  θ ← θ - γb``

    Where ``centered``, the square of the running mean gradient is taken off v under the root.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        alpha: α.
        eps: ε.
        weight_decay: added to the gradient as ``λθ``.
        momentum: μ.
        centered: scale by an estimate of the variance.
        maximize: ascend instead.
        foreach, capturable, differentiable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Hinton, Neural Networks for Machine Learning, lecture 6; centered: Graves, Generating
    Sequences With Recurrent Neural Networks (2013).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.RMSprop([w], lr=0.1, alpha=0.75)
        >>> w.grad = torch.tensor([1., -100.])
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.8000, 1.2000])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_positive(epsilon=eps, momentum=momentum, weight_decay=weight_decay, alpha=alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "RMSprop")
        moving = group["momentum"] > 0
        names = ["square_avg"]
        if moving:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        for p in params:
            moments_like(self.state[p], p, names)

        def numbers(step: float) -> tuple[Any, ...]:
            return (group["lr"], group["alpha"], group["eps"], group["weight_decay"], group["momentum"])

        flags = (group["maximize"], group["weight_decay"] != 0, moving, group["centered"])
        for these, those, counts in by_step(self.state, params, grads):
            states = [[self.state[p][name] for p in these] for name in names]
            _RMSPROP(these, those, states, numbers, flags, counts)
