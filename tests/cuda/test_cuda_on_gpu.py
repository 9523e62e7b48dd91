"""What only a GPU can show: figures of its memory, times of its work, its errors.

FLAMBEAU_TEST_DEVICE=cuda runs it.
"""

from __future__ import annotations

import gc
import os
import time
from typing import Any

import pytest

import flambeau as torch
from flambeau.engine import peaks

pytestmark = pytest.mark.skipif(os.environ.get("FLAMBEAU_TEST_DEVICE") != "cuda", reason="needs a GPU")

MIB = 2**20


def _filled(mebibytes: int) -> Any:
    made = torch.ones(mebibytes * MIB // 4, device="cuda") * 2
    torch.cuda.synchronize()
    return made


def _chain(x: Any, times: int) -> Any:
    for _ in range(times):
        # The mean over as many columns as are summed keeps the values where they are.
        x = (x @ x) / x.shape[0]
    return x


def test_properties() -> None:
    told = torch.cuda.get_device_properties()
    assert told.name == torch.cuda.get_device_name()
    assert (told.major, told.minor) >= (5, 0)
    assert told.multi_processor_count > 0
    assert told.total_memory > 1024 * MIB
    assert all(name in repr(told) for name in ("name", "major", "minor", "total_memory", "multi_processor_count"))
    assert torch.cuda.get_arch_list()


def test_memory_that_tensors_take() -> None:
    _filled(1)
    gc.collect()
    before = torch.cuda.memory_allocated()
    x = _filled(256)
    assert 256 * MIB <= torch.cuda.memory_allocated() - before < 260 * MIB
    assert torch.cuda.max_memory_allocated() >= torch.cuda.memory_allocated()
    assert torch.cuda.memory_reserved() >= torch.cuda.memory_allocated()
    free, total = torch.cuda.mem_get_info()
    assert 0 < free < total
    assert x.sum().item() == 2 * 64 * MIB
    del x
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 4 * MIB


def test_a_peak_that_was_reset() -> None:
    x = torch.ones(2048, 2048, device="cuda")
    high = sum((x * i).cumsum(0)[0, 0].item() for i in range(1, 4))
    big = _filled(512)
    assert high > 0
    del big
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    assert torch.cuda.max_memory_allocated() == before
    y = x + 1
    torch.cuda.synchronize()
    grown = torch.cuda.max_memory_allocated() - before
    assert 16 * MIB <= grown <= 48 * MIB
    assert torch.cuda.max_memory_allocated() < peaks.told(
        torch.engine.accelerators.available("cuda")[0], "peak_bytes_in_use"
    )
    assert y[0, 0].item() == 2.0


def test_waiting_and_times() -> None:
    x = torch.rand(4096, 4096, device="cuda")
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    for _ in range(3):
        y = _chain(x, 40)
        torch.cuda.synchronize()
        assert y._node.value.is_ready()
    start.record()
    began = time.perf_counter()
    y = _chain(x, 40)
    end.record()
    wall = (time.perf_counter() - began) * 1000
    assert y._node.value.is_ready()
    # 40 products of 4096 by 4096 are 5.5 teraflops: no GPU does them in less than 4 ms.
    assert 4 < start.elapsed_time(end) <= wall + 1
    assert torch.isfinite(y).all().item()


def test_a_program_that_does_not_fit() -> None:
    _, total = torch.cuda.mem_get_info()
    x = torch.ones(total // 2, device="cuda") + 1
    with pytest.raises(torch.cuda.OutOfMemoryError, match="CUDA out of memory on cuda:0"):
        x[0].item()
    assert torch.ones(3, device="cuda").sum().item() == 3.0


def test_convolutions_are_tf32_unless_that_is_forbidden() -> None:
    if not torch.cuda.is_tf32_supported():
        pytest.skip("needs TF32")
    torch.manual_seed(0)
    x, weight = torch.rand(8, 64, 32, 32), torch.rand(64, 64, 3, 3)
    exact = torch.nn.functional.conv2d(x.double(), weight.double())
    errors = []
    for allowed in (True, False):
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=allowed):
            found = torch.nn.functional.conv2d(x.cuda(), weight.cuda()).cpu()
        errors.append(((found - exact).abs() / exact).max().item())
    # Without TF32 the library may still choose a transform that rounds more than a plain sum.
    assert errors[1] < 1e-4
    assert errors[0] < 1e-2
    assert torch.backends.cudnn.is_available()


def test_sensors_and_versions() -> None:
    pytest.importorskip("pynvml")
    assert 0 <= torch.cuda.utilization() <= 100
    assert 0 <= torch.cuda.memory_usage() <= 100
    assert torch.cuda.device_memory_used() > 0
    assert 0 < torch.cuda.temperature() < 120
    assert torch.cuda.power_draw() > 0
    assert torch.cuda.clock_rate() > 0
    assert torch.cuda.list_gpu_processes().startswith("GPU:0\n")
    assert torch.version.cuda is not None
