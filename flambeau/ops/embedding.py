"""Looking rows up in a table, and what becomes of their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode as grad_mode
from flambeau.engine import target
from flambeau.graph.node import Aval
from flambeau.ops.operator import NotDifferentiable, labelled, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor, from_array

# ---------------------------------------------------------------- what the family shares


def require_indices(name: str, indices: Aval) -> None:
    """Raises as PyTorch does where indices are not of an integer type that can be looked up."""
    if indices.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"torch.{indices.dtype.title}Tensor instead (while checking arguments for {name}) (convert the "
            "indices with .long())"
        )


def check_rows(indices: Tensor, rows: int) -> None:
    """Raises while recording, if the indices are known already, for a row that does not exist."""
    value = indices._node.value
    if type(value) is np.ndarray:
        _check_range(value, rows)


def _check_range(indices: np.ndarray, rows: int) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= rows):
        wrong = indices[(indices < 0) | (indices >= rows)].reshape(-1)[0]
        raise IndexError(f"index out of range in self (row {int(wrong)} of a table of {rows} rows)")


# ---------------------------------------------------------------- embedding


def _embedding_rule(weight: Aval, indices: Aval, *, padding_idx: int, scale_grad_by_freq: bool) -> Aval:
    if len(weight.shape) != 2:
        raise RuntimeError("'weight' must be 2-D")
    require_indices("embedding", indices)
    return weight.of(indices.shape + weight.shape[1:])


def _embedding_numpy(np: Any, weight: Any, indices: Any, **settings: Any) -> Any:
    _check_range(indices, weight.shape[0])
    return weight.take(indices, axis=0)


def _embedding_lax(jnp: Any, weight: Any, indices: Any, **settings: Any) -> Any:
    return jnp.take(weight, indices, axis=0, mode="clip")


def _embedding_derivative(
    grad: Tensor, weight_shape: tuple[int, ...], indices: Tensor, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    return EMBEDDING_BACKWARD(grad, indices, weight_shape[0], padding_idx, scale_grad_by_freq), None


def _embedding_samples() -> list[Any]:
    fn = "nn.functional.embedding"
    long = {"dtype": "int64", "low": 0, "high": 4}
    return [
        case(fn, T(2, 5, **long), T(4, 3)),
        case(fn, T(2, 9, **long), T(4, 3), padding_idx=1, finite=False),
        case(fn, T(9, **long), T(4, 3), scale_grad_by_freq=True, gradgrad=False, finite=False),
        case(fn, T(**long), T(4, 3)),
        case(fn, T(0, **long), T(4, 3)),
        case(fn, T(2, 3, dtype="int32", low=0, high=4), T(4, 3)),
        case("embedding", T(4, 3), T(100, **long)),
    ]


EMBEDDING = operator(
    "embedding",
    _embedding_rule,
    None,
    _embedding_derivative,
    numpy=_embedding_numpy,
    lax=_embedding_lax,
    moves=True,
    samples=_embedding_samples,
)


def _embedding_backward_rule(g: Aval, indices: Aval, *, rows: int, padding_idx: int, scale_grad_by_freq: bool) -> Aval:
    return g.of((rows, g.shape[-1]))


def _embedding_backward_numpy(
    np: Any, g: Any, indices: Any, *, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    columns = g.shape[-1]
    result = np.zeros((rows, columns), g.dtype)
    if indices.size:
        add_rows(np, result, indices.reshape(-1), g.reshape(-1, columns))
    if scale_grad_by_freq:
        counts = np.bincount(indices.reshape(-1), minlength=rows)
        result /= np.maximum(counts, 1).astype(g.dtype)[:, None]
    if padding_idx >= 0:
        result[padding_idx] = 0
    return result


FEW = 8
"""So few rows are summed one after the other."""


def add_rows(np: Any, result: Any, index: Any, rows: Any) -> None:
    """``result[index[i]] = Σ rows[i]``, for a result of zeros.

    Rows are sorted by where they go; then all first ones are written at once, all second ones added, and so on.
    """
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(np.append(starts, len(ordered)))
    by_count = np.argsort(-counts, kind="stable")
    starts, counts = starts[by_count], counts[by_count]
    sums = rows[order[starts]]
    for i in range(1, int(counts[0])):
        left = int(np.searchsorted(-counts, -i, side="left"))
        if left <= FEW:
            # What is left goes to a few rows only, perhaps a great many to each.
            for row in range(left):
                first = starts[row]
                sums[row] += rows[order[first + i : first + counts[row]]].sum(axis=0)
            break
        sums[:left] += rows[order[starts[:left] + i]]
    result[ordered[starts]] = sums


def _added_one_by_one(result: Any, index: Any, rows: Any) -> Any:
    from jax import lax

    def add(i: Any, result: Any) -> Any:
        place = (index[i], np.zeros((), index.dtype))
        row = lax.dynamic_slice(result, place, (1, result.shape[1])) + rows[i]
        return lax.dynamic_update_slice(result, row, place)

    return lax.fori_loop(0, len(index), add, result)


def _embedding_backward_lax(
    jnp: Any, g: Any, indices: Any, *, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Any:
    from jax.lax import dynamic_update_slice

    flat = indices.reshape(-1)
    g = g.reshape(-1, g.shape[-1])
    result = jnp.zeros((rows, g.shape[-1]), g.dtype)
    result = _added_one_by_one(result, flat, g) if target.is_single_kernel() else result.at[flat].add(g)
    if scale_grad_by_freq:
        counts = jnp.zeros(rows, g.dtype).at[flat].add(1)
        result = result / jnp.maximum(counts, 1)[:, None]
    if padding_idx >= 0:
        result = dynamic_update_slice(result, jnp.zeros((1, g.shape[-1]), g.dtype), (padding_idx, 0))
    return result


def _embedding_backward_derivative(grad: Tensor, indices: Tensor, padding_idx: int, scale_grad_by_freq: bool) -> Any:
    if scale_grad_by_freq:
        raise RuntimeError("double backwards is not supported for embedding with scale_grad_by_freq")
    found = EMBEDDING(grad, indices, -1, False)
    if padding_idx >= 0:
        found = found * (indices != padding_idx).unsqueeze(-1)
    return found, None


EMBEDDING_BACKWARD = operator(
    "embedding_backward",
    _embedding_backward_rule,
    None,
    _embedding_backward_derivative,
    numpy=_embedding_backward_numpy,
    lax=_embedding_backward_lax,
    samples=lambda: _embedding_samples()[:2],
)


def _renorm_rule(weight: Aval, indices: Aval, *, max_norm: float, norm_type: float) -> Aval:
    return weight.of()


def _renorm_kernel(xp: Any, weight: Any, indices: Any, *, max_norm: float, norm_type: float) -> Any:
    flat = indices.reshape(-1)
    if xp is np:
        used = np.zeros(weight.shape[0], bool)
        used[flat] = True
    else:
        used = xp.zeros(weight.shape[0], bool).at[flat].set(True)
    norms = _norms(xp, weight, norm_type)
    factor = xp.where(used & (norms > max_norm), max_norm / (norms + 1e-7), xp.ones((), weight.dtype))
    return weight * factor[:, None].astype(weight.dtype)


def _norms(xp: Any, weight: Any, p: float) -> Any:
    size = xp.abs(weight)
    if p == float("inf"):
        return xp.max(size, axis=1)
    if p == 2:
        return xp.sqrt(xp.sum(size * size, axis=1))
    return xp.sum(size**p, axis=1) ** (1.0 / p)


RENORM_ROWS = operator(
    "embedding_renorm",
    _renorm_rule,
    _renorm_kernel,
    NotDifferentiable("it corrects the table in place, outside of differentiation"),
    samples=lambda: [
        case("embedding_renorm_", T(4, 3), T(5, dtype="int64", low=0, high=4), 1.0, 2.0, grad=False, compare=False)
    ],
)


@public()
def embedding_renorm_(self: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> Tensor:
    """Scales down, in place, those of the rows looked up whose norm exceeds ``max_norm``.

    Example:
        >>> import flambeau as torch
        >>> table = torch.tensor([[3.0, 4.0], [30.0, 40.0]])
        >>> torch.embedding_renorm_(table, torch.tensor([0]), 1.0, 2.0)
        tensor([[ 0.6000,  0.8000],
                [30.0000, 40.0000]])
    """
    from flambeau.tensor.views import write

    check_rows(indices, self.shape[0])
    before = grad_mode.grad
    grad_mode.grad = False
    try:
        return write(self, RENORM_ROWS(self, indices, float(max_norm), float(norm_type)))
    finally:
        grad_mode.grad = before


@public("embedding")
def _embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    """Rows of ``weight`` at ``indices``; see ``nn.functional.embedding``.

    Example:
        >>> import flambeau as torch
        >>> torch.embedding(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([[3., 4.],
                [1., 2.]])
    """
    check_rows(indices, weight.shape[0])
    return EMBEDDING(weight, indices, padding_idx, scale_grad_by_freq)


@public(into="nn.functional")
def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: ``weight[input]``.

    Args:
        input: indices, of any shape (*), int64 or int32.
        weight: the table, (V, D).
        padding_idx: a row that gets no gradient.
        max_norm: first scale down, in place, those of the rows looked up whose norm exceeds it.
        norm_type: which norm.
        scale_grad_by_freq: divide a row's gradient by how often it was looked up.
        sparse: accepted; gradients are always dense.

    Shape: the result is (*, D).

    Raises:
        IndexError: for an index out of range.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.embedding(torch.tensor([1, 0]), torch.eye(2))
        tensor([[0., 1.],
                [1., 0.]])
    """
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    rows = weight.shape[0]
    if padding_idx is None:
        padding_idx = -1
    else:
        padding_idx = checked_padding(padding_idx, rows)
    if max_norm is not None:
        embedding_renorm_(weight, input, max_norm, norm_type)
    check_rows(input, rows)
    return EMBEDDING(weight, input, padding_idx, scale_grad_by_freq)


def checked_padding(padding_idx: int, rows: int) -> int:
    """The padding row counted from the front."""
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


# ---------------------------------------------------------------- bags


def _bag_of_rule(offsets: Aval, *, count: int) -> Aval:
    return offsets.of((count,), dtypes.int64)


def _bag_of_kernel(xp: Any, offsets: Any, *, count: int) -> Any:
    return xp.searchsorted(offsets, xp.arange(count), side="right").astype(np.int64) - 1


def _bag_samples() -> list[Any]:
    fn = "nn.functional.embedding_bag"
    long = {"dtype": "int64", "low": 0, "high": 4}
    return [
        case(fn, T(3, 5, **long), T(4, 3), mode="sum"),
        case(fn, T(3, 5, **long), T(4, 3)),
        case(fn, T(3, 5, **long), T(4, 3), mode="max", gradgrad=False),
        case(fn, T(3, 5, **long), T(4, 3), mode="sum", per_sample_weights=T(3, 5), gradgrad=False),
        case(fn, T(3, 5, **long), T(4, 3), padding_idx=1, gradgrad=False),
    ]


BAG_OF = operator(
    "bag_of",
    _bag_of_rule,
    _bag_of_kernel,
    NotDifferentiable("its result is of an integer type"),
    samples=lambda: _bag_samples()[:2],
)


def _bag_largest_rule(x: Aval, bag: Aval, *, bags: int) -> Aval:
    return bag.of((bags, x.shape[1]), dtypes.int64)


def _bag_largest_kernel(xp: Any, x: Any, bag: Any, *, bags: int) -> Any:
    """For each bag and column the first row that holds the largest element; the number of rows where there is none."""
    rows = x.shape[0]
    shape = (bags, x.shape[1])
    if xp is np:
        largest = np.full(shape, -np.inf, x.dtype)
        np.maximum.at(largest, bag, x)
        found = np.full(shape, rows, np.int64)
    else:
        largest = xp.full(shape, -xp.inf, x.dtype).at[bag].max(x)
        found = xp.full(shape, rows, np.int64)
    place = xp.arange(rows, dtype=np.int64)[:, None]
    place = xp.where((x == largest[bag]) & (x != -xp.inf), place, rows)
    if xp is np:
        np.minimum.at(found, bag, place)
        return found
    return found.at[bag].min(place)


BAG_LARGEST = operator(
    "bag_largest",
    _bag_largest_rule,
    _bag_largest_kernel,
    NotDifferentiable("its result is of an integer type"),
    samples=lambda: _bag_samples()[2:3],
)


def _check_offsets(offsets: Tensor, count: int) -> None:
    value = offsets._node.value
    if type(value) is not np.ndarray or not value.size:
        return
    if value[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, "
            f"got {int(value[0])}"
        )
    if value[-1] > count:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {count} but got offsets[-1] of {int(value[-1])}"
        )


@public(into="nn.functional")
def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Rows of a table, summed, averaged or maximized over bags of indices.

    Args:
        input: indices, (B, N) for B bags of N, or all bags in one line.
        weight: the table, (V, D).
        offsets: for indices in one line, where each bag begins.
        mode: ``"sum"``, ``"mean"`` or ``"max"``.
        per_sample_weights: a factor for each index, for sums only.
        include_last_offset: whether the offsets end with the number of indices.
        padding_idx: an index that does not count.
        max_norm, norm_type, scale_grad_by_freq, sparse: as of ``embedding``.

    Shape: the result is (B, D).  An empty bag gives zeros.

    Raises:
        ValueError: if shapes do not fit or the mode is unknown.
        RuntimeError: for an index out of range, and for types that do not fit.

    Example:
        >>> import flambeau as torch
        >>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> torch.nn.functional.embedding_bag(torch.tensor([0, 1, 2]), table, offsets=torch.tensor([0, 2]))
        tensor([[2., 3.],
                [5., 6.]])
        >>> torch.nn.functional.embedding_bag(torch.tensor([[0, 2]]), table, mode="max")
        tensor([[5., 6.]])
    """
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have the "
            f"same shape as the input ({input.shape})"
        )
    if weight.ndim != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.ndim}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' "
            f"(got mode='{mode}')."
        )
    bag, bags = _bags_of(input, offsets, include_last_offset)
    for indices in (input, offsets):
        if indices is not None:
            require_indices("embedding_bag", indices._node.aval)
    if per_sample_weights is not None and per_sample_weights.dtype is not weight.dtype:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 "
            f"'per_sample_weights'; but type torch.{weight.dtype.title}Tensor does not equal "
            f"torch.{per_sample_weights.dtype.title}Tensor (while checking arguments for embedding_bag)"
        )
    rows = weight.shape[0]
    _check_bag_rows(input, rows, mode)
    if max_norm is not None:
        embedding_renorm_(weight, input, max_norm, norm_type)
    padding = -1 if padding_idx is None else checked_padding(padding_idx, rows)
    flat = input.reshape(-1)
    found = EMBEDDING(weight, flat, padding, scale_grad_by_freq)
    if not bags:
        return found[:0]
    counted = (flat != padding).unsqueeze(1)
    if mode == "max":
        return labelled(_largest_of_bags(found, counted, bag, bags), "EmbeddingBagBackward0")
    if per_sample_weights is not None:
        found = found * per_sample_weights.reshape(-1, 1)
    if padding >= 0:
        found = found * counted
    total = EMBEDDING_BACKWARD(found, bag, bags, -1, False)
    if mode == "mean":
        total = total / EMBEDDING_BACKWARD(counted.to(total.dtype), bag, bags, -1, False).clamp(min=1)
    return labelled(total, "EmbeddingBagBackward0")


def bag_statistics(
    weight: Tensor, indices: Tensor, offsets: Tensor, include_last_offset: bool, padding_idx: int | None, largest: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """For each index its bag, for each bag how many of its indices count, and that again.

    Where the ``largest`` are sought, the last is the index that each element of the result came from.
    """
    bag, bags = _bags_of(indices, offsets, include_last_offset)
    padding = -1 if padding_idx is None else checked_padding(padding_idx, weight.shape[0])
    counted = (indices != padding).unsqueeze(1)
    if bags:
        sizes = EMBEDDING_BACKWARD(counted.to(dtypes.float64), bag, bags, -1, False).squeeze(1).to(indices.dtype)
    else:
        sizes = indices.new_zeros((0,))
    bag = bag.to(indices.dtype)
    if not largest:
        return bag, sizes, sizes
    if not indices.shape[0] or not bags:
        return bag, sizes, indices.new_zeros((bags, weight.shape[1]))
    found = EMBEDDING(weight.detach(), indices, padding, False)
    place, there = _largest_places(found, counted, bag, bags)
    return bag, sizes, indices[place * there] * there


def _check_bag_rows(indices: Tensor, rows: int, mode: str) -> None:
    """Raises while recording, if the indices are known already, for a row that does not exist."""
    value = indices._node.value
    if type(value) is not np.ndarray:
        return
    flat = value.reshape(-1)
    wrong = np.flatnonzero((flat < 0) | (flat >= rows))
    if not wrong.size:
        return
    row = int(flat[wrong[0]])
    if mode == "max":
        raise RuntimeError(f"embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {row}")
    raise RuntimeError(f"Index {wrong[0]} of input takes value {row} which is not in the valid range [0, {rows})")


def _bags_of(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Tensor, int]:
    """For each index its bag, and the number of bags."""
    if input.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        bags, size = input.shape
        return from_array(np.repeat(np.arange(bags), size), device=input.device), bags
    if input.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.ndim}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    count = input.shape[0]
    _check_offsets(offsets, count)
    bags = offsets.shape[0]
    if include_last_offset:
        if not bags:
            raise RuntimeError("include_last_offset: number of offset should be at least 1")
        bags -= 1
        offsets = offsets[:bags]
    return BAG_OF(offsets, count), bags


def _largest_of_bags(found: Tensor, counted: Tensor, bag: Tensor, bags: int) -> Tensor:
    if not found.shape[0]:
        return EMBEDDING_BACKWARD(found, bag, bags, -1, False)
    place, there = _largest_places(found, counted, bag, bags)
    return found.gather(0, place * there) * there


def _largest_places(found: Tensor, counted: Tensor, bag: Tensor, bags: int) -> tuple[Tensor, Tensor]:
    """The row of the largest element of each bag and column, and whether there is one."""
    place = BAG_LARGEST(found.masked_fill(~counted, float("-inf")).detach(), bag, bags)
    return place, place < found.shape[0]
