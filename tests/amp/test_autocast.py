"""Autocast beside PyTorch's: types, values and gradients on both tiers, nesting, the cache, the switches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import flambeau
from flambeau.ops import autocast as lists
from tests.nn.both import same

BOTH = (flambeau, torch)


def data(library: Any, *shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return library.tensor(array).to(getattr(library, dtype))


def network(library: Any) -> Any:
    nn = library.nn
    library.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 8),
        nn.LayerNorm(8),
    )


def kinds(value: Any) -> Any:
    """The types of the tensors in a result."""
    if isinstance(value, tuple | list):
        return [kinds(part) for part in value]
    return str(getattr(value, "dtype", value))


# ---------------------------------------------------------------- what computes in which type

PRODUCTS = {
    "mm": lambda t, a, b: t.mm(a, b),
    "matmul": lambda t, a, b: a @ b,
    "bmm": lambda t, a, b: t.bmm(a[None], b[None]),
    "addmm": lambda t, a, b: t.addmm(a, a, b),
    "baddbmm": lambda t, a, b: t.baddbmm(a[None], a[None], b[None]),
    "einsum": lambda t, a, b: t.einsum("ij,jk->ik", a, b),
    "linear": lambda t, a, b: t.nn.functional.linear(a, b, b[0]),
    "conv1d": lambda t, a, b: t.nn.functional.conv1d(a[None], b[:, :, None], a[0]),
    "conv_transpose1d": lambda t, a, b: t.nn.functional.conv_transpose1d(a[None], b[:, :, None]),
    "prelu": lambda t, a, b: t.nn.functional.prelu(a, b[0]),
    "attention": lambda t, a, b: t.nn.functional.scaled_dot_product_attention(a[None], b[None], a[None]),
    "tensordot": lambda t, a, b: t.tensordot(a, b, 1),
    "inner": lambda t, a, b: t.inner(a, b),
    "multi_dot": lambda t, a, b: t.linalg.multi_dot([a, b, a]),
    "vecdot": lambda t, a, b: t.linalg.vecdot(a, b),
}
AS_GIVEN = {
    "mv": lambda t, a, b: t.mv(a, b[0]),
    "dot": lambda t, a, b: t.dot(a[0], b[0]),
    "outer": lambda t, a, b: t.outer(a[0], b[0]),
    "addmv": lambda t, a, b: t.addmv(a[0], a, b[0]),
    "inner of vectors": lambda t, a, b: t.inner(a[0], b[0]),
    "full tensordot": lambda t, a, b: t.tensordot(a, b, 2),
    "in place": lambda t, a, b: a.clone().addmm_(a, b),
    "out": lambda t, a, b: t.mm(a, b, out=t.empty(4, 4)),
    "softmax": lambda t, a, b: a.softmax(1),
    "exp": lambda t, a, b: a.exp(),
    "layer_norm": lambda t, a, b: t.nn.functional.layer_norm(a, (4,), b[0]),
    "cat": lambda t, a, b: t.cat([a, b]),
}
FLOAT32 = {
    "mse_loss": lambda t, a, b: t.nn.functional.mse_loss(a, b),
    "cross_entropy": lambda t, a, b: t.nn.functional.cross_entropy(a, t.arange(4)),
    "bce": lambda t, a, b: t.nn.functional.binary_cross_entropy(a.sigmoid(), b.sigmoid()),
    "smooth_l1": lambda t, a, b: t.nn.functional.smooth_l1_loss(a, b),
    "kl_div": lambda t, a, b: t.nn.functional.kl_div(a, b.softmax(1), reduction="sum"),
    "cdist": lambda t, a, b: t.cdist(a, b),
    "inv": lambda t, a, b: t.linalg.inv(a @ a.T + 9 * t.eye(4)),
    "fft": lambda t, a, b: t.fft.rfft(a),
    "prod": lambda t, a, b: a.prod(),
    "trace": lambda t, a, b: a.trace(),
    "quantile": lambda t, a, b: a.quantile(0.3),
    "avg_pool3d": lambda t, a, b: t.nn.functional.avg_pool3d(a.reshape(1, 1, 4, 2, 2), 2),
    "reflect": lambda t, a, b: t.nn.functional.pad(a[None], (1, 1), mode="reflect"),
    "index_copy": lambda t, a, b: a.index_copy(0, t.tensor([1]), b[:1].float()),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", [*PRODUCTS, *AS_GIVEN])
def test_operators_on_float32(name: str, dtype: str, tier: str) -> None:
    run = {**PRODUCTS, **AS_GIVEN}[name]

    def program(library: Any) -> Any:
        a, b = data(library, 4, 4), data(library, 4, 4, seed=1)
        with library.autocast("cpu", dtype=getattr(library, dtype)):
            return run(library, a, b)

    same(program, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", [*PRODUCTS, *FLOAT32])
def test_operators_on_mixed_types(name: str, tier: str) -> None:
    run = {**PRODUCTS, **FLOAT32}[name]

    def program(library: Any) -> Any:
        a, b = data(library, 4, 4, dtype="bfloat16"), data(library, 4, 4, seed=1)
        with library.autocast("cpu"):
            return run(library, a, b)

    same(program, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_recurrent_layers(layer: str, tier: str) -> None:
    def program(library: Any) -> Any:
        module = getattr(library.nn, layer)(4, 3)
        x = data(library, 5, 2, 4)
        with library.autocast("cpu"):
            return module(x if not layer.endswith("Cell") else x[0])

    same(program, rtol=3e-2, atol=3e-2)


def test_packed_sequences_and_projections() -> None:
    def program(library: Any) -> Any:
        x = library.nn.utils.rnn.pack_padded_sequence(data(library, 5, 2, 4), library.tensor([5, 3]))
        with library.autocast("cpu"):
            packed = [library.nn.LSTM(4, 3)(x), library.nn.GRU(4, 3)(x)]
            y, (h, c) = library.nn.LSTM(4, 3, proj_size=2)(data(library, 5, 2, 4))
            return [(out.data.dtype, kinds(states)) for out, states in packed], kinds((y, h, c))

    ours, theirs = program(flambeau), None
    with pytest.warns(UserWarning, match="projections"):
        theirs = program(torch)
    assert str(ours).replace("flambeau", "torch") == str(theirs)


def test_attention_layer_gives_pytorchs_types_with_and_without_weights() -> None:
    def program(library: Any) -> Any:
        layer = library.nn.MultiheadAttention(8, 2)
        x, mask = data(library, 3, 2, 8), data(library, 3, 3)
        with library.autocast("cpu"):
            return layer(x, x, x, attn_mask=mask), layer(x, x, x, need_weights=False)[0]

    same(program, rtol=3e-2, atol=3e-2)


def test_complex_double_and_integer_operands_are_left_alone() -> None:
    def program(library: Any) -> Any:
        a = data(library, 4, 4)
        with library.autocast("cpu"):
            wide = a.double()
            return wide @ wide, a.to(library.complex64) @ a.to(library.complex64), (10 * a).long() @ (10 * a).long()

    same(program, rtol=1e-5, atol=1e-5)


def test_unlike_reduced_types_do_not_promote() -> None:
    for library in BOTH:
        with library.autocast("cpu"), pytest.raises(RuntimeError, match="Unexpected floating ScalarType"):
            library.cat([data(library, 2, dtype="float16"), data(library, 2, dtype="bfloat16")])


def test_lists_are_pytorchs() -> None:
    """Every operator that PyTorch registers for autocast is in our list, under PyTorch's name or ours."""
    ours = {
        "_convolution.deprecated": "conv2d",
        "_convolution": "conv2d",
        "cudnn_convolution": "conv2d",
        "cudnn_convolution_transpose": "conv_transpose2d",
        "_native_multi_head_attention": "linear",
        "_addmm_activation": "addmm",
        "_scaled_dot_product_flash_attention": "scaled_dot_product_attention",
        "_grid_sampler_2d_cpu_fallback": "grid_sampler",
        "cross_entropy_loss": "cross_entropy",
        "multilabel_margin_loss_forward": "multilabel_margin_loss",
        "nll_loss2d": "nll_loss",
        "_lu_with_info": "lu",
        "frobenius_norm": "norm",
        "nuclear_norm": "norm",
        "_upsample_nearest_exact1d": "interpolate",
        "_upsample_nearest_exact2d": "interpolate",
        "_upsample_nearest_exact3d": "interpolate",
        "_upsample_bilinear2d_aa": "interpolate",
        "_upsample_bicubic2d_aa": "interpolate",
    }
    # Layers that are converted as a whole (ops/rnn.py), and quantisation, which is not supported.
    elsewhere = {
        *("mkldnn_rnn_layer", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        *("_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "fake_quantize_per_tensor_affine"),
    }
    for kind, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        for registered in torch._C._dispatch_get_registrations_for_dispatch_key(key):
            name = registered.removeprefix("aten::")
            base = name.partition(".")[0]
            if base in elsewhere:
                continue
            known = ours.get(name, ours.get(base, base))
            if known.startswith("upsample_"):
                known = "interpolate"
            assert known in lists.LISTS[kind], (kind, registered)


# ---------------------------------------------------------------- gradients and the cache


def test_training_step_gives_float32_gradients_near_pytorchs(tier: str) -> None:
    def program(library: Any) -> Any:
        model = network(library)
        x, y = data(library, 6, 1, 8, 8), library.arange(6)
        with library.autocast("cpu"):
            out = model(x)
            loss = library.nn.functional.cross_entropy(out, y)
        loss.backward()
        return out, loss, [p.grad for p in model.parameters()]

    same(program, rtol=5e-2, atol=3e-2)


def test_gradients_are_exactly_those_of_the_casts_written_out() -> None:
    x, w = data(flambeau, 3, 4), data(flambeau, 4, 5).requires_grad_()
    with flambeau.autocast("cpu"):
        (x @ w).float().square().sum().backward()
    assert w.grad is not None
    found, w.grad = w.grad, None
    (x.bfloat16() @ w.bfloat16()).float().square().sum().backward()
    assert found.dtype is flambeau.float32
    assert flambeau.equal(found, w.grad)


@pytest.mark.parametrize("cached", [True, False])
def test_a_weight_used_twice_is_cast_once(cached: bool) -> None:
    def program(library: Any) -> Any:
        x, w = data(library, 3, 4), data(library, 4, 4).requires_grad_()
        with library.autocast("cpu", cache_enabled=cached):
            (x @ w @ w).sum().backward()
        return w.grad

    same(program, rtol=1e-2, atol=1e-2)
    w = data(flambeau, 4, 4).requires_grad_()
    before = flambeau.engine.statistics()["nodes"]
    with flambeau.autocast("cpu", cache_enabled=cached):
        y = w @ w + w @ w
        y.sum().item()
    assert (flambeau.engine.statistics()["nodes"] - before) == (5 if cached else 8)


def test_the_cache_sees_writes_and_the_grad_mode() -> None:
    w = data(flambeau, 2, 2).requires_grad_()
    with flambeau.autocast("cpu"):
        with flambeau.no_grad():
            w @ w
        first = w @ w
        assert first.requires_grad
        with flambeau.no_grad():
            w.fill_(2.0)
        assert (w @ w).tolist() == [[8.0, 8.0], [8.0, 8.0]]


def test_backward_inside_the_region_computes_in_the_types_of_the_forward_pass() -> None:
    w = data(flambeau, 4).requires_grad_()
    m = data(flambeau, 4, 4)
    with flambeau.autocast("cpu"):
        flambeau.mv(m, w).sum().backward()
    assert w.grad is not None
    np.testing.assert_allclose(w.grad.numpy(), m.sum(0).numpy(), rtol=1e-6)


# ---------------------------------------------------------------- regions


def test_nesting_and_exceptions() -> None:
    def program(library: Any) -> Any:
        a = data(library, 2, 2)
        seen = []
        with library.autocast("cpu"):
            seen.append((a @ a).dtype)
            with library.autocast("cpu", enabled=False):
                seen.append((a @ a).dtype)
                with library.autocast("cpu", dtype=library.float16):
                    seen.append((a @ a).dtype)
                seen.append((library.is_autocast_enabled("cpu"), library.get_autocast_dtype("cpu")))
            seen.append((a @ a).dtype)
            try:
                with library.autocast("cpu", enabled=False, cache_enabled=False):
                    seen.append(library.is_autocast_cache_enabled())
                    raise KeyError
            except KeyError:
                seen.append((a @ a).dtype)
        return [str(x) for x in [*seen, (a @ a).dtype, library.is_autocast_enabled("cpu")]]

    same(program)


def test_decorator_and_reuse() -> None:
    def program(library: Any) -> Any:
        region = library.autocast("cpu")

        @region
        def square(a: Any) -> Any:
            """Squares."""
            return a @ a

        a = library.eye(2)
        with region:
            inside = (a @ a).dtype
        return square.__name__, square.__doc__, square(a).dtype, inside, (a @ a).dtype

    same(program)


def test_a_region_can_be_entered_again_inside_itself() -> None:
    region = flambeau.autocast("cpu")
    with region, region:
        assert flambeau.is_autocast_enabled("cpu")
    assert not flambeau.is_autocast_enabled("cpu")


def test_switches_by_hand(recwarn: pytest.WarningsRecorder) -> None:
    def program(library: Any) -> Any:
        a = data(library, 2, 2)
        library.set_autocast_enabled("cpu", True)
        library.set_autocast_dtype("cpu", library.float16)
        library.set_autocast_cache_enabled(False)
        try:
            return (a @ a).dtype, library.is_autocast_cache_enabled(), library.autocast_increment_nesting()
        finally:
            library.autocast_decrement_nesting()
            library.clear_autocast_cache()
            library.set_autocast_enabled("cpu", False)
            library.set_autocast_dtype("cpu", library.bfloat16)
            library.set_autocast_cache_enabled(True)

    same(program)


PROGRAMS = {
    "no string": lambda t: t.autocast(3),
    "no function": lambda t: t.autocast("cpu")(3),
    "float32": lambda t: t.autocast("cpu", dtype=t.float32).fast_dtype,
    "no gpu": lambda t: t.autocast("cuda")._enabled,
    "cpu amp": lambda t: t.cpu.amp.autocast().fast_dtype,
    "cuda amp": lambda t: t.cuda.amp.autocast().fast_dtype,
    "defaults": lambda t: (t.get_autocast_dtype("cpu"), t.get_autocast_dtype("cuda"), t.is_autocast_enabled()),
    "available": lambda t: [t.amp.is_autocast_available(kind) for kind in ("cpu", "cuda", "meta")],
    "enabled by word": lambda t: t.set_autocast_enabled("cpu"),
    "dtype by number": lambda t: t.set_autocast_dtype("cpu", 3),
    "device by number": lambda t: t.is_autocast_enabled(3),
    "forward of no string": lambda t: t.amp.custom_fwd(device_type=3),
    "backward of no string": lambda t: t.amp.custom_bwd(device_type=3),
    "older forward": lambda t: callable(t.cuda.amp.custom_fwd(lambda ctx: None)),
    "older backward": lambda t: callable(t.cuda.amp.custom_bwd(lambda ctx: None)),
}


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_errors_and_warnings_are_pytorchs(name: str) -> None:
    same(PROGRAMS[name])


def test_unknown_devices_are_named() -> None:
    with pytest.raises(RuntimeError, match=r"Expected one of .* device type at start of device string: foo"):
        flambeau.autocast("foo")
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'meta'"):
        flambeau.autocast("meta")
    with pytest.raises(RuntimeError, match="unknown device type for autocast: meta; it is there for cpu"):
        flambeau.get_autocast_dtype("meta")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("is_autocast_cpu_enabled", ()),
        ("set_autocast_cpu_enabled", (False,)),
        ("get_autocast_cpu_dtype", ()),
        ("set_autocast_cpu_dtype", ("bfloat16",)),
        ("get_autocast_gpu_dtype", ()),
        ("set_autocast_gpu_dtype", ("float16",)),
    ],
)
def test_older_names_warn(name: str, args: tuple[Any, ...]) -> None:
    found = []
    for library in BOTH:
        with pytest.warns(DeprecationWarning) as caught:
            given = [getattr(library, x) if isinstance(x, str) else x for x in args]
            result = getattr(library, name)(*given)
        found.append((str(result), str(caught[0].message).partition(" (Triggered")[0]))
    assert found[0] == found[1]


# ---------------------------------------------------------------- functions of one's own


@pytest.mark.parametrize("cast", [None, "float32", "bfloat16"])
@pytest.mark.parametrize("inside", [True, False])
def test_functions_of_ones_own(cast: str | None, inside: bool) -> None:
    def program(library: Any) -> Any:
        seen: list[Any] = []
        cast_inputs = None if cast is None else getattr(library, cast)

        class Product(library.autograd.Function):
            @staticmethod
            @library.amp.custom_fwd(device_type="cpu", cast_inputs=cast_inputs)
            def forward(ctx: Any, a: Any, b: Any) -> Any:
                ctx.save_for_backward(a, b)
                seen.append((a.dtype, library.is_autocast_enabled("cpu")))
                return a @ b

            @staticmethod
            @library.amp.custom_bwd(device_type="cpu")
            def backward(ctx: Any, grad: Any) -> Any:
                a, b = ctx.saved_tensors
                seen.append((grad.dtype, library.is_autocast_enabled("cpu")))
                return grad @ b.T, a.T @ grad

        a, b = data(library, 3, 3).requires_grad_(), data(library, 3, 3, seed=1)
        with library.autocast("cpu", enabled=inside):
            y = Product.apply(a, b)
        y.sum().backward()
        return str(seen), y, a.grad

    same(program, rtol=2e-2, atol=2e-2)


# ---------------------------------------------------------------- compile


def test_compile_notices_the_region_around_a_call() -> None:
    layer = flambeau.nn.Linear(3, 3)
    step = flambeau.compile(lambda x: layer(x) @ layer.weight)
    x = data(flambeau, 2, 3)
    for _ in range(4):
        assert step(x).dtype is flambeau.float32
        with flambeau.autocast("cpu"):
            assert step(x).dtype is flambeau.bfloat16
        with flambeau.autocast("cpu", dtype=flambeau.float16):
            assert step(x).dtype is flambeau.float16


def test_compiled_training_step_under_autocast_is_the_plain_one() -> None:
    def losses(compiled: bool) -> list[float]:
        model = network(flambeau)
        optimizer = flambeau.optim.SGD(model.parameters(), lr=0.05)
        y = flambeau.arange(6)

        def step(x: Any) -> Any:
            optimizer.zero_grad()
            with flambeau.autocast("cpu"):
                loss = flambeau.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = flambeau.compile(step) if compiled else step
        return [run(data(flambeau, 6, 1, 8, 8)).item() for _ in range(6)]

    np.testing.assert_allclose(losses(True), losses(False), rtol=2e-2)


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda x: flambeau.nn.functional.mse_loss(x, x[0]),
        lambda x: flambeau.nn.functional.mse_loss(x, x, size_average=True),
        lambda x: flambeau.nn.functional.softmax(x),
        lambda x: flambeau.nn.Softmax()(x),
        lambda x: flambeau.nn.L1Loss()(x, x[0]),
        lambda x: flambeau.nn.functional.grid_sample(x[None, None], x[None, :, None, :2]),
        lambda x: flambeau.cross(x, x),
        lambda x: x.cross(x),
        lambda x: flambeau.add(x, x, out=flambeau.zeros(2)),
        lambda x: x.index_reduce_(0, flambeau.tensor([0]), x[:1].clone(), "prod"),
        lambda x: x[x.byte()],
        lambda x: x[0].T,
    ],
)
def test_warnings_point_to_the_line_of_the_call(call: Any, enabled: bool) -> None:
    x = flambeau.ones(3, 3)
    with flambeau.autocast("cpu", enabled=enabled), pytest.warns(UserWarning) as caught:
        call(x)
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, call.__code__.co_firstlineno)}
