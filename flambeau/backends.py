"""Switches of PyTorch's backends, which programs set: ``torch.backends``.

They choose among PyTorch's kernels.  Here the engine chooses by measurement, so they are kept and
have no effect.
"""

from __future__ import annotations

from typing import Any

from flambeau import settings


class _Switches:
    def __init__(self, **switches: Any) -> None:
        self.__dict__.update(switches)

    def is_available(self) -> bool:
        """Whether PyTorch's backend of that name is here: it is not."""
        return False


class _Products(_Switches):
    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may be computed less exactly: unless the precision is ``"highest"``."""
        return settings.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        settings.set_float32_matmul_precision("high" if allowed else "highest")


_ATTENTION = {
    "flash": "FLASH_ATTENTION",
    "mem_efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
    "cudnn": "CUDNN_ATTENTION",
}


class _Cuda(_Switches):
    """Switches of CUDA's, among them the ways in which attention may be computed.

    Attributes:
        attention: names of these, as of ``nn.attention.SDPBackend``.
    """

    attention = frozenset({*_ATTENTION.values(), "OVERRIDEABLE"})

    def __getattr__(self, name: str) -> Any:
        kind = name.removesuffix("_sdp_enabled")
        if kind != name and kind in _ATTENTION:
            return lambda: _ATTENTION[kind] in self.attention
        kind = name.removeprefix("enable_").removesuffix("_sdp")
        if name == f"enable_{kind}_sdp" and kind in _ATTENTION:
            return lambda enabled: self._allow(_ATTENTION[kind], enabled)
        raise AttributeError(f"module 'torch.backends.cuda' has no attribute '{name}'")

    def _allow(self, name: str, enabled: bool) -> None:
        self.attention = self.attention | {name} if enabled else self.attention - {name}


cudnn = _Switches(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)
cuda = _Cuda(matmul=_Products())
mkldnn = _Switches(enabled=False)
mps = _Switches()
