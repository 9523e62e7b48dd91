"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, check_ways, updatable
from flambeau.optim.update import Update
from flambeau.tensor.tensor import Tensor, wrap


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, momentum, dampening, weight_decay = numbers
    decays, moving, dampens, first, nesterov, maximize = flags
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    if moving:
        fresh = (1 - dampening) * grad if dampens else grad
        buffer = grad if first else momentum * states[0] + fresh
        grad = grad + momentum * buffer if nesterov else buffer
        states = (buffer,)
    return param - lr * grad, states


_SGD = Update("sgd_update", _rule, lambda: [case("optim._examples.sgd", compare=False)])


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum if asked for.

    ``g ← g + λθ;  v ← μv + (1 - τ)g;  θ ← θ - γ(g + μv if nesterov else v)``

    with learning rate γ, momentum μ, dampening τ and weight decay λ.  The first ``v`` is ``g`` itself.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate.
        momentum, dampening, weight_decay, nesterov: as above.
        maximize: ascend instead.
        foreach, fused, differentiable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a negative number, or ``nesterov`` without momentum or with dampening.

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning (2013).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 1.], requires_grad=True)
        >>> optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
        >>> (w * torch.tensor([1., 2.])).sum().backward()
        >>> for _ in range(2):
        ...     optimizer.step()
        ...     print(w.detach())
        tensor([0.9000, 0.8000])
        tensor([0.7100, 0.4200])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(params, defaults)
        check_ways(fused, foreach, differentiable)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "SGD")

        def numbers(step: float) -> tuple[Any, ...]:
            return (group["lr"], group["momentum"], group["dampening"], group["weight_decay"])

        decays, moving, dampens = group["weight_decay"] != 0, group["momentum"] != 0, group["dampening"] != 0
        tail = (group["nesterov"], group["maximize"])
        if not moving:
            if params:
                _SGD(params, grads, (), numbers, (decays, False, False, False, *tail))
            return
        for first in (False, True):
            chosen = [
                (p, g)
                for p, g in zip(params, grads, strict=True)
                if (self.state[p].get("momentum_buffer") is None) is first
            ]
            if not chosen:
                continue
            if first:
                for p, g in chosen:
                    # The rule overwrites it: the first buffer is the gradient itself.
                    self.state[p]["momentum_buffer"] = wrap(g._node)
            these, those = zip(*chosen, strict=True)
            buffers = [self.state[p]["momentum_buffer"] for p in these]
            _SGD(these, those, (buffers,), numbers, (decays, True, dampens, first, *tail))
