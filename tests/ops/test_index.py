"""Indexing against PyTorch: reading, writing, gradients, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle
from chains import numbers, several
from hypothesis import given
from hypothesis import strategies as st

import flambeau
from flambeau import engine


@st.composite
def subscripts(draw, shape):
    """A subscript for a tensor of that shape, as a function of the library."""
    items = []
    dim = 0
    common = draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    gap = False
    while dim < len(shape):
        n = shape[dim]
        kind = draw(
            st.sampled_from(["int", "slice", "slice", "none", "tensor", "list", "mask", "ellipsis", "stop", "zero"])
        )
        if kind == "int" and n:
            items.append(("plain", draw(st.integers(-n, n - 1))))
        elif kind == "slice":
            start, stop = (draw(st.none() | st.integers(-4, 5)) for _ in range(2))
            items.append(("plain", slice(start, stop, draw(st.none() | st.integers(1, 3)))))
        elif kind == "none":
            items.append(("plain", None))
            continue
        elif kind == "tensor" and n:
            sizes = tuple(draw(st.sampled_from([m, 1])) if m != 1 else 1 for m in common)
            count = int(np.prod(sizes))
            values = draw(st.lists(st.integers(-n, n - 1), min_size=count, max_size=count))
            items.append(("tensor", np.array(values, np.int64).reshape(sizes)))
        elif kind == "zero" and n:
            items.append(("tensor", np.array(draw(st.integers(-n, n - 1)))))
        elif kind == "list" and n and not common:
            items.append(("plain", draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=1))))
        elif kind == "mask" and not common:
            values = draw(st.lists(st.booleans(), min_size=n, max_size=n))
            if sum(values) != 1 and any(k != "plain" for k, _ in items):
                continue
            items.append(("tensor", np.array(values, bool)))
            common = (sum(values),)
        elif kind == "ellipsis" and not gap:
            gap = True
            items.append(("plain", Ellipsis))
            dim += draw(st.integers(0, len(shape) - dim))
            continue
        elif kind == "stop":
            break
        else:
            continue
        dim += 1

    def build(library):
        return tuple([library.tensor(v) if k == "tensor" else v for k, v in items])

    return build


SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


def outcome(work):
    try:
        return work(), None
    except (IndexError, RuntimeError, ValueError, TypeError) as error:
        return None, error


def assert_same_error(ours, theirs) -> bool:
    """Whether both failed; fails if only one did, or in another way."""
    assert (ours is None) == (theirs is None), (ours, theirs)
    if ours is not None:
        assert type(ours) is type(theirs), (ours, theirs)
    return ours is not None


def on(tier: str, check, *args) -> None:
    before = engine.get_tier()
    engine.set_tier(tier)
    try:
        check(*args)
    finally:
        engine.set_tier(before)


@several(200)
@given(st.data(), SHAPES)
def test_reading_and_its_gradient(data, shape) -> None:
    on("interpreter", check_reading, data, shape)


@several(25, share=8)
@given(st.data(), SHAPES)
def test_reading_and_its_gradient_compiled(data, shape) -> None:
    on("compiled", check_reading, data, shape)


def check_reading(data, shape) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    build = data.draw(subscripts(shape))
    tensors = [library.tensor(array).requires_grad_() for library in (flambeau, oracle)]
    (ours, wrong), (theirs, refused) = (
        outcome(lambda t=t, lib=lib: t[build(lib)]) for t, lib in zip(tensors, (flambeau, oracle), strict=True)
    )
    if assert_same_error(wrong, refused):
        return
    np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    assert tuple(ours.shape) == tuple(theirs.shape)
    for found in (ours, theirs):
        (found * found).sum().backward()
    np.testing.assert_allclose(tensors[0].grad.numpy(), tensors[1].grad.numpy(), rtol=1e-5)


@several(200)
@given(st.data(), SHAPES, st.booleans())
def test_writing_and_its_gradient(data, shape, whole) -> None:
    on("interpreter", check_writing, data, shape, whole)


@several(25, share=8)
@given(st.data(), SHAPES, st.booleans())
def test_writing_and_its_gradient_compiled(data, shape, whole) -> None:
    on("compiled", check_writing, data, shape, whole)


def check_writing(data, shape, whole) -> None:
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    build = data.draw(subscripts(shape))
    target, refused = outcome(lambda: oracle.tensor(array)[build(oracle)])
    if refused is not None:
        return
    places = oracle.arange(array.size).reshape(shape)[build(oracle)]
    if places.numel() != len(places.unique()):
        # Which of several values written to one place stays is not defined.
        return
    value = np.random.default_rng(1).standard_normal(tuple(target.shape) if whole else ()).astype(np.float32)
    results = []
    for library in (flambeau, oracle):
        x = library.tensor(array).requires_grad_()
        v = library.tensor(value).requires_grad_()
        y = x * 2
        _, error = outcome(lambda y=y, v=v, library=library: y.__setitem__(build(library), v))
        if error is None:
            (y * y).sum().backward()
        results.append((y, x.grad, v.grad, error))
    (ours, *our_grads, wrong), (theirs, *their_grads, refused) = results
    if assert_same_error(wrong, refused):
        return
    np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    for mine, reference in zip(our_grads, their_grads, strict=True):
        if reference is None or mine is None:
            assert all(g is None or not g.numpy().any() for g in (mine, reference))
        else:
            np.testing.assert_allclose(mine.numpy(), reference.numpy(), rtol=1e-4, atol=1e-5)


@st.composite
def places(draw, shape):
    """Index tensors for the leading dimensions of a shape, which may repeat: integers that broadcast, or a mask."""
    count = draw(st.integers(1, len(shape)))
    if draw(st.integers(0, 3)) == 0:
        return [np.random.default_rng(draw(st.integers(0, 99))).random(shape[:count]) < 0.5]
    common = draw(st.lists(st.integers(1, 3), max_size=2).map(tuple))
    found = []
    for n in shape[:count]:
        sizes = tuple(draw(st.sampled_from([m, 1])) for m in common)
        size = int(np.prod(sizes))
        found.append(
            np.array(draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size)), np.int64).reshape(sizes)
        )
    return found


def check_index_put(data, shape) -> None:
    """Several steps of ``index_put_``, some of them into views of views, with the gradients of base and values."""
    steps = []
    for i in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["whole", "transposed", "row", "steps"]))
        inner = {
            "whole": shape,
            "transposed": shape[::-1],
            "row": shape[1:],
            "steps": ((shape[0] + 1) // 2, *shape[1:]),
        }[kind]
        if not inner:
            continue
        indices = data.draw(places(inner))
        target = oracle.zeros(inner)[tuple(oracle.tensor(v) for v in indices)]
        trail = data.draw(st.integers(0, target.dim()))
        value = numbers(tuple(target.shape)[trail:], "float32", i + 1)
        steps.append((kind, indices, value))

    def run(library):
        leaf = library.tensor(numbers(shape, "float32")).requires_grad_()
        values = [library.tensor(value).requires_grad_() for _, _, value in steps]
        base = leaf * 2
        parts = {
            "whole": lambda: base,
            "transposed": lambda: base.permute(*range(len(shape))[::-1]),
            "row": lambda: base[-1:][0],
            "steps": lambda: base[...][::2],
        }
        for (kind, indices, _), value in zip(steps, values, strict=True):
            parts[kind]().index_put_(tuple(library.tensor(v) for v in indices), value, accumulate=True)
        weights = library.arange(base.numel()).reshape(shape) + 1
        grads = library.autograd.grad((base * base * weights).sum(), [leaf, *values], allow_unused=True)
        return [base.detach(), *grads]

    for found, expected in zip(run(flambeau), run(oracle), strict=True):
        assert (found is None) == (expected is None)
        if found is not None:
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


FILLED = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@several(200)
@given(st.data(), FILLED)
def test_index_put_accumulates(data, shape) -> None:
    on("interpreter", check_index_put, data, shape)


@several(25, share=8)
@given(st.data(), FILLED)
def test_index_put_accumulates_compiled(data, shape) -> None:
    on("compiled", check_index_put, data, shape)


@pytest.mark.parametrize(
    ("shape", "index"),
    [
        ((3,), 3),
        ((3,), -4),
        ((3,), (0, 0)),
        ((), 0),
        ((3,), "a"),
        ((3,), 1.5),
        ((3,), slice(None, None, -1)),
        ((3,), slice(None, None, 0)),
        ((2, 3), "mask"),
        ((2, 3), "shapes"),
        ((3,), "float"),
        ((3,), "far"),
    ],
)
def test_what_is_refused_is_refused_in_the_same_words(shape, index) -> None:
    said = []
    for library in (flambeau, oracle):
        given = {
            "mask": lambda lib: lib.tensor([True, False, True]),
            "shapes": lambda lib: (lib.tensor([0, 1]), lib.tensor([0, 1, 2])),
            "float": lambda lib: lib.tensor([0.5]),
            "far": lambda lib: lib.tensor([0, 7]),
        }
        key = given[index](library) if isinstance(index, str) and index in given else index
        with pytest.raises((IndexError, ValueError, TypeError, RuntimeError)) as caught:
            library.zeros(shape)[key]
        said.append((caught.type, str(caught.value)))
    assert said[0] == said[1]


def test_an_index_out_of_range_is_found_when_it_is_computed(tier: str) -> None:
    if tier == "compiled":
        pytest.skip("XLA clips indices that it cannot know")
    places = flambeau.tensor([1, 2]) * 5
    with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 0 with size 3"):
        flambeau.zeros(3)[places].tolist()


def test_a_position_that_changes_costs_no_compilation(tier: str) -> None:
    from flambeau import engine

    x = flambeau.arange(40).reshape(10, 4).float()
    seen = None
    for i in range(8):
        (x[i] + x[i : i + 2].sum(0)).tolist()
        if i == 1:
            seen = engine.statistics()
    assert seen is not None
    now = engine.statistics()
    assert now["programs_seen"] == seen["programs_seen"]


def test_a_mask_and_a_number_ask_for_no_value() -> None:
    x = flambeau.arange(4).float()
    mask = x > 1.5
    x[mask] = 0
    assert mask._node.value is None
    assert x.tolist() == [0, 1, 0, 0]


def test_what_is_made_in_the_same_program_can_be_indexed(tier: str) -> None:
    index = flambeau.tensor([2]) * 1
    assert flambeau.arange(4)[index].tolist() == [2]
    assert flambeau.arange(4).gather(0, flambeau.tensor([2]) * 1).tolist() == [2]
    written = flambeau.arange(4.0).index_put((flambeau.tensor([2]) * 1,), flambeau.ones(1))
    assert written.tolist() == [0.0, 1.0, 1.0, 3.0]


@pytest.mark.parametrize("shape, source", [((2,), ()), ((2, 3), ()), ((), (1,))])
def test_index_reduce_takes_sources_of_as_many_dimensions(shape, source) -> None:
    def call(library):
        return library.zeros(shape).index_reduce(0, library.tensor([0]), library.ones(source), "amax")

    with pytest.raises(RuntimeError) as expected:
        call(oracle)
    with pytest.raises(RuntimeError) as found:
        call(flambeau)
    assert str(found.value) == str(expected.value).split("\n")[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda library, x, *given: library.index_reduce(x, *given),
        lambda library, x, *given: x.index_reduce(*given),
        lambda library, x, *given: x.index_reduce_(*given),
    ],
)
def test_index_reduce_warns_that_it_may_change(call) -> None:
    oracle.set_warn_always(True)
    try:
        for library in (oracle, flambeau):
            with pytest.warns(UserWarning, match=r"^index_reduce\(\) is in beta and the API may change at any time\."):
                call(library, library.zeros(3), 0, library.tensor([0]), library.ones(1), "prod")
    finally:
        oracle.set_warn_always(False)
