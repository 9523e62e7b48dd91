"""What all tests share: one thread for PyTorch, and fixtures that put global settings back."""

from __future__ import annotations

import os

# Before JAX is imported: further devices of the CPU can stand in for accelerators.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=3".strip()

import hypothesis
import pytest
import torch

# The usual run draws the same cases each time, so that it fails for what was changed; the longer ones draw others.
hypothesis.settings.register_profile("usual", derandomize="FLAMBEAU_EXAMPLES" not in os.environ)
hypothesis.settings.load_profile("usual")

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
def interpreter():
    """Runs a test in the interpreter."""
    from flambeau import engine

    before = engine.get_tier()
    engine.set_tier("interpreter")
    yield
    engine.set_tier(before)


@pytest.fixture
def accelerators(monkeypatch: pytest.MonkeyPatch):
    """Two devices that pass for ``cuda:0`` and ``cuda:1``, each apart from the CPU and from the other.

    With FLAMBEAU_TEST_DEVICE=cuda, those that the machine has.
    """
    import jax

    from flambeau import devices, engine

    if os.environ.get("FLAMBEAU_TEST_DEVICE") == "cuda":
        yield tuple(jax.local_devices(backend="gpu"))
        engine.synchronize()
        return
    others = tuple(jax.local_devices(backend="cpu")[1:3])
    monkeypatch.setattr(engine.accelerators, "_found", lambda kind: others if kind == "cuda" else ())
    monkeypatch.setattr(devices, "accelerated", False)
    yield others
    engine.synchronize()


@pytest.fixture
def two(accelerators):
    """The accelerators, where there are two."""
    if len(accelerators) < 2:
        pytest.skip("needs two accelerators")
    return accelerators


@pytest.fixture
def defaults():
    """For tests that change the printing options or the default dtype: puts them back."""
    import flambeau

    yield
    for library in (flambeau, torch):
        library.set_printoptions(profile="default")
        library.set_default_dtype(library.float32)
