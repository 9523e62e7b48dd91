"""Modules that PyTorch's own test database lacks, beside PyTorch's: results, gradients, state, prints, errors."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from both import alike, same

import flambeau


def array(*shape: int) -> np.ndarray:
    """Values that differ everywhere, between -3 and 3."""
    return (np.sin(np.arange(float(np.prod(shape))) * 1.7 + 0.3) * 3).astype("float32").reshape(shape)


def whole(*shape: int, below: int) -> np.ndarray:
    return (np.arange(int(np.prod(shape))) * 7 % below).reshape(shape)


def given(t: Any, value: Any) -> Any:
    """A tensor of an array, one to be differentiated if it can be; other arguments as they are."""
    if not isinstance(value, np.ndarray):
        return value
    tensor = t.tensor(value)
    return tensor.requires_grad_() if tensor.is_floating_point() else tensor


def flat(result: Any) -> list[Any]:
    return [result] if not isinstance(result, tuple) else [x for part in result for x in flat(part)]


def behaviour(t: Any, layer: Any, inputs: tuple[Any, ...], named: dict[str, Any] | None = None) -> list[Any]:
    """All that can be seen of one call: results, gradients of inputs and parameters, buffers."""
    tensors = [given(t, x) for x in inputs]
    results = flat(layer(*tensors, **{k: given(t, v) for k, v in (named or {}).items()}))
    total = None
    for i, result in enumerate(results):
        if result.requires_grad:
            factors = t.cos(t.arange(float(result.numel())) * 0.7 + i).reshape(result.shape).to(result.dtype)
            total = (result * factors).sum() + (0 if total is None else total)
    if total is not None:
        total.backward()
    grads = [x.grad for x in tensors if hasattr(x, "grad")]
    return [results, grads, [(n, p.grad) for n, p in layer.named_parameters()], list(layer.named_buffers())]


def whole_life(make: Callable[[Any], Any], *inputs: Any, **named: Any) -> Callable[[Any], Any]:
    """A module made, printed, called in training and in evaluation, in float64, copied, pickled."""

    def program(t: Any) -> Any:
        layer = make(t)
        print(layer, layer.extra_repr(), list(layer.state_dict()), layer.training)
        found = [behaviour(t, layer, inputs, named), layer.state_dict()]
        layer.zero_grad()
        found.append(behaviour(t, layer.eval(), inputs, named))
        copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
        print([str(c) for c in copies])
        tensors = [given(t, x) for x in inputs]
        extra = {k: given(t, v) for k, v in named.items()}
        found.append([flat(c(*tensors, **extra)) for c in copies])
        wide = [x.astype("float64") if isinstance(x, np.ndarray) and x.dtype == "float32" else x for x in inputs]
        found.append(behaviour(t, layer.double().train(), tuple(wide), named))
        return found

    return program


def one_call(make: Callable[[Any], Any], *inputs: Any) -> Callable[[Any], Any]:
    """A module made, and called in training and in evaluation."""

    def program(t: Any) -> Any:
        layer = make(t)
        found = behaviour(t, layer, inputs)
        layer.zero_grad()
        return found, behaviour(t, layer.eval(), inputs)

    return program


def distance(t: Any) -> Callable[..., Any]:
    # A class, since a local function cannot be pickled.
    return t.nn.PairwiseDistance(p=1.0)


MODULES: dict[str, tuple[Any, ...]] = {
    "AdaptiveLogSoftmaxWithLoss": (
        lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 7], div_value=2.0),
        array(5, 6),
        np.array([0, 4, 11, 7, 2]),
    ),
    "AdaptiveLogSoftmaxWithLoss with head_bias": (
        lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [5], head_bias=True),
        array(6),
        np.array(8),
    ),
    "ChannelShuffle": (lambda t: t.nn.ChannelShuffle(3), array(2, 6, 2, 3)),
    "ChannelShuffle of one dimension": (lambda t: t.nn.ChannelShuffle(2), array(1, 4, 5)),
    "CosineSimilarity": (lambda t: t.nn.CosineSimilarity(), array(3, 4), array(4, 3).T.copy()),
    "CosineSimilarity broadcast": (lambda t: t.nn.CosineSimilarity(dim=-1, eps=1e-3), array(3, 1, 4), array(2, 4)),
    "CosineSimilarity of zeros": (lambda t: t.nn.CosineSimilarity(dim=0), np.zeros((3, 2), "float32"), array(3, 2)),
    "Dropout p=0": (lambda t: t.nn.Dropout(0.0), array(3, 4)),
    "Dropout p=1": (lambda t: t.nn.Dropout(1.0), array(3, 4)),
    "Dropout1d p=0": (lambda t: t.nn.Dropout1d(0.0), array(3, 4, 2)),
    "Dropout1d p=1": (lambda t: t.nn.Dropout1d(1.0), array(4, 2)),
    "Dropout2d p=0": (lambda t: t.nn.Dropout2d(0.0), array(3, 4, 2, 2)),
    "Dropout2d p=1": (lambda t: t.nn.Dropout2d(1.0), array(4, 2, 2)),
    "Dropout3d p=0": (lambda t: t.nn.Dropout3d(0.0), array(3, 4, 2, 2, 1)),
    "Dropout3d p=1": (lambda t: t.nn.Dropout3d(1.0), array(4, 2, 2, 3)),
    "AlphaDropout p=0": (lambda t: t.nn.AlphaDropout(0.0), array(3, 4)),
    "AlphaDropout p=1": (lambda t: t.nn.AlphaDropout(1.0), array(3, 4)),
    "FeatureAlphaDropout p=0": (lambda t: t.nn.FeatureAlphaDropout(0.0), array(3, 4, 2)),
    "FeatureAlphaDropout p=1": (lambda t: t.nn.FeatureAlphaDropout(1.0), array(3, 4, 2)),
    "EmbeddingBag": (lambda t: t.nn.EmbeddingBag(7, 3), whole(2, 4, below=7)),
    "EmbeddingBag sum weighted": (
        lambda t: t.nn.EmbeddingBag(7, 3, mode="sum", padding_idx=1),
        whole(9, below=7),
        np.array([0, 4, 4]),
        array(9),
    ),
    "EmbeddingBag max": (lambda t: t.nn.EmbeddingBag(7, 3, mode="max"), whole(9, below=7), np.array([0, 2, 8])),
    "EmbeddingBag with last offset": (
        lambda t: t.nn.EmbeddingBag(7, 3, include_last_offset=True, scale_grad_by_freq=True),
        whole(9, below=7),
        np.array([0, 2, 9]),
    ),
    "EmbeddingBag with bounded norms": (lambda t: t.nn.EmbeddingBag(7, 3, max_norm=0.5), whole(2, 4, below=7)),
    "EmbeddingBag from a table": (
        lambda t: t.nn.EmbeddingBag.from_pretrained(t.tensor(array(5, 2)), freeze=False, mode="sum"),
        whole(3, 2, below=5),
    ),
    "EmbeddingBag of int32": (
        lambda t: t.nn.EmbeddingBag(7, 3),
        whole(9, below=7).astype("int32"),
        np.array([0, 4, 4], "int32"),
    ),
    "Flatten": (lambda t: t.nn.Flatten(), array(2, 3, 4)),
    "Flatten some": (lambda t: t.nn.Flatten(-3, 2), array(2, 3, 4, 2)),
    "Flatten one": (lambda t: t.nn.Flatten(0), array(3)),
    "Unflatten": (lambda t: t.nn.Unflatten(1, (2, -1)), array(2, 6, 3)),
    "Unflatten the last": (lambda t: t.nn.Unflatten(-1, t.Size([3, 2])), array(2, 6)),
    "Fold": (lambda t: t.nn.Fold((4, 5), (2, 3)), array(2, 12, 9)),
    "Fold with everything": (
        lambda t: t.nn.Fold((5, 6), (2, 2), dilation=(2, 1), padding=(1, 2), stride=(2, 3)),
        array(1, 8, 9),
    ),
    "Fold of one image": (lambda t: t.nn.Fold(4, 2, stride=2), array(4, 4)),
    "Unfold": (lambda t: t.nn.Unfold((2, 3)), array(2, 3, 4, 5)),
    "Unfold with everything": (lambda t: t.nn.Unfold(2, dilation=(2, 1), padding=1, stride=(2, 3)), array(1, 2, 5, 6)),
    "Unfold of one image": (lambda t: t.nn.Unfold(2), array(2, 3, 3)),
    "Hardsigmoid": (lambda t: t.nn.Hardsigmoid(), array(3, 5) * 2),
    "Hardsigmoid in place": (lambda t: t.nn.Sequential(t.nn.Linear(5, 3), t.nn.Hardsigmoid(inplace=True)), array(3, 5)),
    "Identity": (lambda t: t.nn.Identity(3, anything=4), array(3, 2)),
    "LazyBatchNorm1d": (lambda t: t.nn.LazyBatchNorm1d(momentum=0.3), array(4, 3)),
    "LazyBatchNorm2d": (lambda t: t.nn.LazyBatchNorm2d(affine=False), array(2, 3, 2, 2)),
    "LazyBatchNorm3d": (lambda t: t.nn.LazyBatchNorm3d(track_running_stats=False), array(2, 3, 2, 2, 2)),
    "LazyInstanceNorm1d": (lambda t: t.nn.LazyInstanceNorm1d(affine=True), array(4, 3, 5)),
    "LazyInstanceNorm2d": (lambda t: t.nn.LazyInstanceNorm2d(track_running_stats=True), array(2, 3, 2, 2)),
    "LazyInstanceNorm3d": (lambda t: t.nn.LazyInstanceNorm3d(), array(2, 3, 2, 2, 2)),
    "LazyLinear": (lambda t: t.nn.LazyLinear(3), array(2, 5)),
    "LazyLinear without bias": (lambda t: t.nn.LazyLinear(3, bias=False), array(4, 2, 5)),
    "LazyConv1d": (lambda t: t.nn.LazyConv1d(4, 2), array(2, 3, 5)),
    "LazyConv2d": (
        lambda t: t.nn.LazyConv2d(4, (2, 1), bias=False, padding_mode="circular", padding=1),
        array(3, 4, 5),
    ),
    "LazyConv3d": (lambda t: t.nn.LazyConv3d(3, 2, stride=2, groups=3), array(1, 3, 4, 4, 4)),
    "LazyConvTranspose1d": (lambda t: t.nn.LazyConvTranspose1d(4, 2), array(2, 3, 5)),
    "LazyConvTranspose2d": (lambda t: t.nn.LazyConvTranspose2d(4, 2, stride=2, output_padding=1), array(1, 3, 4, 5)),
    "LazyConvTranspose3d": (lambda t: t.nn.LazyConvTranspose3d(2, 2), array(1, 3, 2, 2, 2)),
    "NLLLoss2d": (lambda t: t.nn.NLLLoss2d(), array(2, 3, 2, 2), whole(2, 2, 2, below=3)),
    "PairwiseDistance": (lambda t: t.nn.PairwiseDistance(), array(3, 4), array(4, 3).T.copy()),
    "PairwiseDistance p=1": (lambda t: t.nn.PairwiseDistance(1.0, keepdim=True), array(3, 4), -array(1, 4)),
    "PairwiseDistance p=inf": (lambda t: t.nn.PairwiseDistance(float("inf"), eps=0.0), array(4), array(3, 4)),
    "PixelShuffle": (lambda t: t.nn.PixelShuffle(2), array(2, 8, 2, 3)),
    "PixelShuffle of one image": (lambda t: t.nn.PixelShuffle(3), array(9, 2, 3)),
    "PixelUnshuffle": (lambda t: t.nn.PixelUnshuffle(2), array(2, 3, 4, 6)),
    "PixelUnshuffle of more dimensions": (lambda t: t.nn.PixelUnshuffle(2), array(2, 2, 3, 4, 2)),
    "RReLU without range": (lambda t: t.nn.RReLU(0.2, 0.2), array(3, 4)),
    "Sequential": (lambda t: t.nn.Sequential(t.nn.Linear(3, 4), t.nn.Tanh(), t.nn.Linear(4, 1)), array(2, 3)),
    "TransformerDecoder": (
        lambda t: t.nn.TransformerDecoder(
            t.nn.TransformerDecoderLayer(4, 2, 5, dropout=0.0, batch_first=True), 2, norm=t.nn.LayerNorm(4)
        ),
        array(2, 3, 4),
        array(2, 5, 4),
    ),
    "TripletMarginLoss": (lambda t: t.nn.TripletMarginLoss(), array(3, 4), -array(3, 4), array(4, 3).T.copy()),
    "TripletMarginLoss swapped": (
        lambda t: t.nn.TripletMarginLoss(margin=2.0, p=1.0, swap=True, reduction="none"),
        array(3, 4),
        -array(3, 4),
        array(4, 3).T.copy(),
    ),
    "TripletMarginWithDistanceLoss": (
        lambda t: t.nn.TripletMarginWithDistanceLoss(),
        array(3, 4),
        -array(3, 4),
        array(4, 3).T.copy(),
    ),
    "TripletMarginWithDistanceLoss of another distance": (
        lambda t: t.nn.TripletMarginWithDistanceLoss(
            distance_function=distance(t), margin=3.0, swap=True, reduction="sum"
        ),
        array(3, 4),
        -array(3, 4),
        array(4, 3).T.copy(),
    ),
    "Upsample nearest": (lambda t: t.nn.Upsample(scale_factor=2), array(1, 2, 3)),
    "Upsample nearest to a size": (lambda t: t.nn.Upsample(size=(5, 3)), array(1, 2, 3, 4)),
    "Upsample nearest-exact": (
        lambda t: t.nn.Upsample(scale_factor=(1.5, 2.0), mode="nearest-exact"),
        array(1, 2, 3, 4),
    ),
    "Upsample linear": (lambda t: t.nn.Upsample(size=7, mode="linear"), array(2, 2, 4)),
    "Upsample bilinear": (
        lambda t: t.nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=True),
        array(1, 2, 3, 4),
    ),
    "Upsample bicubic": (
        lambda t: t.nn.Upsample(scale_factor=1.7, mode="bicubic", recompute_scale_factor=True),
        array(1, 2, 3, 4),
    ),
    "Upsample trilinear": (lambda t: t.nn.Upsample(size=(3, 4, 5), mode="trilinear"), array(1, 2, 2, 3, 4)),
    "UpsamplingNearest2d": (lambda t: t.nn.UpsamplingNearest2d(scale_factor=2), array(1, 2, 3, 4)),
    "UpsamplingNearest2d to a size": (lambda t: t.nn.UpsamplingNearest2d(size=5), array(1, 2, 3, 4)),
    "UpsamplingBilinear2d": (lambda t: t.nn.UpsamplingBilinear2d(scale_factor=2), array(1, 2, 3, 4)),
    "UpsamplingBilinear2d to a size": (lambda t: t.nn.UpsamplingBilinear2d(size=(5, 2)), array(1, 2, 3, 4)),
}


@pytest.mark.parametrize("case", MODULES)
def test_modules(case: str) -> None:
    make, *inputs = MODULES[case]
    same(whole_life(make, *inputs), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("tier", ["compiled"], indirect=True)
@pytest.mark.parametrize("case", [case for case in MODULES if " " not in case])
def test_compiled_modules(case: str, tier: str) -> None:
    make, *inputs = MODULES[case]
    same(one_call(make, *inputs), rtol=1e-5, atol=2e-6)


# ---------------------------------------------------------------- printed forms, arguments, errors

SMALL = [
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, []),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 3]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [7, 3]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 12]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [0, 3]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [2.5]),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3])(t.ones(2, 6), t.tensor([1])),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3])(t.ones(2, 6), t.tensor([1, 12])),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3])(t.ones(2, 6), t.tensor([1, -1])),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3])(t.ones(6), t.tensor([1])),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3])(t.ones(2, 6), t.tensor([[1, 2]])),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3])(t.ones(2, 5), t.tensor([1, 2])),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 5]).log_prob(t.ones(2, 6)),
    lambda t: t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 5]).predict(t.randn(4, 6)),
    lambda t: str(t.nn.AdaptiveLogSoftmaxWithLoss(6, 12, [3, 5])),
    lambda t: t.nn.ChannelShuffle(3)(t.ones(2, 4, 2)),
    lambda t: t.nn.ChannelShuffle(0)(t.ones(2, 4, 2)),
    lambda t: t.nn.ChannelShuffle(2)(t.ones(4, 2)),
    lambda t: t.nn.CosineSimilarity()(t.ones(2, 3), t.ones(2, 4)),
    lambda t: t.nn.CosineSimilarity(dim=5)(t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.nn.CosineSimilarity()(t.ones(2, 3).long(), t.ones(2, 3).long()),
    lambda t: str(t.nn.CosineSimilarity(1, 2)),
    lambda t: t.nn.Dropout1d()(t.ones(3)),
    lambda t: t.nn.Dropout1d()(t.ones(3, 4, 5, 6)),
    lambda t: t.nn.Dropout2d(0.0)(t.ones(3)),
    lambda t: t.nn.Dropout2d(0.0)(t.ones(3, 4)),
    lambda t: t.nn.Dropout2d(0.0)(t.ones(3, 4, 2)),
    lambda t: t.nn.Dropout2d(0.0)(t.ones(3, 4, 2, 1, 1)),
    lambda t: t.nn.Dropout3d(0.0)(t.ones(3)),
    lambda t: t.nn.Dropout3d(0.0)(t.ones(3, 4, 2)),
    lambda t: t.nn.Dropout3d(0.0)(t.ones(3, 4, 2, 1, 1, 1)),
    lambda t: t.nn.Dropout(1.5),
    lambda t: t.nn.Dropout(-0.1),
    lambda t: t.nn.AlphaDropout(2),
    lambda t: t.nn.FeatureAlphaDropout(2),
    lambda t: t.nn.Dropout("a"),
    lambda t: t.nn.AlphaDropout(0.0)(t.ones(3)),
    lambda t: t.nn.FeatureAlphaDropout(0.5)(t.ones(3)),
    lambda t: t.nn.FeatureAlphaDropout(0.5).eval()(t.ones(3)),
    lambda t: t.nn.functional.dropout(t.ones(2), -0.5),
    lambda t: t.nn.functional.alpha_dropout(t.ones(2), -0.5),
    lambda t: t.nn.functional.feature_alpha_dropout(t.ones(2), 5),
    lambda t: t.nn.functional.dropout1d(t.ones(2, 2), 5),
    lambda t: t.nn.functional.dropout2d(t.ones(2, 2, 2, 2), 5),
    lambda t: t.nn.functional.dropout3d(t.ones(2, 2, 2, 2), 5),
    lambda t: t.alpha_dropout(t.ones(2), 0.0, True),
    lambda t: t.feature_dropout(t.ones(2), 0.5, True),
    lambda t: t.feature_dropout(t.ones(2, 2), 0.0, True),
    lambda t: t.feature_alpha_dropout(t.ones(2), 0.5, True),
    lambda t: t.nn.Dropout(0.5)(t.ones(2).long()),
    lambda t: t.nn.Dropout(0.5).eval()(t.ones(2).long()),
    lambda t: t.nn.Dropout(0.0)(t.ones(2).long()),
    lambda t: t.nn.AlphaDropout(0.5)(t.ones(2).long()),
    lambda t: t.nn.Dropout(1.0)(t.ones(2).long()),
    lambda t: t.nn.Dropout(0.5, inplace=True)(t.ones(2, requires_grad=True)),
    lambda t: t.nn.Dropout2d(0.5, inplace=True)(t.ones(2, 2, 2, 2, requires_grad=True)),
    lambda t: t.nn.Dropout(1.0, inplace=True)(t.ones(2)),
    lambda t: t.dropout(t.ones(3), p=0.0, train=True),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([[1, 2]]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2]), t.tensor([[0]])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2]), t.tensor([1])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2]), t.tensor([0, 3])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 5]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1.0, 2]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2]), t.tensor([0.0])),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2]), t.tensor([0], dtype=t.int32)),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor([1, 2]), t.tensor([0]), t.ones(2)),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="sum")(t.tensor([1, 2]), t.tensor([0]), t.ones(3)),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="sum")(t.tensor([1, 2]), t.tensor([0]), t.ones(2).double()),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="what"),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="what")(t.tensor([1, 2]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="max", scale_grad_by_freq=True)(t.tensor([1, 2]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="max", sparse=True)(t.tensor([1, 2]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2, include_last_offset=True)(t.tensor([1, 2]), t.tensor([0])),
    lambda t: t.nn.EmbeddingBag(3, 2, include_last_offset=True)(t.tensor([1, 2]), t.tensor([], dtype=t.long)),
    lambda t: t.nn.EmbeddingBag(3, 2, padding_idx=3),
    lambda t: t.nn.EmbeddingBag(3, 2, padding_idx=-4),
    lambda t: t.nn.EmbeddingBag(3, 2, padding_idx=-1).padding_idx,
    lambda t: t.nn.EmbeddingBag(3, 2, _weight=t.ones(2, 2)),
    lambda t: t.nn.EmbeddingBag.from_pretrained(t.ones(3)),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.tensor(1)),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.ones(1, 1, 1).long()),
    lambda t: str(t.nn.EmbeddingBag(3, 2, 1.0, 3, True, "sum", True, None, True, 1)),
    lambda t: str(t.nn.Embedding(3, 2, 1, 1.0, 3, True, True)),
    lambda t: t.nn.Embedding(3, 2, _weight=t.ones(2, 2)),
    lambda t: t.nn.Embedding(3, 2)(t.ones(1)),
    lambda t: t.nn.Embedding(-3, 2),
    lambda t: t.nn.EmbeddingBag(3, 2)(t.zeros(0, dtype=t.long), t.tensor([0, 0])),
    lambda t: t.nn.EmbeddingBag(3, 2, mode="max")(t.zeros(0, dtype=t.long), t.tensor([0, 0])),
    lambda t: t.nn.Flatten(1, 5)(t.ones(2, 3)),
    lambda t: t.nn.Flatten(2, 1)(t.ones(2, 3, 4)),
    lambda t: t.nn.Flatten()(t.ones(2)),
    lambda t: t.nn.Flatten()(t.tensor(1.0)),
    lambda t: t.nn.Flatten(0)(t.tensor(1.0)),
    lambda t: str(t.nn.Flatten(2, 3)),
    lambda t: t.nn.Unflatten(1, (2, 2))(t.ones(2, 3)),
    lambda t: t.nn.Unflatten(1, 3),
    lambda t: t.nn.Unflatten("a", (2,)),
    lambda t: t.nn.Unflatten(1, (2, "a")),
    lambda t: t.nn.Unflatten(1.5, (2,)),
    lambda t: t.nn.Unflatten(1, [2, 2])(t.ones(2, 4)),
    lambda t: t.nn.Unflatten(5, (2,))(t.ones(2, 3)),
    lambda t: t.nn.Unflatten(1, ())(t.ones(2, 3)),
    lambda t: t.nn.Unflatten(1, (-1, -1))(t.ones(2, 3)),
    lambda t: str(t.nn.Unflatten(1, (2, 2))),
    lambda t: t.nn.Unflatten(1, t.tensor([2])),
    lambda t: t.nn.Unflatten(0, (2, -2))(t.ones(4)),
    lambda t: t.nn.Unflatten("C", (("A", 2), ("B", 2))),
    lambda t: t.nn.Unflatten("C", (2, 2)),
    lambda t: t.nn.Unflatten(1, (("A", 2), ("B", 2))),
    lambda t: t.nn.Fold((4, 5), (2, 3))(t.ones(2, 11, 9)),
    lambda t: t.nn.Fold((4, 5), (2, 3))(t.ones(2, 12, 8)),
    lambda t: t.nn.Fold((4, 5), (2, 3))(t.ones(2, 3, 12, 9)),
    lambda t: t.nn.Fold((1, 1), (2, 3))(t.ones(2, 12, 9)),
    lambda t: t.nn.Fold((4, 5), (2, 3), stride=0)(t.ones(2, 12, 9)),
    lambda t: t.nn.Fold((4, 5), (2, 3), padding=-1)(t.ones(2, 12, 9)),
    lambda t: t.nn.Fold((4, 5), (2, 3), dilation=0)(t.ones(2, 12, 9)),
    lambda t: t.nn.Fold((4, 5), (0, 3))(t.ones(2, 12, 9)),
    lambda t: str(t.nn.Fold((4, 5), (2, 3), 1, 2, 3)),
    lambda t: t.nn.Fold((4, 5, 6), (2, 3))(t.ones(2, 12, 9)),
    lambda t: t.nn.Fold(2, 2)(t.ones(0, 4, 1)),
    lambda t: t.nn.Fold(2, 2)(t.ones(1, 4, 1).long()),
    lambda t: t.nn.Unfold(3)(t.ones(1, 2, 2, 2)),
    lambda t: t.nn.Unfold(3, stride=0)(t.ones(1, 2, 4, 4)),
    lambda t: t.nn.Unfold(0)(t.ones(1, 2, 4, 4)),
    lambda t: t.nn.Unfold(2, padding=-1)(t.ones(1, 2, 4, 4)),
    lambda t: t.nn.Unfold(2, dilation=0)(t.ones(1, 2, 4, 4)),
    lambda t: str(t.nn.Unfold(2, 1, 2, (1, 2))),
    lambda t: t.nn.Unfold((2, 2, 2))(t.ones(1, 2, 4, 4)),
    lambda t: t.nn.Unfold(2)(t.ones(0, 2, 4, 4)),
    lambda t: t.nn.Unfold(2)(t.ones(1, 0, 4, 4)),
    lambda t: t.nn.Unfold(2)(t.ones(1, 1, 4, 4).long()),
    lambda t: t.nn.Hardsigmoid()(t.ones(2).long()),
    lambda t: str(t.nn.Hardsigmoid(True)),
    lambda t: t.nn.Identity()(),
    lambda t: t.nn.Identity()(1, 2),
    lambda t: str(t.nn.Identity(5)),
    lambda t: t.nn.MaxUnpool1d(2)(t.ones(1, 1, 2), t.tensor([[[0, 9]]])),
    lambda t: t.nn.MaxUnpool1d(2)(t.ones(1, 1, 2), t.tensor([[0, 1]])),
    lambda t: t.nn.MaxUnpool1d(2)(t.ones(2), t.tensor([0, 1])),
    lambda t: t.nn.MaxUnpool2d(2)(t.ones(1, 2, 2), t.zeros(1, 2, 3).long()),
    lambda t: t.nn.MaxUnpool2d(2)(t.ones(1, 2, 2), t.zeros(1, 2, 2)),
    lambda t: t.nn.MaxUnpool2d(2)(t.ones(1, 1, 2, 2), t.zeros(1, 1, 2, 2).long(), output_size=(9, 9)),
    lambda t: t.nn.MaxUnpool2d(2)(t.ones(1, 1, 2, 2), t.zeros(1, 1, 2, 2).long(), output_size=(5,)),
    lambda t: t.nn.MaxUnpool3d(2)(t.ones(1, 2, 2), t.zeros(1, 2, 2).long()),
    lambda t: str(t.nn.MaxUnpool1d(2, 3, 1)),
    lambda t: str(t.nn.MaxUnpool2d((2, 3))),
    lambda t: str(t.nn.MaxUnpool3d(2, padding=1)),
    lambda t: t.nn.PairwiseDistance()(t.ones(2, 3), t.ones(2, 4)),
    lambda t: str(t.nn.PairwiseDistance(1.0)),
    lambda t: t.nn.PairwiseDistance(0.0)(t.ones(2, 3), t.zeros(2, 3)),
    lambda t: t.nn.PairwiseDistance(-1.0)(t.ones(2, 3), t.zeros(2, 3)),
    lambda t: t.nn.PixelShuffle(2)(t.ones(1, 6, 2, 2)),
    lambda t: t.nn.PixelShuffle(0)(t.ones(1, 6, 2, 2)),
    lambda t: t.nn.PixelShuffle(2)(t.ones(4, 2)),
    lambda t: str(t.nn.PixelShuffle(2)),
    lambda t: t.nn.PixelShuffle(-2)(t.ones(1, 4, 2, 2)),
    lambda t: t.nn.PixelUnshuffle(2)(t.ones(1, 6, 3, 2)),
    lambda t: t.nn.PixelUnshuffle(2)(t.ones(1, 6, 2, 3)),
    lambda t: t.nn.PixelUnshuffle(0)(t.ones(1, 6, 2, 2)),
    lambda t: t.nn.PixelUnshuffle(2)(t.ones(4, 2)),
    lambda t: str(t.nn.PixelUnshuffle(2)),
    lambda t: t.nn.RReLU(0.5, 0.1),
    lambda t: t.nn.RReLU(0.5, 0.1)(t.ones(2)),
    lambda t: str(t.nn.RReLU(0.1, 0.3, True)),
    lambda t: t.nn.RReLU()(t.ones(2).long()),
    lambda t: t.nn.RReLU().eval()(-t.ones(2)),
    lambda t: t.nn.RReLU(0.0, 1.0).eval()(-t.ones(2).double()),
    lambda t: t.nn.RNNBase("what", 2, 3),
    lambda t: str(t.nn.RNNBase("LSTM", 2, 3)),
    lambda t: t.nn.RNNCellBase(2, 3, True, 4),
    lambda t: str(t.nn.RNNCellBase(2, 3, True, 4)),
    lambda t: list(t.nn.RNNCellBase(2, 3, False, 4).state_dict()),
    lambda t: t.nn.TransformerDecoder(t.nn.TransformerDecoderLayer(4, 2, 5, dropout=0.0), 2)(
        t.ones(2, 3, 4), t.ones(2, 3, 5)
    ),
    lambda t: t.nn.TransformerDecoder(3, 2),
    lambda t: str(t.nn.TransformerDecoder(t.nn.TransformerDecoderLayer(4, 2, 5), 2)),
    lambda t: t.nn.TripletMarginLoss(margin=-1),
    lambda t: t.nn.TripletMarginLoss(margin=0),
    lambda t: str(t.nn.TripletMarginLoss()),
    lambda t: t.nn.TripletMarginLoss(reduction="what")(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.nn.TripletMarginLoss()(t.ones(2, 3), t.ones(3), t.ones(2, 3)),
    lambda t: t.nn.TripletMarginLoss()(t.ones(2, 3), t.ones(2, 4), t.ones(2, 3)),
    lambda t: t.nn.TripletMarginWithDistanceLoss(margin=-1),
    lambda t: t.nn.TripletMarginWithDistanceLoss(margin=0),
    lambda t: t.nn.TripletMarginWithDistanceLoss(reduction="what")(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3)),
    lambda t: t.nn.TripletMarginWithDistanceLoss()(t.ones(2, 3), t.ones(3), t.ones(2, 3)),
    lambda t: t.nn.TripletMarginWithDistanceLoss()(t.ones(2, 3), t.ones(2, 4), t.ones(2, 3)),
    lambda t: str(t.nn.TripletMarginWithDistanceLoss(distance_function=t.nn.functional.pairwise_distance)),
    lambda t: t.nn.TripletMarginWithDistanceLoss(t.nn.PairwiseDistance()),
    lambda t: t.nn.functional.triplet_margin_with_distance_loss(t.ones(2, 3), t.ones(2, 3), t.ones(2, 3), margin=0),
    lambda t: t.nn.functional.affine_grid(t.eye(2, 3).unsqueeze(0), [1, 1, 2, 1], True),
    lambda t: t.nn.functional.affine_grid(t.eye(2, 3).unsqueeze(0), [1, 1, 2, 2]),
    lambda t: t.affine_grid_generator(t.eye(2, 3).unsqueeze(0), [1, 1, 2, 1], True),
    lambda t: t.nn.Upsample()(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=3, scale_factor=2)(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=3, mode="what")(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=3, mode="bilinear")(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=3, mode="nearest", align_corners=True)(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=(3, 3))(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(scale_factor=(3.0, 3.0))(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(scale_factor=2)(t.ones(1, 2)),
    lambda t: t.nn.Upsample(size=3, mode="trilinear")(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=3, mode="bicubic")(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=3, mode="linear")(t.ones(1, 1, 2, 2)),
    lambda t: t.nn.Upsample(size=3, recompute_scale_factor=True)(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(size=0)(t.ones(1, 1, 2)),
    lambda t: str(t.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
    lambda t: str(t.nn.Upsample(size=3)),
    lambda t: str(t.nn.Upsample(size=(3, 4))),
    lambda t: str(t.nn.Upsample(scale_factor=(1, 2))),
    lambda t: t.nn.Upsample(scale_factor=2)(t.ones(1, 1, 2).long()),
    lambda t: t.nn.Upsample(scale_factor="a"),
    lambda t: str(t.nn.UpsamplingNearest2d(2)),
    lambda t: str(t.nn.UpsamplingBilinear2d(scale_factor=2)),
    lambda t: t.nn.UpsamplingBilinear2d(scale_factor=2)(t.ones(1, 1, 2)),
    lambda t: t.nn.Upsample(scale_factor=2).scale_factor,
    lambda t: t.nn.Upsample(scale_factor=(1, 2)).scale_factor,
    lambda t: t.nn.SyncBatchNorm(3)(t.ones(2, 3, 4)),
    lambda t: t.nn.SyncBatchNorm(3)(t.ones(2)),
    lambda t: t.nn.SyncBatchNorm(3)(t.ones(2, 4, 4)),
    lambda t: str(t.nn.SyncBatchNorm(3, momentum=None)),
    lambda t: str(
        t.nn.SyncBatchNorm.convert_sync_batchnorm(
            t.nn.Sequential(t.nn.BatchNorm1d(2), t.nn.Linear(1, 2), t.nn.BatchNorm3d(4, affine=False))
        )
    ),
    lambda t: t.nn.SyncBatchNorm(3).eval()(t.ones(2)),
    lambda t: t.nn.SyncBatchNorm(3).eval()(t.ones(2, 4, 4)),
    lambda t: t.nn.CrossMapLRN2d(3)(t.ones(2, 3)),
    lambda t: str(t.nn.CrossMapLRN2d(3)),
    lambda t: t.nn.LazyBatchNorm1d()(t.ones(2, 3, 4, 5)),
    lambda t: t.nn.LazyBatchNorm2d()(t.ones(2, 3)),
    lambda t: t.nn.LazyBatchNorm3d()(t.ones(2, 3)),
    lambda t: t.nn.LazyInstanceNorm1d()(t.ones(2)),
    lambda t: t.nn.LazyInstanceNorm2d()(t.ones(2)),
    lambda t: t.nn.LazyInstanceNorm3d()(t.ones(2, 3, 4)),
    lambda t: t.nn.LazyConv1d(2, 3)(t.ones(1)),
    lambda t: t.nn.LazyConv2d(2, 3)(t.ones(1, 2)),
    lambda t: t.nn.LazyConv3d(3, 2, groups=2),
    lambda t: t.nn.LazyConv2d(4, 1, groups=2)(t.ones(1, 3, 2, 2)),
    lambda t: t.nn.LazyConvTranspose2d(4, 1, groups=2)(t.ones(1, 3, 2, 2)),
    lambda t: t.nn.LazyLinear(3)(t.tensor(1.0)),
    lambda t: t.nn.LazyLinear(3)(),
    lambda t: t.nn.NLLLoss2d(reduction="a")(t.ones(2, 3, 2, 2), t.ones(2, 2, 2).long()),
]


@pytest.mark.parametrize("program", SMALL)
def test_printed_forms_arguments_and_errors(program: Callable[[Any], Any]) -> None:
    alike(program)


# ---------------------------------------------------------------- dropout, whose masks are its own


def shares(y: Any) -> tuple[float, set[float]]:
    """The share of zeros, and the values."""
    return float((y == 0).float().mean()), set(y.flatten().tolist())


DROPOUTS = {
    "Dropout": ((300, 100), 1),
    "Dropout1d": ((300, 100, 3), 3),
    "Dropout2d": ((300, 100, 2, 2), 4),
    "Dropout3d": ((300, 100, 2, 1, 3), 6),
}


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", DROPOUTS)
def test_dropout_leaves_out_its_share_in_whole_channels(kind: str, p: float, tier: str) -> None:
    shape, size = DROPOUTS[kind]
    x = flambeau.ones(shape).requires_grad_()
    y = getattr(flambeau.nn, kind)(p)(x)
    share, values = shares(y)
    assert abs(share - p) < 0.02
    assert values == {0.0, float(np.float32(1 / (1 - p)))}
    channels = y.reshape(-1, size)
    assert bool((channels == channels[:, :1]).all())
    (y * 3).sum().backward()
    assert flambeau.equal(x.grad, y.detach() * 3)


@pytest.mark.parametrize(
    ("kind", "shape", "size"), [("AlphaDropout", (300, 100), 1), ("FeatureAlphaDropout", (300, 100, 3), 3)]
)
def test_alpha_dropout_keeps_mean_and_variance_in_whole_channels(kind: str, shape: Any, size: int, tier: str) -> None:
    p = 0.3
    flambeau.manual_seed(0)
    x = flambeau.randn(shape).requires_grad_()
    y = getattr(flambeau.nn, kind)(p)(x)
    assert abs(float(y.mean())) < 0.03
    assert abs(float(y.var()) - 1) < 0.03
    # Elements left out have one value, and no gradient.
    y.sum().backward()
    out = x.grad.reshape(-1, size) == 0
    assert abs(float(out.float().mean()) - p) < 0.02
    assert bool((out == out[:, :1]).all())
    assert len(set(y.reshape(-1, size)[out].tolist())) == 1


@pytest.mark.parametrize("kind", [*DROPOUTS, "AlphaDropout", "FeatureAlphaDropout"])
def test_dropout_in_evaluation_and_in_place(kind: str) -> None:
    layer = getattr(flambeau.nn, kind)(0.5, inplace=True)
    x = flambeau.ones(4, 3, 2, 2, 2) if kind == "Dropout3d" else flambeau.ones(4, 3, 2, 2)
    x = x[..., 0] if kind == "Dropout1d" else x
    before = x.clone()
    assert layer.eval()(x) is x
    assert flambeau.equal(x, before)
    y = layer.train()(x)
    # PyTorch's alpha dropout takes no notice of it.
    assert (y is x) is (kind in DROPOUTS)
    assert flambeau.equal(x, before) is (kind not in DROPOUTS)


def test_dropout_of_one_image() -> None:
    for kind, shape in (("Dropout1d", (500, 4)), ("Dropout3d", (500, 2, 1, 2))):
        y = getattr(flambeau.nn, kind)(0.5)(flambeau.ones(shape)).reshape(500, 4)
        assert bool((y == y[:, :1]).all())
        assert abs(float((y == 0).float().mean()) - 0.5) < 0.1
