"""``vmap`` of every operator: the same as one example after the other.

In the interpreter each operator is mapped; compiled, one in sixteen is, or with ``SAMPLES=all`` in the environment (as
``make thorough`` sets it) each.
"""

from __future__ import annotations

import os
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from test_operators import EXAMPLES as SAMPLES
from test_operators import Maker, array_of, flat, resolved

import flambeau
from flambeau import engine
from flambeau.func.at_once import _SHIFTED
from flambeau.ops.operator import OPERATORS
from flambeau.ops.samples import T, case

EXAMPLES_EACH = 2
ALL = os.environ.get("SAMPLES") == "all"


def first_of_each(at_once: bool):
    """Each operator's first example; all of those which the interpreter has a form for all examples of."""
    seen = set()
    found = []
    for name, i, example in SAMPLES:
        counts = at_once and (name in _SHIFTED or name in ("matmul", "linear") or OPERATORS[name].elementwise)
        if (name not in seen or counts) and (example.compare or OPERATORS[name].elementwise):
            seen.add(name)
            found.append((name, i, example))
    return found


FIRST = [("interpreter", *found) for found in first_of_each(True)]
FIRST += [("compiled", *found) for found in first_of_each(False) if ALL or zlib.crc32(found[0].encode()) % 16 == 0]


@pytest.fixture(autouse=True)
def put_back():
    before = engine.get_tier()
    yield
    engine.set_tier(before)


class Given(Maker):
    """Puts given tensors in the place of an example's; without any, keeps those that it makes."""

    def __init__(self, seed: int, tensors=None) -> None:
        super().__init__(flambeau, seed)
        self.tensors = None if tensors is None else iter(tensors)
        self.made = []

    def tensor(self, spec: T):
        made = super().tensor(spec).detach()
        if self.tensors is not None:
            return next(self.tensors)
        self.made.append(made)
        return made


def run(example: case, seed: int, tensors) -> tuple:
    maker = Given(seed, tensors)
    args, kwargs = maker(example.args), maker(example.kwargs)
    function: Any = resolved(flambeau, example.fn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(flat(function(*args, **kwargs)))


def examples(example: case, seed: int) -> tuple[list[list[Any]], list[Any]]:
    """The tensors of several examples, and the same stacked."""
    rows = []
    for b in range(EXAMPLES_EACH):
        maker = Given(seed + b)
        maker(example.args)
        maker(example.kwargs)
        rows.append(maker.made)
    return rows, [flambeau.stack(column) for column in zip(*rows, strict=True)]


def assert_rows(found, expected) -> None:
    assert len(found) == len(expected[0])
    for k, out in enumerate(found):
        for b in range(EXAMPLES_EACH):
            one, other = array_of(out[b]), array_of(expected[b][k])
            assert one.shape == other.shape
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("tier", "name", "i", "example"), FIRST, ids=[f"{t}-{n}-{i}" for t, n, i, _ in FIRST])
def test_mapped_operators(tier: str, name: str, i: int, example: case) -> None:
    engine.set_tier(tier)
    seed = zlib.crc32(f"{name}{i}".encode())
    rows, stacked = examples(example, seed)
    if not stacked:
        return
    expected = [run(example, seed, row) for row in rows]
    assert_rows(flambeau.vmap(lambda *tensors: run(example, seed, tensors))(*stacked), expected)


ONE_EACH = {(name, i) for name, i, _ in first_of_each(False)}
DIFFERENTIABLE = [found for found in FIRST if found[3].grad and found[1:3] in ONE_EACH]


@pytest.mark.parametrize(
    ("tier", "name", "i", "example"), DIFFERENTIABLE, ids=[f"{t}-{n}-{i}" for t, n, i, _ in DIFFERENTIABLE]
)
def test_gradients_of_each_example(tier: str, name: str, i: int, example: case) -> None:
    engine.set_tier(tier)
    seed = zlib.crc32(f"{name}{i}".encode())
    rows, stacked = examples(example, seed)
    places = tuple(k for k, x in enumerate(stacked) if x.is_floating_point() and x.shape[1:].numel())
    if not places:
        return

    def total(*tensors):
        parts = [out for out in run(example, seed, tensors) if out.is_floating_point() and out.requires_grad]
        return sum(((out.double() * 1.5).cos().sum() for out in parts), tensors[places[0]].double().sum())

    gradient = flambeau.func.grad(total, argnums=places)
    assert_rows(flambeau.vmap(gradient)(*stacked), [gradient(*row) for row in rows])
