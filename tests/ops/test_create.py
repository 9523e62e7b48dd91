"""Constructors against PyTorch: what type data gets, and what is refused, in which words."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle

import flambeau

DATA = {
    "int": lambda lib: lib.tensor([1, 2]),
    "mixed": lambda lib: lib.tensor([1, 2.5, True]),
    "bool": lambda lib: lib.tensor([True, False]),
    "complex": lambda lib: lib.tensor([1, 2j]),
    "empty": lambda lib: lib.tensor([]),
    "empty rows": lambda lib: lib.tensor([[], []]),
    "tensors": lambda lib: lib.tensor([lib.tensor(1.0), lib.tensor(2)]),
    "wide scalar": lambda lib: lib.tensor([np.float64(1)]),
    "narrow scalar": lambda lib: lib.tensor([np.float32(1), 2]),
    "half scalar": lambda lib: lib.tensor([np.float16(1), 1.5]),
    "arrays": lambda lib: lib.tensor([np.ones(2), np.ones(2)]),
    "wrapped": lambda lib: lib.tensor([-1], dtype=lib.uint8),
    "truncated": lambda lib: lib.tensor([1.5], dtype=lib.int64),
    "range": lambda lib: lib.tensor(range(3)),
    "nan as bool": lambda lib: lib.tensor([float("nan"), True], dtype=lib.bool),
    "one-element tensors": lambda lib: lib.tensor([lib.tensor([[2]]), 3]),
    "legacy sizes": lambda lib: lib.Tensor(2, 3).zero_(),
    "legacy data": lambda lib: lib.Tensor([1, 2]),
    "legacy size": lambda lib: lib.Tensor(lib.Size([2, 2])).zero_(),
    "legacy nothing": lambda lib: lib.Tensor(),
    "legacy tensor": lambda lib: lib.Tensor(lib.ones(2, dtype=lib.int64)),
    "legacy tuple": lambda lib: lib.Tensor((2, 3)),
    "long": lambda lib: lib.LongTensor([1.5]),
    "byte": lambda lib: lib.ByteTensor([True]),
    "array": lambda lib: lib.Tensor(np.ones((2, 2))),
    "new sizes": lambda lib: lib.ones(2).new(2, 3).zero_(),
    "new data": lambda lib: lib.ones(2).long().new([1.5]),
    "asarray": lambda lib: lib.asarray([1, 2.0]),
    "frombuffer": lambda lib: lib.frombuffer(bytearray(b"12345678"), dtype=lib.int32),
    "scalar_tensor": lambda lib: lib.scalar_tensor(2),
    "strided": lambda lib: lib.empty_strided((2, 3), (1, 2)).zero_(),
    "arange of floats": lambda lib: lib.arange(0, 1, 0.3),
    "linspace of ints": lambda lib: lib.linspace(0, 10, 4, dtype=lib.int64),
    "logspace": lambda lib: lib.logspace(0, 2, 3),
    "eye": lambda lib: lib.eye(2, 3),
    "type": lambda lib: lib.ones(2).type("torch.LongTensor"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DATA)
def test_values_and_types(name: str) -> None:
    ours, theirs = DATA[name](flambeau), DATA[name](oracle)
    assert str(ours.dtype) == str(theirs.dtype)
    assert ours.shape == tuple(theirs.shape)
    assert ours.stride() == theirs.stride()
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)


REFUSED = {
    "ragged": lambda lib: lib.tensor([[1], [2, 3]]),
    "half nested": lambda lib: lib.tensor([[1], 2]),
    "text": lambda lib: lib.tensor("a"),
    "texts": lambda lib: lib.tensor(["a"]),
    "None": lambda lib: lib.tensor(None),
    "Nones": lambda lib: lib.tensor([None]),
    "set": lambda lib: lib.tensor({1, 2}),
    "long tensors": lambda lib: lib.tensor([lib.ones(2), lib.ones(2)]),
    "too large": lambda lib: lib.tensor([2**63]),
    "too large alone": lambda lib: lib.tensor(2**63),
    "too large a byte": lambda lib: lib.tensor(300, dtype=lib.uint8),
    "complex as float": lambda lib: lib.tensor([1j], dtype=lib.float32),
    "gradient of ints": lambda lib: lib.tensor([1], requires_grad=True),
    "array of texts": lambda lib: lib.tensor(np.array(["a"])),
    "no array": lambda lib: lib.from_numpy(3),
    "legacy float": lambda lib: lib.Tensor(1.5),
    "legacy text": lambda lib: lib.Tensor("a"),
    "legacy negative": lambda lib: lib.Tensor(-1),
    "odd buffer": lambda lib: lib.frombuffer(bytearray(b"12345678"), dtype=lib.int32, offset=2),
    "no buffer": lambda lib: lib.frombuffer(bytearray(), dtype=lib.int32),
    "step": lambda lib: lib.arange(0, 3, 0),
    "wrong way": lambda lib: lib.arange(0, 3, -1),
    "negative size": lambda lib: lib.full((-1,), 1),
    "negative eye": lambda lib: lib.eye(-1),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_refused_in_the_same_words(name: str) -> None:
    said = []
    for library in (flambeau, oracle):
        with pytest.raises((TypeError, ValueError, RuntimeError, IndexError)) as caught:
            REFUSED[name](library)
        said.append((caught.type, str(caught.value).splitlines()[0]))
    assert said[0] == said[1]


def test_tensor_types_are_types_of_tensors() -> None:
    for library in (flambeau, oracle):
        assert isinstance(library.ones(1), library.FloatTensor)
        assert not isinstance(library.ones(1), library.LongTensor)
        assert library.ones(1).type() == "torch.FloatTensor"


def test_the_default_type_reaches_what_is_recorded_already() -> None:
    for library in (flambeau, oracle):
        try:
            assert (library.tensor([1, 2]) / 2).dtype == library.float32
            library.set_default_dtype(library.float64)
            assert (library.tensor([1, 2]) / 2).dtype == library.float64
            assert library.ones(1).dtype == library.float64
            assert (library.tensor([1, 2]) + 1.5).dtype == library.float64
        finally:
            library.set_default_dtype(library.float32)


def test_named_results_look_like_pytorch() -> None:
    shown = [repr(library.max(library.eye(2), 0)) for library in (flambeau, oracle)]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("indexing", ["ij", "xy"])
@pytest.mark.parametrize("sizes", [(3,), (3, 1), (3, 2), (1, 3, 2)])
def test_meshgrid_of_vectors_of_differing_length(indexing, sizes):
    found = flambeau.meshgrid(*[flambeau.arange(n) for n in sizes], indexing=indexing)
    expected = oracle.meshgrid(*[oracle.arange(n) for n in sizes], indexing=indexing)
    assert [x.tolist() for x in found] == [x.tolist() for x in expected]
