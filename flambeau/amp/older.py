"""The forms from before the device was an argument: ``torch.cuda.amp`` and ``torch.cpu.amp``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.amp import autocast_mode, grad_scaler
from flambeau.user_warnings import warn


def _warn(kind: str, name: str) -> None:
    warn(
        f"`torch.{kind}.amp.{name}(args...)` is deprecated. Please use `torch.amp.{name}('{kind}', args...)` instead.",
        FutureWarning,
    )


def autocast_for(kind: str, lower: dtypes.dtype) -> Any:
    """The deprecated ``autocast`` of a device."""

    class autocast(autocast_mode.autocast):
        __doc__ = f"Deprecated form of ``torch.amp.autocast('{kind}', ...)``."

        def __init__(self, enabled: bool = True, dtype: dtypes.dtype = lower, cache_enabled: bool = True) -> None:
            _warn(kind, "autocast")
            super().__init__(kind, enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)

    return autocast


def scaler_for(kind: str) -> Any:
    """The deprecated ``GradScaler`` of a device."""

    class GradScaler(grad_scaler.GradScaler):
        __doc__ = f"Deprecated form of ``torch.amp.GradScaler('{kind}', ...)``."

        def __init__(
            self,
            init_scale: float = 2.0**16,
            growth_factor: float = 2.0,
            backoff_factor: float = 0.5,
            growth_interval: int = 2000,
            enabled: bool = True,
        ) -> None:
            _warn(kind, "GradScaler")
            super().__init__(kind, init_scale, growth_factor, backoff_factor, growth_interval, enabled)

    return GradScaler


def _warn_decorator(name: str) -> None:
    warn(
        f"`torch.cuda.amp.{name}(args...)` is deprecated. "
        f"Please use `torch.amp.{name}(args..., device_type='cuda')` instead.",
        FutureWarning,
    )


def custom_fwd(fwd: Any = None, *, cast_inputs: dtypes.dtype | None = None) -> Any:
    """Deprecated form of ``torch.amp.custom_fwd(..., device_type='cuda')``."""
    _warn_decorator("custom_fwd")
    return autocast_mode.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Any:
    """Deprecated form of ``torch.amp.custom_bwd(..., device_type='cuda')``."""
    _warn_decorator("custom_bwd")
    return autocast_mode.custom_bwd(bwd, device_type="cuda")
