"""A single row times a large matrix, compiled for the CPU: shared by the threads.

XLA gives such a product to one thread, unless the matrix is very large, and one thread reads memory at half the speed
of two: a row by 1152 x 384 takes 106 us on two cores, and 63 as a batch of two products, one for each half of the
matrix, which run side by side.

Products of several rows are left alone, though some would gain: XLA for the CPU hands those to a library together with
what surrounds them, and there a batch of them behind a convolution came out as NaN.
"""

from __future__ import annotations

from typing import Any

from flambeau.engine import target

PART = 1 << 16
"""Elements of the matrix that are worth a thread of their own."""


def parts_of(x: Any, matrix: Any) -> int:
    """Into how many parts to divide a matrix whose rows are multiplied with those of another array; 1 to leave it."""
    if target.kind() != "cpu" or target.is_single_kernel() or x.size != x.shape[-1] or x.dtype.kind != "f":
        return 1
    most = min(target.threads(), matrix.size // PART)
    return next((count for count in range(most, 1, -1) if matrix.shape[0] % count == 0), 1)


def by_parts(jnp: Any, x: Any, matrix: Any, parts: int) -> Any:
    """``x @ matrix.T`` for a single row, for each part of the matrix by itself."""
    from jax import lax

    features = x.shape[-1]
    pieces = matrix.reshape(parts, -1, features)
    rows = jnp.broadcast_to(x.reshape(1, 1, features), (parts, 1, features))
    # (part, rows of the matrix, 1)
    products = lax.dot_general(pieces, rows, (((2,), (2,)), ((0,), (0,))))
    return products.reshape(*x.shape[:-1], matrix.shape[0])
