"""Which types operators take, compute in and refuse, beside PyTorch."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch as oracle

import flambeau

TYPES = "bool uint8 int16 int64 bfloat16 float32 float64 complex64".split()


def outcome(call, library):
    """Type and values of what a call gives, or the type of what it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = call(library)
            return str(result.dtype), result.tolist()
        except Exception as error:
            return type(error).__name__


def assert_alike(call, what: str) -> None:
    expected = outcome(call, oracle)
    found = outcome(call, flambeau)
    if isinstance(expected, tuple) and isinstance(found, tuple):
        assert found[0] == expected[0], what
        assert found[1] == pytest.approx(expected[1], rel=1e-2), what
    else:
        assert found == expected, what


REAL = TYPES[:-1]


@pytest.mark.parametrize("first", REAL)
def test_values_are_sought_in_their_common_type(first: str) -> None:
    for second in REAL:

        def searched(library, second=second):
            return library.searchsorted(
                library.tensor([1, 3, 5, 7]).to(getattr(library, first)),
                library.tensor([0, 3, 6]).to(getattr(library, second)),
            )

        def bucketed(library, second=second):
            return library.bucketize(
                library.tensor([0, 3, 6]).to(getattr(library, second)),
                library.tensor([1, 3, 5, 7]).to(getattr(library, first)),
                right=True,
            )

        assert_alike(searched, f"searchsorted, {second}")
        assert_alike(bucketed, f"bucketize, {second}")
    for number in (True, 3, 3.5, 2**40):
        assert_alike(
            lambda library, number=number: library.bucketize(
                number, library.tensor([1, 3, 5, 7]).to(getattr(library, first))
            ),
            f"a number, {number}",
        )


def test_mixed_types_are_sought_compiled(tier: str) -> None:
    for first, second in (("bfloat16", "float32"), ("float32", "bfloat16"), ("int64", "float32")):

        def searched(library, first=first, second=second):
            return library.searchsorted(
                library.tensor([1, 256, 257, 300]).to(getattr(library, first)),
                library.tensor([256.5, 257, 0]).to(getattr(library, second)),
            )

        assert_alike(searched, f"{first}, {second}")


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_what_combines_at_indices(reduce: str, tier: str) -> None:
    for kind in TYPES if tier == "interpreter" else ("bool", "complex64", "float32"):

        def operands(library, kind=kind):
            dtype = getattr(library, kind)
            places = library.tensor([0, 0, 1, 2, 2])
            return library.tensor([1, 0, 1, 1]).to(dtype), 0, places, library.tensor([1, 0, 1, 0, 1]).to(dtype), reduce

        for include in (True, False):
            assert_alike(
                lambda library, include=include: library.scatter_reduce(*operands(library), include_self=include),
                f"scatter_reduce, {kind}",
            )
        if reduce != "sum":
            assert_alike(lambda library: library.index_reduce(*operands(library)), f"index_reduce, {kind}")


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "nansum", "nanmean", "cumsum", "cumprod"])
def test_reductions_compute_in_the_type_asked_for(name: str) -> None:
    for given, dtype in itertools.product(TYPES, TYPES):

        def reduced(library, given=given, dtype=dtype):
            x = library.tensor([1, 0, 1]).to(getattr(library, given))
            return getattr(library, name)(x, 0, dtype=getattr(library, dtype))

        if name != "nanmean" or given != "complex64":
            assert_alike(reduced, f"{given} as {dtype}")


@pytest.mark.parametrize("name", ["sum", "prod", "cumsum", "cumprod"])
def test_reductions_compute_in_the_type_of_out(name: str) -> None:
    for given, out, dtype in itertools.product(TYPES, TYPES, [None, "int64", "float32"]):

        def reduced(library, given=given, out=out, dtype=dtype):
            x = library.tensor([1.6, 2.7]).to(getattr(library, given))
            options = {} if dtype is None else {"dtype": getattr(library, dtype)}
            return getattr(library, name)(x, 0, out=library.zeros(0, dtype=getattr(library, out)), **options)

        assert_alike(reduced, f"{given} to {out} with dtype={dtype}")


def test_ranges_of_truth_values_are_refused() -> None:
    for dtype in TYPES:
        for name, bounds in (("arange", (3,)), ("range", (0, 3)), ("linspace", (0, 3, 4)), ("logspace", (0, 1, 2))):
            assert_alike(
                lambda library, name=name, bounds=bounds, dtype=dtype: getattr(library, name)(
                    *bounds, dtype=getattr(library, dtype)
                ),
                f"{name}, {dtype}",
            )


@pytest.mark.filterwarnings("ignore:index_reduce")
def test_messages_name_the_type() -> None:
    with pytest.raises(NotImplementedError, match="\"searchsorted_out_cpu\" not implemented for 'Bool'"):
        flambeau.bucketize(True, flambeau.tensor([False, True]))
    with pytest.raises(NotImplementedError, match="\"cumsum_out_cpu\" not implemented for 'Bool'"):
        flambeau.cumsum(flambeau.ones(2), 0, dtype=flambeau.bool)
    with pytest.raises(NotImplementedError, match="\"nansum_cpu\" not implemented for 'ComplexFloat'"):
        flambeau.nansum(flambeau.ones(2), dtype=flambeau.complex64)
    with pytest.raises(RuntimeError, match=r"nanmean.*Optional dtype must be either a floating.*Got: Long"):
        flambeau.nanmean(flambeau.ones(2), dtype=flambeau.int64)
    with pytest.raises(NotImplementedError, match="\"arange_cpu\" not implemented for 'Bool'"):
        flambeau.arange(2, dtype=flambeau.bool)
    x, index = flambeau.tensor([True, False]), flambeau.tensor([0, 1])
    with pytest.raises(NotImplementedError, match="cpu_reduce_mean\" not implemented for 'Bool'"):
        x.scatter_reduce(0, index, x, "mean")
    with pytest.raises(NotImplementedError, match="\"index_func_\" not implemented for 'Bool'"):
        x.index_reduce(0, index, x, "amax")
