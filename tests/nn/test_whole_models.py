"""Whole models changed, moved, copied, saved and loaded, case by case beside PyTorch's; and what they refuse."""

from __future__ import annotations

import copy
import io
import pickle
from collections import OrderedDict

import pytest
from both import alike, same, text


def wave(t, *shape):
    """Values that differ everywhere."""
    return (t.arange(float(t.Size(shape).numel())) * 1.7).sin().reshape(shape)


def net(t):
    return t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 2))


def forms_of_to(t):
    for a, k in (
        ((t.float64,), {}),
        (("cpu",), {}),
        (("cpu", t.float16), {}),
        ((t.ones(1, dtype=t.float64),), {}),
        ((), dict(dtype=t.float16)),
        ((), dict(device="cpu", non_blocking=True)),
        (("cpu", t.float64, True), {}),
        ((), dict(memory_format=t.channels_last)),
        (("meta",), {}),
        ((), {}),
    ):
        m = net(t)
        w = m[0].weight
        r = m.to(*a, **k)
        print(
            r is m,
            m[0].weight.dtype,
            m[1].num_batches_tracked.dtype,
            m[1].running_mean.dtype,
            m[0].weight.device,
            m[0].weight is w,
            m[0].weight.requires_grad,
        )


def memory_formats(t):
    m = t.nn.Conv2d(2, 3, 2).to(memory_format=t.channels_last)
    print(m.weight.stride(), m.weight.is_contiguous(memory_format=t.channels_last), m.bias.stride())
    m3 = t.nn.Conv3d(2, 3, 2).to(memory_format=t.channels_last_3d)
    print(m3.weight.stride())
    return (m(wave(t, 1, 2, 4, 4)), m.state_dict())


def gradients_move_too(t):
    m = net(t)
    m(wave(t, 5, 3)).sum().backward()
    g = m[0].weight.grad
    m.to(t.float64)
    print(m[0].weight.grad is g, m[0].weight.grad.dtype)
    return m[0].weight.grad


def shared_parameters_stay_shared(t):
    m = t.nn.Sequential(t.nn.Linear(2, 2), t.nn.Linear(2, 2))
    m[1].weight = m[0].weight
    m.double()
    print(m[1].weight is m[0].weight, m[0].weight.dtype)
    c = copy.deepcopy(m)
    print(c[1].weight is c[0].weight)
    c = pickle.loads(pickle.dumps(m))
    print(c[1].weight is c[0].weight)


def from_meta(t):
    with t.device("meta"):
        m = net(t)
    print(m[0].weight, m[1].running_mean.is_meta, m(t.ones(2, 3, device="meta")).shape)
    e = m.to_empty(device="cpu")
    print(e is m, m[0].weight.device, m[1].num_batches_tracked.device, m[0].weight.requires_grad)
    m.load_state_dict(net(t).state_dict())
    return m.state_dict()


def tied_parameters_assigned(t):
    m = t.nn.Sequential(t.nn.Linear(2, 2), t.nn.Linear(2, 2))
    m[1].weight = m[0].weight
    m.load_state_dict(m.state_dict(), assign=True)
    print(m[0].weight is m[1].weight)


def extra_state(t):

    class E(t.nn.Module):
        def get_extra_state(self):
            return t.tensor(3.0)

        def set_extra_state(self, s):
            print("set", s)

    m = t.nn.Sequential(E(), t.nn.Identity())
    sd = m.state_dict()
    print(list(sd))
    m.load_state_dict(sd)
    try:
        m.load_state_dict({})
    except RuntimeError as e:
        print(e)


def extra_state_that_is_only_set(t):

    class E(t.nn.Module):
        def set_extra_state(self, s):
            print("set", s)

    m = E()
    print(list(m.state_dict()))
    try:
        m.load_state_dict({})
    except RuntimeError as e:
        print(e)
    m.load_state_dict({"_extra_state": 4})


def extra_state_that_is_only_got(t):

    class E(t.nn.Module):
        def get_extra_state(self):
            return 5

    m = E()
    print(dict(m.state_dict()))
    m.load_state_dict(m.state_dict())


def versions(t):
    m = net(t)
    print(m.state_dict()._metadata, type(m.state_dict()).__name__)
    m[0]._version = 7
    print(m.state_dict()._metadata["0"])


def copies(t):
    m = net(t)
    m(wave(t, 5, 3)).sum().backward()
    m.extra = {"a": [1]}
    m.t = t.ones(1)
    c = copy.deepcopy(m)
    print(c[0].weight.grad is None, c[0].weight.is_leaf, c.extra is m.extra, c.t is m.t, c[0].weight is m[0].weight)
    s = copy.copy(m)
    print(s[0] is m[0], s._modules is m._modules, s._parameters is m._parameters)
    return (c[0].weight.grad, c.state_dict())


def pickled(t):
    m = net(t)
    m.register_buffer("b", t.ones(2), persistent=False)
    m(wave(t, 5, 3)).sum().backward()
    c = pickle.loads(pickle.dumps(m))
    print(c, c[0].weight.grad, c._non_persistent_buffers_set, c.training, list(c.__dict__) == list(m.__dict__))
    return c.state_dict()


def saved_and_loaded(t):
    m = net(t)
    b = io.BytesIO()
    t.save(m.state_dict(), b)
    b.seek(0)
    print(m.load_state_dict(t.load(b)))
    b = io.BytesIO()
    t.save(m, b)
    b.seek(0)
    print(t.load(b, weights_only=False))


@pytest.mark.parametrize(
    "program",
    [
        forms_of_to,
        memory_formats,
        gradients_move_too,
        shared_parameters_stay_shared,
        from_meta,
        tied_parameters_assigned,
        extra_state,
        extra_state_that_is_only_set,
        extra_state_that_is_only_got,
        versions,
        copies,
        pickled,
        saved_and_loaded,
    ],
)
def test_as_pytorch(program):
    same(program, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- one call each


@pytest.mark.parametrize(
    "program",
    [
        lambda t: text(net(t).to(t.int32)),
        lambda t: text(net(t).to()),
        lambda t: text(net(t).to(memory_format=t.channels_last)),
        lambda t: text(net(t).to(t.complex64)),
        lambda t: text(net(t).to(None)),
        lambda t: text(net(t).to("cpu", memory_format=t.contiguous_format)),
        lambda t: text(net(t).to_empty()),
        lambda t: text(net(t).to_empty(device="meta")[0].weight.device.type),
        lambda t: text(net(t).to_empty(device="cpu", recurse=False)),
        lambda t: text(net(t).type(t.float64)[0].weight),
        lambda t: text(net(t).type("torch.DoubleTensor")[0].weight),
        lambda t: text(net(t).half()[0].weight),
        lambda t: text(net(t).bfloat16()[0].weight),
        lambda t: text(net(t).cpu()),
        lambda t: text(net(t).float()),
        lambda t: text(net(t).double().to(t.float32)[0].weight.dtype),
        lambda t: text(net(t).train("a")),
        lambda t: text(net(t).eval().training),
        lambda t: text(net(t).requires_grad_(False)[0].weight.requires_grad),
        lambda t: text(net(t).zero_grad(3)),
        lambda t: text(net(t).apply(3)),
        lambda t: text(net(t).extra_repr()),
        lambda t: text(net(t)._get_name()),
        lambda t: text(net(t).get_extra_state()),
        lambda t: text(net(t).set_extra_state(1)),
        lambda t: text(net(t).dump_patches),
        lambda t: text(net(t).call_super_init),
        lambda t: text(net(t).state_dict(1)),
        lambda t: text(net(t).state_dict({}, "a.")),
        lambda t: text(net(t).state_dict({}, "a.", True)),
        lambda t: text(net(t).state_dict(destination={}, prefix="q.")),
        lambda t: text(net(t).register_module("z", t.nn.Identity())),
        lambda t: text(net(t).__setstate__({})),
        lambda t: text(net(t).named_parameters()),
        lambda t: text(net(t).parameters().__next__()),
        lambda t: text(net(t).forward),
        lambda t: text(net(t).add_module("a", 3)),
        lambda t: text(net(t).append(3)),
    ],
)
def test_methods(program):
    alike(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.Linear(1, 1, device="meta").to("cpu"),
        lambda t: t.nn.Linear(1, 1, device="meta").cpu(),
        lambda t: t.nn.Linear(1, 1, device="meta").weight.item(),
        lambda t: t.nn.Linear(1, 1, device="meta").weight.detach().numpy(),
        lambda t: t.nn.Linear(1, 1, device="meta").weight.tolist(),
        lambda t: t.nn.Linear(1, 1, device="meta").load_state_dict(t.nn.Linear(1, 1).state_dict()),
        lambda t: t.nn.Linear(1, 1).load_state_dict(t.nn.Linear(1, 1, device="meta").state_dict()),
        lambda t: str(copy.deepcopy(t.nn.Linear(1, 1, device="meta")).weight),
        lambda t: t.nn.Linear(1, 1, device="meta").reset_parameters(),
        lambda t: t.nn.Linear(1, 1, device="meta")(t.ones(1, 1, device="meta")).sum().backward(),
        lambda t: (lambda m: (setattr(m, "w", t.ones(1, requires_grad=True) * 2), copy.deepcopy(m)))(t.nn.Identity())[
            1
        ],
    ],
)
def test_meta(program):
    alike(program)


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        ("Conv2d", (2, 3, 2), (1, 2, 4, 4)),
        ("LSTM", (2, 3), (4, 1, 2)),
        ("MultiheadAttention", (4, 2), None),
        ("Embedding", (3, 2), None),
        ("LayerNorm", (3,), (2, 3)),
        ("TransformerEncoderLayer", (4, 2), None),
        ("GRUCell", (2, 3), (1, 2)),
        ("Bilinear", (1, 2, 3), None),
        ("PReLU", (), (2,)),
        ("EmbeddingBag", (3, 2), None),
    ],
)
def test_layers_without_values(name, sizes, shape):
    def program(t):
        layer = getattr(t.nn, name)(*sizes, device="meta")
        print([(key, v.device.type, v.dtype, tuple(v.shape)) for key, v in layer.state_dict().items()])
        if shape:
            y = layer(t.ones(shape, device="meta"))
            print((y[0] if isinstance(y, tuple) else y).shape)
        layer.to_empty(device="cpu")
        layer.load_state_dict(getattr(t.nn, name)(*sizes).state_dict())
        return layer.state_dict()

    same(program, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: text(net(t).load_state_dict({})),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "a": 1, "0.b": t.ones(1)})),
        lambda t: text(net(t).load_state_dict({"0.weights": t.ones(4, 3)})),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "0.weight": t.ones(4, 4), "2.bias": t.ones(1)})),
        lambda t: text(net(t).load_state_dict({"0.weight": t.ones(4, 4), "q": 1})),
        lambda t: text(net(t).load_state_dict({"0.weight": t.ones(4, 4), "q": 1}, strict=False)),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "0.weight": t.ones(4, 4)}, assign=True)),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "0.weight": [1, 2]})),
        lambda t: text(net(t).load_state_dict(3)),
        lambda t: text(net(t).load_state_dict("a")),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "0.weight": t.ones(4, 3).long()})),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "0.bias": t.tensor(1.0)})),
        lambda t: text(net(t).load_state_dict({"0.weight": t.ones(4, 3), "q": 1}, strict=False)),
        lambda t: text(
            t.nn.BatchNorm1d(2).load_state_dict(
                {k: v for k, v in t.nn.BatchNorm1d(2).state_dict().items() if k != "num_batches_tracked"}
            )
        ),
        lambda t: text(
            t.nn.BatchNorm1d(2).load_state_dict(
                OrderedDict(((k, v) for k, v in t.nn.BatchNorm1d(2).state_dict().items() if k != "num_batches_tracked"))
            )
        ),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "0.bias": t.ones(1, 4)})),
        lambda t: text(t.nn.ModuleList([t.nn.Linear(1, 1)]).load_state_dict({"0.weight": t.ones(1, 1)})),
        lambda t: text(net(t).load_state_dict({**net(t).state_dict(), "_extra_state": 1})),
        lambda t: text(str(net(t).load_state_dict({"q": 1}, strict=False).missing_keys)),
        lambda t: text(t.nn.LSTM(2, 3).load_state_dict(t.nn.LSTM(2, 3, bias=False).state_dict())),
        lambda t: text(net(t).load_state_dict(OrderedDict(net(t).named_parameters()), strict=False)),
        lambda t: text(net(t).load_state_dict({3: 1})),
    ],
)
def test_loading(program):
    same(program, rtol=1e-6)


def assigned(t):
    source = net(t).double()
    model = net(t)
    print(model.load_state_dict(source.state_dict(), assign=True), model[0].weight.dtype, model[0].weight.requires_grad)
    model = net(t).requires_grad_(False)
    model.load_state_dict(source.state_dict(keep_vars=True), assign=True)
    print(model[0].weight.requires_grad, model[0].weight is source[0].weight)
    with t.device("meta"):
        model = net(t)
    model.load_state_dict(net(t).state_dict(), assign=True)
    print(model[0].weight.device)
    return model(wave(t, 4, 3))


def test_assigning():
    same(assigned, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- attributes that are not there, types that do not fit


@pytest.mark.parametrize(
    "program",
    [
        lambda t: net(t).what,
        lambda t: net(t)[0].what,
        lambda t: net(t).weight,
        lambda t: delattr(net(t), "what"),
        lambda t: delattr(net(t)[0], "weight"),
        lambda t: t.nn.Module().forward(),
        lambda t: t.nn.Module()(),
        lambda t: t.nn.Linear(2, 3).bias.what,
        lambda t: net(t)[3],
        lambda t: net(t)["a"],
        lambda t: net(t)[1.5],
        lambda t: t.nn.Module().__getattr__("a"),
        lambda t: object.__getattribute__(net(t), "zz"),
        lambda t: setattr(net(t), "0", 3),
        lambda t: setattr(net(t)[0], "weight", "s"),
        lambda t: setattr(net(t)[0], "weight", t.ones(4, 3)),
        lambda t: setattr(net(t)[1], "running_mean", "s"),
        lambda t: setattr(net(t)[1], "running_mean", t.nn.Identity()),
        lambda t: t.nn.Linear(),
        lambda t: t.nn.Linear(2),
        lambda t: t.nn.Linear(2, 3, what=1),
        lambda t: t.nn.Linear(-1, 2),
        lambda t: t.nn.Linear(2, 3)(3),
        lambda t: t.nn.Linear(2, 3)("a"),
        lambda t: t.nn.Linear(2, 3)(t.ones(2).long()),
        lambda t: t.nn.Linear(2, 3)(t.ones(2).double()),
        lambda t: t.nn.Linear(2, 3)(),
        lambda t: t.nn.Linear(2, 3)(t.ones(2), t.ones(2)),
        lambda t: t.nn.ReLU()(t.ones(1), inplace=True),
        lambda t: t.nn.Conv2d(2, 3, 2)(t.ones(1, 2, 4, 4).double()),
        lambda t: t.nn.Conv2d(2, 3, 2, bias=False)(t.ones(1, 2, 4, 4).double()),
        lambda t: t.nn.Conv2d(2, 3, 2)(t.ones(1, 2, 4, 4).long()),
        lambda t: t.nn.Conv2d(2, 3, 2)(t.ones(1, 2, 4, 4).half()),
        lambda t: t.nn.Conv1d(2, 3, 2)(t.ones(1, 2, 4).double()),
        lambda t: t.nn.Conv2d(2, 3, 2).double()(t.ones(1, 2, 4, 4)),
        lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(2).double(), t.ones(2)),
        lambda t: t.nn.functional.binary_cross_entropy(t.ones(2) * 0.5, t.ones(2).double() * 0.5),
        lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(2), t.ones(2).long()),
        lambda t: t.nn.functional.kl_div(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.kl_div(t.ones(2).double(), t.ones(2)),
        lambda t: t.nn.functional.kl_div(t.ones(2), t.ones(2).long()),
        lambda t: t.nn.functional.mse_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.l1_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.smooth_l1_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.huber_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.poisson_nll_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.gaussian_nll_loss(t.ones(2), t.ones(2).double(), t.ones(2)),
        lambda t: t.nn.functional.soft_margin_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.hinge_embedding_loss(t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.margin_ranking_loss(t.ones(2), t.ones(2), t.ones(2).double()),
        lambda t: t.nn.functional.cosine_embedding_loss(t.ones(2, 2), t.ones(2, 2), t.ones(2).double()),
        lambda t: t.nn.functional.cross_entropy(t.ones(2, 2), t.ones(2, 2).double()),
        lambda t: t.nn.functional.cross_entropy(t.ones(2, 2), t.ones(2).long(), weight=t.ones(2).double()),
        lambda t: t.nn.functional.nll_loss(t.ones(2, 2), t.ones(2).long(), weight=t.ones(2).double()),
        lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(2), t.ones(2), weight=t.ones(2).double()),
        lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(2), t.ones(2), pos_weight=t.ones(2).double()),
        lambda t: t.nn.functional.triplet_margin_loss(t.ones(2, 2), t.ones(2, 2).double(), t.ones(2, 2)),
        lambda t: t.nn.functional.multi_margin_loss(t.ones(2, 2), t.ones(2)),
        lambda t: t.nn.functional.multilabel_soft_margin_loss(t.ones(2, 2), t.ones(2, 2).double()),
        lambda t: t.nn.functional.multilabel_margin_loss(t.ones(2, 2), t.ones(2, 2)),
        lambda t: t.nn.functional.layer_norm(t.ones(2, 2), (2,), t.ones(2).double()),
        lambda t: t.nn.functional.batch_norm(t.ones(2, 2), t.zeros(2).double(), t.ones(2).double()),
        lambda t: t.nn.functional.group_norm(t.ones(2, 2), 1, t.ones(2).double()),
        lambda t: t.nn.functional.instance_norm(t.ones(2, 2, 3), weight=t.ones(2).double()),
        lambda t: t.nn.functional.prelu(t.ones(2, 2), t.ones(2).double()),
        lambda t: t.nn.functional.bilinear(t.ones(2, 2), t.ones(2, 2).double(), t.ones(1, 2, 2)),
        lambda t: t.nn.functional.embedding(t.ones(2).long(), t.ones(2, 2).long()),
        lambda t: t.nn.functional.linear(t.ones(2, 2), t.ones(2, 2).double()),
        lambda t: t.nn.functional.linear(t.ones(2, 2), t.ones(2, 2), t.ones(2).double()),
        lambda t: t.nn.LSTM(2, 3)(t.ones(1, 1, 2).double()),
        lambda t: t.nn.MultiheadAttention(4, 2)(
            t.ones(1, 1, 4).double(), t.ones(1, 1, 4).double(), t.ones(1, 1, 4).double()
        ),
        lambda t: t.nn.functional.scaled_dot_product_attention(
            t.ones(1, 1, 2, 2), t.ones(1, 1, 2, 2).double(), t.ones(1, 1, 2, 2)
        ),
        lambda t: t.nn.functional.ctc_loss(t.ones(2, 2).long(), t.ones(2).long(), (2,), (2,)),
    ],
)
def test_attributes_and_types(program):
    alike(program)
