"""The switches of PyTorch's backends."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import torch

import flambeau
from flambeau.backends import cudnn
from flambeau.cuda import libraries
from flambeau.engine import accelerators, target
from flambeau.ops import conv_native
from flambeau.ops.conv_kernels import Geometry
from tests.nn.both import observe, same

pytestmark = pytest.mark.skipif(flambeau.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    yield
    for library in (flambeau, torch):
        library.backends.fp32_precision = library.backends.cudnn.fp32_precision = "none"
        library.backends.cudnn.allow_tf32 = True
        library.backends.cudnn.enabled = True
        library.backends.cudnn.benchmark = library.backends.cudnn.deterministic = False
        library.backends.cudnn.benchmark_limit = None
        library.backends.cudnn.depthwise_kernel = "auto"
        library.backends.cuda.matmul.allow_fp16_accumulation = False
        library.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = True
        library.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
        library.set_float32_matmul_precision("highest")


ASKED = """
    cudnn.is_available() cudnn.version() cudnn.enabled cudnn.benchmark cudnn.deterministic cudnn.allow_tf32
    cudnn.benchmark_limit cudnn.fp32_precision cudnn.conv.fp32_precision cudnn.rnn.fp32_precision
    cudnn.depthwise_kernel cudnn.is_acceptable(torch.ones(2)) cudnn.set_flags() cudnn.set_flags(False) cudnn.foo
    cudnn.conv.foo cuda.is_built() cuda.matmul.allow_tf32 cuda.matmul.allow_fp16_accumulation cuda.matmul.foo
    cuda.matmul.allow_fp16_reduced_precision_reduction cuda.matmul.allow_bf16_reduced_precision_reduction
    cuda.flash_sdp_enabled() cuda.mem_efficient_sdp_enabled() cuda.math_sdp_enabled() cuda.cudnn_sdp_enabled()
    cuda.enable_flash_sdp(3) cuda.enable_math_sdp() mps.is_available() mps.is_built() fp32_precision
""".split()
SET = [
    *[
        (f"cudnn.{name}", value)
        for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
        for value in (True, 1)
    ],
    *[(f"cudnn.{name}", value) for name in ("benchmark", "deterministic") for value in (False, "x")],
    ("cudnn.enabled", False),
    ("cudnn.benchmark_limit", 3),
    *[("cudnn.depthwise_kernel", value) for value in ("native", "fast", 3)],
    *[("cuda.matmul.allow_tf32", value) for value in (True, False, 1)],
    *[("cuda.matmul.allow_fp16_accumulation", value) for value in (True, "x")],
    *[
        (f"cuda.matmul.allow_{kind}_reduced_precision_reduction", value)
        for kind in ("fp16", "bf16")
        for value in (False, True, (False, False), [True], (True, False), (), (1, True), (True, True, True), "x")
    ],
    ("cuda.matmul.foo", 1),
    ("mkldnn.enabled", "x"),
    *[
        (f"{space}fp32_precision", word)
        for space in ("", "cudnn.", "cudnn.conv.", "cudnn.rnn.", "cuda.matmul.")
        for word in ("none", "ieee", "tf32", "bf16", "x")
    ],
]
READ = (
    "backends.fp32_precision", "backends.cudnn.fp32_precision", "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision", "backends.cuda.matmul.fp32_precision", "backends.cudnn.allow_tf32",
    "backends.cuda.matmul.allow_tf32", "get_float32_matmul_precision()",
)  # fmt: skip


def _read(library: Any, expression: str) -> Any:
    return eval(f"library.{expression}", {"library": library, "torch": library})


@pytest.mark.parametrize("expression", ASKED)
def test_what_is_asked(expression: str) -> None:
    same(lambda library: _read(library, f"backends.{expression}"))


@pytest.mark.parametrize(("name", "value"), SET)
def test_what_is_set(name: str, value: Any) -> None:
    def program(library: Any) -> Any:
        owner, _, attribute = f"backends.{name}".rpartition(".")
        setattr(_read(library, owner), attribute, value)
        return getattr(_read(library, owner), attribute)

    same(program)


@pytest.mark.parametrize("first", ["cuda.matmul", "cudnn", "cudnn.conv", ""])
def test_words_for_parts_and_the_whole(first: str) -> None:
    """Where PyTorch refuses to say, because both ways of setting it were used, its answer follows the newer one."""

    def program(library: Any) -> Any:
        found = []
        for word in ("tf32", "ieee", "none"):
            _read(library, f"backends.{first}".rstrip(".")).fp32_precision = word
            found.append([observe(partial(_read, expression=name), library)[:2] for name in READ])
        return found

    flat = [list(zip(*pair, strict=True)) for pair in zip(program(flambeau), program(torch), strict=True)]
    answers = [answer for word in flat for answer in word]
    refused = [ours for ours, theirs in answers if theirs[1] is not None]
    assert [ours for ours, theirs in answers if theirs[1] is None] == [t for _, t in answers if t[1] is None]
    assert all(ours in ((True, None), (False, None), ("high", None)) for ours in refused)
    assert len(refused) <= 6


def test_the_older_ways_of_setting_it() -> None:
    def program(library: Any) -> Any:
        found = []
        matmul = library.backends.cuda.matmul
        for allowed in (True, False):
            matmul.allow_tf32 = allowed
            library.backends.cudnn.allow_tf32 = allowed
            found.append([_read(library, name) for name in READ])
        for word in ("high", "medium"):
            library.set_float32_matmul_precision(word)
            found.append([_read(library, name) for name in READ])
        return found

    same(program)


def test_flags_hold_inside_of_a_block() -> None:
    def program(library: Any) -> Any:
        cudnn = library.backends.cudnn
        found = [cudnn.set_flags(_benchmark=True)]
        with cudnn.flags(enabled=False, deterministic=True, allow_tf32=False):
            found.append(cudnn.set_flags())
        found.append(cudnn.set_flags())
        try:
            with cudnn.flags(enabled=False):
                raise KeyError
        except KeyError:
            found.append(cudnn.enabled)
        return found

    same(program)


def test_older_switch_for_attention() -> None:
    def program(library: Any) -> Any:
        switches = library.backends.cuda
        with switches.sdp_kernel(enable_flash=False) as given:
            inside = given, switches.flash_sdp_enabled(), switches.math_sdp_enabled(), switches.cudnn_sdp_enabled()
        return inside, switches.flash_sdp_enabled()

    same(program)


@pytest.mark.parametrize("name", ["cuda", "cudnn", "mkldnn", "mps"])
def test_backends_are_modules(name: str) -> None:
    assert importlib.import_module(f"flambeau.backends.{name}") is getattr(flambeau.backends, name)


def test_they_are_imported_when_they_are_wanted() -> None:
    program = "import flambeau, sys; assert 'flambeau.backends' not in sys.modules; flambeau.backends.cudnn.benchmark"
    subprocess.run([sys.executable, "-c", f"{program} = True; assert 'jax' not in sys.modules"], check=True)


@pytest.mark.parametrize(
    ("installed", "told"),
    [({"nvidia-cudnn-cu13": "9.13.1.26"}, 91301), ({"nvidia-cudnn-cu12": "9.1.0.70"}, 90100), ({}, None)],
)
def test_version_of_cudnn(monkeypatch: pytest.MonkeyPatch, installed: dict[str, str], told: int | None) -> None:
    def version(package: str) -> str:
        if package not in installed:
            raise libraries.metadata.PackageNotFoundError(package)
        return installed[package]

    monkeypatch.setattr(accelerators, "_found", lambda kind: (object(),))
    monkeypatch.setattr(libraries.metadata, "version", version)
    assert cudnn.version() == told
    assert cudnn.is_available() == (told is not None)
    assert flambeau.backends.cuda.is_built()
    before = cudnn.set_flags(_benchmark_limit=5)
    assert (before[2], cudnn.benchmark_limit) == (None, 5 if told else None)


@pytest.mark.parametrize(
    ("kind", "allowed", "level", "wanted"),
    [
        ("cuda", True, "highest", "HIGH, HIGH"),
        ("cuda", False, "highest", "HIGHEST, HIGHEST"),
        ("cuda", True, "medium", "DEFAULT, DEFAULT"),
        ("tpu", True, "highest", "HIGHEST, HIGHEST"),
    ],
)
def test_convolutions_may_be_tf32_on_gpus(kind: str, allowed: bool, level: str, wanted: str) -> None:
    """As in PyTorch by default, while products may not."""
    from flambeau.engine import precision

    flambeau.backends.cudnn.allow_tf32 = allowed
    flambeau.set_float32_matmul_precision(level)
    geo = Geometry((4, 4), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, (2, 2))
    x, weight = np.ones((1, 2, 4, 4), np.float32), np.ones((2, 2, 3, 3), np.float32)
    with target.traced_for(kind), jax.default_matmul_precision(precision.for_jax()):
        text = jax.jit(lambda x, w: conv_native.forward(x, w, geo)).lower(x, weight).as_text()
    found = re.search(r"precision_config = \[#stablehlo<precision (\w+)>, #stablehlo<precision (\w+)>\]", text)
    assert (", ".join(found.groups()) if found else "DEFAULT, DEFAULT") == wanted


def test_a_captured_convolution_is_captured_anew() -> None:
    conv = flambeau.compile(flambeau.nn.functional.conv1d)
    x = flambeau.ones(1, 1, 4)
    programs = []
    for allowed in (True, False):
        flambeau.backends.cudnn.allow_tf32 = allowed
        for _ in range(3):
            conv(x, x)
        programs.append(conv._newest)
    assert programs[0] is not programs[1]
