"""The names that results show for how they came about (``grad_fn=<SumBackward1>``), beside PyTorch's."""

from __future__ import annotations

import pytest
import torch as oracle

import flambeau

EXPRESSIONS = [
    expression.strip()
    for expression in """
    x.sum(); x.sum(1); x.sum((0, 1)); x[0].sum(0); x.mean(); x.mean(-1); x.prod(); x.prod(1); x.nansum()
    x.median(); x.median(1)[0]; x.nanmedian(0)[0]; x.max(); x.max(1)[0]; x.amax(1); x.std(); x.var(1)
    x.norm(); x.norm(dim=1); x.renorm(2, 0, 1); L.linalg.vector_norm(x); L.nn.functional.pairwise_distance(x, x * 2)
    x.t(); x.T; x.transpose(0, 1); x.squeeze(); x.squeeze(0); x.squeeze((0, 1)); x.unsqueeze(0); x.flatten(); x.view(-1)
    x.roll(1); x.roll(1, 0); L.rot90(x); L.rot90(x, 0); L.rot90(x, 2); L.block_diag(x, x); L.cat([x, x])
    x[0]; x[:, 1:]; x[[0, 1]]; x[x > 2]; x.take(L.tensor([0])); x.put(L.tensor([0]), x[0, :1])
    x.masked_select(x > 2); x.index_select(0, L.tensor([0])); x.gather(1, x.long() % 2)
    x.to(L.complex64).real; x.to(L.complex64).imag; L.polar(x, x); L.complex(x, x)
    L.fft.fft(x); L.fft.ifft(x); L.fft.fft2(x); L.fft.fft(x.to(L.complex64)); L.fft.rfft(x)
    L.nn.functional.glu(x.t()); L.nn.functional.rrelu(x); L.nn.functional.rrelu(x, training=True)
    L.nn.functional.prelu(x, L.tensor([0.5])); L.celu(x); L.selu(x); L.nn.functional.elu(x); L.relu(x)
    L.nn.functional.unfold(x.reshape(1, 2, 3), 1); L.nn.functional.fold(x.reshape(2, 3), (1, 3), 1)
    L.nn.functional.embedding_bag(L.tensor([[0, 1]]), x); L.nn.functional.embedding_bag(L.tensor([[0]]), x, mode="sum")
    L.nn.functional.embedding_bag(L.tensor([[0, 1]]), x, mode="max"); L.nn.functional.interpolate(x[None], 4)
    L.nn.functional.interpolate(x[None], 4, mode="linear")
    L.nn.functional.interpolate(x[None, None], 4, mode="bicubic")
    L.nn.functional.interpolate(x[None, None], 4, mode="nearest-exact")
    L.nn.functional.interpolate(x[None, None], 4, mode="bilinear", antialias=True)
    L.nn.functional.avg_pool1d(x[None], 2); L.nn.functional.max_pool1d(x[None], 2)
    L.nn.functional.max_pool2d(x[None], 2)
    L.nn.functional.adaptive_avg_pool1d(x[None], 2); L.nn.functional.adaptive_avg_pool2d(x[None], 1)
    L.nn.functional.adaptive_avg_pool2d(x[None], 2); L.nn.functional.adaptive_avg_pool2d(x[None], (2, 3))
    L.nn.functional.adaptive_max_pool1d(x[None], 2); L.nn.functional.adaptive_max_pool2d(x[None], 2)
    L.nn.functional.max_pool1d(x[None], 2, return_indices=True)[0]; L.nn.functional.adaptive_max_pool2d(x[None], (2, 3))
    L.addmm(x, x @ x.T, x); L.addmv(x[:, 0], x, x[0]); L.addr(x, x[:, 0], x[0]); L.bmm(x[None], x.T[None])
    L.baddbmm(x[None], x[None] @ x.T, x[None]); L.addbmm(x, x[None] @ x.T, x[None])
    L.fmod(x, 2); L.fmod(x, x); L.remainder(x, 2); L.remainder(x, x); L.copysign(x, 1.0); L.copysign(x, x)
    L.log1p(x); L.rad2deg(x); L.special.i1e(x); L.special.xlog1py(x, x)
    L.xlogy(x, 2.0); L.xlogy(2.0, x); L.xlogy(x, x); L.lerp(x, x, 0.5); L.lerp(x, x, x); x.clamp(0, 1); x.clamp(x)
    x.masked_fill(x > 2, 0); x.masked_fill(x > 2, L.tensor(0.0)); L.nn.functional.pad(x, (1, 1), "reflect")
    L.nn.functional.pad(x[None], (1, 1, 0, 0), "replicate"); L.nn.functional.pad(x, (1, 1))
    """.replace("\n", ";").split(";")
    if expression.strip()
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_names_are_pytorchs(expression: str) -> None:
    def name(L):
        x = L.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True)
        return eval(expression, {"x": x, "L": L}).grad_fn.name()

    assert name(flambeau) == name(oracle)
