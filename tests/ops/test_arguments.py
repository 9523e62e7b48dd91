"""What is no tensor where a tensor must be is refused as PyTorch refuses it, by every public function."""

from __future__ import annotations

import inspect
import operator

import pytest
import torch as oracle

import flambeau

# Functions that do not work on tensors, and those that may give the argument back as it is.
APART = {
    "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout",
    "as_tensor",
    "from_dlpack",
    "is_neg",
    "resolve_neg",
    "clone",
    "manual_seed",
    "seed",
    "set_default_tensor_type",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_num_threads",
    "set_printoptions",
    "set_default_device",
    "use_deterministic_algorithms",
    "compile",
    "load",
    "save",
}
SPACES = ("", "nn.functional", "linalg", "fft", "special")
GIVEN = ((["x"],), (["x"], ["y"]), (["x"], ["y"], ["z"]), ("x", 3))


def functions() -> list[str]:
    names = []
    for space in SPACES:
        ours, theirs = (operator.attrgetter(space)(lib) if space else lib for lib in (flambeau, oracle))
        for name in dir(theirs):
            if (
                not name.startswith("_")
                and callable(getattr(ours, name, None))
                and not inspect.isclass(getattr(theirs, name))
            ):
                names.append(f"{space}.{name}" if space else name)
    return [name for name in names if name not in APART and "autocast" not in name]


def raised(function, args) -> Exception | None:
    try:
        function(*args)
    except Exception as error:
        return error
    return None


def test_things_that_are_no_tensors_are_refused() -> None:
    names = functions()
    assert len(names) > 600
    wrong = []
    for name in names:
        ours, theirs = (operator.attrgetter(name)(lib) for lib in (flambeau, oracle))
        for args in GIVEN:
            if isinstance(raised(theirs, args), TypeError) and not isinstance(found := raised(ours, args), TypeError):
                wrong.append(f"{name}{args}: {found!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("sum", ([1.0, 2.0],), {}),
        ("amax", (3,), {}),
        ("nn.functional.linear", ([1.0], "w"), {}),
        ("matmul", ("x", "y"), {}),
        ("can_cast", (3, 4), {}),
        ("einsum", (3, 4), {}),
        ("max", (3,), {}),
    ],
)
def test_the_message_names_the_argument_its_place_and_its_type(name, args, kwargs) -> None:
    ours, theirs = (raised(operator.attrgetter(name)(lib), args) for lib in (flambeau, oracle))
    assert isinstance(ours, TypeError)
    assert str(ours) == str(theirs)


def test_methods_name_the_argument() -> None:
    with pytest.raises(TypeError, match=r"^mm\(\): argument 'mat2' \(position 1\) must be Tensor, not list$"):
        flambeau.ones(2, 2).mm([[1.0]])
    with pytest.raises(TypeError, match=r"^mm\(\): argument 'mat2' \(position 1\) must be Tensor, not list$"):
        oracle.ones(2, 2).mm([[1.0]])  # type: ignore[arg-type]


def test_an_argument_given_by_name_is_named_without_its_place() -> None:
    with pytest.raises(TypeError, match=r"^matmul\(\): argument 'other' must be Tensor, not list$"):
        flambeau.matmul(flambeau.ones(2), other=[1.0, 2.0])


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremes_of_numbers_and_tensors(name) -> None:
    for args in ((3, flambeau.ones(2)), (flambeau.ones(2), 3.5), (flambeau.ones(2), "x")):
        with pytest.raises(TypeError, match=f"{name}|maximum|minimum|'dim' must be int"):
            getattr(flambeau, name)(*args)
    with pytest.raises(TypeError, match=rf"{name}\(\): argument 'other' must be Tensor, not int"):
        getattr(flambeau, name)(flambeau.ones(2), other=3)


@pytest.mark.parametrize("size", [(2.0, 3), "x", (None,)])
def test_sizes_are_integers(size) -> None:
    for library in (flambeau, oracle):
        with pytest.raises(TypeError, match=r"must be tuple of ints|invalid combination"):
            library.zeros(size)
    with pytest.raises(TypeError, match=r"reshape\(\): argument 'shape' .*tuple of ints.*float"):
        flambeau.ones(2).reshape(2.0)


def test_a_dimension_is_an_integer() -> None:
    with pytest.raises(TypeError, match="argument 'dim' must be int, not float"):
        flambeau.ones(2, 2).softmax(1.5)
    with pytest.raises(TypeError, match="must be int"):
        oracle.ones(2, 2).softmax(1.5)  # type: ignore[arg-type]


def test_errors_of_good_arguments_pass_through() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        flambeau.mm(flambeau.ones(2, 3), flambeau.ones(2, 3))


@pytest.mark.parametrize("shape", [((1, 3), (3,)), ((), ()), ((2, 3), (2, 3)), ((2, 3), (1, 3)), ((2, 3), ())])
def test_sum_to_size_of_bools_counts_where_it_sums(shape) -> None:
    ours, theirs = (lib.ones(shape[0], dtype=lib.bool).sum_to_size(shape[1]) for lib in (flambeau, oracle))
    assert str(ours.dtype) == str(theirs.dtype)
    assert ours.tolist() == theirs.tolist()


def test_complex32_is_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"flambeau has no complex32.*use cfloat\(\)"):
        flambeau.ones(2).chalf()


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((oracle.zeros(0),), {}), ((oracle.zeros(0, 3), 0), {}), ((oracle.ones(2),), {"mode": 1})],
)
def test_hash_tensor_refuses_what_pytorch_refuses(args, kwargs) -> None:
    ours = [flambeau.tensor(a.numpy()) if isinstance(a, oracle.Tensor) else a for a in args]
    found = raised(lambda: flambeau.hash_tensor(*ours, **kwargs), ())
    wanted = raised(lambda: oracle.hash_tensor(*args, **kwargs), ())
    assert type(found) is type(wanted)
    assert str(found) == str(wanted)


def test_quantiles_of_a_scalar_keep_its_shape() -> None:
    for args in ((0.5, 0, True), (0.5, None, True), ([0.5, 0.2], 0, True)):
        shapes = [
            tuple(lib.quantile(lib.tensor(1.0), lib.tensor(args[0]), *args[1:]).shape) for lib in (flambeau, oracle)
        ]
        assert shapes[0] == shapes[1]


def test_logspace_of_integers_ends_at_whole_exponents() -> None:
    for args in ((0, 1.2, 4), (1, 1.2, 2, 5.0), (0.9, 3.7, 4)):
        ours, theirs = (lib.logspace(*args, dtype=lib.int64).tolist() for lib in (flambeau, oracle))
        assert ours == theirs
