"""``flambeau.compile``: replayed calls do what plain calls do."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import flambeau as torch
from flambeau import engine
from flambeau.capture.watch import CaptureError

F = torch.nn.functional


@pytest.fixture(params=["interpreter", "compiled", "auto"], autouse=True)
def tier(request):
    before = engine.get_tier()
    engine.set_tier(request.param)
    yield request.param
    engine.synchronize()
    engine.set_tier(before)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(6, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.last = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.last(F.relu(self.norm(self.first(x))))


def trainers(make_optimizer, clip=False):
    torch.manual_seed(0)
    model = Net()
    found = []
    for net in (model, copy.deepcopy(model)):
        optimizer = make_optimizer(net.parameters())

        def step(x, y, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            if clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()
            return loss.detach()

        found.append((net, optimizer, step))
    return found


def batch(seed, n=5):
    random = np.random.default_rng(seed)
    return torch.tensor(random.normal(size=(n, 6)).astype(np.float32)), torch.tensor(random.integers(0, 3, n))


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_step_is_replayed(name):
    (plain_net, _, plain), (net, _, step) = trainers(OPTIMIZERS[name], clip=name == "adamw")
    compiled = torch.compile(step)
    for i in range(8):
        x, y = batch(i)
        np.testing.assert_allclose(compiled(x, y).item(), plain(x, y).item(), rtol=1e-5)
    for ours, theirs in zip(net.state_dict().values(), plain_net.state_dict().values(), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(net.parameters(), plain_net.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-3, atol=1e-5)


def test_a_replay_records_nothing():
    _, (_, _, step) = trainers(OPTIMIZERS["adam"])
    compiled = torch.compile(step)
    x, y = batch(0)
    for _ in range(4):
        compiled(x, y)
    engine.flush()
    engine.reset_statistics()
    compiled(x, y)
    counters = engine.statistics()
    assert counters["flushes"] == 0
    assert counters["runs_interpreted"] + counters["runs_compiled"] == 1


def test_a_schedule_goes_on():
    (_, plain_optimizer, plain), (_, optimizer, step) = trainers(OPTIMIZERS["sgd"])
    compiled = torch.compile(step)
    for i in range(8):
        x, y = batch(i)
        for chosen in (plain_optimizer, optimizer):
            chosen.param_groups[0]["lr"] = 0.1 / (i + 1)
        np.testing.assert_allclose(compiled(x, y).item(), plain(x, y).item(), rtol=1e-5)


def test_a_change_of_mode_is_noticed():
    dropout = torch.nn.Dropout(0.5)
    compiled = torch.compile(lambda x: dropout(x) * 2)
    x = torch.ones(100)
    for _ in range(4):
        assert compiled(x).max().item() == 4.0
    dropout.eval()
    for _ in range(4):
        assert compiled(x).max().item() == 2.0
    dropout.train()
    assert compiled(x).max().item() == 4.0


def test_random_draws_advance_as_in_the_plain_loop():
    function = lambda x: F.dropout(x, 0.5)  # noqa: E731
    compiled = torch.compile(function)
    x = torch.ones(50)
    torch.manual_seed(3)
    plain = [function(x).tolist() for _ in range(6)]
    torch.manual_seed(3)
    assert [compiled(x).tolist() for _ in range(6)] == plain


def test_another_shape_is_another_program():
    compiled = torch.compile(lambda x: (x * 2).sum())
    for n in (2, 3, 2, 3, 2, 3, 2, 3):
        assert compiled(torch.ones(n)).item() == 2.0 * n


def test_the_first_of_many_shapes_is_captured_when_it_comes_back():
    runs = []

    @torch.compile
    def double(x):
        runs.append(len(x))
        return x * 2

    for length in range(1, 7):
        for _ in range(5):
            assert double(torch.ones(length)).tolist() == [2.0] * length
    # Two calls of a kind are watched, and replayed from then on; beyond four kinds the first of all goes unwatched.
    assert [runs.count(length) for length in range(1, 7)] == [2, 2, 2, 2, 3, 3]


def test_results_can_be_differentiated_outside():
    torch.manual_seed(0)
    net = Net()
    other = copy.deepcopy(net)
    compiled = torch.compile(net)
    for i in range(5):
        x, y = batch(i)
        x.requires_grad_()
        x2 = x.detach().clone().requires_grad_()
        F.cross_entropy(compiled(x), y).backward()
        F.cross_entropy(other(x2), y).backward()
        np.testing.assert_allclose(x.grad.numpy(), x2.grad.numpy(), rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(net.norm.running_mean.numpy(), other.norm.running_mean.numpy(), rtol=1e-5)


def test_gradient_mode_is_noticed():
    layer = torch.nn.Linear(2, 2)
    compiled = torch.compile(layer)
    x = torch.ones(1, 2)
    for _ in range(4):
        assert compiled(x).requires_grad
        with torch.no_grad():
            assert not compiled(x).requires_grad


def test_going_back_twice_is_refused():
    layer = torch.nn.Linear(2, 2)
    compiled = torch.compile(layer)
    for _ in range(4):
        out = compiled(torch.ones(1, 2)).sum()
    out.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        out.backward()


def test_asking_for_a_value_names_the_line():
    compiled = torch.compile(lambda x: x * x.sum().item())
    with pytest.raises(CaptureError, match=r"test_compile\.py:\d+: compiled = torch\.compile\(lambda x"):
        compiled(torch.ones(3))
    assert (torch.ones(2) + 1).tolist() == [2.0, 2.0]


def test_a_number_that_changes_inside_is_refused():
    count = [0]

    def function(x):
        count[0] += 1
        return x * float(count[0])

    compiled = torch.compile(function)
    with pytest.raises(CaptureError, match="Python number or array of its own that changed from"):
        for _ in range(12):
            compiled(torch.ones(2))


def test_state_in_a_new_tensor_each_time_is_refused():
    state = {"h": torch.zeros(2)}

    def function(x):
        state["h"] = state["h"] + x
        return x * 2

    compiled = torch.compile(function)
    with pytest.raises(CaptureError, match="new with each call"):
        for _ in range(12):
            compiled(torch.ones(2))


def test_state_written_in_place_is_kept():
    state = torch.zeros(2)

    def function(x):
        state.add_(x)
        return state * 2

    compiled = torch.compile(function)
    for i in range(1, 7):
        assert compiled(torch.ones(2)).tolist() == [2.0 * i, 2.0 * i]
    assert state.tolist() == [6.0, 6.0]


def test_the_program_can_be_looked_at():
    compiled = torch.compile(lambda x: (x * 2 + 1).sum())
    for _ in range(3):
        compiled(torch.ones(4))
    program = compiled.program
    assert program.operations == {"mul": 1, "add": 1, "sum": 1}
    assert program.nodes == 3
    assert program.bytes == 4 * 4 + 4
    assert "HloModule" in program.xla


def test_accepted_options_and_decorators():
    @torch.compile(fullgraph=True, mode="max-autotune", dynamic=False)
    def function(x):
        return x + 1

    assert function(torch.ones(1)).tolist() == [2.0]
    plain = torch.compile(function, disable=True)
    assert plain is function


def test_an_argument_that_is_returned_is_that_of_the_call():
    compiled = torch.compile(lambda x: [x, x + 1])
    for i in range(5):
        x = torch.tensor(float(i))
        found, more = compiled(x)
        assert found is x
        assert more.item() == i + 1


def test_what_is_drawn_and_returned_is_drawn_anew():
    compiled = torch.compile(lambda x: [x * 2, torch.rand(2)])
    torch.manual_seed(5)
    plain = [torch.rand(2).tolist() for _ in range(5)]
    torch.manual_seed(5)
    assert [compiled(torch.ones(1))[1].tolist() for _ in range(5)] == plain


def test_arguments_are_written_to_whichever_they_are():
    def write(x, y):
        x.add_(y)
        y.copy_(x * 0)

    compiled = torch.compile(write)
    for i in range(9):
        x, y = torch.tensor([float(i)]), torch.tensor([2.0])
        compiled(x, y)
        assert (x.item(), y.item()) == (i + 2, 0)


def test_a_tensor_may_come_to_show_what_another_shows():
    target = torch.zeros(2)
    compiled = torch.compile(lambda source: target.copy_(source))
    for i in range(5):
        compiled(torch.tensor([i, i + 1.0]))
        assert target.tolist() == [i, i + 1]


def test_views_that_are_returned_share_their_elements():
    def parts(x):
        rows = x * 2
        return rows, rows.t(), x[0]

    compiled = torch.compile(parts)
    for i in range(5):
        x = torch.full((2, 3), float(i))
        rows, columns, first = compiled(x)
        assert columns.stride() == (1, 3)
        columns[0, 1] = 9.0
        assert rows.tolist() == [[2 * i] * 3, [9, 2 * i, 2 * i]]
        first.fill_(7)
        assert x.tolist() == [[7.0] * 3, [i] * 3]
        base = torch.arange(20.0)
        assert torch.equal(compiled(base[i : i + 6].view(2, 3))[2], base[i : i + 3])


def test_arguments_that_are_views_of_one_another_are_written_as_such():
    def write(x, y):
        x.add_(1)
        return y * 1

    compiled = torch.compile(write)
    for i in range(4):
        x = torch.tensor([float(i), 0.0])
        assert compiled(x, torch.zeros(1)).item() == 0
        assert compiled(x, x[:1]).item() == i + 2
        assert compiled(x, x[1:]).item() == 3


def test_writing_what_is_differentiated_into_an_argument_is_refused():
    weight = torch.ones(1, requires_grad=True)

    def write(x):
        x.mul_(weight)
        return x.sum()

    with pytest.raises(CaptureError, match="from outside that is differentiated through what was written"):
        torch.compile(write)(torch.ones(1))


def test_a_packed_sequence_is_returned():
    packed = torch.nn.utils.rnn.pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])
    double = torch.compile(lambda data: packed._replace(data=data * 2))
    for _ in range(4):
        found = double(packed.data)
        assert type(found) is type(packed)
        assert found.batch_sizes.tolist() == [2, 2, 1, 1]
        assert torch.equal(found.data, packed.data * 2)


def test_every_parameter_of_a_captured_step_may_be_overwritten():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.Linear(30, 40))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    x = torch.randn(8, 40)
    for _ in range(4):
        step(x)
    replay = step._newest
    arrays = [
        given for given, aval in zip(replay._donated, replay.entry.program.leaf_avals, strict=True) if not aval.weak
    ]
    # All but the argument.
    assert arrays.count(False) == 1
    assert arrays.count(True) == 4


def test_old_gradients_are_gone_before_the_new_ones_are_made(monkeypatch):
    weight = torch.ones(3, requires_grad=True)

    @torch.compile
    def step(x):
        weight.grad = None
        (weight * x).sum().backward()

    for k in range(4):
        step(torch.full((3,), float(k)))
    held = []
    execute = engine.tiers.execute

    def looked_at(entry, values, donated):
        held.append(weight.grad)
        return execute(entry, values, donated)

    monkeypatch.setattr(engine.tiers, "execute", looked_at)
    kept = weight.grad
    step(torch.tensor([7.0, 7.0, 7.0]))
    assert held == [None]
    assert kept.tolist() == [3.0] * 3
    assert weight.grad.tolist() == [7.0] * 3
