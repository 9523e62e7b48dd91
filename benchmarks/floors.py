"""What the hand-written JAX programs share: losses, layers and optimizers on dictionaries of arrays.

The names and layouts of the weights are PyTorch's, so that all libraries start from the same.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def product(x: Any, weight: Any) -> Any:
    """x Wᵀ, said in one operation: XLA copies a transposed matrix, every time, for the sake of a single row."""
    return lax.dot_general(x, weight, (((x.ndim - 1,), (1,)), ((), ())))


def linear(weights: dict[str, Any], name: str, x: Any) -> Any:
    """x Wᵀ + b."""
    return product(x, weights[f"{name}.weight"]) + weights[f"{name}.bias"]


def linear_shapes(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a linear layer's weights."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def layer_norm(weights: dict[str, Any], name: str, x: Any, eps: float = 1e-5) -> Any:
    """Normalised over the last axis."""
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    variance = jnp.square(wide - mean).mean(-1, keepdims=True)
    normed = ((wide - mean) * lax.rsqrt(variance + eps)).astype(x.dtype)
    return normed * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a normalisation layer's weights."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def cross_entropy(scores: Any, labels: Any) -> Any:
    """The mean of -log softmax(scores)[label]."""
    logs = jax.nn.log_softmax(scores.astype(jnp.float32))
    return -jnp.take_along_axis(logs, labels[..., None], -1).mean().astype(scores.dtype)


def attention(query: Any, key: Any, value: Any, heads: int, causal: bool = False) -> Any:
    """Scaled dot-product attention on (N, L, E), split into heads."""

    def split(x: Any) -> Any:
        return x.reshape(x.shape[0], x.shape[1], heads, -1)

    out = jax.nn.dot_product_attention(split(query), split(key), split(value), is_causal=causal)
    return out.reshape(query.shape)


def sgd(loss: Any, lr: float, momentum: float = 0.0) -> tuple[Any, Any]:
    """A jitted training step ``(weights, state, *batch) -> (loss, weights, state)``, and the state's start."""

    def step(weights: Any, velocity: Any, *batch: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(weights, *batch)
        if momentum:
            velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, grads)
            grads = velocity
        return value, jax.tree.map(lambda w, g: w - lr * g, weights, grads), velocity

    def start(weights: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, weights) if momentum else ()

    return jax.jit(step, donate_argnums=(0, 1)), start


def adam(loss: Any, lr: float, decay: float = 0.0) -> tuple[Any, Any]:
    """As :func:`sgd`, with Adam's update; ``decay`` is decoupled from the gradient, as in AdamW."""
    beta1, beta2, eps = 0.9, 0.999, 1e-8

    def step(weights: Any, state: Any, *batch: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(weights, *batch)
        mean, square, count = state
        count = count + 1
        mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, mean, grads)
        square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g * g, square, grads)
        rate = lr / (1 - beta1**count)
        root = jnp.sqrt(1 - beta2**count)

        def moved(w: Any, m: Any, s: Any) -> Any:
            return (w * (1 - lr * decay) - rate * m / (jnp.sqrt(s) / root + eps)).astype(w.dtype)

        return value, jax.tree.map(moved, weights, mean, square), (mean, square, count)

    def start(weights: Any) -> Any:
        zeros = jax.tree.map(jnp.zeros_like, weights)
        return zeros, jax.tree.map(jnp.zeros_like, weights), jnp.zeros((), jnp.float32)

    return jax.jit(step, donate_argnums=(0, 1)), start


def trained(optimizer: tuple[Any, Any], weights: Any) -> Any:
    """A step of a training loop: ``step(*batch) -> loss``; holds the weights and the optimizer's state."""
    jitted, start = optimizer
    held = [weights, start(weights)]

    def step(*batch: Any) -> Any:
        loss, held[0], held[1] = jitted(held[0], held[1], *batch)
        return loss

    return step
