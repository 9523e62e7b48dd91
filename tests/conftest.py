"""What all tests share: one thread for PyTorch, and fixtures that put global settings back."""

from __future__ import annotations

import pytest
import torch

# The workers of a test run already fill the cores between them.
torch.set_num_threads(1)


@pytest.fixture(params=["interpreter", "compiled"])
def tier(request: pytest.FixtureRequest):
    """Runs a test once on each tier of the engine; the value is the tier's name."""
    from flambeau import engine

    before = engine.get_tier()
    engine.set_tier(request.param)
    yield request.param
    engine.set_tier(before)


@pytest.fixture
def defaults():
    """For tests that change the printing options or the default dtype: puts them back."""
    import flambeau

    yield
    for library in (flambeau, torch):
        library.set_printoptions(profile="default")
        library.set_default_dtype(library.float32)
