"""Calling compiled programs: the short way where JAX has its parts in the usual places, JAX's own elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from flambeau.engine.dispatch import caller


@pytest.fixture
def compiled():
    return jax.jit(lambda x, y: [x + y, x * y]).lower(*[jax.ShapeDtypeStruct((3,), np.float32)] * 2).compile()


def test_the_release_of_jax_that_is_installed_allows_the_short_way(compiled):
    run = caller(compiled, 2)
    assert set(run.__code__.co_freevars) == {"execute", "handlers"}
    total, product = run([jax.numpy.arange(3.0), jax.numpy.full(3, 2.0)])
    assert total.tolist() == [2.0, 3.0, 4.0]
    assert product.tolist() == [0.0, 2.0, 4.0]
    assert total.sharding == jax.numpy.arange(3.0).sharding


def test_elsewhere_the_program_is_called_as_jax_calls_it(compiled):
    x, y = jax.numpy.arange(3.0), jax.numpy.full(3, 2.0)

    def other(*arrays):
        return compiled(*arrays)

    other._executable = SimpleNamespace()
    assert [a.tolist() for a in caller(other, 2)([x, y])] == [[2.0, 3.0, 4.0], [0.0, 2.0, 4.0]]
    # So it is where JAX adds arguments of its own.
    assert caller(compiled, 1).__code__.co_freevars == ("compiled",)
