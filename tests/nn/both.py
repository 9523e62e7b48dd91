"""Runs one program on Flambeau and on PyTorch and compares what comes of it."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import flambeau


def plain(value: Any) -> Any:
    """A result in terms that both libraries share: arrays, names, texts."""
    if isinstance(value, flambeau.Tensor | torch.Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        wide = value.detach().float() if dtype == "bfloat16" else value.detach()
        return ("tensor", dtype, wide.numpy().copy(), value.requires_grad)
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if value is None or isinstance(value, bool | int | float | str | np.ndarray):
        return value
    return renamed(str(value))


def renamed(text: str) -> str:
    """A text with PyTorch's name for the package."""
    return text.replace("flambeau.", "torch.")


def text(value: Any) -> str:
    """How a value prints, without its address and with PyTorch's name for the package."""
    return renamed(str(value).split(" object at 0x")[0].split(" at 0x")[0])


def observe(program: Callable[[Any], Any], library: Any) -> Any:
    """What a program returns or raises, prints and warns of."""
    printed = io.StringIO()
    raised = None
    result = None
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        library.manual_seed(0)
        try:
            result = plain(program(library))
        except Exception as error:
            raised = (type(error).__name__, renamed(str(error)))
    warned = [(w.category.__name__, renamed(str(w.message))) for w in caught]
    return result, raised, printed.getvalue(), warned


def equal(a: Any, b: Any, rtol: float, atol: float) -> None:
    """Asserts that two plain results agree."""
    if isinstance(b, np.ndarray):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    elif isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            equal(a[key], b[key], rtol, atol)
    elif isinstance(b, list | tuple):
        assert len(a) == len(b), (a, b)
        for x, y in zip(a, b, strict=True):
            equal(x, y, rtol, atol)
    elif isinstance(b, float):
        assert a == b or abs(a - b) <= atol + rtol * abs(b), (a, b)
    else:
        assert a == b


def _words(raised: tuple[str, str] | None) -> tuple[str, str] | None:
    """A message without what PyTorch says of its own inside, and with its name for tensors."""
    if raised is None:
        return None
    kind, text = raised
    for inside in ("\nException raised from", "\n[ torch.", " Please open a feature request"):
        text = text.split(inside)[0]
    return kind, text.replace("torch.tensor.tensor.Tensor", "torch.Tensor")


def alike(program: Callable[[Any], Any], rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """As :func:`same`, but messages may go on where PyTorch's end: hints in brackets."""
    ours = observe(program, flambeau)
    theirs = observe(program, torch)
    found, expected = _words(ours[1]), _words(theirs[1])
    if found is None or expected is None:
        assert found == expected
    else:
        assert found[0] == expected[0]
        assert found[1] == expected[1] or found[1].startswith((expected[1] + " (", expected[1].rstrip(".") + " ("))
    assert ours[2:] == theirs[2:]
    equal(ours[0], theirs[0], rtol, atol)


def same(program: Callable[[Any], Any], rtol: float = 0.0, atol: float = 0.0) -> None:
    """Asserts that a program gives on Flambeau what it gives on PyTorch: results, errors, prints, warnings."""
    ours = observe(program, flambeau)
    theirs = observe(program, torch)
    assert ours[1] == theirs[1]
    assert ours[2:] == theirs[2:]
    equal(ours[0], theirs[0], rtol, atol)
