"""View operators: results that share their elements with the operand.

Each has, beside the parts of every operator, its inverse ``scatter(parent, value, *attrs)``, the parent
with the viewed elements replaced, and ``restride(shape, strides, offset, *attrs)``, the bookkeeping of
its layout.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import index, methodcaller
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.graph.op import Call
from flambeau.layouts import contiguous_format
from flambeau.ops.operator import NotDifferentiable, Operator, labelled, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import OPERATORS, SHAPES_KEPT, contiguous_strides, is_contiguous, layout, view_of

Shape = tuple[int, ...]


def view_operator(
    name: str,
    rule: Callable[..., Any],
    kernel: Callable[..., Any] | None,
    derivative: Any,
    *,
    scatter: Callable[..., Tensor],
    restride: Callable[..., Any],
    samples: Callable[[], list[Any]],
    **options: Any,
) -> Operator:
    """Registers an operator whose result is a view."""
    op = operator(name, rule, kernel, derivative, samples=samples, moves=True, **options)
    op.scatter = scatter  # type: ignore[attr-defined]
    op.restride = restride  # type: ignore[attr-defined]
    OPERATORS[name] = op
    return op


def wrapped_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the front; IndexError, as PyTorch words it, when out of range."""
    if type(dim) is not int:
        if not hasattr(dim, "__index__"):
            raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
        dim = index(dim)
    limit = ndim if ndim else 1
    if not -limit <= dim < limit:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})")
    return dim + limit if dim < 0 else dim


def given_or_named(name: str, argument: str, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
    """The sizes or dimensions that a function was given one by one, or by the name of the argument."""
    for known in named:
        if known != argument:
            raise TypeError(f"{name}() got an unexpected keyword argument '{known}'")
    return (named[argument],) if named else given


def sizes_of(args: tuple[Any, ...], name: str = "", argument: str = "size") -> tuple[int, ...]:
    """Sizes given one by one, or as one sequence, to a function of some name."""
    given = tuple(args[0]) if len(args) == 1 and isinstance(args[0], Sequence) else args
    try:
        return tuple(map(index, given))
    except TypeError:
        raise TypeError(f"{name and name + '(): '}argument '{argument}' {_no_sizes(args, given)}") from None


def _no_sizes(args: tuple[Any, ...], given: tuple[Any, ...]) -> str:
    """What is wrong with sizes that are no integers."""
    if len(args) == 1 and (given is args or isinstance(args[0], str)):
        return f"(position 1) must be tuple of ints, not {type(args[0]).__name__}"
    i, kind = next((i, type(n).__name__) for i, n in enumerate(given) if not hasattr(n, "__index__"))
    if i == 0:
        return f"(position 1) must be tuple of ints, but found element of type {kind} at pos 0"
    return f'failed to unpack the object at pos {i + 1} with error "type must be tuple of ints,but got {kind}"'


# ---------------------------------------------------------------- detach


def _detach_rule(x: Aval) -> Aval:
    return x.of()


def _detach_kernel(xp: Any, x: Any) -> Any:
    return x


DETACH = view_operator(
    "detach",
    _detach_rule,
    _detach_kernel,
    NotDifferentiable("detach cuts differentiation off"),
    scatter=lambda parent, value: value,
    restride=lambda shape, strides, offset: (shape, strides, offset),
    samples=lambda: [case("detach", T(2, 3), grad=False)],
)


@public(method=True)
def detach(input: Tensor) -> Tensor:
    """The same elements, cut off from differentiation.  Shares memory with ``input``.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2, requires_grad=True).detach().requires_grad
        False
    """
    before = mode.grad
    mode.grad = False
    try:
        return view_of(DETACH, input)
    finally:
        mode.grad = before


# ---------------------------------------------------------------- alias

ALIAS = view_operator(
    "alias",
    _detach_rule,
    _detach_kernel,
    lambda grad: grad,
    scatter=lambda parent, value: value,
    restride=lambda shape, strides, offset: (shape, strides, offset),
    samples=lambda: [case("Tensor.view_as", T(2, 3), T(2, 3))],
)


@public(into="", method=True)
def as_subclass(input: Tensor, cls: type[Tensor]) -> Any:
    """The same elements as a tensor of another class, without calling its constructor.  A view.

    Raises:
        TypeError: if the class is no class of tensors.

    Example:
        >>> import flambeau as torch
        >>> class Image(torch.Tensor): pass
        >>> type(torch.ones(2).as_subclass(Image)).__name__
        'Image'
    """
    if not isinstance(cls, type) or not issubclass(cls, Tensor):
        raise TypeError(
            "Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. Make sure your "
            "class inherits from Tensor."
        )
    result = view_of(ALIAS, input)
    result.__class__ = cls
    return result


# ---------------------------------------------------------------- view


def _view_rule(x: Aval, *, shape: Shape) -> Aval:
    return x.of(shape)


def _view_kernel(xp: Any, x: Any, *, shape: Shape) -> Any:
    return xp.reshape(x, shape)


def _by_method(name: str, param: str) -> Callable[[Call], Any]:
    """What NumPy does in a call that a method of arrays answers."""

    def fitted(call: Call) -> Any:
        (aval,) = call.inputs
        # A value without dimensions may be a scalar, of a type that has no such method.
        return methodcaller(name, call.params[param]) if aval is not None and aval.shape else None

    return fitted


def _view_derivative(grad: Tensor, x_shape: Shape) -> Tensor:
    return RESHAPE(grad, x_shape)


@lru_cache(SHAPES_KEPT)
def viewed_strides(old: Shape, strides: Shape, new: Shape) -> Shape | None:
    """Strides under which elements so laid out read as another shape without moving, if there are any."""
    count = 1
    for n in old:
        count *= n
    if count == 0:
        return strides if old == new else contiguous_strides(new)
    result = [0] * len(new)
    at = len(new) - 1
    chunk_base = strides[-1] if old else 1
    tensor_count = view_count = 1
    for d in range(len(old) - 1, -1, -1):
        tensor_count *= old[d]
        if d == 0 or (old[d - 1] != 1 and strides[d - 1] != tensor_count * chunk_base):
            while at >= 0 and (view_count < tensor_count or new[at] == 1):
                result[at] = view_count * chunk_base
                view_count *= new[at]
                at -= 1
            if view_count != tensor_count:
                return None
            if d > 0:
                chunk_base = strides[d - 1]
                tensor_count = view_count = 1
    while at >= 0:
        result[at] = 1 if not old else chunk_base
        at -= 1
    return tuple(result)


def _view_restride(old: Shape, strides: Shape, offset: int, shape: Shape) -> Any:
    found = viewed_strides(old, strides, shape)
    assert found is not None, "view() checked that the layout allows it"
    return shape, found, offset


RESHAPE = view_operator(
    "view",
    _view_rule,
    _view_kernel,
    _view_derivative,
    scatter=lambda parent, value, shape: RESHAPE(value, parent._node.aval.shape),
    restride=_view_restride,
    samples=lambda: [
        case("Tensor.view", T(2, 6), 3, 4),
        case("Tensor.view", T(2, 6), -1),
        case("Tensor.view", T(0, 3), 3, 0),
    ],
)
RESHAPE.fitted = _by_method("reshape", "shape")


@lru_cache(SHAPES_KEPT)
def inferred_shape(shape: Shape, have: Shape) -> Shape:
    """A shape with its -1, if there is one, worked out from the number of elements."""
    count = 1
    for n in have:
        count *= n
    known = 1
    unknown = None
    for i, n in enumerate(shape):
        if n == -1:
            if unknown is not None:
                raise RuntimeError("only one dimension can be inferred")
            unknown = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n} at index {i} of shape {list(shape)}")
        else:
            known *= n
    if unknown is not None:
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of {count} elements into shape {list(shape)} because the unspecified "
                f"dimension size -1 can be any value and is ambiguous"
            )
        if count % known == 0:
            return shape[:unknown] + (count // known,) + shape[unknown + 1 :]
    if known != count or unknown is not None:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    return shape


def _rests(input: Tensor) -> bool:
    """Whether its strides may be other than those of a fresh tensor."""
    return input._base is not None or input._layout is not None


@public(into="", method=True)
def view(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape; one size may be -1.  Also ``view(dtype)``, reading the bytes anew.

    Raises:
        RuntimeError: if the sizes do not fit, or the layout would need a copy (use ``reshape``).

    Example:
        >>> import flambeau as torch
        >>> torch.arange(6).view(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    if len(shape) == 1 and isinstance(shape[0], dtypes.dtype):
        return input._view_dtype(shape[0])
    wanted = inferred_shape(sizes_of(shape, "view"), input._node.aval.shape)
    if _rests(input) and viewed_strides(input._node.aval.shape, layout(input)[0], wanted) is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return view_of(RESHAPE, input, wanted)


@public(method=True)
def reshape(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The same elements in another shape: a view where the layout allows, else a copy.

    Args:
        shape: the sizes; one may be -1.

    Raises:
        RuntimeError: if the sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(4).reshape(2, -1)
        tensor([[0, 1],
                [2, 3]])
    """
    sizes = sizes_of(given_or_named("reshape", "shape", shape, named), "reshape", "shape")
    return reshaped(input, sizes)


def reshaped(input: Tensor, sizes: Shape) -> Tensor:
    """The same elements in another shape: a view where the layout allows, else a copy."""
    wanted = inferred_shape(sizes, input._node.aval.shape)
    if _rests(input) and viewed_strides(input._node.aval.shape, layout(input)[0], wanted) is None:
        return RESHAPE(input, wanted)
    return view_of(RESHAPE, input, wanted)


# ---------------------------------------------------------------- permute


def _permute_rule(x: Aval, *, dims: Shape) -> Aval:
    return x.of(tuple([x.shape[d] for d in dims]))


def _permute_kernel(xp: Any, x: Any, *, dims: Shape) -> Any:
    return xp.transpose(x, dims)


def _inverse(dims: Shape) -> Shape:
    back = [0] * len(dims)
    for i, d in enumerate(dims):
        back[d] = i
    return tuple(back)


def _permute_derivative(grad: Tensor, dims: Shape) -> Tensor:
    return PERMUTE(grad, _inverse(dims))


PERMUTE = view_operator(
    "permute",
    _permute_rule,
    _permute_kernel,
    _permute_derivative,
    scatter=lambda parent, value, dims: PERMUTE(value, _inverse(dims)),
    restride=lambda shape, strides, offset, dims: (
        tuple(shape[d] for d in dims),
        tuple(strides[d] for d in dims),
        offset,
    ),
    grad_name=lambda call: "PermuteBackward0",
    samples=lambda: [case("permute", T(2, 3, 4), (2, 0, 1)), case("permute", T(2, 3), (-1, 0))],
)


@public(method=True)
def permute(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """Dimensions in another order.

    Raises:
        RuntimeError: if ``dims`` is not an order of all dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.permute(torch.zeros(2, 3, 5), (2, 0, 1)).shape
        torch.Size([5, 2, 3])
    """
    ndim = input.ndim
    given = sizes_of(given_or_named("permute", "dims", dims, named))
    if len(given) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {len(given)}"
        )
    wanted = tuple([wrapped_dim(d, ndim) for d in given])
    if len(builtins.set(wanted)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return view_of(PERMUTE, input, wanted)


@public(method=True)
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 3).transpose(0, 1).shape
        torch.Size([3, 2])
    """
    if type(dim0) is not int or type(dim1) is not int:
        dim0, dim1 = wrapped_dim(dim0, input.ndim), wrapped_dim(dim1, input.ndim)
    return view_of(TRANSPOSE, input, _exchanged(len(input._node.aval.shape), dim0, dim1))


@lru_cache(SHAPES_KEPT)
def _exchanged(ndim: int, dim0: int, dim1: int) -> Shape:
    """The order of dimensions in which two have changed places."""
    order = list(range(ndim))
    first, second = wrapped_dim(dim0, ndim), wrapped_dim(dim1, ndim)
    if ndim:
        order[first], order[second] = order[second], order[first]
    return tuple(order)


TRANSPOSE = view_operator(
    "transpose",
    _permute_rule,
    _permute_kernel,
    _permute_derivative,
    scatter=PERMUTE.scatter,  # type: ignore[attr-defined]
    restride=PERMUTE.restride,  # type: ignore[attr-defined]
    samples=lambda: [case("transpose", T(2, 3, 4), 0, -1), case("t", T(2, 3))],
)
PERMUTE.fitted = TRANSPOSE.fitted = _by_method("transpose", "dims")


@public(method=True)
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars as they are.

    Raises:
        RuntimeError: if there are more than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> torch.t(torch.tensor([[1, 2, 3], [4, 5, 6]]))
        tensor([[1, 4],
                [2, 5],
                [3, 6]])
    """
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return labelled(view_of(TRANSPOSE, input, tuple(reversed(range(input.ndim)))), "TBackward0")


# ---------------------------------------------------------------- expand


def _expand_rule(x: Aval, *, shape: Shape) -> Aval:
    return x.of(shape)


def _expand_kernel(xp: Any, x: Any, *, shape: Shape) -> Any:
    return xp.broadcast_to(x, shape)


def _expand_derivative(grad: Tensor) -> Tensor:
    # The engine sums a gradient down to the shape of what it belongs to.
    return grad


def _expand_scatter(parent: Tensor, value: Tensor, shape: Shape) -> Tensor:
    raise AssertionError("writes through expanded views go to the storage places themselves")


def _expand_restride(shape: Shape, strides: Shape, offset: int, new: Shape) -> Any:
    if not shape:
        return new, (0,) * len(new), offset
    extra = len(new) - len(shape)
    found = [0 if n == 1 and m != 1 else stride for n, stride, m in zip(shape, strides, new[extra:], strict=True)]
    for at in range(extra - 1, -1, -1):
        found.insert(0, new[at + 1] * found[0] if new[at] == 1 else 0)
    return new, tuple(found), offset


EXPAND = view_operator(
    "expand",
    _expand_rule,
    _expand_kernel,
    _expand_derivative,
    scatter=_expand_scatter,
    restride=_expand_restride,
    samples=lambda: [case("Tensor.expand", T(3, 1), 2, 3, 4), case("Tensor.expand", T(1, 3), -1, 3)],
)


@public(into="", method=True)
def expand(input: Tensor, *size: Any, implicit: bool = False) -> Tensor:
    """Sizes of one, and new leading dimensions, repeated without copying; -1 keeps a size.

    Raises:
        RuntimeError: if a size other than one would change.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([[1], [2]]).expand(-1, 3)
        tensor([[1, 1, 1],
                [2, 2, 2]])
    """
    have = input._node.aval.shape
    wanted = sizes_of(size, "expand")
    extra = len(wanted) - len(have)
    if extra < 0:
        raise RuntimeError(
            f"expand(torch.{input.dtype.title}Tensor{{{list(have)}}}, size={list(wanted)}): the number of sizes "
            "provided "
            f"({len(wanted)}) must be greater or equal to the number of dimensions in the tensor ({len(have)})"
        )
    sizes = list(wanted)
    # From the last dimension on, as PyTorch names the first that does not fit.
    for i in range(len(wanted) - 1, -1, -1):
        n = wanted[i]
        old = have[i - extra] if i >= extra else None
        if n == -1:
            if old is None:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {i}"
                )
            n = old
        elif old is not None and old not in (1, n):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at non-singleton "
                "dimension "
                f"{i}.  Target sizes: {list(wanted)}.  Tensor sizes: {list(have)}"
            )
        sizes[i] = n
    return view_of(EXPAND, input, tuple(sizes))


def contiguous_copy(input: Tensor) -> Tensor:
    """The tensor itself if its elements lie in order, else a copy."""
    return input if is_contiguous(input) else input.clone(memory_format=contiguous_format)
