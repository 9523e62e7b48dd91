"""Captured functions whose results are differentiated outside: forward and backward as one node each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.autograd.backward_pass import run_backward
from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import GradNode, edge_of
from flambeau.capture.replay import Arg, Plan
from flambeau.capture.watch import CaptureError, Taken, Watch, tensors_in
from flambeau.engine.interpreter import Interpreted
from flambeau.engine.kernels import prepared
from flambeau.graph.node import Aval, Node
from flambeau.graph.observer import current as looking
from flambeau.graph.op import Op
from flambeau.graph.program import Program, living, program_of, stretch_of
from flambeau.graph.recorder import pending
from flambeau.ops.operator import record_body
from flambeau.ops.views import DETACH
from flambeau.tensor.tensor import Tensor, current, wrap


class _Body:
    """A program as the body of one node."""

    __slots__ = ("interpreted", "outs", "program")

    def __init__(self, program: Program, outs: tuple[Aval, ...]) -> None:
        self.program = program
        self.outs = outs
        self.interpreted = Interpreted(program)


def _run_rule(*inputs: Any, body: _Body) -> Any:
    return body.outs


def _run_numpy(np: Any, *arrays: Any, body: _Body) -> Any:
    return tuple(body.interpreted.run(list(arrays)))


def traced(jnp: Any, program: Program, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The results of a program whose steps become part of the XLA program around it."""
    env: list[Any] = [None] * program.slots
    for slot, array in zip(program.leaves, arrays, strict=True):
        env[slot] = array
    for step in program.steps:
        env[step.slot] = prepared(step.call, step.call.op.lax, jnp)(*[env[i] for i in step.inputs])
    return tuple(env[slot] for slot in program.outputs)


def _run_lax(jnp: Any, *arrays: Any, body: _Body) -> Any:
    return traced(jnp, body.program, arrays)


RUN = Op("run", _run_rule, numpy=_run_numpy, lax=_run_lax, moves=True)
"""Runs a captured program as a single operation."""
RUN.urgent = True


class Joint:
    """A captured function with the program of its derivative.

    Attributes:
        plan: of the forward part.
        inputs: the tensors that gradients go to: tensors from outside, or an :class:`Arg`.
    """

    def __init__(self, watch: Watch, args: list[Tensor], result: Any, before: dict[int, Tensor]) -> None:
        returned = tensors_in(result)
        outside = {id(t): t for t in watch.outside()}
        shown = [t for t in (*returned, *(t._base for t in returned)) if t is not None and id(t) not in outside]
        outputs = list({id(t): t for t in shown if t._rg and t._grad_fn is not None}.values())
        for t in outputs:
            if t._node.value is not None:
                # It was made to show a leaf, yet goes on being differentiated: a result like the others.
                t._node = DETACH(wrap(t._node))._node
        read = {id(t) for t, _ in watch.reads}
        inputs = [t for t in outside.values() if t._rg and id(t) in read]
        forward = pending[:]
        pending.clear()
        factors = [wrap(Node(None, (), t._node.aval, _PLACEHOLDER)) for t in outputs]
        looking.observer = watch
        try:
            grads = run_backward(tuple(outputs), factors, True, False, inputs)
        finally:
            looking.observer = None
        backward = living_of(pending)
        constants = {id(node) for node in watch.constants}
        pending.extend(forward)
        del forward
        taken = Taken(watch)
        self.plan = Plan(taken, args, result, before)
        stretch = taken.stretch
        self.body = _Body(program_of(stretch), tuple(node.aval for node in stretch.outputs))
        places = {id(node): ("leaf", i) for i, node in enumerate(stretch.leaves)}
        places.update({id(node): ("out", i) for i, node in enumerate(stretch.outputs)})
        places.update({id(t._node): ("factor", i) for i, t in enumerate(factors)})
        arguments = {id(t): Arg(i) for i, t in enumerate(args)}
        self.inputs = [arguments.get(id(t), t) for t in inputs]
        self.returned = [places[id(t._node)][1] for t in outputs]
        self._plan_backward(backward, grads, places, constants)
        self.taken = taken

    def _plan_backward(
        self, nodes: list[Node], grads: list[Tensor | None], places: dict[int, Any], constants: set[int]
    ) -> None:
        # Forward results stand ready when the derivative runs: here they are leaves.
        stretch = stretch_of(nodes)
        outs = {id(node): i for i, node in enumerate(stretch.outputs)}
        leaves = []
        for leaf in stretch.leaves:
            if id(leaf) in places:
                leaves.append(places[id(leaf)])
            elif leaf.aval.weak:
                leaves.append(("number", leaf.value))
            elif id(leaf) in constants:
                leaves.append(("constant", leaf))
            else:
                raise CaptureError("the derivative of the captured function reads a value that no tensor shows")
        self.leaves = leaves
        self.found: list[Any] = []
        for g in grads:
            if g is None:
                self.found.append(None)
            elif id(g._node) in outs:
                self.found.append(("grad", outs[id(g._node)]))
            else:
                self.found.append(places[id(g._node)])
        self.back = _Body(program_of(stretch), tuple(node.aval for node in stretch.outputs))

    def agrees(self, other: Any) -> bool:
        return isinstance(other, Joint) and self.plan.agrees(other.plan) and len(self.leaves) == len(other.leaves)

    def __call__(self, args: list[Tensor]) -> Any:
        plan = self.plan
        fresh = [again() for again in plan.again]
        nodes = []
        for origin, aval in zip(plan.origins, plan.leaf_avals, strict=True):
            if isinstance(origin, Arg):
                origin = args[origin.place]
            if isinstance(origin, Tensor):
                nodes.append(origin._node if origin._base is None else current(origin))
            elif origin[0] == "source":
                nodes.append(Node(None, (), aval, fresh[origin[1]][origin[2]]))
            else:
                nodes.append(Node(None, (), aval, origin[1]))
        parts = record_body(RUN, self.body, nodes)
        grad_fn = None
        if mode.grad:
            targets = [args[t.place] if isinstance(t, Arg) else t for t in self.inputs]
            grad_fn = CapturedBackward(self, nodes, parts, targets)
        made, moved = plan.unmade(args, fresh)
        for i, homes in enumerate(plan.homes):
            for what, where in homes:
                if what == "result":
                    made[where] = wrap(parts[i])
                    if grad_fn is not None and i in self.returned:
                        made[where]._grad_fn = grad_fn
                        made[where]._output_nr = self.returned.index(i)
                        made[where]._rg = True
                    continue
                if type(where) is Arg:
                    where = args[where.place]
                if what == "box":
                    where._node = parts[i]
                    where._writes += 1
                else:
                    where._grad = wrap(parts[i])
        return plan.returned(made, moved, args)


_PLACEHOLDER = object()


def living_of(nodes: list[Node]) -> list[Node]:
    """Empties the list; those of its nodes that somebody wants."""
    taken = nodes[:]
    nodes.clear()
    return living(taken)


class CapturedBackward(GradNode):
    """Goes back through a captured function as one node."""

    __slots__ = ("_joint", "_nodes", "_outs")

    def __init__(self, joint: Joint, nodes: list[Node], outs: list[Node], targets: list[Tensor]) -> None:
        super().__init__(None, tuple(edge_of(t) for t in targets), ())  # type: ignore[arg-type]
        self._joint = joint
        self._nodes: list[Node] | None = nodes
        self._outs = outs

    def name(self) -> str:
        return "CompiledFunctionBackward"

    def out_avals(self) -> tuple[Any, ...]:
        return tuple(self._joint.body.outs[i] for i in self._joint.returned)

    def input_aval(self, i: int) -> Any:
        edge = self.edges[i]
        assert edge is not None
        source, nr = edge
        return source._node.aval if isinstance(source, Tensor) else source.out_avals()[nr]

    def release(self) -> None:
        self._nodes = None
        self._outs = []

    def backward(self, grads: list[Tensor | None]) -> Any:
        if mode.grad:
            raise RuntimeError(
                "torch.compile does not support double backward: the derivative of a compiled function is not recorded"
            )
        if self._nodes is None:
            self.saved = None
            return super().backward(grads)
        from flambeau.ops.create import zeros

        factors = [
            zeros(aval.shape, dtype=aval.dtype, device=aval.device) if g is None else g
            for g, aval in zip(grads, self.out_avals(), strict=True)
        ]
        given = {"leaf": self._nodes, "out": self._outs, "factor": [_node(t) for t in factors]}

        def node_at(place: Any, parts: list[Node]) -> Node:
            kind, which = place
            if kind == "number":
                return Node(None, (), _weak(which), which)
            if kind == "constant":
                return which
            return parts[which] if kind == "grad" else given[kind][which]

        parts = record_body(RUN, self._joint.back, [node_at(place, []) for place in self._joint.leaves])
        return tuple(None if place is None else wrap(node_at(place, parts)) for place in self._joint.found)


def _node(tensor: Tensor) -> Node:
    return tensor._node if tensor._base is None else current(tensor)


def _weak(value: Any) -> Aval:
    from flambeau.graph.node import number

    return number(value).aval
