"""What is known of a GPU: what JAX tells of it."""

from __future__ import annotations

from typing import Any

from flambeau.cuda.selection import gpu_of, gpus, index_of
from flambeau.engine import accelerators, peaks

_ATTRIBUTES = {
    "multi_processor_count": "core_count",
    "shared_memory_per_block_optin": "shared_memory_per_block_optin",
}
"""PyTorch's names for what JAX tells of a GPU, and JAX's."""


class _CudaDeviceProperties:
    """What JAX tells of a GPU.

    Attributes:
        name: its name.
        major, minor: its compute capability.
        total_memory: how many bytes XLA may take of its memory; by default three quarters of all there is
            (``XLA_PYTHON_CLIENT_MEM_FRACTION``).
        multi_processor_count: how many multiprocessors it has.
        shared_memory_per_block_optin: the most shared memory that a block may ask for.
    """

    def __init__(self, gpu: Any) -> None:
        self._gpu = gpu
        self.name: str = gpu.device_kind

    @property
    def major(self) -> int:
        return self._capability()[0]

    @property
    def minor(self) -> int:
        return self._capability()[1]

    @property
    def total_memory(self) -> int:
        return peaks.told(self._gpu, "bytes_limit")

    def _capability(self) -> tuple[int, int]:
        told = str(getattr(self._gpu, "compute_capability", ""))
        major, dot, minor = told.partition(".")
        if not (dot and major.isdigit() and minor.isdigit()):
            raise RuntimeError(f"JAX tells no CUDA compute capability of {self.name}" + (told and f", but {told!r}"))
        return int(major), int(minor)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._gpu, _ATTRIBUTES.get(name, ""), None)
        if value is None:
            raise AttributeError(f"JAX does not tell '{name}' of {self.name}")
        return value

    def __repr__(self) -> str:
        parts = [f"name='{self.name}'"]
        for name in ("major", "minor", "total_memory", "multi_processor_count"):
            try:
                value = getattr(self, name)
            except (AttributeError, RuntimeError):
                continue
            parts.append(f"{name}={value // 2**20}MB" if name == "total_memory" else f"{name}={value}")
        return f"_CudaDeviceProperties({', '.join(parts)})"


def get_device_properties(device: Any = None) -> _CudaDeviceProperties:
    """What JAX tells of a GPU: its name, compute capability, memory and number of multiprocessors.

    Args:
        device: number, name or device; the selected one, if it is left out.

    Raises:
        AssertionError: if it is not there.
        ValueError: if it is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     size = torch.cuda.get_device_properties(0).total_memory
    """
    return _CudaDeviceProperties(gpu_of(device))


def get_device_name(device: Any = None) -> str:
    """A GPU's name.  Takes and raises what :func:`get_device_properties` does.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     name = torch.cuda.get_device_name(0)
    """
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """A GPU's compute capability, as major and minor number.

    Takes and raises what :func:`get_device_properties` does, and RuntimeError if JAX does not tell it.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     major, minor = torch.cuda.get_device_capability()
    """
    told = get_device_properties(device)
    return told.major, told.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the selected GPU computes in bfloat16.

    Args:
        including_emulation: whether it counts that XLA computes in float32 and rounds, as it does below compute
            capability 8.

    Example:
        >>> import flambeau as torch
        >>> dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    """
    return bool(accelerators.available("cuda")) and (including_emulation or get_device_capability()[0] >= 8)


def is_tf32_supported() -> bool:
    """Whether the selected GPU has TF32: it does from compute capability 8.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.is_available() or not torch.cuda.is_tf32_supported()
        True
    """
    return bool(accelerators.available("cuda")) and get_device_capability()[0] >= 8


def get_arch_list() -> list[str]:
    """The architectures that programs are compiled for: those of the GPUs that are there, such as ``"sm_90"``.

    Example:
        >>> import flambeau as torch
        >>> len(torch.cuda.get_arch_list()) > 0 or not torch.cuda.is_available()
        True
    """
    there = range(len(accelerators.available("cuda")))
    return [f"sm_{major}{minor}" for major, minor in sorted({get_device_capability(i) for i in there})]


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether a GPU reaches another's memory by itself: JAX does not tell.

    Tensors go from one to the other in any case.

    Raises:
        AssertionError: if one of them is not there.
        RuntimeError: if both are.
    """
    count = len(gpus())
    gpu_of(device)
    peer = index_of(peer_device, optional=False)
    if not 0 <= peer < count:
        raise AssertionError(f"Invalid peer device id: {peer} (there are {count} GPUs, counted from 0)")
    raise RuntimeError(
        "can_device_access_peer: JAX does not tell whether GPUs reach each other's memory; tensor.to(device) copies "
        "between them in any case"
    )
