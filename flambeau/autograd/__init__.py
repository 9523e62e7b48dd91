"""Automatic differentiation: a tape beside the graph."""

from typing import Any

from flambeau.autograd import graph
from flambeau.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from flambeau.autograd.backward import backward, grad
from flambeau.autograd.function import Function, once_differentiable
from flambeau.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from flambeau.tensor.tensor import Tensor as Variable

__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "graph",
    "inference_mode",
    "no_grad",
    "once_differentiable",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]

# Few programs need these.
_LATER = {
    "forward_ad": "flambeau.autograd.forward_ad",
    "functional": "flambeau.autograd.functional",
    "gradcheck": "flambeau.autograd.gradcheck",
    "gradgradcheck": "flambeau.autograd.gradcheck",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'flambeau.autograd' has no attribute '{name}'")
    from importlib import import_module

    module = import_module(_LATER[name])
    found = getattr(module, name, module)
    globals()[name] = found
    return found
