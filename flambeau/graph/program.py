"""Programs: a stretch of recorded work in a line, with a key that says when two are the same."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from flambeau import devices
from flambeau.graph.node import NONE, Node
from flambeau.graph.op import Call


class Step:
    """One operation of a program.

    Attributes:
        call: what is done.
        inputs: the slots it reads.
        slot: where its result goes.
        last: the slots nothing reads after it.
    """

    __slots__ = ("call", "inputs", "last", "slot")

    def __init__(self, call: Call, inputs: tuple[int, ...], slot: int) -> None:
        self.call = call
        self.inputs = inputs
        self.slot = slot
        self.last: tuple[int, ...] = ()


class Program:
    """A function of its leaves: steps in an order in which each finds its inputs computed.

    Values live in numbered slots; slot 0 holds None, for absent inputs.

    Attributes:
        key: equal for two stretches of work that do the same.
        steps: the operations.
        device: what does them: the CPU's share of a captured function is done by the accelerator that does the rest.
        leaves: slots of the leaves, and ``leaf_avals`` what is known of each.
        outputs: slots of the results that somebody owns.
        slots: how many slots there are.
    """

    __slots__ = ("device", "key", "leaf_avals", "leaves", "outputs", "slots", "steps")

    def __init__(
        self,
        key: tuple[Any, ...],
        steps: list[Step],
        leaves: list[int],
        leaf_avals: list[Any],
        outputs: list[int],
        slots: int,
    ) -> None:
        self.key = key
        self.steps = steps
        self.device = next((s.call.place for s in steps if s.call.place is not devices.cpu), devices.cpu)
        self.leaves = leaves
        self.leaf_avals = leaf_avals
        self.outputs = outputs
        self.slots = slots
        self._mark_last_uses()

    def _mark_last_uses(self) -> None:
        seen = {0, *self.outputs}
        for step in reversed(self.steps):
            step.last = tuple({slot for slot in (*step.inputs, step.slot) if slot not in seen})
            seen.update(step.last)

    def __repr__(self) -> str:
        lines = [f"{slot} = leaf {aval}" for slot, aval in zip(self.leaves, self.leaf_avals, strict=True)]
        for step in self.steps:
            given = [f"%{slot}" if slot else "None" for slot in step.inputs]
            given += [f"{k}={v}" for k, v in step.call.params.items()]
            lines.append(f"%{step.slot} = {step.call.op.name}({', '.join(given)}) -> {step.call.out}")
        lines.append(f"return {', '.join(f'%{slot}' for slot in self.outputs)}")
        return "\n".join(lines)


class Stretch:
    """Recorded nodes in a line, with the key of the program that they amount to.

    Attributes:
        key: the structural key.
        nodes: the nodes to compute, in order.
        leaves: the leaves they read.
        outputs: the nodes whose values somebody owns.
        donated: per leaf, whether nobody else will read it again.
    """

    __slots__ = ("donated", "key", "leaves", "nodes", "outputs")

    def __init__(
        self,
        key: tuple[Any, ...],
        nodes: list[Node],
        leaves: list[Node],
        outputs: list[Node],
        donated: tuple[bool, ...],
    ) -> None:
        self.key = key
        self.nodes = nodes
        self.leaves = leaves
        self.outputs = outputs
        self.donated = donated


def _references_of_one_list() -> int:
    probes = [Node(None, (), None)]
    for probe in probes:
        return getrefcount(probe)
    raise AssertionError


# What getrefcount says of a node that one list and one loop variable hold.
_HELD_BY_LIST = _references_of_one_list()


def living(pending: list[Node]) -> list[Node]:
    """Empties a list of recorded nodes, and returns those that somebody still wants.

    Python's own reference count says who owns a node: the boxes that show it, the values that
    autograd saved, the nodes that read it.  Going backwards, a node with no reader is let go before
    its inputs are looked at, so whole branches that nobody wants fall away.
    """
    nobody = _HELD_BY_LIST - 1
    alive: list[Node] = []
    keep = alive.append
    take = pending.pop
    while pending:
        node = take()
        if getrefcount(node) > nobody:
            keep(node)
        # Letting go here, before the next is taken: else this node would count as a reader of it.
        node = None
    alive.reverse()
    return alive


def stretch_of(nodes: list[Node]) -> Stretch:
    """Puts nodes, in the order of recording, into a line; finds the key, the leaves and the outputs."""
    key: list[Any] = []
    add = key.append
    leaves: list[Node] = []
    uses = [0]
    count = 1
    for node in nodes:
        add(node.call)
        for read in node.inputs:
            slot = read.slot
            if slot < 0:
                read.slot = slot = count
                count += 1
                leaves.append(read)
                uses.append(1)
            else:
                uses[slot] += 1
            add(slot)
        node.slot = count
        count += 1
        uses.append(0)
    # The loop's variable would count as an owner of the last node that was read.
    read = None
    outputs = []
    add(None)
    for node in nodes:
        slot = node.slot
        node.slot = -1
        # Nobody wants several results together, though whoever records them may hold them still.
        if getrefcount(node) - uses[slot] > _HELD_BY_LIST and type(node.aval) is not tuple:
            outputs.append(node)
            add(slot)
    donated = []
    for node in leaves:
        donated.append(getrefcount(node) - uses[node.slot] <= _HELD_BY_LIST)
        node.slot = -1
    return Stretch(tuple(key), nodes, leaves, outputs, tuple(donated))


def program_of(stretch: Stretch) -> Program:
    """The program that a stretch of recorded work amounts to."""
    steps = []
    slots: dict[int, int] = {id(NONE): 0}
    leaves: list[int] = []
    avals = []
    for node in stretch.nodes:
        for read in node.inputs:
            if id(read) not in slots:
                slots[id(read)] = len(slots)
                leaves.append(slots[id(read)])
                avals.append(read.aval)
        slots[id(node)] = len(slots)
        assert node.call is not None, "a node to compute has a call"
        steps.append(Step(node.call, tuple(slots[id(read)] for read in node.inputs), slots[id(node)]))
    outputs = [slots[id(node)] for node in stretch.outputs]
    return Program(stretch.key, steps, leaves, avals, outputs, len(slots))
