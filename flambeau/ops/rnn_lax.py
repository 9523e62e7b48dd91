"""XLA kernels of recurrent layers: one scan over time each way, with the large products outside.

A packed sequence is padded for the walk.  Forwards, what runs on after a sequence's end is dropped;
backwards, a sequence's gradient enters at its last step and zeros before that, so padding adds nothing.

Accelerators may give operands in half precision: products are of these, and all else, the states too, is in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.ops.multiply import dot, tensordot, widened
from flambeau.ops.rnn_kernels import plan_of


class Layout:
    """How rows in the order of the walk become (T, N, ...) and back.

    Attributes:
        steps, batch: T and N.
        take: per (step, sequence) its row, or the one past the last for padding; None if nothing is padded.
        place: per row its place in the flattened (T, N); None likewise.
    """

    def __init__(self, x_shape: tuple[int, ...], reverse: bool, batch_sizes: tuple[int, ...] | None) -> None:
        plan = self.plan = plan_of(x_shape, reverse, batch_sizes)
        self.steps, self.batch = len(plan.spans), plan.batch
        self.take = self.place = None
        if plan.last is not None:
            self.take = np.full((self.steps, self.batch), plan.rows, np.int32)
            for t, (low, high) in enumerate(plan.spans):
                self.take[t, : high - low] = np.arange(low, high)
            flat = self.take.reshape(-1)
            self.place = np.argsort(flat, kind="stable")[: plan.rows].astype(np.int32)

    def padded(self, jnp: Any, rows: Any) -> Any:
        """(R, ...) to (T, N, ...)."""
        if self.take is None:
            return rows.reshape((self.steps, self.batch, *rows.shape[1:]))
        if self.plan.flip is not None:
            rows = rows[self.plan.flip]
        zero = jnp.zeros((1, *rows.shape[1:]), rows.dtype)
        return jnp.concatenate((rows, zero))[self.take]

    def packed(self, padded: Any) -> Any:
        """(T, N, ...) to (R, ...)."""
        rows = padded.reshape((-1, *padded.shape[2:]))
        if self.place is not None:
            rows = rows[self.place]
        return rows if self.plan.flip is None else rows[self.plan.flip]

    def kept(self, padded: Any) -> Any:
        """(T, N, ...) to (R, ...) in the order of the walk, as what is saved lies."""
        rows = padded.reshape((-1, *padded.shape[2:]))
        return rows if self.place is None else rows[self.place]

    def unkept(self, jnp: Any, rows: Any) -> Any:
        """The inverse of :meth:`kept`, with zeros for padding."""
        if self.take is None:
            return rows.reshape((self.steps, self.batch, *rows.shape[1:]))
        zero = jnp.zeros((1, *rows.shape[1:]), rows.dtype)
        return jnp.concatenate((rows, zero))[self.take]

    def final(self, padded: Any) -> Any:
        """Each sequence's last step."""
        if self.plan.last is not None:
            return padded.reshape((-1, *padded.shape[2:]))[self.place[self.plan.last]]  # type: ignore[index]
        return padded[0] if self.plan.reverse else padded[-1]

    def entering(self, jnp: Any, final: Any) -> Any:
        """Gradients of final states, (N, ...), at the steps where they enter: (T, N, ...) and zeros."""
        flat = jnp.zeros((self.steps * self.batch, *final.shape[1:]), final.dtype)
        return flat.at[self.place[self.plan.last]].set(final).reshape((self.steps, self.batch, *final.shape[1:]))  # type: ignore[index]

    def earlier(self, jnp: Any, padded: Any, initial: Any) -> Any:
        """The states one step before."""
        if initial is None:
            initial = jnp.zeros(padded.shape[1:], padded.dtype)
        if self.plan.reverse:
            return jnp.concatenate((padded[1:], initial[None]))
        return jnp.concatenate((initial[None], padded[:-1]))


def _scan(step: Any, carry: Any, xs: Any, reverse: bool) -> Any:
    from jax import lax

    # Not unrolled: measured on CPUs, that multiplied the time to compile and gained nothing.  What a step keeps lies in
    # few arrays: with more than a handful of kernels, XLA hands those of each step to its threads, which takes longer
    # than small ones themselves.
    return lax.scan(step, carry, xs, reverse=reverse)


def _times(jnp: Any, x: Any, weight: Any) -> Any:
    """A product with a weight, in the weight's type."""
    return dot(jnp, x.astype(weight.dtype), weight)


def _flat(x: Any) -> Any:
    return x.reshape((-1, x.shape[-1]))


def forward(
    jnp: Any,
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    b_ih: Any,
    b_hh: Any,
    w_hr: Any,
    *,
    kind: str,
    reverse: bool,
    batch_sizes: tuple[int, ...] | None,
) -> tuple[Any, ...]:
    """Outputs, final states and what the way back needs, for one layer in one direction."""
    h0, c0, b_ih, b_hh = [widened(part) for part in (h0, c0, b_ih, b_hh)]
    layout = Layout(x.shape, reverse, batch_sizes)
    width = w_hh.shape[0] // {"lstm": 4, "gru": 3}.get(kind, 1)
    given = _times(jnp, _flat(x), w_ih.T)
    if b_ih is not None:
        if kind == "gru":
            given = given + (b_ih + jnp.concatenate((b_hh[: 2 * width], jnp.zeros(width, b_hh.dtype))))
        else:
            given = given + (b_ih + b_hh)
    given = layout.padded(jnp, given)
    shape = (layout.batch, w_hh.shape[1])
    h = jnp.zeros(shape, given.dtype) if h0 is None else h0
    weight = w_hh.T
    if kind == "lstm":
        c = jnp.zeros((layout.batch, width), given.dtype) if c0 is None else c0
        step = _lstm_step(jnp, weight, w_hr, width)
        _, (y, (gates, cells, squashed)) = _scan(step, (h, c), given, layout.plan.reverse)
        i, f, g, o = jnp.split(gates, 4, -1)
        saved = (i, f, o, g, cells, squashed)
    elif kind == "gru":
        step = _gru_step(jnp, weight, None if b_hh is None else b_hh[2 * width :], width)
        _, (y, saved) = _scan(step, h, given, layout.plan.reverse)
    else:
        step = _rnn_step(jnp, weight, kind)
        _, y = _scan(step, h, given, layout.plan.reverse)
    results = [layout.packed(y).reshape((*x.shape[:-1], shape[1])), layout.final(y)]
    if kind == "lstm":
        results.append(layout.final(cells))
    if kind in ("lstm", "gru"):
        results.append(jnp.stack([layout.kept(part) for part in saved]))
    return tuple(results)


def _logistic(x: Any) -> Any:
    from jax import lax

    return lax.logistic(x)


def _lstm_step(jnp: Any, weight: Any, w_hr: Any, width: int) -> Any:
    def step(carry: Any, given: Any) -> Any:
        h, c = carry
        z = given + _times(jnp, h, weight)
        into, new, out = z[:, : 2 * width], z[:, 2 * width : 3 * width], z[:, 3 * width :]
        gates = jnp.concatenate((_logistic(into), jnp.tanh(new), _logistic(out)), 1)
        i, f, g, o = jnp.split(gates, 4, 1)
        c = f * c + i * g
        squashed = jnp.tanh(c)
        h = o * squashed
        if w_hr is not None:
            h = _times(jnp, h, w_hr.T)
        return (h, c), (h, (gates, c, squashed))

    return step


def _gru_step(jnp: Any, weight: Any, bias: Any, width: int) -> Any:
    def step(h: Any, given: Any) -> Any:
        felt = _times(jnp, h, weight)
        r = _logistic(given[:, :width] + felt[:, :width])
        z = _logistic(given[:, width : 2 * width] + felt[:, width : 2 * width])
        recalled = felt[:, 2 * width :]
        if bias is not None:
            recalled = recalled + bias
        n = jnp.tanh(given[:, 2 * width :] + r * recalled)
        h = n + z * (h - n)
        return h, (h, (r, z, n, recalled))

    return step


def _rnn_step(jnp: Any, weight: Any, kind: str) -> Any:
    def step(h: Any, given: Any) -> Any:
        z = given + _times(jnp, h, weight)
        h = jnp.tanh(z) if kind == "tanh" else jnp.maximum(z, 0)
        return h, h

    return step


def backward(
    jnp: Any,
    gy: Any,
    gh: Any,
    gc: Any,
    x: Any,
    h0: Any,
    c0: Any,
    w_ih: Any,
    w_hh: Any,
    w_hr: Any,
    y: Any,
    reserve: Any,
    *,
    kind: str,
    reverse: bool,
    batch_sizes: tuple[int, ...] | None,
    wanted: tuple[str, ...],
) -> tuple[Any, ...]:
    """The gradients named in ``wanted``: of x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr."""
    gy, gh, gc, h0, c0, y, reserve = [widened(part) for part in (gy, gh, gc, h0, c0, y, reserve)]
    layout = Layout(x.shape, reverse, batch_sizes)
    gy, y = layout.padded(jnp, _flat(gy)), layout.padded(jnp, _flat(y))
    if layout.take is not None:
        gy = gy + layout.entering(jnp, gh)
        gh = jnp.zeros_like(gh)
    found: dict[str, Any] = {}
    earlier = layout.earlier(jnp, y, h0)
    if kind == "lstm":
        d = _lstm_backward(jnp, layout, gy, gh, gc, c0, w_hh, w_hr, reserve, found)
    elif kind == "gru":
        d = _gru_backward(jnp, layout, gy, gh, earlier, w_hh, reserve, found)
    else:
        slope = 1 - y * y if kind == "tanh" else (y > 0).astype(y.dtype)

        def step(dh: Any, given: Any) -> Any:
            gy_now, slope_now = given
            d_now = (dh + gy_now) * slope_now
            return _times(jnp, d_now, w_hh), d_now

        found["h0"], d = _scan(step, gh, (gy, slope), not layout.plan.reverse)
    inner = outer = _flat(d)
    if kind == "gru":
        width = w_hh.shape[1]
        inner = inner[:, : 3 * width]
        outer = jnp.concatenate((outer[:, : 2 * width], outer[:, 3 * width :]), 1)
    summed_product = _product if kind == "gru" else _product_of_copies
    found["w_hh"] = summed_product(jnp, inner, earlier, w_hh.dtype)
    found["b_hh"] = inner.sum(0)
    found["b_ih"] = outer.sum(0)
    found["w_ih"] = summed_product(jnp, outer, layout.padded(jnp, _flat(x)), w_ih.dtype)
    if "x" in wanted:
        found["x"] = layout.packed(_times(jnp, outer, w_ih).reshape((*d.shape[:2], -1))).reshape(x.shape)
    return tuple([found[name] for name in wanted])


def _product(jnp: Any, rows: Any, given: Any, dtype: Any) -> Any:
    """``Σ rowsᵀ given`` over steps and sequences, for rows (TN, M) and what was given (T, N, K), in a type."""
    return dot(jnp, rows.astype(dtype).T, _flat(given).astype(dtype))


def _product_of_copies(jnp: Any, rows: Any, given: Any, dtype: Any) -> Any:
    """The same, for rows that the walk left in memory as they are.

    In three dimensions XLA turns a copy of them first, which halves the time of its product.  Where they have to be
    put together, it would do so across its rows, and take longer than it gains.
    """
    steps = given.shape[:2]
    rows = rows.reshape((*steps, rows.shape[1]))
    return tensordot(jnp, rows.astype(dtype), given.astype(dtype), ((0, 1), (0, 1)))


def _lstm_backward(
    jnp: Any, layout: Layout, gy: Any, gh: Any, gc: Any, c0: Any, w_hh: Any, w_hr: Any, reserve: Any, found: Any
) -> Any:
    i, f, o, g, c, squashed = [layout.unkept(jnp, part) for part in reserve]
    slopes = (i * (1 - i) * g, f * (1 - f) * layout.earlier(jnp, c, c0), i * (1 - g * g))
    into_o = o * (1 - o) * squashed
    into_cell = o * (1 - squashed * squashed)
    entering = None
    if layout.take is not None:
        entering = layout.entering(jnp, gc)
        gc = jnp.zeros_like(gc)

    def step(carry: Any, given: Any) -> Any:
        dh, dc = carry
        gy_now, f_now, slopes_now, into_o_now, into_cell_now, entering_now = given
        dh = dh + gy_now
        dm = dh if w_hr is None else _times(jnp, dh, w_hr)
        dc = dc + dm * into_cell_now
        if entering_now is not None:
            dc = dc + entering_now
        d = jnp.concatenate([dc * slope for slope in slopes_now] + [dm * into_o_now], 1)
        return (_times(jnp, d, w_hh), dc * f_now), (d, None if w_hr is None else dh)

    given = (gy, f, slopes, into_o, into_cell, entering)
    (found["h0"], found["c0"]), (d, through) = _scan(step, (gh, gc), given, not layout.plan.reverse)
    if w_hr is not None:
        found["w_hr"] = _product(jnp, _flat(through), o * squashed, w_hr.dtype)
    return d


def _gru_backward(jnp: Any, layout: Layout, gy: Any, gh: Any, earlier: Any, w_hh: Any, reserve: Any, found: Any) -> Any:
    r, z, n, recalled = [layout.unkept(jnp, part) for part in reserve]
    into_n = (1 - z) * (1 - n * n)
    into_recalled = into_n * r
    slopes = (into_recalled * recalled * (1 - r), (earlier - n) * z * (1 - z), into_recalled, into_n)
    width = w_hh.shape[1]

    def step(dh: Any, given: Any) -> Any:
        gy_now, z_now, slopes_now = given
        dh = dh + gy_now
        d = jnp.concatenate([dh * slope for slope in slopes_now], 1)
        return dh * z_now + _times(jnp, d[:, : 3 * width], w_hh), d

    found["h0"], d = _scan(step, gh, (gy, z, slopes), not layout.plan.reverse)
    return d
