"""What modules' hooks share: global hooks, and the edges of a module at which gradients are watched."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.autograd.hooks import RemovableHandle
from flambeau.autograd.node import GradNode, edge_of
from flambeau.ops.create import filled
from flambeau.tensor.tensor import Tensor, wrap
from flambeau.user_warnings import warn

_global_parameter_registration_hooks: OrderedDict[int, Any] = OrderedDict()
_global_module_registration_hooks: OrderedDict[int, Any] = OrderedDict()
_global_buffer_registration_hooks: OrderedDict[int, Any] = OrderedDict()
_global_forward_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_forward_hooks: OrderedDict[int, Any] = OrderedDict()
_global_forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
_global_backward_pre_hooks: OrderedDict[int, Any] = OrderedDict()
_global_backward_hooks: OrderedDict[int, Any] = OrderedDict()
# Full and old-style backward hooks do not mix: None until the first is put on.
_global_backward_kind: dict[str, bool | None] = {"full": None}


def put_on(hooks: OrderedDict[int, Any], hook: Any, *flags: Any, prepend: bool = False) -> RemovableHandle:
    """Adds a hook to a dictionary, marks it in others, and returns the handle that takes it off everywhere."""
    handle = RemovableHandle(hooks, extra_dict=list(flags))
    hooks[handle.id] = hook
    for flag in flags:
        flag[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, parameter)`` when any module registers a parameter; a result replaces it.

    Example:
        >>> import flambeau as torch
        >>> def note(module, name, parameter):
        ...     print(type(module).__name__, name, tuple(parameter.shape))
        >>> handle = torch.nn.modules.module.register_module_parameter_registration_hook(note)
        >>> layer = torch.nn.Linear(3, 2)
        Linear weight (2, 3)
        Linear bias (2,)
        >>> handle.remove()
    """
    return put_on(_global_parameter_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, submodule)`` when any module registers a submodule; a result replaces it.

    Example:
        >>> import flambeau as torch
        >>> def note(module, name, submodule):
        ...     print(name, submodule)
        >>> handle = torch.nn.modules.module.register_module_module_registration_hook(note)
        >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Tanh())
        0 ReLU()
        1 Tanh()
        >>> handle.remove()
    """
    return put_on(_global_module_registration_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, name, buffer)`` when any module registers a buffer; a result replaces it.

    Example:
        >>> import flambeau as torch
        >>> def note(module, name, buffer):
        ...     print(name, buffer)
        >>> handle = torch.nn.modules.module.register_module_buffer_registration_hook(note)
        >>> torch.nn.Module().register_buffer("mean", torch.zeros(2))
        mean tensor([0., 0.])
        >>> handle.remove()
    """
    return put_on(_global_buffer_registration_hooks, hook)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, args)`` before the forward of any module; a result replaces the arguments.

    Example:
        >>> import flambeau as torch
        >>> def doubled(module, args):
        ...     return tuple(2 * x for x in args)
        >>> handle = torch.nn.modules.module.register_module_forward_pre_hook(doubled)
        >>> torch.nn.ReLU()(torch.tensor([-1., 2.]))
        tensor([0., 4.])
        >>> handle.remove()
    """
    return put_on(_global_forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls ``hook(module, args, output)`` after the forward of any module; a result replaces the output.

    Example:
        >>> import flambeau as torch
        >>> def note(module, args, output):
        ...     print(type(module).__name__, tuple(output.shape))
        >>> handle = torch.nn.modules.module.register_module_forward_hook(note)
        >>> y = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())(torch.ones(4, 3))
        Linear (4, 2)
        ReLU (4, 2)
        Sequential (4, 2)
        >>> handle.remove()
    """
    flags = []
    if with_kwargs:
        flags.append(_global_forward_hooks_with_kwargs)
    if always_call:
        flags.append(_global_forward_hooks_always_called)
    return put_on(_global_forward_hooks, hook, *flags)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, grad_output)`` when gradients reach any module; a result replaces them.

    Example:
        >>> import flambeau as torch
        >>> def halved(module, grad_output):
        ...     return tuple(g / 2 for g in grad_output)
        >>> handle = torch.nn.modules.module.register_module_full_backward_pre_hook(halved)
        >>> x = torch.ones(2, requires_grad=True)
        >>> torch.nn.ReLU()(x).sum().backward()
        >>> handle.remove()
        >>> x.grad
        tensor([0.5000, 0.5000])
    """
    return put_on(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls ``hook(module, grad_input, grad_output)`` when gradients have passed any module.

    Example:
        >>> import flambeau as torch
        >>> def note(module, grad_input, grad_output):
        ...     print(module, grad_input, grad_output)
        >>> handle = torch.nn.modules.module.register_module_full_backward_hook(note)
        >>> x = torch.tensor([-1., 1.], requires_grad=True)
        >>> torch.nn.ReLU()(x).sum().backward()
        ReLU() (tensor([0., 1.]),) (tensor([1., 1.]),)
        >>> handle.remove()
    """
    _settle_kind(True)
    return put_on(_global_backward_hooks, hook)


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """The old form of :func:`register_module_full_backward_hook`, which sees a module's last operation only.

    Raises:
        RuntimeError: once a hook of the full form was put on, as there is one kind for all modules.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.modules.module.register_module_full_backward_hook(lambda *args: None).remove()
        >>> torch.nn.modules.module.register_module_backward_hook(lambda *args: None)
        Traceback (most recent call last):
            ...
        RuntimeError: Cannot use both regular backward hooks and full backward hooks as a global Module hook. ...
    """
    _settle_kind(False)
    return put_on(_global_backward_hooks, hook)


def _settle_kind(full: bool) -> None:
    if _global_backward_kind["full"] is (not full):
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
            "Please use only one of them."
        )
    _global_backward_kind["full"] = full


class _WrappedHook:
    """A hook together with a weak reference to the module that it is called for."""

    def __init__(self, hook: Callable[..., Any], module: Any = None) -> None:
        self.hook = hook
        self.with_module = module is not None
        self.module = None if module is None else weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()  # type: ignore[misc]
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        state = {"hook": self.hook, "with_module": self.with_module}
        if self.with_module:
            state["module"] = self.module()  # type: ignore[misc]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.hook = state["hook"]
        self.with_module = state["with_module"]
        self.module = None
        if self.with_module:
            if state["module"] is None:
                raise RuntimeError("You are trying to revive the hook of a dead Module!")
            self.module = weakref.ref(state["module"])


# ---------------------------------------------------------------- gradients at a module's edges


class _Edge(GradNode):
    """Passes several gradients on as they are, so that hooks see them together.  No operation is recorded."""

    __slots__ = ("avals",)

    def __init__(self, tensors: list[Tensor]) -> None:
        edges = []
        for tensor in tensors:
            # Asking brings a view up to date.
            _ = tensor.grad_fn
            edges.append(edge_of(tensor))
        super().__init__(None, tuple(edges), ())  # type: ignore[arg-type]
        self.avals = tuple([tensor._node.aval for tensor in tensors])

    def backward(self, grads: list[Tensor | None]) -> Any:
        return tuple(grads)

    def input_aval(self, i: int) -> Any:
        return self.avals[i]

    def out_avals(self) -> tuple[Any, ...]:
        return self.avals

    def name(self) -> str:
        return "BackwardHookFunctionBackward"


def _through_edge(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], _Edge | None, list[int]]:
    """The values, those that require a gradient led through one edge; the edge, and which these are."""
    if not mode.grad:
        return values, None, []
    places = [i for i, value in enumerate(values) if isinstance(value, Tensor) and value.requires_grad]
    if not places:
        return values, None, []
    edge = _Edge([values[i] for i in places])
    replaced = list(values)
    for nr, i in enumerate(places):
        passed = wrap(edge_node(values[i]))
        passed._rg = True
        passed._grad_fn = edge
        passed._output_nr = nr
        replaced[i] = passed
    return tuple(replaced), edge, places


def edge_node(tensor: Tensor) -> Any:
    """The node that a tensor shows now."""
    _ = tensor.grad_fn
    return tensor._node


class BackwardHook:
    """Watches the gradients that enter a module's outputs and leave its inputs, for one call of it.

    Args:
        module: handed to the hooks.
        user_hooks: called as ``hook(module, grad_input, grad_output)``.
        user_pre_hooks: called as ``hook(module, grad_output)``.
    """

    def __init__(self, module: Any, user_hooks: list[Any], user_pre_hooks: list[Any]) -> None:
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.n_inputs = -1
        self.inputs_watched = False

    def setup_input_hook(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, led through an edge."""
        self.n_inputs = len(args)
        replaced, edge, places = _through_edge(args)
        avals = [value._node.aval if isinstance(value, Tensor) else None for value in args]
        if edge is None:
            return args
        self.inputs_watched = True

        def at_inputs(grads: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if self.grad_outputs is None:
                # No gradient came by the outputs, so there is nothing to tell.
                return None
            spread = _spread(grads, places, self.n_inputs)
            # Tensors that no gradient belongs to have one of zeros, as in PyTorch.
            grad_inputs = tuple(
                [
                    filled(aval.shape, 0, aval.dtype, aval.device) if g is None and aval else g
                    for g, aval in zip(spread, avals)
                ]
            )
            for hook in self.user_hooks:
                returned = hook(self.module, grad_inputs, self.grad_outputs)
                if returned is not None:
                    grad_inputs = _checked(returned, len(grad_inputs), "Backward hook", "grad_input")
            self.grad_outputs = None
            return tuple([grad_inputs[i] for i in places])

        edge.register_prehook(at_inputs)
        return replaced

    def setup_output_hook(self, result: Any) -> Any:
        """The result, led through an edge."""
        single = isinstance(result, Tensor)
        if not single and not isinstance(result, tuple):
            return result
        values = (result,) if single else result
        n_outputs = len(values)
        replaced, edge, places = _through_edge(values)
        if edge is None:
            return result

        def at_outputs(grads: tuple[Any, ...]) -> tuple[Any, ...]:
            grad_outputs = _spread(grads, places, n_outputs)
            for hook in self.user_pre_hooks:
                returned = hook(self.module, grad_outputs)
                if returned is not None:
                    grad_outputs = _checked(returned, n_outputs, "Backward pre hook", "grad_output")
            self.grad_outputs = grad_outputs
            if not self.inputs_watched:
                self._fire_without_inputs()
            return tuple([grad_outputs[i] for i in places])

        edge.register_prehook(at_outputs)
        if single:
            return replaced[0]
        return type(result)(*replaced) if hasattr(result, "_fields") else replaced

    def _fire_without_inputs(self) -> None:
        if self.user_hooks:
            warn(
                "Full backward hook is firing when gradients are computed with respect to module outputs since no "
                "inputs require gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html"
                "#torch.nn.Module.register_full_backward_hook for more details.",
            )
        grad_inputs = (None,) * self.n_inputs
        for hook in self.user_hooks:
            returned = hook(self.module, grad_inputs, self.grad_outputs)
            if returned is not None and not (isinstance(returned, tuple) and all(x is None for x in returned)):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always return None or None for "
                    "all gradients."
                )
        self.grad_outputs = None


def _zeros_of(aval: Any) -> Tensor | None:
    return None if aval is None else filled(aval.shape, 0, aval.dtype, aval.device)


def _spread(grads: tuple[Any, ...], places: list[int], count: int) -> tuple[Any, ...]:
    spread: list[Any] = [None] * count
    for grad, place in zip(grads, places, strict=True):
        spread[place] = grad
    return tuple(spread)


def _checked(returned: Any, expected: int, what: str, which: str) -> tuple[Any, ...]:
    if not isinstance(returned, tuple):
        returned = (returned,)
    if len(returned) != expected:
        raise RuntimeError(
            f"{what} returned an invalid number of {which}, got {len(returned)}, but expected {expected}"
        )
    for grad in returned:
        if grad is not None and not isinstance(grad, Tensor):
            raise TypeError(f"expected Variable, but hook returned '{type(grad).__name__}'")
    return returned
