"""Adagrad."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.ops.samples import case
from flambeau.optim.optimizer import (
    Optimizer,
    by_step,
    check_lr,
    check_positive,
    check_ways,
    filled,
    moments_like,
    updatable,
)
from flambeau.optim.update import Update
from flambeau.tensor.tensor import Tensor


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, slowing, eps, weight_decay = numbers
    maximize, decays = flags
    if maximize:
        grad = -grad
    if decays:
        grad = grad + weight_decay * param
    total = states[0] + grad * grad
    return param - (lr / slowing) * (grad / (xp.sqrt(total) + eps)), (total,)


_ADAGRAD = Update("adagrad_update", _rule, lambda: [case("optim._examples.adagrad", compare=False)])


class Adagrad(Optimizer):
    r"""Steps scaled by the sum of all squared gradients so far.

    ``s ← s + g²;  θ ← θ - γ/(1 + (t-1)η) · g/(√s + ε)``

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: learning rate γ.
        lr_decay: η.
        weight_decay: added to the gradient as ``λθ``.
        initial_accumulator_value: the first s.
        eps: ε.
        maximize: ascend instead.
        foreach, differentiable, fused: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.
        RuntimeError: for ``fused`` together with ``foreach`` or ``differentiable``.

    Source: Duchi et al., Adaptive Subgradient Methods for Online Learning (2011).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([2.], requires_grad=True)
        >>> optimizer = torch.optim.Adagrad([w], lr=1.0)
        >>> w.grad = torch.tensor([3.])
        >>> for _ in range(3):
        ...     optimizer.step()
        ...     print(w.detach())
        tensor([1.])
        tensor([0.2929])
        tensor([-0.2845])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_positive(
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            epsilon=eps,
        )
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_ways(fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self._begin(p)

    def share_memory(self) -> None:
        """Moves the state to shared memory.

        Raises:
            NotImplementedError: always; processes share no arrays here.
        """
        raise NotImplementedError("Adagrad.share_memory is not supported: processes share no arrays")

    def _begin(self, p: Tensor) -> None:
        state = self.state[p]
        moments_like(state, p, ())
        if "sum" not in state:
            value = self.defaults["initial_accumulator_value"]
            state["sum"] = filled(p, complex(value, value) if p.dtype.category == dtypes.COMPLEX else value)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "Adagrad")
        for p in params:
            self._begin(p)

        def numbers(step: float) -> tuple[Any, ...]:
            return (group["lr"], 1 + (step - 1) * group["lr_decay"], group["eps"], group["weight_decay"])

        flags = (group["maximize"], group["weight_decay"] != 0)
        for these, those, counts in by_step(self.state, params, grads):
            _ADAGRAD(these, those, [[self.state[p]["sum"] for p in these]], numbers, flags, counts)
