"""Muon."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.ops.samples import case
from flambeau.optim.optimizer import Optimizer, filled, updatable
from flambeau.optim.update import Update
from flambeau.tensor.tensor import Tensor


def _rule(xp: Any, param: Any, grad: Any, states: Any, numbers: Any, flags: Any) -> Any:
    lr, weight_decay, momentum, eps, a, b, c = numbers
    nesterov, repeats, adjusting = flags
    buffer = states[0] + (1 - momentum) * (grad - states[0])
    step = grad + momentum * (buffer - grad) if nesterov else buffer
    step = _orthogonal(xp, step, (a, b, c), repeats, eps)
    ratio = _ratio(param.shape, adjusting)
    return param * (1 - lr * weight_decay) - (lr * ratio) * step.astype(param.dtype), (buffer,)


def _orthogonal(xp: Any, matrix: Any, coefficients: Any, repeats: int, eps: Any) -> Any:
    """Brings all singular values near one, by a Newton-Schulz iteration of fifth order in bfloat16."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = _short(xp, matrix.T if tall else matrix)
    norm = _short(xp, xp.sqrt(xp.sum(x * x)))
    x = _short(xp, x / xp.maximum(norm, eps))
    for _ in range(repeats):
        gram = _short(xp, xp.matmul(x, x.T))
        change = _short(xp, b * gram + c * xp.matmul(gram, gram))
        x = _short(xp, a * x + xp.matmul(change, x))
    return x.T if tall else x


def _short(xp: Any, array: Any) -> Any:
    """Values rounded to bfloat16, in an array that products are fast for."""
    return xp.asarray(array).astype(dtypes.bfloat16.numpy).astype(dtypes.float32.numpy)


def _ratio(shape: Any, adjusting: str | None) -> float:
    rows, columns = shape
    if adjusting == "match_rms_adamw":
        return 0.2 * max(rows, columns) ** 0.5
    return max(1, rows / columns) ** 0.5


_MUON = Update("muon_update", _rule, lambda: [case("optim._examples.muon", compare=False)])


class Muon(Optimizer):
    r"""Momentum for matrices, orthogonalized before each step.

    ``B ← μB + (1-μ)G;  θ ← θ - γλθ - γ r · orthogonal(μB + (1-μ)G)``

    The step is made near orthogonal by ``X ← aX + (bA + cA²)X`` with ``A = XXᵀ``, in bfloat16.

    Args:
        params: matrices, or dictionaries of them with options of their own.
        lr: learning rate γ.
        weight_decay: λ.
        momentum: μ.
        nesterov: step along ``μB + (1-μ)G``, else along B.
        ns_coefficients: a, b and c.
        eps: the least norm to divide by.
        ns_steps: how many times X is improved.
        adjust_lr_fn: ``"original"`` or None: ``r = √max(1, rows/columns)``; ``"match_rms_adamw"``:
            ``r = 0.2 √max(rows, columns)``.

    Raises:
        ValueError: for a number out of range or a parameter that is no matrix.

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks (2024).

    Example:
        >>> import flambeau as torch
        >>> w = torch.zeros(2, 2, requires_grad=True)
        >>> optimizer = torch.optim.Muon([w], lr=1.0, weight_decay=0.0)
        >>> w.grad = torch.tensor([[100., 0.], [0., 1.]])
        >>> optimizer.step()
        >>> torch.linalg.svdvals(w.grad), torch.linalg.svdvals(w.detach()).round()
        (tensor([100.,   1.]), tensor([1., 1.]))
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Learning rate should be >= 0 but is: {lr}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}"
                    )

    def _update(self, group: dict[str, Any]) -> None:
        params, grads = updatable(group, "Muon")
        if group["ns_steps"] >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        for p in params:
            if p.dtype.category == dtypes.COMPLEX:
                raise RuntimeError("Muon does not support complex parameters")
            state = self.state[p]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = filled(p, 0)
        if not params:
            return

        def numbers(step: float) -> tuple[Any, ...]:
            given = (group["lr"], group["weight_decay"], group["momentum"], group["eps"])
            return (*given, *group["ns_coefficients"])

        flags = (bool(group["nesterov"]), group["ns_steps"], group["adjust_lr_fn"])
        _MUON(params, grads, [[self.state[p]["momentum_buffer"] for p in params]], numbers, flags)
