"""Containers of modules and parameters."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flambeau.nn.modules.module import Module, _addindent
from flambeau.nn.parameter import Parameter
from flambeau.settings import typename
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["Container", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


def _position(index: Any, size: int) -> int:
    """An index counted from the front; IndexError when out of range."""
    place = operator.index(index)
    if not -size <= place < size:
        raise IndexError(f"index {place} is out of range")
    return place % size


def _pairs_of(name: str, given: Any) -> Iterator[tuple[Any, Any]]:
    """Key and value pairs of a mapping or a sequence of pairs."""
    if not isinstance(given, Iterable):
        raise TypeError(
            f"{name}.update should be called with an iterable of key/value pairs, but got {type(given).__name__}"
        )
    if isinstance(given, Mapping | ModuleDict | ParameterDict):
        yield from given.items()
        return
    what = "ParameterDict" if name == "ParametersDict" else name
    for place, pair in enumerate(given):
        if not isinstance(pair, Iterable):
            raise TypeError(f"{what} update sequence element #{place} should be Iterable; is{type(pair).__name__}")
        pair = tuple(pair)
        if len(pair) != 2:
            raise ValueError(f"{what} update sequence element #{place} has length {len(pair)}; 2 is required")
        yield pair


class Container(Module):
    """Modules by name.  Deprecated: :class:`Module` itself holds them.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     net = torch.nn.Container(body=torch.nn.Linear(3, 2))
        >>> net.body
        Linear(in_features=3, out_features=2, bias=True)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Container:
        if cls is Container:
            warn(
                "`nn.Container` is deprecated. All of its functionality is now implemented in `nn.Module`. Subclass "
                "that instead.",
                FutureWarning,
            )
        return super().__new__(cls)

    def __init__(self, **modules: Any) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)


class Sequential(Module):
    """Modules one after another: each gets what the one before gave.

    Args:
        args: modules, or one ordered dictionary of modules by name.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Identity())
        Sequential(
          (0): Linear(in_features=3, out_features=2, bias=True)
          (1): Identity()
        )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for place, module in enumerate(args):
                self.add_module(str(place), module)

    def _name_at(self, index: Any) -> str:
        return list(self._modules)[_position(index, len(self))]

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return type(self)(OrderedDict(list(self._modules.items())[idx]))
        return self._modules[self._name_at(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._name_at(idx), module)

    def __delitem__(self, idx: Any) -> None:
        names = list(self._modules)[idx] if isinstance(idx, slice) else [self._name_at(idx)]
        for name in names:
            delattr(self, name)
        self._modules = {str(place): module for place, module in enumerate(self._modules.values())}

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __add__(self, other: Any) -> Sequential:
        return Sequential(*self, *_sequential(other))

    def __iadd__(self, other: Any) -> Sequential:
        return self.extend(list(_sequential(other)))

    def __mul__(self, other: int) -> Sequential:
        self._check_factor(other)
        return Sequential(*list(self) * other)

    def __rmul__(self, other: int) -> Sequential:
        return self * other

    def __imul__(self, other: int) -> Sequential:
        self._check_factor(other)
        return self.extend(list(self) * (other - 1))

    def _check_factor(self, other: Any) -> None:
        if not isinstance(other, int):
            raise TypeError(f"unsupported operand type(s) for *: {type(self)} and {type(other)}")
        if other <= 0:
            raise ValueError(f"Non-positive multiplication factor {other} for {type(self)}")

    def pop(self, key: Any) -> Any:
        """Takes a module out, or those of a slice, and gives it back.

        Example:
            >>> import flambeau as torch
            >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
            >>> net.pop(0), len(net)
            (ReLU(), 1)
        """
        found = self[key]
        del self[key]
        return found

    def append(self, module: Module) -> Sequential:
        """Adds a module at the end.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.Sequential(torch.nn.ReLU()).append(torch.nn.Tanh())[-1]
            Tanh()
        """
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Sequential:
        """Adds a module before the one at an index.

        Raises:
            AssertionError: if it is no module.
            IndexError: if the index is out of range.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.Sequential(torch.nn.ReLU()).insert(0, torch.nn.Tanh())[0]
            Tanh()
        """
        if not isinstance(module, Module):
            raise AssertionError(f"module should be of type: {Module}")
        size = len(self)
        if not -size <= index <= size:
            raise IndexError(f"Index out of range: {index}")
        place = index + size if index < 0 else index
        _shift(self._modules, place, size)
        self._modules[str(place)] = module
        return self

    def extend(self, sequential: Iterable[Module]) -> Sequential:
        """Adds modules at the end.

        Example:
            >>> import flambeau as torch
            >>> len(torch.nn.Sequential(torch.nn.ReLU()).extend([torch.nn.Tanh(), torch.nn.ReLU()]))
            3
        """
        for module in sequential:
            self.append(module)
        return self

    def forward(self, input: Any) -> Any:
        for module in self:
            input = module(input)
        return input


def _sequential(other: Any) -> Sequential:
    if not isinstance(other, Sequential):
        raise ValueError(f"add operator supports only objects of Sequential class, but {type(other)} is given.")
    return other


def _shift(modules: dict[str, Any], start: int, size: int) -> None:
    """Moves the modules from a position on to the next one."""
    for place in range(size, start, -1):
        modules[str(place)] = modules[str(place - 1)]


class ModuleList(Module):
    """A list of modules, which are parts of the module that holds it.

    Args:
        modules: what it holds at first.

    Example:
        >>> import flambeau as torch
        >>> layers = torch.nn.ModuleList([torch.nn.Linear(3, 3) for _ in range(2)])
        >>> layers.append(torch.nn.ReLU())
        ModuleList(
          (0-1): 2 x Linear(in_features=3, out_features=3, bias=True)
          (2): ReLU()
        )
        >>> len(list(layers.parameters()))
        4
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self += modules

    def _get_abs_string_index(self, idx: Any) -> str:
        return str(_position(idx, len(self)))

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            return type(self)(list(self._modules.values())[idx])  # type: ignore[arg-type]
        return self._modules[self._get_abs_string_index(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._get_abs_string_index(idx), module)

    def __delitem__(self, idx: Any) -> None:
        places = list(range(len(self)))[idx] if isinstance(idx, slice) else [self._get_abs_string_index(idx)]
        for place in places:
            delattr(self, str(place))
        self._modules = {str(place): module for place, module in enumerate(self._modules.values())}

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *other])

    def __repr__(self) -> str:
        runs: list[list[Any]] = []
        for place, module in enumerate(self):
            text = repr(module)
            if runs and runs[-1][2] == text:
                runs[-1][1] = place
            else:
                runs.append([place, place, text])
        if not runs:
            return f"{self._get_name()}()"
        lines = []
        for first, last, text in runs:
            line = f"({first}): {text}" if first == last else f"({first}-{last}): {last - first + 1} x {text}"
            lines.append(_addindent(line, 2))
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

    def insert(self, index: int, module: Module) -> None:
        """Adds a module before the one at an index.

        Example:
            >>> import flambeau as torch
            >>> layers = torch.nn.ModuleList([torch.nn.ReLU()])
            >>> layers.insert(0, torch.nn.Tanh())
            >>> layers[0]
            Tanh()
        """
        _shift(self._modules, index, len(self))
        self._modules[str(index)] = module

    def append(self, module: Module) -> ModuleList:
        """Adds a module at the end.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.ModuleList([torch.nn.ReLU()]).append(torch.nn.Tanh())[-1]
            Tanh()
        """
        self.add_module(str(len(self)), module)
        return self

    def pop(self, key: Any) -> Any:
        """Takes a module out, or those of a slice, and gives it back.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.ModuleList([torch.nn.ReLU(), torch.nn.Tanh()]).pop(-1)
            Tanh()
        """
        found = self[key]
        del self[key]
        return found

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Adds modules at the end.

        Raises:
            TypeError: if it is no iterable.

        Example:
            >>> import flambeau as torch
            >>> len(torch.nn.ModuleList([torch.nn.ReLU()]).extend([torch.nn.Tanh(), torch.nn.ReLU()]))
            3
        """
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleList.extend should be called with an iterable, but got {type(modules).__name__}")
        start = len(self)
        for place, module in enumerate(modules, start):
            self.add_module(str(place), module)
        return self


class ModuleDict(Module):
    """A dictionary of modules, which are parts of the module that holds it, in the order of insertion.

    Args:
        modules: a mapping, or pairs of name and module.

    Example:
        >>> import flambeau as torch
        >>> heads = torch.nn.ModuleDict({"age": torch.nn.Linear(8, 1), "kind": torch.nn.Linear(8, 5)})
        >>> heads["kind"](torch.zeros(2, 8)).shape
        torch.Size([2, 5])
        >>> list(heads)
        ['age', 'kind']
    """

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        if modules is not None:
            self.update(modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def clear(self) -> None:
        """Takes everything out.

        Example:
            >>> import flambeau as torch
            >>> parts = torch.nn.ModuleDict({"act": torch.nn.ReLU()})
            >>> parts.clear()
            >>> len(parts)
            0
        """
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Takes a module out and gives it back.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.ModuleDict({"act": torch.nn.ReLU()}).pop("act")
            ReLU()
        """
        return self._modules.pop(key)

    def keys(self) -> Any:
        """The names.

        Example:
            >>> import flambeau as torch
            >>> list(torch.nn.ModuleDict({"act": torch.nn.ReLU()}).keys())
            ['act']
        """
        return self._modules.keys()

    def items(self) -> Any:
        """Names and modules.

        Example:
            >>> import flambeau as torch
            >>> list(torch.nn.ModuleDict({"act": torch.nn.ReLU()}).items())
            [('act', ReLU())]
        """
        return self._modules.items()

    def values(self) -> Any:
        """The modules.

        Example:
            >>> import flambeau as torch
            >>> list(torch.nn.ModuleDict({"act": torch.nn.ReLU()}).values())
            [ReLU()]
        """
        return self._modules.values()

    def update(self, modules: Any) -> None:
        """Adds modules from a mapping or from pairs; those of the same name are replaced.

        Example:
            >>> import flambeau as torch
            >>> parts = torch.nn.ModuleDict({"act": torch.nn.ReLU()})
            >>> parts.update({"act": torch.nn.Tanh(), "head": torch.nn.Linear(3, 2)})
            >>> parts["act"], len(parts)
            (Tanh(), 2)
        """
        for name, module in _pairs_of("ModuleDict", modules):
            self[name] = module


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


def _line(key: Any, value: Any, type_of: Any) -> str:
    if not isinstance(value, Tensor):
        return f"  ({key}): Object of type: {type(value).__name__}"
    kind = "Parameter" if isinstance(value, Parameter) else "Tensor"
    size = "x".join(map(str, value.shape))
    where = f" ({value.device})" if value.device.type in ("cuda", "tpu") else ""
    return f"  ({key}): {kind} containing: [{type_of(value)} of size {size}{where}]"


class ParameterList(Module):
    """A list of parameters, which are parts of the module that holds it; other values are kept as they are.

    Args:
        values: what it holds at first; tensors become parameters.

    Example:
        >>> import flambeau as torch
        >>> weights = torch.nn.ParameterList([torch.zeros(2), torch.zeros(3)])
        >>> [name for name, _ in weights.named_parameters()]
        ['0', '1']
        >>> weights[1].requires_grad
        True
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        if values is not None:
            self += values

    def _get_abs_string_index(self, idx: Any) -> str:
        return str(_position(idx, len(self)))

    def __getitem__(self, idx: Any) -> Any:
        if isinstance(idx, slice):
            chosen = type(self)()
            for place in range(*idx.indices(len(self))):
                chosen.append(self[place])
            return chosen
        return getattr(self, self._get_abs_string_index(idx))

    def __setitem__(self, idx: int, param: Any) -> None:
        setattr(self, self._get_abs_string_index(idx), _as_parameter(param))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Any]:
        return iter([self[place] for place in range(len(self))])

    def __iadd__(self, parameters: Iterable[Any]) -> ParameterList:
        return self.extend(parameters)

    def append(self, value: Any) -> ParameterList:
        """Adds a value at the end.

        Example:
            >>> import flambeau as torch
            >>> len(torch.nn.ParameterList([torch.zeros(2)]).append(torch.zeros(3)))
            2
        """
        place = len(self)
        self._size += 1
        self[place] = value
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Adds values at the end.

        Raises:
            TypeError: if it is no iterable.

        Example:
            >>> import flambeau as torch
            >>> len(torch.nn.ParameterList([torch.zeros(2)]).extend([torch.zeros(3), torch.zeros(4)]))
            3
        """
        if not isinstance(values, Iterable) or isinstance(values, Tensor):
            raise TypeError(f"ParameterList.extend should be called with an iterable, but got {type(values).__name__}")
        for value in values:
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(_line(place, value, lambda tensor: tensor.dtype) for place, value in enumerate(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ParameterList should not be called.")


class ParameterDict(Module):
    """A dictionary of parameters, which are parts of the module that holds it; other values are kept as they are.

    Args:
        parameters: a mapping, or pairs of name and value; tensors become parameters.

    Example:
        >>> import flambeau as torch
        >>> scales = torch.nn.ParameterDict({"left": torch.ones(2), "right": torch.zeros(2)})
        >>> scales["left"]
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
    """

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        if parameters is not None:
            self.update(parameters)

    def _key_to_attr(self, key: Any) -> str:
        if not isinstance(key, str):
            raise TypeError(
                "Index given to ParameterDict cannot be used as a key as it is not a string (type is "
                f"'{type(key).__name__}'). Open an issue on github if you need non-string keys."
            )
        return key

    def __getitem__(self, key: str) -> Any:
        return getattr(self, self._key_to_attr(key))

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[key] = None
        setattr(self, self._key_to_attr(key), _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, self._key_to_attr(key))

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self._keys))

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def copy(self) -> ParameterDict:
        """A dictionary of its own with the same parameters.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
            >>> scales.copy()["left"] is scales["left"]
            True
        """
        return ParameterDict(OrderedDict(self.items()))

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a name, which becomes ``default`` if there was none.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
            >>> scales.setdefault("left", torch.zeros(2)).detach()
            tensor([1., 1.])
        """
        if key not in self:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Takes everything out.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
            >>> scales.clear()
            >>> len(scales)
            0
        """
        for key in list(self._keys):
            del self[key]

    def pop(self, key: str) -> Any:
        """Takes a value out and gives it back.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
            >>> scales.pop("left").detach(), len(scales)
            (tensor([1., 1.]), 0)
        """
        found = self[key]
        del self[key]
        return found

    def popitem(self) -> tuple[str, Any]:
        """Takes the last name and value out and gives them back.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2), "right": torch.ones(2)})
            >>> scales.popitem()[0], list(scales)
            ('right', ['left'])
        """
        key, _ = self._keys.popitem()
        # Put back, so that taking it out finds it.
        self._keys[key] = None
        return key, self.pop(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a name, or ``default``.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
            >>> scales.get("right") is None
            True
        """
        if key in self:
            return self[key]
        return default

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A new dictionary that has ``default`` for each name.

        Example:
            >>> import flambeau as torch
            >>> torch.nn.ParameterDict().fromkeys(["left", "right"], torch.ones(2))["right"].detach()
            tensor([1., 1.])
        """
        return ParameterDict((key, default) for key in keys)

    def keys(self) -> Any:
        """The names.

        Example:
            >>> import flambeau as torch
            >>> list(torch.nn.ParameterDict({"left": torch.ones(2)}).keys())
            ['left']
        """
        return self._keys.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Names and values.

        Example:
            >>> import flambeau as torch
            >>> [(name, value.shape) for name, value in torch.nn.ParameterDict({"left": torch.ones(2)}).items()]
            [('left', torch.Size([2]))]
        """
        return ((key, self[key]) for key in self._keys)

    def values(self) -> Iterable[Any]:
        """The values.

        Example:
            >>> import flambeau as torch
            >>> [value.shape for value in torch.nn.ParameterDict({"left": torch.ones(2)}).values()]
            [torch.Size([2])]
        """
        return (self[key] for key in self._keys)

    def update(self, parameters: Any) -> None:
        """Adds values from a mapping or from pairs; a plain dictionary's are added in the order of their names.

        Example:
            >>> import flambeau as torch
            >>> scales = torch.nn.ParameterDict({"left": torch.ones(2)})
            >>> scales.update({"right": torch.zeros(2)})
            >>> list(scales)
            ['left', 'right']
        """
        pairs = _pairs_of("ParametersDict", parameters)
        if isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict):
            pairs = iter(sorted(pairs))
        for key, value in pairs:
            self[key] = value

    def extra_repr(self) -> str:
        return "\n".join(_line(key, value, typename) for key, value in self.items())

    def __call__(self, input: Any) -> Any:
        raise RuntimeError("ParameterDict should not be called.")

    def __or__(self, other: ParameterDict) -> ParameterDict:
        merged = self.copy()
        merged.update(other)
        return merged

    def __ror__(self, other: ParameterDict) -> ParameterDict:
        merged = other.copy()
        merged.update(self)
        return merged

    def __ior__(self, other: ParameterDict) -> ParameterDict:
        self.update(other)
        return self
