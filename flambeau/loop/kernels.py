"""The loop as an operation: how NumPy and XLA run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.engine import target
from flambeau.engine.kernels import prepared
from flambeau.func.mapping import for_all
from flambeau.graph.node import Aval, Node
from flambeau.graph.observer import current as looking
from flambeau.graph.op import Op
from flambeau.graph.program import Step
from flambeau.graph.recorder import pending
from flambeau.loop.body import CARRY, Body, Schedule, Total
from flambeau.ops.multiply import HALVES, dot, tensordot
from flambeau.ops.operator import record_body

Planned = tuple[Callable[..., Any], tuple[int, ...], int]


def _loop_rule(*inputs: Any, body: Body) -> Any:
    return body.outs


# ---------------------------------------------------------------- NumPy


class Prepared:
    """A body made ready for NumPy: lists of kernels with the slots they read and write."""

    def __init__(self, body: Body) -> None:
        schedule = body.schedule
        self._body = body
        self._once = [_planned(step) for step in schedule.once]
        self._inside = [_planned(step) for step in schedule.inside]
        varies = [depends > 0 for depends in schedule.depends]
        self._before = [_mapped(step, varies, body.length) for step in schedule.before]
        self._after = [_mapped(step, varies, body.length) for step in schedule.after]
        covered = {slot for pair in schedule.shifted.items() for slot in pair}
        self._kept = [slot for slot in schedule.kept if slot not in covered]

    def run(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The results."""
        body = self._body
        env: list[Any] = [None] * body.slots
        for slot, value in body.constants.items():
            env[slot] = value
        carry = []
        for (slot, kind), array in zip(body.leaves, arrays, strict=True):
            env[slot] = array
            if kind is CARRY:
                carry.append(array)
        for kernel, inputs, slot in self._once + self._before:
            env[slot] = kernel(*[env[i] for i in inputs])
        carry, kept, grown = self._walk(env, carry)
        for slot, values in kept.items():
            env[slot] = values
        for kernel, inputs, slot in self._after:
            env[slot] = kernel(*[env[i] for i in inputs])
        return (
            *carry,
            *[_stacked(np, body, env, slot) for slot in body.stacked],
            *[_summed(np, body, env, total, grown) for total in body.schedule.totals],
        )

    def _walk(self, env: list[Any], carry: list[Any]) -> tuple[list[Any], dict[int, Any], dict[int, Any]]:
        body = self._body
        length, steps = body.length, self._inside
        shift = 0 if body.reverse else 1
        order = range(length - 1, -1, -1) if body.reverse else range(length)
        carried = [slot for slot, kind in body.leaves if kind is CARRY]
        rows = [(slot, env[slot]) for slot in body.schedule.rows]
        kept: dict[int, Any] = {}
        puts: list[tuple[int, Any]] = []
        # A value that is handed on is kept behind what the first step got: both are seen in one buffer.
        for given, new in body.schedule.shifted.items():
            initial = carry[carried.index(given)]
            history = np.empty((length + 1, *initial.shape), initial.dtype)
            history[length if body.reverse else 0] = initial
            kept[given], kept[new] = history[1 - shift : length + 1 - shift], history[shift : length + shift]
            puts.append((new, kept[new]))
        grown: dict[int, Any] = {}
        env = env[:]
        for t in order:
            for slot, values in rows:
                env[slot] = values[t]
            for slot, value in zip(carried, carry, strict=True):
                env[slot] = value
            for kernel, inputs, slot in steps:
                env[slot] = kernel(*[env[i] for i in inputs])
            for slot in self._kept:
                value = env[slot]
                if slot not in kept:
                    kept[slot] = np.empty((length, *value.shape), value.dtype)
                kept[slot][t] = value
            for slot, values in puts:
                values[t] = env[slot]
            for slot in body.schedule.grown:
                grown[slot] = env[slot] if slot not in grown else grown[slot] + env[slot]
            carry = [env[slot] for slot in body.next]
        return carry, kept, grown


def _planned(step: Step) -> Planned:
    return prepared(step.call, step.call.op.numpy, np), step.inputs, step.slot


def _mapped(step: Step, varies: list[bool], length: int) -> Planned:
    return for_all(step.call, [varies[slot] for slot in step.inputs], length), step.inputs, step.slot


def _loop_numpy(xp: Any, *arrays: Any, body: Body) -> Any:
    if body.prepared is None:
        body.prepared = Prepared(body)
    return body.prepared.run(arrays)


# ---------------------------------------------------------------- results, on both tiers


def _stacked(xp: Any, body: Body, env: list[Any], slot: int) -> Any:
    """A slot's values at all steps."""
    value = env[slot]
    if body.schedule.depends[slot]:
        return value
    return xp.broadcast_to(xp.asarray(value), (body.length, *xp.shape(value)))


def _summed(xp: Any, body: Body, env: list[Any], total: Total, grown: dict[int, Any]) -> Any:
    """The sum of a slot's values over all steps."""
    if total.how == "grown":
        return grown[total.slots[0]]
    if total.how == "sum":
        return env[total.slots[0]].sum(0)
    if total.how == "times":
        value = xp.asarray(env[total.slots[0]])
        return value * value.dtype.type(body.length)
    if total.how == "product":
        x, y = [env[slot] for slot in total.slots]
        if total.step.call.op.name == "outer_sum":
            x = x.swapaxes(1, 2)
        stored = body.schedule.stored(total.slots[0])
        as_it_is = x.dtype in HALVES and xp is not np and target.kind() != "cpu"
        if x.dtype.itemsize < 4 and not as_it_is:
            # As every kernel that computes, in float32; accelerators multiply half precision.
            return _product(xp, x.astype(np.float32), y.astype(np.float32), stored).astype(x.dtype)
        return _product(xp, x, y, stored).astype(x.dtype, copy=False)
    parts = [_summed(xp, body, env, part, grown) for part in total.parts]
    if total.how == "add":
        return parts[0] + parts[1]
    call = total.step.call
    return prepared(call, call.op.numpy if xp is np else call.op.lax, xp)(*parts)


def _product(xp: Any, x: Any, y: Any, stored: bool) -> Any:
    """The sum over the steps of products of (T, M, N) and (T, N, K), as one product of matrices."""
    if xp is not np and stored:
        return tensordot(xp, x, y, ((0, 2), (0, 1)))
    # x is itself a turned (T, N, M): turned once more, it is read where it stands. XLA's own product would be faster
    # with a copy, but fuses the copying with what computes x, and reads all of that across its rows.
    rows = x.shape[0] * x.shape[2]
    return dot(xp, x.swapaxes(1, 2).reshape(rows, x.shape[1]).T, y.reshape(rows, y.shape[2]))


# ---------------------------------------------------------------- XLA


def _loop_lax(jnp: Any, *arrays: Any, body: Body) -> Any:
    # Imported here, as wherever only the compiled tier needs it.
    import jax

    schedule = body.schedule
    env: list[Any] = [None] * body.slots
    for slot, value in body.constants.items():
        env[slot] = value
    for (slot, _), array in zip(body.leaves, arrays, strict=True):
        env[slot] = array
    _trace(jnp, schedule.once, env)
    light = {step.slot for step in schedule.light}
    _trace_mapped(jnp, body, [step for step in schedule.before if step.slot not in light], env)
    walk = schedule.light + schedule.inside
    carried = [slot for slot, kind in body.leaves if kind is CARRY]
    types = [out.dtype.numpy for out in body.outs[: len(carried)]]
    shifted = schedule.shifted
    turned = {slot: env[slot].T for slot in _factors(schedule)}
    keep = [slot for slot in dict.fromkeys((*schedule.kept, *shifted.values())) if slot not in shifted]

    def step(state: Any, rows: Any) -> Any:
        carry, sums = state
        inner = env[:]
        for slot, value in zip((*carried, *schedule.light_rows), (*carry, *rows), strict=True):
            inner[slot] = value
        for slot, value in turned.items():
            inner[slot] = value.T
        _trace(jnp, walk, inner)
        handed = [jnp.asarray(inner[slot], t) for slot, t in zip(body.next, types, strict=True)]
        sums = [total + inner[slot] for total, slot in zip(sums, schedule.grown, strict=True)]
        return (handed, sums), [inner[slot] for slot in keep]

    calls = {s.slot: s.call for s in schedule.inside}
    start = [jnp.asarray(env[slot], t) for slot, t in zip(carried, types, strict=True)]
    zeros = [jnp.zeros(calls[slot].out.shape, calls[slot].out.dtype.numpy) for slot in schedule.grown]
    rows = [env[slot] for slot in schedule.light_rows]
    (finals, sums), kept = jax.lax.scan(step, (start, zeros), rows, length=body.length, reverse=body.reverse)
    for slot, values in zip(keep, kept, strict=True):
        env[slot] = values
    for slot, first in zip(carried, start, strict=True):
        if slot in shifted:
            later = env[shifted[slot]]
            pair = (later[1:], first[None]) if body.reverse else (first[None], later[:-1])
            env[slot] = jnp.concatenate(pair)
    _trace_mapped(jnp, body, schedule.after, env)
    grown = dict(zip(schedule.grown, sums, strict=True))
    return (
        *finals,
        *[_stacked(jnp, body, env, slot) for slot in body.stacked],
        *[_summed(jnp, body, env, total, grown) for total in schedule.totals],
    )


def _factors(schedule: Schedule) -> list[int]:
    """Weights of linear layers in the walk: turned before it, lest XLA turn them at every step."""
    linear = [step for step in schedule.inside if step.call.op.name == "linear"]
    return [step.inputs[1] for step in linear if not schedule.depends[step.inputs[1]]]


def _trace(jnp: Any, steps: Sequence[Step], env: list[Any]) -> None:
    for step in steps:
        env[step.slot] = prepared(step.call, step.call.op.lax, jnp)(*[env[i] for i in step.inputs])


def _trace_mapped(jnp: Any, body: Body, steps: Sequence[Step], env: list[Any]) -> None:
    """Does operations for all steps at once."""
    import jax

    if not steps:
        return
    made = [step.slot for step in steps]
    depends = body.schedule.depends
    read = sorted({i for step in steps for i in step.inputs if depends[i]}.difference(made))

    def one(*values: Any) -> Any:
        inner = env[:]
        for slot, value in zip(read, values, strict=True):
            inner[slot] = value
        _trace(jnp, steps, inner)
        return [inner[slot] for slot in made]

    for slot, value in zip(made, jax.vmap(one)(*[env[slot] for slot in read]), strict=True):
        env[slot] = value


LOOP = Op("loop", _loop_rule, numpy=_loop_numpy, lax=_loop_lax, moves=True)
"""Runs a body step after step, as a single operation."""
# The interpreter goes through every operation of every step: compiling nearly always gains.
LOOP.urgent = True


BODIES_KEPT = 1024
_bodies: dict[Any, Body] = {}


def body_of(
    steps: Sequence[Step],
    leaves: Sequence[tuple[int, str]],
    constants: dict[int, Any],
    avals: dict[int, Aval],
    next: Sequence[int],
    stacked: Sequence[int],
    summed: Sequence[int],
    length: int,
    reverse: bool,
) -> Body:
    """The body for these parts: equal parts give the same, so that programs are found again."""
    work = tuple([(step.call, step.inputs, step.slot) for step in steps])
    fixed = tuple([(slot, *_content(value)) for slot, value in constants.items()])
    results = tuple(next), tuple(stacked), tuple(summed)
    key = (work, tuple(leaves), fixed, tuple([avals[slot] for slot, _ in leaves]), results, length, reverse)
    body = _bodies.get(key)
    if body is None:
        if len(_bodies) >= BODIES_KEPT:
            _forget_oldest()
        body = _bodies[key] = Body(steps, leaves, constants, avals, next, stacked, summed, length, reverse)
    return body


def _content(value: Any) -> tuple[Any, ...]:
    """A constant as part of a key."""
    if not hasattr(value, "tobytes"):
        return type(value), repr(value)
    array = np.asarray(value)
    return array.dtype, array.shape, array.tobytes()


def _forget_oldest() -> None:
    """Lets a quarter of the bodies go; dictionaries keep the order of insertion."""
    for key in list(_bodies)[: max(1, BODIES_KEPT // 4)]:
        del _bodies[key]
    kept = set(map(id, _bodies.values()))
    for key in [key for key in LOOP.calls if id(key[0]) not in kept]:
        del LOOP.calls[key]


def run_loop(body: Body, nodes: Sequence[Node]) -> list[Node]:
    """Records a loop as one node; the nodes of its results."""
    start = len(pending)
    parts = record_body(LOOP, body, nodes)
    if looking.observer is not None:
        adopt = getattr(looking.observer, "adopt", None)
        if adopt is not None:
            adopt(start, nodes)
    return parts
