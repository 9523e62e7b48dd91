"""What the activation functions share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.graph.node import Aval
from flambeau.ops.activation_kernels import BLOCK, passed
from flambeau.ops.operator import Operator, operator, public
from flambeau.tensor.tensor import Tensor


def require_floating(x: Aval, kernel: str, complex: bool = False) -> None:
    """Raises as PyTorch does for a type that has no kernel."""
    if x.dtype.category == dtypes.FLOATING or (complex and x.dtype.category == dtypes.COMPLEX):
        return
    raise NotImplementedError(
        f"\"{kernel}\" not implemented for '{x.dtype.title}' (given {x}; convert it with .float())"
    )


def activation(
    name: str,
    kernel: Callable[..., Any],
    slope: Callable[..., Any],
    curvature: Callable[..., Any] | None,
    *,
    samples: Callable[[], list[Any]],
    cpu_name: str | None = None,
    complex: bool = False,
    integers: bool = False,
    grad_name: str | None = None,
) -> Operator:
    """An elementwise function with its derivative as an operator of its own.

    Args:
        name: the operator's name; the derivative's is ``name_backward``.
        kernel: ``kernel(xp, x, *params)``.
        slope: ``slope(xp, x, *params)``, the first derivative in array code.
        curvature: ``curvature(x, *params)``, the second derivative in Tensor operations; None where it is
            zero almost everywhere.
        samples: as of :func:`operator`.
        cpu_name: the kernel's name in PyTorch's message for types that have none.
        complex, integers: whether these types are allowed.
    """

    def rule(x: Aval, *, params: tuple[Any, ...]) -> Aval:
        if not (integers and x.dtype.category == dtypes.INTEGER):
            require_floating(x, cpu_name or f"{name}_cpu", complex)
        return x.of()

    def forward(xp: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return kernel(xp, x, *params)

    def forward_numpy(np: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return in_blocks(np, lambda part: kernel(np, part, *params), x)

    def derivative(grad: Tensor, x: Tensor, params: tuple[Any, ...]) -> Tensor:
        return backward(grad, x, params)

    def backward_rule(g: Aval, x: Aval, *, params: tuple[Any, ...]) -> Aval:
        return x.of()

    def backward_kernel(xp: Any, g: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return _chained(xp, g, slope(xp, x, *params))

    def backward_numpy(np: Any, g: Any, x: Any, *, params: tuple[Any, ...]) -> Any:
        return in_blocks(np, lambda g, x: _chained(np, g, slope(np, x, *params)), g, x)

    def second(grad: Tensor, g: Tensor, x: Tensor, params: tuple[Any, ...], needs: tuple[bool, ...]) -> Any:
        first = backward(grad, x, params) if needs[0] else None
        return first, grad * g * curvature(x, *params) if curvature is not None and needs[1] else None

    backward = operator(
        f"{name}_backward", backward_rule, backward_kernel, second, numpy=backward_numpy, samples=lambda: samples()[:1]
    )
    made = operator(name, rule, forward, derivative, numpy=forward_numpy, samples=samples, grad_name=grad_name)
    made.elementwise = backward.elementwise = True
    return made


def _chained(xp: Any, g: Any, slope: Any) -> Any:
    """The incoming gradient times the slope; a slope of True and False lets it pass or not, even if infinite."""
    if slope.dtype == bool:
        return passed(xp, slope, g)
    return g * xp.conj(slope) if slope.dtype.kind == "c" else g * slope


def in_blocks(np: Any, function: Callable[..., Any], *arrays: Any) -> Any:
    """Applies an elementwise function of several passes to stretches that stay in the cache."""
    first = arrays[0]
    size = first.size
    if size <= 2 * BLOCK or any(a.shape != first.shape for a in arrays):
        return function(*arrays)
    flat = [np.ascontiguousarray(a).reshape(-1) for a in arrays]
    result = np.empty(size, first.dtype)
    for start in range(0, size, BLOCK):
        stop = start + BLOCK
        result[start:stop] = function(*[a[start:stop] for a in flat])
    return result.reshape(first.shape)


def inplace_form(function: Callable[..., Any], into: str, name: str | None = None) -> None:
    """Registers the function that ends in an underscore and writes its result into its first argument."""
    name = name or function.__name__.lstrip("_")

    def written(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return into_input(input, function(input, *args, **kwargs))

    written.__name__ = f"{name}_"
    written.__doc__ = f"In-place form of ``{name}``."
    public(written.__name__, into=into)(written)


def into_input(input: Tensor, result: Tensor) -> Tensor:
    """Writes a result into the tensor it was computed from."""
    from flambeau.tensor.methods import assign
    from flambeau.tensor.views import check_writable

    check_writable(input)
    return assign(input, result)
