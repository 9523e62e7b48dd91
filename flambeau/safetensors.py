"""Checkpoints in the safetensors format: what ``safetensors.torch`` offers, by the package of that name.

Example:
    >>> import flambeau as torch
    >>> from flambeau.safetensors import load, save
    >>> load(save({"weight": torch.ones(2)}))
    {'weight': tensor([1., 1.])}
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.serialization.replacing import replacing
from flambeau.tensor.tensor import Tensor, from_array

if TYPE_CHECKING:
    from flambeau.nn.modules.module import Module

__all__ = ["load", "load_file", "load_model", "save", "save_file", "save_model"]

_CODES = {
    **{"F64": dtypes.float64, "F32": dtypes.float32, "F16": dtypes.float16, "BF16": dtypes.bfloat16},
    **{"F8_E4M3": dtypes.float8_e4m3fn, "F8_E5M2": dtypes.float8_e5m2},
    **{"F8_E4M3FNUZ": dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz},
    **{"I64": dtypes.int64, "I32": dtypes.int32, "I16": dtypes.int16, "I8": dtypes.int8},
    **{"U64": dtypes.uint64, "U32": dtypes.uint32, "U16": dtypes.uint16, "U8": dtypes.uint8},
    **{"BOOL": dtypes.bool_, "C64": dtypes.complex64},
}


def _package() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            "reading and writing safetensors files needs the package 'safetensors': pip install safetensors"
        ) from error
    return safetensors


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors by name as the bytes of a safetensors file.

    Args:
        tensors: contiguous tensors of which no two share elements.
        metadata: text by name, kept in the file.

    Raises:
        ImportError: if the package safetensors is not installed.
        ValueError: if something is no tensor, not contiguous, or of a type that the format does not have.
        RuntimeError: if tensors share elements: see :func:`save_model`.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.safetensors import load, save
        >>> data = save({"weight": torch.ones(2)}, metadata={"epoch": "3"})
        >>> load(data)
        {'weight': tensor([1., 1.])}
    """
    _package()
    from safetensors.numpy import save as packed

    return packed(_arrays(tensors), metadata)


def save_file(tensors: dict[str, Tensor], filename: Any, metadata: dict[str, str] | None = None) -> None:
    """Writes tensors by name to a safetensors file, as atomically as ``torch.save`` does.

    Args:
        tensors: contiguous tensors of which no two share elements.
        filename: the path.
        metadata: text by name, kept in the file.

    Raises:
        ImportError: if the package safetensors is not installed.
        ValueError: if something is no tensor, not contiguous, or of a type that the format does not have.
        RuntimeError: if tensors share elements: see :func:`save_model`.

    Example:
        >>> import flambeau as torch
        >>> import os
        >>> import tempfile
        >>> from flambeau.safetensors import load_file, save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "w.safetensors")
        ...     save_file({"weight": torch.ones(2)}, path)
        ...     load_file(path)
        {'weight': tensor([1., 1.])}
    """
    data = save(tensors, metadata)
    with replacing(os.fsdecode(filename)) as file:
        file.write(data)


def _arrays(tensors: Any) -> dict[str, np.ndarray]:
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
    shared = [names for names in _sharing(tensors) if len(names) > 1]
    if shared:
        raise RuntimeError(
            "Some tensors share memory, this will lead to duplicate memory on disk and potential differences when "
            f"loading them again: {shared}. A potential way to correctly save your model is to use `save_model`."
        )
    arrays = {}
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. It either means you "
                "are trying to save tensors which are reference of each other in which case it's recommended to save "
                "only the full tensors, and reslice at load time, or simply call `.contiguous()` on your tensor to "
                "pack it before saving."
            )
        if tensor.dtype not in _CODES.values():
            raise ValueError(f"the safetensors format has no {tensor.dtype} (tensor {name!r})")
        arrays[name] = np.array(tensor.detach()._array(), order="C")
    return arrays


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors by name in the bytes of a safetensors file.

    Raises:
        ImportError: if the package safetensors is not installed.
        safetensors.SafetensorError: if they are damaged.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.safetensors import load, save
        >>> load(save({"weight": torch.ones(2, dtype=torch.bfloat16)}))
        {'weight': tensor([1., 1.], dtype=torch.bfloat16)}
    """
    found = {}
    for name, entry in _package().deserialize(data):
        dtype = _CODES.get(entry["dtype"])
        if dtype is None:
            raise RuntimeError(f"the tensor {name!r} has the type {entry['dtype']}, which flambeau does not have")
        # The package hands over memory of its own for each tensor, so that it need not be copied.
        array = np.frombuffer(entry["data"], np.uint8).view(dtype.numpy).reshape(entry["shape"])
        found[name] = from_array(array, dtype)
    return found


def load_file(filename: Any, device: Any = "cpu", *, backend: str = "mmap") -> dict[str, Tensor]:
    """The tensors by name in a safetensors file.

    Args:
        filename: the path.
        device: where they go.
        backend: accepted; the file is read once, whole.

    Raises:
        ImportError: if the package safetensors is not installed.
        safetensors.SafetensorError: if the file is damaged.

    Example:
        >>> import flambeau as torch
        >>> import os
        >>> import tempfile
        >>> from flambeau.safetensors import load_file, save_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "w.safetensors")
        ...     save_file({"weight": torch.ones(2)}, path)
        ...     load_file(path)["weight"]
        tensor([1., 1.])
    """
    with open(filename, "rb") as file:
        found = load(file.read())
    where = devices.resolve(device)
    return found if where is devices.cpu else {name: tensor.to(where) for name, tensor in found.items()}


def save_model(
    model: Module, filename: Any, metadata: dict[str, str] | None = None, force_contiguous: bool = True
) -> None:
    """Writes a module's ``state_dict`` to a safetensors file, what several names share under one of them.

    Args:
        model: the module.
        filename: the path.
        metadata: text by name, kept in the file; names left out are added, each with the name kept for it.
        force_contiguous: whether to store tensors that are not contiguous as if they were.

    Raises:
        ValueError: without ``force_contiguous``, if a tensor is not contiguous.
        RuntimeError: if none of the tensors that share elements has all of them.

    Example:
        >>> import flambeau as torch
        >>> import os
        >>> import tempfile
        >>> from flambeau.safetensors import load_file, save_model
        >>> model = torch.nn.Linear(2, 1)
        >>> model.again = model.weight
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "m.safetensors")
        ...     save_model(model, path)
        ...     sorted(load_file(path))
        ['again', 'bias']
    """
    state = dict(model.state_dict())
    for kept, others in _duplicates(state).items():
        for name in others:
            metadata = {name: kept, **(metadata or {})}
            del state[name]
    if force_contiguous:
        state = {name: tensor.contiguous() for name, tensor in state.items()}
    try:
        save_file(state, filename, metadata)
    except ValueError as error:
        raise ValueError(f"{error} Or use save_model(..., force_contiguous=True).") from error


def load_model(
    model: Module, filename: Any, strict: bool = True, device: Any = "cpu", *, backend: str = "mmap"
) -> tuple[set[str], list[str]]:
    """Reads a safetensors file into a module.

    Args:
        model: the module.
        filename: the path.
        strict: whether names that are missing or unexpected are an error.
        device: where the tensors are read to.
        backend: accepted.

    Returns:
        The names that are missing, and those that are unexpected.

    Raises:
        RuntimeError: with ``strict``, if there are any.

    Example:
        >>> import flambeau as torch
        >>> import os
        >>> import tempfile
        >>> from flambeau.safetensors import load_model, save_model
        >>> model, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "m.safetensors")
        ...     save_model(model, path)
        ...     load_model(other, path)
        (set(), [])
        >>> torch.equal(model.weight, other.weight)
        True
    """
    state = load_file(filename, device)
    duplicates = _duplicates(model.state_dict(), state)
    result = model.load_state_dict(state, strict=False)
    missing, unexpected = set(result.missing_keys), list(result.unexpected_keys)
    for others in duplicates.values():
        for name in others:
            if name in missing:
                missing.remove(name)
            else:
                unexpected.append(name)
    if strict and (missing or unexpected):
        message = f"Error(s) in loading state_dict for {type(model).__name__}:"
        for kind, names in (("Missing", missing), ("Unexpected", unexpected)):
            if names:
                message += f"\n    {kind} key(s) in state_dict: " + ", ".join(f'"{name}"' for name in sorted(names))
        raise RuntimeError(message)
    return missing, unexpected


def _root(tensor: Tensor) -> Tensor:
    return tensor if tensor._base is None else tensor._base


def _sharing(tensors: dict[str, Tensor]) -> list[list[str]]:
    """The names in groups whose tensors share elements."""
    by_root: dict[int, list[tuple[int, int, str]]] = defaultdict(list)
    for name, tensor in tensors.items():
        if tensor.device.type == "meta" or not tensor.numel():
            continue
        start = tensor.storage_offset()
        reach = 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
        by_root[id(_root(tensor))].append((start, start + reach, name))
    groups = []
    for areas in by_root.values():
        end = -1
        for start, stop, name in sorted(areas):
            if start >= end:
                groups.append([name])
            else:
                groups[-1].append(name)
            end = max(end, stop)
    return groups


def _duplicates(tensors: dict[str, Tensor], preferred: Any = ()) -> dict[str, list[str]]:
    """For each name that is kept, the names of what it has all elements of."""
    found = {}
    for names in _sharing(tensors):
        whole = sorted(name for name in names if tensors[name].numel() == _root(tensors[name]).numel())
        if not whole:
            raise RuntimeError(
                "Error while trying to find names to remove to save state dict, but found no suitable name to keep for "
                f"saving amongst: {set(names)}. None is covering the entire storage. Save clones of them instead."
            )
        kept = next((name for name in whole if name in preferred), whole[0])
        if len(names) > 1:
            found[kept] = [name for name in sorted(names) if name != kept]
    return found
