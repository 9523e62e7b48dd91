"""Where a function transform takes hold of the tape: its arguments on the way in, its results on the way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau import dtypes
from flambeau.autograd.backward import grad
from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import Edge, GradNode, edge_of
from flambeau.func.level import Border
from flambeau.graph.node import Aval
from flambeau.tensor.tensor import Tensor, current, wrap


class Transform:
    """One running transform.

    Attributes:
        running: whether the function is still being called; after that, nobody can ask for gradients of its arguments.
    """

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = True


class Entry(GradNode):
    """An argument of a transformed function: has gradients of its own, and passes them on to where it came from."""

    __slots__ = ("_aval", "transform")

    def __init__(self, edge: Edge, aval: Aval, transform: Transform) -> None:
        super().__init__(None, () if edge is None else (edge,), ())  # type: ignore[arg-type]
        self._aval = aval
        self.transform = transform

    def backward(self, grads: list[Tensor | None]) -> Any:
        return tuple(grads)

    def out_avals(self) -> tuple[Any, ...]:
        return (self._aval,)

    def input_aval(self, i: int) -> Any:
        return self._aval

    def name(self) -> str:
        return "TransformBackward"

    def shown(self, tensor: Tensor) -> Tensor:
        """A box of its own with the tensor's values, whose gradient is this."""
        box = wrap(tensor._node if tensor._base is None else current(tensor))
        box._grad_fn = self
        box._rg = True
        return box


class Call:
    """One call of a transformed function.

    Attributes:
        outer: whether anything around the call is noted for differentiation.
    """

    def __init__(self) -> None:
        self.outer = mode.grad
        self._transform = Transform()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside the block the function is called, and what it does is noted, whatever is set around it."""
        before = mode.grad, mode.inference
        mode.grad, mode.inference = True, False
        try:
            yield
        finally:
            mode.grad, mode.inference = before
            self._transform.running = False

    def enter(self, tensors: Sequence[Any]) -> tuple[list[Tensor], list[Tensor]]:
        """The function's arguments, and what to differentiate with respect to.

        These are different boxes, as the function may write to its arguments.

        Raises:
            ValueError: if one is not a tensor.
            RuntimeError: if one has a type that has no gradient.
        """
        entries = []
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise ValueError(f"Thing passed to transform API must be Tensor, got {type(tensor)}")
            if tensor.dtype.category < dtypes.FLOATING:
                raise RuntimeError("only Tensors of floating point dtype can require gradients")
            entries.append(Entry(edge_of(tensor) if self.outer else None, tensor._node.aval, self._transform))
        pairs = list(zip(entries, tensors, strict=True))
        return [entry.shown(tensor) for entry, tensor in pairs], [entry.shown(tensor) for entry, tensor in pairs]

    def leave(self, results: Sequence[Any]) -> list[Any]:
        """Results as the world outside sees them: cut off from the tape where it leads to the arguments alone."""
        self._transform.running = False
        return [released(result, self.outer) if isinstance(result, Tensor) else result for result in results]


def released(tensor: Tensor, differentiable: bool = True) -> Tensor:
    """A tensor, cut off from its tape if that leads to nothing that can still have a gradient."""
    if not tensor._rg or (differentiable and _leads_on(tensor)):
        return tensor
    return wrap(tensor._node if tensor._base is None else current(tensor))


def _leads_on(tensor: Tensor) -> bool:
    """Whether somebody may yet differentiate with respect to something that the tensor was computed from."""
    if tensor.grad_fn is None:
        return True
    seen: set[GradNode] = set()
    stack: list[Any] = [tensor.grad_fn]
    while stack:
        grad_fn = stack.pop()
        if grad_fn in seen:
            continue
        seen.add(grad_fn)
        if type(grad_fn) is Entry and grad_fn.transform.running:
            return True
        for edge in (grad_fn.outer,) if type(grad_fn) is Border else grad_fn.edges:
            if edge is not None:
                if isinstance(edge[0], Tensor):
                    return True
                stack.append(edge[0])
    return False


def pullback(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Sequence[Any],
    retain_graph: bool = True,
    create_graph: bool = True,
) -> list[Tensor]:
    """Gradients of some outputs with respect to inputs; zeros for an input that none of them depends on."""
    pairs = [(out, c) for out, c in zip(outputs, cotangents, strict=True) if out.requires_grad]
    if not pairs:
        return [tensor.new_zeros(tensor.shape) for tensor in inputs]
    found = grad(
        [out for out, _ in pairs],
        list(inputs),
        [c for _, c in pairs],
        retain_graph=retain_graph,
        create_graph=create_graph,
        allow_unused=True,
    )
    return [t.new_zeros(t.shape) if g is None else g for t, g in zip(inputs, found, strict=True)]


class Linear:
    """The derivative of some outputs as a linear function of tangents of the inputs.

    The gradient of the inputs is linear in that of the outputs, so its own gradient with respect to the latter is
    the derivative: forward mode by two passes backward.
    """

    def __init__(self, outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
        self.outputs = list(outputs)
        self._places = [i for i, out in enumerate(outputs) if out.requires_grad]
        self._probes = []
        self._pulled: list[Tensor | None] = []
        before = mode.grad
        mode.grad = True
        try:
            used = [self.outputs[i] for i in self._places]
            self._probes = [out.new_zeros(out.shape).requires_grad_() for out in used]
            if used:
                self._pulled = list(grad(used, list(inputs), self._probes, create_graph=True, allow_unused=True))
        finally:
            mode.grad = before

    def __call__(self, tangents: Sequence[Tensor], create_graph: bool = True) -> list[Tensor | None]:
        """Per output its tangent; None for one that depends on no input."""
        found: list[Tensor | None] = [None] * len(self.outputs)
        pairs = [(g, t) for g, t in zip(self._pulled, tangents, strict=True) if g is not None] if self._places else []
        if not pairs:
            return found
        given = grad(
            [g for g, _ in pairs],
            self._probes,
            [t for _, t in pairs],
            retain_graph=True,
            create_graph=create_graph,
            allow_unused=True,
        )
        for i, tangent in zip(self._places, given, strict=True):
            found[i] = tangent
        return found
