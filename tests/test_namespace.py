"""The public namespace is what the package spells out."""

from __future__ import annotations

import functools
import pickle

import pytest
import torch as oracle

import flambeau
from flambeau.ops.operator import NAMESPACES


def test_the_list_of_public_operators_is_complete():
    assert sorted(flambeau.OPERATORS) == sorted(NAMESPACES["torch"])


def test_every_public_operator_is_there():
    for name in flambeau.OPERATORS:
        assert getattr(flambeau, name) is NAMESPACES["torch"][name]


def test_names_of_types_shadow_nothing_that_the_package_uses():
    assert str(flambeau.float) == "torch.float32"
    assert str(flambeau.int) == "torch.int32"
    assert str(flambeau.bool) == "torch.bool"


@pytest.mark.parametrize("name", ["abs", "relu", "nn.functional.relu", "linalg.inv", "matmul"])
def test_public_functions_can_be_pickled(name):
    function = functools.reduce(getattr, name.split("."), flambeau)
    assert pickle.loads(pickle.dumps(function)) is function


def test_tensors_have_no_methods_that_pytorchs_lack():
    ours = {name for name in dir(flambeau.Tensor) if not name.startswith("_")}
    assert not ours - set(dir(oracle.Tensor))
