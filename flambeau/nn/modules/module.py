"""The base of all modules."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from flambeau import devices
from flambeau.autograd.grad_mode import no_grad
from flambeau.nn.modules._calling import CallMixin
from flambeau.nn.modules._hooks import (
    _global_buffer_registration_hooks,
    _global_module_registration_hooks,
    _global_parameter_registration_hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn.modules._state import StateMixin
from flambeau.nn.modules._state import _IncompatibleKeys as _IncompatibleKeys
from flambeau.nn.parameter import Buffer, Parameter, is_lazy
from flambeau.settings import typename
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import write
from flambeau.user_warnings import warn

__all__ = [
    "register_module_forward_pre_hook",
    "register_module_forward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_backward_hook",
    "register_module_full_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
    "Module",
]

T = TypeVar("T", bound="Module")


def _addindent(text: str, spaces: int) -> str:
    return text.replace("\n", "\n" + " " * spaces)


def _check_name(what: str, name: Any, dot: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"{what} name should be a string. Got {typename(name)}")
    if "." in name:
        raise KeyError(dot)
    if name == "":
        raise KeyError(f'{what} name can\'t be empty string ""')


class Module(CallMixin, StateMixin):
    """A part of a model: parameters, buffers and further modules, assigned as attributes, and a ``forward``.

    Attributes:
        training: whether it is in training mode.

    Example:
        >>> import flambeau as torch
        >>> class Twice(torch.nn.Module):
        ...     def forward(self, x):
        ...         return x + x
        >>> Twice()(torch.ones(2))
        tensor([2., 2.])
    """

    dump_patches: bool = False
    training: bool
    call_super_init: bool = False
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and kwargs:
            raise TypeError(
                f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
        if not self.call_super_init and args:
            raise TypeError(
                f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given"
            )
        # Straight into the dictionary: the attributes that assignment looks at do not exist yet.
        members = self.__dict__
        members["training"] = True
        members["_parameters"] = {}
        members["_buffers"] = {}
        members["_non_persistent_buffers_set"] = set()
        members["_backward_pre_hooks"] = OrderedDict()
        members["_backward_hooks"] = OrderedDict()
        members["_is_full_backward_hook"] = None
        members["_forward_hooks"] = OrderedDict()
        members["_forward_hooks_with_kwargs"] = OrderedDict()
        members["_forward_hooks_always_called"] = OrderedDict()
        members["_forward_pre_hooks"] = OrderedDict()
        members["_forward_pre_hooks_with_kwargs"] = OrderedDict()
        members["_state_dict_hooks"] = OrderedDict()
        members["_state_dict_pre_hooks"] = OrderedDict()
        members["_load_state_dict_pre_hooks"] = OrderedDict()
        members["_load_state_dict_post_hooks"] = OrderedDict()
        members["_modules"] = {}
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # ------------------------------------------------------------ registration

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Makes a tensor part of the module's state without making it a parameter.

        Args:
            name: the attribute by which it is reached.
            tensor: the buffer, or None: then it is not part of ``state_dict``.
            persistent: whether it is part of ``state_dict``.

        Example:
            >>> import flambeau as torch
            >>> m = torch.nn.Module()
            >>> m.register_buffer("mean", torch.zeros(2))
            >>> m.register_buffer("scratch", torch.zeros(2), persistent=False)
            >>> list(m.state_dict()), list(m.parameters())
            (['mean'], [])
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        _check_name("buffer", name, 'buffer name can\'t contain "."')
        if hasattr(self, name) and name not in self._buffers:
            raise KeyError(f"attribute '{name}' already exists")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        for hook in _global_buffer_registration_hooks.values():
            replaced = hook(self, name, tensor)
            if replaced is not None:
                tensor = replaced
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Makes a tensor one of the module's parameters.

        Args:
            name: the attribute by which it is reached.
            param: the parameter, or None for one that is absent.

        Example:
            >>> import flambeau as torch
            >>> m = torch.nn.Module()
            >>> m.register_parameter("weight", torch.nn.Parameter(torch.ones(2)))
            >>> m.register_parameter("bias", None)
            >>> list(m.state_dict()), m.bias is None
            (['weight'], True)
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        _check_name("parameter", name, 'parameter name can\'t contain "."')
        if hasattr(self, name) and name not in self._parameters:
            raise KeyError(f"attribute '{name}' already exists")
        if param is None:
            self._parameters[name] = None
            return
        if not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{typename(param)}' object to parameter '{name}' (torch.nn.Parameter or None required)"
            )
        if param._grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. "
                f"To express '{name}' as a function of another Tensor, compute the value in the forward() method."
            )
        for hook in _global_parameter_registration_hooks.values():
            replaced = hook(self, name, param)
            if replaced is not None:
                param = replaced
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Makes a module a part of this one, reached by the attribute ``name``.

        Example:
            >>> import flambeau as torch
            >>> m = torch.nn.Module()
            >>> m.add_module("head", torch.nn.Linear(3, 2))
            >>> m.head
            Linear(in_features=3, out_features=2, bias=True)
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        if not isinstance(name, str):
            raise TypeError(f"module name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in self._modules:
            raise KeyError(f"attribute '{name}' already exists")
        _check_name("module", name, f'module name can\'t contain ".", got: {name}')
        self._modules[name] = self._announced(name, module)

    def register_module(self, name: str, module: Module | None) -> None:
        """The same as :meth:`add_module`."""
        self.add_module(name, module)

    def _announced(self, name: str, module: Any) -> Any:
        for hook in _global_module_registration_hooks.values():
            replaced = hook(self, name, module)
            if replaced is not None:
                module = replaced
        return module

    def __getattr__(self, name: str) -> Any:
        members = self.__dict__
        # Absent before Module.__init__() has run.
        if "_modules" in members:
            for family in ("_parameters", "_buffers", "_modules"):
                found = members[family]
                if name in found:
                    return found[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        members = self.__dict__
        parameters = members.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._forget(name, "_buffers", "_modules", "_non_persistent_buffers_set")
            self.register_parameter(name, value)
        elif parameters is not None and name in parameters:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, None)
        elif isinstance(value, Module):
            if members.get("_modules") is None:
                raise AttributeError("cannot assign module before Module.__init__() call")
            self._forget(name, "_parameters", "_buffers", "_non_persistent_buffers_set")
            members["_modules"][name] = self._announced(name, value)
        elif name in members.get("_modules", ()):
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' (torch.nn.Module or None expected)"
                )
            members["_modules"][name] = self._announced(name, None)
        elif name in members.get("_buffers", ()) or isinstance(value, Buffer):
            self._set_buffer(name, value)
        else:
            object.__setattr__(self, name, value)

    def _set_buffer(self, name: str, value: Any) -> None:
        buffers = self.__dict__.get("_buffers")
        if buffers is None:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(
                f"cannot assign '{typename(value)}' as buffer '{name}' (torch.nn.Buffer, torch.Tensor or None expected)"
            )
        if isinstance(value, Buffer):
            self._forget(name, "_parameters", "_modules", "_non_persistent_buffers_set")
            self.register_buffer(name, value, getattr(value, "persistent", True))
            return
        for hook in _global_buffer_registration_hooks.values():
            replaced = hook(self, name, value)
            if replaced is not None:
                value = replaced
        buffers[name] = value

    def _forget(self, name: str, *families: str) -> None:
        members = self.__dict__
        members.pop(name, None)
        for family in families:
            found = members[family]
            if name in found:
                if isinstance(found, dict):
                    del found[name]
                else:
                    found.discard(name)

    def __delattr__(self, name: str) -> None:
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            super().__delattr__(name)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[0].isdigit())

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.pop("_compiled_call_impl", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # Saved by an earlier version, some may be missing.
        for name in _DICTIONARIES:
            self.__dict__.setdefault(name, OrderedDict())
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        self.__dict__.setdefault("_is_full_backward_hook", None)

    # ------------------------------------------------------------ finding parts

    def get_submodule(self, target: str) -> Module:
        """The submodule of a dotted name, such as ``"layers.0.conv"``; this one itself for ``""``.

        Raises:
            AttributeError: if there is none.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(3, 2)))
            >>> net.get_submodule("0.1")
            Linear(in_features=3, out_features=2, bias=True)
        """
        found: Any = self
        for step in target.split(".") if target else ():
            if not hasattr(found, step):
                raise AttributeError(f"{found._get_name()} has no attribute `{step}`")
            found = getattr(found, step)
            if not isinstance(found, Module):
                raise AttributeError(f"`{step}` is not an nn.Module")
        return found

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Puts a module in the place of the submodule of a dotted name.

        Args:
            target: the dotted name.
            module: the new submodule.
            strict: whether there must be one of that name already.

        Raises:
            ValueError: if ``target`` is empty, or ``module`` is not a module.
            AttributeError: if a step of the name is missing or no module.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(3, 2)))
            >>> net.set_submodule("0.0", torch.nn.Tanh())
            >>> net[0][0]
            Tanh()
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        path, _, name = target.rpartition(".")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name.

        Raises:
            AttributeError: if there is none.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.Sequential(torch.nn.Linear(3, 2)).get_parameter("0.weight").shape
            torch.Size([2, 3])
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{owner._get_name()} has no attribute `{name}`")
        found = getattr(owner, name)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name.

        Raises:
            AttributeError: if there is none.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.Sequential(torch.nn.BatchNorm1d(2)).get_buffer("0.running_mean")
            tensor([0., 0.])
        """
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{owner._get_name()} has no attribute `{name}`")
        if name not in owner._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(owner, name)

    def _named_members(
        self,
        get_members_fn: Callable[[Module], Any],
        prefix: str = "",
        recurse: bool = True,
        remove_duplicate: bool = True,
    ) -> Iterator[tuple[str, Any]]:
        seen: set[Any] = set()
        owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, owner in owners:
            for name, member in get_members_fn(owner):
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield f"{path}.{name}" if path else name, member

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Its parameters, each once; with those of all submodules unless ``recurse`` is False.

        Example:
            >>> import flambeau as torch
            >>> sum(p.numel() for p in torch.nn.Linear(3, 2).parameters())
            8
        """
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Its parameters with their dotted names.

        Example:
            >>> import flambeau as torch
            >>> [name for name, _ in torch.nn.Sequential(torch.nn.Linear(3, 2)).named_parameters()]
            ['0.weight', '0.bias']
        """
        yield from self._named_members(lambda owner: owner._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Its buffers, each once; with those of all submodules unless ``recurse`` is False."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Its buffers with their dotted names.

        Example:
            >>> import flambeau as torch
            >>> [name for name, _ in torch.nn.BatchNorm1d(2).named_buffers()]
            ['running_mean', 'running_var', 'num_batches_tracked']
        """
        yield from self._named_members(lambda owner: owner._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """Its direct submodules, each once.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU()), torch.nn.Tanh())
            >>> [type(part).__name__ for part in net.children()], [type(part).__name__ for part in net.modules()]
            (['Sequential', 'Tanh'], ['Sequential', 'Sequential', 'ReLU', 'Tanh'])
        """
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Its direct submodules with their names."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all submodules, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all submodules, with their dotted names.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.ReLU()), torch.nn.Tanh())
            >>> [name for name, _ in net.named_modules()]
            ['', '0', '0.0', '1']
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    # ------------------------------------------------------------ changing all parts

    def apply(self: T, fn: Callable[[Module], None]) -> T:
        """Calls ``fn`` on every submodule, then on this one; returns it.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
            >>> _ = net.apply(lambda module: print(type(module).__name__))
            ReLU
            Tanh
            Sequential
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: T, fn: Callable[[Any], Any], recurse: bool = True) -> T:
        """Puts ``fn(tensor)`` into the place of every parameter, gradient and buffer."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with no_grad():
                    changed = fn(parameter)
                self._parameters[name] = _refit(parameter, changed, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def cpu(self: T) -> T:
        """Moves everything to the CPU."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self: T, device: Any = None) -> T:
        """Moves everything to a GPU."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def xpu(self: T, device: Any = None) -> T:
        """Moves everything to an XPU, which there is none of: raises."""
        return self._apply(lambda tensor: tensor.to(_numbered("xpu", device)))

    def ipu(self: T, device: Any = None) -> T:
        """Moves everything to an IPU, which there is none of: raises."""
        return self._apply(lambda tensor: tensor.to(_numbered("ipu", device)))

    def mtia(self: T, device: Any = None) -> T:
        """Moves everything to an MTIA device, which there is none of: raises."""
        return self._apply(lambda tensor: tensor.to(_numbered("mtia", device)))

    def type(self: T, dst_type: Any) -> T:
        """Converts everything to a type."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self: T) -> T:
        """Converts floating-point parameters and buffers to float32."""
        return self._apply(lambda tensor: tensor.float() if tensor.is_floating_point() else tensor)

    def double(self: T) -> T:
        """Converts floating-point parameters and buffers to float64."""
        return self._apply(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)

    def half(self: T) -> T:
        """Converts floating-point parameters and buffers to float16.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.BatchNorm1d(2).half().running_mean.dtype
            torch.float16
        """
        return self._apply(lambda tensor: tensor.half() if tensor.is_floating_point() else tensor)

    def bfloat16(self: T) -> T:
        """Converts floating-point parameters and buffers to bfloat16."""
        return self._apply(lambda tensor: tensor.bfloat16() if tensor.is_floating_point() else tensor)

    def to_empty(self: T, *, device: Any, recurse: bool = True) -> T:
        """Moves everything to a device without its values, which do not matter then.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.Linear(3, 2, device="meta").to_empty(device="cpu").weight.device
            device(type='cpu')
        """
        from flambeau.ops.create import empty

        return self._apply(lambda t: empty(t.shape, dtype=t.dtype, device=device or t.device), recurse)

    def to(self: T, *args: Any, **kwargs: Any) -> T:
        """Moves everything, and converts what is floating-point or complex, in place.

        Forms: ``to(device, dtype)``, ``to(dtype)``, ``to(tensor)``, each with ``non_blocking`` and
        ``memory_format``.

        Raises:
            TypeError: if the dtype is neither floating-point nor complex.

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.BatchNorm1d(2)
            >>> layer.to(torch.float64) is layer, layer.weight.dtype, layer.num_batches_tracked.dtype
            (True, torch.float64, torch.int64)
        """
        from flambeau.ops.cast import parsed_to

        dtype, device, _ = parsed_to(*args, **kwargs)
        memory_format = kwargs.get("memory_format")
        if dtype is not None:
            if not (dtype.is_floating_point or dtype.is_complex):
                raise TypeError(
                    f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
                )
            if dtype.is_complex:
                warn(
                    "Complex modules are a new feature under active development whose design may change, and some "
                    "modules might not work as expected when using complex tensors as parameters or buffers. Please "
                    "file an issue at https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml if a "
                    "complex module does not work as expected.",
                )

        def convert(tensor: Any) -> Any:
            numeric = tensor.is_floating_point() or tensor.is_complex()
            asked = {"device": device, "dtype": dtype if numeric else None}
            if memory_format is not None and tensor.dim() in (4, 5):
                asked["memory_format"] = memory_format
            if device is not None and device is not devices.meta and tensor.device is devices.meta:
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                )
            return tensor.to(**asked)

        return self._apply(convert)

    def train(self: T, mode: bool = True) -> T:
        """Puts this module and all submodules into training mode, or out of it.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.Dropout())
            >>> net.train(False)[0].training
            False
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: T) -> T:
        """Puts this module and all submodules into evaluation mode."""
        return self.train(False)

    def requires_grad_(self: T, requires_grad: bool = True) -> T:
        """Sets whether the parameters are to be trained.

        Example:
            >>> import flambeau as torch
            >>> [p.requires_grad for p in torch.nn.Linear(3, 2).requires_grad_(False).parameters()]
            [False, False]
        """
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Takes the parameters' gradients away, or makes them zero.

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.Linear(1, 1)
            >>> layer(torch.ones(1)).backward()
            >>> layer.zero_grad()
            >>> layer.weight.grad is None
            True
        """
        for parameter in self.parameters():
            grad = parameter._grad
            if grad is None:
                continue
            if set_to_none:
                parameter._grad = None
                continue
            with no_grad():
                write(grad, grad.new_zeros(grad.shape))
            grad._grad_fn = None
            grad._rg = False

    def share_memory(self: T) -> T:
        """Moves every tensor to memory that processes share."""
        return self._apply(lambda tensor: tensor.share_memory_())

    # ------------------------------------------------------------ printing

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What its printed form says in the brackets; nothing unless a module defines it.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.Dropout(0.1).extra_repr()
            'p=0.1, inplace=False'
        """
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        alone = len(lines) == 1 and not self._modules
        for name, module in self._modules.items():
            lines.append(f"({name}): {_addindent(repr(module), 2)}")
        if not lines:
            return f"{self._get_name()}()"
        if alone:
            return f"{self._get_name()}({lines[0]})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

    def _replicate_for_data_parallel(self: T) -> T:
        replica = type(self).__new__(type(self))
        replica.__dict__ = self.__dict__.copy()
        replica.__dict__["_parameters"] = {}
        replica._buffers = replica._buffers.copy()
        replica._modules = replica._modules.copy()
        replica._is_replica = True
        return replica


_DICTIONARIES = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def _numbered(kind: str, index: Any) -> str:
    return kind if index is None else f"{kind}:{index}"


def _refit(parameter: Parameter, changed: Any, fn: Callable[[Any], Any]) -> Parameter:
    """A parameter with other values: the same object, unless it comes from or goes to the device "meta"."""
    same = is_lazy(parameter) or (parameter.device is devices.meta) == (changed.device is devices.meta)
    grad = parameter.grad
    if same:
        parameter.data = changed
        fitted = parameter
    else:
        fitted = Parameter(changed, parameter.requires_grad)
    if grad is not None:
        with no_grad():
            new_grad = fn(grad)
        if same:
            grad.data = new_grad
        else:
            fitted.grad = new_grad.requires_grad_(grad.requires_grad)
    return fitted
