"""Programs of PyTorch's tutorials on ``torch.func``: kernels, meta-learning, ensembles, per-example gradients."""

from __future__ import annotations

import numpy as np
import pytest
from test_transforms import both

import flambeau


def network(L):
    net = L.nn.Sequential(L.nn.Linear(3, 5), L.nn.Tanh(), L.nn.Linear(5, 2))
    with L.no_grad():
        for p in net.parameters():
            p.copy_(L.linspace(-1, 1, p.numel()).reshape(p.shape))
    return net, {k: v.detach() for k, v in net.named_parameters()}


def points(L, n, width=3):
    return L.linspace(-1, 1, n * width).reshape(n, width).sin()


def tangent_kernel(L):
    f = L.func
    net, params = network(L)

    def one(params, x):
        return f.functional_call(net, params, (x.unsqueeze(0),)).squeeze(0)

    def by_contraction(a, b):
        first = f.vmap(f.jacrev(one), (None, 0))(params, a)
        second = f.vmap(f.jacrev(one), (None, 0))(params, b)
        parts = [
            L.einsum("Naf,Mbf->NMab", j.flatten(2), k.flatten(2))
            for j, k in zip(first.values(), second.values(), strict=True)
        ]
        return sum(parts[1:], parts[0])

    def by_products(a, b):
        def pair(x, y):
            def at(x):
                return lambda params: one(params, x)

            out, pull = f.vjp(at(x), params)

            def row(v):
                return f.jvp(at(y), (params,), pull(v))[1]

            return f.vmap(row)(L.eye(out.numel()))

        return f.vmap(f.vmap(pair, (None, 0)), (0, None))(a, b)

    a, b = points(L, 3), points(L, 2)
    return by_contraction(a, b), by_products(a, b)


def meta_learning(L):
    f = L.func
    net, params = network(L)

    def loss(params, x, y):
        return (f.functional_call(net, params, (x,)) - y).pow(2).mean()

    def adapted(params, task):
        x, y = task
        grads = f.grad(loss)(params, x, y)
        return loss({k: p - 0.1 * grads[k] for k, p in params.items()}, x + 0.1, y)

    def total(params, tasks):
        return f.vmap(adapted, (None, 0))(params, tasks).sum()

    tasks = (points(L, 8).reshape(2, 4, 3), points(L, 8, 2).reshape(2, 4, 2))
    return f.grad_and_value(total)(params, tasks)


def trained_ensemble(L):
    f = L.func
    nets = [network(L)[0] for _ in range(3)]
    with L.no_grad():
        for i, net in enumerate(nets):
            net[0].weight.mul_(1 + 0.1 * i)
    params, buffers = f.stack_module_state(nets)
    optimizer = L.optim.Adam(params.values(), lr=0.05)
    x, y = points(L, 4), points(L, 4, 2)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        out = f.vmap(lambda p, b: f.functional_call(nets[0], (p, b), (x,)))(params, buffers)
        loss = (out - y).pow(2).mean((1, 2))
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses, params


def clipped_per_example(L):
    f = L.func
    net, params = network(L)

    def loss(params, x, y):
        return L.nn.functional.cross_entropy(f.functional_call(net, params, (x.unsqueeze(0),)), y.unsqueeze(0))

    grads = f.vmap(f.grad(loss), (None, 0, 0))(params, points(L, 4), L.tensor([0, 1, 1, 0]))
    norms = sum((g.flatten(1).pow(2).sum(1) for g in grads.values()), L.zeros(4)).sqrt()
    scale = (0.5 / (norms + 1e-6)).clamp(max=1.0)
    return norms, {k: L.einsum("n,n...->...", scale, g) for k, g in grads.items()}


def attention_of_each(L):
    layer = L.nn.MultiheadAttention(4, 2, batch_first=True)
    with L.no_grad():
        for p in layer.parameters():
            p.copy_(L.linspace(-1, 1, p.numel()).reshape(p.shape))
    x = points(L, 6, 4).reshape(2, 3, 4)
    return L.vmap(lambda s: layer(s, s, s, need_weights=False)[0])(x)


def recurrent_of_each(L):
    cell = L.nn.GRU(3, 4)
    with L.no_grad():
        for p in cell.parameters():
            p.copy_(L.linspace(-1, 1, p.numel()).reshape(p.shape))
    if L is flambeau:
        return L.vmap(lambda s: cell(s)[0])(points(L, 8).reshape(2, 4, 3))
    # PyTorch has no rule for it.
    return L.stack([cell(s)[0] for s in points(L, 8).reshape(2, 4, 3)])


PROGRAMS = [
    tangent_kernel,
    meta_learning,
    trained_ensemble,
    clipped_per_example,
    attention_of_each,
    recurrent_of_each,
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_agree_with_pytorch(program, tier):
    both(program, rtol=1e-4, atol=1e-5)


def test_transforms_inside_of_a_compiled_function():
    net, params = network(flambeau)
    F = flambeau.nn.functional

    def loss(params, x, y):
        return F.mse_loss(flambeau.func.functional_call(net, params, (x,)), y)

    def step(x, y):
        grads = flambeau.vmap(flambeau.func.grad(loss), (None, 0, 0))(params, x, y)
        curvature = flambeau.func.hessian(lambda v: loss(params, v, y[0]))(x[0])
        return grads, curvature

    compiled = flambeau.compile(step)
    for k in range(5):
        x, y = points(flambeau, 4) * (k + 1), points(flambeau, 4, 2)
        found, expected = compiled(x, y), step(x, y)
        for name, g in expected[0].items():
            np.testing.assert_allclose(found[0][name].numpy(), g.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1].numpy(), expected[1].numpy(), rtol=1e-4, atol=1e-5)


def test_a_compiled_training_step_of_an_ensemble():
    nets = [network(flambeau)[0] for _ in range(3)]
    x, y = points(flambeau, 4), points(flambeau, 4, 2)

    def trained(wrap):
        params, buffers = flambeau.func.stack_module_state(nets)
        optimizer = flambeau.optim.SGD(params.values(), lr=0.1, momentum=0.9)

        def step():
            optimizer.zero_grad()
            out = flambeau.vmap(lambda p, b: flambeau.func.functional_call(nets[0], (p, b), (x,)))(params, buffers)
            loss = (out - y).pow(2).mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = wrap(step)
        return [run().item() for _ in range(6)]

    np.testing.assert_allclose(trained(flambeau.compile), trained(lambda step: step), rtol=1e-4)
