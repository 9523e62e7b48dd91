"""For what kind of device the program that is being traced is meant, as kernels may ask."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _State(threading.local):
    # Programs are traced in the background too, so each thread has its own.
    kind = "cpu"
    single = False


_state = _State()


def kind() -> str:
    """``"cpu"``, ``"cuda"`` or ``"tpu"``: lax kernels choose the formulation that suits it."""
    return _state.kind


def threads() -> int:
    """How many threads run a program on the CPU: XLA takes one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def traced_for(kind: str) -> Iterator[None]:
    """Programs traced within are meant for devices of this kind."""
    before = _state.kind
    _state.kind = kind
    try:
        yield
    finally:
        _state.kind = before


def is_single_kernel() -> bool:
    """Whether the program is so small that it should become one kernel, with loops instead of scatters."""
    return _state.single


@contextmanager
def traced_as_single_kernel() -> Iterator[None]:
    """The program traced within is to become one kernel."""
    _state.single = True
    try:
        yield
    finally:
        _state.single = False
