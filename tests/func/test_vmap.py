"""``vmap``: dimensions, structures, randomness, what it refuses, and that it is one node of the work around it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from test_transforms import LIBRARIES, both

import flambeau
from flambeau import engine


def table(L, *shape):
    return L.linspace(-1, 2, int(np.prod(shape))).reshape(shape)


PROGRAMS = {
    "another dimension": lambda L: L.vmap(lambda v: v.cumsum(0), in_dims=1, out_dims=1)(table(L, 3, 4)),
    "a negative dimension": lambda L: L.vmap(lambda v: v * 2, in_dims=-1, out_dims=-1)(table(L, 3, 4, 2)),
    "some arguments shared": lambda L: L.vmap(lambda a, b: a @ b, in_dims=(0, None))(table(L, 2, 3), table(L, 3, 4)),
    "structures": lambda L: L.vmap(
        lambda p, s: {"a": p["x"] * s[0], "b": [p["y"].sum(), s[1]]}, in_dims=(0, (0, None))
    )({"x": table(L, 4, 2), "y": table(L, 4, 3)}, (table(L, 4), table(L, 2))),
    "dimensions of results": lambda L: L.vmap(lambda v: (v, v.outer(v)), out_dims=(1, 2))(table(L, 3, 2)),
    "a result that all share": lambda L: L.vmap(lambda v: (v, table(L, 2)), out_dims=(0, None))(table(L, 3, 2)),
    "a result repeated": lambda L: L.vmap(lambda v: table(L, 2))(table(L, 3, 2)),
    "the argument itself": lambda L: L.vmap(lambda v: v)(table(L, 3, 2)),
    "nested": lambda L: L.vmap(L.vmap(lambda a, b: (a * b).sum(), (0, None)), (None, 0))(
        table(L, 3, 2), table(L, 4, 2)
    ),
    "thrice": lambda L: L.vmap(L.vmap(L.vmap(lambda v: v.sin() + 1)))(table(L, 2, 3, 4)),
    "keyword arguments": lambda L: L.vmap(lambda v, w: v * w)(table(L, 3, 2), w=table(L, 2)),
    "a partial function": lambda L: L.vmap(functools.partial(lambda v, w: v * w, w=3))(table(L, 3, 2)),
    "in chunks": lambda L: L.vmap(lambda v, w: (v * w, v.sum()), (0, None), chunk_size=2)(table(L, 5, 2), table(L, 2)),
    "no examples": lambda L: L.vmap(lambda v: v.sin().sum())(L.zeros(0, 3)),
    "one number an example": lambda L: L.vmap(lambda v: v * v + L.ones(2))(table(L, 4)),
    "broadcasting": lambda L: L.vmap(lambda a, b: a + b.unsqueeze(1) * a)(table(L, 4, 3), table(L, 4, 2)),
    "integers": lambda L: L.vmap(lambda v, i: v[i] + v.gather(0, i))(table(L, 4, 3), L.tensor([[0, 2]] * 4)),
    "softmax and norms": lambda L: L.vmap(
        lambda v: L.nn.functional.layer_norm(v.softmax(-1), (3,)) + L.nn.functional.gelu(v)
    )(table(L, 4, 2, 3)),
    "views and writes": lambda L: L.vmap(written)(table(L, 4, 3)),
    "values of what all share": lambda L: L.vmap(lambda v: v * table(L, 3).sum().item())(table(L, 4, 3)),
    "sorting": lambda L: L.vmap(lambda v: v.sort(descending=True))(table(L, 4, 3))[0],
    "several results": lambda L: L.vmap(lambda v: L.var_mean(v))(table(L, 4, 3)),
    "convolution": lambda L: L.vmap(lambda x, w: L.nn.functional.conv1d(x, w, padding=1))(
        table(L, 2, 1, 3, 5), table(L, 2, 4, 3, 3)
    ),
    "an element by an index of its own": lambda L: L.vmap(
        lambda v, m: (v[v.argmax()], m[v.argmax()], m[:, v.argmin()])
    )(table(L, 4, 3), table(L, 4, 3, 3)),
    "where": lambda L: L.vmap(lambda v: L.where(v > 0, v, v * 0.1))(table(L, 4, 3)),
    "where, with a number": lambda L: L.vmap(lambda v, w: L.where(v > 0, w, -1.5).masked_fill(v > 1, 2))(
        table(L, 4, 3), table(L, 4, 1)
    ),
    "indices of what all share": lambda L: L.vmap(lambda i, j: (table(L, 4, 3)[i], table(L, 4, 3, 2)[i, j]))(
        L.tensor([[0, 2], [3, -1]]), L.tensor([[1], [2]])
    ),
    "indices that all share": lambda L: L.vmap(lambda v: (v[L.tensor([1, 1])], v[L.tensor([1]), L.tensor([0, -1])]))(
        table(L, 4, 3, 2)
    ),
    "elements nested": lambda L: L.vmap(L.vmap(lambda a, b, c: (L.where(a > b, a, -1.0) * c, a), (None, 0, 0)))(
        table(L, 4), table(L, 4, 3), table(L, 4, 3)
    ),
}


def written(v):
    y = v * 2
    y[0] = v.sum()
    y[1:].add_(1)
    return y, y.view(1, 3).mT


@pytest.mark.parametrize("name", PROGRAMS)
def test_maps_agree_with_pytorch(name, tier):
    both(PROGRAMS[name])


def test_gradients_go_through_a_map(tier):
    def program(L):
        x, w = table(L, 4, 3).requires_grad_(), table(L, 3).requires_grad_()
        out = L.vmap(lambda v: (v * w).sin() @ v)(x)
        (first,) = L.autograd.grad(out.sum(), x, create_graph=True)
        second = L.autograd.grad((first * first).sum(), (x, w), retain_graph=True)
        out.pow(2).sum().backward()
        return out, first, second, x.grad, w.grad

    both(program, rtol=1e-4)


def test_gradients_go_through_nested_maps(tier):
    def program(L):
        x, w, a = table(L, 4, 3).requires_grad_(), table(L, 3).requires_grad_(), table(L, 2, 3)
        out = L.vmap(lambda a: L.vmap(lambda b: (a * b * w).sum())(x))(a)
        first = L.autograd.grad((out * out).sum(), (x, w), create_graph=True)
        return out, first, L.autograd.grad(first[0].sin().sum() + first[1].sum(), (x, w))

    both(program, rtol=1e-4)


def test_gradients_of_elements_read_by_index_are_added_up(tier):
    def program(L):
        shared, own = table(L, 4, 3).requires_grad_(), table(L, 2, 5).requires_grad_()
        one = L.ones(1, dtype=L.int64)

        def read(v, i, j):
            return shared[i, j] * v * shared[i, one] + shared[one, one] + shared[i, j + 1]

        i, j = L.tensor([[0], [3]]), L.tensor([[0], [1], [1], [0], [1]])
        out = L.vmap(L.vmap(read, (0, None, 0)), (0, 0, None))(own, i, j)
        out.pow(2).sum().backward()
        (first,) = L.autograd.grad((L.vmap(lambda i: shared[i, one])(i) ** 3).sum(), shared, create_graph=True)
        return out, shared.grad, own.grad, L.autograd.grad(first.pow(2).sum(), shared)

    both(program, rtol=1e-4)


def test_a_gradient_of_what_is_read_by_index_is_never_held_for_each_example(tier):
    values, places = flambeau.ones(1000, 1000, requires_grad=True), flambeau.arange(1000)
    out = flambeau.vmap(flambeau.vmap(lambda i, j: values[i, j], (None, 0)), (0, None))(places, places)
    out.sum().backward()
    # For each, there would be a million tensors of a million elements.
    assert values.grad.sum().item() == 1e6


def test_the_way_back_is_given_up_like_any_other():
    x = flambeau.ones(2, 3, requires_grad=True)
    out = flambeau.vmap(lambda v: v.sin().sum())(x)
    out.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        out.sum().backward()


def test_gradients_of_rows_by_mapping_autograd_grad(tier):
    def program(L):
        x = table(L, 3).requires_grad_()
        y = x.sin() * x.sum()
        return L.vmap(lambda v: L.autograd.grad(y, x, v, retain_graph=True)[0])(L.eye(3))

    both(program)


def test_an_argument_may_be_written_to(tier):
    def program(L):
        x = table(L, 4, 3)
        out = L.vmap(lambda v: v.add_(1) * 2, in_dims=1)(x)
        return x, out

    both(program)


def test_a_map_is_one_node_and_is_compiled_once():
    before = engine.get_tier()
    engine.set_tier("compiled")
    try:
        f = flambeau.vmap(lambda v: (v.sin() * 2).sum())
        f(table(flambeau, 4, 3)).tolist()
        engine.reset_statistics()
        for _ in range(3):
            f(table(flambeau, 4, 3) * 2).tolist()
        assert engine.statistics()["programs_compiled"] <= 1
        assert engine.statistics()["programs_seen"] <= 1
        engine.reset_statistics()
        x = table(flambeau, 4, 3)
        x.tolist()
        engine.reset_statistics()
        f(x).tolist()
        # The mapped work and its one result.
        assert engine.statistics()["nodes"] == 2
    finally:
        engine.set_tier(before)


def test_randomness(tier):
    F = flambeau.nn.functional
    ones = flambeau.ones(4, 64)
    same = flambeau.vmap(lambda v: F.dropout(v, 0.5), randomness="same")(ones)
    assert all(flambeau.equal(row, same[0]) for row in same)
    different = flambeau.vmap(lambda v: F.dropout(v, 0.5), randomness="different")(ones)
    assert not any(flambeau.equal(row, different[0]) for row in different[1:])
    drawn = flambeau.vmap(lambda v: v + flambeau.randn(64), randomness="different")(ones)
    assert not any(flambeau.equal(row, drawn[0]) for row in drawn[1:])
    assert abs(drawn.mean().item() - 1) < 0.3
    alone = flambeau.vmap(lambda v: flambeau.rand(3), randomness="different")(ones)
    assert not flambeau.equal(alone[0], alone[1])
    chunked = flambeau.vmap(lambda v: v * flambeau.rand(()), randomness="same", chunk_size=2)(ones)
    assert flambeau.equal(chunked[0], chunked[3])
    for L in LIBRARIES:
        with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
            L.vmap(lambda v, L=L: v + L.rand(1))(L.ones(2))
        with pytest.raises(RuntimeError, match="Only allowed values for randomness are"):
            L.vmap(lambda v: v, randomness="no")(L.ones(2))


def branches(v):
    return v if v.sum() > 0 else -v


FAULTS = {
    "item": (lambda L: L.vmap(lambda v: v.sum().item())(L.ones(2, 3)), RuntimeError, r"calling .item\(\) on a Tensor"),
    "branch": (lambda L: L.vmap(branches)(L.ones(2, 3)), RuntimeError, "data-dependent control flow"),
    "mask": (lambda L: L.vmap(lambda v: v[v > 0])(L.ones(2, 3)), RuntimeError, "indexing with a boolean mask"),
    "nonzero": (lambda L: L.vmap(lambda v: v.nonzero())(L.ones(2, 3)), RuntimeError, "that can output dynamic shape"),
    "sizes": (
        lambda L: L.vmap(lambda a, b: a + b)(L.ones(2), L.ones(3)),
        ValueError,
        r"same size in the mapped dimension, got sizes \[2, 3\]",
    ),
    "nothing mapped": (lambda L: L.vmap(lambda v: v, None)(L.ones(2)), ValueError, "expected `in_dims` to be int or"),
    "no tensor mapped": (
        lambda L: L.vmap(lambda v: v, (None,))(L.ones(2)),
        ValueError,
        "Expected at least one Tensor to vmap over",
    ),
    "no inputs": (lambda L: L.vmap(lambda: 1)(), ValueError, "got no inputs"),
    "a number": (
        lambda L: L.vmap(lambda a, b: a)(L.ones(2), 3),
        ValueError,
        "We cannot vmap over non-Tensor arguments",
    ),
    "in_dims' structure": (
        lambda L: L.vmap(lambda a: a, (0, 0))(L.ones(2)),
        ValueError,
        "in_dims is not compatible with the structure of `inputs`",
    ),
    "in_dims' type": (lambda L: L.vmap(lambda a: a, ("x",))(L.ones(2)), ValueError, "in_dim must be either an integer"),
    "in_dims' range": (
        lambda L: L.vmap(lambda a: a, 1)(L.ones(2)),
        ValueError,
        "Tensor of dimensionality 1 so expected in_dim to satisfy -1 <= in_dim < 1",
    ),
    "a result": (lambda L: L.vmap(lambda v: 3)(L.ones(2)), ValueError, "must only return Tensors, got type"),
    "out_dims' structure": (
        lambda L: L.vmap(lambda v: (v, v), out_dims=(0, 0, 0))(L.ones(2)),
        ValueError,
        "out_dims is not compatible with the structure of `outputs`",
    ),
    "out_dims' type": (lambda L: L.vmap(lambda v: v, out_dims="a")(L.ones(2)), ValueError, "must be an int, None or a"),
    "out_dims None": (
        lambda L: L.vmap(lambda v: v, out_dims=None)(L.ones(2)),
        ValueError,
        "can not return a BatchedTensor when out_dim is None",
    ),
    "chunk_size": (lambda L: L.vmap(lambda v: v, chunk_size=0), ValueError, "chunk_size should be None or greater"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_told_as_pytorch_tells_them(name):
    program, kind, message = FAULTS[name]
    for L in LIBRARIES:
        with pytest.raises(kind, match=message):
            program(L)
    # Whatever happened, the engine goes on as before.
    assert (flambeau.ones(2) + 1).tolist() == [2.0, 2.0]


def filled(v):
    first = v.new_zeros(3)
    first[0] = v.sum()
    second = v.new_zeros(3)
    second.add_(v)
    second[1:] = v[1:] * 2
    return first, second


def test_what_is_made_inside_may_be_written_to(tier):
    def program(L):
        x = table(L, 2, 3).requires_grad_()
        results = L.vmap(lambda v: (*filled(v), L.zeros_like(v).add_(v)))(x)
        return results, L.autograd.grad(sum(r.pow(2).sum() for r in results), x)

    both(program)
    x = table(flambeau, 2, 3)
    made = flambeau.vmap(lambda v: flambeau.tensor([1.0, 2.0, 3.0]).mul_(v))(x)
    assert flambeau.equal(made, x * flambeau.tensor([1.0, 2.0, 3.0]))


def test_the_debug_mode_confirms_maps():
    before = engine.get_tier()
    engine.set_tier("both")
    try:
        x = table(flambeau, 2, 3).requires_grad_()
        (g,) = flambeau.autograd.grad(flambeau.vmap(lambda v: v.softmax(0).log().sum())(x).sum(), x)
        assert g.abs().sum().item() > 0
    finally:
        engine.set_tier(before)


def test_writing_an_example_into_what_all_share_raises():
    with pytest.raises(RuntimeError, match=r"vmap: inplace arithmetic\(self, \*extra_args\) is not possible"):
        flambeau.vmap(lambda v, w: w.add_(v), (0, None))(flambeau.ones(2, 3), flambeau.ones(3))
    w = flambeau.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="vmap: inplace arithmetic"):
        flambeau.vmap(lambda v: (v * w).sum().backward() or v)(flambeau.ones(2, 3))
    assert w.grad is None
    norm = flambeau.nn.BatchNorm1d(3)
    with pytest.raises(RuntimeError, match="vmap: inplace arithmetic"):
        flambeau.vmap(norm)(flambeau.ones(2, 4, 3))


def test_a_tensor_that_escaped_says_so():
    kept = []
    flambeau.vmap(lambda v: kept.append(v * 2) or v)(flambeau.ones(2))
    with pytest.raises(RuntimeError, match="a tensor escaped from inside a function that vmap maps"):
        kept[0].tolist()
    with pytest.raises(RuntimeError, match="a tensor escaped from inside a function that vmap maps"):
        (kept[0] + 1).tolist()


def test_a_map_inside_of_a_compiled_function():
    w = flambeau.ones(3, requires_grad=True)
    f = flambeau.compile(lambda x: flambeau.vmap(lambda v: (v * w).sum())(x))
    for k in range(5):
        x = table(flambeau, 4, 3) + k
        with flambeau.no_grad():
            w.fill_(float(k + 1))
        w.grad = None
        out = f(x)
        out.pow(2).sum().backward()
        np.testing.assert_allclose(out.detach().numpy(), (x.numpy() * (k + 1)).sum(1), rtol=1e-5)
        expected = (2 * out.detach().numpy()[:, None] * x.numpy()).sum(0)
        np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-5)


def test_linear_algebra_checks_all_examples_when_they_are_known(tier):
    def program(L):
        a = table(L, 2, 3, 3) + 3 * L.eye(3)
        a.requires_grad_()
        out = L.vmap(lambda m: (L.linalg.inv(m), L.linalg.solve(m, m[0]), L.linalg.cholesky(m @ m.T)))(a)
        return out, L.autograd.grad(sum(o.sum() for o in out), a), L.vmap(L.linalg.svdvals)(a)

    both(program, rtol=1e-3, atol=1e-4)
    singular = flambeau.stack([flambeau.eye(2), flambeau.zeros(2, 2)])
    with pytest.raises(flambeau.linalg.LinAlgError, match=r"linalg\.inv: \(Batch element 1\): "):
        flambeau.vmap(flambeau.linalg.inv)(singular)
    nested = flambeau.vmap(flambeau.vmap(flambeau.linalg.inv))
    with pytest.raises(flambeau.linalg.LinAlgError, match=r"linalg\.inv: "):
        nested(singular.unsqueeze(0))
    assert flambeau.equal(nested(flambeau.eye(2).expand(2, 3, 2, 2)), flambeau.eye(2).expand(2, 3, 2, 2))


def test_a_map_that_failed_leaves_nothing_behind():
    x = flambeau.ones(2, 3, requires_grad=True)
    out = flambeau.vmap(lambda v: v.sin())(x)

    def refuse(gradient):
        raise RuntimeError("as planned")

    handle = out.register_hook(refuse)
    with pytest.raises(RuntimeError, match="as planned"):
        out.sum().backward(retain_graph=True)
    handle.remove()
    out.sum().backward()
    assert flambeau.allclose(x.grad, x.detach().cos())


def test_autocast_reaches_what_is_mapped(tier):
    layer = flambeau.nn.Linear(3, 2)
    x = table(flambeau, 4, 3)
    with flambeau.autocast("cpu"):
        mapped = flambeau.vmap(layer)(x)
        plain = layer(x)
    assert mapped.dtype is plain.dtype is flambeau.bfloat16
    assert flambeau.allclose(mapped.float(), plain.float(), rtol=1e-2, atol=1e-2)
    mapped.float().sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), x.sum(0).expand(2, 3).numpy(), rtol=2e-2)
