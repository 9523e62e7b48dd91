"""Differentiation beside PyTorch: the same program on both, the same gradients, hooks and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle

import flambeau

LIBRARIES = (flambeau, oracle)


def both(program):
    """What a program gives on each library, as NumPy arrays."""
    found = []
    for library in LIBRARIES:
        results = program(library)
        found.append([r.detach().numpy() if hasattr(r, "detach") else r for r in results])
    assert len(found[0]) == len(found[1])
    for ours, theirs in zip(*found, strict=True):
        if isinstance(theirs, np.ndarray):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        else:
            assert ours == theirs


def leaf(t, *shape, seed=0):
    return t.tensor(np.random.default_rng(seed).normal(size=shape).astype(np.float32), requires_grad=True)


def test_gradients_accumulate():
    def program(t):
        x = leaf(t, 3)
        for _ in range(3):
            (x * x).sum().backward()
        return [x.grad]

    both(program)


def test_writes_to_a_view_reach_the_gradient_of_the_base():
    def program(t):
        x = leaf(t, 4, 4)
        w = leaf(t, 4, seed=1)
        y = x * 2
        y[1] = w
        y[:, 2] *= 3
        y.t()[0].add_(1)
        (y * y).sum().backward()
        return [y, x.grad, w.grad]

    both(program)


def test_a_view_taken_before_a_write_follows_the_base():
    def program(t):
        x = leaf(t, 4)
        y = x * 1
        v = y[1:3]
        y.mul_(5)
        (v * v).sum().backward()
        return [v, x.grad]

    both(program)


def test_a_saved_value_survives_a_write():
    x = flambeau.tensor([1.0, 2.0], requires_grad=True)
    y = x * 1
    z = y * y
    y.mul_(10)
    z.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_hooks_on_tensors():
    def program(t):
        x = leaf(t, 3)
        seen = []
        y = x * 2
        y.register_hook(lambda g: seen.append(g.sum().item()) or g * 10)
        handle = x.register_hook(lambda g: g + 1)
        y.sum().backward()
        first = x.grad.clone()
        handle.remove()
        x.grad = None
        (x * 2).sum().backward()
        return [first, x.grad, *seen]

    both(program)


def test_retained_gradients():
    def program(t):
        x = leaf(t, 3)
        y = x * 2
        y.retain_grad()
        (y * y).sum().backward()
        return [y.grad, x.grad, y.retains_grad, y.is_leaf]

    both(program)


def test_post_accumulate_hooks():
    def program(t):
        x = leaf(t, 3)
        seen = []
        x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.sum().item()))
        (x * 3).sum().backward()
        return seen

    both(program)


def test_second_and_third_derivatives():
    def program(t):
        x = leaf(t, 3)
        y = (x.exp() * x).sum()
        (first,) = t.autograd.grad(y, x, create_graph=True)
        (second,) = t.autograd.grad(first.sum(), x, create_graph=True)
        (third,) = t.autograd.grad(second.sum(), x)
        return [first, second, third]

    both(program)


def test_gradients_with_respect_to_intermediate_values():
    def program(t):
        x = leaf(t, 3)
        y = x * 2
        z = (y * y).sum()
        return list(t.autograd.grad(z, [y, x]))

    both(program)


def test_a_function_of_ones_own():
    def program(t):
        class Cube(t.autograd.Function):
            @staticmethod
            def forward(ctx, x, factor):
                ctx.save_for_backward(x)
                ctx.factor = factor
                return factor * x**3, x.sign()

            @staticmethod
            def backward(ctx, grad, other):
                (x,) = ctx.saved_tensors
                return grad * ctx.factor * 3 * x * x, None

        x = leaf(t, 3)
        y, s = Cube.apply(x, 2.0)
        (first,) = t.autograd.grad(y.sum(), x, create_graph=True)
        first.sum().backward()
        return [y, s, first, x.grad, type(y.grad_fn).__name__ != "", y.grad_fn.name()]

    both(program)


def test_a_function_with_a_separate_set_up():
    def program(t):
        class Scale(t.autograd.Function):
            @staticmethod
            def forward(x, y):
                return x * y

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(*inputs)

            @staticmethod
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                return grad * y, grad * x

        x, y = leaf(t, 3), leaf(t, 3, seed=1)
        Scale.apply(x, y).sum().backward()
        return [x.grad, y.grad]

    both(program)


ERRORS = {
    "a leaf written to": lambda t: leaf(t, 2).add_(1),
    "a view of a leaf written to": lambda t: leaf(t, 2)[0].add_(1),
    "not a scalar": lambda t: leaf(t, 2).mul(2).backward(),
    "nothing to differentiate": lambda t: t.ones(2).sum().backward(),
    "twice": lambda t: [y := (leaf(t, 2) ** 2).sum(), y.backward(), y.backward()],
    "unused": lambda t: t.autograd.grad(leaf(t, 2).sum(), leaf(t, 2)),
    "numpy of what requires a gradient": lambda t: leaf(t, 2).numpy(),
    "integers": lambda t: t.arange(3).requires_grad_(),
    "a gradient of another shape": lambda t: setattr(leaf(t, 2), "grad", t.ones(3)),
    "detaching a flag": lambda t: (leaf(t, 2) * 2).requires_grad_(False),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors(what):
    with pytest.raises(Exception) as theirs:
        ERRORS[what](oracle)
    with pytest.raises(type(theirs.value)) as ours:
        ERRORS[what](flambeau)
    first = str(theirs.value).split(".")[0].split("(got")[0].split(" a tensor")[0][:40]
    assert str(ours.value).startswith(first.strip()[:30])


def test_no_grad_as_decorator_and_context():
    def program(t):
        @t.no_grad()
        def function(x):
            return x * 2

        x = leaf(t, 2)
        with t.no_grad():
            with t.enable_grad():
                inner = (x * 2).requires_grad
            outer = (x * 2).requires_grad
        with t.set_grad_enabled(False):
            flagged = (x * 2).requires_grad
        return [function(x).requires_grad, inner, outer, flagged, t.is_grad_enabled()]

    both(program)


def test_grad_of_a_batch_of_factors():
    def program(t):
        x, unused = leaf(t, 3), leaf(t, 2)
        y = x * x * x
        total = (y * 2).sum()
        factors = [t.eye(3), t.tensor([1.0, 2.0, 3.0])]
        found = t.autograd.grad(
            [y, total], [x, unused], factors, create_graph=True, allow_unused=True, is_grads_batched=True
        )
        assert found[1] is None
        (second,) = t.autograd.grad(found[0].sum(), x, retain_graph=True)
        first, zeros = t.autograd.grad(y, [x, unused], t.eye(3), is_grads_batched=True, materialize_grads=True)
        return [found[0], second, first, zeros]

    both(program)


@pytest.mark.parametrize(
    ("factors", "error", "text"),
    [
        (lambda t: [t.ones(3, 3), t.ones(2, 3)], ValueError, r"got sizes \[3, 2\] for the mapped dimension"),
        (lambda t: [t.ones(0, 3), t.ones(0, 3)], IndexError, "size 0"),
        (lambda t: [t.ones(2, 4), t.ones(2, 3)], RuntimeError, "shape"),
        (lambda t: None, RuntimeError, "grad"),
    ],
)
def test_grad_of_a_batch_that_does_not_fit(factors, error, text):
    for t in LIBRARIES:
        x = leaf(t, 3)
        with pytest.raises(error, match=text):
            t.autograd.grad([x * x, x * 2], x, factors(t), is_grads_batched=True)


def test_grad_of_a_batch_releases_what_was_saved():
    for t in LIBRARIES:
        x = leaf(t, 3)
        y = x * x
        t.autograd.grad(y, x, t.eye(3), is_grads_batched=True)
        with pytest.raises(RuntimeError, match="second time"):
            t.autograd.grad(y, x, t.eye(3), is_grads_batched=True)
