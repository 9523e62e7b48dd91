"""NumPy kernels of recurrent layers.

All of time is projected in one product before the walk, and the weight gradients are gathered in one
product after the walk back.  Rows of a batch lie one time step after the other, as in a packed sequence;
a padded batch is the case where all steps have equally many rows.  What happens inside the walk writes
into arrays made beforehand.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

BLOCK = 16384
"""Elements of one gate for which factors of the derivative are prepared at once: they stay in the cache."""


class Plan:
    """Which rows belong to which time step.

    Attributes:
        spans: (first row, one past the last row) of each step, in the order of the walk.
        batch: sequences in the batch.
        rows: rows in all.
        flip: for packed sequences walked backwards, the row that each row changes places with.
        earlier: for packed sequences, per row the row of the step before in [initial states; rows].
        last: for packed sequences, the row of each sequence's last step.
    """

    __slots__ = ("batch", "earlier", "flip", "last", "reverse", "rows", "spans")

    def __init__(self, steps: int, batch: int, reverse: bool, batch_sizes: tuple[int, ...] | None) -> None:
        self.batch = batch
        self.reverse = reverse
        self.flip = self.earlier = self.last = None
        if batch_sizes is None or len(set(batch_sizes)) == 1:
            steps = steps if batch_sizes is None else len(batch_sizes)
            self.rows = steps * batch
            self.spans = [(t * batch, (t + 1) * batch) for t in range(steps)]
            if reverse:
                self.spans.reverse()
            return
        sizes = np.array(batch_sizes)
        starts = np.concatenate(([0], np.cumsum(sizes)))
        self.rows = int(starts[-1])
        self.spans = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        step = np.repeat(np.arange(len(sizes)), sizes)
        member = np.arange(self.rows) - starts[step]
        lengths = (sizes[:, None] > np.arange(batch)).sum(0)
        self.last = starts[lengths - 1] + np.arange(batch)
        self.earlier = np.where(step > 0, starts[step - 1] + member + batch, member)
        if reverse:
            # A packed batch read backwards is a packed batch again, with the same number of rows per step.
            self.flip = starts[lengths[member] - 1 - step] + member
            self.reverse = False

    def walked(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the order of the walk (and, applied once more, back again)."""
        return rows if self.flip is None else rows[self.flip]

    def final(self, rows: np.ndarray) -> np.ndarray:
        """The rows of each sequence's last step."""
        if self.last is not None:
            return rows[self.last]
        return rows[: self.batch] if self.reverse else rows[self.rows - self.batch :]

    def previous(self, rows: np.ndarray, initial: np.ndarray | None) -> np.ndarray:
        """For each row the state one step before it."""
        if initial is None:
            initial = np.zeros((self.batch, rows.shape[1]), rows.dtype)
        if self.earlier is not None:
            return np.concatenate((initial, rows))[self.earlier]
        if self.reverse:
            return np.concatenate((rows[self.batch :], initial))
        return np.concatenate((initial, rows[: self.rows - self.batch]))

    def blocks(self, width: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """Stretches of steps, last first, as (first row, one past the last row, spans last first)."""
        count = max(1, BLOCK // max(1, self.batch * width))
        for end in range(len(self.spans), 0, -count):
            spans = self.spans[max(0, end - count) : end]
            spans.reverse()
            low = min(spans[0][0], spans[-1][0])
            high = max(spans[0][1], spans[-1][1])
            yield low, high, spans


@functools.lru_cache(256)
def plan_of(shape: tuple[int, ...], reverse: bool, batch_sizes: tuple[int, ...] | None) -> Plan:
    """The plan for an input of this shape."""
    if batch_sizes is None:
        return Plan(shape[0], shape[1], reverse, None)
    return Plan(0, batch_sizes[0], reverse, batch_sizes)


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, x.shape[-1])


def _state(initial: np.ndarray | None, shape: tuple[int, int], dtype: Any) -> np.ndarray:
    return np.zeros(shape, dtype) if initial is None else np.ascontiguousarray(initial)


def _by_gate(rows: np.ndarray, gates: int) -> np.ndarray:
    """(rows, gates * H) seen as (gates, rows, H)."""
    return rows.reshape(rows.shape[0], gates, -1).swapaxes(0, 1)


# ---------------------------------------------------------------- forward


def forward(
    np_: Any,
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
    plan = plan_of(x.shape, reverse, batch_sizes)
    rows = plan.walked(_rows(x))
    if kind == "lstm":
        y, c, reserve = _lstm_forward(plan, rows, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr)
        extra: tuple[Any, ...] = (plan.final(c), reserve)
    elif kind == "gru":
        y, reserve = _gru_forward(plan, rows, h0, w_ih, w_hh, b_ih, b_hh)
        extra = (reserve,)
    else:
        y = _rnn_forward(plan, rows, h0, w_ih, w_hh, b_ih, b_hh, kind)
        extra = ()
    last = plan.final(y)
    return (plan.walked(y).reshape((*x.shape[:-1], y.shape[1])), last, *extra)


def _lstm_forward(
    plan: Plan, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any
) -> tuple[Any, Any, Any]:
    dtype = x.dtype
    width = w_hh.shape[0] // 4
    # Everything a gate reads enters with its sign changed, as the logistic function wants it.
    given = np.dot(np.negative(x), w_ih.T)
    if b_ih is not None:
        given -= b_ih + b_hh
    given = _by_gate(given, 4)
    reserve = np.empty((6, plan.rows, width), dtype)
    y = np.empty((plan.rows, w_hh.shape[1]), dtype)
    h = _state(h0, (plan.batch, y.shape[1]), dtype)
    c = _state(c0, (plan.batch, width), dtype)
    one = np.ones((), dtype)
    scratch = np.zeros((plan.batch, 4 * width), dtype)
    product = np.empty((plan.batch, width), dtype)
    hidden: Any = np.empty((plan.batch, width), dtype) if w_hr is not None else None
    weight = w_hh.T
    known = h0 is not None
    count = -1
    for low, high in plan.spans:
        if high - low != count:
            count = high - low
            flat = scratch[:count]
            felt = _by_gate(flat, 4)
            felt_if, felt_g, felt_o = felt[:2], felt[2], felt[3]
            t = product[:count]
            h = h[:count]
            c = c[:count]
        if known:
            np.dot(h, weight, flat)
        known = True
        p = given[:, low:high]
        s = reserve[:, low:high]
        gates = s[:3]
        i, f, o, g, c_new, squashed = s
        np.subtract(p[:2], felt_if, s[:2])
        np.subtract(p[3], felt_o, o)
        np.subtract(felt_g, p[2], g)
        np.exp(gates, gates)
        np.add(gates, one, gates)
        np.reciprocal(gates, gates)
        np.tanh(g, g)
        np.multiply(f, c, c_new)
        np.multiply(i, g, t)
        np.add(c_new, t, c_new)
        np.tanh(c_new, squashed)
        h = y[low:high]
        if hidden is None:
            np.multiply(o, squashed, h)
        else:
            m = hidden[:count]
            np.multiply(o, squashed, m)
            np.dot(m, w_hr.T, h)  # type: ignore[union-attr]
        c = c_new
    return y, reserve[4], reserve


def _gru_forward(plan: Plan, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> tuple[Any, Any]:
    dtype = x.dtype
    width = w_hh.shape[1]
    given = np.dot(np.negative(x), w_ih.T)
    bias = np.zeros(width, dtype)
    if b_ih is not None:
        given -= b_ih
        given[:, : 2 * width] -= b_hh[: 2 * width]
        bias = b_hh[2 * width :]
    given = _by_gate(given, 3)
    reserve = np.empty((4, plan.rows, width), dtype)
    y = np.empty((plan.rows, width), dtype)
    h = _state(h0, (plan.batch, width), dtype)
    one = np.ones((), dtype)
    scratch = np.zeros((plan.batch, 3 * width), dtype)
    product = np.empty((plan.batch, width), dtype)
    weight = w_hh.T
    known = h0 is not None
    count = -1
    for low, high in plan.spans:
        if high - low != count:
            count = high - low
            flat = scratch[:count]
            felt = _by_gate(flat, 3)
            felt_rz, felt_n = felt[:2], felt[2]
            t = product[:count]
            h = h[:count]
        if known:
            np.dot(h, weight, flat)
        known = True
        p = given[:, low:high]
        s = reserve[:, low:high]
        gates = s[:2]
        r, z, n, recalled = s
        np.subtract(p[:2], felt_rz, gates)
        np.exp(gates, gates)
        np.add(gates, one, gates)
        np.reciprocal(gates, gates)
        np.add(felt_n, bias, recalled)
        np.multiply(r, recalled, n)
        np.subtract(n, p[2], n)
        np.tanh(n, n)
        np.subtract(h, n, t)
        np.multiply(t, z, t)
        h = y[low:high]
        np.add(n, t, h)
    return y, reserve


def _rnn_forward(plan: Plan, x: Any, h0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, kind: str) -> Any:
    y = np.dot(x, w_ih.T)
    if b_ih is not None:
        y += b_ih + b_hh
    h = None if h0 is None else np.ascontiguousarray(h0)
    zero = np.zeros((), x.dtype)
    scratch = np.empty((plan.batch, y.shape[1]), x.dtype)
    weight = w_hh.T
    for low, high in plan.spans:
        now = y[low:high]
        if h is not None:
            t = scratch[: high - low]
            np.dot(h[: high - low], weight, t)
            np.add(now, t, now)
        if kind == "tanh":
            np.tanh(now, now)
        else:
            np.maximum(now, zero, out=now)
        h = now
    return y


# ---------------------------------------------------------------- backward


def backward(
    np_: Any,
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
    plan = plan_of(x.shape, reverse, batch_sizes)
    gy, y = plan.walked(_rows(gy)), plan.walked(_rows(y))
    # The states' gradients are carried along in place.
    dh = np.array(gh, order="C")
    found: dict[str, Any] = {"h0": dh}
    if kind == "lstm":
        dc = found["c0"] = np.array(gc, order="C")
        d, found["w_hr"] = _lstm_backward(plan, gy, dh, dc, c0, w_hh, w_hr, reserve, "h0" in wanted)
        inner = d
    elif kind == "gru":
        earlier = plan.previous(y, h0)
        d = _gru_backward(plan, gy, dh, earlier, w_hh, reserve)
        inner = d[:, : w_hh.shape[0]]
    else:
        inner = d = _rnn_backward(plan, gy, dh, w_hh, y, kind, "h0" in wanted)
    if "w_hh" in wanted:
        if kind != "gru":
            earlier = plan.previous(y, h0)
        found["w_hh"] = np.dot(inner.T, earlier)
    if "b_hh" in wanted or "b_ih" in wanted:
        sums = np.add.reduce(d, 0)
        width = w_hh.shape[1]
        found["b_hh"] = sums[: w_hh.shape[0]]
        found["b_ih"] = sums if kind != "gru" else np.concatenate((sums[: 2 * width], sums[3 * width :]))
    if "w_ih" in wanted:
        found["w_ih"] = _outer(d, plan.walked(_rows(x)), w_ih, kind)
    if "x" in wanted:
        found["x"] = plan.walked(_inner(d, w_ih, kind)).reshape(x.shape)
    return tuple([found[name] for name in wanted])


def _outer(d: Any, x: Any, w_ih: Any, kind: str) -> Any:
    if kind != "gru":
        return np.dot(d.T, x)
    # The new gate's own part of the gradient stands fourth, behind its recurrent part.
    width = d.shape[1] // 4
    result = np.empty(w_ih.shape, d.dtype)
    np.dot(d[:, : 2 * width].T, x, result[: 2 * width])
    np.dot(d[:, 3 * width :].T, x, result[2 * width :])
    return result


def _inner(d: Any, w_ih: Any, kind: str) -> Any:
    if kind != "gru":
        return np.dot(d, w_ih)
    width = d.shape[1] // 4
    result = np.dot(d[:, : 2 * width], w_ih[: 2 * width])
    result += np.dot(d[:, 3 * width :], w_ih[2 * width :])
    return result


def _lstm_backward(
    plan: Plan, gy: Any, dh: Any, dc: Any, c0: Any, w_hh: Any, w_hr: Any, reserve: Any, to_start: bool
) -> tuple[Any, Any]:
    dtype = gy.dtype
    width = w_hh.shape[0] // 4
    w_hh = np.ascontiguousarray(w_hh)
    _, f_all, o_all, _, c_all, squashed_all = reserve
    earlier = plan.previous(c_all, c0)
    d = np.empty((plan.rows, 4 * width), dtype)
    d_gates = _by_gate(d, 4)
    one = np.ones((), dtype)
    product = np.empty((plan.batch, width), dtype)
    through: Any = None if w_hr is None else np.empty((plan.rows, dh.shape[1]), dtype)
    hidden: Any = None if w_hr is None else np.empty((plan.batch, width), dtype)
    first = plan.spans[0]
    for start, end, spans in plan.blocks(width):
        i, _, o, g = reserve[:4, start:end]
        squashed = squashed_all[start:end]
        # What d(cell) is multiplied by for the gates i, f and g, and d(hidden) for o.
        factors = np.empty((4, end - start, width), dtype)
        np.subtract(one, reserve[:2, start:end], factors[:2])
        factors[:2] *= reserve[:2, start:end]
        factors[0] *= g
        factors[1] *= earlier[start:end]
        np.multiply(g, g, factors[2])
        np.subtract(one, factors[2], factors[2])
        factors[2] *= i
        np.subtract(one, o, factors[3])
        factors[3] *= o
        factors[3] *= squashed
        # What d(hidden) is multiplied by on its way to d(cell).
        into_cell = np.multiply(squashed, squashed)
        np.subtract(one, into_cell, into_cell)
        into_cell *= o
        for low, high in spans:
            count = high - low
            dh_now, dc_now, t = dh[:count], dc[:count], product[:count]
            np.add(dh_now, gy[low:high], dh_now)
            dm = dh_now
            if through is not None:
                through[low:high] = dh_now
                dm = hidden[:count]
                np.dot(dh_now, w_hr, dm)  # type: ignore[arg-type]
            a = factors[:, low - start : high - start]
            gates = d_gates[:, low:high]
            np.multiply(dm, into_cell[low - start : high - start], t)
            np.add(dc_now, t, dc_now)
            np.multiply(dc_now, a[:3], gates[:3])
            np.multiply(dm, a[3], gates[3])
            np.multiply(dc_now, f_all[low:high], dc_now)
            if to_start or (low, high) != first:
                np.dot(d[low:high], w_hh, dh_now)
    if through is None:
        return d, None
    return d, np.dot(through.T, np.multiply(o_all, squashed_all))


def _gru_backward(plan: Plan, gy: Any, dh: Any, earlier: Any, w_hh: Any, reserve: Any) -> Any:
    dtype = gy.dtype
    width = w_hh.shape[1]
    w_hh = np.ascontiguousarray(w_hh)
    # Gradients of r, z, the recurrent part of n, and n itself.
    d = np.empty((plan.rows, 4 * width), dtype)
    d_gates = _by_gate(d, 4)
    one = np.ones((), dtype)
    product = np.empty((plan.batch, width), dtype)
    for start, end, spans in plan.blocks(width):
        r, z, n, recalled = reserve[:, start:end]
        factors = np.empty((4, end - start, width), dtype)
        keep = np.subtract(one, z)
        np.multiply(n, n, factors[3])
        np.subtract(one, factors[3], factors[3])
        factors[3] *= keep
        np.multiply(factors[3], r, factors[2])
        np.subtract(earlier[start:end], n, factors[1])
        factors[1] *= z
        factors[1] *= keep
        np.subtract(one, r, factors[0])
        factors[0] *= recalled
        factors[0] *= factors[2]
        for low, high in spans:
            count = high - low
            dh_now, t = dh[:count], product[:count]
            np.add(dh_now, gy[low:high], dh_now)
            np.multiply(dh_now, factors[:, low - start : high - start], d_gates[:, low:high])
            np.multiply(dh_now, z[low - start : high - start], t)
            np.dot(d[low:high, : 3 * width], w_hh, dh_now)
            np.add(dh_now, t, dh_now)
    return d


def _rnn_backward(plan: Plan, gy: Any, dh: Any, w_hh: Any, y: Any, kind: str, to_start: bool) -> Any:
    w_hh = np.ascontiguousarray(w_hh)
    if kind == "tanh":
        d = np.multiply(y, y)
        np.subtract(np.ones((), y.dtype), d, d)
    else:
        d = (y > 0).astype(y.dtype)
    first = plan.spans[0]
    for low, high in reversed(plan.spans):
        dh_now, now = dh[: high - low], d[low:high]
        np.add(dh_now, gy[low:high], dh_now)
        np.multiply(now, dh_now, now)
        if to_start or (low, high) != first:
            np.dot(now, w_hh, dh_now)
    return d
