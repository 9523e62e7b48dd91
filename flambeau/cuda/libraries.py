"""The libraries of NVIDIA's that JAX brings along."""

from __future__ import annotations

from importlib import metadata

from flambeau.engine import accelerators


def version_of(library: str) -> tuple[int, ...] | None:
    """The version of a library as installed for CUDA 13 or 12, by the name of its package; None without a GPU.

    Args:
        library: such as ``"cudnn"``.
    """
    if not accelerators.available("cuda"):
        return None
    # From CUDA 13 on, the packages of its own parts are named without its version.
    for package in (f"nvidia-{library}-cu13", f"nvidia-{library}", f"nvidia-{library}-cu12"):
        try:
            return tuple(int(part) for part in metadata.version(package).split(".") if part.isdigit())
        except metadata.PackageNotFoundError:
            continue
    return None
