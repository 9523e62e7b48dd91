"""torch.masked beside PyTorch: values, types, gradients, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch as oracle

import flambeau

ROWS = np.array([[3.0, -1.5, 2.0, 0.5], [1.0, -2.0, -3.0, 4.0], [0.5, 2.5, 1.5, -1.0]])
VALID = np.array([[True, False, True, True], [False, True, True, False], [False, False, False, False]])

REDUCTIONS = ("sum", "prod", "amax", "amin", "mean", "var", "std", "norm", "logsumexp")
ALONG = ("cumsum", "cumprod", "softmax", "log_softmax", "softmin", "median", "argmax", "argmin")


def both(name: str, *args, array=ROWS, dtype="float32", mask=VALID, **kwargs) -> list:
    results = []
    for library in (flambeau, oracle):
        made = library.tensor(array, dtype=getattr(library, dtype))
        options = kwargs if mask is None else {**kwargs, "mask": library.tensor(mask)}
        results.append(getattr(library.masked, name)(made, *args, **options))
    return results


def agree(found, expected) -> None:
    assert str(found.dtype) == str(expected.dtype)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dim", [None, (), 0, -1, (1, 0), [0]])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_over_dims(name, dim):
    options = {"ord": 2} if name == "norm" else {}
    for mask in (VALID, VALID[0], None):
        agree(*both(name, dim=dim, mask=mask, **options))
        agree(*both(name, dim=dim, mask=mask, keepdim=True, **options))


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_on_both_tiers(name, tier):
    agree(*both(name, *([2, 1] if name == "norm" else [1])))


@pytest.mark.parametrize("name", ALONG)
def test_functions_along_one_dim(name, tier):
    for mask in (VALID, VALID[:, :1], VALID.astype(np.int64), None):
        agree(*both(name, 1, mask=mask))
        agree(*both(name, -2, mask=mask))


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "amin", "argmax", "var", "std", "cumsum", "cumprod"])
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8"])
def test_integers(name, dtype):
    dim = {"dim": 1}
    agree(*both(name, array=abs(ROWS), dtype=dtype, **dim))
    agree(*both(name, array=abs(ROWS), dtype=dtype, mask=None, **dim))


@pytest.mark.parametrize("name", ["sum", "prod", "amax", "argmin", "mean", "var", "softmax", "cumsum"])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_another_type_of_result(name, dtype):
    results = []
    for library in (flambeau, oracle):
        made = library.tensor(ROWS, dtype=library.float32)
        options = {"dtype": getattr(library, dtype), "mask": library.tensor(VALID)}
        results.append(getattr(library.masked, name)(made, dim=1, **options))
    agree(*results)


@pytest.mark.parametrize("ord", [1, 2, 3.5, 0, math.inf, -math.inf])
def test_orders_of_norms(ord):
    agree(*both("norm", ord, 1))
    agree(*both("normalize", ord, 1, mask=VALID[:1]))


@pytest.mark.parametrize("options", [{"unbiased": False}, {"unbiased": True}, {"correction": 0}, {"correction": 2}])
def test_corrections(options):
    for name in ("var", "std"):
        agree(*both(name, 1, **options))
        agree(*both(name, None, mask=None, **options))


def test_median_of_integers():
    agree(*both("median", 1, array=ROWS[:2], mask=VALID[:2], dtype="int64"))
    for library in (flambeau, oracle):
        with pytest.raises(ValueError, match="masked median expects no fully masked out rows"):
            library.masked.median(library.tensor([[1, 2]]), 1, mask=library.tensor([[False, False]]))


def test_logaddexp_takes_two_masks(tier):
    results = []
    for library in (flambeau, oracle):
        x, y = (library.tensor(a, dtype=library.float32, requires_grad=True) for a in (ROWS, ROWS[::-1].copy()))
        results.append(library.masked.logaddexp(x, y, input_mask=library.tensor(VALID[:2].any(0))))
        results[-1][:, 2].sum().backward()
        results.append(x.grad)
    agree(results[0].detach(), results[2].detach())
    agree(results[1], results[3])


@pytest.mark.parametrize("name", ["sum", "mean", "var", "amax", "norm", "logsumexp"])
def test_gradients(name):
    grads = []
    for library in (flambeau, oracle):
        x = library.tensor(ROWS[:2], dtype=library.float32, requires_grad=True)
        getattr(library.masked, name)(x, dim=1, mask=library.tensor(VALID[:2])).square().sum().backward()
        grads.append(x.grad)
    agree(*grads)


@pytest.mark.parametrize(
    ("name", "args", "mask", "dtype", "error", "message"),
    [
        ("sum", (), np.ones((1, 3, 4), bool), "float32", IndexError, "mask that broadcasts .* more dimensions"),
        ("sum", (), np.ones(3, bool), "float32", RuntimeError, "expand"),
        ("sum", ((0, -2),), VALID, "float32", RuntimeError, "appears multiple times in the list of dims"),
        ("sum", (2,), VALID, "float32", IndexError, "Dimension out of range"),
        ("mean", (), VALID, "int64", ValueError, "Could not infer output dtype. Input dtype must be"),
        ("amax", (), VALID, "complex64", TypeError, "identity of amax on torch.complex64 input"),
        ("amin", (), VALID, "bool", NotImplementedError, "identity of amin on torch.bool input"),
    ],
)
def test_errors(name, args, mask, dtype, error, message):
    with pytest.raises(error, match=message):
        getattr(flambeau.masked, name)(
            flambeau.tensor(ROWS, dtype=getattr(flambeau, dtype)), *args, mask=flambeau.tensor(mask)
        )
    with pytest.raises(error):
        getattr(oracle.masked, name)(oracle.tensor(ROWS, dtype=getattr(oracle, dtype)), *args, mask=oracle.tensor(mask))


def test_not_both_corrections():
    with pytest.raises(AssertionError, match="Only one of unbiased and correction may be given"):
        flambeau.masked.var(flambeau.ones(3), unbiased=True, correction=1)


def test_masked_tensors_are_refused_by_name():
    data, mask = flambeau.ones(2), flambeau.ones(2, dtype=flambeau.bool)
    for make in (flambeau.masked.MaskedTensor, flambeau.masked.masked_tensor, flambeau.masked.as_masked_tensor):
        with pytest.raises(NotImplementedError, match=r"does not support MaskedTensor.*masked\.mean"):
            make(data, mask)
    assert not flambeau.masked.is_masked_tensor(data)


def test_names():
    assert sorted(flambeau.masked.__all__) == sorted(oracle.masked.__all__)
