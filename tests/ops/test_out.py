"""``out=`` beside PyTorch, for every operator whose examples' function takes it there.

Every example is written into tensors of the right shape and type, empty ones, ones of a wrong shape, strided ones,
ones of a wider and of another type, ones beside operands that require gradients, and ones that require gradients
themselves; what comes back, what is warned of and what is refused must be PyTorch's.
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
KINDS = ("exact", "empty", "resized", "strided", "wider", "other", "operands", "leaf")

UNDERIVED = [
    "airy_ai",
    "spherical_bessel_j0",
    *(name for name in dir(oracle.special) if "_polynomial_" in name or ("bessel_" in name and name[-2] in "ijky")),
]

# Where the answers are known to differ, by kind; docs/differences.md says why.
KNOWN = {
    # PyTorch writes nothing into tensors that are not contiguous.
    ("nn.functional.gelu", "strided"),
    ("nn.functional.avg_pool3d", "strided"),
    # PyTorch resizes without a warning.
    ("nn.functional.logsigmoid", "resized"),
    # PyTorch's derivative is missing, and so is its check; what it gives cannot be differentiated.
    *((f"special.{name}", kind) for name in UNDERIVED for kind in ("operands", "leaf")),
    *((name, "operands") for name in ("diag", "floor_divide", "heaviside", "log_softmax", "slice_scatter", "softmax")),
    *((name, "operands") for name in ("fft.ihfft", "linalg.ldl_factor", "linalg.ldl_factor_ex", "special.ndtr")),
}


def called(library, example, seed: int, out=None, grad: bool = False):
    maker = Maker(library, seed)
    with warnings.catch_warnings(record=True) as caught, library.set_grad_enabled(grad):
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
        if kind == "leaf" and (out.is_floating_point() or out.is_complex()):
            out.requires_grad_()
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


SOME = EXAMPLES[::24]


@pytest.fixture
def tier(request):
    before = engine.get_tier()
    engine.set_tier(getattr(request, "param", "interpreter"))
    yield
    engine.set_tier(before)


def seed_of(name: str, i: int) -> int:
    return zlib.crc32(f"{name}{i}".encode())


@pytest.mark.parametrize(("name", "i", "example"), EXAMPLES, ids=[f"{n}-{i}" for n, i, _ in EXAMPLES])
def test_out_is_pytorchs(name: str, i: int, example, tier) -> None:
    check(example, seed_of(name, i))


@pytest.mark.parametrize("tier", ["compiled"], indirect=True)
@pytest.mark.parametrize(("name", "i", "example"), SOME, ids=[f"{n}-{i}" for n, i, _ in SOME])
def test_out_is_pytorchs_compiled(name: str, i: int, example, tier) -> None:
    check(example, seed_of(name, i))


@pytest.mark.parametrize(("fn", "kind"), sorted(KNOWN))
def test_what_is_known_to_differ_still_does(fn: str, kind: str, tier) -> None:
    """An entry of the table that no example needs any more has to go."""
    of_function = [(name, i, example) for name, i, example in EXAMPLES if example.fn == fn]
    if not of_function:
        pytest.skip("no example calls it by this name")

    def differs(name: str, i: int, example) -> bool:
        seed = seed_of(name, i)
        try:
            check_kind(example, seed, kind, flat(called(oracle, example, seed)[0]))
        except AssertionError:
            return True
        return False

    assert any(differs(*which) for which in of_function)


def check(example, seed: int) -> None:
    expected, _ = called(oracle, example, seed)
    like = flat(expected)
    if not like or isinstance(expected, list):
        return
    for kind in KINDS:
        if (example.fn, kind) not in KNOWN and not check_kind(example, seed, kind, like):
            return


def check_kind(example, seed: int, kind: str, like: list) -> bool:
    """Compares both libraries where outputs are of one kind; False if PyTorch's function takes none."""
    outcomes = []
    for library in (oracle, flambeau):
        outs = made(library, kind, like)
        result, warned = called(
            library, example, seed, outs[0] if len(outs) == 1 else tuple(outs), kind in ("operands", "leaf")
        )
        outcomes.append((outs, result, warned))
    (outs, wanted, should_warn), (ours, found, warned) = outcomes
    if isinstance(wanted, TypeError) and ("out" in str(wanted) or "signature" in str(wanted)):
        return False
    what = f"{example.fn}, {kind}"
    if isinstance(wanted, Exception):
        assert isinstance(found, type(wanted)), f"{what}: {found!r} instead of {wanted!r}"
        return True
    assert not isinstance(found, Exception), f"{what}: {found!r}"
    assert warned == should_warn, f"{what}: warning"
    same = [a is b for a, b in zip(flat(found), ours, strict=True)]
    assert same == [a is b for a, b in zip(flat(wanted), outs, strict=True)], f"{what}: identity"
    for a, b in zip(ours, outs, strict=True):
        assert tuple(a.shape) == tuple(b.shape), f"{what}: shape"
        assert str(a.dtype) == str(b.dtype), f"{what}: dtype"
        np.testing.assert_allclose(array_of(a), array_of(b), rtol=1e-3, atol=1e-4, err_msg=what)
    return True


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
