"""cuDNN's switches: ``torch.backends.cudnn``.

XLA uses cuDNN for convolutions on GPUs.  ``allow_tf32`` says whether those of float32 may be as inexact as TF32; the
other switches are kept and have no effect.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import dtypes
from flambeau.backends.switches import (
    Attributes,
    Precision,
    Switch,
    SwitchModule,
    become,
    checked,
    set_word,
)
from flambeau.engine.precision import word_for
from flambeau.tensor.tensor import Tensor

CUDNN_TENSOR_DTYPES = {dtypes.float16, dtypes.float32, dtypes.float64}

enabled: bool
deterministic: bool
benchmark: bool
benchmark_limit: int | None = None
allow_tf32: bool
depthwise_kernel: str
fp32_precision: str


class _Convolutions(Attributes):
    fp32_precision = Precision("conv")


class _Recurrent(Attributes):
    fp32_precision = Precision("rnn")


conv = _Convolutions()
rnn = _Recurrent()


_DEPTHWISE = ("auto", "cudnn", "native")
_FLAGS = (
    "enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32", "fp32_precision", "depthwise_kernel",
)  # fmt: skip


class _Cudnn(SwitchModule):
    enabled = Switch("set_enabled_cudnn", True)
    deterministic = Switch("set_deterministic_cudnn", False)
    benchmark = Switch("set_benchmark_cudnn", False)
    fp32_precision = Precision("cuda")

    @property
    def allow_tf32(self) -> bool:
        return word_for("conv") == "tf32"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        word = "tf32" if checked("set_allow_tf32_cublas", allowed) else "none"
        set_word("conv", word)
        set_word("rnn", word)

    @property
    def depthwise_kernel(self) -> str:
        return self._depthwise_kernel

    @depthwise_kernel.setter
    def depthwise_kernel(self, kind: str) -> None:
        if not isinstance(kind, str):
            raise RuntimeError(f"set_cudnn_depthwise_kernel expects a string, but got {type(kind).__name__}")
        if kind not in _DEPTHWISE:
            raise RuntimeError(f"Unknown cuDNN depthwise kernel mode: {kind}. Expected one of: {', '.join(_DEPTHWISE)}")
        self._depthwise_kernel = kind

    _depthwise_kernel = "auto"


become(__name__, _Cudnn)
_switches: Any = sys.modules[__name__]


def version() -> int | None:
    """The version of the cuDNN that JAX uses, such as 91301 for 9.13.1; None without a GPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.is_available() or torch.backends.cudnn.version() is None
        True
    """
    # Only this needs it: setting a switch should not import all that is asked of GPUs.
    from flambeau.cuda.libraries import version_of

    found = version_of("cudnn")
    if found is None:
        return None
    major, minor, patch = found[:3]
    return major * 10000 + minor * 100 + patch


def is_available() -> bool:
    """Whether JAX has a GPU and cuDNN for it.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.is_available() or not torch.backends.cudnn.is_available()
        True
    """
    return version() is not None


def is_acceptable(tensor: Tensor) -> bool:
    """Whether cuDNN is enabled and computes with tensors like this one.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.cudnn.is_acceptable(torch.zeros(2))
        False
    """
    return _switches.enabled and tensor.is_cuda and tensor.dtype in CUDNN_TENSOR_DTYPES and is_available()


def set_flags(
    _enabled: bool | None = None,
    _benchmark: bool | None = None,
    _benchmark_limit: int | None = None,
    _deterministic: bool | None = None,
    _allow_tf32: bool | None = None,
    _fp32_precision: str | None = "none",
    _depthwise_kernel: str | None = None,
) -> tuple[Any, ...]:
    """Sets the switches that are given, and returns what all of them were, in the order of the arguments.

    Example:
        >>> import flambeau as torch
        >>> before = torch.backends.cudnn.set_flags(_benchmark=True)
        >>> torch.backends.cudnn.benchmark
        True
        >>> _ = torch.backends.cudnn.set_flags(*before)
    """
    before = tuple(getattr(_switches, name) for name in _FLAGS)
    given = (_enabled, _benchmark, _benchmark_limit, _deterministic, _allow_tf32, _fp32_precision, _depthwise_kernel)
    for name, value in zip(_FLAGS, given, strict=True):
        if value is not None and (name != "benchmark_limit" or is_available()):
            setattr(_switches, name, value)
    return before


@contextmanager
def flags(
    enabled: bool = False,
    benchmark: bool = False,
    benchmark_limit: int = 10,
    deterministic: bool = False,
    allow_tf32: bool = True,
    fp32_precision: str = "none",
    depthwise_kernel: str = "auto",
) -> Iterator[None]:
    """Sets the switches inside of a ``with`` block.

    Raises:
        RuntimeError: if one cannot be set to what is given.

    Example:
        >>> import flambeau as torch
        >>> with torch.backends.cudnn.flags(enabled=False):
        ...     torch.backends.cudnn.enabled
        False
        >>> torch.backends.cudnn.enabled
        True
    """
    before = set_flags(enabled, benchmark, benchmark_limit, deterministic, allow_tf32, fp32_precision, depthwise_kernel)
    try:
        yield
    finally:
        set_flags(*before)
