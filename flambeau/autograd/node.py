"""The tape: which result came from which inputs, and how a gradient gets back."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

from flambeau.autograd.grad_mode import mode, search
from flambeau.graph.node import NONE, Node
from flambeau.graph.op import Call
from flambeau.tensor.tensor import Tensor, current, wrap

Edge = tuple[Any, int] | None
"""Where the gradient of an input goes: (GradNode, which result of it), (leaf tensor, 0), or nowhere."""

_sequence = count().__next__


def edge_of(tensor: Tensor) -> Edge:
    """Where a gradient for this tensor goes."""
    if not tensor.requires_grad:
        return None
    if tensor._grad_fn is None:
        return (tensor, 0)
    return (tensor._grad_fn, tensor._output_nr)


def moment() -> int:
    """A number that is less than the ``seq`` of all operations recorded from now on."""
    return _sequence()


class GradNode:
    """One differentiable operation that was recorded.

    Attributes:
        call: the operation.
        edges: where the gradients of the inputs go.
        saved: the nodes that the derivative asked for, in the order of its parameters; None once released.
        seq: grows with every operation, so descending order is an order for going back.
        pre_hooks: functions on the incoming gradients, as (which result or None for all, function).
        post_hooks: functions on (gradients out, gradients in).

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> node = (x * 2).sum().grad_fn
        >>> node.name()
        'SumBackward0'
        >>> [function.name() for function, _ in node.next_functions]
        ['MulBackward0']
    """

    __slots__ = ("__dict__", "__weakref__", "call", "edges", "post_hooks", "pre_hooks", "saved", "seq")

    def __init__(self, call: Call, edges: tuple[Edge, ...], saved: tuple[Node | None, ...]) -> None:
        self.call = call
        self.edges = edges
        self.saved: tuple[Node | None, ...] | None = saved
        self.seq = _sequence()
        self.pre_hooks: list[Any] | None = None
        self.post_hooks: list[Any] | None = None

    def backward(self, grads: list[Tensor | None]) -> Any:
        """Gradients of the inputs for gradients of the results."""
        if self.saved is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they "
                "have already been freed). Saved intermediate values of the graph are freed when you call .backward() "
                "or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second "
                "time or if you need to access saved tensors after calling backward."
            )
        return self.call.op.differentiate(self, grads)  # type: ignore[attr-defined]

    def release(self) -> None:
        """Lets go of what was saved, unless nothing was: then going back twice does no harm."""
        if self.saved:
            self.saved = None

    def input_aval(self, i: int) -> Any:
        return self.call.inputs[i]

    def out_avals(self) -> tuple[Any, ...]:
        out = self.call.out
        return out if isinstance(out, tuple) else (out,)

    # ------------------------------------------------------------ PyTorch's public face of it

    @property
    def metadata(self) -> dict[str, Any]:
        """Whatever is noted of it, by name."""
        return self.__dict__.setdefault("_metadata", {})

    def name(self) -> str:
        """Its name, such as ``AddBackward0``."""
        label = self.__dict__.get("label")
        if label is not None:
            return label
        return self.call.op.grad_name(self.call)  # type: ignore[attr-defined]

    @property
    def next_functions(self) -> tuple[Any, ...]:
        """What it passes gradients on to, as (function, which result) pairs."""
        return tuple(
            (None, 0) if edge is None else (AccumulateGrad(edge[0]), 0) if isinstance(edge[0], Tensor) else edge
            for edge in self.edges
        )

    def register_hook(self, fn: Any) -> Any:
        """Calls ``fn(grad_inputs, grad_outputs)`` after each pass; what it returns replaces the former."""
        from flambeau.autograd.hooks import RemovableHandle

        self.post_hooks = self.post_hooks or []
        return RemovableHandle.in_list(self.post_hooks, fn)

    def register_prehook(self, fn: Any) -> Any:
        """Calls ``fn(grad_outputs)`` before each pass; what it returns replaces them."""
        from flambeau.autograd.hooks import RemovableHandle

        self.pre_hooks = self.pre_hooks or []
        return RemovableHandle.in_list(self.pre_hooks, (None, fn))

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class Packed:
    """What a hook made of a saved value, until it is wanted."""

    __slots__ = ("_unpack", "payload")

    def __init__(self, node: Node) -> None:
        assert mode.hooks is not None, "somebody has set hooks"
        pack, self._unpack = mode.hooks
        self.payload = pack(wrap(node))

    def opened(self) -> Node:
        """The value again.

        Raises:
            TypeError: if the hook gives something else than a tensor.
        """
        found = self._unpack(self.payload)
        if not isinstance(found, Tensor):
            raise TypeError(
                f"Output of saved tensor unpack_hook expected to be a Tensor but got result of type {type(found)}"
            )
        return found._node if found._base is None else current(found)


def packed(node: Node | None) -> Any:
    """A saved value as the hooks in force will have it; numbers and absent values stay what they are."""
    if mode.hooks is None or node is None or node is NONE or node.aval.weak:
        return node
    return Packed(node)


class PackedNode(GradNode):
    """An operation whose saved values went through hooks."""

    __slots__ = ()

    def backward(self, grads: list[Tensor | None]) -> Any:
        kept = self.saved
        if kept is None:
            return super().backward(grads)
        mode.arriving = grads
        self.saved = tuple([part.opened() if type(part) is Packed else part for part in kept])
        try:
            return super().backward(grads)
        finally:
            self.saved = kept
            mode.arriving = ()


def attended(call: Call, edges: tuple[Edge, ...], saved: tuple[Node | None, ...]) -> GradNode:
    """The tape's entry where more is wanted of it: hooks on what is saved, or where it was recorded."""
    if mode.hooks is None:
        made = GradNode(call, edges, saved)
    else:
        made = PackedNode(call, edges, tuple([packed(node) for node in saved]))
    if search.on:
        note_traceback(made)
    return made


def note_traceback(grad_fn: GradNode) -> None:
    """Notes from which lines of the user's program an operation was recorded."""
    # Imported here: few programs need it.
    import traceback

    frames = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(_PACKAGE)]
    grad_fn.metadata["traceback_"] = traceback.format_list(frames)


_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


class AccumulateGrad:
    """The end of the way back: adds the gradient to a leaf's ``grad``.

    Attributes:
        variable: the leaf.
    """

    __slots__ = ("variable",)

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    def name(self) -> str:
        return "torch::autograd::AccumulateGrad"

    @property
    def next_functions(self) -> tuple[Any, ...]:
        return ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccumulateGrad) and other.variable is self.variable

    def __hash__(self) -> int:
        return id(self.variable)

    def __repr__(self) -> str:
        return f"<AccumulateGrad object at {id(self.variable):#x}>"
