"""What may be on another device than the tensor that it is used with, and what may not."""

from __future__ import annotations

import copy
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest

import flambeau as torch
from flambeau.graph.op import IN_ONE_PLACE, OPS
from flambeau.nn import functional as F

pytestmark = pytest.mark.usefixtures("accelerators")

THERE = torch.device("cuda:0")


def _same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.device is THERE
    assert torch.equal(found.cpu(), wanted)


INDICES = {
    "indices": torch.tensor([2, 0, -1]),
    "mask": torch.tensor([True, False, True, True]),
    "list": [1, 3],
    "list of truth values": [True, False, False, True],
    "array": np.array([0, 2]),
    "number": torch.tensor(2),
    "truth value": torch.tensor(True),
    "pair": (torch.tensor([0, 1]), torch.tensor([2, 0])),
    "mask of all": torch.arange(12).reshape(4, 3) % 2 == 0,
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_the_cpu_may_index_an_accelerators_tensor(index):
    x = torch.arange(12.0).reshape(4, 3)
    there = x.to(THERE).requires_grad_()
    found = there[index]
    _same(found.detach(), x[index])
    here = x.clone().requires_grad_()
    here[index].sum().backward()
    found.sum().backward()
    assert there.grad is not None
    assert here.grad is not None
    _same(there.grad, here.grad)


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES)
def test_and_say_where_to_write(index):
    here = torch.arange(12.0).reshape(4, 3)
    there = here.to(THERE)
    here[index] = 7.0
    there[index] = 7.0
    _same(there, here)
    here[index] = here[index] * 2
    there[index] = there[index] * 2
    _same(there, here)
    here[index] = torch.tensor(3.0)
    there[index] = torch.tensor(3.0)
    _same(there, here)


def test_index_put_takes_indices_of_the_cpu():
    x = torch.zeros(4)
    index = (torch.tensor([1, 1]),)
    there = x.to(THERE).index_put_(index, torch.ones(2, device=THERE), accumulate=True)
    _same(there, torch.tensor([0.0, 2.0, 0.0, 0.0]))


def test_an_accelerator_does_not_index_the_cpus_tensor():
    x = torch.arange(4.0)
    for index in (torch.tensor([1], device=THERE), x.to(THERE) > 1):
        with pytest.raises(RuntimeError, match=r"indices should be either on cpu or on the same device as the indexed"):
            x[index]
        with pytest.raises(RuntimeError, match=r"\(cpu\); this one is on cuda:0: move it with \.to\('cpu'\)"):
            x[index] = 0.0
    # A single number is read.
    assert x[torch.tensor(2, device=THERE)].item() == 2.0
    with pytest.raises(RuntimeError, match="at least two devices"):
        x.to(THERE)[torch.tensor([0, 1])] = torch.ones(2)


def test_slices_take_values_of_any_device():
    x = torch.zeros(3, device=THERE)
    x[:2] = torch.ones(2)
    x[2] = torch.tensor(5.0)
    _same(x, torch.tensor([1.0, 1.0, 5.0]))
    here = torch.zeros(3)
    here[1:] = x[1:]
    assert here.tolist() == [0.0, 1.0, 5.0]
    here.copy_(x)
    assert here.tolist() == [1.0, 1.0, 5.0]


def test_a_number_on_the_cpu_goes_with_any_tensor_and_gets_its_gradient_there():
    scale = torch.tensor(2.0, requires_grad=True)
    x = torch.ones(3, device=THERE, requires_grad=True)
    y = scale * x + torch.where(x > 0, scale, x)
    assert y.device is THERE
    y.sum().backward()
    assert scale.grad is not None
    assert (scale.grad.device.type, scale.grad.item()) == ("cpu", 6.0)
    assert x.grad is not None
    _same(x.grad, torch.full((3,), 2.0))
    _same(x.detach().clamp(max=torch.tensor(0.5)), torch.full((3,), 0.5))


def test_what_is_worked_on_decides_where():
    number = torch.tensor(1.0)
    with pytest.raises(RuntimeError, match=r"found at least two devices, cpu and cuda:0! \(gather"):
        number.gather(0, torch.tensor(0, device=THERE))
    with pytest.raises(RuntimeError, match=r"found at least two devices, cpu and cuda:0! .* is to be written into"):
        number.add_(torch.tensor(1.0, device=THERE))
    with pytest.raises(RuntimeError, match=r"found at least two devices, cpu and cuda:0! .* is to be written into"):
        torch.add(torch.ones(2, device=THERE), 1, out=torch.empty(2))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.masked_select(torch.tensor([True, False])),
        lambda x: x.masked_scatter(torch.tensor([True, False]), x),
        lambda x: x.repeat_interleave(torch.tensor([1, 2])),
        lambda x: torch.bincount(x.long(), torch.ones(2)),
        lambda x: torch.binomial(x, torch.ones(2)),
        lambda x: x.gather(0, torch.tensor([0])),
        lambda x: torch.cat([x, torch.ones(2)]),
        lambda x: F.embedding(torch.tensor([0]), x.unsqueeze(0)),
        lambda x: torch.meshgrid(x, torch.ones(2), indexing="ij"),
        lambda x: x.backward(torch.ones(2)),
    ],
)
def test_all_else_has_to_be_in_one_place(call):
    with pytest.raises(RuntimeError, match=r"device"):
        call(torch.ones(2, device=THERE).requires_grad_())


def test_where_to_split_is_said_on_the_cpu():
    with pytest.raises(RuntimeError, match="tensor_indices_or_sections to be on cpu, but it's on cuda:0"):
        torch.ones(2).tensor_split(torch.tensor([1], device=THERE))
    assert all(part.device is THERE for part in torch.ones(2, device=THERE).tensor_split(torch.tensor([1])))


def test_gradients_belong_where_their_tensor_is():
    x = torch.ones(2, device=THERE, requires_grad=True)
    with pytest.raises(RuntimeError, match="gradient with device type 'cpu' to a tensor with device type 'cuda:0'"):
        x.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="invalid gradient at index 0 - expected device cuda:0 but got cpu"):
        (x * 2).backward(torch.ones(2))
    (x * 2).sum().backward(torch.tensor(3.0))
    assert x.grad is not None
    _same(x.grad, torch.full((2,), 6.0))


def test_a_function_of_the_users_must_not_change_devices():
    class Here(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad.cpu()

    with pytest.raises(RuntimeError, match="HereBackward returned an invalid gradient at index 0 - expected device"):
        Here.apply(torch.ones(2, device=THERE, requires_grad=True)).sum().backward()


def test_fill_and_type_as_follow():
    x = torch.zeros(2)
    x.fill_(torch.tensor(3.0, device=THERE))
    assert x.tolist() == [3.0, 3.0]
    assert x.index_fill(0, torch.tensor([1]), torch.tensor(5.0, device=THERE)).tolist() == [3.0, 5.0]
    there = x.type_as(torch.ones(1, dtype=torch.float64, device=THERE))
    assert (there.device, there.dtype) == (THERE, torch.float64)


def test_copies_stay_where_they_were():
    x = torch.arange(3.0, device="cuda:1", requires_grad=True)
    for made in (copy.deepcopy(x), copy.copy(x), pickle.loads(pickle.dumps(x))):
        assert (made.device, made.requires_grad) == (torch.device("cuda:1"), True)
        assert torch.equal(made, x)
    parameter = torch.nn.Parameter(x.detach())
    assert pickle.loads(pickle.dumps(parameter)).device == copy.deepcopy(parameter).device == x.device


def test_results_are_written_into_what_is_there():
    there = torch.empty(3, device=THERE)
    assert torch.add(torch.ones(3, device=THERE), 1, out=there) is there
    _same(there, torch.full((3,), 2.0))
    for made in (torch.zeros, torch.rand, torch.ones):
        assert made(3, out=torch.empty(3, device=THERE)).device is THERE
    _same(torch.arange(3, out=torch.empty(3, dtype=torch.int64, device=THERE)), torch.arange(3))
    _same(torch.linspace(0, 1, 3, out=there), torch.linspace(0, 1, 3))
    _same(torch.fft.fftfreq(3, out=there), torch.fft.fftfreq(3))
    with pytest.raises(RuntimeError, match=r"Cannot compare two tensors on different devices\. Got: cuda:0 and cpu"):
        torch.equal(there, torch.ones(3))


def test_dlpack_names_the_device():
    x = torch.arange(3.0, device="cuda:1")
    assert x.__dlpack_device__() == (2, 1)
    assert "dltensor" in repr(x.__dlpack__())
    assert torch.arange(2).__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match="export tensors that require gradient"):
        x.requires_grad_().__dlpack__()


def test_tensors_of_two_devices_are_not_stacked():
    number = torch.tensor(1.0)
    with pytest.raises(RuntimeError, match=r"found at least two devices, cuda:0 and cpu! \(stack"):
        torch.stack([number.to(THERE), number])


def test_a_constant_may_be_given_as_a_tensor_of_any_device():
    x = torch.empty(2)
    torch.nn.init.constant_(x, torch.tensor(3.0, device=THERE))  # pyright: ignore[reportArgumentType]
    assert x.tolist() == [3.0, 3.0]


_NUMBER = torch.tensor(1.0)
_FIRST = torch.tensor(0)


@pytest.mark.parametrize(
    ("name", "here", "call"),
    [
        ("gcd", _FIRST, lambda x, here: torch.gcd(x.long(), here)),
        ("lcm", _FIRST, lambda x, here: torch.lcm(x.long(), here)),
        ("logaddexp", _NUMBER, torch.logaddexp),
        ("logaddexp2", _NUMBER, torch.logaddexp2),
        ("nextafter", _NUMBER, torch.nextafter),
        ("igamma", _NUMBER, torch.igamma),
        ("igammac", _NUMBER, torch.igammac),
        ("complex", _NUMBER, torch.complex),
        ("polar", _NUMBER, torch.polar),
        ("gather", _FIRST, lambda x, here: x.sum().gather(0, here)),
        ("take", _FIRST, torch.take),
        ("put_", _NUMBER, lambda x, here: x.put(_FIRST.to(THERE), here)),
        ("index_select", _FIRST, lambda x, here: x.index_select(0, here)),
        ("index_add", _NUMBER, lambda x, here: x.index_add(0, _FIRST.to(THERE), here)),
        ("index_copy", _NUMBER, lambda x, here: x.index_copy(0, _FIRST.to(THERE), here)),
        ("index_reduce", _NUMBER, lambda x, here: x.index_reduce(0, _FIRST.to(THERE), here, "prod")),
        ("scatter_add", _NUMBER, lambda x, here: x.scatter_add(0, _FIRST.to(THERE), here)),
        ("masked_select", _FIRST, lambda x, here: x.masked_select(here.bool())),
        ("masked_scatter", _FIRST, lambda x, here: x.masked_scatter(here.bool(), x)),
        ("embedding", _FIRST, lambda x, here: F.embedding(here, x.unsqueeze(1))),
        ("nll_loss", _FIRST, lambda x, here: F.nll_loss(x, here)),
        ("cross_entropy", _FIRST, lambda x, here: F.cross_entropy(x, here)),
        ("isin", _NUMBER, torch.isin),
        ("searchsorted", _NUMBER, torch.searchsorted),
        ("addmm", _NUMBER, lambda x, here: torch.addmm(here, x.unsqueeze(0), x.unsqueeze(1))),
        ("addmv", _NUMBER, lambda x, here: torch.addmv(here, x.unsqueeze(0), x)),
        ("addr", _NUMBER, lambda x, here: torch.addr(here, x, x)),
        ("addbmm", _NUMBER, lambda x, here: torch.addbmm(here, x[None, None], x[None, :, None])),
        ("baddbmm", _NUMBER, lambda x, here: torch.baddbmm(here, x[None, None], x[None, :, None])),
        ("cat", _NUMBER, lambda x, here: torch.cat([x, here])),
    ],
)
def test_where_a_number_on_the_cpu_does_not_go_with_a_tensor(name, here, call):
    assert name in IN_ONE_PLACE
    x = torch.ones(2, device=THERE)
    with pytest.raises(RuntimeError, match=r"Expected all tensors to be on the same device, but found at least two"):
        call(x, here)
    # The number alone was in the way, but where dimensions are needed besides.
    if name not in ("cat", "index_reduce"):
        call(x, here.to(THERE))


_CALLED = {
    "cross_entropy": "nll_loss_forward",
    "ctc_loss": "_ctc_loss",
    "embedding": "index_select",
    "linear": "addmm",
    "masked_scatter": "masked_scatter_",
    "matmul": "mm",
    "nll_loss": "nll_loss_forward",
    "scatter_amax": "scatter_reduce",
    "scatter_amin": "scatter_reduce",
    "scatter_prod": "scatter_reduce",
    "stack": "cat",
}
"""PyTorch's own functions for what has another name, or is no kernel, there."""


def test_the_table_of_what_has_to_be_in_one_place_is_pytorchs():
    package = importlib.util.find_spec("torchgen")
    assert package is not None
    assert package.submodule_search_locations is not None
    source = Path(package.submodule_search_locations[0], "packaged/ATen/native/native_functions.yaml")
    checked: dict[str, set[bool]] = {}
    for entry in source.read_text(encoding="utf-8").split("\n- func: ")[1:]:
        signature = entry.split("->")[0]
        if signature.count("Tensor") > 1 and ("CUDA" in entry or "structured_delegate" in entry):
            checked.setdefault(entry.split("(")[0].split(".")[0], set()).add("device_check: NoCheck" not in entry)
    for name in IN_ONE_PLACE:
        assert checked[_CALLED.get(name, name)] == {True}, name
    pairs = [op.name for op in OPS if op.elementwise and op.arity > 1 and not op.name.endswith("_backward")]
    assert len(pairs) > 40
    apart = {name for name in pairs if checked.get(name) == {True}}
    assert apart == IN_ONE_PLACE & set(pairs)
