"""Parameters and buffers: the tensors that a module calls its own."""

from __future__ import annotations

from typing import Any

from flambeau import devices, dtypes
from flambeau.tensor.tensor import Size, Tensor, blank, current, wrap

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter"]


def _node_of(data: Any) -> Any:
    return data._node if data._base is None else current(data)


def _no_data() -> Tensor:
    from flambeau.ops.create import empty

    return empty(0)


class _ParameterMeta(type):
    # A tensor of another class becomes a parameter by a mark, not by changing its class.
    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that a module counts among its parameters as soon as it is assigned to it.

    Args:
        data: the initial values.
        requires_grad: whether it is to be trained.

    Raises:
        TypeError: if ``data`` is no tensor.
        RuntimeError: if it is to be trained and neither floating nor complex.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Parameter(torch.ones(2))
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Any:
        if data is None:
            data = _no_data()
        if type(data) is not Tensor and not isinstance(data, Parameter):
            if not isinstance(data, Tensor):
                raise TypeError(f"Parameter data has to be a tensor, but got {type(data).__name__}")
            marked = data.detach().requires_grad_(requires_grad)
            if type(marked) is type(data):
                marked._is_param = True
                return marked
        self = blank(cls, _node_of(data), bool(requires_grad))
        if requires_grad and self.dtype.category < dtypes.FLOATING:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = type(self)(self.data, self._rg)
        return known

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    __str__ = __repr__

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if not key.startswith("_")}
        if state:
            return (_rebuild_parameter_with_state, (type(self), self.data, self._rg, state))
        return (_rebuild_parameter, (type(self), self.data, self._rg))


def _rebuild_parameter(kind: type, data: Tensor, requires_grad: bool) -> Any:
    return kind(data, requires_grad)


def _rebuild_parameter_with_state(kind: type, data: Tensor, requires_grad: bool, state: dict[str, Any]) -> Any:
    parameter = kind(data, requires_grad)
    parameter.__dict__.update(state)
    return parameter


class _BufferMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        if type.__instancecheck__(cls, instance):
            return True
        return cls is Buffer and isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that a module counts among its buffers as soon as it is assigned to it: state, not trained.

    Args:
        data: the initial values.
        persistent: whether it is part of ``state_dict``.

    Example:
        >>> import flambeau as torch
        >>> module = torch.nn.Module()
        >>> module.mean = torch.nn.Buffer(torch.zeros(2))
        >>> module.scratch = torch.nn.Buffer(torch.zeros(2), persistent=False)
        >>> [name for name, _ in module.named_buffers()], list(module.state_dict())
        (['mean', 'scratch'], ['mean'])
    """

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Any:
        if data is None:
            data = _no_data()
        buffer = wrap(_node_of(data))
        buffer._rg = data._rg
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


# ---------------------------------------------------------------- not yet of any shape


class UninitializedTensorMixin:
    """A parameter or buffer whose shape is not known yet.

    It has a dtype and a device, both of which may change, and nothing else until ``materialize``.
    """

    # No room of its own, so that it can become a plain tensor.
    __slots__ = ()

    cls_to_become: type

    _pending_dtype: dtypes.dtype
    _pending_device: devices.device

    @property
    def dtype(self) -> dtypes.dtype:
        """Type that the elements will have."""
        return self._pending_dtype

    @property
    def device(self) -> devices.device:
        """Where the values will be."""
        return self._pending_device

    @property
    def shape(self) -> Size:
        """Not known yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. "
            "This error usually happens in `load_state_dict` when trying to load "
            "an uninitialized parameter into an initialized one. "
            "Call `forward` to initialize the parameters before accessing their attributes."
        )

    @property
    def _node(self) -> Any:
        kind = type(self).__name__
        raise ValueError(
            f"Attempted to use an uninitialized parameter. "
            f"This error happens when you are using a `LazyModule` or explicitly manipulating "
            f"`torch.nn.parameter.{kind}` objects. When using LazyModules Call `forward` with a dummy batch to "
            "initialize the parameters before calling torch functions"
        )

    @property
    def data(self) -> Any:
        """Itself, cut off from differentiation."""
        return self._like(self._pending_dtype, self._pending_device)

    @data.setter
    def data(self, new: Any) -> None:
        if is_lazy(new):
            self._pending_dtype = new.dtype
            self._pending_device = new.device
            return
        self.materialize(new.shape, device=new.device, dtype=new.dtype)
        self.data = new

    def _like(self, dtype: dtypes.dtype, device: devices.device) -> Any:
        return type(self)(requires_grad=self._rg, device=device, dtype=dtype)  # type: ignore[attr-defined, call-arg]

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """The same with another dtype or device."""
        from flambeau.ops.cast import parsed_to

        dtype, device, _ = parsed_to(*args, **kwargs)
        return self._like(dtype or self._pending_dtype, device or self._pending_device)

    def half(self) -> Any:
        """The same in float16."""
        return self._like(dtypes.float16, self._pending_device)

    def bfloat16(self) -> Any:
        """The same in bfloat16."""
        return self._like(dtypes.bfloat16, self._pending_device)

    def float(self) -> Any:
        """The same in float32."""
        return self._like(dtypes.float32, self._pending_device)

    def double(self) -> Any:
        """The same in float64."""
        return self._like(dtypes.float64, self._pending_device)

    def cpu(self) -> Any:
        """The same on the CPU."""
        return self._like(self._pending_dtype, devices.cpu)

    def cuda(self, device: Any = None) -> Any:
        """The same on a GPU."""
        return self.to("cuda" if device is None else device)

    def share_memory_(self) -> Any:
        """There is nothing to share yet: raises."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`."
        )

    def is_floating_point(self) -> bool:
        """Whether its type is a floating-point one."""
        return self._pending_dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether its type is a complex one."""
        return self._pending_dtype.is_complex

    def detach(self) -> Any:
        """Itself: there is nothing to cut off."""
        return self

    def materialize(self, shape: Any, device: Any = None, dtype: dtypes.dtype | None = None) -> None:
        """Becomes a proper parameter or buffer of a shape; its values do not matter yet.

        Args:
            shape: the sizes.
            device, dtype: those it was made with, unless given.
        """
        from flambeau.ops.create import empty

        made = empty(
            tuple(shape), dtype=dtype or self._pending_dtype, device=self._pending_device if device is None else device
        )
        members = self.__dict__
        del members["_pending_dtype"], members["_pending_device"]
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        Tensor._node.__set__(self, made._node)  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        known = memo.get(id(self))
        if known is None:
            known = memo[id(self)] = self._like(self._pending_dtype, self._pending_device)
        return known

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (type(self), (self._rg, self._pending_device, self._pending_dtype))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__


def is_lazy(parameter: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(parameter, UninitializedTensorMixin)


def _uninitialized(cls: type, requires_grad: bool, device: Any, dtype: Any) -> Any:
    self = object.__new__(cls)
    self._rg = bool(requires_grad)
    self._grad_fn = None
    self._base = None
    self._chain = ()
    self._pending_dtype = dtype or dtypes.get_default_dtype()
    self._pending_device = devices.resolve(device)
    return self


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet; ``materialize(shape)`` makes it a :class:`Parameter`.

    Args:
        requires_grad: whether it is to be trained.
        device, dtype: what it will have.

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.UninitializedParameter()
        >>> w.materialize((2, 3))
        >>> type(w).__name__, w.shape
        ('Parameter', torch.Size([2, 3]))
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: dtypes.dtype | None = None) -> Any:
        return _uninitialized(cls, requires_grad, device, dtype)


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is not known yet; ``materialize(shape)`` makes it a tensor.

    Args:
        requires_grad: as of a tensor.
        device, dtype: what it will have.
        persistent: whether it is part of ``state_dict``.

    Example:
        >>> import flambeau as torch
        >>> b = torch.nn.UninitializedBuffer(dtype=torch.int64)
        >>> b.materialize((2, 3))
        >>> b.dtype, b.shape
        (torch.int64, torch.Size([2, 3]))
    """

    cls_to_become = Tensor

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: dtypes.dtype | None = None,
        persistent: bool = True,
    ) -> Any:
        self = _uninitialized(cls, requires_grad, device, dtype)
        self.persistent = persistent
        self._is_buffer = True
        return self
