"""The first tier: NumPy, one step after the other, at once."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import numpy as np

from flambeau.engine.kernels import fitted, is_reduced
from flambeau.engine.memory import LARGE
from flambeau.graph.program import Program, Step


class Interpreted:
    """A program ready to run in NumPy.

    Building it costs a microsecond or two per step; it does not care whether shapes were seen
    before.

    The last steps let go of leaves that nobody reads again, each as soon as it is done with, if those steps cannot
    fail: after a failure all leaves are there.
    """

    __slots__ = ("_last_steps", "_leaves", "_outputs", "_slots", "_steps", "lets_go")

    def __init__(self, program: Program) -> None:
        end = _start_of_pieces(program)
        self._steps = [(fitted(step.call), _taking(step.inputs), step.slot, step.last) for step in program.steps[:end]]
        self._last_steps = _last_steps(program, end)
        self._leaves = program.leaves
        self._outputs = program.outputs
        self._slots = program.slots
        given_up = [program.leaf_avals[i] for *_, leaves in self._last_steps for i in leaves]
        self.lets_go = sum(aval.nbytes for aval in given_up) >= LARGE

    def run(self, values: list[Any], donated: tuple[bool, ...] = ()) -> list[Any]:
        """Results for the values of the leaves, both in the program's order.

        Arrays of another tier are read in place, and replaced in the list by NumPy's view of them.
        """
        env: list[Any] = [None] * self._slots
        self.prepare(values)
        for slot, value in zip(self._leaves, values, strict=True):
            env[slot] = value
        value = None
        with np.errstate(all="ignore"):
            for kernel, take, slot, last in self._steps:
                env[slot] = kernel(*take(env))
                for done in last:
                    env[done] = None
            for kernel, take, slot, last, leaves in self._last_steps:
                env[slot] = kernel(*take(env))
                for done in last:
                    env[done] = None
                if donated and self.lets_go:
                    for i in leaves:
                        if donated[i]:
                            values[i] = None
        return [as_array(env[slot]) for slot in self._outputs]

    def prepare(self, values: list[Any]) -> None:
        """Replaces arrays of another tier by NumPy's view of them."""
        for i, value in enumerate(values):
            if not isinstance(value, _HOST):
                values[i] = np.asarray(value)

    def wait(self, results: list[Any]) -> None:
        """Nothing: results are there when ``run`` returns."""


_HOST = (np.ndarray, np.generic, int, float, complex)


def _start_of_pieces(program: Program) -> int:
    """From which step on everything can be done piece by piece, or only takes one of several results."""
    start = end = len(program.steps)
    while end and (program.steps[end - 1].call.op.name == "project" or _has_pieces(program.steps[end - 1])):
        end -= 1
        if _has_pieces(program.steps[end]):
            start = end
    return start


def _has_pieces(step: Step) -> bool:
    return step.call.op.pieces is not None and not is_reduced(step.call)


def _taking(slots: tuple[int, ...]) -> Any:
    """What takes the values of some slots out of the list of all, in half the time of a list comprehension."""
    if len(slots) > 1:
        return itemgetter(*slots)
    # One item would come by itself, but a part of the list is a list.
    return itemgetter(slice(slots[0], slots[0] + 1) if slots else slice(0))


def _last_steps(program: Program, start: int) -> list[tuple[Any, Any, int, tuple[int, ...], list[int]]]:
    """The last steps, with the places of the leaves that nothing reads after each."""
    places = {slot: i for i, slot in enumerate(program.leaves)}
    found = []
    for step in program.steps[start:]:
        for kernel, inputs, last in _pieces(step):
            leaves = [places[slot] for slot in last if slot in places]
            found.append((kernel, _taking(inputs), step.slot, last, leaves))
    return found


def _pieces(step: Step) -> list[tuple[Any, tuple[int, ...], tuple[int, ...]]]:
    """A step as several: kernels, the slots that they read, and the slots that nothing reads after them."""
    if not _has_pieces(step):
        return [(fitted(step.call), step.inputs, step.last)]
    assert step.call.op.pieces is not None
    outs = len(step.call.out)
    left = set(step.last)
    found: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = []
    for kernel, read in reversed(step.call.op.pieces(step.call)):
        slots = [step.inputs[place] for place in read]
        last = tuple(left.intersection(slots))
        left.difference_update(last)
        found.append((_filling(kernel), (step.slot, *slots), last))
    found.append((lambda: [None] * outs, (), ()))
    found.reverse()
    return found


def _filling(kernel: Any) -> Any:
    def run(results: list[Any], *arrays: Any) -> list[Any]:
        kernel(results, *arrays)
        return results

    return run


def as_array(value: Any) -> np.ndarray:
    """NumPy answers zero-dimensional results as scalars; a value is always an array."""
    return value if type(value) is np.ndarray else np.asarray(value)


def run_step(step_call: Any, values: list[Any]) -> Any:
    """One operation by itself, for the debug mode and for finding which of many failed."""
    kernel = fitted(step_call)
    arrays = [v if v is None or isinstance(v, (*_HOST, tuple)) else np.asarray(v) for v in values]
    with np.errstate(all="ignore"):
        return kernel(*arrays)
