"""Finding the operation whose derivative gives NaN, and the line that recorded it."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.grad_mode import search
from flambeau.autograd.node import GradNode
from flambeau.graph.observer import current as looking
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["detect_anomaly", "set_detect_anomaly"]


class set_detect_anomaly:
    """Switches the search for anomalies on or off: at once, or inside a ``with`` block.

    While it is on, every operation that is noted for differentiation remembers where it was called, and the way back
    computes each step by itself: a step that raises, or (with ``check_nan``) gives NaN, is named with these lines.

    Args:
        mode: on or off.
        check_nan: whether to look for NaN.

    Example:
        >>> import flambeau as torch
        >>> torch.is_anomaly_enabled()
        False
        >>> with torch.autograd.set_detect_anomaly(True):
        ...     torch.is_anomaly_enabled()
        True
        >>> torch.is_anomaly_enabled()
        False
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = _setting()
        _set(bool(mode), bool(check_nan))

    def __enter__(self) -> None:
        """Stays as set."""

    def __exit__(self, *exc: object) -> None:
        _set(*self._before)


class detect_anomaly:
    """Searches for anomalies inside a ``with`` block; see :class:`set_detect_anomaly`.

    Raises:
        RuntimeError: out of a backward pass, where a step gives NaN.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("ignore")
        >>> import flambeau as torch
        >>> x = torch.zeros(1, requires_grad=True)
        >>> with torch.autograd.detect_anomaly():
        ...     (torch.sqrt(x) * 0).sum().backward()
        Traceback (most recent call last):
        RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
        )

    def __enter__(self) -> None:
        self._before = _setting()
        _set(True, self._check_nan)

    def __exit__(self, *exc: object) -> None:
        _set(*self._before)


def is_anomaly_enabled() -> bool:
    """Whether the search for anomalies is on.

    Example:
        >>> import flambeau as torch
        >>> with torch.autograd.set_detect_anomaly(True):
        ...     torch.is_anomaly_enabled()
        True
        >>> torch.is_anomaly_enabled()
        False
    """
    return search.on


def is_anomaly_check_nan_enabled() -> bool:
    """Whether the search for anomalies looks for NaN.

    Example:
        >>> import flambeau as torch
        >>> torch.is_anomaly_check_nan_enabled()
        True
    """
    return search.check_nan


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Switches the search for anomalies on or off; see :class:`set_detect_anomaly`.

    Raises:
        TypeError: if a switch is no bool.

    Example:
        >>> import flambeau as torch
        >>> torch.set_anomaly_enabled(True, check_nan=False)
        >>> torch.is_anomaly_enabled()
        True
        >>> torch.set_anomaly_enabled(False)
    """
    for name, given in (("enabled", enabled), ("check_nan", check_nan)):
        if not isinstance(given, bool):
            raise TypeError(f"set_anomaly_enabled(): argument '{name}' must be bool, not {type(given).__name__}")
    _set(enabled, check_nan)


def _setting() -> tuple[bool, bool]:
    return search.on, search.check_nan


def _set(on: bool, check_nan: bool) -> None:
    search.on = on
    search.check_nan = check_nan


def checked_step(grad_fn: GradNode, grads: list[Tensor | None]) -> Any:
    """One step back, computed at once and checked."""
    try:
        found = grad_fn.backward(grads)
    except Exception:
        _tell(grad_fn)
        raise
    # While a function is captured or mapped there are no values to look at yet.
    if search.check_nan and looking.observer is None:
        for i, gradient in enumerate(found):
            if isinstance(gradient, Tensor) and bool(gradient.detach().isnan().any()):
                _tell(grad_fn)
                raise RuntimeError(f"Function '{grad_fn.name()}' returned nan values in its {i}th output.")
    return found


def _tell(grad_fn: GradNode) -> None:
    lines = grad_fn.metadata.get("traceback_")
    if lines is None:
        warn(
            f"Error detected in {grad_fn.name()}. No forward pass information available. Enable detect anomaly during "
            "forward pass for more information.",
        )
        return
    warn(
        f"Error detected in {grad_fn.name()}. Traceback of forward call that caused the error:\n{''.join(lines)}",
    )
