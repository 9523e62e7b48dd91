"""Nodes: one recorded operation each, and what is known of its value before it exists."""

from __future__ import annotations

from typing import Any, ClassVar
from weakref import WeakValueDictionary

from flambeau import devices, dtypes


class Aval:
    """What is known of a value before it is computed: an abstract value.

    Abstract values are interned: equal ones are one object, so that a dictionary key made of them
    hashes and compares by identity.

    Attributes:
        shape: sizes, a tuple of ints.
        dtype, device: as of a tensor.
        weak: whether it stands for a Python number, which never decides a type within its category.
    """

    __slots__ = ("__weakref__", "device", "dtype", "shape", "weak")
    _known: ClassVar[WeakValueDictionary[tuple[Any, ...], Aval]] = WeakValueDictionary()
    shape: tuple[int, ...]
    dtype: dtypes.dtype
    device: devices.device
    weak: bool

    def __new__(
        cls,
        shape: tuple[int, ...],
        dtype: dtypes.dtype,
        device: devices.device = devices.cpu,
        weak: bool = False,
    ) -> Aval:
        key = (shape, dtype, device, weak)
        found = cls._known.get(key)
        if found is None:
            found = object.__new__(cls)
            found.shape = shape
            found.dtype = dtype
            found.device = device
            found.weak = weak
            cls._known[key] = found
        return found

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        size = 1
        for n in self.shape:
            size *= n
        return size

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def of(self, shape: tuple[int, ...] | None = None, dtype: dtypes.dtype | None = None) -> Aval:
        """This abstract value with another shape or dtype."""
        return Aval(self.shape if shape is None else shape, dtype or self.dtype, self.device)

    def __repr__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]{'*' if self.weak else ''}"


class Node:
    """One recorded operation, or a leaf that was born with its value.

    Attributes:
        call: the operation with its static parameters; None for a leaf and once computed.
        inputs: the nodes it reads; dropped once computed.
        aval: what is known of its value (a tuple of these where the operation has several results).
        value: the array, once there is one (a Python number in a weak leaf); None before.
        slot: a number that only means something while a program is being put together.
    """

    __slots__ = ("__weakref__", "aval", "call", "inputs", "slot", "value")

    def __init__(self, call: Any, inputs: tuple[Node, ...], aval: Any, value: Any = None) -> None:
        self.call = call
        self.inputs = inputs
        self.aval = aval
        self.value = value
        self.slot = -1

    def __repr__(self) -> str:
        what = "leaf" if self.call is None else self.call.op.name
        return f"<{what} {self.aval}>"


def leaf(value: Any, dtype: dtypes.dtype, device: devices.device = devices.cpu) -> Node:
    """A node born with its value."""
    return Node(None, (), Aval(value.shape, dtype, device), value)


_WEAK: dict[type, Aval] = {}


def forget_weak_types() -> None:
    """To be called when the default dtype changes, since Python floats take it."""
    _WEAK.clear()


def number(value: Any) -> Node:
    """A leaf for a Python number.

    Each use gets a leaf of its own: two positions that happen to hold equal numbers today stay two
    positions, so that a program's structure never depends on the numbers in it.
    """
    kind = type(value)
    aval = _WEAK.get(kind)
    if aval is None:
        aval = Aval((), dtypes.of_number(value), weak=True)
        if kind in (bool, int, float, complex):
            _WEAK[kind] = aval
        else:
            value = value.item()
    return Node(None, (), aval, value)


NONE = Node(None, (), None)
"""Stands where an operation's optional input is absent."""
NONE.slot = 0
