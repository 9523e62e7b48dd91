"""Printed forms, compared letter by letter with PyTorch's own."""

import itertools
import math
import tracemalloc
import warnings

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flambeau.tensor import printing

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="PyTorch is the reference here")

INF = math.inf
NAN = math.nan

# Types that NumPy lacks: the integer type of the same width, and the type to reinterpret it as.
NARROW = {
    "bfloat16": ("int16", ml_dtypes.bfloat16),
    "float8_e4m3fn": ("uint8", ml_dtypes.float8_e4m3fn),
    "float8_e4m3fnuz": ("uint8", ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2": ("uint8", ml_dtypes.float8_e5m2),
    "float8_e5m2fnuz": ("uint8", ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": ("uint8", ml_dtypes.float8_e8m0fnu),
}
INTEGERS = ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "float32", "float64", "bfloat16"]
FLOAT8 = [name for name in NARROW if name.startswith("float8")]  # the scale type comes last
COMPLEX = ["complex32", "complex64", "complex128"]


def name_of(dtype):
    return str(dtype).removeprefix("torch.")


def to_array(tensor):
    """The reference tensor's elements as the engine would hold them."""
    tensor = tensor.detach()
    name = name_of(tensor.dtype)
    if name in NARROW:
        carrier, narrow = NARROW[name]
        return tensor.contiguous().view(getattr(torch, carrier)).numpy().view(narrow)
    if name == "complex32":
        return tensor.to(torch.complex64).resolve_conj().resolve_neg().numpy()
    return tensor.resolve_conj().resolve_neg().numpy()


def ours(tensor, **kwargs):
    """What this package prints for a reference tensor."""
    described = {
        "dtype_name": name_of(tensor.dtype),
        "default_dtype_name": name_of(torch.get_default_dtype()),
        "requires_grad": tensor.requires_grad,
        "device": str(tensor.device),
        "is_meta": tensor.is_meta,
        "shape": tuple(tensor.shape),
    }
    if tensor.grad_fn is not None:
        described["grad_fn_name"] = type(tensor.grad_fn).__name__
    array = None if tensor.is_meta else to_array(tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return printing.format_tensor(array, **(described | kwargs))


class both_options:
    """The same print options in PyTorch and here."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        self.before = printing.get_printoptions()
        torch.set_printoptions(profile="default")
        printing.set_printoptions(profile="default")
        torch.set_printoptions(**self.options)
        printing.set_printoptions(**self.options)

    def __exit__(self, *exc):
        torch.set_printoptions(profile="default")
        printing.set_printoptions(**self.before)


@pytest.fixture(autouse=True)
def default_options():
    printing.set_printoptions(profile="default")
    yield
    printing.set_printoptions(profile="default")


VALUES = {
    "nothing": [],
    "whole": [1.0, 2.0, -3.0],
    "mixed": [1.0, 2.5, -3.25],
    "zeros": [0.0, 0.0],
    "negative zero": [-0.0],
    "negative zero among decimals": [-0.0, 1.5],
    "nan first": [NAN, 1.0],
    "nan and decimals": [NAN, 1.5],
    "nan only": [NAN],
    "infinite only": [INF, -INF],
    "infinite and nan": [INF, NAN, -INF, 0.0],
    "infinite and whole": [INF, -2.0, 100.0],
    "whole at the limit": [1e8],
    "whole past the limit": [100000008.0],
    "whole ratio at the limit": [1.0, 1000.0],
    "whole ratio past the limit": [1.0, 1001.0],
    "ratio at the limit": [0.5, 500.0],
    "ratio past the limit": [0.5, 500.5],
    "small at the limit": [1e-4],
    "small under the limit": [0.9e-4, 1e-4],
    "tiny": [1e-30, 2e-30],
    "tiny negative": [1e-30, -2e-30],
    "subnormal": [1e-45, 3e-45],
    "huge": [1e30, -2.5e30],
    "three-digit exponents": [1e200, 1.0, -1e-200],
    "short and long exponents": [1e5, -1e-120],
    "largest over smallest overflows": [1.7e308, 5e-324],
    "rounds up a digit": [9.99996, 1.5],
    "rounds up a digit, scientific": [9.99996e9, 1.5],
    "rounds half": [0.00005, 0.12345, 2.5],
    "zero in scientific": [0.0, 1e-7],
    "long row": [0.37 * i - 5 for i in range(60)],
    "long whole row": [float(i * i) for i in range(30)],
}

REAL_CASES = [
    (f"{label}, {dtype}", values, dtype)
    for label, values in VALUES.items()
    for dtype in [*FLOATS, "float8_e5m2", "float8_e4m3fn"]
]


@needs_torch
@pytest.mark.parametrize(("values", "dtype"), [case[1:] for case in REAL_CASES], ids=[case[0] for case in REAL_CASES])
def test_floats(values, dtype):
    tensor = torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype))
    assert ours(tensor) == repr(tensor)
    for scalar in tensor[:3]:
        assert ours(scalar) == repr(scalar)
    for sci_mode in (True, False):
        with both_options(sci_mode=sci_mode, precision=2):
            assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.parametrize("dtype", FLOAT8)
def test_every_float8_value(dtype):
    codes = torch.arange(256, dtype=torch.uint8)
    if dtype == "float8_e8m0fnu":
        # PyTorch takes the smallest of these for zero and nan for finite, and then prints all the
        # others in fixed point, 40 characters wide. That is not carried over.
        codes = codes[1:-1].repeat(2)[:240]
    tensor = codes.view(getattr(torch, dtype)).reshape(16, -1)
    assert ours(tensor) == repr(tensor)


def test_smallest_scale_is_no_zero():
    array = np.array([0, 255], dtype=np.uint8).view(ml_dtypes.float8_e8m0fnu)
    text = printing.format_tensor(array, dtype_name="float8_e8m0fnu")
    assert text == "tensor([5.8775e-39,        nan], dtype=torch.float8_e8m0fnu)"


@needs_torch
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (40,), (2, 3), (0,), (0, 2), (2, 1, 2, 3)])
def test_integers(dtype, shape):
    info = torch.iinfo(getattr(torch, dtype))
    choices = itertools.cycle([0, 7, info.max, info.min, 100])
    values = list(itertools.islice(choices, math.prod(shape)))
    array = np.array(values, dtype=dtype).reshape(shape)
    tensor = torch.from_numpy(array)
    assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.parametrize("values", [True, False, [True], [False], [True, False], [[True] * 30, [False] * 30], []])
def test_booleans(values):
    tensor = torch.tensor(values, dtype=torch.bool)
    assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("dtype", COMPLEX)
@pytest.mark.parametrize(
    "values",
    [
        [],
        [1 + 2j],
        [1.5 - 2j, complex(NAN, 0)],
        [complex(NAN, -INF), complex(-0.0, -0.0), complex(INF, NAN)],
        [1 + 1e-4j, -20 - 3.5j],
        [6e4 + 1e-4j],
        [0j] * 60,
        [complex(i, i) for i in range(60)],
        [complex(1.5 * i, -0.25 * i) for i in range(40)],
        [[1j, 2], [3.5, 4 - 1j]],
    ],
)
def test_complex(dtype, values):
    tensor = torch.tensor(values, dtype=torch.complex128).to(getattr(torch, dtype))
    assert ours(tensor) == repr(tensor)
    if tensor.ndim == 1 and len(tensor):
        assert ours(tensor[0]) == repr(tensor[0])
    with both_options(sci_mode=True, precision=1):
        assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.parametrize("default", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", *FLOATS, "complex64", "complex128"])
def test_dtype_is_shown_unless_implied(default, dtype):
    torch.set_default_dtype(getattr(torch, default))
    try:
        for shape in [(), (2,), (0,), (0, 3)]:
            tensor = torch.ones(shape, dtype=getattr(torch, dtype))
            assert ours(tensor) == repr(tensor)
            meta = tensor.to("meta")
            assert ours(meta) == repr(meta)
    finally:
        torch.set_default_dtype(torch.float32)


@needs_torch
@pytest.mark.parametrize(
    "shape",
    [(1001,), (7, 200), (6, 200), (2000, 1), (1, 2000), (20, 10, 10), (3, 2, 400), (9,) * 4],
)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64", "bfloat16"])
def test_summarised(shape, dtype):
    count = math.prod(shape)
    tensor = (torch.arange(count) % 997 * 0.5).to(getattr(torch, dtype)).reshape(shape)
    assert ours(tensor) == repr(tensor)
    for options in [{"edgeitems": 1}, {"edgeitems": 12, "precision": 1}, {"profile": "short"}]:
        with both_options(**options):
            assert ours(tensor) == repr(tensor)


@needs_torch
def test_format_is_chosen_from_the_shown_elements():
    tensor = torch.ones(5000)
    tensor[2500] = 1e-20
    assert ours(tensor) == repr(tensor)
    with both_options(threshold=INF):
        assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.parametrize("edgeitems", [0, 1, 2, 50])
@pytest.mark.parametrize("threshold", [0, 3])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (6, 1), (0,), (2, 0)])
def test_edgeitems(edgeitems, threshold, shape):
    tensor = torch.arange(math.prod(shape), dtype=torch.int32).reshape(shape)
    with both_options(edgeitems=edgeitems, threshold=threshold):
        assert ours(tensor) == repr(tensor)
        inexact = tensor.float().requires_grad_()
        assert ours(inexact) == repr(inexact)


@needs_torch
@pytest.mark.parametrize("linewidth", [1, 5, 20, 40, 79, 120, 1000])
def test_linewidth(linewidth):
    with both_options(linewidth=linewidth):
        for tensor in [
            torch.arange(60.0),
            torch.arange(30).reshape(2, 15) * 0.5,
            torch.ones(2, 2, 12, dtype=torch.int16),
            torch.ones(3, requires_grad=True).double(),
            torch.arange(20) * (1 - 0.5j),
            torch.empty(0, 4, dtype=torch.float64, device="meta"),
        ]:
            assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.parametrize("precision", [0, 1, 4, 8, 17])
@pytest.mark.parametrize("sci_mode", [None, True, False])
def test_precision(precision, sci_mode):
    with both_options(precision=precision, sci_mode=sci_mode):
        for values in VALUES.values():
            for dtype in (torch.float32, torch.float64):
                tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
                assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.parametrize("count", range(1, 25))
def test_suffixes_wrap(count):
    leaf = torch.full((count,), 1.25, requires_grad=True)
    double = torch.full((count,), -2.0, dtype=torch.float64, requires_grad=True)
    row = torch.full((2, count), 1.25, requires_grad=True)
    for tensor in [leaf, leaf + 1, leaf.sum(), double, double * 2, row, row.view(-1), row.t()]:
        assert ours(tensor) == repr(tensor)


@needs_torch
def test_meta():
    for shape in [(), (3,), (0,), (2, 0), (2, 3, 4)]:
        for dtype in [torch.float32, torch.float64, torch.int64, torch.bool]:
            tensor = torch.empty(shape, dtype=dtype, device="meta")
            assert ours(tensor) == repr(tensor)
            assert ours(tensor, tensor_contents="x") == tensor.__repr__(tensor_contents="x")
    tensor = torch.empty(3, device="meta", requires_grad=True, dtype=torch.float64)
    assert ours(tensor) == repr(tensor)
    assert ours(tensor + 1) == repr(tensor + 1)


@needs_torch
def test_tensor_contents():
    for tensor in [
        torch.ones(2, dtype=torch.int32),
        torch.ones(0, 2, dtype=torch.int32),
        torch.ones(2000),
        torch.ones(2).requires_grad_(),
    ]:
        assert ours(tensor, tensor_contents="hello") == tensor.__repr__(tensor_contents="hello")


@needs_torch
def test_subclass_prefix():
    class LongerName(torch.Tensor):
        pass

    tensor = torch.arange(100.0).reshape(5, 20).as_subclass(LongerName)
    assert ours(tensor, prefix="LongerName(") == repr(tensor)


@needs_torch
def test_parameter():
    parameter = torch.nn.Parameter(torch.arange(60.0))
    assert "Parameter containing:\n" + ours(parameter) == repr(parameter)


@needs_torch
def test_custom_function_name():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

    tensor = Twice.apply(torch.ones(2, requires_grad=True))
    assert ours(tensor) == repr(tensor)


@needs_torch
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_tangent():
    from torch.autograd import forward_ad

    with forward_ad.dual_level():
        primal = torch.tensor([1.0, 2.5])
        tangent = torch.tensor([1.0, 3.0])
        dual = forward_ad.make_dual(primal, tangent)
        expected = repr(dual)
    assert ours(primal, extra_suffixes=[f"tangent={ours(tangent)}"]) == expected


@needs_torch
def test_views_and_strides():
    base = torch.arange(60.0).reshape(5, 12)
    for tensor in [base.t(), base[::2, 1::3], base[:, :1], base.expand(2, 5, 12), base[0, 0]]:
        assert ours(tensor) == repr(tensor)


NAMED_DTYPES = ["bool", "uint8", "int16", "int64", *FLOATS, "complex64", "complex128"]


@needs_torch
@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_tensors(data):
    dtype = getattr(torch, data.draw(st.sampled_from(NAMED_DTYPES)))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=7))
    seed = data.draw(st.integers(0, 2**32 - 1))
    exponent = data.draw(st.integers(-320, 308))
    spread = data.draw(st.floats(0, 12))
    generator = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        scale = 10.0 ** (exponent if data.draw(st.booleans()) else exponent // 50)
        array = generator.normal(size=shape) * scale * 10 ** generator.uniform(-spread, spread, shape)
        if data.draw(st.booleans()):
            array = np.round(array)
        array = np.asarray(array)
        for special in (NAN, INF, -INF, 0.0, -0.0):
            if data.draw(st.integers(0, 3)) == 0:
                array[generator.random(shape) < 0.2] = special
    tensor = torch.from_numpy(array)
    if dtype.is_complex:
        tensor = torch.complex(tensor, tensor.flip(-1) * 0.5 if tensor.ndim else tensor)
    tensor = tensor.to(dtype)
    options = {
        "precision": data.draw(st.integers(0, 9)),
        "threshold": data.draw(st.sampled_from([0, 5, 100, 1000, INF])),
        "edgeitems": data.draw(st.integers(1, 5)),
        "linewidth": data.draw(st.integers(1, 200)),
        "sci_mode": data.draw(st.sampled_from([None, None, True, False])),
    }
    assert ours(tensor) == repr(tensor)
    with both_options(**options):
        assert ours(tensor) == repr(tensor)


@needs_torch
@settings(max_examples=400, deadline=None)
@given(
    values=st.lists(st.floats(width=32), min_size=0, max_size=12),
    dtype=st.sampled_from([*FLOATS, *FLOAT8[:-1]]),
)
def test_random_float_lists(values, dtype):
    tensor = torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype))
    assert ours(tensor) == repr(tensor)


@needs_torch
@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=0, max_size=12))
def test_random_integer_lists(values):
    tensor = torch.tensor(values, dtype=torch.int64)
    assert ours(tensor) == repr(tensor)


SPECS = ["", ">12", "<8", ".2f", "+.3e", "d", "x", "%", "08.3f", "g", ",", "nonsense"]


@needs_torch
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", *FLOATS, "float8_e5m2", "complex64"])
def test_format_scalar(spec, dtype):
    for value in (1, 3.5, 0):
        tensor = torch.tensor(value).to(getattr(torch, dtype))
        try:
            expected = format(tensor, spec)
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)) as raised:
                printing.format_scalar(to_array(tensor), dtype, spec)
            assert str(raised.value) == str(error)
        else:
            assert printing.format_scalar(to_array(tensor), dtype, spec) == expected
            assert printing.format_scalar(tensor.item(), dtype, spec) == expected


@needs_torch
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"precision": 2},
        {"threshold": INF, "sci_mode": True},
        {"profile": "short"},
        {"profile": "full", "linewidth": 33},
        {"profile": "default", "edgeitems": 0},
        {"profile": "FULL"},
        {"profile": "unheard of", "precision": 0},
    ],
)
def test_options_are_set_as_in_the_reference(kwargs):
    reference = torch._tensor_str.get_printoptions
    with both_options(precision=7, sci_mode=True):
        torch.set_printoptions(**kwargs)
        printing.set_printoptions(**kwargs)
        assert printing.get_printoptions() == reference()
        with printing.printoptions(precision=1), torch._tensor_str.printoptions(precision=1):
            assert printing.get_printoptions() == reference()
        assert printing.get_printoptions() == reference()


def test_options_come_back_after_an_error():
    before = printing.get_printoptions()
    with pytest.raises(KeyError), printing.printoptions(precision=1, sci_mode=True):
        raise KeyError
    assert printing.get_printoptions() == before
    with pytest.raises(TypeError), printing.printoptions(colour=1):
        pass
    assert printing.get_printoptions() == before


# From here on the expected text is spelled out: no reference is needed, or none is at hand.


@pytest.mark.parametrize(
    ("array", "dtype", "expected"),
    [
        (np.float32(1), "float32", "tensor(1.)"),
        (np.array([1.0, 2.5]), "float64", "tensor([1.0000, 2.5000], dtype=torch.float64)"),
        (np.zeros((0, 3)), "float32", "tensor([], size=(0, 3))"),
        (np.array([True, False]), "bool", "tensor([ True, False])"),
        (np.arange(2000), "int64", "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
        (
            np.array([[1], [-2]], ml_dtypes.int4),
            "int4",
            "tensor([[ 1],\n        [-2]], dtype=torch.int4)",
        ),
    ],
)
def test_spelled_out(array, dtype, expected):
    assert printing.format_tensor(array, dtype_name=dtype) == expected


@pytest.mark.parametrize(
    ("device", "default_device", "shown"),
    [
        ("cpu", "cpu", False),
        ("cpu:0", "cpu", False),
        ("cuda:0", "cpu", True),
        ("tpu:3", "cpu", True),
        ("cuda:0", "cuda:0", False),
        ("cuda:0", "cuda", False),
        ("cuda:1", "cuda:0", True),
        ("cpu", "cuda:0", True),
    ],
)
def test_device(device, default_device, shown):
    text = printing.format_tensor(
        np.array([1, 2], dtype=np.int32),
        dtype_name="int32",
        device=device,
        default_device=default_device,
    )
    place = f"device='{device}', " if shown else ""
    assert text == f"tensor([1, 2], {place}dtype=torch.int32)"


def test_missing_array_or_shape_is_an_error():
    with pytest.raises(ValueError, match="shape"):
        printing.format_tensor(None, dtype_name="float32")
    with pytest.raises(ValueError, match="array"):
        printing.format_tensor(None, dtype_name="float32", shape=(2,))


def test_large_arrays_are_not_copied():
    # An expanded scalar: 10**12 elements in four bytes. Reading them all could not end.
    array = np.broadcast_to(np.float32(1.5), (10**4, 10**4, 10**4))
    tracemalloc.start()
    try:
        text = printing.format_tensor(array, dtype_name="float32")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert text.count("1.5000") == 6**3
    assert peak < 2**20


def test_long_uncut_dimensions_do_not_hide_large_ones():
    array = np.broadcast_to(np.int64(3), (7, 2, 10**9))
    text = printing.format_tensor(array, dtype_name="int64")
    assert text.count("3") == 6 * 2 * 6
