"""``flambeau.compile``: functions whose calls, once they repeat, are replayed as one program."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.autograd.grad_mode import mode
from flambeau.capture.joint import Joint
from flambeau.capture.replay import Plan, replay_of
from flambeau.capture.watch import CaptureError, Taken, Watch, tensors_in
from flambeau.engine import precision, tiers
from flambeau.engine.interpreter import as_array
from flambeau.engine.judge import Kin
from flambeau.graph.observer import current as looking
from flambeau.graph.program import Program
from flambeau.graph.recorder import pending
from flambeau.tensor.tensor import Tensor, current
from flambeau.tensor.views import layout
from flambeau.user_warnings import warn

SIGNATURES = 256
"""Kinds of arguments beyond this are run without being captured."""
KINDS_AT_ONCE = 4
"""So many are captured when they are first met; a further one, which may never come again, when it comes back."""
ATTEMPTS = 6
"""Captured calls of one kind that may differ from their predecessors before that is an error."""


class _Kind:
    """What is known of calls with one kind of arguments."""

    __slots__ = ("attempts", "last", "replays")

    def __init__(self) -> None:
        self.last: Any = None
        self.replays: list[Any] = []
        self.attempts = 0


class Compiled:
    """A function that is captured, and then replayed.

    The first calls run plainly while a watch looks on.  Once two calls in a row did the same work with
    the same tensors, the next is replayed: no recording, no Python between the first operation and the
    last.

    Attributes:
        program: the newest captured program, or None.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._kinds: dict[Any, _Kind] = {}
        self._newest: Any = None
        self._kin = Kin(asked=True)

    @property
    def program(self) -> CapturedProgram | None:
        """The newest captured program, to be looked at."""
        return None if self._newest is None else CapturedProgram(self._newest)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if looking.observer is not None or _disabled:
            return self._function(*args, **kwargs)
        found: dict[int, Tensor] = {}
        kinds = _signature(args, found), _signature(kwargs, found) if kwargs else None
        tensors = list(found.values())
        signature = (
            mode.grad,
            mode.autocast,
            precision.level,
            precision.convolutions,
            kinds,
            _sharing(tensors),
        )
        kind = self._kinds.get(signature)
        if kind is None:
            if len(self._kinds) >= SIGNATURES:
                self._give_up_once()
                return self._function(*args, **kwargs)
            kind = self._kinds[signature] = _Kind()
            if len(self._kinds) > KINDS_AT_ONCE:
                return self._function(*args, **kwargs)
        for replay in kind.replays:
            if replay.plan.holds(tensors):
                return replay(tensors)
        return self._capture(kind, tensors, args, kwargs)

    def _give_up_once(self) -> None:
        if not getattr(self, "_warned", False):
            self._warned = True
            warn(
                f"flambeau.compile: {self._function.__qualname__} was called with more than {SIGNATURES} kinds of "
                "arguments; further kinds run without being captured",
                RuntimeWarning,
            )

    def _capture(self, kind: _Kind, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        with _collector_held():
            return self._watched(kind, tensors, args, kwargs)

    def _watched(self, kind: _Kind, tensors: list[Tensor], args: Any, kwargs: Any) -> Any:
        watch = Watch(tensors)
        last = kind.last
        grads = {id(t): t._grad is None for t in last.plan.boxes} if last is not None else {}
        known = {id(t): t for t in last.plan.boxes} if last is not None else {}
        for t in tensors:
            grads[id(t)] = t._grad is None
        captured: Any
        result = watch.run(self._function, args, kwargs)
        _check_written(watch)
        if _differentiable_outside(result):
            captured = Joint(watch, tensors, result, known)
            taken = captured.taken
            del captured.taken
        else:
            taken = Taken(watch)
            captured = _Plain(Plan(taken, tensors, result, known))
        if last is not None and type(last) is type(captured) and captured.agrees(last):
            if isinstance(captured, Joint):
                replay: Any = captured
            else:
                replay = replay_of(captured.plan, taken, self._kin)
            kind.replays.append(replay)
            kind.attempts = 0
            self._newest = replay
        else:
            kind.attempts += 1
            if kind.attempts > ATTEMPTS:
                raise CaptureError(
                    f"{self._function.__qualname__} does something else with every call, which cannot be captured: "
                    f"{_difference(last, captured)}"
                )
        kind.last = captured
        _finish(taken)
        if kind.replays and kind.replays[-1].plan is captured.plan:
            captured.plan.settle(None if isinstance(captured, Joint) else grads)
        return result


@contextmanager
def _collector_held() -> Iterator[None]:
    """Keeps what is made meanwhile in the youngest generation, where it is quickly found.

    Until the work is done and its nodes are gone, so that a collection does not have to look at them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Plain:
    """A captured call that is not differentiated outside."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def agrees(self, other: Any) -> bool:
        return self.plan.agrees(other.plan)


def _difference(first: Any, second: Any) -> str:
    if first is None or type(first) is not type(second):
        return "sometimes its results are differentiable and sometimes not"
    if first.plan.key != second.plan.key:
        return "the operations differ"
    for a, b in zip(first.plan.origins, second.plan.origins, strict=True):
        if (
            a is not b
            and isinstance(a, tuple)
            and isinstance(b, tuple)
            and a[0] == b[0] == "constant"
            and a[1] is not b[1]
        ):
            return (
                f"it computes with a Python number or array of its own that changed from {a[1]!r} to {b[1]!r}; pass it "
                "as a tensor argument"
            )
    return (
        "it keeps a result in a tensor that is new with each call (an attribute or a global that is assigned); write "
        "into an existing tensor instead, or return the result and pass it in again"
    )


def _differentiable_outside(result: Any) -> bool:
    """Whether a result can still be differentiated, since its tape was not spent inside."""
    roots = [t._grad_fn for t in tensors_in(result) if t._rg and t._grad_fn is not None]
    seen = set()
    stack = list(roots)
    while stack:
        grad_fn = stack.pop()
        if grad_fn in seen:
            continue
        seen.add(grad_fn)
        if grad_fn.saved is None:
            return False
        stack.extend(edge[0] for edge in grad_fn.edges if edge is not None and not isinstance(edge[0], Tensor))
    return bool(roots)


def _check_written(watch: Watch) -> None:
    """Raises if a tensor from outside is to be differentiated through what the function wrote into it."""
    for tensor in watch.outside():
        if tensor._base is not None or tensor._node.value is not None or tensor._grad_fn is None:
            continue
        # What was written without being differentiated leaves the tensor its own past.
        if tensor._grad_fn.seq > watch.began and _differentiable_outside(tensor):
            pending.clear()
            raise CaptureError(
                f"the captured function writes into a tensor of shape {list(tensor.shape)} from outside that is "
                "differentiated through what was written; return the new values instead"
            )


def _finish(taken: Taken) -> None:
    """Computes what the captured call recorded."""
    stretch = taken.stretch
    if not stretch.nodes:
        return
    values = tiers.run(stretch)
    for node, value in zip(stretch.outputs, values, strict=True):
        node.value = value if hasattr(value, "shape") else as_array(value)
    for node in stretch.nodes:
        node.call = None
        node.inputs = ()


def _signature(part: Any, found: dict[int, Tensor]) -> Any:
    """What of the arguments decides the program: tensors by their kind, the rest by value.

    The tensors are added, by identity, to those found so far.
    """
    if isinstance(part, Tensor):
        return _kind_of(part, found)
    if isinstance(part, list | tuple):
        kinds: list[Any] = [type(part)]
        for x in part:
            # Not by way of this function: caches are tuples of tensors, looked at with every word.
            kinds.append(_kind_of(x, found) if isinstance(x, Tensor) else _signature(x, found))
        return tuple(kinds)
    if isinstance(part, dict):
        return (dict, *[(k, _signature(v, found)) for k, v in part.items()])
    try:
        hash(part)
    except TypeError:
        return (type(part), id(part))
    return (type(part), part)


def _kind_of(tensor: Tensor, found: dict[int, Tensor]) -> Any:
    if tensor._base is not None:
        current(tensor)
    if id(tensor) in found:
        return ("again", list(found).index(id(tensor)))
    found[id(tensor)] = tensor
    if tensor._rg:
        return (tensor._node.aval, tensor._grad is None)
    return tensor._node.aval


def _sharing(tensors: list[Tensor]) -> tuple[Any, ...] | None:
    """Which arguments are views, of one another perhaps and how, and their strides; None if none is one."""
    for tensor in tensors:
        if tensor._base is not None or tensor._layout is not None:
            break
    else:
        return None
    roots = [id(t if t._base is None else t._base) for t in tensors]
    return tuple(
        (t._base is None, roots.index(root), layout(t)[0], t._chain if roots.count(root) > 1 else None)
        for t, root in zip(tensors, roots, strict=True)
    )


class CapturedProgram:
    """A captured program, to be looked at.

    Attributes:
        nodes: how many operations it has.
        operations: how often each occurs, by name.
        bytes: size of its leaves and results together.
    """

    def __init__(self, replay: Any) -> None:
        self._replay = replay
        self._program: Program = replay.body.program if isinstance(replay, Joint) else replay.entry.program

    @property
    def nodes(self) -> int:
        return len(self._program.steps)

    @property
    def operations(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for step in self._program.steps:
            found[step.call.op.name] = found.get(step.call.op.name, 0) + 1
        return found

    @property
    def bytes(self) -> int:
        outs = {step.slot: step.call.out for step in self._program.steps}
        return sum(a.nbytes for a in self._program.leaf_avals if not a.weak) + sum(
            outs[s].nbytes for s in self._program.outputs
        )

    @property
    def xla(self) -> str:
        """The compiled program as XLA's text; compiles it now if it is not yet.

        Raises:
            RuntimeError: for a function whose results are differentiated outside, which has no program
                of its own: it is part of the program around it.
        """
        if isinstance(self._replay, Joint):
            raise RuntimeError(
                "this function's program becomes part of the one around it, and is not compiled by itself"
            )
        entry = self._replay.entry
        return tiers.compiled(entry).text()

    def __repr__(self) -> str:
        return repr(self._program)


_disabled = False
