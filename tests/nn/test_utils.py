"""Helpers around modules, beside PyTorch's."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch.nn.utils.prune  # noqa: F401  (which torch.nn.utils leaves out)
from both import same

import flambeau


def with_gradients(t, scale=1.0):
    params = [t.nn.Parameter(t.randn(3, 4)), t.nn.Parameter(t.randn(5)), t.nn.Parameter(t.ones(2))]
    ((params[0] ** 2).sum() + (params[1] * 3).sum()).mul(scale).backward()
    return params


def clipping(t):
    utils = t.nn.utils
    found = []
    for norm_type in (2.0, 1, math.inf, 3, 0.5):
        params = with_gradients(t)
        found.append(utils.clip_grad_norm_(params, 1.5, norm_type))
        found.append([p.grad for p in params[:2]])
    params = with_gradients(t)
    found.append(utils.clip_grad_norm_(iter(params), 1e6))
    found.append(utils.clip_grad_norm_(params[0], 0.1, foreach=False))
    utils.clip_grad_value_(params, 0.05)
    found.append([p.grad for p in params[:2]])
    total = utils.get_total_norm([p.grad for p in params[:2]])
    utils.clip_grads_with_norm_(params, 0.01, total)
    found.append([total, *(p.grad for p in params[:2]), utils.get_total_norm([])])
    found.append(utils.clip_grad_norm_([t.ones(1, requires_grad=True)], 1.0))
    found.append(utils.clip_grad_norm_((p for p in []), 1.0))
    mixed = [t.nn.Parameter(t.ones(2)), t.nn.Parameter(t.ones(2, dtype=t.float64))]
    (mixed[0].sum() * 3 + mixed[1].sum()).backward()
    found.append([utils.clip_grad_norm_(mixed, 1.0), mixed[0].grad, mixed[1].grad])
    return found


def not_finite(t):
    p = t.nn.Parameter(t.ones(2))
    (p * math.inf).sum().backward()
    t.nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)


def old_clip(t):
    return t.nn.utils.clip_grad_norm(with_gradients(t), 1.0)


def vectors(t):
    m = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.Linear(3, 1))
    vector = t.nn.utils.parameters_to_vector(m.parameters())
    print(vector.grad_fn.name(), vector.shape)
    before = m[0].weight
    t.nn.utils.vector_to_parameters(t.arange(13.0), m.parameters())
    print(before is m[0].weight, m[0].weight.requires_grad)
    return vector, list(m.parameters())


@pytest.mark.parametrize(
    "program",
    [
        clipping,
        not_finite,
        old_clip,
        vectors,
        lambda t: t.nn.utils.vector_to_parameters([1.0], []),
    ],
)
def test_gradients_and_vectors(program):
    same(program, rtol=1e-6, atol=1e-7)


def skipping(t):
    m = t.nn.utils.skip_init(t.nn.Linear, 3, 2, dtype=t.float64)
    print(m, m.weight.dtype, m.weight.device, m.weight.shape)
    return t.rand(1)


class Simple:
    """Makes a module's class for each library."""

    @staticmethod
    def tied(t):
        class Tied(t.nn.Module):
            def __init__(self):
                super().__init__()
                self.foo = t.nn.Parameter(t.ones(1))
                self.bar = self.foo
                self.register_buffer("steps", t.zeros(1))
                self.fc = t.nn.Linear(1, 1)

            def forward(self, x, k=0):
                self.steps = self.steps + 1
                return x + self.foo * 10 + self.bar + k + 0 * self.fc(x)

        return Tied()


def functional_call(t):
    m = Simple.tied(t)
    call = t.nn.utils.stateless._functional_call
    given = {"foo": t.full((1,), 2.0), "steps": t.full((1,), 5.0)}
    out = [call(m, given, t.zeros(1)), call(m, {"foo": t.full((1,), 3.0)}, (t.zeros(1),), {"k": 1}, tie_weights=False)]
    w = t.ones(1, 1, requires_grad=True)
    out.append(call(m, {"fc.weight": w}, (t.ones(1),)))
    print(list(given), given["steps"], m.steps, m.foo, m.bar is m.foo, type(m.fc.weight).__name__)
    return out, t.autograd.grad(out[2], w) if t is not flambeau else out[2].backward() or [w.grad]


@pytest.mark.parametrize(
    "program",
    [
        skipping,
        functional_call,
        lambda t: t.nn.utils.stateless.functional_call(t.nn.Linear(1, 1), {}, t.ones(1)),
        lambda t: t.nn.utils.stateless._functional_call(Simple.tied(t), {"foo": t.ones(1), "bar": t.zeros(1)}, 1),
        lambda t: t.nn.utils.stateless._functional_call(Simple.tied(t), {"foo": t.ones(1)}, 1, strict=True),
        lambda t: t.nn.utils.stateless._functional_call(Simple.tied(t), {"x": t.ones(1)}, t.ones(1), strict=True),
        lambda t: t.nn.utils.skip_init(int),
        lambda t: t.nn.utils.skip_init(t.nn.Identity),
    ],
)
def test_init_and_calls(program):
    same(program)


# ---------------------------------------------------------------- parametrizations


def symmetric(t):
    class Symmetric(t.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).transpose(-1, -2)

        def right_inverse(self, a):
            return a.triu()

    return Symmetric()


def outer(t):
    class Outer(t.nn.Module):
        def forward(self, x, y):
            return x.unsqueeze(-1) @ y.unsqueeze(-2)

        def right_inverse(self, z):
            return z[:, 0] * 1, z[0] * 1

    return Outer()


class Scaled:
    @staticmethod
    def of(t, by, inverse=True):
        class Scale(t.nn.Module):
            def forward(self, x):
                return x * by

        if inverse:
            Scale.right_inverse = lambda self, x: x / by
        return Scale()


def parametrizing(t):
    P = t.nn.utils.parametrize
    m = t.nn.Linear(3, 3)
    weight = m.weight
    found = [P.register_parametrization(m, "weight", symmetric(t)) is m]
    print(m, P.is_parametrized(m), P.is_parametrized(m, "bias"), P.type_before_parametrizations(m).__name__)
    print(list(m.state_dict()), m.parametrizations.weight.original is weight)
    found.append(m.weight)
    m(t.ones(2, 3)).sum().backward()
    found.append(weight.grad)
    m.weight = t.arange(9.0).reshape(3, 3)
    found.append(m.weight)
    P.register_parametrization(m, "weight", Scaled.of(t, 2.0))
    P.register_parametrization(m, "bias", Scaled.of(t, 3.0, inverse=False))
    print(m)
    found += [m.weight, m.bias]
    other = copy.deepcopy(m)
    found.append(other.weight)
    with P.cached():
        a = m.weight
        print(a is m.weight)
    print(m.weight is m.weight)
    P.remove_parametrizations(m, "weight")
    print(m, m.weight is weight, list(m.state_dict()))
    P.remove_parametrizations(m, "bias", leave_parametrized=False)
    print(m, type(m).__name__, hasattr(m, "parametrizations"))
    return [*found, m.weight, m.bias]


def several_originals(t):
    P = t.nn.utils.parametrize
    m = t.nn.Linear(3, 3)
    P.register_parametrization(m, "weight", outer(t), unsafe=True)
    print(m, [(n, p.requires_grad) for n, p in m.named_parameters()])
    first = m.weight
    m.weight = t.ones(3, 3)
    second = m.weight
    P.remove_parametrizations(m, "weight")
    print(type(m.weight).__name__, m.weight.requires_grad)
    return first, second, m.weight


def transferred(t):
    P = t.nn.utils.parametrize
    m, other = t.nn.Linear(3, 3), t.nn.Linear(3, 3)
    P.register_parametrization(m, "weight", symmetric(t))
    P.transfer_parametrizations_and_params(m, other)
    print(other, other.parametrizations.weight.original is m.parametrizations.weight.original)
    return other.weight


def broken(t, forward, inverse=None, twice=False):
    P = t.nn.utils.parametrize

    class Broken(t.nn.Module):
        pass

    Broken.forward = lambda self, *x: forward(*x)
    if inverse:
        Broken.right_inverse = lambda self, x: inverse(x)
    m = t.nn.Linear(2, 2)
    if twice:
        P.register_parametrization(m, "weight", Scaled.of(t, 2.0))
    P.register_parametrization(m, "weight", Broken())
    return m


def without_inverse(t):
    m = broken(t, lambda x: x)
    m.weight = t.ones(2, 2)


@pytest.mark.parametrize(
    "program",
    [
        parametrizing,
        several_originals,
        transferred,
        without_inverse,
        lambda t: broken(t, lambda x: 3),
        lambda t: broken(t, lambda x: x.double()),
        lambda t: broken(t, lambda x: x[:1]),
        lambda t: broken(t, lambda x: x, lambda x: 3),
        lambda t: broken(t, lambda x: x, lambda x: x.double()),
        lambda t: broken(t, lambda x, y: x, lambda x: [x, 3]),
        lambda t: broken(t, lambda x: 3, twice=True),
        lambda t: broken(t, lambda x: x.double(), twice=True),
        lambda t: broken(t, lambda x: x[:1], twice=True),
        lambda t: broken(t, lambda x: x, lambda x: 3, twice=True),
        lambda t: broken(t, lambda x: x, lambda x: x.double(), twice=True),
        lambda t: broken(t, lambda x: x, lambda x: x[:1], twice=True),
        lambda t: t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "what", t.nn.Identity()),
        lambda t: t.nn.utils.parametrize.remove_parametrizations(t.nn.Linear(2, 2), "weight"),
        lambda t: t.nn.utils.parametrize.ParametrizationList([], t.ones(1)),
        lambda t: broken(t, lambda x: x).__getstate__(),
        lambda t: t.nn.utils.parametrize.remove_parametrizations(
            t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "weight", outer(t)), "weight", False
        ),
    ],
)
def test_parametrize(program):
    same(program, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("how", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(shape, how):
    def program(t):
        m = t.nn.Linear(shape[1], shape[0], dtype=t.float64)
        t.nn.utils.parametrizations.orthogonal(m, orthogonal_map=how)
        print(m, list(m.state_dict()))
        before = m.weight
        (m(t.ones(2, shape[1], dtype=t.float64)) ** 2).sum().backward()
        original = m.parametrizations.weight.original
        grad = original.grad
        with t.no_grad():
            original.sub_(0.1 * grad)
        return before, grad, m.weight

    same(program, rtol=1e-8, atol=1e-10)


def orthogonal_again(t):
    m = t.nn.Linear(3, 5, dtype=t.float64)
    t.nn.utils.parametrizations.orthogonal(m, use_trivialization=False)
    first = m.weight
    m.weight = t.nn.init.orthogonal_(t.empty(5, 3, dtype=t.float64))
    return first, m.weight


def weight_norm(t):
    found = []
    for dim in (0, 1, None):
        m = t.nn.utils.parametrizations.weight_norm(t.nn.Linear(3, 4), dim=dim)
        print(m, [(n, p.shape) for n, p in m.named_parameters()])
        m(t.ones(2, 3)).sum().backward()
        found += [m.weight, *(p.grad for p in m.parameters())]
        state = {"weight_g": m.parametrizations.weight.original0 * 2, "bias": m.bias}
        state["weight_v"] = m.parametrizations.weight.original1
        m.load_state_dict(state)
        found.append(m.weight)
    return found


def old_weight_norm(t):
    m = t.nn.utils.weight_norm(t.nn.Linear(3, 4))
    print(m, [n for n, _ in m.named_parameters()])
    y = m(t.ones(2, 3))
    y.sum().backward()
    found = [m.weight, m.weight_g.grad, m.weight_v.grad]
    with t.no_grad():
        m.weight_g.mul_(2)
    found.append(m(t.ones(1, 3)))
    t.nn.utils.remove_weight_norm(m)
    print([n for n, _ in m.named_parameters()], len(m._forward_pre_hooks))
    return found, m.weight


def spectral_norm(t):
    m = t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(3, 4), n_power_iterations=2)
    print(m, list(m.state_dict()))
    y = m(t.ones(2, 3))
    y.sum().backward()
    found = [y, m.parametrizations.weight.original.grad, m.state_dict()]
    m.eval()
    found += [m.weight, m.weight]
    vector = t.nn.Module()
    vector.b = t.nn.Parameter(t.arange(3.0))
    t.nn.utils.parametrizations.spectral_norm(vector, "b")
    return found, vector.b


def old_spectral_norm(t):
    m = t.nn.utils.spectral_norm(t.nn.Linear(3, 4), n_power_iterations=3)
    print(m, list(m.state_dict()), m.state_dict()._metadata[""])
    y = m(t.ones(2, 3)) - m(t.zeros(2, 3))
    y.sum().backward()
    found = [y, m.weight_orig.grad, m.weight_u, m.weight_v]
    other = t.nn.utils.spectral_norm(t.nn.Linear(3, 4))
    print(other.load_state_dict(m.state_dict()))
    found.append(other.eval()(t.ones(1, 3)))
    t.nn.utils.remove_spectral_norm(m)
    print(list(m.state_dict()), len(m._forward_pre_hooks), len(m._state_dict_hooks))
    return found, m.weight


def before_version_one(t):
    m = t.nn.utils.spectral_norm(t.nn.Linear(3, 4))
    m(t.ones(1, 3))
    state = m.state_dict()
    del state._metadata
    state = dict(state)
    state["weight"] = m.weight.detach()
    del state["weight_v"]
    m.load_state_dict(state)
    return m.weight_v


@pytest.mark.parametrize(
    "program",
    [
        orthogonal_again,
        weight_norm,
        old_weight_norm,
        spectral_norm,
        old_spectral_norm,
        before_version_one,
        lambda t: t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2), "what"),
        lambda t: t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2), "bias"),
        lambda t: t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2), orthogonal_map="what"),
        lambda t: t.nn.utils.parametrizations.orthogonal(
            t.nn.Linear(2, 2, dtype=t.complex64), orthogonal_map="householder"
        ),
        lambda t: setattr(
            t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2), use_trivialization=False), "weight", t.ones(2, 2)
        ),
        lambda t: setattr(t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2)), "weight", t.ones(2, 3)),
        lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 2), "what"),
        lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 2), dim=2),
        lambda t: t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 2), n_power_iterations=0),
        lambda t: t.nn.utils.spectral_norm(t.nn.Linear(2, 2), n_power_iterations=0),
        lambda t: t.nn.utils.spectral_norm(t.nn.utils.spectral_norm(t.nn.Linear(2, 2))),
        lambda t: t.nn.utils.spectral_norm(t.nn.LazyLinear(2)),
        lambda t: t.nn.utils.spectral_norm(t.nn.Linear(2, 2, bias=False), "bias"),
        lambda t: t.nn.utils.remove_spectral_norm(t.nn.Linear(2, 2)),
        lambda t: t.nn.utils.weight_norm(t.nn.LazyLinear(2)),
        lambda t: t.nn.utils.weight_norm(t.nn.utils.weight_norm(t.nn.Linear(2, 2))),
        lambda t: t.nn.utils.remove_weight_norm(t.nn.Linear(2, 2)),
    ],
)
def test_parametrizations(program):
    same(program, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- pruning


def pruning(t):
    prune = t.nn.utils.prune
    found = []

    def keep(m):
        print(list(m.state_dict()), prune.is_pruned(m), len(m._forward_pre_hooks))
        found.append([m.weight, m.weight_mask, m.weight_orig])

    for step in (
        lambda m: prune.identity(m, "weight"),
        lambda m: prune.random_unstructured(m, "weight", 3),
        lambda m: prune.l1_unstructured(m, "weight", 0.4),
        lambda m: prune.random_structured(m, "weight", 2, dim=1),
        lambda m: prune.ln_structured(m, "weight", 0.5, n=2, dim=0),
        lambda m: prune.ln_structured(m, "weight", 1, n=float("-inf"), dim=-1),
        lambda m: prune.custom_from_mask(m, "weight", t.eye(4, 5)),
        lambda m: prune.l1_unstructured(m, "weight", 5, importance_scores=t.arange(20.0).reshape(4, 5)),
        lambda m: prune.l1_unstructured(m, "weight", 0),
    ):
        m = t.nn.Linear(5, 4)
        step(m)
        keep(m)
        prune.l1_unstructured(m, "weight", amount=2)
        keep(m)
        prune.random_structured(m, "weight", 1, dim=0)
        keep(m)
        y = m(t.ones(1, 5))
        y.sum().backward()
        found.append([y, m.weight_orig.grad])
        prune.remove(m, "weight")
        print(list(m.state_dict()), prune.is_pruned(m), type(m.weight).__name__)
        found.append(m.weight)
    return found


def pruned_globally(t):
    prune = t.nn.utils.prune
    m = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Linear(4, 2))
    pairs = [(m[0], "weight"), (m[1], "weight")]
    prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.5)
    first = m.state_dict()
    prune.global_unstructured(pairs, pruning_method=prune.RandomUnstructured, amount=2)
    method = prune.L1Unstructured(2)
    return first, m.state_dict(), method.prune(t.arange(6.0)), m(t.ones(1, 3))


@pytest.mark.parametrize(
    "program",
    [
        pruning,
        pruned_globally,
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", "a"),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", 1.5),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", -1),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "weight", 9),
        lambda t: t.nn.utils.prune.l1_unstructured(t.nn.Linear(2, 2), "what", 1),
        lambda t: t.nn.utils.prune.random_structured(t.nn.Linear(2, 2), "bias", 1, dim=0),
        lambda t: t.nn.utils.prune.random_structured(t.nn.Linear(2, 2), "weight", 1, dim=2),
        lambda t: t.nn.utils.prune.custom_from_mask(t.nn.Linear(2, 2), "weight", t.ones(3)),
        lambda t: t.nn.utils.prune.remove(t.nn.Linear(2, 2), "weight"),
        lambda t: t.nn.utils.prune.global_unstructured(3, t.nn.utils.prune.L1Unstructured, amount=1),
        lambda t: t.nn.utils.prune.global_unstructured(
            [(t.nn.Linear(2, 2), "weight")], t.nn.utils.prune.LnStructured, amount=1, n=2
        ),
        lambda t: t.nn.utils.prune.PruningContainer().add_pruning_method(3),
    ],
)
def test_prune(program):
    same(program, rtol=1e-6, atol=1e-7)


def test_a_failed_pruning_leaves_the_module_as_it_was():
    m = flambeau.nn.Linear(2, 2)
    before = m.weight
    with pytest.raises(ValueError, match="should be smaller than the number of parameters"):
        flambeau.nn.utils.prune.l1_unstructured(m, "weight", 9)
    assert m.weight is before
    assert list(m.state_dict()) in (["weight", "bias"], ["bias", "weight"])


# ---------------------------------------------------------------- fusion


def fused_linear(t):
    linear, bn = t.nn.Linear(3, 4).eval(), t.nn.BatchNorm1d(4).eval()
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.5, 2)
    fused = t.nn.utils.fuse_linear_bn_eval(linear, bn)
    x = t.randn(5, 3)
    return fused(x), bn(linear(x)), list(fused.parameters())


def fused_conv(t):
    conv, bn = t.nn.Conv2d(3, 4, 2, bias=False).eval(), t.nn.BatchNorm2d(4, affine=False).eval()
    bn.running_mean.normal_()
    bn.running_var.uniform_(0.5, 2)
    fused = t.nn.utils.fuse_conv_bn_eval(conv, bn)
    x = t.randn(2, 3, 4, 4)
    return fused(x), bn(conv(x)), list(fused.parameters())


@pytest.mark.parametrize(
    "program",
    [
        fused_linear,
        fused_conv,
        lambda t: t.nn.utils.fuse_conv_bn_eval(t.nn.Conv1d(1, 1, 1), t.nn.BatchNorm1d(1)),
        lambda t: t.nn.utils.fuse_linear_bn_eval(t.nn.Linear(2, 3).eval(), t.nn.BatchNorm1d(2).eval()),
    ],
)
def test_fusion(program):
    same(program, rtol=1e-5, atol=1e-6)


def test_memory_format_changes_nothing():
    m = flambeau.nn.Linear(2, 2)
    assert flambeau.nn.utils.convert_conv2d_weight_memory_format(m, None) is m
    assert flambeau.nn.utils.convert_conv3d_weight_memory_format(m, None) is m


def test_prefixes_are_taken_off():
    def program(t):
        m = t.nn.Sequential(t.nn.Linear(1, 1))
        state = t.nn.Sequential(m).state_dict()
        t.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "0.")
        return list(state), list(state._metadata), str(m.load_state_dict(state))

    same(program)


def test_tuples():
    utils = flambeau.nn.modules.utils
    assert utils._pair(3) == (3, 3)
    assert utils._triple([1, 2, 3]) == (1, 2, 3)
    assert utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
    assert utils._list_with_default([None, 5], [7, 8, 9]) == [8, 5]
    assert np.isscalar(utils._list_with_default(5, [1]))
