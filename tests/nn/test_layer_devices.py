"""Modules, optimizers and what trains them on an accelerator."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F
from flambeau.nn.utils import parametrizations, prune
from flambeau.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

pytestmark = pytest.mark.usefixtures("accelerators")

THERE = torch.device("cuda:0")


def _all_there(module: nn.Module) -> None:
    tensors = [*module.parameters(), *module.buffers(), *(p.grad for p in module.parameters() if p.grad is not None)]
    assert {t.device for t in tensors} == {THERE}


def test_a_module_moves_in_place():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    parameters = list(model.parameters())
    assert model.cuda() is model
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    model(torch.ones(3, 2, device=THERE)).sum().backward()
    _all_there(model)
    with pytest.raises(RuntimeError, match="at least two devices"):
        model(torch.ones(3, 2))
    model.cpu()
    assert {p.grad.device.type for p in model.parameters() if p.grad is not None} == {"cpu"}
    model.to("cuda:1", torch.float64, non_blocking=True)
    assert {(p.device.index, p.dtype) for p in model.parameters()} == {(1, torch.float64)}
    assert model.to_empty(device="cuda")[0].weight.device is THERE


def test_states_are_loaded_to_where_they_are_needed():
    here, there = nn.Linear(2, 2), nn.Linear(2, 2).cuda()
    weight = there.weight
    there.load_state_dict(here.state_dict())
    assert there.weight is weight
    assert weight.device is THERE
    assert torch.equal(weight.cpu(), here.weight)
    here.load_state_dict(nn.Linear(2, 2, device="cuda").state_dict())
    assert here.weight.device.type == "cpu"


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "Adam": {"amsgrad": True},
    "NAdam": {},
    "ASGD": {},
    "RMSprop": {"momentum": 0.9},
    "LBFGS": {},
}


def _trained(name: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x = torch.ones(4, 3, device=model.weight.device)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizers_state_follows_its_parameters(name):
    torch.manual_seed(0)
    here = nn.Linear(3, 2)
    there = nn.Linear(3, 2)
    there.load_state_dict(here.state_dict())
    there.to(THERE)
    kind = getattr(torch.optim, name)
    mine, other = kind(here.parameters(), **OPTIMIZERS[name]), kind(there.parameters(), **OPTIMIZERS[name])
    _trained(name, here, mine)
    _trained(name, there, other)
    np.testing.assert_allclose(there.weight.cpu().detach().numpy(), here.weight.detach().numpy(), rtol=1e-4, atol=1e-6)
    # Each goes on from the other's state.
    states = mine.state_dict(), other.state_dict()
    mine.load_state_dict(states[1])
    other.load_state_dict(states[0])
    for optimizer, device in ((mine, "cpu"), (other, "cuda")):
        moments = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, torch.Tensor) and t.ndim]
        assert {t.device.type for t in moments} <= {device}
    _trained(name, there, other)
    _all_there(there)


def test_one_optimizer_updates_parameters_on_several_devices():
    first, second = nn.Linear(2, 3).to("cuda:0"), nn.Linear(3, 1).to("cuda:1")
    together = [*first.parameters(), *second.parameters()]
    optimizer = torch.optim.Adam(together, lr=0.1)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = second(first(torch.ones(4, 2, device="cuda:0")).to("cuda:1")).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(together, 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    assert [p.device.index for p in together] == [0, 0, 1, 1]
    assert [optimizer.state[p]["exp_avg"].device.index for p in together] == [0, 0, 1, 1]


def test_scaled_training_in_half_precision():
    model = nn.Linear(4, 4).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda")
    x = torch.ones(2, 4, device=THERE)
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            y = model(x)
        assert y.dtype is torch.float16
        scaler.scale(y.sum()).backward()
        scaler.unscale_(optimizer)
        assert nn.utils.clip_grad_norm_(model.parameters(), 1.0).device is THERE
        scaler.step(optimizer)
        scaler.update()
    _all_there(model)
    with torch.autocast("cpu"):
        assert model(x).dtype is torch.float32


def test_averages_of_weights():
    from flambeau.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).cuda()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    elsewhere = AveragedModel(model, device="cpu")
    for _ in range(2):
        average.update_parameters(model)
        elsewhere.update_parameters(model)
    update_bn([torch.arange(6.0).reshape(3, 2)], average, device=THERE)
    assert {p.device for p in average.module.parameters()} == {THERE}
    assert {p.device.type for p in elsewhere.parameters()} == {"cpu"}


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints_compute_again_there(use_reentrant):
    from flambeau.utils.checkpoint import checkpoint

    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2)).cuda()
    x = torch.ones(3, 2, device=THERE, requires_grad=True)
    checkpoint(model, x, use_reentrant=use_reentrant).sum().backward()
    assert x.grad is not None
    assert x.grad.device is THERE
    _all_there(model)


PARAMETRIZED = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "l1_unstructured": lambda m: prune.l1_unstructured(m, "weight", 0.3),
    "ln_structured": lambda m: prune.ln_structured(m, "weight", 0.4, n=2, dim=0),
    "random_structured": lambda m: prune.random_structured(m, "weight", 0.4, dim=0),
}


@pytest.mark.parametrize("change", PARAMETRIZED.values(), ids=PARAMETRIZED)
def test_parametrizations(change):
    model = nn.Linear(3, 3).cuda()
    change(model)
    y = model(torch.ones(2, 3, device=THERE))
    y.sum().backward()
    _all_there(model)
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN", "Recurrent"])
def test_packed_sequences_have_their_lengths_on_the_cpu(kind):
    torch.manual_seed(0)
    here = nn.Recurrent(nn.GRUCell(3, 4)) if kind == "Recurrent" else getattr(nn, kind)(3, 4, bidirectional=True)
    x, lengths = torch.randn(5, 3, 3), torch.tensor([2, 5, 3])
    wanted, _ = pad_packed_sequence(here(pack_padded_sequence(x, lengths, enforce_sorted=False))[0])
    there = here.cuda()
    packed = pack_padded_sequence(x.cuda(), lengths, enforce_sorted=False)
    assert packed.is_cuda
    assert packed.batch_sizes.device.type == "cpu"
    assert packed.sorted_indices is not None
    assert packed.sorted_indices.device is THERE
    y, _ = there(packed)
    found, again = pad_packed_sequence(y)
    assert torch.equal(again, lengths)
    np.testing.assert_allclose(found.cpu().detach().numpy(), wanted.detach().numpy(), rtol=1e-5, atol=1e-6)
    found.sum().backward()
    _all_there(there)
    with pytest.raises(RuntimeError, match="should be a 1D CPU int64 tensor"):
        pack_padded_sequence(x.cuda(), lengths.cuda(), enforce_sorted=False)


def test_ctc_takes_lengths_of_any_device():
    x = F.log_softmax(torch.arange(48.0).reshape(6, 2, 4).sin(), -1)
    targets = torch.tensor([[1, 2], [2, 3]])
    wanted = F.ctc_loss(x, targets, (6, 5), (2, 1)).item()
    there = x.cuda()
    for lengths in (torch.tensor([6, 5]), torch.tensor([6, 5], device=THERE), (6, 5)):
        loss = F.ctc_loss(there, targets.cuda(), lengths, torch.tensor([2, 1]))
        assert loss.device is THERE
        assert loss.item() == pytest.approx(wanted, rel=1e-5)
    # The form of cuDNN's that takes all targets in a line from the CPU.
    assert F.ctc_loss(there, torch.tensor([1, 2, 2], dtype=torch.int32), (6, 5), (2, 1)).item() == pytest.approx(wanted)
    with pytest.raises(RuntimeError, match="at least two devices"):
        F.ctc_loss(there, targets, (6, 5), (2, 1))


def test_masks_of_attention():
    torch.manual_seed(0)
    model = nn.Transformer(4, 2, 1, 1, 8, dropout=0.0, batch_first=True)
    x = torch.randn(2, 3, 4)
    padding = torch.tensor([[False, False, True], [False, False, False]])

    def run(device: str) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(3, device=device)
        given = x.to(device)
        with warnings.catch_warnings():
            # Masks of two types.
            warnings.simplefilter("ignore")
            return model.to(device)(given, given, tgt_mask=mask, src_key_padding_mask=padding.to(device))

    here, there = run("cpu"), run("cuda")
    assert there.device is THERE
    np.testing.assert_allclose(there.cpu().detach().numpy(), here.detach().numpy(), rtol=1e-5, atol=1e-6)
    attention = nn.MultiheadAttention(4, 2, batch_first=True).cuda()
    q = x.cuda()
    with pytest.raises(RuntimeError, match="at least two devices"):
        attention(q, q, q, attn_mask=torch.zeros(3, 3))


def test_a_causal_bias_goes_where_the_queries_are():
    from flambeau.nn.attention.bias import causal_lower_right
    from flambeau.nn.attention.flex_attention import create_block_mask, create_mask

    x = torch.randn(1, 2, 4, 8, device=THERE)
    found = F.scaled_dot_product_attention(x, x, x, attn_mask=causal_lower_right(4, 4))
    wanted = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    np.testing.assert_allclose(found.cpu().numpy(), wanted.cpu().numpy(), rtol=1e-5, atol=1e-6)
    assert create_mask(lambda b, h, q, k: q >= k, 1, 1, 4, 4).device is THERE
    assert create_block_mask(lambda b, h, q, k: q >= k, 1, 1, 8, 8, "cpu", 4).kv_indices.device.type == "cpu"


def test_pinned_memory_is_there_if_an_accelerator_is():
    from flambeau.utils.data import DataLoader, TensorDataset

    for x, y in DataLoader(TensorDataset(torch.ones(4, 2), torch.zeros(4)), batch_size=2, pin_memory=True):
        assert x.to("cuda", non_blocking=True).device is THERE
        assert y.device.type == "cpu"
    for (x,) in DataLoader(TensorDataset(torch.ones(4, 2, device=THERE)), batch_size=2, shuffle=True):
        assert x.device is THERE
