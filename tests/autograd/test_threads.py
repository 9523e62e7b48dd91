"""Each thread has its own grad mode, autocast and hooks on saved values, as in PyTorch."""

import sys
import threading

import numpy as np
import pytest
import torch as reference

import flambeau as torch


def elsewhere(function):
    """What a function gives in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def modes(t):
    amp = [t.is_autocast_enabled("cpu"), t.get_autocast_dtype("cpu"), t.is_autocast_cache_enabled()]
    anomaly = [t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()]
    return [t.is_grad_enabled(), t.is_inference_mode_enabled(), *map(str, amp), *anomaly]


def grad_mode(t):
    with t.no_grad():
        inside = elsewhere(lambda: modes(t))

    def switch():
        t.set_grad_enabled(False)
        return modes(t)

    return [inside, elsewhere(switch), modes(t)]


def inference_mode(t):
    with t.inference_mode():
        inside = elsewhere(lambda: [modes(t), t.ones(1).is_inference()])
    return [inside, elsewhere(lambda: t.inference_mode().__enter__()), modes(t)]


def autocast(t):
    x = t.ones(2, 2)
    with t.autocast("cpu", dtype=t.float16, cache_enabled=False):
        inside = [str((x @ x).dtype), elsewhere(lambda: [modes(t), str((x @ x).dtype)])]

    def switch():
        t.set_autocast_enabled("cpu", True)
        t.set_autocast_dtype("cpu", t.float16)
        t.set_autocast_cache_enabled(False)
        return [modes(t), str((x @ x).dtype)]

    return [inside, elsewhere(switch), modes(t), str((x @ x).dtype)]


def nesting(t):
    with t.autocast("cpu"):
        inside = elsewhere(t.autocast_increment_nesting)
        outside = t.autocast_increment_nesting()
        t.autocast_decrement_nesting()
    return [inside, outside]


def regions_side_by_side(t):
    """Three threads, each in a region of its own, take turns."""
    x = t.ones(2, 2)
    turn = threading.Barrier(3)
    found = {}

    def work(name, dtype, grad):
        w = t.ones(2, 2, requires_grad=True)
        with t.autocast("cpu", dtype=dtype, enabled=dtype is not None), t.set_grad_enabled(grad):
            turn.wait()
            made = [x @ w, w @ w]
            turn.wait()
            found[name] = [(str(y.dtype), y.requires_grad) for y in (*made, x @ w)]
            turn.wait()
        found[name].append([str((x @ w).dtype), (x @ w).requires_grad])

    threads = [
        threading.Thread(target=work, args=given)
        for given in (("a", t.bfloat16, True), ("b", t.float16, False), ("c", None, True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def hooks_on_saved_values(t):
    seen = []
    x = t.ones(2, requires_grad=True)
    with t.autograd.graph.saved_tensors_hooks(lambda saved: seen.append(1) or saved, lambda saved: saved):
        elsewhere(lambda: x.exp())
        before = len(seen)
        x.exp()
    with t.autograd.graph.disable_saved_tensors_hooks("not here"):
        with pytest.raises(RuntimeError, match="not here"):
            t.autograd.graph.saved_tensors_hooks(lambda a: a, lambda a: a).__enter__()
        allowed = elsewhere(lambda: t.autograd.graph.saved_tensors_hooks(lambda a: a, lambda a: a).__enter__())
    return [before, len(seen), allowed]


def anomalies_are_searched_everywhere(t):
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"), t.autograd.detect_anomaly():
        return elsewhere(lambda: modes(t))


def backward_under_the_mode_of_its_thread(t):
    w = t.ones(2, 2, requires_grad=True)
    with t.autocast("cpu"):
        loss = (w @ w).float().sum()
        elsewhere(lambda: loss.backward())
    return [str(w.grad.dtype), w.grad.tolist(), w.grad.requires_grad]


PROGRAMS = {
    function.__name__: function
    for function in (
        grad_mode,
        inference_mode,
        autocast,
        nesting,
        regions_side_by_side,
        hooks_on_saved_values,
        anomalies_are_searched_everywhere,
        backward_under_the_mode_of_its_thread,
    )
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_threads_keep_their_modes_as_in_pytorch(name):
    assert PROGRAMS[name](torch) == PROGRAMS[name](reference)


def test_a_weights_cast_is_kept_by_the_thread_that_made_it():
    """A region that ends in one thread leaves alone what another keeps."""
    w = torch.ones(2, 2, requires_grad=True)
    with torch.autocast("cpu"):
        first = w @ w

        def other():
            with torch.autocast("cpu", dtype=torch.float16):
                return str((w @ w).dtype)

        assert elsewhere(other) == "torch.float16"
        second = w @ w
    cast = [edge[0] for y in (first, second) for edge in y.grad_fn.next_functions]
    assert all(step is cast[0] for step in cast)


@pytest.fixture
def restless():
    """Threads take turns at every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def _train(seed):
    generator = torch.Generator().manual_seed(seed)
    w = torch.rand(6, 6, generator=generator).requires_grad_()
    x = torch.rand(4, 6, generator=generator)
    optimizer = torch.optim.Adam([w], lr=0.1)
    for _ in range(25):
        optimizer.zero_grad()
        ((x @ w).tanh() - x).square().mean().backward()
        optimizer.step()
    return w.detach().numpy()


@pytest.mark.parametrize("tier", ["interpreter", "compiled"])
def test_threads_that_train_at_once_give_what_each_gives_alone(tier, restless):
    torch.engine.set_tier(tier)
    seeds = range(4)
    found = {}

    def work(seed):
        found[seed] = _train(seed)

    try:
        alone = [_train(seed) for seed in seeds]
        threads = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        torch.engine.set_tier("auto")
    for seed in seeds:
        # Where one thread runs what another has begun to record, XLA fuses it in other ways.
        np.testing.assert_allclose(found[seed], alone[seed], rtol=0, atol=0 if tier == "interpreter" else 1e-5)
