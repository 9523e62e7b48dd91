"""Adam with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from flambeau.optim.adam import Adam


class AdamW(Adam):
    r"""Adam with decoupled weight decay: ``θ ← θ - γλθ`` beside Adam's step.

    Args:
        weight_decay: λ, 0.01 unless given.  The rest as of :class:`~flambeau.optim.Adam`.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019).

    Example:
        >>> import flambeau as torch
        >>> w = torch.tensor([1., 10.], requires_grad=True)
        >>> optimizer = torch.optim.AdamW([w], lr=0.1, weight_decay=0.5)
        >>> w.grad = torch.zeros(2)
        >>> optimizer.step()
        >>> w.detach()
        tensor([0.9500, 9.5000])
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )
