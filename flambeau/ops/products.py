"""The named products of matrices and vectors: mm, bmm, mv, dot and their sums with a third operand.

Each checks the number of dimensions that its name promises; the product itself is ``matmul``, so that there
is one derivative and one way to the fast kernels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from flambeau.dtypes import BOOL, FLOATING, INTEGER, result_dtype
from flambeau.graph.node import Aval
from flambeau.graph.op import check_devices
from flambeau.ops.matmul import MATMUL
from flambeau.ops.operator import labelled, operator, public
from flambeau.ops.pointwise import broadcast_shapes, checked_tensor, conj
from flambeau.ops.samples import T, case
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import check_writable, write
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- two operands


@public(method=True, out="exact")
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, (N, K) and (K, M).

    Raises:
        RuntimeError: if an operand is no matrix, or the inner sizes or the types differ.

    Example:
        >>> import flambeau as torch
        >>> torch.mm(torch.ones(2, 3), torch.ones(3, 1))
        tensor([[3.],
                [3.]])
    """
    _matrices(input, mat2)
    return MATMUL(input, mat2)


def _matrices(input: Tensor, mat2: Tensor) -> None:
    checked_tensor("mm", "input", 1, input)
    checked_tensor("mm", "mat2", 2, mat2)
    if input.ndim != 2:
        raise RuntimeError("self must be a matrix")
    if mat2.ndim != 2:
        raise RuntimeError("mat2 must be a matrix")


@public(method=True, out="exact")
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two stacks of matrices, (B, N, K) and (B, K, M), without broadcasting.

    Raises:
        RuntimeError: if an operand does not have three dimensions, or the sizes or the types do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.bmm(torch.tensor([[[1., 2.]], [[3., 4.]]]), torch.tensor([[[1.], [1.]], [[10.], [10.]]]))
        tensor([[[ 3.]],
        <BLANKLINE>
                [[70.]]])
    """
    _stacks(input, mat2)
    return labelled(MATMUL(input, mat2), "BmmBackward0")


def _stacks(batch1: Tensor, batch2: Tensor) -> None:
    for name, batch in (("batch1", batch1), ("batch2", batch2)):
        if batch.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")
    count, _, inner = batch1.shape
    if tuple(batch2.shape[:2]) != (count, inner):
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{count}, {inner}] but got: "
            f"[{batch2.shape[0]}, {batch2.shape[1]}]."
        )
    if batch1.dtype is not batch2.dtype:
        raise RuntimeError(f"expected scalar type {batch1.dtype.title} but found {batch2.dtype.title}")


@public(method=True, out="exact")
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (N, M) and a vector (M).

    Raises:
        RuntimeError: if the operands are not a matrix and a vector, or their sizes do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.mv(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 10.]))
        tensor([21., 43.])
    """
    _matrix_and_vector(1, input, vec)
    return MATMUL(input, vec)


def _matrix_and_vector(added: int, mat: Tensor, vec: Tensor) -> None:
    if mat.ndim != 2 or vec.ndim != 1 or added > 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {added}, {mat.ndim}, {vec.ndim}")
    if mat.shape[1] != vec.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({mat.shape[0]}), mat ({mat.shape[0]}x{mat.shape[1]}), vec ({vec.shape[0]})"
        )


def _vectors(x: Tensor, y: Tensor) -> None:
    if x.ndim != 1 or y.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {x.ndim}D and {y.ndim}D tensors")
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {x.dtype.title} and {y.dtype.title}"
        )
    if x.shape != y.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{x.shape[0]}] and src [{y.shape[0]}] to have the same number "
            f"of elements, but got {x.shape[0]} and {y.shape[0]} elements respectively"
        )


@public(method=True, out="exact")
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """``sum(input * tensor)`` of two vectors; nothing is conjugated.

    Raises:
        RuntimeError: if an operand is no vector, or the sizes or the types differ.

    Example:
        >>> import flambeau as torch
        >>> torch.dot(torch.tensor([1., 2.]), torch.tensor([3., 4.]))
        tensor(11.)
    """
    _vectors(input, tensor)
    return MATMUL(input, tensor)


@public(method=True, out="exact")
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """``sum(conj(input) * other)`` of two vectors.

    Example:
        >>> import flambeau as torch
        >>> torch.vdot(torch.tensor([1j, 2.]), torch.tensor([1j, 3.]))
        tensor(7.+0.j)
    """
    _vectors(input, other)
    return MATMUL(conj(input), other)


@public(method=True, out="exact")
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products over the last dimensions; with a zero-dim operand, the product.

    Shape: (..., K) and (*, K) give (..., *).

    Raises:
        RuntimeError: if the last dimensions or the types differ.

    Example:
        >>> import flambeau as torch
        >>> torch.inner(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 10.]))
        tensor([21., 43.])
    """
    if not input.ndim or not other.ndim:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    if input.dtype is not other.dtype:
        raise RuntimeError("both inputs should have same dtype")
    if input.ndim == other.ndim == 1:
        return dot(input, other)
    size = input.shape[-1]
    rows, columns = input.shape[:-1], other.shape[:-1]
    product = MATMUL(input.reshape(rows.numel(), size), other.reshape(columns.numel(), size).t())
    return product.reshape(tuple(rows) + tuple(columns))


@public("ger", method=True, out=True)
@public(method=True, out=True)
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of ``input`` and one of ``vec2``: (N) and (M) give (N, M).

    Raises:
        RuntimeError: if one is no vector.

    Example:
        >>> import flambeau as torch
        >>> torch.outer(torch.tensor([1., 2.]), torch.tensor([3., 4., 5.]))
        tensor([[ 3.,  4.,  5.],
                [ 6.,  8., 10.]])
    """
    for name, vector in (("self", input), ("vec2", vec2)):
        if vector.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {vector.ndim}-D")
    return input.unsqueeze(1) * vec2


@public(into="linalg", out="exact")
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """``sum(conj(x) * y)`` along ``dim``, broadcast over the rest.

    Shape: those of the operands, broadcast, without ``dim``.

    Raises:
        RuntimeError: if the types differ, or are not floating.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.vecdot(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 10.]))
        tensor([21., 43.])
    """
    for name, vector in (("x", x), ("y", y)):
        _floating_operand("linalg.vecdot", name, vector)
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"linalg.vecdot: Expected x and y to have the same dtype, but found x of type {x.dtype.title} and y of "
            f"type {y.dtype.title} instead"
        )
    return (conj(x) * y).sum(dim)


def _floating_operand(function: str, name: str, tensor: Tensor) -> None:
    checked_tensor(function, name, 1, tensor)
    if tensor.dtype.category < FLOATING:
        raise RuntimeError(
            f"{function}: Expected a floating point or complex tensor as input. Got {tensor.dtype.title}"
        )


@public("matmul", into="linalg", out=True)
def _linalg_matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product; see :func:`flambeau.matmul`.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.matmul(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 10.]))
        tensor([21., 43.])
    """
    return MATMUL(input, other)


# ---------------------------------------------------------------- a product added to a third operand


def _weights(input: Tensor, beta: Any, alpha: Any) -> tuple[Any, Any]:
    """The factors as the type of the result has them."""
    category = input.dtype.category
    if category == BOOL:
        return bool(beta), bool(alpha)
    if category == INTEGER:
        return int(beta), int(alpha)
    return beta, alpha


def _blend(input: Tensor, product: Tensor, beta: Any, alpha: Any) -> Tensor:
    """``beta * input + alpha * product`` where, as in BLAS, a beta of zero hides what ``input`` holds."""
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


def _check_place(name: str, input: Tensor, factor: Tensor) -> None:
    """Raises if a single number to be added is on another device: larger ones are refused where they are added."""
    if not input._node.aval.shape:
        check_devices(name, (input._node.aval, factor._node.aval))


def _expanded(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    have = tuple(input.shape)
    if have == shape:
        return input
    # PyTorch names the last of the dimensions that do not fit.
    for d in range(-1, -min(len(have), len(shape)) - 1, -1):
        if have[d] not in (1, shape[d]):
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[d]}) must match the existing size ({have[d]}) at "
                f"non-singleton dimension {len(shape) + d}.  Target sizes: {list(shape)}.  Tensor sizes: {list(have)}"
            )
    return input.expand(shape)


@public(method=True, inplace=True, out="exact")
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)``.

    Shape: mat1 (N, K), mat2 (K, M); input broadcast to (N, M).

    Raises:
        RuntimeError: if the shapes or the types do not fit.

    Example:
        >>> import flambeau as torch
        >>> torch.addmm(torch.ones(2), torch.tensor([[1., 2.]]), torch.tensor([[3., 4.], [5., 6.]]), beta=100)
        tensor([[113., 116.]])
    """
    for name, mat in (("mat1", mat1), ("mat2", mat2)):
        if mat.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix, got {mat.ndim}-D tensor")
    _check_place("addmm", input, mat1)
    product = MATMUL(mat1, mat2)
    _expanded(input, tuple(product.shape))
    if input.dtype is not mat2.dtype:
        raise RuntimeError(
            f"self and mat2 must have the same dtype, but got {input.dtype.title} and {mat2.dtype.title}"
        )
    beta, alpha = _weights(input, beta, alpha)
    return labelled(_expanded(_blend(input, product, beta, alpha), tuple(product.shape)), "AddmmBackward0")


@public(method=True, inplace=True, out="exact")
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``.

    Shape: mat (N, M), vec (M); input broadcast to (N).

    Raises:
        RuntimeError: if the shapes do not fit or the types differ.

    Example:
        >>> import flambeau as torch
        >>> torch.addmv(torch.ones(2), torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]), alpha=10)
        tensor([31., 71.])
    """
    _check_place("addmv", input, mat)
    _matrix_and_vector(input.ndim, mat, vec)
    if input.shape and input.shape[0] not in (1, mat.shape[0]):
        raise RuntimeError(
            f"size mismatch, got input ({input.shape[0]}), mat ({mat.shape[0]}x{mat.shape[1]}), vec ({vec.shape[0]})"
        )
    if input.dtype is not mat.dtype or input.dtype is not vec.dtype:
        raise RuntimeError(
            f"addmv input tensors must have the same dtype, but got {input.dtype.title}, {mat.dtype.title}, and "
            f"{vec.dtype.title}"
        )
    beta, alpha = _weights(input, beta, alpha)
    return labelled(_blend(input, MATMUL(mat, vec), beta, alpha), "AddmvBackward0")


@public(method=True, out="exact")
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * sum_b batch1[b] @ batch2[b]``.

    Shape: batch1 (B, N, K), batch2 (B, K, M); input broadcast to (N, M).

    Raises:
        RuntimeError: if the shapes do not fit or the types differ.

    Example:
        >>> import flambeau as torch
        >>> torch.addbmm(torch.ones(2), torch.ones(3, 2, 4), torch.ones(3, 4, 2))
        tensor([[13., 13.],
                [13., 13.]])
    """
    _check_place("addbmm", input, batch1)
    _stacks(batch1, batch2)
    count, rows, size = batch1.shape
    columns = batch2.shape[2]
    _expanded(input, (rows, columns))
    if input.dtype is not batch1.dtype:
        raise RuntimeError(
            f"Input dtypes must be the same, got: input {input.dtype.title}, batch1: {batch1.dtype.title}, batch2: "
            f"{batch2.dtype.title}"
        )
    beta, alpha = _weights(input, beta, alpha)
    # The sum over the batch is part of one product.
    left = batch1.permute(1, 0, 2).reshape(rows, count * size)
    result = _blend(input, MATMUL(left, batch2.reshape(count * size, columns)), beta, alpha)
    return labelled(result, "AddbmmBackward0")


@public("addbmm_", into="", method=True)
def _addbmm_in_place(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """In-place form of ``addbmm``, which alone among these lets the tensor grow to the product's shape.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2, 2).addbmm_(torch.ones(3, 2, 4), torch.ones(3, 4, 2))
        tensor([[13., 13.],
                [13., 13.]])
    """
    check_writable(input)
    result = addbmm(input, batch1, batch2, beta=beta, alpha=alpha)
    if result.shape != input.shape and input._base is None:
        input._layout = None
        return write(input, result)
    from flambeau.tensor.methods import assign

    return assign(input, result)


@public(method=True, inplace=True, out="exact")
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2)``.

    Shape: batch1 (B, N, K), batch2 (B, K, M); input broadcast to (B, N, M).

    Raises:
        RuntimeError: if the shapes do not fit or the types differ.

    Example:
        >>> import flambeau as torch
        >>> torch.baddbmm(torch.tensor([1., 2.]), torch.ones(2, 1, 4), torch.ones(2, 4, 2))
        tensor([[[5., 6.]],
        <BLANKLINE>
                [[5., 6.]]])
    """
    if input.dtype is not batch1.dtype or input.dtype is not batch2.dtype:
        raise RuntimeError(
            f"Input dtypes must be the same, got: input {input.dtype.title}, batch1: {batch1.dtype.title}, batch2: "
            f"{batch2.dtype.title}"
        )
    _check_place("baddbmm", input, batch1)
    if batch1.ndim == 3 and batch2.ndim == 3:
        _expanded(input, (batch1.shape[0], batch1.shape[1], batch2.shape[2]))
    _stacks(batch1, batch2)
    beta, alpha = _weights(input, beta, alpha)
    return labelled(_blend(input, MATMUL(batch1, batch2), beta, alpha), "BaddbmmBackward0")


@public(method=True, inplace=True, out=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``.

    Shape: vec1 (N), vec2 (M); input broadcast to (N, M).

    Raises:
        RuntimeError: if one is no vector, or ``input`` does not broadcast to the result.

    Example:
        >>> import flambeau as torch
        >>> torch.addr(torch.ones(2), torch.tensor([1., 2.]), torch.tensor([3., 4.]), alpha=10)
        tensor([[31., 41.],
                [61., 81.]])
    """
    for name, vector in (("vec1", vec1), ("vec2", vec2)):
        if vector.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {vector.ndim}-D")
    _check_place("addr", input, vec1)
    shape = (vec1.shape[0], vec2.shape[0])
    _expanded(input, shape)
    common = result_dtype(tensor._node.aval for tensor in (input, vec1, vec2))
    input, product = input.to(common), (vec1.unsqueeze(1) * vec2).to(common)
    beta, alpha = _weights(input, beta, alpha)
    return labelled(_blend(input, product, beta, alpha), "AddrBackward0")


# ---------------------------------------------------------------- cross, trace, kron, bilinear, vander


def _cross_rule(x: Aval, y: Aval, *, dim: int) -> Aval:
    return x.of(broadcast_shapes(x.shape, y.shape))


def _cross_kernel(xp: Any, x: Any, y: Any, *, dim: int) -> Any:
    x, y = xp.moveaxis(x, dim, 0), xp.moveaxis(y, dim, 0)
    parts = [x[(i + 1) % 3] * y[(i + 2) % 3] - x[(i + 2) % 3] * y[(i + 1) % 3] for i in range(3)]
    return xp.stack(parts, axis=dim)


def _cross_derivative(grad: Tensor, x: Tensor, y: Tensor, dim: int, needs: tuple[bool, ...]) -> Any:
    left = CROSS(conj(y), grad, dim) if needs[0] else None
    return left, CROSS(grad, conj(x), dim) if needs[1] else None


CROSS = operator(
    "cross",
    _cross_rule,
    _cross_kernel,
    _cross_derivative,
    promote="common",
    grad_name="LinalgCrossBackward0",
    samples=lambda: [
        case("cross", T(2, 3), T(2, 3), dim=1),
        case("linalg.cross", T(3, 4), T(3, 1), dim=0),
        case("cross", T(0, 3), T(0, 3), dim=-1),
    ],
)


@public("cross", into="linalg", out="exact")
def _linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three elements along ``dim``, broadcast over the rest.

    Shape: those of the operands, broadcast.

    Raises:
        RuntimeError: if the numbers of dimensions differ, or ``dim`` has not three elements.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.cross(torch.tensor([1., 0., 0.]), torch.tensor([0., 1., 0.]))
        tensor([0., 0., 1.])
    """
    if input.ndim != other.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    at = wrapped_dim(dim, input.ndim)
    if input.shape[at] != 3 or other.shape[at] != 3:
        raise RuntimeError(
            f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[at]} and {other.shape[at]}"
        )
    return CROSS(input, other, at)


@public(method=True, out="exact")
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product along ``dim``; by default, with a warning, along the first dimension of size three.

    Raises:
        RuntimeError: if no dimension has three elements, or that of ``dim`` has not.

    Example:
        >>> import flambeau as torch
        >>> torch.cross(torch.tensor([[1., 0., 0.]]), torch.tensor([[0., 1., 0.]]), dim=1)
        tensor([[0., 0., 1.]])
    """
    if dim is None:
        warn(
            "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly or "
            "simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of linalg.cross "
            "in a future release.",
        )
        dim = next((i for i, n in enumerate(input.shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return _linalg_cross(input, other, dim=dim)


def _trace_rule(x: Aval) -> Aval:
    return x.of(())


def _trace_kernel(xp: Any, x: Any) -> Any:
    return xp.trace(x, dtype=x.dtype)


def _trace_derivative(grad: Tensor, x_shape: tuple[int, ...]) -> Tensor:
    from flambeau.ops.linalg import unit

    return grad * unit(x_shape, grad)


TRACE = operator(
    "trace",
    _trace_rule,
    _trace_kernel,
    _trace_derivative,
    samples=lambda: [case("trace", T(3, 3)), case("trace", T(2, 4)), case("trace", T(0, 3))],
)


@public(method=True)
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix; integers and bools are summed as int64.

    Raises:
        RuntimeError: if it is no matrix.

    Example:
        >>> import flambeau as torch
        >>> torch.trace(torch.tensor([[1, 2], [3, 4]]))
        tensor(5)
    """
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return TRACE(input.long() if input.dtype.category < FLOATING else input)


@public(method=True, out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: each element of ``input`` times all of ``other``, laid out as blocks.

    Shape: (a1, ..., an) and (b1, ..., bn) give (a1 b1, ..., an bn); the shorter shape gets leading ones.

    Example:
        >>> import flambeau as torch
        >>> torch.kron(torch.tensor([1, 10]), torch.tensor([[1, 2], [3, 4]]))
        tensor([[ 1,  2, 10, 20],
                [ 3,  4, 30, 40]])
    """
    ndim = max(input.ndim, other.ndim)
    a = (1,) * (ndim - input.ndim) + tuple(input.shape)
    b = (1,) * (ndim - other.ndim) + tuple(other.shape)
    spread = input.reshape([n for pair in zip(a, (1,) * ndim, strict=True) for n in pair])
    tiled = other.reshape([n for pair in zip((1,) * ndim, b, strict=True) for n in pair])
    return (spread * tiled).reshape([n * m for n, m in zip(a, b, strict=True)])


@public(into="torch nn.functional")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y_o = x1ᵀ W_o x2 + b_o``.

    Shape: input1 (..., in1), input2 (..., in2), weight (out, in1, in2), bias (out); result (..., out).

    Raises:
        RuntimeError: if the shapes do not fit or the types differ.

    Example:
        >>> import flambeau as torch
        >>> x, y = torch.tensor([[1., 2.]]), torch.tensor([[3., 4.]])
        >>> torch.nn.functional.bilinear(x, y, torch.ones(1, 2, 2), bias=torch.tensor([0.5]))
        tensor([[21.5000]])
    """
    if not input1.dtype is input2.dtype is weight.dtype:
        names = [t.dtype.title.lower() for t in (input1, input2, weight)]
        raise RuntimeError(
            f"All tensors must have the same dtype, got input1: {names[0]}, input2: {names[1]}, weight: {names[2]}"
        )
    if input1.ndim != input2.ndim:
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}")
    for i in range(input1.ndim - 1):
        if input1.shape[i] != input2.shape[i]:
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {i}: got {input1.shape[i]} and "
                f"{input2.shape[i]}"
            )
    out, first, second = weight.shape
    for name, given, wanted in (("input1", input1.shape[-1], first), ("input2", input2.shape[-1], second)):
        if given != wanted:
            raise RuntimeError(f"bilinear(): {name} size does not match weight size: got {given} but expected {wanted}")
    if bias is not None and bias.shape[0] != out:
        raise RuntimeError(f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected {out}")
    batch = input1.shape[:-1]
    left = input1.reshape(batch.numel(), first)
    half = MATMUL(left, weight.permute(1, 0, 2).reshape(first, out * second)).reshape(batch.numel(), out, second)
    result = MATMUL(half, input2.reshape(batch.numel(), second, 1)).reshape(tuple(batch) + (out,))
    return result if bias is None else result + bias


@public("vander", into="linalg")
def _linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers 0 to N-1 of each element, along a new last dimension; N is the size of the last one by default.

    Shape: (..., M) gives (..., M, N).

    Raises:
        RuntimeError: if N is less than 2.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.vander(torch.tensor([2., 3.]), N=4)
        tensor([[ 1.,  2.,  4.,  8.],
                [ 1.,  3.,  9., 27.]])
    """
    if not x.ndim:
        x = x.unsqueeze(0)
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    if x.dtype.category < FLOATING:
        x = x.long()
    base = x.unsqueeze(-1)
    return _columns([base.new_ones(base.shape)], base, count)


def _columns(columns: list[Tensor], base: Tensor, count: int) -> Tensor:
    from flambeau.ops.join import cat

    while len(columns) < count:
        columns.append(columns[-1] * base)
    return cat(columns[:count], -1)


@public()
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of the elements of a vector, the highest first unless ``increasing``.

    Raises:
        RuntimeError: if it is no vector.

    Example:
        >>> import flambeau as torch
        >>> torch.vander(torch.tensor([2., 3.]), 4)
        tensor([[ 8.,  4.,  2.,  1.],
                [27.,  9.,  3.,  1.]])
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.shape[0] if N is None else N
    if x.dtype.category < FLOATING:
        x = x.long()
    base = x.unsqueeze(-1)
    powers = _columns([base.new_ones(base.shape)], base, count) if count else base[:, :0]
    return powers if increasing else powers.flip(-1)


# ---------------------------------------------------------------- one product per group


@public(into="nn.functional")
def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: Any = None,
) -> Tensor:
    """One matrix product per group, as for the experts of a mixture.

    Shape: with G groups, (G, M, K) and (G, K, N) give (G, M, N); a matrix instead of a stack is cut at ``offs``:
    (M, K) along M, giving (M, N); of ``mat_b``, (K, N) along N, giving (M, N); both along K, giving (G, M, N).
    What lies behind the last offset belongs to no group: its result is zero.

    Args:
        mat_a, mat_b: the operands, of one type: float32, bfloat16 or float16.
        offs: where each group ends, int32 of shape (G); needed where an operand is a matrix, and looked at when called.
        bias: refused, as by PyTorch.
        out_dtype: the result's type; only that of the operands, as on PyTorch's CPU.

    Raises:
        RuntimeError: if sizes, types or offsets do not fit.

    Example:
        >>> import flambeau as torch
        >>> ends = torch.tensor([1, 3], dtype=torch.int32)
        >>> torch.nn.functional.grouped_mm(torch.ones(3, 4), torch.ones(2, 4, 4), offs=ends).shape
        torch.Size([3, 4])
    """
    from flambeau.ops.join import cat, stack

    _check_groups(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return MATMUL(mat_a, mat_b)
    ends = [int(end) for end in offs.tolist()]
    spans = list(pairwise([0, *ends]))
    if mat_a.ndim == 2 and mat_b.ndim == 2:
        return stack([MATMUL(mat_a[:, low:high], mat_b[low:high]) for low, high in spans])
    if mat_a.ndim == 2:
        parts = [MATMUL(mat_a[low:high], mat_b[g]) for g, (low, high) in enumerate(spans)]
        rest = mat_a.new_zeros((mat_a.shape[0] - ends[-1], mat_b.shape[2]))
        return cat([*parts, rest])
    parts = [MATMUL(mat_a[g], mat_b[:, low:high]) for g, (low, high) in enumerate(spans)]
    rest = mat_a.new_zeros((mat_a.shape[1], mat_b.shape[1] - ends[-1]))
    return cat([*parts, rest], 1)


def _check_groups(mat_a: Tensor, mat_b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: Any) -> None:
    for name, mat in (("mat_a", mat_a), ("mat_b", mat_b)):
        if mat.dtype.name not in ("float32", "bfloat16", "float16"):
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got {mat.dtype.title}")
        if mat.ndim not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
    if (offs is not None) == (mat_a.ndim == mat_b.ndim == 3):
        raise RuntimeError("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if mat_a.shape[-1] != mat_b.shape[-2]:
        raise RuntimeError(
            f"contraction dimension of mat_a and mat_b must match (got {list(mat_a.shape)} and {list(mat_b.shape)})"
        )
    groups = [mat.shape[0] for mat in (mat_a, mat_b) if mat.ndim == 3]
    if offs is not None:
        if offs.ndim != 1:
            raise RuntimeError(f"offs has to be 1D, but got {offs.ndim}D")
        if offs.dtype.name != "int32":
            raise RuntimeError("Offsets have to be int32")
        groups.append(offs.shape[0])
    if len(set(groups)) > 1:
        raise RuntimeError(f"matrix batch sizes have to match (got {groups})")
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    if out_dtype is not None and out_dtype is not mat_a.dtype:
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")
