"""What a tier is: a way of running programs.

A tier says what it can run and what making a program ready is expected to take; it makes programs
ready, and runs them.  The judge (:mod:`flambeau.engine.judge`) weighs any number of tiers by what they
cost.  Layouts, the precision of intermediate steps and the reuse of buffers are a tier's own business:
no operator's meaning depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from time import perf_counter
from typing import Any, Protocol

from flambeau import devices
from flambeau.engine.interpreter import Interpreted
from flambeau.engine.memory import is_crowded, keep_freed_memory, return_free_memory, returning_free_memory
from flambeau.engine.statistics import counters
from flambeau.graph.program import Program


class Executable(Protocol):
    """A program made ready by a tier.

    Attributes:
        lets_go: whether ``run`` takes donated values out of the list as soon as it is done with them, which is worth
            having them shown by the list alone (:class:`flambeau.engine.tiers.Shown`).
    """

    lets_go: bool

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Results for the values of the leaves; ``donated`` says which of them nobody reads again."""
        ...

    def prepare(self, values: list[Any]) -> None:
        """Puts values into the form in which this tier keeps them, in place; ``run`` does so as well."""
        ...

    def wait(self, results: list[Any]) -> None:
        """Returns when the results are there."""
        ...


class Tier(Protocol):
    """A way of running programs.

    Attributes:
        name: as :func:`flambeau.engine.set_tier` takes it.
    """

    name: str

    def can_run(self, program: Program) -> bool:
        """Whether this tier can run a program on this machine."""
        ...

    def expected_seconds(self, program: Program) -> float:
        """What making a program ready is expected to take."""
        ...

    def build(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> Executable:
        """Makes a program ready.

        Args:
            program: the work.
            donated: per leaf, whether its buffer may be given up.
            constants: values of leaves, by position, that may be built in.
        """
        ...

    def count_run(self) -> None:
        """Counts one more program run by this tier, for the statistics."""
        ...

    def is_crowded(self) -> bool:
        """Whether programs made ready earlier should be given up before more are."""
        ...


class InterpreterTier:
    """NumPy, one operation after the other: ready at once."""

    name = "interpreter"

    def can_run(self, program: Program) -> bool:
        return program.device is devices.cpu

    def expected_seconds(self, program: Program) -> float:
        return 0.0

    def build(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> Executable:
        keep_freed_memory()
        return Interpreted(program)

    def count_run(self) -> None:
        counters.runs_interpreted += 1

    def is_crowded(self) -> bool:
        return False


class XlaTier:
    """One program compiled by XLA.

    What compiling takes is first guessed from the number of operations and then learned: programs of one
    process are of a kind, so the last ones tell of the next.

    Attributes:
        guessed, measured: seconds of all compilations so far.
    """

    name = "compiled"

    def __init__(self) -> None:
        self.guessed = 0.0
        self.measured = 0.0
        self._installed: bool | None = None

    def can_run(self, program: Program) -> bool:
        if self._installed is None:
            self._installed = find_spec("jax") is not None
        return self._installed

    def expected_seconds(self, program: Program) -> float:
        seconds = _guess(program)
        return seconds * max(1.0, self.measured / self.guessed) if self.guessed else seconds + IMPORT_SECONDS

    def build(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> Executable:
        keep_freed_memory()
        return_free_memory()
        # Imported here: JAX takes a second or more, and many programs never need it.
        from flambeau.engine import aliases, pieces, xla

        # What importing takes is not what compiling takes, from which the next are judged.
        started = perf_counter()
        with returning_free_memory():
            if program.device is not devices.cpu:
                executable: Executable = xla.Offloaded(program, donated, constants)
            else:
                kind = pieces.Pieced if pieces.is_large(program) else xla.Compiled
                executable = aliases.built(program, lambda made: kind(made, donated, constants))
        self.guessed += _guess(program)
        self.measured += perf_counter() - started
        counters.programs_compiled += 1
        return executable

    def count_run(self) -> None:
        counters.runs_compiled += 1

    def is_crowded(self) -> bool:
        return is_crowded()


def _guess(program: Program) -> float:
    return 0.1 + 0.004 * len(program.steps)


IMPORT_SECONDS = 1.0
"""Importing JAX, which the first compilation does."""

INTERPRETER = InterpreterTier()
XLA = XlaTier()
TIERS: Sequence[Tier] = (INTERPRETER, XLA)
"""All tiers; the first is ready at once and can run everything."""
