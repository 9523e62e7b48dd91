"""Flambeau: PyTorch's model-building API on a tiered engine.

    import flambeau as torch
"""

from flambeau import autograd, engine, ops
from flambeau.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.devices import device
from flambeau.dtypes import *
from flambeau.ops import cast, create, matmul, pointwise, reduce, shape, views
from flambeau.tensor import methods
from flambeau.tensor.tensor import Size, Tensor
from flambeau.ops.operator import FUNCTIONS

methods.attach()
globals().update(FUNCTIONS)
