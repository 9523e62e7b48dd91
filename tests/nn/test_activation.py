"""Activation functions: in-place forms, special values, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle
from both import same

import flambeau as torch

F = torch.nn.functional
INF = float("inf")


@pytest.mark.parametrize(
    "name",
    ["relu", "relu6", "elu", "selu", "celu", "silu", "mish", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu"],
)
def test_inplace_writes_into_the_input(name: str) -> None:
    x = torch.tensor([-2.0, -0.5, 0.5, 7.0])
    expected = getattr(F, name)(x).tolist()
    result = getattr(F, name)(x, inplace=True)
    assert result is x
    assert x.tolist() == expected


def test_inplace_refuses_a_leaf_that_requires_a_gradient() -> None:
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        F.relu(x, inplace=True)


@pytest.mark.parametrize(
    "name", ["relu", "gelu", "silu", "softplus", "logsigmoid", "mish", "hardtanh", "leaky_relu", "elu"]
)
def test_values_beyond_all_bounds_are_pytorchs(name: str, tier: str) -> None:
    values = [-INF, -1e30, -100.0, -0.0, 0.0, 100.0, 1e30, INF, float("nan")]
    x = torch.tensor(values, requires_grad=True)
    y = oracle.tensor(values, requires_grad=True)
    found, expected = getattr(F, name)(x), getattr(oracle.nn.functional, name)(y).detach().numpy()
    if name == "gelu":
        # PyTorch gives inf on some processors and nan on others.
        assert np.isinf(expected[values.index(INF)]) or np.isnan(expected[values.index(INF)])
        expected[values.index(INF)] = INF
    # The smallest numbers may be flushed to zero.
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6, atol=1e-37)


def test_relu_lets_no_gradient_pass_where_it_is_zero_however_large(tier: str) -> None:
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    F.relu(x).backward(torch.tensor([INF, INF, INF]))
    assert x.grad.tolist() == [0.0, 0.0, INF]


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_many_elements_is_that_of_few(approximate: str) -> None:
    x = torch.randn(300, 301)
    whole = F.gelu(x, approximate=approximate)
    assert torch.equal(whole[17], F.gelu(x[17], approximate=approximate))


def test_gelu_is_accurate_in_single_precision() -> None:
    x = np.linspace(-5, 5, 10001, dtype=np.float32)
    wide = oracle.nn.functional.gelu(oracle.tensor(x, dtype=oracle.float64)).numpy()
    np.testing.assert_allclose(F.gelu(torch.tensor(x)).numpy(), wide, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.functional.celu(t.ones(2), 0.0),
        lambda t: t.nn.functional.glu(t.ones(3)),
        lambda t: t.nn.functional.glu(t.tensor(1.0)),
        lambda t: t.nn.functional.hardtanh(t.ones(2), 1.0, -1.0),
        lambda t: t.nn.functional.softshrink(t.ones(2), -0.5),
        lambda t: t.nn.functional.prelu(t.ones(2, 3), t.ones(2)),
        lambda t: t.nn.functional.prelu(t.ones(2, 3), t.ones(3, 1)),
        lambda t: t.nn.Hardtanh(1.0, -1.0),
        lambda t: t.nn.Softmax2d()(t.ones(2)),
        lambda t: t.softmax(t.ones(2), 1),
        lambda t: t.nn.functional.softmax(t.ones(2, 2)),
        lambda t: t.nn.Softmax()(t.ones(2, 2)),
        lambda t: t.nn.Hardtanh(min_value=-2.0),
    ],
)
def test_errors_and_warnings_are_pytorchs(program) -> None:
    same(program)


@pytest.mark.parametrize("name", ["gelu", "silu", "elu", "softplus", "mish", "leaky_relu", "hardshrink", "logsigmoid"])
def test_integers_are_refused_as_in_pytorch(name: str) -> None:
    with pytest.raises(NotImplementedError) as theirs:
        getattr(oracle.nn.functional, name)(oracle.ones(2).long())
    with pytest.raises(NotImplementedError) as ours:
        getattr(F, name)(torch.ones(2).long())
    assert str(ours.value).startswith(str(theirs.value))


def test_softmax_in_another_type_converts_first(tier: str) -> None:
    same(lambda t: t.softmax(t.tensor([1, 2, 3]), 0, dtype=t.float64), rtol=1e-12)
    same(lambda t: t.log_softmax(t.tensor([1.0, 2.0]).half(), 0, dtype=t.float32), rtol=1e-6)


def test_softmax_of_rows_of_minus_infinity_is_pytorchs(tier: str) -> None:
    same(lambda t: t.softmax(t.tensor([[-INF, -INF], [-INF, 0.0]]), 1))


def test_gumbel_softmax_gives_one_hot_samples_with_soft_gradients() -> None:
    logits = torch.zeros(5, 4, requires_grad=True)
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert sorted(set(hard.detach().flatten().round().tolist())) == [0.0, 1.0]
    assert hard.sum(1).round().tolist() == [1.0] * 5
    (hard * torch.arange(4.0)).sum().backward()
    assert bool((logits.grad != 0).any())


def test_rrelu_draws_slopes_in_training_and_takes_their_mean_in_evaluation() -> None:
    x = -torch.ones(1000)
    drawn = -F.rrelu(x, 0.1, 0.3, training=True)
    assert 0.1 <= drawn.min().item() < drawn.max().item() <= 0.3
    assert F.rrelu(x, 0.1, 0.3)[0].item() == pytest.approx(-0.2)


def test_softmax_keeps_its_small_gradients_where_nearly_all_weight_is_on_one_element(tier: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((200, 5)).astype(np.float32)
    logits[:, 2] += 12
    given = (100 + rng.standard_normal((200, 5))).astype(np.float32)
    exact = oracle.tensor(logits, dtype=oracle.float64, requires_grad=True)
    oracle.softmax(exact, 1).backward(oracle.tensor(given, dtype=oracle.float64))
    x = torch.tensor(logits, requires_grad=True)
    torch.softmax(x, 1).backward(torch.tensor(given))
    # The rounding of the sum, 100 in float32, alone would be 4e-6; the gradients are 1e-5 and less.
    np.testing.assert_allclose(x.grad.numpy(), exact.grad.numpy(), rtol=1e-5, atol=1e-9)
