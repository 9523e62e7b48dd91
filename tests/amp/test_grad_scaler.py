"""GradScaler beside PyTorch's: the scale's course, skipped steps, state, errors, and what compile may capture."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from tests.nn.both import same


def iterate(library: Any, scaler: Any, optimizer: Any, w: Any, factor: float) -> None:
    """One iteration whose gradients are all the factor times the scale."""
    optimizer.zero_grad()
    scaler.scale((w * factor).sum()).backward()
    scaler.step(optimizer)
    scaler.update()


def setting(library: Any, **options: Any) -> tuple[Any, Any, Any]:
    w = library.nn.Parameter(library.arange(4.0))
    optimizer = library.optim.Adam([w], lr=0.1)
    return library.amp.GradScaler("cpu", **options), optimizer, w


def test_scale_and_weights_over_overflows_and_growth(tier: str) -> None:
    def program(library: Any) -> Any:
        scaler, optimizer, w = setting(library, init_scale=1024.0, growth_interval=3, growth_factor=1.7)
        course = []
        for factor in (1.0, float("inf"), 2.0, 1e37, float("nan"), 1.0, 1.0, 3.0, 1.0, 1.0, 1.0):
            iterate(library, scaler, optimizer, w, factor)
            course.append((scaler.get_scale(), scaler._get_growth_tracker(), w.tolist()))
        return course, scaler.state_dict()

    same(program, rtol=1e-6, atol=1e-6)


def test_a_scale_that_would_overflow_stays() -> None:
    def program(library: Any) -> Any:
        scaler, optimizer, w = setting(library, init_scale=3e38, growth_interval=1)
        iterate(library, scaler, optimizer, w, 1e-38)
        return scaler.get_scale(), scaler._get_growth_tracker()

    same(program, rtol=1e-6)


def test_float16_training_as_in_pytorch(tier: str) -> None:
    def program(library: Any) -> Any:
        library.manual_seed(0)
        model = library.nn.Sequential(library.nn.Linear(8, 16), library.nn.Tanh(), library.nn.Linear(16, 3))
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        scaler = library.amp.GradScaler("cpu", init_scale=2.0**10)
        x = library.tensor(np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32))
        y = library.arange(12) % 3
        losses = []
        for _ in range(8):
            optimizer.zero_grad()
            with library.autocast("cpu", dtype=library.float16):
                loss = library.nn.functional.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            norm = library.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            losses.append((loss.item(), norm.item()))
        return losses

    same(program, rtol=5e-3, atol=1e-3)


def test_outputs_in_containers() -> None:
    def program(library: Any) -> Any:
        scaler = library.amp.GradScaler("cpu", init_scale=2.0)
        one = library.ones(1)
        return scaler.scale([one, (one, one)]), list(scaler.scale(x for x in (one, 2 * one)))

    same(program)


def test_two_optimizers_share_the_check() -> None:
    def program(library: Any) -> Any:
        scaler, first, w = setting(library, init_scale=8.0)
        v = library.nn.Parameter(library.ones(2))
        second = library.optim.SGD([v], lr=0.5)
        scaler.scale((w * float("inf")).sum() + v.sum()).backward()
        scaler.step(first)
        scaler.step(second)
        scaler.update()
        return w, v, scaler.get_scale()

    same(program)


def test_an_optimizer_that_scales_by_itself() -> None:
    def program(library: Any) -> Any:
        scaler, _, w = setting(library, init_scale=8.0)

        class Own(library.optim.SGD):
            _step_supports_amp_scaling = True

            def step(self, closure: Any = None) -> Any:
                seen.append((self.grad_scale, self.found_inf))

        seen: list[Any] = []
        optimizer = Own([w], lr=0.1)
        scaler.scale(w.sum()).backward()
        scaler.step(optimizer)
        return seen, w.grad, hasattr(optimizer, "grad_scale")

    same(program)


def test_the_older_contract_of_such_optimizers() -> None:
    def program(library: Any) -> Any:
        scaler, _, w = setting(library, init_scale=8.0)

        class Own(library.optim.SGD):
            _step_supports_amp_scaling = True

            def step(self, closure: Any = None, grad_scaler: Any = None) -> Any:
                return grad_scaler is scaler

        optimizer = Own([w], lr=0.1)
        scaler.scale(w.sum()).backward()
        return scaler.step(optimizer)

    same(program)


def test_state_continues_in_another_scaler() -> None:
    def program(library: Any) -> Any:
        scaler, optimizer, w = setting(library, init_scale=64.0, growth_interval=3)
        iterate(library, scaler, optimizer, w, 1.0)
        iterate(library, scaler, optimizer, w, float("inf"))
        state = copy.deepcopy(scaler.state_dict())
        fresh, _, _ = setting(library)
        fresh.load_state_dict(state)
        running, other, v = setting(library)
        iterate(library, running, other, v, 1.0)
        running.load_state_dict(state)
        pickled = pickle.loads(pickle.dumps(scaler))
        for each in (fresh, running, pickled):
            iterate(library, each, optimizer, w, 1.0)
        return [each.state_dict() for each in (fresh, running, pickled)]

    same(program)


def test_settings() -> None:
    def program(library: Any) -> Any:
        scaler = library.amp.GradScaler("cpu")
        before = scaler.get_scale(), scaler.get_growth_factor(), scaler.get_backoff_factor()
        scaler.set_growth_factor(3.0)
        scaler.set_backoff_factor(0.1)
        scaler.set_growth_interval(7)
        off = library.amp.GradScaler("cpu", enabled=False)
        off.load_state_dict({})
        off.update()
        one = library.ones(1)
        return before, scaler.state_dict(), off.state_dict(), off.get_scale(), off.is_enabled(), off.scale(one) is one

    same(program)


def test_new_scales() -> None:
    def program(library: Any) -> Any:
        scaler = library.amp.GradScaler("cpu")
        scaler.scale(library.ones(1))
        scaler.update(5.0)
        first = scaler.get_scale()
        scaler.update(library.tensor([7.0]))
        return first, scaler.get_scale()

    same(program)


def _twice_unscaled(t: Any) -> None:
    scaler, optimizer, w = setting(t)
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.unscale_(optimizer)


def _unscaled_after_step(t: Any) -> None:
    scaler, optimizer, w = setting(t)
    scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    scaler.unscale_(optimizer)


def _stepped_twice(t: Any) -> None:
    scaler, optimizer, w = setting(t)
    scaler.scale(w.sum()).backward()
    scaler.step(optimizer)
    scaler.step(optimizer)


def _half_gradients(t: Any) -> None:
    w = t.nn.Parameter(t.ones(2, dtype=t.float16))
    scaler = t.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(w.sum()).backward()
    scaler.step(t.optim.SGD([w], lr=0.1))


def _no_gradients(t: Any) -> None:
    scaler, optimizer, w = setting(t)
    scaler.scale(w.sum())
    scaler.step(optimizer)


def _unchecked_update(t: Any) -> None:
    scaler, _, w = setting(t)
    scaler.scale(w.sum())
    scaler.update()


def _pickled_midway(t: Any) -> None:
    scaler, optimizer, w = setting(t)
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    pickle.dumps(scaler)


def _new_scale_of_two(t: Any) -> None:
    scaler, _, w = setting(t)
    scaler.scale(w.sum())
    scaler.update(t.ones(2))


MISTAKES = {
    "growth": lambda t: t.amp.GradScaler("cpu", growth_factor=1.0),
    "backoff": lambda t: t.amp.GradScaler("cpu", backoff_factor=1.0),
    "no gpu": lambda t: t.amp.GradScaler().is_enabled(),
    "older gpu": lambda t: t.cuda.amp.GradScaler().is_enabled(),
    "older cpu": lambda t: t.cpu.amp.GradScaler(4.0).get_scale(),
    "step unscaled": lambda t: setting(t)[0].step(setting(t)[1]),
    "unscale unscaled": lambda t: setting(t)[0].unscale_(setting(t)[1]),
    "update unscaled": lambda t: setting(t)[0].update(),
    "closure": lambda t: setting(t)[0].step(setting(t)[1], closure=lambda: None),
    "number": lambda t: t.amp.GradScaler("cpu").scale(3),
    "empty state": lambda t: t.amp.GradScaler("cpu").load_state_dict({}),
    "twice unscaled": _twice_unscaled,
    "unscaled after step": _unscaled_after_step,
    "stepped twice": _stepped_twice,
    "half gradients": _half_gradients,
    "no gradients": _no_gradients,
    "unchecked update": _unchecked_update,
    "pickled midway": _pickled_midway,
    "new scale of two": _new_scale_of_two,
}


@pytest.mark.parametrize("name", list(MISTAKES))
def test_errors_and_warnings_are_pytorchs(name: str) -> None:
    same(MISTAKES[name])


def test_compiled_forward_and_backward_with_the_step_outside() -> None:
    def course(compiled: bool) -> list[Any]:
        scaler, optimizer, w = setting(flambeau, init_scale=16.0, growth_interval=2)

        def loss_of(factor: Any) -> Any:
            optimizer.zero_grad()
            loss = (w * factor).square().sum()
            scaler.scale(loss).backward()
            return loss.detach()

        run = flambeau.compile(loss_of) if compiled else loss_of
        seen = []
        for k in range(7):
            loss = run(flambeau.tensor(float("inf") if k == 3 else 1.0 + k))
            scaler.step(optimizer)
            scaler.update()
            seen.append((loss.item(), scaler.get_scale(), w.tolist()))
        return seen

    for one, other in zip(course(True), course(False), strict=True):
        assert one[1] == other[1]
        np.testing.assert_allclose([one[0], *one[2]], [other[0], *other[2]], rtol=1e-5)


def test_a_step_inside_a_compiled_function_is_refused_by_name() -> None:
    scaler, optimizer, w = setting(flambeau)

    @flambeau.compile
    def step() -> None:
        scaler.scale(w.sum()).backward()
        scaler.step(optimizer)

    with pytest.raises(RuntimeError, match=r"GradScaler.step cannot be captured: .*call unscale_, step and update"):
        step()


def test_values_survive_float16_only_when_scaled() -> None:
    def gradient(scale: float) -> float:
        x = torch.ones(1) * 1e-4
        w = flambeau.nn.Parameter(flambeau.ones(1, 1))
        scaler = flambeau.amp.GradScaler("cpu", init_scale=scale)
        optimizer = flambeau.optim.SGD([w], lr=1.0)
        with flambeau.autocast("cpu", dtype=flambeau.float16):
            loss = flambeau.nn.functional.linear(flambeau.tensor([[x.item()]]), w).float().sum() * 1e-5
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        assert w.grad is not None
        return w.grad.item()

    assert gradient(1.0) == 0.0
    assert gradient(2.0**16) == pytest.approx(1e-9, rel=1e-2)
