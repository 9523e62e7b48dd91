"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from flambeau.optim.optimizer import Optimizer
from flambeau.optim.plateau import ReduceLROnPlateau
from flambeau.optim.scheduler import LRScheduler, options, reported, set_option


class _Composed(LRScheduler):
    _schedulers: Sequence[LRScheduler]

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule and its parts remember."""
        state = super().state_dict()
        del state["_schedulers"]
        state["_schedulers"] = [part.state_dict() for part in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave."""
        self.__dict__.update({key: value for key, value in state_dict.items() if key != "_schedulers"})
        for part, held in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            part.load_state_dict(held)


class SequentialLR(_Composed):
    """One schedule after the other.

    Args:
        optimizer: whose rates are set.
        schedulers: the schedules, all of this optimizer.
        milestones: the steps at which the next begins.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for no schedules, wrong numbers of milestones, schedules of other optimizers, or one by results.
        TypeError: for what is no schedule.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> warmup = torch.optim.lr_scheduler.ConstantLR(sgd, factor=0.1, total_iters=2)
        >>> decay = torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
        >>> schedule = torch.optim.lr_scheduler.SequentialLR(sgd, [warmup, decay], milestones=[2])
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([0.1000, 0.1000, 1.0000, 0.5000, 0.2500, 0.1250])
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if len(schedulers) < 1:
            raise ValueError(f"{type(self).__name__} expects at least one scheduler, but got no scheduler.")
        _check_parts(self, optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                "Sequential Schedulers expects number of schedulers provided to be one more than the number of "
                f"milestone points, but got number of schedulers {len(schedulers)} and the number of milestones to be "
                f"equal to {len(milestones)}"
            )
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # Each part has taken its first step when it was made: all but the first in turn are taken back.
        for group in optimizer.param_groups:
            set_option(group, "lr", group["initial_lr"])
        self.recursive_undo()
        first = schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def recursive_undo(self, sched: Any = None) -> None:
        """Takes back the last step of a schedule, or of all its parts."""
        sched = self if sched is None else sched
        if hasattr(sched, "_schedulers"):
            for part in sched._schedulers:
                self.recursive_undo(part)
        elif hasattr(sched, "last_epoch"):
            sched.last_epoch -= 1

    def step(self) -> None:  # type: ignore[override]
        """Sets the next rates."""
        reported(self._advance)

    def _advance(self) -> None:  # type: ignore[override]
        self.last_epoch += 1
        number = bisect_right(self._milestones, self.last_epoch)
        part = self._schedulers[number]
        if number > 0 and self._milestones[number - 1] == self.last_epoch:
            part._update_lr(0)
        else:
            part.step()
        self._last_lr = part.get_last_lr()


class ChainedScheduler(_Composed):
    """Several schedules at once: each changes what the one before it set.

    Args:
        schedulers: the schedules, all of one optimizer.
        optimizer: that one.

    Raises:
        ValueError: for no schedules, schedules of other optimizers, or one by results.
        TypeError: for what is no schedule.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> warmup = torch.optim.lr_scheduler.ConstantLR(sgd, factor=0.1, total_iters=2)
        >>> decay = torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
        >>> schedule = torch.optim.lr_scheduler.ChainedScheduler([warmup, decay])
        >>> rates = []
        >>> for _ in range(5):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([0.1000, 0.0500, 0.2500, 0.1250, 0.0625])
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if len(schedulers) < 1:
            raise ValueError(
                f"{type(self).__name__} expects at least one scheduler to be chained, but got no scheduler."
            )
        optimizer = optimizer or getattr(schedulers[0], "optimizer", None)
        _check_parts(self, optimizer, schedulers)
        assert optimizer is not None, "the check of the parts refuses a missing optimizer"
        self._schedulers = schedulers
        self.optimizer = optimizer
        self._last_lr = options(self.optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]
        """Sets the next rates."""
        reported(self._advance)

    def _advance(self) -> None:  # type: ignore[override]
        for part in self._schedulers:
            part.step()
        self._last_lr = options(self.optimizer, "lr")


def _check_parts(whole: Any, optimizer: Any, schedulers: Sequence[Any]) -> None:
    name = type(whole).__name__
    for i, part in enumerate(schedulers):
        if not hasattr(part, "optimizer"):
            raise TypeError(f"{name} at index {i} should have `optimizer` as its attribute.")
        if isinstance(part, ReduceLROnPlateau):
            raise ValueError(
                f"{name} does not support `ReduceLROnPlateau` scheduler as it requires additional kwargs to be "
                f"specified when calling `step`, but got one at index {i} in the given schedulers sequence."
            )
        if part.optimizer is not optimizer:
            raise ValueError(
                f"{name} expects all schedulers to belong to the same optimizer, but got scheduler "
                f"{type(part).__name__} at index {i} has {part.optimizer}, which is different from "
                f"{type(optimizer).__name__}."
            )
