"""What NVIDIA's management library measures, and versions of libraries; modules of the tests' own stand in for them."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import flambeau as torch
from flambeau.cuda import libraries
from flambeau.engine import accelerators


class FakeLibrary(ModuleType):
    """Of GPUs 0 to 3, each figure is a number that tells the figure and the GPU."""

    NVML_TEMPERATURE_GPU, NVML_CLOCK_SM = 0, 1

    class NVMLError_DriverNotLoaded(Exception):
        pass

    def __init__(self, loaded: bool = True) -> None:
        super().__init__("pynvml")
        self.loaded = loaded
        self.processes: list[Any] = []

    def nvmlInit(self) -> None:
        if not self.loaded:
            raise self.NVMLError_DriverNotLoaded

    def nvmlDeviceGetCount(self) -> int:
        return 4

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> int:
        return {"GPU-aa": 2, "GPU-bb": 3}[name]

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=10 + handle, memory=20 + handle)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=30 + handle)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 40 + handle + 1000 * sensor

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 50 + handle

    def nvmlDeviceGetClockInfo(self, handle: int, clock: int) -> int:
        return 60 + handle + 1000 * (clock != 1)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return self.processes


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    found = FakeLibrary()
    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.setattr(accelerators, "_found", lambda kind: (object(), object()) if kind == "cuda" else ())
    return found


def _figures(device: Any) -> list[int]:
    names = ("utilization", "memory_usage", "device_memory_used", "temperature", "power_draw", "clock_rate")
    return [getattr(torch.cuda, name)(device) for name in names]


@pytest.mark.parametrize(("visible", "first", "second"), [(None, 0, 1), ("3,1", 3, 1), ("GPU-bb, GPU-aa", 3, 2)])
def test_figures_are_those_of_the_gpu_that_cuda_means(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, visible: str | None, first: int, second: int
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _figures(None) == [tens + first for tens in (10, 20, 30, 40, 50, 60)]
    assert _figures("cuda:1") == [tens + second for tens in (10, 20, 30, 40, 50, 60)]
    with torch.cuda.device(1):
        assert torch.cuda.utilization() == 10 + second


def test_gpus_that_are_not_visible(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    with pytest.raises(RuntimeError, match=r"device 1 is not visible \(CUDA_VISIBLE_DEVICES=2\)"):
        torch.cuda.temperature(1)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.temperature("cpu")


def test_processes(library: FakeLibrary) -> None:
    assert torch.cuda.list_gpu_processes(1) == "GPU:1\nno processes are running"
    library.processes = [SimpleNamespace(pid=17, usedGpuMemory=3 * 2**20)]
    assert torch.cuda.list_gpu_processes() == "GPU:0\nprocess         17 uses        3.000 MB GPU memory"


def test_a_driver_that_is_not_there(library: FakeLibrary) -> None:
    library.loaded = False
    with pytest.raises(RuntimeError, match=r"cuda driver can't be loaded, is cuda enabled\?"):
        torch.cuda.power_draw()
    assert torch.cuda.list_gpu_processes() == "cuda driver can't be loaded, is cuda enabled?"


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ({"nvidia-cuda-runtime": "13.0.96", "nvidia-cuda-runtime-cu12": "12.9.1"}, "13.0"),
        ({"nvidia-cuda-runtime-cu12": "12.9.79"}, "12.9"),
        ({}, None),
    ],
)
def test_version_of_cuda(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], told: str | None
) -> None:
    def version(package: str) -> str:
        if package not in installed:
            raise libraries.metadata.PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(libraries.metadata, "version", version)
    assert torch.version.cuda == told
    assert torch.version.__version__ == torch.__version__
    with pytest.raises(AttributeError, match=r"module 'flambeau\.version' has no attribute 'foo'"):
        torch.version.foo  # noqa: B018
