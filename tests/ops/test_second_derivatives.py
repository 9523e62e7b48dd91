"""Every operator's second derivative against finite differences, on its examples, in float64."""

from __future__ import annotations

import warnings
import zlib
from typing import Any

import pytest
from test_operators import SMOOTH, Maker, called, flat, resolved

import flambeau
from flambeau import engine
from flambeau.ops.samples import T, case

EXAMPLES = [(name, i, example) for name, i, example in SMOOTH if example.gradgrad]


class Given(Maker):
    """Puts given tensors where an example has tensors that require gradients."""

    def __init__(self, seed: int, tensors) -> None:
        super().__init__(flambeau, seed, wide=True)
        self.tensors = iter(tensors)

    def tensor(self, spec: T):
        made = super().tensor(spec)
        return next(self.tensors) if made.requires_grad else made


@pytest.fixture(autouse=True)
def interpreted():
    before = engine.get_tier()
    engine.set_tier("interpreter")
    yield
    engine.set_tier(before)


@pytest.mark.parametrize(("name", "i", "example"), EXAMPLES, ids=[f"{n}-{i}" for n, i, _ in EXAMPLES])
def test_second_derivative_by_finite_differences(name: str, i: int, example: case) -> None:
    seed = zlib.crc32(f"{name}{i}".encode())
    found, leaves = called(flambeau, example, seed, wide=True)
    if not leaves or not any(out.requires_grad for out in found):
        return

    def function(*tensors):
        maker = Given(seed, tensors)
        args, kwargs = maker(example.args), maker(example.kwargs)
        called_function: Any = resolved(flambeau, example.fn)
        flambeau.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = flat(called_function(*args, **kwargs))
        return tuple(out for out in results if out.requires_grad)

    inputs = tuple(leaf.detach().clone().requires_grad_() for leaf in leaves)
    assert flambeau.autograd.gradgradcheck(function, inputs, fast_mode=True, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_second_derivative_of_recurrent_nets(kind: str, bidirectional: bool) -> None:
    flambeau.manual_seed(0)
    net = getattr(flambeau.nn, kind)(2, 3, num_layers=2, bidirectional=bidirectional, dtype=flambeau.float64)
    names = [name for name, _ in net.named_parameters()]

    def function(x, *weights):
        out, _ = flambeau.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,))
        return out

    x = flambeau.randn(3, 2, 2, dtype=flambeau.float64, requires_grad=True)
    weights = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert flambeau.autograd.gradgradcheck(function, (x, *weights), fast_mode=True)
