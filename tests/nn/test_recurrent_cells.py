"""What a cell under ``nn.Recurrent`` may do, and what is refused by name."""

from __future__ import annotations

import pytest
from test_recurrent import assert_close, flat

import flambeau
from flambeau.capture.watch import CaptureError

# ---------------------------------------------------------------- in company


def test_it_can_be_mapped_and_transformed():
    cell = flambeau.nn.GRUCell(3, 4)
    layer = flambeau.nn.Recurrent(cell)
    x = flambeau.randn(5, 4, 2, 3)
    mapped = flambeau.vmap(lambda x: layer(x)[0])(x)
    assert_close(mapped, flambeau.stack([layer(part)[0] for part in x]))
    gradient = flambeau.func.grad(lambda x: layer(x)[0].square().sum())
    assert_close(flambeau.vmap(gradient)(x), flambeau.stack([gradient(part) for part in x]))


def _gradient_step(cell, x, h):
    with flambeau.enable_grad():
        known = h if h.requires_grad else h.detach().requires_grad_()
        energy = (cell.back(known).tanh() + cell.into(x)).square().sum()
        (gradient,) = flambeau.autograd.grad(energy, known, create_graph=True)
    return h - 0.1 * gradient


def _in_place(cell, x, h):
    z = flambeau.zeros(2, 4)
    z[:, :2] = h[:, 2:]
    z[:, 2:] += cell.into(x)[:, :2]
    z.mul_(0.5)
    return z + h * 0.1


def _hooked(cell, x, h):
    new = flambeau.tanh(cell.into(x) + cell.back(h))
    if new.requires_grad:
        new.register_hook(lambda gradient: gradient.clamp(-0.1, 0.1))
    return new


def _checkpointed(cell, x, h):
    return flambeau.utils.checkpoint.checkpoint(
        lambda x, h: flambeau.nn.functional.dropout(cell.into(x), 0.2).tanh() * cell.back(h).exp(),
        x,
        h,
        use_reentrant=False,
    )


def _mapped(cell, x, h):
    return flambeau.vmap(lambda x, h: flambeau.tanh(cell.into(x) + cell.back.weight @ h))(x, h)


def _of_complex_numbers(cell, x, h):
    return flambeau.fft.ifft(flambeau.fft.fft(cell.back(h)) * flambeau.fft.fft(cell.into(x))).real


WAYS = {
    "one step of a descent": _gradient_step,
    "writes into tensors of its own": _in_place,
    "a hook on a tensor": _hooked,
    "a checkpoint": _checkpointed,
    "a mapped function": _mapped,
    "complex numbers": _of_complex_numbers,
    "truncated backpropagation": lambda cell, x, h: flambeau.tanh(cell.into(x) + cell.back(h.detach())),
    "a choice": lambda cell, x, h: flambeau.where(x[:, :1] > 0, cell.back(h).tanh(), cell.into(x)),
    "words": lambda cell, x, h: flambeau.nn.functional.embedding(x[:, 0].long().clip(0, 3), cell.back.weight) + h * 0.5,
    "no state": lambda cell, x, h: cell.into(x),
    "the same at each step": lambda cell, x, h: cell.back.weight[:2] * 2,
    "a convolution": lambda cell, x, h: (
        flambeau.nn.functional.conv1d(h[:, None], cell.back.weight[None, :1, :3], padding=1)[:, 0] + cell.into(x)
    ).tanh(),
    "several that change places, and a counter": None,
}


class Way(flambeau.nn.Module):
    def __init__(self, act):
        super().__init__()
        self.act = act
        self.into = flambeau.nn.Linear(3, 4)
        self.back = flambeau.nn.Linear(4, 4)

    def forward(self, x, state):
        if self.act is not None:
            return self.act(self, x, state)
        first, second, count = state
        return second * 0.9 / (count + 1)[:, None], flambeau.tanh(self.into(x) + self.back(first)), count + 1


@pytest.mark.parametrize("name", WAYS)
def test_whatever_a_cell_does_it_does_at_each_step(name):
    flambeau.manual_seed(0)
    cell = Way(WAYS[name])
    x = flambeau.randn(4, 2, 3, requires_grad=True)
    h = flambeau.randn(2, 4, requires_grad=True)
    found = []
    for unroll in (False, True):
        state = h if WAYS[name] else (h, h * 2, flambeau.zeros(2, dtype=flambeau.int64))
        flambeau.manual_seed(1)
        y, last = flambeau.nn.Recurrent(cell, unroll=unroll)(x, state)
        loss = y.square().sum() + flat(last)[0].sum()
        gradients = flambeau.autograd.grad(loss, [x, h, *cell.parameters()], allow_unused=True)
        # What nothing depends on has no gradient in the one, and may have zeros in the other.
        found.append([y, *flat(last), *[flambeau.zeros(()) if g is None or not g.any() else g for g in gradients]])
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


def test_a_cell_may_hold_a_loop_of_its_own():
    class Nested(flambeau.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = flambeau.nn.Recurrent(flambeau.nn.RNNCell(2, 3))
            self.outer = flambeau.nn.GRUCell(3, 4)

        def forward(self, x, state):
            return self.outer(self.inner(x)[1], state)

    cell = Nested()
    x = flambeau.randn(4, 5, 2, 2, requires_grad=True)
    found = []
    for unroll in (False, True):
        y, _ = flambeau.nn.Recurrent(cell, unroll=unroll)(x, flambeau.zeros(2, 4))
        found.append([y, *flambeau.autograd.grad(y.square().sum(), [x, *cell.parameters()])])
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


def test_functions_of_ones_own_and_checkpoints_go_with_it():
    class Doubled(flambeau.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 3

    class Cell(flambeau.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = flambeau.nn.Parameter(flambeau.full((3, 3), 0.2))

        def forward(self, x, state):
            return flambeau.tanh(Doubled.apply(state @ self.weight) + x)

    cell = Cell()
    x = flambeau.randn(4, 2, 3)
    gradients = []
    for unroll in (False, True):
        y, _ = flambeau.nn.Recurrent(cell, unroll=unroll)(x, flambeau.ones(2, 3))
        gradients.append(flambeau.autograd.grad(y.sum(), cell.weight)[0])
    assert_close(*gradients)
    y, _ = flambeau.nn.Recurrent(cell)(x, flambeau.ones(2, 3))
    with pytest.raises(RuntimeError, match="second derivative of a loop over time whose cell holds a DoubledBackward"):
        flambeau.autograd.grad(y.sum(), cell.weight, create_graph=True)
    layer = flambeau.nn.Recurrent(flambeau.nn.LayerNormLSTMCell(3, 4, dropout=0.5))
    flambeau.manual_seed(0)
    plain = flambeau.autograd.grad(layer(x)[0].square().sum(), list(layer.parameters()))
    flambeau.manual_seed(0)
    y = flambeau.utils.checkpoint.checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    for a, b in zip(flambeau.autograd.grad(y.square().sum(), list(layer.parameters())), plain, strict=True):
        assert_close(a, b)


def test_autocast_reaches_into_a_cell():
    cell = flambeau.nn.LSTMCell(3, 4)
    x = flambeau.randn(4, 2, 3)
    with flambeau.autocast("cpu", dtype=flambeau.bfloat16):
        found = [flambeau.nn.Recurrent(cell, unroll=unroll)(x)[0] for unroll in (False, True)]
    assert found[0].dtype is found[1].dtype
    assert_close(found[0].float(), found[1].float(), 2e-2)


# ---------------------------------------------------------------- what a cell may not do


class Cell(flambeau.nn.Module):
    """Does something that is not the same at each step."""

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.steps = 0
        self.seen = []
        self.register_buffer("last", flambeau.zeros(2, 3))

    def forward(self, x, state):
        self.act(self, x, state)
        return state + x


def _branches(cell, x, state):
    if x.sum() > 0:
        cell.last = None


def _counts(cell, x, state):
    cell.steps += 1


def _notes(cell, x, state):
    cell.seen.append(len(cell.seen))


def _keeps(cell, x, state):
    cell.last.copy_(state)


def _overwrites(cell, x, state):
    state.mul_(2.0)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (
            _branches,
            r"asks for the value of a tensor that differs from step to step.*test_recurrent_cells.py:\d+: if x.sum",
        ),
        (_counts, r"changes its attribute Cell.steps while it is called"),
        (_notes, r"changes its attribute Cell.seen while it is called"),
        (_keeps, r"writes a value that differs.*made outside of it, at .*test_recurrent_cells.py:\d+: cell.last.copy_"),
        (_overwrites, "writes into its input or into the state"),
    ],
)
def test_what_is_not_the_same_at_each_step_is_refused_by_name(act, message):
    x, state = flambeau.ones(4, 2, 3), flambeau.ones(2, 3)
    with pytest.raises(CaptureError, match=message):
        flambeau.nn.Recurrent(Cell(act))(x, state)
    cell = Cell(act)
    y, _ = flambeau.nn.Recurrent(cell, unroll=True)(x, state)
    assert y.shape == (4, 2, 3)


def test_what_is_kept_of_a_step_has_no_value_outside():
    class Keeping(flambeau.nn.Module):
        def forward(self, x, state):
            self.kept = state
            return state + x

    cell = Keeping()
    flambeau.nn.Recurrent(cell)(flambeau.ones(4, 2), flambeau.ones(2))
    with pytest.raises(RuntimeError, match="escaped from inside the cell of a loop over time"):
        cell.kept.tolist()
