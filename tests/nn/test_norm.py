"""Normalization: running statistics, evaluation, mixed types, errors."""

from __future__ import annotations

import pytest
import torch as oracle
from both import same

import flambeau as torch

F = torch.nn.functional


def trained(t, layer, *shape):
    """Two steps of training, one of evaluation: outputs, gradients, state."""
    outputs = []
    for step in range(2):
        x = (t.arange(float(_count(shape))).reshape(shape) * 0.37 + step).sin().requires_grad_()
        y = layer(x)
        (y * y * t.arange(float(_count(shape))).reshape(shape)).sum().backward()
        outputs += [y, x.grad]
    layer.eval()
    outputs.append(layer(x))
    return [*outputs, dict(layer.state_dict()), [p.grad for p in layer.parameters()]]


def _count(shape) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda t: t.nn.BatchNorm1d(3), (4, 3)),
        (lambda t: t.nn.BatchNorm1d(3, momentum=None), (4, 3, 2)),
        (lambda t: t.nn.BatchNorm2d(3, affine=False), (2, 3, 2, 2)),
        (lambda t: t.nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 2, 2)),
        (lambda t: t.nn.BatchNorm3d(2, momentum=0.5, bias=False), (2, 2, 2, 1, 3)),
        (lambda t: t.nn.InstanceNorm1d(3, affine=True, track_running_stats=True), (2, 3, 4)),
        (lambda t: t.nn.InstanceNorm2d(3), (2, 3, 2, 2)),
        (lambda t: t.nn.LayerNorm((3, 4)), (2, 3, 4)),
        (lambda t: t.nn.LayerNorm(4, bias=False), (2, 3, 4)),
        (lambda t: t.nn.GroupNorm(2, 4), (2, 4, 3)),
        (lambda t: t.nn.RMSNorm(4), (2, 3, 4)),
        (lambda t: t.nn.LocalResponseNorm(3), (2, 4, 3)),
        (lambda t: t.nn.CrossMapLRN2d(4, alpha=0.5), (2, 2, 3, 2)),
        (lambda t: t.nn.LazyBatchNorm1d(), (4, 3)),
        (lambda t: t.nn.LazyInstanceNorm2d(), (2, 3, 2, 2)),
    ],
)
def test_training_and_evaluation_follow_pytorch(make, shape: tuple[int, ...], tier: str) -> None:
    same(lambda t: trained(t, make(t), *shape), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda t: t.nn.BatchNorm2d(3, momentum=None),
        lambda t: t.nn.InstanceNorm1d(2),
        lambda t: t.nn.LayerNorm(4, elementwise_affine=False),
        lambda t: t.nn.GroupNorm(2, 4, bias=False),
        lambda t: t.nn.RMSNorm((2, 3)),
        lambda t: t.nn.LocalResponseNorm(2),
        lambda t: t.nn.SyncBatchNorm(2),
    ],
)
def test_layers_print_and_store_as_pytorchs(make) -> None:
    same(lambda t: [str(make(t)), dict(make(t).state_dict())])


def test_running_statistics_stay_out_of_differentiation() -> None:
    layer = torch.nn.BatchNorm1d(2)
    mean = layer.running_mean
    layer(torch.randn(4, 2, requires_grad=True))
    assert layer.running_mean is mean
    assert not mean.requires_grad
    assert bool((mean != 0).all())


def test_an_empty_batch_leaves_running_statistics_alone() -> None:
    layer = torch.nn.BatchNorm1d(2)
    assert layer(torch.ones(0, 2)).shape == (0, 2)
    assert layer.running_mean.tolist() == [0.0, 0.0]
    assert layer.num_batches_tracked.item() == 1


def test_half_precision_input_with_single_precision_parameters(tier: str) -> None:
    def program(t):
        layer = t.nn.BatchNorm1d(2)
        y = layer(t.tensor([[1.0, 2.0], [3.0, 5.0]]).bfloat16())
        return [y, layer.running_var]

    same(program, rtol=1e-2)


def test_state_without_a_count_of_batches_is_loaded() -> None:
    layer = torch.nn.BatchNorm1d(2)
    state = layer.state_dict()
    del state["num_batches_tracked"]
    state._metadata[""]["version"] = 1
    layer.load_state_dict(state)


def test_sync_batch_norm_takes_over_what_a_layer_has() -> None:
    layer = torch.nn.Sequential(torch.nn.BatchNorm1d(2), torch.nn.ReLU())
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(layer)
    assert type(converted[0]) is torch.nn.SyncBatchNorm
    x = torch.randn(4, 2)
    assert torch.equal(converted(x), torch.nn.BatchNorm1d(2)(x).relu())


ERRORS = [
    lambda t: t.nn.BatchNorm1d(3)(t.ones(1, 3)),
    lambda t: t.nn.BatchNorm1d(3)(t.ones(4, 2)),
    lambda t: t.nn.BatchNorm1d(3)(t.ones(4)),
    lambda t: t.nn.BatchNorm2d(3)(t.ones(4, 3)),
    lambda t: t.nn.BatchNorm3d(3)(t.ones(4, 3)),
    lambda t: t.nn.BatchNorm1d(3)(t.ones(4, 3).double()),
    lambda t: t.nn.InstanceNorm2d(3, affine=True)(t.ones(2, 4, 2, 2)),
    lambda t: t.nn.InstanceNorm2d(3)(t.ones(2, 3, 1, 1)),
    lambda t: t.nn.LayerNorm(3)(t.ones(2, 4)),
    lambda t: t.nn.LayerNorm(3)(t.ones(2, 3).double()),
    lambda t: t.nn.GroupNorm(2, 3),
    lambda t: t.nn.GroupNorm(2, 4)(t.ones(2, 6)),
    lambda t: t.nn.functional.batch_norm(t.ones(2, 3), None, None),
    lambda t: t.nn.functional.layer_norm(t.ones(2, 3), ()),
    lambda t: t.nn.functional.local_response_norm(t.ones(2, 3), 2),
]


@pytest.mark.parametrize("program", ERRORS)
def test_errors_begin_as_pytorchs(program) -> None:
    with pytest.raises(Exception, match=r".") as theirs:
        program(oracle)
    with pytest.raises(type(theirs.value)) as ours:
        program(torch)
    assert str(ours.value).startswith(str(theirs.value).split("\n")[0])


def test_one_value_per_channel_names_remedies() -> None:
    with pytest.raises(ValueError, match=r"got input size torch.Size\(\[1, 3\]\) \(batch_norm: .*drop_last=True"):
        torch.nn.BatchNorm1d(3)(torch.ones(1, 3))
