"""Which accelerators are there."""

from __future__ import annotations

from typing import Any

from flambeau import devices


def check(device: devices.device) -> devices.device:
    """The device, if it is there.

    Raises:
        RuntimeError: if it is not; says what is.
    """
    found = available(device.type)
    index = device.index or 0
    if index < len(found):
        return devices.device(device.type, index)
    if not found:
        raise RuntimeError(
            f"no {device.type} device is available: JAX finds none (for an NVIDIA GPU install flambeau[cuda], for a "
            "TPU flambeau[tpu]); use device 'cpu'"
        )
    raise RuntimeError(f"{device} does not exist: there are {len(found)} {device.type} devices")


def available(kind: str) -> list[Any]:
    """JAX's devices of a kind; none without JAX or without such hardware."""
    try:
        import jax

        return jax.local_devices(backend={"cuda": "gpu"}.get(kind, kind))
    except (ImportError, RuntimeError):
        return []


devices.know_accelerators(check)
