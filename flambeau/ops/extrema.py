"""Largest and smallest: max, min, amax, amin, aminmax, argmax, argmin."""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.compare import check_ordered, maximum, minimum
from flambeau.ops.operator import INTEGER_RESULT, Operator, operator, public
from flambeau.ops.outs import written
from flambeau.ops.reduce import reduced_dims, reduced_shape, restored
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor

Shape = tuple[int, ...]


def check_not_empty(name: str, shape: Shape, dims: Shape) -> None:
    """Raises where nothing is left to choose from."""
    for d in dims:
        if not shape[d]:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


def check_named(name: str, dim: Any, input: Tensor) -> None:
    """Raises for an empty tensor unless dimensions are named."""
    if not input._node.aval.size and (dim is None or (isinstance(dim, list | tuple) and not dim)):
        raise RuntimeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with "
            "the "
            "'dim' argument."
        )


# ---------------------------------------------------------------- amax, amin


def _extreme_derivative(grad: Tensor, x: Tensor, out: Tensor, dims: Shape, keepdim: bool) -> Tensor:
    shape = x._node.aval.shape
    chosen = x == restored(out, shape, dims, keepdim)
    share = restored(grad, shape, dims, keepdim) / chosen.sum(dims, keepdim=True) if dims else grad
    return share * chosen


def _extreme_rule(x: Aval, *, dims: Shape, keepdim: bool) -> Aval:
    return x.of(reduced_shape(x.shape, dims, keepdim))


def _extreme(name: str, which: str, grad_name: str, samples: Any) -> Operator:
    def kernel(xp: Any, x: Any, *, dims: Shape, keepdim: bool) -> Any:
        return getattr(xp, which)(x, axis=dims, keepdims=keepdim)

    return operator(name, _extreme_rule, kernel, _extreme_derivative, grad_name=grad_name, samples=samples)


AMAX = _extreme("amax", "max", "AmaxBackward0", lambda: [case("amax", T(3, 4), 1), case("amax", T(3, 4), (0, 1), True)])
AMIN = _extreme("amin", "min", "AminBackward0", lambda: [case("amin", T(3, 4), 1), case("amin", T(3, 4), (0, 1), True)])
MAX_ALL = _extreme("max_all", "max", "MaxBackward1", lambda: [case("max", T(3, 4)), case("max", T())])
MIN_ALL = _extreme("min_all", "min", "MinBackward1", lambda: [case("min", T(3, 4)), case("min", T())])


@public(method=True, out="exact")
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The largest element along ``dim``, one dimension or several (all if empty).

    The gradient is shared evenly among equal elements.

    Example:
        >>> import flambeau as torch
        >>> torch.amax(torch.tensor([[1, 5], [3, 2]]), 1)
        tensor([5, 3])
        >>> torch.amax(torch.tensor([[1, 5], [3, 2]]))
        tensor(5)
    """
    check_ordered("max_values_cpu", input)
    check_named("amax", dim, input)
    dims = reduced_dims(dim, input.ndim)
    check_not_empty("amax", input._node.aval.shape, dims)
    return AMAX(input, dims, keepdim)


@public(method=True, out="exact")
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element along ``dim``, one dimension or several (all if empty).

    The gradient is shared evenly among equal elements.

    Example:
        >>> import flambeau as torch
        >>> torch.amin(torch.tensor([[1, 5], [3, 2]]), 0, keepdim=True)
        tensor([[1, 2]])
    """
    check_ordered("min_values_cpu", input)
    check_named("amin", dim, input)
    dims = reduced_dims(dim, input.ndim)
    check_not_empty("amin", input._node.aval.shape, dims)
    return AMIN(input, dims, keepdim)


@public(method=True)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False, out: Any = None) -> Any:
    """The smallest and the largest element along ``dim`` (of all if None).

    Raises:
        RuntimeError: if there is nothing to choose from.
        IndexError: if there is nothing along ``dim``.

    Example:
        >>> import flambeau as torch
        >>> torch.aminmax(torch.tensor([3., 1., 2.])).max
        tensor(3.)
    """
    check_ordered("aminmax_all_cpu" if dim is None else "aminmax_cpu", input)
    shape = input._node.aval.shape
    if dim is None:
        if not input._node.aval.size:
            raise RuntimeError(
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
            )
        dims = reduced_dims(None, len(shape))
    else:
        dims = reduced_dims(dim, len(shape))
        if any_empty := [d for d in dims if not shape[d]]:
            raise IndexError(f"aminmax: Expected reduction dim {any_empty[0]} to have non-zero size.")
    return written(named("aminmax", AMIN(input, dims, keepdim), AMAX(input, dims, keepdim)), out)


# ---------------------------------------------------------------- max, min along a dimension


def _chosen_rule(x: Aval, *, dim: int, keepdim: bool) -> tuple[Aval, Aval]:
    shape = reduced_shape(x.shape, (dim,), keepdim) if x.shape else ()
    return x.of(shape), x.of(shape, dtypes.int64)


def _chosen_derivative(grads: list[Tensor], outs: list[Tensor], x_shape: Shape, dim: int, keepdim: bool) -> Tensor:
    return put_back(grads[0], outs[1], x_shape, dim, keepdim)


def put_back(grad: Tensor, indices: Tensor, shape: Shape, dim: int, keepdim: bool) -> Tensor:
    """The gradient of picking one element along a dimension: the rest gets zero."""
    if not shape:
        return grad
    if not keepdim:
        grad, indices = grad.unsqueeze(dim), indices.unsqueeze(dim)
    return grad.new_zeros(shape).scatter(dim, indices, grad)


def _chosen(name: str, which: str) -> Operator:
    def kernel(xp: Any, x: Any, *, dim: int, keepdim: bool) -> Any:
        if not x.ndim:
            return x, xp.zeros((), xp.int64)
        indices = xp.expand_dims(getattr(xp, which)(x, axis=dim), dim)
        values = xp.take_along_axis(x, indices, axis=dim)
        if not keepdim:
            values, indices = xp.squeeze(values, dim), xp.squeeze(indices, dim)
        return values, indices.astype(xp.int64)

    return operator(
        name,
        _chosen_rule,
        kernel,
        _chosen_derivative,
        samples=lambda: [case(name, T(3, 4), 1), case(name, T(3, 4), 0, keepdim=True), case(name, T(), 0)],
    )


MAX = _chosen("max", "argmax")
MIN = _chosen("min", "argmin")


def _public_extreme(name: str, whole: Operator, along: Operator) -> Any:
    word = "largest" if name == "max" else "smallest"
    pairwise = maximum if name == "max" else minimum

    def extreme(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
        second = dim if other is None else other
        if isinstance(second, Tensor):
            result = pairwise(input, second)
            if out is None:
                return result
            from flambeau.tensor.out import write_out

            return write_out(name, result, out)
        if other is not None:
            raise TypeError(f"{name}(): argument 'other' must be Tensor, not {type(other).__name__}")
        shape = input._node.aval.shape
        check_ordered(f"{name}_all" if dim is None else f"{name}_cpu", input)
        if dim is None:
            if not input._node.aval.size:
                raise RuntimeError(
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                    "dim "
                    "with the 'dim' argument."
                )
            result = whole(input, tuple(range(len(shape))), False)
            if out is None:
                return result
            from flambeau.tensor.out import write_out

            return write_out(name, result, out)
        at = wrapped_dim(dim, len(shape))
        check_not_empty(name, shape, (at,) if shape else ())
        return written(named(name, *along(input, at, bool(keepdim))), out)

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = f"""The {word} element of all; or along ``dim``, with its index; or elementwise of two tensors.

    Forms: ``{name}(input)``, ``{name}(input, dim, keepdim=False) -> (values, indices)``, ``{name}(input, other)``.

    Raises:
        RuntimeError: if there is nothing to choose from.

    Example:
        >>> import flambeau as torch
        >>> torch.{name}(torch.tensor([[1., 5.], [3., 2.]]), 1).indices
        tensor([{"1, 0" if name == "max" else "0, 1"}])
    """
    return public(name, method=True)(extreme)


max = _public_extreme("max", MAX_ALL, MAX)
min = _public_extreme("min", MIN_ALL, MIN)

# ---------------------------------------------------------------- argmax, argmin


def _arg_rule(x: Aval, *, dim: int | None, keepdim: bool) -> Aval:
    if dim is None:
        return x.of((1,) * len(x.shape) if keepdim else (), dtypes.int64)
    return x.of(reduced_shape(x.shape, (dim,), keepdim) if x.shape else (), dtypes.int64)


def _arg(name: str) -> Operator:
    def kernel(xp: Any, x: Any, *, dim: int | None, keepdim: bool) -> Any:
        if not x.ndim:
            return xp.zeros((), xp.int64)
        return xp.asarray(getattr(xp, name)(x, axis=dim, keepdims=keepdim)).astype(xp.int64)

    return operator(
        name,
        _arg_rule,
        kernel,
        INTEGER_RESULT,
        samples=lambda: [case(name, T(3, 4)), case(name, T(3, 4), 1), case(name, T(3, 4), 0, True)],
    )


ARGMAX = _arg("argmax")
ARGMIN = _arg("argmin")


def _public_arg(name: str, op: Operator) -> Any:
    word = "largest" if name == "argmax" else "smallest"

    def position(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
        check_ordered(f"{name}_cpu", input)
        if input.dtype is dtypes.bool_:
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for 'Bool'")
        shape = input._node.aval.shape
        if dim is None:
            if not input._node.aval.size:
                raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
            return op(input, None, bool(keepdim))
        dim = wrapped_dim(dim, len(shape))
        check_not_empty(name, shape, (dim,) if shape else ())
        return op(input, dim, bool(keepdim))

    position.__name__ = position.__qualname__ = name
    position.__doc__ = f"""The index of the {word} element along ``dim``, the first if several are equal.

    Args:
        dim: None for the index into the flattened tensor.
        keepdim: leave the reduced dimension as one.

    Raises:
        IndexError: if there is nothing to choose from.

    Example:
        >>> import flambeau as torch
        >>> torch.{name}(torch.tensor([[1, 5], [3, 2]]), 1)
        tensor([{"1, 0" if name == "argmax" else "0, 1"}])
        >>> torch.{name}(torch.tensor([[1, 5], [3, 2]]))
        tensor({1 if name == "argmax" else 0})
    """
    return public(name, method=True, out="exact")(position)


argmax = _public_arg("argmax", ARGMAX)
argmin = _public_arg("argmin", ARGMIN)
