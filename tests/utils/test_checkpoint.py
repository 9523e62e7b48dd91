"""``torch.utils.checkpoint``: equal gradients, equal draws, and less memory on both tiers."""

from __future__ import annotations

import contextlib
import tracemalloc
import warnings

import numpy as np
import pytest
import torch as oracle
import torch.utils.checkpoint

import flambeau
from flambeau import engine
from flambeau.engine import judge, tiers
from flambeau.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential, set_checkpoint_early_stop

LIBRARIES = (flambeau, oracle)


def model(dropout=0.3):
    flambeau.manual_seed(0)
    nn = flambeau.nn
    return nn.Sequential(
        *[nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 8), nn.GELU()) for _ in range(6)]
    )


def each(net, x, reentrant):
    for block in net:
        x = checkpoint(block, x, use_reentrant=reentrant)
    return x


def nested(net, x):
    def pair(first, second):
        return lambda h: second(checkpoint(first, h, use_reentrant=False))

    for i in range(0, 6, 2):
        x = checkpoint(pair(net[i], net[i + 1]), x, use_reentrant=False)
    return x


WAYS = {
    "each block": lambda net, x: each(net, x, False),
    "each block, reentrant": lambda net, x: each(net, x, True),
    "in segments": lambda net, x: checkpoint_sequential(net, 3, x, use_reentrant=False),
    "in segments, reentrant": lambda net, x: checkpoint_sequential(net, 4, x, use_reentrant=True),
    "nested": nested,
    "to the end": lambda net, x: to_the_end(net, x),
    "keyword arguments": lambda net, x: checkpoint(
        lambda a, *, scale: net(a) * scale["by"], x, use_reentrant=False, scale={"by": 1.0}
    ),
}


def to_the_end(net, x):
    with set_checkpoint_early_stop(False):
        return each(net, x, False)


def gradients(way):
    net = model()
    flambeau.manual_seed(1)
    x = flambeau.randn(4, 8).requires_grad_()
    (way(net, x) ** 2).sum().backward()
    return [x.grad.numpy(), *[p.grad.numpy() for p in net.parameters()], flambeau.rand(1).numpy()]


@pytest.mark.parametrize("name", WAYS)
def test_gradients_are_those_of_the_plain_function(name, tier):
    plain = gradients(lambda net, x: net(x))
    for found, expected in zip(gradients(WAYS[name]), plain, strict=True):
        if tier == "interpreter":
            # To the bit: dropout masks too, and what is drawn afterwards.
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_draws_are_new_where_the_state_is_not_preserved():
    x = flambeau.ones(1000, requires_grad=True)
    y = checkpoint(lambda x: flambeau.rand(1000).exp() * x * x, x, use_reentrant=False, preserve_rng_state=False)
    y.sum().backward()
    assert not flambeau.allclose(x.grad, 2 * y)
    x.grad = None
    y = checkpoint(lambda x: flambeau.rand(1000).exp() * x * x, x, use_reentrant=False)
    y.sum().backward()
    assert flambeau.allclose(x.grad, 2 * y)


WIDTH, ROWS, BLOCKS, LAYERS = 64, 1024, 6, 4


def deep(checkpointed, by_closure=False):
    flambeau.manual_seed(0)
    nn = flambeau.nn
    blocks = [
        nn.Sequential(*[m for _ in range(LAYERS) for m in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]) for _ in range(BLOCKS)
    ]
    x = flambeau.randn(ROWS, WIDTH).requires_grad_()
    engine.flush()

    def step():
        y = x
        for block in blocks:
            if not checkpointed:
                y = block(y)
            elif by_closure:
                y = checkpoint(lambda block=block, y=y: block(y), use_reentrant=False)
            else:
                y = checkpoint(block, y, use_reentrant=False)
        (y**2).sum().backward()
        return x.grad._value()

    return step


ACTIVATION = WIDTH * ROWS * 4


def test_the_interpreter_holds_less_at_its_peak():
    before = engine.get_tier()
    engine.set_tier("interpreter")
    try:
        peaks = []
        for checkpointed in (False, True):
            step = deep(checkpointed)
            tracemalloc.start()
            start = tracemalloc.get_traced_memory()[0]
            step()
            peaks.append((tracemalloc.get_traced_memory()[1] - start) / ACTIVATION)
            tracemalloc.stop()
    finally:
        engine.set_tier(before)
    plain, less = peaks
    # Plain, every layer's result is kept; else one per block, and those of the block at work.
    assert plain > BLOCKS * LAYERS
    assert less < BLOCKS + LAYERS + 6
    assert less < 0.6 * plain


def test_the_compiled_program_needs_less_temporary_memory():
    before = engine.get_tier()
    engine.set_tier("compiled")
    try:
        sizes = []
        for options in ((False,), (True,), (True, True)):
            judge.entries.clear()
            deep(*options)()
            entry = max(judge.entries.values(), key=lambda entry: len(entry.program.steps))
            sizes.append(tiers.compiled(entry).memory().temp_size_in_bytes / ACTIVATION)
    finally:
        engine.set_tier(before)
    plain, less, by_closure = sizes
    assert plain > BLOCKS * LAYERS - 2
    assert less < BLOCKS + LAYERS + 4
    assert less < 0.6 * plain
    # The input requires a gradient like a parameter: as it was not handed in, the first block is not freed.
    assert by_closure < less + LAYERS + 1


def test_a_captured_step_draws_anew_with_each_replay_and_the_same_in_both_calls():
    net = model(0.5)
    optimizer = flambeau.optim.SGD(net.parameters(), lr=0.0)
    x = flambeau.ones(4, 8, requires_grad=True)

    def program(forward):
        def step():
            optimizer.zero_grad()
            total = forward(net, x).sum()
            total.backward()
            return total.detach()

        flambeau.manual_seed(3)
        compiled = flambeau.compile(step)
        found = []
        for _ in range(5):
            x.grad = None
            total = compiled()
            found.append((total.item(), net[0][0].weight.grad.numpy()))
        return found

    plain = program(lambda net, x: net(x))
    less = program(lambda net, x: each(net, x, False))
    assert len({total for total, _ in plain}) == 5
    for (a, g), (b, h) in zip(plain, less, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
        np.testing.assert_allclose(g, h, rtol=1e-4, atol=1e-6)


def test_a_captured_module_is_differentiated_outside():
    net = model(0.5)
    compiled = flambeau.compile(lambda x: each(net, x, False))
    x = flambeau.ones(4, 8, requires_grad=True)
    for k in range(4):
        found = []
        for forward in (compiled, net):
            flambeau.manual_seed(k)
            x.grad = None
            forward(x).sum().backward()
            found.append(x.grad.numpy())
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


def test_second_derivatives_and_grad():
    results = []
    for L in LIBRARIES:
        x = L.tensor([0.3, 0.7], requires_grad=True)
        y = L.utils.checkpoint.checkpoint(lambda x: (x.sin() * x.exp()).pow(2), x, use_reentrant=False)
        (first,) = L.autograd.grad(y.sum(), x, create_graph=True)
        (second,) = L.autograd.grad(first.sum(), x)
        results.append((first.detach().numpy(), second.numpy()))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5)


def test_going_back_twice():
    calls = []
    x = flambeau.ones(2, requires_grad=True)

    def f(x):
        calls.append(1)
        return x.exp().sin()

    y = checkpoint(f, x, use_reentrant=False).sum()
    y.backward(retain_graph=True)
    first = x.grad.clone()
    y.backward()
    assert flambeau.allclose(x.grad, 2 * first)
    assert len(calls) == 3
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_nothing_is_kept_without_gradients():
    calls = []
    with flambeau.no_grad():
        checkpoint(lambda x: calls.append(1) or x * 2, flambeau.ones(2), use_reentrant=False)
    assert len(calls) == 1


def test_autocast_is_the_same_in_the_second_call():
    seen = []
    layer = flambeau.nn.Linear(3, 3)
    x = flambeau.ones(2, 3, requires_grad=True)

    def f(x):
        y = layer(x)
        seen.append(y.dtype)
        return y.float().sin()

    with flambeau.autocast("cpu"):
        y = checkpoint(f, x, use_reentrant=False)
    y.sum().backward()
    assert seen == [flambeau.bfloat16] * 2


def test_contexts_surround_the_calls():
    for L in LIBRARIES:
        seen = []

        @contextlib.contextmanager
        def told(name, seen=seen):
            seen.append(name)
            yield

        x = L.ones(1, requires_grad=True)
        L.utils.checkpoint.checkpoint(
            lambda x: x.exp(), x, use_reentrant=False, context_fn=lambda: (told("first"), told("second"))
        ).backward()
        assert seen == ["first", "second"]


def changing(L, second):
    calls = []

    def f(x):
        calls.append(1)
        return x.exp().exp() if len(calls) == 1 else second(x)

    x = L.ones(2, requires_grad=True)
    return L.utils.checkpoint.checkpoint(f, x, use_reentrant=False, early_stop=False).sum()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda x: x.exp(), "A different number of tensors was saved during the original forward and recomputation"),
        (lambda x: x.exp().exp().exp(), "trying to save more tensors during recomputation"),
        (lambda x: x[:1].exp().exp(), "have different metadata than during the forward pass"),
    ],
)
def test_a_function_that_does_something_else_when_called_again(second, message):
    for L in LIBRARIES:
        total = changing(L, second)
        with pytest.raises(L.utils.checkpoint.CheckpointError, match=message):
            total.backward()
    assert issubclass(CheckpointError, RuntimeError)


def test_misuse_is_told_as_pytorch_tells_it():
    for L in LIBRARIES:
        ck = L.utils.checkpoint
        x = L.ones(2, requires_grad=True)
        with pytest.warns(UserWarning, match="the use_reentrant parameter should be passed explicitly"):
            ck.checkpoint(lambda x: x * 2, x)
        with pytest.warns(UserWarning, match="checkpoint_sequential: the use_reentrant parameter"):
            ck.checkpoint_sequential([lambda x: x, lambda x: x], 2, x)
        with pytest.raises(ValueError, match="Unexpected keyword arguments: scale"):
            ck.checkpoint(lambda x, scale: x, x, use_reentrant=True, scale=1)
        with pytest.raises(ValueError, match="Unexpected keyword arguments: scale"):
            ck.checkpoint_sequential([lambda x: x], 1, x, use_reentrant=True, scale=1)
        with pytest.raises(ValueError, match="Passing `context_fn` or `debug` is only supported"):
            ck.checkpoint(lambda x: x, x, use_reentrant=True, debug=True)
        with pytest.raises(ValueError, match="determinism_check should be one of"):
            ck.checkpoint(lambda x: x, x, use_reentrant=False, determinism_check="some")
        with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
            ck.checkpoint(lambda x: x * 2, L.ones(2), use_reentrant=True)
        y = ck.checkpoint(lambda x: x * 2, x, use_reentrant=True)
        with pytest.raises(RuntimeError, match=r"is incompatible with \.grad"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            L.autograd.grad(y.sum(), x)
        y = ck.checkpoint(lambda x: x.detach(), x, use_reentrant=True)
        with pytest.raises(RuntimeError, match="none of output has requires_grad=True"):
            y.sum().backward()
