"""XLA's own convolution, and its transposes: what accelerators' libraries have kernels for."""

from __future__ import annotations

from typing import Any

from flambeau.engine import precision, target
from flambeau.ops.conv_kernels import Geometry


def forward(x: Any, weight: Any, geo: Geometry) -> Any:
    """The convolution; of float32 on a GPU in TF32, unless that is forbidden."""
    from jax import lax

    tf32 = precision.convolutions and target.kind() == "cuda"
    return lax.conv_general_dilated(
        x,
        weight,
        geo.stride,
        geo.exact_padding() if target.kind() == "cpu" else _even_padding(geo),
        rhs_dilation=geo.dilation,
        feature_group_count=geo.groups,
        # What is said of products holds, if that is less exact still.
        precision=lax.Precision.HIGH if tf32 and precision.level == "highest" else None,
    )


def _even_padding(geo: Geometry) -> list[tuple[int, int]]:
    """Padding with as much behind as in front where that makes no more outputs: libraries pad no image otherwise."""
    rows = zip(geo.exact_padding(), geo.size, geo.kernel, geo.stride, geo.dilation, geo.out, strict=True)
    return [(lo, lo) if (n + 2 * lo - d * (k - 1) - 1) // s + 1 == o else (lo, hi) for (lo, hi), n, k, s, d, o in rows]


def input_gradient(grad: Any, weight: Any, geo: Geometry) -> Any:
    """The gradient of the input, in the form in which XLA knows it for one."""
    import jax

    shape = (grad.shape[0], weight.shape[1] * geo.groups, *geo.size)
    back = jax.linear_transpose(lambda x: forward(x, weight, geo), jax.ShapeDtypeStruct(shape, grad.dtype))
    return back(grad)[0]


def weight_gradient(x: Any, grad: Any, geo: Geometry) -> Any:
    """The gradient of the weight, likewise."""
    import jax

    shape = (grad.shape[1], x.shape[1] // geo.groups, *geo.kernel)
    back = jax.linear_transpose(lambda weight: forward(x, weight, geo), jax.ShapeDtypeStruct(shape, x.dtype))
    return back(grad)[0]
