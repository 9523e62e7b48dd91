"""The first tier: NumPy, one step after the other, at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.engine.kernels import prepared
from flambeau.graph.program import Program


class Interpreted:
    """A program ready to run in NumPy.

    Building it costs a microsecond or two per step; it does not care whether shapes were seen
    before.
    """

    __slots__ = ("_leaves", "_outputs", "_slots", "_steps")

    def __init__(self, program: Program) -> None:
        self._steps = [
            (prepared(step.call, step.call.op.numpy, np), step.inputs, step.slot, step.last) for step in program.steps
        ]
        self._leaves = program.leaves
        self._outputs = program.outputs
        self._slots = program.slots

    def run(self, values: list[Any], donated: tuple[bool, ...] = ()) -> list[Any]:
        """Results for the values of the leaves, both in the program's order.

        Arrays of another tier are read in place, and replaced in the list by NumPy's view of them.
        """
        env: list[Any] = [None] * self._slots
        self.prepare(values)
        for slot, value in zip(self._leaves, values, strict=True):
            env[slot] = value
        with np.errstate(all="ignore"):
            for kernel, inputs, slot, last in self._steps:
                env[slot] = kernel(*[env[i] for i in inputs])
                for done in last:
                    env[done] = None
        return [as_array(env[slot]) for slot in self._outputs]

    def prepare(self, values: list[Any]) -> None:
        """Replaces arrays of another tier by NumPy's view of them."""
        for i, value in enumerate(values):
            if not isinstance(value, _HOST):
                values[i] = np.asarray(value)

    def wait(self, results: list[Any]) -> None:
        """Nothing: results are there when ``run`` returns."""


_HOST = (np.ndarray, np.generic, int, float, complex)


def as_array(value: Any) -> np.ndarray:
    """NumPy answers zero-dimensional results as scalars; a value is always an array."""
    return value if type(value) is np.ndarray else np.asarray(value)


def run_step(step_call: Any, values: list[Any]) -> Any:
    """One operation by itself, for the debug mode and for finding which of many failed."""
    kernel = prepared(step_call, step_call.op.numpy, np)
    arrays = [v if v is None or isinstance(v, (*_HOST, tuple)) else np.asarray(v) for v in values]
    with np.errstate(all="ignore"):
        return kernel(*arrays)
