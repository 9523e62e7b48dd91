"""Dropout: elements, or whole channels, left out at random in training.

Which ones is a function of a key and of the element's index: a counter-based generator in plain integer
arithmetic, the same on every tier, so that going back works out the mask again and stores nothing.
The key is drawn from the CPU generator when the operation is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.graph.node import Aval
from flambeau.ops.activation import into_input
from flambeau.ops.activation_kernels import BLOCK
from flambeau.ops.operator import INTEGER_RESULT, operator, public
from flambeau.ops.samples import T, case
from flambeau.random import default_generator
from flambeau.tensor.tensor import Tensor, from_draw
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- the generator


def mixed(xp: Any, x: Any) -> Any:
    """A permutation of the 32-bit words in which each bit of the result depends on all: two multiplications,
    three shifts, constants from C. Wellons' search for low bias.  Takes over its operand's memory.
    """
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def drawn_key(device: devices.device) -> Tensor:
    """A fresh key from the default CPU generator, as a leaf of the work recorded for a device."""
    return from_draw(lambda: np.asarray(default_generator.bits.random_words(2), dtype=np.uint32), device)


def _threshold(p: float) -> Any:
    """The word below which an element is left out, so that this happens with probability p."""
    return np.uint32(min(round(p * 2**32), 2**32 - 1))


def _kept(xp: Any, key: Any, count: int, p: float) -> Any:
    # A step between counters that is part of the key keeps the counters of two keys from running in parallel.
    counters = xp.arange(count, dtype=np.uint32) * (key[1] | np.uint32(1)) + key[0]
    return mixed(xp, counters) >= _threshold(p)


# ---------------------------------------------------------------- dropout


def _dropout_rule(x: Aval, key: Aval, *, p: float) -> Aval:
    if x.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {x.dtype.title}")
    return x.of()


def _dropout_kernel(xp: Any, x: Any, key: Any, *, p: float) -> Any:
    scale = xp.where(_kept(xp, key, x.size, p), x.dtype.type(1.0 / (1.0 - p)), x.dtype.type(0.0))
    return x * scale.reshape(x.shape)


def _dropout_numpy(np: Any, x: Any, key: Any, *, p: float) -> Any:
    flat = np.ascontiguousarray(x).reshape(-1)
    result = np.empty(flat.size, x.dtype)
    scale = x.dtype.type(1.0 / (1.0 - p))
    threshold = _threshold(p)
    step = int(key[1]) | 1
    counters = np.arange(min(BLOCK, flat.size), dtype=np.uint32) * np.uint32(step)
    for start in range(0, flat.size, BLOCK):
        given = flat[start : start + BLOCK]
        words = mixed(np, counters[: given.size] + np.uint32((start * step + int(key[0])) & 0xFFFFFFFF))
        part = result[start : start + BLOCK]
        np.multiply(given, scale, out=part)
        part *= words >= threshold
    return result.reshape(x.shape)


DROPOUT = operator(
    "dropout",
    _dropout_rule,
    _dropout_kernel,
    lambda grad, key, p: (DROPOUT(grad, key, p), None),
    numpy=_dropout_numpy,
    grad_name="MulBackward0",
    samples=lambda: [
        case("nn.functional.dropout", T(3, 4), 0.5, compare=False),
        case("nn.functional.dropout", T(40, 1000), 0.2, compare=False),
        case("nn.functional.dropout", T(3, 4), 0.5, training=False),
    ],
)


def _mask_rule(key: Aval, *, shape: tuple[int, ...], p: float) -> Aval:
    return key.of(shape, dtypes.bool_)


def _mask_kernel(xp: Any, key: Any, *, shape: tuple[int, ...], p: float) -> Any:
    return _kept(xp, key, math.prod(shape), p).reshape(shape)


KEPT = operator(
    "dropout_mask",
    _mask_rule,
    _mask_kernel,
    INTEGER_RESULT,
    samples=lambda: [case("nn.functional.dropout2d", T(3, 4, 2, 2), 0.5, compare=False)],
)


def _checked(p: float) -> float:
    if isinstance(p, Tensor):
        p = p.item()
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return float(p)


def _dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Elements left out with probability p in training; the others times ``1 / (1 - p)``.

    Example:
        >>> import flambeau as torch
        >>> y = torch.dropout(torch.ones(1000), 0.25, train=True)
        >>> y.unique()
        tensor([0.0000, 1.3333])
        >>> torch.dropout(torch.ones(2), 0.25, train=False)
        tensor([1., 1.])
    """
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
    if p == 0.0 or not train or not input._node.aval.size:
        return input
    if p == 1.0:
        return input * 0
    return DROPOUT(input, drawn_key(input.device), float(p))


def _noise_shape(input: Tensor) -> tuple[int, ...]:
    if input.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return tuple(input.shape[:2]) + (1,) * (input.ndim - 2)


def _feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels left out with probability p in training; the others times ``1 / (1 - p)``.

    Example:
        >>> import flambeau as torch
        >>> y = torch.feature_dropout(torch.ones(10, 10, 3), 0.5, train=True)
        >>> bool((y[:, :, :1] == y).all())
        True
    """
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
    if p == 0.0 or not train or not input._node.aval.size:
        return input
    if p == 1.0:
        return input * 0
    kept = KEPT(drawn_key(input.device), _noise_shape(input), float(p))
    return input * (kept.to(input.dtype) / (1.0 - p))


# Where SELU saturates: the value that elements left out take, so that mean and variance are kept.
_SATURATION = -1.7580993408473766


def _alpha(input: Tensor, p: float, train: bool, shape: Callable[[Tensor], tuple[int, ...]]) -> Tensor:
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
    if p == 0.0 or not train or not input._node.aval.size:
        return input
    if p == 1.0:
        return input * 0
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {input.dtype.title}")
    kept = KEPT(drawn_key(input.device), shape(input), float(p)).to(input.dtype)
    scale = 1.0 / math.sqrt((_SATURATION**2 * p + 1.0) * (1.0 - p))
    shift = (1.0 - kept) * (_SATURATION * scale) + (-_SATURATION * scale * p)
    return input * (kept * scale) + shift


def _alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Elements set to SELU's saturation value with probability p, keeping mean and variance.

    Example:
        >>> import flambeau as torch
        >>> torch.alpha_dropout(torch.zeros(1000), 0.5, train=True).unique()
        tensor([-0.7792,  0.7792])
    """
    return _alpha(input, p, train, lambda x: tuple(x.shape))


def _feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Whole channels set to SELU's saturation value with probability p, keeping mean and variance.

    Example:
        >>> import flambeau as torch
        >>> y = torch.feature_alpha_dropout(torch.ones(10, 10, 3), 0.5, train=True)
        >>> bool((y[:, :, :1] == y).all())
        True
    """
    return _alpha(input, p, train, _noise_shape)


def _register(function: Callable[..., Tensor]) -> None:
    name = function.__name__.lstrip("_")
    public(name)(function)

    def written(input: Tensor, p: float, train: bool) -> Tensor:
        return into_input(input, function(input, p, train))

    written.__name__ = f"{name}_"
    written.__doc__ = f"In-place form of ``{name}``."
    public(written.__name__)(written)


for _function in (_dropout, _feature_dropout, _alpha_dropout, _feature_alpha_dropout):
    _register(_function)


# ---------------------------------------------------------------- nn.functional


def _finished(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    return into_input(input, result) if inplace and result is not input else result


@public(into="nn.functional")
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Elements set to 0 with probability p in training; the others times ``1 / (1 - p)``.

    Raises:
        ValueError: if p is no probability.

    Srivastava et al., Dropout, JMLR 2014.

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.functional.dropout(torch.ones(1000), p=0.2)
        >>> y.unique()
        tensor([0.0000, 1.2500])
        >>> torch.nn.functional.dropout(torch.ones(2), p=0.2, training=False)
        tensor([1., 1.])
    """
    return _finished(input, _dropout(input, _checked(p), training), inplace)


@public(into="nn.functional")
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean and variance, for networks of SELUs.

    Klambauer, Unterthiner, Mayr and Hochreiter, Self-Normalizing Neural Networks, NeurIPS 2017.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.functional.alpha_dropout(torch.zeros(1000), p=0.5, training=True).unique()
        tensor([-0.7792,  0.7792])
    """
    return _finished(input, _alpha_dropout(input, _checked(p), training), inplace)


@public(into="nn.functional")
def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Alpha dropout of whole channels.  Shape: (N, C, ...).

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.functional.feature_alpha_dropout(torch.ones(10, 10, 3), p=0.5, training=True)
        >>> bool((y[:, :, :1] == y).all())
        True
    """
    return _finished(input, _feature_alpha_dropout(input, _checked(p), training), inplace)


@public(into="nn.functional")
def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels set to 0 with probability p in training.  Shape: (N, C, L) or (C, L).

    Raises:
        RuntimeError: for other numbers of dimensions.

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.functional.dropout1d(torch.ones(10, 10, 3), p=0.5)
        >>> bool((y[:, :, :1] == y).all())
        True
    """
    p = _checked(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch dimension (i.e. 2D or 3D inputs)."
        )
    if input.ndim == 3:
        return _finished(input, _feature_dropout(input, p, training), inplace)
    result = _feature_dropout(input.unsqueeze(0), p, training)
    return _finished(input, result.squeeze(0), inplace)


@public(into="nn.functional")
def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels set to 0 with probability p in training.  Shape: (N, C, H, W).

    Tompson et al., Efficient Object Localization Using Convolutional Networks, CVPR 2015.

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.functional.dropout2d(torch.ones(10, 10, 3, 3), p=0.5)
        >>> bool((y[:, :, :1, :1] == y).all())
        True
    """
    p = _checked(p)
    if input.ndim not in (3, 4):
        warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead. Note "
            "that dropout2d exists to provide channel-wise dropout on inputs with 2 spatial dimensions, a channel "
            "dimension, and an optional batch dimension (i.e. 3D or 4D inputs).",
        )
    if input.ndim == 3:
        warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired "
            "- input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a "
            "future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain "
            "the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
        )
    return _finished(input, _feature_dropout(input, p, training), inplace)


@public(into="nn.functional")
def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels set to 0 with probability p in training.  Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> y = torch.nn.functional.dropout3d(torch.ones(10, 10, 3, 3, 3), p=0.5)
        >>> bool((y[:, :, :1, :1, :1] == y).all())
        True
    """
    p = _checked(p)
    if input.ndim not in (4, 5):
        warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated and will result in an error "
            "in a future release. To retain the behavior and silence this warning, please use dropout instead. Note "
            "that dropout3d exists to provide channel-wise dropout on inputs with 3 spatial dimensions, a channel "
            "dimension, and an optional batch dimension (i.e. 4D or 5D inputs).",
        )
    if input.ndim == 4:
        result = _feature_dropout(input.unsqueeze(0), p, training)
        return _finished(input, result.squeeze(0), inplace)
    return _finished(input, _feature_dropout(input, p, training), inplace)
