"""Linear algebra beyond the operators' examples: errors, vectors up to their phase, every shape of LU."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle

import flambeau


def both(array, **options):
    return [library.tensor(array, requires_grad=True, **options) for library in (flambeau, oracle)]


def gradients(function, array) -> list[np.ndarray]:
    """First and second derivatives of a scalar function, for both libraries."""
    found = []
    for library, leaf in zip((flambeau, oracle), both(array), strict=True):
        (first,) = library.autograd.grad(function(library, leaf), leaf, create_graph=True)
        weights = library.tensor(np.random.default_rng(1).standard_normal(array.shape))
        (second,) = library.autograd.grad((first * weights).real.sum(), leaf)
        found.append(
            (first.detach().resolve_conj().numpy() if library is oracle else first.detach().numpy(), second.numpy())
        )
    return found


def symmetric(x):
    return x @ x.transpose(-2, -1)


RANDOM = np.random.default_rng(0)
SQUARE = RANDOM.standard_normal((2, 4, 4))

FUNCTIONS = {
    "eigvalsh": lambda t, x: (t.linalg.eigvalsh(symmetric(x)) ** 2)[..., :2].sum(),
    "eigh": lambda t, x: (t.linalg.eigh(symmetric(x))[1] ** 4).sum(),
    "eig": lambda t, x: (t.linalg.eig(x)[1].abs() ** 4).sum(),
    "eigvals": lambda t, x: (t.linalg.eigvals(x).abs() ** 3).sum(),
    "svd": lambda t, x: (t.linalg.svd(x, full_matrices=False)[0] ** 4).sum(),
    "svd, right": lambda t, x: (t.linalg.svd(x[..., :3], full_matrices=False)[2] ** 4).sum(),
    "svd, wide": lambda t, x: (t.linalg.svd(x[..., :3, :], full_matrices=False)[2] ** 4).sum(),
    "cholesky": lambda t, x: (t.linalg.cholesky(symmetric(x)) ** 3).sum(),
    "cholesky_solve": lambda t, x: (t.cholesky_solve(x, t.linalg.cholesky(symmetric(x))) ** 2).sum(),
    "lu": lambda t, x: (t.linalg.lu(x)[1] ** 3).sum() + (t.linalg.lu(x)[2] ** 3).sum(),
    "lu, wide": lambda t, x: (t.linalg.lu_factor(x[..., :3, :])[0] ** 3).sum(),
    "lu, tall": lambda t, x: (t.linalg.lu_factor(x[..., :3])[0] ** 3).sum(),
    "qr": lambda t, x: (t.linalg.qr(x)[0] ** 3).sum() + (t.linalg.qr(x)[1] ** 3).sum(),
    "qr, wide": lambda t, x: (t.linalg.qr(x[..., :3, :])[1] ** 3).sum(),
    "det": lambda t, x: t.linalg.det(x).sum(),
    "pinv": lambda t, x: (t.linalg.pinv(x[..., :2]) ** 2).sum(),
    "matrix_exp": lambda t, x: (t.linalg.matrix_exp(x / 3) ** 2).sum(),
    "lstsq": lambda t, x: (t.linalg.lstsq(x[..., :2], x[..., 2:])[0] ** 2).sum(),
    "nuclear norm": lambda t, x: t.linalg.matrix_norm(x, "nuc").sum(),
    "householder": lambda t, x: (t.linalg.householder_product(x, x[..., 0] / 5) ** 2).sum(),
    "ormqr": lambda t, x: (t.ormqr(x, x[..., 0] / 5, x) ** 2).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_agree_with_pytorch(name: str) -> None:
    ours, theirs = gradients(FUNCTIONS[name], SQUARE)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6, atol=1e-8)


def test_gradient_of_the_determinant_of_a_singular_matrix_is_its_cofactors() -> None:
    x = flambeau.tensor([[1.0, 2.0], [2.0, 4.0]], requires_grad=True)
    flambeau.linalg.det(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), [[4, -2], [-2, 1]], atol=1e-5)


@pytest.mark.parametrize("n", [3, 40, 70])
@pytest.mark.parametrize("hermitian", [False, True])
def test_indefinite_matrices_are_factored_and_solved_as_in_pytorch(n: int, hermitian: bool) -> None:
    a = RANDOM.standard_normal((n, n)) + 1j * RANDOM.standard_normal((n, n))
    a = a + (a.conj().T if hermitian else a.T)
    b = RANDOM.standard_normal((n, 2)) + 0j
    found = []
    for library in (flambeau, oracle):
        packed, pivots = library.linalg.ldl_factor(library.tensor(a), hermitian=hermitian)
        solution = library.linalg.ldl_solve(packed, pivots, library.tensor(b), hermitian=hermitian)
        found.append((packed.numpy(), pivots.numpy(), solution.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(a @ found[0][2], b, atol=1e-6)


@pytest.mark.parametrize("shape", [(70, 70), (2, 40, 65), (65, 40)])
def test_lu_by_blocks_is_that_of_pytorch(shape: tuple[int, ...]) -> None:
    a = RANDOM.standard_normal(shape)
    ours, theirs = flambeau.linalg.lu_factor(flambeau.tensor(a)), oracle.linalg.lu_factor(oracle.tensor(a))
    np.testing.assert_array_equal(ours.pivots.numpy(), theirs.pivots.numpy())
    np.testing.assert_allclose(ours.LU.numpy(), theirs.LU.numpy(), atol=1e-10)


def test_lobpcg_finds_the_ends_of_the_spectrum() -> None:
    a = RANDOM.standard_normal((2, 20, 20))
    a = a @ a.transpose(0, 2, 1)
    values, vectors = flambeau.lobpcg(flambeau.tensor(a), k=3)
    expected = np.linalg.eigvalsh(a)[:, ::-1][:, :3]
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(a @ vectors.numpy(), vectors.numpy() * expected[:, None], atol=1e-4)
    smallest, _ = flambeau.lobpcg(flambeau.tensor(a[0]), k=2, largest=False)
    np.testing.assert_allclose(smallest.numpy(), np.linalg.eigvalsh(a[0])[:2], rtol=1e-4)


ERRORS = {
    "inv": lambda t: t.linalg.inv(t.zeros(2, 2)),
    "inv of a batch": lambda t: t.linalg.inv(t.zeros(2, 2, 2)),
    "inv of no square": lambda t: t.linalg.inv(t.zeros(2, 3)),
    "inv of ints": lambda t: t.linalg.inv(t.ones(2, 2, dtype=t.int64)),
    "inv of a vector": lambda t: t.linalg.inv(t.ones(2)),
    "inv_ex": lambda t: t.linalg.inv_ex(t.zeros(2, 2), check_errors=True),
    "solve": lambda t: t.linalg.solve(t.zeros(2, 2), t.ones(2)),
    "solve, sizes": lambda t: t.linalg.solve(t.ones(2, 2), t.ones(3, 2)),
    "solve, types": lambda t: t.linalg.solve(t.ones(2, 2), t.ones(2, dtype=t.float64)),
    "solve_triangular": lambda t: t.linalg.solve_triangular(t.ones(2, 2), t.ones(3, 2), upper=True),
    "cholesky": lambda t: t.linalg.cholesky(-t.ones(2, 2)),
    "cholesky, second": lambda t: t.linalg.cholesky(t.tensor([[1.0, 2.0], [2.0, 1.0]])),
    "old cholesky": lambda t: t.cholesky(t.zeros(2, 2)),
    "lu_factor": lambda t: t.linalg.lu_factor(t.zeros(2, 2)),
    "lu_factor, no pivoting": lambda t: t.linalg.lu_factor(t.ones(2, 2), pivot=False),
    "lu_unpack": lambda t: t.lu_unpack(t.ones(2, 2), t.tensor([1, 5], dtype=t.int32)),
    "lu_unpack, type": lambda t: t.lu_unpack(t.ones(2, 2), t.tensor([1, 2])),
    "svd": lambda t: t.linalg.svd(t.full((2, 2), float("nan"))),
    "eig": lambda t: t.linalg.eig(t.full((2, 2), float("nan"))),
    "eigh, triangle": lambda t: t.linalg.eigh(t.ones(2, 2), UPLO="X"),
    "qr, mode": lambda t: t.linalg.qr(t.ones(2, 2), mode="x"),
    "pinv": lambda t: t.linalg.pinv(t.ones(2)),
    "lstsq": lambda t: t.linalg.lstsq(t.ones(2), t.ones(2)),
    "lstsq, driver": lambda t: t.linalg.lstsq(t.ones(2, 2), t.ones(2, 2), driver="x"),
    "cond": lambda t: t.linalg.cond(t.ones(2, 2), "x"),
    "norm": lambda t: t.linalg.norm(t.ones(2, 2, 2), 2),
    "norm, dims": lambda t: t.linalg.norm(t.ones(2, 2, 2), 2, (0, 1, 2)),
    "matrix_norm": lambda t: t.linalg.matrix_norm(t.ones(2, 2), 3),
    "vector_norm": lambda t: t.linalg.vector_norm(t.ones(2, 0), float("inf")),
    "vector_norm of ints": lambda t: t.linalg.vector_norm(t.ones(2, dtype=t.int64)),
    "tensorinv": lambda t: t.linalg.tensorinv(t.ones(2, 3)),
    "tensorsolve": lambda t: t.linalg.tensorsolve(t.ones(2, 3), t.ones(2)),
    "householder_product": lambda t: t.linalg.householder_product(t.ones(2, 3), t.ones(2)),
    "renorm": lambda t: t.renorm(t.ones(2), 2, 0, 1),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_pytorch(name: str) -> None:
    with pytest.raises(Exception) as theirs:
        ERRORS[name](oracle)
    with pytest.raises(Exception) as ours:
        ERRORS[name](flambeau)
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert str(ours.value).splitlines()[0].startswith(str(theirs.value).splitlines()[0].rstrip("."))


def test_the_error_of_linear_algebra_is_a_runtime_error() -> None:
    with pytest.raises(flambeau.linalg.LinAlgError):
        flambeau.linalg.inv(flambeau.zeros(2, 2))
    assert issubclass(flambeau.linalg.LinAlgError, RuntimeError)


def test_info_is_equal_on_both_tiers() -> None:
    before = flambeau.engine.get_tier()
    batch = flambeau.tensor([[[1.0, 2.0], [2.0, 1.0]], [[2.0, 1.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    found = []
    for tier in ("interpreter", "compiled"):
        flambeau.engine.set_tier(tier)
        try:
            infos = [f(batch).info.tolist() for f in (flambeau.linalg.inv_ex, flambeau.linalg.cholesky_ex)]
            infos.append(flambeau.linalg.lu_factor_ex(batch).info.tolist())
        finally:
            flambeau.engine.set_tier(before)
        found.append(infos)
    assert found[0] == found[1] == [[0, 0, 1], [2, 0, 1], [0, 0, 1]]
