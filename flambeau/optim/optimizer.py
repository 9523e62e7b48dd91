"""What all optimizers share: groups of parameters, state, hooks, and the step that ends in a flush."""

from __future__ import annotations

import functools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import chain
from typing import Any

import numpy as np

from flambeau import dtypes
from flambeau.autograd.grad_mode import enable_grad, mode
from flambeau.autograd.hooks import RemovableHandle
from flambeau.engine.flush import flush
from flambeau.graph.node import leaf
from flambeau.tensor.tensor import Tensor, wrap
from flambeau.user_warnings import warn

_global_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """A class's ``step`` with the hooks around it, which ends by running what it has recorded.

    A ``step`` that a derived class calls by ``super()`` is part of the derived one.
    """

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if type(self).step is not hooked:
            return step(self, *args, **kwargs)
        given = (self, *args)
        for hook in chain(_global_pre_hooks.values(), self._optimizer_step_pre_hooks.values()):
            changed = hook(self, given, kwargs)
            if changed is not None:
                if not isinstance(changed, tuple) or len(changed) != 2:
                    raise RuntimeError(
                        f"{hook} must return None or a tuple of (new_args, new_kwargs), but got {changed}."
                    )
                given, kwargs = changed
        result = step(*given, **kwargs)
        for hook in chain(self._optimizer_step_post_hooks.values(), _global_post_hooks.values()):
            hook(self, given, kwargs)
        flush()
        return result

    return hooked


class Optimizer:
    """Base of all optimizers.

    Args:
        params: tensors, (name, tensor) pairs, or dictionaries with ``"params"`` and options of their own.
        defaults: the options of groups that do not give them.

    Attributes:
        param_groups: the groups, dictionaries of parameters and options; options may be changed at
            any time, and changing a number never compiles anything.
        state: what is kept for each parameter.

    Raises:
        TypeError, ValueError: for parameters that are no leaves, given twice, or none at all.

    A subclass gives ``_update(group)``, which records the update of one group.

    Example:
        >>> import flambeau as torch
        >>> class Halving(torch.optim.Optimizer):
        ...     def __init__(self, params):
        ...         super().__init__(params, {"factor": 0.5})
        ...     @torch.no_grad()
        ...     def step(self, closure=None):
        ...         for group in self.param_groups:
        ...             for w in group["params"]:
        ...                 w.mul_(group["factor"])
        >>> w = torch.ones(2, requires_grad=True)
        >>> Halving([w]).step()
        >>> w.detach()
        tensor([0.5000, 0.5000])
    """

    _repeats = False

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                f"torch.{params.dtype.title}Tensor"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._init_hooks()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(dict(group))

    def _init_hooks(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict[int, Any] = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict[int, Any] = OrderedDict()

    # ------------------------------------------------------------ the step

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates the parameters once from their gradients.

        Args:
            closure: computes the loss anew, with gradients, and returns it.

        Returns:
            What the closure returned, or None.

        Example:
            >>> import flambeau as torch
            >>> w = torch.tensor([1.], requires_grad=True)
            >>> sgd = torch.optim.SGD([w], lr=0.1)
            >>> def closure():
            ...     sgd.zero_grad()
            ...     loss = (w * w).sum()
            ...     loss.backward()
            ...     return loss
            >>> sgd.step(closure)
            tensor(1., grad_fn=<SumBackward0>)
            >>> w.detach()
            tensor([0.8000])
        """
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        before = mode.grad
        mode.grad = False
        try:
            for group in self.param_groups:
                if self._repeats:
                    for part in _without_repeats(group):
                        self._update(part)
                else:
                    self._update(group)
        finally:
            mode.grad = before
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} gives neither _update nor step")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drops all gradients, or sets them to zero.

        Example:
            >>> import flambeau as torch
            >>> w = torch.ones(2, requires_grad=True)
            >>> sgd = torch.optim.SGD([w], lr=0.1)
            >>> w.sum().backward()
            >>> sgd.zero_grad(set_to_none=False)
            >>> w.grad
            tensor([0., 0.])
            >>> sgd.zero_grad()
            >>> w.grad is None
            True
        """
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is None:
                    continue
                if set_to_none:
                    p._grad = None
                else:
                    p._grad = p._grad.detach().new_zeros(p._grad.shape)

    # ------------------------------------------------------------ groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group of parameters, with options of its own.

        Args:
            param_group: ``"params"`` and any options.

        Raises:
            TypeError: if it is no dictionary, or its parameters are a set or no tensors.
            ValueError: for parameters that are no leaves or in a group already, or a missing option.

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
            >>> sgd.add_param_group({"params": [torch.ones(1, requires_grad=True)], "lr": 0.01})
            >>> [group["lr"] for group in sgd.param_groups]
            [0.1, 0.01]
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            param_group["params"] = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        else:
            param_group["params"] = list(params)
        _split_names(param_group)
        for p in param_group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__qualname__}")
            if not self.defaults.get("differentiable") and not (p.is_leaf or p._retains):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)
        params = param_group["params"]
        if len(params) != len(set(params)):
            self._repeats = True
            warn(
                "optimizer contains a parameter group with duplicate parameters: each of its appearances is updated "
                "at every step; in future, this will cause an error",
            )
        named = "param_names" in param_group
        if any(("param_names" in group) is not named for group in self.param_groups):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if named else 'without'} names to the optimizer"
            )
        known = set(chain.from_iterable(group["params"] for group in self.param_groups))
        if not known.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            for key in sorted(group):
                if key not in ("params", "param_names"):
                    text += f"    {key}: {group[key]}\n"
        return text + ")"

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if not hasattr(self, "_optimizer_step_pre_hooks"):
            self._init_hooks()
        self.defaults.setdefault("differentiable", False)
        for group in self.param_groups:
            for name, default in self.defaults.items():
                group.setdefault(name, default)
        self._repeats = any(len(group["params"]) != len(set(group["params"])) for group in self.param_groups)

    # ------------------------------------------------------------ saving

    def state_dict(self) -> dict[str, Any]:
        """The state by the parameters' numbers, and the groups.

        Example:
            >>> import flambeau as torch
            >>> w = torch.ones(2, requires_grad=True)
            >>> sgd = torch.optim.SGD([w], lr=0.1, momentum=0.9)
            >>> w.sum().backward()
            >>> sgd.step()
            >>> sgd.state_dict()["state"]
            {0: {'momentum_buffer': tensor([1., 1.])}}
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            for p in group["params"]:
                numbers.setdefault(id(p), len(numbers))
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        found: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            changed = hook(self, found)
            if changed is not None:
                found = changed
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state and the groups' options that ``state_dict`` of such an optimizer gave.

        Raises:
            ValueError: if the numbers of groups or of parameters in one differ.

        Example:
            >>> import flambeau as torch
            >>> saved = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5).state_dict()
            >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
            >>> sgd.load_state_dict(saved)
            >>> sgd.param_groups[0]["lr"]
            0.5
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        groups = self.param_groups
        saved_groups = deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        for mine, theirs in zip(groups, saved_groups, strict=True):
            if len(mine["params"]) != len(theirs["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
                )
        numbers = chain.from_iterable(g["params"] for g in saved_groups)
        params = chain.from_iterable(g["params"] for g in groups)
        by_number = dict(zip(numbers, params, strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in by_number:
                state[by_number[key]] = (
                    {name: _like_param(by_number[key], item, name) for name, item in value.items()}
                    if isinstance(value, dict)
                    else value
                )
            else:
                state[key] = value
        for mine, theirs in zip(groups, saved_groups, strict=True):
            theirs["params"] = mine["params"]
            if "param_names" in mine and "param_names" not in theirs:
                theirs["param_names"] = mine["param_names"]
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # ------------------------------------------------------------ hooks

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` before each step; may return new (args, kwargs).

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
            >>> handle = sgd.register_step_pre_hook(lambda optimizer, args, kwargs: print("before"))
            >>> sgd.step()
            before
        """
        return _registered(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Calls ``hook(optimizer, args, kwargs)`` after each step.

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
            >>> handle = sgd.register_step_post_hook(lambda optimizer, args, kwargs: print("after"))
            >>> sgd.step()
            after
        """
        return _registered(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` before ``state_dict``."""
        return _registered(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` after ``state_dict``; may return another.

        Example:
            >>> import flambeau as torch
            >>> sgd = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)
            >>> handle = sgd.register_state_dict_post_hook(lambda optimizer, state: {**state, "epoch": 3})
            >>> sgd.state_dict()["epoch"]
            3
        """
        return _registered(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer, state_dict)`` before loading; may return another."""
        return _registered(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(optimizer)`` after loading."""
        return _registered(self._optimizer_load_state_dict_post_hooks, hook, prepend)


def _registered(hooks: OrderedDict[int, Any], hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` before each step of any optimizer.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.optim.optimizer import register_optimizer_step_pre_hook
        >>> def note(optimizer, args, kwargs):
        ...     print("before", type(optimizer).__name__)
        >>> handle = register_optimizer_step_pre_hook(note)
        >>> torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=0.1).step()
        before SGD
        >>> handle.remove()
    """
    return _registered(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(optimizer, args, kwargs)`` after each step of any optimizer.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.optim.optimizer import register_optimizer_step_post_hook
        >>> def note(optimizer, args, kwargs):
        ...     print("after", type(optimizer).__name__)
        >>> handle = register_optimizer_step_post_hook(note)
        >>> torch.optim.SGD([torch.ones(2, requires_grad=True)], lr=0.1).step()
        after SGD
        >>> handle.remove()
    """
    return _registered(_global_post_hooks, hook)


def _without_repeats(group: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Groups that together hold every appearance of every parameter, and no parameter twice."""
    left = group["params"]
    while left:
        first = dict.fromkeys(left)
        yield {**group, "params": list(first)}
        later = []
        for p in left:
            if p in first:
                del first[p]
            else:
                later.append(p)
        left = later


def _split_names(group: dict[str, Any]) -> None:
    """Separates (name, parameter) pairs."""
    pairs = [isinstance(p, tuple) for p in group["params"]]
    if not any(pairs):
        return
    if not all(pairs):
        raise ValueError("all optimizer params should be with/without names. Some param names are missing")
    group["param_names"] = [name for name, _ in group["params"]]
    group["params"] = [p for _, p in group["params"]]


def _like_param(param: Tensor, value: Any, name: str) -> Any:
    """A loaded state in its parameter's type, as moments are; counts of steps stay float32."""
    if isinstance(value, Tensor):
        if name == "step":
            return value.detach().clone()
        wanted = param.dtype if param.dtype.category == dtypes.FLOATING else value.dtype
        return value.detach().to(dtype=wanted, device=param.device).clone()
    if isinstance(value, dict):
        return {key: _like_param(param, item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_like_param(param, item, name) for item in value])
    return deepcopy(value)


# ---------------------------------------------------------------- what update rules need


def updatable(group: dict[str, Any], name: str) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters of a group that have gradients, and these."""
    params = [p for p in group["params"] if p._grad is not None]
    return params, [p._grad for p in params]


def moments_like(state: dict[str, Any], param: Tensor, names: Sequence[str]) -> None:
    """Makes sure that a parameter's state has its count of steps and these moments, zero at first."""
    if not isinstance(state.get("step"), Tensor):
        state["step"] = counted(float(state.get("step", 0.0)))
    for name in names:
        if name not in state:
            state[name] = filled(param, 0)


def filled(param: Tensor, value: complex, shape: Sequence[int] | None = None) -> Tensor:
    """A state of a parameter's type, and of its shape unless another is given, full of one value."""
    aval = param._node.aval
    shape = tuple(aval.shape if shape is None else shape)
    dtype = aval.dtype.numpy
    array = np.full(shape, value, dtype) if value else np.zeros(shape, dtype)
    return wrap(leaf(array, aval.dtype, aval.device))


def counted(number: float) -> Tensor:
    """A count of steps, as a zero-dimensional tensor whose value is always known."""
    return wrap(leaf(np.asarray(number, np.float32), dtypes.float32))


def count_of(value: Any) -> float:
    """What a count, or a number that may be given as a tensor, stands at."""
    if not isinstance(value, Tensor):
        return value
    known = value._node.value if value._base is None else None
    return value.item() if known is None else np.asarray(known).item()


def recount(boxes: Iterable[Tensor], number: float) -> float:
    """Sets counts of one type to a number; the number as it was rounded."""
    node: Any = None
    for box in boxes:
        if node is None or node.aval.dtype is not box.dtype or node.aval.device is not box.device:
            node = leaf(np.asarray(number, box.dtype.numpy), box.dtype, box.device)
        box._node = node
    return number if node is None else float(node.value)


def by_step(
    state: Any, params: Iterable[Tensor], grads: Iterable[Tensor], also: Sequence[str] = ()
) -> Iterator[tuple[list[Tensor], ...]]:
    """Parameters that have taken equally many steps: these, their gradients, their counts.

    Args:
        state: the optimizer's.
        params, grads: one each per parameter.
        also: names of other counts that must be equal too.
    """
    gathered: dict[tuple[float, ...], tuple[list[Tensor], ...]] = {}
    for p, g in zip(params, grads, strict=True):
        mine = state[p]
        for name in ("step", *also):
            if mine[name]._node.value is None:
                recount([mine[name]], mine[name].item())
        key = tuple([count_of(mine[name]) for name in ("step", *also)])
        these, those, counts = gathered.setdefault(key, ([], [], []))
        these.append(p)
        those.append(g)
        counts.append(mine["step"])
    yield from gathered.values()


def check_lr(lr: Any) -> None:
    """Raises unless it is one number that is not negative."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    if not lr >= 0.0:
        raise ValueError(f"Invalid learning rate: {lr}")


def check_ways(fused: Any, foreach: Any, differentiable: Any) -> None:
    """Raises for ways of computing that exclude each other."""
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_positive(**numbers: Any) -> None:
    """Raises for a negative number, naming it."""
    for name, value in numbers.items():
        if not value >= 0.0:
            raise ValueError(f"Invalid {name} value: {value}")


def check_betas(betas: Sequence[Any]) -> None:
    """Raises unless each is in [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
