"""Calling a module with other parameters than its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["functional_call"]

_ABSENT = object()


def _swap(module: Module, name: str, value: Any) -> Any:
    """Puts a value into the place of a parameter, buffer or attribute, and gives back what was there."""
    path, _, last = name.rpartition(".")
    owner = module.get_submodule(path)
    for family in (owner._parameters, owner._buffers):
        if last in family:
            before = family[last]
            if value is _ABSENT:
                del family[last]
            else:
                family[last] = value
            return before
    before = getattr(owner, last, _ABSENT)
    if before is not _ABSENT and not isinstance(before, Tensor):
        raise TypeError(f"attribute `{last}`: {before} is not an instance of torch.Tensor")
    if value is _ABSENT:
        delattr(owner, last)
    else:
        setattr(owner, last, value)
    return before


def _named_tensors(module: Module) -> dict[str, Tensor]:
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def _untied(module: Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The given values, and for each tensor that the module has by several names, its value by all of them."""
    names_of: dict[int, set[str]] = {}
    for name, tensor in _named_tensors(module).items():
        names_of.setdefault(id(tensor), set()).add(name)
    complete = dict(given)
    for names in names_of.values():
        values = {id(given[name]): given[name] for name in names if name in given}
        if len(names) == 1 or not values:
            continue
        if len(values) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. "
                "Consider using tie_weights=False"
            )
        for name in names:
            complete[name] = next(iter(values.values()))
    return complete


def _check_names(module: Module, given: dict[str, Tensor]) -> None:
    own = _named_tensors(module)
    unexpected = sorted(name for name in given if name not in own)
    missing = sorted(name for name in own if name not in given)
    problems = []
    if unexpected:
        problems.append(f"Unexpected key(s): {', '.join(map(repr, unexpected))}.")
    if missing:
        problems.append(f"Missing key(s): {', '.join(map(repr, missing))}.")
    if problems:
        told = "\n\t".join(problems)
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t{told}")


@contextlib.contextmanager
def _reparametrize_module(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    tie_weights: bool = False,
    strict: bool = False,
    stack_weights: bool = False,
) -> Iterator[None]:
    """Inside the block the module has the given parameters and buffers.

    What the module put into their places meanwhile is written back to the dictionary.
    """
    given = _untied(module, parameters_and_buffers) if tie_weights else parameters_and_buffers
    if strict:
        _check_names(module, given)
    before: dict[str, Any] = {}
    try:
        for name, value in given.items():
            if not isinstance(value, Tensor):
                raise TypeError(f"{value} is not an instance of torch.Tensor")
            before[name] = _swap(module, name, value)
        yield
    finally:
        # Last in, first out, as one place may have been given by two names.
        for name, value in reversed(before.items()):
            current = _swap(module, name, value)
            if name in parameters_and_buffers:
                parameters_and_buffers[name] = current


def functional_call(
    module: Module,
    parameters_and_buffers: dict[str, Tensor],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with other parameters and buffers; deprecated in favour of ``torch.func.functional_call``.

    Args:
        module: the module.
        parameters_and_buffers: tensors by dotted names.
        args: a tuple of arguments, or a single one.
        kwargs: named arguments.
        tie_weights: whether a tensor that the module has by several names stays one.
        strict: whether the names must be just those of the module.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> layer = torch.nn.Linear(1, 1)
        >>> given = {"weight": torch.tensor([[2.]]), "bias": torch.tensor([1.])}
        >>> with warnings.catch_warnings(action="ignore"):
        ...     y = torch.nn.utils.stateless.functional_call(layer, given, torch.tensor([3.]))
        >>> y
        tensor([7.])
    """
    warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a future "
        "version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in replacement.",
        FutureWarning,
    )
    return _functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)


def _functional_call(
    module: Module, tensors: dict[str, Tensor], args: Any = None, kwargs: Any = None, **options: bool
) -> Any:
    """Calls a module with other tensors; the options are those of ``_reparametrize_module``, with weights tied."""
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _reparametrize_module(module, tensors, **{"tie_weights": True, **options}):
        return module(*args, **(kwargs or {}))
