"""Containers' whole interface, and looking things up in models, beside PyTorch's."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import pytest
from both import same, text


def wave(t, *shape):
    """Values that differ everywhere."""
    return (t.arange(float(t.Size(shape).numel())) * 1.7).sin().reshape(shape)


def linear(t, out=2):
    return t.nn.Linear(2, out)


def linears(t):
    return [linear(t, 2 + i) for i in range(3)]


def order_after_ops(t):
    s = t.nn.Sequential(*linears(t))
    s.insert(1, t.nn.ReLU())
    del s[0]
    s.append(t.nn.Tanh())
    print(s, list(s._modules))
    listed = t.nn.ModuleList(linears(t))
    listed.insert(0, t.nn.ReLU())
    del listed[1]
    print(listed, list(listed._modules))
    d = t.nn.ModuleDict({"a": linear(t), "b": linear(t)})
    d["a"] = t.nn.ReLU()
    d.pop("b")
    d["b"] = linear(t)
    print(d)
    s2 = t.nn.Sequential(OrderedDict(a=linear(t), b=t.nn.ReLU(), c=t.nn.Tanh()))
    del s2[0]
    print(s2)
    s2[0] = t.nn.Identity()
    print(s2)
    s3 = t.nn.Sequential(OrderedDict(a=linear(t), b=t.nn.ReLU()))[1:]
    print(s3)


def classes_of_parts(t):

    class S(t.nn.Sequential):
        pass

    s = S(*linears(t))
    print(type(s[1:]).__name__, type(s + s).__name__, type(s * 2).__name__)

    class ML(t.nn.ModuleList):
        pass

    print(type(ML(linears(t))[1:]).__name__, type(ML(linears(t)) + linears(t)).__name__)


def modules_held_twice(t):
    a = linear(t)
    m = t.nn.ModuleList([a, t.nn.Sequential(a, a)])
    print(
        [n for n, _ in m.named_modules()],
        [n for n, _ in m.named_modules(remove_duplicate=False)],
        [n for n, _ in m.named_parameters()],
        [n for n, _ in m.named_parameters(remove_duplicate=False)],
        list(m.state_dict()),
        m,
    )


def learning_parameters(t):
    p = t.nn.ParameterList([wave(t, 2), wave(t, 2) * 2])
    (p[0] * p[1]).sum().backward()
    return ([q.grad for q in p], [q.requires_grad for q in p.requires_grad_(False)])


@pytest.mark.parametrize(
    "program",
    [
        order_after_ops,
        classes_of_parts,
        modules_held_twice,
        learning_parameters,
    ],
)
def test_as_pytorch(program):
    same(program, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: text(t.nn.Sequential(*linears(t)).insert(-1, t.nn.Identity())),
        lambda t: text(t.nn.Sequential(*linears(t)).insert(0, t.nn.Identity())),
        lambda t: text(t.nn.Sequential(*linears(t)).insert(4, t.nn.Identity())),
        lambda t: text(t.nn.Sequential(*linears(t)).insert(-4, t.nn.Identity())),
        lambda t: text(t.nn.Sequential(*linears(t)).insert(1, 3)),
        lambda t: text(t.nn.Sequential(OrderedDict(a=linear(t), b=linear(t))).insert(1, t.nn.Identity())),
        lambda t: text(t.nn.Sequential(OrderedDict(a=linear(t), b=linear(t))).append(t.nn.Identity())),
        lambda t: text(t.nn.Sequential(OrderedDict(a=linear(t), b=linear(t))).append(3)),
        lambda t: text(t.nn.Sequential(*linears(t)).pop(1)),
        lambda t: text(t.nn.Sequential(*linears(t)).pop(5)),
        lambda t: text(t.nn.Sequential(*linears(t)).pop("0")),
        lambda t: text(t.nn.Sequential(*linears(t)).pop(slice(0, 2))),
        lambda t: text(t.nn.Sequential(*linears(t)).extend(linears(t))),
        lambda t: text(t.nn.Sequential(*linears(t)).extend(3)),
        lambda t: text(t.nn.Sequential(*linears(t)).extend([3])),
        lambda t: text(t.nn.Sequential(*linears(t))[0:0]),
        lambda t: text(t.nn.Sequential(*linears(t))[::2]),
        lambda t: text(t.nn.Sequential(*linears(t))[::-1]),
        lambda t: text(t.nn.Sequential(*linears(t))["a"]),
        lambda t: text(t.nn.Sequential(*linears(t))[t.tensor(1)]),
        lambda t: text(t.nn.Sequential(*linears(t))[True]),
        lambda t: text(t.nn.Sequential(*linears(t))[-3]),
        lambda t: text(t.nn.Sequential(*linears(t)).__setitem__(7, linear(t))),
        lambda t: text(t.nn.Sequential(*linears(t)).__setitem__(0, 3)),
        lambda t: text(t.nn.Sequential(*linears(t)).__setitem__(slice(0, 1), 3)),
        lambda t: text(t.nn.Sequential(*linears(t)).__delitem__(7)),
        lambda t: text(t.nn.Sequential(*linears(t)) + t.nn.Sequential(linear(t))),
        lambda t: text(t.nn.Sequential(*linears(t)) + [linear(t)]),
        lambda t: text(t.nn.Sequential(linear(t)) * 2),
        lambda t: text(2 * t.nn.Sequential(linear(t))),
        lambda t: text(t.nn.Sequential(linear(t)) * True),
        lambda t: text(t.nn.Sequential(linear(t)) * -1),
        lambda t: text(t.nn.Sequential(linear(t)) * 1.5),
        lambda t: text(t.nn.Sequential(linear(t)).__imul__(0)),
        lambda t: text(t.nn.Sequential(linear(t)).__imul__(3)),
        lambda t: text(t.nn.Sequential(linear(t)).__imul__("a")),
        lambda t: text(t.nn.Sequential(linear(t)).__iadd__(3)),
        lambda t: text(t.nn.Sequential(OrderedDict(a=linear(t))).__iadd__(t.nn.Sequential(linear(t), linear(t)))),
        lambda t: text(t.nn.Sequential([linear(t)])),
        lambda t: text(t.nn.Sequential({"a": linear(t)})),
        lambda t: text(t.nn.Sequential(OrderedDict([("a.b", linear(t))]))),
        lambda t: text(t.nn.Sequential(None)),
        lambda t: text(t.nn.Sequential(linear(t), None)),
        lambda t: text(t.nn.Sequential()(3)),
        lambda t: text(t.nn.Sequential(linear(t))(t.ones(1, 2), t.ones(1))),
        lambda t: text(bool(t.nn.Sequential())),
        lambda t: text(linear(t) in t.nn.Sequential(linear(t))),
        lambda t: text(len(t.nn.Sequential(*linears(t)))),
        lambda t: text(list(reversed(t.nn.Sequential(*linears(t))))),
        lambda t: text(dir(t.nn.Sequential(linear(t)))[-4:]),
        lambda t: text(t.nn.Sequential(*linears(t)).get_submodule("1")),
        lambda t: text(t.nn.Sequential(*linears(t)).get_submodule("9")),
        lambda t: text(t.nn.Sequential(t.nn.Identity(), t.nn.Identity(), t.nn.Identity())),
        lambda t: text(t.nn.ModuleList(linears(t)).insert(-1, t.nn.Identity())),
        lambda t: text(t.nn.ModuleList(linears(t)).insert(9, t.nn.Identity())),
        lambda t: text(t.nn.ModuleList(linears(t)).insert(0, 3)),
        lambda t: text(t.nn.ModuleList(linears(t)).append(3)),
        lambda t: text(t.nn.ModuleList(linears(t)).append(None)),
        lambda t: text(t.nn.ModuleList(linears(t)).extend(None)),
        lambda t: text(t.nn.ModuleList(linears(t)).extend(x for x in linears(t))),
        lambda t: text(t.nn.ModuleList(linears(t)).pop(-1)),
        lambda t: text(t.nn.ModuleList(linears(t)).pop(9)),
        lambda t: text(t.nn.ModuleList(linears(t)).pop(slice(1, 3))),
        lambda t: text(t.nn.ModuleList(linears(t))[1:]),
        lambda t: text(t.nn.ModuleList(linears(t))[::-1]),
        lambda t: text(t.nn.ModuleList(linears(t))["0"]),
        lambda t: text(t.nn.ModuleList(linears(t))[9]),
        lambda t: text(t.nn.ModuleList(linears(t)).__setitem__(9, linear(t))),
        lambda t: text(t.nn.ModuleList(linears(t)).__setitem__(-1, linear(t))),
        lambda t: text(t.nn.ModuleList(linears(t)).__setitem__(0, "a")),
        lambda t: text(t.nn.ModuleList(linears(t)).__delitem__(slice(0, 2))),
        lambda t: text(t.nn.ModuleList(linears(t)).__delitem__(-9)),
        lambda t: text(t.nn.ModuleList(linears(t)) + t.nn.ModuleList(linears(t))),
        lambda t: text(t.nn.ModuleList(linears(t)).__iadd__(linears(t))),
        lambda t: text(t.nn.ModuleList([linear(t), linear(t), t.nn.Identity(), linear(t)])),
        lambda t: text(t.nn.ModuleList([t.nn.Sequential(linear(t))] * 3)),
        lambda t: text(t.nn.ModuleList()),
        lambda t: text(t.nn.ModuleList([None])),
        lambda t: text(t.nn.ModuleList(linears(t))(t.ones(1))),
        lambda t: text(dir(t.nn.ModuleList(linears(t)))[-3:]),
        lambda t: text(t.nn.ModuleList({"a": linear(t)})),
        lambda t: text(t.nn.ModuleList(t.nn.Sequential(*linears(t)))),
        lambda t: text([type(m).__name__ for m in t.nn.ModuleList(linears(t))]),
        lambda t: text(list(t.nn.ModuleList(linears(t)).state_dict())),
        lambda t: text(t.nn.ModuleList(linears(t)).index(3)),
        lambda t: text(t.nn.ModuleList(linears(t)) * 2),
        lambda t: text(len(list(t.nn.ModuleList([linear(t)] * 3).parameters()))),
        lambda t: text(list(t.nn.ModuleList([linear(t)] * 2).named_modules(remove_duplicate=False))),
        lambda t: text(list(t.nn.ModuleList([linear(t)] * 2).named_modules())),
        lambda t: text(t.nn.ModuleDict(a=1)),
        lambda t: text(t.nn.ModuleDict({"b": linear(t), "a": linear(t)})),
        lambda t: text(t.nn.ModuleDict(OrderedDict(b=linear(t), a=linear(t)))),
        lambda t: text(t.nn.ModuleDict([("b", linear(t)), ("a", linear(t))])),
        lambda t: text(t.nn.ModuleDict([["b", linear(t)]])),
        lambda t: text(t.nn.ModuleDict([("b",)])),
        lambda t: text(t.nn.ModuleDict([3])),
        lambda t: text(t.nn.ModuleDict(3)),
        lambda t: text(t.nn.ModuleDict({"a": 3})),
        lambda t: text(t.nn.ModuleDict({3: linear(t)})),
        lambda t: text(t.nn.ModuleDict({"a": None})),
        lambda t: text(t.nn.ModuleDict({"pop": linear(t)})),
        lambda t: text(t.nn.ModuleDict({"training": linear(t)})),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).pop("b")),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)})["b"]),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).get("b")),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).__delitem__("b")),
        lambda t: text("a" in t.nn.ModuleDict({"a": linear(t)})),
        lambda t: text(list(t.nn.ModuleDict({"a": linear(t)}).keys())),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).items()),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).values()),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).keys()),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).update({"a": t.nn.Identity(), "c": linear(t)})),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).update(t.nn.ModuleDict({"q": linear(t)}))),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).update(t.nn.Sequential(linear(t)))),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)})(3)),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).clear()),
        lambda t: text(t.nn.ModuleDict().update(zip("ab", linears(t)))),
        lambda t: text(t.nn.ModuleDict({"b": linear(t), "a": linear(t)}).a),
        lambda t: text(t.nn.ModuleDict({"b": linear(t)}) | {"a": linear(t)}),
        lambda t: text(list(t.nn.ModuleDict({"b": linear(t), "a": linear(t)}).state_dict())),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).copy()),
        lambda t: text(t.nn.ModuleDict({"a": linear(t)}).setdefault("a", linear(t))),
        lambda t: text(t.nn.ParameterList([t.ones(2), t.nn.Parameter(t.ones(1)), 3, "a", None])),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).append(3)),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).extend(3)),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).extend(t.ones(2))),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).extend(t.nn.ParameterList([t.ones(3)]))),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).extend([t.ones(3)])),
        lambda t: text(t.nn.ParameterList([t.ones(2), t.ones(3)])[1:]),
        lambda t: text(t.nn.ParameterList([t.ones(2), t.ones(3)])[-1]),
        lambda t: text(t.nn.ParameterList([t.ones(2), t.ones(3)])[2]),
        lambda t: text(t.nn.ParameterList([t.ones(2), t.ones(3)])["a"]),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).__setitem__(0, t.zeros(3))),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).__setitem__(4, t.zeros(3))),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).__setitem__(0, "s")),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).__delitem__(0)),
        lambda t: text(t.nn.ParameterList([t.ones(2)]) + [t.ones(2)]),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).__iadd__([t.ones(2)])),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).pop(0)),
        lambda t: text(t.nn.ParameterList([t.ones(2)]).insert(0, t.ones(1))),
        lambda t: text(t.nn.ParameterList(t.ones(2, 2))),
        lambda t: text(t.nn.ParameterList([t.ones(2).long()])),
        lambda t: text(t.nn.ParameterList(["a"]).state_dict()),
        lambda t: text(list(t.nn.ParameterList([t.ones(2)]).named_parameters())),
        lambda t: text(t.nn.ParameterList([t.nn.Identity()])),
        lambda t: text(len(t.nn.ParameterList([t.ones(2), 3]))),
        lambda t: text(dir(t.nn.ParameterList([t.ones(2)]))[-3:]),
        lambda t: text(t.nn.ParameterList([t.ones(2, dtype=t.float64), t.ones(2, 3, dtype=t.complex64), t.ones(())])),
        lambda t: text(copy.deepcopy(t.nn.ParameterList([t.ones(2), 4]))),
        lambda t: text(pickle.loads(pickle.dumps(t.nn.ParameterList([t.ones(2), 4])))),
        lambda t: text([type(p).__name__ for p in t.nn.ParameterList([t.ones(2), 4])]),
        lambda t: text(t.nn.ParameterList([t.nn.Buffer(t.ones(1))])),
        lambda t: text(t.nn.ParameterList(p for p in [t.ones(1)])),
        lambda t: text(t.nn.ParameterList([t.ones(2)])(1)),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(2), "a": t.ones(1)})),
        lambda t: text(t.nn.ParameterDict(OrderedDict(b=t.ones(2), a=t.ones(1)))),
        lambda t: text(t.nn.ParameterDict([("b", t.ones(2)), ("a", 3)])),
        lambda t: text(t.nn.ParameterDict({"a": None, "c": "s"})),
        lambda t: text(t.nn.ParameterDict({3: t.ones(1)})),
        lambda t: text(t.nn.ParameterDict([3])),
        lambda t: text(t.nn.ParameterDict(3)),
        lambda t: text(t.nn.ParameterDict([("a", 1, 2)])),
        lambda t: text(t.nn.ParameterDict({"a": 1})["b"]),
        lambda t: text(t.nn.ParameterDict({"a": 1}).pop("b")),
        lambda t: text(t.nn.ParameterDict({"a": 1}).popitem()),
        lambda t: text(t.nn.ParameterDict().popitem()),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).get("q")),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).get("q", 5)),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).get(3)),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).setdefault("b")),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).setdefault("b", t.ones(2))),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).fromkeys(["x", "y"])),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).fromkeys(["x", "y"], t.ones(1))),
        lambda t: text(t.nn.ParameterDict.fromkeys(["x"])),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}) | t.nn.ParameterDict({"b": t.ones(1)})),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}) | {"b": t.ones(1)}),
        lambda t: text({"b": t.ones(1)} | t.nn.ParameterDict({"a": t.ones(1)})),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).__ior__({"b": t.ones(1)})),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).update(b=t.ones(1))),
        lambda t: text(t.nn.ParameterDict({"a": t.ones(1)}).update({"c": t.ones(1), "b": t.ones(1)})),
        lambda t: text(list(t.nn.ParameterDict({"b": t.ones(1), "a": t.ones(1)}).keys())),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(1)}).keys()),
        lambda t: text(list(t.nn.ParameterDict({"b": t.ones(1)}).items())),
        lambda t: text(list(t.nn.ParameterDict({"b": t.ones(1)}).values())),
        lambda t: text(list(reversed(t.nn.ParameterDict(OrderedDict(b=t.ones(1), a=t.ones(1)))))),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(1)}).clear()),
        lambda t: text("b" in t.nn.ParameterDict({"b": t.ones(1)})),
        lambda t: text(3 in t.nn.ParameterDict({"b": t.ones(1)})),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(1)}).__delitem__("c")),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(1)}).copy()),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(1)})(3)),
        lambda t: text(t.nn.ParameterDict({"keys": t.ones(1)})),
        lambda t: text(t.nn.ParameterDict({"a.b": 1})),
        lambda t: text(t.nn.ParameterDict({"b": t.nn.Identity()})),
        lambda t: text(t.nn.ParameterDict({"b": t.ones(1)}).b),
        lambda t: text(list(t.nn.ParameterDict({"b": t.ones(1), "a": 4}).state_dict())),
        lambda t: text(len(t.nn.ParameterDict({"b": t.ones(1), "a": 4}))),
        lambda t: text(t.nn.Sequential(linear(t)).get_parameter("0.weight").shape),
        lambda t: text(t.nn.Sequential(linear(t)).get_parameter("weight")),
        lambda t: text(t.nn.Sequential(linear(t)).get_parameter("0")),
        lambda t: text(t.nn.Sequential(linear(t)).get_parameter("")),
        lambda t: text(t.nn.Sequential(linear(t)).get_buffer("0.weight")),
        lambda t: text(t.nn.BatchNorm1d(2).get_buffer("running_mean")),
        lambda t: text(t.nn.BatchNorm1d(2).get_buffer("")),
        lambda t: text(t.nn.Sequential(linear(t)).get_submodule("0.weight")),
        lambda t: text(t.nn.Sequential(linear(t)).get_submodule("0.")),
        lambda t: text(t.nn.Sequential(linear(t)).get_submodule("a.b")),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("0", t.nn.Identity())),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("1", t.nn.Identity())),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("1", t.nn.Identity(), strict=True)),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("1.a", t.nn.Identity())),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("0.weight", t.nn.Identity())),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("0.a", t.nn.Identity())),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("0", None)),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("0", "a")),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule(".0", linear(t))),
        lambda t: text(t.nn.Sequential(linear(t)).set_submodule("a.", linear(t))),
        lambda t: text(list(t.nn.Sequential(linear(t), linear(t)).named_children())),
        lambda t: text([n for n, _ in t.nn.Sequential(linear(t)).named_parameters("pre")]),
        lambda t: text([n for n, _ in t.nn.Sequential(linear(t)).named_parameters("pre.")]),
        lambda t: text([n for n, _ in t.nn.Sequential(linear(t)).named_modules(prefix="p")]),
        lambda t: text([n for n, _ in t.nn.BatchNorm1d(1).named_buffers("p", False)]),
        lambda t: text(list(t.nn.Sequential(linear(t)).modules())),
        lambda t: text(list(t.nn.Sequential(linear(t)).children())),
        lambda t: text(t.nn.Linear(2, 3).train(False).training),
        lambda t: text(t.nn.Module().train(mode=1)),
        lambda t: text(t.nn.Module().eval()),
        lambda t: text(t.nn.Module().apply(lambda m: 3)),
    ],
)
def test_one_call_each(program):
    same(program)
