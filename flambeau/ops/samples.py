"""Examples on which every operator is tested."""

from __future__ import annotations

from typing import Any


class T:
    """A tensor argument to be made up: a shape, a dtype's name, and bounds for its values.

    Args:
        shape: its sizes.
        dtype: ``"float32"`` unless given.
        low, high: its values are drawn between these (for integers, ``high`` excluded).
    """

    __slots__ = ("dtype", "high", "low", "shape")

    def __init__(self, *shape: int, dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> None:
        self.shape = shape
        self.dtype = dtype
        self.low = low
        self.high = high


class case:
    """One example: a call of a public function, by its PyTorch name.

    Args:
        fn: such as ``"sum"``, ``"nn.functional.relu"`` or ``"Tensor.view"``.
        args, kwargs: arguments, with a :class:`T` in the place of each tensor.
        grad: whether gradients are compared as well.
        gradgrad: whether second derivatives are checked.
        compare: whether values are compared with PyTorch's (not for random results).
        finite: whether the gradient is checked by finite differences (not where values are rounded).
    """

    __slots__ = ("args", "compare", "finite", "fn", "grad", "gradgrad", "kwargs")

    def __init__(
        self,
        fn: str,
        *args: Any,
        grad: bool = True,
        gradgrad: bool = True,
        compare: bool = True,
        finite: bool = True,
        **kwargs: Any,
    ) -> None:
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.grad = grad
        self.gradgrad = gradgrad
        self.compare = compare
        self.finite = finite
