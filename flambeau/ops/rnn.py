"""Recurrent layers: LSTM, GRU and the plain recurrent net, and their single steps.

One layer in one direction is one node, over all of time.  Its way back is an operator of its own, which
reads the gates that the forward walk kept.  Where the gradient must be differentiable in turn, the layer
is written out step by step in elementary operations instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.node import Aval
from flambeau.ops import autocast, composed, rnn_gates, rnn_kernels
from flambeau.ops.dropout import dropout as drop
from flambeau.ops.join import cat, stack
from flambeau.ops.matmul import linear
from flambeau.ops.operator import NotDifferentiable, operator, public
from flambeau.ops.samples import T, case
from flambeau.tensor.tensor import Tensor

GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}
NAMES = ("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "w_hr")
"""The inputs of a layer, by which its gradients are named."""

BatchSizes = tuple[int, ...] | None


# ---------------------------------------------------------------- one layer, one direction


def _recurrent_rule(
    x: Aval,
    h0: Aval | None,
    c0: Aval | None,
    w_ih: Aval,
    w_hh: Aval,
    b_ih: Aval | None,
    b_hh: Aval | None,
    w_hr: Aval | None,
    *,
    kind: str,
    reverse: bool,
    batch_sizes: BatchSizes,
) -> tuple[Aval, ...]:
    _check(kind, x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr)
    batch = x.shape[1] if batch_sizes is None else batch_sizes[0]
    rows = 1
    for n in x.shape[:-1]:
        rows *= n
    if not rows and x.shape[0] == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    width = w_hh.shape[0] // GATES[kind]
    out = w_hh.shape[1]
    results = [x.of((*x.shape[:-1], out)), x.of((batch, out))]
    if kind == "lstm":
        # The gates i, f, o and g, the cell, and its hyperbolic tangent.
        results += [x.of((batch, width)), x.of((6, rows, width))]
    elif kind == "gru":
        # The gates r, z and n, and the part of n that comes from the state.
        results.append(x.of((4, rows, width)))
    return tuple(results)


def _check(kind: str, x: Aval, h0: Any, c0: Any, w_ih: Aval, w_hh: Aval, b_ih: Any, b_hh: Any, w_hr: Any) -> None:
    for name, given in zip(NAMES[1:], (h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr), strict=True):
        if given is not None and given.dtype is not x.dtype:
            raise RuntimeError(
                f"Expected object of scalar type {x.dtype.title} but got scalar type {given.dtype.title} "
                f"({kind}: input {x} and {name} {given}; convert one with .to())"
            )
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"\"{kind}\" not implemented for '{x.dtype.title}'")
    if len(w_ih.shape) != 2 or w_ih.shape[1] != x.shape[-1]:
        rows = 1
        for n in x.shape[:-1]:
            rows *= n
        shape = "x".join(map(str, reversed(w_ih.shape)))
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and {shape}) "
            f"({kind}: input {x} and w_ih {w_ih})"
        )
    gates, width = w_hh.shape[0], w_hh.shape[0] // GATES[kind]
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "w_ih": (w_ih, (gates, w_ih.shape[1])),
        "b_ih": (b_ih, (gates,)),
        "b_hh": (b_hh, (gates,)),
        "w_hr": (w_hr, (w_hh.shape[1], width)),
    }
    for name, (given, shape) in wanted.items():
        if given is not None and given.shape != shape:
            raise RuntimeError(
                f"{kind}: {name} has shape {list(given.shape)}, where w_hh {w_hh} asks for {list(shape)}"
            )
    if w_hr is None and w_hh.shape[1] != width:
        raise RuntimeError(f"{kind}: w_hh has shape {list(w_hh.shape)}, expected {list((gates, width))}")


def _recurrent_lax(jnp: Any, *arrays: Any, **attrs: Any) -> Any:
    from flambeau.ops import rnn_lax

    return rnn_lax.forward(jnp, *arrays, **attrs)


def _recurrent_derivative(
    grads: list[Tensor],
    inputs: list[Tensor | None],
    outs: list[Tensor],
    needs: tuple[bool, ...],
    kind: str,
    reverse: bool,
    batch_sizes: BatchSizes,
) -> Any:
    if mode.grad:
        layer = partial(written_out, kind=kind, reverse=reverse, batch_sizes=batch_sizes)
        return composed.gradients(layer, inputs, needs, grads)
    x, h0, c0, w_ih, w_hh, _, _, w_hr = inputs
    wanted = tuple([name for name, need in zip(NAMES, needs, strict=True) if need])
    reserve = outs[-1] if kind in ("lstm", "gru") else None
    gc = grads[2] if kind == "lstm" else None
    found = RECURRENT_BACKWARD(
        grads[0], grads[1], gc, x, h0, c0, w_ih, w_hh, w_hr, outs[0], reserve, kind, reverse, batch_sizes, wanted
    )
    by_name = dict(zip(wanted, found, strict=True))
    return [by_name.get(name) for name in NAMES]


def written_out(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None,
    b_hh: Tensor | None,
    w_hr: Tensor | None,
    kind: str,
    reverse: bool,
    batch_sizes: BatchSizes,
) -> tuple[Tensor, ...]:
    """One layer in one direction in elementary operations: outputs and final states."""
    packed = batch_sizes is not None
    sizes = batch_sizes if batch_sizes is not None else (x.shape[1],) * x.shape[0]
    batch, width = sizes[0], w_hh.shape[0] // GATES[kind]
    h = x.new_zeros((batch, w_hh.shape[1])) if h0 is None else h0
    c = x.new_zeros((batch, width)) if c0 is None else c0
    given = linear(x, w_ih, b_ih)
    steps = list(given.split(list(sizes))) if packed else list(given.unbind(0))
    outputs: list[Any] = [None] * len(sizes)
    for t in range(len(sizes) - 1, -1, -1) if reverse else range(len(sizes)):
        rows = sizes[t]
        h_now, c_now = _step(steps[t], h[:rows], c[:rows], w_hh, b_hh, w_hr, kind)
        outputs[t] = h_now
        h = h_now if rows == batch else cat([h_now, h[rows:]])
        if kind == "lstm":
            c = c_now if rows == batch else cat([c_now, c[rows:]])
    y = cat(outputs).view((*x.shape[:-1], w_hh.shape[1]))
    return (y, h, c) if kind == "lstm" else (y, h)


def _step(
    given: Tensor, h: Tensor, c: Tensor, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None, kind: str
) -> tuple[Tensor, Tensor]:
    felt = linear(h, w_hh, b_hh)
    if kind == "lstm":
        i, f, g, o = (given + felt).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h if w_hr is None else linear(h, w_hr)), c
    if kind == "gru":
        given_r, given_z, given_n = given.chunk(3, 1)
        felt_r, felt_z, felt_n = felt.chunk(3, 1)
        n = (given_n + (given_r + felt_r).sigmoid() * felt_n).tanh()
        return n + (given_z + felt_z).sigmoid() * (h - n), c
    z = given + felt
    return (z.tanh() if kind == "tanh" else z.relu()), c


def _grad_name(call: Any) -> str:
    return {"lstm": "LstmBackward0", "gru": "GruBackward0"}.get(call.params["kind"], "RnnBackward0")


def _parameters(gates: int, inputs: int, width: int, bias: bool = True, projected: int = 0) -> list[T]:
    found = [T(gates * width, inputs), T(gates * width, projected or width)]
    if bias:
        found += [T(gates * width), T(gates * width)]
    if projected:
        found.append(T(projected, width))
    return found


def _samples() -> list[case]:
    state = T(1, 2, 4)
    both = [T(2, 2, 4), T(2, 2, 4)]
    lstm = _parameters(4, 3, 4)
    gru = _parameters(3, 3, 4)
    rnn = _parameters(1, 3, 4)
    return [
        case("lstm", T(5, 2, 3), [state, state], lstm, True, 1, 0.0, False, False, False),
        case("lstm", T(2, 5, 3), both, lstm + _parameters(4, 3, 4), True, 1, 0.0, False, True, True),
        case("lstm", T(3, 2, 3), both, lstm + _parameters(4, 4, 4), True, 2, 0.0, False, False, False),
        case(
            "lstm", T(3, 2, 3), [T(1, 2, 2), state], _parameters(4, 3, 4, False, 2), False, 1, 0.0, False, False, False
        ),
        case("gru", T(5, 2, 3), state, gru, True, 1, 0.0, False, False, False),
        case(
            "gru",
            T(4, 2, 3),
            both[0],
            [*_parameters(3, 3, 4, False), *_parameters(3, 3, 4, False)],
            False,
            1,
            0.0,
            False,
            True,
            False,
        ),
        case("rnn_tanh", T(5, 2, 3), state, rnn, True, 1, 0.0, False, False, False),
        case("rnn_relu", T(1, 2, 3), state, rnn, True, 1, 0.0, False, False, False),
        case("lstm_cell", T(2, 3), [T(2, 4), T(2, 4)], *lstm),
        case("gru_cell", T(2, 3), T(2, 4), *gru),
        case("rnn_tanh_cell", T(2, 3), T(2, 4), *rnn),
        case("rnn_relu_cell", T(2, 3), T(2, 4), *rnn),
    ]


RECURRENT = operator(
    "recurrent",
    _recurrent_rule,
    None,
    _recurrent_derivative,
    numpy=rnn_kernels.forward,
    lax=_recurrent_lax,
    product=True,
    grad_name=_grad_name,
    samples=_samples,
)
RECURRENT.parts = rnn_gates.step_in_parts


# ---------------------------------------------------------------- its way back


def _recurrent_backward_rule(
    gy: Aval,
    gh: Aval,
    gc: Aval | None,
    x: Aval,
    h0: Aval | None,
    c0: Aval | None,
    w_ih: Aval,
    w_hh: Aval,
    w_hr: Aval | None,
    y: Aval,
    reserve: Aval | None,
    *,
    kind: str,
    reverse: bool,
    batch_sizes: BatchSizes,
    wanted: tuple[str, ...],
) -> tuple[Aval, ...]:
    bias = x.of(w_hh.shape[:1])
    known = {"x": x, "h0": h0, "c0": c0, "w_ih": w_ih, "w_hh": w_hh, "b_ih": bias, "b_hh": bias, "w_hr": w_hr}
    return tuple([known[name].of() for name in wanted])  # type: ignore[union-attr]


def _recurrent_backward_lax(jnp: Any, *arrays: Any, **attrs: Any) -> Any:
    from flambeau.ops import rnn_lax

    return rnn_lax.backward(jnp, *arrays, **attrs)


RECURRENT_BACKWARD = operator(
    "recurrent_backward",
    _recurrent_backward_rule,
    None,
    NotDifferentiable("where a second derivative is wanted, the layer is differentiated step by step instead"),
    numpy=rnn_kernels.backward,
    lax=_recurrent_backward_lax,
    product=True,
    samples=lambda: _samples()[:2],
)


# ---------------------------------------------------------------- autocast


def _under_autocast(
    dtype: dtypes.dtype,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    weights: Sequence[Tensor | None],
    kind: str,
    reverse: bool,
    batch_sizes: BatchSizes,
) -> tuple[Tensor, ...]:
    """One layer and direction in lower precision; its results have the types that PyTorch's have.

    Where PyTorch's CPU walks the steps one by one, autocast reaches its products alone, and the states stay in the
    wider of the initial state's type (absent: ``dtype``) and the lower one.
    """
    lower = autocast.lower_type(x)
    if lower is None:
        return RECURRENT(x, h, c, *weights, kind, reverse, batch_sizes)
    projected = weights[-1] is not None
    y, *states = RECURRENT(*autocast.lowered((x, h, c, *weights), lower), kind, reverse, batch_sizes)
    if x.device.type != "cpu" or kind in ("tanh", "relu") or (kind == "lstm" and not projected and not batch_sizes):
        return y, *states
    kept = c if kind == "lstm" else h
    wide = dtypes.promote_types(dtype if kept is None else kept.dtype, lower)
    if projected:
        return y, states[0], states[1].to(wide)
    return y.to(wide), *[state.to(wide) for state in states]


# ---------------------------------------------------------------- layers upon layers


def _layers(
    kind: str,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_sizes: BatchSizes,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Outputs of the last layer, and the final states of each layer and direction."""
    directions = 2 if bidirectional else 1
    total = num_layers * directions
    each = len(params) // total if total else 0
    projected = each == (5 if has_biases else 3)
    if len(params) != total * ((4 if has_biases else 2) + projected) or (projected and kind != "lstm"):
        raise RuntimeError(f"{kind}: got {len(params)} weights for {num_layers} layers in {directions} directions")
    hs: list[Tensor] = []
    cs: list[Tensor] = []
    dtype = x.dtype
    for layer in range(num_layers):
        sides = []
        for direction in range(directions):
            at = layer * directions + direction
            own = list(params[at * each : (at + 1) * each])
            w_hr = own.pop() if projected else None
            w_ih, w_hh, b_ih, b_hh = own if has_biases else (*own, None, None)
            h = None if h0 is None else _at(h0, at, total)
            c = None if c0 is None else _at(c0, at, total)
            weights = (w_ih, w_hh, b_ih, b_hh, w_hr)
            if mode.autocast is None:
                found = RECURRENT(x, h, c, *weights, kind, direction == 1, batch_sizes)
            else:
                found = _under_autocast(dtype, x, h, c, weights, kind, direction == 1, batch_sizes)
            sides.append(found[0])
            hs.append(found[1])
            if kind == "lstm":
                cs.append(found[2])
        x = sides[0] if directions == 1 else cat(sides, -1)
        if dropout and train and layer < num_layers - 1:
            x = drop(x, dropout, True)
    return x, hs, cs


def _at(states: Tensor, index: int, total: int) -> Tensor:
    """The state of one layer and direction."""
    if states.shape[0] != total:
        raise RuntimeError(f"Expected hidden size {(total, *states.shape[1:])}, got {list(states.shape)}")
    return states[index]


def _stacked(states: list[Tensor]) -> Tensor:
    return states[0].unsqueeze(0) if len(states) == 1 else stack(states)


def run(
    kind: str,
    input: Tensor,
    batch_sizes: Any,
    states: tuple[Tensor | None, Tensor | None],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Tensor, ...]:
    """Layers over a batch, or over packed data if ``batch_sizes`` is given; absent states are zeros.

    Returns:
        The outputs and the final hidden states, for an LSTM the final cells as well.
    """
    sizes = None
    if batch_sizes is not None:
        sizes = tuple(batch_sizes.tolist()) if isinstance(batch_sizes, Tensor) else tuple(batch_sizes)
    elif input.ndim != 3:
        raise RuntimeError(f"input must have 3 dimensions, got {input.ndim}")
    x = input.transpose(0, 1) if batch_first and sizes is None else input
    y, hs, cs = _layers(kind, x, *states, params, has_biases, num_layers, dropout, train, bidirectional, sizes)
    if batch_first and sizes is None:
        y = y.transpose(0, 1)
    return (y, _stacked(hs), _stacked(cs)) if kind == "lstm" else (y, _stacked(hs))


def _arguments(args: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the padded form (input, hx, ...) or the packed one (data, batch_sizes, hx, ...)."""
    packed = "data" in named or "batch_sizes" in named or (len(args) > 3 and not isinstance(args[3], bool))
    common = ("params", "has_biases", "num_layers", "dropout", "train", "bidirectional")
    names = ("data", "batch_sizes", "hx", *common) if packed else ("input", "hx", *common, "batch_first")
    if len(args) > len(names):
        raise TypeError(f"expected at most {len(names)} arguments {names}, got {len(args)}")
    given: dict[str, Any] = dict(zip(names, args, strict=False))
    given.update(named)
    missing = [name for name in names if name not in given]
    unknown = [name for name in given if name not in names]
    if missing or unknown:
        raise TypeError(f"expected the arguments {names}; missing {missing}, unknown {unknown}")
    if packed:
        given["input"] = given.pop("data")
        given["batch_first"] = False
    else:
        given["batch_sizes"] = None
    return given


def _called(kind: str, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Tensor, ...]:
    given = _arguments(args, named)
    hx = given.pop("hx")
    if kind != "lstm":
        hx = (hx, None)
    elif len(hx) != 2:
        raise RuntimeError("lstm expects two hidden states")
    return run(kind, given.pop("input"), given.pop("batch_sizes"), (hx[0], hx[1]), **given)


@public()
def lstm(*args: Any, **named: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory over time: outputs, final hidden states, final cells.

    ``lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)``, or for
    packed sequences ``lstm(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train,
    bidirectional)``.  Formula: see :class:`flambeau.nn.LSTM`.

    Args:
        hx: hidden states and cells, each (layers * directions, N, H).
        params: per layer and direction: w_ih, w_hh, then (with biases) b_ih, b_hh, then (if projected) w_hr.

    Example:
        >>> import flambeau as torch
        >>> x, state = torch.ones(5, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
        >>> weights = [torch.zeros(16, 3), torch.zeros(16, 4)]
        >>> out, h, c = torch.lstm(x, state, weights, False, 1, 0.0, False, False, False)
        >>> out.shape, h.shape, c.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]), torch.Size([1, 2, 4]))
    """
    return _called("lstm", args, named)  # type: ignore[return-value]


@public()
def gru(*args: Any, **named: Any) -> tuple[Tensor, Tensor]:
    """Gated recurrent units over time: outputs, final states.  Arguments as of :func:`lstm`; ``hx`` is one tensor.

    Example:
        >>> import flambeau as torch
        >>> x, weights = torch.ones(5, 2, 3), [torch.zeros(12, 3), torch.zeros(12, 4)]
        >>> out, h = torch.gru(x, torch.ones(1, 2, 4), weights, False, 1, 0.0, False, False, False)
        >>> out[:, 0, 0]
        tensor([0.5000, 0.2500, 0.1250, 0.0625, 0.0312])
    """
    return _called("gru", args, named)  # type: ignore[return-value]


@public()
def rnn_tanh(*args: Any, **named: Any) -> tuple[Tensor, Tensor]:
    """A plain recurrent net with tanh: outputs, final states.  Arguments as of :func:`lstm`; ``hx`` is one tensor.

    Example:
        >>> import flambeau as torch
        >>> x, weights = torch.ones(3, 1, 1), [torch.tensor([[1.]]), torch.tensor([[1.]])]
        >>> out, h = torch.rnn_tanh(x, torch.zeros(1, 1, 1), weights, False, 1, 0.0, False, False, False)
        >>> out.flatten()
        tensor([0.7616, 0.9427, 0.9597])
    """
    return _called("tanh", args, named)  # type: ignore[return-value]


@public()
def rnn_relu(*args: Any, **named: Any) -> tuple[Tensor, Tensor]:
    """A plain recurrent net with ReLU: outputs, final states.  Arguments as of :func:`lstm`; ``hx`` is one tensor.

    Example:
        >>> import flambeau as torch
        >>> x, weights = torch.ones(3, 1, 1), [torch.tensor([[1.]]), torch.tensor([[2.]])]
        >>> out, h = torch.rnn_relu(x, torch.zeros(1, 1, 1), weights, False, 1, 0.0, False, False, False)
        >>> out.flatten(), h
        (tensor([1., 3., 7.]), tensor([[[7.]]]))
    """
    return _called("relu", args, named)  # type: ignore[return-value]


# ---------------------------------------------------------------- single steps


def _cell(kind: str, input: Tensor, h: Tensor, c: Tensor | None, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any) -> Any:
    if input.ndim != 2:
        raise RuntimeError(f"{kind} cell: expected 2-D input, got {input.ndim}-D")
    batch, size = input.shape
    width = w_hh.shape[1]
    if size != w_ih.shape[1]:
        raise RuntimeError(f"input has inconsistent input_size: got {size} expected {w_ih.shape[1]}")
    for i, state in enumerate((h,) if c is None else (h, c)):
        if state.shape[0] != batch:
            raise RuntimeError(f"Input batch size {batch} doesn't match hidden{i} batch size {state.shape[0]}")
        if state.ndim > 1 and state.shape[1] != width:
            raise RuntimeError(f"hidden{i} has inconsistent hidden_size: got {state.shape[1]}, expected {width}")
        if state.ndim != 2:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-1, 0], but got 1) ({kind} cell: the input "
                f"{list(input.shape)} is a batch, the hidden state {list(state.shape)} is none)"
            )
    if mode.autocast is None:
        _check_cell_types(kind, {"input": input, "w_ih": w_ih}, {"hidden state": h, "w_hh": w_hh})
    if not batch:
        # No rows, no step: the result still depends on its inputs.
        _, *states = written_out(input.unsqueeze(0), h, c, w_ih, w_hh, b_ih, b_hh, None, kind, False, None)
        return tuple(states)
    # A step is a packed batch of sequences one step long.
    if mode.autocast is not None:
        weights = (w_ih, w_hh, b_ih, b_hh, None)
        return _under_autocast(input.dtype, input, h, c, weights, kind, False, (batch,))[1:]
    return RECURRENT(input, h, c, w_ih, w_hh, b_ih, b_hh, None, kind, False, (batch,))[1:]


def _check_cell_types(kind: str, *pairs: dict[str, Tensor]) -> None:
    for pair in pairs:
        (first, x), (second, y) = pair.items()
        if x.dtype is not y.dtype:
            raise RuntimeError(
                f"mat1 and mat2 must have the same dtype, but got {x.dtype.title} and {y.dtype.title} ({kind} cell: "
                f"the {first} is {x.dtype}, {second} {y.dtype}; convert one with .to())"
            )


@public()
def lstm_cell(
    input: Tensor,
    hx: Sequence[Tensor],
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of :func:`lstm`: the next hidden state and cell, each (N, H).

    Raises:
        RuntimeError: if ``hx`` is no pair, or sizes or types do not fit.

    Example:
        >>> import flambeau as torch
        >>> x, state = torch.ones(1, 2), (torch.zeros(1, 1), torch.tensor([[4.]]))
        >>> torch.lstm_cell(x, state, torch.zeros(4, 2), torch.zeros(4, 1))
        (tensor([[0.4820]]), tensor([[2.]]))
    """
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    return _cell("lstm", input, hx[0], hx[1], w_ih, w_hh, b_ih, b_hh)[:2]


@public()
def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :func:`gru`: the next state, (N, H).

    Example:
        >>> import flambeau as torch
        >>> torch.gru_cell(torch.ones(1, 2), torch.tensor([[4.]]), torch.zeros(3, 2), torch.zeros(3, 1))
        tensor([[2.]])
    """
    return _cell("gru", input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


@public()
def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :func:`rnn_tanh`: the next state, (N, H).

    Example:
        >>> import flambeau as torch
        >>> torch.rnn_tanh_cell(torch.ones(1, 2), torch.zeros(1, 1), torch.ones(1, 2), torch.ones(1, 1))
        tensor([[0.9640]])
    """
    return _cell("tanh", input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]


@public()
def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of :func:`rnn_relu`: the next state, (N, H).

    Example:
        >>> import flambeau as torch
        >>> torch.rnn_relu_cell(torch.ones(1, 2), torch.tensor([[5.]]), torch.ones(1, 2), torch.ones(1, 1))
        tensor([[7.]])
    """
    return _cell("relu", input, hx, None, w_ih, w_hh, b_ih, b_hh)[0]
