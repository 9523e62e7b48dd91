"""PyTorch's values as a library's, and a library's results as plain data."""

from __future__ import annotations

import collections
import dataclasses
import functools
import operator
import types
import weakref

import numpy as np
import torch
from torch.testing._utils import wrapper_set_seed


class Mismatch(Exception):
    """The library's answer differs from torch's."""


class NotApplicable(Exception):
    """The sample says nothing about the library, e.g. because torch itself rejects it."""


# A result is copied into a flat dict from paths such as "result[0]" to leaves: Array for
# tensors, Container for what holds other values, anything else as it is.
Array = collections.namedtuple("Array", "dtype data")
Container = collections.namedtuple("Container", "kind size fields")

HIGHER = {torch.float32: torch.float64, torch.complex64: torch.complex128}


def torch_attribute(path):
    return functools.reduce(lambda owner, name: getattr(owner, name, None), path.split("."), torch)


def public_names():
    """Map the id of every public torch function and class to its dotted name below torch."""
    names = {}
    for namespace in ("", "nn.functional.", "nn.", "linalg.", "fft.", "special.", "masked.", "signal.windows."):
        owner = torch_attribute(namespace[:-1]) if namespace else torch
        for name in dir(owner):
            if callable(getattr(owner, name, None)) and not name.startswith("_"):
                names.setdefault(id(getattr(owner, name)), namespace + name)
    return names


PUBLIC_NAMES = public_names()

# Constructor arguments of torch modules, to rebuild the modules that samples contain.
constructor_arguments = weakref.WeakKeyDictionary()


def recording_new(cls, *args, **kwargs):
    module = object.__new__(cls)
    constructor_arguments[module] = args, kwargs
    return module


torch.nn.Module.__new__ = recording_new


def short_name(constant):
    """'torch.float32' and 'flambeau.float32' are both 'float32'."""
    return str(constant).rpartition(".")[2]


def is_tensor_method(function):
    return getattr(torch.Tensor, getattr(function, "__name__", ""), None) is function


def call(function, *args, **kwargs):
    return function(*args, **kwargs)


class Library:
    """A torch look-alike, or torch itself when it serves as the reference."""

    def __init__(self, module):
        self.module, self.Tensor = module, module.Tensor

    def get(self, path):
        return operator.attrgetter(path)(self.module)

    def resolve(self, function, path=None):
        """The library's counterpart of a torch function, a Tensor method, or a function of
        torch's test databases, which is rebuilt with `torch` standing for the library."""
        if path and torch_attribute(path) is function:
            return self.get(path)
        if function is wrapper_set_seed:
            return call
        if isinstance(function, functools.partial):
            return functools.partial(self.resolve(function.func), *function.args, **function.keywords)
        if isinstance(function, types.FunctionType) and function.__module__.startswith("torch.testing"):
            names = {**function.__globals__, "torch": self.module, "wrapper_set_seed": call}
            rebuilt = types.FunctionType(
                function.__code__, names, function.__name__, function.__defaults__, function.__closure__
            )
            rebuilt.__kwdefaults__ = function.__kwdefaults__
            return rebuilt
        if is_tensor_method(function):
            return lambda tensor, *args, **kwargs: getattr(tensor, function.__name__)(*args, **kwargs)
        return self.get(PUBLIC_NAMES[id(function)]) if id(function) in PUBLIC_NAMES else function

    def snapshot(self, value, path="result"):
        if isinstance(value, self.Tensor):
            return {path: Array(short_name(value.dtype), self.to_numpy(value))}
        if isinstance(value, dict):
            flat, items = {path: Container("dict", list(value), ())}, value.items()
        elif isinstance(value, (list, tuple)):
            fields = getattr(value, "_fields", None) or getattr(type(value), "__match_args__", ())
            kind = "list" if isinstance(value, list) else "tuple"
            flat, items = {path: Container(kind, len(value), tuple(fields))}, enumerate(value)
        else:
            return {path: short_name(value) if isinstance(value, getattr(self.module, "dtype", ())) else value}
        for key, item in items:
            flat.update(self.snapshot(item, f"{path}[{key!r}]"))
        return flat

    def to_numpy(self, tensor):
        tensor = tensor.detach().cpu()
        if short_name(tensor.dtype) == "bfloat16":
            tensor = tensor.float()
        elif short_name(tensor.dtype) == "complex32":
            tensor = tensor.to(self.module.complex64)
        for resolve in ("resolve_conj", "resolve_neg"):
            tensor = getattr(tensor, resolve)() if hasattr(tensor, resolve) else tensor
        return np.array(tensor.numpy())

    def gradients(self, result, leaves):
        """Gradients of a fixed random linear function of the differentiable tensors in result.
        A leaf without a gradient counts as one with a zero gradient."""
        generator, total = np.random.default_rng(0), None
        for tensor in self.tensors(result):
            if not tensor.requires_grad:
                continue
            dtype, shape = short_name(tensor.dtype), tuple(tensor.shape)
            weight = generator.standard_normal(shape)
            if dtype.startswith("complex"):
                weight = weight + 1j * generator.standard_normal(shape)
            term = (tensor * self.module.tensor(np.asarray(weight), dtype=getattr(self.module, dtype))).sum()
            term = term.real if dtype.startswith("complex") else term
            total = term if total is None else total + term
        if total is None or not leaves:
            raise NotApplicable if self is REFERENCE else Mismatch("no output requires grad")
        total.backward()
        flat = {}
        for i, leaf in enumerate(leaves):
            zero = {f"grad[{i}]": Array(short_name(leaf.dtype), np.zeros(tuple(leaf.shape)))}
            flat.update(zero if leaf.grad is None else self.snapshot(leaf.grad, f"grad[{i}]"))
        return flat

    def tensors(self, value):
        if isinstance(value, self.Tensor):
            yield value
        elif isinstance(value, (list, tuple, dict)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from self.tensors(item)


REFERENCE = Library(torch)


class Session:
    """Translates torch values to a library's for one computation. A tensor that occurs twice is
    translated once; `leaves` lists those that require grad. With high=True, float32 becomes float64."""

    def __init__(self, library, seed=0, high=False):
        self.library, self.seed, self.high = library, seed, high
        self.leaves, self.memo = [], {}

    def fresh(self):
        return Session(self.library, self.seed, self.high)

    def call(self, function, *args, **kwargs):
        args, kwargs = self(args), self(kwargs)
        if hasattr(self.library.module, "manual_seed"):
            self.library.module.manual_seed(self.seed)
        return function(*args, **kwargs)

    def __call__(self, value):
        lib = self.library.module
        if isinstance(value, (torch.Tensor, torch.nn.Module)):
            if id(value) not in self.memo:
                build = self.tensor if isinstance(value, torch.Tensor) else self.module
                self.memo[id(value)] = value, build(value)  # holding the value keeps its id unique
            return self.memo[id(value)][1]
        if isinstance(value, torch.dtype):
            return getattr(lib, short_name(HIGHER.get(value, value) if self.high else value))
        if isinstance(value, (torch.layout, torch.memory_format)):
            return getattr(lib, short_name(value))
        if isinstance(value, torch.device):
            return lib.device(str(value))
        if isinstance(value, torch.Generator):
            return lib.Generator().manual_seed(value.initial_seed())
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self(item) for item in value]
        if isinstance(value, tuple):
            items = [self(item) for item in value]
            return self.library.resolve(type(value))(*items) if hasattr(value, "_fields") else tuple(items)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: self(getattr(value, field.name)) for field in dataclasses.fields(value)}
            return self.library.resolve(type(value))(**fields)
        return self.library.resolve(value) if callable(value) else value

    def tensor(self, tensor):
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise NotApplicable(f"{tensor.layout} tensor on {tensor.device}")
        lib, options = self.library.module, {"requires_grad": True} if tensor.requires_grad else {}
        if isinstance(tensor, torch.nn.Parameter):
            copied = lib.nn.Parameter(self(tensor.detach()), requires_grad=tensor.requires_grad)
        else:
            copied = lib.tensor(REFERENCE.to_numpy(tensor), dtype=self(tensor.dtype), **options)
        if tensor.requires_grad:
            self.leaves.append(copied)
        return copied

    def module(self, module):
        args, kwargs = constructor_arguments[module]
        copied = self.library.resolve(type(module))(*self(args), **self(kwargs))
        copied.load_state_dict(self.state(module))
        return copied.train(module.training)

    def state(self, module):
        return {key: self.fresh()(value) for key, value in module.state_dict().items()}
