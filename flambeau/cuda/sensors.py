"""What NVIDIA's management library measures on a GPU; the package nvidia-ml-py reaches it.

Each takes the number, name or device of a GPU, the selected one if it is left out, and raises ModuleNotFoundError
without that package, RuntimeError without a driver or if the GPU is not there, and ValueError if it is no GPU.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from flambeau.cuda.selection import index_of


def _library() -> Any:
    """The library, ready to be asked."""
    try:
        pynvml = import_module("pynvml")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("nvidia-ml-py does not seem to be installed or it can't be imported.") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_DriverNotLoaded as error:
        raise RuntimeError("cuda driver can't be loaded, is cuda enabled?") from error
    return pynvml


def _handle(library: Any, device: Any) -> Any:
    """What the library knows a GPU by: it counts all GPUs, CUDA those that CUDA_VISIBLE_DEVICES names."""
    index = index_of(device)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(library.nvmlDeviceGetCount())] if visible is None else visible.split(",")
    if not 0 <= index < len(names):
        raise RuntimeError(f"device {index} is not visible (CUDA_VISIBLE_DEVICES={visible})")
    name = names[index].strip()
    return library.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else library.nvmlDeviceGetHandleByUUID(name)


def utilization(device: Any = None) -> int:
    """The percentage of the last moments in which the GPU computed something."""
    library = _library()
    return library.nvmlDeviceGetUtilizationRates(_handle(library, device)).gpu


def memory_usage(device: Any = None) -> int:
    """The percentage of the last moments in which the GPU's memory was read or written."""
    library = _library()
    return library.nvmlDeviceGetUtilizationRates(_handle(library, device)).memory


def device_memory_used(device: Any = None) -> int:
    """How many bytes of the GPU's memory all processes together have taken."""
    library = _library()
    return library.nvmlDeviceGetMemoryInfo(_handle(library, device)).used


def temperature(device: Any = None) -> int:
    """The GPU's temperature in degrees Celsius."""
    library = _library()
    return library.nvmlDeviceGetTemperature(_handle(library, device), library.NVML_TEMPERATURE_GPU)


def power_draw(device: Any = None) -> int:
    """The power that the GPU takes in milliwatts."""
    library = _library()
    return library.nvmlDeviceGetPowerUsage(_handle(library, device))


def clock_rate(device: Any = None) -> int:
    """The clock rate of the GPU's multiprocessors in megahertz."""
    library = _library()
    return library.nvmlDeviceGetClockInfo(_handle(library, device), library.NVML_CLOCK_SM)


def list_gpu_processes(device: Any = None) -> str:
    """The processes that compute on a GPU and the memory that each has taken, to be printed; or why not."""
    try:
        library = _library()
    except ModuleNotFoundError:
        return "pynvml module not found, please install nvidia-ml-py"
    except RuntimeError as error:
        return str(error)
    lines = [f"GPU:{index_of(device)}"]
    running = library.nvmlDeviceGetComputeRunningProcesses(_handle(library, device))
    for process in running:
        lines.append(f"process {process.pid:>10d} uses {process.usedGpuMemory / 2**20:>12.3f} MB GPU memory")
    return "\n".join(lines if running else [*lines, "no processes are running"])
