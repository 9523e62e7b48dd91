"""Starting values: those of PyTorch, for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from both import same

import flambeau

SHAPES = [(3, 2), (2, 3), (5, 4, 3), (4, 6, 3, 3), (2, 2, 2, 2, 2)]


def run(name, shape, dtype, args, kwargs):
    def program(t):
        tensor = t.empty(shape, dtype=getattr(t, dtype))
        found = getattr(t.nn.init, name)(tensor, *args, **kwargs)
        return found is tensor, tensor, t.rand(2)

    return program


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("uniform_", (-2.0, 3.0), {}),
        ("normal_", (1.0, 0.5), {}),
        ("constant_", (0.3,), {}),
        ("ones_", (), {}),
        ("zeros_", (), {}),
        ("xavier_uniform_", (2.0,), {}),
        ("xavier_normal_", (), {"gain": 0.5}),
        ("kaiming_uniform_", (), {"a": 0.2}),
        ("kaiming_uniform_", (), {"mode": "fan_out", "nonlinearity": "relu"}),
        ("kaiming_normal_", (), {"mode": "fan_out", "nonlinearity": "tanh"}),
        ("trunc_normal_", (), {}),
    ],
)
def test_seeded(name, shape, dtype, args, kwargs):
    # The normal distribution goes by logarithms and cosines, which differ in the last bit among libraries.
    tolerance = {"float64": 1e-14, "float32": 5e-7}.get(dtype, 0.0) if "normal" in name else 0.0
    same(run(name, shape, dtype, args, kwargs), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (-0.1, 0.2), (0.5, 4.0), (1.5, 2.0)])
@pytest.mark.parametrize("shape", [(7,), (5, 40)])
def test_truncated_normal(bounds, shape):
    same(run("trunc_normal_", shape, "float32", (0.1, 1.2, *bounds), {}), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal(shape):
    same(run("orthogonal_", shape, "float64", (1.5,), {}), rtol=1e-10, atol=1e-12)
    same(run("orthogonal_", shape, "float32", (), {}), rtol=1e-4, atol=1e-5)
    w = flambeau.nn.init.orthogonal_(flambeau.empty(shape)).reshape(shape[0], -1).numpy()
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-5)


@pytest.mark.parametrize(
    "program",
    [
        run("eye_", (3, 5), "float32", (), {}),
        run("dirac_", (4, 2, 3), "float32", (2,), {}),
        run("dirac_", (6, 2, 3, 3), "float32", (), {}),
        run("dirac_", (2, 3, 3, 2, 4), "float64", (), {}),
        run("sparse_", (7, 5), "float64", (0.3,), {}),
        run("sparse_", (6, 5), "float32", (0.5,), {"std": 1.0}),
        run("uniform", (2,), "float32", (), {}),
        run("kaiming_normal", (2, 2), "float32", (), {}),
        run("uniform_", (2, 2), "float32", (), {"generator": None}),
        run("kaiming_uniform_", (0, 2), "float32", (), {}),
        run("trunc_normal_", (3,), "float32", (), {"mean": 5.0}),
        # Errors.
        run("eye_", (3,), "float32", (), {}),
        run("dirac_", (3, 3), "float32", (), {}),
        run("dirac_", (3, 3, 3), "float32", (2,), {}),
        run("xavier_normal_", (3,), "float32", (), {}),
        run("kaiming_normal_", (3, 3), "float32", (), {"mode": "fan"}),
        run("kaiming_normal_", (3, 3), "float32", (), {"nonlinearity": "what"}),
        run("orthogonal_", (3,), "float32", (), {}),
        run("sparse_", (3, 3, 3), "float32", (0.5,), {}),
        run("uniform_", (3,), "int64", (), {}),
        lambda t: t.nn.init.calculate_gain("leaky_relu", "a"),
        lambda t: t.nn.init.calculate_gain("what"),
        lambda t: [t.nn.init.calculate_gain(n) for n in "linear conv2d sigmoid tanh relu leaky_relu selu".split()],
        lambda t: t.nn.init.calculate_gain("leaky_relu", 0.3),
        lambda t: t.nn.init._calculate_fan_in_and_fan_out(t.empty(4, 3, 2, 5)),
    ],
)
def test_others(program):
    same(program, rtol=1e-6, atol=1e-7)


EVERY = {
    "uniform_": [{}, {"a": 2, "b": 3}],
    "normal_": [{}, {"mean": 1, "std": 3}],
    "trunc_normal_": [{"std": 0.1, "a": -0.1, "b": 0.3}],
    "xavier_uniform_": [{}, {"gain": 2}],
    "xavier_normal_": [{"gain": 2}],
    "kaiming_uniform_": [{}, {"a": 1}, {"mode": "fan_out"}, {"nonlinearity": "selu"}, {"nonlinearity": "conv2d"}],
    "kaiming_normal_": [{}, {"mode": "fan_out", "nonlinearity": "tanh"}],
    "orthogonal_": [{}, {"gain": 3}],
    "sparse_": [{"sparsity": 0.3}, {"sparsity": 0.9, "std": 2}],
    "constant_": [{"val": 3}],
    "ones_": [{}],
    "zeros_": [{}],
    "eye_": [{}],
    "dirac_": [{}, {"groups": 2}],
}
DRAWN = [name for name in EVERY if name not in ("constant_", "ones_", "zeros_", "eye_", "dirac_")]


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (4, 2, 3), (4, 2, 3, 3), (0, 3), (16, 20), (3,), ()])
@pytest.mark.parametrize(("name", "options"), [(name, options) for name in EVERY for options in EVERY[name]])
def test_every_function_on_every_kind_of_shape(name, options, shape):
    def program(t):
        fill = getattr(t.nn.init, name)
        found = [fill(t.empty(shape), **options), t.rand(1)]
        if name in DRAWN:
            found.append(fill(t.empty(shape), **options, generator=t.Generator().manual_seed(7)))
        return found

    same(program, rtol=1e-5, atol=1e-6)


def test_nothing_is_recorded_for_differentiation():
    w = flambeau.nn.Parameter(flambeau.empty(2, 2))
    for fill in (flambeau.nn.init.eye_, flambeau.nn.init.xavier_normal_, flambeau.nn.init.orthogonal_):
        fill(w)
        assert w.is_leaf
        assert w.requires_grad


def test_a_parameter_in_other_strides_is_filled_in_the_order_of_memory():
    same(lambda t: t.nn.init.uniform_(t.empty(3, 4).t()))
    same(lambda t: t.nn.init.normal_(t.empty(5, 4).t()), rtol=1e-6)
    same(lambda t: t.nn.init.normal_(t.empty(5, 8)[:, ::2]), rtol=1e-6)


def layers(t):
    nn = t.nn
    made = [nn.Linear(3, 2), nn.Linear(4, 4, bias=False), nn.Linear(2, 5, dtype=t.float64), nn.Bilinear(2, 3, 4)]
    return [list(layer.parameters()) for layer in made]


def test_layers_start_as_pytorch_s():
    same(layers)
