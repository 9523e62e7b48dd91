"""``autograd.forward_ad``: dual tensors, beside PyTorch's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle
import torch.autograd.forward_ad

import flambeau
import flambeau.autograd.forward_ad

LIBRARIES = (flambeau, oracle)


def both(program):
    results = []
    for L in LIBRARIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(program(L, L.autograd.forward_ad))
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def x(L):
    return L.linspace(0.2, 1.4, 6).reshape(2, 3)


def test_tangents_go_through_operations(tier):
    def program(L, ad):
        with ad.dual_level():
            dual = ad.make_dual(x(L), x(L) * 2)
            y = (dual.sin() @ x(L).T).softmax(-1)
            return [*ad.unpack_dual(y), *ad.unpack_dual(dual), *ad.unpack_dual(x(L) * 3)]

    both(program)


def test_several_duals_and_parameters(tier):
    def program(L, ad):
        net = L.nn.Linear(3, 2)
        with L.no_grad():
            net.weight.copy_(x(L))
            net.bias.zero_()
        with ad.dual_level():
            params = {k: ad.make_dual(p.detach(), L.ones_like(p)) for k, p in net.named_parameters()}
            out = L.func.functional_call(net, params, (ad.make_dual(x(L), x(L)),))
            return ad.unpack_dual(out.exp())

    both(program)


def test_tangents_are_differentiable():
    def program(L, ad):
        w = x(L).requires_grad_()
        with ad.dual_level():
            dual = ad.make_dual(w, x(L))
            tangent = ad.unpack_dual(dual.pow(3).sum()).tangent
        return L.autograd.grad(tangent, w)

    both(program)


def test_tangents_end_with_their_level():
    for L in LIBRARIES:
        ad = L.autograd.forward_ad
        with ad.dual_level():
            dual = ad.make_dual(x(L), x(L))
        assert ad.unpack_dual(dual).tangent is None
        with ad.dual_level():
            assert ad.unpack_dual(dual * 2).tangent is None


def test_misuse_is_told_as_pytorch_tells_it():
    for L in LIBRARIES:
        ad = L.autograd.forward_ad
        with pytest.raises(RuntimeError, match="no level exists, make sure to enter_dual_level"):
            ad.make_dual(x(L), x(L))
        with ad.dual_level():
            with pytest.raises(RuntimeError, match="Nested forward mode AD is not supported at the moment"):
                ad.enter_dual_level()
            with pytest.raises(
                ValueError, match=r"Expected tangent to be floating point or complex, but got: torch\.i"
            ):
                ad.make_dual(x(L), x(L).long())
            with pytest.raises(ValueError, match=r"Expected primal to be floating point or complex, but got: torch\.i"):
                ad.make_dual(x(L).long(), x(L))
            with pytest.raises(RuntimeError, match="a different size than that of the original Tensor"):
                ad.make_dual(x(L), x(L)[0])
        with pytest.raises(RuntimeError, match="not the last one that was created"):
            ad.exit_dual_level(level=3)
