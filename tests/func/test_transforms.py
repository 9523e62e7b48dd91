"""``torch.func``: transforms of functions, alone and nested, beside PyTorch's on both tiers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle

import flambeau

LIBRARIES = (flambeau, oracle)


def leaves(result) -> list[np.ndarray]:
    if isinstance(result, list | tuple):
        return [x for part in result for x in leaves(part)]
    if isinstance(result, dict):
        return [x for key in result for x in leaves(result[key])]
    return [result.detach().numpy()]


def both(program, rtol=2e-5, atol=2e-5):
    """Runs a program on both libraries, and holds the nested results together."""
    found = leaves(program(flambeau))
    with warnings.catch_warnings():
        # PyTorch's forward mode warns of its own deprecated parts.
        warnings.simplefilter("ignore")
        expected = leaves(program(oracle))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def data(L):
    return L.linspace(-1, 1, 6).reshape(2, 3), L.linspace(0.5, 1.5, 3)


def rows(x, w):
    return ((x * w).sin() @ w.reshape(3, 1)).squeeze(-1)


def scalar(x, w):
    return rows(x, w).pow(3).sum()


PROGRAMS = {
    "grad": lambda f, x, w: f.grad(scalar, argnums=1)(x, w),
    "grad of several": lambda f, x, w: f.grad(scalar, argnums=(1, 0))(x, w),
    "grad and value": lambda f, x, w: f.grad_and_value(scalar)(x, w),
    "grad with aux": lambda f, x, w: f.grad(lambda x: (scalar(x, w), {"rows": rows(x, w)}), has_aux=True)(x),
    "grad of a dictionary": lambda f, x, w: f.grad(lambda p: scalar(p["x"], p["w"]))({"x": x, "w": w}),
    "grad of grad": lambda f, x, w: f.grad(lambda w: f.grad(lambda x: scalar(x, w))(x).sum())(w),
    "no effect outside": lambda f, x, w: f.grad(lambda x: f.grad(lambda y: (x * y).sum())(w).sum() * x.sum())(x),
    "jacrev": lambda f, x, w: f.jacrev(rows)(x, w),
    "jacrev of several": lambda f, x, w: f.jacrev(rows, argnums=(0, 1))(x, w),
    "jacrev in chunks": lambda f, x, w: (
        f.jacrev(scalar_and_rows, chunk_size=1)(x, w),
        f.jacrev(rows, chunk_size=2)(x, w),
    ),
    "jacrev of structures": lambda f, x, w: f.jacrev(scalar_and_rows)(x, w),
    "jacrev with aux": lambda f, x, w: f.jacrev(lambda x: (rows(x, w), x * 2), has_aux=True)(x),
    "jacfwd": lambda f, x, w: f.jacfwd(rows, argnums=(0, 1))(x, w),
    "jacfwd with aux": lambda f, x, w: f.jacfwd(lambda x: (rows(x, w), x * 2), has_aux=True)(x),
    "hessian": lambda f, x, w: f.hessian(scalar, argnums=(0, 1))(x, w),
    "forward over forward": lambda f, x, w: f.jacfwd(f.jacfwd(scalar))(x, w),
    "reverse over forward": lambda f, x, w: f.jacrev(f.jacfwd(scalar))(x, w),
    "jvp": lambda f, x, w: f.jvp(rows, (x, w), (x * 2, w + 1)),
    "jvp with aux": lambda f, x, w: f.jvp(lambda x: (rows(x, w), w), (x,), (x + 1,), has_aux=True),
    "jvp of what does not depend on it": lambda f, x, w: f.jvp(lambda x: w * 2, (x,), (x,)),
    "jvp of jvp": lambda f, x, w: f.jvp(lambda x: f.jvp(lambda y: scalar(y, w), (x,), (x * 2,))[1], (x,), (x + 1,)),
    "vjp": lambda f, x, w: pulled(f, x, w),
    "vjp of structures": lambda f, x, w: f.vjp(lambda x: {"a": x.sin(), "b": x.cos()}, x)[1]({"a": x, "b": x + 1}),
    "gradient of each example": lambda f, x, w: f.vmap(f.grad(scalar), in_dims=(0, None))(x, w),
    "Hessian of each example": lambda f, x, w: f.vmap(f.hessian(scalar), in_dims=(0, None))(x, w),
    "derivative of each example": lambda f, x, w: f.vmap(lambda v: f.jvp(lambda u: scalar(u, w), (v,), (v * 2,))[1])(x),
    "gradient of a map": lambda f, x, w: f.grad(lambda x: f.vmap(lambda v: scalar(v, w))(x).sin().sum())(x),
    "Jacobian of a map of gradients": lambda f, x, w: f.jacrev(lambda w: f.vmap(lambda v: f.grad(scalar)(v, w))(x))(w),
}


def scalar_and_rows(x, w):
    return {"scalar": scalar(x, w), "rows": rows(x, w)}


def pulled(f, x, w):
    value, pull = f.vjp(rows, x, w)
    return value, pull(value), pull(value + 1)


@pytest.mark.parametrize("name", PROGRAMS)
def test_transforms_agree_with_pytorch(name, tier):
    both(lambda L: PROGRAMS[name](L.func, *data(L)))


def test_gradients_reach_what_is_captured_by_closure(tier):
    def program(L):
        x, w = data(L)
        w.requires_grad_()
        gradient = L.func.grad(scalar)(x, w)
        assert gradient.requires_grad
        gradient.sum().backward()
        return gradient, w.grad

    both(program)


def test_results_are_cut_off_where_nothing_outside_requires_gradients():
    for L in LIBRARIES:
        x, w = data(L)
        assert not L.func.grad(scalar)(x, w).requires_grad
        assert not L.func.jacrev(rows)(x, w).requires_grad
        assert not L.func.jacfwd(rows)(x, w).requires_grad
        assert not L.func.vjp(rows, x, w)[1](rows(x, w))[0].requires_grad
        assert not any(t.requires_grad for t in L.func.jvp(rows, (x, w), (x, w)))
        with L.no_grad():
            outside = w.clone().requires_grad_()
            gradient = L.func.grad(scalar)(x, outside)
        assert not gradient.requires_grad
        assert gradient.abs().sum() > 0
        assert x.grad is None


def test_no_grad_inside_is_respected():
    def program(L):
        def f(x):
            with L.no_grad():
                c = x**2
            return (x - c).sum()

        return L.func.grad(f)(L.tensor([1.0, 2.0]))

    both(program)


def test_a_function_may_write_to_its_argument(tier):
    def program(L):
        def f(x):
            y = x * 2
            y.mul_(x)
            y[0] = 0.0
            return y.sum()

        return L.func.grad(f)(L.tensor([1.0, 2.0]))

    both(program)


def test_the_result_of_linearize_is_the_derivative(tier):
    x, w = data(flambeau)
    value, derivative = flambeau.func.linearize(rows, x, w)
    for tangents in ((x * 2, w + 1), (x + 1, w)):
        expected, tangent = flambeau.func.jvp(rows, (x, w), tangents)
        assert flambeau.allclose(value, expected)
        assert flambeau.allclose(derivative(*tangents), tangent)
    with pytest.raises(RuntimeError, match=r"tangent:0 with shape .* doesn't match the shape \[2, 3\]"):
        derivative(w, w)
    with pytest.raises(RuntimeError, match=r"tangent:0 with dtype torch\.float64"):
        derivative(x.double(), w)


def test_gradients_of_each_example_for_a_module(tier):
    def program(L):
        model = L.nn.Sequential(L.nn.Conv2d(1, 2, 3), L.nn.ReLU(), L.nn.Flatten(), L.nn.Linear(8, 3))
        with L.no_grad():
            for p in model.parameters():
                p.copy_(L.linspace(-0.5, 0.5, p.numel()).reshape(p.shape))
        params = {k: v.detach() for k, v in model.named_parameters()}
        images = L.linspace(-1, 1, 64).reshape(4, 1, 4, 4)
        labels = L.tensor([0, 1, 2, 0])

        def loss(params, image, label):
            logits = L.func.functional_call(model, params, (image.unsqueeze(0),))
            return L.nn.functional.cross_entropy(logits, label.unsqueeze(0))

        return L.func.vmap(L.func.grad(loss), in_dims=(None, 0, 0))(params, images, labels)

    both(program)


def test_an_ensemble_of_modules(tier):
    def program(L):
        models = [L.nn.Linear(3, 2) for _ in range(3)]
        with L.no_grad():
            for i, model in enumerate(models):
                model.weight.copy_(L.linspace(-1, i, 6).reshape(2, 3))
                model.bias.fill_(float(i))
        params, buffers = L.func.stack_module_state(models)
        assert all(p.is_leaf and p.requires_grad for p in params.values())
        x = L.linspace(0, 1, 6).reshape(2, 3)
        out = L.vmap(lambda p, b: L.func.functional_call(models[0], (p, b), (x,)))(params, buffers)
        out.sin().sum().backward()
        return out, params["weight"].grad, params["bias"].grad

    both(program)


def test_functional_call_takes_several_dictionaries():
    for L in LIBRARIES:
        model = L.nn.Linear(2, 1)
        given = ({"weight": L.ones(1, 2)}, {"bias": L.zeros(1)})
        assert L.func.functional_call(model, given, L.ones(2)).item() == 2.0
        with pytest.raises(ValueError, match=r"\['bias'\] appeared in multiple dictionaries"):
            L.func.functional_call(model, ({"bias": L.zeros(1)}, {"bias": L.zeros(1)}), L.ones(2))
        with pytest.raises(ValueError, match="Expected parameter_and_buffer_dicts to be a dict"):
            L.func.functional_call(model, 3, L.ones(2))
        with pytest.raises(ValueError, match="Expected all elements of parameter_and_buffer_dicts"):
            L.func.functional_call(model, [3], L.ones(2))


def test_stack_module_state_refuses_what_does_not_fit():
    for L in LIBRARIES:
        with pytest.raises(RuntimeError, match="Expected at least one model, got 0"):
            L.func.stack_module_state([])
        with pytest.raises(RuntimeError, match="same training/eval mode"):
            L.func.stack_module_state([L.nn.Linear(1, 1), L.nn.Linear(1, 1).eval()])
        with pytest.raises(RuntimeError, match="of the same class"):
            L.func.stack_module_state([L.nn.Linear(1, 1), L.nn.ReLU()])
        with pytest.raises(RuntimeError, match=r"Expected weight from each model to have the same .requires_grad"):
            L.func.stack_module_state([L.nn.Linear(1, 1), L.nn.Linear(1, 1).requires_grad_(False)])


def test_batch_norm_without_running_statistics():
    def program(L):
        model = L.func.replace_all_batch_norm_modules_(L.nn.Sequential(L.nn.BatchNorm1d(2)))
        assert model[0].running_mean is None
        return L.vmap(model, randomness="same")(L.linspace(0, 1, 24).reshape(3, 4, 2))

    both(program)


FAULTS = {
    "not a scalar": (lambda f, x: f.grad(lambda x: x * 2)(x), RuntimeError, "got tensor with 1 dims"),
    "not a tensor": (lambda f, x: f.grad(lambda x: 3)(x), RuntimeError, "to return a Tensor, got"),
    "no aux": (lambda f, x: f.grad(lambda x: x.sum(), has_aux=True)(x), RuntimeError, r"\(output, aux\) if has_aux"),
    "a number": (lambda f, x: f.grad(lambda x: x)(3.0), ValueError, "Thing passed to transform API must be Tensor"),
    "argnums": (lambda f, x: f.grad(lambda x: x.sum(), argnums=1)(x), RuntimeError, "Got argnum=1, but only 1"),
    "empty argnums": (lambda f, x: f.grad(lambda x: x.sum(), argnums=())(x), RuntimeError, "must be non-empty"),
    "argnums twice": (lambda f, x: f.grad(lambda x: x.sum(), argnums=(0, 0))(x), RuntimeError, "must be unique"),
    "integers": (lambda f, x: f.grad(lambda x: x.sum())(x.long()), RuntimeError, "floating point"),
    "chunks": (lambda f, x: f.jacrev(lambda x: x, chunk_size=0), ValueError, "should be greater than 0"),
    "complex": (lambda f, x: f.jacrev(lambda x: x)(x + 0j), RuntimeError, "Expected all inputs to be real"),
    "complex forward": (lambda f, x: f.jacfwd(lambda x: x + 0j)(x), RuntimeError, "Expected all outputs to be real"),
    "primals": (lambda f, x: f.jvp(lambda x: x, x, x), RuntimeError, "Expected primals to be a tuple"),
    "tangents": (lambda f, x: f.jvp(lambda x: x, (x,), (x, x)), RuntimeError, "same python structure"),
    "tangent's shape": (lambda f, x: f.jvp(lambda x: x, (x,), (x[:1],)), RuntimeError, "a different size than that"),
    "strict": (lambda f, x: f.jvp(lambda y: x, (x,), (x,), strict=True), RuntimeError, "output of f is independent"),
    "nothing returned": (lambda f, x: f.vjp(lambda x: None, x), RuntimeError, "non-empty output"),
    "integers returned": (lambda f, x: f.vjp(lambda x: x.long(), x), RuntimeError, "All outputs of f must be"),
    "cotangents": (lambda f, x: f.vjp(lambda x: x, x)[1]((x, x)), RuntimeError, "Expected pytree structure of cotan"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_as_pytorch_tells_them(name):
    program, kind, message = FAULTS[name]
    for L in LIBRARIES:
        with pytest.raises(kind, match=message):
            program(L.func, L.ones(2))
