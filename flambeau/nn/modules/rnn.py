"""Recurrent layers, and their single steps."""

from __future__ import annotations

import math
import numbers
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence
from flambeau.ops import rnn as ops
from flambeau.ops.create import empty, zeros
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

KINDS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "tanh", "RNN_RELU": "relu"}


def _check_types(bias: Any, batch_first: Any, dropout: Any) -> None:
    if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool) or not 0 <= dropout <= 1:  # type: ignore[operator]
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if not isinstance(bias, bool):
        raise TypeError(f"bias should be of type bool, got: {type(bias).__name__}")
    if not isinstance(batch_first, bool):
        raise TypeError(f"batch_first should be of type bool, got: {type(batch_first).__name__}")


def _check_sizes(input_size: Any, hidden_size: Any, num_layers: int, proj_size: int) -> None:
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(size, int):
            raise TypeError(f"{name} should be of type int, got: {type(size).__name__}")
        if size <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNNBase(Module):
    """What the recurrent layers share: sizes, parameters, checks and the run over time.

    Args:
        mode: ``"LSTM"``, ``"GRU"``, ``"RNN_TANH"`` or ``"RNN_RELU"``.
        others: see :class:`LSTM`.

    Raises:
        TypeError, ValueError: for options of wrong types or out of range, or an unknown mode.

    Example:
        >>> import flambeau as torch
        >>> net = torch.nn.LSTM(3, 4)
        >>> isinstance(net, torch.nn.RNNBase)
        True
        >>> [name for name, _ in net.named_parameters()]
        ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """

    mode: str
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_types(bias, batch_first, dropout)
        if dropout > 0 and num_layers == 1:
            warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            )
        _check_sizes(input_size, hidden_size, num_layers, proj_size)
        if mode not in KINDS:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for direction in range(2 if bidirectional else 1):
                self._make_parameters(layer, direction, device, dtype)
        self.reset_parameters()

    def _make_parameters(self, layer: int, direction: int, device: Any, dtype: Any) -> None:
        gates = ops.GATES[KINDS[self.mode]] * self.hidden_size
        out = self.proj_size or self.hidden_size
        into = self.input_size if layer == 0 else out * (2 if self.bidirectional else 1)
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, into), "weight_hh": (gates, out)}
        if self.bias:
            shapes["bias_ih"] = shapes["bias_hh"] = (gates,)
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        suffix = f"_l{layer}" + ("_reverse" if direction else "")
        for name, shape in shapes.items():
            setattr(self, name + suffix, Parameter(empty(shape, device=device, dtype=dtype)))
        self._all_weights.append([name + suffix for name in shapes])

    def reset_parameters(self) -> None:
        """Draws all parameters uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self) -> list[Any]:
        return [getattr(self, name, None) for names in self._all_weights for name in names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, by layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Nothing to do: values are laid out anew for each program."""

    # ------------------------------------------------------------ checks

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:
        """Raises if the input's type or sizes do not fit."""
        weight = getattr(self, self._all_weights[0][0])
        if input.dtype is not weight.dtype and mode.autocast is None:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: model.to({input.dtype})"
            )
        expected = 2 if batch_sizes is not None else 3
        if input.ndim != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.ndim}")
        if self.input_size != input.shape[-1]:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )

    def get_expected_hidden_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that hidden states must have."""
        return self._state_shape(input, batch_sizes, self.proj_size or self.hidden_size)

    def _state_shape(self, input: Tensor, batch_sizes: Tensor | None, width: int) -> tuple[int, int, int]:
        if batch_sizes is not None:
            batch = int(batch_sizes._array()[0])
        else:
            batch = input.shape[0 if self.batch_first else 1]
        return (self.num_layers * (2 if self.bidirectional else 1), batch, width)

    def check_hidden_size(
        self, hx: Tensor, expected_hidden_size: tuple[int, int, int], msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """Raises if a state's shape does not fit."""
        if tuple(hx.shape) != expected_hidden_size:
            raise RuntimeError(msg.format(expected_hidden_size, list(hx.shape)))

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        """Raises if the input or the states do not fit."""
        self.check_input(input, batch_sizes)
        if hidden[0] is not None:
            self.check_hidden_size(hidden[0], self.get_expected_hidden_size(input, batch_sizes))

    def _check_dims(self, input: Tensor, states: tuple[Tensor, ...]) -> None:
        if input.ndim not in (2, 3):
            what = "RNN" if self.mode.startswith("RNN") else self.mode
            ending = " tensor instead" if what == "RNN" else " instead"
            raise ValueError(f"{what}: Expected input to be 2D or 3D, got {input.ndim}D{ending}")
        if any(state.ndim != input.ndim for state in states):
            given = f"{'un' if input.ndim == 2 else ''}batched {input.ndim}-D"
            if len(states) == 2:
                found = f"({states[0].ndim}-D, {states[1].ndim}-D) tensors"
                raise RuntimeError(f"For {given} input, hx and cx should also be {input.ndim}-D but got {found}")
            raise RuntimeError(f"For {given} input, hx should also be {input.ndim}-D but got {states[0].ndim}-D tensor")

    def permute_hidden(self, hx: Any, permutation: Tensor | None) -> Any:
        """States with their sequences in another order."""
        if permutation is None:
            return hx
        if isinstance(hx, tuple):
            return tuple([state.index_select(1, permutation) for state in hx])
        return hx.index_select(1, permutation)

    # ------------------------------------------------------------ the run

    def _run(self, input: Any, states: tuple[Tensor, ...]) -> tuple[Any, tuple[Tensor, ...]]:
        """Outputs and final states; absent states are zeros."""
        packed = isinstance(input, PackedSequence)
        data, batch_sizes = (input.data, input.batch_sizes) if packed else (input, None)
        batched = True
        if not packed:
            self._check_dims(data, states)
            batched = data.ndim == 3
            if not batched:
                data = data.unsqueeze(0 if self.batch_first else 1)
                states = tuple([state.unsqueeze(1) for state in states])
        elif states:
            states = self.permute_hidden(states, input.sorted_indices)
        pair: Any = (*states, None, None)[:2]
        self.check_forward_args(data, pair, batch_sizes)
        y, *finals = ops.run(
            KINDS[self.mode],
            data,
            batch_sizes,
            pair,
            self._flat_weights,
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )
        if packed:
            output = PackedSequence(y, batch_sizes, input.sorted_indices, input.unsorted_indices)
            return output, self.permute_hidden(tuple(finals), input.unsorted_indices)
        if not batched:
            return y.squeeze(0 if self.batch_first else 1), tuple([state.squeeze(1) for state in finals])
        return y, tuple(finals)

    def _with_one_state(self, input: Any, hx: Tensor | None) -> tuple[Any, Any]:
        output, finals = self._run(input, () if hx is None else (hx,))
        return output, finals[0]

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.proj_size != 0:
            parts.append(f"proj_size={self.proj_size}")
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if self.bias is not True:
            parts.append(f"bias={self.bias}")
        if self.batch_first is not False:
            parts.append(f"batch_first={self.batch_first}")
        if self.dropout != 0:
            parts.append(f"dropout={self.dropout}")
        if self.bidirectional is not False:
            parts.append(f"bidirectional={self.bidirectional}")
        return ", ".join(parts)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # PyTorch keeps these as attributes; here they follow from the names.
        for name in ("_flat_weights", "_flat_weights_names", "_flat_weight_refs", "all_weights"):
            state.pop(name, None)
        super().__setstate__(state)
        self.__dict__.setdefault("proj_size", 0)


class RNN(RNNBase):
    """A plain recurrent net: ``h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``, or with ReLU.

    Shape: input (T, N, input_size), with ``batch_first`` (N, T, input_size), or without N; hx (layers *
    directions, N, hidden_size).  Outputs (T, N, directions * hidden_size) and the final states, like hx.
    All parameters start uniform in ±1/sqrt(hidden_size).  Elman, Finding Structure in Time (1990).

    Args:
        input_size, hidden_size: sizes of the input and of the state.
        num_layers: layers, each fed with the outputs of the one before.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias, batch_first, dropout, bidirectional: see :class:`LSTM`.

    Raises:
        ValueError: for another nonlinearity, or a ``proj_size``.

    Example:
        >>> import flambeau as torch
        >>> y, h = torch.nn.RNN(3, 4)(torch.zeros(5, 2, 3))
        >>> y.shape, h.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:
            nonlinearity = args[3]
            args = args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__("RNN_TANH" if nonlinearity == "tanh" else "RNN_RELU", *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Any]:
        return self._with_one_state(input, hx)


class GRU(RNNBase):
    """Gated recurrent units::

        r = σ(W_ir x + b_ir + W_hr h + b_hr)          z = σ(W_iz x + b_iz + W_hz h + b_hz)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))   h' = (1 - z) n + z h

    Shape: as of :class:`RNN`; weights hold the gates in the order r, z, n.  All parameters start uniform in
    ±1/sqrt(hidden_size).  Cho et al., Learning Phrase Representations (2014), with the reset gate applied
    after the product.

    Args:
        input_size, hidden_size: sizes of the input and of the state.
        num_layers, bias, batch_first, dropout, bidirectional: see :class:`LSTM`.

    Raises:
        ValueError: for a ``proj_size``.

    Example:
        >>> import flambeau as torch
        >>> y, h = torch.nn.GRU(3, 4, bidirectional=True)(torch.zeros(5, 2, 3))
        >>> y.shape, h.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Any]:
        return self._with_one_state(input, hx)


class LSTM(RNNBase):
    """Long short-term memory::

        i = σ(W_ii x + b_ii + W_hi h + b_hi)      f = σ(W_if x + b_if + W_hf h + b_hf)
        g = tanh(W_ig x + b_ig + W_hg h + b_hg)   o = σ(W_io x + b_io + W_ho h + b_ho)
        c' = f c + i g                            h' = o tanh(c'), times W_hr if projected

    Shape: input (T, N, input_size), with ``batch_first`` (N, T, input_size), or without N, or a
    :class:`~flambeau.nn.utils.rnn.PackedSequence`; hx a pair of hidden states (layers * directions, N,
    proj_size or hidden_size) and cells (layers * directions, N, hidden_size).  Outputs (T, N, directions *
    (proj_size or hidden_size)) and the final pair, like hx.  Weights hold the gates in the order i, f, g, o; all
    parameters start uniform in ±1/sqrt(hidden_size).  Hochreiter and Schmidhuber (1997); projections: Sak et
    al. (2014).

    Args:
        input_size, hidden_size: sizes of the input and of the state.
        num_layers: layers, each fed with the outputs of the one before.
        bias: whether there are b_ih and b_hh.
        batch_first: whether N comes before T in inputs and outputs (not in states).
        dropout: the share of outputs left out at random between layers, in training.
        bidirectional: whether a second net runs backwards; the outputs are put side by side.
        proj_size: the size to which hidden states are projected; 0 for none.

    Raises:
        RuntimeError, ValueError: if the input or the states do not fit.

    Example:
        >>> import flambeau as torch
        >>> y, (h, c) = torch.nn.LSTM(3, 4)(torch.zeros(5, 2, 3))
        >>> y.shape, h.shape, c.shape
        (torch.Size([5, 2, 4]), torch.Size([1, 2, 4]), torch.Size([1, 2, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input: Tensor, batch_sizes: Tensor | None) -> tuple[int, int, int]:
        """The shape that cells must have."""
        return self._state_shape(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input: Tensor, hidden: Any, batch_sizes: Tensor | None) -> None:
        self.check_input(input, batch_sizes)
        if hidden[0] is not None:
            hidden_size = self.get_expected_hidden_size(input, batch_sizes)
            self.check_hidden_size(hidden[0], hidden_size, "Expected hidden[0] size {}, got {}")
            cell_size = self.get_expected_cell_size(input, batch_sizes)
            self.check_hidden_size(hidden[1], cell_size, "Expected hidden[1] size {}, got {}")

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, Any]:
        return self._run(input, () if hx is None else (hx[0], hx[1]))


# ---------------------------------------------------------------- single steps


class RNNCellBase(Module):
    """What the cells share.

    Args:
        input_size, hidden_size: sizes of the input and of the state.
        bias: whether there are biases.
        num_chunks: the number of gates.

    Example:
        >>> import flambeau as torch
        >>> cell = torch.nn.GRUCell(3, 4)
        >>> isinstance(cell, torch.nn.RNNCellBase)
        True
        >>> cell.weight_ih.shape
        torch.Size([12, 3])
    """

    input_size: int
    hidden_size: int
    bias: bool
    weight_ih: Tensor
    weight_hh: Tensor

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        self.weight_ih = Parameter(empty((gates, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(empty((gates, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(empty(gates, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all parameters uniform in ±1/sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def initial_state(self, input: Tensor) -> Any:
        """Where to begin with an input: zeros; for :class:`~flambeau.nn.Recurrent`."""
        return zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype, device=input.device)

    def like(self, input_size: int) -> Any:
        """A new cell of this kind for inputs of another size; for :class:`~flambeau.nn.Recurrent`."""
        options = {"bias": self.bias, "device": self.weight_ih.device, "dtype": self.weight_ih.dtype}
        if "nonlinearity" in self.__dict__:
            options["nonlinearity"] = self.__dict__["nonlinearity"]
        return type(self)(input_size, self.hidden_size, **options)  # type: ignore[call-arg]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.__dict__.get("nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.__dict__['nonlinearity']}"
        return text

    def _check(self, input: Tensor, states: tuple[Tensor, ...] | None) -> None:
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, state in enumerate(states or ()):
            if state.dim() not in (1, 2):
                what = f"hx[{i}]" if len(states or ()) == 2 else "hidden"
                raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {state.dim()}D instead")

    def _step(self, step: Any, input: Tensor, states: tuple[Tensor, ...] | None, count: int) -> tuple[Tensor, ...]:
        """The next states, of a batch or of one sample."""
        self._check(input, states)
        batched = input.ndim == 2
        if not batched:
            input = input.unsqueeze(0)
        if states is None:
            zero = zeros(input.shape[0], self.hidden_size, dtype=input.dtype, device=input.device)
            states = (zero,) * count
        elif not batched:
            states = tuple([state.unsqueeze(0) for state in states])
        hx = states if count == 2 else states[0]
        found = step(input, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        results = found if isinstance(found, tuple) else (found,)
        return results if batched else tuple([result.squeeze(0) for result in results])


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or with ReLU.

    Shape: input (N, input_size), hx (N, hidden_size), each with or without N; result like hx.

    Args:
        nonlinearity: ``"tanh"`` or ``"relu"``.

    Raises:
        RuntimeError: for another nonlinearity.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.RNNCell(3, 4)(torch.zeros(2, 3)).shape
        torch.Size([2, 4])
    """

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        step = ops.rnn_tanh_cell if self.nonlinearity == "tanh" else ops.rnn_relu_cell
        return self._step(step, input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: from (h, c), zeros unless given, to the next pair.

    Shape: input (N, input_size), h and c (N, hidden_size), each with or without N.

    Raises:
        TypeError: if hx is a tensor and no pair.

    Example:
        >>> import flambeau as torch
        >>> h, c = torch.nn.LSTMCell(3, 4)(torch.zeros(2, 3))
        >>> h.shape
        torch.Size([2, 4])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def initial_state(self, input: Tensor) -> tuple[Tensor, Tensor]:
        zero = super().initial_state(input)
        return zero, zero

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        if isinstance(hx, Tensor):
            raise TypeError(
                "lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not Tensor (LSTMCell: it is the "
                f"pair of hidden state and cell, got one of shape {list(hx.shape)})"
            )
        return self._step(ops.lstm_cell, input, None if hx is None else tuple(hx), 2)  # type: ignore[return-value]


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`: the next state.

    Shape: input (N, input_size), hx (N, hidden_size), each with or without N; result like hx.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.GRUCell(3, 4)(torch.zeros(2, 3)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(ops.gru_cell, input, None if hx is None else (hx,), 1)[0]
