"""Going back along the tape.

The derivative of each recorded operation is recorded in turn; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.autograd.anomaly_mode import checked_step
from flambeau.autograd.grad_mode import mode, search
from flambeau.autograd.graph import GradientEdge
from flambeau.autograd.node import AccumulateGrad, GradNode, edge_of
from flambeau.graph.node import Aval, Node
from flambeau.graph.observer import current as looking
from flambeau.tensor.tensor import Tensor, wrap


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Adds to the ``grad`` of each leaf the gradient of the sum of ``tensors``.

    Args:
        tensors: what to differentiate.
        grad_tensors: for each a factor of its shape; may be left out for one-element tensors.
        retain_graph: keep what was saved, to go back again; defaults to ``create_graph``.
        create_graph: make the gradients differentiable in turn.
        inputs: the leaves to add to; all if None.

    Raises:
        RuntimeError: if a tensor needs no gradient, is not a scalar and has no factor, or what is
            needed was released by an earlier pass.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1., 2.], requires_grad=True)
        >>> torch.autograd.backward(x * x, grad_tensors=torch.tensor([1., 10.]))
        >>> x.grad
        tensor([ 2., 40.])
    """
    roots = _tensors(tensors)
    factors = _factors(roots, grad_tensors, create_graph)
    wanted = None
    if inputs is not None:
        wanted = _tensors(inputs)
        if not wanted:
            raise RuntimeError("'inputs' argument to backward() cannot be empty")
    retain = create_graph if retain_graph is None else retain_graph
    captured = _run(roots, factors, retain, create_graph, wanted)
    if wanted is not None:
        for tensor, found in zip(wanted, captured, strict=True):
            if found is not None:
                accumulate(tensor, found, create_graph)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Any, ...]:
    """Gradients of the sum of ``outputs`` with respect to each of ``inputs``; no ``grad`` is changed.

    Args:
        outputs, inputs: tensors or sequences of them.
        grad_outputs: for each output a factor of its shape.
        retain_graph, create_graph: as of :func:`backward`.
        allow_unused: give None for an input that no output depends on, instead of raising.
        is_grads_batched: the first dimension of each factor counts factors; the gradients get it too.
        materialize_grads: give zeros for it.

    Raises:
        RuntimeError: if an input does not require a gradient, or was not used.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor(3.0, requires_grad=True)
        >>> torch.autograd.grad(x * x, x)
        (tensor(6.),)
    """
    if is_grads_batched:
        return _grad_of_batch(
            outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused, materialize_grads
        )
    if materialize_grads and allow_unused is False:
        raise ValueError(_NOT_BOTH)
    roots, wanted = _tensors(outputs), _tensors(inputs)
    for i, tensor in enumerate(wanted):
        if not tensor.requires_grad:
            raise RuntimeError(f"One of the differentiated Tensors does not require grad (input {i})")
    factors = _factors(roots, grad_outputs, create_graph)
    retain = create_graph if retain_graph is None else retain_graph
    found = _run(roots, factors, retain, create_graph, wanted)
    if materialize_grads:
        return tuple(
            tensor.new_zeros(tensor.shape) if g is None else g for tensor, g in zip(wanted, found, strict=True)
        )
    if not allow_unused and None in (unused := [None if g is None else 0 for g in found]):
        raise RuntimeError(
            f"The differentiated Tensor at index {unused.index(None)} appears to not have been used in the graph. "
            "Set allow_unused=True if this is the desired behavior."
        )
    return tuple(found)


def _tensors(given: Any) -> tuple[Tensor, ...]:
    """Tensors, or places on the tape, as tensors."""
    several = (given,) if isinstance(given, Tensor | GradientEdge) else given
    return tuple([_at(one) if isinstance(one, GradientEdge) else one for one in several])


def _at(edge: GradientEdge) -> Tensor:
    """Stands for the tensor at a place on the tape, whose values nobody needs."""
    if isinstance(edge.node, AccumulateGrad):
        return edge.node.variable
    tensor = wrap(Node(None, (), edge.node.out_avals()[edge.output_nr]))
    tensor._grad_fn, tensor._output_nr, tensor._rg = edge.node, edge.output_nr, True
    return tensor


def _grad_of_batch(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any,
    retain_graph: bool | None,
    create_graph: bool,
    allow_unused: bool | None,
    materialize_grads: bool,
) -> tuple[Any, ...]:
    """The gradients for each row of the factors, stacked; None, or zeros of its shape, for an unused input."""
    # Imported here: transforms build on the tape.
    from flambeau.func.vmap import vmap

    batches = (grad_outputs,) if grad_outputs is None or isinstance(grad_outputs, Tensor) else tuple(grad_outputs)
    given = [batch for batch in batches if batch is not None]
    if not given:
        raise RuntimeError("grad with is_grads_batched=True needs grad_outputs: their first dimension is the batch's")
    if any(batch.ndim == 0 for batch in given):
        raise ValueError(
            "grad with is_grads_batched=True takes the first dimension of each of grad_outputs as the batch's, but got "
            "a tensor of dimensionality 0"
        )
    if not given[0].shape[0]:
        raise IndexError("grad with is_grads_batched=True needs at least one factor, but grad_outputs have size 0")
    if materialize_grads:
        if allow_unused is False:
            raise ValueError(_NOT_BOTH)
        allow_unused = True
    unused: set[int] = set()

    def one(factors: list[Tensor]) -> list[Tensor]:
        rows = iter(factors)
        all_factors = [None if batch is None else next(rows) for batch in batches]
        found = grad(outputs, inputs, all_factors, retain_graph, create_graph, True, allow_unused)
        unused.update(i for i, g in enumerate(found) if g is None)
        return [g for g in found if g is not None]

    shown = iter(vmap(one)(given))
    wanted = _tensors(inputs)
    # An input that is not used gets zeros of its own shape, as in PyTorch.
    absent = [tensor.new_zeros(tensor.shape) if materialize_grads else None for tensor in wanted]
    return tuple(absent[i] if i in unused else next(shown) for i in range(len(wanted)))


_NOT_BOTH = "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."


def _factors(roots: tuple[Tensor, ...], given: Any, create_graph: bool) -> list[Tensor]:
    # Imported here: operators build on the tape.
    from flambeau.ops.create import FULL

    if given is None or isinstance(given, Tensor):
        given = (given,) * len(roots) if given is None else (given,)
    given = tuple(given)
    if len(given) != len(roots):
        raise RuntimeError(f"got {len(roots)} tensors and {len(given)} gradients")
    factors = []
    for i, (root, factor) in enumerate(zip(roots, given, strict=True)):
        if not root.requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        aval = root._node.aval
        if factor is None:
            if aval.size != 1:
                raise RuntimeError(
                    f"grad can be implicitly created only for scalar outputs (got shape {list(aval.shape)}; reduce it, "
                    "by .sum() or .mean(), or pass gradient=)"
                )
            if aval.dtype.is_complex:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {root.dtype}")
            factor = FULL(1, aval.shape, aval.dtype, aval.device)
        elif tuple(factor.shape) != aval.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {factor.shape} and output[{i}] "
                f"has a shape of {root.shape}."
            )
        elif factor.device is not aval.device:
            factor = _brought(factor, aval, f"invalid gradient at index {i}")
        factors.append(factor)
    return factors


def _run(
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
        gradient = _brought(gradient, aval, f"Function {grad_fn.name()} returned an invalid gradient at index 0")
    return gradient


def _brought(gradient: Tensor, aval: Aval, mistake: str) -> Tensor:
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
