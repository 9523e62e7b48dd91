"""What an operator is, seen from tensors: recording, the derivative, examples, public forms.

An operator is one contiguous block in its family's file, its parts in this order: shape rule, kernel,
derivative, the call of :func:`operator`, the public function.  See CONTRIBUTING.md for a walk-through.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from flambeau.autograd.grad_mode import mode, search
from flambeau.autograd.node import GradNode, attended
from flambeau.dtypes import FLOATING
from flambeau.engine.flush import flush
from flambeau.graph.node import NONE, Node, number
from flambeau.graph.op import CALLS_KEPT, Call, Op
from flambeau.graph.recorder import LIMIT, pending
from flambeau.ops import autocast
from flambeau.ops.arguments import is_checkable, made_type, refuse_wrong_types
from flambeau.tensor.tensor import Tensor, current, wrap


class NotDifferentiable:
    """Stands where an operator has no derivative, with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


INTEGER_RESULT = NotDifferentiable("its result is of an integer or bool type")

Derivative = Callable[..., Any] | NotDifferentiable


class Operator(Op):
    """An operator with a derivative.

    Called with its inputs (tensors, Python numbers or None) and then its static parameters, in the
    order of the rule's keywords; a variadic operator takes its inputs as one sequence.  Records a
    node, notes it for differentiation, and returns a tensor, or a tuple of them.

    Attributes:
        parts: does the same in several operations, of which a loop can do some outside; takes what the operator
            takes, and gives None where it has no such form.
    """

    parts: Callable[..., Any] | None = None

    def __init__(
        self,
        name: str,
        rule: Callable[..., Any],
        kernel: Callable[..., Any] | None,
        derivative: Derivative,
        *,
        samples: Callable[[], list[Any]],
        grad_name: str | Callable[[Call], str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, rule, kernel, **options)
        self.derivative = derivative
        self.samples = samples
        if grad_name is None:
            grad_name = "".join(part.title() for part in name.split("_")) + "Backward0"
        self.grad_name: Callable[[Call], str] = grad_name if callable(grad_name) else lambda call: grad_name
        self.autocast = autocast.policies(name, of_operator=True)
        self._plan_derivative()

    # ------------------------------------------------------------ recording

    def __call__(self, *args: Any) -> Any:
        if self.variadic:
            inputs = args[0]
            attrs = args[1:]
        else:
            n = self.arity
            inputs = args[:n]
            attrs = args[n:]
        if self.autocast is not None and mode.autocast is not None:
            inputs = autocast.operands(self.autocast, inputs)
        nodes = []
        key: list[Any] = [attrs]
        noted = False
        for given in inputs:
            if isinstance(given, Tensor):
                base = given._base
                # As :func:`current`, without the call.
                node = given._node if base is None or given._seen == base._writes else current(given)
                if given._rg:
                    noted = True
            elif given is None:
                node = NONE
            else:
                node = number(given)
            nodes.append(node)
            key.append(node.aval)
        found = tuple(key)
        call = self.calls.get(found)
        if call is None:
            call = self.infer(found, attrs, found[1:])
        reads = tuple(nodes)
        out = call.out
        node = Node(call, reads, out)
        if type(out) is tuple:
            return self._several(call, inputs, reads, node, noted and mode.grad)
        pending.append(node)
        if len(pending) > LIMIT:
            flush()
        result = wrap(node)
        if noted and mode.grad and out.dtype.category >= FLOATING:
            result._grad_fn = self._noted(call, inputs, reads, (node,))
            result._rg = True
        elif mode.inference:
            result._inference = True
        return result

    # What looks on while a function is captured or mapped puts a ``__call__`` of its own in the place of this.
    record = __call__

    def _noted(self, call: Call, inputs: Any, reads: tuple[Node, ...], results: Any) -> GradNode:
        """The tape's entry for a recorded call."""
        saved = [*reads] if self._saves_all else [reads[i] for i in self._saved_inputs]
        if self._saves_out:
            saved.extend(results)
        edges: list[Any] = []
        for given in inputs:
            if not isinstance(given, Tensor) or not given._rg:
                edges.append(None)
            elif given._grad_fn is None:
                edges.append((given, 0))
            else:
                edges.append((given._grad_fn, given._output_nr))
        if mode.hooks is None and not search.on:
            return GradNode(call, tuple(edges), tuple(saved))
        return attended(call, tuple(edges), tuple(saved))

    def _several(self, call: Call, inputs: Any, reads: tuple[Node, ...], node: Node, noted: bool) -> tuple[Any, ...]:
        parts = record_several(node)
        results = tuple([wrap(part) for part in parts])
        if noted:
            grad_fn = self._noted(call, inputs, reads, parts)
            for i, result in enumerate(results):
                if call.out[i].dtype.category >= FLOATING:
                    result._grad_fn = grad_fn
                    result._rg = True
                    if i:
                        result._output_nr = i
        return results

    # ------------------------------------------------------------ going back

    def _plan_derivative(self) -> None:
        """Reads off the derivative's parameters what it wants: that, and only that, is saved."""
        self._saved_inputs: tuple[int, ...] = ()
        self._saves_out = False
        self._saves_all = False
        self._wants: list[tuple[str, Any]] = []
        if isinstance(self.derivative, NotDifferentiable):
            return
        code = self.derivative.__code__
        saved: list[int] = []
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            if name in ("grad", "grads", "needs", "avals", "inputs", "attrs"):
                self._wants.append((name, None))
                self._saves_all = self._saves_all or name == "inputs"
            elif name in ("out", "outs"):
                self._wants.append((name, None))
                self._saves_out = True
            elif name in self.input_names:
                self._wants.append(("input", len(saved)))
                saved.append(self.input_names.index(name))
            elif name in self.attr_names:
                self._wants.append(("attr", name))
            elif name.endswith("_shape") and name[:-6] in self.input_names:
                self._wants.append(("shape", self.input_names.index(name[:-6])))
            elif name.endswith("_dtype") and name[:-6] in self.input_names:
                self._wants.append(("dtype", self.input_names.index(name[:-6])))
            else:
                raise TypeError(f"{self.name}: its derivative asks for {name!r}, which is no part of the operator")
        self._saved_inputs = tuple(saved)

    def differentiate(self, grad_fn: GradNode, grads: list[Tensor | None]) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs, given those of the results (None: that result was not used)."""
        if isinstance(self.derivative, NotDifferentiable):
            raise RuntimeError(f"derivative for aten::{self.name} is not implemented: {self.derivative.reason}")
        call, saved = grad_fn.call, grad_fn.saved
        assert saved is not None
        given: list[Any] = []
        for what, which in self._wants:
            if what == "grad":
                first = grads[0]
                given.append(_materialized(grads[:1], grad_fn.out_avals()[:1])[0] if first is None else first)
            elif what == "input":
                given.append(_restored(saved[which], grad_fn.edges[self._saved_inputs[which]]))
            elif what == "attr":
                given.append(call.params[which])
            elif what == "out":
                given.append(_restored(saved[-1], (grad_fn, 0)))
            elif what == "shape":
                given.append(call.inputs[which].shape)  # type: ignore[union-attr]
            elif what == "dtype":
                given.append(call.inputs[which].dtype)  # type: ignore[union-attr]
            elif what == "needs":
                given.append(tuple([edge is not None for edge in grad_fn.edges]))
            elif what == "inputs":
                given.append([_restored(node, edge) for node, edge in zip(saved, grad_fn.edges, strict=False)])
            elif what == "outs":
                first = len(saved) - len(call.out)
                given.append([_restored(saved[first + i], (grad_fn, i)) for i in range(len(call.out))])
            elif what == "avals":
                given.append(call.inputs)
            elif what == "attrs":
                given.append(call.params)
            else:
                given.append(_materialized(grads, call.out))
        # The derivative computes in the types of the forward pass, wherever backward is called.
        found = self.derivative(*given) if mode.autocast is None else autocast.as_given(self.derivative, *given)
        return tuple(found) if isinstance(found, tuple | list) else (found,)


def _restored(node: Node | None, edge: Any) -> Tensor | None:
    """A saved node as a tensor that is differentiable where it was."""
    if node is None or node is NONE:
        return None
    tensor = wrap(node)
    if edge is not None and node.aval.dtype.category >= FLOATING:
        source, tensor._output_nr = edge
        tensor._rg = True
        if isinstance(source, Tensor):
            if source._node is node:
                return source
            # The leaf was written to since; the old value still belongs to it.
            tensor._grad_fn = LeafAlias(source)  # type: ignore[assignment]
        else:
            tensor._grad_fn = source
    return tensor


class LeafAlias(GradNode):
    """Passes gradients for an earlier value of a leaf on to the leaf."""

    __slots__ = ()

    def __init__(self, leaf: Tensor) -> None:
        super().__init__(None, ((leaf, 0),), ())  # type: ignore[arg-type]

    def backward(self, grads: list[Tensor | None]) -> Any:
        return tuple(grads)

    def input_aval(self, i: int) -> Any:
        edge = self.edges[0]
        assert edge is not None
        return edge[0]._node.aval

    def out_avals(self) -> tuple[Any, ...]:
        return (self.input_aval(0),)

    def name(self) -> str:
        return "LeafAlias"


def _materialized(grads: list[Tensor | None], outs: tuple[Any, ...]) -> list[Tensor | None]:
    return [
        OPERATORS["full"](0, aval.shape, aval.dtype, aval.device)
        if grad is None and aval.dtype.category >= FLOATING
        else grad
        for grad, aval in zip(grads, outs, strict=True)
    ]


# ---------------------------------------------------------------- results of several-valued operators


def _project_rule(several: Any, *, index: int) -> Any:
    return several[index]


def _project_kernel(xp: Any, several: Any, *, index: int) -> Any:
    return several[index]


_PROJECT = Op("project", _project_rule, _project_kernel, moves=True)
_PROJECT.fitted = lambda call: itemgetter(call.params["index"])


def record_several(several: Node) -> list[Node]:
    """Records an operation that has several results; the nodes of these.

    At one stroke, so that nothing runs in between, when all the results together would be a value that is wanted.
    """
    parts = [Node(call, (several,), call.out) for call in _projections(several.aval)]
    pending.extend((several, *parts))
    if len(pending) > LIMIT:
        flush()
    return parts


def record_body(op: Op, body: Any, nodes: Sequence[Node]) -> list[Node]:
    """Records a whole program as one operation, whose parameter it is; the nodes of its results (``body.outs``)."""
    key = (body, *[node.aval for node in nodes])
    call = op.calls.get(key)
    if call is None:
        call = op.calls[key] = Call(op, (body,), key[1:], body.outs, None)
    return record_several(Node(call, tuple(nodes), body.outs))


@functools.lru_cache(CALLS_KEPT)
def _projections(several: Any) -> list[Call]:
    """The operations that give each of several results."""
    return [Call(_PROJECT, (i,), (several,), aval, None) for i, aval in enumerate(several)]


# ---------------------------------------------------------------- registration

OPERATORS: dict[str, Operator] = {}
"""Every operator by name."""
NAMESPACES: dict[str, dict[str, Callable[..., Any]]] = {}
"""Public functions: by namespace (``"torch"``, ``"nn.functional"``, ``"linalg"`` ...), then by name."""
METHODS: dict[str, Callable[..., Any]] = {}
"""Tensor methods by name; ``flambeau.tensor.methods`` attaches them."""
INPLACE: dict[str, Callable[..., Any]] = {}
"""Functions that have an in-place method (named with a trailing underscore), by the method's name."""


def operator(
    name: str,
    rule: Callable[..., Any],
    kernel: Callable[..., Any] | None,
    derivative: Derivative,
    *,
    samples: Callable[[], list[Any]],
    **options: Any,
) -> Operator:
    """Registers an operator.

    Args:
        name: unique.
        rule: the shape rule, ``rule(*avals, *, attrs...)``: checks and gives the result's abstract value.
        kernel: ``kernel(xp, *arrays, attrs...)`` for both tiers, or None where ``numpy=`` and ``lax=`` are given.
        derivative: ``derivative(grad, ...)`` in Tensor operations, one gradient per input.  Its parameters
            say what is saved: names of inputs, ``out`` (``outs``), names of static parameters,
            ``<input>_shape``, ``<input>_dtype``, ``needs`` (per input, whether a gradient is wanted),
            ``inputs`` and ``avals`` (of all inputs, for variadic operators), ``attrs``; ``grad`` belongs to
            the first result, and ``grads``, those of all results, cost a tensor of zeros for each that nobody
            used.  A gradient may have the broadcast shape or another dtype: the engine sums and converts.
        samples: a function giving the list of examples on which the operator is tested.
        options: ``promote``, ``moves``, ``numpy``, ``lax`` as in :class:`flambeau.graph.op.Op`, ``grad_name``.

    Raises:
        ValueError: if the name is taken.
    """
    if name in OPERATORS:
        raise ValueError(f"an operator named {name!r} is registered already")
    registered = OPERATORS[name] = Operator(name, rule, kernel, derivative, samples=samples, **options)
    return registered


def public(
    name: str | None = None,
    *,
    into: str = "torch",
    method: bool | str = False,
    inplace: bool = False,
    out: bool | str = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Makes a function part of the public face.

    Args:
        name: PyTorch's name; the function's own if None.
        into: the namespaces that hold it, separated by spaces; ``""`` for none.
        method: whether it is a Tensor method (of another name, if a string).
        inplace: whether it has an in-place method, its name with a trailing underscore.
        out: whether the public form takes ``out=``, tensors that receive the results; ``"exact"`` if they must
            have the results' very types, ``"typed"`` if the function computes in their type, ``"made"`` if a function
            that makes tensors takes its type from them.
    """

    def register(fn: Callable[..., Any]) -> Callable[..., Any]:
        known = name or fn.__name__
        recorded = known in OPERATORS and OPERATORS[known].autocast is not None
        governed = fn if recorded else autocast.governed(autocast.listed_name(known, into), fn)
        for namespace in into.split():
            form = writing_out(governed, known, out) if out else explaining(governed, known)
            if form is not governed:
                # Where pickle finds it again; the module that defines it holds the plain form.
                form.__module__ = "flambeau" if namespace == "torch" else f"flambeau.{namespace}"
                form.__qualname__ = known
            NAMESPACES.setdefault(namespace, {})[known] = form
        if method:
            called = method if isinstance(method, str) else known
            METHODS[called] = explaining(governed, called, method=True)
        if inplace:
            INPLACE[known + "_"] = fn
        return governed

    return register


def explaining(fn: Callable[..., Any], name: str, method: bool = False) -> Callable[..., Any]:
    """The form of a function whose errors name the argument that should have been a tensor."""
    if not is_checkable(fn, beyond_first=method):
        return fn

    @functools.wraps(fn)
    def outer(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except Exception:
            refuse_wrong_types(name, fn, args, kwargs, method)
            raise

    return outer


def writing_out(fn: Callable[..., Any], name: str, out_kind: bool | str = True) -> Callable[..., Any]:
    """The form of a function that takes ``out=``, and explains its errors; ``out_kind`` as in :func:`public`."""

    @functools.wraps(fn)
    def outer(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is not None and out_kind in ("made", "typed"):
            kwargs["dtype"] = made_type(name, kwargs.get("dtype"), out)
            if out_kind == "made" and kwargs.get("device") is None:
                kwargs["device"] = out.device
        try:
            # PyTorch's forms with out= are not on autocast's lists.
            result = fn(*args, **kwargs) if out is None else autocast.as_given(fn, *args, **kwargs)
        except Exception:
            refuse_wrong_types(name, fn, args, kwargs)
            raise
        if out is None:
            return result
        from flambeau.tensor.out import write_out

        return write_out(name, result, out, out_kind)

    return outer


def labelled(result: Tensor, name: str) -> Tensor:
    """A result of several operators, with the name that PyTorch's tape has for the whole."""
    if result._grad_fn is not None:
        result._grad_fn.label = name  # type: ignore[attr-defined]
    return result


def inputs_of(tensors: Sequence[Any]) -> list[Any]:
    """The inputs of a variadic operator, checked to be tensors."""
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(tensor).__name__}")
    return list(tensors)
