"""Checkpoints in the safetensors format, by the package of that name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.serialization.archive import replacing
from flambeau.tensor.tensor import Tensor, from_array

_CODES = {
    **{"F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16},
    **{"F8_E4M3": dtypes.float8_e4m3fn, "F8_E5M2": dtypes.float8_e5m2},
    **{"I64": dtypes.int64, "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8},
    **{"U64": dtypes.uint64, "U32": dtypes.uint32, "U16": dtypes.uint16, "U8": dtypes.uint8},
    **{"BOOL": dtypes.bool_, "C64": dtypes.complex64},
}


def _package() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError("reading and writing safetensors files needs the package 'safetensors'") from error
    return safetensors


def save_safetensors(tensors: dict[str, Tensor], filename: Any, metadata: dict[str, str] | None = None) -> None:
    """Writes tensors by name in the safetensors format, as atomically as ``save`` does.

    Args:
        tensors: the tensors; what they share is written once for each.
        filename: the path.
        metadata: text by name, kept in the file.

    Raises:
        ImportError: if the package safetensors is not installed.
        ValueError: if the format has no such type.
    """
    _package()
    from safetensors.numpy import save

    arrays = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in _CODES.values():
            raise ValueError(f"the safetensors format has no {tensor.dtype} (tensor {name!r})")
        arrays[name] = np.array(tensor._array(), order="C")
    data = save(arrays, metadata)
    with replacing(os.fsdecode(filename)) as file:
        file.write(data)


def load_safetensors(filename: Any, device: Any = "cpu") -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Args:
        filename: the path.
        device: where they go.

    Raises:
        ImportError: if the package safetensors is not installed.
        RuntimeError: if the file is damaged.
    """
    package = _package()
    with open(filename, "rb") as file:
        data = file.read()
    try:
        entries = package.deserialize(data)
    except Exception as error:
        raise RuntimeError(f"the safetensors file {os.fsdecode(filename)!r} is damaged: {error}") from error
    where = devices.resolve(device)
    found = {}
    for name, entry in entries:
        dtype = _CODES.get(entry["dtype"])
        if dtype is None:
            raise RuntimeError(f"the tensor {name!r} has the type {entry['dtype']}, which flambeau does not have")
        array = np.frombuffer(bytes(entry["data"]), np.uint8).view(dtype.numpy).reshape(entry["shape"])
        tensor = from_array(array, dtype)
        found[name] = tensor if where is devices.cpu else tensor.to(where)
    return found
