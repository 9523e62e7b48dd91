"""Attention weights from masked scores."""

from __future__ import annotations

import math

from flambeau.ops.compare import where
from flambeau.tensor.tensor import Tensor


def weights_of(scores: Tensor) -> Tensor:
    """Softmax over the last dimension; zeros where all of it is minus infinity."""
    nothing = _nothing(scores)
    return where(nothing, 0.0, where(nothing, 0.0, scores).softmax(-1))


def log_sum_of(scores: Tensor) -> Tensor:
    """The logarithm of the sum of exponentials over the last dimension; minus infinity where all of it is that."""
    nothing = _nothing(scores)
    return where(nothing.squeeze(-1), -math.inf, where(nothing, 0.0, scores).logsumexp(-1))


def _nothing(scores: Tensor) -> Tensor:
    # The softmax of such a row, and its derivative, would be no numbers.
    return (scores == -math.inf).all(-1, keepdim=True)


def for_queries(x: Tensor, heads: int, dim: int) -> Tensor:
    """Keys or values with as many heads as queries have: each serves a group of them."""
    return x if x.shape[dim] == heads else x.repeat_interleave(heads // x.shape[dim], dim)
