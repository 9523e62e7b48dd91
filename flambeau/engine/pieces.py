"""Large programs in pieces that are compiled one after the other.

What XLA holds while it compiles grows with the number of kernels, and may be more than the program itself takes.
"""

from __future__ import annotations

from typing import Any

from flambeau.engine.memory import return_free_memory
from flambeau.engine.xla import Compiled
from flambeau.graph.program import Program, Step

KINDS_OF_PIECE = 32
"""A piece ends where it would have more different operations than so many.

XLA compiles equal kernels once, and holds a megabyte or two for each different one until it has compiled them all.
"""
KINDS_TOGETHER = 64
"""Programs with no more are compiled whole: nothing merges across the bounds of pieces."""
MOST_PIECES = 8
"""No piece but the last is less than this part of the program: what returns in several is compiled for each."""


class _Piece:
    """Some steps of a program, as a program of their own.

    Attributes:
        reads: the slots of its leaves.
        places: for each of them, its place among the leaves of the whole; None for what an earlier piece makes.
        ends: for each of them, whether nobody reads it later.
        writes: the slots of its results.
        executable: it, compiled.
    """

    __slots__ = ("ends", "executable", "places", "reads", "writes")

    def __init__(
        self, whole: Program, steps: list[Step], later: set[int], donated: tuple[bool, ...], constants: dict[int, Any]
    ) -> None:
        avals = dict(zip(whole.leaves, whole.leaf_avals, strict=True))
        avals.update((step.slot, step.call.out) for step in whole.steps)
        places = {slot: i for i, slot in enumerate(whole.leaves)}
        made = {0, *[step.slot for step in steps]}
        read = dict.fromkeys([slot for step in steps for slot in step.inputs])
        self.reads = [slot for slot in read if slot not in made]
        self.writes = [step.slot for step in steps if step.slot in later]
        self.places = [places.get(slot) for slot in self.reads]
        self.ends = [slot not in later for slot in self.reads]
        program = Program(whole.key, steps, self.reads, [avals[i] for i in self.reads], self.writes, whole.slots)
        known = {k: constants[i] for k, i in enumerate(self.places) if i is not None and i in constants}
        self.executable = Compiled(program, self.given(donated), known)

    def given(self, donated: tuple[bool, ...]) -> tuple[bool, ...]:
        """For each leaf, whether its buffer may be given up; what an earlier piece made may, once nobody reads it."""
        places = zip(self.places, self.ends, strict=True)
        return tuple([end and (i is None or donated[i]) for i, end in places])


class Pieced:
    """A program as several compiled ones, run one after the other."""

    lets_go = False
    __slots__ = ("_pieces", "_program")

    def __init__(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> None:
        self._program = program
        self._pieces: list[_Piece] = []
        later = set(program.outputs)
        for steps in reversed(_cut(program)):
            self._pieces.insert(0, _Piece(program, steps, later, donated, constants))
            later.update(i for step in steps for i in step.inputs)
            return_free_memory()

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Results as device arrays; as :meth:`Compiled.run`."""
        self.prepare(values)
        env: dict[int, Any] = {}
        for piece in self._pieces:
            given = self._values(piece, values, env)
            for slot, end in zip(piece.reads, piece.ends, strict=True):
                if end:
                    env.pop(slot, None)
            env.update(zip(piece.writes, piece.executable.run(given, piece.given(donated)), strict=True))
        return [env[slot] for slot in self._program.outputs]

    def prepare(self, values: list[Any]) -> None:
        """Puts host arrays onto the device; first those that the last reader may give up."""
        for piece in reversed(self._pieces):
            given = self._values(piece, values, {})
            piece.executable.prepare(given)
            for i, value in zip(piece.places, given, strict=True):
                if i is not None and value is not values[i]:
                    values[i] = value

    def _values(self, piece: _Piece, values: list[Any], env: dict[int, Any]) -> list[Any]:
        places = zip(piece.reads, piece.places, strict=True)
        return [env.get(slot) if i is None else values[i] for slot, i in places]

    def wait(self, results: list[Any]) -> None:
        self._pieces[-1].executable.wait(results)

    def text(self) -> str:
        """The compiled text of all pieces."""
        return "\n".join([piece.executable.text() or "" for piece in self._pieces])


def is_large(program: Program) -> bool:
    """Whether a program should be compiled in pieces."""
    return len(_kinds(program)) > KINDS_TOGETHER


def _kinds(program: Program) -> set[Any]:
    return {step.call for step in program.steps if step.call.op.name != "project"}


def _cut(program: Program) -> list[list[Step]]:
    """The steps in pieces of not too many kinds each; several results stay with the steps that take them apart."""
    least = len(program.steps) / MOST_PIECES
    last_read = {slot: k for k, step in enumerate(program.steps) for slot in step.inputs}
    pieces: list[list[Step]] = [[]]
    kinds: set[Any] = set()
    together = 0
    for k, step in enumerate(program.steps):
        if step.call.op.name != "project":
            if k > together and len(pieces[-1]) >= least and len(kinds | {step.call}) > KINDS_OF_PIECE:
                pieces.append([])
                kinds = set()
            kinds.add(step.call)
        pieces[-1].append(step)
        if isinstance(step.call.out, tuple):
            together = max(together, last_read.get(step.slot, 0))
    return pieces
