"""What version this is, and of which libraries for accelerators: ``torch.version``.

Attributes:
    cuda: the version of CUDA that JAX uses, such as ``"13.0"``; None without a GPU.
    hip, rocm, xpu: of other makers' libraries: None.
"""

from __future__ import annotations

from typing import Any

from flambeau import __version__ as __version__

debug = False
hip: str | None = None
rocm: str | None = None
xpu: str | None = None


def __getattr__(name: str) -> Any:
    if name != "cuda":
        raise AttributeError(f"module 'flambeau.version' has no attribute '{name}'")
    from flambeau.cuda.libraries import version_of

    found = version_of("cuda-runtime")
    return None if found is None else ".".join(map(str, found[:2]))
