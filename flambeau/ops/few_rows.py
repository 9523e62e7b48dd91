"""A few rows times a large matrix, compiled for the CPU: shared by the threads.

XLA gives a product with a single row to one thread, unless the matrix is very large, and one thread reads memory at
half the speed of two.  Products with a few rows it shares, but badly where the rows are long.  As a batch of products,
one for each part of the matrix, they run side by side.
"""

from __future__ import annotations

from typing import Any

from flambeau.engine import target

PART = 1 << 16
"""Elements of the matrix that are worth a thread of their own."""
MOST = 8
"""Rows.  On two cores, 1, 2 and 8 rows by 1152 x 384 took 63, 128 and 156 us instead of 106, 150 and 195 where the
matrix came from memory, as a model's weights do; 16 and more gained nothing where it was in the caches."""


def parts_of(x: Any, matrix: Any) -> int:
    """Into how many parts to divide a matrix whose rows are multiplied with those of another array; 1 to leave it."""
    rows = x.size // max(1, x.shape[-1])
    if target.kind() != "cpu" or target.is_single_kernel() or not 0 < rows <= MOST or x.dtype.kind != "f":
        return 1
    most = min(target.threads(), matrix.size // PART)
    return next((count for count in range(most, 1, -1) if matrix.shape[0] % count == 0), 1)


def by_parts(jnp: Any, x: Any, matrix: Any, parts: int) -> Any:
    """``x @ matrix.T``, for each part of the matrix by itself."""
    from jax import lax

    features = x.shape[-1]
    pieces = matrix.reshape(parts, -1, features)
    rows = jnp.broadcast_to(x.reshape(1, -1, features), (parts, x.size // features, features))
    # (part, rows of the matrix, rows of x), which are the columns of the result in order
    products = lax.dot_general(pieces, rows, (((2,), (2,)), ((0,), (0,))))
    return products.reshape(matrix.shape[0], -1).T.reshape(*x.shape[:-1], matrix.shape[0])
