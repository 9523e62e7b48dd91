"""Writing checkpoints."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections import OrderedDict
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from flambeau import dtypes, layouts
from flambeau.ops.complex import CONJ, IMAG, REAL
from flambeau.serialization import names
from flambeau.serialization.archive import VERSION, Writer
from flambeau.serialization.names import Name
from flambeau.serialization.replacing import replacing
from flambeau.tensor.tensor import Tensor, current
from flambeau.tensor.views import contiguous_strides, layout

_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_REBUILD_WITH_DTYPE = Name("torch._utils", "_rebuild_tensor_v3")
_REBUILD_META = Name("torch._utils", "_rebuild_meta_tensor_no_storage")
_REBUILD_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_REBUILD_PARAMETER_WITH_STATE = Name("torch._utils", "_rebuild_parameter_with_state")
_REBUILD_FROM_TYPE = Name("torch._tensor", "_rebuild_from_type_v2")
_GENERATOR = Name("torch._C", "Generator")


class _Storage:
    """What several tensors of one type share: written once, known by its key."""

    def __init__(self, root: Tensor, key: str, dtype: dtypes.dtype) -> None:
        self.root = root
        self.key = key
        self.dtype = dtype
        self.data = _storage_of(root)

    def named(self, dtype: dtypes.dtype) -> _Reference:
        kind = names.storage_class(dtype)
        count = self.data.nbytes if kind is names.UNTYPED else self.data.nbytes // dtype.itemsize
        location = str(self.root.device)
        return _Reference(("storage", kind, self.key, location, count))


class _Reference:
    """Stands for a storage inside the pickled structure."""

    __slots__ = ("identity",)

    def __init__(self, identity: tuple[Any, ...]) -> None:
        self.identity = identity


def _storage_of(root: Tensor) -> np.ndarray:
    """The flat storage of a tensor that is no view, places that no element lies in being zero."""
    array = root._array()
    strides, offset = layout(root)
    shape = array.shape
    if offset == 0 and strides == contiguous_strides(shape):
        return np.ascontiguousarray(array).reshape(-1)
    if not array.size:
        return np.zeros(0, array.dtype)
    reach = offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    storage = np.zeros(reach, array.dtype)
    places = np.lib.stride_tricks.as_strided(storage[offset:], shape, [step * array.itemsize for step in strides])
    places[...] = array
    return storage


def _extra(tensor: Tensor) -> dict[str, Any]:
    """The attributes that a program gave a tensor."""
    kept = {key: value for key, value in tensor.__dict__.items() if not key.startswith("_")}
    if tensor.__dict__.get("_is_buffer"):
        kept["_is_buffer"] = True
    return kept


def _expected(module: Any) -> dict[str, Any]:
    """What PyTorch's module of the same name keeps besides, and ours works out anew."""
    from flambeau.nn import RNNBase, functional

    if isinstance(module, RNNBase):
        found = [name for name in module._parameters if name.startswith(("weight_", "bias_"))]
        count = 4 if module.bias else 2
        count += bool(module.proj_size)
        groups = [found[at : at + count] for at in range(0, len(found), count)]
        weights = [module._parameters[name] for name in found]
        return {"_flat_weights_names": found, "_all_weights": groups, "_flat_weights": weights}
    kinds = {functional.relu: 1, functional.gelu: 2}
    return {"activation_relu_or_gelu": kinds.get(module.activation, 0)}


def _pickler(pickle_module: Any, file: Any, protocol: int, storages: dict[int, _Storage]) -> Any:
    from flambeau.nn import RNNBase, TransformerEncoderLayer
    from flambeau.random import Generator

    base = getattr(pickle_module, "_Pickler", None) or pickle_module.Pickler
    if not hasattr(base, "save_global"):
        raise ValueError(
            f"save cannot use the pickle module {pickle_module.__name__!r}: its Pickler lets nobody choose the names "
            "under which classes are written (a method save_global); use pickle or dill"
        )

    class Pickler(base):  # type: ignore[misc, valid-type]
        def persistent_id(self, obj: Any) -> Any:
            if type(obj) is _Reference:
                return obj.identity
            return None

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Tensor):
                return _reduced(obj, storages)
            if isinstance(obj, Name):
                return obj.name
            if isinstance(obj, dtypes.dtype):
                return obj.name
            if type(obj).__module__ == "flambeau.devices":
                return (type(obj), (obj.type,) if obj.index is None else (obj.type, obj.index))
            if isinstance(obj, Generator):
                state = (obj.initial_seed(), None, obj.get_state())
                return (_GENERATOR, (obj.device,), state)
            if isinstance(obj, TransformerEncoderLayer | RNNBase) and type(obj).__reduce_ex__ is object.__reduce_ex__:
                made, args, state, *rest = obj.__reduce_ex__(2)
                return (made, args, {**_expected(obj), **state}, *rest)
            if isinstance(obj, layouts.layout):
                return (names.named_layout, (f"torch.{obj.name}",))
            return NotImplemented

        def save_global(self, obj: Any, name: str | None = None) -> None:
            found = ("torch", obj.name) if isinstance(obj, dtypes.dtype) else names.written(obj)
            if found is None:
                super().save_global(obj, name)
                return
            module, attribute = found
            if self.proto >= 4:
                self.save(module)
                self.save(attribute)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())
            self.memoize(obj)

        # Functions find their way by this table, which knows the method of the base only.
        dispatch: ClassVar[dict[Any, Any]] = {**base.dispatch, FunctionType: save_global}

    return Pickler(file, protocol=protocol)


def _reduced(tensor: Tensor, storages: dict[int, _Storage]) -> tuple[Any, ...]:
    """How a tensor is rebuilt: PyTorch's function and its arguments."""
    from flambeau.nn.parameter import Parameter, UninitializedTensorMixin

    if isinstance(tensor, UninitializedTensorMixin):
        return tensor.__reduce_ex__(2)
    extra = _extra(tensor)
    if type(tensor) is Parameter:
        plain = _plain(tensor, False, storages)
        data = _Rebuilt(plain)
        if extra:
            return (_REBUILD_PARAMETER_WITH_STATE, (data, tensor._rg, OrderedDict(), extra))
        return (_REBUILD_PARAMETER, (data, tensor._rg, OrderedDict()))
    function, args = _plain(tensor, tensor._rg, storages)
    if type(tensor) is Tensor and not extra:
        return function, args
    return (_REBUILD_FROM_TYPE, (function, type(tensor), args, extra))


class _Rebuilt:
    """A tensor that exists only inside the file: the data of a parameter."""

    def __init__(self, parts: tuple[Any, ...]) -> None:
        self.parts = parts

    def __reduce__(self) -> tuple[Any, ...]:
        return self.parts


def _plain(tensor: Tensor, requires_grad: bool, storages: dict[int, _Storage]) -> tuple[Any, tuple[Any, ...]]:
    if tensor._base is not None:
        current(tensor)
    strides, offset = layout(tensor)
    dtype, shape = tensor.dtype, tuple(tensor.shape)
    if tensor.device.type == "meta":
        return _REBUILD_META, (dtype, shape, tuple(strides), requires_grad)
    root = tensor if tensor._base is None else tensor._base
    storage = storages.get(id(root))
    if storage is None:
        storage = storages[id(root)] = _Storage(root, str(len(storages)), dtype)
    if storage.dtype is not dtype:
        raise RuntimeError(
            "Cannot save multiple tensors or storages that view the same data as different types: "
            f"{dtype} and {storage.dtype}; clone() one of them first"
        )
    marks = _marks(tensor)
    args = (storage.named(dtype), offset, shape, tuple(strides), requires_grad, OrderedDict())
    if names.storage_class(dtype) is names.UNTYPED:
        return _REBUILD_WITH_DTYPE, (*args, dtype, *marks)
    return _REBUILD, (*args, *marks)


def _marks(tensor: Tensor) -> tuple[dict[str, bool], ...]:
    """What PyTorch notes of a view whose elements are not those of its storage: nothing, or how they differ."""
    conjugated = negated = False
    for op, _ in tensor._chain:
        if op is CONJ:
            conjugated = not conjugated
        elif op is REAL:
            conjugated = False
        elif op is IMAG:
            conjugated, negated = False, conjugated
    return ({"conj": True},) if conjugated else ({"neg": True},) if negated else ()


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Writes an object to a file in PyTorch's zip format; either library opens it.

    Tensors that share elements share them in the file, too.  A path is written to beside the old file, flushed
    and renamed, so that no one ever finds half a file.

    Args:
        obj: a tensor, module, ``state_dict`` or any nesting of containers that ``pickle`` can write.
        f: a path, or a binary file object.
        pickle_module: what pickles everything but tensors.
        pickle_protocol: the protocol; PyTorch's ``weights_only`` reads protocol 2 alone.

    Raises:
        RuntimeError: if the folder does not exist, or one storage is seen as two types.

    Example:
        >>> import io
        >>> import flambeau as torch
        >>> file = io.BytesIO()
        >>> torch.save({"w": torch.ones(2)}, file)
        >>> _ = file.seek(0)
        >>> torch.load(file)
        {'w': tensor([1., 1.])}
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("save writes the zip format only, not the one that came before it")
    if isinstance(f, str | os.PathLike):
        with replacing(os.fsdecode(f)) as file:
            _write(obj, file, pickle_module, pickle_protocol)
    elif hasattr(f, "write"):
        _write(obj, f, pickle_module, pickle_protocol)
    else:
        raise AttributeError(f"save expects a path or an object with a method 'write', not {type(f).__name__}")


def _write(obj: Any, file: Any, pickle_module: Any, protocol: int) -> None:
    storages: dict[int, _Storage] = {}
    structure = io.BytesIO()
    _pickler(pickle_module, structure, protocol, storages).dump(obj)
    writer = Writer(file)
    writer.put("data.pkl", structure.getvalue())
    writer.put("byteorder", sys.byteorder.encode())
    for storage in storages.values():
        writer.put(f"data/{storage.key}", storage.data.view(np.uint8))
    writer.put("version", VERSION)
    writer.close()
