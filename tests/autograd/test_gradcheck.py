"""``gradcheck`` and ``gradgradcheck``: what they accept, what they refuse, and how they tell it."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import pytest
import torch as oracle

import flambeau

LIBRARIES = (flambeau, oracle)


def leaf(L, *shape, low=0.2, high=1.4, complex=False):
    n = 1
    for size in shape:
        n *= size
    values = L.linspace(low, high, n, dtype=L.float64).reshape(shape)
    if complex:
        values = values + 0.5j * values.flip(0)
    return values.requires_grad_()


GOOD = {
    "elementwise": lambda L: (lambda x: x.sin() * x, (leaf(L, 3),)),
    "several": lambda L: (lambda x, w: (x @ w, (x * 2).sum()), (leaf(L, 2, 3), leaf(L, 3, 2))),
    "integers among them": lambda L: (lambda x, i: x[i] * 2, (leaf(L, 3), L.tensor([0, 2, 2]))),
    "complex to real": lambda L: (lambda z: z.abs() + z.real, (leaf(L, 3, complex=True),)),
    "complex to complex": lambda L: (lambda z: z * z.conj() * (1 + 2j) + z.exp(), (leaf(L, 3, complex=True),)),
    "real to complex": lambda L: (lambda x: x * (1 + 2j), (leaf(L, 3),)),
    "one result unused": lambda L: (lambda x: (x.exp(), x.detach()), (leaf(L, 3),)),
    "an input unused": lambda L: (lambda x, y: x.exp(), (leaf(L, 3), leaf(L, 2))),
    "nothing": lambda L: (lambda x: x.exp(), (leaf(L, 0),)),
    "transposed": lambda L: (lambda x: x.exp(), (leaf(L, 2, 3).detach().T.requires_grad_(),)),
}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", GOOD)
def test_right_derivatives_pass(name, fast):
    func, inputs = GOOD[name](flambeau)
    before = [x.tolist() for x in inputs]
    assert flambeau.autograd.gradcheck(func, inputs, fast_mode=fast)
    assert flambeau.autograd.gradgradcheck(func, inputs, fast_mode=fast)
    assert [x.tolist() for x in inputs] == before


def test_the_other_checks_pass_as_well():
    for L in LIBRARIES:
        func, inputs = GOOD["several"](L)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert L.autograd.gradcheck(
                func,
                inputs,
                check_forward_ad=True,
                check_batched_grad=True,
                check_batched_forward_grad=True,
                check_grad_dtypes=True,
            )
            assert L.autograd.gradgradcheck(
                func, inputs, check_fwd_over_rev=True, gen_non_contig_grad_outputs=True, check_batched_grad=True
            )
            assert L.autograd.gradcheck(func, inputs, check_forward_ad=True, check_backward_ad=False, fast_mode=True)


def wrong(L, factor=2.0, **options):
    class Wrong(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * x * factor

    return Wrong.apply


@pytest.mark.parametrize("fast", [False, True])
def test_a_wrong_derivative_is_told(fast):
    for L in LIBRARIES:
        x = leaf(L, 3)
        assert L.autograd.gradcheck(wrong(L, 2.0), x, fast_mode=fast)
        with pytest.raises(
            RuntimeError,
            match=r"^Jacobian mismatch for output 0 with respect to input 0,\nnumerical:.*\d",
        ):
            L.autograd.gradcheck(wrong(L, 1.0), x, fast_mode=fast)
        assert not L.autograd.gradcheck(wrong(L, 1.0), x, raise_exception=False, fast_mode=fast)


def test_the_module_is_the_function_too():
    module: Any = importlib.import_module("flambeau.autograd.gradcheck")
    assert module(lambda x: x * 2, leaf(flambeau, 2))
    assert issubclass(module.GradcheckError, RuntimeError)


def test_fast_mode_tells_every_element_as_well():
    for L in LIBRARIES:
        with pytest.raises(RuntimeError, match="recompute numerical and analytical jacobians in slow mode"):
            L.autograd.gradcheck(wrong(L, 1.0), leaf(L, 3), fast_mode=True)


def test_which_part_of_a_complex_result_is_wrong():
    for L in LIBRARIES:

        class Wrong(L.autograd.Function):
            @staticmethod
            def forward(ctx, z):
                return z * 1

            @staticmethod
            def backward(ctx, grad):
                return grad.conj()

        with pytest.raises(RuntimeError, match="While considering the imaginary part of complex outputs only, Jacob"):
            L.autograd.gradcheck(Wrong.apply, leaf(L, 2, complex=True))


def test_a_wrong_second_derivative_is_told():
    for L in LIBRARIES:

        class CutOff(L.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, grad):
                (x,) = ctx.saved_tensors
                return grad * 3 * x.detach() ** 2

        x = leaf(L, 2)
        assert L.autograd.gradcheck(CutOff.apply, x)
        with pytest.raises(RuntimeError, match="Jacobian mismatch for output 0 with respect to input 0"):
            L.autograd.gradgradcheck(CutOff.apply, x)


def faulty(L, backward):
    class Faulty(L.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    Faulty.backward = staticmethod(backward)
    return Faulty.apply


def test_other_faults_are_told():
    for L in LIBRARIES:
        x = leaf(L, 2)
        calls = []

        def restless(ctx, grad, calls=calls):
            calls.append(1)
            return grad * 2 + 1e-7 * len(calls) * grad

        with pytest.raises(RuntimeError, match="Backward is not reentrant"):
            L.autograd.gradcheck(faulty(L, restless), x)
        assert L.autograd.gradcheck(faulty(L, restless), x, nondet_tol=1e-3)
        # The differences see a slope where there is no gradient to be had.
        with pytest.raises(RuntimeError, match="Numerical gradient for function expected to be zero"):
            L.autograd.gradcheck(lambda x: x.detach() * 2, x)


def test_misuse_is_told_as_pytorch_tells_it():
    for L in LIBRARIES:
        x = leaf(L, 2)
        with pytest.raises(ValueError, match="gradcheck expects at least one input tensor to require gradient"):
            L.autograd.gradcheck(lambda x: x, x.detach())
        with pytest.raises(RuntimeError, match="The 0th input has a dimension with stride 0"):
            L.autograd.gradcheck(lambda x: x * 2, leaf(L, 1).expand(3))
        with pytest.raises(AssertionError, match="Expected at least one of check_forward_ad or check_backward_ad"):
            L.autograd.gradcheck(lambda x: x, x, check_backward_ad=False)
        with pytest.raises(AssertionError, match="check_batched_grad=True requires check_backward_ad"):
            L.autograd.gradcheck(
                lambda x: x, x, check_backward_ad=False, check_forward_ad=True, check_batched_grad=True
            )
        with pytest.raises(AssertionError, match="check_batched_forward_grad=True requires check_forward_ad"):
            L.autograd.gradcheck(lambda x: x, x, check_batched_forward_grad=True)
        with pytest.raises(AssertionError, match="Expected at least one of check_fwd_over_rev or check_rev_over_rev"):
            L.autograd.gradgradcheck(lambda x: x, x, check_rev_over_rev=False)
        with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double precision"):
            L.autograd.gradcheck(lambda x: x * 2, x.detach().float().requires_grad_(), eps=1e-2, atol=1e-2)
