"""Loops of little work: XLA makes one kernel of such a program.

On the CPU, XLA runs a program as a list of kernels, handed to the threads of a pool: about a microsecond for each, and
for each again with every turn of a loop.  What it calls a small call is compiled as one kernel instead, loops included.
XLA finds such calls by itself, but only where there is next to no work; here they are marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr
from jaxlib.mlir import ir

from flambeau.engine import target

MOST_WORK = 1 << 20
"""Scalar operations.  Beyond, a loop's kernels have enough to do."""
LONGEST = 400
"""Operations of a program.  Beyond, its one kernel takes too long to compile."""

LOOPS = {"scan", "while"}
ONE_BY_ONE = {"scatter", "scatter-add"}
"""What has a formulation with a loop, for a program that becomes one kernel (see :mod:`flambeau.engine.target`)."""
ALLOWED = LOOPS | set(
    """
    abs add add_any and broadcast_in_dim ceil clamp concatenate convert_element_type copy cos custom_jvp_call
    custom_vjp_call div dot_general dynamic_slice dynamic_update_slice eq exp expm1 floor gather ge gt integer_pow
    iota is_finite jit le log log1p logistic lt max min mul ne neg not or pad pjit pow reduce_and reduce_max
    reduce_min reduce_or reduce_prod reduce_sum rem reshape rev round rsqrt select_n sign sin slice split sqrt
    square squeeze stack stop_gradient sub tanh transpose xor
    """.split()
)
"""JAX's names of what XLA has no need of its runtime for, and is known to compile well in this way."""
TYPES = {"bool", "float32", "float64", "int32", "int64"}

_OPTIONS = {
    # Products belong to the kernel, instead of to a library that splits them up for threads.
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_cpu_multi_thread_eigen": False,
}
_MARKS = {"xla_cpu_small_call": "true", "inlineable": "false"}


def compiled(
    function: Callable[..., Any], structs: list[Any], donated: tuple[int, ...], options: dict[str, Any] | None = None
) -> Any:
    """A function of arrays, compiled for the CPU: as one kernel where that is worth it, else with these options of XLA.

    Another release of XLA may have other options: without them it compiles everything as well.
    """
    traced = _traced(function, structs, donated)
    if _is_small(traced.jaxpr.jaxpr):
        with target.traced_as_single_kernel():
            whole = _traced(function, structs, donated)
        if {equation.primitive.name for equation in _equations(whole.jaxpr.jaxpr)} <= ALLOWED:
            lowered = whole.lower()
            _mark(lowered.compiler_ir("stablehlo"))
            with suppress(jax.errors.JaxRuntimeError):
                return lowered.compile(compiler_options=_OPTIONS)
    lowered = traced.lower()
    if options:
        with suppress(jax.errors.JaxRuntimeError):
            return lowered.compile(compiler_options=options)
    return lowered.compile()


def _traced(function: Callable[..., Any], structs: list[Any], donated: tuple[int, ...]) -> Any:
    """A function that does nothing but call the given one, which is an operation then.

    The operation gives its operands as well: XLA would fail at one of which simplification leaves no use.
    """
    inner = jax.jit(lambda *arrays: (function(*arrays), arrays))

    def call(*arrays: Any) -> Any:
        return inner(*arrays)[0]

    return jax.jit(call, donate_argnums=donated, keep_unused=True).trace(*structs)


def _mark(module: Any) -> None:
    """Has the call that is all of the main function compiled as one kernel."""
    with module.context:
        marks = ir.DictAttr.get({name: ir.StringAttr.get(value) for name, value in _MARKS.items()})
    main = ir.SymbolTable(module.operation)["main"].operation
    for op in main.regions[0].blocks[0].operations:
        if op.operation.name == "func.call":
            op.attributes["mhlo.frontend_attributes"] = marks


# ---------------------------------------------------------------- what is small


def _is_small(jaxpr: Jaxpr) -> bool:
    names = set()
    for count, equation in enumerate(_equations(jaxpr)):
        names.add(equation.primitive.name)
        if count >= LONGEST or not all(_is_plain(part.aval) for part in (*equation.invars, *equation.outvars)):
            return False
    return bool(names & LOOPS) and names <= ALLOWED | ONE_BY_ONE and _work(jaxpr) <= MOST_WORK


def _is_plain(aval: Any) -> bool:
    return aval.size > 0 and aval.dtype.name in TYPES


def _equations(jaxpr: Jaxpr) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for part in _parts(equation):
            yield from _equations(part)


def _parts(equation: Any) -> list[Jaxpr]:
    """The bodies of a loop or a call."""
    found = []
    for value in equation.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr):
                found.append(part.jaxpr)
            elif isinstance(part, Jaxpr):
                found.append(part)
    return found


def _work(jaxpr: Jaxpr) -> int:
    """Scalar operations, in all turns of a loop as far as their number is known."""
    total = 0
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        parts = _parts(equation)
        if parts:
            total += equation.params.get("length", 1) * sum(map(_work, parts))
        elif name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            size = 2 * equation.outvars[0].aval.size
            for axis in contracted:
                size *= equation.invars[0].aval.shape[axis]
            total += size
        elif name.startswith("reduce"):
            total += equation.invars[0].aval.size
        else:
            total += sum(out.aval.size for out in equation.outvars)
    return total
