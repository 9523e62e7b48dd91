"""Scaling of losses, so that small gradients survive float16."""

from __future__ import annotations

import functools
import inspect
import operator
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import no_grad
from flambeau.engine import accelerators
from flambeau.graph.observer import current as looking
from flambeau.ops.compare import where
from flambeau.ops.create import full
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """How far an optimizer is in this iteration."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh_state() -> dict[str, Any]:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Multiplies losses by a scale, divides gradients by it, and skips the steps in which they overflowed.

    ``scale(loss).backward()``, then ``step(optimizer)``, then ``update()``.  When a gradient is infinite or NaN the
    step is skipped and the scale multiplied by ``backoff_factor``; after ``growth_interval`` steps without one it is
    multiplied by ``growth_factor``.

    In a function given to ``flambeau.compile``, ``scale`` and ``backward`` may be captured; ``unscale_``, ``step`` and
    ``update`` belong outside, since whether a step is taken depends on a value.

    Args:
        device: whose losses are scaled; a GPU that is not there disables the scaler, with a warning.
        init_scale: the scale to begin with.
        growth_factor: above 1.
        backoff_factor: below 1.
        growth_interval: steps without overflow before the scale grows.
        enabled: False makes ``step`` the optimizer's own and everything else do nothing.

    Raises:
        AssertionError: for a factor on the wrong side of 1.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2.

    Example:
        >>> import flambeau as torch
        >>> w = torch.ones(1, requires_grad=True)
        >>> optimizer = torch.optim.SGD([w], lr=0.5)
        >>> scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        >>> scaler.scale((w * 1).sum()).backward()
        >>> w.grad
        tensor([4.])
        >>> scaler.step(optimizer)
        >>> scaler.update()
        >>> w.tolist(), scaler.get_scale()
        ([0.5], 4.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda" and not accelerators.available("cuda"):
            warn("torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.")
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError("The growth factor must be > 1.0.")
        if backoff_factor >= 1.0:
            raise AssertionError("The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        # Both are made by the first scale(), on the device of what is scaled.
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: dict[int, dict[str, Any]] = defaultdict(_fresh_state)

    def _begun(self, name: str) -> tuple[Tensor, Tensor]:
        for attribute in ("_scale", "_growth_tracker"):
            if getattr(self, attribute) is None:
                raise AssertionError(
                    f"Attempted {name} but {attribute} is None.  This may indicate your script did not use "
                    "scaler.scale(loss or outputs) earlier in the iteration."
                )
        return self._scale, self._growth_tracker  # type: ignore[return-value]

    def _outside(self, name: str) -> None:
        if looking.observer is not None:
            from flambeau.capture.watch import CaptureError

            raise CaptureError(
                f"GradScaler.{name} cannot be captured: whether the optimizer steps depends on the gradients' values. "
                "Compile the forward and backward pass with scaler.scale(loss).backward(), and call unscale_, step and "
                "update outside of the compiled function"
            )

    # ------------------------------------------------------------ an iteration

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each tensor in an iterable, multiplied by the scale.

        Raises:
            ValueError: if there is anything else.

        Example:
            >>> import flambeau as torch
            >>> scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
            >>> scaler.scale(torch.tensor(0.5))
            tensor(4.)
        """
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale_on(outputs)
        if isinstance(outputs, list | tuple):
            return type(outputs)(map(self.scale, outputs))
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _scale_on(self, tensor: Tensor) -> Tensor:
        if self._scale is None:
            if self._growth_tracker is not None:
                raise AssertionError("_growth_tracker initialized before _scale")
            where_to = {"device": tensor.device}
            self._growth_tracker = full((), self._init_growth_tracker, dtype=dtypes.int32, **where_to)
            self._scale = full((), self._init_scale, dtype=dtypes.float32, **where_to)
        scale, _ = self._begun("scale")
        return scale.to(tensor.device)

    def unscale_(self, optimizer: Any) -> None:
        """Divides the gradients of an optimizer's parameters by the scale, as for clipping them; at most once a step.

        Raises:
            RuntimeError: if it was called already since the last :meth:`update`, or after :meth:`step`.
            ValueError: if a gradient is of float16: parameters are to be kept in float32.

        Example:
            >>> import flambeau as torch
            >>> w = torch.ones(1, requires_grad=True)
            >>> sgd, scaler = torch.optim.SGD([w], lr=0.1), torch.amp.GradScaler("cpu", init_scale=8.0)
            >>> scaler.scale(w.sum() * 3).backward()
            >>> scaler.unscale_(sgd)
            >>> w.grad
            tensor([3.])
        """
        if not self._enabled:
            return
        self._outside("unscale_")
        scale, _ = self._begun("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = scale.double().reciprocal().float()
        state["found_inf_per_device"] = self._checked(optimizer, inverse)
        state["stage"] = OptState.UNSCALED

    def _checked(self, optimizer: Any, inverse: Tensor | None) -> dict[Any, Tensor]:
        """Whether there is a value that is not finite, 1.0 or 0.0 by device; multiplies by ``inverse`` if given."""
        found: dict[Any, Tensor] = {}
        with no_grad():
            for grad in _gradients(optimizer):
                if inverse is not None and grad.dtype is dtypes.float16:
                    raise ValueError("Attempting to unscale FP16 gradients.")
                bad = grad.isfinite().all().logical_not().float()
                known = found.get(grad.device)
                found[grad.device] = bad if known is None else known.maximum(bad)
                if inverse is not None:
                    grad.mul_(inverse.to(grad.device))
        return found

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls ``optimizer.step(*args, **kwargs)`` with unscaled gradients, unless one of them is not finite.

        Returns:
            What the optimizer's step returned, None if it was skipped.

        Raises:
            RuntimeError: if a closure is given, or the optimizer has stepped since the last :meth:`update`.
            AssertionError: if nothing was scaled, or the optimizer has no gradients.

        Example:
            >>> import flambeau as torch
            >>> w = torch.ones(1, requires_grad=True)
            >>> sgd, scaler = torch.optim.SGD([w], lr=0.1), torch.amp.GradScaler("cpu", init_scale=8.0)
            >>> scaler.scale(w.sum() * float("inf")).backward()
            >>> _ = scaler.step(sgd)
            >>> w.detach()
            tensor([1.])
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._outside("step")
        self._begun("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            return self._step_by_itself(optimizer, state, args, kwargs)
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not state["found_inf_per_device"]:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        overflowed = any(found.item() for found in state["found_inf_per_device"].values())
        result = None if overflowed else optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def _step_by_itself(self, optimizer: Any, state: dict[str, Any], args: Any, kwargs: Any) -> Any:
        """The step of an optimizer that unscales and skips by itself: it finds ``grad_scale`` and ``found_inf``."""
        takes_scaler = "grad_scaler" in inspect.signature(optimizer.step).parameters
        if takes_scaler:
            warn(
                "GradScaler is going to stop passing itself as a keyword argument to the passed optimizer. In the near "
                "future GradScaler registers `grad_scale: Tensor` and `found_inf: Tensor` to the passed optimizer and "
                "let the optimizer use them directly.",
                FutureWarning,
            )
            result = optimizer.step(*args, **kwargs, grad_scaler=self)
            state["stage"] = OptState.STEPPED
            return result
        if state["stage"] is OptState.READY:
            state["found_inf_per_device"] = self._checked(optimizer, None)
        scale, _ = self._begun("step")
        given = getattr(optimizer, "grad_scale", None)
        if state["stage"] is OptState.READY:
            given = scale if given is None else scale * given
        optimizer.grad_scale = given
        optimizer.found_inf = sum(found.to(scale.device) for found in state["found_inf_per_device"].values())
        result = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        del optimizer.grad_scale
        del optimizer.found_inf
        return result

    def update(self, new_scale: Any = None) -> None:
        """Ends an iteration: shrinks the scale if a step was skipped, lets it grow if it is time, or sets it.

        Args:
            new_scale: the scale from now on, a float or a tensor of one element.

        Raises:
            AssertionError: if nothing was scaled or checked, or ``new_scale`` does not fit.

        Example:
            >>> import flambeau as torch
            >>> w = torch.ones(1, requires_grad=True)
            >>> sgd, scaler = torch.optim.SGD([w], lr=0.1), torch.amp.GradScaler("cpu", init_scale=8.0)
            >>> scaler.scale(w.sum() * float("inf")).backward()
            >>> _ = scaler.step(sgd)
            >>> scaler.update()
            >>> scaler.get_scale()
            4.0
        """
        if not self._enabled:
            return
        self._outside("update")
        scale, tracker = self._begun("update")
        if new_scale is not None:
            self._set_scale(scale, new_scale)
        else:
            found = [
                found.to(scale.device)
                for state in self._per_optimizer_states.values()
                for found in state["found_inf_per_device"].values()
            ]
            if not found:
                raise AssertionError("No inf checks were recorded prior to update.")
            with no_grad():
                self._adapt(scale, tracker, functools.reduce(operator.add, found))
        self._per_optimizer_states = defaultdict(_fresh_state)

    def _set_scale(self, scale: Tensor, new: Any) -> None:
        if isinstance(new, float):
            scale.fill_(new)
            return
        if new.device.type != self._device or new.numel() != 1 or new.requires_grad:
            raise AssertionError(
                "new_scale should be a float or a 1-element torch.cuda.FloatTensor or torch.FloatTensor with "
                "requires_grad=False."
            )
        scale.copy_(new)

    def _adapt(self, scale: Tensor, tracker: Tensor, found: Tensor) -> None:
        overflowed = found != 0
        good = tracker + 1
        due = good == self._growth_interval
        grown = (scale.double() * self._growth_factor).float()
        shrunk = (scale.double() * self._backoff_factor).float()
        # A scale that would overflow stays.
        kept = where(due.logical_and(grown.isfinite()), grown, scale)
        scale.copy_(where(overflowed, shrunk, kept))
        tracker.copy_(where(overflowed.logical_or(due), 0, good))

    # ------------------------------------------------------------ what it knows

    def get_scale(self) -> float:
        """The scale; 1.0 if disabled.

        Example:
            >>> import flambeau as torch
            >>> torch.amp.GradScaler("cpu").get_scale(), torch.amp.GradScaler("cpu", enabled=False).get_scale()
            (65536.0, 1.0)
        """
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def _get_scale_async(self) -> Tensor | None:
        return self._scale

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by to grow.

        Example:
            >>> import flambeau as torch
            >>> torch.amp.GradScaler("cpu").get_growth_factor()
            2.0
        """
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Sets what the scale is multiplied by to grow.

        Example:
            >>> import flambeau as torch
            >>> scaler = torch.amp.GradScaler("cpu")
            >>> scaler.set_growth_factor(1.5)
            >>> scaler.get_growth_factor()
            1.5
        """
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by to shrink.

        Example:
            >>> import flambeau as torch
            >>> torch.amp.GradScaler("cpu").get_backoff_factor()
            0.5
        """
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Sets what the scale is multiplied by to shrink.

        Example:
            >>> import flambeau as torch
            >>> scaler = torch.amp.GradScaler("cpu")
            >>> scaler.set_backoff_factor(0.25)
            >>> scaler.get_backoff_factor()
            0.25
        """
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many steps without overflow let the scale grow.

        Example:
            >>> import flambeau as torch
            >>> torch.amp.GradScaler("cpu").get_growth_interval()
            2000
        """
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Sets how many steps without overflow let the scale grow.

        Example:
            >>> import flambeau as torch
            >>> scaler = torch.amp.GradScaler("cpu")
            >>> scaler.set_growth_interval(100)
            >>> scaler.get_growth_interval()
            100
        """
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else self._growth_tracker.item()

    def is_enabled(self) -> bool:
        """Whether it does anything.

        Example:
            >>> import flambeau as torch
            >>> torch.amp.GradScaler("cpu", enabled=False).is_enabled()
            False
        """
        return self._enabled

    def _check_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        self._begun("_check_inf_per_device")
        found = self._checked(optimizer, None)
        self._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = found
        return found

    def _found_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]

    # ------------------------------------------------------------ checkpoints

    def state_dict(self) -> dict[str, Any]:
        """The scale, its factors and the count of steps without overflow, to be taken after :meth:`update`.

        Empty if disabled.

        Example:
            >>> import flambeau as torch
            >>> torch.amp.GradScaler("cpu", init_scale=8.0).state_dict()
            {'scale': 8.0, 'growth_factor': 2.0, 'backoff_factor': 0.5, 'growth_interval': 2000, '_growth_tracker': 0}
        """
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over what :meth:`state_dict` gave.

        Raises:
            RuntimeError: if that is empty, since it came from a disabled scaler.

        Example:
            >>> import flambeau as torch
            >>> scaler = torch.amp.GradScaler("cpu")
            >>> scaler.load_state_dict(torch.amp.GradScaler("cpu", init_scale=8.0).state_dict())
            >>> scaler.get_scale()
            8.0
        """
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(state_dict["_growth_tracker"])

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                    "scaler.update()."
                )
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = None
            state["_growth_tracker"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _gradients(optimizer: Any) -> Iterable[Tensor]:
    for group in optimizer.param_groups:
        for param in group["params"]:
            if not isinstance(param, Tensor):
                raise AssertionError(f"expected param to be torch.Tensor, got {type(param).__name__}")
            if param.grad is not None:
                yield param.grad
