"""How copies and tensors like others lie in memory: values, strides and what they say of themselves are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch as oracle

import flambeau
from flambeau import engine

INPUTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda lib: numbers(lib, 2, 3, 4, 5),
    "volume": lambda lib: numbers(lib, 2, 3, 4, 5, 2),
    "permuted": lambda lib: numbers(lib, 2, 3, 4, 5).permute(0, 2, 3, 1),
    "channels last": lambda lib: numbers(lib, 2, 3, 4, 5).to(memory_format=lib.channels_last),
    "channels last, volume": lambda lib: numbers(lib, 2, 3, 4, 5, 2).to(memory_format=lib.channels_last_3d),
    "expanded": lambda lib: numbers(lib, 3, 1).expand(3, 4),
    "expanded in front": lambda lib: numbers(lib, 4).expand(3, 4),
    "expanded image": lambda lib: numbers(lib, 1, 3, 4, 1).expand(2, 3, 4, 5),
    "sliced": lambda lib: numbers(lib, 4, 6)[:, ::2],
    "transposed and sliced": lambda lib: numbers(lib, 4, 6).T[::2],
    "channels last, sliced": lambda lib: numbers(lib, 2, 3, 4, 5).to(memory_format=lib.channels_last)[:, :2],
    "transposed": lambda lib: numbers(lib, 2, 3).T,
    "square, transposed": lambda lib: numbers(lib, 5, 5).T,
    "turned": lambda lib: numbers(lib, 2, 3, 4).permute(1, 2, 0),
    "turned volume": lambda lib: numbers(lib, 2, 3, 4, 5, 2).permute(4, 2, 0, 3, 1),
    "thin": lambda lib: numbers(lib, 1, 3, 4, 1),
    "one channel": lambda lib: numbers(lib, 2, 1, 4, 5),
    "one channel, last": lambda lib: numbers(lib, 2, 1, 4, 5).to(memory_format=lib.channels_last),
    "one pixel": lambda lib: numbers(lib, 2, 3, 1, 1),
    "one image": lambda lib: numbers(lib, 1, 3, 4, 5),
    "one image, channels last": lambda lib: numbers(lib, 1, 3, 4, 5).to(memory_format=lib.channels_last),
    "nothing": lambda lib: lib.zeros(0, 3, 4, 5),
    "nothing, transposed": lambda lib: lib.zeros(0, 3).T,
    "scalar": lambda lib: lib.tensor(1.0),
    "vector": lambda lib: numbers(lib, 3),
    "every second": lambda lib: numbers(lib, 6)[::2],
    "diagonal": lambda lib: numbers(lib, 3, 3).diagonal(),
    "overlapping": lambda lib: numbers(lib, 6).unfold(0, 3, 1),
    "equal strides": lambda lib: numbers(lib, 20).as_strided((3, 4), (2, 2)),
}
FORMATS = ("preserve_format", "contiguous_format", "channels_last", "channels_last_3d", None)
CALLS: dict[str, Callable[..., Any]] = {
    "clone": lambda lib, x, **f: x.clone(**f),
    "to another type": lambda lib, x, **f: x.to(lib.float64, **f),
    "to the same type": lambda lib, x, **f: x.to(lib.float32, **f),
    "to, copied": lambda lib, x, **f: x.to(lib.float32, copy=True, **f),
    "double": lambda lib, x, **f: x.double(**f),
    "float": lambda lib, x, **f: x.float(**f),
    "cpu": lambda lib, x, **f: x.cpu(**f),
    "contiguous": lambda lib, x, **f: x.contiguous(**f),
    "empty": lambda lib, x, **f: lib.empty(tuple(x.shape), **f).zero_(),
    "empty_like": lambda lib, x, **f: lib.empty_like(x, **f).zero_(),
    "zeros_like": lambda lib, x, **f: lib.zeros_like(x, **f),
    "ones_like": lambda lib, x, **f: lib.ones_like(x, dtype=lib.int64, **f),
    "full_like": lambda lib, x, **f: lib.full_like(x, 2.0, **f),
    "rand_like": lambda lib, x, **f: lib.rand_like(x, **f),
    "randn_like": lambda lib, x, **f: lib.randn_like(x, **f),
    "randint_like": lambda lib, x, **f: lib.randint_like(x, 0, 9, **f),
}


def numbers(library: Any, *shape: int) -> Any:
    return library.arange(float(library.Size(shape).numel())).reshape(shape)


def told(library: Any, call: str, given: str, wanted: str | None) -> Any:
    named = {} if wanted is None else {"memory_format": getattr(library, wanted)}
    library.manual_seed(3)
    try:
        found = CALLS[call](library, INPUTS[given](library), **named)
    except (RuntimeError, TypeError) as error:
        return type(error).__name__, str(error)
    formats = (library.contiguous_format, library.channels_last, library.channels_last_3d)
    contiguous = [found.is_contiguous(memory_format=known) for known in formats]
    return tuple(found.shape), found.stride(), contiguous, str(found.dtype), found.tolist()


def assert_alike(call: str, inputs: Any) -> None:
    for given in inputs:
        for wanted in FORMATS:
            found, expected = told(flambeau, call, given, wanted), told(oracle, call, given, wanted)
            assert repr(found) == repr(expected), f"{call}, {given}, {wanted}"


@pytest.mark.parametrize("call", CALLS)
def test_memory_formats(call: str, interpreter: None) -> None:
    assert_alike(call, INPUTS)


def test_memory_formats_compiled() -> None:
    before = engine.get_tier()
    engine.set_tier("compiled")
    try:
        for call in ("clone", "to another type", "rand_like"):
            assert_alike(call, ("transposed and sliced", "channels last"))
    finally:
        engine.set_tier(before)


@pytest.mark.parametrize("call", ["clone", "empty", "zeros_like", "rand_like", "to another type"])
def test_what_is_no_format_is_refused(call: str) -> None:
    for library in (flambeau, oracle):
        with pytest.raises(TypeError, match="memory_format"):
            CALLS[call](library, library.ones(2), memory_format="channels_last")


def test_writes_and_gradients_go_through_a_preserved_order(tier: str) -> None:
    results = []
    for library in (flambeau, oracle):
        x = numbers(library, 2, 3).requires_grad_()
        y = x.T.clone()
        y[0] *= 3
        y.view_as(y.T.contiguous().T).mul_(2)
        (y * numbers(library, 3, 2)).sum().backward()
        results.append((y.tolist(), y.stride(), x.grad.tolist(), y.T.is_contiguous(), y.reshape(-1).tolist()))
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            y.view(-1)
    assert results[0] == results[1]


@pytest.mark.parametrize("wanted", ["contiguous_format", "channels_last", "channels_last_3d", "preserve_format"])
def test_modules_change_their_parameters_format(wanted: str) -> None:
    results = []
    for library in (flambeau, oracle):
        nn = library.nn
        library.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Conv3d(2, 3, 2), nn.Linear(2, 3), nn.BatchNorm2d(3))
        told: Any = []
        try:
            assert model.to(memory_format=getattr(library, wanted)) is model
            told = [(name, p.stride(), p.is_contiguous(), p.tolist()) for name, p in model.state_dict().items()]
            images = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)).to(memory_format=getattr(library, wanted))
            told += [(name, p.stride()) for name, p in images.named_parameters()]
        except (RuntimeError, TypeError) as error:
            told = type(error).__name__, str(error)
        results.append(told)
    assert results[0] == results[1]
