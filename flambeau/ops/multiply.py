"""Matrix products in kernels, of operands in any type.

Accelerators multiply numbers of half precision, float16 and bfloat16, several times as fast as float32 ones, and add
up in float32 all the same.  Operators that are products (``product=True``) are therefore given such operands as they
are there, and multiply them with these functions, which hand over float32 results that are rounded once.  NumPy's
kernels and those of XLA for the CPU never meet them: there these are the plain products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes

HALVES = (dtypes.float16.numpy, dtypes.bfloat16.numpy)


def summed_in(x: Any) -> np.dtype:
    """The type in which products of an array are added up, and in which to compute with them."""
    return np.dtype(np.float32) if x.dtype in HALVES else x.dtype


def widened(x: Any) -> Any:
    """An array, if there is one, in the type to compute with."""
    return x if x is None else x.astype(summed_in(x))


def _options(x: Any, y: Any) -> dict[str, Any]:
    if x.dtype not in HALVES or y.dtype not in HALVES:
        return {}
    from jax.lax import Precision

    # However exact products of float32 are wanted: in such operands nothing is left to round.
    return {"precision": Precision.DEFAULT, "preferred_element_type": np.float32}


def matmul(xp: Any, x: Any, y: Any) -> Any:
    """``xp.matmul``; of half precision, in float32."""
    return xp.matmul(x, y) if xp is np else xp.matmul(x, y, **_options(x, y))


def dot(jnp: Any, x: Any, y: Any) -> Any:
    """``jnp.dot``; of half precision, in float32."""
    return jnp.dot(x, y, **_options(x, y))


def tensordot(jnp: Any, x: Any, y: Any, axes: Any) -> Any:
    """``jnp.tensordot``; of half precision, in float32."""
    return jnp.tensordot(x, y, axes, **_options(x, y))


def dot_general(x: Any, y: Any, numbers: Any) -> Any:
    """``lax.dot_general``; of half precision, in float32."""
    from jax import lax

    return lax.dot_general(x, y, numbers, **_options(x, y))
