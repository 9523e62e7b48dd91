"""Looking on while a function runs: where its leaves come from, and where its results go."""

from __future__ import annotations

import gc
import linecache
import os
import sys
from collections.abc import Callable
from sys import getrefcount
from typing import Any

from flambeau.autograd.node import GradNode
from flambeau.engine.flush import flush
from flambeau.graph.node import Node
from flambeau.graph.observer import current as looking
from flambeau.graph.program import Stretch, living, stretch_of
from flambeau.graph.recorder import pending
from flambeau.ops.operator import Operator
from flambeau.tensor.tensor import Tensor, current

_PACKAGE = os.path.dirname(os.path.dirname(__file__))


class CaptureError(RuntimeError):
    """A function does something that a replay could not repeat; says what, and on which line."""


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
        boxes: the tensors from outside that were read, by the number of the leaf that they showed.
        sources: for leaves that change from call to call, what gives their next value: in order,
            (leaves, function), or (None, function) for what must merely be done again.
        constants: leaves made of data of the function's own.
        modules: the modules that were called, with their mode.
        casts: the weights' casts that autocast made.
        grads: for tensors that were read, whether they had a gradient when that began.
    """

    def __init__(self) -> None:
        self.reads: list[tuple[Tensor, Node]] = []
        self._read: set[int] = set()
        self.sources: list[tuple[list[Node] | None, Callable[[], Any]]] = []
        self.constants: list[Node] = []
        self.modules: dict[Any, bool] = {}
        self.casts: dict[int, Any] = {}

    # ------------------------------------------------------------ what an observer is told

    def value_wanted(self, node: Node) -> None:
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
        """Nothing to note: results find their homes when the call has ended."""

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
            return function(*args, **kwargs)
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
        sources, modules: as of the watch.
    """

    def __init__(self, watch: Watch) -> None:
        self.modules = watch.modules
        boxes: dict[int, Tensor] = {}
        for tensor, node in watch.reads:
            # The first to show a node is its home; later ones are boxes that autograd made of what it saved.
            boxes.setdefault(id(node), tensor)
        drawn = {
            id(node): (which, place)
            for which, (nodes, _) in enumerate(watch.sources)
            for place, node in enumerate(nodes or ())
        }
        made = {id(node) for node in watch.constants}
        read = [tensor for tensor, _ in watch.reads]
        self.again = [again for _, again in watch.sources]
        # Held by the watch they would count as owned, and could never be given up.
        watch.reads.clear()
        watch.sources.clear()
        watch.constants.clear()
        watch.casts.clear()
        taken = pending[:]
        pending.clear()
        nodes = living(taken)
        del taken
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
