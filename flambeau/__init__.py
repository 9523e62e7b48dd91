"""Flambeau: PyTorch's model-building API on a tiered engine.

    import flambeau as torch
"""

from flambeau import autograd, engine, ops, return_types
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
from flambeau.dtypes import bool_ as bool, float_ as float, int_ as int
from flambeau.ops import (activation, arrange, attention, bitwise, cast, cholesky, combine, compare, complex, conv, copies, counting, create, data, distance, dropout, einsum, embedding, extrema, factor, fft, gather, index, inplace, inquire, join, ldl, linalg, lobpcg, loss, math, matmul, moments, norm, norms, padding, pick, pointwise, pool, products, random, ranges, reduce, resample, rnn, scan, shape, slicing, softmax, sort, special, spectral, stft, strided, trigonometry, views, windows, writing)
from flambeau.tensor import methods
from flambeau.tensor.printing import get_printoptions, printoptions, set_printoptions
from flambeau.tensor.tensor import Size, Tensor
from flambeau.ops.operator import NAMESPACES
from flambeau import settings  # noqa: E402

methods.attach()
for _n in ("attention","bitwise","cast","compare","complex","conv","create","distance","dropout","embedding","fft","index","inplace","join","linalg","loss","math","matmul","norm","padding","pointwise","pool","random","reduce","resample","rnn","scan","shape","slicing","softmax","sort","special","trigonometry","views","activation","arrange","counting","extrema","gather","moments","strided","products","einsum","windows","pick","writing","combine","data","ranges","copies","inquire","cholesky","factor","spectral","norms","stft","ldl","lobpcg"):
    globals().pop(_n, None)
globals().update(NAMESPACES["torch"])
from flambeau import backends, cuda, fft, linalg, nn, optim, signal, special  # noqa: E402
from flambeau.capture.compiled import compile  # noqa: E402
from flambeau import random  # noqa: E402
