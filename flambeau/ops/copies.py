"""View functions that copy: ``transpose_copy`` and so on."""

from __future__ import annotations

from typing import Any

from flambeau.ops import arrange, shape, slicing, strided, views
from flambeau.ops.cast import CLONE
from flambeau.ops.operator import NAMESPACES, public
from flambeau.tensor.tensor import Tensor


def _copying(name: str, function: Any) -> None:
    def copy(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = function(input, *args, **kwargs)
        return tuple([CLONE(part) for part in found]) if isinstance(found, tuple) else CLONE(found)

    copy.__name__ = copy.__qualname__ = name
    copy.__doc__ = f"What ``{name.removesuffix('_copy')}`` shows, as a copy."
    public(name, out="exact")(copy)


for _name, _function in {
    "alias_copy": arrange.alias,
    "as_strided_copy": strided.as_strided,
    "detach_copy": views.detach,
    "diagonal_copy": strided.diagonal,
    "expand_copy": views.expand,
    "permute_copy": views.permute,
    "select_copy": slicing.select,
    "split_copy": slicing.split,
    "split_with_sizes_copy": slicing.split_with_sizes,
    "squeeze_copy": shape.squeeze,
    "t_copy": views.t,
    "transpose_copy": views.transpose,
    "unbind_copy": slicing.unbind,
    "unfold_copy": strided.unfold,
    "unsqueeze_copy": shape.unsqueeze,
    "view_copy": views.view,
}.items():
    _copying(_name, _function)


@public(method=True, out="exact")
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """What ``narrow`` shows, as a copy."""
    if not input.ndim:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if dim >= input.ndim:
        raise RuntimeError("Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false.")
    return CLONE(slicing.narrow(input, dim, start, length))


@public(out=True)
def slice_copy(input: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Tensor:
    """The range ``start:end:step`` of a dimension, as a copy."""
    return CLONE(slicing.sliced(input, views.wrapped_dim(dim, input.ndim), start, end, step))


@public(out=True)
def view_as_real_copy(input: Tensor) -> Tensor:
    """What ``view_as_real`` shows, as a copy."""
    return CLONE(NAMESPACES["torch"]["view_as_real"](input))


@public(out=True)
def view_as_complex_copy(input: Tensor) -> Tensor:
    """What ``view_as_complex`` shows, as a copy."""
    return CLONE(NAMESPACES["torch"]["view_as_complex"](input))


@public(method=True)
def unsafe_split(input: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Like ``split``; PyTorch does not track its results as views."""
    return tuple([CLONE(part) for part in slicing.split(input, split_size, dim)])


@public(method=True)
def unsafe_split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Like ``split_with_sizes``; PyTorch does not track its results as views."""
    return tuple([CLONE(part) for part in slicing.split_with_sizes(input, split_sizes, dim)])


@public(method=True)
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Like ``chunk``; PyTorch does not track its results as views."""
    return tuple([CLONE(part) for part in slicing.chunk(input, chunks, dim)])
