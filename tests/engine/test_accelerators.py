"""Programs on accelerators; further devices of the CPU stand in for them, which XLA keeps just as much apart."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import flambeau as torch
from flambeau import engine, nn
from flambeau.capture.watch import CaptureError
from flambeau.engine import xla
from flambeau.nn import functional as F

pytestmark = pytest.mark.usefixtures("accelerators")


def _counts() -> tuple[int, int]:
    found = engine.statistics()
    return found["programs_compiled"], found["runs_interpreted"]


def test_a_tensor_moves_there_and_back():
    x = torch.arange(6.0).reshape(2, 3)
    there = x.to("cuda")
    assert (there.device, there.is_cuda, there.get_device()) == (torch.device("cuda", 0), True, 0)
    assert "device='cuda:0'" in repr(there)
    assert torch.equal(there.cpu(), x)
    assert there.to("cuda:0") is there
    assert there.to("cuda", torch.float64).dtype is torch.float64


def test_a_tensor_moves_from_one_accelerator_to_another(two):
    x = torch.arange(6.0).reshape(2, 3)
    there = x.to("cuda:0").to("cuda:1")
    assert there.device == torch.device("cuda:1")
    assert torch.equal(there.cpu(), x)
    with pytest.raises(RuntimeError, match="cuda:0 and cuda:1"):
        x.to("cuda:0") + there


def test_moving_runs_no_program_there():
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = _counts()
    model.to("cuda")
    assert _counts() == before
    assert {p.device for p in model.parameters()} == {torch.device("cuda:0")}


def test_work_is_done_where_its_tensors_are(two):
    x = torch.arange(6.0, device="cuda:1")
    before = _counts()
    y = (x * 2).sum()
    assert y.item() == 30.0
    assert _counts() == (before[0] + 1, before[1])
    assert y._node.value.devices() == {two[1]}


def test_work_for_several_devices_becomes_a_program_each():
    x = torch.arange(4.0)
    near, far = x + 1, x.to("cuda") + 2
    further = (far.cpu() * near).sum()
    assert further.item() == float(((np.arange(4) + 1) * (np.arange(4) + 2)).sum())
    assert torch.equal(near, torch.tensor([1.0, 2.0, 3.0, 4.0]))


def test_tensors_of_two_devices_do_not_mix():
    x = torch.ones(2)
    with pytest.raises(RuntimeError, match=r"at least two devices, cuda:0 and cpu! \(add; move one of them"):
        x.cuda() + x
    assert (x.cuda() + torch.tensor(2.0)).sum().item() == 6.0


def test_what_is_not_there_is_refused():
    with pytest.raises(RuntimeError, match=r"cuda:7 does not exist: there are \d+ cuda devices"):
        torch.ones(2, device="cuda:7")
    with pytest.raises(RuntimeError, match="no tpu device is available"):
        torch.ones(2, device="tpu")
    with pytest.raises(TypeError, match=r"can't convert cuda:0 device type tensor to numpy. Use Tensor\.cpu"):
        torch.ones(2, device="cuda").numpy()
    assert torch.ones(2, device="cuda").numpy(force=True).tolist() == [1.0, 1.0]


def test_the_interpreter_refuses_an_accelerators_program():
    engine.set_tier("interpreter")
    try:
        with pytest.raises(RuntimeError, match="the interpreter computes on the CPU alone, and this program belongs"):
            (torch.ones(2, device="cuda") + 1).sum().item()
    finally:
        engine.set_tier("auto")


def test_the_debug_mode_compares_there_too():
    engine.set_tier("both")
    try:
        assert (torch.arange(3.0, device="cuda") + 1).sum().item() == 6.0
    finally:
        engine.set_tier("auto")


def test_gradients_pass_between_devices():
    weight = torch.ones(3, requires_grad=True)
    (weight.cuda() * 2).cpu().sum().backward()
    assert weight.grad is not None
    assert weight.grad.device.type == "cpu"
    assert weight.grad.tolist() == [2.0, 2.0, 2.0]


def _trained(device: str, compiled: bool) -> tuple[list[float], int]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4)).to(device)
    x, wanted = torch.randn(32, 8).to(device), torch.randint(0, 4, (32,)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)

    def step(x, wanted):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), wanted)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    if compiled:
        step = torch.compile(step)
    losses = []
    before = engine.statistics()["programs_compiled"]
    for _ in range(6):
        losses.append(step(x, wanted).item())
        schedule.step()
    return losses, engine.statistics()["programs_compiled"] - before


@pytest.mark.parametrize("compiled", [False, True])
def test_training_gives_what_it_gives_on_the_cpu_in_one_program(compiled):
    there, programs = _trained("cuda", compiled)
    here, _ = _trained("cpu", compiled)
    np.testing.assert_allclose(there, here, rtol=2e-5)
    # The first step finds no gradients and no moments; a changing learning rate compiles nothing.
    assert programs <= 2


def test_a_captured_function_may_move_its_arguments():
    weight = torch.full((3,), 2.0, device="cuda")

    @torch.compile
    def scaled(x):
        return (x.to("cuda") * weight).cpu()

    for k in range(4):
        result = scaled(torch.full((3,), float(k)))
        assert result.device.type == "cpu"
        assert result.tolist() == [2.0 * k] * 3


def test_a_captured_function_computes_on_one_accelerator(two):
    weight = torch.ones(3, device="cuda:1")

    @torch.compile
    def both(x):
        return (x + 1).to("cuda:1") * weight

    with pytest.raises(CaptureError, match="computes on cuda:0 and cuda:1, and one program runs on one accelerator"):
        both(torch.ones(3, device="cuda:0"))


def test_a_captured_function_may_compute_on_the_cpu_first():
    weight = torch.ones(3, device="cuda", requires_grad=True)
    scale = torch.tensor(0.0, requires_grad=True)
    count = torch.zeros(2)

    @torch.compile
    def loss_of(x):
        count.add_(1)
        places = torch.arange(3).to(weight.device)
        mask = torch.ones(3, 3).tril().to(weight.device)
        return (scale.exp() * ((x / 2).to("cuda") * weight * places) @ mask).sum(), x + 1

    for k in range(1, 4):
        loss, more = loss_of(torch.full((3,), 2.0 * k))
        loss.backward()
        assert (loss.device.type, loss.item()) == ("cuda", 8.0 * k)
        assert (more.device.type, more.tolist()) == ("cpu", [2.0 * k + 1] * 3)
        assert (count.device.type, count.tolist()) == ("cpu", [float(k)] * 2)
    assert weight.grad is not None
    assert scale.grad is not None
    assert (weight.grad.device.type, weight.grad.tolist()) == ("cuda", [0.0, 12.0, 36.0])
    assert (scale.grad.device.type, scale.grad.item()) == ("cpu", 48.0)


def test_what_is_made_of_numbers_moves_without_disturbing_what_is_recorded():
    x = torch.arange(3.0, device="cuda")
    y = x * 2
    flushes = engine.statistics()["flushes"]
    state = torch.zeros(2, 3).to("cuda")
    mask = torch.ones(3, 3).tril().view(1, 3, 3).bool().to(x.device)
    assert engine.statistics()["flushes"] == flushes
    assert torch.where(mask, y + state[0], 0.0).sum().item() == 8.0


def test_random_numbers_are_the_devices_own_and_repeat():
    torch.manual_seed(3)
    first = torch.rand(4, device="cuda")
    torch.manual_seed(3)
    here = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4, device="cuda"), first)
    assert torch.equal(torch.rand(4), here)


def test_dropout_keeps_the_same_elements_as_on_the_cpu():
    torch.manual_seed(1)
    here = F.dropout(torch.ones(50), 0.5)
    torch.manual_seed(1)
    assert torch.equal(F.dropout(torch.ones(50, device="cuda"), 0.5).cpu(), here)


def test_state_goes_to_disk_and_comes_back_where_it_is_wanted(tmp_path):
    model = nn.Linear(2, 3).to("cuda")
    torch.save(model.state_dict(), tmp_path / "state.pt")
    found = torch.load(tmp_path / "state.pt")
    assert found["weight"].device == torch.device("cuda:0")
    here = torch.load(tmp_path / "state.pt", map_location="cpu")
    assert here["weight"].device.type == "cpu"
    assert torch.equal(here["weight"], model.weight.cpu())
    other = nn.Linear(2, 3)
    other.load_state_dict(found)
    assert torch.equal(other.weight, here["weight"])


def test_waiting_returns_when_all_is_done():
    x = torch.ones(100, 100, device="cuda")
    y = x @ x
    torch.cuda.synchronize()
    assert y._node.value.is_ready()


def test_a_default_device_holds_what_is_made():
    with torch.device("cuda"):
        made = torch.zeros(2)
        layer = nn.Linear(2, 2)
    assert made.device == layer.weight.device == torch.device("cuda:0")


def test_a_full_accelerator_says_what_to_do():
    error = engine.accelerators.explained(ValueError("RESOURCE_EXHAUSTED: 8 GB"), torch.device("cuda:0"))
    assert isinstance(error, engine.accelerators.OutOfMemoryError)
    with pytest.raises(RuntimeError, match=r"CUDA out of memory on cuda:0: RESOURCE_EXHAUSTED: 8 GB \(try a smaller"):
        raise error


class _Failing:
    """What XLA compiled; its work ``fails`` when it is "given", or when its results are "waited for"."""

    def __init__(self, compiled: Any, fails: str = "") -> None:
        self._compiled = compiled
        self.fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._compiled, name)

    def __call__(self, *buffers: Any) -> Any:
        if self.fails == "given":
            _fail()
        results = self._compiled(*buffers)
        return [_Unready() for _ in results] if self.fails else results


class _Unready:
    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        _fail()


def _fail(*args: Any, **kwargs: Any) -> Any:
    raise jax.errors.JaxRuntimeError("INTERNAL: illegal address")


@pytest.fixture
def failures():
    """For tests that leave failing executables: has them forgotten."""
    yield
    engine.set_tier(engine.get_tier())


@pytest.mark.usefixtures("failures")
@pytest.mark.parametrize("fails", ["given", "waited for"])
def test_an_accelerator_that_fails_names_what_it_was_given(accelerators, monkeypatch, fails):
    x = torch.ones(3, 5, device="cuda")
    x.sum().item()
    compile = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: _Failing(compile(self), fails))
    y = x.cumsum(1) * 1.375
    message = r"CUDA error: INTERNAL: illegal address \(on cuda:0, which may tell of it only now; given to it last: "
    with pytest.raises(torch.AcceleratorError, match=message + r"cumsum, mul; before that: .*sum") as caught:
        y.tolist()
    assert isinstance(caught.value.__cause__, jax.errors.JaxRuntimeError)
    with pytest.raises(RuntimeError, match="CUDA error: INTERNAL: illegal address"):
        y.tolist()


@pytest.mark.usefixtures("failures")
def test_a_captured_function_that_fails_on_an_accelerator(accelerators, monkeypatch):
    made: list[_Failing] = []
    compile = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda self: made.append(_Failing(compile(self))) or made[-1])
    captured = torch.compile(lambda x: (x.cumsum(0) / 1.0625).exp2())
    x = torch.ones(4, device="cuda")
    for _ in range(3):
        captured(x).tolist()
    assert captured.program is not None
    for executable in made:
        executable.fails = "given"
    with pytest.raises(torch.AcceleratorError, match=r"given to it last: cumsum, div, exp2;") as caught:
        captured(x)
    assert isinstance(caught.value.__cause__, jax.errors.JaxRuntimeError)


def test_the_debug_mode_names_the_operation_that_fails(accelerators, monkeypatch):
    x = torch.ones(4, device="cuda")
    x.tolist()
    y = x.cumsum(0).exp2()
    engine.set_tier("both")
    try:
        monkeypatch.setattr(xla, "run_step", _fail)
        with pytest.raises(torch.AcceleratorError, match=r"illegal address \(on cuda:0, in .*cumsum"):
            y.tolist()
    finally:
        engine.set_tier("auto")
