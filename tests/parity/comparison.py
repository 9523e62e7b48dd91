"""Whether a library's results, and what it raises, are torch's."""

from __future__ import annotations

import functools
import itertools
import re

import numpy as np
import torch
from translation import REFERENCE, Array, Container, Mismatch, NotApplicable, Session

TOLERANCES = {  # dtype: (rtol, atol), as in torch.testing
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex32": (1e-3, 1e-5),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}
LOOSE = {**TOLERANCES, "float32": (1e-4, 1e-5), "complex64": (1e-4, 1e-5)}


def compare(actual, expected, tolerances=LOOSE, values=True, refine=dict):
    """Compare two snapshots. `refine` computes what torch answers in float64, for results that
    float32 does not determine well."""
    for path, wanted in expected.items():
        got = actual[path]
        if isinstance(wanted, Array) and isinstance(got, Array):
            require(got.dtype == wanted.dtype, f"dtype of {path}", got.dtype, wanted.dtype)
            require(got.data.shape == wanted.data.shape, f"shape of {path}", got.data.shape, wanted.data.shape)
            close = is_close(got, wanted, tolerances)
            if values and not close.all():
                close |= is_close_refined(got, wanted, refine().get(path), tolerances)
            if values and not close.all():
                where = tuple(int(i) for i in np.argwhere(~close)[0])
                raise Mismatch(
                    f"{path}: {np.sum(~close)} of {close.size} values differ, "
                    f"e.g. {got.data[where]} instead of {wanted.data[where]} at {where}"
                )
        elif isinstance(wanted, Container) and isinstance(got, Container):
            require((got.kind, got.size) == (wanted.kind, wanted.size), path, got, wanted)
            require(wanted.fields in ((), got.fields), f"fields of {path}", got.fields, wanted.fields)
        else:
            same = (
                not values
                or got == wanted
                or (
                    type(wanted) in (float, complex)
                    and is_close(*(Array("float64", np.asarray(value)) for value in (got, wanted)), tolerances)
                )
            )
            require(type(got).__name__ == type(wanted).__name__ and same, path, *first_difference(got, wanted))


def is_close(got, wanted, tolerances, extra=0.0):
    if wanted.dtype not in tolerances:
        return np.asarray(got.data == wanted.data)
    wide = np.complex128 if np.iscomplexobj(wanted.data) else np.float64
    rtol, atol = tolerances[wanted.dtype]
    with np.errstate(all="ignore"):
        close = np.isclose(got.data.astype(wide), wanted.data.astype(wide), rtol, atol + extra, equal_nan=True)
    return np.asarray(close)


def is_close_refined(got, wanted, exact, tolerances):
    """Where torch's float32 result is inexact, the library may agree with its float64 result, or
    be off by as much as torch, up to 1 % of the result's magnitude."""
    if not isinstance(exact, Array) or exact.data.shape != wanted.data.shape:
        return np.False_
    close = is_close(got, Array(wanted.dtype, exact.data), tolerances)
    if wanted.dtype in tolerances:
        with np.errstate(all="ignore"):
            error, size = np.abs(exact.data - wanted.data), np.abs(exact.data)
        known = np.isfinite(error)
        close |= is_close(got, wanted, tolerances, min(error[known].max(initial=0), 0.01 * size[known].max(initial=0)))
    return close


def require(condition, what, got, wanted):
    if not condition:
        raise Mismatch(f"{what}: {brief(got)} instead of {brief(wanted)}")


def first_difference(got, wanted):
    """The first lines that differ, of two texts."""
    if not isinstance(got, str) or not isinstance(wanted, str):
        return got, wanted
    lines = itertools.zip_longest(got.splitlines(), wanted.splitlines())
    return next((pair for pair in lines if pair[0] != pair[1]), (got, wanted))


def brief(value):
    if isinstance(value, Array):
        return f"{value.dtype} tensor of shape {value.data.shape}"
    if isinstance(value, Container):
        return f"{value.kind} of {value.size}"
    return first_line(repr(value))


def first_line(text):
    return (str(text).strip().splitlines() or [""])[0][:200]


def torch_answer(compute):
    """What compute(session) returns for torch, and whether that is independent of the random seed."""
    torch.manual_seed(0)
    unused = torch.get_rng_state()
    try:
        answer = compute(Session(REFERENCE, seed=0))
        if torch.equal(torch.get_rng_state(), unused):
            return answer, True
        others = [compute(Session(REFERENCE, seed)) for seed in range(1, 5)]
    except Exception as error:
        raise NotApplicable(str(error)) from error
    try:
        for other in others:
            compare(other, answer, TOLERANCES)
        return answer, True
    except Mismatch:
        return answer, False


def conform(compute, library, tolerances=LOOSE, values=True):
    """Require compute(session), a snapshot, to be for the library what it is for torch. Where
    torch's result depends on the random seed, only structure, shapes and dtypes must match."""

    @functools.cache
    def refine():
        try:
            return compute(Session(REFERENCE, high=True))
        except Exception:
            return {}

    expected, stable = torch_answer(compute)
    compare(compute(Session(library)), expected, tolerances, values and stable, refine)


def conform_error(prepare, library):
    """prepare(session) returns a call; it must raise for the library what it raises for torch."""
    try:
        wanted = raised(prepare(Session(REFERENCE)))
    except Exception as error:
        raise NotApplicable(str(error)) from error
    if wanted is None or isinstance(wanted, NotApplicable):
        raise NotApplicable("torch raises nothing")
    got, description = raised(prepare(Session(library))), f"{type(wanted).__name__}({first_line(wanted)!r})"
    if got is None:
        raise Mismatch(f"nothing raised instead of {description}")
    # NotImplementedError is a RuntimeError, but says that the library lacks something.
    related = isinstance(got, type(wanted)) and not isinstance(got, NotImplementedError)
    if not related and type(got).__name__ != type(wanted).__name__:
        if isinstance(got, AttributeError):
            raise got  # something is missing
        raise Mismatch(f"{type(got).__name__}({first_line(got)!r}) instead of {description}")


def raised(function):
    try:
        function()
    except Exception as error:
        return error


def neutral(text, library):
    """A repr without the library's name and without memory addresses."""
    text = re.sub(rf"\b{re.escape(library.module.__name__)}\.", "torch.", text)
    return re.sub(" at 0x[0-9a-f]+", "", text)
