"""Random tensors: PyTorch's numbers for PyTorch's seeds."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import torch

import flambeau

sys.path.insert(0, str(Path(__file__).parent / "nn"))

from both import same

EXACT = [
    lambda t: t.rand(5),
    lambda t: t.rand(2, 3, dtype=t.float64),
    lambda t: t.rand((2, 3), dtype=t.float16),
    lambda t: t.rand([2, 3], dtype=t.bfloat16),
    lambda t: t.rand(size=(2,)),
    lambda t: t.rand(()),
    lambda t: t.rand(0, 3),
    lambda t: t.rand(3, dtype=t.complex64),
    lambda t: t.rand(3, requires_grad=True),
    lambda t: t.rand(3, generator=t.Generator().manual_seed(7)),
    lambda t: t.rand(4, out=t.empty(4)),
    lambda t: t.randint(10, (7,)),
    lambda t: t.randint(3, 10, (7,)),
    lambda t: t.randint(low=3, high=10, size=(2, 2)),
    lambda t: t.randint(high=10, size=(2, 2), dtype=t.int8),
    lambda t: t.randint(0, 2**40, (3,)),
    lambda t: t.randint(0, 5, (3,), dtype=t.float32),
    lambda t: t.randint(5, size=(2,)),
    lambda t: t.randperm(10),
    lambda t: t.randperm(1),
    lambda t: t.randperm(0),
    lambda t: t.randperm(10, dtype=t.int32),
    lambda t: t.randperm(5, generator=t.Generator().manual_seed(3)),
    lambda t: t.rand_like(t.empty(2, 3, dtype=t.float64)),
    lambda t: t.rand_like(t.empty(2, 3), dtype=t.float16, requires_grad=True),
    lambda t: t.randint_like(t.empty(2, 3), 5),
    lambda t: t.randint_like(t.empty(2, 3, dtype=t.int64), 2, 5),
    lambda t: t.bernoulli(t.tensor([0.0, 0.3, 0.5, 1.0])),
    lambda t: t.bernoulli(t.full((3, 4), 0.5, dtype=t.float64)),
    lambda t: t.empty(3, 4).bernoulli_(t.full((4,), 0.5)),
    lambda t: t.multinomial(t.tensor([1.0, 2.0, 3.0]), 2),
    lambda t: t.multinomial(t.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]]), 5, replacement=True),
    lambda t: t.tensor([1.0, 2.0]).multinomial(1),
    lambda t: t.poisson(t.tensor([0.0, 1.0, 5.0, 30.0])),
    lambda t: t.binomial(t.tensor([10.0, 100.0]), t.tensor([0.3, 0.9])),
    lambda t: t.empty(4).uniform_(),
    lambda t: t.empty(4).uniform_(1, 3),
    lambda t: t.empty(4, dtype=t.complex64).uniform_(-1, 2),
    lambda t: t.empty(4).uniform_(to=3),
    lambda t: t.empty(4).uniform_(**{"from": -3, "to": -1}),
    lambda t: t.empty(5).random_(),
    lambda t: t.empty(5, dtype=t.int64).random_(),
    lambda t: t.empty(5, dtype=t.int64).random_(10),
    lambda t: t.empty(5, dtype=t.uint8).random_(3, 10),
    lambda t: t.empty(5, dtype=t.int32).random_(**{"from": 3, "to": 10}),
    lambda t: t.empty(5, dtype=t.bool).random_(),
    lambda t: t.empty(6).geometric_(0.3),
    lambda t: t.empty(6, dtype=t.int64).geometric_(0.5),
    lambda t: t.empty(3, 4).t().uniform_(),
    lambda t: t.empty(3, 4)[:, 1:3].uniform_(),
    lambda t: t.initial_seed(),
    lambda t: t.get_rng_state(),
    lambda t: t.Generator().initial_seed(),
    lambda t: t.Generator().get_state(),
    lambda t: [str(t.Generator().device), t.default_generator.initial_seed()],
]

ROUNDED = [
    lambda t: t.randn(5),
    lambda t: t.randn(40),
    lambda t: t.randn(4, 5, dtype=t.float64),
    lambda t: t.randn(3, dtype=t.complex128),
    lambda t: t.randn_like(t.empty(3, 6)),
    lambda t: t.normal(2.0, 3.0, (4,)),
    lambda t: t.normal(mean=0.0, std=t.tensor([1.0, 2.0])),
    lambda t: t.normal(t.tensor([1.0, 2.0]), 3),
    lambda t: t.normal(t.tensor([1.0, 2.0])),
    lambda t: t.normal(t.zeros(3, 1), t.ones(4)),
    lambda t: t.normal(t.zeros(3, dtype=t.float64), t.ones(3)),
    lambda t: t.empty(20).normal_(1, 2),
    lambda t: t.empty(20, dtype=t.float64).normal_(),
    lambda t: t.empty(4, 5).t().normal_(),
    lambda t: t.empty(5).exponential_(),
    lambda t: t.empty(5).exponential_(lambd=2.0),
    lambda t: t.empty(5).cauchy_(1, 2),
    lambda t: t.empty(5).log_normal_(0.5, 0.3),
]


def then_more(program):
    """The program, and what the generator gives afterwards."""

    def both(t):
        return program(t), t.rand(1), t.randn(1)

    return both


@pytest.mark.parametrize("program", EXACT)
def test_bit_for_bit(program):
    same(then_more(program))


@pytest.mark.parametrize("program", ROUNDED)
def test_to_the_last_bits(program):
    same(then_more(program), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.rand(3, dtype=t.int64),
        lambda t: t.randn(3, dtype=t.int64),
        lambda t: t.rand(-1),
        lambda t: t.randperm(-1),
        lambda t: t.randperm(300, dtype=t.uint8),
        lambda t: t.randint(3, 3, (2,)),
        lambda t: t.rand_like(t.empty(2, dtype=t.int64)),
        lambda t: t.normal(t.zeros(3), t.tensor([1.0, -1.0, 0.0])),
        lambda t: t.normal(t.zeros(3), -1.0),
        lambda t: t.normal(t.zeros(3), t.ones(2)),
        lambda t: t.empty(3, dtype=t.int64).normal_(),
        lambda t: t.empty(3, dtype=t.int64).uniform_(),
        lambda t: t.empty(3, dtype=t.int64).exponential_(),
        lambda t: t.empty(3, dtype=t.int64).cauchy_(),
        lambda t: t.empty(3, dtype=t.int64).log_normal_(),
        lambda t: t.empty(3, dtype=t.complex64).bernoulli_(0.5),
        lambda t: t.empty(3).uniform_(3, 1),
        lambda t: t.empty(3).exponential_(-1),
        lambda t: t.empty(3).normal_(0, -1),
        lambda t: t.empty(3).random_(3, 1),
        lambda t: t.empty(3).bernoulli_(2.0),
        lambda t: t.empty(3, requires_grad=True).uniform_(),
        lambda t: t.bernoulli(t.tensor([1])),
        lambda t: t.multinomial(t.tensor([1, 2]), 1),
        lambda t: t.multinomial(t.tensor([1.0, 2.0]), 3),
        lambda t: t.multinomial(t.tensor([1.0, -2.0]), 1),
        lambda t: t.poisson(t.tensor([-1.0])),
        lambda t: t.poisson(t.tensor([1])),
        lambda t: t.manual_seed(2**65),
        lambda t: t.manual_seed("a"),
        lambda t: t.set_rng_state(t.zeros(3, dtype=t.uint8)),
        lambda t: t.set_rng_state(t.zeros(5056)),
        lambda t: t.Generator().get_offset(),
        lambda t: t.Generator().graphsafe_get_state(),
        lambda t: t.Generator().graphsafe_set_state(t.Generator()),
    ],
)
def test_errors(program):
    same(program)


def gradients(t):
    p = t.full((3,), 0.5, requires_grad=True)
    mean = t.zeros(3, requires_grad=True)
    results = [t.bernoulli(p), t.poisson(p), t.normal(mean, p), t.normal(mean, 1.0), (p * 1).uniform_()]
    results += [(p * 1).normal_(), (p * 1).bernoulli_(), (p * 1).exponential_(), (p * 1).random_(5)]
    print([r.grad_fn.name() for r in results])
    sum(r.sum() for r in results).backward()
    return p.grad, mean.grad


def states(t):
    t.manual_seed(5)
    state = t.get_rng_state()
    a = t.rand(3)
    t.set_rng_state(state)
    b = t.rand(3)
    with t.random.fork_rng() if t is torch else flambeau_random().fork_rng():
        t.manual_seed(1)
        inside = t.rand(2)
    after = t.rand(1)
    g = t.Generator()
    print(g.manual_seed(3) is g, g.initial_seed(), t.manual_seed(-1) is t.default_generator, t.initial_seed())
    other = g.clone_state()
    g.set_state(other.get_state())
    return a, b, inside, after, t.rand(2, generator=g), t.rand(2, generator=other)


def flambeau_random():
    import importlib

    return importlib.import_module("flambeau.random")


@pytest.mark.parametrize("program", [gradients, states])
def test_as_pytorch(program):
    same(program)


def test_states_go_both_ways():
    torch.manual_seed(11)
    torch.randn(3)
    flambeau.set_rng_state(flambeau.tensor(torch.get_rng_state().numpy()))
    assert flambeau.randn(5).tolist() == torch.randn(5).tolist()
    torch.set_rng_state(torch.tensor(flambeau.get_rng_state().numpy()))
    assert flambeau.rand(5).tolist() == torch.rand(5).tolist()


def test_generators_pickle():
    g = flambeau.Generator().manual_seed(4)
    flambeau.rand(3, generator=g)
    other = pickle.loads(pickle.dumps(g))
    assert flambeau.rand(3, generator=other).tolist() == flambeau.rand(3, generator=g).tolist()


def test_seeding_by_entropy():
    seed = flambeau.seed()
    assert flambeau.initial_seed() == seed
    first = flambeau.rand(2).tolist()
    flambeau.manual_seed(seed)
    assert flambeau.rand(2).tolist() == first
    assert isinstance(flambeau.Generator().seed(), int)


def test_meta_draws_nothing():
    flambeau.manual_seed(0)
    assert flambeau.rand(3, device="meta").is_meta
    assert flambeau.empty(3, device="meta").normal_().is_meta
    torch.manual_seed(0)
    assert flambeau.rand(2).tolist() == torch.rand(2).tolist()


def test_no_generator():
    with pytest.raises(TypeError, match=r"argument 'generator' must be torch\.Generator, not int"):
        flambeau.rand(2, generator=3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'wide'"):
        flambeau.rand(wide=3)
    with pytest.raises(TypeError, match="numbers need size="):
        flambeau.normal(0.0, 1.0)
