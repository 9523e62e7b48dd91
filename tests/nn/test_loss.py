"""Losses: what targets may be, reductions, errors."""

from __future__ import annotations

import pytest
import torch as oracle
from both import same

import flambeau as torch

F = torch.nn.functional


def graded(t, loss, x):
    """A loss with its gradient."""
    value = loss(x)
    value.sum().backward()
    return [value, x.grad]


def logits(t, *shape):
    count = 1
    for n in shape:
        count *= n
    return (t.arange(float(count)).reshape(shape) * 1.7).sin().requires_grad_()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_follows_pytorch(reduction: str, smoothing: float, weighted: bool, tier: str) -> None:
    def program(t):
        settings = {
            "reduction": reduction,
            "label_smoothing": smoothing,
            "ignore_index": 1,
            "weight": t.tensor([0.5, 2.0, 1.5]) if weighted else None,
        }
        target = t.tensor([[0, 1, 2], [2, 2, 1]])
        flat = graded(t, lambda x: t.nn.functional.cross_entropy(x, target[0], **settings), logits(t, 3, 3))
        spatial = graded(t, lambda x: t.nn.functional.cross_entropy(x, target, **settings), logits(t, 2, 3, 3))
        probabilities = logits(t, 2, 3, 3).detach().softmax(1)
        del settings["ignore_index"]
        soft = graded(t, lambda x: t.nn.functional.cross_entropy(x, probabilities, **settings), logits(t, 2, 3, 3))
        return [flat, spatial, soft]

    same(program, rtol=1e-5, atol=1e-6)


def test_where_nothing_counts_the_loss_is_no_number_and_the_gradient_zero(tier: str) -> None:
    same(lambda t: graded(t, lambda x: t.nn.functional.cross_entropy(x, t.tensor([-100, -100])), logits(t, 2, 3)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_of_zero_have_pytorchs_sign(reduction: str, tier: str) -> None:
    sure = [[1000.0, 0.0, 0.0], [0.0, 0.0, 1000.0]]

    def program(t):
        x, likelihoods, target = t.tensor(sure), t.zeros(2, 3), t.tensor([0, 2])
        losses = [
            loss(given, classes, reduction=reduction)
            for loss, values in ((t.nn.functional.nll_loss, likelihoods), (t.nn.functional.cross_entropy, x))
            for given, classes in (
                (values, target),
                (values, t.tensor([0, -100])),
                (values[:1], target[:1]),
                (values[0], target[0]),
                (values[:1, :, None, None], target[:1, None, None]),
            )
        ]
        return [[loss, loss.signbit()] for loss in losses]

    same(program)


def test_logits_of_minus_infinity_do_no_harm(tier: str) -> None:
    def program(t):
        x = t.tensor([[0.0, -float("inf"), 1.0]], requires_grad=True)
        return graded(t, lambda x: t.nn.functional.cross_entropy(x, t.tensor([2])), x)

    same(program, rtol=1e-6)


def test_byte_targets_are_indices() -> None:
    same(lambda t: t.nn.functional.cross_entropy(t.eye(3), t.tensor([0, 1, 2], dtype=t.uint8)), rtol=1e-6)


CLASS_ERRORS = [
    lambda t, f: f(t.randn(2, 3), t.zeros(3).long()),
    lambda t, f: f(t.randn(2, 3), t.zeros(2, 2).long()),
    lambda t, f: f(t.randn(2, 3), t.zeros(2)),
    lambda t, f: f(t.randn(2, 3), t.zeros(2).int()),
    lambda t, f: f(t.randn(2, 3, 4), t.zeros(2, 5).long()),
    lambda t, f: f(t.randn(2, 3, 4, 5), t.zeros(2, 4).long()),
    lambda t, f: f(t.randn(2, 3), t.zeros(2, 3).long()),
    lambda t, f: f(t.randn(2, 3), t.tensor(1)),
    lambda t, f: f(t.randn(3), t.zeros(2).long()),
    lambda t, f: f(t.randn(2, 3), t.zeros(2).long(), t.ones(4)),
    lambda t, f: f(t.randn(2, 3), t.zeros(2).long(), t.ones(3).double()),
    lambda t, f: f(t.randn(2, 3).long(), t.zeros(2).long()),
    lambda t, f: f(t.randn(2, 3), t.tensor([1, 5])),
    lambda t, f: f(t.randn(2, 3), t.tensor([1, -1])),
    lambda t, f: f(t.randn(2, 3), t.tensor([1, 1]), reduction="average"),
]


@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
@pytest.mark.parametrize("program", CLASS_ERRORS)
def test_mistaken_targets_raise_as_in_pytorch(program, name: str) -> None:
    with pytest.raises(Exception, match=r".") as theirs:
        program(oracle, getattr(oracle.nn.functional, name))
    with pytest.raises(type(theirs.value)) as ours:
        program(torch, getattr(F, name))
    assert str(ours.value).startswith(str(theirs.value))


def test_mistaken_targets_name_a_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"but got Float \(cross_entropy: convert class indices with .long\(\)"):
        F.cross_entropy(torch.ones(2, 3), torch.zeros(2))
    with pytest.raises(IndexError, match=r"Target 5 is out of bounds. \(Classes are 0 to 2"):
        F.cross_entropy(torch.ones(2, 3), torch.tensor([0, 5]))


def test_a_class_out_of_range_that_is_computed_first_is_found_as_well() -> None:
    from flambeau import engine

    before = engine.get_tier()
    engine.set_tier("interpreter")
    try:
        with pytest.raises(IndexError, match="Target 4 is out of bounds"):
            F.cross_entropy(torch.ones(2, 3), torch.tensor([1, 2]) * 2).item()
    finally:
        engine.set_tier(before)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.functional.mse_loss(t.ones(2), t.ones(2, 1)),
        lambda t: t.nn.MSELoss(size_average=False)(t.ones(2), t.zeros(2)),
        lambda t: t.nn.functional.binary_cross_entropy_with_logits(t.ones(2), t.ones(3)),
        lambda t: t.nn.functional.binary_cross_entropy(t.ones(2), t.ones(3)),
        lambda t: t.nn.functional.smooth_l1_loss(t.ones(2), t.ones(2), beta=-1.0),
        lambda t: t.nn.functional.huber_loss(t.ones(2), t.ones(2), delta=0.0),
        lambda t: t.nn.functional.kl_div(t.ones(2), t.ones(2)),
        lambda t: t.nn.functional.margin_ranking_loss(t.ones(2), t.ones(2, 1), t.ones(2)),
        lambda t: t.nn.functional.triplet_margin_loss(t.ones(2), t.ones(2), t.ones(2), margin=-1.0),
        lambda t: t.nn.functional.gaussian_nll_loss(t.ones(2), t.ones(2), -t.ones(2)),
        lambda t: t.nn.functional.gaussian_nll_loss(t.ones(2, 3), t.ones(2, 3), t.ones(5)),
        lambda t: t.nn.functional.multi_margin_loss(t.ones(2, 3), t.tensor([0, 1]), p=3),
        lambda t: t.nn.HuberLoss(delta=1j),
        lambda t: t.nn.TripletMarginLoss(margin=0.0),
        lambda t: t.nn.NLLLoss2d(),
    ],
)
def test_errors_and_warnings_are_pytorchs(program) -> None:
    same(program)


def test_probabilities_out_of_range_are_refused() -> None:
    with pytest.raises(RuntimeError, match="all elements of input should be between 0 and 1"):
        F.binary_cross_entropy(torch.tensor([2.0]), torch.tensor([1.0]))


def test_gaussian_nll_passes_gradients_below_the_bound(tier: str) -> None:
    def program(t):
        var = t.tensor([1e-9, 0.5], requires_grad=True)
        t.nn.functional.gaussian_nll_loss(t.ones(2), t.zeros(2), var).backward()
        return var.grad

    same(program, rtol=1e-5)


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_with_targets_in_one_line_and_impossible_ones(zero_infinity: bool, tier: str) -> None:
    def program(t):
        x = logits(t, 5, 3, 4)
        loss = t.nn.CTCLoss(reduction="none", zero_infinity=zero_infinity)
        value = loss(x.log_softmax(2), t.tensor([1, 2, 2, 3, 1, 1, 1, 1, 2]), t.tensor([5, 4, 5]), t.tensor([2, 2, 5]))
        value[:2].sum().backward()
        return [value, x.grad]

    same(program, rtol=1e-4, atol=1e-5)


def test_ctc_of_an_empty_target(tier: str) -> None:
    def program(t):
        x = logits(t, 4, 2, 3)
        value = t.nn.functional.ctc_loss(x.log_softmax(2), t.tensor([[1, 2], [1, 1]]), (4, 3), (0, 1), reduction="none")
        value.sum().backward()
        return [value, x.grad]

    same(program, rtol=1e-4, atol=1e-5)


def test_adaptive_softmax_follows_pytorch() -> None:
    def program(t):
        layer = t.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 12], div_value=2.0, head_bias=True)
        x = logits(t, 6, 8)
        output, loss = layer(x, t.tensor([0, 7, 19, 4, 12, 11]))
        loss.backward()
        grads = [p.grad for p in layer.parameters()]
        return [output, loss, x.grad, grads, layer.log_prob(x), layer.predict(x), str(layer)]

    same(program, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
def test_distances_of_equal_rows_have_no_gradient(p: float, tier: str) -> None:
    def program(t):
        x = t.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 2.0]], requires_grad=True)
        d = t.cdist(x, x.detach(), p=p)
        (d * t.arange(9.0).reshape(3, 3)).sum().backward()
        return [d, x.grad, t.pdist(x.detach(), p)]

    same(program, rtol=1e-5)


def test_distances_by_products_agree_with_direct_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.ops import distance

    torch.manual_seed(0)
    x, y = torch.randn(40, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    found = []
    for limit in (0, 1 << 30):
        monkeypatch.setattr(distance, "DIRECT", limit)
        distance.CDIST.calls.clear()
        d = torch.cdist(x, y)
        found.append([d, *torch.autograd.grad((d * d.detach().sin()).sum(), (x, y))])
        [z._array() for z in found[-1]]
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_second_derivatives_of_cdist_agree_with_the_composed_form() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(5, 4, dtype=torch.float64)

    def composed(x):
        return ((x.unsqueeze(1) - y.unsqueeze(0)) ** 2).sum(-1).sqrt()

    seconds = []
    for form in (lambda x: torch.cdist(x, y), composed):
        (first,) = torch.autograd.grad((form(x) ** 3).sum(), x, create_graph=True)
        seconds.append(torch.autograd.grad((first**2).sum(), x)[0])
    assert torch.allclose(*seconds)


def test_linear_cross_entropy_is_a_layer_and_a_loss() -> None:
    def program(t):
        loss = t.nn.LinearCrossEntropyLoss(3, 4, out_features=(2,), bias=True)
        x = logits(t, 5, 3)
        value = loss(x, t.tensor([[0, 1], [2, 3], [0, 0], [3, 3], [1, 2]]))
        value.backward()
        return [value, x.grad, str(loss), list(loss.state_dict())]

    same(program, rtol=1e-5, atol=1e-6)
