"""``nn.Recurrent``: any cell over time as one node, beside a plain loop in PyTorch."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest
import torch as oracle

import flambeau
from flambeau.engine import reset_statistics
from flambeau.engine.statistics import counters
from flambeau.graph.recorder import pending
from flambeau.loop import kernels
from flambeau.nn.utils import rnn

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6


def peephole(library):
    """A cell that PyTorch lacks: an LSTM whose gates see the cell, written with elementary operations."""
    nn = library.nn

    class Peephole(nn.Module):
        def __init__(self, inputs, hidden):
            super().__init__()
            self.into = nn.Linear(inputs, 4 * hidden)
            self.back = nn.Linear(hidden, 4 * hidden, bias=False)
            self.seen = nn.Parameter(library.ones(3, hidden) * 0.3)

        def forward(self, x, state):
            h, c = state
            i, f, g, o = (self.into(x) + self.back(h)).chunk(4, 1)
            c = (f + c * self.seen[1]).sigmoid() * c + (i + self.seen[0] * c).sigmoid() * g.tanh()
            return (o + c * self.seen[2]).sigmoid() * c.tanh(), c

    return Peephole(INPUTS, HIDDEN)


def concatenating(library):
    """Input and state side by side through one layer, as tutorials write it."""
    nn = library.nn

    class Concatenating(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(INPUTS + HIDDEN, HIDDEN)
            self.norm = nn.LayerNorm(HIDDEN)

        def forward(self, x, h):
            z = self.norm(self.layer(library.cat([x, h], 1)))
            with library.no_grad():
                scale = h.abs().mean(1, keepdim=True)
            return library.tanh(z) * 0.9 + 0.1 * h.detach() * scale

    return Concatenating()


def sliced(library):
    """A minimal gated unit whose gates are cut out by slices, one of them read twice."""
    nn = library.nn

    class Sliced(nn.Module):
        def __init__(self):
            super().__init__()
            self.into = nn.Linear(INPUTS, 2 * HIDDEN)
            self.back = nn.Linear(HIDDEN, 2 * HIDDEN)

        def forward(self, x, h):
            z = self.into(x) + self.back(h)
            f, n = z[:, :HIDDEN].sigmoid(), z[:, HIDDEN:].tanh()
            return f * n + (1 - f) * h + z[:, 0:1] ** 2 * 0.1

    return Sliced()


def layer_normalized(library):
    """Layer normalization by the formula, with the names of the cell's own parameters."""
    if library is flambeau:
        return flambeau.nn.LayerNormLSTMCell(INPUTS, HIDDEN)
    nn = oracle.nn

    class LayerNormLSTMCell(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight_ih = nn.Parameter(oracle.empty(4 * HIDDEN, INPUTS))
            self.weight_hh = nn.Parameter(oracle.empty(4 * HIDDEN, HIDDEN))
            self.norm_ih = nn.LayerNorm(4 * HIDDEN)
            self.norm_hh = nn.LayerNorm(4 * HIDDEN)
            self.norm_cell = nn.LayerNorm(HIDDEN)

        def forward(self, x, state):
            h, c = state
            z = self.norm_ih(x @ self.weight_ih.t()) + self.norm_hh(h @ self.weight_hh.t())
            i, f, g, o = z.chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * self.norm_cell(c).tanh(), c

    return LayerNormLSTMCell()


def built_in(name, **options):
    return lambda library: getattr(library.nn, name)(INPUTS, HIDDEN, **options)


CELLS = {
    "lstm": (built_in("LSTMCell"), 2),
    "lstm without bias": (built_in("LSTMCell", bias=False), 2),
    "gru": (built_in("GRUCell"), 1),
    "tanh": (built_in("RNNCell"), 1),
    "relu": (built_in("RNNCell", nonlinearity="relu"), 1),
    "peephole": (peephole, 2),
    "concatenating": (concatenating, 1),
    "sliced": (sliced, 1),
    "layer norm": (layer_normalized, 2),
}


def pair_of_cells(name, dtype="float32"):
    """Ours and PyTorch's, with the same weights."""
    make, count = CELLS[name]
    ours, theirs = make(flambeau), make(oracle)
    draws = np.random.default_rng(0)
    weights = {k: draws.uniform(-0.6, 0.6, tuple(v.shape)) for k, v in ours.state_dict().items()}
    ours.to(getattr(flambeau, dtype))
    theirs.to(getattr(oracle, dtype))
    ours.load_state_dict({k: flambeau.tensor(w) for k, w in weights.items()})
    theirs.load_state_dict({k: oracle.tensor(w) for k, w in weights.items()})
    return ours, theirs, count


def data(library, count, dtype="float32"):
    """Inputs and the states to begin with, as leaves."""
    draws = np.random.default_rng(1)
    arrays = [draws.normal(size=(STEPS, BATCH, INPUTS)), *draws.normal(size=(count, BATCH, HIDDEN))]
    return [library.tensor(a, dtype=getattr(library, dtype)).requires_grad_(True) for a in arrays]


def looped(cell, x, state, reverse=False):
    """The plain loop, in PyTorch."""
    outputs = [None] * x.shape[0]
    for t in reversed(range(x.shape[0])) if reverse else range(x.shape[0]):
        state = cell(x[t], state)
        outputs[t] = state[0] if isinstance(state, tuple) else state
    return oracle.stack(outputs), state


def as_state(tensors):
    return tuple(tensors) if len(tensors) == 2 else tensors[0]


def flat(state):
    return list(state) if isinstance(state, tuple | list) else [state]


def assert_close(a, b, tolerance=1e-5):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=tolerance, atol=tolerance)


def weighted(outputs):
    """A scalar in which every element of the outputs counts differently."""
    return sum((out * out * (k + 1) + out).sum() for k, out in enumerate(outputs))


# ---------------------------------------------------------------- values and gradients


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", CELLS)
def test_a_loop_gives_what_the_plain_loop_gives(name, reverse, tier):
    ours, theirs, count = pair_of_cells(name)
    x, *state = data(flambeau, count)
    y, last = flambeau.nn.Recurrent(ours, reverse=reverse)(x, as_state(state))
    weighted([y, *flat(last)]).backward()
    x_, *state_ = data(oracle, count)
    y_, last_ = looped(theirs, x_, as_state(state_), reverse)
    weighted([y_, *flat(last_)]).backward()
    for a, b in zip([y, *flat(last)], [y_, *flat(last_)], strict=True):
        assert_close(a, b)
    for a, b in zip([x, *state, *ours.parameters()], [x_, *state_, *theirs.parameters()], strict=True):
        assert_close(a.grad, b.grad, 2e-5)


@pytest.mark.parametrize("name", CELLS)
def test_second_derivatives_are_those_of_the_plain_loop(name):
    ours, theirs, count = pair_of_cells(name, "float64")
    found = []
    for library, cell, run in [
        (flambeau, ours, lambda x, s: flambeau.nn.Recurrent(ours)(x, s)),
        (oracle, theirs, lambda x, s: looped(theirs, x, s)),
    ]:
        x, *state = data(library, count, "float64")
        leaves = [x, *state, *cell.parameters()]
        y, last = run(x, as_state(state))
        first = library.autograd.grad(weighted([y, *flat(last)]), leaves, create_graph=True)
        second = library.autograd.grad(weighted(first), leaves, allow_unused=True)
        found.append([*first, *second])
    for a, b in zip(*found, strict=True):
        assert_close(a, b, 1e-9)


def test_derivatives_agree_with_finite_differences():
    cell = flambeau.nn.LSTMCell(2, 2, dtype=flambeau.float64)
    layer = flambeau.nn.Recurrent(cell)
    x = flambeau.randn(3, 2, 2, dtype=flambeau.float64, requires_grad=True)

    def run(x, *weights):
        y, (_, c) = layer(x)
        return y, c

    assert flambeau.autograd.gradcheck(run, (x, *cell.parameters()))
    assert flambeau.autograd.gradgradcheck(run, (x, *cell.parameters()))


def test_only_what_is_asked_for_is_differentiated():
    cell = flambeau.nn.GRUCell(INPUTS, HIDDEN)
    x = flambeau.randn(STEPS, BATCH, INPUTS)
    layer = flambeau.nn.Recurrent(cell)
    with flambeau.no_grad():
        assert not layer(x)[0].requires_grad
    cell.requires_grad_(False)
    assert not layer(x)[0].requires_grad
    cell.weight_hh.requires_grad_(True)
    y, last = layer(x)
    assert y.grad_fn.name() == "RecurrentBackward"
    last.sum().backward()
    assert cell.weight_ih.grad is None
    assert cell.weight_hh.grad.shape == cell.weight_hh.shape
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        last.sum().backward()


# ---------------------------------------------------------------- layers and directions


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "options", [{"num_layers": 2}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]
)
def test_layers_and_directions_are_those_of_the_built_in_layers(kind, options):
    oracle.manual_seed(0)
    theirs = getattr(oracle.nn, kind)(INPUTS, HIDDEN, batch_first=True, **options)
    ours = flambeau.nn.Recurrent(getattr(flambeau.nn, kind + "Cell")(INPUTS, HIDDEN), batch_first=True, **options)
    directions = 2 if "bidirectional" in options else 1
    for at, cell in enumerate(ours.cells):
        suffix = f"_l{at // directions}" + ("_reverse" if at % directions else "")
        names = [n for n, _ in cell.named_parameters()]
        cell.load_state_dict({n: flambeau.tensor(getattr(theirs, n + suffix).detach().numpy()) for n in names})
    x = np.random.default_rng(0).normal(size=(BATCH, STEPS, INPUTS)).astype("float32")
    y, states = ours(flambeau.tensor(x))
    y_, last_ = theirs(oracle.tensor(x))
    assert_close(y, y_)
    for i, part_ in enumerate(flat(last_)):
        assert_close(flambeau.stack([flat(state)[i] for state in states]), part_)
    again, _ = ours(flambeau.tensor(x), states)
    assert_close(again, theirs(oracle.tensor(x), last_)[0])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("enforce_sorted", [False, True])
def test_packed_sequences_are_those_of_the_built_in_layer(bidirectional, enforce_sorted, tier):
    lengths = [5, 3, 2] if enforce_sorted else [3, 5, 2]
    oracle.manual_seed(0)
    theirs = oracle.nn.LSTM(INPUTS, HIDDEN, bidirectional=bidirectional)
    ours = flambeau.nn.Recurrent(flambeau.nn.LSTMCell(INPUTS, HIDDEN), bidirectional=bidirectional)
    for cell, suffix in zip(ours.cells, ["_l0", "_l0_reverse"], strict=False):
        names = [n for n, _ in cell.named_parameters()]
        cell.load_state_dict({n: flambeau.tensor(getattr(theirs, n + suffix).detach().numpy()) for n in names})
    x, *_ = data(flambeau, 0)
    x_, *_ = data(oracle, 0)
    y, states = ours(rnn.pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted))
    y_, (h_, c_) = theirs(oracle.nn.utils.rnn.pack_padded_sequence(x_, lengths, enforce_sorted=enforce_sorted))
    states = states if bidirectional else [states]
    h, c = (flambeau.stack([state[i] for state in states]) for i in range(2))
    for a, b in [(y.data, y_.data), (h, h_), (c, c_)]:
        assert_close(a, b)
    weighted([y.data, h, c]).backward()
    weighted([y_.data, h_, c_]).backward()
    assert_close(x.grad, x_.grad)
    for cell, suffix in zip(ours.cells, ["_l0", "_l0_reverse"], strict=False):
        for n, parameter in cell.named_parameters():
            assert_close(parameter.grad, getattr(theirs, n + suffix).grad)
    assert all((a is None) == (b is None) for a, b in zip(y, y_, strict=True))


def test_cells_can_be_given_one_by_one():
    nn = flambeau.nn
    layer = nn.Recurrent([nn.GRUCell(3, 5), nn.RNNCell(5, 2)])
    y, (first, second) = layer(flambeau.zeros(4, 2, 3))
    assert (y.shape, first.shape, second.shape) == ((4, 2, 2), (2, 5), (2, 2))
    assert layer.num_layers == 2
    assert next(iter(layer.state_dict())) == "cells.0.weight_ih"
    assert repr(nn.Recurrent(nn.GRUCell(3, 5), batch_first=True, dropout=0.5)).startswith(
        "Recurrent(\n  batch_first=True, dropout=0.5\n"
    )
    with pytest.raises(ValueError, match="got 2 cells for 1 layers in 1 directions"):
        nn.Recurrent([nn.GRUCell(3, 5), nn.RNNCell(5, 2)], num_layers=1)
    with pytest.raises(TypeError, match="Linear does not say how to make the cells of further layers"):
        nn.Recurrent(nn.Linear(3, 3), num_layers=2)
    with pytest.raises(ValueError, match="num_layers must be greater than zero, got 0"):
        nn.Recurrent(nn.GRUCell(3, 5), num_layers=0)
    with pytest.raises(ValueError, match=r"dropout should be a number in range \[0, 1\), got 1"):
        nn.Recurrent(nn.GRUCell(3, 5), dropout=1)
    with pytest.raises(ValueError, match="a bidirectional layer walks both ways"):
        nn.Recurrent(nn.GRUCell(3, 5), reverse=True, bidirectional=True)
    with pytest.raises(RuntimeError, match="expected 2 states, one per layer and direction, but got 1"):
        layer(flambeau.zeros(4, 2, 3), [first])
    with pytest.raises(RuntimeError, match="Expected sequence length to be larger than 0"):
        layer(flambeau.zeros(0, 2, 3))


# ---------------------------------------------------------------- where to begin


class Counting(flambeau.nn.Module):
    """Begins without a state."""

    def __init__(self):
        super().__init__()
        self.weight = flambeau.nn.Parameter(flambeau.tensor(0.5))

    def forward(self, x, state=None):
        return x * self.weight if state is None else state * self.weight + x


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_cell_that_begins_without_a_state_takes_the_first_step_by_itself(steps, reverse):
    x = flambeau.arange(1.0, steps + 1).view(-1, 1, 1)
    found = []
    for unroll in (False, True):
        cell = Counting()
        y, last = flambeau.nn.Recurrent(cell, reverse=reverse, unroll=unroll)(x)
        (y.sum() + last.sum()).backward()
        found.append([y, last, cell.weight.grad])
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


def test_a_state_may_change_its_shape_at_the_first_step_alone():
    cell = Counting()
    x = flambeau.ones(3, 2, 4)
    y, _ = flambeau.nn.Recurrent(cell)(x, flambeau.zeros(()))
    assert_close(y[-1], flambeau.full((2, 4), 1.75))

    class Growing(flambeau.nn.Module):
        def forward(self, x, state):
            return flambeau.cat([x, state])

    with pytest.raises(RuntimeError, match=r"gets a state of shape \[4, 4\].*hands on one of shape \[6, 4\]"):
        flambeau.nn.Recurrent(Growing())(x, flambeau.zeros(2, 4))


def test_packed_sequences_walked_backwards_need_a_state():
    packed = rnn.pack_padded_sequence(flambeau.ones(3, 2, 1), [3, 2])
    with pytest.raises(RuntimeError, match="Counting does not say where to begin"):
        flambeau.nn.Recurrent(Counting(), reverse=True)(packed)


# ---------------------------------------------------------------- dropout


def test_dropout_inside_a_cell_draws_anew_at_each_step():
    cell = flambeau.nn.LayerNormLSTMCell(INPUTS, HIDDEN, dropout=0.5)
    x = flambeau.randn(STEPS, BATCH, INPUTS)
    found = []
    for unroll in (False, True):
        layer = flambeau.nn.Recurrent(cell, unroll=unroll, reverse=True)
        flambeau.manual_seed(3)
        y, _ = layer(x)
        y.square().sum().backward()
        found.append([y, *[p.grad for p in cell.parameters()]])
        cell.zero_grad()
    for a, b in zip(*found, strict=True):
        assert_close(a, b)
    layer = flambeau.nn.Recurrent(cell)
    assert not bool((layer(x)[0] == layer(x)[0]).all())
    layer.eval()
    assert bool((layer(x)[0] == layer(x)[0]).all())


def test_several_draws_come_in_the_order_of_a_plain_loop():
    class Noisy(flambeau.nn.Module):
        def forward(self, x, state):
            h = flambeau.nn.functional.dropout(state, 0.3) + flambeau.rand(2, 3)
            return flambeau.nn.functional.dropout(h + x, 0.3)

    found = []
    for unroll in (False, True):
        flambeau.manual_seed(0)
        found.append(flambeau.nn.Recurrent(Noisy(), unroll=unroll)(flambeau.ones(4, 2, 3), flambeau.ones(2, 3))[0])
        found.append(flambeau.rand(1))
    assert_close(found[0], found[2])
    assert_close(found[1], found[3])


def test_recurrent_dropout_leaves_out_the_same_elements_at_all_steps():
    class Passing(flambeau.nn.Module):
        def forward(self, x, state):
            return flambeau.where(state == 0, state, 1.0)

    layer = flambeau.nn.Recurrent(Passing(), recurrent_dropout=0.5)
    one = flambeau.ones(1, 400)
    y, _ = layer(flambeau.zeros(6, 1, 1), one)
    kept = y[0] != 0
    assert 100 < int(kept.sum()) < 300
    # Elements of the state that were left out stay out; a new mask per step would have left out nearly all.
    assert bool(((y[-1] != 0) == kept).all())
    assert bool((layer.eval()(flambeau.zeros(6, 1, 1), one)[0] == 1).all())


def test_recurrent_dropout_is_a_factor_of_the_state_on_its_way_in():
    cell = flambeau.nn.LSTMCell(INPUTS, HIDDEN)
    x = flambeau.randn(STEPS, BATCH, INPUTS)
    h, c = flambeau.randn(BATCH, HIDDEN), flambeau.randn(BATCH, HIDDEN)
    flambeau.manual_seed(5)
    y, _ = flambeau.nn.Recurrent(cell, recurrent_dropout=0.4)(x, (h, c))
    flambeau.manual_seed(5)
    mask = flambeau.nn.functional.dropout(flambeau.ones(BATCH, HIDDEN), 0.4)
    expected = []
    for step in x:
        h, c = cell(step, (h * mask, c))
        expected.append(h)
    assert_close(y, flambeau.stack(expected))


def test_dropout_falls_between_layers_in_training():
    layer = flambeau.nn.Recurrent(flambeau.nn.GRUCell(3, 4), num_layers=2, dropout=0.5)
    x = flambeau.randn(4, 5, 3)
    y, states = layer(x)
    assert not bool((y == layer(x)[0]).all())
    assert bool((states[0] == layer(x)[1][0]).all())
    layer.eval()
    assert bool((layer(x)[0] == layer(x)[0]).all())


# ---------------------------------------------------------------- what it costs


def _nodes(steps, backward=True):
    layer = flambeau.nn.Recurrent(flambeau.nn.LayerNormLSTMCell(3, 4))
    x = flambeau.zeros(steps, 2, 3)
    for _ in range(2):
        flambeau.engine.flush()
        reset_statistics()
        loss = layer(x)[0].sum()
        if backward:
            loss.backward()
        loss.item()
    return counters.nodes


def test_what_is_recorded_does_not_grow_with_the_sequence():
    assert _nodes(4) == _nodes(40)
    # The state to begin with, the loop, its outputs and kept values, and the sum.
    assert _nodes(4, backward=False) < 24


def test_a_length_is_compiled_once():
    before = flambeau.engine.get_tier()
    flambeau.engine.set_tier("compiled")
    try:
        layer = flambeau.nn.Recurrent(flambeau.nn.GRUCell(3, 4))
        flambeau.engine.flush()
        reset_statistics()
        for steps, programs in [(7, 1), (7, 1), (9, 2), (7, 2)]:
            for p in layer.parameters():
                p.grad = None
            layer(flambeau.zeros(steps, 2, 3))[0].sum().backward()
            flambeau.engine.flush()
            assert counters.programs_compiled == programs
    finally:
        flambeau.engine.set_tier(before)


def test_products_with_inputs_and_of_gradients_are_done_outside_of_the_walk():
    ours, _, count = pair_of_cells("peephole")
    x, *state = data(flambeau, count)
    flambeau.engine.flush()
    y, _ = flambeau.nn.Recurrent(ours)(x, as_state(state))
    y.sum().backward()
    forward, backward = [node.call.params["body"] for node in pending if node.call.op.name == "loop"]
    operations = {title: [step.call.op.name for step in steps] for title, steps in forward.schedule.parts().items()}
    assert operations["before"] == ["linear"]
    assert operations["inside"].count("linear") == 1
    # One product for the state's gradient in the walk, one for the inputs' after it; those for weights are sums.
    operations = {title: [step.call.op.name for step in steps] for title, steps in backward.schedule.parts().items()}
    assert operations["inside"].count("matmul") == operations["after"].count("matmul") == 1
    assert sorted(total.how for total in backward.schedule.totals) == ["product"] * 2 + ["sum"] * 4
    assert repr(forward).startswith(f"<loop of {STEPS} steps: 0 once, 1 before, ")
    assert repr(backward).startswith(f"<loop of {STEPS} steps, the last first: ")
    assert f"%{forward.next[0]} = mul(" in forward.listing()


def test_a_training_step_can_be_compiled(tier):
    oracle.manual_seed(0)
    ours, theirs, _ = pair_of_cells("lstm")
    layer = flambeau.nn.Recurrent(ours)
    optimizers = [flambeau.optim.SGD(ours.parameters(), lr=0.1), oracle.optim.SGD(theirs.parameters(), lr=0.1)]
    x, *_ = data(flambeau, 0)
    x_, *_ = data(oracle, 0)
    x, x_ = x.detach(), x_.detach()
    zero = oracle.zeros(BATCH, HIDDEN)

    def step(x):
        optimizers[0].zero_grad()
        loss = layer(x)[0].square().mean()
        loss.backward()
        optimizers[0].step()
        return loss

    compiled = flambeau.compile(step)
    for _ in range(5):
        optimizers[1].zero_grad()
        loss_ = looped(theirs, x_, (zero, zero))[0].square().mean()
        loss_.backward()
        optimizers[1].step()
        assert_close(compiled(x), loss_)
    assert compiled.program.operations["loop"] == 2


def test_a_compiled_function_draws_anew_at_each_call():
    layer = flambeau.nn.Recurrent(flambeau.nn.LayerNormLSTMCell(3, 4, dropout=0.5), recurrent_dropout=0.5)
    x = flambeau.randn(4, 2, 3)
    compiled = flambeau.compile(lambda x: layer(x)[0])
    with flambeau.no_grad():
        found = [compiled(x) for _ in range(5)]
        assert compiled.program is not None
        for a, b in itertools.pairwise(found):
            assert not bool((a == b).all())
        flambeau.manual_seed(1)
        plain = layer(x)[0]
        flambeau.manual_seed(1)
        assert_close(compiled(x), plain)


def test_a_compiled_layer_can_be_differentiated_outside(tier):
    layer = flambeau.nn.Recurrent(flambeau.nn.LSTMCell(3, 4))
    x = flambeau.randn(1, 2, 3)
    compiled = flambeau.compile(layer)
    for _ in range(4):
        found = [flambeau.autograd.grad(f(x)[0].square().sum(), list(layer.parameters())) for f in (layer, compiled)]
        for a, b in zip(*found, strict=True):
            assert_close(a, b)


def test_nothing_of_a_call_is_kept_once_its_results_are_gone():
    layer = flambeau.nn.Recurrent(flambeau.nn.GRUCell(3, 4))
    x = flambeau.randn(3, 2, 3)
    gc.collect()
    gc.disable()
    try:
        layer(x)[0].sum().backward()
        values = weakref.ref(x._node)
        flambeau.engine.flush()
        del x
        assert values() is None
    finally:
        gc.enable()


def test_what_is_known_of_loops_is_bounded(monkeypatch):
    monkeypatch.setattr(kernels, "BODIES_KEPT", 16)
    monkeypatch.setattr(kernels, "_bodies", {})
    monkeypatch.setattr(kernels.LOOP, "calls", {})
    layer = flambeau.nn.Recurrent(flambeau.nn.RNNCell(2, 2))
    for steps in range(1, 20):
        layer(flambeau.zeros(steps, 1, 2))[0].sum().backward()
        assert len(kernels._bodies) <= 16
    assert len(kernels.LOOP.calls) <= 16


def test_equal_loops_are_one_program_even_where_their_tape_says_nothing():
    class Straight(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, grad):
            return grad

    class Cell(flambeau.nn.Module):
        def forward(self, x, state):
            return Straight.apply(state * 0.5 + x)

    layer = flambeau.nn.Recurrent(Cell())
    flambeau.engine.flush()
    reset_statistics()
    for _ in range(3):
        x = flambeau.ones(4, 2, requires_grad=True)
        layer(x, flambeau.ones(2))[0].sum().backward()
        flambeau.engine.flush()
    assert counters.programs_seen == 1
