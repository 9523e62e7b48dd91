"""Hooks of modules, and buffers, case by case beside PyTorch's."""

from __future__ import annotations

import copy
import pickle

import pytest
from both import same


def wave(t, *shape):
    """Values that differ everywhere."""
    return (t.arange(float(t.Size(shape).numel())) * 1.7).sin().reshape(shape)


def net(t):
    return t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.Linear(4, 2))


def what_hooks_may_return(t):
    m = t.nn.Linear(2, 2)
    out = []
    for r in (None, 3, (1, 2), [1], t.ones(2)):
        with m.register_forward_hook(lambda *a, r=r: r):
            out.append(str(type(m(t.ones(1, 2))).__name__))
    for r in (None, t.ones(1, 2), (t.ones(1, 2),), [t.ones(1, 2)]):
        with m.register_forward_pre_hook(lambda *a, r=r: r):
            try:
                m(t.zeros(1, 2))
                print("ok")
            except Exception as e:
                print(type(e).__name__)
    return out


def pre_hook_returns_a_number(t):
    m = t.nn.Linear(2, 2)
    m.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True)
    m(t.ones(1, 2))


def pre_hook_returns_three(t):
    m = t.nn.Linear(2, 2)
    m.register_forward_pre_hook(lambda m, a, k: (1, 2, 3), with_kwargs=True)
    m(t.ones(1, 2))


def order_of_all_hooks(t):
    m = t.nn.Linear(2, 2)
    said = []

    def s(w):
        return lambda *a: said.append(w) and None

    m.register_forward_hook(s("f1"))
    m.register_forward_hook(s("f2"), prepend=True)
    m.register_forward_pre_hook(s("p1"))
    m.register_forward_pre_hook(s("p2"), prepend=True)
    m.register_full_backward_hook(s("b1"))
    m.register_full_backward_hook(s("b2"), prepend=True)
    m.register_full_backward_pre_hook(s("bp1"))
    m.register_full_backward_pre_hook(s("bp2"), prepend=True)
    G = t.nn.modules.module
    hs = [
        G.register_module_forward_hook(s("gf")),
        G.register_module_forward_pre_hook(s("gp")),
        G.register_module_full_backward_hook(s("gb")),
        G.register_module_full_backward_pre_hook(s("gbp")),
    ]
    try:
        m(t.ones(1, 2, requires_grad=True)).sum().backward()
    finally:
        for h in hs:
            h.remove()
    print(said)
    print(list(m._forward_hooks) == sorted(m._forward_hooks), len(m._backward_hooks), len(m._backward_pre_hooks))


def handles(t):
    m = t.nn.Linear(2, 2)
    h = m.register_forward_hook(lambda *a: None)
    print(type(h).__name__, h.id in m._forward_hooks, type(h.id).__name__)
    with h as g:
        print(g is h)
    print(len(m._forward_hooks))
    h.remove()
    h2 = m.register_forward_hook(lambda *a: None, with_kwargs=True, always_call=True)
    print(len(m._forward_hooks_with_kwargs), len(m._forward_hooks_always_called))
    h2.remove()
    print(len(m._forward_hooks_with_kwargs), len(m._forward_hooks_always_called))
    h3 = m.register_forward_hook(lambda *a: None)
    h4 = pickle.loads(pickle.dumps(h3))
    print(type(h4).__name__)


def a_hook_that_removes_itself(t):
    m = t.nn.Linear(2, 2)
    said = []

    def hook(mod, a, o):
        said.append(1)
        h.remove()

    h = m.register_forward_hook(hook)
    m(t.ones(1, 2))
    m(t.ones(1, 2))
    print(said)


def called_always_with_kwargs(t):
    said = []

    class B(t.nn.Module):
        def forward(self, x, k=1):
            raise ValueError("no")

    m = B()
    m.register_forward_hook(lambda m, a, k, o: said.append((a, k, o)), always_call=True, with_kwargs=True)
    try:
        m(1, k=2)
    except ValueError as e:
        print(e, said)


def called_always_after_a_pre_hook_failed(t):
    said = []
    m = t.nn.Identity()
    m.register_forward_pre_hook(lambda *a: 1 / 0)
    m.register_forward_hook(lambda *a: said.append(a[1:]), always_call=True)
    try:
        m(5)
    except ZeroDivisionError as e:
        print(e, said)


def called_always_after_a_hook_failed(t):
    said = []
    m = t.nn.Identity()
    m.register_forward_hook(lambda *a: 1 / 0)
    m.register_forward_hook(lambda *a: said.append(a[1:]), always_call=True)
    try:
        m(5)
    except ZeroDivisionError as e:
        print(e, said)


def gradients_replaced(t):
    m = net(t)
    m[2].register_full_backward_hook(lambda mod, gi, go: (gi[0] * 2,))
    m[0].register_full_backward_pre_hook(lambda mod, go: (go[0] * 3,))
    a = wave(t, 5, 3).requires_grad_()
    m(a).sum().backward()
    return (a.grad, [p.grad for p in m.parameters()])


def too_many_input_gradients(t):
    m = net(t)
    m[2].register_full_backward_hook(lambda mod, gi, go: (1, 2))
    m(wave(t, 5, 3).requires_grad_()).sum().backward()


def a_gradient_of_another_type(t):
    m = net(t)
    m[2].register_full_backward_hook(lambda mod, gi, go: ("a",))
    m(wave(t, 5, 3).requires_grad_()).sum().backward()


def too_many_output_gradients(t):
    m = net(t)
    m[2].register_full_backward_pre_hook(lambda mod, gi: (1, 2))
    m(wave(t, 5, 3).requires_grad_()).sum().backward()


def no_input_to_differentiate(t):
    m = net(t)
    said = []
    m[0].register_full_backward_hook(lambda mod, gi, go: said.append(([g is None for g in gi], go[0].shape)))
    m(wave(t, 5, 3)).sum().backward()
    print(said)


def no_input_to_differentiate_and_a_result(t):
    m = net(t)
    m[0].register_full_backward_hook(lambda mod, gi, go: (t.ones(5, 3),))
    m(wave(t, 5, 3)).sum().backward()


def old_then_full(t):
    m = net(t)
    m.register_backward_hook(lambda *a: None)
    m.register_full_backward_hook(lambda *a: None)


def full_then_old(t):
    m = net(t)
    m.register_full_backward_hook(lambda *a: None)
    m.register_backward_hook(lambda *a: None)


def old_backward_hook(t):
    m = t.nn.Linear(2, 2)
    s = []
    m.register_backward_hook(lambda m, gi, go: s.append((len(gi), len(go))))
    m(t.ones(1, 2, requires_grad=True)).sum().backward()
    print(s)


def a_dictionary_comes_out(t):

    class D(t.nn.Module):
        def forward(self, x):
            return {"a": x * 2}

    m = D()
    m.register_full_backward_hook(lambda *a: None)
    m(t.ones(2, requires_grad=True))["a"].sum().backward()


def hooks_of_copies(t):
    m = net(t)
    s = []
    m.register_forward_hook(lambda *a: s.append(1) and None)
    c = copy.deepcopy(m)
    c(wave(t, 1, 3))
    print(s, len(c._forward_hooks))


def nothing_to_differentiate(t):
    m = net(t)
    s = []
    m.register_full_backward_hook(lambda *a: s.append(1))
    with t.no_grad():
        print(m(wave(t, 1, 3)).requires_grad)
    print(s)


def state_hooks(t):
    m = net(t)
    s = []
    m.register_state_dict_pre_hook(lambda mod, p, k: s.append(("pre", p, k)))
    h = m[0].register_state_dict_post_hook(lambda mod, sd, p, md: sd.__setitem__(p + "extra", t.ones(1)))
    print(list(m.state_dict(prefix="q.")), s)
    h.remove()
    print(list(m.state_dict()))


def a_state_hook_that_returns(t):
    m = net(t)
    m.register_state_dict_post_hook(lambda *a: {})
    m.state_dict()


def a_private_state_hook_that_replaces(t):
    m = net(t)
    m._register_state_dict_hook(lambda mod, sd, p, md: {k + "!": v for k, v in sd.items()})
    print(list(m.state_dict()))


def one_function_for_both_state_hooks(t):
    m = net(t)

    def f(*a):
        return None

    m.register_state_dict_post_hook(f)
    m._register_state_dict_hook(f)


def load_pre_hooks(t):
    m = net(t)
    s = []
    m[0].register_load_state_dict_pre_hook(
        lambda mod, sd, p, md, strict, mk, uk, em: s.append((type(mod).__name__, sorted(sd), p, md, strict, mk, uk, em))
    )
    m[2]._register_load_state_dict_pre_hook(
        lambda mod, sd, p, *r: s.append((type(mod).__name__, p, len(r))), with_module=True
    )
    m.load_state_dict(m.state_dict())
    print(s)


def load_post_hooks(t):
    m = net(t)
    s = []
    m[0].register_load_state_dict_post_hook(lambda mod, k: s.append((type(mod).__name__, k)))
    m.register_load_state_dict_post_hook(lambda mod, k: k.unexpected_keys.clear())
    print(m.load_state_dict({**m.state_dict(), "z": t.ones(1)}))
    print(s)


def a_load_hook_that_returns(t):
    m = net(t)
    m.register_load_state_dict_post_hook(lambda mod, k: 3)
    m.load_state_dict(m.state_dict())


def a_load_hook_that_adds_a_missing_key(t):
    m = net(t)
    m.register_load_state_dict_post_hook(lambda mod, k: k.missing_keys.append("made up"))
    m.load_state_dict(m.state_dict())


def registration_hooks(t):
    M = t.nn.modules.module
    s = []
    hs = [
        M.register_module_parameter_registration_hook(lambda m, n, p: t.nn.Parameter(p * 0) if n == "weight" else None),
        M.register_module_buffer_registration_hook(lambda m, n, b: s.append((n, type(b).__name__)) and None),
        M.register_module_module_registration_hook(lambda m, n, c: s.append((n, type(c).__name__)) and None),
    ]
    try:
        layer = t.nn.Linear(1, 1)
        b = t.nn.BatchNorm1d(2)
        q = t.nn.Sequential(t.nn.Identity())
        q.b = None
        q.add_module("c", t.nn.Identity())
        q[0] = t.nn.ReLU()
        layer.weight = t.nn.Parameter(t.ones(1, 1))
        b.running_mean = t.ones(2)
    finally:
        for h in hs:
            h.remove()
    print(s)
    return layer.weight


def persistent_or_not(t):
    m = t.nn.Module()
    m.register_buffer("a", t.ones(1))
    m.register_buffer("b", t.ones(1), persistent=False)
    m.register_buffer("c", None)
    print(list(m.state_dict()), m._non_persistent_buffers_set, [n for n, _ in m.named_buffers()])
    m.register_buffer("b", t.zeros(1))
    print(list(m.state_dict()))
    m.register_buffer("a", t.zeros(1), False)
    print(list(m.state_dict()))
    m.b = t.ones(3)
    print(m.b.shape, "b" in m._buffers)
    m.c = t.ones(1)
    print(list(m.state_dict()))
    m.b = None
    print(list(m._buffers), list(m.state_dict()))
    del m.a
    print(m._non_persistent_buffers_set)
    m.load_state_dict({"c": t.zeros(1)})
    return m.c


def loading_what_is_not_persistent(t):
    m = t.nn.Module()
    m.register_buffer("b", t.ones(1), persistent=False)
    print(m.load_state_dict({}))
    m.load_state_dict({"b": t.ones(1)})


def a_buffer_over_an_attribute(t):
    m = t.nn.Module()
    m.a = 3
    m.register_buffer("a", t.ones(1))


def a_parameter_over_an_attribute(t):
    m = t.nn.Module()
    m.a = 3
    m.register_parameter("a", t.nn.Parameter(t.ones(1)))


def a_parameter_over_a_buffer(t):
    m = t.nn.Module()
    m.register_buffer("a", t.ones(1))
    m.register_parameter("a", t.nn.Parameter(t.ones(1)))


def a_buffer_becomes_a_parameter(t):
    m = t.nn.Module()
    m.register_buffer("a", t.ones(1))
    m.a = t.nn.Parameter(t.ones(1))
    print(list(m._buffers), list(m._parameters))
    m.a = t.nn.Identity() if 0 else None
    print(m._parameters)


def a_module_over_a_parameter(t):
    m = t.nn.Linear(1, 1)
    m.weight = t.nn.Identity()


def a_parameter_over_a_module(t):
    m = t.nn.Sequential(t.nn.Identity())
    setattr(m, "0", t.nn.Parameter(t.ones(1)))
    print(list(m._modules), list(m._parameters))
    print(m)


def classes_of_buffers(t):
    b = t.nn.Buffer(t.ones(2))
    print(
        b,
        isinstance(b, t.nn.Buffer),
        isinstance(t.ones(1), t.nn.Buffer),
        b.persistent,
        type(b).__name__,
        t.nn.Buffer().shape,
    )
    p = t.nn.Parameter(t.ones(2))
    print(isinstance(p, t.nn.Parameter), isinstance(b, t.nn.Parameter), isinstance(p, t.nn.Buffer))
    m = t.nn.Module()
    m.b = b
    print(m.b is b)
    m.b = t.zeros(2)
    print("b" in m._buffers, isinstance(m.b, t.nn.Buffer))


@pytest.mark.parametrize(
    "program",
    [
        what_hooks_may_return,
        pre_hook_returns_a_number,
        pre_hook_returns_three,
        order_of_all_hooks,
        handles,
        a_hook_that_removes_itself,
        called_always_with_kwargs,
        called_always_after_a_pre_hook_failed,
        called_always_after_a_hook_failed,
        gradients_replaced,
        too_many_input_gradients,
        a_gradient_of_another_type,
        too_many_output_gradients,
        no_input_to_differentiate,
        no_input_to_differentiate_and_a_result,
        old_then_full,
        full_then_old,
        old_backward_hook,
        a_dictionary_comes_out,
        hooks_of_copies,
        nothing_to_differentiate,
        state_hooks,
        a_state_hook_that_returns,
        a_private_state_hook_that_replaces,
        one_function_for_both_state_hooks,
        load_pre_hooks,
        load_post_hooks,
        a_load_hook_that_returns,
        a_load_hook_that_adds_a_missing_key,
        registration_hooks,
        persistent_or_not,
        loading_what_is_not_persistent,
        a_buffer_over_an_attribute,
        a_parameter_over_an_attribute,
        a_parameter_over_a_buffer,
        a_buffer_becomes_a_parameter,
        a_module_over_a_parameter,
        a_parameter_over_a_module,
        classes_of_buffers,
    ],
)
def test_as_pytorch(program):
    same(program, rtol=1e-6, atol=1e-6)
