"""The body of a loop as data, and what of it has to be done step by step.

A body is the work of one step.  Little of it need happen inside of the loop: what depends on no step is done once,
what depends on the inputs alone is done for all steps together before the walk, what no later step waits for is
done for all steps together after it, and a sum over the steps of products of matrices is one product.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flambeau.graph.node import Aval
from flambeau.graph.program import Step

EACH, CARRY, SHARED = "each", "carry", "shared"

_ONCE, _BEFORE, _WALKED = 0, 1, 2


class Body:
    """The work of one step of a loop.

    Values live in numbered slots, as in a program; slot 0 holds None.

    Attributes:
        steps: the operations of one step, in order.
        leaves: (slot, kind) of the loop's inputs: ``EACH`` has a first dimension that counts steps, ``CARRY`` is
            what the first step gets and each hands on, ``SHARED`` is the same for all steps.
        constants: values of further slots.
        next: per carry, the slot of what is handed on.
        stacked: the slots whose values at all steps are results.
        summed: the slots whose sums over all steps are results.
        length: how many steps there are.
        reverse: whether the walk goes from the last to the first.
        outs: the results: what the last step hands on, then the stacked, then the summed.
        schedule: when each operation is done.
    """

    __slots__ = (
        "constants",
        "leaves",
        "length",
        "next",
        "outs",
        "prepared",
        "reverse",
        "schedule",
        "slots",
        "stacked",
        "steps",
        "summed",
    )

    def __init__(
        self,
        steps: Sequence[Step],
        leaves: Sequence[tuple[int, str]],
        constants: dict[int, Any],
        avals: dict[int, Aval],
        next: Sequence[int],
        stacked: Sequence[int],
        summed: Sequence[int],
        length: int,
        reverse: bool,
    ) -> None:
        self.leaves = tuple(leaves)
        self.constants = constants
        self.next = tuple(next)
        self.stacked = tuple(stacked)
        self.summed = tuple(summed)
        self.length = length
        self.reverse = reverse
        self.steps = _wanted(steps, {*next, *stacked, *summed})
        self.slots = 1 + max(avals, default=0)
        carries = [slot for slot, kind in self.leaves if kind is CARRY]
        self.outs = (
            *[avals[slot].of() for slot in carries],
            *[avals[slot].of((length, *avals[slot].shape)) for slot in self.stacked],
            *[avals[slot].of() for slot in self.summed],
        )
        self.schedule = Schedule(self)
        self.prepared: Any = None

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(steps)} {title}" for title, steps in self.schedule.parts().items())
        return f"<loop of {self.length} steps{', the last first' if self.reverse else ''}: {parts}>"

    def listing(self) -> str:
        """Every operation of a step, by when it is done."""
        lines = []
        for title, steps in self.schedule.parts().items():
            lines.append(f"{title}:")
            for step in steps:
                given = ", ".join(f"%{slot}" if slot else "None" for slot in step.inputs)
                lines.append(f"  %{step.slot} = {step.call.op.name}({given}) -> {step.call.out}")
        lines.append(f"hand on {self.next}, stack {self.stacked}, sum {self.summed}")
        return "\n".join(lines)


def _wanted(steps: Iterable[Step], roots: set[int]) -> list[Step]:
    """The steps that lead to some slots, in order."""
    found = []
    wanted = set(roots)
    for step in reversed(list(steps)):
        if step.slot in wanted:
            found.append(step)
            wanted.update(step.inputs)
    found.reverse()
    return found


class Total:
    """How the sum over all steps of a slot's values is had.

    Attributes:
        how: ``"sum"`` of the slot's values; ``"grown"`` inside of the loop; ``"times"``: the same value at each step;
            ``"product"`` of the matrices of two slots, over rows and steps at once (the first turned, if ``step`` is an
            ``outer_sum``); ``"add"`` of other totals;
            ``"call"``: an operation that only moves elements, on another total.
        slots: the slots that are read.
        parts: the other totals.
        step: of a ``"call"`` or a ``"product"``.
    """

    __slots__ = ("how", "parts", "slots", "step")

    def __init__(self, how: str, slots: tuple[int, ...], parts: tuple[Total, ...] = (), step: Any = None) -> None:
        self.how = how
        self.slots = slots
        self.parts = parts
        self.step = step

    def reads(self) -> Iterable[int]:
        """The slots whose values at all steps it takes."""
        if self.how in ("sum", "product"):
            yield from self.slots
        for part in self.parts:
            yield from part.reads()


class Schedule:
    """When each operation of a body is done.

    Attributes:
        once, before, inside, after: operations done once, for all steps before the walk, in it, for all after it.
        light: those of ``before`` that are elementwise and read by the walk alone.  NumPy does them for all steps at
            once; XLA in the walk, where they cost less than reading what they give from memory.
        rows: slots with a value per step, known before the walk, that it reads.
        light_rows: likewise, if it does those too.
        kept: slots of the walk whose values are wanted for all steps.
        shifted: for carries among them, the slot that has the same values, but for the first, one step before.
        grown: slots of the walk that are summed as it goes.
        totals: per summed slot, how.
        walked: the slots that the walk computes.
        depends: per slot, 0 if it is the same at each step, 1 if it depends on inputs alone, 2 on what is carried.
    """

    def __init__(self, body: Body) -> None:
        self._by_slot = {step.slot: step for step in body.steps}
        self.depends = [_ONCE] * body.slots
        for slot, kind in body.leaves:
            self.depends[slot] = {SHARED: _ONCE, EACH: _BEFORE, CARRY: _WALKED}[kind]
        for step in body.steps:
            self.depends[step.slot] = max((self.depends[slot] for slot in step.inputs), default=_ONCE)
        self.walked: set[int] = set()
        for slot in body.next:
            self._walk(slot)
        self.grown: list[int] = []
        self.totals = [self._total(slot) for slot in body.summed]
        for step in body.steps:
            # A part of several results that the walk computes is taken there: they are not stacked as one.
            if step.call.op.name == "project" and step.inputs[0] in self.walked:
                self.walked.add(step.slot)
        self._share_out(body)

    def parts(self) -> dict[str, list[Step]]:
        """The operations, by when they are done."""
        return {"once": self.once, "before": self.before, "inside": self.inside, "after": self.after}

    def stored(self, slot: int) -> bool:
        """Whether a slot holds what the walk has left in memory, if turned perhaps."""
        while slot not in self.walked and slot in self._by_slot and self._by_slot[slot].call.op.name in _MOVING:
            slot = self._by_slot[slot].inputs[0]
        return slot in self.walked

    def _walk(self, slot: int) -> None:
        """Has a slot computed inside of the loop, with what it needs there."""
        if self.depends[slot] < _WALKED or slot in self.walked or slot not in self._by_slot:
            return
        self.walked.add(slot)
        for given in self._by_slot[slot].inputs:
            self._walk(given)

    def _total(self, slot: int) -> Total:
        step = self._by_slot.get(slot)
        if self.depends[slot] == _ONCE:
            return Total("times", (slot,))
        if step is not None:
            if slot in self.walked:
                return self._grown(slot)
            shapes = [getattr(aval, "shape", None) for aval in step.call.inputs]
            name = step.call.op.name
            varying = [self.depends[given] > _ONCE for given in step.inputs]
            if name in _PRODUCTS and all(varying) and all(shape and len(shape) == 2 for shape in shapes):
                return Total("product", step.inputs, (), step)
            if name == "add" and step.call.casts is None and all(shape == step.call.out.shape for shape in shapes):
                return Total("add", (), tuple(self._total(given) for given in step.inputs))
            if name in _MOVING:
                return Total("call", (), (self._total(step.inputs[0]),), step)
            if not step.call.op.elementwise and name not in _REDUCING:
                return self._grown(slot)
        return Total("sum", (slot,))

    def _grown(self, slot: int) -> Total:
        """Summed as the loop goes: what it would take to keep every step's value is not known."""
        self._walk(slot)
        if self.depends[slot] < _WALKED:
            return Total("sum", (slot,))
        if slot not in self.grown:
            self.grown.append(slot)
        return Total("grown", (slot,))

    def _share_out(self, body: Body) -> None:
        walked = self.walked
        late = {*body.stacked, *(slot for total in self.totals for slot in total.reads())}
        reachable = _wanted(body.steps, {*body.next, *late, *self.grown, *_times(self.totals)})
        self.inside = [step for step in reachable if step.slot in walked]
        others = [step for step in reachable if step.slot not in walked]
        self.once = [step for step in others if self.depends[step.slot] == _ONCE]
        self.before = [step for step in others if self.depends[step.slot] == _BEFORE]
        self.after = [step for step in others if self.depends[step.slot] == _WALKED]
        for step in self.after:
            late.update(step.inputs)
        carried = {slot for slot, kind in body.leaves if kind is CARRY}
        self.kept = sorted(slot for slot in late if slot in walked or slot in carried)
        pairs = zip([slot for slot, kind in body.leaves if kind is CARRY], body.next, strict=True)
        self.shifted = {given: new for given, new in pairs if given in self.kept and new in walked}
        self.light = self._light(late)
        self.rows = self._rows(body, self.inside)
        self.light_rows = self._rows(body, self.light + self.inside)

    def _light(self, late: set[int]) -> list[Step]:
        found = []
        wanted = set(late)
        for step in reversed(self.before):
            if step.call.op.elementwise and step.slot not in wanted:
                found.append(step)
            else:
                wanted.update(step.inputs)
        found.reverse()
        return found

    def _rows(self, body: Body, steps: list[Step]) -> list[int]:
        made = {step.slot for step in steps}
        read = {*body.next, *(slot for step in steps for slot in step.inputs)} - made
        return sorted(slot for slot in read if self.depends[slot] == _BEFORE)


def _times(totals: Iterable[Total]) -> Iterable[int]:
    for total in totals:
        if total.how == "times":
            yield from total.slots
        yield from _times(total.parts)


_MOVING = {"permute", "transpose", "view", "detach", "alias"}
"""Operations on one array that commute with adding, and have no other input."""
_PRODUCTS = {"matmul", "outer_sum"}
_REDUCING = {"sum", "mean", "linear", "slice", "select", "squeeze", "unsqueeze", "expand", "cat", "project", *_PRODUCTS}
"""Operations that both tiers do for all steps at once."""
