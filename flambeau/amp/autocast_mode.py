"""Autocast's switches: the context manager, the decorators for functions of one's own, the queries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.engine import accelerators
from flambeau.ops import autocast as lists
from flambeau.ops.autocast import settings
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "is_autocast_available"]

SUPPORTED = (dtypes.bfloat16, dtypes.float16)


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows a type of device.

    Raises:
        RuntimeError: if there is no such type.

    Example:
        >>> import flambeau as torch
        >>> torch.amp.is_autocast_available("cpu"), torch.amp.is_autocast_available("meta")
        (True, False)
    """
    return _kind(device_type, "is_autocast_available") in lists.LISTS


def _kind(device_type: Any, function: str) -> str:
    if not isinstance(device_type, str):
        raise TypeError(
            f"{function}(): argument 'device_type' (position 1) must be str, not {type(device_type).__name__}"
        )
    return devices.device(device_type).type


class autocast:
    """Inside, operators compute in the type that suits them: products in lower precision, losses in float32.

    A context manager and a decorator. It should enclose the forward pass and the loss; ``backward`` runs each
    derivative in the types of its operator wherever it is called, and gradients of float32 weights are float32.
    Which operators are converted is PyTorch's list for the type of device, see :mod:`flambeau.ops.autocast`.

    Args:
        device_type: ``"cpu"``, ``"cuda"`` or ``"tpu"``; tensors on other devices are left alone.
        dtype: of lower precision, ``bfloat16`` or ``float16``; None: :func:`get_autocast_dtype`, which is bfloat16,
            on GPUs float16, unless set.
        enabled: False switches it off inside.
        cache_enabled: whether a weight's cast is made once per outermost region; None: as it is set.

    Raises:
        ValueError: if ``device_type`` is no string.
        RuntimeError: if it names no device, or one without autocast.

    A dtype that the device does not support, and a GPU that is not there, switch it off with a warning.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(2, 3)
        >>> with torch.autocast("cpu"):
        ...     y = layer(torch.ones(1, 2))
        ...     y.dtype, torch.nn.functional.mse_loss(y, torch.zeros(1, 3)).dtype
        (torch.bfloat16, torch.float32)
    """

    def __init__(
        self,
        device_type: str,
        dtype: dtypes.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device = _kind(device_type, "autocast")
        if self.device not in lists.LISTS:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{self.device}'")
        self.fast_dtype = settings.dtypes[self.device] if dtype is None else dtype
        self._cache_enabled = settings.caching if cache_enabled is None else cache_enabled
        self._enabled = bool(enabled) and self._is_supported()
        self._outer: list[tuple[bool, dtypes.dtype, bool]] = []

    def _is_supported(self) -> bool:
        if self.device == "cuda" and not accelerators.available("cuda"):
            warn("CUDA is not available or torch_xla is imported. Disabling autocast.")
            return False
        if self.fast_dtype not in SUPPORTED:
            name = self.device.upper()
            warn(
                f"In {name} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{name} Autocast only supports dtypes of {', '.join(map(str, SUPPORTED))} currently.",
            )
            return False
        return True

    def __enter__(self) -> autocast:
        kind = self.device
        self._outer.append((settings.enabled[kind], settings.dtypes[kind], settings.caching))
        settings.nesting += 1
        self._switch(self._enabled, self.fast_dtype, self._cache_enabled)
        return self

    def __exit__(self, *exc: object) -> bool:
        settings.nesting -= 1
        if settings.nesting == 0:
            clear_autocast_cache()
        self._switch(*self._outer.pop())
        return False

    def _switch(self, enabled: bool, dtype: dtypes.dtype, caching: bool) -> None:
        settings.enabled[self.device] = enabled
        settings.dtypes[self.device] = dtype
        settings.caching = caching
        settings.changed()

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast as "
                "a context manager? For example:\n"
                "    with torch.autocast(device_type=...):\n"
                "        output = model(input)"
            )
        return autocast_decorator(self, func)


def autocast_decorator(autocast_instance: autocast, func: Callable[..., Any]) -> Callable[..., Any]:
    """The function, called inside the region."""

    @functools.wraps(func)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast_instance:
            return func(*args, **kwargs)

    return decorated


# ---------------------------------------------------------------- functions with a derivative of their own


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: dtypes.dtype | None = None) -> Any:
    """For the forward of an :class:`flambeau.autograd.Function`: how it runs inside autocast.

    Args:
        fwd: the method; without it, a decorator is returned.
        device_type: whose autocast is meant.
        cast_inputs: if given, floating tensors are converted to it and autocast is off inside; if None, forward runs
            under the autocast around it.  Outside of autocast neither has an effect.

    Raises:
        ValueError: if ``device_type`` is no string.

    Example:
        >>> import flambeau as torch
        >>> class Double(torch.autograd.Function):
        ...     @staticmethod
        ...     @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     @torch.amp.custom_bwd(device_type="cpu")
        ...     def backward(ctx, grad):
        ...         return grad * 2
        >>> with torch.autocast("cpu"):
        ...     Double.apply(torch.ones(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    _check_device_type(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        enabled = is_autocast_enabled(device_type)
        ctx._fwd_used_autocast = enabled and cast_inputs is None
        if not enabled or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_converted(args, device_type, cast_inputs), **_converted(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """For the backward of an :class:`flambeau.autograd.Function`: runs it under the autocast of its forward.

    Args:
        bwd: the method; without it, a decorator is returned.
        device_type: as of :func:`custom_fwd`.

    Raises:
        ValueError: if ``device_type`` is no string.

    Example:
        >>> import flambeau as torch
        >>> class Product(torch.autograd.Function):
        ...     @staticmethod
        ...     @torch.amp.custom_fwd(device_type="cpu")
        ...     def forward(ctx, x, w):
        ...         ctx.save_for_backward(x, w)
        ...         return x @ w
        ...     @staticmethod
        ...     @torch.amp.custom_bwd(device_type="cpu")
        ...     def backward(ctx, grad):
        ...         x, w = ctx.saved_tensors
        ...         print(torch.is_autocast_enabled("cpu"), (x.T @ grad).dtype)
        ...         return grad @ w.T, x.T @ grad
        >>> w = torch.ones(2, 1, requires_grad=True)
        >>> with torch.autocast("cpu"):
        ...     y = Product.apply(torch.ones(1, 2), w)
        >>> y.float().sum().backward()
        True torch.bfloat16
    """
    _check_device_type(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return decorated


def _check_device_type(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def _converted(value: Any, device_type: str, dtype: dtypes.dtype) -> Any:
    """Floating tensors within containers converted; float64 stays."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type and value.dtype is not dtypes.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, str | bytes | np.ndarray):
        return value
    if isinstance(value, Mapping):
        return {_converted(k, device_type, dtype): _converted(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        parts = (_converted(part, device_type, dtype) for part in value)
        return type(value)(parts) if isinstance(value, list | tuple) else parts  # type: ignore[call-arg]
    return value


# ---------------------------------------------------------------- queries and switches


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether autocast is on for a type of device.

    Raises:
        RuntimeError: for a type of device without autocast.

    Example:
        >>> import flambeau as torch
        >>> torch.is_autocast_enabled("cpu")
        False
        >>> with torch.autocast("cpu"):
        ...     torch.is_autocast_enabled("cpu")
        True
    """
    kind = _kind(device_type, "is_autocast_enabled")
    if kind not in lists.LISTS:
        raise RuntimeError(f"unknown device type for autocast: {kind}; it is there for {', '.join(lists.LISTS)}")
    return settings.enabled[kind]


def set_autocast_enabled(*args: Any) -> None:
    """``set_autocast_enabled(device_type, enabled)``: switches autocast on or off; without a type, for GPUs.

    Raises:
        TypeError: for a wrong number of arguments, or an ``enabled`` that is no bool.

    Example:
        >>> import flambeau as torch
        >>> torch.set_autocast_enabled("cpu", True)
        >>> torch.is_autocast_enabled("cpu")
        True
        >>> torch.set_autocast_enabled("cpu", False)
    """
    if len(args) not in (1, 2):
        raise TypeError(f"set_autocast_enabled() takes a device_type and enabled, got {len(args)} arguments")
    kind = _kind(args[0], "set_autocast_enabled") if len(args) == 2 else "cuda"
    if not isinstance(args[-1], bool):
        raise TypeError(
            f"set_autocast_enabled(): argument 'enabled' (position {len(args)}) must be bool, not "
            f"{type(args[-1]).__name__}"
        )
    is_autocast_enabled(kind)
    settings.enabled[kind] = args[-1]
    settings.changed()


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype of lower precision for a type of device.

    Example:
        >>> import flambeau as torch
        >>> torch.get_autocast_dtype("cpu")
        torch.bfloat16
        >>> with torch.autocast("cpu", dtype=torch.float16):
        ...     torch.get_autocast_dtype("cpu")
        torch.float16
    """
    is_autocast_enabled(_kind(device_type, "get_autocast_dtype"))
    return settings.dtypes[_kind(device_type, "get_autocast_dtype")]


def set_autocast_dtype(device_type: str, dtype: dtypes.dtype) -> None:
    """Sets the dtype of lower precision for a type of device.

    Raises:
        TypeError: if ``dtype`` is none.

    Example:
        >>> import flambeau as torch
        >>> torch.set_autocast_dtype("cpu", torch.float16)
        >>> torch.get_autocast_dtype("cpu")
        torch.float16
        >>> torch.set_autocast_dtype("cpu", torch.bfloat16)
    """
    kind = _kind(device_type, "set_autocast_dtype")
    is_autocast_enabled(kind)
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError(
            f"set_autocast_dtype(): argument 'dtype' (position 2) must be torch.dtype, not {type(dtype).__name__}"
        )
    settings.dtypes[kind] = dtype
    settings.changed()


def is_autocast_cache_enabled() -> bool:
    """Whether a weight's cast is made once per outermost region.

    Example:
        >>> import flambeau as torch
        >>> torch.is_autocast_cache_enabled()
        True
        >>> with torch.autocast("cpu", cache_enabled=False):
        ...     torch.is_autocast_cache_enabled()
        False
    """
    return settings.caching


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Sets whether a weight's cast is made once per outermost region.

    Example:
        >>> import flambeau as torch
        >>> torch.set_autocast_cache_enabled(False)
        >>> torch.is_autocast_cache_enabled()
        False
        >>> torch.set_autocast_cache_enabled(True)
    """
    settings.caching = bool(enabled)
    settings.changed()


def clear_autocast_cache() -> None:
    """Forgets the casts of weights.

    Example:
        >>> import flambeau as torch
        >>> torch.clear_autocast_cache()
    """
    lists.casts().clear()


def autocast_increment_nesting() -> int:
    """Enters a region by hand: its depth.

    Example:
        >>> import flambeau as torch
        >>> torch.autocast_increment_nesting(), torch.autocast_decrement_nesting()
        (1, 0)
    """
    settings.nesting += 1
    return settings.nesting


def autocast_decrement_nesting() -> int:
    """Leaves a region by hand: the depth outside.

    Example:
        >>> import flambeau as torch
        >>> torch.autocast_increment_nesting(), torch.autocast_decrement_nesting()
        (1, 0)
    """
    settings.nesting -= 1
    return settings.nesting


# ---------------------------------------------------------------- older names


def _older(name: str, new: str, function: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def older(*args: Any) -> Any:
        argument = "enabled" if "enabled" in name else "dtype"
        shown = argument if name.startswith("set") else ""
        replacement = f"{new}('{kind}'{', ' + argument if shown else ''})"
        warn(
            f"torch.{name}({shown}) is deprecated. Please use torch.{replacement} instead.",
            DeprecationWarning,
        )
        return function(kind, *args)

    older.__name__ = name
    older.__doc__ = f"Deprecated form of ``{new}('{kind}', ...)``."
    return older


is_autocast_cpu_enabled = _older("is_autocast_cpu_enabled", "is_autocast_enabled", is_autocast_enabled, "cpu")
set_autocast_cpu_enabled = _older("set_autocast_cpu_enabled", "set_autocast_enabled", set_autocast_enabled, "cpu")
get_autocast_cpu_dtype = _older("get_autocast_cpu_dtype", "get_autocast_dtype", get_autocast_dtype, "cpu")
set_autocast_cpu_dtype = _older("set_autocast_cpu_dtype", "set_autocast_dtype", set_autocast_dtype, "cpu")
get_autocast_gpu_dtype = _older("get_autocast_gpu_dtype", "get_autocast_dtype", get_autocast_dtype, "cuda")
set_autocast_gpu_dtype = _older("set_autocast_gpu_dtype", "set_autocast_dtype", set_autocast_dtype, "cuda")
