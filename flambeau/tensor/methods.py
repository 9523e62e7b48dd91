"""Attaches the operators to the tensor: methods, in-place forms and Python's own operators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.autograd.backward import backward as run_backward
from flambeau.autograd.hooks import RemovableHandle
from flambeau.layouts import channels_last, channels_last_3d, contiguous_format, lies_in, preserve_format
from flambeau.ops import operator as registry
from flambeau.ops.autocast import as_given
from flambeau.tensor import printing
from flambeau.tensor.construct import legacy_tensor
from flambeau.tensor.tensor import Size, Tensor, blank, current
from flambeau.tensor.views import check_writable, is_contiguous, layout, write

_OPERANDS = (Tensor, int, float, complex, np.generic)


def assign(tensor: Tensor, new: Tensor) -> Tensor:
    """Writes a result into a tensor, if its shape and type allow it."""
    aval, given = tensor._node.aval, new._node.aval
    if given.shape != aval.shape:
        raise RuntimeError(
            f"output with shape {list(aval.shape)} doesn't match the broadcast shape {list(given.shape)}"
        )
    if given.dtype is not aval.dtype:
        if not dtypes.can_cast(given.dtype, aval.dtype):
            raise RuntimeError(
                f"result type {given.dtype.title} can't be cast to the desired output type {aval.dtype.title}"
            )
        new = new.to(aval.dtype)
    return write(tensor, new)


def inplace(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The in-place form of a function: computes, then puts the result into the box."""

    @functools.wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self)
        return assign(self, as_given(function, self, *args, **kwargs))

    method.__name__ = name
    method.__doc__ = f"In-place form of ``{name[:-1]}``: writes the result into the tensor and returns it."
    return method


def _operand(function: Callable[..., Any], taken: tuple[type, ...] = _OPERANDS) -> Callable[..., Any]:
    """A binary operator's method, which leaves strange operands to their own class."""

    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, taken):
            if isinstance(other, np.ndarray):
                other = registry.NAMESPACES["torch"]["as_tensor"](other)
            else:
                return NotImplemented
        return function(self, other)

    return method


def _reflected(function: Callable[..., Any], taken: tuple[type, ...]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, taken):
            return NotImplemented
        return function(other, self)

    return method


# Python's operators, and the functions they stand for.
_BINARY = {
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "pow",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}
_UNARY = {"neg": "neg", "pos": "positive", "abs": "abs"}
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def attach() -> None:
    """Gives the Tensor class every registered method."""
    for name, function in registry.METHODS.items():
        setattr(Tensor, name, function)
    for name, function in registry.INPLACE.items():
        setattr(Tensor, name, inplace(function, name))
    functions = {name: getattr(f, "__wrapped__", f) for name, f in registry.NAMESPACES["torch"].items()}
    for python, name in _BINARY.items():
        if name not in functions:
            continue
        taken = (Tensor,) if python == "matmul" else _OPERANDS
        setattr(Tensor, f"__{python}__", _operand(functions[name], taken))
        setattr(Tensor, f"__r{python}__", _reflected(functions[name], taken))
        if name + "_" in registry.INPLACE:
            setattr(Tensor, f"__i{python}__", _operand(getattr(Tensor, name + "_")))
    for python, name in _UNARY.items():
        if name in functions:
            setattr(Tensor, f"__{python}__", functions[name])
    for name in _COMPARISONS:
        if name in functions:
            setattr(Tensor, f"__{name}__", _operand(functions[name]))
    for name, function in _OWN.items():
        setattr(Tensor, name, function)


# ---------------------------------------------------------------- what is no operator


def _new(cls: type[Tensor], *args: Any, **kwargs: Any) -> Any:
    return legacy_tensor(*args, **kwargs) if cls is Tensor else object.__new__(cls)


def _repr(self: Tensor, *, tensor_contents: Any = None) -> str:
    aval = self._node.aval
    text = printing.format_tensor(
        None if aval.device.type == "meta" else self._array(),  # type: ignore[arg-type]
        dtype_name=aval.dtype.name,
        default_dtype_name=dtypes.get_default_dtype().name,
        requires_grad=self._rg,
        grad_fn_name=self.grad_fn.name().rpartition("::")[2] if self.grad_fn is not None else None,
        device=str(aval.device),
        is_meta=aval.device.type == "meta",
        shape=aval.shape,
        tensor_contents=tensor_contents,
    )
    return text


def _format(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and self.device.type != "meta":
        return printing.format_scalar(self.item(), self.dtype.name, spec)
    return object.__format__(self, spec)


def item(self: Tensor) -> Any:
    """The value of a one-element tensor as a Python number.

    Raises:
        RuntimeError: if there is not exactly one element.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([[2.5]]).item(), torch.tensor(3).item()
        (2.5, 3)
    """
    if self.device is devices.meta:
        raise RuntimeError("Tensor.item() cannot be called on meta tensors (it has no values: to_empty makes room)")
    array = self._array()
    if array.size != 1:
        raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
    return array.item() if array.dtype.kind in "biufc" else float(array.reshape(()))


def tolist(self: Tensor) -> Any:
    """The values as nested lists of Python numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([[1, 2], [3, 4]]).tolist()
        [[1, 2], [3, 4]]
    """
    if self.device is devices.meta:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    array = self._array()
    if array.dtype.kind not in "biufc":
        array = array.astype(np.float32)
    return array.tolist()


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """A NumPy array with a copy of the values.

    Raises:
        RuntimeError: if it requires a gradient and ``force`` is not set.
        TypeError: if it is on another device than the CPU and ``force`` is not set.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor([1., 2.]).numpy()
        array([1., 2.], dtype=float32)
        >>> torch.ones(1, requires_grad=True).numpy(force=True).dtype
        dtype('float32')
    """
    if self.device is not devices.cpu and self.device is not devices.meta and not force:
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )
    if self.requires_grad and not force:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self.device is devices.meta:
        raise TypeError(
            "can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first. "
            "(it has no values: to_empty makes room)"
        )
    return np.array(self._array())


def _array_protocol(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    array = self.numpy()
    return array if dtype is None else array.astype(dtype, copy=False)


def _array_wrap(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """The result of a NumPy function of tensors as a tensor; truth values as uint8, as PyTorch has it."""
    array = np.asarray(array)
    return registry.NAMESPACES["torch"]["from_numpy"](array.astype(np.uint8) if array.dtype == np.bool_ else array)


def _bool(self: Tensor) -> bool:
    if self._node.aval.size != 1:
        if self._node.aval.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(self._array().reshape(()))


def _invert(self: Tensor) -> Tensor:
    if self.dtype.category >= dtypes.FLOATING:
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return self.bitwise_not()


def _index(self: Tensor) -> int:
    if self.dtype.category > dtypes.INTEGER or self._node.aval.size != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self.item())


def _len(self: Tensor) -> int:
    shape = self._node.aval.shape
    if not shape:
        raise TypeError("len() of a 0-d tensor")
    return shape[0]


def _iter(self: Tensor) -> Any:
    if not self._node.aval.shape:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


def _number(self: Tensor, kind: type) -> Any:
    if self._node.aval.size != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    value = self.item()
    if isinstance(value, complex) and kind is not complex:
        if value.imag:
            name = "int64_t" if kind is int else "double"
            raise RuntimeError(f"value cannot be converted to type {name} without overflow")
        value = value.real
    return kind(value)


def _reversed(self: Tensor) -> Tensor:
    return self.flip(tuple(range(self.ndim))) if self.ndim else self


def _contains(self: Tensor, element: Any) -> bool:
    if isinstance(element, Tensor | int | float | complex | bool | np.number):
        return bool((element == self).any().item())
    raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")


def size(self: Tensor, dim: int | None = None) -> Any:
    """Sizes, or the size of one dimension.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, 3)
        >>> x.size(), x.size(-1)
        (torch.Size([2, 3]), 3)
    """
    return self.shape if dim is None else self._node.aval.shape[_dim_of(dim, self)]


def dim(self: Tensor) -> int:
    """The number of dimensions; all of them are dense.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 3).dim(), torch.tensor(1.).dim()
        (2, 0)
    """
    return len(self._node.aval.shape)


def _sparse_dim(self: Tensor) -> int:
    """The number of sparse dimensions: 0, as there are no sparse tensors.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 3).sparse_dim()
        0
    """
    return 0


def get_device(self: Tensor) -> int:
    """The number of the device that it is on; -1 for the CPU.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2).get_device()
        -1
    """
    return -1 if self.device.index is None else self.device.index


def _dim_of(dim: int, tensor: Tensor) -> int:
    from flambeau.ops.views import wrapped_dim

    return wrapped_dim(dim, tensor.ndim)


def stride(self: Tensor, dim: int | None = None) -> Any:
    """Strides in elements, or that of one dimension.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, 3)
        >>> x.stride(), x.T.stride(), x.stride(0)
        ((3, 1), (1, 3), 3)
    """
    _fresh(self)
    strides = layout(self)[0]
    return strides if dim is None else strides[_dim_of(dim, self)]


def _fresh(tensor: Tensor) -> None:
    if tensor._base is not None:
        current(tensor)


def storage_offset(self: Tensor) -> int:
    """Where in its storage it begins, in elements.

    Example:
        >>> import flambeau as torch
        >>> torch.arange(6).reshape(2, 3)[1, 1:].storage_offset()
        4
    """
    return layout(self)[1]


def numel(self: Tensor) -> int:
    """The number of elements.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, 3).nelement()
        6
    """
    return self._node.aval.size


def element_size(self: Tensor) -> int:
    """Bytes per element.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(2, dtype=torch.int16).element_size()
        2
    """
    return self.dtype.itemsize


def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """The tensor itself if its elements lie in that order (row-major unless told otherwise), else a copy.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, 3).T
        >>> x.stride(), x.contiguous().stride()
        ((1, 3), (2, 1))
    """
    if _is_contiguous(self, memory_format):
        return self
    if memory_format is preserve_format:
        raise RuntimeError("preserve memory format is unsupported by the contiguous operator")
    return self.clone(memory_format=memory_format)


def _is_contiguous(self: Tensor, memory_format: Any = contiguous_format) -> bool:
    """Whether its elements lie without gaps in that order, row-major unless told otherwise.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, 3)
        >>> x.is_contiguous(), x.T.is_contiguous()
        (True, False)
    """
    if memory_format is channels_last or memory_format is channels_last_3d:
        return lies_in(self._node.aval.shape, layout(self)[0], memory_format)
    return is_contiguous(self)


def backward(
    self: Tensor, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None
) -> None:
    """Adds the gradient of this tensor to the ``grad`` of the leaves it came from.

    Args:
        gradient: a factor of its shape; may be left out for one element.
        retain_graph, create_graph, inputs: as of :func:`flambeau.autograd.backward`.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1., 2.], requires_grad=True)
        >>> (x * x).backward(torch.tensor([1., 10.]))
        >>> x.grad
        tensor([ 2., 40.])
    """
    run_backward(self, gradient, retain_graph, create_graph, inputs=inputs)


def retain_grad(self: Tensor) -> None:
    """Has ``backward`` keep the gradient of a tensor that is no leaf.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor(2., requires_grad=True)
        >>> y = x * 3
        >>> y.retain_grad()
        >>> (y * y).backward()
        >>> y.grad
        tensor(12.)
    """
    if not self.requires_grad:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    grad_fn = self.grad_fn
    if grad_fn is None or self._retains:
        return
    self._retains = True

    def keep(gradient: Tensor) -> None:
        self._grad = gradient if self._grad is None else self._grad + gradient

    grad_fn.pre_hooks = grad_fn.pre_hooks or []
    grad_fn.pre_hooks.append((self._output_nr, keep))


def register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Calls ``hook(grad)`` when its gradient is known; what it returns replaces the gradient.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1., 2.], requires_grad=True)
        >>> handle = x.register_hook(lambda grad: grad * 10)
        >>> x.sum().backward()
        >>> x.grad
        tensor([10., 10.])
        >>> handle.remove()
    """
    if not self.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    grad_fn = self.grad_fn
    if grad_fn is None:
        self._hooks = self._hooks or []
        return RemovableHandle.in_list(self._hooks, hook)
    grad_fn.pre_hooks = grad_fn.pre_hooks or []
    return RemovableHandle.in_list(grad_fn.pre_hooks, (self._output_nr, hook))


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Calls ``hook(tensor)`` after a gradient was added to this leaf's ``grad``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([1., 2.], requires_grad=True)
        >>> handle = x.register_post_accumulate_grad_hook(lambda leaf: print(leaf.grad))
        >>> x.sum().backward()
        tensor([1., 1.])
    """
    if not self.requires_grad:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if self.grad_fn is not None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    self._post_hooks = self._post_hooks or []
    return RemovableHandle.in_list(self._post_hooks, hook)


def _get_data(self: Tensor) -> Tensor:
    return self.detach()


def _set_data(self: Tensor, new: Tensor) -> None:
    if not isinstance(new, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {type(new).__name__}")
    self._node = new._node if new._base is None else current(new)
    self._layout = new._layout if new._base is None else None


def detach_(self: Tensor) -> Tensor:
    """Cuts this very tensor off from differentiation.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> y = x * 2
        >>> y.detach_()
        tensor([2., 2.])
    """
    if self._base is not None:
        raise RuntimeError("Can't detach views in-place. Use detach() instead.")
    self._grad_fn = None
    self._rg = False
    return self


def _deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    from copy import deepcopy

    copy = blank(type(self), self._node if self._base is None else current(self), self._rg)
    copy.__dict__.update({k: deepcopy(v, memo) for k, v in self.__dict__.items() if not k.startswith("_")})
    if self._grad is not None:
        copy._grad = deepcopy(self._grad, memo)
    memo[id(self)] = copy
    return copy


def _reduce(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    extra = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
    return (_rebuilt, (type(self), np.array(self._array()), self.dtype, self.device, self.requires_grad, extra))


def _rebuilt(
    kind: type,
    array: np.ndarray,
    dtype: dtypes.dtype,
    device: devices.device,
    requires_grad: bool,
    extra: dict[str, Any],
) -> Tensor:
    from flambeau.graph.node import leaf

    tensor = blank(kind, leaf(array, dtype, devices.resolve(device)), requires_grad)
    tensor.__dict__.update(extra)
    return tensor


def _is_floating_point(self: Tensor) -> bool:
    """Whether its type is a floating-point one.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor(1.).is_floating_point(), torch.tensor(1).is_floating_point()
        (True, False)
    """
    return self.dtype.is_floating_point


def is_signed(self: Tensor) -> bool:
    """Whether its type has negative numbers.

    Example:
        >>> import flambeau as torch
        >>> torch.zeros(1, dtype=torch.int8).is_signed(), torch.zeros(1, dtype=torch.uint8).is_signed()
        (True, False)
    """
    return self.dtype.is_signed


def is_inference(self: Tensor) -> bool:
    """Whether it was made in inference mode, so that it can never be noted for differentiation.

    Example:
        >>> import flambeau as torch
        >>> with torch.inference_mode():
        ...     x = torch.ones(2)
        >>> x.is_inference(), torch.ones(2).is_inference()
        (True, False)
    """
    return self._inference


def _is_complex(self: Tensor) -> bool:
    """Whether its type is a complex one.

    Example:
        >>> import flambeau as torch
        >>> torch.tensor(1j).is_complex(), torch.tensor(1.).is_complex()
        (True, False)
    """
    return self.dtype.is_complex


# Layouts, backends and devices of which no tensor is.
_NEVER = (
    "is_ipu", "is_maia", "is_mkldnn", "is_mps", "is_mtia", "is_nested", "is_quantized", "is_sparse", "is_sparse_csr",
    "is_vulkan", "is_xla", "is_xpu",
)  # fmt: skip
_OWN: dict[str, Any] = {
    "__new__": staticmethod(_new),
    "__repr__": _repr,
    "__str__": _repr,
    "__format__": _format,
    "__array__": _array_protocol,
    "__array_wrap__": _array_wrap,
    "__invert__": _invert,
    "__bool__": _bool,
    "__float__": lambda self: _number(self, float),
    "__int__": lambda self: _number(self, int),
    "__complex__": lambda self: _number(self, complex),
    "__reversed__": _reversed,
    "__index__": _index,
    "__len__": _len,
    "__iter__": _iter,
    "__contains__": _contains,
    "__deepcopy__": _deepcopy,
    "__reduce_ex__": _reduce,
    "__array_priority__": 1000,
    "item": item,
    "tolist": tolist,
    "numpy": numpy,
    "size": size,
    "dim": dim,
    "ndimension": dim,
    "stride": stride,
    "storage_offset": storage_offset,
    "numel": numel,
    "nelement": numel,
    "element_size": element_size,
    "itemsize": property(element_size),
    "nbytes": property(lambda self: self._node.aval.nbytes),
    "contiguous": contiguous,
    "is_contiguous": _is_contiguous,
    "is_floating_point": _is_floating_point,
    "is_complex": _is_complex,
    "is_signed": is_signed,
    "is_inference": is_inference,
    "backward": backward,
    "retain_grad": retain_grad,
    "retains_grad": property(lambda self: self._retains),
    "register_hook": register_hook,
    "register_post_accumulate_grad_hook": register_post_accumulate_grad_hook,
    "data": property(_get_data, _set_data),
    "detach_": detach_,
    "is_cuda": property(lambda self: self.device.type == "cuda"),
    "is_cpu": property(lambda self: self.device.type == "cpu"),
    "is_meta": property(lambda self: self.device.type == "meta"),
    **dict.fromkeys(_NEVER, property(lambda self: False, doc="False: there are no such tensors here.")),
    "dense_dim": dim,
    "sparse_dim": _sparse_dim,
    "get_device": get_device,
}

__all__ = ["Size", "assign", "attach", "inplace"]
