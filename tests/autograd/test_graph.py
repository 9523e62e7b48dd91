"""The tape as an object, hooks on what it saves, and the search for anomalies, beside PyTorch's."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle

import flambeau

LIBRARIES = (flambeau, oracle)


def test_hooks_on_saved_tensors_see_what_is_saved_and_give_it_back(tier):
    def program(L):
        x = L.tensor([0.5, 1.5], requires_grad=True)
        seen = []

        def pack(tensor):
            seen.append(tensor.detach().numpy().copy())
            return len(seen) - 1

        with L.autograd.graph.saved_tensors_hooks(pack, lambda place: L.tensor(seen[place]) * 2):
            y = (x.exp() * x).sum()
        z = x.exp().sum()
        (y + z).backward()
        # In which order an operation saves its operands is its own business.
        return sorted(seen, key=lambda a: a[0]), x.grad.numpy()

    (seen, grad), (seen_there, grad_there) = (program(L) for L in LIBRARIES)
    np.testing.assert_allclose(seen, seen_there, rtol=1e-6)
    np.testing.assert_allclose(grad, grad_there, rtol=1e-6)


def test_the_innermost_hooks_hold():
    for L in LIBRARIES:
        seen = []
        x = L.ones(1, requires_grad=True)
        hooks = L.autograd.graph.saved_tensors_hooks
        with hooks(lambda t, seen=seen: seen.append("outer") or t, lambda t: t):
            with hooks(lambda t, seen=seen: seen.append("inner") or t, lambda t: t):
                x.exp()
            x.exp()
        x.exp()
        assert seen == ["inner", "outer"]


def test_hooks_apply_to_what_a_function_saves(tier):
    for L in LIBRARIES:

        class Cube(L.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                y = x * x * x
                ctx.save_for_backward(x, y)
                return y

            @staticmethod
            def backward(ctx, grad):
                x, y = ctx.saved_tensors
                return grad * 3 * x * x + 0 * y

        packed = []
        x = L.tensor([2.0], requires_grad=True)
        with L.autograd.graph.saved_tensors_hooks(lambda t, p=packed: p.append(t.item()) or t, lambda t: t + 1):
            y = Cube.apply(x)
        y.backward()
        assert packed == [2.0, 8.0]
        assert x.grad.item() == 27.0


def test_saving_on_the_cpu():
    for L in LIBRARIES:
        x = L.tensor([2.0], requires_grad=True)
        with L.autograd.graph.save_on_cpu():
            y = x * x
        y.backward()
        assert x.grad.item() == 4.0


def test_hooks_can_be_forbidden():
    for L in LIBRARIES:
        hooks = L.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t)
        with L.autograd.graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not here"):
            hooks.__enter__()
        with L.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
            pass


def test_what_is_unpacked_must_be_a_tensor():
    for L in LIBRARIES:
        x = L.ones(1, requires_grad=True)
        with L.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
            y = x.exp()
        with pytest.raises(TypeError, match="Output of saved tensor unpack_hook expected to be a Tensor"):
            y.backward()


def test_edges():
    for L in LIBRARIES:
        x = L.ones(2, requires_grad=True)
        y = x * 2
        edge = L.autograd.graph.get_gradient_edge(y)
        assert edge.node is y.grad_fn
        assert edge.output_nr == 0
        assert L.autograd.graph.get_gradient_edge(x).node.variable is x
        with pytest.raises(RuntimeError, match="does not require grad"):
            L.autograd.graph.get_gradient_edge(L.ones(2))
        assert L.autograd.grad(y.sum(), edge)[0].tolist() == [1.0, 1.0]
        assert isinstance(y.grad_fn, L.autograd.graph.Node)
        y.grad_fn.metadata["note"] = 1
        assert y.grad_fn.metadata == {"note": 1}


def test_versions_are_counted():
    for L in LIBRARIES:
        x = L.ones(2)
        view = x[:1]
        L.autograd.graph.increment_version(x)
        L.autograd.graph.increment_version([x, view])
        assert x._version == view._version == 3
        assert view.tolist() == [1.0]


def test_a_hook_for_several_gradients():
    for L in LIBRARIES:
        a, b = L.ones(2, requires_grad=True), L.ones(2, requires_grad=True)
        c, d = a * b, a + b
        seen = []
        L.autograd.graph.register_multi_grad_hook(
            (a, b, c, d), lambda grads, seen=seen: seen.append([g is not None for g in grads])
        )
        handle = L.autograd.graph.register_multi_grad_hook(
            (a, c), lambda grad, seen=seen: seen.append(grad.tolist()), mode="any"
        )
        c.sum().backward(retain_graph=True)
        c.sum().backward(inputs=(a,), retain_graph=True)
        handle.remove()
        (c + d).sum().backward()
        assert seen == [
            [1.0, 1.0],
            [True, True, True, False],
            [1.0, 1.0],
            [True, False, True, False],
            [True, True, True, True],
        ]
        with pytest.raises(ValueError, match="Expects mode to be one of"):
            L.autograd.graph.register_multi_grad_hook((a,), print, mode="some")


def test_a_step_that_gives_nan_is_named_with_the_line_that_recorded_it(tier):
    for L in LIBRARIES:
        x = L.zeros(2, requires_grad=True)
        with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
            guard = L.autograd.detect_anomaly()
        with guard:
            y = x.sqrt() * 0  # the culprit
            with (
                pytest.warns(UserWarning, match="Error detected in SqrtBackward0") as caught,
                pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0th output"),
            ):
                y.sum().backward()
        assert any("# the culprit" in str(w.message) for w in caught)


def test_a_step_that_raises_is_named_too():
    for L in LIBRARIES:

        class Faulty(L.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, grad):
                raise RuntimeError("as planned")

        x = L.ones(1, requires_grad=True)
        with L.autograd.set_detect_anomaly(True):
            y = Faulty.apply(x)  # the culprit
            with (
                pytest.warns(UserWarning, match="Error detected in FaultyBackward") as caught,
                pytest.raises(RuntimeError, match="as planned"),
            ):
                y.backward()
        assert any("# the culprit" in str(w.message) for w in caught)


def test_without_a_noted_line_that_is_told():
    for L in LIBRARIES:
        x = L.zeros(1, requires_grad=True)
        y = x.sqrt() * 0
        with (
            L.autograd.set_detect_anomaly(True),
            pytest.warns(UserWarning, match="No forward pass information available"),
            pytest.raises(RuntimeError, match="nan values"),
        ):
            y.backward()


def test_the_search_for_anomalies_is_switched():
    for L in LIBRARIES:
        assert not L.is_anomaly_enabled()
        L.autograd.set_detect_anomaly(True, check_nan=False)
        assert L.is_anomaly_enabled()
        assert not L.is_anomaly_check_nan_enabled()
        x = L.zeros(1, requires_grad=True)
        (x.sqrt() * 0).backward()
        assert np.isnan(x.grad.numpy()).all()
        L.autograd.set_detect_anomaly(False)
        assert not L.is_anomaly_enabled()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with L.autograd.detect_anomaly():
                assert L.is_anomaly_enabled()
                assert L.is_anomaly_check_nan_enabled()
        assert not L.is_anomaly_enabled()


def test_threads_on_the_way_back_can_be_asked_for():
    for L in LIBRARIES:
        x = L.ones(2, requires_grad=True)
        with L.autograd.set_multithreading_enabled(False):
            (x * 2).sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]


def test_the_search_for_anomalies_passes_by_what_is_mapped():
    x = flambeau.zeros(2, 3, requires_grad=True)
    with flambeau.autograd.set_detect_anomaly(True):
        gradient = flambeau.vmap(flambeau.func.grad(lambda v: v.exp().sum()))(x.detach())
        assert gradient.tolist() == [[1.0] * 3] * 2
        with (
            pytest.warns(UserWarning, match="Error detected in VmapBackward"),
            pytest.raises(RuntimeError, match="nan"),
        ):
            (flambeau.vmap(lambda v: v.sqrt().sum())(x) * 0).sum().backward()
