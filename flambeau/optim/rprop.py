"""Rprop."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, by_step, check_lr, count_of, filled, moments_like, updatable
from flambeau.optim.update import Update


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    shrinking, growing, smallest, largest = numbers
    if flags[0]:
        grad = -grad
    agreement = grad * states[0]
    turned = agreement < 0
    factor = xp.where(agreement > 0, growing, xp.where(turned, shrinking, 1)).astype(param.dtype)
    size = xp.minimum(xp.maximum(states[1] * factor, smallest), largest)
    grad = xp.where(turned, 0, grad).astype(param.dtype)
    return param - xp.sign(grad) * size, (grad, size)


_RPROP = Update("rprop_update", _rule, lambda: [case("optim._examples.rprop", compare=False)])


class Rprop(Optimizer):
    r"""Steps of a size of their own, which grows while the gradient's sign stays and shrinks when it turns.

    ``s ← min(max(s η, s_min), s_max);  θ ← θ - s sign(g)``

    with η the larger of ``etas`` where g has the sign of the gradient before, the smaller where it has the other, whose
    step is left out, and 1 where one of them is zero.

    Args:
        params: parameters, or dictionaries of parameters with options of their own.
        lr: the first size of each step.
        etas: factors by which sizes shrink and grow.
        step_sizes: the smallest and the largest size.
        maximize: ascend instead.
        capturable, foreach, differentiable: accepted; every step is one fused operation already.

    Raises:
        ValueError: for a number out of range.

    Source: Riedmiller and Braun, A Direct Adaptive Method for Faster Backpropagation Learning (1993).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([10.], requires_grad=True)
        >>> optimizer = torch.optim.Rprop([w], lr=1.0)
        >>> for gradient in (5., 5., -5., -5.):
        ...     w.grad = torch.tensor([gradient])
        ...     optimizer.step()
        ...     print(w.detach())
        tensor([9.])
        tensor([7.8000])
        tensor([7.8000])
        tensor([8.4000])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "Rprop")
        for p in params:
            state = self.state[p]
            moments_like(state, p, ["prev"])
            if "step_size" not in state:
                lr = count_of(group["lr"])
                state["step_size"] = filled(p, complex(lr, lr) if p.dtype.category == dtypes.COMPLEX else lr)

        def numbers(step: float) -> tuple[Any, ...]:
            return (*group["etas"], *group["step_sizes"])

        for these, those, counts in by_step(self.state, params, grads):
            states = [[self.state[p][name] for p in these] for name in ("prev", "step_size")]
            _RPROP(these, those, states, numbers, (group["maximize"],), counts)
