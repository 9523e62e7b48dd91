"""The backward pass: from factors of some results to the gradients of leaves, or of whatever is wanted."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.anomaly_mode import checked_step
from flambeau.autograd.grad_mode import mode, search
from flambeau.autograd.node import GradNode, edge_of
from flambeau.graph.node import Aval
from flambeau.graph.observer import current as looking
from flambeau.tensor.tensor import Tensor, wrap


def run_backward(
    roots: tuple[Tensor, ...], factors: list[Tensor], retain: bool, create_graph: bool, wanted: Any
) -> list[Tensor | None]:
    """Passes the factors back; accumulates at the leaves, or captures at the wanted tensors."""
    captures: dict[Any, list[tuple[int, int]]] = {}
    for place, tensor in enumerate(wanted or ()):
        target = edge_of(tensor) if tensor.grad_fn is not None else (tensor, 0)
        captures.setdefault(target[0], []).append((target[1], place))  # type: ignore[index]
    captured: list[Tensor | None] = [None] * len(wanted or ())
    starts = [(root.grad_fn, root._output_nr) if root.grad_fn is not None else (root, 0) for root in roots]
    order = _order([source for source, _ in starts])
    useful = _leading_to(captures, order) if wanted is not None else None
    arrived: dict[GradNode, list[Tensor | None]] = {}
    leaves: dict[Tensor, Tensor] = {}
    before = mode.grad, mode.running
    mode.grad, mode.running = create_graph, (order, useful, wanted)
    try:
        for edge, factor in zip(starts, factors, strict=True):
            _deliver(edge, factor, arrived, leaves)
        for grad_fn in order:
            grads = arrived.pop(grad_fn, None)
            if grads is None:
                continue
            if grad_fn.pre_hooks:
                _run_pre_hooks(grad_fn, grads)
            for nr, place in captures.get(grad_fn, ()):
                captured[place] = grads[nr]
            if useful is not None and grad_fn not in useful:
                continue
            found = grad_fn.backward(grads) if not search.on else checked_step(grad_fn, grads)
            if grad_fn.post_hooks:
                found = _run_post_hooks(grad_fn, found, grads)
            for i, edge in enumerate(grad_fn.edges):
                if edge is not None and found[i] is not None:
                    _deliver(edge, _fitted(found[i], grad_fn.input_aval(i), grad_fn), arrived, leaves)
            if not retain:
                grad_fn.release()
        for leaf, total in leaves.items():
            for hook in tuple(leaf._hooks or ()):
                total = _replaced(hook(total), total)
            for _, place in captures.get(leaf, ()):
                captured[place] = total
            if wanted is None:
                accumulate(leaf, total, create_graph)
    finally:
        mode.grad, mode.running = before
    return captured


def _order(starts: list[Any]) -> list[GradNode]:
    """Every step that a gradient may pass, latest recorded first: each then follows all that feed it."""
    seen: set[GradNode] = set()
    stack = [source for source in starts if not isinstance(source, Tensor)]
    while stack:
        grad_fn = stack.pop()
        if grad_fn not in seen:
            seen.add(grad_fn)
            for edge in grad_fn.edges:
                if edge is not None and not isinstance(edge[0], Tensor):
                    stack.append(edge[0])
    return sorted(seen, key=_latest)


def _latest(grad_fn: GradNode) -> int:
    return -grad_fn.seq


def _leading_to(targets: Any, order: list[GradNode]) -> set[GradNode]:
    """Those steps from which a target can be reached."""
    useful: set[GradNode] = set()
    for grad_fn in reversed(order):
        for edge in grad_fn.edges:
            if edge is not None and (edge[0] in targets or edge[0] in useful):
                useful.add(grad_fn)
                break
    return useful


def _deliver(edge: Any, gradient: Tensor, arrived: dict[GradNode, Any], leaves: dict[Tensor, Tensor]) -> None:
    source, nr = edge
    if isinstance(source, Tensor):
        known = leaves.get(source)
        leaves[source] = gradient if known is None else known + gradient
        return
    slots = arrived.get(source)
    if slots is None:
        slots = arrived[source] = [None] * len(source.out_avals())
    known = slots[nr]
    slots[nr] = gradient if known is None else known + gradient


def _fitted(gradient: Tensor, aval: Aval, grad_fn: GradNode) -> Tensor:
    """A gradient in the shape and type of what it belongs to: broadcasting is undone by summing."""
    shape = gradient._node.aval.shape
    if shape != aval.shape:
        gradient = _summed_to(gradient, aval.shape, grad_fn)
    if gradient._node.aval.dtype is not aval.dtype:
        if gradient._node.aval.dtype.is_complex and not aval.dtype.is_complex:
            gradient = gradient.real
        gradient = gradient.to(aval.dtype)
    if gradient._node.aval.device is not aval.device:
        gradient = brought(gradient, aval, f"Function {grad_fn.name()} returned an invalid gradient at index 0")
    return gradient


def brought(gradient: Tensor, aval: Aval, mistake: str) -> Tensor:
    """A gradient on the device of what it belongs to, which may differ if that has no dimensions."""
    if aval.shape:
        raise RuntimeError(f"{mistake} - expected device {aval.device} but got {gradient.device}")
    return gradient.to(aval.device)


def _summed_to(gradient: Tensor, shape: tuple[int, ...], grad_fn: GradNode) -> Tensor:
    have = gradient._node.aval.shape
    extra = len(have) - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, have[extra:], strict=True)):
        raise RuntimeError(
            f"Function {grad_fn.name()} returned an invalid gradient at index 0 - got {list(have)} but expected "
            f"shape compatible with {list(shape)}"
        )
    dims = [i for i in range(len(have)) if i < extra or (shape[i - extra] == 1 and have[i] != 1)]
    if extra and len(dims) == extra:
        return gradient.sum(dims)
    if dims:
        gradient = gradient.sum(dims, keepdim=True)
    return gradient.reshape(shape) if extra else gradient


def _replaced(returned: Any, former: Any) -> Any:
    if returned is None:
        return former
    if not isinstance(returned, Tensor):
        raise TypeError(f"hook returned {type(returned).__name__}, expected a Tensor or None")
    return returned


def _run_pre_hooks(grad_fn: GradNode, grads: list[Tensor | None]) -> None:
    for nr, hook in tuple(grad_fn.pre_hooks or ()):
        if nr is None:
            returned = hook(tuple(grads))
            if returned is not None:
                grads[:] = returned if isinstance(returned, tuple) else (returned,)
        elif grads[nr] is not None:
            grads[nr] = _replaced(hook(grads[nr]), grads[nr])


def _run_post_hooks(grad_fn: GradNode, found: Any, grads: list[Tensor | None]) -> Any:
    for hook in tuple(grad_fn.post_hooks or ()):
        returned = hook(tuple(found), tuple(grads))
        if returned is not None:
            found = returned if isinstance(returned, tuple) else (returned,)
    return found


def accumulate(leaf: Tensor, gradient: Tensor, create_graph: bool = False) -> None:
    """Adds a gradient to a tensor's ``grad``, and calls what waits for that."""
    if looking.observer is not None:
        looking.observer.written(leaf, gradient)
    known = leaf._grad
    if known is None:
        # A box of its own: the same gradient may have gone to other leaves as well.
        kept = wrap(gradient._node)
        if create_graph:
            kept._rg = gradient._rg
            kept._grad_fn = gradient._grad_fn
            kept._output_nr = gradient._output_nr
        leaf._grad = kept
    elif create_graph:
        leaf._grad = known + gradient
    else:
        total = known.detach() + gradient
        known._node = total._node
        known._writes += 1
    for hook in tuple(leaf._post_hooks or ()):
        hook(leaf)
