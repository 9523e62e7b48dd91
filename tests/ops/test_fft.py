"""Fourier transforms beyond the operators' examples: there and back, types, windows and errors."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch as oracle

import flambeau

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("norm", [None, "forward", "backward", "ortho"])
@pytest.mark.parametrize(
    "pair", [("fft", "ifft"), ("rfft", "irfft"), ("ihfft", "hfft"), ("fft2", "ifft2"), ("rfftn", "irfftn")]
)
def test_there_and_back(pair: tuple[str, str], norm: str | None) -> None:
    x = flambeau.tensor(RANDOM.standard_normal((4, 6)))
    there, back = (getattr(flambeau.fft, name) for name in pair)
    np.testing.assert_allclose(back(there(x, norm=norm), norm=norm).numpy().real, x.numpy(), atol=1e-12)


def test_single_precision_stays_single() -> None:
    assert flambeau.fft.fft(flambeau.ones(3)).dtype is flambeau.complex64
    assert flambeau.fft.rfft(flambeau.ones(3, dtype=flambeau.float64)).dtype is flambeau.complex128
    assert flambeau.fft.irfft(flambeau.ones(3)).dtype is flambeau.float32
    assert flambeau.fft.fft(flambeau.ones(3, dtype=flambeau.int64)).dtype is flambeau.complex64


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies(name: str, n: int) -> None:
    ours, theirs = (getattr(library.fft, name)(n, 0.5).numpy() for library in (flambeau, oracle))
    np.testing.assert_array_equal(ours, theirs)


OLDER = ["hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"]


@pytest.mark.parametrize("name", OLDER)
@pytest.mark.parametrize("n", [0, 1, 2, 9])
@pytest.mark.parametrize("periodic", [True, False])
def test_older_windows(name: str, n: int, periodic: bool) -> None:
    ours, theirs = (getattr(library, name)(n, periodic).numpy() for library in (flambeau, oracle))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("onesided", [True, False])
def test_short_time_transforms_go_there_and_back(center: bool, onesided: bool) -> None:
    array = RANDOM.standard_normal((2, 40))
    found = []
    for library in (flambeau, oracle):
        x = library.tensor(array, requires_grad=True)
        window = library.hamming_window(8, dtype=library.float64)
        options = {"window": window, "center": center, "onesided": onesided}
        spectrum = library.stft(x, 10, 3, 8, return_complex=True, **options)
        back = library.istft(spectrum, 10, 3, 8, **options) if center else spectrum.abs()
        (back**3).sum().backward()
        found.append((spectrum.detach().numpy(), back.detach().numpy(), x.grad.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


ERRORS = {
    "half": lambda t: t.fft.fft(t.ones(3, dtype=t.float16)),
    "complex to rfft": lambda t: t.fft.rfft(t.ones(3, dtype=t.complex64)),
    "size": lambda t: t.fft.fft(t.ones(3), 0),
    "norm": lambda t: t.fft.fft(t.ones(3), norm="x"),
    "dims": lambda t: t.fft.fftn(t.ones(3, 3), dim=(0, 0)),
    "lengths": lambda t: t.fft.fftn(t.ones(3, 3), s=(2,), dim=(0, 1)),
    "scalar": lambda t: t.fft.fft(t.tensor(1.0)),
    "stft": lambda t: t.stft(t.ones(16), 4),
    "stft, dims": lambda t: t.stft(t.ones(2, 2, 16), 4, return_complex=True),
    "istft": lambda t: t.istft(t.ones(3, 5), 4),
    "kaiser": lambda t: t.kaiser_window(4, beta=2.0),
    "hamming, alpha": lambda t: t.hamming_window(4, alpha=0.5),
    "hamming, beta": lambda t: t.hamming_window(4, True, beta=0.5),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_those_of_pytorch(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception) as theirs:
            ERRORS[name](oracle)
        with pytest.raises(Exception) as ours:
            ERRORS[name](flambeau)
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert str(ours.value)[:20] == str(theirs.value)[:20]


def test_windows_say_what_has_to_be_given_too() -> None:
    with pytest.raises(TypeError, match=r"kaiser_window.*: beta=2.0 without periodic .* give periodic too"):
        flambeau.kaiser_window(4, beta=2.0)
    with pytest.raises(TypeError, match=r"hamming_window.*: beta=0.5 without alpha .* give alpha too"):
        flambeau.hamming_window(4, True, beta=0.5)
    for given in ((4, True, 0.5), (4, True, 0.5, 0.5)):
        ours, theirs = (library.hamming_window(*given).numpy() for library in (flambeau, oracle))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
