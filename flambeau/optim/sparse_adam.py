"""SparseAdam, which needs gradients that do not exist here."""

from __future__ import annotations

from typing import Any

from flambeau.optim.optimizer import Optimizer


class SparseAdam(Optimizer):
    """Adam for sparse gradients.

    Args:
        As of PyTorch's.

    Raises:
        NotImplementedError: always; there are no sparse tensors.

    Example:
        >>> import flambeau as torch
        >>> torch.optim.SparseAdam([torch.ones(2, requires_grad=True)])
        Traceback (most recent call last):
            ...
        NotImplementedError: SparseAdam is not supported: there are no sparse gradients here; use Adam
    """

    def __init__(
        self,
        params: Any,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        raise NotImplementedError("SparseAdam is not supported: there are no sparse gradients here; use Adam")
