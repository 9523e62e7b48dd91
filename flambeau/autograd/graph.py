"""The tape as an object: its nodes and edges, and hooks on what it saves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from flambeau.autograd.grad_mode import mode
from flambeau.autograd.hooks import RemovableHandle
from flambeau.autograd.node import AccumulateGrad, GradNode
from flambeau.tensor.tensor import Tensor

__all__ = [
    "GradientEdge",
    "Node",
    "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks",
    "get_gradient_edge",
    "increment_version",
    "register_multi_grad_hook",
    "save_on_cpu",
    "saved_tensors_hooks",
]

Node = GradNode


class GradientEdge(NamedTuple):
    """A place on the tape: gradients go to result ``output_nr`` of ``node``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor(3., requires_grad=True)
        >>> edge = torch.autograd.graph.get_gradient_edge(x * x)
        >>> edge.node.name(), edge.output_nr
        ('MulBackward0', 0)
    """

    node: Any
    output_nr: int


def get_gradient_edge(tensor: Tensor) -> GradientEdge:
    """Where gradients of a tensor go.

    Raises:
        RuntimeError: if it requires none.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor(3., requires_grad=True)
        >>> y = x * x
        >>> edge = torch.autograd.graph.get_gradient_edge(y)
        >>> del y
        >>> torch.autograd.grad(edge, x)
        (tensor(6.),)
    """
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    if tensor.grad_fn is None:
        return GradientEdge(AccumulateGrad(tensor), 0)
    return GradientEdge(tensor.grad_fn, tensor._output_nr)


def increment_version(tensor: Any) -> None:
    """Counts a write to a tensor, or to each of several, that was made behind the back of autograd.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2)
        >>> before = x._version
        >>> torch.autograd.graph.increment_version(x)
        >>> x._version - before
        1
    """
    for one in (tensor,) if isinstance(tensor, Tensor) else tensor:
        if one._base is None:
            one._writes += 1
        else:
            one._base._writes += 1
            one._seen = one._base._writes


class saved_tensors_hooks:
    """Inside a ``with`` block, has functions pack what the tape saves and unpack it when it is wanted.

    Args:
        pack_hook: ``pack_hook(tensor)`` gives anything to be kept in the tensor's stead.
        unpack_hook: ``unpack_hook(kept)`` gives a tensor with the same values.

    Example:
        >>> import flambeau as torch
        >>> packed = []
        >>> x = torch.ones(2, requires_grad=True)
        >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t, lambda t: t):
        ...     y = x.exp()
        >>> [t.tolist() == y.tolist() for t in packed]
        [True]
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        if mode.refusal is not None:
            raise RuntimeError(mode.refusal)
        self._before = mode.hooks
        mode.hooks = (self.pack_hook, self.unpack_hook)

    def __exit__(self, *exc: object) -> None:
        mode.hooks = self._before


class save_on_cpu(saved_tensors_hooks):
    """Inside a ``with`` block, keeps what the tape saves in the memory of the CPU.

    Args:
        pin_memory: accepted; the memory of the host is all alike here.
        device_type: the accelerator meant.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([2., 3.], requires_grad=True)
        >>> with torch.autograd.graph.save_on_cpu():
        ...     y = (x * x).sum()
        >>> y.backward()
        >>> x.grad
        tensor([4., 6.])
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda tensor: (tensor.device, tensor.cpu()), lambda kept: kept[1].to(kept[0]))


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Inside the block, setting hooks on saved tensors raises a RuntimeError with this message.

    Example:
        >>> import flambeau as torch
        >>> with torch.autograd.graph.disable_saved_tensors_hooks("no hooks here"):
        ...     try:
        ...         with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        ...             pass
        ...     except RuntimeError as error:
        ...         print(error)
        no hooks here
    """
    if mode.hooks is not None:
        raise RuntimeError(error_message)
    before, mode.refusal = mode.refusal, error_message
    try:
        yield
    finally:
        mode.refusal = before


@contextlib.contextmanager
def allow_mutation_on_saved_tensors() -> Iterator[None]:
    """Nothing to allow: what the tape saved is never overwritten.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([2., 3.], requires_grad=True)
        >>> with torch.autograd.graph.allow_mutation_on_saved_tensors():
        ...     y = x.clone()
        ...     z = (y * y).sum()
        ...     _ = y.zero_()
        ...     z.backward()
        >>> x.grad
        tensor([4., 6.])
    """
    yield


class _MultiHandle(RemovableHandle):
    """Takes several hooks off again."""

    def __init__(self, handles: tuple[RemovableHandle, ...]) -> None:
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., None], *, mode: Literal["all", "any"] = "all"
) -> RemovableHandle:
    """Calls a function when the gradients of several tensors have been computed.

    Args:
        tensors: they require gradients.
        fn: with ``mode="all"`` it gets the list of gradients, None for a tensor without, once all that take part in a
            pass are there; with ``mode="any"`` the first of them.

    Returns:
        A handle that takes the hook off.

    Raises:
        ValueError: for another mode.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor(2., requires_grad=True), torch.tensor(3., requires_grad=True)
        >>> handle = torch.autograd.graph.register_multi_grad_hook([x, y], lambda grads: print(grads))
        >>> (x * y).backward()
        [tensor(3.), tensor(2.)]
        >>> handle.remove()
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    waiting = _All(fn, tensors) if mode == "all" else _Any(fn)
    return _MultiHandle(tuple(tensor.register_hook(waiting.hook(i)) for i, tensor in enumerate(tensors)))


class _Any:
    """Calls a function with the first gradient of each pass."""

    def __init__(self, fn: Callable[[Tensor], None]) -> None:
        self._fn = fn
        self._seen: Any = None

    def hook(self, place: int) -> Callable[[Tensor], None]:
        def arrived(gradient: Tensor) -> None:
            if self._seen is not mode.running:
                self._seen = mode.running
                self._fn(gradient)

        return arrived


class _All:
    """Gathers the gradients of each pass and calls a function with them."""

    def __init__(self, fn: Callable[[Sequence[Tensor | None]], None], tensors: Sequence[Tensor]) -> None:
        self._fn = fn
        self._tensors = tensors
        self._seen: Any = None
        self._found: list[Tensor | None] = []
        self._missing = 0

    def hook(self, place: int) -> Callable[[Tensor], None]:
        def arrived(gradient: Tensor) -> None:
            if self._seen is not mode.running:
                self._seen = mode.running
                self._found = [None] * len(self._tensors)
                self._missing = _taking_part(self._tensors)
            self._found[place] = gradient
            self._missing -= 1
            if not self._missing:
                self._fn(self._found)

        return arrived


def _taking_part(tensors: Sequence[Tensor]) -> int:
    """How many of some tensors get a gradient in the pass going back right now."""
    order, useful, wanted = mode.running
    steps = set(order)
    leaves = {edge[0] for step in order for edge in step.edges if edge is not None and isinstance(edge[0], Tensor)}
    count = 0
    for tensor in tensors:
        source = tensor.grad_fn
        if wanted is not None and any(tensor is one for one in wanted):
            count += 1
        elif source is None:
            count += wanted is None and tensor in leaves
        else:
            count += source in steps and (useful is None or source in useful)
    return count
