"""Containers, beside PyTorch's."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from both import same


def linears(t, n=3):
    return [t.nn.Linear(2, 2 + i) for i in range(n)]


def sequential_forms(t):
    nn = t.nn
    model = nn.Sequential(*linears(t))
    named = nn.Sequential(OrderedDict(first=nn.Linear(2, 3), second=nn.Identity()))
    print(model, named, nn.Sequential())
    print(model[1], model[-1], model[1:], named[:1], len(model))
    model.append(nn.Identity()).insert(1, nn.Linear(7, 8)).extend([nn.Linear(1, 1)])
    print(model)
    del model[0], model[1:3]
    print(model, model.pop(0), model)
    model[0] = nn.Linear(9, 9)
    named.second = nn.Linear(3, 4)
    print(model + named, model * 2, 2 * model)
    model += named
    model *= 2
    print(model, [name for name, _ in model.named_parameters()], dir(model)[-3:])
    print(list(named.named_children()))
    return named(t.ones(2, 2)), list(named.state_dict())


def module_list(t):
    nn = t.nn
    model = nn.ModuleList(linears(t))
    print(model, nn.ModuleList(), nn.ModuleList([nn.Identity(), nn.Identity(), nn.Linear(1, 1), nn.Identity()]))
    print(nn.ModuleList([nn.Sequential(nn.Linear(1, 2), nn.Identity()) for _ in range(3)]))
    model.append(nn.Identity())
    model.insert(1, nn.Linear(7, 7))
    model.extend(linears(t, 1))
    model += [nn.Linear(5, 5)]
    print(model, model[1:3], model[-1], len(model), next(iter(model)))
    del model[0], model[-1], model[0:2]
    print(model, model.pop(1), model + [nn.Identity()])
    model[0] = nn.Identity()
    print(model)


def module_dict(t):
    nn = t.nn
    model = nn.ModuleDict({"b": nn.Linear(1, 2), "a": nn.Identity()})
    model.update([["c", nn.Linear(2, 2)]])
    model.update(nn.ModuleDict({"d": nn.Linear(3, 2)}))
    print(model, list(model), len(model), "a" in model, "x" in model, list(model.keys()), list(model.values()))
    print(model.pop("a"), list(model.items()))
    del model["b"]
    print(model)
    model.clear()
    print(model)


def parameter_list(t):
    nn = t.nn
    model = nn.ParameterList([t.ones(2, 3), nn.Parameter(t.zeros(1, dtype=t.float64)), 5])
    model.append(t.ones(()))
    model += [t.zeros(4)]
    model[0] = t.zeros(2)
    print(model, len(model), model[-1], model[1:3], [n for n, _ in model.named_parameters()])
    return list(model), model.state_dict()


def parameter_dict(t):
    nn = t.nn
    model = nn.ParameterDict({"b": t.ones(2), "a": nn.Parameter(t.zeros(1, dtype=t.float64)), "x": 3})
    print(model, list(model), len(model), "a" in model, list(reversed(model)))
    model.update(OrderedDict(z=t.ones(1), y=t.zeros(2)))
    model.update([("w", t.ones(1))])
    print(list(model.keys()), model.pop("b"), model.popitem(), model.get("nothing", 1), model.get("a"))
    print(model.setdefault("s", t.ones(1)), model.setdefault("s", t.zeros(1)), model.fromkeys("pq", 2))
    print((model | nn.ParameterDict({"new": t.ones(1)})).copy())
    model |= nn.ParameterDict({"more": t.ones(1)})
    del model["x"]
    print(model, [n for n, _ in model.named_parameters()])
    values = [(k, v) for k, v in model.items()]
    model.clear()
    print(model, list(model.values()))
    return values


@pytest.mark.parametrize("program", [sequential_forms, module_list, module_dict, parameter_list, parameter_dict])
def test_as_pytorch(program):
    same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.Sequential()[0],
        lambda t: t.nn.Sequential(t.nn.Identity())[1],
        lambda t: t.nn.Sequential(t.nn.Identity())[-2],
        lambda t: t.nn.Sequential(3),
        lambda t: t.nn.Sequential().insert(2, t.nn.Identity()),
        lambda t: t.nn.Sequential() + 3,
        lambda t: t.nn.Sequential() * 0,
        lambda t: t.nn.Sequential() * "a",
        lambda t: t.nn.ModuleList([3]),
        lambda t: t.nn.ModuleList(3),
        lambda t: t.nn.ModuleList().extend(3),
        lambda t: t.nn.ModuleList([t.nn.Identity()])[1],
        lambda t: t.nn.ModuleList([t.nn.Identity()])(3),
        lambda t: t.nn.ModuleDict({"a.b": t.nn.Identity()}),
        lambda t: t.nn.ModuleDict({"keys": t.nn.Identity()}),
        lambda t: t.nn.ModuleDict({"": t.nn.Identity()}),
        lambda t: t.nn.ModuleDict(3),
        lambda t: t.nn.ModuleDict([3]),
        lambda t: t.nn.ModuleDict([(1, 2, 3)]),
        lambda t: t.nn.ModuleDict({"a": 3}),
        lambda t: t.nn.ModuleDict()["a"],
        lambda t: t.nn.ParameterList(3),
        lambda t: t.nn.ParameterList([t.ones(1)])[1],
        lambda t: t.nn.ParameterList()(),
        lambda t: t.nn.ParameterDict()(1),
        lambda t: t.nn.ParameterDict({3: t.ones(1)}),
        lambda t: t.nn.ParameterDict({"a.b": t.ones(1)}),
        lambda t: t.nn.ParameterDict(3),
        lambda t: t.nn.ParameterDict([(1, 2, 3)]),
        lambda t: t.nn.ParameterDict()["a"],
    ],
)
def test_errors(program):
    same(program)
