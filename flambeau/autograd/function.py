"""Functions with a derivative of one's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode, search
from flambeau.autograd.node import GradNode, Packed, edge_of, note_traceback, packed
from flambeau.graph.observer import current as looking
from flambeau.tensor.tensor import Tensor, current, wrap
from flambeau.user_warnings import warn


class FunctionCtx:
    """What a function's forward leaves for its backward.

    Attributes:
        needs_input_grad: per argument of forward, whether a gradient is wanted.
        saved_tensors: what ``save_for_backward`` was given.

    Example:
        >>> import flambeau as torch
        >>> class Cube(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x**3
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         print(ctx.needs_input_grad)
        ...         (x,) = ctx.saved_tensors
        ...         return 3 * x**2 * grad
        >>> x = torch.tensor(2., requires_grad=True)
        >>> Cube.apply(x).backward()
        (True,)
        >>> x.grad
        tensor(12.)
    """

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._to_save: tuple[Any, ...] = ()
        self._node: FunctionNode | None = None
        self._not_differentiable: set[int] = set()
        self._dirty: tuple[Tensor, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps inputs or outputs for the backward pass."""
        for i, tensor in enumerate(tensors):
            if tensor is not None and not isinstance(tensor, Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(tensor).__name__}"
                )
        self._to_save = tensors

    save_for_forward = save_for_backward

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Says of outputs that they have no gradient."""
        self._not_differentiable = {id(t) for t in tensors}

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Says of inputs that forward wrote to them."""
        self._dirty = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward sees zeros, instead of None, for outputs without a gradient (True unless set)."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        if self._node is None:
            return tuple(self._to_save)
        return self._node.unpacked()


class FunctionNode(GradNode):
    """The tape's entry for a call of a :class:`Function`."""

    __slots__ = ("_avals", "_ctx", "_function", "_inputs", "_kept", "_places")

    def __init__(self, function: Any, ctx: FunctionCtx, inputs: list[Tensor]) -> None:
        super().__init__(None, tuple(edge_of(t) for t in inputs), ())  # type: ignore[arg-type]
        self._function = function
        self._ctx = ctx
        self._inputs = [t._node.aval for t in inputs]
        self._avals: list[Any] = []
        self._kept: list[Any] | None = []
        self._places: tuple[int, ...] = ()

    def keep(self, saved: tuple[Any, ...], outputs: list[Tensor]) -> None:
        places = {id(t): i for i, t in enumerate(outputs)}
        self._kept = []
        for tensor in saved:
            if tensor is None:
                self._kept.append(None)
            elif id(tensor) in places:
                # An output would hold this entry, and this entry the output: only its node is kept.
                self._kept.append((packed(tensor._node), (self, places[id(tensor)]) if tensor._rg else None))
            else:
                node = tensor._node if tensor._base is None else current(tensor)
                kept = packed(node)
                self._kept.append((kept, edge_of(tensor), tensor) if kept is node else (kept, edge_of(tensor)))

    def unpacked(self) -> tuple[Any, ...]:
        if self._kept is None:
            self.saved = None
            super().backward([])
        found = []
        for kept in self._kept or ():
            if kept is None:
                found.append(None)
            elif len(kept) == 3 and kept[2]._node is kept[0]:
                found.append(kept[2])
            else:
                tensor = wrap(kept[0].opened() if type(kept[0]) is Packed else kept[0])
                if kept[1] is not None:
                    tensor._grad_fn, tensor._output_nr = kept[1]
                    tensor._rg = True
                found.append(tensor)
        return tuple(found)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What forward saved."""
        return self.unpacked()

    def out_avals(self) -> tuple[Any, ...]:
        return tuple(self._avals)

    def input_aval(self, i: int) -> Any:
        return self._inputs[i]

    def name(self) -> str:
        return f"{self._function.__name__}Backward"

    def release(self) -> None:
        if self._kept:
            self._kept = None

    def backward(self, grads: list[Tensor | None]) -> Any:
        mode.arriving = grads
        if self._ctx._materialize:
            from flambeau.ops.create import zeros

            grads = [
                zeros(aval.shape, dtype=aval.dtype, device=aval.device)
                if g is None and aval.dtype.category >= dtypes.FLOATING
                else g
                for g, aval in zip(grads, self._avals, strict=True)
            ]
        if self._function.vjp is not Function.vjp and self._function.backward is not Function.backward:
            raise RuntimeError(
                "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. Choose one"
            )
        method = self._function.vjp if self._function.vjp is not Function.vjp else self._function.backward
        found = method(self._ctx, *grads)
        found = found if isinstance(found, tuple) else (found,)
        count = len(self._ctx.needs_input_grad)
        if (len(found) > count and any(g is not None for g in found[count:])) or len(found) < count:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected {count}, got {len(found)})"
            )
        for g in found:
            if g is not None and not isinstance(g, Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
        return tuple(found[i] for i in self._places)


class Function:
    """Base of functions with a derivative of their own.

    A subclass gives static methods ``forward(ctx, *args)`` and ``backward(ctx, *grads)``, or ``forward(*args)``
    with ``setup_context(ctx, inputs, output)``; it is called by ``Subclass.apply(*args)``.

    Raises:
        NotImplementedError: when it is called without a ``forward``, or goes back without a ``backward``.

    Example:
        >>> import flambeau as torch
        >>> class Double(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         return x * 2
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return grad * 2
        >>> Double.apply(torch.ones(1))
        tensor([2.])
    """

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with "
            "backward mode AD."
        )

    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any) -> Any:
        raise NotImplementedError("vjp is not implemented.")

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> Any:
        """``vmap`` of forward, given all examples: (results, where they have the dimension of examples).

        Without it, forward is mapped like any other function.

        Args:
            info: has the ``batch_size`` and the ``randomness``.
            in_dims: per argument the dimension of examples, or None.
        """
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or set "
            "generate_vmap_rule=True."
        )

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should "
            "invoke them on the class itself. Instantiating an autograd function will raise an error in a future "
            "version of PyTorch.",
            DeprecationWarning,
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Calls forward, and notes the call for differentiation with backward as its derivative."""
        ctx = FunctionCtx()
        places = tuple(i for i, a in enumerate(args) if isinstance(a, Tensor))
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        noted = mode.grad and any(ctx.needs_input_grad)
        before = mode.grad
        mode.grad = False
        try:
            if cls.vmap is not Function.vmap and looking.observer is not None:
                result = _by_rule(cls, ctx, args, kwargs)
            elif cls.setup_context is not Function.setup_context:
                result = cls.forward(*args, **kwargs)
            else:
                result = cls.forward(ctx, *args, **kwargs)
            if cls.setup_context is not Function.setup_context:
                cls.setup_context(ctx, args, result)
        finally:
            mode.grad = before
        _check_dirty(ctx, args, result)
        if not noted:
            return result
        inputs = [args[i] for i in places]
        entry = FunctionNode(cls, ctx, inputs)
        entry._places = places
        if search.on:
            note_traceback(entry)
        given = {id(t) for t in inputs}
        dirty = {id(t) for t in ctx._dirty}
        outputs: list[Tensor] = []

        def noted_output(tensor: Any) -> Any:
            if not isinstance(tensor, Tensor):
                return tensor
            if id(tensor) in given and id(tensor) not in dirty:
                tensor = wrap(tensor._node if tensor._base is None else current(tensor))
            elif id(tensor) in dirty and tensor._base is None:
                tensor._writes += 1
            differentiable = tensor.dtype.category >= dtypes.FLOATING and id(tensor) not in ctx._not_differentiable
            if differentiable:
                tensor._grad_fn = entry
                tensor._output_nr = len(outputs)
                tensor._rg = True
            outputs.append(tensor)
            return tensor

        final = tuple(noted_output(t) for t in result) if isinstance(result, tuple) else noted_output(result)
        entry._avals = [t._node.aval for t in outputs]
        entry.keep(ctx._to_save, outputs)
        ctx._node = entry
        ctx._to_save = ()
        return final


def _check_dirty(ctx: FunctionCtx, args: tuple[Any, ...], result: Any) -> None:
    """Raises unless what forward wrote to is a result, and may be written to."""
    returned = {id(out) for out in (result if isinstance(result, tuple) else (result,))}
    for tensor in ctx._dirty:
        if id(tensor) not in returned:
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as output. The inputs that "
                "are modified inplace must all be outputs of the Function."
            )
        if mode.grad and tensor._rg and tensor.grad_fn is None and any(tensor is arg for arg in args):
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation.")


class _VmapInfo(NamedTuple):
    """What a vmap rule is told: the number of examples and what random operations do."""

    batch_size: int
    randomness: str


def _by_rule(cls: Any, ctx: FunctionCtx, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The results of forward; by the function's own vmap rule if an argument stands for one example of a map."""
    # Imported here: maps build on the tape.
    from flambeau.func.level import Level

    level = looking.observer
    shown = [isinstance(a, Tensor) and isinstance(level, Level) and level.shows(a) for a in args]
    if not isinstance(level, Level) or not any(shown):
        return cls.forward(*(args if cls.setup_context is not Function.setup_context else (ctx, *args)), **kwargs)
    if cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and an overridden vmap "
            "staticmethod. Please set generate_vmap_rule=False or delete the overridden vmap staticmethod to avoid "
            "ambiguity. For more details, please see https://pytorch.org/docs/main/notes/extending.func.html"
        )
    in_dims = tuple(0 if flag else None for flag in shown)
    with level.suspended():
        given = [level.stacked(a) if flag else a for a, flag in zip(args, shown, strict=True)]
        outs, out_dims = cls.vmap(_VmapInfo(level.size, level.randomness), in_dims, *given)
        several = isinstance(outs, tuple)
        results = outs if several else (outs,)
        places = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(results)
        if len(places) != len(results):
            raise RuntimeError(
                f"The vmap staticmethod of {cls.__name__} gave {len(results)} results but out_dims for {len(places)}"
            )
        moved = [out.movedim(dim, 0) if dim else out for out, dim in zip(results, places, strict=True)]
    lanes = tuple(out if dim is None else level.lane(out) for out, dim in zip(moved, places, strict=True))
    return lanes if several else lanes[0]


class _Twice(GradNode):
    """Where a second derivative is cut off: says so to whoever wants it."""

    __slots__ = ("_aval",)

    def __init__(self, aval: Any, edges: tuple[Any, ...]) -> None:
        super().__init__(None, edges, ())  # type: ignore[arg-type]
        self._aval = aval

    def backward(self, grads: list[Tensor | None]) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")

    def out_avals(self) -> tuple[Any, ...]:
        return (self._aval,)

    def name(self) -> str:
        return "torch::autograd::Error"


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For a backward that cannot be differentiated in turn: its results say so to whoever tries.

    Example:
        >>> import flambeau as torch
        >>> class Square(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x
        ...     @staticmethod
        ...     @torch.autograd.function.once_differentiable
        ...     def backward(ctx, grad):
        ...         (x,) = ctx.saved_tensors
        ...         return 2 * x * grad
        >>> x = torch.tensor(3., requires_grad=True)
        >>> torch.autograd.grad(Square.apply(x), x)
        (tensor(6.),)
    """

    @functools.wraps(backward)
    def wrapped(ctx: Any, *grads: Any) -> Any:
        before = mode.grad
        mode.grad = False
        try:
            found = backward(ctx, *grads)
        finally:
            mode.grad = before
        edges = tuple(edge_of(g) for g in grads if isinstance(g, Tensor) and g._rg)
        if not before or not edges:
            return found

        def cut_off(g: Any) -> Any:
            if not isinstance(g, Tensor):
                return g
            end = wrap(g._node if g._base is None else current(g))
            end._grad_fn, end._rg = _Twice(g._node.aval, edges), True
            return end

        return tuple(map(cut_off, found)) if isinstance(found, tuple) else cut_off(found)

    return wrapped


class InplaceFunction(Function):
    """A function whose forward may write to its inputs."""
