"""A few rows times a large matrix, compiled for the CPU: shared by the threads.

XLA gives a product with a single row to one thread, unless the matrix is very large, and one thread reads memory at
half the speed of two.  Products with a few rows it shares, but badly where the rows are long.  As a batch of products,
one for each part of the matrix, they run side by side.
"""

from __future__ import annotations

from typing import Any

from flambeau.engine import target

PART = 1 << 16
"""Elements of the matrix that are worth a thread of their own ..."""
FEW = 32
"""... for so many rows.  On two cores, 1, 8 and 32 rows by a matrix of 1152 x 384 took 63, 156 and 348 us instead of 106,
195 and 363, and by one of 768 x 3072 from 2 rows on a third to a half of the time."""
LARGER_PART = 1 << 18
"""For more rows, XLA shares the work well unless the matrix is larger; 128 rows by 768 x 3072 took 3.1 ms, not 3.9 ..."""
MOST = 128
"""... and for more than so many it always does."""


def parts_of(x: Any, matrix: Any) -> int:
    """Into how many parts to divide a matrix of two dimensions whose rows meet those of another array; 1 to leave it."""
    rows = x.size // max(1, x.shape[-1])
    if target.kind() != "cpu" or target.is_single_kernel() or not 0 < rows <= MOST or x.dtype.kind != "f":
        return 1
    most = min(target.threads(), matrix.size // (PART if rows <= FEW else LARGER_PART))
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
