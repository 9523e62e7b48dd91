"""Elementwise operators where examples do not reach: special values, types, refusals, writing."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch as oracle

import flambeau

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 2.5, 3.0, 1e-20, 1e30, math.inf, -math.inf, math.nan]


def resolved(library, name: str):
    for part in name.split("."):
        library = getattr(library, part)
    return library


def compared(name: str, *arrays, rtol: float = 1e-6, atol: float = 1e-12, **kwargs) -> None:
    """Calls a function of both libraries on the same values."""
    given = [[x if not isinstance(x, np.ndarray) else lib.tensor(x) for x in arrays] for lib in (flambeau, oracle)]
    found = resolved(flambeau, name)(*given[0], **kwargs)
    expected = resolved(oracle, name)(*given[1], **kwargs)
    assert str(found.dtype) == str(expected.dtype)
    np.testing.assert_allclose(found.numpy(), expected.resolve_conj().numpy(), rtol=rtol, atol=atol, err_msg=name)


# ---------------------------------------------------------------- special values

UNARY = """
    abs acosh asin asinh atan atanh ceil cos cosh exp exp2 expm1 floor frac log log10 log1p log2 neg reciprocal round
    rsqrt sgn sigmoid sign sin sinh sqrt square tan tanh trunc isnan isinf isfinite isposinf isneginf signbit nan_to_num
    erf erfc erfinv digamma lgamma i0 angle sinc deg2rad logical_not special.entr special.ndtr special.log_ndtr
    special.i1 special.i0e special.i1e special.bessel_j0 special.bessel_y1 special.modified_bessel_k0
    special.spherical_bessel_j0
""".split()
# Where PyTorch's own value at an extreme is inexact or undefined by overflow, its value is left out.
LEFT_OUT = {
    "sinc": (1e30, math.inf, -math.inf),
    "sin": (1e30,),
    "cos": (1e30,),
    "tan": (1e30,),
    "special.bessel_j0": (1e30, math.inf, -math.inf),
    "special.bessel_y1": (1e30, math.inf, 1e-20),
    "special.modified_bessel_k0": (math.inf,),
    "digamma": (1e30,),
    "asinh": (1e30,),
    "frac": (math.inf, -math.inf),
    "i0": (1e30, math.inf, -math.inf),
    "special.i1": (1e30, math.inf, -math.inf),
    "special.i0e": (math.inf, -math.inf),
    "special.i1e": (math.inf, -math.inf),
    "special.spherical_bessel_j0": (1e30,),
}


@pytest.mark.parametrize("name", UNARY)
def test_extreme_values_agree_with_pytorch(name: str, tier: str) -> None:
    values = [x for x in EDGES if x not in LEFT_OUT.get(name, ())]
    compared(name, np.array(values, np.float64), rtol=1e-6)
    if not name.startswith("special.bessel"):
        compared(name, np.array(values, np.float32), rtol=1e-5, atol=1e-6)


def test_powers_of_ten_have_whole_logarithms(tier: str) -> None:
    exponents = np.arange(-30, 31)
    found = flambeau.log10(flambeau.tensor((10.0**exponents).astype(np.float32)))
    np.testing.assert_array_equal(found.numpy(), exponents)


def test_the_hypotenuse_is_exact_to_the_last_bit(tier: str) -> None:
    x, y = (np.array(side, np.float32) for side in zip(*itertools.product([5.0, 12.0, 1e-30, 3e30, *EDGES], repeat=2)))
    compared("hypot", x, y, rtol=0.0, atol=0.0)


def test_lgamma_is_exact_about_its_zeros(tier: str) -> None:
    x = np.concatenate([[1.0, 2.0], *(n + np.array([-1e-3, -1e-9, 1e-12, 1e-5, 0.3]) for n in (1.0, 2.0))])
    compared("lgamma", x, rtol=1e-11, atol=0.0 if tier == "interpreter" else 1e-14)
    compared("lgamma", x.astype(np.float32), rtol=1e-6, atol=0.0 if tier == "interpreter" else 1e-14)


def test_the_entropy_of_zero_is_not_negative(tier: str) -> None:
    for zero in (0.0, -0.0):
        assert not flambeau.signbit(flambeau.special.entr(flambeau.tensor(zero)))


BINARY = """
    add sub mul div pow atan2 copysign hypot fmax fmin maximum minimum logaddexp logaddexp2 xlogy eq lt ge remainder
    fmod floor_divide heaviside nextafter special.xlog1py isclose
""".split()


@pytest.mark.parametrize("name", BINARY)
def test_extreme_pairs_agree_with_pytorch(name: str, tier: str) -> None:
    x, y = map(np.array, zip(*itertools.product(EDGES, EDGES), strict=True))
    if name in ("remainder", "fmod", "floor_divide"):
        # Quotients beyond the precision of the type are noise.
        usual = ~((np.abs(x) > 1e10) & (np.abs(y) < 1e10))
        x, y = x[usual], y[usual]
    compared(name, x, y)


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounded_division_of_extremes_agrees_with_pytorch(mode: str, tier: str) -> None:
    x, y = map(np.array, zip(*itertools.product(EDGES, EDGES), strict=True))
    usual = ~((np.abs(x) > 1e10) & (np.abs(y) < 1e10))
    compared("div", x[usual], y[usual], rounding_mode=mode)


def test_integers_divide_and_shift_as_in_pytorch(tier: str) -> None:
    x, y = map(np.array, zip(*itertools.product(range(-7, 8), [-4, -3, -1, 1, 2, 5]), strict=True))
    for name in ("remainder", "fmod", "floor_divide", "gcd", "lcm", "pow"):
        compared(name, x, y)
    compared("div", x, y, rounding_mode="trunc")
    for name in ("bitwise_left_shift", "bitwise_right_shift"):
        compared(name, x, np.abs(y))
        compared(name, x.astype(np.int8), np.abs(y).astype(np.int8))


@pytest.mark.parametrize("name", ["special.zeta", "igamma", "igammac"])
def test_functions_of_two_reals_agree_with_pytorch(name: str, tier: str) -> None:
    x, y = np.meshgrid(np.linspace(0.1, 30, 40), np.linspace(0.05, 40, 40))
    compared(name, x, y, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("kind", "tuvw")
def test_chebyshev_polynomials_agree_with_pytorch(kind: str, tier: str) -> None:
    x, n = np.meshgrid(np.linspace(-2, 2, 41), np.arange(-1.0, 13.0))
    compared(f"special.chebyshev_polynomial_{kind}", x, n, rtol=1e-7, atol=1e-8)
    compared(f"special.shifted_chebyshev_polynomial_{kind}", x, n, rtol=1e-7, atol=1e-8)


def test_large_arrays_are_worked_on_in_blocks() -> None:
    x = np.linspace(0.1, 20, 50_003).reshape(-1, 1)
    for name in ("erfc", "lgamma", "digamma", "special.i1e", "log1p", "expm1", "erf"):
        compared(name, x, rtol=1e-9, atol=1e-14)
        compared(name, x.astype(np.float32), rtol=2e-6, atol=1e-6)
    compared("igamma", np.array([[2.0, 5.0]]), x, rtol=1e-9)
    compared("special.zeta", np.array(2.5), x, rtol=1e-9)


# ---------------------------------------------------------------- types


@pytest.mark.parametrize("name", ["add", "mul", "div", "eq", "pow", "maximum", "where", "clamp", "floor_divide"])
def test_result_types_agree_with_pytorch(name: str) -> None:
    kinds = ["bool", "uint8", "int16", "int64", "float16", "bfloat16", "float32", "float64", "complex64"]
    shapes = [(2,), ()]
    for (a, b), (s, t) in itertools.product(itertools.product(kinds, kinds), itertools.product(shapes, shapes)):
        if {a, b} == {"float16", "complex64"} and s != t:
            # PyTorch answers in complex32, which is not supported here.
            continue
        results = []
        for library in (flambeau, oracle):
            x = library.ones(s, dtype=getattr(library, a))
            y = library.ones(t, dtype=getattr(library, b))
            try:
                if name == "where":
                    got = library.where(library.tensor([True, False]), x, y)
                else:
                    got = getattr(library, name)(x, y)
            except RuntimeError:
                results.append("refused")
            else:
                results.append((str(got.dtype), tuple(got.shape)))
        assert results[0] == results[1], (name, a, b, s, t)


def test_reduced_precision_is_rounded_once() -> None:
    x = np.linspace(-3, 3, 101, dtype=np.float32)
    for name in ("exp", "erf", "lgamma", "sigmoid"):
        found = resolved(flambeau, name)(flambeau.tensor(x).bfloat16())
        expected = resolved(oracle, name)(oracle.tensor(x).bfloat16())
        assert found.dtype is flambeau.bfloat16
        np.testing.assert_allclose(found.float().numpy(), expected.float().numpy(), rtol=8e-3, atol=1e-6)


def test_numbers_as_exponents_keep_the_precision_of_the_tensor() -> None:
    x = flambeau.tensor([2.0, 3.0], dtype=flambeau.float64, requires_grad=True)
    (x**2.3 + 1.7**x + flambeau.lerp(x, x * x, 0.3)).sum().backward()
    y = oracle.tensor([2.0, 3.0], dtype=oracle.float64, requires_grad=True)
    (y**2.3 + 1.7**y + oracle.lerp(y, y * y, 0.3)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-14)


# ---------------------------------------------------------------- refusals

REFUSED = [
    (lambda t: t.ones(2, dtype=t.bool) - t.ones(2, dtype=t.bool), RuntimeError, "with two bool tensors"),
    (lambda t: 1 - t.ones(2, dtype=t.bool), RuntimeError, "with a bool tensor is not supported"),
    (lambda t: -t.ones(2, dtype=t.bool), RuntimeError, "Negation"),
    (lambda t: t.arange(3) ** -1, RuntimeError, "Integers to negative integer powers are not allowed."),
    (lambda t: t.arange(3) // 0, RuntimeError, "ZeroDivisionError"),
    (lambda t: t.arange(3) % t.tensor([1, 0, 1]), RuntimeError, "ZeroDivisionError"),
    (lambda t: t.div(t.ones(1), 1, rounding_mode="up"), RuntimeError, "expected rounding_mode to be one of"),
    (lambda t: t.clamp(t.ones(1)), RuntimeError, "At least one of 'min' or 'max' must not be None"),
    (lambda t: t.clamp(t.ones(1, dtype=t.uint8), max=300), RuntimeError, "without overflow"),
    (lambda t: t.where(t.ones(2), 1, 2), RuntimeError, "expected condition to be a boolean tensor"),
    (lambda t: t.lerp(t.ones(1), t.ones(1).double(), 0.5), RuntimeError, "expected dtype float for `end`"),
    (lambda t: t.maximum(t.ones(1), 2), TypeError, "argument 'other' (position 2) must be Tensor, not int"),
    (lambda t: t.exp(1.0), TypeError, "argument 'input' (position 1) must be Tensor, not float"),
    (lambda t: t.sign(t.ones(1, dtype=t.complex64)), NotImplementedError, "Please use torch.sgn instead"),
    (lambda t: t.lt(t.ones(1, dtype=t.complex64), 1), NotImplementedError, "not implemented for 'ComplexFloat'"),
    (lambda t: t.bitwise_and(t.ones(1), t.ones(1)), NotImplementedError, "not implemented for 'Float'"),
    (lambda t: t.ones(2) + t.ones(3), RuntimeError, "must match the size of tensor b (3) at non-singleton dimension 0"),
    (lambda t: t.ones(1, dtype=t.int64).exp_(), RuntimeError, "result type Float can't be cast to"),
    (lambda t: t.ones(1, dtype=t.int64).add_(1.5), RuntimeError, "result type Float can't be cast to"),
    (lambda t: t.ones(1).add_(t.ones(2)), RuntimeError, "doesn't match the broadcast shape [2]"),
    (lambda t: t.add(t.arange(2), t.arange(2), alpha=0.5), RuntimeError, "argument alpha must not be a floating point"),
    (lambda t: t.imag(t.ones(1)), RuntimeError, "non-complex"),
    (lambda t: t.complex(t.ones(1), t.ones(1).double()), RuntimeError, "Expected object of scalar type Float"),
    (lambda t: t.view_as_complex(t.ones(3)), RuntimeError, "last dimension of size 2"),
    (lambda t: t.polygamma(-1, t.ones(1)), RuntimeError, "does not support negative n"),
    (lambda t: t.mvlgamma(t.ones(1), 0), RuntimeError, "p has to be greater than or equal to 1"),
    (lambda t: t.isclose(t.ones(1), t.ones(1), rtol=-1), RuntimeError, "rtol must be greater than or equal to zero"),
    (lambda t: t.addcdiv(t.arange(2), t.arange(2), t.arange(2)), RuntimeError, "no longer supported"),
    (lambda t: t.ones(1).float_power_(2), RuntimeError, "operation's result requires dtype Double"),
]


@pytest.mark.parametrize(("call", "kind", "text"), REFUSED)
def test_refusals_are_worded_as_in_pytorch(call, kind, text: str) -> None:
    for library in (oracle, flambeau):
        with pytest.raises(kind) as caught:
            call(library)
        assert text in str(caught.value), library.__name__


def test_the_order_of_an_incomplete_gamma_function_has_no_derivative() -> None:
    a = flambeau.tensor([2.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="derivative for 'self' is not implemented"):
        flambeau.igamma(a, flambeau.tensor([1.0])).sum().backward()


# ---------------------------------------------------------------- derivatives that PyTorch lacks


@pytest.mark.parametrize(
    "name",
    """bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_i0 modified_bessel_i1 modified_bessel_k0
    modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0""".split(),
)
def test_bessel_functions_are_differentiable(name: str) -> None:
    function = getattr(flambeau.special, name)
    values = np.linspace(0.3, 9, 30)
    x = flambeau.tensor(values, requires_grad=True)
    function(x).sum().backward()
    step = 1e-6
    numeric = (function(flambeau.tensor(values + step)) - function(flambeau.tensor(values - step))) / (2 * step)
    np.testing.assert_allclose(x.grad.numpy(), numeric.numpy(), rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------- writing


def both(program) -> None:
    """Runs one program on both libraries; its results must be the same."""
    found, expected = program(flambeau), program(oracle)
    assert len(found) == len(expected)
    for x, y in zip(found, expected, strict=True):
        assert str(x.dtype) == str(y.dtype)
        np.testing.assert_array_equal(x.detach().numpy(), y.detach().resolve_conj().numpy())


def test_complex_parts_are_views(tier: str) -> None:
    def program(t):
        z = t.tensor([1 + 2j, 3 - 1j])
        z.real.mul_(2)
        z.imag = t.tensor([5.0, 6.0])
        t.view_as_real(z)[0, 0] = 100.0
        z.conj().mul_(1j)
        pairs = t.zeros(2, 2)
        t.view_as_complex(pairs).add_(1 + 2j)
        return z, z.real, z.imag, z.conj(), pairs

    both(program)


def test_strides_of_complex_parts_agree_with_pytorch() -> None:
    for library in (flambeau, oracle):
        z = library.zeros(3, 4, dtype=library.complex64).t()
        assert z.real.stride() == (2, 8)
        assert z.imag.storage_offset() == 1
        assert library.view_as_real(z).stride() == (2, 8, 1)
        assert library.view_as_complex(library.zeros(3, 4, 2)).stride() == (4, 1)


def test_results_go_where_out_says(tier: str) -> None:
    def program(t):
        x = t.tensor([0.5, 2.0, -1.5])
        first, second, third = t.empty(3), t.empty(3, dtype=t.float64), t.empty(0)
        assert t.exp(x, out=first) is first
        t.maximum(x, t.zeros(3), out=second)
        t.add(x, 1, alpha=2, out=third)
        mask = t.empty(3, dtype=t.bool)
        t.lt(x, 1, out=mask)
        return t.round(first), second, third, mask

    both(program)


def test_in_place_forms_write_into_their_tensor(tier: str) -> None:
    def program(t):
        x = t.tensor([4.0, 9.0, 16.0])
        same = t.sqrt_(x)
        assert same is x
        x.sub_(1, alpha=2).clamp_(1.5, 3).mul_(2).pow_(2)
        x.eq_(9.0)
        y = t.tensor([7, -7, 5])
        y //= 2
        y <<= 1
        y ^= 3
        return x, y, 1 / x.add(1), 7 - y, 2 ** y.abs(), 5 % y.abs().add(2)

    both(program)


def test_second_argument_of_a_number_reflects() -> None:
    x = flambeau.tensor([True, False])
    assert (x & True).tolist() == [True, False]
    assert (True ^ x).tolist() == [False, True]
    assert (~x).tolist() == [False, True]
    assert (2 - flambeau.tensor([1, 3])).tolist() == [1, -1]
