"""The factorization of symmetric and Hermitian matrices that need not be definite.

Bunch and Kaufman, "Some stable methods for calculating inertia and solving symmetric linear systems" (1977), with
blocks of one and two rows, in LAPACK's compact form.
"""

from __future__ import annotations

import math
from typing import Any

from flambeau.dtypes import int32
from flambeau.graph.node import Aval
from flambeau.ops.linalg import batch_of, fits, floating, matrices, raise_where, same_type, square
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.samples import T, case
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

_ALPHA = (1 + math.sqrt(17)) / 8
"""How much smaller than its neighbours a pivot may be; keeps the growth of both kinds of block equal."""

# ---------------------------------------------------------------- factor


def _ldl_rule(A: Aval, *, hermitian: bool) -> tuple[Aval, Aval, Aval]:
    return A.of(), A.of(A.shape[:-1], int32), A.of(A.shape[:-2], int32)


def _size(xp: Any, x: Any) -> Any:
    return xp.abs(x.real) + xp.abs(x.imag) if x.dtype.kind == "c" else xp.abs(x)


def _mirrored(xp: Any, A: Any, hermitian: bool) -> Any:
    """The full matrix of which the lower triangle is given."""
    below = xp.swapaxes(xp.tril(A, -1), -2, -1)
    full = xp.tril(A) + (xp.conj(below) if hermitian else below)
    if hermitian and A.dtype.kind == "c":
        full = xp.where(xp.eye(A.shape[-1], dtype=bool), full.real.astype(A.dtype), full)
    return full


def _factor_one(np: Any, S: Any) -> tuple[Any, Any, int]:
    """Factors the full matrix S, destroying it."""
    n = S.shape[0]
    out = np.zeros_like(S)
    pivots = np.zeros(n, np.int32)
    info = k = 0
    while k < n:
        size = _size(np, S[k:, k])
        top = size[1:].max(initial=0)
        found, two = k, False
        if not max(size[0], top) > 0 or np.isnan(size[0]):
            info = info or k + 1
            out[k:, k] = S[k:, k]
            pivots[k] = k + 1
            k += 1
            continue
        if size[0] < _ALPHA * top:
            best = k + 1 + int(size[1:].argmax())
            row = _size(np, S[best, k:])
            own = row[best - k]
            row[best - k] = 0
            widest = row.max()
            if size[0] < _ALPHA * top * (top / widest):
                found, two = best, not own >= _ALPHA * widest
        place = k + two
        if found != place:
            S[[place, found]] = S[[found, place]]
            S[:, [place, found]] = S[:, [found, place]]
        end = k + 1 + two
        block = S[k:end, k:end]
        below = S[end:, k:end] @ np.linalg.inv(block) if two else S[end:, k:end] / block
        S[end:, end:] -= below @ S[k:end, end:]
        out[k:end, k:end] = np.tril(block)
        out[end:, k:end] = below
        pivots[k:end] = -(found + 1) if two else found + 1
        k = end
    return out, pivots, info


def _ldl_numpy(np: Any, A: Any, *, hermitian: bool) -> tuple[Any, Any, Any]:
    full = np.array(_mirrored(np, A, hermitian)).reshape(math.prod(A.shape[:-2]), *A.shape[-2:])
    LD, pivots = np.zeros_like(full), np.zeros(full.shape[:-1], np.int32)
    info = np.zeros(full.shape[0], np.int32)
    for i, matrix in enumerate(full):
        LD[i], pivots[i], info[i] = _factor_one(np, matrix)
    return LD.reshape(A.shape), pivots.reshape(A.shape[:-1]), info.reshape(A.shape[:-2])


def _factor_one_lax(S: Any) -> tuple[Any, Any, Any]:
    import jax.numpy as jnp
    from jax import lax

    n = S.shape[0]
    at = jnp.arange(n)

    def exchanged(S: Any, one: Any, two: Any) -> Any:
        order = jnp.where(at == one, two, jnp.where(at == two, one, at))
        return S[order][:, order]

    def step(state: Any) -> Any:
        S, out, pivots, info, k = state
        size = _size(jnp, S[:, k])
        below = jnp.where(at > k, size, -1)
        best, top = jnp.argmax(below), jnp.maximum(below.max(), 0)
        own, first = _size(jnp, S[best, best]), size[k]
        widest = jnp.where((at >= k) & (at != best), _size(jnp, S[best]), 0).max()
        dead = ~(jnp.maximum(first, top) > 0) | jnp.isnan(first)
        stays = dead | (first >= _ALPHA * top) | (first >= _ALPHA * top * (top / widest))
        two = ~stays & ~(own >= _ALPHA * widest)
        found = jnp.where(stays, k, best)
        place = k + two
        S = exchanged(S, place, found)
        # One row: the block is its pivot, the second row of the unit matrix standing for what is not there.
        second = jnp.minimum(k + 1, n - 1)
        a, b, c, d = S[k, k], S[k, second], S[second, k], S[second, second]
        b, c, d = jnp.where(two, b, 0), jnp.where(two, c, 0), jnp.where(two, d, 1)
        det = a * d - b * c
        left, right = S[:, k], jnp.where(two, S[:, second], 0)
        under = at > place
        alive = under & ~dead
        L1 = jnp.where(alive, (left * d - right * c) / det, 0)
        L2 = jnp.where(alive & two, (right * a - left * b) / det, 0)
        change = L1[:, None] * S[k][None, :] + L2[:, None] * S[second][None, :]
        column = jnp.where(
            under, jnp.where(dead, left, L1), jnp.where(at == k, a, jnp.where(two & (at == k + 1), c, 0))
        )
        out = out.at[:, k].set(column)
        extra = jnp.where(under, L2, jnp.where(at == k + 1, d, 0))
        out = out.at[:, second].set(jnp.where(two, extra, out[:, second]))
        S = jnp.where(under[:, None] & under[None, :], S - change, S)
        code = jnp.where(two, -(found + 1), found + 1).astype(jnp.int32)
        pivots = jnp.where((at == k) | (two & (at == k + 1)), code, pivots)
        info = jnp.where(dead & (info == 0), k + 1, info).astype(jnp.int32)
        return S, out, pivots, info, k + 1 + two

    start = (S, jnp.zeros_like(S), jnp.zeros(n, jnp.int32), jnp.int32(0), jnp.int64(0))
    _, out, pivots, info, _ = lax.while_loop(lambda state: state[4] < n, step, start)
    return out, pivots, info


def _ldl_lax(jnp: Any, A: Any, *, hermitian: bool) -> tuple[Any, Any, Any]:
    import jax

    if A.size == 0:
        return A, jnp.zeros(A.shape[:-1], jnp.int32), jnp.zeros(A.shape[:-2], jnp.int32)
    n = A.shape[-1]
    full = _mirrored(jnp, A, hermitian).reshape(-1, n, n)
    LD, pivots, info = jax.vmap(_factor_one_lax)(full)
    return LD.reshape(A.shape), pivots.reshape(A.shape[:-1]), info.reshape(A.shape[:-2])


LDL = operator(
    "linalg_ldl_factor_ex",
    _ldl_rule,
    None,
    NotDifferentiable("PyTorch has none either"),
    numpy=_ldl_numpy,
    lax=_ldl_lax,
    samples=lambda: [
        case("linalg.ldl_factor_ex", T(4, 4), grad=False),
        case("linalg.ldl_factor", T(3, 5, 5), grad=False),
        case("linalg.ldl_factor", T(4, 4, dtype="complex64"), hermitian=True, grad=False),
        case("linalg.ldl_factor", T(5, 5, dtype="complex64"), grad=False),
    ],
)


def _factored(A: Tensor, hermitian: bool) -> tuple[Tensor, Tensor, Tensor]:
    square("torch.linalg.ldl_factor_ex", A)
    floating("torch.linalg.ldl_factor_ex", A, "ldl_factor_kernel_cpu")
    return LDL(A, bool(hermitian))


def _zero_block(code: int) -> str:
    return f"D[{code},{code}] is zero and using it on ldl_solve would result in a division by zero."


@public(into="linalg", out="exact")
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """L and the block diagonal D of ``A = L D Lᵀ`` in one matrix, the pivots, and an ``info``.

    Shape: (..., N, N) gives the same, pivots (..., N) and ``info`` (...).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.ldl_factor_ex(torch.tensor([[4., 2.], [2., 3.]])).info
        tensor(0, dtype=torch.int32)
    """
    LD, pivots, info = _factored(A, hermitian)
    if check_errors:
        raise_where(info, "torch.linalg.ldl_factor_ex", _zero_block, RuntimeError)
    return named("linalg_ldl_factor_ex", LD, pivots, info)


@public(into="linalg", out="exact")
def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """L and the block diagonal D of ``A = L D Lᵀ`` (``L D Lᴴ`` if ``hermitian``) in one matrix, and the pivots.

    Args:
        A: (..., N, N), of which the lower triangle is read.

    Raises:
        RuntimeError: if a block of D is zero.

    Example:
        >>> import flambeau as torch
        >>> A = torch.tensor([[4., 2.], [2., 3.]])
        >>> LD, pivots = torch.linalg.ldl_factor(A)
        >>> LD
        tensor([[4.0000, 0.0000],
                [0.5000, 2.0000]])
    """
    LD, pivots, info = _factored(A, hermitian)
    raise_where(info, "torch.linalg.ldl_factor", _zero_block, RuntimeError)
    return named("linalg_ldl_factor", LD, pivots)


# ---------------------------------------------------------------- solve


def _ldl_solve_rule(LD: Aval, pivots: Aval, B: Aval, *, hermitian: bool) -> Aval:
    return B.of((*batch_of(LD, B), *B.shape[-2:]))


def _solve_one(xp: Any, LD: Any, pivots: Any, B: Any, hermitian: bool) -> Any:
    """Through L, D and Lᵀ; the pivots are known."""
    n = LD.shape[-1]
    blocks = []
    k = 0
    while k < n:
        blocks.append((k, k + 1 + int(pivots[k] < 0)))
        k = blocks[-1][1]
    X = xp.array(B)
    for start, end in blocks:
        found = abs(int(pivots[start])) - 1
        X[[end - 1, found]] = X[[found, end - 1]]
        X[end:] -= LD[end:, start:end] @ X[start:end]
        block = LD[start:end, start:end]
        if end - start == 2:
            above = block[1, 0].conj() if hermitian else block[1, 0]
            block = xp.array([[block[0, 0], above], [block[1, 0], block[1, 1]]])
        X[start:end] = xp.linalg.solve(block, X[start:end]) if end - start == 2 else X[start:end] / block
    for start, end in reversed(blocks):
        back = LD[end:, start:end].T
        X[start:end] -= (back.conj() if hermitian else back) @ X[end:]
        found = abs(int(pivots[start])) - 1
        X[[end - 1, found]] = X[[found, end - 1]]
    return X


def _ldl_solve_numpy(np: Any, LD: Any, pivots: Any, B: Any, *, hermitian: bool) -> Any:
    batch = np.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    count = math.prod(batch)
    LD = np.broadcast_to(LD, (*batch, *LD.shape[-2:])).reshape(count, *LD.shape[-2:])
    pivots = np.broadcast_to(pivots, (*batch, pivots.shape[-1])).reshape(count, pivots.shape[-1])
    flat = np.broadcast_to(B, (*batch, *B.shape[-2:])).reshape(count, *B.shape[-2:])
    result = np.empty_like(flat)
    for i in range(count):
        result[i] = _solve_one(np, LD[i], pivots[i], flat[i], hermitian)
    return result.reshape(*batch, *B.shape[-2:])


def _solve_one_lax(LD: Any, pivots: Any, B: Any, hermitian: bool) -> Any:
    import jax.numpy as jnp
    from jax import lax

    n = LD.shape[0]
    at = jnp.arange(n)
    # Whether a row is the second of a block: one after the other, since signs alone do not say.
    seconds = lax.scan(lambda was, p: ((p < 0) & ~was,) * 2, False, pivots)[1]
    seconds = (pivots < 0) & ~seconds
    turned = jnp.conj(LD) if hermitian else LD

    def exchanged(X: Any, k: Any) -> Any:
        found = jnp.abs(pivots[k]) - 1
        order = jnp.where(at == k, found, jnp.where(at == found, k, at))
        return X[order]

    def forward(k: Any, X: Any) -> Any:
        two = seconds[k]
        first = jnp.where(two, k - 1, k)
        begins = (pivots[k] < 0) & ~two
        moved = exchanged(X, k)
        under = (at > k)[:, None]
        moved = moved - jnp.where(under, LD[:, first][:, None] * moved[first], 0)
        moved = moved - jnp.where(under & two, LD[:, k][:, None] * moved[k], 0)
        a, c, d = LD[first, first], LD[k, first], LD[k, k]
        b = turned[k, first]
        det = a * d - b * c
        top, low = moved[first], moved[k]
        pair = moved.at[first].set((d * top - b * low) / det).at[k].set((a * low - c * top) / det)
        single = moved.at[k].set(low / d)
        return jnp.where(begins, X, jnp.where(two, pair, single))

    def backward(i: Any, X: Any) -> Any:
        k = n - 1 - i
        two = seconds[k]
        first = jnp.where(two, k - 1, k)
        begins = (pivots[k] < 0) & ~two
        rest = jnp.where((at > k)[:, None], X, 0)
        done = X.at[k].add(-(turned[:, k] @ rest))
        done = jnp.where(two, done.at[first].add(-(turned[:, first] @ rest)), done)
        return jnp.where(begins, X, exchanged(done, k))

    X = lax.fori_loop(0, n, forward, B)
    return lax.fori_loop(0, n, backward, X)


def _ldl_solve_lax(jnp: Any, LD: Any, pivots: Any, B: Any, *, hermitian: bool) -> Any:
    import jax

    batch = jnp.broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    shape = (*batch, *B.shape[-2:])
    if 0 in shape:
        return jnp.zeros(shape, B.dtype)
    LD = jnp.broadcast_to(LD, (*batch, *LD.shape[-2:])).reshape(-1, *LD.shape[-2:])
    pivots = jnp.broadcast_to(pivots, (*batch, pivots.shape[-1])).reshape(-1, pivots.shape[-1])
    flat = jnp.broadcast_to(B, shape).reshape(-1, *B.shape[-2:])
    return jax.vmap(lambda ld, at, b: _solve_one_lax(ld, at, b, hermitian))(LD, pivots, flat).reshape(shape)


LDL_SOLVE = operator(
    "linalg_ldl_solve",
    _ldl_solve_rule,
    None,
    NotDifferentiable("PyTorch has none either"),
    numpy=_ldl_solve_numpy,
    lax=_ldl_solve_lax,
    samples=lambda: [case("linalg.ldl_factor", T(3, 3), grad=False)],
)


@public(into="linalg", out="exact")
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The solutions of ``AX = B``, given what :func:`ldl_factor` gives for A.

    Shape: LD (..., N, N), pivots (..., N), B (..., N, K).

    Raises:
        RuntimeError: if the pivots are no integers or their shape is not that of the factors' rows.

    Example:
        >>> import flambeau as torch
        >>> A, B = torch.tensor([[4., 2.], [2., 3.]]), torch.tensor([[8.], [8.]])
        >>> torch.linalg.ldl_solve(*torch.linalg.ldl_factor(A), B)
        tensor([[1.],
                [2.]])
    """
    function = "torch.linalg.ldl_solve"
    matrices(function, B, "B")
    square(function, LD, "LD")
    if pivots.dtype.is_floating_point or pivots.dtype.is_complex or pivots.dtype is not int32:
        raise RuntimeError(f"{function}: Expected pivots to be integers. Got {pivots.dtype.title}")
    if tuple(pivots.shape) != tuple(LD.shape[:-1]):
        raise RuntimeError(
            f"{function}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.shape)} instead"
        )
    fits(function, LD, B, True)
    floating(function, LD)
    same_type(function, LD, B, "LD B")
    return LDL_SOLVE(LD, pivots, B, bool(hermitian))
