"""Views against PyTorch: values, strides, offsets and gradients through random chains of views and writes."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flambeau

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def views_of(draw, x):
    """A view operation that applies to a tensor of x's shape and strides, as a function of the tensor."""
    shape = tuple(x.shape)
    ndim = len(shape)
    choices = ["unsqueeze", "squeeze", "alias", "expand"]
    if ndim:
        choices += ["slice", "slice", "movedim", "flatten", "unbind", "split", "unfold", "narrow"]
        if all(shape):
            choices += ["select", "select"]
    if ndim >= 2:
        choices += ["transpose", "permute", "diagonal", "T"]
    if x.is_contiguous() and x.numel():
        choices += ["view", "as_strided"]
    kind = draw(st.sampled_from(choices))
    dim = draw(st.integers(-ndim, ndim - 1)) if ndim else 0
    n = shape[dim] if ndim else 1
    if kind == "unsqueeze":
        at = draw(st.integers(-ndim - 1, ndim))
        return kind, lambda t: t.unsqueeze(at)
    if kind == "squeeze":
        return kind, lambda t: t.squeeze()
    if kind == "alias":
        return kind, lambda t: t[...]
    if kind == "expand":
        sizes = [draw(st.integers(1, 3)) if m == 1 else m for m in shape]
        lead = draw(st.integers(0, 1))
        return kind, lambda t: t.expand(*([2] * lead), *sizes) if lead + ndim else t.expand(())
    if kind == "slice":
        start, stop = (draw(st.none() | st.integers(-4, 5)) for _ in range(2))
        step = draw(st.integers(1, 3))
        key = (*[slice(None)] * (dim % ndim), slice(start, stop, step))
        return kind, lambda t: t[key]
    if kind == "narrow":
        start = draw(st.integers(0, n))
        length = draw(st.integers(0, n - start))
        return kind, lambda t: t.narrow(dim, start, length)
    if kind == "select":
        index = draw(st.integers(-n, n - 1))
        return kind, lambda t: t.select(dim, index)
    if kind == "movedim":
        to = draw(st.integers(-ndim, ndim - 1))
        return kind, lambda t: t.movedim(dim, to)
    if kind == "flatten":
        return kind, lambda t: t.flatten(dim % ndim, -1)
    if kind == "unbind":
        if not n:
            return "alias", lambda t: t[...]
        index = draw(st.integers(0, n - 1))
        return kind, lambda t: t.unbind(dim)[index]
    if kind == "split":
        size = draw(st.integers(1, 3))
        return kind, lambda t: t.split(size, dim)[-1]
    if kind == "unfold":
        size = draw(st.integers(0, n))
        step = draw(st.integers(1, 3))
        return kind, lambda t: t.unfold(dim, size, step)
    if kind == "transpose":
        other = draw(st.integers(-ndim, ndim - 1))
        return kind, lambda t: t.transpose(dim, other)
    if kind == "permute":
        order = draw(st.permutations(range(ndim)))
        return kind, lambda t: t.permute(order)
    if kind == "diagonal":
        first, second = draw(st.permutations(range(ndim)))[:2]
        offset = draw(st.integers(-2, 2))
        return kind, lambda t: t.diagonal(offset, first, second)
    if kind == "T":
        return kind, lambda t: t.mT
    if kind == "view":
        count = x.numel()
        size = draw(st.sampled_from([d for d in range(1, count + 1) if count % d == 0]))
        return kind, lambda t: t.view(size, -1)
    size = draw(st.integers(1, x.numel()))
    offset = x.storage_offset()
    return kind, lambda t: t.as_strided((size,), (1,), offset)


def overlaps(x) -> bool:
    """Whether two elements of a tensor lie at one place."""
    places = np.zeros(tuple(x.shape), np.int64)
    for d, (n, step) in enumerate(zip(x.shape, x.stride(), strict=True)):
        places += (np.arange(n) * step).reshape([-1 if i == d else 1 for i in range(x.ndim)])
    return len(np.unique(places)) != places.size


def assert_alike(found, expected, layout: bool = True) -> None:
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    if layout and expected.numel():
        assert tuple(found.stride()) == tuple(expected.stride())
        assert found.storage_offset() == expected.storage_offset()
        assert found.is_contiguous() == expected.is_contiguous()


SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=3).map(tuple)


def leaves_of(shape):
    array = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return [library.tensor(array) for library in (flambeau, oracle)]


@QUICK
@given(st.data(), SHAPES)
def test_chains_of_views_and_writes(data, shape) -> None:
    """Views taken at any time see every write through any other; strides and offsets are PyTorch's."""
    ours, theirs = leaves_of(shape)
    pairs = [(ours, theirs)]
    for step in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(pairs) - 1))
        mine, reference = pairs[at]
        _, apply = views_of(data.draw, reference)
        pair = (apply(mine), apply(reference))
        pairs.append(pair)
        if not data.draw(st.booleans()):
            continue
        mine, reference = pairs[data.draw(st.integers(0, len(pairs) - 1))]
        write = data.draw(st.sampled_from(["fill_", "add_", "copy_", "mul_", "setitem"]))
        if overlaps(reference):
            # What overlaps itself is refused there, or written to in no defined order.
            continue
        for tensor, library in ((mine, flambeau), (reference, oracle)):
            if write == "copy_":
                numbers = np.arange(reference.numel(), dtype=np.float32).reshape(tuple(reference.shape))
                tensor.copy_(library.tensor(numbers + step))
            elif write == "setitem":
                tensor[...] = step
            else:
                getattr(tensor, write)(step + 2)
    for mine, reference in pairs:
        assert_alike(mine, reference)


@QUICK
@given(st.data(), SHAPES)
def test_gradients_flow_through_chains_of_views_and_writes(data, shape) -> None:
    ours, theirs = leaves_of(shape)
    leaves = [ours.requires_grad_(), theirs.requires_grad_()]
    pairs = [(ours * 2, theirs * 2)]
    for _ in range(data.draw(st.integers(1, 4))):
        mine, reference = pairs[data.draw(st.integers(0, len(pairs) - 1))]
        kind, apply = views_of(data.draw, reference)
        pairs.append((apply(mine), apply(reference)))
        if kind in ("unbind", "split") or overlaps(pairs[-1][1]):
            # PyTorch refuses in-place writes to these, or their order is not defined.
            break
        if data.draw(st.booleans()):
            for tensor in pairs[-1]:
                tensor.mul_(tensor.detach() + 1)
    totals = [sum((t * t).sum() for t in column) for column in zip(*pairs, strict=True)]
    for total in totals:
        total.backward()
    assert_alike(leaves[0].grad, leaves[1].grad, layout=False)


def test_a_write_through_an_expanded_view_is_refused() -> None:
    with pytest.raises(RuntimeError, match="single memory location"):
        flambeau.zeros(1).expand(3).add_(1)


def test_view_says_when_the_layout_does_not_allow_it() -> None:
    with pytest.raises(RuntimeError, match=r"Use \.reshape\(\.\.\.\) instead"):
        flambeau.zeros(2, 3).t().view(-1)


def test_a_view_of_another_type_shares_its_bytes() -> None:
    for library in (flambeau, oracle):
        x = library.tensor([1.0, 2.0])
        bits = x.view(library.int32)
        bits[0] = 0
        assert x.tolist() == [0.0, 2.0]
        assert x.view(library.uint8).shape == (8,)
        assert x.view(library.int64).shape == (1,)


def test_channels_last_changes_strides_and_nothing_else() -> None:
    for library in (flambeau, oracle):
        x = library.arange(24).reshape(1, 2, 3, 4)
        y = x.to(memory_format=library.channels_last)
        assert y.stride() == (24, 1, 8, 2)
        assert y.tolist() == x.tolist()
        assert not y.is_contiguous()
        assert y.is_contiguous(memory_format=library.channels_last)
        assert y.contiguous().stride() == (24, 12, 4, 1)


def test_set_makes_two_tensors_share_their_elements() -> None:
    for library in (flambeau, oracle):
        x, y = library.zeros(3), library.zeros(2)
        y.set_(x)
        y[0] = 1.0
        assert x.tolist() == [1.0, 0.0, 0.0]


def test_in_place_shape_changes() -> None:
    for library in (flambeau, oracle):
        x = library.arange(6).reshape(2, 3).clone()
        row = x[0]
        x.t_()
        assert x.shape == (3, 2)
        assert x.stride() == (1, 3)
        x[0, 0] = 9
        assert row.tolist() == [9, 1, 2]
        x.unsqueeze_(0)
        assert x.shape == (1, 3, 2)
        x.squeeze_(0)
        assert x.tolist() == [[9, 3], [1, 4], [2, 5]]
