"""Automatic differentiation: a tape beside the graph."""

from flambeau.autograd.backward import backward, grad
from flambeau.autograd.grad_mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = ["backward", "enable_grad", "grad", "inference_mode", "no_grad", "set_grad_enabled"]
