"""Going back along the tape.

The derivative of each recorded operation is recorded in turn; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from flambeau.autograd.backward_pass import accumulate, brought, run_backward
from flambeau.autograd.graph import GradientEdge
from flambeau.autograd.node import AccumulateGrad
from flambeau.graph.node import Node
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
    captured = run_backward(roots, factors, retain, create_graph, wanted)
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
    found = run_backward(roots, factors, retain, create_graph, wanted)
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


@cache
def _full() -> Any:
    # Imported here: operators build on the tape.
    from flambeau.ops.create import FULL

    return FULL


def _factors(roots: tuple[Tensor, ...], given: Any, create_graph: bool) -> list[Tensor]:
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
            factor = _full()(1, aval.shape, aval.dtype, aval.device)
        elif tuple(factor.shape) != aval.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[{i}] has a shape of {factor.shape} and output[{i}] "
                f"has a shape of {root.shape}."
            )
        elif factor.device is not aval.device:
            factor = brought(factor, aval, f"invalid gradient at index {i}")
        factors.append(factor)
    return factors
