"""How a module is called, and the hooks around it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.autograd.hooks import RemovableHandle
from flambeau.nn.modules import _hooks
from flambeau.nn.modules._hooks import (
    BackwardHook,
    _global_backward_hooks,
    _global_backward_pre_hooks,
    _global_forward_hooks,
    _global_forward_hooks_always_called,
    _global_forward_hooks_with_kwargs,
    _global_forward_pre_hooks,
    _WrappedHook,
    put_on,
)
from flambeau.nn.modules._notes import annotate
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn


def _forward_unimplemented(self: Any, *input: Any) -> None:
    """What the module computes; to be defined by each module.

    Raises:
        NotImplementedError: where it is not.
    """
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


def _all_tensors(values: Any) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, Tensor) for value in values)


class CallMixin:
    """What happens when a module is called: ``forward``, with the hooks before and after it."""

    _compiled_call_impl: Callable[..., Any] | None = None
    _forward_hooks: OrderedDict[int, Any]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _forward_pre_hooks: OrderedDict[int, Any]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _backward_hooks: OrderedDict[int, Any]
    _backward_pre_hooks: OrderedDict[int, Any]
    _is_full_backward_hook: bool | None

    forward: Callable[..., Any] = _forward_unimplemented

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        if (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
            or _global_forward_hooks
            or _global_forward_pre_hooks
            or _global_backward_hooks
            or _global_backward_pre_hooks
        ):
            return self._call_impl(*args, **kwargs)
        try:
            return self.forward(*args, **kwargs)
        except Exception as error:
            annotate(error, self, args, kwargs)
            raise

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """What a call comes to where ``forward`` was not compiled in place."""
        try:
            return self._call_with_hooks(args, kwargs)
        except Exception as error:
            annotate(error, self, args, kwargs)
            raise

    _wrapped_call_impl = __call__

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        called: set[int] = set()
        result = None
        try:
            args, kwargs = self._run_forward_pre_hooks(args, kwargs)
            watch = self._watch()
            if watch is not None:
                args = watch.setup_input_hook(args)
            result = self.forward(*args, **kwargs)
            for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
                called.add(key)
                returned = self._run_forward_hook(key, hook, args, kwargs, result)
                if returned is not None:
                    result = returned
            if watch is not None:
                if not isinstance(result, Tensor | tuple):
                    warn(
                        "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but "
                        f"received {type(result)}",
                    )
                result = watch.setup_output_hook(result)
            self._put_on_old_backward_hooks(args, result)
            return result
        except Exception:
            self._run_always_called(called, args, kwargs, result)
            raise

    def _run_forward_pre_hooks(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        for key, hook in (*_global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
            if key in self._forward_pre_hooks_with_kwargs:
                returned = hook(self, args, kwargs)
                if returned is None:
                    continue
                if not isinstance(returned, tuple) or len(returned) != 2:
                    raise RuntimeError(
                        f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {returned}."
                    )
                args, kwargs = returned
            else:
                returned = hook(self, args)
                if returned is not None:
                    args = returned if isinstance(returned, tuple) else (returned,)
        return args, kwargs

    def _run_forward_hook(self, key: int, hook: Any, args: Any, kwargs: Any, result: Any) -> Any:
        if key in self._forward_hooks_with_kwargs or key in _global_forward_hooks_with_kwargs:
            return hook(self, args, kwargs, result)
        return hook(self, args, result)

    def _run_always_called(self, called: set[int], args: Any, kwargs: Any, result: Any) -> None:
        """After an exception: the hooks that are to be called in any case and have not been."""
        families = (
            (_global_forward_hooks, _global_forward_hooks_always_called, "global module"),
            (self._forward_hooks, self._forward_hooks_always_called, "module"),
        )
        for hooks, always, what in families:
            for key, hook in hooks.items():
                if key not in always or key in called:
                    continue
                try:
                    returned = self._run_forward_hook(key, hook, args, kwargs, result)
                    if returned is not None:
                        result = returned
                except Exception as error:
                    warn(
                        f"{what} forward hook with ``always_call=True`` raised an exception that was silenced as "
                        f"another error was raised in forward: {error}",
                    )

    def _get_backward_hooks(self) -> tuple[list[Any], list[Any]]:
        """Backward hooks: the full ones, and those of the old kind."""
        full: list[Any] = []
        old: list[Any] = []
        (full if _hooks._global_backward_kind["full"] else old).extend(_global_backward_hooks.values())
        (full if self._is_full_backward_hook else old).extend(self._backward_hooks.values())
        return full, old

    def _get_backward_pre_hooks(self) -> list[Any]:
        return [*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]

    def _watch(self) -> BackwardHook | None:
        full, _ = self._get_backward_hooks()
        before = self._get_backward_pre_hooks()
        return BackwardHook(self, full, before) if full or before else None

    def _put_on_old_backward_hooks(self, args: Any, result: Any) -> None:
        _, old = self._get_backward_hooks()
        if not old:
            return
        found = result
        while not isinstance(found, Tensor):
            if isinstance(found, dict):
                found = next(value for value in found.values() if isinstance(value, Tensor))
            else:
                found = found[0]
        grad_fn = found.grad_fn
        if grad_fn is None:
            return
        for hook in old:
            grad_fn.register_hook(_WrappedHook(hook, self))
        self._maybe_warn_non_full_backward_hook(args, result, grad_fn)

    def _maybe_warn_non_full_backward_hook(self, inputs: Any, result: Any, grad_fn: Any) -> None:
        """Warns where the last operation's gradients are not those of the module's inputs and outputs."""
        results = (result,) if isinstance(result, Tensor) else result
        given = (inputs,) if isinstance(inputs, Tensor) else inputs
        sources = {x.grad_fn for x in results if x.grad_fn is not None} if _all_tensors(results) else set()
        if not _all_tensors(results):
            what = "hooks on a Module that does not return a single Tensor or a tuple of Tensors"
            missing = "of the grad_output"
        elif not _all_tensors(given):
            what = "hooks on a Module that does not take as input a single Tensor or a tuple of Tensors"
            missing = "of the grad_input"
        elif sources != {grad_fn} and len(sources) <= 1:
            what = "hook when outputs are nested in python data structure"
            missing = "grad_output"
        elif len(sources) > 1:
            what = "hook when outputs are generated by different autograd Nodes"
            missing = "grad_output"
        elif {x.grad_fn for x in given if x.grad_fn is not None} != {step for step, _ in grad_fn.next_functions}:
            what = "hook when the forward contains multiple autograd Nodes"
            missing = "grad_input"
        else:
            return
        article = "" if what.startswith("hooks") else "a "
        warn(
            f"Using {article}non-full backward {what} is deprecated and will be removed in future versions. This hook "
            f"will be missing some {missing}. Please use register_full_backward_hook to get the documented behavior.",
            FutureWarning,
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles its forward in place; the arguments are those of ``torch.compile``."""
        import flambeau

        self._compiled_call_impl = flambeau.compile(self._call_impl, *args, **kwargs)  # type: ignore[operator]

    # ------------------------------------------------------------ hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Calls ``hook(module, args)`` before each forward; a result replaces the arguments.

        Args:
            hook: with ``with_kwargs`` it is called as ``hook(module, args, kwargs)`` and returns both or None.
            prepend: whether it comes before those that are there already.

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.ReLU()
            >>> handle = layer.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
            >>> layer(torch.tensor([-2., 2.]))
            tensor([0., 3.])
        """
        flags = [self._forward_pre_hooks_with_kwargs] if with_kwargs else []
        return put_on(self._forward_pre_hooks, hook, *flags, prepend=prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Calls ``hook(module, args, output)`` after each forward; a result replaces the output.

        Args:
            hook: with ``with_kwargs`` it is called as ``hook(module, args, kwargs, output)``.
            prepend: whether it comes before those that are there already.
            always_call: whether it is called after an exception as well.

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.ReLU()
            >>> handle = layer.register_forward_hook(lambda module, args, output: output * 10)
            >>> layer(torch.tensor([-2., 2.]))
            tensor([ 0., 20.])
            >>> handle.remove()
            >>> layer(torch.tensor([-2., 2.]))
            tensor([0., 2.])
        """
        flags = []
        if with_kwargs:
            flags.append(self._forward_hooks_with_kwargs)
        if always_call:
            flags.append(self._forward_hooks_always_called)
        return put_on(self._forward_hooks, hook, *flags, prepend=prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_output)`` when gradients reach the outputs; a result replaces them.

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.ReLU()
            >>> handle = layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 10,))
            >>> x = torch.tensor([-2., 2.], requires_grad=True)
            >>> layer(x).sum().backward()
            >>> x.grad
            tensor([ 0., 10.])
        """
        return put_on(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Calls ``hook(module, grad_input, grad_output)`` when the inputs' gradients are known.

        What it returns replaces ``grad_input``.

        Example:
            >>> import flambeau as torch
            >>> layer = torch.nn.ReLU()
            >>> handle = layer.register_full_backward_hook(lambda module, given, arrived: print(given, arrived))
            >>> x = torch.tensor([-2., 2.], requires_grad=True)
            >>> layer(x).sum().backward()
            (tensor([0., 1.]),) (tensor([1., 1.]),)
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = True
        return put_on(self._backward_hooks, hook, prepend=prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """The old form of :meth:`register_full_backward_hook`, which sees the last operation's gradients only."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single Module. "
                "Please use only one of them."
            )
        self._is_full_backward_hook = False
        return put_on(self._backward_hooks, hook)
