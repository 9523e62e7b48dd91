"""What must be known now: running what has been recorded."""

from __future__ import annotations

import threading
from typing import Any

from flambeau.engine import tiers
from flambeau.engine.compare import TiersDisagree
from flambeau.engine.interpreter import as_array, run_step
from flambeau.engine.statistics import counters
from flambeau.graph.node import Node
from flambeau.graph.observer import current as looking
from flambeau.graph.program import living, stretch_of
from flambeau.graph.recorder import pending

_lock = threading.RLock()


class Failed:
    """The value of a node whose operation raised: whoever asks for it gets the error."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


def flush() -> None:
    """Runs everything recorded so far that somebody still owns, as one program.

    What nobody owns any more is dropped unrun.  Nothing stays pending, so no work is ever done
    twice and no chain of unread values can grow.  While a function is captured nothing runs: its work
    is one program, which ends with it.
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
        stretch = stretch_of(nodes)
        counters.flushes += 1
        counters.nodes += len(nodes)
        try:
            values = tiers.run(stretch)
        except Exception as error:
            if isinstance(error, TiersDisagree):
                raise
            _run_singly(nodes)
            if not any(isinstance(node.value, Failed) for node in nodes):
                # Each step ran by itself, so the fault is the engine's: hide nothing.
                raise RuntimeError("flambeau: a program failed whose every step runs by itself") from error
            return
        for node, value in zip(stretch.outputs, values, strict=True):
            node.value = value
        for node in nodes:
            node.call = None
            node.inputs = ()


def _run_singly(nodes: list[Node]) -> None:
    """Computes what can be computed, and leaves the error in the values of what cannot."""
    for node in nodes:
        failed = next((read.value for read in node.inputs if isinstance(read.value, Failed)), None)
        if failed is None:
            try:
                result = run_step(node.call, [read.value for read in node.inputs])
                node.value = result if isinstance(node.aval, tuple) else as_array(result)
            except Exception as error:
                failed = Failed(error)
        if failed is not None:
            node.value = failed
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


def synchronize() -> None:
    """Runs what is recorded and waits until it is done."""
    flush()
    tiers.wait()
