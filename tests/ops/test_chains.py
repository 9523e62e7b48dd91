"""Chains of views and writes: base and aliases are PyTorch's, on both tiers and inside captured functions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as oracle
from chains import Chain, assert_alike, attempt, chain_of, overlaps, several, values
from hypothesis import given, note
from hypothesis import strategies as st

import flambeau
from flambeau import engine


@contextmanager
def on(tier: str):
    before = engine.get_tier()
    engine.set_tier(tier)
    try:
        yield
    finally:
        engine.set_tier(before)


def assert_tensors_agree(ours: list[Any], theirs: list[Any]) -> None:
    for mine, reference in zip(ours, theirs, strict=True):
        assert_alike(mine, reference)
        assert mine.requires_grad == reference.requires_grad


def assert_chain_agrees(chain: Chain) -> None:
    """Runs a chain on both libraries: errors, values, layouts and version counters are the same."""
    ours, wrong = chain.run(flambeau, chain.leaf(flambeau))
    theirs, refused = chain.run(oracle, chain.leaf(oracle))
    for (name, _), mine, reference in zip(chain.steps, wrong, refused, strict=True):
        assert type(mine) is type(reference), (name, mine, reference)
    assert_tensors_agree(ours, theirs)
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine._version == reference._version


def gradient(library: Any, chain: Chain, leaf: Any, tensors: list[Any]) -> Any:
    """The gradient of a sum over base, views and looks, each element with a weight of its own."""
    total = 0
    for i, t in enumerate(tensors):
        if t.requires_grad:
            weights = library.tensor(np.arange(i + 1, i + 1 + t.numel(), dtype=np.float32).reshape(tuple(t.shape)))
            square = t * t.conj() if t.is_complex() else t * t
            total = total + (square.real * weights if t.is_complex() else square * weights).sum()
    (found,) = library.autograd.grad(total, [leaf])
    return found


def assert_gradients_agree(chain: Chain) -> None:
    leaves = [chain.leaf(library) for library in (flambeau, oracle)]
    tensors = [chain.run(lib, leaf)[0] for lib, leaf in zip((flambeau, oracle), leaves, strict=True)]
    (theirs, refused) = attempt(lambda: gradient(oracle, chain, leaves[1], tensors[1]))
    if refused is not None:
        return
    ours = gradient(flambeau, chain, leaves[0], tensors[0])
    assert_tensors_agree(*tensors)
    np.testing.assert_allclose(values(ours), values(theirs), rtol=1e-5, atol=1e-4)


@several(200)
@given(st.data())
def test_chains(data) -> None:
    chain = chain_of(data.draw)
    note(repr(chain))
    with on("interpreter"):
        assert_chain_agrees(chain)


@several(100)
@given(st.data())
def test_gradients(data) -> None:
    chain = chain_of(data.draw, differentiable=True)
    note(repr(chain))
    with on("interpreter"):
        assert_gradients_agree(chain)


@several(20, share=10)
@given(st.data())
def test_chains_compiled(data) -> None:
    chain = chain_of(data.draw)
    note(repr(chain))
    with on("compiled"):
        assert_chain_agrees(chain)


@several(15, share=10)
@given(st.data())
def test_gradients_compiled(data) -> None:
    chain = chain_of(data.draw, differentiable=True)
    note(repr(chain))
    with on("compiled"):
        assert_gradients_agree(chain)


# ---------------------------------------------------------------- captured


def function_of(library: Any, chain: Chain, differentiate: bool) -> Any:
    """The chain as a function of its leaf: its tensors, and the gradient if that is taken inside."""

    def function(leaf: Any) -> Any:
        tensors, errors = chain.run(library, leaf)
        assert not any(errors), errors
        return tensors, gradient(library, chain, leaf, tensors) if differentiate else None

    return function


def assert_captured_agrees(chain: Chain, inside: bool) -> None:
    """Calls the chain as a captured function until it is replayed, with other values each time.

    Tensors that the call returns are then written to: they share their elements as PyTorch's do.
    """
    ours = flambeau.compile(function_of(flambeau, chain, inside))
    theirs = function_of(oracle, chain, inside)
    for seed in range(4):
        leaf, reference = chain.leaf(flambeau, seed), chain.leaf(oracle, seed)
        replayed = ours.program is not None
        found, grad = ours(leaf)
        expected, expected_grad = theirs(reference)
        if chain.differentiable and not inside:
            grad = gradient(flambeau, chain, leaf, found)
            expected_grad = gradient(oracle, chain, reference, expected)
        assert_tensors_agree([leaf, *found], [reference, *expected])
        if grad is not None:
            np.testing.assert_allclose(values(grad), values(expected_grad), rtol=1e-5, atol=1e-4)
        for i, (mine, its) in enumerate(zip(found, expected, strict=True)):
            if i % 2 == 0 and not overlaps(its):
                with flambeau.no_grad(), oracle.no_grad():
                    mine.fill_(i + seed)
                    its.fill_(i + seed)
        assert_tensors_agree([leaf, *found], [reference, *expected])
    assert replayed


@several(30)
@given(st.data())
def test_captured(data) -> None:
    chain = chain_of(data.draw, refused=False)
    note(repr(chain))
    with on("interpreter"):
        assert_captured_agrees(chain, inside=False)


@several(30)
@given(st.data(), st.booleans())
def test_gradients_captured(data, inside) -> None:
    captured_with_gradients(data, inside, "interpreter")


@several(6, share=10)
@given(st.data())
def test_captured_compiled(data) -> None:
    chain = chain_of(data.draw, refused=False)
    note(repr(chain))
    with on("compiled"):
        assert_captured_agrees(chain, inside=False)


@several(6, share=10)
@given(st.data(), st.booleans())
def test_gradients_captured_compiled(data, inside) -> None:
    captured_with_gradients(data, inside, "compiled")


def captured_with_gradients(data: Any, inside: bool, tier: str) -> None:
    chain = chain_of(data.draw, differentiable=True, refused=False)
    note(repr(chain))
    leaf = chain.leaf(oracle)
    if attempt(lambda: gradient(oracle, chain, leaf, chain.run(oracle, leaf)[0]))[1] is None:
        with on(tier):
            assert_captured_agrees(chain, inside)
