"""Writing whole tensors: copy_, fill_, zero_, resize_, set_."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops.index import fitted, written_over
from flambeau.ops.numbers import fitting
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.samples import T, case
from flambeau.ops.views import sizes_of
from flambeau.tensor.tensor import Tensor, current
from flambeau.tensor.views import check_writable, layout, write


@public(into="", method=True)
def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Writes another tensor's values, broadcast and converted, into this one.

    Raises:
        RuntimeError: if the other's shape does not broadcast to this one's.
        TypeError: if it is no tensor.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 2).copy_(torch.tensor([1., 2.]))
        tensor([[1., 2.],
                [1., 2.]])
    """
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    check_writable(input)
    if src is input:
        return input
    value = src.to(device=input.device, dtype=input.dtype)
    return write(input, written_over(input, _broadcast(value, input)))


def _broadcast(value: Tensor, like: Tensor) -> Tensor:
    have, shape = value._node.aval.shape, like._node.aval.shape
    if len(have) > len(shape):
        raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast shape {list(have)}")
    try:
        return fitted(value, shape)
    except RuntimeError:
        at = next(i for i in range(1, len(have) + 1) if have[-i] not in (1, shape[-i]))
        raise RuntimeError(
            f"The size of tensor a ({shape[-at]}) must match the size of tensor b ({have[-at]}) at non-singleton "
            "dimension "
            f"{len(shape) - at}"
        ) from None


@public()
def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor like ``input``, filled with one value.  A copy.

    Example:
        >>> import flambeau as torch
        >>> torch.fill(torch.zeros(2), 7)
        tensor([7., 7.])
    """
    return _filled(input, value)


def _filled(input: Tensor, value: Any) -> Tensor:
    from flambeau.ops.create import FULL

    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with {value.ndim} dimensions."
            )
        value = value.to(input.device)
    else:
        value = fitting(value, input.dtype, reduced=False)
    if mode.grad and input._rg:
        return FILL(input, value)
    aval = input._node.aval
    return FULL(value, aval.shape, aval.dtype, aval.device)


def _fill_rule(x: Aval, value: Aval) -> Aval:
    return x.of()


def _fill_kernel(xp: Any, x: Any, value: Any) -> Any:
    from flambeau.engine.kernels import converted

    return xp.broadcast_to(converted(value, x.dtype, xp), x.shape)


def _fill_derivative(grad: Tensor, needs: tuple[bool, ...]) -> Any:
    return grad.new_zeros(()).expand(grad.shape), grad.sum() if needs[1] else None


FILL = operator(
    "fill", _fill_rule, _fill_kernel, _fill_derivative, moves=True, samples=lambda: [case("fill", T(2, 3), 1.5)]
)
"""Keeps a tensor's place in differentiation, though its gradient is zero."""


@public("fill_", into="torch", method=True)
def fill_(input: Tensor, value: Any) -> Tensor:
    """Fills the tensor with one value: a number or a tensor without dimensions.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, 2)
        >>> _ = torch.fill_(x[0], 7.)
        >>> x
        tensor([[7., 7.],
                [0., 0.]])
    """
    check_writable(input)
    return write(input, labelled(_filled(input, value), f"FillBackward{3 if isinstance(value, Tensor) else 2}"))


@public("zero_", into="torch", method=True)
def zero_(input: Tensor) -> Tensor:
    """Fills the tensor with zeros.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, 2)
        >>> _ = torch.zero_(x[:, 0])
        >>> x
        tensor([[0., 1.],
                [0., 1.]])
    """
    check_writable(input)
    return write(input, labelled(_filled(input, 0), "ZeroBackward0"))


@public(into="", method=True)
def resize_(input: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Gives the tensor another shape over the same storage, which grows if it must (with zeros).

    Raises:
        RuntimeError: if the tensor requires a gradient, or a size is negative.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1, 2, 3, 4]).resize_(3)
        tensor([1, 2, 3])
    """
    wanted = sizes_of(sizes)
    for n in wanted:
        if n < 0:
            raise RuntimeError(f"requested resize to {list(wanted)} has a negative dimension")
    if input._rg:
        raise RuntimeError("cannot resize variables that require grad")
    if wanted == input._node.aval.shape:
        return input
    if input._base is not None:
        from flambeau.ops.strided import as_strided_
        from flambeau.tensor.views import contiguous_strides

        return as_strided_(input, wanted, contiguous_strides(wanted), layout(input)[1])
    count = 1
    for n in wanted:
        count *= n
    flat = input.detach().clone().reshape(-1)
    have = input._node.aval.size
    if count > have:
        from flambeau.ops.join import cat

        flat = cat([flat, flat.new_zeros((count - have,))])
    _adopt(input, flat[:count].reshape(wanted).clone())
    return input


@public("resize_as_", method=True)
def resize_as_(input: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """Gives the tensor the shape of another, over the same storage.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1, 2, 3, 4])
        >>> torch.resize_as_(x, torch.zeros(2, 2))
        tensor([[1, 2],
                [3, 4]])
    """
    return resize_(input, tuple(the_template.shape))


def _adopt(input: Tensor, new: Tensor) -> None:
    """Makes a tensor show what another shows, whatever its shape and type."""
    input._node = new._node if new._base is None else current(new)
    input._layout = None
    input._base = None
    input._chain = ()
    input._writes += 1


@public(into="", method=True)
def set_(input: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Makes the tensor show the elements of another: from then on both share them.

    Raises:
        RuntimeError: if the types differ.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2)
        >>> _ = x.set_(torch.tensor([5., 7., 9.]))
        >>> x
        tensor([5., 7., 9.])
    """
    from flambeau.ops.storage import UntypedStorage
    from flambeau.ops.strided import as_strided
    from flambeau.ops.views import ALIAS
    from flambeau.tensor.views import contiguous_strides, view_of

    if source is None:
        _adopt(input, input.new_empty((0,)))
        return input
    if isinstance(source, UntypedStorage):
        source = source.elements()
    if source.dtype is not input.dtype:
        raise RuntimeError(f"Could not set tensor of type {source.dtype.name} to a tensor of type {input.dtype.name}")
    if size is None:
        shown = view_of(ALIAS, source)
    else:
        size = sizes_of((size,))
        shown = as_strided(source, size, contiguous_strides(size) if stride is None else stride, storage_offset)
    input._node, input._base, input._chain, input._seen = shown._node, shown._base, shown._chain, shown._seen
    input._layout = layout(shown)
    return input


@public(into="", method=True)
def share_memory_(input: Tensor) -> Tensor:
    """The tensor itself: its values reach other processes by copying.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1., 2.]).share_memory_()
        tensor([1., 2.])
    """
    return input


@public(into="", method=True)
def is_shared(input: Tensor) -> bool:
    """Whether its values lie in memory shared between processes.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2).is_shared()
        False
    """
    return False


@public(into="", method=True)
def is_pinned(input: Tensor, device: Any = None) -> bool:
    """Whether its values lie in memory that an accelerator reads from directly: never.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2).is_pinned()
        False
    """
    return False


@public(into="", method=True)
def pin_memory(input: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: XLA moves values to an accelerator through memory of its own.

    Raises:
        RuntimeError: if there is no accelerator.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2)
        >>> if torch.cuda.is_available():
        ...     x = x.pin_memory().to("cuda", non_blocking=True)
    """
    from flambeau.engine import accelerators

    if not any(accelerators.available(kind) for kind in ("cuda", "tpu")):
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return input


@public(into="", method=True)
def record_stream(input: Tensor, s: Any) -> None:
    """Accepted for a tensor on an accelerator: its values are kept until all work that reads them is done.

    Raises:
        NotImplementedError: for any other tensor.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.zeros(2, device="cuda").record_stream(torch.cuda.current_stream())
    """
    if input.device.type not in ("cuda", "tpu"):
        raise NotImplementedError(
            f"Could not run 'aten::record_stream' with arguments from the '{input.device.type.upper()}' backend."
        )


@public(into="", method=True)
def module_load(input: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What ``load_state_dict`` puts in the place of this tensor where it swaps tensors: a tensor of its own.

    Args:
        assign: whether that is ``other`` as it is, instead of this tensor with the other's values.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2).module_load(torch.tensor([1., 2.]))
        tensor([1., 2.])
    """
    return other.detach() if assign else copy_(input, other).detach()


@public(into="", method=True)
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether two tensors show the same elements of the same storage in the same way.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2)
        >>> x.is_set_to(x.view(2)), x.is_set_to(x.clone())
        (True, False)
    """
    same = (input if input._base is None else input._base) is (tensor if tensor._base is None else tensor._base)
    return same and input.shape == tensor.shape and layout(input) == layout(tensor) and input.dtype is tensor.dtype
