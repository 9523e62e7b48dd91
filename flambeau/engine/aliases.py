"""Results that are views of other results: the compiled program leaves them out, and NumPy shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.engine.memory import NOTABLE
from flambeau.graph.program import Program, Step

_View = tuple[int, list[Callable[[Any], Any]]]
"""The slot of a result, and the functions that make a view of it, one after the other."""


class Aliased:
    """A compiled program with NumPy's views of its results.

    XLA would give each its own memory, and fill it: a model that returns the keys and values of its attention would
    have them beside the product that they are parts of.

    Args:
        program: the work.
        views: by slot, the results that are views, from :func:`views_of`.
        build: makes a program ready by XLA.
    """

    lets_go = False
    __slots__ = ("_bases", "_executable", "_order", "_shown", "text")

    def __init__(self, program: Program, views: dict[int, _View], build: Callable[[Program], Any]) -> None:
        made = [slot for slot in program.outputs if slot not in views]
        self._executable = build(
            Program(program.key, program.steps, program.leaves, program.leaf_avals, made, program.slots)
        )
        places = {slot: place for place, slot in enumerate([*made, *views])}
        self._shown = [(places[base], functions) for base, functions in views.values()]
        self._bases = sorted({base for base, _ in self._shown})
        self._order = [places[slot] for slot in program.outputs]
        self.text = self._executable.text

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Results as device arrays; those that share their memory as NumPy's, which no program overwrites."""
        results = list(self._executable.run(values, donated))
        for base in self._bases:
            results[base] = np.asarray(results[base])
        for base, functions in self._shown:
            shown = results[base]
            for function in functions:
                shown = function(shown)
            results.append(shown)
        return [results[place] for place in self._order]

    def prepare(self, values: list[Any]) -> None:
        self._executable.prepare(values)

    def wait(self, results: list[Any]) -> None:
        self._executable.wait(results)


def built(program: Program, build: Callable[[Program], Any]) -> Any:
    """A program made ready; what are views of its results is left to NumPy."""
    views = views_of(program)
    return Aliased(program, views, build) if views else build(program)


def views_of(program: Program) -> dict[int, _View]:
    """The results that only show parts of other results in another order, where that saves notable memory."""
    steps = {step.slot: step for step in program.steps}
    outputs = set(program.outputs)
    views: dict[int, _View] = {}
    for slot in program.outputs:
        functions: list[Callable[[Any], Any]] = []
        source = slot
        while (function := _view(steps.get(source))) is not None:
            functions.insert(0, function)
            source = steps[source].inputs[0]
            if source in outputs and steps[slot].call.out.nbytes >= NOTABLE:
                views[slot] = source, functions
                break
    return {slot: _from_the_source(view, views) for slot, view in views.items()}


def _view(step: Step | None) -> Callable[[Any], Any] | None:
    """What makes NumPy's view of an array of its one operand's, where a step is no more than that."""
    if step is None or len(step.inputs) != 1 or step.call.op.fitted is None or step.call.casts is not None:
        return None
    return step.call.op.fitted(step.call)


def _from_the_source(view: _View, views: dict[int, _View]) -> _View:
    """A view of what is no view itself."""
    while view[0] in views:
        base, before = views[view[0]]
        view = base, [*before, *view[1]]
    return view
