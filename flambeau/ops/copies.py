"""View functions that copy: ``transpose_copy`` and so on."""

from __future__ import annotations

from typing import Any

from flambeau.ops import arrange, shape, slicing, strided, views
from flambeau.ops.cast import CLONE
from flambeau.ops.operator import NAMESPACES, public
from flambeau.ops.pointwise import with_example
from flambeau.tensor.tensor import Tensor


def _copying(name: str, function: Any, arguments: str, shown: str) -> None:
    def copy(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = function(input, *args, **kwargs)
        return tuple([CLONE(part) for part in found]) if isinstance(found, tuple) else CLONE(found)

    copy.__name__ = copy.__qualname__ = name
    about = f"What ``{name.removesuffix('_copy')}`` shows, as a copy."
    copy.__doc__ = with_example(about, f"torch.{name}({arguments})", shown)
    public(name, out="exact")(copy)


_copying("alias_copy", arrange.alias, "torch.tensor([1, 2])", "tensor([1, 2])")
_copying("as_strided_copy", strided.as_strided, "torch.arange(4), (2,), (3,)", "tensor([0, 3])")
_copying("detach_copy", views.detach, "torch.tensor([1, 2])", "tensor([1, 2])")
_copying("diagonal_copy", strided.diagonal, "torch.tensor([[1, 2], [3, 4]])", "tensor([1, 4])")
_copying("expand_copy", views.expand, "torch.tensor([1]), (3,)", "tensor([1, 1, 1])")
_copying("permute_copy", views.permute, "torch.tensor([[1], [2]]), (1, 0)", "tensor([[1, 2]])")
_copying("select_copy", slicing.select, "torch.tensor([[1, 2], [3, 4]]), 1, 0", "tensor([1, 3])")
_copying("split_copy", slicing.split, "torch.arange(3), 2", "(tensor([0, 1]), tensor([2]))")
_copying("split_with_sizes_copy", slicing.split_with_sizes, "torch.arange(3), (1, 2)", "(tensor([0]), tensor([1, 2]))")
_copying("squeeze_copy", shape.squeeze, "torch.tensor([[1, 2]])", "tensor([1, 2])")
_copying("t_copy", views.t, "torch.tensor([[1], [2]])", "tensor([[1, 2]])")
_copying("transpose_copy", views.transpose, "torch.tensor([[1], [2]]), 0, 1", "tensor([[1, 2]])")
_copying("unbind_copy", slicing.unbind, "torch.tensor([[1, 2], [3, 4]])", "(tensor([1, 2]), tensor([3, 4]))")
_copying("unfold_copy", strided.unfold, "torch.arange(5), 0, 3, 4", "tensor([[0, 1, 2]])")
_copying("unsqueeze_copy", shape.unsqueeze, "torch.tensor([1, 2]), 0", "tensor([[1, 2]])")
_copying("view_copy", views.view, "torch.tensor([[1, 2], [3, 4]]), (4,)", "tensor([1, 2, 3, 4])")


@public(method=True, out="exact")
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """What ``narrow`` shows, as a copy.

    Raises:
        RuntimeError: for a tensor without dimensions, or a dimension that it does not have.

    Example:
        >>> import flambeau as torch
        >>> torch.narrow_copy(torch.arange(5), 0, 1, 3)
        tensor([1, 2, 3])
    """
    if not input.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if dim >= input.ndim:
        raise RuntimeError("Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false.")
    return CLONE(slicing.narrow(input, dim, start, length))


@public(out=True)
def slice_copy(input: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    """The range ``start:end:step`` of a dimension, as a copy.

    Example:
        >>> import flambeau as torch
        >>> torch.slice_copy(torch.arange(5), 0, 1, None, 2)
        tensor([1, 3])
    """
    return CLONE(slicing.sliced(input, views.wrapped_dim(dim, input.ndim), start, end, step))


@public(out=True)
def view_as_real_copy(input: Tensor) -> Tensor:
    """What ``view_as_real`` shows, as a copy.

    Example:
        >>> import flambeau as torch
        >>> torch.view_as_real_copy(torch.tensor([1 + 2j]))
        tensor([[1., 2.]])
    """
    return CLONE(NAMESPACES["torch"]["view_as_real"](input))


@public(out=True)
def view_as_complex_copy(input: Tensor) -> Tensor:
    """What ``view_as_complex`` shows, as a copy.

    Example:
        >>> import flambeau as torch
        >>> torch.view_as_complex_copy(torch.tensor([[1.0, 2.0]]))
        tensor([1.+2.j])
    """
    return CLONE(NAMESPACES["torch"]["view_as_complex"](input))


@public(method=True)
def unsafe_split(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Like ``split``; PyTorch does not track its results as views.

    Example:
        >>> import flambeau as torch
        >>> torch.unsafe_split(torch.arange(3), 2)
        (tensor([0, 1]), tensor([2]))
    """
    return tuple([CLONE(part) for part in slicing.split(input, split_size, dim)])


@public(method=True)
def unsafe_split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Like ``split_with_sizes``; PyTorch does not track its results as views.

    Example:
        >>> import flambeau as torch
        >>> torch.unsafe_split_with_sizes(torch.arange(3), (1, 2))
        (tensor([0]), tensor([1, 2]))
    """
    return tuple([CLONE(part) for part in slicing.split_with_sizes(input, split_sizes, dim)])


@public(method=True)
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Like ``chunk``; PyTorch does not track its results as views.

    Example:
        >>> import flambeau as torch
        >>> torch.unsafe_chunk(torch.arange(4), 2)
        (tensor([0, 1]), tensor([2, 3]))
    """
    return tuple([CLONE(part) for part in slicing.chunk(input, chunks, dim)])
