"""Convolution and pooling where the generic tests do not reach: parameters, error texts, options of our own."""

from __future__ import annotations

import numpy as np
import pytest
import torch as oracle

import flambeau
import flambeau.nn.functional as F
from flambeau.ops import max_pool


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "args", "options"),
    [
        ("Conv1d", (4, 6, 3), {}),
        ("Conv2d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}),
        ("Conv3d", (2, 4, 2), {"bias": False}),
        ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "output_padding": 1}),
    ],
)
def test_a_seed_gives_pytorchs_parameters_and_repr(kind: str, args: tuple, options: dict) -> None:
    layers = []
    for library in (flambeau, oracle):
        library.manual_seed(3)
        layers.append(getattr(library.nn, kind)(*args, **options))
    ours, theirs = layers
    assert repr(ours) == repr(theirs)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(mine.detach().numpy(), other.detach().numpy())


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"groups": 4}, {"stride": 2, "dilation": 2}])
@pytest.mark.parametrize(("axes", "kernel"), [(1, (3,)), (2, (3, 2)), (2, (1, 1)), (3, (2, 1, 3))])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_for_every_layout_of_the_input(axes: int, kernel: tuple, options: dict, transposed: bool) -> None:
    name = f"conv_transpose{axes}d" if transposed else f"conv{axes}d"
    groups = options.get("groups", 1)
    arrays = [random(2, 4, *(9, 8, 7)[:axes]), random(*((4, 8 // groups) if transposed else (8, 4 // groups)), *kernel)]
    found = []
    for library in (flambeau, oracle):
        x, w = (library.tensor(a, requires_grad=True) for a in arrays)
        # The same values, once in order and once as a transposed view.
        turned = x.permute(*range(1, x.ndim), 0).contiguous().permute(-1, *range(x.ndim - 1))
        y = getattr(library.nn.functional, name)(turned, w, padding=1, **options)
        y.square().sum().backward()
        found.append((y.detach().numpy(), x.grad.numpy(), w.grad.numpy()))
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("tier", ["interpreter", "compiled"])
@pytest.mark.parametrize(
    ("size", "weight", "options"),
    [
        ((9, 8), (3, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 3}),
        ((9, 7), (6, 1, 2, 3), {"stride": (3, 4), "padding": (0, 2), "groups": 3}),
        ((7, 9), (3, 1, 3, 2), {"stride": (2, 3), "padding": 2, "dilation": (3, 2), "groups": 3}),
        ((8, 9), (3, 1, 5, 4), {"stride": 2, "padding": 2, "groups": 3}),
        ((11,), (3, 1, 4), {"stride": 3, "padding": 3, "groups": 3}),
        ((5, 4, 6), (6, 1, 3, 2, 3), {"stride": (2, 1, 3), "padding": (1, 0, 2), "groups": 3}),
        ((7, 8), (6, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 3}),
        ((5, 4, 6), (4, 3, 3, 3, 3), {"padding": (1, 0, 2), "dilation": (1, 1, 2)}),
        ((6, 7), (4, 6, 4, 3), {"padding": 2, "dilation": (2, 1), "groups": 2, "channels": 12}),
        ((7, 6), (6, 2, 3, 2), {"stride": (1, 2), "padding": 1, "groups": 3, "channels": 6}),
    ],
)
def test_forms_of_grouped_strided_and_three_dimensional_convolutions(
    size: tuple, weight: tuple, options: dict, tier: str
) -> None:
    before = flambeau.engine.get_tier()
    flambeau.engine.set_tier(tier)
    options = dict(options)
    arrays = [random(2, options.pop("channels", 3), *size), random(*weight, seed=1)]
    found = []
    for library in (flambeau, oracle):
        x, w = (library.tensor(a, requires_grad=True) for a in arrays)
        y = getattr(library.nn.functional, f"conv{len(size)}d")(x, w, **options)
        y.square().sum().backward()
        found.append((y.detach().numpy(), x.grad.numpy(), w.grad.numpy()))
    flambeau.engine.set_tier(before)
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_depthwise_weight_is_added_up_in_more_than_half_precision() -> None:
    before = flambeau.engine.get_tier()
    flambeau.engine.set_tier("compiled")
    x = flambeau.ones(8, 2, 32, 32, dtype=flambeau.float16)
    w = flambeau.zeros(2, 1, 1, 2, dtype=flambeau.float16, requires_grad=True)
    F.conv2d(x, w, groups=2).sum().backward()
    found = w.grad.numpy()
    flambeau.engine.set_tier(before)
    # By halves, a sum of ones ends at 2048.
    np.testing.assert_array_equal(found, np.full((2, 1, 1, 2), 8 * 32 * 31, np.float16))


def test_same_padding_with_a_stride_gives_ceil_of_size_over_stride() -> None:
    x = random(1, 2, 7, 6)
    w = random(3, 2, 3, 3)
    y = F.conv2d(flambeau.tensor(x), flambeau.tensor(w), stride=2, padding="same")
    # As TensorFlow has it: rows need (4 - 1) * 2 + 3 - 7 = 2 zeros, columns (3 - 1) * 2 + 3 - 6 = 1, behind.
    padded = oracle.nn.functional.pad(oracle.tensor(x), (0, 1, 1, 1))
    expected = oracle.nn.functional.conv2d(padded, oracle.tensor(w), stride=2)
    assert y.shape == (1, 3, 4, 3)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    layer = flambeau.nn.Conv2d(2, 3, 3, stride=2, padding="same", padding_mode="reflect")
    assert layer(flambeau.tensor(x)).shape == (1, 3, 4, 3)


def test_images_with_channels_last_are_told_how_to_reorder() -> None:
    with pytest.raises(RuntimeError) as error:
        flambeau.nn.Conv2d(3, 6, 5)(flambeau.zeros(2, 32, 32, 3))
    assert str(error.value) == (
        "Given groups=1, weight of size [6, 3, 5, 5], expected input[2, 32, 32, 3] to have 3 channels, but got 32 "
        "channels instead (the last dimension has 3: channels come second here, after the batch; if the image has them "
        "last, reorder it with .permute(0, 3, 1, 2))"
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.nn.functional.conv2d(lib.zeros(1, 2, 5, 5), lib.zeros(3, 4, 3, 3)),
        lambda lib: lib.nn.functional.conv2d(lib.zeros(1, 2, 2, 5), lib.zeros(3, 2, 3, 3)),
        lambda lib: lib.nn.functional.conv2d(lib.zeros(5), lib.zeros(3, 2, 3, 3)),
        lambda lib: lib.nn.functional.conv2d(lib.zeros(1, 2, 5, 5), lib.zeros(3, 2, 3, 3), lib.zeros(2)),
        lambda lib: lib.nn.functional.conv2d(lib.zeros(1, 2, 5, 5), lib.zeros(3, 2, 3, 3), padding=-1),
        lambda lib: lib.nn.functional.pad(lib.zeros(1, 1, 3), (3, 3), mode="reflect"),
        lambda lib: lib.nn.functional.max_pool2d(lib.zeros(1, 1, 3, 3), 2, padding=2),
        lambda lib: lib.nn.functional.pixel_shuffle(lib.zeros(1, 3, 3, 3), 2),
    ],
)
def test_errors_begin_as_pytorchs(call) -> None:
    with pytest.raises(RuntimeError) as expected:
        call(oracle)
    with pytest.raises(RuntimeError) as error:
        call(flambeau)
    assert str(error.value)[:40] == str(expected.value)[:40]


def test_fractional_pooling_of_an_image_takes_a_ratio_for_each_axis() -> None:
    for library in (oracle, flambeau):
        F = library.nn.functional
        for pool in (F.fractional_max_pool2d, F.fractional_max_pool2d_with_indices):
            with pytest.raises(TypeError, match=r"^object of type 'float' has no len\(\)"):
                pool(library.zeros(1, 1, 8, 8), 2, output_ratio=0.5)
        assert F.fractional_max_pool2d(library.zeros(1, 1, 8, 8), 2, output_ratio=(0.5, 0.5)).shape[2:] == (4, 4)
        assert F.fractional_max_pool3d(library.zeros(1, 1, 8, 8, 8), 2, output_ratio=0.5).shape[2:] == (4, 4, 4)
        assert library.nn.FractionalMaxPool2d(2, output_ratio=0.5)(library.zeros(1, 1, 8, 8)).shape[2:] == (4, 4)
    with pytest.raises(TypeError, match=r"write output_ratio=\(0.5, 0.5\)"):
        flambeau.nn.functional.fractional_max_pool2d(flambeau.zeros(1, 1, 8, 8), 2, output_ratio=0.5)


def test_max_pool_sends_gradients_to_the_last_nan_and_keeps_infinite_ones_in_place() -> None:
    image = np.array([[1.0, np.nan, 2.0, 2.0], [np.nan, 0.0, 2.0, 1.0]], np.float32).reshape(1, 1, 2, 4)
    factors = np.array([[[[3.0, np.inf]]]], np.float32)
    for tier in ("interpreter", "compiled"):
        before = flambeau.engine.get_tier()
        flambeau.engine.set_tier(tier)
        x = flambeau.tensor(image, requires_grad=True)
        F.max_pool2d(x, 2).backward(flambeau.tensor(factors))
        flambeau.engine.set_tier(before)
        reference = oracle.tensor(image, requires_grad=True)
        oracle.nn.functional.max_pool2d(reference, 2).backward(oracle.tensor(factors))
        np.testing.assert_array_equal(x.grad.numpy(), reference.grad.numpy())


@pytest.mark.parametrize("block", [1, 100, 1 << 19])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [(3, {"stride": 2, "padding": 1}), ((3, 2), {"stride": (2, 3)}), (2, {}), (3, {"stride": 2, "dilation": 2})],
)
def test_max_pools_gradient_image_by_image_and_phase_by_phase(
    kernel, options: dict, last: bool, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(max_pool, "BLOCK", block)
    # Few different values: many windows have their maximum in several places.
    image = np.random.default_rng(2).integers(0, 4, (3, 2, 9, 8)).astype(np.float32)
    image[1, 1, 3:5, 2:4] = np.nan
    order = (3, 0, 1, 2) if last else (0, 1, 2, 3)
    found = []
    for library in (flambeau, oracle):
        x = library.tensor(image.transpose(np.argsort(order)).copy(), requires_grad=True)
        y = library.nn.functional.max_pool2d(x.permute(order), kernel, **options)
        y.backward(library.arange(1.0, 1.0 + y.numel()).reshape(y.shape))
        found.append(x.grad.numpy())
    np.testing.assert_array_equal(*found)


def test_min_pooling_is_max_pooling_of_the_negated_input() -> None:
    x = random(2, 3, 6, 6)
    expected = -oracle.nn.functional.max_pool2d(-oracle.tensor(x), 3, 2, 1)
    np.testing.assert_array_equal(F.min_pool2d(flambeau.tensor(x), 3, 2, 1).numpy(), expected.numpy())
    np.testing.assert_array_equal(flambeau.nn.MinPool2d(3, 2, 1)(flambeau.tensor(x)).numpy(), expected.numpy())
    values, indices = F.min_pool2d(flambeau.tensor(x), 2, return_indices=True)
    flat = x.reshape(2, 3, -1)
    assert (np.take_along_axis(flat, indices.numpy().reshape(2, 3, -1), 2).reshape(2, 3, 3, 3) == values.numpy()).all()
