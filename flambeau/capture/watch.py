"""Looking on while a function runs: where its leaves come from, and where its results go."""

from __future__ import annotations

import gc
import linecache
import os
import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any
from weakref import ref

from flambeau import devices
from flambeau.autograd.node import GradNode, moment
from flambeau.engine.flush import flush
from flambeau.graph.node import Node
from flambeau.graph.observer import current as looking
from flambeau.graph.placement import places
from flambeau.graph.program import Stretch, living, stretch_of
from flambeau.graph.recorder import pending
from flambeau.ops.operator import Operator
from flambeau.tensor.tensor import Tensor, current

_PACKAGE = os.path.dirname(os.path.dirname(__file__))


class CaptureError(RuntimeError):
    """A function does something that a replay could not repeat; says what, and on which line."""


def tensors_in(structure: Any) -> list[Tensor]:
    """The tensors of a nested structure, in order."""
    if isinstance(structure, Tensor):
        return [structure]
    if isinstance(structure, dict):
        structure = structure.values()
    elif not isinstance(structure, list | tuple):
        return []
    return [tensor for part in structure for tensor in tensors_in(part)]


def callers_line() -> str:
    """The line of the user's program that is running, as ``file:number: text``."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    name, number = frame.f_code.co_filename, frame.f_lineno
    return f"{name}:{number}: {linecache.getline(name, number).strip()}"


class Watch:
    """Looks on while a function runs once.

    Attributes:
        given: the arguments and what else was written to, with the leaf that each showed.
        writes: what was written to, by weak reference: what was made meanwhile may be gone.
        boxes: the tensors from outside that were read, by the number of the leaf that they showed.
        sources: for leaves that change from call to call, what gives their next value: in order,
            (leaves, function), or (None, function) for what must merely be done again.
        constants: leaves made of data of the function's own.
        modules: the modules that were called, with their mode.
        casts: the weights' casts that autocast made.
        grads: for tensors that were read, whether they had a gradient when that began.
        began: the moment, in the order of differentiable operations.
    """

    def __init__(self, args: list[Tensor]) -> None:
        self.given = [(t, t._node if t._base is None else current(t)) for t in args]
        self.writes: list[Any] = []
        self.reads: list[tuple[Tensor, Node]] = []
        self._read: set[int] = set()
        self.sources: list[tuple[list[Node] | None, Callable[[], Any]]] = []
        self.constants: list[Node] = []
        self.modules: dict[Any, bool] = {}
        self.casts: dict[int, Any] = {}
        self.began = moment()

    # ------------------------------------------------------------ what an observer is told

    def value_wanted(self, node: Node) -> None:
        if any(made is node for made in self.constants):
            # Data of the function's own is the same with each call.
            return
        raise CaptureError(
            f"the value of a tensor is wanted while the function is being captured, at {callers_line()}. A "
            "captured function runs as one program, whose values are known when it has ended: return the tensor, and "
            "look at it outside"
        )

    def postponed(self, tensor: Tensor, check: Callable[[Any], None]) -> bool:
        return False

    def varies(self, tensor: Tensor) -> bool:
        return False

    def made(self, node: Node) -> None:
        self.constants.append(node)

    def drawn(self, node: Node, again: Callable[[], Any]) -> None:
        self.sources.append(([node], lambda: [again()]))

    def numbers(self, nodes: list[Node], again: Callable[[], Any]) -> None:
        self.sources.append((nodes, again))

    def action(self, again: Callable[[], Any]) -> None:
        self.sources.append((None, again))

    def read(self, tensor: Tensor) -> None:
        if id(tensor) in self._read:
            return
        node = tensor._node if tensor._base is None else current(tensor)
        if node.value is not None and not node.aval.weak:
            self._read.add(id(tensor))
            self.reads.append((tensor, node))

    def written(self, tensor: Tensor, new: Tensor) -> None:
        """Results find their homes when the call has ended, but what merely comes to show a leaf must be known."""
        target = tensor if tensor._base is None else tensor._base
        if target._node.value is not None:
            # What the function made itself has no value yet, or is data of its own.
            self.given.append((target, target._node))
        self.writes.append(ref(target))
        self.read(new)

    def outside(self) -> list[Tensor]:
        """The tensors from outside that were read, and the arguments."""
        made = {id(node) for node in self.constants}
        made.update(id(node) for nodes, _ in self.sources for node in nodes or ())
        first: dict[int, Tensor] = {}
        for tensor, node in (*self.given, *self.reads):
            # One made by the function may have come to show a leaf, but was not the first to.
            if id(node) not in made:
                first.setdefault(id(node), tensor)
        return list(first.values())

    # ------------------------------------------------------------ running

    def run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Calls the function and looks on; its work stays pending."""
        flush()
        if looking.observer is not None:
            return function(*args, **kwargs)
        plain_operator, module = Operator.__call__, _module_class()
        plain_module = module.__call__
        looking.observer = self
        # Put in the place of the plain ones for this call alone: ordinary recording pays nothing.
        Operator.__call__ = _watched(plain_operator, self)  # type: ignore[method-assign]
        module.__call__ = _watched_module(plain_module, self)
        try:
            result = function(*args, **kwargs)
            for tensor in tensors_in(result):
                if tensor._base is not None:
                    # What it shows now is part of the work.
                    current(tensor)
            return result
        except BaseException:
            pending.clear()
            raise
        finally:
            looking.observer = None
            Operator.__call__ = plain_operator  # type: ignore[method-assign]
            module.__call__ = plain_module


def _module_class() -> Any:
    from flambeau.nn.modules.module import Module

    return Module


def _watched(plain: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    def call(self: Operator, *args: Any) -> Any:
        for given in args[0] if self.variadic else args[: self.arity]:
            if isinstance(given, Tensor):
                watch.read(given)
        return plain(self, *args)

    return call


def _watched_module(plain: Callable[..., Any], watch: Watch) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        watch.modules[self] = self.training
        return plain(self, *args, **kwargs)

    return call


class Taken:
    """The work of one watched call, with the origin of each leaf and the destination of each result.

    Attributes:
        stretch: the work in a line.
        origins: per leaf: a tensor, or ("source", which, place in it), or ("constant", value).
        homes: per result, the tensors that show it now.
        outside: the tensors from outside.
        moved: tensors that were written to and now show a leaf, with its origin.
        sources, modules: as of the watch.
    """

    def __init__(self, watch: Watch) -> None:
        self.modules = watch.modules
        boxes: dict[int, Tensor] = {}
        for tensor, node in (*watch.reads, *watch.given):
            # The first to show a node is its home; later ones are boxes that autograd made of what it saved.
            boxes.setdefault(id(node), tensor)
        # Held by a name they would count as owned, and could never be given up; so below.
        node = tensor = None
        drawn = {
            id(node): (which, place)
            for which, (nodes, _) in enumerate(watch.sources)
            for place, node in enumerate(nodes or ())
        }
        made = {id(node) for node in watch.constants}
        boxes = {number: tensor for number, tensor in boxes.items() if number not in made}
        self._drawn, self._boxes = drawn, boxes
        read = [tensor for tensor, _ in watch.reads]
        self.again = [again for _, again in watch.sources]
        written = {id(t): t for weak in watch.writes if (t := weak()) is not None}
        self.outside = watch.outside()
        watch.reads.clear()
        watch.given.clear()
        watch.sources.clear()
        watch.constants.clear()
        watch.casts.clear()
        taken = pending[:]
        pending.clear()
        nodes = living(taken)
        del taken
        _refuse_several_accelerators(nodes)
        self.stretch: Stretch = stretch_of(nodes)
        self.origins: list[Any] = []
        for leaf in self.stretch.leaves:
            if id(leaf) in drawn:
                self.origins.append(("source", *drawn[id(leaf)]))
            elif id(leaf) in boxes:
                self.origins.append(boxes[id(leaf)])
            elif leaf.aval.weak or id(leaf) in made:
                self.origins.append(("constant", leaf.value))
            else:
                raise CaptureError(
                    f"the captured function reads a value of shape {list(leaf.aval.shape)} that no tensor shows: one "
                    "that autograd saved for work recorded outside of the function. Capture that work as well"
                )
        self.homes = homes_of(self.stretch, read)
        computed = {id(node) for node in self.stretch.outputs}
        self.moved = [(t, self.origin_of(t._node)) for t in written.values() if id(t._node) not in computed]

    def origin_of(self, node: Node) -> Any:
        """Where the value of a node comes from that the work does not compute, in the terms of ``origins``."""
        if id(node) in self._drawn:
            return ("source", *self._drawn[id(node)])
        return self._boxes.get(id(node), ("constant", node.value))


def _refuse_several_accelerators(nodes: list[Node]) -> None:
    if devices.accelerated and len(found := places(nodes) - {devices.cpu}) > 1:
        raise CaptureError(
            f"the captured function computes on {' and '.join(sorted(map(str, found)))}, and one program runs on one "
            "accelerator: move its tensors to one of them, or compute the rest outside of the function"
        )


def homes_of(stretch: Stretch, read: list[Tensor]) -> list[list[Tensor]]:
    """For each result, the tensors that show it.

    They are looked for among what was made while the function ran, with the collector held, and what it
    read.  Where the reference counts say that somebody else holds a result, everything is searched,
    which takes milliseconds.
    """
    uses: dict[int, int] = {id(node): 0 for node in stretch.outputs}
    for node in stretch.nodes:
        for given in node.inputs:
            if id(given) in uses:
                uses[id(given)] += 1
    homes: dict[int, dict[int, Tensor]] = {number: {} for number in uses}
    candidates = gc.get_objects(generation=0)
    candidates.extend(read)
    for thing in candidates:
        if isinstance(thing, Tensor):
            # A gradient may be of old while the tensor that it belongs to was read.
            for box in (thing, thing._grad):
                if box is not None and id(box._node) in homes:
                    homes[id(box._node)][id(box)] = box
        elif isinstance(thing, GradNode):
            for saved in thing.saved or ():
                if id(saved) in uses:
                    uses[id(saved)] += 1
    # The nodes themselves are among the candidates.
    candidates.clear()
    given = saved = node = thing = box = None
    held = [getrefcount(node) - uses[id(node)] - len(homes[id(node)]) for node in stretch.outputs]
    if any(count > _HELD_BY_STRETCH for count in held):
        return _homes_anywhere(stretch.outputs)
    return [list(homes[id(node)].values()) for node in stretch.outputs]


_HELD_BY_STRETCH = 4
"""What getrefcount says of a result that its stretch's two lists and a loop's variable hold."""


def _homes_anywhere(outputs: list[Node]) -> list[list[Tensor]]:
    homes: dict[int, list[Tensor]] = {id(node): [] for node in outputs}
    for holder in gc.get_referrers(*outputs):
        if isinstance(holder, Tensor) and id(holder._node) in homes:
            homes[id(holder._node)].append(holder)
    return [homes[id(node)] for node in outputs]
