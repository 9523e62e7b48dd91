"""Mean pooling."""

from __future__ import annotations

from typing import Any

from flambeau.graph.node import Aval
from flambeau.ops.operator import operator
from flambeau.ops.pool_windows import Windows, along, axes_of, padded_to_reach, pool_rule
from flambeau.ops.samples import T, case

# ---------------------------------------------------------------- the mean


def _truncated(np: Any, x: Any, divisor: Any) -> Any:
    """Division of integers towards zero."""
    divisor = np.asarray(divisor, x.dtype)
    return np.sign(x) * np.sign(divisor) * (np.abs(x) // np.abs(divisor))


def _divided(np: Any, x: Any, windows: Windows) -> Any:
    """Divides by how many elements each window counts."""
    if windows.divisor:
        return x / np.asarray(windows.divisor, x.dtype) if x.dtype.kind in "fc" else _truncated(np, x, windows.divisor)
    counts: Any = None
    for a in range(len(windows.size)):
        column = windows.counts(a).reshape(-1, *(1,) * (len(windows.size) - 1 - a))
        counts = column if counts is None else counts * column
    assert counts is not None
    first = int(counts.reshape(-1)[0]) if counts.size else 1
    divisor = first if (counts == first).all() else counts
    if x.dtype.kind not in "fc":
        return _truncated(np, x, divisor)
    if divisor is first:
        return x * np.asarray(1 / first, x.dtype) if first & (first - 1) == 0 else x / np.asarray(first, x.dtype)
    return x / np.asarray(divisor, x.dtype)


def _avg_numpy(np: Any, x: Any, *, windows: Windows) -> Any:
    dtype = x.dtype
    for a, axis in reversed(list(enumerate(axes_of(windows, x.ndim)))):
        if windows.kernel[a] == 1 and windows.stride[a] == 1 and not windows.padding[a]:
            continue
        if windows.out[a] == 1 and not windows.padding[a]:
            x = x[along(x.ndim, axis, slice(0, windows.kernel[a]))].sum(axis, keepdims=True, dtype=dtype)
            continue
        parts = [windows.valid(a, k) for k in range(windows.kernel[a])]
        full = slice(0, windows.out[a])
        whole = [given for wanted, given in parts if wanted == full]
        if len(whole) > 1:
            total = x[along(x.ndim, axis, whole[0])] + x[along(x.ndim, axis, whole[1])]
        else:
            total = np.zeros((*x.shape[:axis], windows.out[a], *x.shape[axis + 1 :]), dtype)
            whole = [None, None, *whole]
        for given in whole[2:]:
            total += x[along(x.ndim, axis, given)]
        for wanted, given in parts:
            if wanted.start < wanted.stop and wanted != full:
                total[along(x.ndim, axis, wanted)] += x[along(x.ndim, axis, given)]
        x = total
    return _divided(np, x, windows)


def _avg_lax(jnp: Any, x: Any, *, windows: Windows) -> Any:
    for a, axis in reversed(list(enumerate(axes_of(windows, x.ndim)))):
        padded = padded_to_reach(jnp, x, windows, a, axis, 0)
        step, out = windows.stride[a], windows.out[a]
        if out == 1:
            x = padded.sum(axis, keepdims=True, dtype=x.dtype)
            continue
        total = None
        for k in range(windows.kernel[a]):
            part = padded[along(x.ndim, axis, slice(k, k + (out - 1) * step + 1, step))]
            total = part if total is None else total + part
        x = total
    return _divided(jnp, x, windows)


def _grad_name(call: Any) -> str:
    axes = len(call.params["windows"].size)
    # PyTorch takes a line for an image of one row.
    return f"AvgPool{axes}DBackward0" if axes > 1 else "SqueezeBackward1"


AVG_POOL = operator(
    "avg_pool",
    pool_rule,
    None,
    lambda grad, windows: AVG_POOL_INPUT(grad, windows),
    numpy=_avg_numpy,
    lax=_avg_lax,
    samples=lambda: [
        case("nn.functional.avg_pool2d", T(2, 3, 6, 8), 2),
        case("nn.functional.avg_pool2d", T(2, 3, 7, 9), (3, 2), stride=(2, 1), padding=1),
        case("nn.functional.avg_pool2d", T(3, 7, 9), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        case("nn.functional.avg_pool2d", T(2, 3, 7, 9), 3, divisor_override=5),
        case("nn.functional.avg_pool1d", T(2, 3, 8), 3, 2, 1),
        case("nn.functional.avg_pool3d", T(1, 2, 5, 4, 6), 2, padding=1),
        case("nn.functional.adaptive_avg_pool2d", T(2, 3, 6, 4), (3, 1)),
    ],
    grad_name=_grad_name,
)


def _avg_input_rule(grad: Aval, *, windows: Windows) -> Aval:
    return grad.of((*grad.shape[: -len(windows.size)], *windows.size))


def _avg_input_numpy(np: Any, grad: Any, *, windows: Windows) -> Any:
    x = _divided(np, grad, windows)
    for a, axis in enumerate(axes_of(windows, x.ndim)):
        if windows.kernel[a] == 1 and windows.stride[a] == 1 and not windows.padding[a]:
            continue
        total = np.zeros_like(x, shape=(*x.shape[:axis], windows.size[a], *x.shape[axis + 1 :]))
        for k in range(windows.kernel[a]):
            wanted, given = windows.valid(a, k)
            if wanted.start < wanted.stop:
                total[along(x.ndim, axis, given)] += x[along(x.ndim, axis, wanted)]
        x = total
    return x


def _avg_input_lax(jnp: Any, grad: Any, *, windows: Windows) -> Any:
    from jax import lax

    x: Any = _divided(jnp, grad, windows)
    zero = jnp.zeros((), x.dtype)
    for a, axis in enumerate(axes_of(windows, x.ndim)):
        total = None
        out, step, before = windows.out[a], windows.stride[a], windows.padding[a]
        span = (out - 1) * step + 1
        for k in range(windows.kernel[a]):
            config = [(0, 0, 0)] * x.ndim
            config[axis] = (k - before, windows.size[a] - span - (k - before), step - 1)
            part = lax.pad(x, zero, config)
            total = part if total is None else total + part
        assert total is not None
        x = total
    return x


AVG_POOL_INPUT = operator(
    "avg_pool_input",
    _avg_input_rule,
    None,
    lambda grad, windows: AVG_POOL(grad, windows),
    numpy=_avg_input_numpy,
    lax=_avg_input_lax,
    samples=lambda: [case("nn.functional.avg_pool2d", T(2, 3, 6, 5), 3, stride=2, padding=1)],
    grad_name=lambda call: f"AvgPool{len(call.params['windows'].size)}DBackwardBackward0",
)
