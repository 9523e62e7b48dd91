"""Switches of PyTorch's backends, which programs set: ``torch.backends``.

They choose among PyTorch's kernels.  Here the engine chooses by measurement, so they are kept and
have no effect.
"""

from __future__ import annotations

from typing import Any


class _Switches:
    def __init__(self, **switches: Any) -> None:
        self.__dict__.update(switches)

    def is_available(self) -> bool:
        """Whether PyTorch's backend of that name is here: it is not."""
        return False


cudnn = _Switches(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)
cuda = _Switches(matmul=_Switches(allow_tf32=False))
mkldnn = _Switches(enabled=False)
mps = _Switches()
