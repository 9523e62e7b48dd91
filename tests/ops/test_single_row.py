"""Products of a single row and a large matrix, which the compiled tier divides among threads."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flambeau as torch
from flambeau.engine import target
from flambeau.ops import single_row


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "threads", lambda: 4)


@pytest.mark.parametrize(
    ("shape", "matrix", "parts"),
    [
        ((1, 384), (384, 384), 2),
        ((384,), (1152, 384), 4),
        ((1, 1, 384), (1023, 384), 3),
        ((1, 128), (128, 128), 1),
        ((1, 384), (1021, 384), 1),
        ((2, 384), (1152, 384), 1),
        ((0, 384), (1152, 384), 1),
    ],
)
def test_how_a_matrix_is_divided(
    shape: tuple[int, ...], matrix: tuple[int, int], parts: int, cores: None, tier: None
) -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal(shape, dtype=np.float32)
    weight = draw.standard_normal(matrix, dtype=np.float32)
    assert single_row.parts_of(x, weight) == parts
    found = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(weight))
    np.testing.assert_allclose(found.numpy(), x @ weight.T, rtol=1e-4, atol=1e-3)


def test_what_is_divided_is_a_batch_of_products(cores: None) -> None:
    def product(x: jax.Array, weight: jax.Array) -> jax.Array:
        return single_row.by_parts(jnp, x, weight, single_row.parts_of(x, weight))

    lowered = jax.jit(product).lower(jnp.ones((1, 384)), jnp.ones((1152, 384)))
    assert "batching_dims = [0] x [0]" in lowered.as_text()


def test_accelerators_get_one_product(cores: None) -> None:
    with target.traced_for("cuda"):
        assert single_row.parts_of(np.ones((1, 384), np.float32), np.ones((1152, 384), np.float32)) == 1


def test_gradients_through_a_divided_product(cores: None, tier: None) -> None:
    draw = np.random.default_rng(0)
    given = draw.standard_normal((1, 384), dtype=np.float32), draw.standard_normal((768, 384), dtype=np.float32)
    x, weight = (torch.from_numpy(array).requires_grad_() for array in given)
    torch.nn.functional.linear(x, weight).square().sum().backward()
    factor = 2 * given[0] @ given[1].T
    np.testing.assert_allclose(x.grad.numpy(), factor @ given[1], rtol=1e-4, atol=1e-1)
    np.testing.assert_allclose(weight.grad.numpy(), factor.T @ given[0], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("batch", [1, 2, 8, 16])
def test_products_behind_a_convolution(batch: int, tier: None) -> None:
    """XLA for the CPU hands both to one library where there are several rows."""
    torch.manual_seed(0)
    convolution, linear = torch.nn.Conv2d(64, 512, 3, padding=1), torch.nn.Linear(512, 1000)
    x = torch.randn(batch, 64, 7, 7)
    with torch.no_grad():
        found = linear(convolution(x).relu().mean((2, 3))).numpy()
        features = convolution(x).relu().mean((2, 3)).numpy()
    expected = features @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
