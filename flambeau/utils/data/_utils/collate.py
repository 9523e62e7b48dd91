"""How samples become a batch."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.ops.operator import NAMESPACES
from flambeau.tensor.tensor import Tensor

_NO_NUMBERS = re.compile(r"[SaUO]")
_MESSAGE = "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"


def default_convert(data: Any) -> Any:
    """The same with NumPy arrays as tensors, wherever they are in it.

    Example:
        >>> import flambeau as torch
        >>> import numpy
        >>> torch.utils.data.default_convert({"x": numpy.array([1, 2]), "name": "a"})
        {'x': tensor([1, 2]), 'name': 'a'}
    """
    torch = NAMESPACES["torch"]
    if isinstance(data, Tensor | str | bytes):
        return data
    if type(data).__module__ == "numpy":
        if isinstance(data, np.ndarray) and _NO_NUMBERS.search(data.dtype.str):
            return data
        return torch["as_tensor"](data)
    if isinstance(data, Mapping):
        return _mapping_like(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence):
        return _sequence_like(data, [default_convert(value) for value in data])
    return data


def _mapping_like(model: Any, values: dict[Any, Any]) -> Any:
    """A mapping of the model's class, if that can be made."""
    try:
        if isinstance(model, MutableMapping):
            clone: Any = copy.copy(model)
            clone.update(values)
            return clone
        return type(model)(values)
    except TypeError:
        return values


def _sequence_like(model: Any, values: list[Any]) -> Any:
    """A sequence of the model's class, if that can be made."""
    try:
        if isinstance(model, MutableSequence):
            clone: Any = copy.copy(model)
            for i, value in enumerate(values):
                clone[i] = value
            return clone
        return type(model)(values)
    except TypeError:
        return values


def collate(batch: Any, *, collate_fn_map: dict[Any, Callable[..., Any]] | None = None) -> Any:
    """Makes a batch of samples of one structure.

    Args:
        batch: the samples.
        collate_fn_map: functions ``f(batch, collate_fn_map=...)`` by the class of the elements that they join.

    Raises:
        TypeError: for elements that nothing is known to join.
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        join = collate_fn_map.get(kind)
        if join is None:
            join = next((f for k, f in collate_fn_map.items() if isinstance(first, k)), None)
        if join is not None:
            return join(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        joined = {key: collate([d[key] for d in batch], collate_fn_map=collate_fn_map) for key in first}
        return _mapping_like(first, joined)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        columns = zip(*batch, strict=False)
        return kind(*(collate(column, collate_fn_map=collate_fn_map) for column in columns))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        values = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)]
        return values if isinstance(first, tuple) else _sequence_like(first, values)
    raise TypeError(_MESSAGE.format(kind))


def collate_tensor_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """Tensors of one shape, stacked."""
    return NAMESPACES["torch"]["stack"](list(batch), 0)


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """NumPy arrays of one shape, stacked into a tensor."""
    first = batch[0]
    if _NO_NUMBERS.search(first.dtype.str):
        raise TypeError(_MESSAGE.format(first.dtype))
    as_tensor = NAMESPACES["torch"]["as_tensor"]
    return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """NumPy numbers as a vector."""
    return NAMESPACES["torch"]["as_tensor"](list(batch))


def collate_float_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """Python floats as a vector of float64."""
    return NAMESPACES["torch"]["tensor"](list(batch), dtype=dtypes.float64)


def collate_int_fn(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    """Whole numbers, or truth values, as a vector."""
    return NAMESPACES["torch"]["tensor"](list(batch))


def collate_str_fn(batch: Any, *, collate_fn_map: Any = None) -> Any:
    """Text stays as it is."""
    return batch


default_collate_fn_map: dict[Any, Callable[..., Any]] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}


def default_collate(batch: Any) -> Any:
    """Makes a batch of samples by PyTorch's rules.

    Tensors and arrays are stacked, numbers become vectors (floats of float64), text stays a list; mappings, named
    tuples and sequences keep their structure, plain tuples becoming lists.

    Args:
        batch: the samples.

    Example:
        >>> import flambeau as torch
        >>> torch.utils.data.default_collate([{"x": 1, "y": 0.5}, {"x": 2, "y": 1.5}])
        {'x': tensor([1, 2]), 'y': tensor([0.5000, 1.5000], dtype=torch.float64)}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
