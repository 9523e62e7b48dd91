"""Computing activations again on the way back, instead of keeping them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakSet

from flambeau.autograd.backward import backward as run_backward
from flambeau.autograd.function import Function
from flambeau.autograd.grad_mode import enable_grad, mode, no_grad
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.autograd.node import Packed, packed
from flambeau.graph.node import Node
from flambeau.graph.observer import current as looking
from flambeau.nn.modules.container import Sequential
from flambeau.ops import autocast
from flambeau.ops.barrier import AFTER
from flambeau.ops.operator import Operator
from flambeau.random import generators
from flambeau.tensor.tensor import Tensor, current, drawn_leaf, wrap
from flambeau.user_warnings import warn
from flambeau.utils._pytree import tree_flatten, tree_unflatten

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "checkpoint",
    "checkpoint_sequential",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]


class CheckpointError(RuntimeError):
    """The function did something else when it was called again.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2, requires_grad=True)
        >>> calls = []
        >>> def unsteady(x):
        ...     calls.append(1)
        ...     return x.exp() if len(calls) == 1 else x.sum().exp()
        >>> y = torch.utils.checkpoint.checkpoint(unsteady, x, use_reentrant=False)
        >>> try:
        ...     y.sum().backward()
        ... except torch.utils.checkpoint.CheckpointError:
        ...     print("other values were saved")
        other values were saved
    """


def noop_context_fn() -> tuple[Any, Any]:
    """Two context managers that do nothing.

    Example:
        >>> import flambeau as torch
        >>> first, second = torch.utils.checkpoint.noop_context_fn()
        >>> with first as entered:
        ...     entered is None
        True
    """
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """Calls a function and keeps nothing of it for the way back but its arguments: it is then called again.

    Trades computing for memory, on both tiers: the compiler is kept from merging the second call with the first.

    Args:
        function: takes the arguments; must do the same when called again.
        use_reentrant: False: the tape is that of the function itself, and what it saved is computed again when
            first wanted.  True: the whole function is one step of the tape; at least one argument must require a
            gradient, and ``grad`` or ``backward(inputs=...)`` cannot be used.
        preserve_rng_state: whether the second call draws the same random numbers; True unless given.
        context_fn: gives two context managers, for the first call and the second.
        determinism_check: ``"default"`` compares shapes, types and devices of what both calls saved; ``"none"``.
        debug: accepted; which operations were saved is told in every case.
        early_stop: whether the second call ends with the last value wanted of it.

    Raises:
        CheckpointError: on the way back, if the second call saves other values than the first.
        ValueError: for arguments that do not go with ``use_reentrant=True``, or an unknown check.

    Chen, Xu, Zhang and Guestrin, Training Deep Nets with Sublinear Memory Cost, 2016.

    Example:
        >>> import flambeau as torch
        >>> from flambeau.utils.checkpoint import checkpoint
        >>> x = torch.tensor([0.5], requires_grad=True)
        >>> checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False).backward()
        >>> x.grad
        tensor([1.4174])
    """
    if use_reentrant is None:
        warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. Starting in PyTorch 2.9, "
            "calling checkpoint without use_reentrant will raise an exception. use_reentrant=False is recommended, but "
            "if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to docs for "
            "more details on the differences between the two variants.",
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'] but got {determinism_check}")
    if not mode.grad:
        return function(*args, **kwargs)
    first, second = context_fn()
    stops = early_stop if _early_stop is None else _early_stop
    frame = _Frame(function, args, kwargs, preserve, second, determinism_check == "default", stops)
    with saved_tensors_hooks(frame.saved, frame.wanted), first, frame.setting.recorded():
        result = function(*args, **kwargs)
    frame.complete = True
    return result


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Calls functions one after the other, in segments of which all but the last are checkpointed.

    Args:
        functions: a :class:`~flambeau.nn.Sequential` or a list.
        segments: how many.
        input: what the first gets.
        use_reentrant, preserve_rng_state: as of :func:`checkpoint`.

    Raises:
        ValueError: for unknown keyword arguments.

    Example:
        >>> import flambeau as torch
        >>> steps = [torch.nn.Linear(3, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)]
        >>> x = torch.ones(2, 3, requires_grad=True)
        >>> y = torch.utils.checkpoint.checkpoint_sequential(steps, 2, x, use_reentrant=False)
        >>> y.sum().backward()
        >>> x.grad.shape
        torch.Size([2, 3])
    """
    if use_reentrant is None:
        warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly. In "
            "version 2.9 we will raise an exception if use_reentrant is not passed. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. "
            "Refer to docs for more details on the differences between the two variants.",
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"Unexpected keyword arguments: {','.join(kwargs)}")
    steps = list(functions.children()) if isinstance(functions, Sequential) else list(functions)

    def segment(first: int, end: int) -> Callable[[Any], Any]:
        def run(value: Any) -> Any:
            for step in steps[first:end]:
                value = step(value)
            return value

        return run

    size = len(steps) // segments
    last = size * (segments - 1)
    for start in range(0, last, size) if size else ():
        input = checkpoint(
            segment(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
    return segment(last, len(steps))(input)


_early_stop: bool | None = None


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Inside the block, says for every checkpoint whether the second call ends with the last value wanted of it.

    Example:
        >>> import flambeau as torch
        >>> def exp_and_more(x):
        ...     y = x.exp()
        ...     print("exp")
        ...     return y + 1
        >>> x = torch.zeros(2, requires_grad=True)
        >>> with torch.utils.checkpoint.set_checkpoint_early_stop(False):
        ...     y = torch.utils.checkpoint.checkpoint(exp_and_more, x, use_reentrant=False)
        exp
        >>> y.sum().backward()
        exp
    """
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Accepted: which operations were saved is told in every case.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, requires_grad=True)
        >>> with torch.utils.checkpoint.set_checkpoint_debug_enabled(False):
        ...     y = torch.utils.checkpoint.checkpoint(torch.exp, x, use_reentrant=False)
        >>> y.sum().backward()
        >>> x.grad
        tensor([1., 1.])
    """
    yield


# ---------------------------------------------------------------- what both calls share


class _Setting:
    """What surrounds the first call, to be the same around the second.

    Draws are kept as leaves rather than drawn again: a function that is captured may then be replayed with others.
    """

    def __init__(self, preserve: bool) -> None:
        self._states = [(one, one.bits.get_state()) for one in generators()] if preserve else None
        self._autocast = autocast.settings.state()
        self._drawn: list[Node] = []

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """For the first call."""
        if self._states is None:
            yield
            return
        around = looking.draws

        def draws(draw: Callable[[], Any]) -> Node:
            node = drawn_leaf(draw) if around is None else around(draw)
            self._drawn.append(node)
            return node

        looking.draws = draws
        try:
            yield
        finally:
            looking.draws = around

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """For the second call."""
        cast = autocast.settings.state()
        autocast.settings.restore(self._autocast)
        now = [(one, one.bits.get_state()) for one, _ in self._states or ()]
        around = looking.draws
        if self._states is not None:
            _restore(self._states)
            looking.draws = self._again()
        try:
            yield
        finally:
            looking.draws = around
            _restore(now)
            autocast.settings.restore(cast)

    def _again(self) -> Callable[[Callable[[], Any]], Node]:
        kept = iter(self._drawn)

        def draws(draw: Callable[[], Any]) -> Node:
            node = next(kept, None)
            if node is None:
                return drawn_leaf(draw)
            # Drawn all the same, so that what is drawn in other ways gets its numbers too.
            draw()
            return node

        return draws


def _restore(states: list[tuple[Any, Any]]) -> None:
    for generator, state in states:
        generator.bits.set_state(state)


class _Barrier:
    """Keeps the second call from being taken for the first, whose values would then be kept after all.

    What the function is given, or takes from outside, is equal to what the first call had, but is not there before
    the gradients are.  Parameters stay as they are: a function of them alone is no activation.
    """

    def __init__(self) -> None:
        self._gradient = next((g for g in mode.arriving if g is not None), None)
        self._inside: WeakSet[Node] = WeakSet()
        self._passed: dict[int, tuple[Node, Tensor]] = {}

    def passed(self, tensor: Tensor) -> Tensor:
        """A tensor on this side of the barrier."""
        if self._gradient is None or self._gradient.device is not tensor.device:
            # What another device computes is another program's.
            return tensor
        node = tensor._node if tensor._base is None else current(tensor)
        found = self._passed.get(id(node))
        if found is None:
            with no_grad():
                # The node is kept beside it, so that no other can be mistaken for it.
                found = self._passed[id(node)] = (node, AFTER(wrap(node), self._gradient))
            self._inside.add(found[1]._node)
        box = wrap(found[1]._node)
        box._rg, box._grad_fn, box._output_nr = tensor._rg, tensor.grad_fn, tensor._output_nr
        return box

    @contextlib.contextmanager
    def up(self) -> Iterator[None]:
        """For the second call."""
        outside = Operator.__call__

        def call(op: Operator, *args: Any) -> Any:
            if op is AFTER:
                return outside(op, *args)
            given = [self._admitted(x) for x in (args[0] if op.variadic else args[: op.arity])]
            result = outside(op, given, *args[1:]) if op.variadic else outside(op, *given, *args[op.arity :])
            self._inside.update([made._node for made in (result if isinstance(result, tuple) else (result,))])
            return result

        Operator.__call__ = call  # type: ignore[method-assign]
        try:
            yield
        finally:
            Operator.__call__ = outside  # type: ignore[method-assign]

    def _admitted(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or (x._rg and x.grad_fn is None):
            return x
        node = x._node if x._base is None else current(x)
        return x if node in self._inside else self.passed(x)


# ---------------------------------------------------------------- the function's own tape


class _Stop(BaseException):
    """All that was wanted of the second call is there."""


class _Frame:
    """One checkpointed call.

    Attributes:
        complete: whether the first call has ended.
        setting: what surrounds both calls.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        preserve: bool,
        context: Any,
        checked: bool,
        early_stop: bool,
    ) -> None:
        self.complete = False
        self.setting = _Setting(preserve)
        self._function = function
        self._context = context
        self._checked = checked
        self._early_stop = early_stop
        leaves, self._spec = tree_flatten((args, kwargs))
        # Like anything that is saved: inside of another checkpoint, this one's arguments are computed again too.
        self._leaves = [_Argument(leaf) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._avals: list[Any] = []
        self._found: dict[int, Node] = {}

    def saved(self, tensor: Tensor) -> int:
        """The tape wants to keep a value of the first call: a number is enough."""
        self._avals.append(tensor._node.aval)
        return len(self._avals) - 1

    def wanted(self, place: int) -> Tensor:
        """A value of the first call is wanted: gives that of the second, which is made if need be."""
        if place not in self._found:
            self._call_again()
        return wrap(self._found.pop(place))

    def _call_again(self) -> None:
        found: list[Node] = []
        count = len(self._avals)

        def saved(tensor: Tensor) -> Tensor:
            if len(found) >= count and self.complete:
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original "
                    f"forward pass.\n{self._told(found)}"
                )
            found.append(tensor._node)
            if self._early_stop and len(found) == count:
                raise _Stop
            return tensor

        barrier = _Barrier()
        leaves = [barrier.passed(leaf.shown()) if type(leaf) is _Argument else leaf for leaf in self._leaves]
        args, kwargs = tree_unflatten(leaves, self._spec)
        arriving = mode.arriving
        try:
            hooks = saved_tensors_hooks(saved, _as_it_is)
            with self.setting.restored(), self._context, hooks, enable_grad(), barrier.up():
                self._function(*args, **kwargs)
        except _Stop:
            pass
        finally:
            mode.arriving = arriving
        self._check(found)
        self._found = dict(enumerate(found))

    def _check(self, found: list[Node]) -> None:
        if len(found) != len(self._avals) and self.complete:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {len(self._avals)}\nNumber of tensors saved "
                f"during recomputation: {len(found)}.\n{self._told(found)}"
            )
        if not self._checked:
            return
        different = [
            f"tensor at position {i}:\nsaved metadata: {_metadata(aval)}\nrecomputed metadata: {_metadata(node.aval)}\n"
            for i, (aval, node) in enumerate(zip(self._avals, found, strict=False))
            if aval is not node.aval
        ]
        if different:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                f"during the forward pass.\n{''.join(different)}"
            )

    def _told(self, found: list[Node]) -> str:
        return f"Saved during forward: {self._avals}\nSaved during recomputation: {[node.aval for node in found]}"


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _metadata(aval: Any) -> dict[str, Any]:
    return {"shape": list(aval.shape), "dtype": aval.dtype, "device": aval.device}


class _Argument:
    """A tensor that was given, kept as the tape keeps what it saves."""

    __slots__ = ("grad_fn", "kept", "output_nr", "requires_grad")

    def __init__(self, tensor: Tensor) -> None:
        self.requires_grad = tensor._rg
        self.grad_fn = tensor.grad_fn
        self.output_nr = tensor._output_nr
        self.kept: Any = packed(tensor._node if tensor._base is None else current(tensor))

    def shown(self) -> Tensor:
        """The tensor as it was given."""
        arriving = mode.arriving
        node = self.kept.opened() if type(self.kept) is Packed else self.kept
        mode.arriving = arriving
        tensor = wrap(node)
        tensor._rg = self.requires_grad
        tensor._grad_fn = self.grad_fn
        tensor._output_nr = self.output_nr
        return tensor


# ---------------------------------------------------------------- one step of the tape


class CheckpointFunction(Function):
    """A checkpointed call as one step of the tape: what ``checkpoint(use_reentrant=True)`` applies.

    Example:
        >>> import flambeau as torch
        >>> x = torch.zeros(2, requires_grad=True)
        >>> y = torch.utils.checkpoint.checkpoint(torch.exp, x, use_reentrant=True)
        >>> y.grad_fn.name()
        'CheckpointFunctionBackward'
    """

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        if not any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
            warn("None of the inputs have requires_grad=True. Gradients will be None")
        ctx.run_function = run_function
        ctx.setting = _Setting(preserve_rng_state)
        ctx.places = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
        ctx.inputs = [None if isinstance(arg, Tensor) else arg for arg in args]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        with no_grad(), ctx.setting.recorded():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if mode.running is None or mode.running[2] is not None:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        barrier = _Barrier()
        inputs = list(ctx.inputs)
        for place, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[place] = wrap(barrier.passed(tensor)._node).requires_grad_(tensor.requires_grad)
        with ctx.setting.restored(), enable_grad(), barrier.up():
            outputs = ctx.run_function(*inputs)
        outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
        pairs = [
            (out, g) for out, g in zip(outputs, grads, strict=True) if isinstance(out, Tensor) and out.requires_grad
        ]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        run_backward([out for out, _ in pairs], [g for _, g in pairs])
        return (None, None, *[x.grad if isinstance(x, Tensor) else None for x in inputs])
