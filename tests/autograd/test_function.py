"""``autograd.Function``: every option and every fault, the same as in PyTorch."""

from __future__ import annotations

import warnings

import pytest
import torch as oracle

import flambeau

LIBRARIES = (flambeau, oracle)


def function(L, forward=None, backward=None, **more):
    parts = {"forward": forward, "backward": backward, **more}
    wrapped = {k: staticmethod(v) if callable(v) else v for k, v in parts.items() if v is not None}
    return type("F", (L.autograd.Function,), wrapped)


def ones(L):
    return L.ones(2, requires_grad=True)


def written(L):
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.mul_(2)
        return x

    a = ones(L)
    x = a * 1
    y = function(L, forward, lambda ctx, g: g * 2).apply(x)
    y.sum().backward()
    return y is x, x.tolist(), a.grad.tolist(), x._version


def written_leaf(L):
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2)

    return function(L, forward, lambda ctx, g: g).apply(ones(L))


def written_and_kept(L):
    def forward(ctx, x):
        ctx.mark_dirty(x)
        return x.mul_(2) * 1

    return function(L, forward, lambda ctx, g: g).apply(ones(L) * 1)


def not_differentiable(L):
    def forward(ctx, x):
        first, second, third = x * 2, x.argmax(), x * 3
        ctx.mark_non_differentiable(second, third)
        return first, second, third

    a = ones(L)
    results = function(L, forward, lambda ctx, g, h, k: g * 2).apply(a)
    results[0].sum().backward()
    return [r.requires_grad for r in results], a.grad.tolist()


def materialized(L, wanted):
    seen = []

    def forward(ctx, x):
        ctx.set_materialize_grads(wanted)
        return x * 2, x * 3

    def backward(ctx, g, h):
        seen.append((g.tolist(), None if h is None else h.tolist()))
        return g

    function(L, forward, backward).apply(ones(L))[0].sum().backward()
    return seen


def with_context(L):
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.power = inputs[1]

    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.power * x ** (ctx.power - 1), None

    a = L.tensor([2.0, 3.0], requires_grad=True)
    function(L, lambda x, k: x**k, backward, setup_context=setup_context).apply(a, 3).sum().backward()
    return a.grad.tolist()


def once(L, power):
    F = function(L, lambda ctx, x: x * 2, L.autograd.function.once_differentiable(lambda ctx, g: g * 2))
    a = ones(L)
    out = F.apply(a)
    (g,) = L.autograd.grad((out if power == 1 else out**power).sum(), a, create_graph=True)
    return g, g.requires_grad


def mixed(L):
    a = ones(L)
    results = function(L, lambda ctx, x: (x * 2, 3, None, "a"), lambda ctx, g, *rest: g * 2).apply(a)
    results[0].sum().backward()
    return results[1:], a.grad.tolist()


def same(L):
    a = ones(L)
    y = function(L, lambda ctx, x: x, lambda ctx, g: g * 5).apply(a)
    y.sum().backward()
    return y is a, a.grad.tolist()


def modes(L):
    seen = []

    def forward(ctx, x):
        seen.append(L.is_grad_enabled())
        return x * 2

    def backward(ctx, g):
        seen.append((L.is_grad_enabled(), ctx.needs_input_grad))
        return g

    F = function(L, forward, backward)
    a = ones(L)
    L.autograd.grad(F.apply(a).sum(), a, create_graph=True)
    F.apply(a).sum().backward()
    return seen


def entry(L):
    y = function(L, lambda ctx, x: (ctx.save_for_backward(x), x * 2)[1], lambda ctx, g: g).apply(ones(L))
    return y.grad_fn.name(), len(y.grad_fn.next_functions), [t.tolist() for t in y.grad_fn.saved_tensors]


def mapped(L, **more):
    F = function(
        L,
        lambda x: x**2,
        lambda ctx, g: g * 2 * ctx.saved_tensors[0],
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
        **more,
    )
    a = L.tensor([[2.0, 3.0], [1.0, 1.0]])
    return (
        L.vmap(F.apply)(a).tolist(),
        L.vmap(lambda x: F.apply(x * 2) + 1)(a).tolist(),
        L.vmap(L.func.grad(lambda x: F.apply(x).sum()))(a).tolist(),
        L.vmap(L.vmap(F.apply))(a).tolist(),
    )


def mapped_by_rule(L):
    seen = []

    def rule(info, in_dims, x):
        seen.append((info.batch_size, info.randomness, in_dims, tuple(x.shape)))
        return (x**2).movedim(0, -1) if x.ndim == 2 else x**2, x.ndim - 1

    return mapped(L, vmap=rule), seen


PROGRAMS = {
    "written": written,
    "not differentiable": not_differentiable,
    "materialized": lambda L: materialized(L, True),
    "not materialized": lambda L: materialized(L, False),
    "with context": with_context,
    "once": lambda L: once(L, 1)[1],
    "mixed results": mixed,
    "the same result": same,
    "modes": modes,
    "entry": entry,
    "mapped": lambda L: mapped(L, generate_vmap_rule=True),
    "mapped by its own rule": mapped_by_rule,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_functions_do_what_they_do_in_pytorch(name, tier):
    assert PROGRAMS[name](flambeau) == PROGRAMS[name](oracle)


FAULTS = {
    "a leaf written to": (written_leaf, RuntimeError, "a leaf Variable that requires grad has been used in an in-plac"),
    "written and not returned": (written_and_kept, RuntimeError, "Some elements marked as dirty during the forward"),
    "differentiated twice": (
        lambda L: once(L, 2)[0].sum().backward(),
        RuntimeError,
        "trying to differentiate twice a function that was marked with @once_differentiable",
    ),
    "too few gradients": (
        lambda L: function(L, lambda ctx, x, y: x * y, lambda ctx, g: g).apply(ones(L), ones(L)).sum().backward(),
        RuntimeError,
        r"returned an incorrect number of gradients \(expected 2, got 1\)",
    ),
    "a gradient's shape": (
        lambda L: function(L, lambda ctx, x: x * 2, lambda ctx, g: L.ones(3)).apply(ones(L)).sum().backward(),
        RuntimeError,
        r"returned an invalid gradient at index 0 - got \[3\] but expected shape compatible with \[2\]",
    ),
    "a gradient's type": (
        lambda L: function(L, lambda ctx, x: x * 2, lambda ctx, g: 3).apply(ones(L)).sum().backward(),
        RuntimeError,
        r"expected Variable or None \(got int\)",
    ),
    "a number saved": (
        lambda L: function(L, lambda ctx, x: ctx.save_for_backward(x, 3), lambda ctx, g: g).apply(ones(L)),
        TypeError,
        "save_for_backward can only save variables, but argument 1 is of type int",
    ),
    "no backward": (
        lambda L: function(L, lambda ctx, x: x * 2).apply(ones(L)).sum().backward(),
        NotImplementedError,
        "You must implement either the backward or vjp method",
    ),
    "no forward": (
        lambda L: function(L).apply(ones(L)),
        NotImplementedError,
        "You must implement the forward function for custom autograd.Function",
    ),
    "two rules": (
        lambda L: mapped(L, vmap=lambda info, in_dims, x: (x, 0), generate_vmap_rule=True),
        RuntimeError,
        "it has both generate_vmap_rule=True and an overridden vmap staticmethod",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_as_pytorch_tells_them(name):
    program, kind, message = FAULTS[name]
    for L in LIBRARIES:
        with pytest.raises(kind, match=message), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program(L)


def test_functions_are_not_instantiated():
    for L in LIBRARIES:
        with pytest.warns(DeprecationWarning, match="should not be instantiated"):
            function(L, lambda ctx, x: x)()
