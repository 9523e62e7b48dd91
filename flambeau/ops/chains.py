"""Products of several matrices: chains of them in the cheapest order, and powers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from flambeau.dtypes import bool_
from flambeau.ops.matmul import MATMUL
from flambeau.ops.operator import inputs_of, public
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn


@public()
def chain_matmul(*matrices: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of matrices in the order that costs least; of one matrix, the matrix itself.

    Raises:
        RuntimeError: if there are none, or one has not two dimensions.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.chain_matmul(torch.ones(10, 100), torch.ones(100, 5), torch.ones(5, 50)).shape)
        torch.Size([10, 50])
    """
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    warn(
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use torch.linalg.multi_dot "
        "instead, which accepts a list of two or more tensors rather than multiple parameters.",
    )
    for matrix in matrices:
        if matrix.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {matrix.ndim}, expected 2 instead.")
    result = matrices[0] if len(matrices) == 1 else multi_dot(list(matrices))
    if out is None:
        return result
    from flambeau.tensor.out import write_out

    return write_out("chain_matmul", result, out)


@public(into="linalg", out="exact")
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of two or more matrices, multiplied in the order that costs least.

    The first and the last may be vectors, a row and a column.  The order comes from dynamic programming over
    the sizes (Cormen et al., Introduction to Algorithms, chapter 15.2).

    Raises:
        RuntimeError: if there are fewer than two, or neighbours do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.multi_dot([torch.ones(10, 100), torch.ones(100, 5), torch.ones(5)]).shape
        torch.Size([10])
    """
    tensors = inputs_of(tensors)
    _check_chain(tensors)
    first, last = tensors[0].ndim == 1, tensors[-1].ndim == 1
    if first:
        tensors[0] = tensors[0].unsqueeze(0)
    if last:
        tensors[-1] = tensors[-1].unsqueeze(1)
    sizes = [tensor.shape[0] for tensor in tensors] + [tensors[-1].shape[1]]
    product = _multiplied(tensors, _best_splits(sizes), 0, len(tensors) - 1)
    if first:
        product = product.squeeze(0)
    return product.squeeze(-1) if last else product


def _check_chain(tensors: list[Tensor]) -> None:
    if len(tensors) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    for place, tensor in (("first", tensors[0]), ("last", tensors[-1])):
        if tensor.ndim not in (1, 2):
            raise RuntimeError(f"multi_dot(): the {place} tensor must be 1D or 2D but got {tensor.ndim}D")
    for i, tensor in enumerate(tensors):
        if 0 < i < len(tensors) - 1 and tensor.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {tensor.ndim}D")
        if tensor.dtype is not tensors[0].dtype:
            words = {"Float": "float", "Double": "double", "Long": "long int"}
            words |= {"BFloat16": "c10::BFloat16", "Half": "c10::Half"}
            one, two = (words.get(t.dtype.title, t.dtype.title) for t in (tensors[0], tensor))
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {one} and tensor {i} {two}"
            )
    for i, (one, two) in enumerate(pairwise(tensors)):
        if one.shape[-1] != two.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(one.shape)} and {list(two.shape)} cannot be "
                "multiplied"
            )


def _best_splits(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split the chain from i to j, matrix i being of ``sizes[i]`` by ``sizes[i + 1]``."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    splits = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], splits[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            )
    return splits


def _multiplied(tensors: list[Tensor], splits: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return tensors[i]
    k = splits[i, j]
    return MATMUL(_multiplied(tensors, splits, i, k), _multiplied(tensors, splits, k + 1, j))


@public(method=True, out="exact")
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices, by repeated squaring; of the inverse if ``n`` is negative.

    Shape: (..., N, N).

    Raises:
        RuntimeError: if the matrices are not square; LinAlgError if ``n`` is negative and one is singular.

    Example:
        >>> import flambeau as torch
        >>> torch.matrix_power(torch.tensor([[1., 1.], [0., 1.]]), 5)
        tensor([[1., 5.],
                [0., 1.]])
    """
    if input.ndim < 2:
        raise RuntimeError("linalg.matrix_power: The input tensor A must have at least 2 dimensions.")
    if input.shape[-1] != input.shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are {input.shape[-2]} by "
            f"{input.shape[-1]} matrices"
        )
    if n == 0:
        from flambeau.ops.linalg import identity

        return input.masked_fill(input.new_ones((), dtype=bool_), 0) + identity(input)
    if n < 0:
        from flambeau.ops.linalg import inv

        input, n = inv(input), -n
    result = None
    while True:
        if n & 1:
            result = input if result is None else MATMUL(result, input)
        n >>= 1
        if not n:
            return result.clone() if result is input else result  # type: ignore[union-attr]
        input = MATMUL(input, input)


@public("matrix_power", into="linalg", out="exact")
def _linalg_matrix_power(A: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices; see :func:`matrix_power`.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.matrix_power(torch.tensor([[2., 0.], [0., 4.]]), -1)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    return matrix_power(A, n)
