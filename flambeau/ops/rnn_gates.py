"""The elementwise part of a step of an LSTM or GRU: what is left of it once the products are taken out.

Loops over time are made of these, since the products with the inputs can then be done for all steps at once.  Their
derivatives are written so that whatever does not depend on the gradient is worked out by itself: that, too, a loop
does for all steps at once.
"""

from __future__ import annotations

from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops import composed
from flambeau.ops.join import cat
from flambeau.ops.matmul import linear
from flambeau.ops.operator import operator
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

# ---------------------------------------------------------------- LSTM


def _lstm_rule(given: Aval, felt: Aval, c: Aval) -> tuple[Aval, ...]:
    return (c.of(),) * 7


def _lstm_lax(jnp: Any, given: Any, felt: Any, c: Any) -> Any:
    from jax.lax import logistic

    width = c.shape[-1]
    z = given + felt
    i = logistic(z[..., :width])
    f = logistic(z[..., width : 2 * width])
    g = jnp.tanh(z[..., 2 * width : 3 * width])
    o = logistic(z[..., 3 * width :])
    c = f * c + i * g
    squashed = jnp.tanh(c)
    return o * squashed, c, i, f, g, o, squashed


def _lstm_numpy(np: Any, given: Any, felt: Any, c: Any) -> Any:
    width = c.shape[-1]
    gates = np.add(given, felt)
    g = np.tanh(gates[..., 2 * width : 3 * width])
    np.negative(gates, gates)
    np.exp(gates, gates)
    gates += gates.dtype.type(1)
    np.reciprocal(gates, gates)
    i, f, o = gates[..., :width], gates[..., width : 2 * width], gates[..., 3 * width :]
    c = f * c
    c += i * g
    squashed = np.tanh(c)
    return o * squashed, c, i, f, g, o, squashed


def _lstm_composed(given: Tensor, felt: Tensor, c: Tensor) -> list[Tensor]:
    i, f, g, o = (given + felt).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return [o.sigmoid() * c.tanh(), c]


def _lstm_derivative(grads: list[Tensor], inputs: list[Any], outs: list[Tensor], needs: tuple[bool, ...]) -> Any:
    if mode.grad:
        return composed.gradients(_lstm_composed, inputs, needs, grads)
    c = inputs[2]
    gh, gc = grads[:2]
    _, _, i, f, g, o, squashed = outs
    gc = gc + gh * (o * (1 - squashed * squashed))
    slopes = ((1 - i) * i * g, (1 - f) * f * c, (1 - g * g) * i)
    gates = cat([*[gc * slope for slope in slopes], gh * ((1 - o) * o * squashed)], -1)
    return gates, gates, gc * f


LSTM_GATES = operator(
    "lstm_gates",
    _lstm_rule,
    None,
    _lstm_derivative,
    numpy=_lstm_numpy,
    lax=_lstm_lax,
    grad_name="ThnnFusedLstmCellBackward0",
    samples=lambda: [case("lstm_cell", T(2, 3), [T(2, 4), T(2, 4)], T(16, 3), T(16, 4), T(16), T(16))],
)


# ---------------------------------------------------------------- GRU


def _gru_rule(given: Aval, felt: Aval, h: Aval) -> tuple[Aval, ...]:
    return (h.of(),) * 4


def _gru_lax(jnp: Any, given: Any, felt: Any, h: Any) -> Any:
    from jax.lax import logistic

    width = h.shape[-1]
    r = logistic(given[..., :width] + felt[..., :width])
    z = logistic(given[..., width : 2 * width] + felt[..., width : 2 * width])
    n = jnp.tanh(given[..., 2 * width :] + r * felt[..., 2 * width :])
    return n + z * (h - n), r, z, n


def _gru_numpy(np: Any, given: Any, felt: Any, h: Any) -> Any:
    width = h.shape[-1]
    gates = np.add(given[..., : 2 * width], felt[..., : 2 * width])
    np.negative(gates, gates)
    np.exp(gates, gates)
    gates += gates.dtype.type(1)
    np.reciprocal(gates, gates)
    r, z = gates[..., :width], gates[..., width:]
    n = r * felt[..., 2 * width :]
    n += given[..., 2 * width :]
    np.tanh(n, n)
    kept = h - n
    kept *= z
    kept += n
    return kept, r, z, n


def _gru_composed(given: Tensor, felt: Tensor, h: Tensor) -> list[Tensor]:
    given_r, given_z, given_n = given.chunk(3, -1)
    felt_r, felt_z, felt_n = felt.chunk(3, -1)
    n = (given_n + (given_r + felt_r).sigmoid() * felt_n).tanh()
    return [n + (given_z + felt_z).sigmoid() * (h - n)]


def _gru_derivative(grads: list[Tensor], inputs: list[Any], outs: list[Tensor], needs: tuple[bool, ...]) -> Any:
    if mode.grad:
        return composed.gradients(_gru_composed, inputs, needs, grads)
    _, felt, h = inputs
    _, r, z, n = outs
    gh = grads[0]
    recalled = felt.narrow(-1, 2 * n.shape[-1], n.shape[-1])
    into_n = (1 - z) * (1 - n * n)
    into_recalled = into_n * r
    from_r = gh * (into_recalled * recalled * (1 - r))
    from_z = gh * ((h - n) * z * (1 - z))
    return (
        cat([from_r, from_z, gh * into_n], -1),
        cat([from_r, from_z, gh * into_recalled], -1),
        gh * z,
    )


GRU_GATES = operator(
    "gru_gates",
    _gru_rule,
    None,
    _gru_derivative,
    numpy=_gru_numpy,
    lax=_gru_lax,
    grad_name="ThnnFusedGruCellBackward0",
    samples=lambda: [case("gru_cell", T(2, 3), T(2, 4), T(12, 3), T(12, 4), T(12), T(12))],
)


# ---------------------------------------------------------------- a step in parts


def step_in_parts(
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    kind: str,
    reverse: bool,
    batch_sizes: tuple[int, ...] | None,
) -> tuple[Tensor, ...] | None:
    """One step of a recurrent layer as its products and the rest; None for more than a step."""
    if batch_sizes is None or len(batch_sizes) != 1 or h is None or w_hr is not None:
        return None
    if kind == "gru":
        new = GRU_GATES(linear(x, w_ih, b_ih), linear(h, w_hh, b_hh), h)[0]
        return new, new
    bias = None if b_ih is None or b_hh is None else b_ih + b_hh
    given = linear(x, w_ih, bias)
    felt = linear(h, w_hh)
    if kind == "lstm":
        if c is None:
            return None
        new, cell = LSTM_GATES(given, felt, c)[:2]
        return new, new, cell
    z = given + felt
    new = z.tanh() if kind == "tanh" else z.relu()
    return new, new
