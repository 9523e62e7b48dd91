"""A loop over time: one step is recorded, and becomes a node that runs all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import Edge
from flambeau.capture.watch import CaptureError
from flambeau.func.level import Border, Level
from flambeau.graph.node import Aval, Node
from flambeau.graph.observer import current as looking
from flambeau.loop.body import EACH, SHARED
from flambeau.loop.derivative import Derivative, LoopBackward, gradients_of, replayed, restored
from flambeau.loop.kernels import body_of, run_loop
from flambeau.loop.level import LoopLevel
from flambeau.loop.line import Line, Tape, differentiable
from flambeau.tensor.tensor import Tensor, wrap

PLANS_KEPT = 1024
_plans: dict[Any, Plan] = {}

StepFunction = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]


class StateChanged(Exception):
    """One step hands on something of another shape or type than it got: it cannot be every step."""


def scan(
    step: StepFunction, state: Sequence[Tensor], rows: Sequence[Tensor], reverse: bool = False
) -> tuple[list[Tensor], list[Tensor]]:
    """Runs a step over the first dimension of some tensors.

    Args:
        step: from what is handed on and the rows of one step to what is handed on next, and outputs.
        state: what the first step gets; of the shapes and types that each step hands on.
        rows: tensors whose first dimension counts steps.
        reverse: whether to begin with the last step.

    Returns:
        What the last step hands on, and the outputs of all steps, stacked.

    Raises:
        StateChanged: if a step hands on other shapes or types than it got.
        CaptureError: if the step asks for values, or writes them into tensors of the outside.
    """
    level = LoopLevel(rows[0].shape[0], reverse)
    draws, looking.draws = looking.draws, None
    try:
        # What hooks make of saved values they make of those of all steps.
        with _without_hooks(), level.entered():
            lanes = [level.row(tensor) for tensor in rows]
            carried = [level.carried(tensor) for tensor in state]
            before = [tensor._writes for tensor in (*carried, *lanes)]
            handed, outs = step(list(carried), list(lanes))
            if before != [tensor._writes for tensor in (*carried, *lanes)]:
                raise CaptureError(
                    "a cell writes into its input or into the state that it is given, which a loop over time does not "
                    "support: compute new tensors instead, or make the loop with unroll=True"
                )
            handed, outs = level.leaving(handed), level.leaving(outs)
    finally:
        looking.draws = draws
    try:
        _check_same(state, handed)
        level.settle()
        return _planned(level, handed, outs)
    finally:
        level.close()


def _planned(level: LoopLevel, handed: list[Tensor], outs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Records the loop whose single step a level has recorded."""
    line = Line(level, (*handed, *outs))
    tape = Tape(line, level, (*handed, *outs)) if mode.grad else None
    if tape is None or all(border.outer is None for border in tape.borders):
        plan = _plan(line.key, lambda: Plan(line, level, handed, outs, None))
        return plan(line, (), None)
    key = None if tape.key is None else (line.key, tape.key)
    plan = _plan(key, lambda: Plan(line, level, handed, outs, tape))
    outside = tuple([border.outside for border in tape.borders])
    return plan(line, outside, _edges(tape.borders, level))


@contextmanager
def _without_hooks() -> Iterator[None]:
    before, mode.hooks = mode.hooks, None
    try:
        yield
    finally:
        mode.hooks = before


def _check_same(state: Sequence[Tensor], handed: Sequence[Tensor]) -> None:
    if len(state) != len(handed):
        raise StateChanged(f"{len(state)} tensors are handed to a step, and it hands on {len(handed)}")
    for old, new in zip(state, handed, strict=True):
        if old.shape != new.shape or old.dtype is not new.dtype:
            raise StateChanged(
                f"a step gets a state of shape {list(old.shape)} and type {old.dtype}, and hands on one of shape "
                f"{list(new.shape)} and type {new.dtype}"
            )


def _plan(key: Any, make: Callable[[], Plan]) -> Plan:
    known = _plans.get(key)
    if known is not None:
        return known
    plan = make()
    if key is not None and (plan.derivative is None or plan.derivative.lasting):
        if len(_plans) >= PLANS_KEPT:
            _plans.clear()
        _plans[key] = plan
    return plan


def _edges(borders: list[Border], level: LoopLevel) -> tuple[Edge, ...]:
    """Where the gradients go that arrive at the borders."""
    around = looking.observer
    if not isinstance(around, Level):
        return tuple([border.outer for border in borders])
    return tuple([None if border.outer is None else around.led_in(border) for border in borders])


class Plan:
    """What a loop amounts to, apart from the values that it gets.

    Attributes:
        body: of the loop forward.
        carries, shown: how many results of it are handed on; and are those or outputs.  What else there is, the way
            back wants.
        derivative: how to go back, or None.
    """

    def __init__(
        self, line: Line, level: LoopLevel, handed: Sequence[Tensor], outs: Sequence[Tensor], tape: Tape | None
    ) -> None:
        self.derivative = None if tape is None else Derivative(line, level, tape, handed, outs)
        self.carries = len(handed)
        self.shown = len(handed) + len(outs)
        saved = [] if self.derivative is None else self.derivative.saved
        handed_slots, out_slots = line.results[: self.carries], line.results[self.carries :]
        leaves = [(line.slots[id(node)], kind) for node, kind in line.leaves]
        self.body = body_of(
            line.steps(),
            leaves,
            line.constants,
            line.avals(),
            handed_slots,
            [*out_slots, *saved],
            [],
            level.length,
            level.reverse,
        )
        self._differentiable = [differentiable(tensor) for tensor in (*handed, *outs)]
        self._noted = None
        self._foreign = None
        if self.derivative is not None and tape is not None:
            self.derivative.finish()
            kept = {line.slots[i]: noted for i, noted in level.noted.items()}
            self._noted = [kept.get(step.slot, True) for step in self.body.steps]
            self._foreign = tape.foreign
            # Per leaf, which border it came in through.
            numbers = {id(border): i for i, border in enumerate(tape.borders)}
            borders = [level.borders.get(id(node)) for node, _ in line.leaves]
            self._borders = [None if border is None else numbers.get(id(border)) for border in borders]

    def __call__(
        self, line: Line, outside: tuple[Aval, ...], edges: tuple[Edge, ...] | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        nodes = [_outside(node, kind) for node, kind in line.leaves]
        parts = run_loop(self.body, nodes)
        results = [wrap(part) for part in parts[: self.shown]]
        if mode.inference:
            for result in results:
                result._inference = True
        if edges is not None:
            grad_fn = LoopBackward(self, outside, edges, nodes, parts)
            for i, (result, known) in enumerate(zip(results, self._differentiable, strict=True)):
                if known:
                    result._grad_fn = grad_fn
                    result._output_nr = i
                    result._rg = True
        return results[: self.carries], results[self.carries :]

    def written_out(
        self, leaves: list[Node], edges: tuple[Edge, ...], grads: list[Tensor | None]
    ) -> list[Tensor | None]:
        """Gradients that can be differentiated: those of the loop, step by step in its operations."""
        from flambeau.ops.join import stack

        if self._foreign is not None:
            raise RuntimeError(
                f"the second derivative of a loop over time whose cell holds a {self._foreign} is not supported: make "
                "the loop with unroll=True"
            )
        inputs: list[Any] = []
        wanted: list[tuple[int, Tensor]] = []
        for node, border in zip(leaves, self._borders, strict=True):
            if node.aval.weak:
                inputs.append(node.value)
                continue
            shown = restored(node, None if border is None else edges[border])
            inputs.append(shown)
            if border is not None and edges[border] is not None:
                wanted.append((border, shown))
        body = self.body
        env: dict[int, Any] = dict(body.constants)
        state = inputs[: self.carries]
        outs: list[list[Tensor]] = []
        results = [*body.next, *body.stacked[: self.shown - self.carries]]
        for t in reversed(range(body.length)) if body.reverse else range(body.length):
            for (slot, kind), given in zip(body.leaves, inputs, strict=True):
                env[slot] = given[t] if kind == EACH else given
            for (slot, _), given in zip(body.leaves, state, strict=False):
                env[slot] = given
            found = replayed(body.steps, self._noted or [], env, results)
            state = found[: self.carries]
            outs.append(found[self.carries :])
        if body.reverse:
            outs.reverse()
        outputs = [*state, *[stack(column) for column in zip(*outs, strict=True)]]
        gradients: list[Tensor | None] = [None] * len(edges)
        found = gradients_of(outputs, grads, [shown for _, shown in wanted])
        for (border, _), gradient in zip(wanted, found, strict=True):
            known = gradients[border]
            gradients[border] = gradient if known is None or gradient is None else known + gradient
        return gradients


def _outside(node: Node, kind: str) -> Node:
    """What shows around the loop what a leaf stands for inside."""
    return node.value.node if kind != SHARED else node
