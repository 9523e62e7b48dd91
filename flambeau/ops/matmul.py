"""Matrix products: mm, bmm, mv and dot under ``matmul``, the affine forms, and ``linear``."""

from __future__ import annotations

from typing import Any

from flambeau.dtypes import BOOL
from flambeau.engine import target
from flambeau.graph.node import Aval
from flambeau.ops import multiply, single_row
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import broadcast_shapes, conj
from flambeau.ops.samples import T, case
from flambeau.ops.views import TRANSPOSE
from flambeau.tensor.tensor import Tensor


def same_types(name: str, x: Aval, y: Aval) -> None:
    """Products do not promote: both sides must have one type."""
    if x.dtype is not y.dtype:
        raise RuntimeError(
            f"expected m1 and m2 to have the same dtype, but got: {_word(x)} != {_word(y)} "
            f"({name}: {x} and {y}; convert one with .to())"
        )


_WORDS = {
    **{"Float": "float", "Double": "double", "Long": "long int", "Int": "int", "Short": "short int", "Bool": "bool"},
    **{"Char": "signed char", "Byte": "unsigned char", "Half": "c10::Half", "BFloat16": "c10::BFloat16"},
    **{"ComplexFloat": "c10::complex<float>", "ComplexDouble": "c10::complex<double>"},
}


def _word(x: Aval) -> str:
    return _WORDS.get(x.dtype.title, x.dtype.title)


# ---------------------------------------------------------------- matmul


def _matmul_rule(x: Aval, y: Aval) -> Aval:
    a, b = x.shape, y.shape
    if not a or not b:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {x.ndim}D and {y.ndim}D")
    if x.dtype is not y.dtype:
        if x.ndim == y.ndim == 1:
            raise RuntimeError(
                f"dot : expected both vectors to have same dtype, but found {x.dtype.title} and {y.dtype.title}"
            )
        same_types("matmul", x, y)
    if x.dtype.category == BOOL:
        raise NotImplementedError(
            f"\"{_cpu_name(x.ndim, y.ndim)}\" not implemented for 'Bool' (convert the operands, with .to(torch.int))"
        )
    rows = a[:-1][-1:]
    columns = b[-1:] if y.ndim > 1 else ()
    inner = b[-2] if y.ndim > 1 else b[0]
    if a[-1] != inner:
        raise RuntimeError(_mismatch(a, b))
    batch = broadcast_shapes(a[:-2], b[:-2])
    return x.of(batch + rows + columns)


def _cpu_name(a: int, b: int) -> str:
    if b == 1:
        return "dot" if a == 1 else "addmv_impl_cpu"
    return "addmm_impl_cpu_" if a <= 2 and b == 2 else "bmm"


def _mismatch(a: tuple[int, ...], b: tuple[int, ...]) -> str:
    dims, others = len(a), len(b)
    if dims == 1 and others == 1:
        return (
            f"inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the same number of elements, "
            f"but got {a[0]} and {b[0]} elements respectively"
        )
    if others == 1:
        return f"size mismatch, got input ({a[-2]}), mat ({a[-2]}x{a[-1]}), vec ({b[0]})"
    left = (1, a[0]) if dims == 1 else (_product(a[:-1]) if others == 2 else a[-2], a[-1])
    if dims > 2 and others > 2:
        return (
            f"Expected size for first two dimensions of batch2 tensor to be: [{_product(a[:-2])}, {a[-1]}] but got: "
            f"[{_product(b[:-2])}, {b[-2]}]."
        )
    return f"mat1 and mat2 shapes cannot be multiplied ({left[0]}x{left[1]} and {b[-2]}x{b[-1]})"


def _product(sizes: tuple[int, ...]) -> int:
    count = 1
    for n in sizes:
        count *= n
    return count


def _matmul_numpy(np: Any, x: Any, y: Any) -> Any:
    if x.ndim > 2 and y.ndim == 2:
        # One large product instead of a batch of small ones.
        rows = x.shape[:-1]
        return np.matmul(x.reshape(_product(rows), x.shape[-1]), y).reshape((*rows, y.shape[1]))
    return np.matmul(x, y)


def _matmul_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    a, b = conj(x), conj(y)
    if x.ndim == 1 and y.ndim == 1:
        return grad * b, grad * a
    if x.ndim == 1:
        # (K) @ (..., K, M) -> (..., M)
        left = (b @ grad.unsqueeze(-1)).squeeze(-1) if needs[0] else None
        right = a.unsqueeze(-1) * grad.unsqueeze(-2) if needs[1] else None
        return left, right
    if y.ndim == 1:
        # (..., N, K) @ (K) -> (..., N)
        left = grad.unsqueeze(-1) * b if needs[0] else None
        right = (a.transpose(-2, -1) @ grad.unsqueeze(-1)).squeeze(-1) if needs[1] else None
        return left, right
    left = grad @ b.transpose(-2, -1) if needs[0] else None
    if not needs[1]:
        return left, None
    if y.ndim == 2 and x.ndim > 2:
        # The batch is summed over inside one product.
        rows = _product(x.shape[:-1])
        return left, OUTER_SUM(a.reshape(rows, x.shape[-1]), grad.reshape(rows, grad.shape[-1]))
    if x.ndim == 2 and y.ndim == 2:
        return left, OUTER_SUM(a, grad)
    return left, a.transpose(-2, -1) @ grad


MATMUL = operator(
    "matmul",
    _matmul_rule,
    None,
    _matmul_derivative,
    numpy=_matmul_numpy,
    lax=multiply.matmul,
    product=True,
    grad_name=lambda call: _matmul_name(*(aval.ndim for aval in call.inputs)),
    samples=lambda: [
        case("matmul", T(3, 4), T(4, 5)),
        case("matmul", T(4), T(4)),
        case("matmul", T(3, 4), T(4)),
        case("matmul", T(4), T(4, 2)),
        case("matmul", T(2, 3, 4), T(4, 5)),
        case("matmul", T(2, 1, 3, 4), T(5, 4, 2)),
        case("matmul", T(0, 4), T(4, 2)),
    ],
)


def _matmul_name(a: int, b: int) -> str:
    if a == b == 1:
        return "DotBackward0"
    if a == b == 2:
        return "MmBackward0"
    if a == 2 and b == 1:
        return "MvBackward0"
    if a == 1 and b == 2:
        return "SqueezeBackward4"
    return "UnsafeViewBackward0"


@public(method=True, out="exact")
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, batched and broadcast over leading dimensions; vectors are rows or columns.

    Shape: (..., N, K) and (..., K, M) give (..., N, M).

    Raises:
        RuntimeError: if the inner sizes differ, or the types do.

    Example:
        >>> import flambeau as torch
        >>> torch.ones(2, 3) @ torch.ones(3)
        tensor([3., 3.])
    """
    return MATMUL(input, other)


# ---------------------------------------------------------------- the gradient of a weight


def _outer_sum_rule(x: Aval, y: Aval) -> Aval:
    return x.of((x.shape[1], y.shape[1]))


def _outer_sum_numpy(np: Any, x: Any, y: Any) -> Any:
    return np.matmul(x.swapaxes(-1, -2), y)


def _outer_sum_lax(jnp: Any, x: Any, y: Any) -> Any:
    if target.kind() == "cpu" and x.shape[1] > y.shape[1]:
        # XLA multiplies a turned copy faster than it reads a wide operand the other way: 512 rows of 1024 and of 256
        # took 1.5 ms instead of 2.1 on two cores.  Without the barrier it would not make the copy.
        from jax import lax

        return multiply.matmul(jnp, lax.optimization_barrier(x.T), y)
    return multiply.dot_general(x, y, (((0,), (0,)), ((), ())))


def _outer_sum_derivative(grad: Tensor, x: Tensor, y: Tensor, needs: tuple[bool, ...]) -> Any:
    left = conj(y) @ TRANSPOSE(grad, (1, 0)) if needs[0] else None
    return left, conj(x) @ grad if needs[1] else None


OUTER_SUM = operator(
    "outer_sum",
    _outer_sum_rule,
    None,
    _outer_sum_derivative,
    numpy=_outer_sum_numpy,
    lax=_outer_sum_lax,
    product=True,
    samples=lambda: [
        case("nn.functional.linear", T(3, 4), T(5, 4), T(5)),
        case("nn.functional.linear", T(2, 3, 5), T(4, 5)),
        case("matmul", T(3, 5), T(5, 4)),
        case("matmul", T(2, 3, 4), T(4, 5)),
    ],
)
"""The sum of the outer products of the rows of two matrices, ``xᵀ y``."""


# ---------------------------------------------------------------- linear


def _linear_rule(x: Aval, weight: Aval, bias: Aval | None) -> Aval:
    if x.dtype is not weight.dtype:
        if bias is None:
            same_types("linear", x, weight)
        raise RuntimeError(
            f"mat1 and mat2 must have the same dtype, but got {x.dtype.title} and {weight.dtype.title} "
            f"(linear: input {x} and weight {weight}; convert one with .to())"
        )
    if not x.shape:
        raise RuntimeError("both arguments to linear need to be at least 1D, but they are 0D and 2D")
    if len(weight.shape) == 1:
        if x.shape[-1] != weight.shape[0]:
            raise RuntimeError(_mismatch(x.shape, weight.shape))
        return x.of(x.shape[:-1])
    if x.shape[-1] != weight.shape[1]:
        rows = _product(x.shape[:-1])
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {weight.shape[1]}x{weight.shape[0]}) "
            f"(linear: {_features_hint(x.shape, *weight.shape)})"
        )
    out = x.shape[:-1] + weight.shape[:1]
    if bias is not None:
        if bias.dtype is not x.dtype:
            raise RuntimeError(
                f"self and mat2 must have the same dtype, but got {bias.dtype.title} and {x.dtype.title}"
            )
        broadcast_shapes(out, bias.shape)
    return x.of(out)


def _features_hint(shape: tuple[int, ...], out: int, features: int) -> str:
    """What to change where the last dimension of an input does not fit a linear layer."""
    if len(shape) > 1 and _product(shape) == features:
        return (
            f"the input {list(shape)} holds {features} values in all, which is one sample without its batch dimension: "
            "add it with .unsqueeze(0) before the first layer"
        )
    if len(shape) > 2 and _product(shape[1:]) == features:
        return (
            f"each sample of the input {list(shape)} has {features} values in all: flatten it first, with nn.Flatten()"
        )
    if features in shape[1:]:
        return f"the features come last, and the input {list(shape)} has {features} in another dimension: transpose it"
    given = shape[len(shape) - 1]
    return (
        f"the input's last dimension has {given} features and the weight takes {features}: make the layer "
        f"Linear({given}, {out}), or check what comes before it"
    )


def _linear_lax(jnp: Any, x: Any, weight: Any, bias: Any) -> Any:
    parts = single_row.parts_of(x, weight) if weight.ndim == 2 else 1
    if parts > 1:
        y = single_row.by_parts(jnp, x, weight, parts)
    else:
        # Contracted where it stands: written as a product with the transpose, XLA copies the weight for a single row.
        y = multiply.dot_general(x, weight, (((x.ndim - 1,), (weight.ndim - 1,)), ((), ())))
    return y if bias is None else y + bias


def _linear_numpy(np: Any, x: Any, weight: Any, bias: Any) -> Any:
    if x.ndim > 2 and x.size and weight.ndim == 2:
        y = np.matmul(x.reshape(-1, x.shape[-1]), weight.T).reshape((*x.shape[:-1], weight.shape[0]))
    else:
        y = np.matmul(x, weight.T)
    if bias is not None:
        if y.ndim and y.flags.writeable:
            y += bias
        else:
            y = y + bias
    return y


def _linear_derivative(grad: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, ...]) -> Any:
    if weight.ndim == 1:
        return grad.unsqueeze(-1) * conj(weight), (conj(x) * grad.unsqueeze(-1)), grad
    left = grad @ conj(weight) if needs[0] else None
    if needs[1]:
        count = _product(x.shape[:-1])
        rows = grad if grad.ndim == 2 else grad.reshape(count, grad.shape[-1])
        given = x if x.ndim == 2 else x.reshape(count, x.shape[-1])
        right = OUTER_SUM(rows, conj(given))
    else:
        right = None
    return left, right, grad if needs[2] else None


def _linear_name(call: Any) -> str:
    x, weight, bias = call.inputs
    if weight.ndim == 1:
        return "MvBackward0"
    if x.ndim == 2:
        return "MmBackward0" if bias is None else "AddmmBackward0"
    if x.ndim == 1:
        return "SqueezeBackward4" if bias is None else "ViewBackward0"
    return "UnsafeViewBackward0" if bias is None else "ViewBackward0"


LINEAR = operator(
    "linear",
    _linear_rule,
    None,
    _linear_derivative,
    numpy=_linear_numpy,
    lax=_linear_lax,
    product=True,
    grad_name=_linear_name,
    samples=lambda: [
        case("nn.functional.linear", T(3, 4), T(5, 4), T(5)),
        case("nn.functional.linear", T(2, 3, 4), T(5, 4), T(5)),
        case("nn.functional.linear", T(4), T(5, 4), T(5)),
        case("nn.functional.linear", T(2, 3, 4), T(5, 4)),
        case("nn.functional.linear", T(0, 4), T(5, 4), T(5)),
    ],
)


@public(into="nn.functional", out="exact")
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y = x Wᵀ + b``.

    Shape: input (..., in), weight (out, in), bias (out); result (..., out).

    Raises:
        RuntimeError: if the sizes or the types do not fit.

    Example:
        >>> import flambeau as torch
        >>> x, weight = torch.tensor([[1., 2.]]), torch.tensor([[1., 1.], [0., 10.]])
        >>> torch.nn.functional.linear(x, weight, bias=torch.tensor([0.5, 0.]))
        tensor([[ 3.5000, 20.0000]])
    """
    return LINEAR(input, weight, bias)
