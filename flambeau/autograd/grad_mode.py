"""Whether operations are noted for differentiation."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any


class _Mode(threading.local):
    """The flags that recording reads; each thread has its own, and begins with the defaults.

    Attributes:
        grad: whether operations are noted for differentiation.
        inference: whether tensors made now can never take part in it.
        autocast: what autocast converts to (see :mod:`flambeau.ops.autocast`); None where it is off.
        hooks: what becomes of values saved for the way back, as (pack, unpack); None: they are kept.
        refusal: what setting such hooks raises; None: they may be set.
        arriving: the gradients that the step going back right now was given.
        running: of the pass going back right now: its steps, those of them that are of use (None: all), and the
            tensors whose gradients are wanted (None: it adds to the ``grad`` of every leaf).
    """

    def __init__(self) -> None:
        self.grad = True
        self.inference = False
        self.autocast: Any = None
        self.running: Any = None
        self.hooks: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None
        self.refusal: str | None = None
        self.arriving: Any = ()


mode = _Mode()


class _Search:
    """The search for anomalies, which is of the whole process.

    Attributes:
        on: whether the way back is checked, and each step notes where it was recorded.
        check_nan: whether that check looks for NaN.
    """

    __slots__ = ("check_nan", "on")

    def __init__(self) -> None:
        self.on = False
        self.check_nan = True


search = _Search()


def is_grad_enabled() -> bool:
    """Whether operations are noted for differentiation now.

    Example:
        >>> import flambeau as torch
        >>> torch.is_grad_enabled()
        True
        >>> with torch.no_grad():
        ...     torch.is_grad_enabled()
        False
    """
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on.

    Example:
        >>> import flambeau as torch
        >>> with torch.inference_mode():
        ...     torch.is_inference_mode_enabled()
        True
    """
    return mode.inference


class _Guard:
    """A context manager that is a decorator as well."""

    _grad: bool

    def __enter__(self) -> None:
        self._before = mode.grad
        mode.grad = self._grad

    def __exit__(self, *exc: object) -> None:
        mode.grad = self._before

    def clone(self) -> _Guard:
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return guarded


class no_grad(_Guard):
    """Nothing inside is noted for differentiation.  A context manager and a decorator.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad():
        ...     (x * 2).requires_grad
        False
    """

    _grad = False

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        return self if orig_func is None else self(orig_func)


class enable_grad(_Guard):
    """Operations inside are noted for differentiation, within ``no_grad`` too.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.no_grad():
        ...     with torch.enable_grad():
        ...         y = x * 2
        >>> y.requires_grad
        True
    """

    _grad = True

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        self = super().__new__(cls)
        return self if orig_func is None else self(orig_func)


class set_grad_enabled(_Guard):
    """Switches noting for differentiation on or off: at once, or inside a ``with`` block.

    Args:
        mode: on or off.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> training = False
        >>> with torch.set_grad_enabled(training):
        ...     (x * 2).requires_grad
        False
        >>> (x * 2).requires_grad
        True
    """

    def __init__(self, mode: bool) -> None:
        self._before = globals()["mode"].grad
        self._grad = bool(mode)
        globals()["mode"].grad = self._grad

    def __enter__(self) -> None:
        mode.grad = self._grad

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode.grad = self._before
        return super().__call__(function)

    def clone(self) -> set_grad_enabled:
        before = mode.grad
        fresh = type(self)(self._grad)
        fresh._before = before
        return fresh


class inference_mode(_Guard):
    """Like :class:`no_grad`; tensors made inside can never be noted for differentiation later.

    Args:
        mode: whether to switch it on.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.inference_mode():
        ...     y = x * 2
        >>> y.requires_grad, y.is_inference()
        (False, True)
    """

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        if callable(mode):
            return cls()(mode)
        return super().__new__(cls)

    def __init__(self, mode: bool = True) -> None:
        self._on = mode

    def __enter__(self) -> None:
        self._saved = (mode.grad, mode.inference)
        mode.inference = self._on
        if self._on:
            mode.grad = False

    def __exit__(self, *exc: object) -> None:
        mode.grad, mode.inference = self._saved

    def clone(self) -> inference_mode:
        return type(self)(self._on)


class set_multithreading_enabled(_Guard):
    """Accepted: the way back is recorded by the thread that asks for it, and computed by the engine.

    Args:
        mode: on or off.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.autograd.set_multithreading_enabled(False):
        ...     (x * 3).sum().backward()
        >>> x.grad
        tensor([3., 3.])
    """

    def __init__(self, mode: bool) -> None:
        self._on = bool(mode)

    def __enter__(self) -> None:
        """Changes nothing."""

    def __exit__(self, *exc: object) -> None:
        """Changes nothing."""

    def clone(self) -> set_multithreading_enabled:
        return type(self)(self._on)
