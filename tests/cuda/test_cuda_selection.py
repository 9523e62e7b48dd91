"""Which GPU is meant; further devices of the CPU stand in for GPUs."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flambeau as torch

pytestmark = pytest.mark.usefixtures("accelerators")


@pytest.fixture(autouse=True)
def _put_back(two: Any) -> Any:
    yield
    torch.cuda.set_device(0)


def _placed() -> list[str]:
    made = torch.ones(1, device="cuda"), torch.zeros(1).cuda(), torch.nn.Linear(1, 1).to("cuda").weight
    return [str(tensor.device) for tensor in made]


def test_what_is_there() -> None:
    assert torch.cuda.is_available()
    assert torch.cuda.is_initialized()
    assert torch.cuda.device_count() == 2
    torch.cuda.init()
    torch.cuda.ipc_collect()
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("given", [1, "cuda:1", torch.device("cuda:1"), torch.device("cuda", 1)])
def test_the_name_alone_means_the_gpu_that_was_selected(given: Any) -> None:
    assert _placed() == ["cuda:0"] * 3
    torch.cuda.set_device(given)
    assert torch.cuda.current_device() == 1
    assert _placed() == ["cuda:1"] * 3
    assert str(torch.ones(1, device="cuda:0").device) == "cuda:0"


@pytest.mark.parametrize("given", [1, "cuda:1", torch.device("cuda:1")])
def test_a_block_selects_until_it_ends(given: Any) -> None:
    with torch.cuda.device(given):
        assert _placed() == ["cuda:1"] * 3
        with torch.cuda.device(0):
            assert torch.cuda.current_device() == 0
        assert torch.cuda.current_device() == 1
    assert torch.cuda.current_device() == 0


def test_a_block_ends_by_an_exception_too() -> None:
    with pytest.raises(KeyError), torch.cuda.device(1):
        raise KeyError
    assert torch.cuda.current_device() == 0


def test_the_gpu_of_a_tensor() -> None:
    with torch.cuda.device_of(torch.ones(1, device="cuda:1")):
        assert torch.cuda.current_device() == 1
        with torch.cuda.device_of(torch.ones(1)):
            assert torch.cuda.current_device() == 1


@pytest.mark.parametrize("given", [-1, None, "cuda"])
def test_what_selects_nothing(given: Any) -> None:
    torch.cuda.set_device(1)
    with torch.cuda.device(given):
        assert torch.cuda.current_device() == 1
    torch.cuda.set_device(-1)
    assert torch.cuda.current_device() == 1


def test_every_thread_selects_for_itself() -> None:
    torch.cuda.set_device(1)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(torch.cuda.current_device()))
    thread.start()
    thread.join()
    assert seen == [0]


def test_gpus_that_are_not_there_cannot_be_selected() -> None:
    for select in (torch.cuda.set_device, lambda index: torch.cuda.device(index).__enter__()):
        with pytest.raises(torch.AcceleratorError, match="cuda:2 does not exist: there are 2 cuda devices"):
            select(2)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        torch.cuda.device("cpu")
    with pytest.raises(ValueError, match="a specified index or an integer, but got:cuda"):
        torch.cuda.set_device("cuda")


def test_the_accelerator_is_the_gpu() -> None:
    accelerator = torch.accelerator
    assert accelerator.is_available()
    assert accelerator.current_accelerator() == torch.device("cuda")
    assert accelerator.device_count() == 2
    accelerator.set_device_index("cuda:1")
    assert accelerator.current_device_index() == torch.cuda.current_device() == 1
    with accelerator.device_index(0):
        assert _placed() == ["cuda:0"] * 3
    with accelerator.device_index(None):
        assert accelerator.current_device_index() == 1
    accelerator.set_device_index(-1)
    assert accelerator.current_device_index() == 1
    with pytest.warns(FutureWarning, match="Use `set_device_index` instead."):
        accelerator.set_device_idx(0)
    with pytest.warns(FutureWarning, match="Use `current_device_index` instead."):
        assert accelerator.current_device_idx() == 0
    with pytest.raises(ValueError, match="cpu doesn't match the current accelerator cuda"):
        accelerator.set_device_index("cpu")
    with pytest.raises(ValueError, match="a specified index or an integer, but got:cuda"):
        accelerator.set_device_index("cuda")
    with pytest.raises(torch.AcceleratorError, match="cuda:4 does not exist"):
        accelerator.synchronize(4)
    accelerator.synchronize()
    accelerator.empty_cache()
    accelerator.empty_host_cache()


def test_every_gpu_has_a_generator() -> None:
    torch.manual_seed(0)
    torch.cuda.manual_seed(1)
    first, second = torch.rand(3, device="cuda:0"), torch.rand(3, device="cuda:1")
    with torch.cuda.device(1):
        torch.cuda.manual_seed(1)
        assert torch.cuda.initial_seed() == 1
    assert torch.equal(torch.rand(3, device="cuda:1").cpu(), first.cpu())
    assert not torch.equal(first.cpu(), second.cpu())
    torch.cuda.manual_seed_all(7)
    assert [generator.initial_seed() for generator in torch.cuda.default_generators] == [7, 7]
    assert torch.initial_seed() == 0


def test_sequences_go_on_from_a_state() -> None:
    torch.cuda.manual_seed_all(3)
    one, every = torch.cuda.get_rng_state("cuda:1"), torch.cuda.get_rng_state_all()
    drawn = [torch.rand(2, device=f"cuda:{i}").tolist() for i in range(2)]
    torch.cuda.set_rng_state(one, 1)
    assert torch.rand(2, device="cuda:1").tolist() == drawn[1]
    torch.cuda.set_rng_state_all(every)
    assert [torch.rand(2, device=f"cuda:{i}").tolist() for i in range(2)] == drawn
    with torch.random.fork_rng():
        torch.rand(5, device="cuda")
    with pytest.raises(RuntimeError, match="of size 5056 but found the input RNG state size to be 16"):
        torch.cuda.set_rng_state(torch.zeros(16, dtype=torch.uint8))


def test_seeds_from_the_systems_entropy() -> None:
    torch.cuda.manual_seed_all(3)
    torch.cuda.seed()
    assert torch.cuda.initial_seed() != torch.cuda.default_generators[1].initial_seed() == 3
    torch.cuda.seed_all()
    assert torch.cuda.initial_seed() == torch.cuda.default_generators[1].initial_seed() != 3
