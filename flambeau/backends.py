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


cudnn = _Switches(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)
cuda = _Switches(matmul=_Products())
mkldnn = _Switches(enabled=False)
mps = _Switches()
