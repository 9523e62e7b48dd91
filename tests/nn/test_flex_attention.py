"""``torch.nn.attention.flex_attention`` and ``varlen``, beside PyTorch's."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch as oracle
import torch.nn.attention.flex_attention as oracle_flex

import flambeau
from flambeau.nn.attention import flex_attention as flex
from flambeau.nn.attention.varlen import AuxRequest, varlen_attn, varlen_attn_out

LIBRARIES = ((flambeau, flex), (oracle, oracle_flex))


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Has PyTorch compute at once: it would compile, and warn that it did not."""
    monkeypatch.setattr(oracle_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


def tensors(L, *shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [L.tensor(rng.normal(size=shape).astype("float32")) for shape in shapes]


def causal(b, h, q, k):
    return q >= k


def window(b, h, q, k):
    return (q - k <= 40) & (b * 2 + h <= q)


def documents(L):
    which = L.arange(64) // 7
    return lambda b, h, q, k: (which[q] == which[k]) & (q != 3)


def relative(L):
    (bias,) = tensors(L, (4, 64), seed=1)
    return lambda score, b, h, q, k: score + 0.5 * bias[h, q - k + 32]


SCORE_MODS = {
    "none": lambda L: None,
    "relative positions": relative,
    "soft capping": lambda L: lambda score, b, h, q, k: 3 * L.tanh(score / 3),
    "a row of a table first": lambda L: lambda score, b, h, q, k: score * tensors(L, (2, 3, 4))[0][b][1][h],
    "a mask": lambda L: lambda score, b, h, q, k: L.where(q >= k, score, -float("inf")),
    "integers": lambda L: lambda score, b, h, q, k: score + (q - k).abs(),
}


@pytest.mark.parametrize("name", SCORE_MODS)
@pytest.mark.parametrize("masked", [False, True])
def test_scores_changed_and_masked(name, masked, tier):
    found = []
    for L, F in LIBRARIES:
        q, k, v = tensors(L, (2, 4, 20, 8), (2, 2, 24, 8), (2, 2, 24, 6))
        mask = F.create_block_mask(documents(L), None, None, 20, 24, device="cpu", BLOCK_SIZE=8) if masked else None
        out, aux = F.flex_attention(
            q, k, v, SCORE_MODS[name](L), mask, scale=0.4, enable_gqa=True, return_aux=F.AuxRequest(lse=True)
        )
        found.append((out, aux.lse, F.flex_attention(q, k, v, SCORE_MODS[name](L), mask, enable_gqa=True)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


def broadcast(L, q, k, v, score_mod, mask_mod):
    """Attention by functions that are given all indices at once, and a pattern that lets them be."""
    scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
    at = [L.arange(n).view([-1 if i == d else 1 for i in range(4)]) for d, n in enumerate(scores.shape)]
    scores = L.where(mask_mod(*at), score_mod(scores, *at), -math.inf)
    return L.nan_to_num(scores.softmax(-1), 0) @ v


def test_gradients_reach_inputs_and_what_functions_read(tier):
    gradients = []
    for L in (flambeau, oracle):
        q, k, v, bias, slope, w = (
            t.requires_grad_()
            for t in tensors(L, (2, 4, 9, 8), (2, 4, 11, 8), (2, 4, 11, 6), (4, 32), (4,), (2, 4, 9, 6))
        )

        def score_mod(score, b, h, q, k, bias=bias, slope=slope):
            return score + bias[h, q - k + 16] * slope[h]

        if L is flambeau:
            mask = flex.create_block_mask(window, 2, 4, 9, 11, BLOCK_SIZE=4)
            out = flex.flex_attention(q, k, v, score_mod, mask)
        else:
            out = broadcast(L, q, k, v, score_mod, window)
        (out * w).sum().backward()
        gradients.append([t.grad.numpy() for t in (q, k, v, bias, slope)])
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, np.nan_to_num(theirs), rtol=1e-4, atol=1e-5)


def test_under_compile(tier):
    q, k, v = tensors(flambeau, (1, 2, 12, 4), (1, 2, 12, 4), (1, 2, 12, 4))
    (bias,) = tensors(flambeau, (2, 32))
    mask = flex.create_block_mask(causal, None, None, 12, 12)

    def step(q):
        out = flex.flex_attention(q, k, v, lambda s, b, h, i, j: s + bias[h, i - j + 16], mask)
        return out, flambeau.autograd.grad(out.sum(), q)[0]

    compiled = flambeau.compile(step)
    for factor in (1.0, 2.0, 3.0):
        x = (q * factor).requires_grad_()
        for found, expected in zip(compiled(x), step(x), strict=True):
            np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_itself_compiled_notices_masks_and_values_that_change(tier):
    compiled = flambeau.compile(flex.flex_attention)
    (x,) = tensors(flambeau, (1, 2, 12, 4))
    which, slope = flambeau.arange(12) // 5, flambeau.tensor([0.5, 0.25])
    same_document = flex.create_block_mask(lambda b, h, q, k: which[q] == which[k], None, None, 12, 12)
    masks = [flex.create_block_mask(causal, None, None, 12, 12), same_document, None]

    def linear_bias(score, b, h, q, k):
        return score + slope[h] * (k - q)

    for change in (lambda: None, lambda: which.mul_(2), lambda: slope.mul_(3), lambda: which[3:].fill_(1)):
        change()
        for mask in masks:
            found = compiled(x, x, x, linear_bias, mask)
            expected = flex.flex_attention(x, x, x, linear_bias, mask)
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_types(dtype):
    outs = []
    for L, F in LIBRARIES:
        q, k, v = (t.to(getattr(L, dtype)) for t in tensors(L, (1, 2, 8, 4), (1, 2, 8, 4), (1, 2, 8, 4)))
        out, aux = F.flex_attention(q, k, v, relative(L), return_aux=F.AuxRequest(lse=True))
        assert (str(out.dtype)[-7:], str(aux.lse.dtype)[-7:]) == (
            dtype[-7:],
            "float64" if dtype == "float64" else "float32",
        )
        outs.append(out.double().numpy())
    np.testing.assert_allclose(*outs, rtol=1e-12 if dtype == "float64" else 1e-2, atol=1e-12)


def test_one_batch_of_keys_for_all_queries():
    outs = []
    for L, F in LIBRARIES:
        q, k, v = tensors(L, (3, 2, 8, 4), (1, 2, 8, 4), (1, 2, 8, 4))
        mask = F.create_block_mask(lambda b, h, q, k: q >= k + b, 3, None, 8, 8, device="cpu")
        outs.append(F.flex_attention(q, k, v, block_mask=mask).numpy())
    np.testing.assert_allclose(*outs, rtol=1e-5, atol=1e-6)


def test_the_greatest_scores():
    q, k, v = tensors(flambeau, (1, 2, 5, 4), (1, 2, 6, 4), (1, 2, 6, 4))
    _, aux = flex.flex_attention(q, k, v, scale=1.0, return_aux=flex.AuxRequest(max_scores=True))
    assert aux.lse is None
    np.testing.assert_allclose(aux.max_scores.numpy(), (q @ k.mT).amax(-1).numpy(), rtol=1e-6)


def test_return_lse_gives_two_and_warns_once(monkeypatch):
    monkeypatch.setattr(flex, "_told", set())
    (x,) = tensors(flambeau, (1, 2, 5, 4))
    with pytest.warns(FutureWarning, match="return_lse is deprecated"):
        out, lse = flex.flex_attention(x, x, x, return_lse=True)
    assert lse.shape == out.shape[:-1]
    flex.flex_attention(x, x, x, return_lse=True)


# ---------------------------------------------------------------- masks by blocks

MASKS = {
    "causal": (causal, (2, 2, 300, 260), {"BLOCK_SIZE": 64, "compute_dq_write_order": True}),
    "a window by rows": (window, (2, 3, 300, 300), {"BLOCK_SIZE": (32, 64), "compute_dq_write_order": True}),
    "ascending": (causal, (1, 1, 200, 200), {"BLOCK_SIZE": 32, "compute_dq_write_order": True, "dq_kv_order": False}),
    "together": (window, (2, 1, 300, 300), {"separate_full_blocks": False}),
    "many rows": (causal, (1, 2, 1000, 1000), {"BLOCK_SIZE": 16}),
}


def described(L, mask):
    parts = [
        (value.tolist(), str(value.dtype)) if isinstance(value, L.Tensor) else value
        for value in mask.as_tuple(flatten=False)
    ]
    shown = repr(mask).replace("<function causal", "")
    return *parts[:-1], mask.shape, mask.numel(), mask.sparsity(), mask.to_dense().tolist(), str(mask), shown


def same(make):
    ours, theirs = [described(L, make(L, F)) for L, F in LIBRARIES]
    for a, b in zip(ours, theirs, strict=True):
        assert str(a).replace("flambeau", "torch") == str(b)


@pytest.mark.parametrize("name", MASKS)
def test_masks_by_blocks(name):
    mod, sizes, options = MASKS[name]
    same(lambda L, F: F.create_block_mask(mod, *sizes, device="cpu", **options))


PARTS = {
    "a batch": lambda L, m: m[1],
    "a batch and a head": lambda L, m: m[0, -1],
    "slices": lambda L, m: m[:, 0:1, 1:3],
    "rows by index": lambda L, m: m[:, :, L.tensor([2, 0])],
    "moved": lambda L, m: m.to("cpu"),
    "the corner": lambda L, m: m._adjust(100, 130),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_masks(name):
    same(lambda L, F: PARTS[name](L, F.create_block_mask(causal, *MASKS["causal"][1], device="cpu", BLOCK_SIZE=64)))
    same(
        lambda L, F: PARTS[name](L, F.create_block_mask(causal, 2, 2, 256, 260, "cpu", 64, separate_full_blocks=False))
    )


def test_masks_from_their_blocks():
    def make(L, F):
        count, which = L.tensor([[[1, 2]]], dtype=L.int32), L.tensor([[[[1, 0], [0, 1]]]], dtype=L.int32)
        return F.BlockMask.from_kv_blocks(count, which, BLOCK_SIZE=16, dq_kv_order=True)

    same(make)
    same(lambda L, F: F.BlockMask.from_kv_blocks(make(L, F).kv_num_blocks, make(L, F).kv_indices, BLOCK_SIZE=(8, 4)))
    for L, F in LIBRARIES:
        few = F.BlockMask.from_kv_blocks(make(L, F).kv_num_blocks, make(L, F).kv_indices, compute_q_blocks=False)
        assert few.q_indices is None
        assert few.mask_mod is F.noop_mask


def test_pictures_of_masks():
    shown = [F.create_block_mask(causal, 3, 2, 640, 640, device="cpu", BLOCK_SIZE=16) for _, F in LIBRARIES]
    assert shown[0].to_string((5, 9), limit=2) == shown[1].to_string((5, 9), limit=2)
    assert shown[0].to_string(-1) == shown[1].to_string(-1)


def test_masks_of_functions():
    for create in ("and_masks", "or_masks"):
        found = [
            F.create_mask(getattr(F, create)(causal, window), 2, 3, 50, 60, device="cpu").tolist() for _, F in LIBRARIES
        ]
        assert found[0] == found[1]
    found = [F.create_mask(F.noop_mask, None, None, 2, 3, device="cpu").tolist() for _, F in LIBRARIES]
    assert found[0] == found[1]
    found = [F.create_mask(SCORE_MODS["a mask"](L), 1, 2, 3, 4, device="cpu").tolist() for L, F in LIBRARIES]
    assert found[0] == found[1]


# ---------------------------------------------------------------- what is refused


def attend(L, F, q=(2, 4, 8, 4), k=(2, 4, 8, 4), v=None, mask=None, **options):
    mask = mask and F.create_block_mask(causal, *mask, device="cpu")
    return F.flex_attention(*tensors(L, q, k, v or k), block_mask=mask, **options)


FAULTS = {
    "three dimensions": (lambda L, F: attend(L, F, (4, 8, 4), (4, 8, 4)), "must be 4D tensors"),
    "one dimension": (lambda L, F: attend(L, F, (4,), (4,)), "at least 2 dimensional, but got query.dim: 1"),
    "sizes": (lambda L, F: attend(L, F, k=(2, 4, 8, 5)), "E=4 and E=5"),
    "heads": (lambda L, F: attend(L, F, k=(2, 2, 8, 4)), "Hq=4 and Hkv=2. Try setting enable_gqa"),
    "groups": (lambda L, F: attend(L, F, k=(2, 3, 8, 4), enable_gqa=True), "multiple of kv heads .* Hq=4 and Hkv=3"),
    "batches": (lambda L, F: attend(L, F, k=(1, 4, 8, 4)), "block_mask=None, Bq=2, and Bkv=1"),
    "a mask's batch": (lambda L, F: attend(L, F, k=(1, 4, 8, 4), mask=(1, 1, 8, 8)), "Bq=2, Bkv=1, B_block_mask=1"),
    "no broadcasting": (
        lambda L, F: attend(L, F, k=(3, 4, 8, 4), mask=(2, 1, 8, 8)),
        "must broadcast. Got Bq=2 and Bkv=3",
    ),
    "a shorter mask": (
        lambda L, F: attend(L, F, mask=(1, 1, 6, 8)),
        r"block_mask.shape=\(1, 1, 6, 8\) .* smaller length",
    ),
    "a longer mask": (lambda L, F: attend(L, F, mask=(1, 1, 9, 8)), r"q_len=8 and kv_len=8. .* larger length"),
    "both ways": (
        lambda L, F: attend(L, F, return_lse=True, return_aux=F.AuxRequest()),
        "both return_lse and return_aux",
    ),
    "a backend": (lambda L, F: attend(L, F, kernel_options={"BACKEND": "FAST"}), "Invalid BACKEND value 'FAST'"),
    "two backends": (
        lambda L, F: attend(L, F, kernel_options={"BACKEND": "AUTO", "FORCE_USE_FLEX_ATTENTION": True}),
        "cannot be combined",
    ),
    "an inner option": (lambda L, F: attend(L, F, kernel_options={"OUTPUT_MAX": True}), "OUTPUT_MAX must not be in"),
    "flash": (
        lambda L, F: attend(L, F, kernel_options={"BACKEND": "FLASH"}, return_aux=F.AuxRequest(max_scores=True)),
        "max scores is not supported with BACKEND='FLASH'",
    ),
    "arguments": (
        lambda L, F: F.create_mask(lambda q, k: q >= k, 1, 1, 2, 2, "cpu"),
        "Expected 4 or 5 positional args, got 2",
    ),
    "a score_mod": (
        lambda L, F: F.create_block_mask(lambda s, b, h, q, k: s, 1, 1, 2, 2, "cpu"),
        "requires a mask_mod function",
    ),
    "an order": (
        lambda L, F: F.create_block_mask(causal, 1, 1, 2, 2, "cpu", dq_kv_order=L.zeros(1)),
        "dq_kv_order must be a bool",
    ),
    "no function": (lambda L, F: F.or_masks(causal, 3), "All inputs should be callable mask_mods"),
    "no functions": (lambda L, F: F.and_masks(None), "All inputs should be callable mask_mods"),
    "a part": (
        lambda L, F: F.flex_attention(
            *tensors(L, *[(1, 1, 8, 4)] * 3), block_mask=F.create_block_mask(causal, 1, 1, 8, 8, "cpu")[0]
        ),
        "Cannot use mask_mod from a sliced BlockMask",
    ),
    "a part's function": (
        lambda L, F: F.create_block_mask(causal, 1, 1, 8, 8, "cpu")[0].mask_mod(*[L.zeros(())] * 4),
        "Cannot use mask_mod from a sliced BlockMask",
    ),
    "indices": (lambda L, F: F.BlockMask.from_kv_blocks(L.ones(1), L.ones(1)), "at least 2 dimensions"),
    "half a pair": (
        lambda L, F: F.BlockMask.from_kv_blocks(L.ones(1), L.ones(1, 1), L.ones(1)),
        "must be both provided or omitted",
    ),
    "an order's type": (
        lambda L, F: F.BlockMask.from_kv_blocks(L.ones(1).int(), L.zeros(1, 1).int(), dq_kv_order=3),
        "dq_kv_order must be a bool, Tensor, or None",
    ),
    "an order alone": (
        lambda L, F: F.BlockMask.from_kv_blocks(L.ones(1).int(), L.zeros(1, 1).int(), dq_write_order_full=L.ones(1)),
        "dq_write_order_full requires dq_write_order",
    ),
    "an order that is not known": (
        lambda L, F: F.BlockMask.from_kv_blocks(
            L.ones(1, 1, 1).int(), L.zeros(1, 1, 1, 1).int(), dq_kv_order=L.zeros(1, 1, 1)
        )[0],
        "Slicing BlockMask with tensor dq_kv_order is not supported",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name):
    program, message = FAULTS[name]
    with pytest.raises(Exception, match=message) as ours:
        program(flambeau, flex)
    with pytest.raises(Exception, match=r".") as theirs:
        program(oracle, oracle_flex)
    assert ours.type is theirs.type


def test_keys_and_values_of_different_numbers():
    with pytest.raises(RuntimeError, match=r"there are 8 keys \[2, 4, 8, 4\] but 7 values \[2, 4, 7, 4\]"):
        attend(flambeau, flex, v=(2, 4, 7, 4))


def test_compiling_the_making_of_a_mask_is_deprecated():
    with pytest.warns(DeprecationWarning, match="_compile=True has no effect"):
        flex.create_block_mask(causal, 1, 1, 8, 8, _compile=True)


# ---------------------------------------------------------------- sequences one behind another

LENGTHS = [(3, 5), (7, 7), (0, 2), (4, 2), (1, 6)]


def starts(L, lengths):
    return L.tensor(np.cumsum([0, *lengths]), dtype=L.int32)


def one_by_one(q, k, v, window_size, scale, used=None):
    """Each sequence by itself, in PyTorch."""
    outs, sums, at_q, at_k = [], [], 0, 0
    for i, (queries, keys) in enumerate(LENGTHS):
        count = keys if used is None else used[i]
        x, y, z = (
            t.transpose(0, 1) for t in (q[at_q : at_q + queries], k[at_k : at_k + count], v[at_k : at_k + count])
        )
        y, z = (t.repeat_interleave(q.shape[1] // k.shape[1], 0) for t in (y, z))
        place = oracle.arange(count) - oracle.arange(queries)[:, None] - (count - queries)
        seen = oracle.ones(queries, count, dtype=oracle.bool)
        if window_size[0] >= 0:
            seen &= place >= -window_size[0]
        if window_size[1] >= 0:
            seen &= place <= window_size[1]
        scores = (x @ y.mT * scale).masked_fill(~seen, -math.inf)
        outs.append((scores.softmax(-1).nan_to_num(0) @ z).transpose(0, 1))
        sums.append(scores.logsumexp(-1))
        at_q, at_k = at_q + queries, at_k + keys
    return oracle.cat(outs), oracle.cat(sums, -1)


@pytest.mark.parametrize("tier", ["interpreter"], indirect=True)
@pytest.mark.parametrize("window_size", [(-1, -1), (-1, 0), (1, 1), (0, -1)])
def test_windows(window_size, tier):
    check_windows(window_size)


def test_sequences_of_different_lengths(tier):
    check_windows((2, 0))


def check_windows(window_size):
    found = []
    for L in (flambeau, oracle):
        q, k, v, w = tensors(L, (15, 4, 8), (22, 2, 8), (22, 2, 6), (15, 4, 6))
        for t in (q, k, v):
            t.requires_grad_()
        if L is flambeau:
            begin = [starts(L, [pair[i] for pair in LENGTHS]) for i in (0, 1)]
            out, lse = varlen_attn(
                q,
                k,
                v,
                *begin,
                7,
                7,
                scale=0.3,
                window_size=window_size,
                enable_gqa=True,
                return_aux=AuxRequest(lse=True),
            )
        else:
            out, lse = one_by_one(q, k, v, window_size, 0.3)
        (out * w).sum().backward()
        found.append([t.detach().numpy() for t in (out, lse, q.grad, k.grad, v.grad)])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, np.nan_to_num(theirs, neginf=-math.inf), rtol=1e-4, atol=1e-5)


def test_keys_that_do_not_count_and_pages():
    used, window_size = [4, 6, 2, 1, 6], (-1, 0)
    q, k, v = tensors(oracle, (15, 4, 8), (22, 4, 8), (22, 4, 6))
    expected, _ = one_by_one(q, k, v, window_size, 1 / math.sqrt(8), used)
    q, k, v = tensors(flambeau, (15, 4, 8), (22, 4, 8), (22, 4, 6))
    begin_q, begin_k = [starts(flambeau, [pair[i] for pair in LENGTHS]) for i in (0, 1)]
    count = flambeau.tensor(used, dtype=flambeau.int32)
    out = varlen_attn(q, k, v, begin_q, begin_k, 7, 7, seqused_k=count, window_size=window_size)
    np.testing.assert_allclose(out.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    # The same keys in pages of two tokens, which lie in another order.
    table = np.random.default_rng(0).permutation(5 * 4).reshape(5, 4)
    pages_k, pages_v = np.zeros((20, 2, 4, 8), "float32"), np.zeros((20, 2, 4, 6), "float32")
    for n, at in enumerate(begin_k.tolist()[:-1]):
        for i in range(used[n]):
            pages_k[table[n, i // 2], i % 2], pages_v[table[n, i // 2], i % 2] = k[at + i].numpy(), v[at + i].numpy()
    options = {"seqused_k": count, "block_table": flambeau.tensor(table, dtype=flambeau.int32)}
    pages = flambeau.tensor(pages_k), flambeau.tensor(pages_v)
    into = flambeau.empty(15, 4, 6)
    out = varlen_attn_out(into, q, *pages, begin_q, None, 7, 8, window_size=window_size, num_splits=1, **options)
    assert out is into
    np.testing.assert_allclose(out.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


VARLEN_FAULTS = {
    "heads": (ValueError, "Hq=4 and Hkv=2", {"k": (5, 2, 8)}),
    "groups": (ValueError, "multiple of kv heads", {"k": (5, 3, 8), "enable_gqa": True}),
    "a window": (ValueError, "window_size must have length 2, got 1", {"window_size": (1,)}),
    "pages": (
        ValueError,
        "block_table needs seqused_k",
        {"k": (3, 2, 4, 8), "block_table": flambeau.zeros(1, 1).int()},
    ),
    "no keys": (ValueError, "cu_seq_k may be None only with a block_table", {"begin": None}),
    "gradients": (RuntimeError, "seqused_k is an inference-only", {"seqused_k": flambeau.ones(1).int(), "grad": True}),
}


@pytest.mark.parametrize("name", VARLEN_FAULTS)
def test_faults_of_sequences(name):
    kind, message, options = VARLEN_FAULTS[name]
    options = dict(options)
    shape = options.pop("k", (5, 4, 8))
    q, k, v = tensors(flambeau, (5, 4, 8), shape, shape)
    q.requires_grad_(options.pop("grad", False))
    begin = flambeau.tensor([0, 5])
    with pytest.raises(kind, match=message):
        varlen_attn(q, k, v, begin, options.pop("begin", begin), 5, 5, **options)


def test_they_are_not_imported_before_they_are_used():
    code = (
        "import flambeau, flambeau.nn.attention, sys; assert not any('flex' in m or 'varlen' in m for m in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_warned_of():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attend(flambeau, flex)
