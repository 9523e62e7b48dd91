"""What a training run keeps, exchanged with PyTorch in both directions: states of layers, optimizers and schedules."""

import io

import numpy as np
import pytest
import torch

import flambeau
from tests.optim.test_optim import KINDS

_WAYS = [(torch, flambeau), (flambeau, torch)]
_WAY_NAMES = ["read", "written"]
_both_ways = pytest.mark.parametrize(("writer", "reader"), _WAYS, ids=_WAY_NAMES)


def _sent(obj, writer, reader, **options):
    file = io.BytesIO()
    writer.save(obj, file)
    file.seek(0)
    return reader.load(file, **options)


def _tied(t):
    model = t.nn.Sequential(t.nn.Embedding(5, 4), t.nn.Linear(4, 5, bias=False))
    model[1].weight = model[0].weight
    return model


LAYERS = {
    "linear": (lambda t: t.nn.Linear(4, 3), (2, 4)),
    "bilinear": (lambda t: t.nn.Bilinear(4, 4, 2), (2, 4), (2, 4)),
    "conv": (lambda t: t.nn.Conv2d(4, 2, 3), (1, 4, 5, 5)),
    "transposed_conv": (lambda t: t.nn.ConvTranspose2d(4, 2, 3), (1, 4, 5, 5)),
    "batch_norm": (lambda t: t.nn.BatchNorm2d(4), (2, 4, 3, 3)),
    "layer_norm": (lambda t: t.nn.LayerNorm(4), (2, 4)),
    "group_norm": (lambda t: t.nn.GroupNorm(2, 4), (2, 4, 3)),
    "instance_norm": (lambda t: t.nn.InstanceNorm1d(4, affine=True, track_running_stats=True), (2, 4, 5)),
    "rms_norm": (lambda t: t.nn.RMSNorm(4), (2, 4)),
    "prelu": (lambda t: t.nn.PReLU(4), (2, 4)),
    "rnn": (lambda t: t.nn.RNN(4, 3), (5, 2, 4)),
    "lstm": (lambda t: t.nn.LSTM(4, 3, num_layers=2, bidirectional=True), (5, 2, 4)),
    "gru": (lambda t: t.nn.GRU(4, 3, batch_first=True), (2, 5, 4)),
    "lstm_cell": (lambda t: t.nn.LSTMCell(4, 3), (2, 4)),
    "attention": (lambda t: t.nn.MultiheadAttention(4, 2), (3, 2, 4), (3, 2, 4), (3, 2, 4)),
    "transformer": (lambda t: t.nn.TransformerDecoderLayer(4, 2, 8, dropout=0.0), (3, 2, 4), (3, 2, 4)),
    "spectral_norm": (lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(4, 3)), (2, 4)),
    "weight_norm": (lambda t: t.nn.utils.parametrizations.weight_norm(t.nn.Linear(4, 3)), (2, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
@_both_ways
def test_states_of_layers_cross(writer, reader, name):
    make, *shapes = LAYERS[name]
    writer.manual_seed(1)
    there = make(writer)
    draw = np.random.default_rng(0)
    inputs = [draw.standard_normal(shape).astype(np.float32) for shape in shapes]
    there(*map(writer.tensor, inputs))  # moves running statistics
    state = _sent(there.state_dict(), writer, reader)
    here = make(reader)
    assert str(here.load_state_dict(state)) == "<All keys matched successfully>"
    found = [m.eval()(*map(t.tensor, inputs)) for m, t in ((there, writer), (here, reader))]
    first, second = ([x.tolist() for x in _leaves(r)] for r in found)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def _leaves(result):
    if isinstance(result, tuple):
        return [x for part in result for x in _leaves(part)]
    return [result]


@_both_ways
def test_tied_weights_stay_tied(writer, reader):
    state = _sent(_tied(writer).state_dict(), writer, reader)
    state["0.weight"][0, 0] = 77.0
    assert state["1.weight"][0, 0].item() == 77.0
    model = _tied(reader)
    model.load_state_dict(state)
    assert model[0].weight is model[1].weight
    module = _sent(_tied(writer), writer, reader, weights_only=False)
    assert module[0].weight is module[1].weight


OPTIMIZERS = {
    **KINDS,
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    "LBFGS": {"lr": 0.1, "max_iter": 3},
}


def _trainer(t, kind, start):
    x = t.nn.Parameter(t.tensor(start))
    optimizer = getattr(t.optim, kind)([x], **OPTIMIZERS[kind])

    def closure():
        optimizer.zero_grad()
        loss = ((x - 1) ** 2 * 0.5 + x.abs()).sum()
        loss.backward()
        return loss

    return x, optimizer, closure


def _steps(trainer, count):
    x, optimizer, closure = trainer
    for _ in range(count):
        optimizer.step(closure)
    return x.detach().numpy()


@pytest.mark.parametrize("kind", OPTIMIZERS)
@_both_ways
def test_states_of_optimizers_cross(writer, reader, kind):
    start = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    there = _trainer(writer, kind, start)
    middle = _steps(there, 3).copy()
    here = _trainer(reader, kind, middle)
    here[1].load_state_dict(_sent(there[1].state_dict(), writer, reader))
    np.testing.assert_allclose(_steps(here, 3), _steps(there, 3), rtol=1e-4, atol=1e-4)


SCHEDULES = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ConstantLR": {},
    "LinearLR": {},
    "ExponentialLR": {"gamma": 0.9},
    "PolynomialLR": {"total_iters": 6},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3},
    "OneCycleLR": {"max_lr": 0.2, "total_steps": 12},
    "ReduceLROnPlateau": {"patience": 1},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9},
    "SequentialLR": {"milestones": [5]},
    "ChainedScheduler": {},
}


def _schedule(t, kind):
    optimizer = t.optim.SGD([t.nn.Parameter(t.ones(1))], lr=0.1, momentum=0.9)
    schedules = t.optim.lr_scheduler
    given = optimizer
    if kind in ("SequentialLR", "ChainedScheduler"):
        given = [schedules.LinearLR(optimizer, 0.2, total_iters=4), schedules.ExponentialLR(optimizer, 0.9)]
    if kind == "SequentialLR":
        return optimizer, schedules.SequentialLR(optimizer, given, **SCHEDULES[kind])
    return optimizer, getattr(schedules, kind)(given, **SCHEDULES[kind])


def _rates(pair, count):
    optimizer, schedule = pair
    rates = []
    for _ in range(count):
        optimizer.step()
        schedule.step(*([1.0] if type(schedule).__name__ == "ReduceLROnPlateau" else []))
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("kind", SCHEDULES)
@_both_ways
def test_states_of_schedules_cross(writer, reader, kind):
    there, here = _schedule(writer, kind), _schedule(reader, kind)
    _rates(there, 4)
    sent = _sent({"o": there[0].state_dict(), "s": there[1].state_dict()}, writer, reader, weights_only=False)
    here[0].load_state_dict(sent["o"])
    here[1].load_state_dict(sent["s"])
    np.testing.assert_allclose(_rates(here, 6), _rates(there, 6), rtol=1e-12)


@_both_ways
def test_averaged_models_cross(writer, reader):
    def averaged(t):
        return t.optim.swa_utils.AveragedModel(t.nn.Linear(2, 2))

    there, here = averaged(writer), averaged(reader)
    for scale in (1.0, 2.0):
        with writer.no_grad():
            model = writer.nn.Linear(2, 2)
            model.weight.fill_(scale)
        there.update_parameters(model)
    here.load_state_dict(_sent(there.state_dict(), writer, reader))
    assert here.n_averaged.item() == 2
    assert here.module.weight.tolist() == [[1.5] * 2] * 2


@_both_ways
def test_states_of_random_generators_cross(writer, reader):
    writer.manual_seed(3)
    writer.rand(5)
    states = {"own": writer.Generator().manual_seed(9).get_state(), "all": writer.get_rng_state()}
    sent = _sent(states, writer, reader)
    reader.set_rng_state(sent["all"])
    assert reader.rand(4).tolist() == writer.rand(4).tolist()
    generator = reader.Generator()
    generator.set_state(sent["own"])
    assert (
        reader.randperm(9, generator=generator).tolist()
        == writer.randperm(9, generator=writer.Generator().manual_seed(9)).tolist()
    )


@_both_ways
def test_states_of_gradient_scalers_cross(writer, reader):
    there = writer.amp.GradScaler("cpu", init_scale=128.0, growth_interval=3)
    x = writer.nn.Parameter(writer.ones(2))
    there.scale(x.sum()).backward()
    there.step(writer.optim.SGD([x], lr=0.1))
    there.update()
    here = reader.amp.GradScaler("cpu")
    here.load_state_dict(_sent(there.state_dict(), writer, reader))
    assert here.state_dict() == there.state_dict()
    assert here.get_scale() == 128.0


@_both_ways
def test_complex_conjugates_cross(writer, reader):
    z = writer.tensor([1 + 2j, 3 - 1j])
    first, second = _sent([z, z.conj()], writer, reader)
    assert first.tolist() == [1 + 2j, 3 - 1j]
    assert second.tolist() == [1 - 2j, 3 + 1j]
    assert second.is_conj()
    second[0] = 5 + 5j
    assert first[0].item() == 5 - 5j
    alone = _sent(z.conj(), writer, reader)
    assert alone.is_conj()
    assert alone.tolist() == [1 - 2j, 3 + 1j]


@_both_ways
def test_parts_of_complex_numbers_cross(writer, reader):
    z = writer.tensor([1 + 2j, 3 - 1j])
    for part, want in ((z.real, [1, 3]), (z.imag, [2, -1]), (z.conj().imag, [-2, 1]), (z.conj().real, [1, 3])):
        assert _sent(part, writer, reader).tolist() == want
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        writer.save([z, z.real], io.BytesIO())


@_both_ways
def test_views_as_another_type_cross(writer, reader):
    whole = writer.tensor([1.0, 2.0, -3.0])
    assert _sent(whole[1:].view(writer.int32), writer, reader).tolist() == whole[1:].view(writer.int32).tolist()


@_both_ways
def test_lazy_layers_cross(writer, reader):
    state = _sent(writer.nn.LazyLinear(3).state_dict(), writer, reader, weights_only=False)
    layer = reader.nn.LazyLinear(3)
    layer.load_state_dict(state)
    assert layer(reader.ones(2, 5)).shape == (2, 3)


@_both_ways
def test_ranges_slices_and_named_results_cross(writer, reader):
    obj = [range(1, 9, 2), slice(1, None, 2), frozenset([1]), writer.return_types.max((writer.ones(1), writer.ones(1)))]
    found = _sent(obj, writer, reader, weights_only=False)
    assert found[:3] == obj[:3]
    assert found[3].values.tolist() == [1.0]
    with pytest.raises(Exception, match="Weights only load failed"):
        _sent(obj, writer, reader)


@pytest.mark.parametrize("old", ["not_zip", "sparse"])
def test_what_is_not_supported_says_so(old):
    file = io.BytesIO()
    value = torch.eye(2).to_sparse() if old == "sparse" else torch.ones(2)
    torch.save(value, file, _use_new_zipfile_serialization=old != "not_zip")
    file.seek(0)
    with pytest.raises(Exception, match="sparse" if old == "sparse" else "before 1.6") as caught:
        flambeau.load(file)
    assert not isinstance(caught.value, AttributeError)
