"""What sorting refuses, and that equal elements stay in their order."""

from __future__ import annotations

import pytest
import torch as oracle

import flambeau


@pytest.mark.parametrize("name", ["sort", "argsort"])
def test_complex_numbers_have_no_order(name: str) -> None:
    for library in (flambeau, oracle):
        with pytest.raises(RuntimeError, match="Sort does not support complex dtypes on CPU"):
            getattr(library, name)(library.zeros(3, dtype=library.complex64))


@pytest.mark.parametrize("descending", [False, True])
def test_argsort_gives_the_indices_of_a_stable_sort(tier: str, descending: bool) -> None:
    values = [[2.0, float("nan"), 1.0, 2.0, float("nan"), 1.0], [0.0, -0.0, 3.0, -1.0, 3.0, 0.0]]
    found, expected = (
        library.argsort(library.tensor(values), dim=1, descending=descending, stable=True)
        for library in (flambeau, oracle)
    )
    assert found.tolist() == expected.tolist()
    assert found.dtype is flambeau.int64
    by_sort = flambeau.sort(flambeau.tensor(values), 1, descending).indices
    assert found.tolist() == by_sort.tolist()
