"""Recurrent, attention and normalization layers against PyTorch over random configurations, in float32.

Results, buffers and all gradients agree to 1e-5 of the largest value (or of one); where PyTorch's own result in
float32 is further than that from its result in float64, to twice that distance.  ``make test`` draws a few
configurations of each layer for the interpreter; ``make properties`` draws a hundred for each tier.

Dropout is compared where it does nothing: its masks differ on purpose.  ``SyncBatchNorm`` is compared in one process.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pytest
import torch as oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flambeau

EXAMPLES = int(os.environ.get("FLAMBEAU_EXAMPLES", "4"))
# Compiling costs a second for each: too long for every test run.
COMPILED = EXAMPLES if EXAMPLES > 25 else 0
TOLERANCE = 1e-5

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections",
    "ignore:enable_nested_tensor",
    "ignore:The PyTorch API of nested tensors",
    "ignore:Support for mismatched",
    "ignore:Mem Efficient attention",
)


# ---------------------------------------------------------------- one configuration on both libraries


class Problem:
    """A layer's class with its arguments, and a call of it.

    Attributes:
        kind, options: the class's name in ``nn``, and its arguments.
        arrays: the inputs; floating-point ones are differentiated.
        call: ``call(library, layer, tensors)``, the results.
        training: whether the layer is in training mode.
    """

    def __init__(self, kind, options, arrays, call=None, training=True):
        self.kind = kind
        self.options = options
        self.arrays = arrays
        self.call = call or (lambda library, layer, tensors: layer(*tensors))
        self.training = training

    def __repr__(self) -> str:
        shapes = [tuple(a.shape) for a in self.arrays]
        return f"{self.kind}({self.options}), inputs {shapes}, training={self.training}"

    def layer(self, library) -> Any:
        options = dict(self.options)
        if "activation" in options:
            options["activation"] = getattr(library.nn.functional, options["activation"])
        kind = self.kind
        if kind == "CrossMapLRN2d" and library is oracle:
            # PyTorch's own has a window of its own, see docs/differences.md; for odd sizes this is its formula.
            kind = "LocalResponseNorm"
        layer = getattr(library.nn, kind)(**options)
        return layer.train(self.training)


def flat(result) -> list[Any]:
    if result is None:
        return []
    if isinstance(result, flambeau.Tensor | oracle.Tensor):
        return [result]
    if isinstance(result, flambeau.nn.utils.rnn.PackedSequence | oracle.nn.utils.rnn.PackedSequence):
        return [result.data]
    return [x for part in result for x in flat(part)]


def weights_of(layer, seed) -> dict[str, np.ndarray]:
    """Random weights, so that no bias is zero and no factor one."""
    random = np.random.default_rng(seed)
    found = {}
    for name, value in layer.state_dict().items():
        if not value.is_floating_point():
            continue
        drawn = random.standard_normal(tuple(value.shape)).astype("float32") * 0.5
        found[name] = np.abs(drawn) + 0.5 if name.endswith("running_var") else drawn
    return found


def outcome(library, problem: Problem, weights, double: bool = False) -> dict[str, np.ndarray | None]:
    """Results, buffers and gradients by name."""
    layer = problem.layer(library)
    layer.load_state_dict({k: library.tensor(v) for k, v in weights.items()}, strict=False)
    tensors = [library.tensor(a) for a in problem.arrays]
    if double:
        layer.double()
        tensors = [t.double() if t.is_floating_point() else t for t in tensors]
    for t in tensors:
        if t.is_floating_point():
            t.requires_grad_(True)
    results = flat(problem.call(library, layer, tensors))
    total = 0
    for i, result in enumerate(results):
        # Factors that differ everywhere, so that no two errors cancel.
        factors = np.cos(np.arange(float(result.numel())) * 0.7 + i).astype("float32").reshape(tuple(result.shape))
        total = total + (result * library.tensor(factors)).sum()
    total.backward()
    named = {f"result {i}": r for i, r in enumerate(results)}
    named |= {f"gradient of input {i}": t.grad for i, t in enumerate(tensors) if t.is_floating_point()}
    named |= {f"gradient of {name}": p.grad for name, p in layer.named_parameters()}
    named |= {f"buffer {name}": b for name, b in layer.named_buffers()}
    return {name: None if t is None else t.detach().numpy() for name, t in named.items()}


def _error(found, expected) -> float:
    return float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))


def assert_agrees(problem: Problem, seed: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="SyncBatchNorm|dropout option|LSTM with proj|enable_nested")
        weights = weights_of(problem.layer(oracle), seed)
        theirs = outcome(oracle, problem, weights)
        ours = outcome(flambeau, problem, weights)
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        if expected is None:
            assert ours[name] is None or not ours[name].any(), name
            continue
        assert ours[name] is not None, name
        assert ours[name].dtype == expected.dtype, name
        assert ours[name].shape == expected.shape, name
        if not expected.size or _error(ours[name], expected) <= TOLERANCE:
            continue
        exact = outcome(oracle, problem, weights, double=True)[name]
        assert _error(ours[name], expected) <= 2 * _error(expected, exact), name


# ---------------------------------------------------------------- recurrent layers


def drawn_array(draw, *shape) -> np.ndarray:
    return np.random.default_rng(draw(st.integers(0, 2**20))).standard_normal(shape).astype("float32")


@st.composite
def recurrent(draw, kind):
    options: dict[str, Any] = {
        "input_size": draw(st.integers(1, 6)),
        "hidden_size": draw(st.integers(2, 6)),
        "num_layers": draw(st.integers(1, 2)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
    }
    if kind == "LSTM" and draw(st.booleans()):
        options["proj_size"] = draw(st.integers(1, options["hidden_size"] - 1))
    if kind == "RNN":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    training = draw(st.booleans())
    if not training and options["num_layers"] > 1:
        # In evaluation dropout does nothing.
        options["dropout"] = 0.5
    form = draw(st.sampled_from(["batch", "single", "packed"]))
    steps = draw(st.integers(1, 7))
    batch = draw(st.integers(1, 4))
    middle = () if form == "single" else (batch,)
    lead = (steps, *middle)
    if options["batch_first"] and form != "single":
        lead = (batch, steps)
    arrays = [drawn_array(draw, *lead, options["input_size"])]
    if draw(st.booleans()):
        count = options["num_layers"] * (2 if options["bidirectional"] else 1)
        hidden = options.get("proj_size") or options["hidden_size"]
        arrays.append(drawn_array(draw, count, *middle, hidden))
        if kind == "LSTM":
            arrays.append(drawn_array(draw, count, *middle, options["hidden_size"]))
    lengths = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
    lengths[draw(st.integers(0, batch - 1))] = steps

    def call(library, layer, tensors):
        x, *states = tensors
        hx = (tuple(states) if kind == "LSTM" else states[0]) if states else None
        if form != "packed":
            return layer(x, hx)
        tools = library.nn.utils.rnn
        packed = tools.pack_padded_sequence(x, lengths, options["batch_first"], enforce_sorted=False)
        y, final = layer(packed, hx)
        return tools.pad_packed_sequence(y, options["batch_first"])[0], final

    return Problem(kind, options, arrays, call, training)


@st.composite
def cell(draw, kind):
    options: dict[str, Any] = {
        "input_size": draw(st.integers(1, 6)),
        "hidden_size": draw(st.integers(1, 6)),
        "bias": draw(st.booleans()),
    }
    if kind == "RNNCell":
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    batch = draw(st.sampled_from([(), (1,), (4,)]))
    arrays = [drawn_array(draw, *batch, options["input_size"])]
    if draw(st.booleans()):
        arrays += [drawn_array(draw, *batch, options["hidden_size"]) for _ in range(2 if kind == "LSTMCell" else 1)]

    def call(library, layer, tensors):
        x, *states = tensors
        return layer(x, (tuple(states) if kind == "LSTMCell" else states[0]) if states else None)

    return Problem(kind, options, arrays, call)


# ---------------------------------------------------------------- attention layers


@st.composite
def multihead(draw, kind):
    heads = draw(st.integers(1, 3))
    embed = heads * draw(st.integers(1, 4))
    options: dict[str, Any] = {
        "embed_dim": embed,
        "num_heads": heads,
        "bias": draw(st.booleans()),
        "add_bias_kv": draw(st.booleans()),
        "add_zero_attn": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
    }
    inputs = draw(st.sampled_from(["same", "memory", "sizes"]))
    if inputs == "sizes":
        options["kdim"] = draw(st.integers(1, 5))
        options["vdim"] = draw(st.integers(1, 5))
    batch = draw(st.sampled_from([None, 1, 3]))
    queries = draw(st.integers(1, 5))
    keys = queries if inputs == "same" else draw(st.integers(1, 5))
    sizes = [(queries, embed), (keys, options.get("kdim", embed)), (keys, options.get("vdim", embed))]
    if inputs == "same":
        sizes = sizes[:1]
    arrays = [drawn_array(draw, *_placed(length, batch, options["batch_first"]), width) for length, width in sizes]
    given_options: dict[str, Any] = {
        "need_weights": draw(st.booleans()),
        "average_attn_weights": draw(st.booleans()),
    }
    masks: dict[str, np.ndarray] = {}
    kind_of_mask = draw(st.sampled_from(["none", "bool", "float", "causal"]))
    if kind_of_mask == "causal":
        masks["attn_mask"] = np.triu(np.ones((queries, keys), bool), 1)
        given_options["is_causal"] = draw(st.booleans())
    elif kind_of_mask != "none":
        lead = (heads * (batch or 1),) if draw(st.booleans()) else ()
        masks["attn_mask"] = _mask(draw, (*lead, queries, keys), kind_of_mask)
    if draw(st.booleans()):
        shape = (keys,) if batch is None else (batch, keys)
        masks["key_padding_mask"] = _mask(draw, shape, "float" if kind_of_mask == "float" else "bool")
    training = draw(st.booleans())

    def call(library, layer, tensors):
        q, k, v = tensors * 3 if inputs == "same" else tensors
        given_masks = {n: library.tensor(m) for n, m in masks.items()}
        for name, mask in given_masks.items():
            if mask.is_floating_point():
                given_masks[name] = mask.to(q.dtype)
        return layer(q, k, v, **given_masks, **given_options)

    return Problem(kind, options, arrays, call, training)


def _placed(length, batch, batch_first):
    if batch is None:
        return (length,)
    return (batch, length) if batch_first else (length, batch)


def _mask(draw, shape, kind) -> np.ndarray:
    values = drawn_array(draw, *shape)
    if kind == "float":
        return values
    barred = values > 0.3
    # A query that may look at nothing has no defined result.
    barred[..., 0] = False
    return barred


@st.composite
def transformer(draw, kind):
    heads = draw(st.integers(1, 2))
    width = heads * draw(st.integers(4, 6))
    options: dict[str, Any] = {
        "d_model": width,
        "nhead": heads,
        "dim_feedforward": draw(st.integers(1, 8)),
        "dropout": 0.0,
        "activation": draw(st.sampled_from(["relu", "gelu", "silu"])),
        "batch_first": draw(st.booleans()),
        "norm_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }
    batch = draw(st.sampled_from([None, 1, 3]))
    source, target = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    lengths = [source] if kind == "TransformerEncoderLayer" else [target, source]
    if kind == "Transformer":
        options |= {"num_encoder_layers": draw(st.integers(1, 2)), "num_decoder_layers": draw(st.integers(1, 2))}
        lengths = [source, target]
    arrays = [drawn_array(draw, *_placed(n, batch, options["batch_first"]), width) for n in lengths]
    masked = draw(st.booleans())
    causal = draw(st.booleans())
    padding = _mask(draw, (source,) if batch is None else (batch, source), "bool") if draw(st.booleans()) else None

    def call(library, layer, tensors):
        padded = None if padding is None else library.tensor(padding)
        square = library.nn.Transformer.generate_square_subsequent_mask
        if kind == "TransformerEncoderLayer":
            mask = square(source, dtype=tensors[0].dtype) if masked else None
            padded = (
                None if padded is None else library.zeros_like(padded, dtype=tensors[0].dtype).masked_fill(padded, -1e9)
            )
            return layer(*tensors, src_mask=mask, src_key_padding_mask=padded, is_causal=masked and causal)
        mask = square(target, dtype=tensors[0].dtype) if masked else None
        named = {"tgt_mask": mask, "tgt_is_causal": masked and causal, "memory_key_padding_mask": padded}
        if kind == "Transformer":
            named["src_key_padding_mask"] = padded
        return layer(*tensors, **named)

    return Problem(kind, options, arrays, call)


# ---------------------------------------------------------------- normalization layers


def _space(draw, axes):
    return tuple(draw(st.integers(1, 4)) for _ in range(axes))


@st.composite
def batch_norm(draw, kind):
    channels = draw(st.integers(1, 5))
    options: dict[str, Any] = {
        "num_features": channels,
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
        "momentum": draw(st.sampled_from([0.1, 0.5, None])),
        "affine": draw(st.booleans()),
        "track_running_stats": draw(st.booleans()),
    }
    axes = {"BatchNorm1d": draw(st.integers(0, 1)), "BatchNorm2d": 2, "BatchNorm3d": 3, "SyncBatchNorm": 2}[kind]
    training = draw(st.booleans())
    # Of two values the normalized ones are -1 and 1, whatever they are: derivatives would be nothing but rounding.
    batch = draw(st.integers(3, 5))
    return Problem(kind, options, [drawn_array(draw, batch, channels, *_space(draw, axes))], None, training)


@st.composite
def instance_norm(draw, kind):
    channels = draw(st.integers(1, 5))
    options: dict[str, Any] = {
        "num_features": channels,
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
        "momentum": draw(st.sampled_from([0.1, 0.5])),
        "affine": draw(st.booleans()),
        "track_running_stats": draw(st.booleans()),
    }
    axes = int(kind[-2])
    lead = (draw(st.integers(1, 4)),) if draw(st.booleans()) else ()
    space = (draw(st.integers(3, 5)), *_space(draw, axes - 1))
    return Problem(kind, options, [drawn_array(draw, *lead, channels, *space)], None, draw(st.booleans()))


@st.composite
def last_norm(draw, kind):
    shape = (*_space(draw, draw(st.integers(0, 1))), draw(st.integers(3, 6)))
    options: dict[str, Any] = {
        "normalized_shape": shape,
        "elementwise_affine": draw(st.booleans()),
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
    }
    if kind == "LayerNorm":
        options["bias"] = draw(st.booleans())
    elif draw(st.booleans()):
        options["eps"] = None
    lead = _space(draw, draw(st.integers(0, 3)))
    return Problem(kind, options, [drawn_array(draw, *lead, *shape)])


@st.composite
def group_norm(draw, kind):
    groups = draw(st.integers(1, 3))
    channels = groups * draw(st.integers(1, 3))
    options = {
        "num_groups": groups,
        "num_channels": channels,
        "affine": draw(st.booleans()),
        "eps": draw(st.sampled_from([1e-5, 1e-3])),
    }
    space = (draw(st.integers(3, 5)), *_space(draw, draw(st.integers(0, 2))))
    return Problem(kind, options, [drawn_array(draw, draw(st.integers(1, 4)), channels, *space)])


@st.composite
def response_norm(draw, kind):
    channels = draw(st.integers(1, 6))
    options = {
        "size": draw(st.integers(1, 5)),
        "alpha": draw(st.sampled_from([1e-4, 0.5])),
        "beta": draw(st.sampled_from([0.75, 0.5])),
        "k": draw(st.sampled_from([1.0, 2.0])),
    }
    axes = draw(st.integers(1, 3))
    if kind == "CrossMapLRN2d":
        axes, options["size"] = 2, draw(st.sampled_from([1, 3, 5]))
    return Problem(kind, options, [drawn_array(draw, draw(st.integers(1, 3)), channels, *_space(draw, axes))])


# ---------------------------------------------------------------- the tests

FAMILIES: dict[str, Any] = {
    **{kind: recurrent(kind) for kind in ("LSTM", "GRU", "RNN")},
    **{kind: cell(kind) for kind in ("LSTMCell", "GRUCell", "RNNCell")},
    "MultiheadAttention": multihead("MultiheadAttention"),
    **{kind: transformer(kind) for kind in ("TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer")},
    **{kind: batch_norm(kind) for kind in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm")},
    **{kind: instance_norm(kind) for kind in ("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d")},
    **{kind: last_norm(kind) for kind in ("LayerNorm", "RMSNorm")},
    "GroupNorm": group_norm("GroupNorm"),
    **{kind: response_norm(kind) for kind in ("LocalResponseNorm", "CrossMapLRN2d")},
}


def checked_on(tier: str, examples: int, problems: Any) -> None:
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(problems, st.integers(0, 2**20))
    def check(problem: Problem, seed: int) -> None:
        assert_agrees(problem, seed)

    before = flambeau.engine.get_tier()
    flambeau.engine.set_tier(tier)
    try:
        check()
    finally:
        flambeau.engine.set_tier(before)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_layer_agrees_with_pytorch(kind: str) -> None:
    checked_on("interpreter", EXAMPLES, FAMILIES[kind])


@pytest.mark.skipif(not COMPILED, reason="make properties")
@pytest.mark.parametrize("kind", FAMILIES)
def test_the_compiled_layer_agrees_with_pytorch(kind: str) -> None:
    checked_on("compiled", COMPILED, FAMILIES[kind])
