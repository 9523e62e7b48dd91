"""CUDA's switches, among them the ways in which attention may be computed: ``torch.backends.cuda``.

``matmul.allow_tf32`` is another name for ``set_float32_matmul_precision``.  The others are kept and have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flambeau import settings
from flambeau.backends.switches import Attributes, Precision, Switch, checked, set_word
from flambeau.engine import accelerators
from flambeau.user_warnings import warn


def is_built() -> bool:
    """Whether programs can run on GPUs: if there is one.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.cuda.is_built() or not torch.cuda.is_available()
        True
    """
    return bool(accelerators.available("cuda"))


# ---------------------------------------------------------------- products


class _Reduction:
    """Whether sums within products of half precision may be less exact: kept; XLA adds up in float32.

    Takes True or False, or a sequence of it and of whether such a sum may be split.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = True

    def __get__(self, owner: Any, kind: Any = None) -> bool:
        return self.value

    def __set__(self, owner: Any, given: Any) -> None:
        parts = [given, True] if isinstance(given, bool) else given
        if not isinstance(parts, list | tuple):
            raise TypeError(f"{self.name} expects a bool or a tuple/list of bools, but got {type(given)!r}")
        if not 1 <= len(parts) <= 2:
            count = "at least one boolean argument" if not parts else "at most two boolean arguments"
            raise TypeError(f"{self.name} expects {count}")
        for part, which in zip(parts, ("allow_reduced_precision", "allow_splitk"), strict=False):
            if not isinstance(part, bool):
                raise TypeError(f"{self.name} expects a bool for {which}, but got {type(part)!r}")
        if parts[0] and not all(parts):
            raise RuntimeError("allow_splitk=False is not supported when reduced precision reductions are enabled")
        self.value = parts[0]


class _Products(Attributes):
    fp32_precision = Precision("matmul")
    allow_fp16_accumulation = Switch("set_allow_fp16_accumulation_cublas", False)
    allow_fp16_reduced_precision_reduction = _Reduction("allow_fp16_reduced_precision_reduction")
    allow_bf16_reduced_precision_reduction = _Reduction("allow_bf16_reduced_precision_reduction")

    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may be computed less exactly: unless the precision is ``"highest"``."""
        return settings.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        set_word("matmul", "tf32" if checked("set_allow_tf32_cublas", allowed) else "ieee")


matmul = _Products()

# ---------------------------------------------------------------- attention

attention = frozenset({"FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH", "CUDNN_ATTENTION", "OVERRIDEABLE"})
"""The ways in which it may be computed, by their names in ``nn.attention.SDPBackend``."""


def _way(name: str, short: str) -> tuple[Callable[[], bool], Callable[[bool], None]]:
    """What tells and what sets whether attention may be computed in a way."""

    def enabled() -> bool:
        return name in attention

    def enable(enabled: bool) -> None:
        global attention
        allowed = checked("set_sdp_use_math", enabled)
        attention = attention | {name} if allowed else attention - {name}

    enabled.__name__ = enabled.__qualname__ = f"{short}_sdp_enabled"
    enable.__name__ = enable.__qualname__ = f"enable_{short}_sdp"
    enabled.__doc__ = f"""Whether attention may be computed in the way ``{name}``; see ``nn.attention.sdpa_kernel``.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.cuda.{short}_sdp_enabled()
        True
    """
    enable.__doc__ = f"""Sets whether attention may be computed in the way ``{name}``.

    Example:
        >>> import flambeau as torch
        >>> torch.backends.cuda.enable_{short}_sdp(False)
        >>> torch.backends.cuda.{short}_sdp_enabled()
        False
        >>> torch.backends.cuda.enable_{short}_sdp(True)
    """
    return enabled, enable


flash_sdp_enabled, enable_flash_sdp = _way("FLASH_ATTENTION", "flash")
mem_efficient_sdp_enabled, enable_mem_efficient_sdp = _way("EFFICIENT_ATTENTION", "mem_efficient")
math_sdp_enabled, enable_math_sdp = _way("MATH", "math")
cudnn_sdp_enabled, enable_cudnn_sdp = _way("CUDNN_ATTENTION", "cudnn")


def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> AbstractContextManager[dict[str, object]]:
    """Deprecated form of ``nn.attention.sdpa_kernel``: warns."""
    warn(
        "`torch.backends.cuda.sdp_kernel()` is deprecated. In the future, this context manager will be removed. Please "
        "see `torch.nn.attention.sdpa_kernel()` for the new context manager, with updated signature.",
        FutureWarning,
    )
    given = {
        "FLASH_ATTENTION": enable_flash,
        "EFFICIENT_ATTENTION": enable_mem_efficient,
        "MATH": enable_math,
        "CUDNN_ATTENTION": enable_cudnn,
    }
    return _only(frozenset(name for name, allowed in given.items() if allowed))


@contextmanager
def _only(ways: frozenset[str]) -> Iterator[dict[str, object]]:
    """Attention may be computed in these ways alone inside of the block."""
    global attention
    before = attention
    attention = ways
    try:
        yield {}
    finally:
        attention = before
