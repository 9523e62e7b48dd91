"""Other shapes for the same elements, built from view operators."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops.operator import METHODS, NotDifferentiable, labelled, public
from flambeau.ops.pointwise import with_example
from flambeau.ops.samples import T, case
from flambeau.ops.views import RESHAPE, Shape, inferred_shape, reshaped, sizes_of, view_operator, wrapped_dim
from flambeau.tensor.tensor import Tensor, wrap
from flambeau.tensor.views import layout, view_of

# ---------------------------------------------------------------- unsqueeze, squeeze


def _unsqueeze_rule(x: Aval, *, dim: int) -> Aval:
    return x.of((*x.shape[:dim], 1, *x.shape[dim:]))


def _unsqueeze_kernel(xp: Any, x: Any, *, dim: int) -> Any:
    return xp.expand_dims(x, dim)


def _unsqueeze_restride(shape: Shape, strides: Shape, offset: int, dim: int) -> Any:
    step = shape[dim] * strides[dim] if dim < len(shape) else 1
    return (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], step, *strides[dim:]), offset


UNSQUEEZE = view_operator(
    "unsqueeze",
    _unsqueeze_rule,
    _unsqueeze_kernel,
    lambda grad, dim: SQUEEZE(grad, (dim,)),
    scatter=lambda parent, value, dim: SQUEEZE(value, (dim,)),
    restride=_unsqueeze_restride,
    samples=lambda: [case("unsqueeze", T(2, 3), 1), case("unsqueeze", T(), -1)],
)


def _squeeze_rule(x: Aval, *, dims: Shape) -> Aval:
    return x.of(_left(x.shape, dims))


def _left(items: Shape, dims: Shape) -> Shape:
    return tuple([n for i, n in enumerate(items) if i not in dims])


def _squeeze_kernel(xp: Any, x: Any, *, dims: Shape) -> Any:
    return xp.squeeze(x, dims)


SQUEEZE = view_operator(
    "squeeze",
    _squeeze_rule,
    _squeeze_kernel,
    lambda grad, x_shape: RESHAPE(grad, x_shape),
    scatter=lambda parent, value, dims: RESHAPE(value, parent._node.aval.shape),
    restride=lambda shape, strides, offset, dims: (_left(shape, dims), _left(strides, dims), offset),
    samples=lambda: [case("squeeze", T(2, 1, 3)), case("squeeze", T(1, 2, 1), 0), case("squeeze", T(1, 2, 1), (0, 2))],
)


@public(method=True)
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A new dimension of size one at ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(3).unsqueeze(0).shape
        torch.Size([1, 3])
    """
    return view_of(UNSQUEEZE, input, wrapped_dim(dim, len(input._node.aval.shape) + 1))


@public(method=True)
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without dimensions of size one: all of them, or those named.

    Raises:
        RuntimeError: if a dimension is named twice.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(1, 3, 1)
        >>> torch.squeeze(x).shape, torch.squeeze(x, 0).shape, torch.squeeze(x, 1).shape
        (torch.Size([3]), torch.Size([3, 1]), torch.Size([1, 3, 1]))
    """
    shape = input._node.aval.shape
    if dim is None:
        dims = range(len(shape))
    else:
        given = (dim,) if isinstance(dim, int) else dim
        dims = [wrapped_dim(d, len(shape)) for d in given]
        for d in dims:
            if dims.count(d) > 1:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    found = view_of(SQUEEZE, input, tuple(sorted([d for d in dims if shape and shape[d] == 1])))
    return found if dim is None else labelled(found, f"SqueezeBackward{1 if isinstance(dim, int) else 2}")


def _reshapes_in_place(function: Any, example: tuple[str, str]) -> Any:
    """The in-place form of what only changes the shape: the tensor itself becomes the view."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        found = function(self, *args, **kwargs)
        if found is self:
            return self
        become(self, found)
        return self

    method.__name__ = function.__name__ + "_"
    method.__doc__ = with_example(
        f"In-place form of ``{function.__name__}``: the tensor itself takes the new shape.", *example
    )
    return method


def become(tensor: Tensor, view: Tensor) -> None:
    """Makes a tensor show, and be, what a view of it is."""
    from flambeau.tensor.views import layout

    strides, offset = layout(view)
    if tensor._base is None and view._base is tensor:
        _give_up_storage(tensor, view)
    if tensor._base is not None:
        tensor._chain = view._chain
        tensor._node, tensor._grad_fn, tensor._rg, tensor._output_nr = (
            view._node,
            view._grad_fn,
            view._rg,
            view._output_nr,
        )
        tensor._seen = view._seen
        tensor._layout = (strides, offset)
        tensor._base._writes += 1
        tensor._seen = tensor._base._writes
        return
    tensor._node, tensor._grad_fn, tensor._rg, tensor._output_nr = view._node, view._grad_fn, view._rg, view._output_nr
    tensor._layout = (strides, offset)
    tensor._writes += 1


def _give_up_storage(tensor: Tensor, view: Tensor) -> None:
    """Where other tensors look at this one, a box of its own takes its place as their base, and as its own."""
    import gc

    others = [box for box in gc.get_referrers(tensor) if isinstance(box, Tensor) and box._base is tensor]
    if len(others) == 1:
        # Nobody but the view that the tensor is about to become.
        return
    hidden = wrap(tensor._node)
    hidden._rg, hidden._grad_fn, hidden._output_nr = tensor._rg, tensor._grad_fn, tensor._output_nr
    hidden._layout, hidden._writes = tensor._layout, tensor._writes
    for box in (*others, tensor):
        box._base = hidden


public("unsqueeze_", into="", method=True)(
    _reshapes_in_place(unsqueeze, ("torch.zeros(3).unsqueeze_(0).shape", "torch.Size([1, 3])"))
)
public("squeeze_", into="", method=True)(
    _reshapes_in_place(squeeze, ("torch.zeros(1, 3).squeeze_().shape", "torch.Size([3])"))
)


def _transposing() -> None:
    from flambeau.ops.views import t, transpose

    for name, function in {"t_": t, "transpose_": transpose, "swapaxes_": transpose, "swapdims_": transpose}.items():
        example = (f"torch.zeros(2, 3).{name}({'' if function is t else '0, 1'}).shape", "torch.Size([3, 2])")
        public(name, into="", method=True)(_reshapes_in_place(function, example))


_transposing()

# ---------------------------------------------------------------- flatten, unflatten


@public(method=True)
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` as one.

    Raises:
        RuntimeError: if ``start_dim`` comes after ``end_dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 3, 4).flatten(1).shape
        torch.Size([2, 12])
    """
    shape = input._node.aval.shape
    first, last = wrapped_dim(start_dim, len(shape)), wrapped_dim(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return input.reshape(1)
    if first == last:
        return input
    count = 1
    for n in shape[first : last + 1]:
        count *= n
    return reshaped(input, (*shape[:first], count, *shape[last + 1 :]))


@public(method=True)
def ravel(input: Tensor) -> Tensor:
    """All elements as a vector.

    Example:
        >>> import flambeau as torch
        >>> torch.ravel(torch.tensor([[1, 2], [3, 4]]))
        tensor([1, 2, 3, 4])
    """
    return input.contiguous().view(-1)


@public(method=True)
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """A dimension taken apart into several, whose sizes multiply up to it; one may be -1.

    Raises:
        RuntimeError: if the sizes do not multiply up to that of the dimension.

    Example:
        >>> import flambeau as torch
        >>> torch.unflatten(torch.zeros(2, 12), 1, (3, -1)).shape
        torch.Size([2, 3, 4])
    """
    shape = input._node.aval.shape
    dim = wrapped_dim(dim, len(shape))
    sizes = sizes_of((sizes,))
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    n = shape[dim] if shape else 1
    try:
        found = inferred_shape(sizes, (n,))
    except RuntimeError as error:
        if "ambiguous" in str(error) or "inferred" in str(error) or "dimension" in str(error):
            raise RuntimeError(f"unflatten got an unexpected error:\n{error}") from None
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({n}) in the input "
            "tensor"
        ) from None
    return input.view((*shape[:dim], *found, *shape[dim + 1 :]))


# ---------------------------------------------------------------- dimensions in another order


@public(method=True)
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions moved to other places; the rest stay in their order.  A view.

    Raises:
        RuntimeError: if there are not as many places as dimensions, or some occur twice.

    Example:
        >>> import flambeau as torch
        >>> torch.movedim(torch.zeros(2, 3, 5), (0, 1), (2, 0)).shape
        torch.Size([3, 5, 2])
    """
    ndim = input.ndim
    source = (source,) if isinstance(source, int) else tuple(source)
    destination = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError(
            "movedim: Invalid source or destination dims: source ("
            f"{list(source)} dims) should contain the same number of dims as destination ({list(destination)} dims)"
        )
    come = [wrapped_dim(d, ndim) for d in source]
    go = [wrapped_dim(d, ndim) for d in destination]
    for what, dims, given in (("source", come, source), ("destination", go, destination)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{what}` ({list(given)})")
    if not ndim:
        return input.permute(())
    rest = iter([d for d in range(ndim) if d not in come])
    placed = dict(zip(go, come, strict=True))
    return input.permute([placed[i] if i in placed else next(rest) for i in range(ndim)])


@public(method=True)
def moveaxis(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Another name for :func:`movedim`.

    Example:
        >>> import flambeau as torch
        >>> torch.moveaxis(torch.zeros(2, 3, 5), 0, -1).shape
        torch.Size([3, 5, 2])
    """
    return movedim(input, source, destination)


@public(method=True)
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two dimensions exchanged, as ``transpose`` does.

    Example:
        >>> import flambeau as torch
        >>> torch.swapaxes(torch.zeros(2, 3, 5), 0, 2).shape
        torch.Size([5, 3, 2])
    """
    return input.transpose(axis0, axis1)


@public(method=True)
def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged, as ``transpose`` does.

    Example:
        >>> import flambeau as torch
        >>> torch.swapdims(torch.zeros(2, 3, 5), 0, 2).shape
        torch.Size([5, 3, 2])
    """
    return input.transpose(dim0, dim1)


def _atleast(ndim: int) -> Any:
    def apply(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
            return tuple([widened(t) for t in tensors[0]])
        return widened(tensors[0]) if len(tensors) == 1 else tuple([widened(t) for t in tensors])

    def widened(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"atleast_{ndim}d(): expected Tensor, got {type(tensor).__name__}")
        shape = tensor._node.aval.shape
        if len(shape) >= ndim:
            return tensor
        if ndim < 3:
            return tensor.reshape((1,) * (ndim - len(shape)) + shape)
        return tensor.reshape({0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)])

    apply.__name__ = apply.__qualname__ = f"atleast_{ndim}d"
    apply.__doc__ = with_example(
        f"Each tensor with ones put in until it has {ndim} dimension{'s' if ndim > 1 else ''}.",
        f"torch.atleast_{ndim}d(torch.tensor(5)), torch.atleast_{ndim}d(torch.zeros(3)).shape",
        f"(tensor({'[' * ndim}5{']' * ndim}), torch.Size([{('3', '1, 3', '1, 3, 1')[ndim - 1]}]))",
    )
    return public(apply.__name__)(apply)


atleast_1d = _atleast(1)
atleast_2d = _atleast(2)
atleast_3d = _atleast(3)


# ---------------------------------------------------------------- the same bytes, read as another type


def _view_dtype_rule(x: Aval, *, dtype: dtypes.dtype, old: int) -> Aval:
    size, new = x.dtype.itemsize, dtype.itemsize
    if size == new:
        return x.of(dtype=dtype)
    if not x.shape:
        raise RuntimeError(f"self.dim() cannot be 0 to view {x.dtype.title} as {dtype.title} (different element sizes)")
    if size > new:
        return x.of((*x.shape[:-1], x.shape[-1] * (size // new)), dtype)
    ratio = new // size
    if x.shape[-1] % ratio:
        raise RuntimeError(
            f"self.size(-1) must be divisible by {ratio} to view {x.dtype.title} as {dtype.title} (different element "
            f"sizes), but got {x.shape[-1]}"
        )
    return x.of((*x.shape[:-1], x.shape[-1] // ratio), dtype)


def _view_dtype_numpy(xp: Any, x: Any, *, dtype: dtypes.dtype, old: int) -> Any:
    return xp.ascontiguousarray(x).reshape(x.shape).view(dtype.numpy)


def _view_dtype_lax(xp: Any, x: Any, *, dtype: dtypes.dtype, old: int) -> Any:
    from jax import lax

    if x.dtype == dtype.numpy:
        return x
    shape = x.shape
    if x.dtype.kind == "c":
        # XLA reinterprets no complex numbers: their parts lie side by side.
        shape = (*shape[:-1], shape[-1] * 2) if shape else (2,)
        x = xp.stack([x.real, x.imag], axis=-1).reshape(shape)
    if x.dtype == bool:
        x = x.astype(xp.uint8)
    if dtype.is_complex:
        parts = _bits(lax, xp, x, dtype.to_real().numpy)
        return lax.complex(parts[..., 0::2], parts[..., 1::2]).reshape(
            _after(x.shape, x.dtype.itemsize, dtype.itemsize)
        )
    target = xp.uint8 if dtype is dtypes.bool_ else dtype.numpy
    found = _bits(lax, xp, x, target)
    return found != 0 if dtype is dtypes.bool_ else found


def _after(shape: Shape, size: int, new: int) -> Shape:
    return (*shape[:-1], shape[-1] * size // new)


def _bits(lax: Any, xp: Any, x: Any, target: Any) -> Any:
    import numpy as np

    size, new = x.dtype.itemsize, np.dtype(target).itemsize
    if size < new:
        x = x.reshape((*x.shape[:-1], x.shape[-1] * size // new, new // size))
        return lax.bitcast_convert_type(x, target)
    found = lax.bitcast_convert_type(x, target)
    return found.reshape((*x.shape[:-1], x.shape[-1] * (size // new))) if size > new else found


def _view_dtype_restride(shape: Shape, strides: Shape, offset: int, dtype: dtypes.dtype, old: int) -> Any:
    new = dtype.itemsize
    if old == new:
        return shape, strides, offset
    scaled = [step * old // new for step in strides]
    scaled[-1] = 1
    return (*shape[:-1], shape[-1] * old // new), tuple(scaled), offset * old // new


VIEW_DTYPE = view_operator(
    "view_dtype",
    _view_dtype_rule,
    None,
    NotDifferentiable("its elements are the operand's bytes"),
    numpy=_view_dtype_numpy,
    lax=_view_dtype_lax,
    scatter=lambda parent, value, dtype, old: VIEW_DTYPE(value, parent.dtype, dtype.itemsize),
    restride=_view_dtype_restride,
    samples=lambda: [case("Tensor.view_as", T(2, 3, dtype="int64"), T(3, 2, dtype="int64"))],
)


def view_dtype(input: Tensor, dtype: dtypes.dtype) -> Tensor:
    """The bytes of a tensor read as another type; the last dimension grows or shrinks where sizes differ.

    Cut off from differentiation.
    """
    if input.dtype is dtype:
        return input.detach()
    if input.is_conj():
        raise RuntimeError(
            "torch.Tensor.view is not supported for conjugate view tensors when converting to a different dtype."
        )
    # What the shape rule checks is checked before the layout.
    _view_dtype_rule(input._node.aval, dtype=dtype, old=input.dtype.itemsize)
    strides, offset = layout(input)
    old, new = input.dtype.itemsize, dtype.itemsize
    purpose = f"to view {input.dtype.title} as {dtype.title} (different element sizes), but got"
    ratio = max(new // old, 1)
    if offset % ratio:
        raise RuntimeError(f"self.storage_offset() must be divisible by {ratio} {purpose} {offset}")
    if old != new and strides[-1] != 1:
        raise RuntimeError(f"self.stride(-1) must be 1 {purpose} {strides[-1]}")
    for d, step in enumerate(strides[:-1]):
        if step % ratio:
            raise RuntimeError(f"self.stride({d}) must be divisible by {ratio} {purpose} {step}")
    before = mode.grad
    mode.grad = False
    try:
        return view_of(VIEW_DTYPE, input, dtype, old)
    finally:
        mode.grad = before


METHODS["_view_dtype"] = view_dtype
