"""Every registered operator on its examples: against PyTorch, on both tiers, with derivatives.

Registering an operator enrols it here.  Each example is run in the interpreter and compiled; shape,
type and values are held against PyTorch's and against the operator's own shape rule, first and second
derivatives against PyTorch's, and the first derivative against finite differences in float64.
"""

from __future__ import annotations

import warnings
import zlib

import numpy as np
import pytest
import torch as oracle

import flambeau
import flambeau.optim._examples
from flambeau import engine
from flambeau.ops.operator import OPERATORS
from flambeau.ops.samples import T, case

TIERS = ("interpreter", "compiled")
# Relative and absolute.  A float32 sum in another order differs by more than one rounding.
TOLERANCES = {
    "float64": (1e-7, 1e-7),
    "complex128": (1e-7, 1e-7),
    "float32": (1e-4, 1e-5),
    "complex64": (1e-4, 1e-5),
    "float16": (5e-3, 1e-3),
    "bfloat16": (2e-2, 1e-2),
}
EXAMPLES = [(name, i, example) for name, op in sorted(OPERATORS.items()) for i, example in enumerate(op.samples())]
IDS = [f"{name}-{i}" for name, i, _ in EXAMPLES]


def resolved(library, fn: str):
    """The function of that dotted name; ``Tensor.x`` and ``module.x`` included."""
    found = library
    for part in fn.split("."):
        found = getattr(found, part)
    return found


class Maker:
    """Makes the arguments of an example for a library, the same numbers for each."""

    def __init__(self, library, seed: int, wide: bool = False) -> None:
        self.library = library
        self.random = np.random.default_rng(seed)
        self.wide = wide
        self.leaves = []

    def __call__(self, arg):
        if isinstance(arg, T):
            return self.tensor(arg)
        if isinstance(arg, list | tuple):
            return type(arg)(self(x) for x in arg)
        if isinstance(arg, dict):
            return {k: self(v) for k, v in arg.items()}
        if type(arg).__name__ == "dtype" and type(arg).__module__.startswith("flambeau"):
            return getattr(self.library, arg.name)
        return arg

    def tensor(self, spec: T):
        kind = spec.dtype
        if kind == "bool":
            array = self.random.integers(0, 2, spec.shape).astype(bool)
        elif kind.startswith(("int", "uint")):
            array = self.random.integers(int(spec.low), int(spec.high), spec.shape).astype(kind)
        elif kind.startswith("complex"):
            array = self.random.uniform(spec.low, spec.high, (*spec.shape, 2)) @ np.array([1, 1j])
        else:
            array = self.random.uniform(spec.low, spec.high, spec.shape)
        if self.wide:
            kind = {"float32": "float64", "float16": "float64", "bfloat16": "float64", "complex64": "complex128"}.get(
                kind, kind
            )
        made = self.library.tensor(np.asarray(array), dtype=getattr(self.library, kind))
        if kind.startswith(("float", "bfloat", "complex")):
            made.requires_grad_(True)
            self.leaves.append(made)
        return made


def called(library, example: case, seed: int, wide: bool = False, kind: type[Maker] = Maker):
    maker = kind(library, seed, wide)
    args = maker(example.args)
    kwargs = maker(example.kwargs)
    library.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return flat(resolved(library, example.fn)(*args, **kwargs)), maker.leaves


def flat(result) -> list:
    if isinstance(result, oracle.Tensor | flambeau.Tensor):
        return [result]
    if isinstance(result, list | tuple):
        return [x for part in result for x in flat(part)]
    return []


def array_of(tensor) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.dtype in (oracle.bfloat16, flambeau.bfloat16):
        tensor = tensor.float()
    return tensor.numpy(force=True) if isinstance(tensor, oracle.Tensor) else tensor.numpy()


def assert_same(found, expected, what: str) -> None:
    assert tuple(found.shape) == tuple(expected.shape), f"{what}: shape"
    assert str(found.dtype) == str(expected.dtype), f"{what}: dtype"
    rtol, atol = TOLERANCES.get(str(expected.dtype).removeprefix("torch."), (0, 0))
    np.testing.assert_allclose(array_of(found), array_of(expected), rtol=rtol, atol=atol, err_msg=what)


def weighted(library, outputs: list, seed: int, power: int = 1):
    """A random linear function of the differentiable results, or None if there are none."""
    random = np.random.default_rng(seed)
    total = None
    for out in outputs:
        if not out.requires_grad:
            continue
        real = array_of(out).real
        weights = library.tensor(random.uniform(0.5, 1.5, real.shape).astype(real.dtype))
        for part in (out.real, out.imag) if out.is_complex() else (out,):
            term = (part * weights.to(part.dtype)).sum()
            total = term if total is None else total + term
    return total


@pytest.fixture(params=TIERS)
def tier(request):
    before = engine.get_tier()
    engine.set_tier(request.param)
    yield request.param
    engine.set_tier(before)


@pytest.mark.parametrize(("name", "i", "example"), EXAMPLES, ids=IDS)
def test_values_and_gradients_agree_with_pytorch(name: str, i: int, example: case, tier: str) -> None:
    seed = zlib.crc32(f"{name}{i}".encode())
    found, leaves = called(flambeau, example, seed)
    for out in found:
        array = out._array()
        assert array.shape == tuple(out.shape), "the kernel disagrees with the shape rule"
        assert array.dtype == out.dtype.numpy, "the kernel disagrees with the rule's dtype"
    if not example.compare:
        return
    expected, oracle_leaves = called(oracle, example, seed)
    assert len(found) == len(expected)
    for out, reference in zip(found, expected, strict=True):
        assert_same(out, reference, "value")
    if not example.grad:
        return
    total, reference = weighted(flambeau, found, seed), weighted(oracle, expected, seed)
    assert (total is None) == (reference is None), "differentiability"
    if total is None or reference is None:
        return
    total.backward()
    reference.backward()
    for leaf, oracle_leaf in zip(leaves, oracle_leaves, strict=True):
        if oracle_leaf.grad is None:
            assert leaf.grad is None or not array_of(leaf.grad).any(), "gradient where PyTorch has none"
        else:
            assert_same(leaf.grad, oracle_leaf.grad, "gradient")


def differentiable(example: case) -> bool:
    return example.grad and example.compare


GRADIENTS = [(n, i, e) for n, i, e in EXAMPLES if differentiable(e)]


SMOOTH = [(n, i, e) for n, i, e in EXAMPLES if e.grad and e.finite]


@pytest.mark.parametrize(("name", "i", "example"), SMOOTH, ids=[f"{n}-{i}" for n, i, _ in SMOOTH])
def test_first_derivative_by_finite_differences(name: str, i: int, example: case) -> None:
    seed = zlib.crc32(f"{name}{i}".encode())
    found, leaves = called(flambeau, example, seed, wide=True)
    total = weighted(flambeau, found, seed)
    if total is None:
        return
    total.backward()
    random = np.random.default_rng(seed)
    step = 1e-6
    directions = [random.uniform(-1, 1, leaf.shape) for leaf in leaves]
    analytic = sum(
        float((array_of(leaf.grad).real * d).sum())
        for leaf, d in zip(leaves, directions, strict=True)
        if leaf.grad is not None
    )

    def at(scale: float) -> float:
        shifted = Shifted(flambeau, seed, directions, scale)
        with warnings.catch_warnings(), flambeau.no_grad():
            warnings.simplefilter("ignore")
            args = shifted(example.args)
            kwargs = shifted(example.kwargs)
            flambeau.manual_seed(seed)
            with flambeau.enable_grad():
                results = flat(resolved(flambeau, example.fn)(*args, **kwargs))
        value = weighted(flambeau, results, seed)
        assert value is not None
        return value.item()

    numeric = (at(step) - at(-step)) / (2 * step)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-4, atol=1e-5)


class Shifted(Maker):
    """Makes arguments moved along a direction."""

    def __init__(self, library, seed: int, directions: list, scale: float) -> None:
        super().__init__(library, seed, wide=True)
        self.directions = iter(directions)
        self.scale = scale

    def tensor(self, spec: T):
        made = super().tensor(spec)
        if not made.requires_grad:
            return made
        moved = array_of(made) + self.scale * next(self.directions)
        return self.library.tensor(moved, dtype=made.dtype, requires_grad=True)


SECOND = [(n, i, e) for n, i, e in GRADIENTS if e.gradgrad]


@pytest.mark.parametrize(("name", "i", "example"), SECOND, ids=[f"{n}-{i}" for n, i, _ in SECOND])
def test_second_derivative_agrees_with_pytorch(name: str, i: int, example: case) -> None:
    seed = zlib.crc32(f"{name}{i}".encode())
    second = []
    for library in (flambeau, oracle):
        found, leaves = called(library, example, seed, wide=True)
        total = weighted(library, found, seed)
        if total is None:
            return
        grads = library.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
        again = weighted(library, [g for g in grads if g is not None], seed + 1)
        second.append(
            [None] * len(leaves) if again is None else library.autograd.grad(again, leaves, allow_unused=True)
        )
    for leaf, (g, reference) in enumerate(zip(*second, strict=True)):
        if reference is None or g is None:
            # One library may know that a second derivative vanishes where the other computes zeros.
            given = g if reference is None else reference
            assert given is None or not array_of(given).any(), f"second derivative of input {leaf}"
        else:
            assert_same(g, reference, f"second derivative of input {leaf}")


def test_every_operator_has_examples() -> None:
    lacking = [name for name, op in OPERATORS.items() if not op.samples()]
    assert not lacking, f"operators without an example: {lacking}"


def test_registering_a_name_twice_raises() -> None:
    op = next(iter(OPERATORS.values()))
    from flambeau.ops.operator import operator

    with pytest.raises(ValueError, match="registered already"):
        operator(op.name, op.rule, op.numpy, op.derivative, samples=list)
