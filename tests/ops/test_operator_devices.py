"""Every operator on an accelerator: where its results and gradients are, and that they are those of the CPU.

A further device of the CPU stands in for the accelerator.  Where results are is known once they are recorded, and
nothing is computed to see that.  What kernels compute there is the business of test_lowering.py: values are looked at
here for one example of each operator that is not elementwise, several in a program, and gradients where operators are
made for them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest
from test_operators import EXAMPLES, TOLERANCES, Maker, array_of, called

import flambeau
from flambeau import engine
from flambeau.ops.operator import OPERATORS
from flambeau.ops.samples import T, case

pytestmark = pytest.mark.usefixtures("accelerators")

HERE, THERE = flambeau.device("cpu"), flambeau.device("cuda:0")
Example = tuple[str, int, case]


class Here(Maker):
    """Makes an example's tensors on the CPU, whatever the default device is."""

    device: ClassVar[flambeau.device] = HERE

    def tensor(self, spec: T) -> Any:
        made = super().tensor(spec)
        if not made.requires_grad:
            return made.to(self.device)
        self.leaves[-1] = made.detach().to(self.device).requires_grad_()
        return self.leaves[-1]


class There(Here):
    device = THERE


def seed_of(name: str, i: int) -> int:
    return zlib.crc32(f"{name}{i}".encode())


def holds_tensors(args: Any) -> bool:
    if isinstance(args, dict):
        args = args.values()
    return isinstance(args, T) or (
        not isinstance(args, str) and hasattr(args, "__iter__") and any(map(holds_tensors, args))
    )


def backward(outputs: list[Any]) -> None:
    """Differentiates a sum over all results, in which no two elements count the same."""
    terms = []
    for out in outputs:
        if out.requires_grad:
            real = flambeau.view_as_real(out.resolve_conj()) if out.is_complex() else out
            weights = np.linspace(0.5, 1.5, real.numel()).reshape(tuple(real.shape))
            terms.append((real * flambeau.tensor(weights, dtype=real.dtype, device=real.device)).sum())
    if terms:
        flambeau.autograd.backward(terms)


def named(examples: list[Example]) -> dict[str, Any]:
    return {"argvalues": examples, "ids": [f"{name}-{i}" for name, i, _ in examples]}


MOVED = [found for found in EXAMPLES if holds_tensors([found[2].args, found[2].kwargs]) and found[0] != "move"]
MADE = [found for found in EXAMPLES if not holds_tensors([found[2].args, found[2].kwargs])]


@pytest.mark.parametrize(("kind", "default"), [(There, HERE), (Here, THERE)], ids=["there", "here"])
@pytest.mark.parametrize(("name", "i", "example"), **named(MOVED))
def test_results_and_gradients_are_where_their_operands_are(
    name: str, i: int, example: case, kind: type[Here], default: flambeau.device
) -> None:
    with default:
        found, leaves = called(flambeau, example, seed_of(name, i), kind=kind)
        if example.grad:
            backward(found)
    grads = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert {made.device for made in (*found, *grads)} <= {kind.device}


@pytest.mark.parametrize(("name", "i", "example"), **named(MADE))
def test_what_is_made_of_nothing_is_on_the_default_device(name: str, i: int, example: case) -> None:
    expected, _ = called(flambeau, example, seed_of(name, i))
    with THERE:
        found, _ = called(flambeau, example, seed_of(name, i))
    assert {made.device for made in found} == {THERE}
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, name)


def assert_same(found: Any, expected: Any, what: str) -> None:
    rtol, atol = TOLERANCES.get(str(expected.dtype).removeprefix("torch."), (0, 0))
    np.testing.assert_allclose(array_of(found.cpu()), array_of(expected), rtol=rtol, atol=atol, err_msg=what)


@contextmanager
def tier(mode: str) -> Iterator[None]:
    before = engine.get_tier()
    engine.set_tier(mode)
    yield
    engine.set_tier(before)


def in_groups(examples: list[Example], size: int) -> list[list[Example]]:
    return [examples[start : start + size] for start in range(0, len(examples), size)]


def is_part_of_a_derivative(name: str) -> bool:
    return name.endswith(("_backward", "_input", "_weight"))


FIRST = [found for found in MOVED if found[1] == 0 and not OPERATORS[found[0]].elementwise]
GROUPS = in_groups([found for found in FIRST if not is_part_of_a_derivative(found[0])], 12)
GROUPS += in_groups([found for found in FIRST if is_part_of_a_derivative(found[0])], 6)


@pytest.mark.parametrize("group", GROUPS, ids=[group[0][0] for group in GROUPS])
def test_values_are_those_of_the_cpu(group: list[Example]) -> None:
    def run(kind: type[Here]) -> list[tuple[str, Any]]:
        found = []
        for name, i, example in group:
            outputs, leaves = called(flambeau, example, seed_of(name, i), kind=kind)
            found.extend((name, out) for out in outputs)
            if example.grad and is_part_of_a_derivative(name):
                backward(outputs)
                found.extend((f"gradient of {name}", leaf.grad) for leaf in leaves if leaf.grad is not None)
        return found

    with tier("interpreter"):
        expected = run(Here)
        for _, value in expected:
            value._array()
    for (what, one), (_, other) in zip(run(There), expected, strict=True):
        assert_same(one, other, what)
