"""Every operator on an accelerator, as far as that shows without one.

JAX lowers a program for a device that is not there, and refuses what it has no rule for.  Where an operator has a form
of its own for accelerators, that form runs on the CPU here, and is held against the interpreter.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch as oracle
from test_operators import EXAMPLES, TOLERANCES, Maker, called, weighted

import flambeau
from flambeau import engine
from flambeau.engine import interpreter, precision, target
from flambeau.engine.kernels import fitted, prepared
from flambeau.graph.op import Call
from flambeau.ops import attention_kernels, max_pool_lax
from flambeau.ops.barrier import AFTER
from flambeau.ops.operator import OPERATORS
from flambeau.ops.pool_windows import sliding
from flambeau.ops.samples import T

LIBRARIES = ("cu_", "cusolver_", "cuhybrid_", "cublas", "cudnn")
"""How the names of the kernels begin that JAX brings for CUDA."""
TO_THE_HOST = {"linalg_eig"}
"""Operators whose kernel for CUDA hands the matrices over to the CPU: JAX has no other."""
AMBIGUOUS = {"geqrf", "linalg_eig", "linalg_eigh", "linalg_qr", "linalg_svd"}
"""Operators with several right results: libraries choose signs as they like."""
HALVES = ("float16", "bfloat16")
HALF = (2e-2, 3e-2)
"""Tolerances for sums of products in half precision, relative and absolute."""


def unreached() -> list[Any]:
    """Calls of operators that no example reaches: many are parts into which loops take others apart."""
    x, y, vector = flambeau.rand(4, 3), flambeau.rand(4, 3), flambeau.rand(3)
    order = flambeau.tensor([2, 3, 3], dtype=flambeau.int32)
    factors = flambeau.linalg.ldl_factor(x.T @ x)
    gates = flambeau.rand(4, 12)
    image = flambeau.rand(4, 3, 2)
    normal = OPERATORS["normalized"](x, 1, 1e-5)
    classes = flambeau.tensor([1, 0, 2, 1])
    return [
        *normal,
        *OPERATORS["lstm_gates"](gates, gates, x),
        *OPERATORS["gru_gates"](gates[:, :9], gates[:, :9], x),
        OPERATORS["argsort"](x, 1, True),
        OPERATORS["bag_of"](flambeau.tensor([0, 2, 3]), 5),
        OPERATORS["batch_norm_eval"](image, vector, vector + 1, vector, vector, 1e-5),
        OPERATORS["copy"](x, y),
        OPERATORS["cross_entropy_scale"](x, classes, None, -100, "mean", 0.1),
        OPERATORS["lu_ordered"](x[:3], order, False),
        OPERATORS["move"](x, flambeau.device("cpu")),
        OPERATORS["normalized_backward"](y, normal[0], normal[1], 1),
        OPERATORS["running_average"](vector, vector, 0.1, 1.5),
        flambeau.linalg.ldl_solve(*factors, x.T),
        x.view(flambeau.int32),
        flambeau.complex(x, y).view(flambeau.float32),
        image.view(flambeau.complex64),
        x.view(flambeau.int16),
    ]


Calls = dict[Call, tuple[tuple[Any, ...], Any]]
"""Calls, each with its first operands and what the interpreter gave for these."""


class Recorded:
    """Calls that the interpreter made, by operator."""

    def __init__(self) -> None:
        self.by_operator: dict[str, Calls] = {}
        self._seen: set[Any] = set()
        self.example = ""

    def fitted(self, call: Call) -> Callable[..., Any]:
        run = fitted(call)
        if call.op.name == "project":
            return run
        # Common operators are called in all examples: one call of each combination of types will do.
        key = (call.op, *[aval and (aval.dtype, aval.weak) for aval in call.inputs])
        calls = self.by_operator.setdefault(call.op.name, {})
        if call in calls or (key in self._seen and call.op.name != self.example):
            return run
        self._seen.add(key)

        def noting(*arrays: Any) -> Any:
            given = tuple([a.copy() if isinstance(a, np.ndarray) else a for a in arrays])
            result = run(*arrays)
            calls[call] = given, result
            return result

        return noting


class InHalf(Maker):
    """Makes the arguments of an example with half as many bits."""

    kind = ""

    def tensor(self, spec: T) -> Any:
        if spec.dtype == "float32":
            spec = T(*spec.shape, dtype=self.kind, low=spec.low, high=spec.high)
        return super().tensor(spec)


@pytest.fixture(scope="module")
def calls() -> dict[str, Calls]:
    return recorded(EXAMPLES, Maker, unreached)


def recorded(examples: list[Any], maker: type[Maker], more: Callable[[], list[Any]] = list) -> dict[str, Calls]:
    """The calls of examples and of their gradients."""
    found = Recorded()
    before = engine.get_tier()
    engine.set_tier("interpreter")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(interpreter, "fitted", found.fitted)
            # NumPy would do an optimizer's update parameter by parameter, and no call of it be seen.
            patch.setattr(interpreter, "_has_pieces", lambda step: False)
            for name, i, example in examples:
                found.example = name
                seed = zlib.crc32(f"{name}{i}".encode())
                outputs, leaves = called(flambeau, example, seed, kind=maker)
                total = weighted(flambeau, outputs, seed) if example.grad else None
                if total is not None:
                    total.backward()
                for tensor in (*outputs, *[leaf.grad for leaf in leaves if leaf.grad is not None]):
                    tensor._array()
            for tensor in more():
                tensor._array()
    finally:
        engine.set_tier(before)
    return found.by_operator


def test_what_fails_while_calls_are_recorded_leaves_the_tier_as_it_was() -> None:
    def failing() -> list[Any]:
        raise ArithmeticError

    before = engine.get_tier()
    engine.set_tier("compiled")
    try:
        with pytest.raises(ArithmeticError):
            recorded([], Maker, failing)
        assert engine.get_tier() == "compiled"
    finally:
        engine.set_tier(before)


def is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic)


class Traced:
    """Calls as one function of all their arrays, traced for CUDA; numbers are constants in it.

    Attributes:
        asked: whether a kernel asked for what kind of device it is traced.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.asked = False
        self._arrays = [value for given, _ in calls.values() for value in given if is_array(value)]
        with pytest.MonkeyPatch.context() as patch, jax.enable_x64(True):
            patch.setattr(target, "kind", self._kind)
            self._traced = jax.jit(self._together).trace(*self._arrays)

    def _kind(self) -> str:
        self.asked = True
        return "cuda"

    def _together(self, *arrays: Any) -> Any:
        taken = iter(arrays)
        results = []
        with target.traced_for("cuda"):
            for call, (given, _) in self.calls.items():
                kernel = prepared(call, call.op.lax, jnp)
                results.append(kernel(*[next(taken) if is_array(value) else value for value in given]))
        return results

    def lowered(self) -> str:
        with jax.enable_x64(True):
            return self._traced.lower(lowering_platforms=("cuda",)).as_text()

    def run(self) -> list[Any]:
        """The results, computed on the default device."""
        with jax.enable_x64(True):
            return jax.jit(self._together)(*self._arrays)


@pytest.fixture(scope="module")
def traced(calls: Any) -> dict[str, Traced]:
    return {name: Traced(some) for name, some in calls.items()}


def test_every_operator_lowers_for_cuda(calls: Any, traced: Any) -> None:
    refused, foreign, hybrid = {}, {}, set()
    for name, some in traced.items():
        try:
            text = some.lowered()
        except NotImplementedError as error:
            refused[name] = str(error)
            continue
        kernels = set(re.findall(r"custom_call @([\w.$]+)", text))
        if not all(kernel.startswith(LIBRARIES) for kernel in kernels):
            foreign[name] = kernels
        if any(kernel.startswith("cuhybrid") for kernel in kernels):
            hybrid.add(name)
    assert not refused, "operators without a form for CUDA"
    assert not foreign, "operators that call the host, or the CPU's libraries"
    assert hybrid == TO_THE_HOST
    assert not sorted(name for name in OPERATORS if not calls.get(name)), "operators that are not called here"


def test_forms_for_accelerators_agree_with_the_interpreter(traced: Any) -> None:
    found = {name: some for name, some in traced.items() if some.asked}
    products = {"convolution", "convolution_input", "convolution_weight", "linear", "outer_sum"}
    attention = {"scaled_dot_product_attention", "scaled_dot_product_attention_backward"}
    assert found.keys() == products | attention | {"cat", "max_pool_input"}
    for some in found.values():
        assert_agree(some.calls, some.run(), TOLERANCES)


@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_in_large_blocks_agrees_with_the_interpreter(monkeypatch: Any, is_causal: bool) -> None:
    monkeypatch.setattr(attention_kernels, "KEPT_WEIGHTS", 0)
    monkeypatch.setattr(attention_kernels, "KEPT_CAUSAL_WEIGHTS", 0)
    monkeypatch.setattr(attention_kernels, "ACCELERATED_WEIGHTS", 1 << 17)
    random = np.random.default_rng(0)
    q, k, v, grad = random.standard_normal((4, 2, 300, 8), dtype=np.float32)
    key = np.array([1, 2], np.uint32)
    settings = {"scale": 0.3, "is_causal": is_causal, "p": 0.25}

    def both_ways(xp: Any) -> tuple[Any, ...]:
        out, total = attention_kernels.forward(xp, q, k, v, None, key, **settings)
        back = attention_kernels.backward(xp, grad, q, k, v, None, key, out, total, wants_mask=False, **settings)
        return out, total, *back

    expected = both_ways(np)
    with target.traced_for("cuda"):
        found = jax.jit(lambda: both_ways(jnp))()
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, 1e-4, 1e-5)


def test_what_is_recomputed_on_accelerators_waits_behind_xlas_barrier() -> None:
    with target.traced_for("cuda"):
        text = str(jax.make_jaxpr(lambda x, y: AFTER.lax(jnp, x, y))(np.ones(3), np.ones(2)))
    assert "optimization_barrier" in text


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("values", ["ties", "nan"])
@pytest.mark.parametrize(
    "options",
    [{"stride": 1}, {"stride": 2, "padding": 1}, {"stride": 3, "dilation": 2}, {"padding": 1, "ceil_mode": True}],
)
def test_gradients_go_to_the_maxima_that_pytorch_finds(options: dict[str, Any], values: str, kind: str) -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 3, (2, 3, 9, 10)).astype(np.float32)
    if values == "nan":
        x[random.random(x.shape) < 0.1] = np.nan
    given = oracle.tensor(x, requires_grad=True)
    y = oracle.nn.functional.max_pool2d(given, 3, **options)
    grad = random.standard_normal(y.shape, dtype=np.float32)
    y.backward(oracle.tensor(grad))
    windows = sliding(
        "max_pool2d", flambeau.tensor(x), 2, 3, options.pop("stride", None), options.pop("padding", 0), **options
    )
    with target.traced_for(kind):
        gradient = jax.jit(partial(max_pool_lax.input_gradient, jnp, windows=windows))
        found = gradient(grad, x, y.detach().numpy())
    np.testing.assert_allclose(found, np.asarray(given.grad), 1e-5, 1e-6)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_gradients_go_into_the_image_where_padding_is_no_less(kind: str) -> None:
    x = np.full((1, 1, 4, 4), -np.inf, np.float32)
    given = oracle.tensor(x, requires_grad=True)
    y = oracle.nn.functional.max_pool2d(given, 2, padding=1)
    y.sum().backward()
    windows = sliding("max_pool2d", flambeau.tensor(x), 2, 2, None, 1)
    with target.traced_for(kind):
        gradient = jax.jit(partial(max_pool_lax.input_gradient, jnp, windows=windows))
        found = gradient(np.ones((1, 1, 3, 3), np.float32), x, y.detach().numpy())
    np.testing.assert_array_equal(found, np.asarray(given.grad))


@pytest.fixture(scope="module")
def in_half() -> dict[str, Any]:
    """The calls of operators that are products, in half precision, by type and operator."""
    products = {name for name, op in OPERATORS.items() if op.product}
    examples = [example for example in EXAMPLES if example[0] in products]
    found = {}
    for kind in HALVES:
        calls = recorded(examples, type("InHalf", (InHalf,), {"kind": kind}))
        found[kind] = {name: Traced(calls[name]) for name in products}
    return found


def test_products_in_half_precision_agree_with_the_interpreter(in_half: Any) -> None:
    # Of float16 that is left to a GPU: only the type is another.
    for some in in_half["bfloat16"].values():
        assert_agree(some.calls, some.run(), {**TOLERANCES, "bfloat16": HALF})


@pytest.mark.parametrize(("kind", "written"), [("float16", "f16"), ("bfloat16", "bf16")])
def test_accelerators_multiply_half_precision_as_it_is(in_half: Any, kind: str, written: str) -> None:
    for name, some in in_half[kind].items():
        products = r"stablehlo\.(?:dot_general|convolution)[ (].* : \(tensor<(\S*)>, tensor<(\S*)>\)"
        factors = re.findall(products, some.lowered())
        assert factors, name
        for types in factors:
            assert [shape.rpartition("x")[2] for shape in types] == [written] * 2, name


def assert_agree(calls: Calls, results: list[Any], tolerances: dict[str, tuple[float, float]]) -> None:
    """Whether XLA's results of calls are the interpreter's."""
    for (call, (_, expected)), result in zip(calls.items(), results, strict=True):
        several = isinstance(expected, tuple)
        for one, other in zip(*(result, expected) if several else ([result], [expected]), strict=True):
            assert one.shape == np.shape(other), call
            assert one.dtype == other.dtype, call
            rtol, atol = tolerances.get(str(one.dtype), (0, 0))
            wide = np.complex128 if one.dtype.kind == "c" else np.float64
            one, other = np.asarray(one).astype(wide), np.asarray(other).astype(wide)
            np.testing.assert_allclose(one, other, rtol, atol, err_msg=str(call))


@pytest.mark.skipif(os.environ.get("FLAMBEAU_TEST_DEVICE") != "cuda", reason="needs a GPU")
def test_every_operator_agrees_with_the_interpreter_on_the_gpu(monkeypatch: Any, traced: Any, in_half: Any) -> None:
    monkeypatch.setattr(precision, "convolutions", False)
    jobs = [(name, some, TOLERANCES) for name, some in traced.items()]
    for kind in HALVES:
        tolerances = {**TOLERANCES, kind: HALF}
        jobs += [(f"{name} ({kind})", some, tolerances) for name, some in in_half[kind].items()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = [problem for problem in pool.map(problem_on_the_gpu, jobs) if problem]
    print(*found, sep="\n")
    assert not found, "operators that fail on the GPU"


def problem_on_the_gpu(job: tuple[str, Traced, dict[str, tuple[float, float]]]) -> str:
    """What is wrong with an operator's calls there; nothing, if all is well."""
    name, some, tolerances = job
    gpu = jax.local_devices(backend="gpu")[0]
    try:
        with jax.default_matmul_precision(precision.for_jax()), jax.default_device(gpu):
            results = jax.device_get(some.run())
        if name not in AMBIGUOUS:
            assert_agree(some.calls, results, tolerances)
    except Exception as error:
        return f"{name}: {type(error).__name__}: {str(error)[:500]}"
    return ""
