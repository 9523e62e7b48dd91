"""The contenders, and what the worker must know of each: its namespace, how it compiles, waits and counts memory."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from typing import Any

from benchmarks.setting import Program, Setting
from benchmarks.workloads import Workload

CONTENDERS = {
    "flambeau": "Flambeau",
    "flambeau-compiled": "Flambeau compiled",
    "pytorch": "PyTorch",
    "pytorch-compiled": "PyTorch inductor",
    "jax": "JAX",
}
"""Names and headings, in the order of the table and of the turns."""


class Absent(Exception):
    """A contender that cannot take part; says why."""


class Library:
    """One contender in its own process."""

    module: str

    def __init__(self, setting: Setting, threads: int, compiled: bool) -> None:
        self.setting = setting
        self.compiled = compiled
        started = time.perf_counter()
        try:
            self.torch: Any = importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            if error.name != self.module:
                raise
            raise Absent(f"{self.module} is not installed") from error
        self.import_seconds = time.perf_counter() - started
        self.set_up(threads)

    def set_up(self, threads: int) -> None:
        """Whatever must be set before the first tensor."""

    def build(self, workload: Workload) -> Callable[[int], Any]:
        """The workload's unit of work."""
        program = workload.program(self.torch, self.setting)
        return self.unit_of(program)

    def unit_of(self, program: Program) -> Callable[[int], Any]:
        step = self.compile(program.step) if self.compiled else program.step
        return lambda i: program.unit(step, i)

    def compile(self, step: Callable[..., Any]) -> Callable[..., Any]:
        return self.torch.compile(step)

    def wait(self) -> int:
        """Waits for work in the background; how much has been compiled, tried and judged so far."""
        return 0

    def device_bytes(self) -> int:
        """The most device memory ever held, 0 on the CPU."""
        return 0


class Flambeau(Library):
    """The library under test."""

    module = "flambeau"

    def set_up(self, threads: int) -> None:
        if self.compiled and not hasattr(self.torch, "compile"):
            raise Absent("flambeau.compile is not there yet")
        self.torch.backends.cudnn.allow_tf32 = False

    def wait(self) -> int:
        engine = importlib.import_module("flambeau.engine")
        engine.synchronize()
        found = engine.statistics()
        return found["programs_compiled"] + found["trials"] + found["verdicts"]

    def device_bytes(self) -> int:
        return _jax_bytes() if self.setting.device == "cuda" else 0


class PyTorch(Library):
    """What it is measured against."""

    module = "torch"

    def set_up(self, threads: int) -> None:
        self.torch.set_num_threads(threads)
        if self.setting.device == "cuda":
            if not self.torch.cuda.is_available():
                raise Absent("this PyTorch finds no CUDA device")
            # Float32 means float32 for everybody: convolutions would round to 10 bits.
            self.torch.backends.cudnn.allow_tf32 = False

    def device_bytes(self) -> int:
        return self.torch.cuda.max_memory_allocated() if self.setting.device == "cuda" else 0


class JAX(Library):
    """The floor: the same work by hand, jitted whole, buffers donated."""

    module = "jax"

    def set_up(self, threads: int) -> None:
        # The same for everybody, and a floor should be low: a small program takes half as long if no other
        # thread runs it, and float32 means float32.
        self.torch.config.update("jax_cpu_enable_async_dispatch", False)
        self.torch.config.update("jax_default_matmul_precision", "highest")
        if self.setting.device == "cuda" and self.torch.default_backend() != "gpu":
            raise Absent("this JAX finds no CUDA device")

    def build(self, workload: Workload) -> Callable[[int], Any]:
        program = workload.floor(self.setting)
        return lambda i: program.unit(program.step, i)

    def device_bytes(self) -> int:
        return _jax_bytes() if self.setting.device == "cuda" else 0


def _jax_bytes() -> int:
    jax = importlib.import_module("jax")
    return (jax.devices("gpu")[0].memory_stats() or {}).get("peak_bytes_in_use", 0)


def library(contender: str, setting: Setting, threads: int) -> Library:
    """The library behind a contender's name, imported.

    Raises:
        Absent: if it cannot take part.
    """
    kind = {"flambeau": Flambeau, "pytorch": PyTorch, "jax": JAX}[contender.partition("-")[0]]
    return kind(setting, threads, contender.endswith("-compiled"))


def environment(threads: int, cache: str) -> dict[str, str]:
    """The variables of a contender's process: as many threads for all, and a cache of compiled programs."""
    count = str(threads)
    # An installed package has its bytecode at hand; so must one that runs from its sources.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "PJRT_NPROC": count,
        # Several processes share a device here, so none may take all of its memory at the start.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "FLAMBEAU_CACHE_DIR": os.path.join(cache, "flambeau"),
        "TORCHINDUCTOR_CACHE_DIR": os.path.join(cache, "inductor"),
        "TRITON_CACHE_DIR": os.path.join(cache, "triton"),
    }


def peak_bytes() -> int:
    """The most memory that this process ever held.

    ``ru_maxrss`` would start from what the parent held before the process was its own; Linux keeps the
    figure of the process alone beside it.
    """
    try:
        with open("/proc/self/status") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        import resource
        import sys

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
