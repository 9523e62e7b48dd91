"""LBFGS beside PyTorch: the same algorithm to the last digits of float64; in float32, rounding decides long runs."""

import numpy as np
import pytest
import torch as reference

import flambeau as torch

OPTIONS = {
    "plain": {},
    "short_steps": {"lr": 0.01},
    "lr_as_tensor": {"lr": 0.001},
    "tolerance_grad": {"tolerance_grad": 1e-6},
    "strong_wolfe": {"line_search_fn": "strong_wolfe"},
    "one_iteration": {"max_iter": 1, "lr": 0.7},
    "short_history": {"history_size": 3, "max_iter": 7},
    "few_evaluations": {"line_search_fn": "strong_wolfe", "max_eval": 6},
}


def perceptron(library, options, steps, dtype="float64", noise=0.0):
    """Trains a two-layer perceptron; the weights after each step, and the optimizer's state.

    Args:
        library: this one or PyTorch.
        noise: by what part each gradient is off at random.
    """
    draw = np.random.default_rng(1)
    shapes = (16, 4), (16, 3), (8, 4), (8,), (3, 8), (3,)
    data, targets, *weights = (
        library.tensor(draw.standard_normal(shape), dtype=getattr(library, dtype)) for shape in shapes
    )
    parameters = [library.nn.Parameter(weight) for weight in weights]
    weight1, bias1, weight2, bias2 = parameters
    optimizer = library.optim.LBFGS(parameters, **options)

    def closure():
        optimizer.zero_grad()
        hidden = (data @ weight1.t() + bias1).tanh()
        loss = ((hidden @ weight2.t() + bias2 - targets) ** 2).mean()
        loss.backward()
        if noise:
            for p in parameters:
                p.grad *= library.tensor(1 + noise * draw.uniform(-1, 1, p.shape), dtype=p.dtype)
        return loss

    after = []
    for _ in range(steps):
        optimizer.step(closure)
        after.append(np.concatenate([p.detach().numpy().ravel() for p in parameters]))
    return np.array(after), optimizer.state_dict()["state"][0]


# Few are compiled: each length of the history is another program.
CASES = [("interpreter", name) for name in OPTIONS]
CASES += [("compiled", "short_history"), ("compiled", "few_evaluations")]


@pytest.mark.parametrize(("tier", "name"), CASES)
def test_steps_and_state_are_pytorchs(tier, name):
    options = {library: dict(OPTIONS[name]) for library in (torch, reference)}
    if name == "lr_as_tensor":
        for library, given in options.items():
            given["lr"] = library.tensor(given["lr"], dtype=library.float64)
    before = torch.engine.get_tier()
    torch.engine.set_tier(tier)
    try:
        got, state = perceptron(torch, options[torch], 3)
    finally:
        torch.engine.set_tier(before)
    want, theirs = perceptron(reference, options[reference], 3)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
    assert list(state) == list(theirs)
    for key, wanted in theirs.items():
        found = state[key]
        assert type(found).__name__ == type(wanted).__name__, key
        if not isinstance(wanted, list):
            found, wanted = [found], [wanted]
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert (a is None) == (b is None)
            if b is not None:
                assert getattr(a, "shape", ()) == getattr(b, "shape", ())
                np.testing.assert_allclose(_plain(a), _plain(b), rtol=1e-5, atol=1e-9, err_msg=key)


def _plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def test_ten_steps_multiply_the_last_bit_of_float32_in_pytorch_too():
    """Why ``make parity`` finds that LBFGS's runs in float32 differ: PyTorch's own do, once gradients' last bits do."""
    half_a_bit = float(np.finfo("float32").eps) / 2
    plain, _ = perceptron(reference, {}, 10, "float32")
    off, _ = perceptron(reference, {}, 10, "float32", half_a_bit)
    exact, _ = perceptron(reference, {}, 10)
    size = np.abs(exact[-1]).max()
    assert np.abs(off[0] - plain[0]).max() < 1e-4 * size
    assert np.abs(off[-1] - plain[-1]).max() > 0.003 * size
    assert np.abs(plain[-1] - exact[-1]).max() > 0.003 * size
