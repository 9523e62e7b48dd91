"""NVIDIA GPUs, as far as programs ask about them: ``torch.cuda``."""

from __future__ import annotations

from typing import Any

from flambeau import devices
from flambeau.engine import accelerators
from flambeau.engine.flush import synchronize as _synchronize


def is_available() -> bool:
    """Whether there is a GPU that JAX can use."""
    return bool(accelerators.available("cuda"))


def device_count() -> int:
    """How many GPUs there are."""
    return len(accelerators.available("cuda"))


def current_device() -> int:
    """The number of the GPU in use."""
    devices.resolve("cuda")
    return 0


def get_device_name(device: Any = None) -> str:
    """A GPU's name."""
    chosen = devices.resolve("cuda" if device is None else device)
    return accelerators.available("cuda")[chosen.index or 0].device_kind


def is_bf16_supported() -> bool:
    """Whether the GPU computes in bfloat16."""
    return is_available()


def synchronize(device: Any = None) -> None:
    """Waits until everything recorded so far is done."""
    _synchronize()


def empty_cache() -> None:
    """Accepted: XLA keeps its own pool of memory."""


def manual_seed(seed: int) -> None:
    """Seeds the generator of the GPU; ignored without one, as in PyTorch."""
    if is_available():
        from flambeau.random import manual_seed as seed_all

        seed_all(seed)


manual_seed_all = manual_seed


def is_initialized() -> bool:
    """Whether a GPU is in use."""
    return is_available()


def __getattr__(name: str) -> Any:
    if name != "amp":
        raise AttributeError(f"module 'flambeau.cuda' has no attribute '{name}'")
    from importlib import import_module

    return import_module("flambeau.cuda.amp")
