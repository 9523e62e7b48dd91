"""What JAX tells of a GPU and of its memory; small objects stand in for JAX's devices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import pytest

import flambeau as torch
from flambeau.engine import accelerators, peaks, xla

GIB = 2**30


class FakeGPU:
    """What is asked of JAX's devices."""

    device_kind = "NVIDIA H100 80GB HBM3"

    def __init__(self, capability: str = "9.0", **stats: int) -> None:
        self.compute_capability = capability
        self.core_count = 132
        self.stats: dict[str, int] | None = {
            "bytes_in_use": 3 * GIB,
            "peak_bytes_in_use": 5 * GIB,
            "bytes_limit": 60 * GIB,
            "num_allocs": 17,
            "pool_bytes": 8 * GIB,
            "peak_pool_bytes": 8 * GIB,
            **stats,
        }

    def memory_stats(self) -> dict[str, int] | None:
        return self.stats


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Any:
    found = (FakeGPU(), FakeGPU("7.5", bytes_in_use=1, peak_bytes_in_use=2))
    monkeypatch.setattr(accelerators, "_found", lambda kind: found if kind == "cuda" else ())
    monkeypatch.setattr(peaks, "resets", {})
    yield found
    torch.cuda.set_device(0)


def test_properties(gpus: Any) -> None:
    told = torch.cuda.get_device_properties()
    assert (told.name, told.major, told.minor) == ("NVIDIA H100 80GB HBM3", 9, 0)
    assert (told.total_memory, told.multi_processor_count) == (60 * GIB, 132)
    assert repr(told) == (
        "_CudaDeviceProperties(name='NVIDIA H100 80GB HBM3', major=9, minor=0, total_memory=61440MB, "
        "multi_processor_count=132)"
    )
    with pytest.raises(AttributeError, match="JAX does not tell 'L2_cache_size' of NVIDIA H100 80GB HBM3"):
        told.L2_cache_size  # noqa: B018
    assert torch.cuda.get_device_name("cuda:1") == "NVIDIA H100 80GB HBM3"
    assert torch.cuda.get_device_capability() == (9, 0)
    torch.cuda.set_device(1)
    assert torch.cuda.get_device_capability() == (7, 5)
    assert torch.cuda.get_arch_list() == ["sm_75", "sm_90"]
    with pytest.raises(AssertionError, match=r"Invalid device id: 2 \(there are 2 GPUs, counted from 0\)"):
        torch.cuda.get_device_properties(2)


def test_types_that_need_a_newer_gpu(gpus: Any) -> None:
    asked = torch.cuda.is_bf16_supported, torch.cuda.is_tf32_supported
    assert [ask() for ask in asked] == [True, True]
    torch.cuda.set_device(1)
    assert [ask() for ask in asked] == [True, False]
    assert not torch.cuda.is_bf16_supported(including_emulation=False)


def test_what_jax_does_not_tell(gpus: Any) -> None:
    gpus[0].compute_capability = "gfx942"
    with pytest.raises(RuntimeError, match="no CUDA compute capability of NVIDIA H100 80GB HBM3, but 'gfx942'"):
        torch.cuda.get_device_capability()
    del gpus[0].core_count
    gpus[0].stats = None
    assert repr(torch.cuda.get_device_properties()) == "_CudaDeviceProperties(name='NVIDIA H100 80GB HBM3')"
    with pytest.raises(RuntimeError, match=r"JAX does not tell 'bytes_limit' of NVIDIA H100.*default allocator"):
        torch.cuda.mem_get_info()
    with pytest.raises(RuntimeError, match="JAX does not tell 'bytes_in_use'"):
        torch.cuda.memory_allocated()
    with pytest.raises(RuntimeError, match="JAX does not tell whether GPUs reach each other's memory"):
        torch.cuda.can_device_access_peer(0, 1)
    with pytest.raises(AssertionError, match="Invalid peer device id: 5"):
        torch.cuda.can_device_access_peer(0, 5)


def test_memory(gpus: Any) -> None:
    assert torch.cuda.memory_stats() == {
        "active_bytes.all.current": 3 * GIB,
        "active_bytes.all.peak": 5 * GIB,
        "allocated_bytes.all.current": 3 * GIB,
        "allocated_bytes.all.peak": 5 * GIB,
        "allocation.all.allocated": 17,
        "reserved_bytes.all.current": 8 * GIB,
        "reserved_bytes.all.peak": 8 * GIB,
    }
    assert list(torch.cuda.memory_stats()) == sorted(torch.cuda.memory_stats())
    assert torch.cuda.memory_allocated() == torch.accelerator.memory_allocated() == 3 * GIB
    assert torch.cuda.max_memory_allocated("cuda:0") == torch.accelerator.max_memory_allocated() == 5 * GIB
    assert torch.cuda.memory_reserved() == torch.accelerator.memory_reserved() == 8 * GIB
    assert torch.cuda.max_memory_reserved() == torch.accelerator.max_memory_reserved() == 8 * GIB
    assert torch.cuda.mem_get_info() == torch.accelerator.get_memory_info() == (57 * GIB, 60 * GIB)
    assert torch.cuda.memory_allocated(1) == 1
    assert torch.cuda.memory_summary().splitlines() == [
        "                             current            peak",
        "Allocated memory          3072.0 MiB      5120.0 MiB",
        "Reserved memory           8192.0 MiB      8192.0 MiB",
    ]
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.memory_allocated("cpu")


def test_figures_that_jax_leaves_out(gpus: Any) -> None:
    gpus[0].stats.update(num_allocs=-1, pool_bytes=-1)
    assert set(torch.cuda.memory_stats_as_nested_dict()) == {"active_bytes", "allocated_bytes"}
    assert torch.cuda.memory_reserved() == torch.accelerator.max_memory_reserved() == 0


def _account(results: int, temporary: int, reused: int = 0) -> Any:
    return SimpleNamespace(output_size_in_bytes=results, temp_size_in_bytes=temporary, alias_size_in_bytes=reused)


def test_the_peak_counts_anew_after_a_reset(gpus: Any) -> None:
    gpu = gpus[0]
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 3 * GIB
    peaks.note(gpu, _account(GIB, GIB // 2, reused=GIB // 4))
    assert torch.cuda.max_memory_allocated() == 3 * GIB + GIB + GIB // 2 - GIB // 4
    peaks.note(gpu, _account(GIB, 0))
    assert torch.cuda.max_memory_allocated() == 4 * GIB + GIB // 4
    gpu.stats["bytes_in_use"] = gpu.stats["peak_bytes_in_use"]
    assert torch.cuda.max_memory_allocated() == 5 * GIB
    gpu.stats["peak_bytes_in_use"] = 7 * GIB
    assert torch.cuda.max_memory_allocated() == 7 * GIB
    gpu.stats["bytes_in_use"] = GIB
    torch.accelerator.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == GIB
    assert torch.cuda.max_memory_allocated(1) == 2


def test_a_peak_is_never_above_jaxs(gpus: Any) -> None:
    torch.cuda.reset_peak_memory_stats(0)
    peaks.note(gpus[0], _account(40 * GIB, 0))
    assert torch.cuda.max_memory_allocated() == 5 * GIB


def test_programs_are_accounted_for_once_a_peak_was_reset(accelerators: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = []
    monkeypatch.setattr(peaks, "resets", {})
    monkeypatch.setattr(peaks, "note", lambda device, memory: noted.append((device, memory.output_size_in_bytes)))
    x = torch.ones(1024, device="cuda:0")
    assert (x + 1).sum().item() == 2048
    assert not noted
    peaks.resets[accelerators[0]] = peaks._Since(0, 0)
    y = x * 3
    torch.cuda.synchronize()
    assert noted == [(accelerators[0], 4096)]
    assert xla.peaks is peaks
    assert y.sum().item() == 3072


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("memory_cached", "`torch.cuda.memory_cached` has been renamed to `torch.cuda.memory_reserved`"),
        ("max_memory_cached", "`torch.cuda.max_memory_cached` has been renamed to `torch.cuda.max_memory_reserved`"),
        ("reset_max_memory_allocated", "now calls torch.cuda.reset_peak_memory_stats, which resets /all/ peak memory"),
        ("reset_max_memory_cached", "now calls torch.cuda.reset_peak_memory_stats, which resets /all/ peak memory"),
    ],
)
def test_old_names_warn(gpus: Any, old: str, new: str) -> None:
    with pytest.warns(FutureWarning, match=new):
        getattr(torch.cuda, old)()


def _full(*args: Any) -> Any:
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 16 bytes.")


def test_a_program_that_xla_refuses(accelerators: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3, 5, 7, device="cuda")
    monkeypatch.setattr(jax.stages.Lowered, "compile", _full)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory on cuda:0: RESOURCE_EXHAUSTED: Out of memory"):
        (x.cumsum(1) * 1.25).sum().item()


def test_a_model_that_does_not_fit(accelerators: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Linear(2, 2)
    (torch.ones(1, device="cuda") + 1).item()

    monkeypatch.setattr(xla.xla_client, "batched_device_put", _full)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory on cuda:0: RESOURCE_EXHAUSTED: Out of memory"):
        model.to("cuda")
