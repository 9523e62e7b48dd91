"""Which accelerators are there, and what only JAX knows of them."""

from __future__ import annotations

import os
from collections import deque
from functools import cache
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from flambeau import devices
from flambeau.graph.program import Program

_BACKENDS = {"cuda": "gpu"}
"""JAX's names for kinds of devices, where they are not PyTorch's."""
_TOLD = 12
"""How many operations of a program a message names."""


started: deque[Program] = deque(maxlen=3)
"""The programs that accelerators were given last, to be named if one of them fails."""


class AcceleratorError(RuntimeError):
    """An accelerator failed at its work, or one that is not there was asked for while others of its kind are.

    Example:
        >>> import flambeau as torch
        >>> issubclass(torch.AcceleratorError, RuntimeError)
        True
    """


class MissingAcceleratorError(AssertionError, RuntimeError):
    """There is no accelerator of a kind.

    PyTorch's build for the CPU says so by an AssertionError, its builds for GPUs by a RuntimeError.
    """


class OutOfMemoryError(RuntimeError):
    """An accelerator's memory does not hold what a program needs.

    Example:
        >>> import flambeau as torch
        >>> issubclass(torch.OutOfMemoryError, RuntimeError)
        True
    """


AcceleratorError.__module__ = OutOfMemoryError.__module__ = "flambeau"


class NoTierError(RuntimeError):
    """A program belongs on an accelerator, which no tier that may be used can compute on."""


def check(device: devices.device) -> devices.device:
    """The device, if it is there.

    Raises:
        AcceleratorError: if it is not, but others of its kind are; says how many.
        MissingAcceleratorError: if there is none of its kind.
    """
    found = available(device.type)
    index = devices.selected(device.type) if device.index is None else device.index
    if index < len(found):
        return devices.device(device.type, index)
    if not found:
        raise MissingAcceleratorError(missing(device.type))
    raise AcceleratorError(f"{device} does not exist: there are {len(found)} {device.type} devices")


def missing(kind: str) -> str:
    """What to say where there is no accelerator of a kind."""
    return (
        f"no {kind} device is available: JAX finds none (for an NVIDIA GPU install flambeau[cuda], for a "
        "TPU flambeau[tpu]); use device 'cpu'"
    )


def available(kind: str) -> list[Any]:
    """JAX's devices of a kind; none without JAX or without such hardware."""
    return list(_found(kind))


@cache
def _found(kind: str) -> tuple[Any, ...]:
    if not _may_be_there(kind):
        return ()
    # As PyTorch, take memory as it is needed, not most of it at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    try:
        return tuple(jax.local_devices(backend=_BACKENDS.get(kind, kind)))
    except RuntimeError:
        return ()


def _may_be_there(kind: str) -> bool:
    """Whether JAX could use such devices: asking itself would import it, in programs that then use the CPU."""
    if find_spec("jax") is None:
        return False
    if kind == "tpu":
        return find_spec("libtpu") is not None
    plugins = find_spec("jax_plugins")
    places = plugins.submodule_search_locations if plugins is not None else None
    return any(kind in module.name for module in iter_modules(places or ()))


def of_jax(device: devices.device) -> Any:
    """A device as JAX knows it."""
    if device is not devices.cpu:
        return available(device.type)[device.index or 0]
    import jax

    return jax.local_devices(backend="cpu")[0]


def failed(error: Exception, device: devices.device, call: Any = None) -> Exception:
    """An error of an accelerator's work, as PyTorch's programs expect it, with the operations it may come from.

    Args:
        call: the operation, if it is known.  Else all of ``started`` is named, since the work may have been given long
            before the error shows.
    """
    found = explained(error, device)
    if found is not error:
        return found
    if call is not None:
        return AcceleratorError(f"{device.type.upper()} error: {error} (on {device}, in {call!r})")
    programs = "; before that: ".join(_operations(program) for program in reversed(started) if program.device is device)
    return AcceleratorError(
        f"{device.type.upper()} error: {error} (on {device}, which may tell of it only now; given to it last: "
        f"{programs or 'nothing'}; with FLAMBEAU_TIER=both each operation is waited for, and the first to fail named)"
    )


def _operations(program: Program) -> str:
    names = [step.call.op.name for step in program.steps if step.call.op.name != "project"]
    told = ", ".join(names[:_TOLD])
    return f"{told} and {len(names) - _TOLD} more operations" if len(names) > _TOLD else told


def explained(error: Exception, device: devices.device) -> Exception:
    """An error of XLA's: that memory is short, as PyTorch's programs expect it; any other as it is."""
    text = str(error)
    if "RESOURCE_EXHAUSTED" not in text:
        return error
    return OutOfMemoryError(
        f"{device.type.upper()} out of memory on {device}: {text} (try a smaller batch, or "
        "torch.utils.checkpoint.checkpoint, which computes activations again instead of keeping them)"
    )


devices.know_accelerators(check)
