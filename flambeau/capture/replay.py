"""Replaying a captured call: gather buffers, run, put the results into the boxes."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_, itemgetter
from sys import getrefcount
from typing import Any

from flambeau import devices, dtypes
from flambeau.capture.watch import Taken
from flambeau.engine import tiers
from flambeau.engine.flush import Failed, flush, value_of
from flambeau.engine.judge import Entry, Kin, entry_of
from flambeau.graph.node import Aval, Node, leaf
from flambeau.graph.recorder import pending
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
        homes: per result: ("result", slot), ("box", tensor) or ("grad", tensor), several if several tensors
            show it; the tensor may be an :class:`Arg`.
        moved: tensors that come to show what the program does not compute, with its origin as in ``origins`` and its
            device.
        fresh: what is new with each call, per slot: what is returned, and what returned views look at.
        pinned: arguments through which a tensor from outside is written, with that tensor and the way to it.
    """

    def __init__(self, taken: Taken, args: list[Tensor], result: Any, before: dict[int, Tensor]) -> None:
        self.key = taken.stretch.key
        places = {id(tensor): Arg(i) for i, tensor in enumerate(args)}
        self.origins = [places.get(id(o), o) if isinstance(o, Tensor) else o for o in taken.origins]
        self.again = taken.again
        self.modules = taken.modules
        self.leaf_avals = [leaf.aval for leaf in taken.stretch.leaves]
        known = {id(o): o for o in (*taken.origins, *taken.outside) if isinstance(o, Tensor) and id(o) not in places}
        known.update((number, o) for number, o in before.items() if number not in places)
        boxes = [*known.values(), *args]
        owners = {id(t._grad): t for t in boxes if t._grad is not None and id(t._grad) not in known}
        structure, fresh = _with_slots(result, known | places)
        self._build = _builder(structure)
        slots = {id(t): i for i, t in enumerate(fresh)}

        def outside(tensor: Tensor) -> Any:
            return places.get(id(tensor), tensor)

        self.homes = [
            [
                ("result", slots[id(tensor)])
                if id(tensor) in slots
                else ("grad", outside(owners[id(tensor)]))
                if id(tensor) in owners
                else ("box", outside(tensor))
                for tensor in tensors
                # A view from outside is derived anew from what was written.
                if tensor._base is None or id(tensor) in slots or id(tensor) in owners
            ]
            for tensors in taken.homes
        ]
        put = {where for homes in self.homes for what, where in homes if what == "result"}
        origins = [None if i in put else _in_args(taken.origin_of(t._node), places) for i, t in enumerate(fresh)]
        self.fresh = [Fresh(t, slots, args, origin) for t, origin in zip(fresh, origins, strict=True)]
        self.moved = [
            (outside(t), _in_args(origin, places), t.device) for t, origin in taken.moved if id(t) not in slots
        ]
        touched = {id(t) for tensors in (*taken.homes, [t for t, _ in taken.moved]) for t in tensors}
        touched.update(id(f.base) for f in self.fresh)
        self.pinned = [
            (i, outside(t._base), t._chain)
            for i, t in enumerate(args)
            if t._base is not None and id(t._base) in touched
        ]
        self.boxes = list(known.values())
        self._unfinished = [(slot, fresh) for slot, fresh in enumerate(self.fresh) if not fresh.is_plain()]
        self._guards: list[tuple[Tensor, bool, Aval, bool | None]] = []

    def agrees(self, other: Plan) -> bool:
        """Whether both calls did the same with the same tensors."""
        return (
            self.key == other.key
            and _same(self.origins, other.origins)
            and len(self.again) == len(other.again)
            and len(self.homes) == len(other.homes)
            and all(_same(_flat(a), _flat(b)) for a, b in zip(self.homes, other.homes, strict=True))
            and len(self.moved) == len(other.moved)
            and all(_same(list(a), list(b)) for a, b in zip(self.moved, other.moved, strict=True))
            and len(self.fresh) == len(other.fresh)
            and all(a.agrees(b) for a, b in zip(self.fresh, other.fresh, strict=True))
        )

    def settle(self, absent: dict[int, bool] | None) -> None:
        """Notes of what kind the tensors are that the captured call depended on.

        Args:
            absent: whether they had no gradients when it began, by their identities; None for a call that neither
                reads nor writes gradients.
        """

        def had_none(tensor: Tensor) -> bool | None:
            if absent is None or not tensor._rg or tensor._grad_fn is not None:
                return None
            return absent.get(id(tensor), tensor._grad is None)

        self._guards = [(t, t._rg, t._node.aval, had_none(t)) for t in self.boxes]

    def holds(self, args: list[Tensor]) -> bool:
        """Whether everything the captured call depended on is as it was then."""
        if self.pinned and not self._pinned_in(args):
            return False
        for module, training in self.modules.items():
            if module.training is not training:
                return False
        for tensor, requires_grad, aval, absent in self._guards:
            if tensor._rg is not requires_grad or tensor._node.aval is not aval:
                return False
            if absent is not None and (tensor._grad is None) is not absent:
                return False
        return True

    def _pinned_in(self, args: list[Tensor]) -> bool:
        """Whether arguments through which something else is written are the views that they were."""
        for place, base, chain in self.pinned:
            if args[place]._base is not _filled(base, [], args) or args[place]._chain != chain:
                return False
        return True

    def unmade(self, args: list[Tensor], drawn: list[Any]) -> tuple[list[Any], list[Node]]:
        """A place for each new tensor, those that the program does not compute made; and the nodes of what moves."""
        made = [
            None if f.origin is None else wrap(self._origin_now(f.origin, args, drawn, f.device)) for f in self.fresh
        ]
        return made, [self._origin_now(origin, args, drawn, device) for _, origin, device in self.moved]

    def _origin_now(self, origin: Any, args: list[Tensor], drawn: list[Any], device: devices.device) -> Node:
        if isinstance(origin, Arg):
            origin = args[origin.place]
        if isinstance(origin, Tensor):
            return origin._node if origin._base is None else current(origin)
        kind, *where = origin
        value = drawn[where[0]][where[1]] if kind == "source" else where[0]
        return leaf(value, dtypes.from_numpy(value.dtype), device)

    def returned(self, made: list[Any], moved: list[Node], args: list[Tensor]) -> Any:
        """What the call gives, once what was computed has been put where it belongs."""
        for (where, _, _), node in zip(self.moved, moved, strict=True):
            box = _filled(where, made, args)
            box._node = node
            box._writes += 1
        for slot, fresh in self._unfinished:
            fresh.finish(made[slot], made, args)
        return self._build(made, args)


def _flat(homes: list[tuple[str, Any]]) -> list[Any]:
    def order(home: tuple[str, Any]) -> tuple[str, int]:
        what, where = home
        return what, where.place if isinstance(where, Arg) else id(where)

    return [x for home in sorted(homes, key=order) for x in home]


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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slot) and other.place == self.place

    def __hash__(self) -> int:
        return hash(self.place)


class Fresh:
    """A tensor that every call makes anew.

    Attributes:
        base, chain: for a view, what it looks at (a :class:`Slot`, an :class:`Arg`, perhaps itself a view, or a
            tensor), and how.
        layout: strides and offset, where they are not those of a fresh contiguous array.
        grad_fn: for what was differentiated inside: going back again is refused, as it is without capturing.
        is_leaf: whether it is a leaf that requires a gradient.
        origin: where its value comes from if the program does not compute it, as in ``Plan.origins``.
        device: where it is.
    """

    __slots__ = ("base", "chain", "device", "grad_fn", "is_leaf", "layout", "origin")

    def __init__(self, tensor: Tensor, slots: dict[int, int], args: list[Tensor], origin: Any) -> None:
        self.base, self.chain = _seen_from(tensor, slots, args)
        self.layout = tensor._layout if tensor._base is None else None
        self.grad_fn = tensor._grad_fn
        self.is_leaf = tensor._rg and tensor._grad_fn is None
        self.origin = origin
        self.device = tensor.device

    def agrees(self, other: Fresh) -> bool:
        """Whether another call made the same."""
        return (
            (self.base is other.base or (not isinstance(self.base, Tensor) and self.base == other.base))
            and self.chain == other.chain
            and _same([self.origin], [other.origin])
        )

    def is_plain(self) -> bool:
        """Whether a tensor that shows the right values is all."""
        return self.base is None and self.layout is None and not self.is_leaf and self.grad_fn is None

    def finish(self, tensor: Tensor, made: list[Any], args: list[Tensor]) -> None:
        """Gives a tensor that shows the right values what else belongs to it."""
        if self.base is not None:
            base = _filled(self.base, made, args)
            tensor._base = base if base._base is None else base._base
            tensor._chain = base._chain + self.chain
            tensor._seen = tensor._base._writes  # type: ignore[union-attr]
        if self.layout is not None:
            tensor._layout = self.layout
        if self.is_leaf:
            tensor._rg = True
        elif self.grad_fn is not None and not tensor._rg:
            tensor._grad_fn = self.grad_fn
            tensor._rg = True


def _seen_from(view: Tensor, slots: dict[int, int], args: list[Tensor]) -> tuple[Any, tuple[Any, ...]]:
    """What a returned view looks at, an argument if it can be, and the way from there."""
    base, chain = view._base, view._chain
    if base is None:
        return None, ()
    if id(base) in slots:
        return Slot(slots[id(base)]), chain
    for place, arg in enumerate(args):
        way = chain[len(arg._chain) :]
        # Places in the storage are those of this argument alone.
        placed = arg is not base and any(op.name == "as_strided" for op, _ in way)
        if (arg is base or arg._base is base) and chain[: len(arg._chain)] == arg._chain and not placed:
            return Arg(place), way
    return base, chain


def _in_args(origin: Any, places: dict[int, Arg]) -> Any:
    return places.get(id(origin), origin) if isinstance(origin, Tensor) else origin


def _with_slots(result: Any, known: dict[int, Any]) -> tuple[Any, list[Tensor]]:
    """The returned structure, and what it holds that is new; what the views among it look at comes last."""
    fresh: list[Tensor] = []
    slots: dict[int, int] = {}

    def slot(tensor: Tensor) -> Slot:
        if id(tensor) not in slots:
            slots[id(tensor)] = len(fresh)
            fresh.append(tensor)
        return Slot(slots[id(tensor)])

    def walk(part: Any) -> Any:
        if isinstance(part, Tensor):
            if id(part) in known:
                return known[id(part)]
            return slot(part)
        if isinstance(part, tuple) and hasattr(part, "_fields"):
            return tuple.__new__(type(part), [walk(x) for x in part])
        if isinstance(part, list | tuple):
            return type(part)(walk(x) for x in part)
        if isinstance(part, dict):
            return {k: walk(v) for k, v in part.items()}
        return part

    structure = walk(result)
    for base in [t._base for t in fresh if t._base is not None]:
        if id(base) not in known:
            slot(base)
    return structure, fresh


def _filled(place: Any, made: list[Any], args: list[Tensor]) -> Any:
    """What stands at a place: a new tensor, an argument, or a tensor from outside."""
    if isinstance(place, Slot):
        return made[place.place]
    return args[place.place] if isinstance(place, Arg) else place


def _builder(structure: Any) -> Callable[[list[Any], list[Tensor]], Any]:
    """What makes the returned structure, given the new tensors and the arguments that it holds.

    There is a :class:`Slot` in the place of each new tensor, and an :class:`Arg` in that of an argument.
    """
    if isinstance(structure, Slot):
        slot = structure.place
        return lambda made, args: made[slot]
    if isinstance(structure, Arg):
        place = structure.place
        return lambda made, args: args[place]
    if isinstance(structure, dict):
        named = [(key, _builder(part)) for key, part in structure.items()]
        return lambda made, args: {key: build(made, args) for key, build in named}
    if not isinstance(structure, list | tuple):
        return lambda made, args: structure
    kind: Any = type(structure)
    parts = [_builder(part) for part in structure]
    if kind is list:
        return lambda made, args: [build(made, args) for build in parts]
    if len(structure) > 1 and kind is tuple and all(isinstance(part, Slot) for part in structure):
        take = itemgetter(*[part.place for part in structure])
        return lambda made, args: take(made)
    if hasattr(structure, "_fields"):
        # Without its constructor, which may look at what is not there while places stand for it.
        return lambda made, args: tuple.__new__(kind, [build(made, args) for build in parts])
    return lambda made, args: kind([build(made, args) for build in parts])


def _held() -> int:
    """What getrefcount says of a node that one box, and a loop's variable, hold."""
    box = wrap(Node(None, (), None))
    node = box._node
    return getrefcount(node)


_HELD_BY_BOX = _held()
_UNKNOWN = object()


class Replay:
    """A captured call, ready to be done again."""

    def __init__(self, plan: Plan, entry: Entry, donated: tuple[bool, ...], outputs: list[Node]) -> None:
        self.plan = plan
        self.entry = entry
        self._donated = donated
        self._reads: list[tuple[int, Tensor]] = []
        self._given_up: list[tuple[int, Tensor]] = []
        self._args: list[tuple[int, int]] = []
        self._sourced: list[list[tuple[int, int]]] = [[] for _ in plan.again]
        self._numbers: list[Any] = [None] * len(plan.again)
        self._values: list[Any] = [None] * len(plan.origins)
        for i, origin in enumerate(plan.origins):
            if isinstance(origin, Tensor):
                self._reads.append((i, origin))
                if donated[i]:
                    self._given_up.append((i, origin))
            elif isinstance(origin, Arg):
                self._args.append((i, origin.place))
            elif origin[0] == "source":
                self._sourced[origin[1]].append((i, origin[2]))
            else:
                self._values[i] = origin[1]
        for k, places in enumerate(self._sourced):
            if places and all(plan.leaf_avals[i].weak for i, _ in places):
                # Python numbers are mostly those of the last call, which need not be looked at again.
                self._numbers[k] = [_UNKNOWN]
        self._computes_all = not plan.moved and all(fresh.origin is None for fresh in plan.fresh)
        puts = [
            (i, node.aval, what, where)
            for i, (node, homes) in enumerate(zip(outputs, plan.homes, strict=True))
            for what, where in homes
        ]
        self._returned = [(i, aval, where) for i, aval, what, where in puts if what == "result"]
        self._written = [(i, aval, where) for i, aval, what, where in puts if what == "box"]
        self._renewed = [(i, aval, where) for i, aval, what, where in puts if what == "grad"]

    def __call__(self, args: list[Tensor]) -> Any:
        if pending:
            flush()
        template = self._values
        drawn = []
        changed = False
        for k, again in enumerate(self.plan.again):
            fresh = again()
            drawn.append(fresh)
            if self._numbers[k]:
                if all(map(is_, fresh, self._numbers[k])):
                    continue
                self._numbers[k] = fresh
            changed = True
            for i, place in self._sourced[k]:
                template[i] = fresh[place]
        values = template[:]
        donated = self._donated
        for i, tensor in self._reads:
            node = tensor._node if tensor._base is None else current(tensor)
            value = node.value
            if value is None or type(value) is Failed:
                value = value_of(node)
            values[i] = value
        for i, tensor in self._given_up:
            node = tensor._node
            if getrefcount(node) > _HELD_BY_BOX:
                # Somebody else holds it now.
                donated = (*donated[:i], False, *donated[i + 1 :])
        for i, place in self._args:
            tensor = args[place]
            node = tensor._node if tensor._base is None else current(tensor)
            values[i] = value_of(node)
        if self._computes_all:
            made: list[Any] = [None] * len(self.plan.fresh)
            moved: list[Node] = []
        else:
            made, moved = self.plan.unmade(args, drawn)
        for _, _, where in self._renewed:
            # Before the new gradients are made: they can take the places of the old ones.
            (args[where.place] if type(where) is Arg else where)._grad = None
        if tiers.shows(self.entry):
            results = self._shown(values, args, donated)
        else:
            given = values[:]
            results = tiers.execute(self.entry, values, donated, changed)
            if not all(map(is_, values, given)):
                # A tier has put a value into a form of its own: next time it need not.
                for i, node in self._nodes(args).items():
                    node.value = values[i]
        for i, aval, where in self._written:
            box = args[where.place] if type(where) is Arg else where
            box._node = Node(None, (), aval, results[i])
            box._writes += 1
        for i, aval, where in self._renewed:
            (args[where.place] if type(where) is Arg else where)._grad = wrap(Node(None, (), aval, results[i]))
        for i, aval, slot in self._returned:
            made[slot] = wrap(Node(None, (), aval, results[i]))
        return self.plan.returned(made, moved, args)

    def _nodes(self, args: list[Tensor]) -> dict[int, Node]:
        """What shows the values of the leaves that are tensors, by their places."""
        found = {i: tensor._node for i, tensor in self._reads}
        found.update((i, args[place]._node) for i, place in self._args)
        return found

    def _shown(self, values: list[Any], args: list[Tensor], donated: tuple[bool, ...]) -> list[Any]:
        """Runs the program where a tier puts values into another form, or lets them go."""
        shown = tiers.Shown(values, self._nodes(args))
        values.clear()
        return tiers.execute(self.entry, shown, donated)


def replay_of(plan: Plan, taken: Taken, kin: Kin) -> Replay:
    """Makes a captured call ready to be done again; ``kin`` are the other calls of its function."""
    entry = entry_of(taken.stretch)
    entry.join(kin)
    return Replay(plan, entry, taken.stretch.donated, taken.stretch.outputs)
