"""Products beyond the operators' examples: equations, orders and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle

import flambeau

RANDOM = np.random.default_rng(0)

EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("bij,bjk", (5, 2, 3), (5, 3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("i,j", (2,), (3,)),
    ("...ij,...jk->...ik", (5, 1, 2, 3), (4, 3, 2)),
    ("...,...", (2, 3), (3,)),
    ("i...->...", (2, 3, 4)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("bn,anm,bm->ba", (2, 3), (5, 3, 4), (2, 4)),
    (" i j , j -> i ", (2, 3), (3,)),
    ("ij,kj->ik", (2, 1), (4, 3)),
    ("aij,ajk,akl->il", (2, 3, 4), (2, 4, 5), (2, 5, 3)),
    ("iij,jkk->ik", (2, 2, 3), (3, 4, 4)),
    ("...->...", (2, 3)),
    ("ab,ab,ab->ab", (2, 3), (2, 3), (2, 3)),
    ("Ab,bA->A", (2, 3), (3, 2)),
]


@pytest.mark.parametrize("example", EQUATIONS, ids=[e[0] for e in EQUATIONS])
def test_einsum(example) -> None:
    equation, *shapes = example
    arrays = [RANDOM.standard_normal(shape) for shape in shapes]
    results = []
    for library in (flambeau, oracle):
        operands = [library.tensor(array, requires_grad=True) for array in arrays]
        out = library.einsum(equation, *operands)
        (out**2).sum().backward()
        results.append([out.detach().numpy(), *(operand.grad.numpy() for operand in operands)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_einsum_by_numbers() -> None:
    a, b = flambeau.ones(2, 3), flambeau.ones(3, 4)
    assert flambeau.einsum(a, [0, 1], b, [1, 2], [2, 0]).shape == (4, 2)
    assert flambeau.einsum(a, [Ellipsis, 1], b, [1, 2]).shape == (2, 4)


ERRORS = {
    "mm": lambda t: t.mm(t.ones(2, 3), t.ones(2, 3)),
    "mm of a vector": lambda t: t.mm(t.ones(2), t.ones(2, 3)),
    "mm of bools": lambda t: t.mm(t.ones(2, 2, dtype=t.bool), t.ones(2, 2, dtype=t.bool)),
    "mm, types": lambda t: t.mm(t.ones(2, 2), t.ones(2, 2, dtype=t.float64)),
    "bmm": lambda t: t.bmm(t.ones(2, 3), t.ones(2, 3, 4)),
    "bmm, sizes": lambda t: t.bmm(t.ones(2, 3, 4), t.ones(3, 4, 4)),
    "mv": lambda t: t.mv(t.ones(2, 3), t.ones(2)),
    "dot": lambda t: t.dot(t.ones(2), t.ones(3)),
    "dot of a matrix": lambda t: t.dot(t.ones(2, 2), t.ones(2)),
    "dot, types": lambda t: t.dot(t.ones(2), t.ones(2, dtype=t.float64)),
    "inner": lambda t: t.inner(t.ones(2, 3), t.ones(2)),
    "outer": lambda t: t.outer(t.ones(2, 2), t.ones(2)),
    "addmm": lambda t: t.addmm(t.ones(5, 5), t.ones(2, 3), t.ones(3, 4)),
    "addmv": lambda t: t.addmv(t.ones(4), t.ones(2, 3), t.ones(3)),
    "baddbmm": lambda t: t.baddbmm(t.ones(2, 3), t.ones(2, 3, 4), t.ones(2, 3, 4)),
    "addr": lambda t: t.addr(t.ones(2, 3), t.ones(2, 2), t.ones(4)),
    "trace": lambda t: t.trace(t.ones(2)),
    "cross": lambda t: t.linalg.cross(t.ones(2, 4), t.ones(2, 4)),
    "tensordot": lambda t: t.tensordot(t.ones(2, 3), t.ones(2, 3), dims=5),
    "tensordot, sizes": lambda t: t.tensordot(t.ones(2, 3), t.ones(2, 3), dims=([1], [0])),
    "matrix_power": lambda t: t.matrix_power(t.ones(2, 3), 2),
    "multi_dot": lambda t: t.linalg.multi_dot([t.ones(2, 3), t.ones(2, 3)]),
    "multi_dot of one": lambda t: t.linalg.multi_dot([t.ones(2, 3)]),
    "bilinear": lambda t: t.nn.functional.bilinear(t.ones(2, 3), t.ones(2, 4), t.ones(5, 3, 5)),
    "einsum, output": lambda t: t.einsum("ij,jk->il", t.ones(2, 3), t.ones(3, 4)),
    "einsum, operands": lambda t: t.einsum("ij,jk", t.ones(2, 3)),
    "einsum, sizes": lambda t: t.einsum("ij,j->i", t.ones(2, 3), t.ones(4)),
    "einsum, twice": lambda t: t.einsum("ij->iij", t.ones(2, 3)),
    "einsum, dot": lambda t: t.einsum("i.j", t.ones(2, 3)),
    "einsum, letter": lambda t: t.einsum("i1", t.ones(2, 3)),
    "einsum, dimensions": lambda t: t.einsum("ijk", t.ones(2, 3)),
    "einsum, diagonal": lambda t: t.einsum("ii", t.ones(2, 3)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_pytorch(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        ERRORS[name](oracle)
    with pytest.raises(Exception) as ours:
        ERRORS[name](flambeau)
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert str(ours.value).startswith(str(theirs.value))


def test_a_chain_of_matrices_and_a_vector() -> None:
    matrices = [RANDOM.standard_normal(shape) for shape in ((10, 100), (100, 5), (5, 50), (50,))]
    found = flambeau.linalg.multi_dot([flambeau.tensor(m) for m in matrices])
    np.testing.assert_allclose(found.numpy(), np.linalg.multi_dot(matrices))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert flambeau.chain_matmul(flambeau.ones(2, 3)).shape == (2, 3)


def test_a_beta_of_zero_hides_what_is_not_a_number() -> None:
    nan = flambeau.full((2, 2), float("nan"))
    assert flambeau.addmm(nan, flambeau.ones(2, 3), flambeau.ones(3, 2), beta=0).tolist() == [[3, 3], [3, 3]]


GROUPED = [
    ((6, 4), (3, 4, 8), [2, 3, 6]),
    ((6, 4), (3, 4, 8), [0, 3, 6]),
    ((4, 12), (12, 8), [4, 4, 12]),
    ((3, 4, 4), (4, 12), [4, 8, 12]),
    ((3, 4, 4), (3, 4, 8), None),
]


@pytest.mark.parametrize(("first", "second", "ends"), GROUPED)
def test_grouped_products_follow_pytorch(first, second, ends, tier: str) -> None:
    a, b = (RANDOM.standard_normal(shape).astype(np.float32) for shape in (first, second))
    found = []
    for library in (flambeau, oracle):
        x, y = (library.tensor(array, requires_grad=True) for array in (a, b))
        offs = None if ends is None else library.tensor(ends, dtype=library.int32)
        z = library.nn.functional.grouped_mm(x, y, offs=offs)
        (z * z).sum().backward()
        found.append([z.detach().numpy(), x.grad.numpy(), y.grad.numpy()])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_rows_behind_the_last_group_are_zero() -> None:
    offs = flambeau.tensor([1, 2], dtype=flambeau.int32)
    found = flambeau.nn.functional.grouped_mm(flambeau.ones(3, 4), flambeau.ones(2, 4, 8), offs=offs)
    assert found.sum(1).tolist() == [32.0, 32.0, 0.0]
    found = flambeau.nn.functional.grouped_mm(flambeau.ones(2, 3, 4), flambeau.ones(4, 3), offs=offs)
    assert found.sum(0).tolist() == [12.0, 12.0, 0.0]


@pytest.mark.parametrize(
    "program",
    [
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a, b),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a.double(), b, offs=offs),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a, b, offs=offs.long()),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a[:, :4], b, offs=offs),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a[0], b, offs=offs),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a, b, offs=offs, bias=b),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a, b, offs=offs[:2]),
        lambda t, a, b, offs: t.nn.functional.grouped_mm(a, b, offs=offs, out_dtype=t.bfloat16),
    ],
)
def test_grouped_products_refuse_what_pytorch_refuses(program) -> None:
    messages = []
    for t in (flambeau, oracle):
        with pytest.raises(RuntimeError) as caught:
            program(t, t.ones(6, 8), t.ones(3, 8, 16), t.tensor([2, 3, 6], dtype=t.int32))
        messages.append(str(caught.value))
    assert messages[0].startswith(messages[1])
