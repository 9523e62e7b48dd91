"""Exchange of tensors with other libraries by DLPack."""

from flambeau.ops.data import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
