"""``autograd.functional``: Jacobians, Hessians and products with vectors, beside PyTorch's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle

import flambeau

LIBRARIES = (flambeau, oracle)


def leaves(result) -> list[np.ndarray]:
    if isinstance(result, tuple | list):
        return [x for part in result for x in leaves(part)]
    return [result.detach().numpy()]


def shape_of(result):
    if isinstance(result, tuple | list):
        return tuple(shape_of(part) for part in result)
    return tuple(result.shape), result.requires_grad


def both(program):
    results = []
    for L in LIBRARIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(program(L))
    assert shape_of(results[0]) == shape_of(results[1])
    for a, b in zip(*map(leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def x(L, n=3):
    return L.linspace(0.3, 1.2, n)


def one(v):
    return v.sin() * v.sum()


def two(v, w):
    return v.outer(w).exp(), v.sum() * w


def scalar(v, w):
    return (v.exp().sum() * w.sin()).sum()


PROGRAMS = {
    "jacobian": lambda f, L: f.jacobian(one, x(L)),
    "jacobian of several": lambda f, L: f.jacobian(two, (x(L), x(L, 2))),
    "jacobian of a tuple": lambda f, L: f.jacobian(lambda v: (one(v),), (x(L),)),
    "jacobian, vectorized": lambda f, L: f.jacobian(two, (x(L), x(L, 2)), vectorize=True),
    "jacobian, forward": lambda f, L: f.jacobian(two, (x(L), x(L, 2)), vectorize=True, strategy="forward-mode"),
    "jacobian, forward, of one": lambda f, L: f.jacobian(one, x(L), vectorize=True, strategy="forward-mode"),
    "jacobian without dependence": lambda f, L: f.jacobian(lambda v, w: v * 2, (x(L), x(L, 2))),
    "jacobian without dependence, vectorized": lambda f, L: f.jacobian(
        lambda v, w: v * 2, (x(L), x(L, 2)), vectorize=True
    ),
    "differentiable jacobian": lambda f, L: f.jacobian(one, x(L).requires_grad_(), create_graph=True),
    "hessian": lambda f, L: f.hessian(lambda v: one(v).pow(2).sum(), x(L)),
    "hessian of several": lambda f, L: f.hessian(scalar, (x(L), x(L, 2))),
    "hessian, vectorized": lambda f, L: f.hessian(scalar, (x(L), x(L, 2)), vectorize=True),
    # Detached, since PyTorch's still requires gradients there, without create_graph.
    "hessian, forward": lambda f, L: [
        part.detach()
        for row in f.hessian(scalar, (x(L), x(L, 2)), vectorize=True, outer_jacobian_strategy="forward-mode")
        for part in row
    ],
    "differentiable hessian": lambda f, L: f.hessian(
        lambda v: one(v).pow(2).sum(), x(L).requires_grad_(), create_graph=True
    ),
    "vjp": lambda f, L: f.vjp(two, (x(L), x(L, 2)), (L.ones(3, 2), x(L, 2))),
    "vjp without a vector": lambda f, L: f.vjp(lambda v: v.exp().sum(), x(L)),
    "jvp": lambda f, L: f.jvp(two, (x(L), x(L, 2)), (x(L) * 2, x(L, 2))),
    "jvp without a vector": lambda f, L: f.jvp(lambda v: v.exp() * 2, x(L, 1)),
    "vhp": lambda f, L: f.vhp(scalar, (x(L), x(L, 2)), (x(L) * 2, x(L, 2))),
    "hvp": lambda f, L: f.hvp(scalar, (x(L), x(L, 2)), (x(L) * 2, x(L, 2))),
    "differentiable vjp": lambda f, L: f.vjp(one, x(L).requires_grad_(), x(L), create_graph=True),
    "differentiable jvp": lambda f, L: f.jvp(one, x(L).requires_grad_(), x(L), create_graph=True),
    "differentiable vhp": lambda f, L: f.vhp(
        lambda v: one(v).pow(2).sum(), x(L).requires_grad_(), x(L), create_graph=True
    ),
    "differentiable hvp": lambda f, L: f.hvp(
        lambda v: one(v).pow(2).sum(), x(L).requires_grad_(), x(L), create_graph=True
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_agree_with_pytorch(name, tier):
    both(lambda L: PROGRAMS[name](L.autograd.functional, L))


def test_gradients_go_through_a_jacobian(tier):
    def program(L):
        v = x(L).requires_grad_()
        found = []
        for vectorize in (False, True):
            jacobian = L.autograd.functional.jacobian(one, v, create_graph=True, vectorize=vectorize)
            found.append(L.autograd.grad(jacobian.pow(2).sum(), v)[0])
        return found

    both(program)


FAULTS = {
    "no tensor": (lambda f, L: f.jacobian(one, 3.0), TypeError, "The inputs given to jacobian must be either"),
    "no tensor in a tuple": (lambda f, L: f.vjp(two, (x(L), 3)), TypeError, "the value at index 1 has type"),
    "no tensor returned": (lambda f, L: f.vjp(lambda v: 3, x(L)), TypeError, "outputs of the user-provided function"),
    "no vector": (lambda f, L: f.vjp(one, x(L)), RuntimeError, "The vector v can only be None if the user-provided"),
    "no vector for jvp": (lambda f, L: f.jvp(one, x(L)), RuntimeError, "The vector v can only be None if the input to"),
    "vector's length": (lambda f, L: f.vjp(two, (x(L), x(L)), x(L)), RuntimeError, "v is a tuple of invalid length"),
    "several vectors": (lambda f, L: f.vjp(one, x(L), (x(L), x(L))), RuntimeError, "should contain a single Tensor"),
    "vector's size": (lambda f, L: f.vjp(one, x(L), x(L, 2)), RuntimeError, "v has invalid size: should be"),
    "entry's size": (
        lambda f, L: f.jvp(two, (x(L), x(L)), (x(L), x(L, 2))),
        RuntimeError,
        "Entry 1 in v has invalid size",
    ),
    "hessian of several": (lambda f, L: f.hessian(lambda v: (v, v), x(L)), RuntimeError, "should return a single T"),
    "hessian of many": (lambda f, L: f.hessian(one, x(L)), RuntimeError, "should contain a single element"),
    "vhp of many": (lambda f, L: f.vhp(one, x(L), x(L)), RuntimeError, "given to vhp should contain a single element"),
    "hvp of several": (lambda f, L: f.hvp(lambda v: (v,), x(L), x(L)), RuntimeError, "hvp should return a single"),
    "strategy": (lambda f, L: f.jacobian(one, x(L), strategy="sideways"), AssertionError, "Expected strategy to be"),
    "hessian's strategy": (
        lambda f, L: f.hessian(one, x(L), outer_jacobian_strategy="sideways"),
        AssertionError,
        "Expected strategy to be",
    ),
    "strict and vectorized": (
        lambda f, L: f.jacobian(one, x(L), strict=True, vectorize=True),
        RuntimeError,
        "not supported together",
    ),
    "forward and strict": (
        lambda f, L: f.jacobian(one, x(L), strict=True, vectorize=True, strategy="forward-mode"),
        RuntimeError,
        "not supported together",
    ),
    "forward, differentiable": (
        lambda f, L: f.jacobian(one, x(L), create_graph=True, strategy="forward-mode"),
        NotImplementedError,
        "not supported together",
    ),
    "forward by itself": (
        lambda f, L: f.jacobian(one, x(L), strategy="forward-mode"),
        NotImplementedError,
        "implemented for `vectorize=True`",
    ),
    "strict, cut off": (
        lambda f, L: f.vjp(lambda v: v.detach(), x(L), x(L), strict=True),
        RuntimeError,
        "Output 0 of the user-provided function does not require gradients",
    ),
    "strict, unused": (
        lambda f, L: f.vjp(lambda v, w: v * 2, (x(L), x(L)), x(L), strict=True),
        RuntimeError,
        "The output of the user-provided function is independent of input 1",
    ),
    "strict jacobian, unused": (
        lambda f, L: f.jacobian(lambda v, w: v * 2, (x(L), x(L)), strict=True),
        RuntimeError,
        "Output 0 of the user-provided function is independent of input 1",
    ),
    "strict jacobian, linear": (
        lambda f, L: f.jacobian(lambda v: v * 2, x(L).requires_grad_(), create_graph=True, strict=True),
        RuntimeError,
        "The jacobian of the user-provided function is independent of input 0",
    ),
    "strict jvp, unused": (
        lambda f, L: f.jvp(lambda v, w: v * 2, (x(L), x(L)), (x(L), x(L)), strict=True),
        RuntimeError,
        "The output of the user-provided function is independent of input 1",
    ),
    "strict hessian, linear": (
        lambda f, L: f.hessian(lambda v: v.sum(), x(L), strict=True),
        RuntimeError,
        "While computing the hessian, found that the jacobian",
    ),
    "strict vhp, linear": (
        lambda f, L: f.vhp(lambda v: v.sum(), x(L), x(L), strict=True),
        RuntimeError,
        "While computing the hessian, found that the jacobian",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_as_pytorch_tells_them(name):
    program, kind, message = FAULTS[name]
    for L in LIBRARIES:
        with pytest.raises(kind, match=message), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program(L.autograd.functional, L)
