"""``vmap``: a function of one example becomes a function of many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from flambeau.func.level import Level
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import check_writable, write
from flambeau.utils._pytree import TreeSpec, broadcast_to_and_flatten, tree_flatten, tree_leaves, tree_unflatten

_RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that maps ``func`` over a dimension of its arguments.

    ``func`` is called once, with tensors that stand for one example each; what it does is then done for all examples
    together.  Tensors that it uses but is not given, and keyword arguments, are the same for every example.

    Args:
        func: takes tensors, or nested structures of them, and returns such.
        in_dims: the dimension to map over, or a structure of them that fits the arguments; None for an argument that
            every example shares.
        out_dims: where the results have the dimension of examples; None for a result that does not depend on them.
        randomness: what a random operation does: ``"error"`` raises, ``"different"`` draws for each example,
            ``"same"`` draws once.
        chunk_size: how many examples to take at a time; all if None.

    Raises:
        ValueError: if the dimensions do not fit the arguments or the results, or sizes differ.
        RuntimeError: if ``func`` wants the value of what stands for an example, writes to a tensor that all share,
            or draws at random where that is an error.

    Example:
        >>> import flambeau as torch
        >>> torch.vmap(torch.dot)(torch.ones(2, 3), torch.tensor([[1., 2, 3], [4, 5, 6]]))
        tensor([ 6., 15.])
    """
    _check_randomness(randomness)
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _check_out_dims(out_dims, func)
        size, dims, leaves, spec = _checked_inputs(in_dims, args, func)
        if chunk_size is None or chunk_size >= size:
            return _mapped(func, size, dims, leaves, spec, out_dims, randomness, kwargs)
        sections = [chunk_size] * (size // chunk_size)
        if size % chunk_size:
            sections.append(size % chunk_size)
        return _mapped_in_chunks(func, sections, dims, leaves, spec, out_dims, randomness, kwargs)

    return wrapped


# ---------------------------------------------------------------- running


def _mapped(
    func: Callable[..., Any],
    size: int,
    dims: list[int | None],
    leaves: list[Any],
    spec: TreeSpec,
    out_dims: Any,
    randomness: str,
    kwargs: dict[str, Any],
) -> Any:
    stacked = [x.movedim(dim, 0) if dim else x for x, dim in zip(leaves, dims, strict=True)]
    level = Level(size, randomness)
    with level.entered():
        given = [x if dim is None else level.lane(x) for x, dim in zip(stacked, dims, strict=True)]
        result = func(*tree_unflatten(given, spec), **kwargs)
        outs, out_spec = tree_flatten(result)
        places = _checked_out_dims(func, result, out_dims, out_spec)
        _check_outputs(level, func, outs, places)
    del result
    written = [i for i, dim in enumerate(dims) if dim is not None and given[i]._writes]
    tensors = [out for out, place in zip(outs, places, strict=True) if place is not None]
    found = level.results(tensors + [given[i] for i in written])
    for i, (new, _) in zip(written, found[len(tensors) :], strict=True):
        check_writable(stacked[i])
        write(stacked[i], new)
    shown = iter(found)
    return tree_unflatten(
        [out if place is None else _placed(*next(shown), size, place) for out, place in zip(outs, places, strict=True)],
        out_spec,
    )


def _placed(result: Tensor, is_stacked: bool, size: int, dim: int) -> Tensor:
    if not is_stacked:
        result = result.expand(size, *result.shape)
    return result if dim == 0 else result.movedim(0, dim)


def _mapped_in_chunks(
    func: Callable[..., Any],
    sections: list[int],
    dims: list[int | None],
    leaves: list[Any],
    spec: TreeSpec,
    out_dims: Any,
    randomness: str,
    kwargs: dict[str, Any],
) -> Any:
    from flambeau.ops.join import cat
    from flambeau.random import default_generator

    state = default_generator.get_state() if randomness == "same" else None
    parts: list[list[Any]] = []
    out_spec = None
    for size, chunk in zip(sections, _chunks(leaves, dims, sections), strict=True):
        if state is not None:
            default_generator.set_state(state)
        outs, out_spec = tree_flatten(_mapped(func, size, dims, chunk, spec, out_dims, randomness, kwargs))
        parts.append(outs)
    assert out_spec is not None
    places = broadcast_to_and_flatten(out_dims, out_spec)
    assert places is not None, "each chunk has checked it"
    joined = [
        column[0] if place is None else cat(column, place)
        for column, place in zip(zip(*parts, strict=True), places, strict=True)
    ]
    return tree_unflatten(joined, out_spec)


def _chunks(leaves: list[Any], dims: list[int | None], sections: list[int]) -> Iterator[list[Any]]:
    start = 0
    for size in sections:
        yield [x if dim is None else x.narrow(dim, start, size) for x, dim in zip(leaves, dims, strict=True)]
        start += size


# ---------------------------------------------------------------- checks


def _check_randomness(randomness: str) -> None:
    if randomness not in _RANDOMNESS:
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")


def name_of(func: Any) -> str:
    """What a function is called in messages."""
    if hasattr(func, "__name__"):
        return func.__name__
    if isinstance(func, functools.partial):
        return f"functools.partial({name_of(func.func)}, ...)"
    return repr(func)


def _checked_inputs(
    in_dims: Any, args: tuple[Any, ...], func: Any
) -> tuple[int, list[int | None], list[Any], TreeSpec]:
    """The number of examples, the dimension of each leaf that counts them, the leaves and their structure."""
    what = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
    if not isinstance(in_dims, int | tuple):
        raise ValueError(
            f"{what}expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}."
        )
    if not args:
        raise ValueError(
            f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to "
            "vmap over a function with no inputs. The latter is unsupported."
        )
    leaves, spec = tree_flatten(args)
    dims = broadcast_to_and_flatten(in_dims, spec)
    if dims is None:
        raise ValueError(
            f"{what}in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{tree_flatten(in_dims)[1]} but inputs has structure {spec}."
        )
    checked = [_checked_dim(what, leaf, dim) for leaf, dim in zip(leaves, dims, strict=True)]
    sizes = [leaf.shape[dim] for leaf, dim in zip(leaves, checked, strict=True) if dim is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    return sizes[0], checked, leaves, spec


def _checked_dim(what: str, leaf: Any, dim: Any) -> int | None:
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(f"{what}Got in_dim={dim} for an input but in_dim must be either an integer dimension or None.")
    if not isinstance(leaf, Tensor):
        raise ValueError(
            f"{what}Got in_dim={dim} for an input but the input is of type {type(leaf)}. We cannot vmap over "
            "non-Tensor arguments, please use None as the respective in_dim"
        )
    if not -leaf.ndim <= dim < leaf.ndim:
        raise ValueError(
            f"{what}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {leaf.ndim} so "
            f"expected in_dim to satisfy -{leaf.ndim} <= in_dim < {leaf.ndim}."
        )
    return dim % leaf.ndim


def _check_out_dims(out_dims: Any, func: Any) -> None:
    for dim in tree_leaves(out_dims):
        if dim is not None and not isinstance(dim, int):
            raise ValueError(
                f"vmap({name_of(func)}, ..., out_dims={out_dims}): `out_dims` must be an int, None or a python "
                "collection of ints representing where in the outputs the vmapped dimension should appear."
            )


def _checked_out_dims(func: Any, result: Any, out_dims: Any, out_spec: TreeSpec) -> list[int | None]:
    """For each result, where its dimension of examples goes."""
    if isinstance(result, Tensor) and isinstance(out_dims, tuple) and len(out_dims) == 1:
        return list(out_dims)
    places = broadcast_to_and_flatten(out_dims, out_spec)
    if places is None:
        raise ValueError(
            f"vmap({name_of(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is not compatible with the structure "
            f"of `outputs`. out_dims has structure {tree_flatten(out_dims)[1]} but outputs has structure {out_spec}."
        )
    return places


def _check_outputs(level: Level, func: Any, outs: list[Any], places: list[int | None]) -> None:
    name = name_of(func)
    for out, place in zip(outs, places, strict=True):
        if place is None:
            if isinstance(out, Tensor) and level.shows(out):
                raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        elif not isinstance(out, Tensor):
            raise ValueError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(out)}. Did you mean to set "
                "out_dims= to None for output?"
            )
