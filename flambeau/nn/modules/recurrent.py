"""Any cell over time, and a cell with layer normalization."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

from flambeau.capture.watch import CaptureError
from flambeau.nn import init
from flambeau.nn.modules.container import ModuleList
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.normalization import LayerNorm
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence, pad_packed_sequence
from flambeau.ops.compare import where
from flambeau.ops.create import empty, zeros
from flambeau.ops.join import cat, stack
from flambeau.ops.matmul import linear
from flambeau.ops.ranges import arange
from flambeau.tensor.tensor import Tensor
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = ["LayerNormLSTMCell", "Recurrent"]


class Recurrent(Module):
    """Runs any cell over time, as one operation that goes through all steps.

    A cell is a module that takes (input, state) and gives the next state: a tensor, or a tuple of tensors, of which
    the first is the output, ``h_t, ... = cell(x_t, (h_{t-1}, ...))``.  Its ``forward`` is called once per layer,
    direction and call, not once per step: what it does with tensors is recorded and run at every step, with the
    products of the inputs before the walk and those that weights' gradients are made of after it.  Built-in cells then
    run at the speed of the built-in layers.  PyTorch has no such layer.

    What the cell does must therefore be the same at each step: it may not ask for values that differ from step to
    step (``item()``, ``if``), write them into its buffers, or count its calls.  What depends on no step, such as a
    weight's normalization, is done once.  Dropout inside of the cell draws a new mask for each step.

    Shape: input (T, N, ...), with ``batch_first`` (N, T, ...), or a
    :class:`~flambeau.nn.utils.rnn.PackedSequence`.  Outputs likewise, those of both directions side by side along
    the last dimension; and the final state: the cell's, or a list of these, one per layer and direction, where there
    are several.  ``state`` has the form of the final state; without it the cell says where to begin by its method
    ``initial_state(input)``, as the built-in ones do, or is called without a state at the first step.

    Args:
        cell: the module for one step; or a list of them, one per layer and direction: layer by layer, forwards first.
        batch_first: whether N comes before T.
        reverse: whether to walk from the last step to the first; outputs keep the order of the inputs.
        num_layers: layers, each fed with the outputs of the one before.  From a single cell the others are made by
            its method ``like(input_size)``, which the built-in ones have.
        bidirectional: whether each layer has a second cell that walks backwards.
        dropout: the share of outputs left out at random between layers, in training.
        recurrent_dropout: the share of h_{t-1} left out at random on its way into the cell, in training, the same
            elements at all steps.  Gal and Ghahramani, A Theoretically Grounded Application of Dropout in Recurrent
            Neural Networks, 2016.
        unroll: whether to call the cell at each step, for one that looks at values; that takes longer, and grows
            with T.

    Raises:
        RuntimeError: if there are no time steps, or the state changes its shape or type from step to step.
        CaptureError: if the cell does what is not the same at each step; says what, and on which line.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Recurrent(torch.nn.GRUCell(3, 4), num_layers=2, bidirectional=True)
        >>> y, states = layer(torch.zeros(5, 2, 3))
        >>> y.shape, len(states), states[0].shape
        (torch.Size([5, 2, 8]), 4, torch.Size([2, 4]))
    """

    def __init__(
        self,
        cell: Any,
        batch_first: bool = False,
        reverse: bool = False,
        *,
        num_layers: int | None = None,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        unroll: bool = False,
    ) -> None:
        super().__init__()
        for name, p in (("dropout", dropout), ("recurrent_dropout", recurrent_dropout)):
            if not isinstance(p, numbers.Real) or isinstance(p, bool) or not 0 <= p < 1:
                raise ValueError(f"Recurrent: {name} should be a number in range [0, 1), got {p!r}")
        if bidirectional and reverse:
            raise ValueError("Recurrent: a bidirectional layer walks both ways; reverse=True does not go with it")
        self.batch_first = batch_first
        self.reverse = reverse
        self.bidirectional = bidirectional
        self.dropout = float(dropout)
        self.recurrent_dropout = float(recurrent_dropout)
        self.unroll = unroll
        self.cells = ModuleList(_cells(cell, num_layers, 2 if bidirectional else 1))

    @property
    def num_layers(self) -> int:
        """How many layers there are."""
        return len(self.cells) // (2 if self.bidirectional else 1)

    def forward(self, input: Any, state: Any = None) -> tuple[Any, Any]:
        if isinstance(input, PackedSequence):
            x, lengths = pad_packed_sequence(input)
            y, final = self._layers(x, state, _running(x, lengths))
            return _packed_again(y, input), final
        y, final = self._layers(input.transpose(0, 1) if self.batch_first else input, state, None)
        return y.transpose(0, 1) if self.batch_first else y, final

    def _layers(self, x: Any, state: Any, running: Tensor | None) -> tuple[Tensor, Any]:
        """Outputs of the last layer, and the final state."""
        if not x.shape[0]:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        states = self._given(state)
        finals: list[Any] = []
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            if layer and self.dropout:
                x = _dropped(x, self.dropout, self.training)
            sides = []
            for direction in range(directions):
                at = layer * directions + direction
                y, final = self._walk(self.cells[at], x, states[at], self.reverse or direction == 1, running)
                sides.append(y)
                finals.append(final)
            x = sides[0] if directions == 1 else cat(sides, -1)
        return x, finals[0] if len(finals) == 1 else finals

    def _given(self, state: Any) -> list[Any]:
        count = len(self.cells)
        if state is None:
            return [None] * count
        states = [state] if count == 1 else list(state)
        if len(states) != count:
            raise RuntimeError(
                f"Recurrent: expected {count} states, one per layer and direction, but got {len(states)}"
            )
        return states

    # ------------------------------------------------------------ one cell over time

    def _walk(self, cell: Module, x: Tensor, state: Any, reverse: bool, running: Tensor | None) -> tuple[Tensor, Any]:
        # Imported here: few programs need it.
        from flambeau.loop.scan import StateChanged

        if state is None and hasattr(cell, "initial_state"):
            state = cell.initial_state(x[0])  # type: ignore[operator]
        mask = None
        parts = []
        # A cell without a state, or whose state changes at the first step, takes that one by itself.
        for _ in range(2):
            mask = self._mask(state, mask)
            if state is None and reverse and running is not None:
                raise RuntimeError(
                    f"Recurrent: {type(cell).__name__} does not say where to begin, and a packed sequence that is "
                    "walked backwards begins at several steps: give a state, or the cell a method initial_state(input)"
                )
            if state is not None and not self.unroll:
                try:
                    y, state = _looped(cell, x, state, reverse, running, mask)
                    break
                except StateChanged as error:
                    if parts:
                        raise RuntimeError(f"Recurrent: {error}; it must be the same at every step") from None
            if self.unroll:
                y, state = _unrolled(cell, x, state, reverse, running, mask)
                break
            at, rest = (-1, slice(None, -1)) if reverse else (0, slice(1, None))
            state = _stepped(cell, x[at], state, None if running is None else running[at], mask)
            parts.append(_first(state).unsqueeze(0))
            x, running = x[rest], None if running is None else running[rest]
            if not x.shape[0]:
                return parts[0], state
        if parts:
            y = cat([y, *parts] if reverse else [*parts, y])
        return y, state

    def _mask(self, state: Any, known: Tensor | None) -> Tensor | None:
        """What multiplies h at every step: zeros where it is left out; a new one only for another shape."""
        if state is None or not self.training or not self.recurrent_dropout:
            return None
        h = _first(state)
        if known is not None and known.shape == h.shape:
            return known
        return _dropped(h.new_ones(h.shape), self.recurrent_dropout, True)

    def extra_repr(self) -> str:
        parts = [f"{name}=True" for name in ("batch_first", "reverse", "bidirectional") if getattr(self, name)]
        parts += [f"{name}={p}" for name in ("dropout", "recurrent_dropout") if (p := getattr(self, name))]
        return ", ".join(parts + (["unroll=True"] if self.unroll else []))


def _cells(cell: Any, num_layers: int | None, directions: int) -> list[Module]:
    """The cells of all layers and directions."""
    if not isinstance(cell, Module) or isinstance(cell, ModuleList):
        cells = list(cell)
        layers = len(cells) // directions if num_layers is None else num_layers
        if not cells or len(cells) != layers * directions:
            raise ValueError(
                f"Recurrent: got {len(cells)} cells for {layers} layers in {directions} directions, which take one each"
            )
        return cells
    layers = 1 if num_layers is None else num_layers
    if layers < 1:
        raise ValueError(f"Recurrent: num_layers must be greater than zero, got {layers}")
    if layers * directions == 1:
        return [cell]
    like: Callable[[int], Module] | None = getattr(cell, "like", None)
    if like is None:
        raise TypeError(
            f"Recurrent: {type(cell).__name__} does not say how to make the cells of further layers and directions: "
            "give a list with one per layer and direction, or the cell a method like(input_size)"
        )
    cells = [cell]
    for at in range(1, layers * directions):
        size = cell.input_size if at < directions else directions * cell.hidden_size  # type: ignore[operator]
        cells.append(like(size))  # type: ignore[arg-type]
    return cells


def _first(state: Any) -> Tensor:
    """The output that a state holds."""
    return state[0] if isinstance(state, tuple | list) else state


def _dropped(x: Tensor, p: float, training: bool) -> Tensor:
    from flambeau.nn.functional import dropout  # type: ignore[attr-defined]

    return dropout(x, p, training)


def _stepped(cell: Module, x: Tensor, state: Any, running: Tensor | None, mask: Tensor | None) -> Any:
    """One call of a cell; sequences that have ended keep their state."""
    if state is None:
        return cell(x)
    old, spec = tree_flatten(state)
    given = state if mask is None else tree_unflatten([old[0] * mask, *old[1:]], spec)
    state = cell(x, given)
    if running is None:
        return state
    new, spec = tree_flatten(state)
    kept = [where(running.view(-1, *(1,) * (b.ndim - 1)), b, a) for a, b in zip(old, new, strict=True)]
    return tree_unflatten(kept, spec)


def _looped(
    cell: Module, x: Tensor, state: Any, reverse: bool, running: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Any]:
    """A cell over time as one node."""
    from flambeau.loop.scan import StateChanged, scan

    leaves, spec = tree_flatten(state)

    def step(carry: list[Tensor], rows: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        found = _stepped(cell, rows[0], tree_unflatten(carry, spec), rows[1] if running is not None else None, mask)
        handed, found_spec = tree_flatten(found)
        if found_spec != spec:
            raise StateChanged(f"the cell gets a state of structure {spec} and gives one of structure {found_spec}")
        return handed, [_first(found)]

    before = _attributes(cell)
    handed, (y,) = scan(step, leaves, [x] if running is None else [x, running], reverse)
    _check_unchanged(before)
    return y, tree_unflatten(handed, spec)


def _unrolled(
    cell: Module, x: Tensor, state: Any, reverse: bool, running: Tensor | None, mask: Tensor | None
) -> tuple[Tensor, Any]:
    """A cell over time, called at each step."""
    length = x.shape[0]
    outputs: list[Any] = [None] * length
    for t in reversed(range(length)) if reverse else range(length):
        state = _stepped(cell, x[t], state, None if running is None else running[t], mask)
        outputs[t] = _first(state)
    return stack(outputs), state


# ---------------------------------------------------------------- packed sequences


def _running(padded: Tensor, lengths: Tensor) -> Tensor:
    """Whether each sequence goes on at each step, (T, N)."""
    device = padded.device
    return arange(padded.shape[0], device=device).unsqueeze(1) < lengths.to(device)


def _packed_again(padded: Tensor, sequence: PackedSequence) -> PackedSequence:
    """Outputs in the order in which the inputs were packed."""
    order = sequence.sorted_indices
    if order is not None:
        padded = padded.index_select(1, order)
    sizes = sequence.batch_sizes.tolist()
    data = cat([padded[t, :size] for t, size in enumerate(sizes)])
    return PackedSequence(data, sequence.batch_sizes, order, sequence.unsorted_indices)


# ---------------------------------------------------------------- what a cell may not do


def _attributes(cell: Module) -> list[tuple[Module, dict[str, Any]]]:
    """What the modules of a cell hold beside tensors and modules: by name, the value and how many parts it has."""
    return [(module, {name: _told(value) for name, value in vars(module).items()}) for module in cell.modules()]


def _told(value: Any) -> Any:
    return (value, len(value)) if isinstance(value, list | dict | set) else value


def _check_unchanged(before: list[tuple[Module, dict[str, Any]]]) -> None:
    """Raises if a cell counted, or noted something: it is called once for all steps."""
    for module, known in before:
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                continue
            was, now = known.get(name), _told(value)
            if was is not now and not (isinstance(was, tuple) and isinstance(now, tuple) and _same(was, now)):
                raise CaptureError(
                    f"a cell changes its attribute {type(module).__name__}.{name} while it is called, which happens "
                    "once for all steps of a loop over time: hand the value on as part of the state, or make the loop "
                    "with unroll=True, which calls the cell at each step"
                )


def _same(was: tuple[Any, ...], now: tuple[Any, ...]) -> bool:
    return len(was) == len(now) == 2 and was[0] is now[0] and was[1] is now[1]


# ---------------------------------------------------------------- a cell with layer normalization


class LayerNormLSTMCell(Module):
    """One step of an LSTM with layer normalization: from (h, c), zeros unless given, to the next pair::

        i, f, g, o = LN(W_ih x) + LN(W_hh h)
        c' = σ(f) c + σ(i) drop(tanh(g))            h' = σ(o) tanh(LN(c'))

    Each LN has a gain and a bias of its own, over all four gates together or over the cell.  In training, ``drop``
    leaves out elements of the candidate, new ones at each step.  Over time:
    ``nn.Recurrent(nn.LayerNormLSTMCell(...))``.

    Shape: input (N, input_size), h and c (N, hidden_size), each with or without N.  Weights hold the gates in the
    order i, f, g, o, and start uniform in ±1/sqrt(hidden_size); gains start as one, biases as zero.  Ba, Kiros and
    Hinton, Layer Normalization, 2016 (equations 20 to 22); dropout: Semeniuta, Severyn and Barth, Recurrent Dropout
    without Memory Loss, 2016.

    Args:
        input_size, hidden_size: sizes of the input and of the state.
        bias: whether the normalizations have biases.
        eps: added to variances.
        dropout: the share of the candidate's elements left out.

    Example:
        >>> import flambeau as torch
        >>> h, c = torch.nn.LayerNormLSTMCell(3, 4)(torch.zeros(2, 3))
        >>> h.shape
        torch.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        dropout: float = 0.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"LayerNormLSTMCell: dropout should be a number in range [0, 1), got {dropout!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.eps = eps
        self.dropout = dropout
        gates = 4 * hidden_size
        self.weight_ih = Parameter(empty((gates, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((gates, hidden_size), device=device, dtype=dtype))
        self.norm_ih = LayerNorm(gates, eps, bias=bias, device=device, dtype=dtype)
        self.norm_hh = LayerNorm(gates, eps, bias=bias, device=device, dtype=dtype)
        self.norm_cell = LayerNorm(hidden_size, eps, bias=bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the weights uniform in ±1/sqrt(hidden_size), and resets the normalizations."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for weight in (self.weight_ih, self.weight_hh):
            init.uniform_(weight, -bound, bound)
        for norm in (self.norm_ih, self.norm_hh, self.norm_cell):
            norm.reset_parameters()

    def initial_state(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """Zeros."""
        zero = zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype, device=input.device)
        return zero, zero

    def like(self, input_size: int) -> LayerNormLSTMCell:
        """A new cell of this kind for inputs of another size."""
        weight = self.weight_ih
        return LayerNormLSTMCell(
            input_size, self.hidden_size, self.bias, self.eps, self.dropout, weight.device, weight.dtype
        )

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self.initial_state(input) if hx is None else hx
        gates = self.norm_ih(linear(input, self.weight_ih)) + self.norm_hh(linear(h, self.weight_hh))
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * _dropped(g.tanh(), self.dropout, self.training)
        return o.sigmoid() * self.norm_cell(c).tanh(), c

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        return text + (f", dropout={self.dropout}" if self.dropout else "")
