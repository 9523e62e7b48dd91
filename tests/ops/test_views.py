"""Views: single cases beside PyTorch.  Random chains of them are in test_chains.py."""

from __future__ import annotations

import pytest
import torch as oracle

import flambeau


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


def test_a_view_is_differentiated_as_its_base_now_is(tier: str) -> None:
    for library in (flambeau, oracle):
        x = library.ones(2, requires_grad=True)
        y = library.zeros(2)
        row = y[0]
        y.add_(x * 3)
        assert row.requires_grad
        (found,) = library.autograd.grad(row, x)
        assert found.tolist() == [3.0, 0.0]


def test_a_write_without_grad_to_a_view_leaves_it_where_its_base_is(tier: str) -> None:
    for library in (flambeau, oracle):
        x = library.ones(1, requires_grad=True)
        y = x * 2
        row = y[0]
        y.fill_(0)
        with library.no_grad():
            row.fill_(5)
        (found,) = library.autograd.grad(row * row, x)
        assert found.tolist() == [0.0]


def test_windows_of_no_elements(tier: str) -> None:
    for library in (flambeau, oracle):
        assert library.zeros(0, 3).unfold(0, 0, 1).tolist() == [[[], [], []]]
        assert library.zeros(2).unfold(0, 0, 1).tolist() == [[], [], []]


def test_a_write_to_one_of_overlapping_windows_is_seen_by_the_others(tier: str) -> None:
    for library in (flambeau, oracle):
        x = library.tensor([3.0, 1.0, 2.0])
        x.unfold(0, 2, 1)[0].fill_(5)
        assert x.tolist() == [5.0, 5.0, 2.0]
        x.as_strided((2, 2), (1, 1))[0] *= 2
        assert x.tolist() == [10.0, 10.0, 2.0]
        leaf = library.ones(3, requires_grad=True)
        y = leaf * 1
        y.unfold(0, 2, 1)[0].mul_(4)
        (found,) = library.autograd.grad(y.sum(), leaf)
        assert found.tolist() == [4.0, 4.0, 1.0]
