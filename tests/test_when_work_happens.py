"""What docs/differences.md says of when work happens, held against the library."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau
from flambeau import engine
from flambeau.nn import functional

# Expressions of x (4 x 4, symmetric and positive), v (four numbers in [0, 1]) and i (four classes) that look at values.
LOOKING = """
v.tolist()
bool(v[0] > 0)
flambeau.equal(x, x)
flambeau.nonzero(x)
flambeau.masked_select(x, x > 0)
x[x > 0]
x.index_put((x > 0,), v[0])
x.masked_scatter(x > 0, x)
flambeau.unique(i)
flambeau.bincount(i)
flambeau.histc(v)
flambeau.histogram(v, 4)
flambeau.repeat_interleave(v, i)
functional.one_hot(i)
flambeau.bernoulli(v)
flambeau.multinomial(v, 2)
flambeau.poisson(v)
flambeau.normal(v, v)
flambeau.linalg.inv(x)
flambeau.linalg.solve(x, v)
flambeau.linalg.cholesky(x)
flambeau.linalg.lu_factor(x)
flambeau.linalg.ldl_factor(x)
flambeau.linalg.svd(x)
flambeau.linalg.norm(x, 2)
flambeau.linalg.eig(x)
flambeau.linalg.lstsq(x, x)
flambeau.linalg.matrix_rank(x)
flambeau.lobpcg(x, 1)
flambeau.istft(flambeau.stft(x.reshape(-1), 4, return_complex=True, window=v + 1), 4, window=v + 1)
functional.ctc_loss(x[:, None].log_softmax(-1), i[None, 1:2], (i[:1] + 4), (i[:1] + 1))
flambeau.nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2])(x, i)
flambeau.cond(v.sum() > 0, lambda: v, lambda: -v)
v.clone().apply_(abs)
""".strip().splitlines()
RECORDED = """
flambeau.linalg.inv_ex(x)[0]
flambeau.linalg.solve_ex(x, v)[0]
flambeau.linalg.cholesky_ex(x)[0]
flambeau.linalg.lu_factor_ex(x)[0]
flambeau.linalg.lu(x)[2]
flambeau.linalg.eigh(x)[0]
flambeau.linalg.qr(x)[1]
flambeau.linalg.pinv(x)
flambeau.linalg.det(x)
flambeau.linalg.matrix_exp(x)
functional.one_hot(i, 4)
functional.embedding_bag(i, x, i[:2])
flambeau.segment_reduce(v, "sum", lengths=i[1:3] + 1, unsafe=True)
flambeau.searchsorted(v, v)
flambeau.where(x > 0, x, 0 * x)
x.masked_fill(x > 0, 1.0)
flambeau.nan_to_num(v)
flambeau.count_nonzero(x)
""".strip().splitlines()


def operands() -> tuple[Any, Any, Any]:
    x = flambeau.eye(4) * 3 + flambeau.ones(4, 4)
    return x, flambeau.tensor([0.1, 0.9, 0.4, 0.7]), flambeau.tensor([0, 1, 2, 1])


def evaluated(expression: str, x: Any, v: Any, i: Any) -> Any:
    return eval(expression, {"flambeau": flambeau, "functional": functional, "x": x, "v": v, "i": i})


@pytest.mark.parametrize("expression", LOOKING)
def test_what_looks_at_values_cannot_be_captured(expression: str) -> None:
    evaluated(expression, *operands())
    step = flambeau.compile(lambda x, v, i: evaluated(expression, x, v, i))
    with pytest.raises(RuntimeError, match="the value of a tensor is wanted while the function is being captured"):
        step(*operands())


@pytest.mark.parametrize("expression", RECORDED)
def test_what_is_recorded_waits_and_can_be_captured(expression: str) -> None:
    given = [tensor * 1 for tensor in operands()]
    before = engine.statistics()["nodes"]
    plain = evaluated(expression, *given)
    assert engine.statistics()["nodes"] == before, "recording computes nothing"
    found = flambeau.compile(lambda x, v, i: evaluated(expression, x, v, i))(*operands())
    assert flambeau.allclose(found.double(), plain.double(), atol=1e-5)


# A call, a bad argument and what a compiled program gives instead of the error: any number if None.
BY_VALUE: dict[str, tuple[Any, Any, Any]] = {
    "index": (lambda i: flambeau.arange(4)[i], [7], [3]),
    "index_select": (lambda i: flambeau.arange(4).index_select(0, i), [7], [3]),
    "gather": (lambda i: flambeau.arange(4).gather(0, i), [7], [3]),
    "take": (lambda i: flambeau.arange(4).take(i), [7], [3]),
    "embedding": (lambda i: functional.embedding(i, flambeau.eye(3)), [7], [[0.0, 0.0, 1.0]]),
    "index_put": (lambda i: flambeau.zeros(3).index_put((i,), flambeau.ones(1)), [7], [0.0] * 3),
    "scatter": (lambda i: flambeau.zeros(3).scatter(0, i, 1.0), [7], [0.0] * 3),
    "index_add": (lambda i: flambeau.zeros(3).index_add(0, i, flambeau.ones(1)), [7], [0.0] * 3),
    "one_hot": (lambda i: functional.one_hot(i, 3), [7], [[0] * 3]),
    "nll_loss": (lambda i: functional.nll_loss(flambeau.zeros(1, 3), i).isnan(), [7], True),
    "division": (lambda i: flambeau.tensor([1]) // i, [0], None),
    "remainder": (lambda i: flambeau.tensor([1]) % i, [0], None),
    "probability": (lambda p: functional.binary_cross_entropy(p, flambeau.ones(1)).isnan(), [2.0], True),
    "segments": (lambda i: flambeau.segment_reduce(flambeau.ones(2), "sum", lengths=i), [3, -1], None),
}


@pytest.mark.parametrize("name", BY_VALUE)
def test_errors_of_values(name: str, tier: str) -> None:
    call, bad, instead = BY_VALUE[name]
    errors = (IndexError, RuntimeError)
    with flambeau.no_grad():
        with pytest.raises(errors):
            call(flambeau.tensor(bad)).tolist()
        pending = call(flambeau.tensor(bad) * 1)
        if tier == "interpreter":
            with pytest.raises(errors):
                pending.tolist()
        elif instead is None:
            assert pending.numel()
        else:
            assert pending.tolist() == instead
