"""Attention against PyTorch: random configurations, masks, blocks of queries, messages."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle
from both import same
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau.ops import attention, attention_kernels


def assert_close(a, b, atol=1e-5):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=atol)


def attended(library, arrays, mask=None, **options):
    """Result and gradients of queries, keys and values (and of a floating mask)."""
    leaves = [library.tensor(a).requires_grad_(True) for a in arrays]
    if mask is not None:
        mask = library.tensor(mask)
        if mask.dtype is not library.bool:
            leaves.append(mask.requires_grad_(True))
    out = library.nn.functional.scaled_dot_product_attention(*leaves[:3], mask, **options)
    (out * out).sum().backward()
    return [out, *[x.grad for x in leaves]]


def forget():
    """Lets kernels see constants that a test changed: calls are recorded anew."""
    attention.ATTENTION.calls.clear()
    attention.ATTENTION_BACKWARD.calls.clear()


@pytest.fixture(autouse=True)
def forgotten():
    """No test sees the calls, or the tier, that another has left."""
    before = flambeau.engine.get_tier()
    yield
    flambeau.engine.set_tier(before)
    forget()


@st.composite
def problems(draw):
    random = np.random.default_rng(draw(st.integers(0, 99)))
    lead = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    queries, keys, size, out = [draw(st.integers(1, 5)) for _ in range(4)]
    arrays = [random.standard_normal((*lead, *s)).astype("f") for s in ((queries, size), (keys, size), (keys, out))]
    kind = draw(st.sampled_from(["none", "causal", "bool", "float"]))
    options = {"is_causal": kind == "causal", "scale": draw(st.sampled_from([None, 0.3]))}
    mask = None
    if kind in ("bool", "float"):
        shape = [1 if draw(st.booleans()) else n for n in (*lead, queries, keys)]
        mask = random.standard_normal(shape).astype("f")
        mask = mask > 0 if kind == "bool" else mask
    return arrays, mask, options


@settings(max_examples=40, deadline=None)
@given(problems())
def test_scaled_dot_products_agree_with_pytorch(problem):
    arrays, mask, options = problem
    found = attended(flambeau, arrays, mask, **options)
    expected = attended(oracle, arrays, mask, **options)
    # A score's gradient is a difference of products of results' gradients (two results each) with values: where few
    # keys share the weight these cancel, and what is left has the rounding of what cancelled.  PyTorch's own kernel
    # for stacks is as far from zero for one key.
    queries, keys, values = arrays
    cancelling = 2 * (values * values).sum(-1).max() * max(np.abs(queries).max(), np.abs(keys).max())
    out, dq, dk, dv, *dmask = zip(found, expected, strict=True)
    for a, b in (out, dv):
        assert_close(a, b)
    for a, b in (dq, dk, *dmask):
        assert_close(a, b, atol=max(1e-5, 1e-6 * cancelling))


def test_one_key_gets_all_weight_and_its_score_no_gradient():
    random = np.random.default_rng(0)
    q, k, v = [random.standard_normal(shape).astype("f") for shape in ((5, 4), (1, 4), (1, 5))]
    out, dq, dk, dv = attended(flambeau, [q, k, v])
    np.testing.assert_array_equal(out.detach(), np.broadcast_to(v, (5, 5)))
    rounding = 16 * np.finfo("f").eps * (v * v).sum()
    assert max(float(dq.abs().max()), float(dk.abs().max())) <= rounding
    np.testing.assert_allclose(dv, 5 * 2 * v, rtol=1e-6)


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("with_mask", [False, True])
def test_blocks_of_queries_give_the_same(tier, monkeypatch, is_causal, with_mask):
    if is_causal and with_mask:
        is_causal, with_mask = False, True
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((2, 2, 50, 4)).astype("f") for _ in range(3)]
    mask = random.standard_normal((50, 50)).astype("f") if with_mask else None
    whole = attended(flambeau, arrays, mask, is_causal=is_causal)
    monkeypatch.setattr(attention_kernels, "KEPT_WEIGHTS", 0)
    monkeypatch.setattr(attention_kernels, "KEPT_CAUSAL_WEIGHTS", 0)
    monkeypatch.setattr(attention_kernels, "BLOCK_WEIGHTS", 1)
    forget()
    blocked = attended(flambeau, arrays, mask, is_causal=is_causal)
    for a, b in zip(blocked, whole, strict=True):
        assert_close(a, b)


SHARED = {
    "uneven": ((4, 2), (4, 2), 20, 20, {}),
    "heads alone": ((1, 3), (1, 3), 20, 20, {"is_causal": True}),
    "one batch of keys": ((4, 2), (1, 2), 20, 30, {"mask": (4, 1, 20, 30)}),
    "groups of heads": ((3, 4), (3, 2), 40, 20, {"enable_gqa": True, "is_causal": True}),
    "more keys": ((3, 2), (3, 2), 20, 50, {"is_causal": True}),
    "no stack": ((), (), 20, 20, {"mask": (20, 20)}),
    "dropout": ((5, 2), (5, 2), 20, 20, {"dropout_p": 0.5, "mask": (1, 2, 20, 20)}),
}
"""Leading sizes of queries and of keys, numbers of both, and options, the mask's shape among them."""


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("name", SHARED)
def test_shares_that_are_worked_on_at_once_give_the_same(monkeypatch, name, blocked):
    lead, key_lead, queries, keys, options = SHARED[name]
    random = np.random.default_rng(0)
    shapes = [(*lead, queries, 4), (*key_lead, keys, 4), (*key_lead, keys, 4)]
    arrays = [random.standard_normal(shape).astype("f") for shape in shapes]
    mask = random.standard_normal(options["mask"]).astype("f") if "mask" in options else None
    options = {key: value for key, value in options.items() if key != "mask"}
    if blocked:
        monkeypatch.setattr(attention_kernels, "KEPT_WEIGHTS", 0)
        monkeypatch.setattr(attention_kernels, "KEPT_CAUSAL_WEIGHTS", 0)
        monkeypatch.setattr(attention_kernels, "BLOCK_WEIGHTS", 1)
    monkeypatch.setattr(attention_kernels, "SHARED_PRODUCT", 1)
    monkeypatch.setattr(attention_kernels.target, "threads", lambda: 3)
    found = {}
    for tier in ("interpreter", "compiled"):
        forget()
        flambeau.engine.set_tier(tier)
        flambeau.manual_seed(0)
        found[tier] = attended(flambeau, arrays, mask, **options)
    for a, b in zip(found["compiled"], found["interpreter"], strict=True):
        assert_close(a, b)


def test_long_sequences_store_no_table_of_weights():
    q = flambeau.zeros(1, 8, 1024, 2)
    saved = attention.ATTENTION(q, q, q, None, None, 1.0, True, 0.0)[1]
    assert tuple(saved.shape) == (1, 8, 1024)


@pytest.mark.parametrize("blocked", [False, True])
def test_dropout_leaves_out_the_same_weights_both_ways(tier, monkeypatch, blocked):
    if blocked:
        monkeypatch.setattr(attention_kernels, "KEPT_WEIGHTS", 0)
        monkeypatch.setattr(attention_kernels, "KEPT_CAUSAL_WEIGHTS", 0)
        monkeypatch.setattr(attention_kernels, "BLOCK_WEIGHTS", 1)
        forget()
    flambeau.manual_seed(0)
    q, k, v = [flambeau.randn(2, 40, 4, requires_grad=True) for _ in range(3)]
    key = flambeau.ops.dropout.drawn_key(flambeau.device("cpu"))
    out = attention.ATTENTION(q, k, v, None, key, 0.5, False, 0.25)[0]
    expected, weights = attention.written_out(q, k, v, None, key, 0.5, False, 0.25)
    assert_close(out, expected)
    share = float((weights == 0).float().mean())
    assert 0.2 < share < 0.3
    found = flambeau.autograd.grad((out * out).sum(), (q, k, v))
    wanted = flambeau.autograd.grad((expected * expected).sum(), (q, k, v))
    for a, b in zip(found, wanted, strict=True):
        assert_close(a, b, 1e-4)


@pytest.mark.parametrize("options", [{"is_causal": True}, {"enable_gqa": True}, {}])
def test_second_derivatives(options):
    heads = 2 if options.get("enable_gqa") else 4
    random = np.random.default_rng(0)
    arrays = [random.standard_normal((1, n, 3, 2)) for n in (4, heads, heads)]
    results = []
    for library in (flambeau, oracle):
        leaves = [library.tensor(a).requires_grad_(True) for a in arrays]
        with oracle.nn.attention.sdpa_kernel(oracle.nn.attention.SDPBackend.MATH):
            out = library.nn.functional.scaled_dot_product_attention(*leaves, **options)
        first = library.autograd.grad((out * out).sum(), leaves, create_graph=True)
        results.append(library.autograd.grad(sum((g * g).sum() for g in first), leaves))
    for a, b in zip(*results, strict=True):
        assert_close(a, b)


def test_one_tensor_may_be_query_key_and_value():
    x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("f")
    grads = []
    for library in (flambeau, oracle):
        leaf = library.tensor(x).requires_grad_(True)
        with oracle.nn.attention.sdpa_kernel(oracle.nn.attention.SDPBackend.MATH):
            out = library.nn.functional.scaled_dot_product_attention(leaf, leaf, leaf)
        (first,) = library.autograd.grad((out * out).sum(), leaf, create_graph=True)
        grads.append((first, *library.autograd.grad((first * first).sum(), leaf)))
    for a, b in zip(*grads, strict=True):
        assert_close(a, b, 1e-4)


def test_a_query_that_may_attend_to_nothing_gets_zeros(tier):
    q = flambeau.ones(2, 3, requires_grad=True)
    allowed = flambeau.tensor([[True, False], [False, False]])
    out = flambeau.nn.functional.scaled_dot_product_attention(q, q, q, allowed)
    out.sum().backward()
    assert out.tolist() == [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    assert bool(q.grad.isfinite().all())


def test_keys_may_have_one_batch_for_many_queries():
    same(
        lambda torch: torch.nn.functional.scaled_dot_product_attention(
            torch.ones(1, 2, 3), torch.ones(4, 5, 3), torch.arange(15.0).reshape(1, 5, 3)
        ),
        1e-5,
        1e-5,
    )


# ---------------------------------------------------------------- several heads


@st.composite
def modules(draw):
    heads = draw(st.integers(1, 3))
    options = {
        "embed_dim": heads * draw(st.integers(1, 3)),
        "num_heads": heads,
        "bias": draw(st.booleans()),
        "add_bias_kv": draw(st.booleans()),
        "add_zero_attn": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
    }
    if draw(st.booleans()):
        options["kdim"], options["vdim"] = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    call = {
        "need_weights": draw(st.booleans()),
        "average_attn_weights": draw(st.booleans()),
    }
    return options, call


MASKS = st.sampled_from(["none", "bool", "float", "per head", "padding", "both"])
BATCHES = st.sampled_from([None, 1, 2])


@settings(max_examples=40, deadline=None)
@given(modules(), MASKS, BATCHES, st.booleans(), st.integers(0, 99))
def test_multi_head_attention_agrees_with_pytorch(module, masks, batch, to_itself, seed):
    options, call = module
    random = np.random.default_rng(seed)
    queries, keys = 3, 3 if to_itself else 4
    if to_itself:
        options.pop("kdim", None)
        options.pop("vdim", None)
    size = options["embed_dim"]

    def array(length, width):
        lead = (length,) if batch is None else (batch, length) if options["batch_first"] else (length, batch)
        return random.standard_normal((*lead, width)).astype("f")

    arrays = [array(queries, size)]
    if not to_itself:
        arrays += [array(keys, options.get("kdim", size)), array(keys, options.get("vdim", size))]
    given_masks = {}
    rows = (batch or 1) * options["num_heads"]
    # The first key stays, so that no query is left with nothing.
    if masks in ("bool", "float", "per head", "both"):
        mask = random.standard_normal((queries, keys) if masks != "per head" else (rows, queries, keys)).astype("f")
        given_masks["attn_mask"] = mask if masks in ("float", "per head") else (mask > 0) & (np.arange(keys) > 0)
    if masks in ("padding", "both"):
        padding = random.random((batch or 1, keys)) < 0.5
        padding[:, 0] = False
        given_masks["key_padding_mask"] = padding[0] if batch is None else padding
    oracle.manual_seed(seed)
    theirs = oracle.nn.MultiheadAttention(**options)
    ours = flambeau.nn.MultiheadAttention(**options)
    ours.load_state_dict({k: flambeau.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    results = []
    for library, attend in ((flambeau, ours), (oracle, theirs)):
        leaves = [library.tensor(a).requires_grad_(True) for a in arrays]
        inputs = leaves * 3 if to_itself else leaves
        out, weights = attend(*inputs, **call, **{k: library.tensor(m) for k, m in given_masks.items()})
        total = (out * out).sum()
        if weights is not None:
            total = total + (weights * weights).sum()
        total.backward()
        parameters = [p.grad for p in attend.parameters()]
        results.append([out, weights, *[x.grad for x in leaves], *parameters])
    for a, b in zip(*results, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert_close(a, b)


@pytest.mark.parametrize(
    "options", [{}, {"kdim": 3, "vdim": 2}, {"add_bias_kv": True}, {"bias": False, "dropout": 0.1}]
)
def test_a_seed_gives_pytorchs_weights(options):
    same(lambda torch: dict(torch.nn.MultiheadAttention(4, 2, **options).state_dict()), 1e-6)
    same(lambda torch: repr(torch.nn.MultiheadAttention(4, 2, **options)))


def test_a_causal_hint_stands_for_the_mask():
    x = np.random.default_rng(0).standard_normal((4, 2, 6)).astype("f")

    def program(torch):
        attend = torch.nn.MultiheadAttention(6, 2)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(4)
        given = torch.tensor(x)
        results = [
            attend(given, given, given, attn_mask=mask, is_causal=True, need_weights=weights)[0]
            for weights in (False, True)
        ]
        padding = torch.tensor([[False] * 4, [False, False, True, True]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.append(attend(given, given, given, padding, attn_mask=mask, is_causal=True, need_weights=False)[0])
        return results

    same(program, 1e-5, 1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda torch, m, x: m(x[None], x, x),
        lambda torch, m, x: m(x, x[0], x),
        lambda torch, m, x: m(x, x, x, attn_mask=torch.zeros(2, 2)),
        lambda torch, m, x: m(x, x, x, attn_mask=torch.zeros(3, 3, 3)),
        lambda torch, m, x: m(x, x, x, attn_mask=torch.zeros(3)),
        lambda torch, m, x: m(x, x, x, key_padding_mask=torch.zeros(3, 3)),
        lambda torch, m, x: m(x, x, x, key_padding_mask=torch.zeros(2, 4)),
        lambda torch, m, x: m(x, x, x, is_causal=True),
        lambda torch, m, x: m(x[..., :3], x, x),
        lambda torch, m, x: m(x, x[:2], x),
        lambda torch, m, x: m(x, x, x, attn_mask=torch.ones(3, 3, dtype=torch.int64)),
        lambda torch, m, x: m(x, x, x, torch.zeros(2, 3), attn_mask=torch.zeros(3, 3, dtype=torch.bool))[0],
        lambda torch, m, x: torch.nn.MultiheadAttention(5, 2),
        lambda torch, m, x: torch.nn.MultiheadAttention(0, 2),
        lambda torch, m, x: torch.nn.functional.scaled_dot_product_attention(x, x, x.double()),
        lambda torch, m, x: torch.nn.functional.scaled_dot_product_attention(x, x, x, torch.ones(2, 2).long()),
        lambda torch, m, x: torch.nn.functional.scaled_dot_product_attention(x, x, x, torch.ones(2, 2), is_causal=True),
        lambda torch, m, x: torch.nn.functional.scaled_dot_product_attention(x[0, 0], x, x),
    ],
)
def test_messages_are_pytorchs(call):
    same(lambda torch: call(torch, torch.nn.MultiheadAttention(4, 2), torch.ones(3, 2, 4)), 1e-5, 1e-5)


def test_sizes_that_do_not_fit_are_refused():
    q = flambeau.zeros(2, 3, 4)
    attend = flambeau.nn.functional.scaled_dot_product_attention
    with pytest.raises(RuntimeError, match="differ in their last size"):
        attend(q, q[..., :3], q)
    with pytest.raises(RuntimeError, match=r"there are 2 keys .* but 3 values"):
        attend(q, q[:, :2], q)
    with pytest.raises(RuntimeError, match="must divide the number of heads in query"):
        attend(flambeau.zeros(1, 4, 2, 2), *[flambeau.zeros(1, 3, 2, 2)] * 2, enable_gqa=True)
