"""Schedules given by a formula of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from flambeau.optim.optimizer import Optimizer
from flambeau.optim.scheduler import LRScheduler, functions_state


class _ByFunctions(LRScheduler):
    """Schedules by a function for each group."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        groups = len(optimizer.param_groups)
        if not isinstance(lr_lambda, (list, tuple)):
            lr_lambda = [lr_lambda] * groups
        elif len(lr_lambda) != groups:
            raise ValueError(f"Expected {groups} lr_lambdas, but got {len(lr_lambda)}")
        self.optimizer = optimizer
        self.lr_lambdas = list(lr_lambda)
        self._check()
        super().__init__(optimizer, last_epoch)

    def _check(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule remembers; of its functions only what callable objects hold."""
        state = super().state_dict()
        del state["lr_lambdas"]
        state["lr_lambdas"] = functions_state(self.lr_lambdas)
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "lr_lambdas"})
        for function, held in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if held is not None:
                function.__dict__.update(held)


class LambdaLR(_ByFunctions):
    """``γₜ = γ₀ f(t)``.

    Args:
        optimizer: whose rates are set.
        lr_lambda: f, or a list of one for each group.
        last_epoch: the step after which to go on.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
        >>> schedule = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1 / (1 + step))
        >>> sgd.step()
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.25]
    """

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, self._base_rates(), strict=True)]


class MultiplicativeLR(_ByFunctions):
    """``γₜ = γₜ₋₁ f(t)``.

    Args:
        optimizer: whose rates are set.
        lr_lambda: f, or a list of one for each group.
        last_epoch: the step after which to go on.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.MultiplicativeLR(sgd, lambda step: 0.5 if step % 2 else 1.0)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.5000, 0.5000, 0.2500, 0.2500])
    """

    def _check(self) -> None:
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {type(function).__name__}")

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        if self._is_initial:
            return self._rates()
        return [lr * f(self.last_epoch) for f, lr in zip(self.lr_lambdas, self._rates(), strict=True)]


class _Factored(LRScheduler):
    """Schedules that multiply all rates by the same factor."""

    def _factor(self) -> float | None:
        """By what the rates change at this step; None where they stay."""
        raise NotImplementedError

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        factor = self._factor()
        return self._rates() if factor is None else [lr * factor for lr in self._rates()]


class StepLR(_Factored):
    """``γₜ = γ₀ g^⌊t/n⌋``.

    Args:
        optimizer: whose rates are set.
        step_size: n.
        gamma: g.
        last_epoch: the step after which to go on.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.StepLR(sgd, step_size=2)
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 1.0000, 0.1000, 0.1000, 0.0100])
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        return None if self.last_epoch == 0 or self.last_epoch % self.step_size else self.gamma

    def _get_closed_form_lr(self) -> list[Any]:
        return [lr * self.gamma ** (self.last_epoch // self.step_size) for lr in self._base_rates()]


class MultiStepLR(_Factored):
    """``γ`` times g at each milestone.

    Args:
        optimizer: whose rates are set.
        milestones: steps; one given twice counts twice.
        gamma: g.
        last_epoch: the step after which to go on.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.MultiStepLR(sgd, milestones=[1, 4], gamma=0.5)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.5000, 0.5000, 0.5000, 0.2500, 0.2500])
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        times = self.milestones.get(self.last_epoch)
        return self.gamma**times if times else None

    def _get_closed_form_lr(self) -> list[Any]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [lr * self.gamma**passed for lr in self._base_rates()]


class ConstantLR(_Factored):
    """``γₜ = fγ₀`` for n steps, then γ₀.

    Args:
        optimizer: whose rates are set.
        factor: f, between 0 and 1.
        total_iters: n.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for a factor out of range.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.ConstantLR(sgd, factor=0.25, total_iters=2)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([0.2500, 0.2500, 1.0000, 1.0000])
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1:
            raise ValueError("Constant multiplicative factor expected to be between 0 and 1.")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        if self.last_epoch == 0:
            return self.factor
        return 1.0 / self.factor if self.last_epoch == self.total_iters else None

    def _get_closed_form_lr(self) -> list[Any]:
        factor = 1.0 if self.last_epoch >= self.total_iters else self.factor
        return [lr * factor for lr in self._base_rates()]


class LinearLR(_Factored):
    """``γₜ = γ₀ (a + (b - a) min(t, n)/n)``.

    Args:
        optimizer: whose rates are set.
        start_factor: a, in (0, 1].
        end_factor: b, in [0, 1].
        total_iters: n.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for a factor out of range.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.LinearLR(sgd, start_factor=0.2, total_iters=4)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([0.2000, 0.4000, 0.6000, 0.8000, 1.0000, 1.0000])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0 < start_factor <= 1:
            raise ValueError("Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
        if not 0 <= end_factor <= 1:
            raise ValueError("Ending multiplicative factor expected to be between 0 and 1.")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        if self.last_epoch == 0:
            return self.start_factor
        if self._is_initial or self.last_epoch > self.total_iters:
            return None
        span = self.end_factor - self.start_factor
        return 1.0 + span / (self.total_iters * self.start_factor + (self.last_epoch - 1) * span)

    def _get_closed_form_lr(self) -> list[Any]:
        span = self.end_factor - self.start_factor
        factor = self.start_factor + span * min(self.total_iters, self.last_epoch) / self.total_iters
        return [lr * factor for lr in self._base_rates()]


class ExponentialLR(_Factored):
    """``γₜ = γ₀ gᵗ``.

    Args:
        optimizer: whose rates are set.
        gamma: g.
        last_epoch: the step after which to go on.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
        >>> rates = []
        >>> for _ in range(4):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.5000, 0.2500, 0.1250])
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        return None if self._is_initial else self.gamma

    def _get_closed_form_lr(self) -> list[Any]:
        return [lr * self.gamma**self.last_epoch for lr in self._base_rates()]


class PolynomialLR(_Factored):
    """``γₜ = γ₀ (1 - min(t, n)/n)^p``.

    Args:
        optimizer: whose rates are set.
        total_iters: n.
        power: p.
        last_epoch: the step after which to go on.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.PolynomialLR(sgd, total_iters=4, power=2.0)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.5625, 0.2500, 0.0625, 0.0000, 0.0000])
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def _factor(self) -> float | None:
        if self._is_initial or self.last_epoch > self.total_iters:
            return None
        now = 1.0 - self.last_epoch / self.total_iters
        before = 1.0 - (self.last_epoch - 1) / self.total_iters
        return (now / before) ** self.power

    def _get_closed_form_lr(self) -> list[Any]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [lr * left**self.power for lr in self._base_rates()]


class CosineAnnealingLR(LRScheduler):
    """``γₜ = γ_min + (γ₀ - γ_min)(1 + cos(πt/T))/2``, computed from the rates before.

    Args:
        optimizer: whose rates are set.
        T_max: T.
        eta_min: the smallest rate.
        last_epoch: the step after which to go on.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts (2017).

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, T_max=4)
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.8536, 0.5000, 0.1464, 0.0000, 0.1464])
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        rates = self._rates()
        if self._is_initial:
            return rates
        low, step = self.eta_min, self.last_epoch
        if self._step_count == 1 and step > 0:
            return self._get_closed_form_lr()
        if (step - 1 - self.T_max) % (2 * self.T_max) == 0:
            # The rate before was the smallest, of which no multiple leads up again.
            rise = (1 - math.cos(math.pi / self.T_max)) / 2
            return [lr + (base - low) * rise for base, lr in zip(self._base_rates(), rates, strict=True)]
        ratio = _height(step / self.T_max) / _height((step - 1) / self.T_max)
        return [ratio * (lr - low) + low for lr in rates]

    def _get_closed_form_lr(self) -> list[Any]:
        height = _height(self.last_epoch / self.T_max) / 2
        return [self.eta_min + (lr - self.eta_min) * height for lr in self._base_rates()]


def _height(part: float) -> float:
    return 1 + math.cos(math.pi * part)
