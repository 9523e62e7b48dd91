"""Gradients of convolutions by their input and by their weight, as functions: ``torch.nn.grad``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.autograd import grad as _gradient
from flambeau.autograd.grad_mode import enable_grad
from flambeau.nn import functional as F
from flambeau.ops.create import zeros
from flambeau.tensor.tensor import Tensor

__all__ = ["conv1d_input", "conv1d_weight", "conv2d_input", "conv2d_weight", "conv3d_input", "conv3d_weight"]


def _defined(axes: int) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    convolve: Callable[..., Tensor] = getattr(F, f"conv{axes}d")

    def by_input(
        input_size: Any,
        weight: Tensor,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        input = zeros(tuple(input_size), dtype=grad_output.dtype, device=grad_output.device, requires_grad=True)
        return _pulled_back(convolve(input, weight, None, stride, padding, dilation, groups), input, grad_output)

    def by_weight(
        input: Tensor,
        weight_size: Any,
        grad_output: Tensor,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        weight = zeros(tuple(weight_size), dtype=grad_output.dtype, device=grad_output.device, requires_grad=True)
        return _pulled_back(convolve(input, weight, None, stride, padding, dilation, groups), weight, grad_output)

    ones = ", ".join(["1"] * axes)
    threes = ", ".join(["3"] * axes)
    for kind, function, others in (
        ("input", by_input, f"(1, 1, {threes}), torch.ones(1, 1, {ones})"),
        ("weight", by_weight, f"torch.ones(1, 1, {threes}), (1, 1, {ones})"),
    ):
        function.__name__ = function.__qualname__ = f"conv{axes}d_{kind}"
        function.__doc__ = f"""The gradient of ``conv{axes}d`` by its {kind}.

        Args:
            {kind}_size: the {kind}'s shape.
            grad_output: the gradient of the result.
            stride, padding, dilation, groups: of the convolution.

        Example:
            >>> import flambeau as torch
            >>> gradient = torch.ones(1, 1, {threes})
            >>> torch.nn.grad.conv{axes}d_{kind}({others}, gradient).sum()
            tensor({3**axes}.)
        """
    return enable_grad()(by_input), enable_grad()(by_weight)


def _pulled_back(result: Tensor, by: Tensor, grad_output: Tensor) -> Tensor:
    return _gradient(result, by, grad_output, create_graph=grad_output.requires_grad)[0]


conv1d_input, conv1d_weight = _defined(1)
conv2d_input, conv2d_weight = _defined(2)
conv3d_input, conv3d_weight = _defined(3)
