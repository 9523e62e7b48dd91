"""Averages of parameters over training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import no_grad
from flambeau.nn.modules.batchnorm import _BatchNorm
from flambeau.nn.modules.module import Module
from flambeau.ops.create import zeros
from flambeau.optim.optimizer import Optimizer, count_of
from flambeau.optim.scheduler import LRScheduler, one_each
from flambeau.tensor.tensor import Tensor

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A function that averages exponentially: ``a ← δa + (1-δ)θ``.

    Raises:
        ValueError: unless δ is in [0, 1].

    Example:
        >>> import flambeau as torch
        >>> average = torch.optim.swa_utils.get_ema_avg_fn(decay=0.75)
        >>> average(torch.tensor([0.]), torch.tensor([4.]), 1)
        tensor([1.])
    """
    _check_decay(decay)

    def average(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return decay * ema_param + (1 - decay) * current_param

    return average


def get_swa_avg_fn() -> Callable[[Tensor, Tensor, Any], Tensor]:
    """A function that averages equally: ``a ← a + (θ - a)/(n + 1)``.

    Example:
        >>> import flambeau as torch
        >>> average = torch.optim.swa_utils.get_swa_avg_fn()
        >>> average(torch.tensor([2.]), torch.tensor([5.]), 2)
        tensor([3.])
    """

    def average(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        with no_grad():
            return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """A function that averages lists exponentially, in place.

    Raises:
        ValueError: unless the decay is in [0, 1].

    Example:
        >>> import flambeau as torch
        >>> average = torch.optim.swa_utils.get_ema_multi_avg_fn(decay=0.75)
        >>> averages = [torch.tensor([0.]), torch.tensor([8.])]
        >>> average(averages, [torch.tensor([4.]), torch.tensor([0.])], 1)
        >>> averages
        [tensor([1.]), tensor([6.])]
    """
    return _each(get_ema_avg_fn(decay))


def get_swa_multi_avg_fn() -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    """A function that averages lists equally, in place.

    Example:
        >>> import flambeau as torch
        >>> average = torch.optim.swa_utils.get_swa_multi_avg_fn()
        >>> averages = [torch.tensor([2.]), torch.tensor([0.])]
        >>> average(averages, [torch.tensor([5.]), torch.tensor([3.])], torch.tensor(2))
        >>> averages
        [tensor([3.]), tensor([1.])]
    """
    return _each(get_swa_avg_fn())


def _each(
    average: Callable[[Tensor, Tensor, Any], Tensor],
) -> Callable[[Sequence[Tensor], Sequence[Tensor], Any], None]:
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], num_averaged: Any) -> None:
        with no_grad():
            for mine, theirs in zip(averaged, current, strict=True):
                mine.copy_(average(mine, theirs, num_averaged))

    return update


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    Args:
        model: what is averaged.
        device: where the averages are kept.
        avg_fn: ``avg_fn(average, parameter, n)``, the new average; equal averages unless given.
        multi_avg_fn: as ``avg_fn``, of lists and in place.
        use_buffers: whether buffers are averaged too, rather than copied.

    Raises:
        AssertionError: if both functions are given.

    Source: Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (2018).

    Example:
        >>> import flambeau as torch
        >>> model = torch.nn.Linear(1, 1)
        >>> average = torch.optim.swa_utils.AveragedModel(model)
        >>> average.update_parameters(model)
        >>> average.n_averaged
        tensor(1)
    """

    n_averaged: Tensor

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Callable[[Tensor, Tensor, Any], Tensor] | None = None,
        multi_avg_fn: Callable[[Sequence[Tensor], Sequence[Tensor], Any], None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", zeros((), dtype=dtypes.int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model gives."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Takes the model's parameters into the averages; the first time, copies them.

        Example:
            >>> import flambeau as torch
            >>> model = torch.nn.Linear(1, 1, bias=False)
            >>> average = torch.optim.swa_utils.AveragedModel(model)
            >>> for value in (1.0, 3.0):
            ...     _ = torch.nn.init.constant_(model.weight, value)
            ...     average.update_parameters(model)
            >>> average.module.weight.detach()
            tensor([[2.]])
        """
        with no_grad():
            mine, theirs = self._tensors(self.module), self._tensors(model)
            theirs = [t.detach().to(m.device) for m, t in zip(mine, theirs, strict=False)]
            mine = [m.detach() for m in mine]
            if self.n_averaged == 0:
                _copy(mine, theirs)
            elif self.avg_fn is not None:
                for m, t in zip(mine, theirs, strict=True):
                    m.copy_(self.avg_fn(m, t, self.n_averaged.to(m.device)))
            else:
                update = self.multi_avg_fn or get_swa_multi_avg_fn()
                for ours, others in _alike(mine, theirs):
                    update(ours, others, self.n_averaged.to(ours[0].device))
            if not self.use_buffers:
                _copy([b.detach() for b in self.module.buffers()], [b.detach() for b in model.buffers()])
            self.n_averaged += 1

    def _tensors(self, model: Module) -> list[Tensor]:
        return list(chain(model.parameters(), model.buffers()) if self.use_buffers else model.parameters())


def _copy(into: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    for box, value in zip(into, values, strict=True):
        box.copy_(value)


def _alike(mine: list[Tensor], theirs: list[Tensor]) -> Iterable[tuple[list[Tensor], list[Tensor]]]:
    """Pairs by device and type, as lists."""
    found: dict[Any, tuple[list[Tensor], list[Tensor]]] = {}
    for m, t in zip(mine, theirs, strict=True):
        ours, others = found.setdefault((m.device, m.dtype), ([], []))
        ours.append(m)
        others.append(t)
    return found.values()


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Computes the running statistics of a model's batch norms anew, as plain means over data.

    Args:
        loader: gives batches, or tuples that begin with one.
        model: whose statistics are set.
        device: where batches are brought first.

    Example:
        >>> import flambeau as torch
        >>> net = torch.nn.BatchNorm1d(1)
        >>> torch.optim.swa_utils.update_bn([torch.tensor([[1.], [3.]]), torch.tensor([[5.], [7.]])], net)
        >>> net.running_mean
        tensor([4.])
    """
    norms = {module: module.momentum for module in model.modules() if isinstance(module, _BatchNorm)}
    if not norms:
        return
    training = model.training
    model.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    with no_grad():
        for batch in loader:
            batch = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(batch if device is None else batch.to(device))
    for norm, momentum in norms.items():
        norm.momentum = momentum
    model.train(training)


class SWALR(LRScheduler):
    """Rates that go to a constant one, to be averaged over there.

    Args:
        optimizer: whose rates are set.
        swa_lr: the constant rate, or one per group.
        anneal_epochs: in how many steps it is reached.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        last_epoch: the step after which to go on.

    Raises:
        ValueError: for an unknown strategy or a negative number of steps.

    Example:
        >>> import flambeau as torch
        >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
        >>> schedule = torch.optim.swa_utils.SWALR(sgd, swa_lr=0.2, anneal_epochs=4, anneal_strategy="linear")
        >>> rates = []
        >>> for _ in range(6):
        ...     rates.append(schedule.get_last_lr()[0])
        ...     sgd.step()
        ...     schedule.step()
        >>> torch.tensor(rates)
        tensor([1.0000, 0.8000, 0.6000, 0.4000, 0.2000, 0.2000])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: Any,
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        for rate, group in zip(one_each("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, part: float) -> float:
        """How far the rates have come after a part of the way."""
        return part if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * part)) / 2

    def get_lr(self) -> list[Any]:
        self._warn_outside()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = (self._weight(place) for place in (step - 1, step))
        rates = []
        for group in self.optimizer.param_groups:
            lr, goal = count_of(group["lr"]), count_of(group["swa_lr"])
            first = goal if before == 1 else (lr - before * goal) / (1 - before)
            rates.append(goal * now + first * (1 - now))
        return rates

    def _weight(self, step: int) -> float:
        return self.anneal_func(max(0, min(1, step / max(1, self.anneal_epochs))))
