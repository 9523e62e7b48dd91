"""Adafactor."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, by_step, filled, moments_like, updatable
from flambeau.optim.update import Update
from flambeau.tensor.tensor import Tensor


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, weight_decay, eps1, eps2, d, slowing, fresh = numbers
    maximize, decays, factored = flags
    if maximize:
        grad = -grad
    squares = grad * grad
    scale = xp.maximum(eps2, _mean_root(xp, param)) * xp.minimum(lr, slowing)
    if decays:
        param = param * (1 - lr * weight_decay)
    if factored:
        rows = states[0] + fresh * (xp.mean(squares, axis=-1, keepdims=True) - states[0])
        columns = states[1] + fresh * (xp.mean(squares, axis=-2, keepdims=True) - states[1])
        variance = rows * columns / xp.maximum(xp.mean(rows, axis=-2, keepdims=True), eps1)
        states = (rows, columns)
    else:
        variance = states[0] + fresh * (squares - states[0])
        states = (variance,)
    step = grad / xp.sqrt(xp.maximum(variance, eps1 * eps1))
    clipped = xp.maximum(1.0, _mean_root(xp, step) / d)
    return param - (scale / clipped).astype(param.dtype) * step, states


def _mean_root(xp: Any, array: Any) -> Any:
    return xp.sqrt(xp.mean(array * array))


_ADAFACTOR = Update("adafactor_update", _rule, lambda: [case("optim._examples.adafactor", compare=False)])


class Adafactor(Optimizer):
    r"""Steps scaled by second moments, which for matrices are kept as row and column means.

    ``ρ = min(γ, 1/√t);  α = max(ε₂, rms(θ)) ρ;  β = 1 - t^τ;  U = g/√v;  θ ← θ - αU / max(1, rms(U)/d)``

    with ``v`` the running square of g; of a matrix, ``v = r c / mean(r)`` of running row means r and column means c.

    Args:
        params: parameters, or dictionaries of parameters with options of their own; none complex.
        lr: learning rate γ.
        beta2_decay: τ.
        eps: ε₁, below which variances do not count (None: the type's resolution), and ε₂.
        d: the threshold of clipping.
        weight_decay: subtracted from θ as ``γλθ``.
        foreach: accepted; every step is one fused operation already.
        maximize: ascend instead.

    Raises:
        ValueError: for a number out of range.
        RuntimeError: for complex parameters.

    Source: Shazeer and Stern, Adafactor: Adaptive Learning Rates with Sublinear Memory Cost (2018).

    Example:
        >>> import flambeau as torch
        >>> w = torch.ones(2, 3, requires_grad=True)
        >>> optimizer = torch.optim.Adafactor([w], lr=0.1)
        >>> (w * 5).sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([[0.9000, 0.9000, 0.9000],
                [0.9000, 0.9000, 0.9000]])
        >>> {name: tuple(value.shape) for name, value in optimizer.state[w].items()}
        {'step': (), 'row_var': (2, 1), 'col_var': (1, 3)}
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "Adafactor")
        for p in params:
            if p.dtype.category == dtypes.COMPLEX:
                raise RuntimeError("Adafactor does not support complex parameters")
            self._begin(p)

        for factored, names in ((True, ("row_var", "col_var")), (False, ("variance",))):
            chosen = [(p, g) for p, g in zip(params, grads, strict=True) if (p.ndim > 1) is factored]
            flags = (group["maximize"], group["weight_decay"] != 0, factored)
            for these, those, counts in by_step(self.state, [p for p, _ in chosen], [g for _, g in chosen]):
                states = [[self.state[p][name] for p in these] for name in names]
                _ADAFACTOR(these, those, states, _numbers(group, params[0]), flags, counts)

    def _begin(self, p: Tensor) -> None:
        state = self.state[p]
        if p.ndim > 1 and "row_var" not in state:
            moments_like(state, p, ())
            shape = tuple(p.shape)
            state["row_var"] = filled(p, 0, (*shape[:-1], 1))
            state["col_var"] = filled(p, 0, (*shape[:-2], 1, shape[-1]))
        moments_like(state, p, () if p.ndim > 1 else ("variance",))


def _numbers(group: dict[str, Any], first: Tensor) -> Any:
    eps1 = _RESOLUTION[first.dtype] if group["eps"][0] is None else group["eps"][0]

    def numbers(step: float) -> tuple[Any, ...]:
        given = (group["lr"], group["weight_decay"], eps1, group["eps"][1], group["d"])
        return (*given, 1 / step**0.5, step ** group["beta2_decay"])

    return numbers


_RESOLUTION = {
    dtypes.float64: float(np.finfo(np.float64).eps),
    dtypes.float32: float(np.finfo(np.float32).eps),
    dtypes.float16: 2.0**-10,
    dtypes.bfloat16: 2.0**-7,
}
