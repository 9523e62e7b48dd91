"""The Transformer against PyTorch: random configurations, seeds, messages and warnings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle
from both import same
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau


def assert_close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-5)


def pair(make):
    """The same module in both libraries, with the same weights."""
    found = []
    for library in (flambeau, oracle):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # In double precision, so that only what is wrong differs by much.
            found.append(make(library).double())
    ours, theirs = found
    ours.load_state_dict({k: flambeau.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    return ours, theirs


def assert_agree(ours, theirs, arrays, masks):
    results = []
    for library, module in ((flambeau, ours), (oracle, theirs)):
        leaves = [library.tensor(a).requires_grad_(True) for a in arrays]
        out = module(*leaves, **{k: library.tensor(m) if isinstance(m, np.ndarray) else m for k, m in masks.items()})
        # Norms make the plain sum of squares constant.
        (out * out * out).sum().backward()
        results.append([out, *[x.grad for x in leaves], *[p.grad for p in module.parameters()]])
    for a, b in zip(*results, strict=True):
        assert_close(a, b)


@st.composite
def options(draw):
    return {
        "dim_feedforward": draw(st.integers(1, 4)),
        "dropout": 0.0,
        "activation": draw(st.sampled_from(["relu", "gelu"])),
        "batch_first": draw(st.booleans()),
        "norm_first": draw(st.booleans()),
        "bias": draw(st.booleans()),
    }


def batch_of(random, length, batch, batch_first):
    lead = (length,) if batch is None else (batch, length) if batch_first else (length, batch)
    return random.standard_normal((*lead, 4))


MASKS = st.sampled_from(["none", "causal", "bool", "padding", "both"])


def masks_of(random, kind, length, batch, names):
    found = {}
    if kind == "causal":
        found[names[0]] = np.triu(np.full((length, length), -np.inf), 1)
    if kind in ("bool", "both"):
        found[names[0]] = np.triu(np.ones((length, length), bool), 1)
    if kind in ("padding", "both"):
        padding = np.zeros((batch or 1, length), bool)
        padding[:, -1] = True
        found[names[1]] = padding[0] if batch is None else padding
    return found


@settings(max_examples=20, deadline=None)
@given(options(), MASKS, st.sampled_from([None, 1, 2]), st.integers(0, 99))
def test_encoder_layers_agree_with_pytorch(given_options, masks, batch, seed):
    random = np.random.default_rng(seed)
    ours, theirs = pair(lambda torch: torch.nn.TransformerEncoderLayer(4, 2, **given_options))
    x = batch_of(random, 3, batch, given_options["batch_first"])
    assert_agree(ours, theirs, [x], masks_of(random, masks, 3, batch, ("src_mask", "src_key_padding_mask")))


@settings(max_examples=15, deadline=None)
@given(options(), MASKS, st.sampled_from([None, 2]), st.integers(0, 99))
def test_decoders_agree_with_pytorch(given_options, masks, batch, seed):
    random = np.random.default_rng(seed)

    def make(torch):
        layer = torch.nn.TransformerDecoderLayer(4, 2, **given_options)
        return torch.nn.TransformerDecoder(layer, 2, torch.nn.LayerNorm(4))

    ours, theirs = pair(make)
    first = given_options["batch_first"]
    arrays = [batch_of(random, 3, batch, first), batch_of(random, 4, batch, first)]
    found = masks_of(random, masks, 3, batch, ("tgt_mask", "tgt_key_padding_mask"))
    if masks == "causal":
        found["tgt_is_causal"] = True
    if masks == "both":
        found["memory_mask"] = random.standard_normal((3, 4))
    assert_agree(ours, theirs, arrays, found)


@settings(max_examples=8, deadline=None)
@given(options(), MASKS, st.sampled_from([None, 2]), st.integers(0, 99))
def test_the_whole_agrees_with_pytorch(given_options, masks, batch, seed):
    random = np.random.default_rng(seed)
    ours, theirs = pair(lambda torch: torch.nn.Transformer(4, 2, 1, 2, **given_options))
    first = given_options["batch_first"]
    arrays = [batch_of(random, 3, batch, first), batch_of(random, 4, batch, first)]
    found = masks_of(random, masks, 3, batch, ("src_mask", "src_key_padding_mask"))
    found |= masks_of(random, masks, 4, batch, ("tgt_mask", "tgt_key_padding_mask"))
    assert_agree(ours, theirs, arrays, found)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("left_aligned", [False, True])
def test_padding_in_inference(training, grad, left_aligned):
    def make(torch):
        layer = torch.nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
        return torch.nn.TransformerEncoder(layer, 2, torch.nn.LayerNorm(4)).train(training)

    ours, theirs = pair(make)
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    padding = np.array([[False, False, True], [False, not left_aligned, False]])
    with flambeau.set_grad_enabled(grad), oracle.set_grad_enabled(grad), warnings.catch_warnings():
        # PyTorch says that its nested tensors are a prototype.
        warnings.simplefilter("ignore")
        found = ours(flambeau.tensor(x), src_key_padding_mask=flambeau.tensor(padding))
        expected = theirs(oracle.tensor(x), src_key_padding_mask=oracle.tensor(padding))
    assert_close(found, expected)


def test_a_seed_gives_pytorchs_weights():
    same(lambda torch: dict(torch.nn.Transformer(4, 2, 2, 1, 8, batch_first=True).state_dict()), 1e-6)
    same(lambda torch: dict(torch.nn.TransformerDecoderLayer(4, 2, 8, bias=False).state_dict()), 1e-6)


def test_copied_layers_have_weights_of_their_own():
    layer = flambeau.nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    encoder = flambeau.nn.TransformerEncoder(layer, 2)
    weights = [dict(part.named_parameters())["linear1.weight"] for part in (layer, *encoder.layers)]
    assert len({id(w) for w in weights}) == 3
    assert_close(weights[0], weights[2])


@pytest.mark.parametrize(
    "program",
    [
        lambda torch: repr(torch.nn.Transformer(4, 2, 1, 1, 8, batch_first=True)),
        lambda torch: torch.nn.TransformerEncoderLayer(4, 2, activation="tanh"),
        lambda torch: torch.nn.Transformer.generate_square_subsequent_mask(3),
        lambda torch: torch.nn.Transformer.generate_square_subsequent_mask(2, dtype=torch.float64),
        lambda torch: torch.nn.Transformer(4, 2, 1, 1, 8, batch_first=True)(torch.zeros(2, 3, 4), torch.zeros(1, 3, 4)),
        lambda torch: torch.nn.Transformer(4, 2, 1, 1, 8, batch_first=True)(torch.zeros(2, 3, 5), torch.zeros(2, 3, 4)),
        *[
            lambda torch, options=options: (
                torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(4, **options), 1).use_nested_tensor
            )
            for options in (
                {"nhead": 2},
                {"nhead": 2, "batch_first": True},
                {"nhead": 1, "batch_first": True},
                {"nhead": 2, "batch_first": True, "norm_first": True},
                {"nhead": 2, "batch_first": True, "bias": False},
                {"nhead": 2, "batch_first": True, "activation": abs},
            )
        ],
    ],
)
def test_messages_and_warnings_are_pytorchs(program):
    same(program)


def test_any_activation_will_do():
    x = np.random.default_rng(0).standard_normal((3, 2, 4))
    for activation in (lambda torch: torch.tanh, lambda torch: torch.nn.SiLU()):
        ours, theirs = pair(
            lambda torch, a=activation: torch.nn.TransformerEncoderLayer(4, 2, 8, 0.0, activation=a(torch))
        )
        assert_agree(ours, theirs, [x], {})
    assert flambeau.nn.TransformerEncoderLayer(4, 2, activation=flambeau.nn.GELU()).activation_relu_or_gelu == 2
