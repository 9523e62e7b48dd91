"""Tensors from what a checkpoint says about them.

Every tensor gets its values at once, as a NumPy view of its storage.  Which of several tensors on one storage is the
base of the others is settled when all of them are known.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.graph.node import leaf
from flambeau.serialization.names import UNTYPED, Name
from flambeau.tensor.tensor import Tensor, blank, from_array
from flambeau.tensor.views import contiguous_strides

# What PyTorch's tensors keep besides their values that is no attribute of a program's own.
_MARKS = frozenset(("_is_buffer", "_is_param"))


class Storage:
    """The elements of a checkpoint that tensors share.

    It is also what a function given as ``map_location`` receives, and returns, moved or not.

    Attributes:
        key: its name within the file.
        location: where it was when it was saved.
        device: where its tensors will be.
    """

    def __init__(self, data: Any, dtype: dtypes.dtype | None, key: str, location: str) -> None:
        self.data = data
        self.dtype = dtype
        self.key = key
        self.location = location
        self.device = devices.cpu
        self.members: list[_Member] = []

    def cpu(self) -> Storage:
        """Has its tensors made on the CPU."""
        self.device = devices.cpu
        return self

    def cuda(self, device: Any = None) -> Storage:
        """Has its tensors made on a CUDA device."""
        self.device = devices.resolve("cuda" if device is None else devices.device(device))
        return self

    def to(self, device: Any = None, **unused: Any) -> Storage:
        """Has its tensors made on a device."""
        self.device = devices.resolve(device)
        return self

    def nbytes(self) -> int:
        """Its size in bytes."""
        return len(self.data)

    def flat(self, dtype: dtypes.dtype) -> np.ndarray:
        """All its elements."""
        size = dtype.itemsize
        if len(self.data) % size:
            raise UnpicklingError(
                f"the storage {self.key!r} has {len(self.data)} bytes, no whole number of {dtype} elements: "
                "the file is damaged"
            )
        raw = self.data if isinstance(self.data, np.ndarray) else np.frombuffer(self.data, np.uint8)
        if raw.ctypes.data % size:
            raw = raw.copy()
        if dtype is dtypes.bool_:
            # Any other byte than 0 or 1 would be a truth value that NumPy and XLA read differently.
            return raw.view(np.bool_) if not raw.size or raw.max() <= 1 else raw != 0
        return np.asarray(raw).view(dtype.numpy)


class _Member:
    """A tensor that lies in a storage."""

    __slots__ = ("box", "conjugated", "dtype", "offset", "size", "stride")

    def __init__(
        self, box: Tensor, size: tuple[int, ...], stride: tuple[int, ...], offset: int, conjugated: bool
    ) -> None:
        self.box = box
        self.conjugated = conjugated
        self.size = size
        self.stride = stride
        self.offset = offset
        self.dtype = box.dtype


def swapped(data: Any, dtype: dtypes.dtype) -> Any:
    """The bytes of a storage that a machine of the other byte order wrote."""
    parts = 2 if dtype.is_complex else 1
    words = np.frombuffer(data, np.dtype(f"u{dtype.itemsize // parts}"))
    return words.byteswap().tobytes()


class Rebuilder:
    """The functions that a checkpoint calls, and the storages they work on.

    Args:
        read: gives the bytes of a storage for its key.
        place: settles where a storage goes, by ``map_location``.
        byteorder: of the machine that wrote.
    """

    def __init__(
        self, read: Callable[[str], Any], place: Callable[[Storage, str], Storage], byteorder: str = sys.byteorder
    ) -> None:
        self._read = read
        self._place = place
        self._foreign_order = byteorder != sys.byteorder
        self._storages: dict[str, Storage] = {}
        self._member_of: dict[int, tuple[Storage, _Member]] = {}
        self.functions: dict[tuple[str, str], Any] = {
            ("torch._utils", "_rebuild_tensor"): self.tensor,
            ("torch._utils", "_rebuild_tensor_v2"): self.tensor_v2,
            ("torch._utils", "_rebuild_tensor_v3"): self.tensor_v3,
            ("torch._utils", "_rebuild_meta_tensor_no_storage"): self.meta_tensor,
            ("torch._utils", "_rebuild_parameter"): self.parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self.parameter_with_state,
            ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): self.device_tensor,
            ("torch._tensor", "_rebuild_from_type_v2"): self.from_type,
        }

    # ------------------------------------------------------------ storages

    def persistent_load(self, identity: Any) -> Storage:
        """The storage that a persistent identity names."""
        if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
            raise UnpicklingError(f"unknown persistent identity in the file: {str(identity)[:80]}")
        _, kind, key, location, count = identity
        if not isinstance(kind, Name) or (kind.dtype is None and kind is not UNTYPED):
            raise UnpicklingError(f"a storage in the file is of no known class: {str(kind)[:80]}")
        if type(key) is not str or type(location) is not str or type(count) is not int:
            raise UnpicklingError("a storage in the file is described by values of the wrong types")
        found = self._storages.get(key)
        if found is None:
            data = self._read(key)
            size = count * (kind.dtype.itemsize if kind.dtype is not None else 1)
            if size != len(data):
                raise UnpicklingError(
                    f"the storage {key!r} should have {size} bytes and has {len(data)}: the file is damaged"
                )
            if self._foreign_order and kind.dtype is not None:
                data = swapped(data, kind.dtype)
            found = Storage(data, kind.dtype, key, location)
            found = self._storages[key] = self._place(found, location)
        elif found.dtype is not kind.dtype:
            raise UnpicklingError(f"the storage {key!r} is described as of two types: the file is damaged")
        return found

    # ------------------------------------------------------------ tensors

    def _tensor(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, dtype: Any, metadata: Any = None
    ) -> Tensor:
        if not isinstance(storage, Storage) or not isinstance(dtype, dtypes.dtype):
            raise UnpicklingError("a tensor in the file has no storage, or no type")
        size, stride = _whole_numbers(size, "size"), _whole_numbers(stride, "stride")
        offset = _whole_numbers((offset,), "storage offset")[0]
        if len(size) != len(stride) or len(size) > 64:
            raise UnpicklingError(f"a tensor in the file has sizes {size} and strides {stride}, which do not fit")
        if self._foreign_order and storage.dtype is None and not isinstance(storage.data, np.ndarray):
            storage.data = np.frombuffer(swapped(storage.data, dtype), np.uint8)
        flat = storage.flat(dtype)
        reach = 0 if 0 in size else offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if reach > flat.size:
            raise RuntimeError(
                f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize "
                f"{dtype.itemsize} requiring a storage size of {reach * dtype.itemsize} are out of bounds for storage "
                f"of size {flat.nbytes}: the file is damaged"
            )
        if requires_grad and dtype.category < dtypes.FLOATING:
            raise UnpicklingError(f"a tensor of {dtype} in the file claims to require a gradient")
        contiguous = stride == contiguous_strides(size)
        if contiguous:
            count = int(np.prod(size, dtype=object)) if size else 1
            array = flat[offset : offset + count].reshape(size) if count else np.zeros(size, dtype.numpy)
        else:
            steps = [step * dtype.itemsize for step in stride]
            array = np.lib.stride_tricks.as_strided(flat[offset:] if reach else flat, size, steps, writeable=False)
        conjugated = bool(isinstance(metadata, dict) and metadata.get("conj"))
        negated = bool(isinstance(metadata, dict) and metadata.get("neg"))
        if conjugated:
            array = np.conj(array)
        if negated:
            array = -array
        box = _on(storage.device, array, dtype)
        box._rg = bool(requires_grad)
        if not negated and storage.device.type != "meta":
            member = _Member(box, size, stride, offset, conjugated)
            storage.members.append(member)
            self._member_of[id(box)] = (storage, member)
        return box

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
        """A tensor of a storage, as the first versions of the format wrote it."""
        return self._tensor(storage, offset, size, stride, False, getattr(storage, "dtype", None))

    def tensor_v2(
        self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
    ) -> Tensor:
        """A tensor of a storage that knows its type."""
        dtype = getattr(storage, "dtype", None)
        return self._tensor(storage, offset, size, stride, requires_grad, dtype, metadata)

    def tensor_v3(
        self,
        storage: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any,
        hooks: Any,
        dtype: Any,
        metadata: Any = None,
    ) -> Tensor:
        """A tensor of a storage of bytes."""
        return self._tensor(storage, offset, size, stride, requires_grad, dtype, metadata)

    def meta_tensor(self, dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Tensor:
        """A tensor without values."""
        from flambeau.ops.create import empty

        size, stride = _whole_numbers(size, "size"), _whole_numbers(stride, "stride")
        if not isinstance(dtype, dtypes.dtype) or len(size) != len(stride):
            raise UnpicklingError("a tensor without values in the file is described wrongly")
        made = empty(size, dtype=dtype, device="meta")
        if stride != contiguous_strides(size):
            made._layout = (stride, 0)
        return made.requires_grad_(bool(requires_grad))

    def device_tensor(self, data: Any, dtype: Any, device: Any, requires_grad: Any) -> Tensor:
        """A tensor of a device that keeps its values elsewhere; it becomes one of the CPU."""
        if not isinstance(data, Tensor) or not isinstance(dtype, dtypes.dtype):
            raise UnpicklingError("a device tensor in the file is described wrongly")
        return data.to(dtype).requires_grad_(bool(requires_grad))

    def parameter(self, data: Any, requires_grad: Any, hooks: Any) -> Any:
        """A parameter of a tensor's values, which no longer counts among the file's tensors."""
        from flambeau.nn.parameter import Parameter

        if not isinstance(data, Tensor):
            raise UnpicklingError("a parameter in the file has no tensor")
        made = Parameter(data, bool(requires_grad))
        known = self._member_of.get(id(data))
        if known is not None:
            known[1].box = made
        return made

    def parameter_with_state(self, data: Any, requires_grad: Any, hooks: Any, state: Any) -> Any:
        """A parameter that a program had given attributes."""
        made = self.parameter(data, requires_grad, hooks)
        _give(made, state)
        return made

    def from_type(self, function: Any, kind: Any, args: Any, state: Any) -> Any:
        """A tensor of a class of its own, or with attributes."""
        if not any(function == known for known in self.functions.values()) or type(args) is not tuple:
            raise UnpicklingError("a tensor in the file is to be rebuilt by something else than PyTorch's functions")
        made = function(*args)
        if not isinstance(kind, type) or not issubclass(kind, Tensor):
            raise UnpicklingError(f"a tensor in the file is of a class that is none: {str(kind)[:80]}")
        if type(made) is not kind and kind is not Tensor:
            typed = blank(kind, made._node, made._rg)
            known = self._member_of.get(id(made))
            if known is not None:
                known[1].box = typed
            made = typed
        _give(made, state)
        return made

    # ------------------------------------------------------------ sharing

    def finish(self) -> None:
        """Makes tensors of one storage views of one base."""
        for storage in self._storages.values():
            if storage.members:
                _share(storage)


def _share(storage: Storage) -> None:
    from flambeau.ops.complex import CONJ
    from flambeau.ops.strided import AS_STRIDED
    from flambeau.ops.views import DETACH

    members = storage.members
    first = members[0]
    count = len(storage.data) // first.dtype.itemsize
    if len(members) == 1 and _covers(first, count):
        return
    alike = [member for member in members if member.dtype is first.dtype]
    base = next((m for m in sorted(alike, key=lambda m: not m.box._rg) if _covers(m, count)), None)
    free = [member for member in alike if member is not base and _may_be_view(member.box)]
    if base is None and free:
        root = _on(storage.device, storage.flat(first.dtype), first.dtype)
        shape: tuple[int, ...] = (count,)
    elif base is not None:
        root, shape = base.box, base.size
    for member in members:
        if member is base:
            continue
        if member in free:
            box = member.box
            box._base = root
            attrs = (member.size, member.stride, member.offset, contiguous_strides(shape), 0, None)
            box._chain = ((DETACH, ()), (AS_STRIDED, attrs)) if root._rg else ((AS_STRIDED, attrs),)
            if member.conjugated:
                box._chain = (*box._chain, (CONJ, ()))
            box._seen = root._writes
        member.box._layout = (member.stride, member.offset)


def _covers(member: _Member, count: int) -> bool:
    size = member.box._node.aval.size
    return (
        not member.conjugated
        and member.offset == 0
        and size == count
        and member.stride == contiguous_strides(member.size)
    )


def _may_be_view(box: Tensor) -> bool:
    # A view derives its gradient from its base, so what is a leaf that requires one stays by itself.
    from flambeau.nn.parameter import Parameter

    return not box._rg and type(box) is not Parameter


def _on(device: devices.device, array: np.ndarray, dtype: dtypes.dtype) -> Tensor:
    if device is devices.cpu:
        return from_array(array, dtype)
    return blank(Tensor, leaf(array, dtype)).to(device)


def _whole_numbers(values: Any, what: str) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(type(n) is int and 0 <= n < 1 << 63 for n in values):
        raise UnpicklingError(f"a tensor in the file has a {what} of {str(values)[:80]}")
    return tuple(values)


def _give(tensor: Tensor, state: Any) -> None:
    """Gives a tensor the attributes that it had."""
    if isinstance(state, tuple) and len(state) == 2:
        state = {**(state[0] or {}), **(state[1] or {})}
    if not isinstance(state, dict | OrderedDict):
        raise UnpicklingError("the attributes of a tensor in the file are no dictionary")
    for name, value in state.items():
        if type(name) is not str or (name not in _MARKS and (name.startswith("_") or hasattr(type(tensor), name))):
            raise UnpicklingError(f"a tensor in the file has an attribute that may not be set: {str(name)[:80]!r}")
        tensor.__dict__[name] = value
