"""The base of all modules, beside PyTorch's."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest
import torch
from both import same

import flambeau


def net(t, bias=True):
    """A model with nesting, a shared parameter, buffers and an absent submodule."""
    nn = t.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3, bias=bias)
            self.register_buffer("mean", t.zeros(3))
            self.register_buffer("scratch", t.ones(1), persistent=False)
            self.register_buffer("absent", None)

        def forward(self, x):
            return self.fc(x) - self.mean

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Block()
            self.rest = nn.Sequential(Block(), nn.Identity())
            self.head = nn.Linear(3, 2)
            self.nothing = None
            self.add_module("missing", None)
            self.shared = self.first.fc
            self.scale = nn.Parameter(t.ones(1))

        def forward(self, x):
            return self.head(self.rest(self.first(x))) * self.scale

        def extra_repr(self):
            return "a=1,\nb=2"

    return Net()


def finding(t):
    m = net(t)
    print([n for n, _ in m.named_parameters()])
    print([n for n, _ in m.named_parameters(remove_duplicate=False)])
    print([n for n, _ in m.named_parameters(prefix="p", recurse=False)])
    print([n for n, _ in m.named_buffers()], [n for n, _ in m.named_modules()], [n for n, _ in m.named_children()])
    print([n for n, _ in m.named_modules(remove_duplicate=False, prefix="x")])
    print(len(list(m.parameters())), len(list(m.buffers())), len(list(m.modules())), len(list(m.children())))
    print(m.get_submodule("rest.0.fc"), m.get_submodule("") is m, m.get_parameter("rest.0.fc.bias").shape)
    print(m.get_buffer("first.mean"), list(m.state_dict()), list(m.state_dict()._metadata.items()))
    return m(t.ones(2, 3)), m.state_dict(prefix="a.")


def printing(t):
    m = net(t)
    print(m)
    m.first.fc = t.nn.Sequential(t.nn.Sequential(t.nn.Linear(1, 2)), t.nn.Identity())
    print(m)
    print(t.nn.Module(), t.nn.Bilinear(2, 3, 4), t.nn.Linear(2, 3, bias=False), t.nn.Identity(1, x=2))
    print(t.nn.Parameter(t.ones(2, 2)), t.nn.Parameter(t.tensor(1), requires_grad=False), t.nn.Parameter())
    print([t.nn.Parameter(t.zeros(1))])


def attributes(t):
    nn = t.nn
    m = nn.Module()
    m.a = nn.Parameter(t.ones(1))
    m.b = nn.Linear(1, 1)
    m.c = t.zeros(2)
    m.d = nn.Buffer(t.zeros(2))
    m.e = nn.Buffer(t.zeros(2), persistent=False)
    print(list(m._parameters), list(m._buffers), list(m._modules), list(m.state_dict()))
    m.a = None
    m.d = t.ones(2)
    m.b = None
    print(m.a, m.b, m.d, list(m.state_dict()))
    del m.d, m.b, m.c
    print(list(m._parameters), list(m._buffers), list(m._modules), hasattr(m, "c"), hasattr(m, "d"))
    m.a = nn.Parameter(t.ones(1))
    m.x = 3
    m.x = nn.Parameter(t.ones(1))
    m.x = nn.Linear(1, 1) if False else None
    m.y = nn.Linear(1, 1)
    m.y = nn.Identity()
    m.y = nn.Linear(2, 2)
    print(m, "a" in dir(m), "y" in dir(m), m.e)
    m.e = nn.Parameter(t.ones(1))
    print(list(m.state_dict()))


@pytest.mark.parametrize("program", [finding, printing, attributes])
def test_as_pytorch(program):
    same(program)


def changed(t):
    m = net(t)
    m.register_buffer("count", t.tensor(1))
    before = m.head.weight
    m(t.ones(1, 3)).sum().backward()
    kept = {}
    for name, change in {
        "double": lambda: m.double(),
        "half": lambda: m.half(),
        "bfloat16": lambda: m.bfloat16(),
        "float": lambda: m.float(),
        "to dtype": lambda: m.to(t.float64),
        "to device": lambda: m.to("cpu"),
        "to both": lambda: m.to("cpu", t.float32),
        "to tensor": lambda: m.to(t.zeros(1, dtype=t.float64)),
        "named": lambda: m.to(device="cpu", dtype=t.float32),
    }.items():
        assert change() is m
        assert m.head.weight is before
        kept[name] = [str(m.head.weight.dtype), str(m.head.weight.grad.dtype), str(m.count.dtype), m.head.weight]
    print(m.eval().training, m.rest[0].training, m.train().first.training)
    m.requires_grad_(False)
    print(any(p.requires_grad for p in m.parameters()))
    m.zero_grad(set_to_none=False)
    print(m.head.weight.grad)
    m.zero_grad()
    print(m.head.weight.grad)
    order = []
    m.apply(lambda x: order.append(type(x).__name__))
    return kept, order


def meta(t):
    m = t.nn.Linear(2, 3, device="meta")
    print(m.weight, m.weight.is_meta)
    before = m.weight
    m.to_empty(device="cpu")
    m.load_state_dict({"weight": t.ones(3, 2), "bias": t.zeros(3)})
    other = t.nn.Linear(2, 3, device="meta")
    print(other.load_state_dict(m.state_dict(), assign=True), m.to("meta").weight.device, before is m.weight)
    return other.weight, other.bias


@pytest.mark.parametrize("program", [changed, meta])
def test_changing_all_parts(program):
    same(program)


def loading(t):
    m = net(t)
    t.manual_seed(1)
    other = net(t)
    print(m.load_state_dict(other.state_dict()))
    state = other.state_dict()
    state["head.weight"] = t.ones(2, 3, dtype=t.float64)
    del state["scale"]
    state["more.stuff"] = t.ones(1)
    print(m.load_state_dict(state, strict=False))
    weight = m.head.weight
    state = OrderedDict((k, t.full_like(v, 2)) for k, v in other.state_dict().items())
    m.load_state_dict(state, assign=True)
    print(weight is m.head.weight, m.head.weight.requires_grad, type(m.head.weight).__name__)
    scalar = t.nn.Module()
    scalar.s = t.nn.Parameter(t.tensor(1.0))
    scalar.load_state_dict({"s": t.tensor([3.0])})
    live = m.state_dict()
    with t.no_grad():
        m.scale.add_(1)
    print(live["scale"], m.state_dict(keep_vars=True)["scale"].requires_grad)
    return m.state_dict(), scalar.s


def extra_state(t):
    class Extra(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = t.nn.Linear(1, 1)
            self.steps = 3

        def get_extra_state(self):
            return {"steps": self.steps}

        def set_extra_state(self, state):
            self.steps = state["steps"]

    m, other = t.nn.Sequential(Extra()), t.nn.Sequential(Extra())
    m[0].steps = 8
    other.load_state_dict(m.state_dict())
    print(other[0].steps, list(m.state_dict()))
    state = m.state_dict()
    del state["0._extra_state"]
    return other.load_state_dict(state)


def state_hooks(t):
    m = net(t)
    said = []
    m.register_state_dict_pre_hook(lambda module, prefix, keep: said.append(("pre", prefix, keep)))
    m.head.register_state_dict_post_hook(lambda module, state, prefix, meta: said.append(("post", prefix, dict(meta))))
    m.first._register_state_dict_hook(lambda module, state, prefix, meta: state.pop(prefix + "mean"))
    m.head._register_load_state_dict_pre_hook(lambda state, prefix, *rest: said.append(("load", prefix, len(rest))))

    def rename(module, state, prefix, *rest):
        said.append(("rename", type(module).__name__))
        if prefix + "w" in state:
            state[prefix + "weight"] = state.pop(prefix + "w")

    m.head.register_load_state_dict_pre_hook(rename)

    def forgive(module, keys):
        said.append(("post load", list(keys.missing_keys), list(keys.unexpected_keys)))
        keys.missing_keys.clear()

    m.register_load_state_dict_post_hook(forgive)
    state = net(t).state_dict()
    state["head.w"] = state.pop("head.weight")
    del state["scale"]
    print(m.load_state_dict(state))
    print("head.w" in state, said)
    return m.head.weight


@pytest.mark.parametrize("program", [loading, extra_state, state_hooks])
def test_state(program):
    same(program)


class Strange:
    shape = (1,)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: net(t).load_state_dict({}),
        lambda t: net(t).load_state_dict(net(t, bias=False).state_dict()),
        lambda t: net(t, bias=False).load_state_dict(net(t).state_dict()),
        lambda t: t.nn.Linear(2, 3).load_state_dict(t.nn.Linear(3, 2).state_dict()),
        lambda t: t.nn.Linear(2, 3).load_state_dict({"weight": t.ones(1), "bis": t.ones(1), "a.b": t.ones(2)}),
        lambda t: t.nn.Linear(2, 3).load_state_dict({"weight": 3, "bias": None}),
        lambda t: t.nn.Linear(2, 3).load_state_dict([1]),
        lambda t: t.nn.Linear(2, 3, device="meta").load_state_dict(t.nn.Linear(2, 3).state_dict()),
        lambda t: net(t).get_submodule("first.nothing"),
        lambda t: net(t).get_submodule("first.mean"),
        lambda t: net(t).get_parameter("first.mean"),
        lambda t: net(t).get_parameter("first.what"),
        lambda t: net(t).get_buffer("first.fc"),
        lambda t: net(t).get_buffer("what"),
        lambda t: net(t).set_submodule("", t.nn.Identity()),
        lambda t: net(t).set_submodule("first", 3),
        lambda t: net(t).set_submodule("first.what", t.nn.Identity(), strict=True),
        lambda t: net(t).set_submodule("first.mean", t.nn.Identity()),
        lambda t: net(t).what,
        lambda t: delattr(net(t), "what"),
        lambda t: t.nn.Module()(1),
        lambda t: t.nn.Module(1),
        lambda t: t.nn.Module(a=1),
        lambda t: net(t).train(3),
        lambda t: net(t).to(t.int32),
        lambda t: t.nn.Module().register_parameter("a.b", None),
        lambda t: t.nn.Module().register_parameter("", None),
        lambda t: t.nn.Module().register_parameter(3, None),
        lambda t: t.nn.Module().register_parameter("a", 3),
        lambda t: t.nn.Module().register_parameter("a", t.ones(1)),
        lambda t: t.nn.Module().register_parameter("forward", t.nn.Parameter(t.ones(1))),
        lambda t: t.nn.Module().register_buffer("a.b", None),
        lambda t: t.nn.Module().register_buffer("", None),
        lambda t: t.nn.Module().register_buffer(3, None),
        lambda t: t.nn.Module().register_buffer("a", 3),
        lambda t: t.nn.Module().register_buffer("forward", None),
        lambda t: t.nn.Module().add_module("a.b", None),
        lambda t: t.nn.Module().add_module("", None),
        lambda t: t.nn.Module().add_module(3, None),
        lambda t: t.nn.Module().add_module("a", 3),
        lambda t: t.nn.Module().add_module("forward", t.nn.Identity()),
        lambda t: setattr(net(t), "scale", t.ones(1)),
        lambda t: setattr(net(t), "scale", 3),
        lambda t: setattr(net(t), "head", 3),
        lambda t: setattr(net(t).first, "mean", 3),
        lambda t: t.nn.Parameter(t.tensor(1)),
        lambda t: setattr(t.nn.Module.__new__(t.nn.Module), "a", t.nn.Parameter(t.ones(1))),
        lambda t: setattr(t.nn.Module.__new__(t.nn.Module), "a", t.nn.Identity()),
        lambda t: setattr(t.nn.Module.__new__(t.nn.Module), "a", t.nn.Buffer(t.ones(1))),
        lambda t: t.nn.Module.__new__(t.nn.Module).register_buffer("a", None),
        lambda t: t.nn.Module.__new__(t.nn.Module).register_parameter("a", None),
        lambda t: t.nn.Bilinear(0, 1, 2),
        lambda t: t.nn.Linear(0, 2),
        lambda t: t.nn.Linear(2, 3).state_dict(OrderedDict()),
    ],
)
def test_errors(program):
    same(program)


# ---------------------------------------------------------------- hooks


def forward_hooks(t):
    m = net(t)
    said = []

    def say(text, result=None):
        def hook(module, *args):
            said.append((text, type(module).__name__, len(args)))
            return result

        return hook

    first = m.head.register_forward_hook(say("after 1"))
    m.head.register_forward_hook(say("after 2"), prepend=True)
    m.head.register_forward_hook(say("with kwargs"), with_kwargs=True)
    m.head.register_forward_pre_hook(say("before 1"))
    m.head.register_forward_pre_hook(say("before 2"), prepend=True)
    m.head.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 2,), kwargs), with_kwargs=True)
    m.register_forward_pre_hook(lambda module, args: args[0] + 1)
    m.register_forward_hook(lambda module, args, output: (output, output))
    out = m(t.ones(1, 3))
    first.remove()
    first.remove()
    m(t.ones(1, 3))
    print(said, len(m.head._forward_hooks), len(m.head._forward_hooks_with_kwargs))
    with m.head.register_forward_hook(say("inside")):
        m.head(t.ones(3))
    m.head(t.ones(3))
    print(said)
    return out


def global_hooks(t):
    module = t.nn.modules.module
    said = []

    def note(what):
        return lambda m, *args: said.append((what, type(m).__name__, len(args))) and None

    model = net(t)
    handles = [
        module.register_module_forward_pre_hook(note("pre")),
        module.register_module_forward_hook(note("post")),
        module.register_module_full_backward_pre_hook(note("back pre")),
        module.register_module_full_backward_hook(note("back")),
    ]
    x = t.ones(1, 3, requires_grad=True)
    try:
        model(x).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    model(x)
    handles = [
        module.register_module_parameter_registration_hook(lambda m, n, p: said.append(("p", n)) and None),
        module.register_module_buffer_registration_hook(lambda m, n, p: said.append(("b", n)) and None),
        module.register_module_module_registration_hook(lambda m, n, p: said.append(("m", n)) and None),
    ]
    try:
        net(t)
    finally:
        for handle in handles:
            handle.remove()
    print(said)
    return x.grad


def always_called(t):
    class Broken(t.nn.Module):
        def forward(self, x):
            raise KeyError("broken")

    said = []
    m = Broken()
    m.register_forward_hook(lambda module, args, output: said.append(("always", output)), always_call=True)
    m.register_forward_hook(lambda module, args, output: said.append("not called"))
    m.register_forward_hook(lambda *args: 1 / 0, always_call=True, with_kwargs=True)
    try:
        m(1)
    except KeyError as error:
        print(error, said)


def full_backward_hooks(t):
    m = net(t)
    said = []

    def hook(module, grad_input, grad_output):
        said.append([type(module).__name__, len(grad_input), [g is None for g in grad_input], len(grad_output)])

    m.head.register_full_backward_hook(hook)
    m.head.register_full_backward_hook(lambda m, gi, go: (gi[0] * 3,))
    m.head.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    m.first.register_full_backward_hook(hook)
    x = t.ones(2, 3, requires_grad=True)
    m(x).sum().backward()
    print(said)
    return [x.grad, *(p.grad for p in m.parameters())]


def several_inputs(t):
    class Two(t.nn.Module):
        def forward(self, x, n, y):
            return x * 2, "text", y * 3, x + y

    said = []
    m = Two()
    m.register_full_backward_hook(lambda m, gi, go: said.append((gi, go)))
    x, y = t.ones(2, requires_grad=True), t.ones(2, requires_grad=True)
    a, _, b, _ = m(x, 5, y)
    (a * b).sum().backward()
    one = t.ones(2, requires_grad=True)
    m(one, 5, t.ones(2))[0].sum().backward()
    return said, x.grad, y.grad, one.grad


def no_input_gradient(t):
    said = []
    m = t.nn.Linear(2, 2)
    m.register_full_backward_hook(lambda m, gi, go: said.append((gi, go)))
    m(t.ones(1, 2)).sum().backward()
    return said, m.weight.grad


def old_backward_hooks(t):
    said = []

    class Plain(t.nn.Module):
        def forward(self, x):
            return x * 2

    m = Plain()
    m.register_backward_hook(lambda m, gi, go: said.append((len(gi), len(go))))
    x = t.ones(2, requires_grad=True)
    m(x).sum().backward()
    return said, x.grad


@pytest.mark.parametrize(
    "program",
    [
        forward_hooks,
        global_hooks,
        always_called,
        full_backward_hooks,
        several_inputs,
        old_backward_hooks,
        lambda t: t.nn.Identity().register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True) and None,
    ],
)
def test_hooks(program):
    same(program, rtol=1e-6)


def test_backward_hook_without_input_gradient():
    with pytest.warns(UserWarning, match="Full backward hook is firing when gradients are computed with respect to"):
        (said, grad) = no_input_gradient(flambeau)
    assert said[0][0] == (None,)
    np.testing.assert_array_equal(said[0][1][0].numpy(), np.ones((1, 2), np.float32))
    np.testing.assert_array_equal(grad.numpy(), np.ones((2, 2), np.float32))


def marked_twice(m):
    def hook(*args):
        return None

    m.register_state_dict_post_hook(hook)
    m._register_state_dict_hook(hook)


@pytest.mark.parametrize(
    "put_on",
    [
        lambda m: m.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0])),
        lambda m: m.register_full_backward_pre_hook(lambda m, go: (go[0], go[0])),
        lambda m: m.register_forward_pre_hook(lambda m, args, kwargs: 3, with_kwargs=True),
        lambda m: (m.register_backward_hook(print), m.register_full_backward_hook(print)),
        lambda m: (m.register_full_backward_hook(print), m.register_backward_hook(print)),
        marked_twice,
    ],
)
def test_hook_errors(put_on):
    def program(t):
        m = t.nn.Linear(2, 2)
        put_on(m)
        m(t.ones(1, 2, requires_grad=True)).sum().backward()

    same(program)


# ---------------------------------------------------------------- lazy modules


@pytest.mark.parametrize(
    ("name", "args", "shape"),
    [
        ("LazyLinear", (3,), (2, 4)),
        ("LazyConv1d", (4, 2), (2, 3, 5)),
        ("LazyConv1d", (4, 2), (3, 5)),
        ("LazyConv2d", (4, 2), (2, 3, 5, 5)),
        ("LazyConv3d", (4, 2), (1, 3, 4, 4, 4)),
        ("LazyConvTranspose1d", (4, 2), (2, 3, 5)),
        ("LazyConvTranspose2d", (4, 2), (2, 3, 5, 5)),
        ("LazyConvTranspose3d", (4, 2), (1, 3, 4, 4, 4)),
        ("LazyBatchNorm1d", (), (4, 3)),
        ("LazyBatchNorm2d", (), (2, 3, 4, 4)),
        ("LazyBatchNorm3d", (), (2, 3, 2, 2, 2)),
        ("LazyInstanceNorm1d", (), (2, 3, 4)),
        ("LazyInstanceNorm2d", (1e-3, 0.1, True, True), (2, 3, 4, 4)),
        ("LazyInstanceNorm3d", (), (2, 3, 2, 2, 2)),
        ("LazyConv1d", (4, 2), (2, 3, 5, 5)),
    ],
)
def test_lazy(name, args, shape):
    def program(t):
        make = getattr(t.nn, name)
        m = make(*args)
        print(m, list(m.state_dict()), m.has_uninitialized_params(), m.cls_to_become.__name__)
        fresh = make(*args).double().float()
        out = m(t.randn(shape))
        print(m, type(m).__name__, [tuple(p.shape) for p in m.parameters()])
        print(fresh.load_state_dict(m.state_dict()), [tuple(p.shape) for p in fresh.parameters()])
        waiting = make(*args)
        print(waiting.load_state_dict(make(*args).state_dict()), waiting.has_uninitialized_params())
        return out, m.state_dict(), fresh(t.randn(shape)), fresh.state_dict()

    same(program, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.LazyLinear(3).weight.shape,
        lambda t: t.nn.Linear(2, 3).load_state_dict(t.nn.LazyLinear(3).state_dict()),
        lambda t: t.nn.Sequential(t.nn.LazyLinear(3))._modules["0"]._replicate_for_data_parallel(),
        lambda t: t.nn.LazyConv1d(4, 2, groups=2)(t.ones(1, 3, 4)),
        lambda t: [str(t.nn.LazyLinear(3).half().weight.dtype), str(t.nn.LazyLinear(3).to(t.float64).weight.dtype)],
        lambda t: [str(t.nn.LazyLinear(3, device="meta").weight.device), repr(t.nn.LazyLinear(2).weight)],
        lambda t: type(copy.deepcopy(t.nn.LazyLinear(3)).weight).__name__,
    ],
)
def test_lazy_errors(program):
    same(program)


def test_uninitialized_parameters_take_part_in_nothing():
    with pytest.raises(ValueError, match=r"Attempted to use an uninitialized parameter\.") as caught:
        flambeau.nn.LazyLinear(3).weight + 1
    assert "When using LazyModules Call `forward` with a dummy batch" in str(caught.value)
    assert type(pickle.loads(pickle.dumps(flambeau.nn.UninitializedParameter()))) is flambeau.nn.UninitializedParameter
    buffer = flambeau.nn.UninitializedBuffer()
    buffer.materialize((2, 3))
    assert type(buffer) is flambeau.Tensor
    assert buffer.shape == (2, 3)


# ---------------------------------------------------------------- copies, pickles, arrays


def test_deepcopy_and_pickle():
    model = flambeau.nn.Sequential(OrderedDict(a=flambeau.nn.Linear(2, 3), b=flambeau.nn.Identity()))
    model.tied = model.a
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model)
        assert other.a.weight is not model.a.weight
        assert other.tied is other.a
        assert isinstance(other.a.weight, flambeau.nn.Parameter)
        np.testing.assert_array_equal(other.a.weight.detach().numpy(), model.a.weight.detach().numpy())
        with flambeau.no_grad():
            other.a.weight.add_(1)
        assert not np.array_equal(other.a.weight.detach().numpy(), model.a.weight.detach().numpy())


def test_state_goes_both_ways():
    flambeau.manual_seed(3)
    ours, theirs = net(flambeau), net(torch)
    state = {k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()}
    assert str(theirs.load_state_dict(state)) == "<All keys matched successfully>"
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    expected = theirs(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(ours(flambeau.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    back = {k: flambeau.tensor(v.numpy()) for k, v in theirs.state_dict().items()}
    fresh = net(flambeau)
    fresh.load_state_dict(back)
    np.testing.assert_allclose(fresh(flambeau.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_parameters_are_what_they_are_made_of():
    values = flambeau.ones(2)
    p = flambeau.nn.Parameter(values)
    assert type(p + 1) is flambeau.Tensor
    assert isinstance(p, flambeau.nn.Parameter)
    assert not isinstance(values, flambeau.nn.Parameter)
    assert isinstance(flambeau.nn.Buffer(values), flambeau.nn.Buffer)
    p.note = "kept"
    assert pickle.loads(pickle.dumps(p)).note == "kept"
    with pytest.raises(TypeError, match="has to be a tensor, but got list"):
        flambeau.nn.Parameter([1.0])


def test_a_module_is_freed_with_its_last_reference():
    model = flambeau.nn.Linear(2, 2)
    model(flambeau.ones(1, 2))
    seen = weakref.ref(model)
    del model
    gc.collect()
    assert seen() is None


# ---------------------------------------------------------------- notes


def notes_of(call) -> list[str]:
    with pytest.raises(Exception) as caught:
        call()
    return getattr(caught.value, "__notes__", [])


def test_note_names_the_module():
    nn = flambeau.nn

    class LeNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.ModuleList([nn.Identity(), nn.Sequential(nn.Identity(), nn.Linear(576, 120))])

        def forward(self, x, flag=None):
            for part in self.body:
                x = part(x)
            return x

    model = LeNet()
    expected = "Linear(in_features=576, out_features=120, bias=True), input (64, 400)"
    assert notes_of(lambda: model(flambeau.ones(64, 400))) == [f"in LeNet.body.1.1: {expected}"]
    assert notes_of(lambda: model.body[1](flambeau.ones(64, 400))) == [f"in Sequential.1: {expected}"]
    assert notes_of(lambda: model.body[1][1](flambeau.ones(64, 400))) == [f"in Linear: {expected}"]
    assert notes_of(lambda: model(3, flag=[flambeau.ones(2)])) == [
        "in LeNet.body.1.1: Linear(in_features=576, out_features=120, bias=True), input 3"
    ]


def test_note_of_a_module_with_parts_and_of_a_stranger():
    nn = flambeau.nn
    stranger = nn.Linear(2, 2)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Identity()

        def forward(self, x, how=None):
            if how == "own":
                raise ValueError("own")
            return stranger(x)

        def extra_repr(self):
            return "n=2"

    assert notes_of(lambda: Outer()(flambeau.ones(1), how="own")) == [
        "in Outer: Outer(n=2, ...), input (1,), how='own'"
    ]
    assert notes_of(lambda: Outer()(flambeau.ones(1))) == [
        "in Outer.<Linear>: Linear(in_features=2, out_features=2, bias=True), input (1,)"
    ]


def test_a_hook_sees_the_note_too():
    model = flambeau.nn.Sequential(flambeau.nn.Linear(2, 2))
    model.register_forward_hook(lambda *args: None)
    assert notes_of(lambda: model(flambeau.ones(1, 3))) == [
        "in Sequential.0: Linear(in_features=2, out_features=2, bias=True), input (1, 3)"
    ]


# ---------------------------------------------------------------- names that programs import


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        {"dtype": 1, "device": 2},
        {"factory_kwargs": {"dtype": 1}, "device": 3},
        {"factory_kwargs": {"dtype": 1}, "dtype": 3},
        {"bias": 1},
    ],
)
def test_factory_kwargs_are_pytorchs(given):
    same(lambda t: sorted(t.nn.factory_kwargs(given).items()))


def test_layers_are_reached_by_way_of_their_module():
    from flambeau.nn import modules

    assert modules.Linear is modules.linear.Linear is flambeau.nn.Linear
    assert {name for name in torch.nn.modules.__all__ if name not in ("Container", "DataParallel")} <= set(
        vars(modules)
    )
