"""A recorded step in a line: its operations numbered, and a key that says when two loops do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.autograd.node import GradNode
from flambeau.dtypes import FLOATING
from flambeau.func.level import Border, Lane
from flambeau.graph.node import NONE, Aval, Node
from flambeau.graph.program import Step
from flambeau.loop.body import CARRY, EACH, SHARED
from flambeau.loop.level import LoopLevel
from flambeau.tensor.tensor import Tensor, current


class Line:
    """What a level recorded, in numbered slots.

    Attributes:
        slots: the slot of each node, by its identity.
        leaves: per leaf (its node, what it is), what is handed on first, then what each step is given.
        constants: the values of further slots: where slices begin, which decides how they are put together again.
        results: the slots of what is handed on, and of the outputs.
        key: equal for steps that do the same.
    """

    def __init__(self, level: LoopLevel, results: Sequence[Tensor]) -> None:
        self._level = level
        self.slots: dict[int, int] = {id(NONE): 0}
        self.leaves: list[tuple[Node, str]] = []
        self.constants: dict[int, Any] = {}
        self._constant_avals: dict[int, Aval] = {}
        self._key: list[Any] = [level.length, level.reverse]
        for node in level.carries:
            self._leaf(node, CARRY)
        for node in level.rows:
            self._leaf(node, EACH)
        add, slots = self._key.append, self.slots
        for node in level.nodes:
            add(node.call)
            if node.call.op.name == "slice":
                self._fix(node.inputs[1])
            for read in node.inputs:
                add(self._slot(read))
            slots[id(node)] = len(slots)
        self.results = [self._slot(node_of(tensor)) for tensor in results]
        self._key.extend(self.results)
        self.key = tuple(self._key)

    def _leaf(self, node: Node, kind: str) -> int:
        slot = self.slots[id(node)] = len(self.slots)
        self.leaves.append((node, kind))
        self._key.append(kind)
        self._key.append(node.aval)
        return slot

    def _fix(self, start: Node) -> None:
        if start.aval.weak and id(start) not in self.slots:
            slot = self.slots[id(start)] = len(self.slots)
            self.constants[slot] = start.value
            self._constant_avals[slot] = start.aval
            self._key.append(start.value)

    def _slot(self, node: Node) -> int:
        slot = self.slots.get(id(node))
        if slot is None:
            value = node.value
            drawn = type(value) is Lane and value.level is self._level
            slot = self._leaf(node, EACH if drawn else SHARED)
        return slot

    def steps(self) -> list[Step]:
        """The operations."""
        slots = self.slots
        return [Step(n.call, tuple([slots[id(read)] for read in n.inputs]), slots[id(n)]) for n in self._level.nodes]

    def avals(self) -> dict[int, Aval]:
        """What is known of each slot."""
        known = {**self._constant_avals, **{self.slots[id(node)]: node.aval for node, _ in self.leaves}}
        known.update((self.slots[id(node)], node.aval) for node in self._level.nodes)
        return known


class Tape:
    """The tape that leads to a step's results.

    Attributes:
        borders: where it comes in from outside, in the order of the walk.
        key: equal for equal tapes; None if what it does cannot be told from its structure.
        foreign: the name of something on it that is no plain operation, or None.
    """

    def __init__(self, line: Line, level: LoopLevel, results: Sequence[Tensor]) -> None:
        self.borders: list[Border] = []
        self.foreign: str | None = None
        self._line = line
        self._level = level
        self._places = {id(node): i for i, node in enumerate((*level.carries, *level.rows))}
        self._lanes = {id(level.borders[i]): place for i, place in self._places.items() if i in level.borders}
        self._numbers: dict[Any, int] = {}
        self._waiting: list[GradNode] = []
        key: list[Any] = [self._number(t._grad_fn) if differentiable(t) else None for t in results]
        key.extend(t._output_nr for t in results)
        known = True
        while self._waiting:
            found = self._described(self._waiting.pop())
            if found is None:
                known = False
            else:
                key.extend(found)
        self.key = tuple(key) if known else None

    def _number(self, grad_fn: Any) -> int:
        number = self._numbers.get(grad_fn)
        if number is None:
            number = self._numbers[grad_fn] = len(self._numbers)
            self._waiting.append(grad_fn)
        return number

    def _described(self, grad_fn: GradNode) -> list[Any] | None:
        if type(grad_fn) is Border and grad_fn.level is self._level:
            self.borders.append(grad_fn)
            return ["border", self._lanes.get(id(grad_fn)), grad_fn.outer is None]
        found: list[Any] = [grad_fn.call]
        for edge in grad_fn.edges:
            if edge is None or isinstance(edge[0], Tensor):
                found.append(None)
            else:
                found.append(self._number(edge[0]))
                found.append(edge[1])
        if type(grad_fn) is not GradNode:
            self.foreign = grad_fn.name()
            return None
        if grad_fn.pre_hooks or grad_fn.post_hooks or grad_fn.saved is None:
            return None
        for node in grad_fn.saved:
            found.append(self._line.slots.get(id(node), -1))
        return found if -1 not in found else None


def differentiable(tensor: Tensor) -> bool:
    """Whether a gradient of the tensor goes anywhere."""
    return tensor._rg and tensor._grad_fn is not None and tensor._node.aval.dtype.category >= FLOATING


def node_of(tensor: Tensor) -> Node:
    """A tensor's node."""
    return tensor._node if tensor._base is None else current(tensor)
