"""What must be known now: running what has been recorded."""

from __future__ import annotations

import threading
from typing import Any

from flambeau import devices
from flambeau.engine import tiers
from flambeau.engine.accelerators import AcceleratorError, NoTierError, OutOfMemoryError
from flambeau.engine.compare import TiersDisagree
from flambeau.engine.statistics import counters
from flambeau.graph.node import NONE, Node
from flambeau.graph.observer import current as looking
from flambeau.graph.placement import by_place
from flambeau.graph.program import living, stretch_of
from flambeau.graph.recorder import pending

_lock = threading.RLock()


class Failed:
    """The value of a node whose operation raised: whoever asks for it gets the error."""

    __slots__ = ("error",)
    occurred = False
    """Whether there has been one: until then nobody need look for them."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        Failed.occurred = True


def flush() -> None:
    """Runs everything recorded so far that somebody still owns, as one program.

    What nobody owns any more is dropped unrun.  Nothing stays pending, so no work is ever done
    twice and no chain of unread values can grow.  While a function is captured nothing runs: its work
    is one program, which ends with it.

    Example:
        >>> import flambeau
        >>> x = flambeau.ones(2) + 1
        >>> flambeau.engine.flush()
        >>> flambeau.engine.statistics()["nodes_pending"]
        0
    """
    if looking.observer is not None:
        return
    with _lock:
        taken = pending[:]
        # Other threads may have recorded on: only what was taken goes.
        del pending[: len(taken)]
        nodes = living(taken)
        if not nodes:
            return
        counters.flushes += 1
        counters.nodes += len(nodes)
        if not devices.accelerated:
            _run(nodes)
            return
        for group in by_place(nodes):
            _run(group)


def _run(nodes: list[Node]) -> None:
    """Runs recorded nodes of one device, held by this list alone, as one program."""
    stretch = stretch_of(nodes)
    if Failed.occurred and Failed in [type(node.value) for node in stretch.leaves]:
        _run_singly(nodes)
        return
    try:
        values = tiers.run(stretch)
    except Exception as error:
        if isinstance(error, TiersDisagree):
            raise
        if isinstance(error, OutOfMemoryError | NoTierError | AcceleratorError):
            # To run each operation by itself would tell no more.
            for node in nodes:
                node.value = Failed(error)
            _forget_work(nodes)
            raise
        _run_singly(nodes)
        if not any(isinstance(node.value, Failed) for node in nodes):
            # Each step ran by itself, so the fault is the engine's: hide nothing.
            raise RuntimeError("flambeau: a program failed whose every step runs by itself") from error
        return
    for node, value in zip(stretch.outputs, values, strict=True):
        node.value = value
    _forget_work(nodes)


def _run_singly(nodes: list[Node]) -> None:
    """Computes what can be computed, and leaves the error in the values of what cannot."""
    for node in nodes:
        failed = next((read.value for read in node.inputs if isinstance(read.value, Failed)), None)
        if failed is None:
            try:
                node.value = tiers.run_step(node.call, [read.value for read in node.inputs])
            except Exception as error:
                failed = Failed(error)
        if failed is not None:
            node.value = failed
    _forget_work(nodes)


def _forget_work(nodes: list[Node]) -> None:
    """Once nodes have their values, how they were computed keeps nothing alive."""
    for node in nodes:
        node.call = None
        node.inputs = ()


def value_of(node: Node) -> Any:
    """A node's value, computed now if need be; raises what its operation raised."""
    if looking.observer is not None:
        looking.observer.value_wanted(node)
    if node.value is None:
        flush()
    value = node.value
    if type(value) is Failed:
        raise value.error
    return value


def from_numbers(node: Node) -> Any:
    """The value of a few recorded operations that begin with numbers alone, computed apart from all else; None else."""
    found = _from_numbers(node, 8)
    return None if found is _UNKNOWN else found


_UNKNOWN = object()


def _from_numbers(node: Node, depth: int) -> Any:
    call = node.call
    if call is None:
        return node.value if node is NONE or node.aval.weak else _UNKNOWN
    if not depth or call.place is not devices.cpu or call.op.hands_over:
        return _UNKNOWN
    values = [_from_numbers(read, depth - 1) for read in node.inputs]
    return _UNKNOWN if any(value is _UNKNOWN for value in values) else tiers.run_step(call, values)


def hand_over(node: Node) -> None:
    """Does the move of a known value to an accelerator at once, if it is what was recorded last."""
    if pending and pending[-1] is node:
        pending.pop()
        node.value = tiers.put(node.inputs[0].value, node.aval)
        _forget_work([node])


def synchronize() -> None:
    """Runs what is recorded and waits until it is done, by the accelerators too.

    Example:
        >>> import flambeau
        >>> x = flambeau.ones(2) + 1
        >>> flambeau.engine.synchronize()
        >>> flambeau.engine.statistics()["nodes_pending"]
        0
    """
    flush()
    tiers.wait()
