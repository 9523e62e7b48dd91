"""One node that runs a program once per example.

XLA runs ``jax.vmap`` of the program.  NumPy goes through it step by step: many operators take all examples at once
(see :mod:`flambeau.func.at_once`), any other is called once per example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from flambeau.capture.joint import traced
from flambeau.engine.kernels import prepared
from flambeau.func.at_once import all_at_once
from flambeau.graph.node import Aval, Node
from flambeau.graph.op import Call, Op
from flambeau.graph.program import Program, Stretch, program_of
from flambeau.ops.operator import record_body

BODIES_KEPT = 1024


class MappedBody:
    """A program that one node runs for each example.

    Attributes:
        program: the work on one example; every step of it depends on the example.
        size: how many examples there are.
        mapped: per leaf, whether it has a first dimension that counts examples.
        outs: the results, stacked along a first dimension.
    """

    __slots__ = ("_plan", "mapped", "outs", "program", "size")

    def __init__(self, program: Program, size: int, mapped: tuple[bool, ...], outs: tuple[Aval, ...]) -> None:
        self.program = program
        self.size = size
        self.mapped = mapped
        self.outs = outs
        self._plan: Plan | None = None

    def run(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        """The results, in NumPy."""
        if self._plan is None:
            self._plan = _planned(self.program, self.mapped, self.size)
        return _followed(self._plan, self.program, arrays)

    @property
    def scalar(self) -> bool:
        """Whether all that it computes of one example are single elements."""
        return all(_on_elements(step.call) for step in self.program.steps)


Plan = list[tuple[Callable[..., Any], tuple[int, ...], int, tuple[int, ...]]]


def _planned(program: Program, mapped_leaves: Sequence[bool], size: int) -> Plan:
    mapped = [False] * program.slots
    for slot, flag in zip(program.leaves, mapped_leaves, strict=True):
        mapped[slot] = flag
    plan = []
    for step in program.steps:
        mapped[step.slot] = True
        flags = [mapped[slot] for slot in step.inputs]
        plan.append((for_all(step.call, flags, size), step.inputs, step.slot, step.last))
    return plan


def _followed(plan: Plan, program: Program, arrays: Sequence[Any]) -> tuple[Any, ...]:
    env: list[Any] = [None] * program.slots
    for slot, array in zip(program.leaves, arrays, strict=True):
        env[slot] = array
    for kernel, inputs, slot, last in plan:
        env[slot] = kernel(*[env[i] for i in inputs])
        for done in last:
            env[done] = None
    return tuple(env[slot] for slot in program.outputs)


def _on_elements(call: Call) -> bool:
    if call.op is MAP:
        return call.params["body"].scalar
    return call.op.name == "project" or (isinstance(call.out, Aval) and not call.out.shape)


def for_all(call: Call, flags: list[bool], size: int) -> Callable[..., Any]:
    """The NumPy kernel of a call, for all examples; ``flags`` says which inputs have a dimension of examples."""
    if call.op is MAP and call.params["body"].scalar:
        return _nested(call.params["body"], flags, size)
    return all_at_once(call, flags, size) or _one_by_one(call, flags, size)


def _nested(body: MappedBody, flags: list[bool], size: int) -> Callable[..., Any]:
    """A map inside of a map, over the examples of both in one line.

    For single elements alone: of arrays, each would be copied as often as there are examples of the other map.
    """
    inner = body.size
    mapped = [a or b for a, b in zip(flags, body.mapped, strict=True)]
    plan = _planned(body.program, mapped, size * inner)

    def in_line(array: Any, outside: bool, inside: bool) -> Any:
        if not (outside or inside):
            return array
        one = array.shape[outside + inside :]
        shape = (size if outside else 1, inner if inside else 1, *one)
        return numpy.broadcast_to(array.reshape(shape), (size, inner, *one)).reshape(size * inner, *one)

    def run(*arrays: Any) -> Any:
        given = [in_line(*parts) for parts in zip(arrays, flags, body.mapped, strict=True)]
        return tuple([found.reshape(size, inner, *found.shape[1:]) for found in _followed(plan, body.program, given)])

    return run


def _one_by_one(call: Call, flags: list[bool], size: int) -> Callable[..., Any]:
    kernel = prepared(call, call.op.numpy, numpy)
    outs = call.out

    def row(arrays: tuple[Any, ...], b: int) -> Any:
        return kernel(*[a[b] if flag else a for a, flag in zip(arrays, flags, strict=True)])

    def run_one(*arrays: Any) -> Any:
        result = numpy.empty((size, *outs.shape), outs.dtype.numpy)
        for b in range(size):
            result[b] = row(arrays, b)
        return result

    def run_several(*arrays: Any) -> Any:
        results = tuple(numpy.empty((size, *out.shape), out.dtype.numpy) for out in outs)
        for b in range(size):
            for result, part in zip(results, row(arrays, b), strict=True):
                result[b] = part
        return results

    return run_several if isinstance(outs, tuple) else run_one


def _map_rule(*inputs: Any, body: MappedBody) -> Any:
    return body.outs


def _map_numpy(np: Any, *arrays: Any, body: MappedBody) -> Any:
    return body.run(arrays)


def _map_lax(jnp: Any, *arrays: Any, body: MappedBody) -> Any:
    # Imported here, as wherever only the compiled tier needs it.
    import jax

    if not body.size:
        return tuple(jnp.zeros(out.shape, out.dtype.numpy) for out in body.outs)

    def one(*examples: Any) -> Any:
        # Python numbers and what all examples share are not vmap's business.
        given = iter(examples)
        whole = [next(given) if flag else a for a, flag in zip(arrays, body.mapped, strict=True)]
        results = traced(jnp, body.program, whole)
        return tuple(jnp.asarray(r, o.dtype.numpy) for r, o in zip(results, body.outs, strict=True))

    return jax.vmap(one)(*[a for a, flag in zip(arrays, body.mapped, strict=True) if flag])


MAP = Op("map", _map_rule, numpy=_map_numpy, lax=_map_lax, moves=True)
"""Runs a program once per example, as a single operation."""

_bodies: dict[Any, MappedBody] = {}


def body_of(stretch: Stretch, size: int, mapped: tuple[bool, ...]) -> MappedBody:
    """The body for recorded work on one example: equal work gives the same body, so that programs are found again."""
    key = (size, mapped, stretch.key, tuple(leaf.aval for leaf in stretch.leaves))
    body = _bodies.get(key)
    if body is None:
        if len(_bodies) >= BODIES_KEPT:
            _bodies.clear()
            MAP.calls.clear()
        outs = tuple(node.aval.of((size, *node.aval.shape)) for node in stretch.outputs)
        body = _bodies[key] = MappedBody(program_of(stretch), size, mapped, outs)
    return body


def run_mapped(body: MappedBody, nodes: list[Node]) -> list[Node]:
    """Records a mapped program as one node; the nodes of its results."""
    return record_body(MAP, body, nodes)
