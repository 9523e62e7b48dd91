"""Storages: what lies behind tensors that share their elements, and where it would be in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from flambeau import devices, dtypes
from flambeau.layouts import innermost_first, memory_format
from flambeau.ops.operator import METHODS, NAMESPACES, public
from flambeau.ops.strided import reach
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import layout
from flambeau.user_warnings import warn

_ALIGNMENT = 64
_next_address = 1 << 16


def root_of(tensor: Tensor) -> Tensor:
    """The tensor whose elements a tensor shows: its base, or itself."""
    return tensor if tensor._base is None else tensor._base


def _address(root: Tensor) -> int:
    """A number for the place of a storage.  Values move when they are computed, so it is no address in truth."""
    global _next_address
    if not root._address:
        root._address = _next_address
        _next_address += -(-UntypedStorage(root).nbytes() // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT
    return root._address


@public(into="", method=True)
def data_ptr(input: Tensor) -> int:
    """A number that is equal for tensors whose first elements are the same place; 0 without elements.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(3)
        >>> x[1:].data_ptr() - x.data_ptr()
        4
    """
    if not input._node.aval.size:
        return 0
    return _address(root_of(input)) + layout(input)[1] * input.dtype.itemsize


@public(into="", method=True)
def const_data_ptr(input: Tensor) -> int:
    """As :meth:`data_ptr`, for a reader.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(3)
        >>> x.const_data_ptr() == x.data_ptr()
        True
    """
    return data_ptr(input)


@public(into="", method=True)
def dim_order(input: Tensor, *, ambiguity_check: bool | list[Any] = False) -> tuple[int, ...]:
    """The dimensions in the order in which they lie in memory, the outermost first.

    Args:
        ambiguity_check: whether to refuse a tensor that could be said to lie in several orders (it has a dimension of
            size 1, or two of one stride); a list of memory formats lets it pass if it lies in just one of these.

    Raises:
        RuntimeError: if it is refused.

    Example:
        >>> import flambeau as torch
        >>> torch.empty(2, 3, 5, 7).transpose(1, 2).dim_order()
        (0, 2, 1, 3)
    """
    formats = ambiguity_check if isinstance(ambiguity_check, list) else []
    if not isinstance(ambiguity_check, bool | list) or not all(isinstance(known, memory_format) for known in formats):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    shape, strides = input._node.aval.shape, layout(input)[0]
    if ambiguity_check or formats:
        several = 1 in shape or any(a == b for a, b in pairwise(strides))
        if several and sum(input.is_contiguous(memory_format=known) for known in formats) != 1:
            raise RuntimeError(
                "The tensor does not have unique dim order, or cannot map to exact one of the given memory formats."
            )
    if input.is_contiguous():
        return tuple(range(input.ndim))
    return tuple(reversed(innermost_first(shape, strides)))


class UntypedStorage:
    """The bytes that a tensor and all its views share; they can be looked at, not written to.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(3)
        >>> x.untyped_storage().nbytes()
        12
    """

    def __init__(self, root: Tensor) -> None:
        self._root = root

    @property
    def device(self) -> devices.device:
        """Where the values are."""
        return self._root.device

    def nbytes(self) -> int:
        """Its size in bytes."""
        return reach(self._root._node.aval.shape, *layout(self._root)) * self._root.dtype.itemsize

    def size(self) -> int:
        """The number of elements: for bytes, its size in bytes."""
        return self.nbytes()

    def data_ptr(self) -> int:
        """A number for its place, equal for all tensors that share it."""
        return _address(self._root) if self.nbytes() else 0

    def elements(self) -> Tensor:
        """All elements as a vector, of the type that the storage was made for: a view."""
        return self._root.detach().as_strided((self.nbytes() // self._root.dtype.itemsize,), (1,), 0)

    def _items(self) -> Tensor:
        return self.elements().view(dtypes.uint8)

    def tolist(self) -> list[Any]:
        """Its elements as a list."""
        return self._items().tolist()

    def __len__(self) -> int:
        return self.size()

    def __getitem__(self, index: int) -> Any:
        return self._items()[index].item()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())


class TypedStorage(UntypedStorage):
    """The elements that a tensor and all its views share.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.tensor([1., 2., 3.])[1:].storage().tolist())
        [1.0, 2.0, 3.0]
    """

    @property
    def dtype(self) -> dtypes.dtype:
        """Type of the elements."""
        return self._root.dtype

    def size(self) -> int:
        """The number of elements."""
        return self.nbytes() // self.dtype.itemsize

    def untyped(self) -> UntypedStorage:
        """The same storage as bytes."""
        return UntypedStorage(self._root)

    def _items(self) -> Tensor:
        return self.elements()


NAMESPACES["torch"].update(UntypedStorage=UntypedStorage, TypedStorage=TypedStorage)


@public(into="", method=True)
def untyped_storage(input: Tensor) -> UntypedStorage:
    """The storage that the tensor shows elements of.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(3)[1:].untyped_storage().nbytes()
        12
    """
    return UntypedStorage(root_of(input))


@public(into="", method=True)
def storage(input: Tensor) -> TypedStorage:
    """The storage that the tensor shows elements of, with a type.  Deprecated: use ``untyped_storage``.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     print(torch.tensor([1., 2., 3.])[1:].storage().size())
        3
    """
    warn(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage "
        "class. This should only matter to you if you are using storages directly.  To access UntypedStorage directly, "
        "use tensor.untyped_storage() instead of tensor.storage()",
    )
    return TypedStorage(root_of(input))


@public()
def is_storage(obj: Any) -> bool:
    """Whether an object is a storage.

    Example:
        >>> import flambeau as torch
        >>> torch.is_storage(torch.zeros(2).untyped_storage()), torch.is_storage(torch.zeros(2))
        (True, False)
    """
    return isinstance(obj, UntypedStorage)


def _is_view(input: Tensor) -> bool:
    """Whether it shares its elements with another tensor, and differentiation goes through that."""
    from flambeau.ops.shape import VIEW_DTYPE
    from flambeau.ops.views import DETACH

    return bool(input._chain) and input._chain[-1][0] not in (DETACH, VIEW_DTYPE)


METHODS["_is_view"] = _is_view
