"""The tensor: a box that shows a node and can be made to show another.

The values behind a tensor never change.  Writing puts a new node into the box, so whatever was saved
earlier stays as it was.  This file knows boxes, not operators: those are attached as methods by
:mod:`flambeau.tensor.methods`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.engine import accelerators
from flambeau.engine.flush import value_of
from flambeau.graph.node import Node, leaf
from flambeau.graph.observer import current as looking


class Size(tuple[int, ...]):
    """The sizes of a tensor: a tuple with a count of elements.

    Example:
        >>> import flambeau as torch
        >>> torch.Size([2, 3]).numel()
        6
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def numel(self) -> int:
        """The product of the sizes."""
        count = 1
        for n in self:
            count *= n
        return count

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other: Any) -> Size:  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Size:
        return Size(tuple(other) + tuple(self))

    def __mul__(self, times: Any) -> Size:  # type: ignore[override]
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return (Size, (tuple(self),))


class Tensor:
    """A multi-dimensional array of one type that can be differentiated.

    A tensor is a box: it shows a node of recorded work, whose value is computed when it is asked for.

    Attributes:
        grad: the gradient that ``backward`` accumulated, or None.
        requires_grad: whether operations on it are noted for differentiation.
        grad_fn: the step of differentiation that it came from, or None for a leaf.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1., 2.], requires_grad=True)
        >>> y = (x * x).sum()
        >>> y
        tensor(5., grad_fn=<SumBackward0>)
        >>> y.backward()
        >>> x.grad
        tensor([2., 4.])
    """

    # Only what nearly every tensor has is a slot; the rest are class attributes that an instance
    # overrides when needed, so that making a tensor costs a few assignments.
    __slots__ = ("__dict__", "__weakref__", "_base", "_chain", "_grad_fn", "_node", "_rg", "_seen")

    _node: Node
    _rg: bool
    _grad_fn: Any
    # Views: the box they look at, how, and how often that had been written to when last seen (see views.py).
    _base: Tensor | None
    _chain: tuple[Any, ...]
    _seen: int

    _output_nr: int = 0
    _grad: Tensor | None = None
    _writes: int = 0
    _hooks: Any = None
    _post_hooks: Any = None
    _retains: bool = False
    _inference: bool = False
    # A number for the place of its elements, once somebody asked (see ops/storage.py).
    _address: int = 0
    # Strides and storage offset, where they are not those of a fresh contiguous array.
    _layout: tuple[tuple[int, ...], int] | None = None

    if TYPE_CHECKING:
        # The operators' methods are attached by flambeau.tensor.methods.
        def __getattr__(self, name: str) -> Any: ...
        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __matmul__(self, other: Any) -> Any: ...
        def __pow__(self, other: Any) -> Any: ...
        def __rpow__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...
        def __invert__(self) -> Any: ...
        def __and__(self, other: Any) -> Any: ...
        def __or__(self, other: Any) -> Any: ...
        def __xor__(self, other: Any) -> Any: ...
        def __lshift__(self, other: Any) -> Any: ...
        def __rshift__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...
        def __eq__(self, other: Any) -> Any: ...
        def __ne__(self, other: Any) -> Any: ...
        def __getitem__(self, index: Any) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __bool__(self) -> bool: ...
        def __int__(self) -> int: ...
        def __float__(self) -> float: ...
        def __index__(self) -> int: ...
        def __len__(self) -> int: ...
        def __iter__(self) -> Any: ...

    __hash__ = object.__hash__

    # ------------------------------------------------------------ what is known without computing

    @property
    def shape(self) -> Size:
        """Sizes."""
        return Size(self._node.aval.shape)

    @property
    def dtype(self) -> dtypes.dtype:
        """Type of the elements."""
        return self._node.aval.dtype

    @property
    def device(self) -> devices.device:
        """Where the values are."""
        return self._node.aval.device

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._node.aval.shape)

    # ------------------------------------------------------------ differentiation

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are noted for differentiation."""
        if self._base is not None:
            current(self)
        return self._rg

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Sets whether operations on this leaf are noted for differentiation.

        Raises:
            RuntimeError: if it is not a leaf, or its type is neither floating nor complex.

        Example:
            >>> import flambeau as torch
            >>> x = torch.zeros(2)
            >>> x.requires_grad_()
            tensor([0., 0.], requires_grad=True)
        """
        if self.grad_fn is not None:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed "
                    "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return self
        if requires_grad and self.dtype.category < dtypes.FLOATING:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        self._rg = bool(requires_grad)
        return self

    @property
    def grad_fn(self) -> Any:
        """The step of differentiation that it came from."""
        if self._base is not None:
            current(self)
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """Whether it was not computed from anything that requires a gradient."""
        return self.grad_fn is None

    @property
    def output_nr(self) -> int:
        """Which of its operation's results it is."""
        return self._output_nr

    @property
    def _version(self) -> int:
        """How often it, or what it is a view of, was written to."""
        return self._writes if self._base is None else self._base._writes

    @property
    def grad(self) -> Tensor | None:
        """The gradient accumulated so far."""
        return self._grad

    @grad.setter
    def grad(self, new: Tensor | None) -> None:
        if new is not None:
            if not isinstance(new, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(new)}")
            if new is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if new.shape != self.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(new.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if new.device is not self.device:
                raise RuntimeError(
                    f"attempting to assign a gradient with device type '{new.device}' to a tensor with device type "
                    f"'{self.device}'. Please ensure that the gradient and the tensor are on the same device"
                )
            if new.dtype is not self.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{new.dtype}' to a tensor with dtype '{self.dtype}'. "
                    "Please ensure that the gradient and the tensor have the same dtype"
                )
        self._grad = new

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    # ------------------------------------------------------------ values

    def _value(self) -> Any:
        """The array behind the box, computed now if need be."""
        return value_of(self._node if self._base is None else current(self))

    def _array(self) -> np.ndarray:
        """The values as a NumPy array, not to be written to."""
        value = self._value()
        if type(value) is np.ndarray:
            return value
        try:
            return np.asarray(value)
        except RuntimeError as error:
            # An accelerator's work fails when it is waited for.
            raise accelerators.failed(error, self._node.aval.device) from error


def wrap(node: Node) -> Tensor:
    """A plain tensor that shows a node."""
    self = object.__new__(Tensor)
    self._node = node
    self._rg = False
    self._grad_fn = None
    self._base = None
    self._chain = ()
    return self


def blank(kind: type[Tensor], node: Node, requires_grad: bool = False) -> Any:
    """A leaf of a subclass that shows a node."""
    self = object.__new__(kind)
    self._node = node
    self._rg = requires_grad
    self._grad_fn = None
    self._base = None
    self._chain = ()
    return self


def from_array(array: Any, dtype: dtypes.dtype | None = None, device: devices.device = devices.cpu) -> Tensor:
    """A plain tensor of an array's values, which must never be written to from now on."""
    node = leaf(array, dtype or dtypes.from_numpy(array.dtype), device)
    if looking.observer is not None:
        looking.observer.made(node)
    return wrap(node)


def from_draw(draw: Callable[[], np.ndarray], device: devices.device = devices.cpu) -> Tensor:
    """A plain tensor of values drawn at random: a captured function draws anew with each replay."""
    if looking.draws is not None:
        return wrap(looking.draws(draw)).to(device)
    return wrap(drawn_leaf(draw, device))


def drawn_leaf(draw: Callable[[], np.ndarray], device: devices.device = devices.cpu) -> Node:
    """A leaf of values drawn at random, by the host."""
    array = draw()
    node = leaf(array, dtypes.from_numpy(array.dtype), device)
    if looking.observer is not None:
        looking.observer.drawn(node, draw)
    return node


def current(tensor: Tensor) -> Node:
    """The node of a view, brought up to date if its base was written to since."""
    if tensor._seen != tensor._base._writes:  # type: ignore[union-attr]
        tensor._refresh()
    return tensor._node
