"""The tutorial's programs on Flambeau and on PyTorch, side by side.

A program is a function of the library (and of the module that it calls ``F``). It prints, and
returns tensors. Run on both libraries, it must print the same text, warn in the same words and
return the same values.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import flambeau
import flambeau.functional

pytestmark = pytest.mark.usefixtures("tier")

# Sums of float32 in another order differ by a few units in the last place.
TOLERANCE = {"float32": (1e-5, 1e-6), "float64": (1e-12, 1e-12)}


def observe(program: Callable, library: Any, functional: Any, *arguments: Any):
    """What a program prints, warns of and returns on one library."""
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        library.manual_seed(0)
        result = program(library, functional, *arguments)
    return printed.getvalue(), [(w.category, str(w.message)) for w in caught], result


def same(ours: Any, theirs: Any, tolerance=TOLERANCE, where: str = "result") -> None:
    """Hold a result, or a structure of results, against PyTorch's."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, flambeau.Tensor), where
        assert tuple(ours.shape) == tuple(theirs.shape), where
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1], where
        assert ours.requires_grad == theirs.requires_grad, where
        rtol, atol = tolerance.get(str(theirs.dtype).split(".")[-1], (0, 0))
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=atol, err_msg=where)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            same(ours[key], theirs[key], tolerance, f"{where}[{key!r}]")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same(one, other, tolerance, f"{where}[{i}]")
    else:
        assert ours == theirs, where


def side_by_side(program: Callable, *arguments: Any, tolerance=TOLERANCE) -> str:
    """Run a program on both libraries and compare everything; the text that it printed."""
    printed, warned, result = observe(program, flambeau, flambeau.functional, *arguments)
    wanted = observe(program, torch, torch.nn.functional, *arguments)
    assert printed == wanted[0]
    assert warned == wanted[1]
    same(result, wanted[2], tolerance)
    return printed


def gradients(model) -> dict:
    """The gradients of a model's parameters by name."""
    return {name: p.grad for name, p in model.named_parameters()}


def tiny_model(torch):
    """Two linear layers with a softmax that has not been told its dimension."""

    class TinyModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear1 = torch.nn.Linear(100, 200)
            self.activation = torch.nn.ReLU()
            self.linear2 = torch.nn.Linear(200, 10)
            self.softmax = torch.nn.Softmax()

        def forward(self, x):
            x = self.linear1(x)
            x = self.activation(x)
            x = self.linear2(x)
            x = self.softmax(x)
            return x

    return TinyModel()


def lenet(torch, F):
    """LeNet for 36x36 images: what it flattens it counts itself."""

    class LeNet(torch.nn.Module):
        def __init__(self):
            super(LeNet, self).__init__()  # noqa: UP008 - the long form is what old programs write
            self.conv1 = torch.nn.Conv2d(1, 6, 5)
            self.conv2 = torch.nn.Conv2d(6, 16, 5)
            self.fc1 = torch.nn.Linear(16 * 6 * 6, 120)
            self.fc2 = torch.nn.Linear(120, 84)
            self.fc3 = torch.nn.Linear(84, 10)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.conv1(x)), (2, 2))
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            x = x.view(-1, self.num_flat_features(x))
            x = F.relu(self.fc1(x))
            x = F.relu(self.fc2(x))
            x = self.fc3(x)
            return x

        def num_flat_features(self, x):
            features = 1
            for size in x.size()[1:]:
                features *= size
            return features

    return LeNet()


def tagger(torch, F, *sizes):
    """The LSTM tagger, one sentence at a time."""

    class LSTMTagger(torch.nn.Module):
        def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
            super().__init__()
            self.hidden_dim = hidden_dim
            self.word_embeddings = torch.nn.Embedding(vocab_size, embedding_dim)
            self.lstm = torch.nn.LSTM(embedding_dim, hidden_dim)
            self.hidden2tag = torch.nn.Linear(hidden_dim, tagset_size)

        def forward(self, sentence):
            embeds = self.word_embeddings(sentence)
            lstm_out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
            tag_space = self.hidden2tag(lstm_out.view(len(sentence), -1))
            return F.log_softmax(tag_space, dim=1)

    return LSTMTagger(*sizes)


def test_tiny_model_prints_itself_and_its_parameters():
    def program(torch, F):
        model = tiny_model(torch)
        print("The model:")
        print(model)
        print("\n\nJust one layer:")
        print(model.linear2)
        print("\n\nModel params:")
        for param in model.parameters():
            print(param)
        print("\n\nLayer params:")
        for param in model.linear2.parameters():
            print(param)

    printed = side_by_side(program)
    assert "(linear1): Linear(in_features=100, out_features=200, bias=True)" in printed
    assert printed.count("Parameter containing:") == 6


def test_softmax_without_a_dim_warns_as_pytorch_does():
    def program(torch, F):
        return tiny_model(torch)(torch.rand(4, 100))

    side_by_side(program)
    _, warned, _ = observe(program, flambeau, flambeau.functional)
    ((category, message),) = warned
    assert category is UserWarning
    assert message.startswith("Implicit dimension choice for softmax has been deprecated")


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW"])
def test_tiny_model_trains(optimizer):
    def program(torch, F):
        model = tiny_model(torch)
        model.softmax = torch.nn.Identity()
        # Adam divides by the root of the squared gradient: with its own eps, noise in a gradient near 0 is visible.
        options = {} if optimizer == "SGD" else {"eps": 1e-3}
        optim = getattr(torch.optim, optimizer)(model.parameters(), lr=0.01, **options)
        x = torch.rand(64, 100)
        labels = torch.randint(0, 10, (64,))
        losses = []
        for _ in range(3):
            optim.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            optim.step()
            losses.append(loss)
        return losses, model.state_dict()

    side_by_side(program, tolerance={"float32": (1e-4, 1e-5)})


def test_linear_layer_prints_parameters_and_grad_fn():
    def program(torch, F):
        lin = torch.nn.Linear(3, 2)
        x = torch.rand(1, 3)
        print("Input:")
        print(x)
        print("\n\nWeight and Bias parameters:")
        for param in lin.parameters():
            print(param)
        y = lin(x)
        print("\n\nOutput:")
        print(y)
        return x, y, x @ lin.weight.T + lin.bias

    printed = side_by_side(program)
    assert printed.count("Parameter containing:\ntensor(") == 2
    assert printed.count("requires_grad=True)") == 2
    assert printed.rstrip().endswith("grad_fn=<AddmmBackward0>)")
    _, _, (_, y, formula) = observe(program, flambeau, flambeau.functional)
    np.testing.assert_allclose(y.detach().numpy(), formula.detach().numpy(), rtol=1e-6)


def test_lenet_trains_on_36x36():
    def program(torch, F):
        model = lenet(torch, F)
        print(model)
        optim = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        x = torch.rand(4, 1, 36, 36)
        labels = torch.tensor([3, 1, 4, 1])
        outputs = []
        for _ in range(2):
            optim.zero_grad()
            y = F.log_softmax(model(x), dim=1)
            F.nll_loss(y, labels).backward()
            outputs.append((y, gradients(model)))
            optim.step()
        return outputs, model.state_dict()

    side_by_side(program)


def test_lenet_on_32x32_names_the_layer_and_both_sizes():
    model = lenet(flambeau, flambeau.functional)
    image = flambeau.rand(1, 1, 32, 32)
    before = image.numpy().copy()
    with pytest.raises(RuntimeError) as caught:
        model(image)
    assert "mat1 and mat2 shapes cannot be multiplied (1x400 and 576x120)" in str(caught.value)
    notes = "\n".join(caught.value.__notes__)
    assert "LeNet.fc1" in notes
    assert "Linear(in_features=576, out_features=120, bias=True)" in notes
    assert "(1, 400)" in notes
    np.testing.assert_array_equal(image.numpy(), before)
    assert all(p.grad is None for p in model.parameters())


def test_lstm_tagger_learns_one_sentence_at_a_time():
    sentences = [[0, 1, 2, 3, 4], [5, 6, 7, 8], [4, 2], [7], [1, 3, 5, 7, 2, 4, 6]]

    def program(torch, F):
        model = tagger(torch, F, 6, 5, 9, 3)
        print(model)
        optim = torch.optim.SGD(model.parameters(), lr=0.1)
        loss_function = torch.nn.NLLLoss()
        scores = []
        for sentence in sentences:
            model.zero_grad()
            tag_scores = model(torch.tensor(sentence, dtype=torch.long))
            targets = torch.tensor([word % 3 for word in sentence], dtype=torch.long)
            loss_function(tag_scores, targets).backward()
            optim.step()
            scores.append(tag_scores)
        return scores, gradients(model), model.state_dict()

    side_by_side(program)


def test_thirty_lengths_cost_no_compilation_on_the_first_pass():
    # Whatever ran before: the choice between the tiers is what this is about.
    flambeau.engine.set_tier("auto")
    model = tagger(flambeau, flambeau.functional, 6, 5, 9, 3)
    before = flambeau.engine.statistics()
    for length in range(1, 31):
        model(flambeau.arange(length) % 9).sum().item()
    after = flambeau.engine.statistics()
    assert after["programs_compiled"] == before["programs_compiled"]
    assert after["runs_interpreted"] - before["runs_interpreted"] >= 30


def test_max_pooling_shrinks_a_tensor():
    def program(torch, F):
        my_tensor = torch.rand(1, 6, 6)
        print(my_tensor)
        maxpool_layer = torch.nn.MaxPool2d(3)
        print(maxpool_layer)
        print(maxpool_layer(my_tensor))
        return maxpool_layer(my_tensor)

    side_by_side(program)


def test_batch_norm_centres_a_tensor():
    def program(torch, F):
        my_tensor = torch.rand(1, 4, 4) * 20 + 5
        print(my_tensor)
        print(my_tensor.mean())
        norm_layer = torch.nn.BatchNorm1d(4)
        print(norm_layer)
        normed_tensor = norm_layer(my_tensor)
        normed_tensor.square().sum().backward()
        state = norm_layer.state_dict()
        norm_layer.eval()
        return normed_tensor, state, norm_layer(my_tensor)

    side_by_side(program)
    _, _, (normed, _, _) = observe(program, flambeau, flambeau.functional)
    assert abs(normed.mean().item()) < 1e-6


def test_dropout_draws_anew_scales_and_rests_in_eval_mode():
    flambeau.manual_seed(0)
    my_tensor = flambeau.rand(16, 64) + 0.5
    dropout = flambeau.nn.Dropout(p=0.4)
    assert repr(dropout) == repr(torch.nn.Dropout(p=0.4))
    first, second = dropout(my_tensor).numpy(), dropout(my_tensor).numpy()
    assert ((first == 0) != (second == 0)).any()
    for dropped in (first, second):
        kept = dropped != 0
        np.testing.assert_allclose(dropped[kept], my_tensor.numpy()[kept] / 0.6, rtol=1e-6)
        # Within five standard deviations of a fair draw of 1,024.
        assert abs(kept.mean() - 0.6) < 5 * (0.6 * 0.4 / kept.size) ** 0.5
    dropout.eval()
    np.testing.assert_array_equal(dropout(my_tensor).numpy(), my_tensor.numpy())


def test_dropout_repeats_with_its_seed_and_masks_its_gradient():
    dropout = flambeau.nn.Dropout(p=0.4)
    results = []
    for _ in range(2):
        flambeau.manual_seed(7)
        x = flambeau.ones(4, 8, requires_grad=True)
        y = dropout(x)
        y.sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())
        results.append(y.detach().numpy())
    np.testing.assert_array_equal(*results)


def test_transformer_classes_print_themselves():
    def program(torch, F):
        print(torch.nn.Transformer(16, 2, 1, 1, 32))
        print(torch.nn.TransformerEncoderLayer(16, 2, 32))
        print(torch.nn.TransformerDecoderLayer(16, 2, 32))

    side_by_side(program)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_decoder_with_causal_and_padding_masks(batch_first, norm_first):
    def program(torch, F):
        model = torch.nn.Transformer(
            d_model=16,
            nhead=4,
            num_encoder_layers=2,
            num_decoder_layers=2,
            dim_feedforward=32,
            dropout=0.0,
            batch_first=batch_first,
            norm_first=norm_first,
        )
        source, target = torch.rand(3, 7, 16), torch.rand(3, 5, 16)
        if not batch_first:
            source, target = source.transpose(0, 1), target.transpose(0, 1)
        lengths = torch.tensor([7, 4, 5])
        padding = torch.arange(7).unsqueeze(0) >= lengths.unsqueeze(1)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(5).isinf()
        out = model(
            source,
            target,
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        optim = torch.optim.SGD(model.parameters(), lr=0.1)
        (out * out.detach().flip(-1)).mean().backward()
        optim.step()
        print(out.shape)
        return causal, out, gradients(model), model.state_dict()

    side_by_side(program, tolerance={"float32": (1e-4, 1e-5)})


def test_causal_mask_hides_what_comes_later():
    layer = flambeau.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    mask = flambeau.nn.Transformer.generate_square_subsequent_mask(6)
    x = flambeau.rand(1, 6, 8)
    changed = flambeau.cat([x[:, :4], x[:, 4:] + 1], dim=1)
    before = layer(x, src_mask=mask, is_causal=True).detach().numpy()
    after = layer(changed, src_mask=mask, is_causal=True).detach().numpy()
    np.testing.assert_allclose(before[:, :4], after[:, :4], rtol=1e-6, atol=1e-7)
    assert (abs(before[:, 4:] - after[:, 4:]) > 1e-3).any()


def test_bert_shaped_encoder():
    def program(torch, F):
        class Encoder(torch.nn.Module):
            def __init__(self, words, places, width, heads, layers):
                super().__init__()
                self.words = torch.nn.Embedding(words, width, padding_idx=0)
                self.places = torch.nn.Embedding(places, width)
                self.segments = torch.nn.Embedding(2, width)
                self.norm = torch.nn.LayerNorm(width, eps=1e-12)
                layer = torch.nn.TransformerEncoderLayer(
                    width, heads, 4 * width, 0.0, activation="gelu", batch_first=True
                )
                self.encoder = torch.nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
                self.pooler = torch.nn.Linear(width, width)

            def forward(self, tokens, segments):
                places = torch.arange(tokens.shape[1])
                x = self.words(tokens) + self.places(places) + self.segments(segments)
                x = self.encoder(self.norm(x), src_key_padding_mask=tokens == 0)
                return x, torch.tanh(self.pooler(x[:, 0]))

        model = Encoder(50, 12, 24, 3, 2)
        print(model)
        tokens = torch.randint(1, 50, (3, 12))
        tokens[1, 8:] = 0
        tokens[2, 5:] = 0
        segments = (torch.arange(12) > 5).long().expand(3, 12)
        hidden, pooled = model(tokens, segments)
        optim = torch.optim.SGD(model.parameters(), lr=0.1)
        F.mse_loss(pooled, torch.zeros_like(pooled)).backward()
        optim.step()
        print(hidden.shape, pooled.shape)
        return tokens, hidden[:, :5], pooled, gradients(model), model.state_dict()

    side_by_side(program, tolerance={"float32": (1e-4, 1e-5)})


ACTIVATIONS = {
    "ReLU": {},
    "LeakyReLU": {"negative_slope": 0.2},
    "ReLU6": {},
    "PReLU": {},
    "ELU": {"alpha": 0.7},
    "SELU": {},
    "CELU": {"alpha": 0.7},
    "GELU": {},
    "SiLU": {},
    "Tanh": {},
    "Hardtanh": {"min_val": -0.5, "max_val": 2.0},
    "Sigmoid": {},
    "LogSigmoid": {},
    "Softplus": {},
    "Softsign": {},
    "Softmax": {"dim": 1},
    "LogSoftmax": {"dim": 1},
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name):
    def program(torch, F):
        # Both sides of every kink, beyond every clamp, and where an exponential would overflow.
        x = torch.linspace(-8, 8, 34).reshape(2, 17)
        x[0, 0] = -200
        x[1, 16] = 200
        x.requires_grad_()
        layer = getattr(torch.nn, name)(**ACTIVATIONS[name])
        print(layer)
        y = layer(x)
        (y * torch.linspace(1, 2, 34).reshape(2, 17)).sum().backward()
        return y, x.grad

    side_by_side(program)


def numbers(torch):
    """A target of any numbers."""
    return torch.linspace(-1, 1, 20).reshape(4, 5)


def classes(torch):
    """A target of class numbers."""
    return torch.tensor([1, 0, 4, 1])


def likelihoods(torch):
    """A target of numbers from 0 to 1."""
    return torch.linspace(0, 1, 20).reshape(4, 5)


LOSSES = {
    "MSELoss": numbers,
    "L1Loss": numbers,
    "SmoothL1Loss": numbers,
    "HuberLoss": numbers,
    "CrossEntropyLoss": classes,
    "NLLLoss": classes,
    "BCELoss": likelihoods,
    "BCEWithLogitsLoss": likelihoods,
    "KLDivLoss": likelihoods,
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss(name, reduction):
    def program(torch, F):
        x = torch.rand(4, 5, requires_grad=True)
        layer = getattr(torch.nn, name)(reduction=reduction)
        print(layer)
        given = F.log_softmax(x, dim=1) if name in ("NLLLoss", "KLDivLoss") else x
        loss = layer(given, LOSSES[name](torch))
        loss.sum().backward()
        return loss, x.grad

    side_by_side(program)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_prints_its_value_with_its_grad_fn(name):
    def program(torch, F):
        x = torch.rand(4, 5, requires_grad=True)
        given = F.log_softmax(x, dim=1) if name in ("NLLLoss", "KLDivLoss") else x
        # The mean of KLDivLoss warns that its meaning will change.
        reduction = "sum" if name == "KLDivLoss" else "mean"
        print(getattr(torch.nn, name)(reduction=reduction)(given, LOSSES[name](torch)))

    side_by_side(program)
