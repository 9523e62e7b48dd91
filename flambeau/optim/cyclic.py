"""Schedules that rise and fall."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from flambeau.optim.optimizer import Optimizer, count_of
from flambeau.optim.scheduler import (
    LRScheduler,
    begin_momentum,
    checked_optimizer,
    functions_state,
    one_each,
    reported,
    set_momentum,
    set_option,
)


def _triangular(_: float) -> float:
    return 1.0


def _triangular2(cycle: float) -> float:
    return 1 / 2.0 ** (cycle - 1)


def _exp_range(gamma: float, step: float) -> float:
    return gamma**step


class CyclicLR(LRScheduler):
    """Rates that go up and down in straight lines between two bounds; momentum the other way.

    Args:
        optimizer: whose rates are set.
        base_lr, max_lr: the bounds, or one each per group.
        step_size_up, step_size_down: steps of each half of a cycle.
        mode: ``"triangular"``; ``"triangular2"``: half as high each cycle; ``"exp_range"``: ``gammaᵗ`` as high.
        gamma: as above.
        scale_fn: the height, in place of a mode.
        scale_mode: whether ``scale_fn`` gets the ``"cycle"`` or the number of ``"iterations"``.
        cycle_momentum: whether momentum, or β₁, is set too.
        base_momentum, max_momentum: its bounds, or one each per group.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for an unknown mode, or an optimizer that has no momentum to set.

    Source: Smith, Cyclical Learning Rates for Training Neural Networks (2017).

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.CyclicLR(
        ...     sgd, base_lr=0.0, max_lr=1.0, step_size_up=2, mode="triangular2", cycle_momentum=False
        ... )
        >>> rates = []
        >>> for _ in range(9):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000, 0.2500, 0.5000, 0.2500, 0.0000])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Any,
        max_lr: Any,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.8,
        max_momentum: Any = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = checked_optimizer(optimizer)
        base_lrs = one_each("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_option(group, "lr", lr)
        self.max_lrs = one_each("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError("mode is invalid and scale_fn is None")
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._init_scale_fn()
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums = one_each("base_momentum", optimizer, base_momentum)
            self.max_momentums = one_each("max_momentum", optimizer, max_momentum)
            self.use_beta1 = begin_momentum(optimizer, self.base_momentums, self.max_momentums, last_epoch == -1)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _init_scale_fn(self) -> None:
        if self._scale_fn_custom is not None:
            return
        self._scale_fn_ref = {
            "triangular": _triangular,
            "triangular2": _triangular2,
            "exp_range": partial(_exp_range, self.gamma),
        }[self.mode]
        self.scale_mode = "iterations" if self.mode == "exp_range" else "cycle"

    def scale_fn(self, x: float) -> float:
        """How high a cycle rises."""
        return self._scale_fn_ref(x) if self._scale_fn_custom is None else self._scale_fn_custom(x)

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        part = 1.0 + self.last_epoch / self.total_size - cycle
        if part <= self.step_ratio:
            height = part / self.step_ratio
        else:
            height = (part - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            bounds = zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True)
            for group, low, high in bounds:
                set_momentum(group, high - (high - low) * height * scale, self.use_beta1)
        lows, highs = map(count_of, self.base_lrs), map(count_of, self.max_lrs)
        return [low + (high - low) * height * scale for low, high in zip(lows, highs, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule remembers; of its function only what a callable object holds."""
        state = super().state_dict()
        state.pop("_scale_fn_ref", None)
        function = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = None if function is None else functions_state([function])[0]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        rest = dict(state_dict)
        held = rest.pop("_scale_fn_custom")
        super().load_state_dict(rest)
        if held is not None:
            vars(self._scale_fn_custom).update(held)
        self._init_scale_fn()


class CosineAnnealingWarmRestarts(LRScheduler):
    """``γₜ = γ_min + (γ₀ - γ_min)(1 + cos(πt/T))/2``, begun anew after T steps, with T grown.

    Args:
        optimizer: whose rates are set.
        T_0: the first T.
        T_mult: by what T grows.
        eta_min: the smallest rate.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for numbers that are no positive integers, or an ``eta_min`` that is no number.

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts (2017).

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, T_0=2, T_mult=2)
        >>> rates = []
        >>> for _ in range(8):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.5000, 1.0000, 0.8536, 0.5000, 0.1464, 1.0000, 0.9619])
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 <= 0 or not isinstance(T_0, int):
            raise ValueError(f"Expected positive integer T_0, but got {T_0}")
        if T_mult < 1 or not isinstance(T_mult, int):
            raise ValueError(f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, (float, int)):
            raise ValueError(f"Expected float or int eta_min, but got {eta_min} of type {type(eta_min)}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        height = (1 + math.cos(math.pi * self.T_cur / self.T_i)) / 2
        return [self.eta_min + (lr - self.eta_min) * height for lr in self._base_rates()]

    def step(self, epoch: float | None = None) -> None:
        """Sets the next rates, or those at ``epoch``, which may lie between two steps."""
        if epoch is not None and epoch < 0:
            raise ValueError(f"Expected non-negative epoch, but got {epoch}")
        reported(partial(self._advance, epoch))

    def _advance(self, epoch: float | None = None) -> None:
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur = self.T_cur + 1
            if self.T_cur >= self.T_i:
                self.T_cur = self.T_cur % self.T_i
                self.T_i = self.T_i * self.T_mult
        elif epoch < self.T_0:
            self.T_i = self.T_0
            self.T_cur = epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            restarts = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**restarts - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**restarts
        self.last_epoch = math.floor(epoch)
        self._get_lr_called_within_step = True
        try:
            rates = self.get_lr()
        finally:
            self._get_lr_called_within_step = False
        self._set(rates)


class OneCycleLR(LRScheduler):
    """One rise of the rate to its greatest and one fall far below where it began; momentum the other way.

    Args:
        optimizer: whose rates are set.
        max_lr: the greatest rate, or one per group.
        total_steps: steps of the cycle; or ``epochs`` times ``steps_per_epoch``.
        epochs, steps_per_epoch: see above.
        pct_start: the part of the cycle that rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        cycle_momentum: whether momentum, or β₁, is set too.
        base_momentum, max_momentum: its bounds, or one each per group.
        div_factor: the greatest rate over the first.
        final_div_factor: the first rate over the last.
        three_phase: fall first to where it began, as long as it rose, then to the last rate.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for numbers out of range, an unknown strategy, or steps after the last.

    Source: Smith and Topin, Super-Convergence: Very Fast Training Using Large Learning Rates (2018).

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.lr_scheduler.OneCycleLR(
        ...     sgd, max_lr=1.0, total_steps=6, pct_start=0.5, div_factor=10, final_div_factor=2, cycle_momentum=False
        ... )
        >>> rates = [schedule.get_last_lr()[0]]
        >>> for _ in range(5):
        ...     sgd.step()
        ...     schedule.step()
        ...     rates.append(schedule.get_last_lr()[0])
        >>> torch.tensor(rates)
        tensor([0.1000, 0.5500, 1.0000, 0.7625, 0.2875, 0.0500])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self.optimizer = checked_optimizer(optimizer)
        self.total_steps = _total(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        self._schedule_phases = _phases(float(pct_start * self.total_steps), self.total_steps, three_phase)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_func_type = anneal_strategy
        greatest = one_each("max_lr", optimizer, max_lr)
        if last_epoch == -1:
            for lr, group in zip(greatest, optimizer.param_groups, strict=True):
                group["initial_lr"] = lr / div_factor
                group["max_lr"] = lr
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            highs = one_each("max_momentum", optimizer, max_momentum)
            lows = one_each("base_momentum", optimizer, base_momentum)
            self.use_beta1 = begin_momentum(optimizer, lows, highs, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(f"Tried to step {step} times. The specified number of total steps is {self.total_steps}")
        begin = 0.0
        for phase in self._schedule_phases[:-1]:
            if step <= phase["end_step"]:
                break
            begin = phase["end_step"]
        else:
            phase = self._schedule_phases[-1]
        part = (step - begin) / (phase["end_step"] - begin)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(count_of(group[phase["start_lr"]]), count_of(group[phase["end_lr"]]), part))
            if self.cycle_momentum:
                momentum = self._between(group[phase["start_momentum"]], group[phase["end_momentum"]], part)
                set_momentum(group, momentum, self.use_beta1)
        return rates

    def _between(self, start: float, end: float, part: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)


def _total(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    if total_steps is not None:
        given = {"total_steps": total_steps}
    else:
        given = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
    for name, value in given.items():
        if not isinstance(value, int) or value <= 0:
            raise ValueError(f"Expected positive integer {name}, but got {value}")
    return math.prod(given.values())


def _phases(rise: float, total: int, three: bool) -> list[dict[str, Any]]:
    up = _phase(rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if not three:
        return [up, _phase(total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    down = _phase(2 * rise - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")
    return [up, down, _phase(total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]


def _phase(end: float, start_lr: str, end_lr: str, start_momentum: str, end_momentum: str) -> dict[str, Any]:
    return {
        "end_step": end,
        "start_lr": start_lr,
        "end_lr": end_lr,
        "start_momentum": start_momentum,
        "end_momentum": end_momentum,
    }
