"""``out=`` beside PyTorch, for every operator whose examples' function takes it there.

Every example is written into tensors of the right shape and type, empty ones, ones of a wrong shape, strided ones,
ones of a wider and of another type, and ones that require gradients; what comes back, what is warned of and what
is refused must be PyTorch's.
"""

from __future__ import annotations

import warnings
import zlib

import numpy as np
import pytest
import torch as oracle

import flambeau
from flambeau import engine
from flambeau.ops.operator import OPERATORS
from tests.ops.test_operators import Maker, array_of, flat, resolved

WIDER = {"float32": "float64", "int64": "float32", "bool": "int64", "complex64": "complex128", "int32": "int64"}
OTHER = {"float32": "int64", "int64": "bool", "complex64": "float32", "float64": "int32"}
KINDS = ("exact", "empty", "resized", "strided", "wider", "other", "grad")

# Where the answers are known to differ, by kind; docs/differences.md says why.
KNOWN = {
    # PyTorch writes nothing into tensors that are not contiguous.
    ("nn.functional.gelu", "strided"),
    ("nn.functional.avg_pool3d", "strided"),
    ("narrow_copy", "strided"),
    # PyTorch's functions return nothing, and look at no gradients.
    *((name, kind) for name in ("split_with_sizes_copy", "split_copy", "unbind_copy") for kind in KINDS),
    # PyTorch's derivative is missing, and so is its check.
    *((f"special.{name}", "grad") for name in dir(oracle.special)),
    ("histc", "grad"),
    # PyTorch resizes without a warning.
    *((name, "resized") for name in ("addbmm", "lu", "mode", "narrow_copy", "nn.functional.logsigmoid", "bernoulli")),
    *((name, "resized") for name in ("multinomial", "normal")),
    # Other rules about types: PyTorch computes in that of out, or converts without asking.
    *((name, kind) for name in ("cumsum", "cumprod", "bernoulli") for kind in ("wider", "other")),
    *((name, "other") for name in ("lu", "sum", "prod", "mean", "logsumexp", "linalg.lu_factor")),
    *((name, "wider") for name in ("abs", "inner", "arange", "normal", "fft.ifft", "fft.ihfft")),
    ("arange", "other"),
    # PyTorch's result has float64's shape and type by mistake.
    *((f"fft.{name}", kind) for name in ("ihfft2", "ihfftn") for kind in KINDS),
}


def called(library, example, seed: int, out=None):
    maker = Maker(library, seed)
    with warnings.catch_warnings(record=True) as caught, library.no_grad():
        warnings.simplefilter("always")
        args, kwargs = maker(example.args), maker(example.kwargs)
        if out is not None:
            kwargs["out"] = out
        try:
            result = resolved(library, example.fn)(*args, **kwargs)
        except Exception as error:
            return error, False
    return result, any("was resized" in str(warning.message) for warning in caught)


def made(library, kind: str, like: list[oracle.Tensor]) -> list:
    outs = []
    for tensor in like:
        name = str(tensor.dtype).removeprefix("torch.")
        name = {"wider": WIDER, "other": OTHER}.get(kind, {}).get(name, name)
        dtype, shape = getattr(library, name), tuple(tensor.shape)
        shape = {"empty": (0,), "resized": (*shape, 2), "strided": (*shape, 3)}.get(kind, shape)
        out = library.zeros(shape, dtype=dtype)
        outs.append(out[..., 1] if kind == "strided" else out)
    return outs


def examples() -> list:
    """The first two examples of each function that takes ``out=`` in PyTorch."""
    found, seen = [], {}
    for name, op in sorted(OPERATORS.items()):
        for i, example in enumerate(op.samples()):
            if not example.compare or example.fn.startswith("Tensor.") or seen.get(example.fn, 0) == 2:
                continue
            seen[example.fn] = seen.get(example.fn, 0) + 1
            found.append((name, i, example))
    return found


EXAMPLES = examples()


@pytest.mark.parametrize(("name", "i", "example"), EXAMPLES, ids=[f"{n}-{i}" for n, i, _ in EXAMPLES])
def test_out_is_pytorchs(name: str, i: int, example) -> None:
    before = engine.get_tier()
    engine.set_tier("interpreter")
    try:
        check(example, zlib.crc32(f"{name}{i}".encode()))
    finally:
        engine.set_tier(before)


def check(example, seed: int) -> None:
    expected, _ = called(oracle, example, seed)
    like = flat(expected)
    if not like or isinstance(expected, list):
        return
    for kind in KINDS:
        if (example.fn, kind) in KNOWN:
            continue
        outcomes = []
        for library in (oracle, flambeau):
            outs = made(library, kind, like)
            result, warned = called(library, example, seed, outs[0] if len(outs) == 1 else tuple(outs))
            outcomes.append((outs, result, warned))
        (outs, wanted, should_warn), (ours, found, warned) = outcomes
        if isinstance(wanted, TypeError) and ("out" in str(wanted) or "signature" in str(wanted)):
            return  # it takes no out= there
        what = f"{example.fn}, {kind}"
        if isinstance(wanted, Exception):
            assert isinstance(found, type(wanted)), f"{what}: {found!r} instead of {wanted!r}"
            continue
        assert not isinstance(found, Exception), f"{what}: {found!r}"
        assert warned == should_warn, f"{what}: warning"
        same = [a is b for a, b in zip(flat(found), ours, strict=True)]
        assert same == [a is b for a, b in zip(flat(wanted), outs, strict=True)], f"{what}: identity"
        for a, b in zip(ours, outs, strict=True):
            assert tuple(a.shape) == tuple(b.shape), f"{what}: shape"
            assert str(a.dtype) == str(b.dtype), f"{what}: dtype"
            np.testing.assert_allclose(array_of(a), array_of(b), rtol=1e-3, atol=1e-4, err_msg=what)


def test_out_takes_no_part_in_differentiation() -> None:
    for library in (flambeau, oracle):
        x, out = library.ones(2, requires_grad=True), library.zeros(2)
        for call in (
            lambda x=x, out=out, lib=library: lib.exp(x, out=out),
            lambda x=x, lib=library: lib.exp(x.detach(), out=x),
        ):
            with pytest.raises(RuntimeError, match=r"functions with out=\.\.\. arguments don.t support automatic"):
                call()


def test_what_cannot_be_out_is_named() -> None:
    x = flambeau.ones(2)
    with pytest.raises(TypeError, match=r"exp\(\): argument 'out' must be Tensor, not list"):
        flambeau.exp(x, out=[1.0])
    with pytest.raises(TypeError, match=r"sort\(\): argument 'out' must be tuple of 2 Tensors, but got 1"):
        flambeau.sort(x, out=x)
    with pytest.raises(TypeError, match=r"zeros\(\): argument 'out' must be Tensor, not int"):
        flambeau.zeros(2, out=3)
    with pytest.raises(
        RuntimeError, match=r"Expected out tensor to have dtype float, but got double instead \(mm conver"
    ):
        flambeau.mm(flambeau.ones(1, 1), flambeau.ones(1, 1), out=flambeau.ones(1, 1, dtype=flambeau.float64))


def test_makers_take_the_type_of_out() -> None:
    for library in (flambeau, oracle):
        out = library.ones(2, dtype=library.int32)
        for call in (
            lambda out=out, lib=library: lib.zeros(3, out=out),
            lambda out=out, lib=library: lib.full((4,), 7, out=out),
            lambda out=out, lib=library: lib.eye(2, out=out),
            lambda out=out, lib=library: lib.randperm(6, out=out),
        ):
            assert call() is out
            assert out.dtype is library.int32
        with pytest.raises(RuntimeError, match=r"dtype Float does not match dtype of out parameter \(Int\)"):
            library.ones(2, dtype=library.float32, out=out)


def test_makers_refuse_arguments_that_they_do_not_know() -> None:
    for name in ("zeros", "ones", "empty", "rand", "randn"):
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            getattr(flambeau, name)(2, colour=1)
        with pytest.raises(TypeError, match="missing"):
            getattr(flambeau, name)()
