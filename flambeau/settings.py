"""Settings of the whole process: threads, determinism, precision of products, the default device."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from flambeau import devices
from flambeau.engine import precision as products
from flambeau.engine import target, tiers
from flambeau.ops.operator import public
from flambeau.user_warnings import warn

_threads: int | None = None
_interop_threads = 1
_warn_only = False
_warn_always = False


def _openblas() -> Any:
    """The library that NumPy's products run in, or None where it is another."""
    import numpy

    folder = os.path.join(os.path.dirname(os.path.dirname(numpy.__file__)), "numpy.libs")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    for name in names:
        if "openblas" in name:
            return ctypes.CDLL(os.path.join(folder, name))
    return None


@public()
def set_num_threads(num: int) -> None:
    """How many threads the interpreter's matrix products use.

    XLA takes the processors that the process may run on when it starts; limit those to limit it.

    Raises:
        RuntimeError: unless the number is positive.

    Example:
        >>> import flambeau as torch
        >>> before = torch.get_num_threads()
        >>> torch.set_num_threads(1)
        >>> torch.get_num_threads()
        1
        >>> torch.set_num_threads(before)
    """
    global _threads
    if num <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _threads = int(num)
    library = _openblas()
    for name in ("scipy_openblas_set_num_threads64_", "openblas_set_num_threads64_", "openblas_set_num_threads"):
        if hasattr(library, name):
            getattr(library, name)(ctypes.c_int(_threads))
            return


@public()
def get_num_threads() -> int:
    """How many threads matrix products use.

    Example:
        >>> import flambeau as torch
        >>> torch.get_num_threads() >= 1
        True
    """
    return _threads or target.threads()


@public()
def set_num_interop_threads(num: int) -> None:
    """Accepted: operations are not run beside each other.

    Raises:
        RuntimeError: unless the number is positive.

    Example:
        >>> import flambeau as torch
        >>> torch.set_num_interop_threads(0)
        Traceback (most recent call last):
            ...
        RuntimeError: set_num_interop_threads expects a positive integer
    """
    global _interop_threads
    if num <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    _interop_threads = int(num)


@public()
def get_num_interop_threads() -> int:
    """What ``set_num_interop_threads`` was given.

    Example:
        >>> import flambeau as torch
        >>> torch.get_num_interop_threads() >= 1
        True
    """
    return _interop_threads


@public()
def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Makes every run take the same way: a program is then compiled at its third run, not when it proves faster.

    All operators are deterministic in themselves; the last bits of a float depend on the tier.

    Example:
        >>> import flambeau as torch
        >>> torch.use_deterministic_algorithms(True)
        >>> torch.are_deterministic_algorithms_enabled()
        True
        >>> torch.use_deterministic_algorithms(False)
    """
    global _warn_only
    _warn_only = bool(mode and warn_only)
    tiers.set_deterministic(bool(mode))


@public()
def are_deterministic_algorithms_enabled() -> bool:
    """Whether the choice of tier is deterministic.

    Example:
        >>> import flambeau as torch
        >>> torch.are_deterministic_algorithms_enabled()
        False
    """
    return tiers.is_deterministic()


@public()
def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether determinism was asked for with ``warn_only``.

    Example:
        >>> import flambeau as torch
        >>> torch.use_deterministic_algorithms(True, warn_only=True)
        >>> torch.is_deterministic_algorithms_warn_only_enabled()
        True
        >>> torch.use_deterministic_algorithms(False)
    """
    return _warn_only


_DEBUG_MODES = ("default", "warn", "error")


@public()
def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """``use_deterministic_algorithms`` by one word: ``"default"`` (0), ``"warn"`` (1) or ``"error"`` (2).

    Raises:
        TypeError, RuntimeError: for anything else.

    Example:
        >>> import flambeau as torch
        >>> torch.set_deterministic_debug_mode("error")
        >>> torch.get_deterministic_debug_mode(), torch.are_deterministic_algorithms_enabled()
        (2, True)
        >>> torch.set_deterministic_debug_mode("default")
    """
    if not isinstance(debug_mode, int | str):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(
                f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}"
            )
        debug_mode = _DEBUG_MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


@public()
def get_deterministic_debug_mode() -> int:
    """What was asked for of determinism: 0 (nothing), 1 (with ``warn_only``) or 2.

    Example:
        >>> import flambeau as torch
        >>> torch.get_deterministic_debug_mode()
        0
    """
    if not are_deterministic_algorithms_enabled():
        return 0
    return 1 if _warn_only else 2


@public()
def set_warn_always(b: bool) -> None:
    """Accepted: how often a warning is shown is up to Python's filters.

    Raises:
        RuntimeError: if it is no bool.

    Example:
        >>> import flambeau as torch
        >>> torch.set_warn_always(True)
        >>> torch.is_warn_always_enabled()
        True
        >>> torch.set_warn_always(False)
    """
    global _warn_always
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _warn_always = b


@public()
def is_warn_always_enabled() -> bool:
    """What ``set_warn_always`` was given.

    Example:
        >>> import flambeau as torch
        >>> torch.is_warn_always_enabled()
        False
    """
    return _warn_always


@public()
def set_float32_matmul_precision(precision: str) -> None:
    """How exact float32 products must be on an accelerator: ``"highest"``, ``"high"`` or ``"medium"``.

    ``"highest"``, the default, is float32 itself; ``"high"`` is TF32 on GPUs and three passes in bfloat16 on TPUs;
    ``"medium"`` is what the device does fastest.  On the CPU products are always exact to float32.  Any other word
    warns, and has no effect.

    Raises:
        RuntimeError: if it is no string.

    Example:
        >>> import flambeau as torch
        >>> torch.set_float32_matmul_precision("high")
        >>> torch.get_float32_matmul_precision()
        'high'
        >>> torch.set_float32_matmul_precision("highest")
    """
    if not isinstance(precision, str):
        raise RuntimeError(f"set_float32_matmul_precision expects a str, but got {type(precision).__name__}")
    if precision not in products.LEVELS:
        warn(
            f"{precision} is not one of 'highest', 'high', or 'medium'; the current"
            "setFloat32MatmulPrecision call has no effect.",
        )
        return
    products.words["matmul"] = "ieee" if precision == "highest" else "tf32"
    tiers.set_precision(precision)


@public()
def get_float32_matmul_precision() -> str:
    """How exact float32 products must be.

    Example:
        >>> import flambeau as torch
        >>> torch.get_float32_matmul_precision()
        'highest'
    """
    return products.level


@public()
def set_flush_denormal(mode: bool) -> bool:
    """Not supported: returns False, as PyTorch does on processors without it.

    Example:
        >>> import flambeau as torch
        >>> torch.set_flush_denormal(True)
        False
    """
    return False


@public()
def get_default_device() -> devices.device:
    """The device of tensors that are made without saying where.

    Example:
        >>> import flambeau as torch
        >>> torch.get_default_device()
        device(type='cpu')
    """
    return devices.default()


@public()
def set_default_device(device: Any) -> None:
    """Sets the device of tensors that are made without saying where (None: the CPU).

    Example:
        >>> import flambeau as torch
        >>> torch.set_default_device("meta")
        >>> torch.zeros(2).device
        device(type='meta')
        >>> torch.set_default_device(None)
    """
    devices.replace_default(devices.cpu if device is None else devices.resolve(device))


@public()
def typename(obj: Any) -> str:
    """The name of an object's type; a tensor's tells its dtype, such as ``"torch.FloatTensor"``.

    Example:
        >>> import flambeau as torch
        >>> torch.typename(torch.ones(2)), torch.typename([1, 2])
        ('torch.FloatTensor', 'list')
    """
    from flambeau.tensor.construct import type_of
    from flambeau.tensor.tensor import Tensor

    if isinstance(obj, Tensor):
        return type_of(obj)
    kind = obj if isinstance(obj, type) else type(obj)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", None) else f"{module}.{kind.__qualname__}"
