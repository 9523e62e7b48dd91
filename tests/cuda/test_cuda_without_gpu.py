"""Without a GPU ``torch.cuda`` and ``torch.accelerator`` answer and raise as PyTorch's CPU build does."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import flambeau
from tests.nn.both import observe, same

pytestmark = pytest.mark.skipif(flambeau.cuda.is_available(), reason="there is a GPU")

ANSWERS = """
    is_available() device_count() is_initialized() get_arch_list() is_bf16_supported() is_bf16_supported(False)
    is_tf32_supported() default_generators has_half has_magma memory_allocated() memory_allocated("cpu")
    max_memory_allocated(0) memory_reserved() max_memory_reserved() memory_cached() max_memory_cached() memory_stats()
    memory_stats_as_nested_dict() empty_cache() manual_seed(3) manual_seed(2.5) manual_seed_all(3) seed() seed_all()
    get_rng_state_all() set_rng_state(torch.get_rng_state()) set_rng_state_all([torch.get_rng_state()]) set_device(-1)
    set_stream(None) stream(None).__enter__() device(-1).__enter__() device_of(torch.ones(2)).__enter__()
    device_of(torch.ones(2)).idx device("cuda:1").idx device(torch.device("cuda",3)).idx manual_seed("a")
    manual_seed(None) set_rng_state_all(None) device("cpu") set_device(None) set_device(1.5) set_device("cuda")
    set_device("cpu") device_of(3)
""".split()
RAISES = """
    current_device() get_device_name() get_device_name(0) get_device_capability() get_device_properties()
    mem_get_info() synchronize() synchronize("cpu") current_stream() default_stream() init() ipc_collect()
    initial_seed() get_rng_state() get_rng_state("cpu") can_device_access_peer(0,1) is_current_stream_capturing()
    Stream() Event() Event(enable_timing=True) set_device(0) set_device("cuda:1") reset_peak_memory_stats()
    reset_max_memory_allocated() reset_max_memory_cached() device(0).__enter__() device("cuda:0").__enter__()
    device("foo") set_stream(3) memory_summary() set_rng_state(3) set_rng_state(torch.get_rng_state(),"foo")
    foo
""".split()
ACCELERATOR = """
    is_available() device_count() current_accelerator() current_accelerator(check_available=True)
    current_device_index() current_device_idx() set_device_index(0) set_device_idx(0) current_stream() synchronize()
    empty_cache() empty_host_cache() memory_allocated() memory_reserved() max_memory_allocated() max_memory_reserved()
    memory_stats() reset_peak_memory_stats() get_memory_info() device_index(None).__enter__()
    device_index(0).__enter__()
""".split()
STREAMS = """
    Stream() Stream("cpu") Stream("meta") Stream(device=torch.device("cpu"),priority=3) Stream(None) Stream(3.5)
    Stream(0) Stream("cpu").device Stream("cpu").device_index Stream().query() Stream().synchronize()
    Stream().record_event() Stream().wait_event(torch.Event()) Stream().wait_stream(torch.Stream())
    Stream().__enter__() Stream()==torch.Stream() Stream()==3 Event() Event("cpu",enable_timing=True) Event("meta")
    Event(3.5) Event(0) Event().record() Event().record(torch.Stream()) Event().query() Event().synchronize()
    Event().wait() Event().wait(torch.Stream()) Event().elapsed_time(torch.Event()) Event().elapsed_time(3)
    Event(enable_timing=True).elapsed_time(torch.Event(enable_timing=True)) Event().event_id
    accelerator.set_stream(torch.Stream()) version.cuda version.hip version.rocm version.xpu version.debug
""".split()
SENSORS = "utilization memory_usage device_memory_used temperature power_draw clock_rate".split()


def _evaluated(expression: str, space: str) -> Any:
    return lambda library: eval(f"library.{space}.{expression}", {"library": library, "torch": library})


@pytest.mark.parametrize("expression", ANSWERS)
def test_answers(expression: str) -> None:
    same(_evaluated(expression, "cuda"))


@pytest.mark.parametrize("expression", RAISES)
def test_raises(expression: str) -> None:
    """What catches PyTorch's exception catches ours."""
    program = _evaluated(expression, "cuda")
    _, theirs, _, expected = observe(program, torch)
    assert theirs is not None
    kind = getattr(builtins, theirs[0])

    def caught(library: Any) -> Any:
        with pytest.raises(kind):
            program(library)

    _, failure, _, warned = observe(caught, flambeau)
    assert failure is None
    assert warned == expected


@pytest.mark.parametrize("expression", ACCELERATOR)
def test_the_accelerator_is_none(expression: str) -> None:
    same(_evaluated(expression, "accelerator"))


@pytest.mark.parametrize("expression", STREAMS)
def test_streams_and_versions(expression: str) -> None:
    same(lambda library: eval(f"library.{expression}", {"library": library, "torch": library}))


@pytest.mark.skipif(find_spec("pynvml") is not None, reason="nvidia-ml-py is there")
@pytest.mark.parametrize("name", [*SENSORS, "list_gpu_processes"])
def test_sensors_need_a_package(name: str) -> None:
    same(_evaluated(f"{name}()", "cuda"))


def test_a_stream_is_wanted() -> None:
    for library in (flambeau, torch):
        with pytest.raises(TypeError):
            library.accelerator.set_stream(None)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [("current_device()", AssertionError), ("Stream()", RuntimeError), ("Event()", RuntimeError)],
)
def test_it_says_what_to_install(expression: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"no cuda device is available: JAX finds none \(for an NVIDIA GPU install flamb"):
        _evaluated(expression, "cuda")(flambeau)


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.ones(2, device="cuda"),
        lambda t: t.ones(2).cuda(),
        lambda t: t.ones(2).to("cuda:0"),
        lambda t: t.nn.Linear(2, 2).cuda(),
        lambda t: t.nn.Linear(2, 2, device="cuda"),
    ],
)
def test_nothing_can_be_there(use: Any) -> None:
    """What PyTorch's build for the CPU raises; its builds for GPUs raise RuntimeError where there is none."""
    for library in (flambeau, torch):
        with pytest.raises(AssertionError):
            use(library)
    with pytest.raises(RuntimeError, match="no cuda device is available: JAX finds none"):
        use(flambeau)


@pytest.mark.parametrize(
    "use", [lambda t: t.ones(2).cuda(0), lambda t: t.ones(2, device=0), lambda t: t.Generator("cuda")]
)
def test_nothing_can_be_at_a_number(use: Any) -> None:
    for library in (flambeau, torch):
        with pytest.raises(RuntimeError):
            use(library)


def test_seeding_leaves_the_cpu_alone() -> None:
    def program(library: Any) -> Any:
        library.manual_seed(1)
        library.cuda.manual_seed(2)
        library.cuda.manual_seed_all(3)
        library.cuda.seed_all()
        return library.rand(3)

    same(program)


def test_what_is_of_cuda_alone_is_absent() -> None:
    for name in ("CUDAGraph", "MemPool", "nccl", "jiterator"):
        with pytest.raises(AttributeError, match=re.escape(f"module 'flambeau.cuda' has no attribute '{name}'")):
            getattr(flambeau.cuda, name)


def test_the_errors_are_pytorchs() -> None:
    for name in ("OutOfMemoryError", "AcceleratorError"):
        ours, theirs = getattr(flambeau, name), getattr(torch, name)
        assert getattr(flambeau.cuda, name) is ours
        assert [kind.__name__ for kind in ours.__mro__] == [kind.__name__ for kind in theirs.__mro__]
        assert (ours.__module__, theirs.__module__) == ("flambeau", "torch")


def test_the_module_of_a_device_that_is_not_there() -> None:
    for library in (flambeau, torch):
        assert library.get_device_module("cuda") is library.cuda
        assert library.get_device_module() is library.cpu


def test_asking_for_a_gpu_does_not_import_jax() -> None:
    program = "import flambeau.cuda, sys; flambeau.cuda.is_available(); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
