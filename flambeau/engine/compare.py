"""The debug mode: every operation on both tiers, and the first that disagrees by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.engine import accelerators
from flambeau.engine.interpreter import as_array, run_step
from flambeau.graph.program import Program, Step

TOLERANCES = {
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex128: (1e-7, 1e-7),
    dtypes.float16: (5e-3, 5e-3),
    dtypes.bfloat16: (2e-2, 2e-2),
}
_SINGLE = (1e-3, 1e-4)


class TiersDisagree(RuntimeError):
    """The interpreter and XLA gave different results for one operation."""


def run(program: Program, values: list[Any]) -> list[Any]:
    """The interpreter's results, after XLA has confirmed each step on the same inputs.

    Raises:
        TiersDisagree: at the first step whose results differ by more than rounding.
    """
    env: list[Any] = [None] * program.slots
    for slot, value in zip(program.leaves, values, strict=True):
        env[slot] = value
    for step in program.steps:
        inputs = [env[slot] for slot in step.inputs]
        env[step.slot] = run_step(step.call, inputs)
        if step.call.op.name != "project":
            _confirm(step, inputs, env[step.slot])
    return [as_array(env[slot]) for slot in program.outputs]


def _confirm(step: Step, inputs: list[Any], found: Any) -> None:
    # Imported here, as wherever only the compiled tier needs it.
    from flambeau.engine import xla

    results = found if isinstance(found, tuple | list) else (found,)
    try:
        others = [np.asarray(other) for other in xla.run_step(step.call, inputs, step.call.place)]
    except RuntimeError as error:
        raise accelerators.failed(error, step.call.place, step.call) from error
    outs = step.call.out if isinstance(step.call.out, tuple) else (step.call.out,)
    for i, (one, other, aval) in enumerate(zip(results, others, outs, strict=True)):
        rtol, atol = TOLERANCES.get(aval.dtype, _SINGLE) if aval.dtype.category >= dtypes.FLOATING else (0, 0)
        first, second = as_array(one), other
        if aval.dtype in dtypes.REDUCED:
            first, second = first.astype(np.float32), second.astype(np.float32)
        if first.shape != second.shape or not np.allclose(first, second, rtol, atol, equal_nan=True):
            raise TiersDisagree(
                f"{step.call.op.name}: result {i} differs between the interpreter and XLA: {step.call!r} gave "
                f"{_short(first)} and {_short(second)}"
            )


def _short(array: np.ndarray) -> str:
    return np.array2string(array, threshold=8, edgeitems=3, precision=6).replace("\n", " ")
