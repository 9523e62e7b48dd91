"""Layer normalization in parts, for loops over time.

What is normalized is kept instead of what it came from: the way back then reads that and one factor per row.  Gain and
bias stand by themselves, so that their gradients can be summed over all steps at once.
"""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops import norm_layer
from flambeau.ops.operator import operator
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor


def _rule(x: Aval, *, dims: int, eps: float) -> tuple[Aval, ...]:
    lead = x.shape[: x.ndim - dims]
    return x.of(), x.of((*lead, *(1,) * dims)), x.of(lead), x.of(lead)


def _kernel(xp: Any, x: Any, *, dims: int, eps: float) -> Any:
    axes = tuple(range(x.ndim - dims, x.ndim))
    lead = x.shape[: x.ndim - dims]
    mean, variance, centred = norm_layer.moments(xp, x, axes)
    inverse = norm_layer.inverse_root(xp, variance, eps)
    centred *= inverse
    return centred, inverse, mean.reshape(lead), variance.reshape(lead)


def _derivative(grad: Tensor, x: Tensor, outs: list[Tensor], dims: int, eps: float) -> Tensor:
    if mode.grad:
        axes = tuple(range(x.ndim - dims, x.ndim))
        return norm_layer.composed_backward(grad, x, axes, eps)[0]
    return NORMALIZED_BACKWARD(grad, outs[0], outs[1], dims)


NORMALIZED = operator(
    "normalized",
    _rule,
    _kernel,
    _derivative,
    grad_name="NativeLayerNormBackward0",
    samples=lambda: [case("nn.functional.layer_norm", T(3, 4), (4,))],
)


def _backward_rule(grad: Aval, normal: Aval, inverse: Aval, *, dims: int) -> Aval:
    return normal.of()


def _backward_kernel(xp: Any, grad: Any, normal: Any, inverse: Any, *, dims: int) -> Any:
    return norm_layer.backward_of_normal(xp, grad, normal, inverse, tuple(range(grad.ndim - dims, grad.ndim)))


NORMALIZED_BACKWARD = operator(
    "normalized_backward",
    _backward_rule,
    _backward_kernel,
    norm_layer.ONCE,
    samples=lambda: [case("nn.functional.layer_norm", T(3, 4), (4,))],
)


def layer_norm_in_parts(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, dims: int, eps: float
) -> tuple[Tensor, ...] | None:
    """``layer_norm`` as a normalization, a product and a sum; None for reduced precision."""
    if x.dtype in dtypes.REDUCED or (weight is not None and weight.dtype is not x.dtype):
        return None
    y, _, mean, variance = NORMALIZED(x, dims, eps)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, mean, variance


norm_layer.LAYER_NORM.parts = layer_norm_in_parts
