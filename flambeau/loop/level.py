"""Recording one step of a loop, to run it at all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import edge_of
from flambeau.capture.watch import CaptureError, callers_line
from flambeau.dtypes import FLOATING
from flambeau.func.level import Border, Lane, Level
from flambeau.graph.node import Aval, Node
from flambeau.graph.observer import current as looking
from flambeau.ops.operator import Operator
from flambeau.tensor.tensor import Tensor, current, drawn_leaf, wrap


class LoopLevel(Level):
    """One loop: what is recorded of its single step.

    Lanes stand for what is given at each step, and for what one step hands on to the next.  What depends on neither
    is recorded around the loop, where it is done once.

    Attributes:
        length, reverse: how many steps, and whether the last comes first.
        carries, rows: the lanes' nodes: of what is handed on; of what is given at each step.
        borders: for what is read from outside and differentiable, where gradients of it leave.
        noted: of the operations recorded, by identity of the node, whether the tape knows them.
    """

    escaped = (
        "a tensor escaped from inside the cell of a loop over time: it stands for its values at every step, and has "
        "a value only there. Hand it on as part of the state instead, or make the loop with unroll=True"
    )

    def __init__(self, length: int, reverse: bool) -> None:
        super().__init__(length, "different")
        self.length = length
        self.reverse = reverse
        self.carries: list[Node] = []
        self.rows: list[Node] = []
        self.borders: dict[int, Border] = {}
        self.noted: dict[int, bool] = {}
        self._draws = _Draws(length, reverse)

    @property
    def nodes(self) -> list[Node]:
        """What was recorded inside, in order."""
        return self._nodes

    # ------------------------------------------------------------ what stands for steps

    def row(self, tensor: Tensor) -> Tensor:
        """What one step gets of a tensor whose first dimension counts steps."""
        shown = self.lane(tensor)
        return self._entered(shown, self.rows)

    def carried(self, tensor: Tensor) -> Tensor:
        """What one step gets from the one before; the first gets the tensor."""
        self.read(tensor)
        outer = tensor._node if tensor._base is None else current(tensor)
        aval = Aval(outer.aval.shape, outer.aval.dtype, outer.aval.device)
        node = Node(None, (), aval, Lane(self, outer))
        if mode.grad and aval.dtype.category >= FLOATING:
            shown = Border(self, edge_of(tensor), aval, aval, self._around(outer)).shown(node)
        else:
            shown = wrap(node)
        return self._entered(shown, self.carries)

    def _entered(self, shown: Tensor, among: list[Node]) -> Tensor:
        among.append(shown._node)
        if type(shown._grad_fn) is Border:
            self.borders[id(shown._node)] = shown._grad_fn
        return shown

    def leaving(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What a step hands on, where gradients of what depends on no step leave as those of what it reads."""
        return [self._admitted(tensor) for tensor in tensors]

    def _admitted(self, tensor: Tensor) -> Tensor:
        admitted = super()._admitted(tensor)
        border = admitted._grad_fn
        if type(border) is Border and border.level is self:
            self.borders[id(admitted._node)] = border
        return admitted

    def _in_parts(self, op: Operator, args: tuple[Any, ...]) -> Any:
        return None if op.parts is None else op.parts(*args)

    def _recorded(self, op: Operator, inputs: Sequence[Any], attrs: tuple[Any, ...]) -> Any:
        start = len(self._nodes)
        result = super()._recorded(op, inputs, attrs)
        noted = result[0]._rg if isinstance(result, tuple) else result._rg
        for node in self._nodes[start:]:
            self.noted[id(node)] = noted
        return result

    # ------------------------------------------------------------ what an observer is told

    def value_wanted(self, node: Node) -> None:
        if self.has(node):
            raise CaptureError(
                f"a cell asks for the value of a tensor that differs from step to step, at {callers_line()}. Its body "
                "is recorded once and run at every step, so it has no value yet: choose with torch.where, or make the "
                "loop with unroll=True, which calls the cell at each step"
            )
        super().value_wanted(node)

    def postponed(self, tensor: Tensor, check: Callable[[Any], None]) -> bool:
        return not self.shows(tensor) and super().postponed(tensor, check)

    def drawn(self, node: Node, again: Callable[[], Any]) -> None:
        """Every step has a draw of its own."""
        first, node.value = node.value, Lane(self, node)
        self._draws.add(node, first, again)

    def written(self, tensor: Tensor, new: Tensor) -> None:
        if self.shows(new) and not self.shows(tensor) and not self._is_own(tensor):
            raise CaptureError(
                f"a cell writes a value that differs from step to step into a tensor made outside of it, at "
                f"{callers_line()}. Its body is recorded once and run at every step: hand the value on as part of the "
                "state, or make the loop with unroll=True, which calls the cell at each step"
            )
        if self._previous is not None:
            self._previous.written(tensor, new)

    # ------------------------------------------------------------ once it has been left

    def settle(self) -> None:
        """Draws for the steps after the first.  To be called outside."""
        self._draws.settle()

    def close(self) -> None:
        """Lets go of everything, so that what its lanes stood for is owned by nobody on their account."""
        for node in (*self.carries, *self.rows, *self._draws.nodes):
            node.value.node = None
        self._draws = _Draws(self.length, self.reverse)
        for held in (self.carries, self.rows, self.borders, self.noted, self._nodes, self._ids):
            held.clear()


class _Draws:
    """What a step draws at random, for every step, in the order in which a loop in Python would draw it."""

    def __init__(self, length: int, reverse: bool) -> None:
        self._length = length
        self._reverse = reverse
        self.nodes: list[Node] = []
        self._again: list[Callable[[], Any]] = []
        self._values: list[Any] = []
        self._ready = False

    def add(self, node: Node, first: Any, again: Callable[[], Any]) -> None:
        self.nodes.append(node)
        self._values.append([first])
        self._again.append(again)

    def settle(self) -> None:
        self._complete()
        make = looking.draws or drawn_leaf
        for i, node in enumerate(self.nodes):
            node.value.node = make(lambda i=i: self._drawn(i))

    def _complete(self) -> None:
        for _ in range(self._length - 1):
            for values, again in zip(self._values, self._again, strict=True):
                values.append(again())
        self._ready = True

    def _drawn(self, which: int) -> Any:
        """What one draw gave at each step; all are drawn anew when the first is asked for again."""
        if which == 0 and not self._ready:
            self._values = [[] for _ in self._again]
            for values, again in zip(self._values, self._again, strict=True):
                values.append(again())
            self._complete()
        self._ready = self._ready and which != len(self.nodes) - 1
        values = self._values[which]
        return np.stack(values[::-1] if self._reverse else values)
