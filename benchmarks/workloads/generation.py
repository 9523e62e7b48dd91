"""9: the GPT of workload 7 writes, word by word, with a growing cache of keys and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.setting import Program, Setting, integers
from benchmarks.workloads import Workload, gpt


@dataclass(frozen=True)
class Sizes(gpt.Sizes):
    batch: int = 1
    prompt: int = 16
    written: int = 64


def data(sizes: Sizes) -> Any:
    return integers("generation.prompt", sizes.words, sizes.batch, sizes.prompt)


def program(torch: Any, setting: Setting) -> Program:
    sizes = Sizes(**setting.sizes)
    model = setting.load(torch, gpt.gpt(torch, sizes)).eval()
    prompt = setting.tensor(torch, data(sizes))

    def step(words, caches):
        with torch.no_grad():
            scores, caches = model(words, caches)
            return scores[:, -1].argmax(-1, keepdim=True), caches

    def unit(step, _):
        word, caches = step(prompt, None)
        written = [word.item()]
        for _ in range(sizes.written - 1):
            word, caches = step(word, caches)
            # Each word is looked at as it comes, as a program would that shows it or stops at an end mark.
            written.append(word.item())
        return written

    return Program(step, unit)


def floor(setting: Setting) -> Program:
    """One program for the prompt and one for every word: the cache has its final size from the start."""
    import functools

    import jax
    import jax.numpy as jnp
    from jax import lax

    from benchmarks import floors

    sizes = Sizes(**setting.sizes)
    weights = setting.weights(gpt.shapes(sizes))
    prompt = setting.arrays(data(sizes))
    room = sizes.prompt + sizes.written

    def forward(weights, words, caches, past):
        length = words.shape[1]
        places = past + jnp.arange(length)
        seen = jnp.arange(room)[None, :] <= places[:, None]
        x = weights["words.weight"][words] + weights["places.weight"][places]
        kept = []
        for i in range(sizes.layers):
            name = f"blocks.{i}"
            projected = floors.linear(weights, f"{name}.project", floors.layer_norm(weights, f"{name}.norm1", x))
            query, key, value = (
                part.reshape(sizes.batch, length, sizes.heads, -1) for part in jnp.split(projected, 3, -1)
            )
            key = lax.dynamic_update_slice(caches[i][0], key, (0, past, 0, 0))
            value = lax.dynamic_update_slice(caches[i][1], value, (0, past, 0, 0))
            kept.append((key, value))
            mixed = jax.nn.dot_product_attention(query, key, value, mask=seen).reshape(x.shape)
            x = gpt.feed_forward(weights, name, x + floors.linear(weights, f"{name}.out", mixed))
        last = floors.layer_norm(weights, "norm", x[:, -1])
        return floors.linear(weights, "scores", last).argmax(-1, keepdims=True), kept, past + length

    step = functools.partial(jax.jit(forward, donate_argnums=2), weights)

    def unit(step, _):
        shape = (sizes.batch, room, sizes.heads, sizes.width // sizes.heads)
        dtype = weights["words.weight"].dtype
        caches = [(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype)) for _ in range(sizes.layers)]
        word, caches, past = step(prompt, caches, 0)
        written = [word.item()]
        for _ in range(sizes.written - 1):
            word, caches, past = step(word, caches, past)
            written.append(word.item())
        return written

    return Program(step, unit)


WORKLOADS = [
    Workload(
        9,
        "generation",
        "GPT of 7 writes 64 words, growing cache",
        program,
        floor,
        checked=3,
        small=gpt.SMALL | {"length": 12, "batch": 1, "prompt": 3, "written": 5},
    ),
]
