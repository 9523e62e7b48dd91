"""Recurrent layers against PyTorch: random configurations, packed sequences, seeds, messages."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch as oracle
from both import same
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau.nn.utils import rnn

RECURRENT = ("LSTM", "GRU", "RNN")
# PyTorch's own remark on how it computes projections.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")


def loaded(ours, theirs):
    """Ours, with the weights of theirs."""
    ours.load_state_dict({k: flambeau.tensor(v.detach().numpy()) for k, v in theirs.state_dict().items()})
    return ours


def leaf(library, array):
    return library.tensor(array).requires_grad_(True)


def flat(result):
    if isinstance(result, flambeau.Tensor | oracle.Tensor):
        return [result]
    if isinstance(result, rnn.PackedSequence | oracle.nn.utils.rnn.PackedSequence):
        return [result.data]
    return [x for part in result for x in flat(part)]


def assert_close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5)


def assert_results_and_gradients_agree(run, ours, theirs, arrays):
    """``run(module, tensors)`` on both, then a backward pass from all its results."""
    leaves = []
    for library, module in ((flambeau, ours), (oracle, theirs)):
        tensors = [leaf(library, a) for a in arrays]
        outputs = flat(run(library, module, tensors))
        sum((out * out).sum() for out in outputs).backward()
        leaves.append((outputs, tensors + list(module.parameters())))
    for a, b in zip(leaves[0][0], leaves[1][0], strict=True):
        assert_close(a, b)
    for a, b in zip(leaves[0][1], leaves[1][1], strict=True):
        assert_close(a.grad, b.grad)


def made(library, kind, options):
    # In double precision, so that only what is wrong differs by much.
    return getattr(library.nn, kind)(**options, dtype=library.float64)


@st.composite
def configurations(draw):
    kind = draw(st.sampled_from(RECURRENT))
    options = {
        "input_size": draw(st.integers(1, 3)),
        "hidden_size": draw(st.integers(2, 4)),
        "num_layers": draw(st.integers(1, 2)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if kind == "LSTM" and draw(st.booleans()):
        options["proj_size"] = 1
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    return kind, options


def states(random, kind, options, batch):
    """Initial states; ``batch`` None for one sequence without a batch dimension."""
    count = options["num_layers"] * (2 if options["bidirectional"] else 1)
    middle = () if batch is None else (batch,)
    hidden = options.get("proj_size") or options["hidden_size"]
    found = [random.standard_normal((count, *middle, hidden))]
    if kind == "LSTM":
        found.append(random.standard_normal((count, *middle, options["hidden_size"])))
    return found


def called(kind, module, x, hx):
    if not hx:
        return module(x)
    return module(x, tuple(hx) if kind == "LSTM" else hx[0])


@settings(max_examples=25, deadline=None)
@given(configurations(), st.integers(1, 4), st.sampled_from([None, 1, 3]), st.booleans(), st.integers(0, 99))
def test_layers_agree_with_pytorch(configuration, steps, batch, with_states, seed):
    kind, options = configuration
    theirs = made(oracle, kind, options)
    ours = loaded(made(flambeau, kind, options), theirs)
    random = np.random.default_rng(seed)
    shape = (steps,) if batch is None else (batch, steps) if options["batch_first"] else (steps, batch)
    x = random.standard_normal((*shape, options["input_size"]))
    hx = states(random, kind, options, batch) if with_states else []
    assert_results_and_gradients_agree(
        lambda library, module, t: called(kind, module, t[0], t[1:]), ours, theirs, [x, *hx]
    )


@settings(max_examples=20, deadline=None)
@given(configurations(), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans(), st.integers(0, 99))
def test_packed_sequences_agree_with_pytorch(configuration, lengths, with_states, seed):
    check_packed(configuration, lengths, with_states, seed)


def check_packed(configuration, lengths, with_states, seed):
    kind, options = configuration
    theirs = made(oracle, kind, options)
    ours = loaded(made(flambeau, kind, options), theirs)
    random = np.random.default_rng(seed)
    batch, steps = len(lengths), max(lengths)
    shape = (batch, steps) if options["batch_first"] else (steps, batch)
    x = random.standard_normal((*shape, options["input_size"]))
    hx = states(random, kind, options, batch) if with_states else []

    def run(library, module, tensors):
        tools = library.nn.utils.rnn
        packed = tools.pack_padded_sequence(tensors[0], lengths, options["batch_first"], enforce_sorted=False)
        output, final = called(kind, module, packed, tensors[1:])
        padded, found = tools.pad_packed_sequence(output, options["batch_first"], padding_value=0.5)
        assert found.tolist() == lengths
        return padded, final

    assert_results_and_gradients_agree(run, ours, theirs, [x, *hx])


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences_on_both_tiers(tier, kind, bidirectional):
    options = {
        "input_size": 2,
        "hidden_size": 3,
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "bidirectional": bidirectional,
    }
    check_packed((kind, options), [2, 4, 1], True, 0)


@pytest.mark.parametrize("batch_sizes", [None, (3, 2, 2, 1)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh", "relu"])
def test_the_layer_written_out_is_the_layer(kind, reverse, batch_sizes):
    from flambeau.ops.rnn import GATES, RECURRENT, written_out

    flambeau.manual_seed(0)
    gates = GATES[kind] * 4
    x = flambeau.randn(8, 2) if batch_sizes else flambeau.randn(4, 3, 2)
    h, c = flambeau.randn(3, 4), flambeau.randn(3, 4) if kind == "lstm" else None
    weights = [flambeau.randn(gates, 2), flambeau.randn(gates, 4), flambeau.randn(gates), flambeau.randn(gates), None]
    found = RECURRENT(x, h, c, *weights, kind, reverse, batch_sizes)
    for a, b in zip(found, written_out(x, h, c, *weights, kind, reverse, batch_sizes), strict=False):
        assert_close(a, b)


@pytest.mark.parametrize("kind", RECURRENT)
def test_second_derivatives_of_packed_layers(kind):
    totals = []
    for library in (flambeau, oracle):
        random = np.random.default_rng(1)
        oracle.manual_seed(0)
        layer = getattr(oracle.nn, kind)(2, 3, bidirectional=True)
        if library is flambeau:
            layer = loaded(getattr(flambeau.nn, kind)(2, 3, bidirectional=True), layer)
        x = leaf(library, random.standard_normal((4, 3, 2)).astype("float32"))
        packed = library.nn.utils.rnn.pack_padded_sequence(x, [4, 2, 1])
        output = layer(packed)[0].data
        (first,) = library.autograd.grad((output * output).sum(), x, create_graph=True)
        (first * first).sum().backward()
        totals.append([x.grad, *[p.grad for p in layer.parameters()]])
    for a, b in zip(*totals, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [*RECURRENT, "LSTMCell", "GRUCell", "RNNCell"])
def test_a_seed_gives_pytorchs_weights(kind):
    options = {} if kind.endswith("Cell") else {"num_layers": 2, "bidirectional": True}
    same(lambda torch: dict(getattr(torch.nn, kind)(3, 5, **options).state_dict()))


def test_a_seed_gives_pytorchs_weights_with_projections():
    same(lambda torch: dict(torch.nn.LSTM(3, 5, 2, proj_size=2).state_dict()))
    same(lambda torch: [[tuple(w.shape) for w in ws] for ws in torch.nn.LSTM(3, 5, proj_size=2).all_weights])


@pytest.mark.parametrize(
    "program",
    [
        lambda torch: repr(torch.nn.LSTM(2, 3, 2, False, True, 0.5, True, 1)),
        lambda torch: repr(torch.nn.RNN(2, 3, 2, "relu")),
        lambda torch: repr(torch.nn.RNNCell(2, 3, False, "relu")),
        lambda torch: torch.nn.LSTM(2, 3, dropout=0.5),
        lambda torch: torch.nn.LSTM(2, 3, dropout=2.0),
        lambda torch: torch.nn.LSTM(2, 3, bias=1),
        lambda torch: torch.nn.LSTM(2, 3, batch_first=1),
        lambda torch: torch.nn.LSTM(2, 0),
        lambda torch: torch.nn.LSTM(2.0, 3),
        lambda torch: torch.nn.LSTM(2, 3, 0),
        lambda torch: torch.nn.LSTM(2, 3, proj_size=3),
        lambda torch: torch.nn.LSTM(2, 3, proj_size=-1),
        lambda torch: torch.nn.GRU(2, 3, proj_size=1),
        lambda torch: torch.nn.RNN(2, 3, nonlinearity="x"),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4, 2, 5)),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4)),
        lambda torch: torch.nn.GRU(2, 3)(torch.zeros(4)),
        lambda torch: torch.nn.RNN(2, 3)(torch.zeros(4)),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4, 2, 2, dtype=torch.float64)),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4, 2, 2), (torch.zeros(1, 3, 3), torch.zeros(1, 2, 3))),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4, 2, 2), (torch.zeros(1, 2, 3), torch.zeros(1, 3, 3))),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4, 2, 2), (torch.zeros(3, 3), torch.zeros(1, 2, 3))),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(4, 2), (torch.zeros(1, 1, 3), torch.zeros(1, 3))),
        lambda torch: torch.nn.GRU(2, 3)(torch.zeros(4, 2), torch.zeros(1, 1, 3)),
        lambda torch: torch.nn.GRU(2, 3)(torch.zeros(4, 1, 2), torch.zeros(1, 3)),
        lambda torch: torch.nn.LSTM(2, 3)(torch.zeros(0, 2, 2)),
        lambda torch: torch.nn.LSTMCell(2, 3)(torch.zeros(2, 3)),
        lambda torch: torch.nn.LSTMCell(2, 3)(torch.zeros(1, 2, 2)),
        lambda torch: torch.nn.LSTMCell(2, 3)(torch.zeros(2, 2), (torch.zeros(3, 3), torch.zeros(3, 3))),
        lambda torch: torch.nn.LSTMCell(2, 3)(torch.zeros(2, 2), (torch.zeros(2, 4), torch.zeros(2, 3))),
        lambda torch: torch.nn.GRUCell(2, 3)(torch.zeros(2, 2), torch.zeros(1, 2, 3)),
    ],
)
def test_messages_and_printed_forms_are_pytorchs(program):
    same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda rnn, torch: rnn.pack_padded_sequence(torch.zeros(4, 3), [2, 3, 2]),
        lambda rnn, torch: rnn.pack_padded_sequence(torch.zeros(4, 3), [2, 1, 0]),
        lambda rnn, torch: rnn.pack_padded_sequence(torch.zeros(4, 3), [2, 1]),
        lambda rnn, torch: rnn.pack_padded_sequence(torch.zeros(0, 3), [2, 1, 1]),
        lambda rnn, torch: rnn.pack_padded_sequence(torch.zeros(4, 3), torch.ones(3, 1)),
        lambda rnn, torch: rnn.pad_sequence([]),
        lambda rnn, torch: rnn.pad_sequence(3),
        lambda rnn, torch: rnn.pad_sequence([torch.zeros(2)], padding_side="up"),
        lambda rnn, torch: rnn.pad_packed_sequence(rnn.pack_sequence([torch.ones(2)]), total_length=1),
        lambda rnn, torch: rnn.pad_sequence([torch.arange(3), torch.arange(1)], True, 7),
        lambda rnn, torch: rnn.pad_sequence([torch.ones(1, 2), torch.ones(3, 2)], padding_side="left"),
        lambda rnn, torch: rnn.pack_sequence([torch.ones(1, 2), torch.zeros(3, 2)], enforce_sorted=False),
        lambda rnn, torch: rnn.unpack_sequence(rnn.pack_sequence([torch.arange(1), torch.arange(3)], False)),
        lambda rnn, torch: rnn.unpad_sequence(torch.arange(6).reshape(2, 3), torch.tensor([3, 1]), True),
        lambda rnn, torch: rnn.pad_packed_sequence(rnn.pack_sequence([torch.ones(2)]), True, 3.0, 4),
        lambda rnn, torch: str(rnn.pack_sequence([torch.ones(2), torch.ones(1)])),
        lambda rnn, torch: rnn.pack_sequence([torch.ones(2)]).double().data,
        lambda rnn, torch: rnn.invert_permutation(torch.tensor([2, 0, 1])),
    ],
)
def test_packing_is_pytorchs(program):
    same(lambda torch: program(torch.nn.utils.rnn, torch))


def test_sequences_longer_than_the_padding_are_refused():
    with pytest.raises(RuntimeError, match=r"a sequence of length 5 does not fit into 4 padded time steps"):
        rnn.pack_padded_sequence(flambeau.zeros(4, 1), [5])


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
@pytest.mark.parametrize("shape", [(3, 2), (2,), (0, 2)])
def test_cells_over_steps_agree_with_pytorch(kind, shape):
    theirs = getattr(oracle.nn, kind)(2, 4)
    ours = loaded(getattr(flambeau.nn, kind)(2, 4), theirs)
    x = np.random.default_rng(0).standard_normal((3, *shape)).astype("float32")

    def run(library, cell, tensors):
        state = None
        for step in tensors[0]:
            state = cell(step, state)
        return state

    assert_results_and_gradients_agree(run, ours, theirs, [x])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_any_cell_runs_over_time(batch_first, reverse):
    flambeau.manual_seed(0)
    layer = flambeau.nn.LSTM(2, 3, batch_first=batch_first)
    cell = flambeau.nn.LSTMCell(2, 3)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    looped = flambeau.nn.Recurrent(cell, batch_first, reverse)
    x = flambeau.randn(4, 5, 2)
    time = 1 if batch_first else 0
    y, (h, c) = looped(x)
    expected, (h_n, c_n) = layer(x.flip(time) if reverse else x)
    assert_close(y, expected.flip(time) if reverse else expected)
    assert_close(h, h_n[0])
    assert_close(c, c_n[0])
    assert_close(looped(x, (h, c))[0].sum(), layer(x.flip(time) if reverse else x, (h_n, c_n))[0].sum())


def test_dropout_falls_between_layers_and_only_in_training():
    flambeau.manual_seed(0)
    layer = flambeau.nn.LSTM(2, 3, 2, dropout=0.5)
    x = flambeau.randn(4, 5, 2)
    assert not bool((layer(x)[0] == layer(x)[0]).all())
    layer.eval()
    assert_close(layer(x)[0], layer(x)[0])
    first = flambeau.nn.LSTM(2, 3)
    first.load_state_dict({k: v for k, v in layer.state_dict().items() if k.endswith("l0")})
    layer.train()
    # The first layer's final state lies before any dropout.
    assert_close(layer(x)[1][0][0], first(x)[1][0][0])


def test_replaced_and_copied_weights_are_used():
    layer = flambeau.nn.GRU(2, 3)
    x = flambeau.ones(1, 1, 2)
    again = copy.deepcopy(layer)
    layer.weight_ih_l0 = flambeau.nn.Parameter(flambeau.zeros(9, 2))
    assert not bool((layer(x)[0] == again(x)[0]).all())
    layer.double()
    assert layer(x.double())[0].dtype is flambeau.float64
    layer.flatten_parameters()
    assert [name for name, _ in layer.named_parameters()] == layer._flat_weights_names
