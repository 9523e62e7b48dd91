"""The way back through a loop: a loop from the other end, which sums what is shared over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from flambeau.autograd.backward import grad
from flambeau.autograd.backward_pass import run_backward
from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import Edge, GradNode, Packed, packed
from flambeau.capture.watch import CaptureError
from flambeau.func.level import Lane
from flambeau.graph.node import NONE, Aval, Node
from flambeau.graph.observer import current as looking
from flambeau.graph.program import Step
from flambeau.graph.recorder import pending
from flambeau.loop.body import CARRY, EACH
from flambeau.loop.kernels import body_of, run_loop
from flambeau.loop.level import LoopLevel
from flambeau.loop.line import Line, Tape, differentiable, node_of
from flambeau.ops.operator import OPERATORS, Operator, _restored
from flambeau.tensor.tensor import Tensor, wrap


class Derivative:
    """How to go back through a loop.

    Attributes:
        body: of the loop back.
        sources: where its inputs come from: ("last", i): the gradient of what the last step handed on; ("out", j): of
            an output at each step; ("leaf", k): an input of the loop forward; ("saved", m): a kept value of it.
        saved: the forward slots that it reads.
        places: per border, which of the results is its gradient; None if it has none.
        lasting: whether it depends on nothing but what was recorded, so that it serves later calls too.
    """

    def __init__(self, line: Line, level: LoopLevel, tape: Tape, handed: Sequence[Tensor], outs: Sequence[Tensor]):
        self._line = line
        borders = tape.borders
        carried = [level.borders.get(id(node)) for node in level.carries]
        roots = {("last", i): t for i, t in enumerate(handed)} | {("out", j): t for j, t in enumerate(outs)}
        roots = {place: t for place, t in roots.items() if differentiable(t)}
        factors = {place: wrap(Node(None, (), t._node.aval, Lane(level, NONE))) for place, t in roots.items()}
        with _Recording() as recording:
            level.sealed = True
            try:
                found = run_backward(
                    tuple(roots.values()), list(factors.values()), True, False, [b.shown(NONE) for b in borders]
                )
            finally:
                level.sealed = False
        self.lasting = not recording.looked
        self._slots: dict[int, int] = {id(NONE): 0}
        self._new_slot = count(1).__next__
        self._avals: dict[int, Aval] = {}
        self._constants: dict[int, Any] = {}
        self._leaves: list[tuple[int, str]] = []
        self.sources: list[tuple[str, int]] = []
        self.saved: list[int] = []
        self._factors = {id(node_of(t)): place for place, t in factors.items()}
        self._forward = {slot: i for i, slot in enumerate(line.slots[id(node)] for node, _ in line.leaves)}
        gradients = dict(zip(map(id, borders), found, strict=True))
        # A carry goes back where one step hands a gradient to the one before.
        self._back = [i for i, b in enumerate(carried) if ("last", i) in roots or id(b) in gradients]
        for i in self._back:
            aval = handed[i]._node.aval
            slot = self._new_slot()
            if ("last", i) in factors:
                self._slots[id(factors["last", i]._node)] = slot
            self._add_leaf(slot, CARRY, aval, ("last", i))
        steps = [self._step(node) for node in recording.nodes]
        next_slots = [self._handed(gradients.get(id(carried[i])), handed[i]._node.aval) for i in self._back]
        stacked, summed, placed = [], [], []
        rows = {id(level.borders[id(node)]) for node in level.rows if id(node) in level.borders}
        for border, gradient in zip(borders, found, strict=True):
            if border in carried:
                placed.append(("next", self._back.index(carried.index(border))))
            elif gradient is None:
                placed.append(None)
            else:
                group = stacked if id(border) in rows else summed
                placed.append(("stacked" if group is stacked else "summed", len(group)))
                group.append(self._slot(node_of(gradient)))
        starts = {"next": 0, "stacked": len(next_slots), "summed": len(next_slots) + len(stacked)}
        self.places = [None if place is None else starts[place[0]] + place[1] for place in placed]
        self.body = body_of(
            joined(steps, self._constants, self._avals),
            self._leaves,
            self._constants,
            self._avals,
            next_slots,
            stacked,
            summed,
            level.length,
            not level.reverse,
        )

    def _step(self, node: Node) -> Step:
        inputs = tuple([self._slot(read) for read in node.inputs])
        slot = self._slots[id(node)] = self._new_slot()
        self._avals[slot] = node.aval
        return Step(node.call, inputs, slot)

    def _handed(self, gradient: Tensor | None, aval: Aval) -> int:
        if gradient is not None:
            return self._slot(node_of(gradient))
        slot = self._new_slot()
        self._avals[slot] = aval
        self._constants[slot] = np.zeros(aval.shape, aval.dtype.numpy)
        return slot

    def _add_leaf(self, slot: int, kind: str, aval: Aval, source: tuple[str, int]) -> None:
        self._avals[slot] = aval
        self._leaves.append((slot, kind))
        self.sources.append(source)

    def _slot(self, node: Node) -> int:
        slot = self._slots.get(id(node))
        if slot is not None:
            return slot
        slot = self._slots[id(node)] = self._new_slot()
        place = self._factors.get(id(node))
        if place is not None:
            self._add_leaf(slot, EACH, node.aval, place)
            return slot
        forward = self._line.slots.get(id(node))
        if forward in self._line.constants:
            self._avals[slot] = node.aval
            self._constants[slot] = self._line.constants[forward]
        elif forward is None:
            if node.value is None or type(node.value) is Lane:
                raise CaptureError("the derivative of a cell reads a value that no step of the loop has")
            self._avals[slot] = node.aval
            self._constants[slot] = node.value
        elif forward in self._forward and self._line.leaves[self._forward[forward]][1] is not CARRY:
            leaf = self._forward[forward]
            self._add_leaf(slot, self._line.leaves[leaf][1], node.aval, ("leaf", leaf))
        else:
            self._add_leaf(slot, EACH, node.aval, ("saved", len(self.saved)))
            self.saved.append(forward)
        return slot

    def finish(self) -> None:
        """Lets go of what was recorded, once the slots that are to be kept are known."""
        del self._line, self._slots, self._new_slot, self._factors


def joined(steps: Sequence[Step], constants: dict[int, Any], avals: dict[int, Aval]) -> list[Step]:
    """Steps in which the sum of the gradients of parts that make up a whole is those put side by side.

    The gradient of ``chunk`` is recorded as one sum of arrays that are zero but for a part.
    """
    whole: dict[int, tuple[int, int]] = {}
    parts: dict[int, list[tuple[int, int]]] = {}
    found = []
    for step in steps:
        name, params = step.call.op.name, step.call.params
        if name == "unslice" and params["step"] == 1 and step.inputs[1] in constants:
            whole[step.slot] = params["dim"], params["size"]
            parts[step.slot] = [(constants[step.inputs[1]], step.inputs[0])]
        elif name == "add" and (kind := whole.get(step.inputs[0])) and kind == whole.get(step.inputs[1]):
            dim, size = kind
            together = sorted(parts[step.inputs[0]] + parts[step.inputs[1]])
            ends = [start + avals[slot].shape[dim] for start, slot in together]
            starts = [start for start, _ in together]
            if all(end <= start for end, start in zip(ends, starts[1:], strict=False)):
                whole[step.slot], parts[step.slot] = kind, together
            if [0, *ends] == [*starts, size]:
                step = _side_by_side([slot for _, slot in together], dim, step.slot, avals)
        found.append(step)
    return found


def _side_by_side(slots: list[int], dim: int, slot: int, avals: dict[int, Aval]) -> Step:
    cat = OPERATORS["cat"]
    inputs = tuple([avals[given] for given in slots])
    key = ((dim,), *inputs)
    call = cat.calls.get(key) or cat.infer(key, (dim,), inputs)
    return Step(call, tuple(slots), slot)


class _Recording:
    """Inside the block what is recorded is kept aside, and values cannot be had.

    Attributes:
        nodes: what was recorded.
        looked: whether somebody asked for a value that is there already, such as a Python number's.
    """

    looked = False
    casts: dict[int, Any] = {}  # noqa: RUF012  (nothing is cast while going back)

    def __enter__(self) -> _Recording:
        self._before = looking.observer, Operator.__call__
        looking.observer = self  # type: ignore[assignment]
        Operator.__call__ = _recorded  # type: ignore[method-assign]
        self._start = len(pending)
        self.nodes: list[Node] = []
        return self

    def __exit__(self, *error: Any) -> None:
        looking.observer, Operator.__call__ = self._before  # type: ignore[method-assign]
        self.nodes = pending[self._start :]
        del pending[self._start :]

    def value_wanted(self, node: Node) -> None:
        self.looked = True
        if node.value is None or type(node.value) is Lane:
            raise CaptureError(
                "the derivative of a cell asks for the value of a tensor that differs from step to step, and cannot "
                "be part of a loop: make the loop with unroll=True, which calls the cell at each step"
            )

    def postponed(self, tensor: Tensor, check: Any) -> bool:
        return False

    def varies(self, tensor: Tensor) -> bool:
        return True

    def made(self, node: Node) -> None:
        """A constant of the derivative."""

    def drawn(self, node: Node, again: Any) -> None:
        raise CaptureError("the derivative of a cell draws at random, which a loop over time does not support")

    def numbers(self, nodes: list[Node], again: Any) -> None:
        """Nothing to note."""

    def read(self, tensor: Tensor) -> None:
        """Nothing to note: what it reads was read before."""

    def written(self, tensor: Tensor, new: Tensor) -> None:
        """Nothing to note."""

    def action(self, again: Any) -> None:
        """Nothing to note."""


def _recorded(op: Operator, *args: Any) -> Any:
    """As the loop's level records, so that what a checkpoint computes again is what was computed."""
    found = None if op.parts is None else op.parts(*args)
    return Operator.record(op, *args) if found is None else found


class LoopBackward(GradNode):
    """Goes back through a loop as one node."""

    __slots__ = ("_avals", "_leaves", "_outside", "_plan", "_saved")

    def __init__(
        self, plan: Any, outside: tuple[Aval, ...], edges: tuple[Edge, ...], leaves: list[Node], parts: list[Node]
    ) -> None:
        super().__init__(None, edges, ())  # type: ignore[arg-type]
        self._plan = plan
        self._outside = outside
        self._leaves: list[Any] | None = [packed(node) for node in leaves]
        self._saved = [packed(node) for node in parts[plan.shown :]]
        self._avals = tuple(part.aval for part in parts[: plan.shown])

    def name(self) -> str:
        return "RecurrentBackward"

    def out_avals(self) -> tuple[Any, ...]:
        return self._avals

    def input_aval(self, i: int) -> Any:
        return self._outside[i]

    def release(self) -> None:
        self._leaves = None
        self._saved = []

    def backward(self, grads: list[Tensor | None]) -> Any:
        if self._leaves is None:
            self.saved = None
            return super().backward(grads)
        plan = self._plan
        mode.arriving = grads
        try:
            leaves, saved = _opened(self._leaves), _opened(self._saved)
        finally:
            mode.arriving = ()
        if mode.grad:
            return plan.written_out(leaves, self.edges, grads)
        derivative = plan.derivative
        given = {"last": 0, "out": plan.carries}
        nodes = []
        for what, which in derivative.sources:
            if what == "leaf":
                nodes.append(leaves[which])
            elif what == "saved":
                nodes.append(saved[which])
            else:
                place = given[what] + which
                nodes.append(node_of(materialized(grads[place], self._avals[place])))
        parts = run_loop(derivative.body, nodes)
        return tuple(None if place is None else wrap(parts[place]) for place in derivative.places)


def _opened(kept: list[Any]) -> list[Node]:
    return [part.opened() if type(part) is Packed else part for part in kept]


def materialized(gradient: Tensor | None, aval: Aval) -> Tensor:
    """A gradient, or zeros where there is none."""
    if gradient is not None:
        return gradient
    from flambeau.ops.create import FULL

    return FULL(0, aval.shape, aval.dtype, aval.device)


def replayed(steps: Sequence[Step], noted: Sequence[bool], env: dict[int, Any], results: Sequence[int]) -> list[Tensor]:
    """Records the operations of one step again, so that the tape has each of them."""
    for step, known in zip(steps, noted, strict=True):
        op = step.call.op
        inputs: list[Any] = [env[slot] if slot else None for slot in step.inputs]
        if op.name == "project":
            env[step.slot] = inputs[0][step.call.params["index"]]
            continue
        if not isinstance(op, Operator):
            raise RuntimeError(
                f"the second derivative of a loop whose cell holds a {op.name!r} (a captured or mapped function) is "
                "not supported: make the loop with unroll=True"
            )
        before, mode.grad = mode.grad, mode.grad and known
        try:
            attrs = step.call.attrs
            env[step.slot] = op(inputs, *attrs) if op.variadic else op(*inputs, *attrs)
        finally:
            mode.grad = before
    return [env[slot] for slot in results]


def gradients_of(
    outputs: Sequence[Tensor], grads: Sequence[Tensor | None], inputs: Sequence[Tensor]
) -> list[Tensor | None]:
    """Differentiable gradients of the inputs."""
    used = [(out, g) for out, g in zip(outputs, grads, strict=True) if g is not None and out.requires_grad]
    if not used:
        return [None] * len(inputs)
    outs, factors = zip(*used, strict=True)
    return list(grad(outs, inputs, factors, create_graph=True, allow_unused=True))


def restored(node: Node, edge: Edge) -> Tensor:
    """An input of the loop, differentiable where it was, as a box of its own."""
    tensor = _restored(node, edge)
    assert tensor is not None
    return tensor.view(tensor.shape) if edge is not None else tensor
