"""MiniLM, a BERT that gives sentences of like meaning like directions, built from `nn.TransformerEncoder`.

Source: Wang and others, MiniLM: Deep Self-Attention Distillation (2020); Reimers and Gurevych, Sentence-BERT (2019).
"""

from __future__ import annotations

import flambeau as torch
import flambeau.nn.functional as F
from flambeau import nn

WORDS, POSITIONS, WIDTH, HEADS, HIDDEN, LAYERS, EPSILON = 30_522, 512, 384, 12, 1_536, 6, 1e-12

# What the checkpoint calls the parts of a layer, and what nn.TransformerEncoderLayer does.
NAMES = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


class MiniLM(nn.Module):
    """Embeddings, an encoder, and the mean over the words of a sentence as a vector of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.position_embeddings = nn.Embedding(POSITIONS, WIDTH)
        self.token_type_embeddings = nn.Embedding(2, WIDTH)
        self.LayerNorm = nn.LayerNorm(WIDTH, eps=EPSILON)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.1, "gelu", EPSILON, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)

    def forward(self, words, there):
        """Numbers of words and where there is one, both (N, L); vectors (N, 384)."""
        position = self.position_embeddings.weight[: words.shape[1]]
        kind = self.token_type_embeddings.weight[0]
        embedded = self.LayerNorm(self.word_embeddings(words) + position + kind)
        encoded = self.encoder(embedded, src_key_padding_mask=~there)
        weights = there.unsqueeze(-1).to(encoded.dtype)
        return F.normalize((encoded * weights).sum(1) / weights.sum(1), dim=-1)


def renamed(checkpoint: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A checkpoint of BERT under the names of `MiniLM`."""
    found = {}
    for name, value in checkpoint.items():
        area, _, rest = name.partition(".")
        if area == "embeddings" and rest != "position_ids":
            found[rest] = value
    for i in range(LAYERS):
        theirs, ours = f"encoder.layer.{i}.", f"encoder.layers.{i}."
        for kind in ("weight", "bias"):
            parts = [checkpoint[f"{theirs}attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"{ours}self_attn.in_proj_{kind}"] = torch.cat(parts)
            for old, new in NAMES.items():
                found[f"{ours}{new}.{kind}"] = checkpoint[f"{theirs}{old}.{kind}"]
    return found
