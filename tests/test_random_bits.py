"""The CPU generator's numbers against PyTorch's own, seed by seed."""

import copy
import math
import pickle
import threading

import ml_dtypes
import numpy as np
import pytest
import torch

from flambeau.random_bits import CPUGenerator
from flambeau.random_transforms import fma32, fma64, forward_shuffle

SEEDS = (0, 1, 42, 2**31 + 7, 2**40 + 3, -1)
SIZES = (0, 1, 2, 5, 15, 16, 17, 31, 32, 33, 100, 1000)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = {
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: BFLOAT16,
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}
INTEGERS = {
    torch.bool: np.dtype(np.bool_),
    torch.uint8: np.dtype(np.uint8),
    torch.int8: np.dtype(np.int8),
    torch.int16: np.dtype(np.int16),
    torch.int32: np.dtype(np.int32),
    torch.int64: np.dtype(np.int64),
}
FLOAT_PAIRS = list(FLOATS.items())
ALL_PAIRS = FLOAT_PAIRS + list(INTEGERS.items())

# Whether NumPy's double-precision functions are the C library's; with AVX-512 they are its own.
_PROBE = np.linspace(0.01, 6.28, 4097)
LIBM = all(
    np.array_equal(getattr(np, name)(_PROBE), [getattr(math, name)(x) for x in _PROBE])
    for name in ("log", "log1p", "exp", "sin", "cos", "tan")
)


def bits(array):
    """An array's bytes as integers, so that -0, NaN and 16-bit types compare exactly."""
    return array.view({1: np.uint8, 2: np.int16, 4: np.int32, 8: np.int64}[array.dtype.itemsize])


def from_torch(tensor):
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(BFLOAT16)
    return tensor.numpy()


def assert_same(actual, expected, ulps=0):
    expected = from_torch(expected)
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    if ulps == 0:
        np.testing.assert_array_equal(bits(actual), bits(expected))
    else:
        distance = np.abs(bits(actual).astype(np.int64) - bits(expected).astype(np.int64))
        assert distance.size == 0 or distance.max() <= ulps


def assert_in_step(generator):
    np.testing.assert_array_equal(generator.get_state(), torch.get_rng_state().numpy())


def both(seed):
    torch.manual_seed(seed)
    return CPUGenerator(seed)


# Seeding and state


@pytest.mark.parametrize("seed", [*SEEDS, -(2**63), 2**64 - 1, 2**63])
def test_seed_as_torch(seed):
    generator = both(seed)
    assert generator.initial_seed() == torch.initial_seed()
    assert_in_step(generator)


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        CPUGenerator(seed)


def test_default_seed_as_torch():
    assert CPUGenerator().initial_seed() == torch.Generator().initial_seed()


def test_seed_from_entropy():
    generator = CPUGenerator(0)
    seeds = {generator.seed() for _ in range(4)}
    assert len(seeds) == 4
    assert generator.initial_seed() in seeds
    assert all(0 <= seed < 2**53 for seed in seeds)


@pytest.mark.parametrize("words", [0, 1, 2, 623, 624, 625, 1247, 1248, 5000])
def test_state_round_trip_at_every_position(words):
    generator = both(9)
    generator.uniform(words, np.float32)
    torch.rand(words)
    state = generator.get_state()
    assert state.dtype == np.uint8
    assert state.shape == (5056,)
    assert_in_step(generator)
    other = CPUGenerator(1).set_state(torch.get_rng_state().numpy())
    np.testing.assert_array_equal(other.get_state(), state)
    torch.set_rng_state(torch.from_numpy(other.get_state()))
    assert_same(other.uniform(1000), torch.rand(1000))


def test_state_carries_the_waiting_normal():
    generator = both(3)
    generator.normal(3)
    torch.randn(3)
    assert_in_step(generator)
    other = CPUGenerator(0).set_state(torch.get_rng_state().numpy())
    assert_same(other.normal(5), torch.randn(5))


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (np.zeros(5056, np.uint8), RuntimeError, "Invalid mt19937 state"),
        (np.zeros(5, np.uint8), RuntimeError, "of size 5056 but found .* size to be 5"),
        (np.zeros(5056, np.int8), TypeError, "RNG state must be a torch.ByteTensor"),
    ],
)
def test_bad_state(state, error, message):
    generator = CPUGenerator(7)
    with pytest.raises(error, match=message):
        generator.set_state(state)
    np.testing.assert_array_equal(generator.get_state(), CPUGenerator(7).get_state())


@pytest.mark.parametrize(
    "clone",
    [CPUGenerator.clone_state, copy.deepcopy, lambda g: pickle.loads(pickle.dumps(g))],
)
def test_clones_go_on_alike_and_apart(clone):
    generator = CPUGenerator(5)
    generator.normal(3)
    other = clone(generator)
    expected = generator.normal(7)
    np.testing.assert_array_equal(other.normal(7), expected)
    other.uniform(1)
    assert not np.array_equal(other.uniform(3), generator.uniform(3))


def test_words():
    generator = both(11)
    raw = torch.randint(0, 2**16, (3,)).numpy()
    np.testing.assert_array_equal(generator.random_words(3) % 2**16, raw)
    assert generator.random_word() % 1000 == int(torch.randint(0, 1000, ()))
    assert generator.random_double_word() % 2**63 == int(torch.empty((), dtype=torch.int64).random_())
    assert_in_step(generator)


def test_threads_share_the_words_without_loss():
    generator = CPUGenerator(0)
    parts = []
    threads = [threading.Thread(target=lambda: parts.append(generator.random_words(1000))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = CPUGenerator(0).random_words(8000)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.sort(expected))


# Continuous distributions


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
def test_uniform(seed, torch_type, dtype):
    generator = both(seed)
    for size in SIZES:
        assert_same(generator.uniform(size, dtype), torch.rand(size, dtype=torch_type))
        for low, high in ((0.0, 1.0), (-0.3, 0.7), (-2.5, 1e3), (0.1, 0.1), (3.0, 3.01)):
            expected = torch.empty(size, dtype=torch_type).uniform_(low, high)
            assert_same(generator.uniform(size, dtype, low, high), expected)
    assert_in_step(generator)


@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
@pytest.mark.parametrize("bound", [0.577350269, 1 / 28, 0.1])
def test_uniform_of_initialisers_is_fused(torch_type, dtype, bound):
    generator = both(0)
    expected = torch.empty(100_000, dtype=torch_type).uniform_(-bound, bound)
    assert_same(generator.uniform(100_000, dtype, -bound, bound), expected)


def test_linear_initialisation():
    generator = both(0)
    layer = torch.nn.Linear(3, 2)
    bound = 1 / 3**0.5
    assert_same(generator.uniform((2, 3), low=-bound, high=bound), layer.weight.detach())
    assert_same(generator.uniform(2, low=-bound, high=bound), layer.bias.detach())


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
def test_normal(seed, torch_type, dtype):
    ulps = 0 if LIBM or dtype != np.float64 else 2
    generator = both(seed)
    for size in SIZES:
        assert_same(generator.normal(size, dtype), torch.randn(size, dtype=torch_type), ulps)
        for mean, std in ((0.0, 0.02), (1.7, 0.3), (-5.0, 0.0)):
            expected = torch.empty(size, dtype=torch_type).normal_(mean, std)
            assert_same(generator.normal(size, dtype, mean, std), expected, ulps)
    if LIBM:
        assert_in_step(generator)


@pytest.mark.parametrize("size", [100_000, 300_007])
def test_large_normal(size):
    generator = both(12)
    expected = torch.empty(size).normal_(0.5, 1.3).numpy()
    actual = generator.normal(size, mean=0.5, std=1.3)
    # A fused step emulated in float64 can round twice, about once in 10^8 values.
    assert (actual != expected).sum() <= 1
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)
    assert_in_step(generator)


@pytest.mark.parametrize("torch_type", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("size", [3, 8, 21])
def test_complex(torch_type, size):
    dtype = np.dtype(str(torch_type).removeprefix("torch."))
    generator = both(4)
    actual = generator.uniform(size, dtype)
    np.testing.assert_array_equal(actual, torch.rand(size, dtype=torch_type).numpy())
    actual = generator.normal(size, dtype)
    np.testing.assert_allclose(actual, torch.randn(size, dtype=torch_type).numpy(), rtol=0 if LIBM else 1e-15)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("exponential", (1.0,)),
        ("exponential", (0.7,)),
        ("exponential", (1e3,)),
        ("cauchy", (0.0, 1.0)),
        ("cauchy", (0.3, 2.7)),
        ("log_normal", (1.0, 2.0)),
        ("log_normal", (-0.3, 0.4)),
    ],
)
def test_inversions(seed, torch_type, dtype, name, parameters):
    # Where a log differs from PyTorch's in its last bit, exp and tan magnify that by their argument's size.
    ulps = 0 if LIBM else 4 if name == "exponential" else 32
    generator = both(seed)
    for size in SIZES:
        expected = getattr(torch.empty(size, dtype=torch_type), name + "_")(*parameters)
        assert_same(getattr(generator, name)(size, dtype, *parameters), expected, ulps)
    if LIBM:
        assert_in_step(generator)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("torch_type", [torch.float32, torch.float64])
def test_gamma(seed, torch_type):
    generator = both(seed)
    for value in (0.0, 1e-3, 0.1, 0.9, 1.0, 1.5, 10.0, 1e4):
        alpha = torch.full((100,), value, dtype=torch_type)
        assert_same(generator.gamma(alpha.numpy()), torch._standard_gamma(alpha))
    alpha = torch.linspace(0.01, 4.0, 999, dtype=torch_type).reshape(27, 37)
    assert_same(generator.gamma(alpha.numpy()), torch._standard_gamma(alpha))
    assert_in_step(generator)


# Discrete distributions


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 1),
        (0, 10),
        (-7, 9),
        (0, 2**28 - 1),
        (0, 2**28),
        (-5, 2**32 - 5),
        (-(2**40), 2**41 + 1),
        (-(2**63), 2**63 - 1),
    ],
)
def test_randint(seed, low, high):
    generator = both(seed)
    for size in SIZES:
        assert_same(generator.randint(size, low, high), torch.randint(low, high, (size,)))
    assert_in_step(generator)


@pytest.mark.filterwarnings("ignore:.*Due to precision limitations")
@pytest.mark.parametrize(("torch_type", "dtype"), ALL_PAIRS)
def test_random_of_every_type(torch_type, dtype):
    generator = both(8)
    for size in SIZES:
        expected = torch.empty(size, dtype=torch_type).random_()
        assert_same(generator.random(size, dtype), expected)
        expected = torch.empty(size, dtype=torch_type).random_(0, 2)
        assert_same(generator.randint(size, 0, 2, dtype), expected)
        if dtype != np.bool_:
            expected = torch.empty(size, dtype=torch_type).random_(3, None)
            assert_same(generator.random(size, dtype, 3), expected)
            expected = torch.empty(size, dtype=torch_type).random_(5, 101)
            assert_same(generator.randint(size, 5, 101, dtype), expected)
    assert_in_step(generator)


def test_random_over_all_64_bits():
    generator = both(8)
    expected = torch.empty(100, dtype=torch.int64).random_(-(2**63), None)
    assert_same(generator.random(100, np.int64, -(2**63)), expected)


@pytest.mark.filterwarnings("ignore:.*Due to precision limitations")
@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
@pytest.mark.parametrize(("low", "high"), [(0, 65504), (-4099, 4099), (-60001, 3), (2049, 6003), (-257, 513)])
def test_integers_between_ends_that_a_float_type_lacks(torch_type, dtype, low, high):
    generator = both(6)
    expected = torch.empty(1000, dtype=torch_type).random_(low, high)
    assert_same(generator.randint(1000, low, high, dtype), expected)


@pytest.mark.filterwarnings("ignore:.*Due to precision limitations")
@pytest.mark.parametrize("low", [-(2**50) - 1, 0, 12345])
@pytest.mark.parametrize("high", [2**24 + 1, 2**30 + 1, 2**50 + 3, 2**62 + 1])
@pytest.mark.parametrize("torch_type", [torch.bfloat16, torch.float32, torch.float64])
def test_wide_integers_in_float_types(torch_type, low, high):
    generator = both(6)
    expected = torch.empty(100, dtype=torch_type).random_(low, high)
    assert_same(generator.randint(100, low, high, FLOATS[torch_type]), expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_randperm(seed):
    generator = both(seed)
    for size in (*SIZES, 4095, 4097, 4098, 10_000, 100_001):
        assert_same(generator.randperm(size), torch.randperm(size))
    assert_same(generator.randperm(200, np.uint8), torch.randperm(200, dtype=torch.uint8))
    assert_same(generator.randperm(99, np.float32), torch.randperm(99, dtype=torch.float32))
    assert_in_step(generator)


def test_shuffle_with_many_equal_targets():
    targets = np.maximum(np.arange(9999), np.arange(9999) // 100 * 100 + 99)
    targets = np.append(targets[:-1], 9999)
    order = list(range(10_000))
    for i, j in enumerate(targets.tolist()):
        order[i], order[j] = order[j], order[i]
    np.testing.assert_array_equal(forward_shuffle(targets), order)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
def test_bernoulli_of_an_array(seed, torch_type, dtype):
    generator = both(seed)
    for size in SIZES:
        p = torch.linspace(0, 1, size).to(torch_type)
        actual = generator.bernoulli(from_torch(p), dtype=dtype)
        assert_same(actual, torch.bernoulli(p))
        expected = torch.empty(3, size, dtype=torch.int64).bernoulli_(p)
        assert_same(generator.bernoulli(from_torch(p), (3, size), np.int64), expected)
    assert_in_step(generator)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_bernoulli_of_a_number(p):
    generator = both(1)
    with_tensor = torch.empty(1000).bernoulli_(torch.tensor(p, dtype=torch.float64))
    assert_same(generator.bernoulli(p, 1000), with_tensor)
    assert_in_step(generator)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("torch_type", "dtype"), [*FLOAT_PAIRS, (torch.int32, np.int32), (torch.int64, np.int64)])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.99])
def test_geometric(seed, torch_type, dtype, p):
    generator = both(seed)
    for size in SIZES:
        expected = torch.empty(size, dtype=torch_type).geometric_(p)
        assert_same(generator.geometric(size, p, dtype), expected)
    assert_in_step(generator)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("torch_type", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (7,), (1000,), (3, 5), (20, 100)])
def test_multinomial(seed, torch_type, shape):
    generator = both(seed)
    weights = torch.rand(shape, dtype=torch_type)
    generator.uniform(shape, FLOATS[torch_type])
    for replacement in (True, False):
        for count in (1, 2, 5, shape[-1]):
            if not replacement and count > shape[-1]:
                continue
            actual = generator.multinomial(weights.numpy(), count, replacement)
            assert_same(actual, torch.multinomial(weights, count, replacement))
    assert_in_step(generator)


@pytest.mark.parametrize("torch_type", [torch.float16, torch.bfloat16])
def test_multinomial_of_16_bit_weights(torch_type):
    generator = both(2)
    weights = torch.rand(30, dtype=torch_type)
    generator.uniform(30, FLOATS[torch_type])
    actual = generator.multinomial(from_torch(weights), 200, True)
    assert_same(actual, torch.multinomial(weights, 200, True))
    assert_same(generator.multinomial(from_torch(weights), 1), torch.multinomial(weights, 1))
    assert_in_step(generator)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("torch_type", "dtype"), FLOAT_PAIRS)
def test_poisson(seed, torch_type, dtype):
    generator = both(seed)
    for value in (0.0, 0.1, 3.0, 9.99, 10.0, 50.0, 1000.0):
        rates = torch.full((100,), value, dtype=torch_type)
        assert_same(generator.poisson(from_torch(rates)), torch.poisson(rates))
    rates = torch.linspace(0, 30, 999).to(torch_type).reshape(27, 37)
    assert_same(generator.poisson(from_torch(rates)), torch.poisson(rates))
    assert_in_step(generator)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("torch_type", [torch.float32, torch.float64])
def test_binomial(seed, torch_type):
    generator = both(seed)
    for count in (0.0, 1.0, 9.0, 40.0, 1000.0, 1e6):
        for prob in (0.0, 1e-4, 0.1, 0.5, 0.77, 0.999, 1.0, float("nan")):
            counts = torch.full((50,), count, dtype=torch_type)
            probs = torch.full((50,), prob, dtype=torch_type)
            actual = generator.binomial(counts.numpy(), probs.numpy())
            np.testing.assert_array_equal(actual, torch.binomial(counts, probs).numpy())
    counts = torch.arange(1000, dtype=torch_type).reshape(40, 25)
    probs = torch.linspace(0, 1, 1000, dtype=torch_type).reshape(40, 25)
    assert_same(generator.binomial(counts.numpy(), probs.numpy()), torch.binomial(counts, probs))
    assert_in_step(generator)


# Sequences


@pytest.mark.parametrize("seed", SEEDS)
def test_normals_of_all_sizes_and_types_in_sequence(seed):
    generator = both(seed)
    single, double, half = torch.float32, torch.float64, torch.float16
    steps = [("n", 3, single), ("u", 2, single), ("n", 5, single), ("n", 17, single)]
    steps += [("n", 3, single), ("n", 1, double), ("u", 3, double), ("n", 33, double)]
    steps += [("n", 2, single), ("n", 7, half), ("u", 1, half), ("n", 40, half), ("n", 1, double)]
    for kind, size, torch_type in steps:
        if kind == "n":
            actual, expected = (
                generator.normal(size, FLOATS[torch_type]),
                torch.randn(size, dtype=torch_type),
            )
        else:
            actual, expected = (
                generator.uniform(size, FLOATS[torch_type]),
                torch.rand(size, dtype=torch_type),
            )
        assert_same(actual, expected, 0 if LIBM or torch_type != double else 2)
    if LIBM:
        assert_in_step(generator)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_sampler_in_sequence(seed):
    generator = both(seed)
    ones = torch.ones(5)
    for _ in range(3):
        assert_same(generator.gamma(ones.numpy()), torch._standard_gamma(ones))
        assert_same(generator.randperm(10), torch.randperm(10))
        assert_same(generator.normal(1), torch.randn(1))
        assert_same(generator.log_normal(2), torch.empty(2).log_normal_(1, 2))
        assert_same(generator.poisson(ones.numpy()), torch.poisson(ones))
        assert_same(generator.randint(3, 0, 5), torch.randint(0, 5, (3,)))
        assert_same(generator.normal((4, 5)), torch.randn(4, 5))
        assert_same(generator.exponential(3), torch.empty(3).exponential_())
        assert_same(generator.multinomial(ones.numpy(), 2), torch.multinomial(ones, 2))
        assert_same(generator.normal(()), torch.randn(()))
        assert_in_step(generator)


def test_seeding_drops_the_waiting_normal():
    generator = both(0)
    generator.normal(3)
    torch.randn(3)
    generator.manual_seed(1)
    torch.manual_seed(1)
    assert_same(generator.normal(3), torch.randn(3))


# Errors


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda g: g.uniform(2, low=2, high=1), RuntimeError, r"from=2 > to=1"),
        (lambda g: g.uniform(2, low=-3e38, high=3e38), RuntimeError, "to-from to be finite"),
        (lambda g: g.uniform(2, np.int32), NotImplementedError, '"check_uniform_bounds" not impl'),
        (lambda g: g.uniform(-1), RuntimeError, r"negative dimension -1: \[-1\]"),
        (
            lambda g: g.normal(2, std=-1),
            RuntimeError,
            "normal expects std >= 0.0, but found std -1",
        ),
        (lambda g: g.normal(2, np.int32), NotImplementedError, '"normal_kernel_cpu" not impl'),
        (lambda g: g.exponential(2, rate=0), RuntimeError, "lambda > 0.0, but found lambda=0"),
        (lambda g: g.exponential(2, np.int32), RuntimeError, "dtype must be a floating point"),
        (lambda g: g.cauchy(2, sigma=0), RuntimeError, "sigma > 0.0, but found sigma=0"),
        (lambda g: g.log_normal(2, std=0), RuntimeError, "std > 0.0, but found std=0"),
        (lambda g: g.geometric(2, 1.0), RuntimeError, r"p to be in \(0, 1\), but got p=1"),
        (lambda g: g.bernoulli(2.0), RuntimeError, r"p to be in \[0, 1\], but got p=2"),
        (lambda g: g.bernoulli(np.array([2.0])), RuntimeError, "p_in >= 0 && p_in <= 1"),
        (lambda g: g.randint(2, 5, 5), RuntimeError, "got from=5 >= to=5"),
        (lambda g: g.randint(2, 0, 500, np.int8), RuntimeError, "to - 1 is out of bounds"),
        (lambda g: g.randint(2, 0, 70000, np.float16), RuntimeError, "to - 1 is out of bounds"),
        (lambda g: g.random(2, np.int8, 300), RuntimeError, "from=300 > 127"),
        (lambda g: g.randperm(-1), RuntimeError, "negative dimension -1"),
        (lambda g: g.poisson(np.array([-1.0])), RuntimeError, "rate to be non-negative"),
        (lambda g: g.gamma(np.ones(2, np.float16)), NotImplementedError, '"gamma_cpu" not impl'),
        (lambda g: g.multinomial(np.ones(3), 0), RuntimeError, "n_sample <= 0"),
        (lambda g: g.multinomial(np.ones(3), 4), RuntimeError, "n_sample > prob_dist.size"),
        (lambda g: g.multinomial(np.zeros(3), 2), RuntimeError, "sum of probabilities <= 0"),
        (
            lambda g: g.multinomial(-np.ones(3), 2),
            RuntimeError,
            "either `inf`, `nan` or element < 0",
        ),
        (lambda g: g.multinomial(-np.ones(3), 2, True), RuntimeError, "probability entry < 0"),
        (lambda g: g.multinomial(np.ones((2, 2, 2)), 1), RuntimeError, "must be 1 or 2 dim"),
        (lambda g: g.multinomial(np.ones(3, np.int64), 1), RuntimeError, "only supports floating"),
        (
            lambda g: g.multinomial(np.full(3, np.inf), 2, True),
            RuntimeError,
            "entry = infinity or NaN",
        ),
        (
            lambda g: g.binomial(np.ones(2, np.float32), np.ones(2)),
            RuntimeError,
            "Found dtype float64 but expected float32",
        ),
    ],
)
def test_errors_draw_nothing(draw, error, message):
    generator = CPUGenerator(0)
    before = generator.get_state()
    with pytest.raises(error, match=message):
        draw(generator)
    np.testing.assert_array_equal(generator.get_state(), before)


# Arithmetic


def test_fused_single_at_a_double_rounding():
    # 1 + 2^-24 + 2^-54 lies just above half way between 1 and its successor; float64 drops the
    # last term, and rounding the rest to even would give 1.
    a = np.array([2.0**-27], np.float32)
    result = fma32(a, 2.0**-27, 1.0 + 2.0**-24)
    assert result[0] == np.float32(1.0 + 2.0**-23)
    assert fma32(a, -(2.0**-27), 1.0 + 2.0**-24)[0] == np.float32(1.0)


def test_fused_double():
    a = np.array([1.0 + 2.0**-30, np.inf, 1e308])
    assert fma64(a[:1], 1.0 - 2.0**-30, -1.0)[0] == -(2.0**-60)
    with np.errstate(all="ignore"):
        assert fma64(a, 10.0, 1.0)[1:].tolist() == [np.inf, np.inf]
