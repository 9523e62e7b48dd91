"""Automatic differentiation: a tape beside the graph."""

from flambeau.autograd.backward import backward, grad
from flambeau.autograd.function import Function, once_differentiable
from flambeau.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
]
