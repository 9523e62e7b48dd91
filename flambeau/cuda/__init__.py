"""NVIDIA GPUs, as far as programs ask about them: ``torch.cuda``.

What a program computes on them is compiled and run by XLA.  What is a matter of CUDA itself (graphs, memory pools,
libraries, profilers) is not here.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.cuda import memory, random, selection, streams
from flambeau.cuda.memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_cached,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_cached,
    memory_reserved,
    memory_stats,
    memory_stats_as_nested_dict,
    memory_summary,
    reset_max_memory_allocated,
    reset_max_memory_cached,
    reset_peak_memory_stats,
)
from flambeau.cuda.properties import (
    can_device_access_peer,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    is_bf16_supported,
    is_tf32_supported,
)
from flambeau.cuda.random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from flambeau.cuda.selection import current_device, device, device_of, set_device
from flambeau.cuda.sensors import (
    clock_rate,
    device_memory_used,
    list_gpu_processes,
    memory_usage,
    power_draw,
    temperature,
    utilization,
)
from flambeau.cuda.streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    is_current_stream_capturing,
    set_stream,
    stream,
    synchronize,
)
from flambeau.engine import accelerators
from flambeau.tensor.construct import CUDA_TYPES

has_half = True
has_magma = False


def is_available() -> bool:
    """Whether there is a GPU that JAX can use.

    Example:
        >>> import flambeau as torch
        >>> device = "cuda" if torch.cuda.is_available() else "cpu"
    """
    return bool(accelerators.available("cuda"))


def device_count() -> int:
    """How many GPUs there are.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.device_count() > 0 or not torch.cuda.is_available()
        True
    """
    return len(accelerators.available("cuda"))


def init() -> None:
    """Makes sure that there is a GPU.

    Raises:
        AssertionError: if there is none.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.init()
    """
    selection.gpus()


def is_initialized() -> bool:
    """Whether GPUs can be used: they can as soon as there are any.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.is_available() or not torch.cuda.is_initialized()
        True
    """
    return is_available()


def ipc_collect() -> None:
    """Accepted: no memory of a GPU is shared with other processes.

    Raises:
        AssertionError: if there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.ipc_collect()
    """
    selection.gpus()


def __getattr__(name: str) -> Any:
    if name == "amp":
        return import_module("flambeau.cuda.amp")
    if name == "default_generators":
        return random.generators()
    if name in CUDA_TYPES:
        return CUDA_TYPES[name]
    if name in ("AcceleratorError", "OutOfMemoryError"):
        return getattr(accelerators, name)
    raise AttributeError(f"module 'flambeau.cuda' has no attribute '{name}'")
