"""Settings of the whole process beside PyTorch's: default dtype and device, precision of products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from tests.nn.both import same


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    yield
    for library in (flambeau, torch):
        library.set_default_dtype(library.float32)
        library.set_default_device(None)
        library.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("word", ["highest", "high", "medium", "foo", 3])
def test_precision_of_products(word: Any) -> None:
    def program(library: Any) -> Any:
        library.set_float32_matmul_precision(word)
        return library.get_float32_matmul_precision(), library.backends.cuda.matmul.allow_tf32

    if word != "foo":
        same(program)
        return
    for library in (flambeau, torch):
        with pytest.warns(UserWarning, match="foo is not one of 'highest', 'high', or 'medium'; the current"):
            assert program(library) == ("highest", False)


def test_tf32_is_another_name_for_the_precision() -> None:
    def program(library: Any) -> Any:
        seen = []
        for allowed in (True, False):
            library.backends.cuda.matmul.allow_tf32 = allowed
            seen.append(library.get_float32_matmul_precision())
        return seen

    same(program)


@pytest.mark.parametrize(
    ("word", "wanted"), [("highest", "{highest,highest}"), ("high", "{high,high}"), ("medium", None)]
)
def test_precision_reaches_the_compiled_program(word: str, wanted: str | None) -> None:
    flambeau.set_float32_matmul_precision(word)
    x = flambeau.ones(4, 4)
    product = flambeau.compile(lambda x: x @ x + 1)
    for _ in range(3):
        assert product(x).tolist() == [[5.0] * 4] * 4
    text = product.program.xla
    assert "dot(" in text
    assert (f"operand_precision={wanted}" in text) if wanted else ("operand_precision" not in text)


def test_a_captured_call_is_captured_anew_for_another_precision() -> None:
    x = flambeau.ones(4, 4)
    product = flambeau.compile(lambda x: x @ x + 1)
    texts = []
    for word in ("highest", "high"):
        flambeau.set_float32_matmul_precision(word)
        for _ in range(3):
            product(x)
        texts.append(product.program.xla)
    assert "{highest,highest}" in texts[0]
    assert "{high,high}" in texts[1]


@pytest.mark.parametrize("name", ["float64", "float32", "float16", "bfloat16"])
def test_default_dtype(name: str) -> None:
    def program(library: Any) -> Any:
        library.set_default_dtype(getattr(library, name))
        made = (
            library.ones(1),
            library.tensor([1.5]),
            library.tensor(1j) if name in ("float64", "float32") else None,
            library.tensor([1, 2]) / 2,
            library.tensor([1, 2]) * 1.5,
            library.arange(3.0),
            library.ones(2, dtype=library.float32) * 2.5,
            library.nn.Linear(2, 2).weight.detach() * 0,
            library.tensor(np.ones(1)),
        )
        return library.get_default_dtype(), made

    same(program)


@pytest.mark.parametrize("given", ["int32", "complex64", "bool", None, "word"])
def test_what_cannot_be_the_default_dtype(given: Any) -> None:
    def program(library: Any) -> Any:
        library.set_default_dtype(getattr(library, given, given) if given else None)

    same(program)


FACTORIES = """
    torch.tensor([1.0]) torch.tensor(3) torch.as_tensor([1.0]) torch.as_tensor(before) torch.asarray([1.0])
    torch.from_numpy(array) torch.zeros(2) torch.empty(2) torch.full((2,),1.0) torch.arange(3) torch.linspace(0,1,3)
    torch.logspace(0,1,3) torch.eye(2) torch.rand(2) torch.randn(2) torch.randint(3,(2,)) torch.randperm(3)
    torch.tril_indices(2,2) torch.hann_window(4) torch.kaiser_window(4) torch.fft.fftfreq(4) torch.fft.rfftfreq(4)
    torch.scalar_tensor(1.0) torch.ones_like(before) before.new_zeros(2) before.new_tensor([1.0])
    torch.nn.Linear(2,2).weight torch.nn.BatchNorm1d(2).num_batches_tracked torch.signal.windows.cosine(3)
    torch.Tensor(2) torch.FloatTensor(2) torch.ones(2,device="cpu")
""".split()


@pytest.mark.parametrize("factory", FACTORIES)
def test_default_device(factory: str) -> None:
    def program(library: Any) -> Any:
        names = {"torch": library, "before": library.ones(3), "array": np.ones(2)}
        devices = []
        library.set_default_device("meta")
        devices.append(eval(factory, names).device)
        devices.append(library.get_default_device())
        library.set_default_device(None)
        with library.device("meta") as entered:
            devices.append(eval(factory, names).device)
            with library.device("cpu"):
                devices.append(eval(factory, names).device)
            devices.append(library.get_default_device())
        return [*devices, entered, library.get_default_device()]

    same(program)


def test_devices_that_are_not_there() -> None:
    with pytest.raises(RuntimeError, match=r"Expected one of .* device type at start of device string: foo"):
        flambeau.set_default_device("foo")
    if not flambeau.cuda.is_available():
        with pytest.raises(RuntimeError, match="no cuda device is available: JAX finds none"):
            flambeau.set_default_device("cuda")
    assert flambeau.get_default_device() == flambeau.device("cpu")


def test_an_exception_leaves_the_device_block() -> None:
    with pytest.raises(KeyError), flambeau.device("meta"):
        raise KeyError
    assert flambeau.ones(1).device.type == "cpu"


def test_indexing_and_repeating_work_under_another_default_device() -> None:
    x = flambeau.ones(3)
    with flambeau.device("meta"):
        x[0] = np.int64(2)
        assert x.repeat_interleave([1, 1, 2]).tolist() == [2.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("library", [flambeau, torch])
def test_the_default_tensor_type_is_deprecated(library: Any) -> None:
    # PyTorch warns of it once in a process, unless it is to warn always.
    torch.set_warn_always(True)
    try:
        with pytest.warns(UserWarning, match=r"set_default_tensor_type\(\) is deprecated as of PyTorch 2\.1, please"):
            library.set_default_tensor_type(library.FloatTensor)
    finally:
        torch.set_warn_always(False)
    with pytest.raises(TypeError, match=r"^invalid type object: only floating-point types are supported"):
        library.set_default_tensor_type(3)
