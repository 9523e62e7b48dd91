"""Lazy modules, beside PyTorch's."""

from __future__ import annotations

import copy
import pickle

import pytest
from both import alike, same, text

import flambeau


def wave(t, *shape):
    """Values that differ everywhere."""
    return (t.arange(float(t.Size(shape).numel())) * 1.7).sin().reshape(shape)


def _module(t, name, **more):
    arguments = (3,) if name == "LazyLinear" else (3, 2) if "Conv" in name else ()
    if "Instance" in name:
        more |= {"affine": True, "track_running_stats": True}
    return getattr(t.nn, name)(*arguments, **more)


def _shape(name):
    axes = 0 if name == "LazyLinear" else int(name[-2])
    return (2, 4, *(5, 4, 3)[:axes])


NAMES = [
    "LazyLinear",
    *[f"Lazy{kind}{axes}d" for kind in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm") for axes in (1, 2, 3)],
]


@pytest.mark.parametrize("name", NAMES)
def test_lazy_modules(name):
    shape = _shape(name)

    def told(call):
        try:
            print(call())
        except Exception as error:
            print(type(error).__name__, text(error))

    def program(t):
        module, other, third = [_module(t, name) for _ in range(3)]
        print(module, list(module.state_dict()), module.has_uninitialized_params(), module.cls_to_become.__name__)
        print(len(module._forward_pre_hooks), len(module._load_state_dict_pre_hooks))
        print([str(v) for key, v in module.state_dict().items() if "num" not in key])
        pickled = pickle.loads(pickle.dumps(module))
        y = module(wave(t, *shape))
        print(type(module).__name__, module, hasattr(module, "_initialize_hook"), type(pickled).__name__)
        print(len(module._forward_pre_hooks), len(module._load_state_dict_pre_hooks))
        told(lambda: module.load_state_dict(third.state_dict()))
        told(lambda: other.load_state_dict(third.state_dict()))
        told(lambda: third.load_state_dict({}))
        told(lambda: other.load_state_dict(module.state_dict()))
        told(lambda: (other(wave(t, *shape)).shape, type(other).__name__, other))
        told(lambda: _module(t, name, dtype=t.float64)(wave(t, *shape).double()).dtype)
        told(lambda: _module(t, name).double()(wave(t, *shape).double()).dtype)
        told(lambda: _module(t, name, device="meta")(t.ones(shape, device="meta")).shape)
        return y, module.state_dict()

    same(program, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_copies_of_lazy_modules(name):
    # PyTorch copies those alone that have no buffers.
    module = _module(flambeau, name)
    copied = copy.deepcopy(module)
    assert copied.has_uninitialized_params()
    x = wave(flambeau, *_shape(name))
    assert copied(x).shape == module(x).shape


def no_sizes_are_told(t):

    class L(t.nn.modules.lazy.LazyModuleMixin, t.nn.Module):
        def __init__(s):
            super().__init__()
            s.w = t.nn.UninitializedParameter()

        def forward(s, a):
            return a * s.w

    L()(t.ones(2))


def not_everything_is_told(t):

    class L(t.nn.modules.lazy.LazyModuleMixin, t.nn.Module):
        def __init__(s):
            super().__init__()
            s.w = t.nn.UninitializedParameter()
            s.b = t.nn.UninitializedBuffer()

        def initialize_parameters(s, a):
            s.w.materialize(a.shape)

        def forward(s, a):
            return a * s.w

    L()(t.ones(2))


def a_lazy_module_of_ones_own(t):

    class L(t.nn.modules.lazy.LazyModuleMixin, t.nn.Module):
        def __init__(s):
            super().__init__()
            s.w = t.nn.UninitializedParameter()

        def initialize_parameters(s, a):
            with t.no_grad():
                s.w.materialize(a.shape)
                s.w.fill_(3)

        def forward(s, a):
            return a * s.w

    m = L()
    y = m(t.ones(2))
    print(type(m).__name__, m)
    return y


@pytest.mark.parametrize(
    "program",
    [
        no_sizes_are_told,
        not_everything_is_told,
        a_lazy_module_of_ones_own,
    ],
)
def test_modules_of_ones_own(program):
    same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: text(t.nn.Sequential(t.nn.LazyLinear(3), t.nn.LazyBatchNorm1d())(wave(t, 3, 2)).shape),
        lambda t: text(t.nn.LazyLinear(3).reset_parameters()),
        lambda t: text(t.nn.LazyLinear(3).share_memory()),
        lambda t: text(t.nn.LazyLinear(3).to(t.float64).weight.dtype),
        lambda t: text(t.nn.LazyLinear(3).to("meta").weight.device),
        lambda t: text(t.nn.LazyLinear(3).zero_grad()),
        lambda t: text(t.optim.SGD(t.nn.LazyLinear(3).parameters(), lr=1.0)),
        lambda t: text(t.optim.Adam(t.nn.LazyLinear(3).parameters()).step()),
        lambda t: text(t.nn.LazyLinear(3).apply(lambda m: None)),
        lambda t: text(t.nn.LazyLinear(3).half().weight.dtype),
        lambda t: text(t.nn.LazyConv2d(3, 2)),
        lambda t: text(t.nn.LazyLinear(3)(input=wave(t, 1, 2)).shape),
        lambda t: text(t.nn.LazyLinear(3).cls_to_become),
        lambda t: text(t.nn.LazyConv2d(3, 2)(wave(t, 2))),
        lambda t: text(t.nn.LazyConv1d(3, 2)(wave(t, 2, 2, 2, 2))),
        lambda t: text((lambda m: (m(wave(t, 1, 2)), m(wave(t, 1, 3))))(t.nn.LazyLinear(3))),
        lambda t: text(t.nn.LazyLinear(3)._replicate_for_data_parallel()),
        lambda t: text(t.nn.LazyLinear(3).initialize_parameters(wave(t, 1, 4))),
        lambda t: text(t.nn.utils.clip_grad_norm_(t.nn.LazyLinear(3).parameters(), 1.0)),
    ],
)
def test_one_call_each(program):
    alike(program)
