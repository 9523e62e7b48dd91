"""Which kernel computes attention, as far as programs choose: ``torch.nn.attention``.

There is one operator of attention here, and the engine decides how it is computed.  What a program allows is
kept, can be asked for (``backends.cuda.flash_sdp_enabled()`` and its like), and has no effect on results.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from flambeau import backends as _backends

__all__ = ["SDPBackend", "WARN_FOR_UNFUSED_KERNELS", "sdpa_kernel"]

WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(IntEnum):
    """Ways in which PyTorch computes attention.

    Example:
        >>> import flambeau as torch
        >>> print(torch.nn.attention.SDPBackend.MATH)
        SDPBackend.MATH
        >>> int(torch.nn.attention.SDPBackend.FLASH_ATTENTION)
        1
    """

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


@contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict[str, object]]:
    """Allows only some ways of computing attention inside the block.

    Args:
        backends: one of them or several.
        set_priority: whether their order is that of preference.

    Raises:
        AssertionError: if it is neither a backend nor a list of them.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.nn.attention import SDPBackend, sdpa_kernel
        >>> with sdpa_kernel(SDPBackend.MATH):
        ...     torch.backends.cuda.flash_sdp_enabled()
        False
    """
    if not isinstance(backends, list | SDPBackend):
        raise AssertionError(
            "Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
            f"{type(backends).__name__}"
        )
    allowed = [backends] if isinstance(backends, SDPBackend) else backends
    before = _backends.cuda.attention
    _backends.cuda.attention = frozenset({SDPBackend(backend).name for backend in allowed})
    try:
        yield {}
    finally:
        _backends.cuda.attention = before


def _cur_sdpa_kernel_backends() -> list[SDPBackend]:
    """The ways that are allowed now."""
    order = ("CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH", "OVERRIDEABLE")
    return [SDPBackend[name] for name in order if name in _backends.cuda.attention]
