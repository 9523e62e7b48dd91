"""Recording a function on one example, to run it on all: what ``vmap`` is made of.

Inside a level, a tensor of all examples is shown by a *lane*: a node of one example's shape whose value says
where the values of all are.  Operations that depend on a lane are taken out of the engine's list and kept by the
level; any other is recorded as if there were no level.  When the level is left, its operations become one node of
the work around it (see :mod:`flambeau.func.mapping`), and each of their results that somebody still wants (a result
of the function, or a value that the tape saved) becomes a lane in turn.

The tape needs nothing more: the operations inside were noted as they were recorded.  Tensors from outside enter the
tape of the level through a :class:`Border`, and its results leave it through a :class:`MappedBackward`, which goes
back along the inner tape inside the level entered anew.  What it records can be differentiated in turn.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any
from weakref import WeakSet, ref

import numpy as np

from flambeau.autograd.backward_pass import run_backward
from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import Edge, GradNode, edge_of
from flambeau.engine.flush import value_of
from flambeau.func.mapping import body_of, run_mapped
from flambeau.func.scattered import added_up, scattered
from flambeau.graph.node import NONE, Aval, Node, leaf
from flambeau.graph.observer import current as looking
from flambeau.graph.program import living, stretch_of
from flambeau.graph.recorder import pending
from flambeau.ops import autocast
from flambeau.ops.operator import Operator
from flambeau.tensor.tensor import Tensor, current, wrap


class Lane:
    """Stands in the place of a node's value: one example of the values of another node.

    Attributes:
        level: the level whose examples these are.
        node: has the values of all examples, along its first dimension.
    """

    __slots__ = ("level", "node")

    def __init__(self, level: Level, node: Node) -> None:
        self.level = level
        self.node = node

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(self.level.escaped)


class Border(GradNode):
    """Where a tensor from outside enters the tape of a level: passes gradients on as they are."""

    __slots__ = ("_inside", "level", "mapped", "outer", "outside", "shown_by")

    def __init__(self, level: Level, edge: Edge, outside: Aval, inside: Aval, shown_by: set[Level]) -> None:
        super().__init__(None, (), ())  # type: ignore[arg-type]
        self.level = level
        self.mapped = inside is not outside
        self._inside = inside
        self.outside = outside
        self.outer = edge
        self.shown_by = shown_by

    @property
    def edges(self) -> tuple[Edge, ...]:  # type: ignore[override]
        """Nowhere while the level itself goes back: what lies outside is then no business of it."""
        return () if self.level.sealed else (self.outer,)

    @edges.setter
    def edges(self, edges: tuple[Edge, ...]) -> None:
        """Set by the base class alone."""

    def backward(self, grads: list[Tensor | None]) -> Any:
        if self.mapped:
            raise RuntimeError(
                "vmap: the gradient of one example with respect to a tensor of all examples is wanted inside of the "
                "mapped function. Differentiate with respect to the function's own argument"
            )
        return tuple(grads)

    def out_avals(self) -> tuple[Any, ...]:
        return (self._inside,)

    def input_aval(self, i: int) -> Any:
        return self.outside

    def name(self) -> str:
        return "BatchedFallbackBackward"

    def shown(self, node: Node) -> Tensor:
        """A tensor of the level that shows a node and has its gradient here."""
        tensor = wrap(node)
        tensor._grad_fn = self
        tensor._rg = True
        return tensor


class Level:
    """One ``vmap``: the number of examples, and what is recorded on one of them.

    Attributes:
        size: the number of examples.
        randomness: ``"error"``, ``"different"`` or ``"same"``.
        sealed: whether it is going back along its own tape now.
        casts: the weights' casts that autocast made inside.
        escaped: what whoever asks for the value of one of its tensors outside is told.
    """

    escaped = (
        "a tensor escaped from inside a function that vmap maps: it stands for one example, and has a value only "
        "there. Return it from the function instead"
    )

    def __init__(self, size: int, randomness: str = "error") -> None:
        self.size = size
        self.randomness = randomness
        self.sealed = False
        self._nodes: list[Node] = []
        self._ids: set[int] = set()
        self._borders: dict[Any, Border] = {}
        # What was made inside without depending on an example: boxes, and leaves.
        self._own: dict[int, ref[Tensor]] = {}
        self._leaves: WeakSet[Node] = WeakSet()
        self.casts: dict[int, Any] = {}
        self._checks: list[tuple[Tensor, Callable[[Any], None]]] = []
        self._previous: Any = None
        self._previous_call: Any = None

    # ------------------------------------------------------------ coming and going

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside the block, what depends on one of its lanes is recorded here."""
        self._previous, self._previous_call = looking.observer, Operator.__call__
        looking.observer = self
        Operator.__call__ = self._patch()  # type: ignore[method-assign]
        try:
            yield
        except BaseException:
            self._nodes.clear()
            self._ids.clear()
            self._checks.clear()
            raise
        finally:
            looking.observer = self._previous
            Operator.__call__ = self._previous_call  # type: ignore[method-assign]
            self._previous = self._previous_call = None
            self._borders.clear()
            self._own.clear()
            self._leaves.clear()
            self.casts.clear()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside the block everything is as it is around the level."""
        mine = Operator.__call__
        looking.observer = self._previous
        Operator.__call__ = self._previous_call  # type: ignore[method-assign]
        try:
            yield
        finally:
            looking.observer = self
            Operator.__call__ = mine  # type: ignore[method-assign]

    def _patch(self) -> Any:
        level, outside = self, self._previous_call

        def call(op: Operator, *args: Any) -> Any:
            given = args[0] if op.variadic else args[: op.arity]
            if not any(isinstance(x, Tensor) and level.shows(x) for x in given):
                result = outside(op, *args)
                for made in result if isinstance(result, tuple) else (result,):
                    level._own[id(made)] = ref(made)
                return result
            found = level._in_parts(op, args)
            if found is not None:
                return found
            if op.autocast is not None and mode.autocast is not None:
                # Now, so that what is cast of what all examples share is recorded outside.
                given = autocast.operands(op.autocast, given)
            given = [level._admitted(x) if isinstance(x, Tensor) else x for x in given]
            return level._recorded(op, given, args[1:] if op.variadic else args[op.arity :])

        return call

    def _in_parts(self, op: Operator, args: tuple[Any, ...]) -> Any:
        """What an operation gives that is recorded as several instead; None if it is not."""

    def _recorded(self, op: Operator, inputs: Sequence[Any], attrs: tuple[Any, ...]) -> Any:
        """Records an operation that depends on a lane."""
        start = len(pending)
        try:
            return Operator.record(op, inputs, *attrs) if op.variadic else Operator.record(op, *inputs, *attrs)
        finally:
            self._take(start)

    # ------------------------------------------------------------ what belongs to it

    def has(self, node: Node) -> bool:
        """Whether a node stands for one example of this level."""
        value = node.value
        if value is None:
            return id(node) in self._ids
        return type(value) is Lane and value.level is self

    def shows(self, tensor: Tensor) -> bool:
        """Whether a tensor stands for one example of this level."""
        return self.has(_node(tensor))

    def lane(self, tensor: Tensor) -> Tensor:
        """One example of a tensor whose first dimension counts examples."""
        self.read(tensor)
        outer = _node(tensor)
        aval = outer.aval.of(outer.aval.shape[1:])
        node = Node(None, (), aval, Lane(self, outer))
        if tensor._rg and mode.grad:
            return Border(self, edge_of(tensor), outer.aval, aval, self._around(outer)).shown(node)
        return wrap(node)

    def _around(self, node: Node) -> set[Level]:
        """Those of the levels around this one for which a node stands for one example."""
        found = set()
        level = self._previous
        while isinstance(level, Level):
            if level.has(node):
                found.add(level)
            level = level._previous
        return found

    def _admitted(self, tensor: Tensor) -> Tensor:
        """A tensor as its operations may read it: one from outside enters through a border."""
        node = _node(tensor)
        if self.has(node):
            return tensor
        self.read(tensor)
        if not tensor._rg or not mode.grad:
            return tensor
        edge = edge_of(tensor)
        source = edge[0]  # type: ignore[index]
        if type(source) is Border and source.level is self:
            return tensor
        return self._border(edge, node.aval, self._around(node)).shown(node)

    def _border(self, edge: Edge, aval: Aval, shown_by: set[Level]) -> Border:
        """Where a tensor from outside, the same for all examples, comes in; the same whenever it does."""
        found = self._borders.get(edge)
        if found is None:
            found = self._borders[edge] = Border(self, edge, aval, aval, shown_by)
        return found

    def _take(self, start: int) -> None:
        """Takes what was recorded last out of the engine's list."""
        self._nodes.extend(pending[start:])
        self._ids.update(map(id, pending[start:]))
        del pending[start:]

    def adopt(self, start: int, inputs: Sequence[Node]) -> None:
        """Takes what was recorded last if it depends on one of the level's lanes; else the level around may."""
        level = self.shower_of(inputs)
        if level is not None:
            level._take(start)

    def shower_of(self, nodes: Sequence[Node]) -> Level | None:
        """The innermost, of this level and those around it, for which one of the nodes stands for an example."""
        level = self
        while isinstance(level, Level):
            if any(level.has(node) for node in nodes):
                return level
            level = level._previous
        return None

    def led_in(self, border: Border) -> Edge:
        """Where gradients go that arrive at a border of an inner level: within this one, or out through a border."""
        if self in border.shown_by:
            return border.outer
        return (self._border(border.outer, border.outside, border.shown_by), 0)

    # ------------------------------------------------------------ what an observer is told

    def value_wanted(self, node: Node) -> None:
        if self.has(node):
            raise RuntimeError(_refusal())
        with self.suspended():
            value_of(node)

    def postponed(self, tensor: Tensor, check: Callable[[Any], None]) -> bool:
        if self.shows(tensor):
            self._checks.append((tensor, check))
            return True
        return self._previous is not None and self._previous.postponed(tensor, check)

    def varies(self, tensor: Tensor) -> bool:
        return self.shows(tensor) or (self._previous is not None and self._previous.varies(tensor))

    def made(self, node: Node) -> None:
        self._leaves.add(node)
        if self._previous is not None:
            self._previous.made(node)

    def drawn(self, node: Node, again: Any) -> None:
        """One draw for all examples, or as many as there are."""
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                "'different' randomness flags on vmap or perform the randomness operation out of vmap"
            )
        if self.randomness == "same":
            self._leaves.add(node)
            if self._previous is not None:
                self._previous.drawn(node, again)
            return
        first, count = node.value, self.size

        def draw_all() -> Any:
            return np.stack([again() for _ in range(count)]) if count else np.empty((0, *first.shape), first.dtype)

        stacked = np.stack([first, *[again() for _ in range(count - 1)]]) if count else draw_all()
        outer = leaf(stacked, node.aval.dtype, node.aval.device)
        node.value = Lane(self, outer)
        if self._previous is not None:
            self._previous.drawn(outer, draw_all)

    def numbers(self, nodes: list[Node], again: Any) -> None:
        if self._previous is not None:
            self._previous.numbers(nodes, again)

    def read(self, tensor: Tensor) -> None:
        if self._previous is not None:
            self._previous.read(tensor)

    def written(self, tensor: Tensor, new: Tensor) -> None:
        if self.shows(new) and not self.shows(tensor) and not self._is_own(tensor):
            raise RuntimeError(
                "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in "
                "extra_args that has more elements than `self`. This happened due to `other` being vmapped over but "
                "`self` not being vmapped over in a vmap. Please try to use out-of-place operators instead of inplace "
                "arithmetic. If said operator is being called inside the PyTorch framework, please file a bug report "
                "instead."
            )
        if self._previous is not None:
            self._previous.written(tensor, new)

    def _is_own(self, tensor: Tensor) -> bool:
        """Whether a tensor was made inside: nobody outside can see what is written to it."""
        box = tensor if tensor._base is None else tensor._base
        known = self._own.get(id(box))
        return (known is not None and known() is box) or box._node in self._leaves

    def action(self, again: Any) -> None:
        if self._previous is not None:
            self._previous.action(again)

    # ------------------------------------------------------------ results

    def settle(self) -> None:
        """Makes one node of what was recorded; what somebody wants of it becomes a lane.  To be called outside."""
        self._ids.clear()
        nodes = living(self._nodes)
        if not nodes:
            return
        stretch = stretch_of(nodes)
        mapped = tuple(type(read.value) is Lane and read.value.level is self for read in stretch.leaves)
        inputs = [read.value.node if lane else read for read, lane in zip(stretch.leaves, mapped, strict=True)]
        start = len(pending)
        parts = run_mapped(body_of(stretch, self.size, mapped), inputs)
        if isinstance(looking.observer, Level):
            looking.observer.adopt(start, inputs)
        for node, part in zip(stretch.outputs, parts, strict=True):
            node.value = Lane(self, part)
        for node in stretch.nodes:
            node.call = None
            node.inputs = ()

    def stacked(self, tensor: Tensor) -> Tensor:
        """All examples of a tensor that stands for one, as far as they are recorded; outside of the tape.

        To be called outside.
        """
        self.settle()
        return wrap(_node(tensor).value.node)

    def results(self, tensors: Sequence[Tensor]) -> list[tuple[Tensor, bool]]:
        """Per result of the recorded work: what shows it outside, and whether that has a dimension of examples.

        To be called outside, once the level has been left.
        """
        self.settle()
        checks, self._checks = self._checks, []
        for tensor, check in checks:
            check(self.stacked(tensor))
        found: list[tuple[Tensor, bool]] = []
        roots = []
        for tensor in tensors:
            node = _node(tensor)
            if self.has(node):
                outer = wrap(node.value.node)
                if tensor._rg:
                    roots.append((tensor, outer))
                found.append((outer, True))
            else:
                found.append((tensor, False))
        borders = self._borders_below([tensor for tensor, _ in roots])
        if borders:
            around = looking.observer
            shower = around.shower_of([outer._node for _, outer in roots]) if isinstance(around, Level) else None
            edges = tuple([border.outer if shower is None else shower.led_in(border) for border in borders])
            grad_fn = MappedBackward(self, [tensor for tensor, _ in roots], borders, edges)
            for i, (_, outer) in enumerate(roots):
                outer._grad_fn = grad_fn
                outer._output_nr = i
                outer._rg = True
        return found

    def _borders_below(self, tensors: list[Tensor]) -> list[Border]:
        """Where the tape that leads to some tensors of the level comes in from outside."""
        self.sealed = True
        try:
            seen: set[GradNode] = set()
            stack: list[Any] = [tensor.grad_fn for tensor in tensors]
            while stack:
                grad_fn = stack.pop()
                if grad_fn is None or grad_fn in seen:
                    continue
                seen.add(grad_fn)
                stack.extend(e[0] for e in grad_fn.edges if e is not None and not isinstance(e[0], Tensor))
        finally:
            self.sealed = False
        return sorted((b for b in seen if type(b) is Border and b.level is self), key=lambda border: border.seq)


class MappedBackward(GradNode):
    """Goes back through a mapped function: its own tape, for all examples."""

    __slots__ = ("_borders", "_level", "_outs", "_roots")

    def __init__(self, level: Level, roots: list[Tensor], borders: list[Border], edges: tuple[Edge, ...]) -> None:
        super().__init__(None, edges, ())  # type: ignore[arg-type]
        self._level = level
        self._roots: list[Tensor] | None = roots
        self._borders = borders
        self._outs = tuple(_node(t).value.node.aval for t in roots)

    def name(self) -> str:
        return "VmapBackward"

    def out_avals(self) -> tuple[Any, ...]:
        return self._outs

    def input_aval(self, i: int) -> Any:
        return self._borders[i].outside

    def release(self) -> None:
        self._roots = None

    def backward(self, grads: list[Tensor | None]) -> Any:
        if self._roots is None:
            self.saved = None
            return super().backward(grads)
        level = self._level
        with level.entered():
            pairs = [(root, level.lane(g)) for root, g in zip(self._roots, grads, strict=True) if g is not None]
            wanted = [border.shown(NONE) for border in self._borders]
            level.sealed = True
            try:
                found = run_backward(
                    tuple(root for root, _ in pairs), [g for _, g in pairs], True, mode.grad, tuple(wanted)
                )
            finally:
                level.sealed = False
            leaving = [self._leaving(g, border) for g, border in zip(found, self._borders, strict=True)]
            del pairs, found
        outer = iter(level.results([tensor for sums in leaving for parts in sums for tensor in parts]))
        gradients: list[Tensor | None] = []
        for sums, border in zip(leaving, self._borders, strict=True):
            passed = [self._passed_on([next(outer) for _ in parts], border) for parts in sums]
            gradients.append(reduce(add, passed) if passed else None)
        return tuple(gradients)

    def _leaving(self, gradient: Tensor | None, border: Border) -> list[list[Tensor]]:
        """What is to leave the level for a gradient: summands, each in parts."""
        if gradient is None:
            return []
        if border.mapped or mode.grad:
            return [[gradient]]
        return scattered(_node(gradient), self._level.has) or [[gradient]]

    def _passed_on(self, parts: list[tuple[Tensor, bool]], border: Border) -> Tensor:
        """The gradient of a tensor outside: of every example, or of what they share, then summed over them."""
        if len(parts) > 1:
            return added_up(parts, border.outside.shape, self._level.size)
        gradient, stacked = parts[0]
        if border.mapped:
            return gradient if stacked else gradient.expand(self._level.size, *gradient.shape)
        return gradient.sum(0) if stacked else gradient * self._level.size


def _node(tensor: Tensor) -> Node:
    return tensor._node if tensor._base is None else current(tensor)


_VALUE = (
    "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a Tensor, "
    "please try to rewrite what you're doing with other operations. If error is occurring somewhere inside PyTorch "
    "internals, please file a bug report."
)
_FLOW = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that "
    "yet, please shout over at https://github.com/pytorch/functorch/issues/257 ."
)
_SHAPE = (
    "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over aten::{}. Please "
    "voice your support in https://github.com/pytorch/functorch/issues/256"
)
_MASK = (
    "vmap: We do not support batching operators that can support dynamic shape. Attempting to batch over indexing with "
    "a boolean mask."
)
_DYNAMIC = {"nonzero", "masked_select", "unique", "unique_consecutive", "unique_dim", "argwhere", "bincount"}


def _refusal() -> str:
    """Why a value cannot be had, by what asks for it."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in ("__bool__", "_bool"):
            return _FLOW
        if name == "_without_masks":
            return _MASK
        if name in _DYNAMIC:
            return _SHAPE.format(name)
        if not frame.f_globals.get("__name__", "").startswith("flambeau"):
            break
        frame = frame.f_back
    return _VALUE
