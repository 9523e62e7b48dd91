"""Replaying a captured call: gather buffers, run, put the results into the boxes."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from flambeau.capture.watch import Taken
from flambeau.engine import tiers
from flambeau.engine.flush import Failed, flush, value_of
from flambeau.engine.judge import Entry, Kin, entry_of
from flambeau.graph.node import Node
from flambeau.tensor.tensor import Tensor, current, wrap


class Arg:
    """Stands for the tensor at a position among the arguments."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Arg) and other.place == self.place

    def __hash__(self) -> int:
        return hash(self.place)


class Plan:
    """What a captured call amounts to, in terms that hold for later calls too.

    Two calls with equal plans do the same, so a third can be replayed.

    Attributes:
        key: the structural key of the work.
        origins: per leaf: an :class:`Arg`, a tensor, ("source", which, place) or ("constant", value).
        homes: per result: ("result", place in the returned structure), ("box", tensor) or
            ("grad", tensor), several if several tensors show it.
        structure: the returned structure, with a :class:`Slot` in the place of each new tensor.
    """

    def __init__(self, taken: Taken, args: list[Tensor], result: Any, before: dict[int, Tensor]) -> None:
        self.key = taken.stretch.key
        places = {id(tensor): Arg(i) for i, tensor in enumerate(args)}
        self.origins = [places.get(id(o), o) if isinstance(o, Tensor) else o for o in taken.origins]
        self.again = taken.again
        self.modules = taken.modules
        self.leaf_avals = [leaf.aval for leaf in taken.stretch.leaves]
        known = {id(o): o for o in taken.origins if isinstance(o, Tensor)}
        known.update(before)
        owners = {id(t._grad): t for t in known.values() if t._grad is not None and id(t._grad) not in known}
        self.structure, fresh = _with_slots(result, known)
        # Results that were differentiated inside: going back again is refused, as it is without capturing.
        self.spent = {fresh[id(t)]: t._grad_fn for t in tensors_in(result) if id(t) in fresh and t._grad_fn is not None}
        # What a returned view looks at is held by it alone, and a replay returns no view.
        behind = {id(t._base) for t in tensors_in(result) if t._base is not None and id(t._base) not in known}
        self.homes: list[list[tuple[str, Any]]] = []
        for tensors in taken.homes:
            homes = []
            for tensor in tensors:
                if id(tensor) in behind and id(tensor) not in fresh:
                    continue
                if id(tensor) in fresh:
                    homes.append(("result", fresh[id(tensor)]))
                elif id(tensor) in owners:
                    homes.append(("grad", owners[id(tensor)]))
                else:
                    homes.append(("box", tensor))
            self.homes.append(homes)
        self.boxes = list(known.values())

    def agrees(self, other: Plan) -> bool:
        """Whether both calls did the same with the same tensors."""
        return (
            self.key == other.key
            and _same(self.origins, other.origins)
            and len(self.again) == len(other.again)
            and len(self.homes) == len(other.homes)
            and all(_same(_flat(a), _flat(b)) for a, b in zip(self.homes, other.homes, strict=True))
        )


def _flat(homes: list[tuple[str, Any]]) -> list[Any]:
    return [x for home in sorted(homes, key=lambda home: (home[0], id(home[1]))) for x in home]


def _same(first: list[Any], second: list[Any]) -> bool:
    if len(first) != len(second):
        return False
    for a, b in zip(first, second, strict=True):
        if a is b:
            continue
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            return False
        if isinstance(a, tuple) and isinstance(b, tuple) and a[0] == b[0] == "constant":
            if not _equal(a[1], b[1]):
                return False
        elif a != b:
            return False
    return True


def _equal(a: Any, b: Any) -> bool:
    if hasattr(a, "shape") or hasattr(b, "shape"):
        return getattr(a, "shape", None) == getattr(b, "shape", None) and bool((a == b).all())
    return a == b


class Slot:
    """Stands for a tensor that every call returns anew."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


def _with_slots(result: Any, known: dict[int, Tensor]) -> tuple[Any, dict[int, int]]:
    fresh: dict[int, int] = {}

    def walk(part: Any) -> Any:
        if isinstance(part, Tensor):
            if id(part) in known:
                return part
            return Slot(fresh.setdefault(id(part), len(fresh)))
        if isinstance(part, tuple) and hasattr(part, "_fields"):
            return type(part)(*[walk(x) for x in part])
        if isinstance(part, list | tuple):
            return type(part)(walk(x) for x in part)
        if isinstance(part, dict):
            return {k: walk(v) for k, v in part.items()}
        return part

    return walk(result), fresh


def tensors_in(structure: Any) -> list[Tensor]:
    """The tensors of a nested structure, in order."""
    if isinstance(structure, Tensor):
        return [structure]
    if isinstance(structure, dict):
        structure = structure.values()
    elif not isinstance(structure, list | tuple):
        return []
    return [tensor for part in structure for tensor in tensors_in(part)]


def _filled(structure: Any, made: list[Any]) -> Any:
    if isinstance(structure, Slot):
        return made[structure.place]
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*[_filled(x, made) for x in structure])
    if isinstance(structure, list | tuple):
        return type(structure)(_filled(x, made) for x in structure)
    if isinstance(structure, dict):
        return {k: _filled(v, made) for k, v in structure.items()}
    return structure


def _held() -> int:
    """What getrefcount says of a node that one box, and a loop's variable, hold."""
    box = wrap(Node(None, (), None))
    node = box._node
    return getrefcount(node)


_HELD_BY_BOX = _held()


class Replay:
    """A captured call, ready to be done again."""

    def __init__(self, plan: Plan, entry: Entry, donated: tuple[bool, ...], slots: int) -> None:
        self.plan = plan
        self.entry = entry
        self._donated = donated
        self._reads: list[tuple[int, Tensor]] = []
        self._args: list[tuple[int, int]] = []
        self._sourced: list[list[tuple[int, int]]] = [[] for _ in plan.again]
        self._values: list[Any] = [None] * len(plan.origins)
        self._slots = slots
        for i, origin in enumerate(plan.origins):
            if isinstance(origin, Tensor):
                self._reads.append((i, origin))
            elif isinstance(origin, Arg):
                self._args.append((i, origin.place))
            elif origin[0] == "source":
                self._sourced[origin[1]].append((i, origin[2]))
            else:
                self._values[i] = origin[1]
        self._places = [i for i, _ in (*self._reads, *self._args)]
        self._guards: list[Any] = []
        self._grads: list[Tensor] = []
        self._had_grads: list[bool] = []
        self._puts = [(i, what, where) for i, homes in enumerate(plan.homes) for what, where in homes]
        self._avals: list[Any] = []

    def holds(self) -> bool:
        """Whether everything the captured call depended on is as it was then."""
        for module, training in self.plan.modules.items():
            if module.training is not training:
                return False
        for tensor, requires_grad, aval in self._guards:
            if tensor._rg is not requires_grad or tensor._node.aval is not aval:
                return False
        return all((tensor._grad is None) is none for tensor, none in zip(self._grads, self._had_grads, strict=True))

    def remember_grads(self, before: dict[int, bool]) -> None:
        """Takes over which gradients were absent when the captured call began."""
        self._grads = [t for t in self.plan.boxes if t._rg and t._grad_fn is None]
        self._had_grads = [before.get(id(t), t._grad is None) for t in self._grads]

    def settle(self) -> None:
        """Notes of what kind the tensors are that the captured call depended on."""
        self._guards = [(t, t._rg, t._node.aval) for t in self.plan.boxes]

    def __call__(self, args: list[Tensor]) -> Any:
        from flambeau.graph.recorder import pending

        if pending:
            flush()
        values = self._values
        for places, again in zip(self._sourced, self.plan.again, strict=True):
            fresh = again()
            for i, place in places:
                values[i] = fresh[place]
        donated = self._donated
        nodes = []
        for i, tensor in self._reads:
            node = tensor._node if tensor._base is None else current(tensor)
            value = node.value
            if value is None or type(value) is Failed:
                value = value_of(node)
            values[i] = value
            if donated[i] and getrefcount(node) > _HELD_BY_BOX:
                # Somebody else holds it now.
                donated = (*donated[:i], False, *donated[i + 1 :])
            nodes.append(node)
        for i, place in self._args:
            tensor = args[place]
            node = tensor._node if tensor._base is None else current(tensor)
            values[i] = value_of(node)
            nodes.append(node)
        results = tiers.execute(self.entry, values, donated)
        for i, node in zip(self._places, nodes, strict=True):
            # A tier may have put a value into a form of its own: next time it need not.
            if node.value is not values[i]:
                node.value = values[i]
            values[i] = None
        made: list[Any] = [None] * self._slots
        for i, what, where in self._puts:
            node = Node(None, (), self._avals[i], results[i])
            if what == "box":
                where._node = node
                where._writes += 1
            elif what == "grad":
                where._grad = wrap(node)
            else:
                made[where] = self._returned(node, where)
        return _filled(self.plan.structure, made)

    def _returned(self, node: Node, place: int) -> Tensor:
        tensor = wrap(node)
        grad_fn = self.plan.spent.get(place)
        if grad_fn is not None:
            tensor._grad_fn = grad_fn
            tensor._rg = True
        return tensor


def replay_of(plan: Plan, taken: Taken, kin: Kin) -> Replay:
    """Makes a captured call ready to be done again; ``kin`` are the other calls of its function."""
    entry = entry_of(taken.stretch)
    entry.kin = kin
    slots = 1 + max((where for homes in plan.homes for what, where in homes if what == "result"), default=-1)
    replay = Replay(plan, entry, taken.stretch.donated, slots)
    replay._avals = [node.aval for node in taken.stretch.outputs]
    return replay
