"""Convolution's array code for XLA.

Accelerators get XLA's own convolution.  On the CPU that is slow for groups and for three dimensions, up to a
hundred times in the gradients; there a depthwise convolution is a sum of shifted multiples, and the others
are patches and one batched product.  Which form is used where was chosen by measurement.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from flambeau.ops.conv_kernels import Ints, Pads

FUSED = 9
"""Places of a kernel that XLA may merge into one loop; with many more it takes very long to compile."""


class Steps:
    """The static parameters of a convolution, with the extents of its input and output."""

    __slots__ = ("dilation", "groups", "kernel", "out", "padding", "size", "stride")

    def __init__(
        self, size: Ints, kernel: Ints, out: Ints, stride: Ints, padding: Pads, dilation: Ints, groups: int
    ) -> None:
        self.size = size
        self.kernel = kernel
        self.out = out
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups

    def exact_padding(self) -> list[tuple[int, int]]:
        """Padding with just so much behind that ``out`` outputs fit; may be negative there."""
        rows = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, self.out, strict=True)
        return [(lo, (o - 1) * s + d * (k - 1) + 1 - n - lo) for n, k, s, (lo, _), d, o in rows]


# ---------------------------------------------------------------- XLA's own


def forward_native(x: Any, weight: Any, steps: Steps) -> Any:
    from jax import lax

    return lax.conv_general_dilated(
        x,
        weight,
        steps.stride,
        steps.exact_padding(),
        rhs_dilation=steps.dilation,
        feature_group_count=steps.groups,
    )


def input_gradient_native(jnp: Any, grad: Any, weight: Any, steps: Steps) -> Any:
    from jax import lax

    kernel = weight.shape[2:]
    axes = tuple(range(2, weight.ndim))
    groups = steps.groups
    w = jnp.flip(weight, axes).reshape(groups, weight.shape[0] // groups, weight.shape[1], *kernel)
    w = jnp.swapaxes(w, 1, 2).reshape(weight.shape[1] * groups, -1, *kernel)
    pads = []
    rows = zip(steps.size, kernel, steps.stride, steps.padding, steps.dilation, steps.out, strict=True)
    for n, k, s, (lo, _), d, o in rows:
        before = d * (k - 1) - lo
        pads.append((before, n + d * (k - 1) - (o - 1) * s - 1 - before))
    return lax.conv_general_dilated(
        grad,
        w,
        (1,) * len(kernel),
        pads,
        lhs_dilation=steps.stride,
        rhs_dilation=steps.dilation,
        feature_group_count=groups,
    )


def weight_gradient_native(jnp: Any, x: Any, grad: Any, steps: Steps) -> Any:
    from jax import lax

    found = lax.conv_general_dilated(
        jnp.swapaxes(x, 0, 1),
        jnp.swapaxes(grad, 0, 1),
        steps.dilation,
        steps.exact_padding(),
        rhs_dilation=steps.stride,
        batch_group_count=steps.groups,
    )
    return jnp.swapaxes(found, 0, 1)


# ---------------------------------------------------------------- for the CPU


def _shifted(x: Any, steps: Steps) -> Iterator[Any]:
    """For each place of the kernel, what all outputs read there."""
    from jax import lax

    zero = x.dtype.type(0)
    padded = lax.pad(x, zero, [(0, 0, 0), (0, 0, 0), *((lo, hi, 0) for lo, hi in steps.exact_padding())])
    for place in product(*map(range, steps.kernel)):
        first = [k * d for k, d in zip(place, steps.dilation, strict=True)]
        last = [b + (o - 1) * s + 1 for b, o, s in zip(first, steps.out, steps.stride, strict=True)]
        yield lax.slice(padded, [0, 0, *first], [*x.shape[:2], *last], [1, 1, *steps.stride])


def _put_back(jnp: Any, parts: Iterator[Any], steps: Steps, dtype: Any) -> Any:
    """The sum of what each place of the kernel sends back to the input."""
    from jax import lax

    zero = jnp.zeros((), dtype)
    total = None
    for count, (place, part) in enumerate(zip(product(*map(range, steps.kernel)), parts, strict=True)):
        if count and count % FUSED == 0:
            total = lax.optimization_barrier(total)
        config = [(0, 0, 0), (0, 0, 0)]
        rows = zip(place, steps.dilation, steps.padding, steps.stride, steps.out, steps.size, strict=True)
        for k, d, (lo, _), s, o, n in rows:
            before = k * d - lo
            config.append((before, n - before - (o - 1) * s - 1, s - 1))
        spread = lax.pad(part, zero, config)
        total = spread if total is None else total + spread
    return total


def _per_place(weight: Any, steps: Steps) -> Iterator[Any]:
    """The weights of a depthwise convolution, place by place, shaped to go with an image."""
    for place in product(*map(range, steps.kernel)):
        yield weight[(slice(None), 0, *place)].reshape(-1, *(1,) * len(place))


def forward_depthwise(jnp: Any, x: Any, weight: Any, steps: Steps) -> Any:
    x = _repeated(jnp, x, weight.shape[0])
    total = None
    for part, w in zip(_shifted(x, steps), _per_place(weight, steps), strict=True):
        total = part * w if total is None else total + part * w
    return total


def input_gradient_depthwise(jnp: Any, grad: Any, weight: Any, steps: Steps) -> Any:
    total = _put_back(jnp, (grad * w for w in _per_place(weight, steps)), steps, grad.dtype)
    several = weight.shape[0] // steps.groups
    if several == 1:
        return total
    return total.reshape(grad.shape[0], steps.groups, several, *steps.size).sum(2)


def weight_gradient_depthwise(jnp: Any, x: Any, grad: Any, steps: Steps) -> Any:
    axes = (0, *range(2, x.ndim))
    parts = [(part * grad).sum(axes) for part in _shifted(_repeated(jnp, x, grad.shape[1]), steps)]
    return jnp.stack(parts, 1).reshape(-1, 1, *steps.kernel)


def _repeated(jnp: Any, x: Any, channels: int) -> Any:
    several = channels // x.shape[1]
    return x if several == 1 else jnp.repeat(x, several, axis=1)


def _patches(jnp: Any, x: Any, steps: Steps) -> Any:
    """(places, N, G, C / G, outputs)."""
    stacked = jnp.stack(list(_shifted(x, steps)))
    groups = steps.groups
    return stacked.reshape(len(stacked), x.shape[0], groups, x.shape[1] // groups, prod(steps.out))


def forward_patches(jnp: Any, x: Any, weight: Any, steps: Steps) -> Any:
    groups, channels = steps.groups, weight.shape[0]
    w = weight.reshape(groups, channels // groups, weight.shape[1], prod(steps.kernel))
    y = jnp.einsum("kngcp,gock->ngop", _patches(jnp, x, steps), w)
    return y.reshape(x.shape[0], channels, *steps.out)


def input_gradient_patches(jnp: Any, grad: Any, weight: Any, steps: Steps) -> Any:
    groups, (batch, channels) = steps.groups, grad.shape[:2]
    g = grad.reshape(batch, groups, channels // groups, prod(steps.out))
    w = weight.reshape(groups, channels // groups, weight.shape[1], prod(steps.kernel))
    parts = jnp.einsum("ngop,gock->kngcp", g, w)
    parts = parts.reshape(len(parts), batch, groups * weight.shape[1], *steps.out)
    return _put_back(jnp, iter(parts[k] for k in range(len(parts))), steps, grad.dtype)


def weight_gradient_patches(jnp: Any, x: Any, grad: Any, steps: Steps) -> Any:
    groups, (batch, channels) = steps.groups, grad.shape[:2]
    g = grad.reshape(batch, groups, channels // groups, prod(steps.out))
    found = jnp.einsum("kngcp,ngop->gock", _patches(jnp, x, steps), g)
    return found.reshape(channels, x.shape[1] // groups, *steps.kernel)


# ---------------------------------------------------------------- the choice


def _on_cpu(cpu: Any, native: Any, *arrays: Any) -> Any:
    from jax import lax

    return lax.platform_dependent(*arrays, cpu=cpu, default=native)


def forward(jnp: Any, x: Any, weight: Any, steps: Steps) -> Any:
    """The convolution."""

    def native(x: Any, weight: Any) -> Any:
        return forward_native(x, weight, steps)

    if steps.groups > 1 and weight.shape[1] == 1:
        return _on_cpu(lambda x, w: forward_depthwise(jnp, x, w, steps), native, x, weight)
    if len(steps.size) == 3:
        return _on_cpu(lambda x, w: forward_patches(jnp, x, w, steps), native, x, weight)
    return native(x, weight)


def input_gradient(jnp: Any, grad: Any, weight: Any, steps: Steps) -> Any:
    """The gradient of the input."""

    def native(grad: Any, weight: Any) -> Any:
        return input_gradient_native(jnp, grad, weight, steps)

    if steps.groups > 1 and weight.shape[1] == 1:
        return _on_cpu(lambda g, w: input_gradient_depthwise(jnp, g, w, steps), native, grad, weight)
    if steps.groups > 1 or len(steps.size) == 3:
        return _on_cpu(lambda g, w: input_gradient_patches(jnp, g, w, steps), native, grad, weight)
    return native(grad, weight)


def weight_gradient(jnp: Any, x: Any, grad: Any, steps: Steps) -> Any:
    """The gradient of the weight."""

    def native(x: Any, grad: Any) -> Any:
        return weight_gradient_native(jnp, x, grad, steps)

    if steps.groups > 1 and x.shape[1] == steps.groups:
        return _on_cpu(lambda x, g: weight_gradient_depthwise(jnp, x, g, steps), native, x, grad)
    if steps.groups > 1 or len(steps.size) == 3:
        return _on_cpu(lambda x, g: weight_gradient_patches(jnp, x, g, steps), native, x, grad)
    return native(x, grad)
