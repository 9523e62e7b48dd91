"""Optimizers, schedules and averages: exchange with PyTorch, closures, hooks, groups, captured steps."""

import importlib
import warnings

import numpy as np
import pytest
import torch as reference

import flambeau as torch
from flambeau.engine import reset_statistics, statistics
from flambeau.graph.recorder import pending
from flambeau.optim import optimizer as module

KINDS = {
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "Adamax": {},
    "NAdam": {"decoupled_weight_decay": True, "weight_decay": 0.1},
    "RAdam": {"lr": 0.1},
    "Adagrad": {"lr_decay": 0.1},
    "Adadelta": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Rprop": {},
    "ASGD": {"t0": 2, "lambd": 0.1},
    "Adafactor": {},
    "Muon": {},
}


def values(seed=0, shape=(4, 3), dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def trained(library, kind, options, start, steps, state=None):
    x = library.nn.Parameter(library.tensor(start))
    optimizer = getattr(library.optim, kind)([x], **options)
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(steps):
        optimizer.zero_grad()
        ((x.abs() ** 2) * 0.5 + x.abs()).sum().backward()
        optimizer.step()
    return x.detach().numpy(), optimizer.state_dict()


def moved(state, library):
    def one(value):
        if isinstance(value, (torch.Tensor, reference.Tensor)):
            return library.tensor(np.array(value.detach().numpy()))
        if isinstance(value, dict):
            return {key: one(item) for key, item in value.items()}
        if isinstance(value, list):
            return [one(item) for item in value]
        return value

    return one(state)


@pytest.mark.parametrize("kind", KINDS)
def test_state_is_exchanged_both_ways(kind):
    options = KINDS[kind]
    start, theirs = trained(reference, kind, options, values(), 3)
    mid, ours = trained(torch, kind, options, values(), 3)
    np.testing.assert_allclose(mid, start, rtol=2e-5, atol=2e-5)
    want, _ = trained(reference, kind, options, start, 3, moved(theirs, reference))
    got, _ = trained(torch, kind, options, start, 3, moved(theirs, torch))
    back, _ = trained(reference, kind, options, start, 3, moved(ours, reference))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("Adafactor", "Muon")])
def test_complex_parameters_are_pairs_of_real_ones(kind):
    start = (values(1) + 1j * values(2)).astype("complex64")
    got, want = (trained(library, kind, KINDS[kind], start, 3)[0] for library in (torch, reference))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("SGD", "Muon")])
def test_lr_may_be_a_tensor(kind):
    options = {**KINDS[kind], "lr": 0.01}
    want, _ = trained(torch, kind, options, values(), 3)
    for lr in (torch.tensor(0.01), torch.tensor([0.01], dtype=torch.float64)):
        got, _ = trained(torch, kind, {**options, "lr": lr}, values(), 3)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_sparse_adam_is_refused_by_name():
    with pytest.raises(NotImplementedError, match=r"SparseAdam.*sparse"):
        torch.optim.SparseAdam([torch.nn.Parameter(torch.ones(1))])


def test_a_parameter_given_twice_is_updated_twice():
    found = []
    for library in (torch, reference):
        x = library.nn.Parameter(library.ones(1))
        with pytest.warns(UserWarning, match="duplicate parameters"):
            optimizer = library.optim.SGD([x, x], lr=0.1)
        x.sum().backward()
        optimizer.step()
        found.append(x.item())
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_finds_the_minimum_as_pytorch_does(search):
    found = []
    for library in (torch, reference):
        x = library.nn.Parameter(library.tensor([-1.2, 1.0], dtype=library.float64))
        optimizer = library.optim.LBFGS([x], lr=0.5, max_iter=12, history_size=5, line_search_fn=search)

        def closure(x=x, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
        found.append((x.detach().numpy(), optimizer.state_dict()["state"][0]["func_evals"]))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6)
    assert found[0][1] == found[1][1]


def test_a_growing_history_makes_few_programs():
    x = torch.nn.Parameter(torch.linspace(-1, 1, 50, dtype=torch.float64))
    optimizer = torch.optim.LBFGS([x], lr=0.1, max_iter=60, tolerance_grad=0, tolerance_change=0)

    def closure():
        optimizer.zero_grad()
        loss = ((x - 1) ** 4 + x.cos()).sum()
        loss.backward()
        return loss

    reset_statistics()
    optimizer.step(closure)
    assert len(optimizer.state_dict()["state"][0]["old_dirs"]) == 59
    assert statistics()["programs_seen"] <= 20


def test_hooks_run_around_steps():
    x = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.Rprop([x])
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    handle = optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    optimizer.step()
    handle.remove()
    optimizer.step()
    assert calls == ["before", "after", "before"]


def test_groups_keep_options_of_their_own():
    a, b = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.Adagrad([{"params": [a], "lr": 0.5}, {"params": [b]}], lr=0.1)
    (a + b).sum().backward()
    optimizer.step()
    assert a.item() == pytest.approx(0.5)
    assert b.item() == pytest.approx(0.9)


def test_a_schedule_compiles_nothing():
    x = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.NAdam([x], lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step():
        optimizer.zero_grad()
        (x * x).sum().backward()
        optimizer.step()
        schedule.step()

    for _ in range(3):
        step()
    before = programs()
    for _ in range(5):
        step()
    assert programs() == before


def programs():
    return torch.engine.statistics()["programs_held"]


@pytest.mark.parametrize("kind", ["SGD", "NAdam", "ASGD"])
def test_a_captured_step_advances_its_schedule(kind):
    ends = []
    for captured in (False, True):
        x = torch.nn.Parameter(torch.tensor(values()))
        optimizer = getattr(torch.optim, kind)([x], lr=0.1)
        parts = [
            torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=2),
            torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8),
        ]
        schedule = torch.optim.lr_scheduler.ChainedScheduler(parts)

        def step(x=x, optimizer=optimizer, schedule=schedule):
            optimizer.zero_grad()
            loss = (x * x).sum()
            loss.backward()
            optimizer.step()
            schedule.step()
            return loss

        run = torch.compile(step) if captured else step
        for _ in range(5):
            run()
        ends.append((x.detach().numpy(), schedule.get_last_lr(), parts[1].last_epoch))
    np.testing.assert_allclose(ends[1][0], ends[0][0], rtol=1e-5, atol=1e-6)
    assert ends[1][1:] == ends[0][1:]


def test_schedules_warn_of_the_wrong_order():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="lr_scheduler.step"):
        schedule.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        schedule.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        schedule.step(4)
    assert schedule.get_last_lr() == [pytest.approx(0.001)]


def test_a_schedule_fills_a_tensor_lr():
    lr = torch.tensor(0.1)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(1))], lr=lr)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    assert optimizer.param_groups[0]["lr"] is lr
    assert lr.item() == pytest.approx(0.05)


@pytest.mark.parametrize("average", ["swa", "ema"])
def test_averaged_models_and_their_rates_are_as_pytorchs(average):
    found = []
    for library in (torch, reference):
        utils = library.optim.swa_utils
        model = library.nn.Sequential(library.nn.Linear(3, 2), library.nn.BatchNorm1d(2))
        with library.no_grad():
            model[0].weight.copy_(library.tensor(values(3, (2, 3))))
            model[0].bias.zero_()
        options = {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)} if average == "ema" else {}
        averaged = utils.AveragedModel(model, **options)
        optimizer = library.optim.SGD(model.parameters(), lr=0.001)
        schedule = utils.SWALR(optimizer, swa_lr=0.002, anneal_epochs=3)
        for seed in range(4):
            optimizer.zero_grad()
            (model(library.tensor(values(seed, (5, 3)))) ** 4).sum().backward()
            optimizer.step()
            schedule.step()
            averaged.update_parameters(model)
        utils.update_bn([library.tensor(values(seed, (5, 3))) for seed in range(2)], averaged)
        state = {name: value.detach().numpy() for name, value in averaged.state_dict().items()}
        found.append((state, schedule.get_last_lr()))
    assert found[0][1] == pytest.approx(found[1][1])
    assert list(found[0][0]) == list(found[1][0])
    for name, value in found[1][0].items():
        np.testing.assert_allclose(found[0][0][name], value, rtol=1e-4, atol=1e-5)


def test_old_states_without_new_options_are_loaded():
    x = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.RMSprop([x])
    state = optimizer.state_dict()
    del state["param_groups"][0]["maximize"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["maximize"] is False


def test_hooks_around_states_and_steps_are_called_as_in_pytorch():
    found = []
    for library in (torch, reference):
        calls = []
        x = library.nn.Parameter(library.ones(1))
        optimizer = library.optim.SGD([x], lr=0.1)

        def noted(name, answer=None, calls=calls):
            def hook(*given):
                state = sorted(given[-1]) if isinstance(given[-1], dict) else None
                calls.append((name, len(given), len(given[1]) if len(given) == 3 else None, state))
                return answer(given[-1]) if answer is not None else None

            return hook

        everywhere = importlib.import_module(f"{library.__name__}.optim.optimizer")
        handles = [
            everywhere.register_optimizer_step_pre_hook(noted("any before")),
            everywhere.register_optimizer_step_post_hook(noted("any after")),
            optimizer.register_step_pre_hook(noted("before")),
            optimizer.register_step_post_hook(noted("after")),
            optimizer.register_state_dict_pre_hook(noted("before saving")),
            optimizer.register_state_dict_post_hook(noted("after saving", lambda state: {**state, "more": 1})),
            optimizer.register_state_dict_post_hook(noted("first after saving"), prepend=True),
            optimizer.register_load_state_dict_pre_hook(
                noted("before loading", lambda state: {key: state[key] for key in state if key != "more"})
            ),
            optimizer.register_load_state_dict_post_hook(noted("after loading")),
            optimizer.register_load_state_dict_post_hook(noted("first after loading"), prepend=True),
        ]
        optimizer.step()
        optimizer.step(lambda: 1)
        optimizer.step(closure=lambda: 1)
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        for handle in handles:
            handle.remove()
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())
        found.append((calls, sorted(state)))
    assert found[0] == found[1]


def test_a_step_hook_may_change_what_the_step_is_given():
    for library in (torch, reference):
        x = library.nn.Parameter(library.ones(1))
        optimizer = library.optim.SGD([x], lr=0.1)
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: ((opt,), {"closure": lambda: 7}))
        assert optimizer.step() == 7
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: 3)
        with pytest.raises(RuntimeError, match="must return None or a tuple"):
            optimizer.step()


def test_hooks_run_around_the_step_of_an_optimizer_of_ones_own():
    found = []
    for library in (torch, reference):

        class Descent(library.optim.Optimizer):
            def __init__(self, params, lr):
                super().__init__(params, {"lr": lr})

            def step(self, closure=None):
                with type(self).library.no_grad():
                    for group in self.param_groups:
                        for p in group["params"]:
                            p.sub_(group["lr"] * p.grad)
                return "done"

        class Further(Descent):
            def step(self, closure=None):
                return "well " + super().step(closure)

        Descent.library = library
        calls = []
        x = library.nn.Parameter(library.ones(1))
        optimizer = Further([x], lr=0.25)
        optimizer.register_step_pre_hook(lambda opt, args, kwargs, calls=calls: calls.append(("before", len(args))))
        optimizer.register_step_post_hook(lambda *given, calls=calls: calls.append(("after", given[2])))
        x.sum().backward()
        calls.append(optimizer.step(closure=None))
        calls.append(x.item())
        found.append(calls)
    assert found[0] == found[1] == [("before", 1), ("after", {"closure": None}), "well done", 0.75]


def test_a_step_of_ones_own_runs_what_it_has_recorded():
    class Descent(torch.optim.Optimizer):
        def step(self, closure=None):
            with torch.no_grad():
                for p in self.param_groups[0]["params"]:
                    p.sub_(p.grad)

    x = torch.nn.Parameter(torch.ones(1))
    optimizer = Descent([x], {})
    for _ in range(3):
        optimizer.zero_grad()
        x.sum().backward()
        optimizer.step()
        assert not pending


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_is_one_operation_however_many_parameters_there_are(kind, monkeypatch):
    found = []
    for count in (2, 30):
        parameters = [torch.nn.Parameter(torch.ones(3, 2)) for _ in range(count)]
        optimizer = getattr(torch.optim, kind)(parameters, **KINDS[kind])
        for _ in range(2):
            for p in parameters:
                p.grad = torch.ones(3, 2)
            torch.engine.flush()
            with monkeypatch.context() as patch:
                patch.setattr(module, "flush", lambda: None)
                optimizer.step()
            recorded = [node.call.op.name for node in pending]
        # Beside it, what hands out each of its results.
        found.append([name for name in recorded if name != "project"])
    assert found[0] == found[1]
    assert len(found[0]) == 1
