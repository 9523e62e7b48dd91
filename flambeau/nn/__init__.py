"""Neural networks: modules, parameters, functions."""

from importlib import import_module
from typing import Any

from flambeau.nn import functional, init, modules, parameter, utils
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

for _module in vars(modules).copy().values():
    for _name in getattr(_module, "__all__", ()):
        globals()[_name] = getattr(_module, _name)


# Not every program needs these, and importing should cost little more than NumPy's import.
_LATER = {"DataParallel": "parallel", "attention": "attention", "grad": "grad", "parallel": "parallel"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'flambeau.nn' has no attribute '{name}'")
    found = import_module(f"flambeau.nn.{_LATER[name]}")
    found = found if name == _LATER[name] else getattr(found, name)
    globals()[name] = found
    return found


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments among ``kwargs`` that say where and of what type a module's tensors are to be made.

    Args:
        kwargs: ``device``, ``dtype`` and ``memory_format``, or a dictionary of them named ``factory_kwargs``, for
            modules that use one of these names for something else.

    Raises:
        TypeError: for any other name, and for one that is given in both ways.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.factory_kwargs({"dtype": torch.float64})
        {'dtype': torch.float64}
    """
    given = dict(kwargs or {})
    found = dict(given.pop("factory_kwargs", {}))
    known = ("device", "dtype", "memory_format")
    if unknown := given.keys() - known:
        raise TypeError(f"unexpected kwargs {unknown}")
    for name in known:
        if name in given:
            if name in found:
                raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
            found[name] = given[name]
    return found
