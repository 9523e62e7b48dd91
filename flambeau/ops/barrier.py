"""Work that must not be merged with equal work done earlier."""

from __future__ import annotations

from typing import Any

from flambeau.engine import target
from flambeau.graph.node import Aval
from flambeau.ops.operator import Operator


def _after_rule(x: Aval, other: Aval) -> Aval:
    return x.of()


def _after_numpy(np: Any, x: Any, other: Any) -> Any:
    return x


def _after_lax(jnp: Any, x: Any, other: Any) -> Any:
    """The operand, behind XLA's own barrier; on the CPU, where that does not hold, by a choice XLA cannot foresee.

    There the expander takes the barrier away before the schedule is made, so what stands behind it is computed early
    and kept.  A word has never more than 32 bits set, but no pass of the compiler knows that.
    """
    if not other.size or not x.size:
        return x
    # Imported here, as wherever only the compiled tier needs it.
    from jax import lax

    if target.kind() != "cpu":
        return lax.optimization_barrier((x, other))[0]
    first = jnp.real(other.reshape(-1)[0]).astype(jnp.float32)
    always = lax.population_count(lax.bitcast_convert_type(first, jnp.uint32)) <= 32
    return jnp.where(always, x, jnp.zeros((), x.dtype))


AFTER = Operator(
    "after",
    _after_rule,
    None,
    lambda grad: (grad, None),
    numpy=_after_numpy,
    lax=_after_lax,
    moves=True,
    samples=list,
)
"""``AFTER(x, other)`` is x, and is not there before ``other`` is.  It stands in front of recomputed activations."""
