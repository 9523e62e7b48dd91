"""What all schedules of learning rates share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from types import FunctionType
from typing import Any
from weakref import ref

import numpy as np

from flambeau.graph.node import leaf
from flambeau.graph.observer import current as looking
from flambeau.optim.optimizer import Optimizer, count_of
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first rate of the schedule is skipped. "
    "Call `optimizer.step()` first."
)
_OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization, so that nobody "
    "can tell whether it was called before `lr_scheduler.step()`, as it should be."
)
_EPOCH = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
    "Please use `scheduler.step()` to step the scheduler."
)


class LRScheduler:
    """Base of all schedules of learning rates.

    Args:
        optimizer: whose groups' ``"lr"`` is set.
        last_epoch: the step after which to go on; -1 to begin.

    A subclass gives ``get_lr()``, the rates of the groups at ``self.last_epoch``.

    Raises:
        TypeError: if ``optimizer`` is none.
        KeyError: if the schedule is to go on and a group has no ``"initial_lr"``.

    Example:
        >>> import flambeau as torch
        >>> class Halved(torch.optim.lr_scheduler.LRScheduler):
        ...     def get_lr(self):
        ...         return [base / 2**self.last_epoch for base in self.base_lrs]
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = Halved(sgd)
        >>> for _ in range(3):
        ...     print(schedule.get_last_lr())
        ...     sgd.step()
        ...     schedule.step()
        [1.0]
        [0.5]
        [0.25]
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = checked_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with "
                    f"last_epoch >= 0. last_epoch is {last_epoch}: load the optimizer's state first, or begin anew "
                    "with last_epoch=-1"
                )
        self.base_lrs = options(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _watch_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule remembers, but for the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave.

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)
            >>> schedule = torch.optim.lr_scheduler.StepLR(sgd, step_size=2)
            >>> schedule.load_state_dict({"last_epoch": 7})
            >>> schedule.last_epoch
            7
        """
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates that were set last.

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)
            >>> torch.optim.lr_scheduler.StepLR(sgd, step_size=2).get_last_lr()
            [0.5]
        """
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The rates at ``self.last_epoch``; to be called by ``step`` alone."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Sets the next rates, or those at ``epoch``.

        While a function is captured, every later call of it advances the schedule as well.

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)
            >>> schedule = torch.optim.lr_scheduler.ExponentialLR(sgd, gamma=0.5)
            >>> sgd.step()
            >>> schedule.step()
            >>> sgd.param_groups[0]["lr"]
            0.25
        """
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warn(_OVERRIDDEN)
            elif not getattr(self.optimizer, "_opt_called", False):
                warn(_ORDER)
        if epoch is not None:
            warn(_EPOCH)
        reported(partial(self._advance, epoch))

    def _advance(self, epoch: int | None = None) -> None:
        self._step_count += 1
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self._get_lr_called_within_step = True
        try:
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                closed = getattr(self, "_get_closed_form_lr", None)
                rates = self.get_lr() if closed is None else closed()
        finally:
            self._get_lr_called_within_step = False
        self._set(rates)

    def _set(self, rates: Iterable[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_option(group, "lr", lr)
        self._last_lr = options(self.optimizer, "lr")

    def _rates(self) -> list[float]:
        """The rates that are set, as numbers."""
        return [count_of(group["lr"]) for group in self.optimizer.param_groups]

    def _base_rates(self) -> list[float]:
        return [count_of(lr) for lr in self.base_lrs]

    def _warn_outside(self) -> None:
        if not self._get_lr_called_within_step:
            warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.")


def reported(advance: Callable[[], None]) -> None:
    """Advances a schedule, and tells whoever captures that every call must."""
    observer = looking.observer
    if observer is None:
        advance()
        return
    observer.action(advance)
    # Schedules made of schedules advance these themselves: to report them too would do so twice.
    looking.observer = None
    try:
        advance()
    finally:
        looking.observer = observer


def _watch_steps(optimizer: Optimizer) -> None:
    """Lets an optimizer note that its ``step`` was called."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    function = optimizer.step.__func__  # type: ignore[attr-defined]
    known = ref(optimizer)

    @wraps(function)
    def step(*args: Any, **kwargs: Any) -> Any:
        owner: Any = known()
        owner._opt_called = True
        return function.__get__(owner, type(owner))(*args, **kwargs)

    step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]
    optimizer.step = step  # type: ignore[method-assign]


def checked_optimizer(optimizer: Any) -> Optimizer:
    """The optimizer, or TypeError."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def copied(value: Any) -> Any:
    """A number, or a tensor of its own."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def options(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of all groups."""
    return [copied(group[key]) for group in optimizer.param_groups]


def set_option(group: dict[str, Any], key: str, value: Any) -> None:
    """Sets an option; a tensor stays the same tensor."""
    box = group[key]
    if not isinstance(box, Tensor):
        group[key] = value
        return
    if box._base is None:
        array = np.full(tuple(box.shape), count_of(value), box.dtype.numpy)
        box._node = leaf(array, box.dtype, box._node.aval.device)
        box._writes += 1
    else:
        box.fill_(count_of(value))


def one_each(name: str, optimizer: Optimizer, given: Any) -> list[Any]:
    """A value for every group, of one value or one per group.

    Raises:
        ValueError: if there are more or fewer values than groups.
    """
    groups = len(optimizer.param_groups)
    if not isinstance(given, (list, tuple)):
        return [copied(given) for _ in range(groups)]
    if len(given) != groups:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has {len(given)} values, "
            f"param_groups has {groups}."
        )
    return [copied(value) for value in given]


def functions_state(functions: Sequence[Any]) -> list[Any]:
    """What callable objects remember; None for plain functions, which are not saved."""
    return [None if isinstance(f, FunctionType) else f.__dict__.copy() for f in functions]


def begin_momentum(optimizer: Optimizer, smallest: list[float], largest: list[float], fresh: bool) -> bool:
    """Prepares the groups for a cycled momentum; whether β₁ takes its place."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ValueError("optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
    as_beta = "betas" in optimizer.defaults
    if fresh:
        for low, high, group in zip(smallest, largest, optimizer.param_groups, strict=True):
            set_momentum(group, high, as_beta)
            group["max_momentum"] = high
            group["base_momentum"] = low
    return as_beta


def set_momentum(group: dict[str, Any], momentum: float, as_beta: bool) -> None:
    """Sets a group's momentum, or its β₁."""
    if as_beta:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum
