"""``torch.cuda.FloatTensor`` and its kin, and names of types."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch as pytorch

import flambeau as torch
from tests.nn.both import same

NAMES = (
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
    "IntTensor", "LongTensor", "ShortTensor",
)  # fmt: skip


@pytest.fixture
def _put_back(accelerators: Any) -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize("name", NAMES)
def test_types_of_gpus(accelerators: Any, name: str) -> None:
    kind, theirs = getattr(torch.cuda, name), getattr(pytorch.cuda, name)
    assert repr(kind) == repr(theirs) == f"<class 'torch.cuda.{name}'>"
    assert kind.is_cuda
    assert not getattr(torch, name).is_cuda
    assert str(kind.dtype) == str(theirs.dtype)
    made = kind([1, 0])
    assert (made.device, made.dtype, made.tolist()) == (torch.device("cuda:0"), kind.dtype, [1, 0])
    assert isinstance(made, kind)
    assert not isinstance(made, getattr(torch, name))
    assert not isinstance(made.cpu(), kind)
    assert made.type() == torch.typename(made) == f"torch.cuda.{name}"


def test_tensors_change_their_type_and_place(accelerators: Any) -> None:
    x = torch.tensor([1.5])
    for wanted in (torch.cuda.LongTensor, "torch.cuda.LongTensor"):
        there = x.type(wanted)
        assert (there.device, there.dtype, there.item()) == (torch.device("cuda:0"), torch.int64, 1)
        assert there.type(torch.float64).device == there.device
        back = there.type(torch.FloatTensor)
        assert (back.device, back.dtype) == (torch.device("cpu"), torch.float32)
    with pytest.raises(ValueError, match=r"invalid type: 'torch\.cuda\.FooTensor'"):
        x.type("torch.cuda.FooTensor")


def test_sizes_and_what_is_refused(accelerators: Any) -> None:
    assert torch.cuda.FloatTensor(2, 3).shape == (2, 3)
    assert torch.cuda.FloatTensor().shape == (0,)
    with pytest.raises(RuntimeError, match="expects device type: cuda but device type: cpu was passed"):
        torch.cuda.FloatTensor([1.0], device="cpu")
    with pytest.raises(TypeError, match=r"expected a torch\.cuda\.FloatTensor \(got torch\.FloatTensor\)"):
        torch.cuda.FloatTensor(torch.ones(1))
    with pytest.raises(RuntimeError, match="expects device type: cpu but device type: cuda was passed"):
        torch.FloatTensor([1.0], device="cuda")


@pytest.mark.usefixtures("_put_back")
@pytest.mark.parametrize("given", ["torch.cuda.DoubleTensor", torch.cuda.DoubleTensor])
def test_the_default_type_says_where(given: Any) -> None:
    with pytest.warns(UserWarning, match=r"set_default_tensor_type\(\) is deprecated"):
        torch.set_default_tensor_type(given)
    made = torch.ones(1)
    assert (made.device, made.dtype) == (torch.device("cuda:0"), torch.float64)
    with pytest.warns(UserWarning, match=r"set_default_tensor_type\(\) is deprecated"):
        torch.set_default_tensor_type(torch.FloatTensor)
    made = torch.ones(1)
    assert (made.device, made.dtype) == (torch.device("cpu"), torch.float32)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "use", [lambda t: t.cuda.FloatTensor(2), lambda t: t.set_default_tensor_type(t.cuda.FloatTensor)]
)
def test_types_without_a_gpu(use: Any) -> None:
    for library in (torch, pytorch):
        # PyTorch says once in a process that one of them is deprecated.
        with warnings.catch_warnings(), pytest.raises(TypeError, match=r"type torch\.cuda\.FloatTensor not available"):
            warnings.simplefilter("ignore")
            use(library)
        assert library.get_default_dtype() == library.float32


def test_types_of_meta_tensors() -> None:
    def program(library: Any) -> Any:
        x = library.ones(2, device="meta")
        return x.type(), library.typename(x), x.type(library.float64).type(), isinstance(x, library.FloatTensor)

    same(program)
    same(lambda library: library.ones(2, device="meta").type(library.FloatTensor))
