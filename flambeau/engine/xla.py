"""The second tier: one XLA program, compiled for the device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lax.lax import _convert_element_type  # type: ignore[reportPrivateImportUsage]  (makes numbers weak)
from jax._src.lib import xla_client  # type: ignore[reportPrivateImportUsage]  (device_put itself is slow)
from jax.core import ShapedArray
from jax.sharding import SingleDeviceSharding

from flambeau import devices, dtypes
from flambeau.engine import accelerators, peaks, precision, single_kernel, target
from flambeau.engine.dispatch import caller
from flambeau.engine.gap import Gap
from flambeau.engine.kernels import prepared
from flambeau.graph.node import Aval
from flambeau.graph.program import Program

DONATED_BYTES = 4096
"""On the CPU, smaller buffers are not worth the bookkeeping of being reused.

On a GPU they are: XLA launches many kernels at one stroke as long as their buffers are where they were.
"""

MUCH = 200 << 20
"""Bytes of all intermediate results together: from there on the CPU's are ordered so that few are there at a time.

By itself XLA orders them for its threads: a training step of a model of six layers holds 222 megabytes that way and
takes 3 % less time than with 162, and ResNet-18 for eight images 91 instead of 49, which gain it nothing.  With fewer
bytes there is less to spare.
"""
_SPARING = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}

# A Python number that changes enters at full width and is rounded inside, as it is when constant.
_WIDE = {
    dtypes.BOOL: np.dtype(np.bool_),
    dtypes.INTEGER: np.dtype(np.int64),
    dtypes.FLOATING: np.dtype(np.float64),
    dtypes.COMPLEX: np.dtype(np.complex128),
}


def _set_up() -> None:
    """Settings that suit many small programs, on a CPU above all."""
    cache = os.environ.get("FLAMBEAU_CACHE_DIR") or Path.home() / ".cache" / "flambeau" / "xla"
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    # Read once, when the CPU client is made: a hand-over to another thread doubles the cost of a small program.
    jax.config.update("jax_cpu_enable_async_dispatch", False)


_set_up()


class Place:
    """A device as XLA knows it."""

    __slots__ = ("_beat", "_devices", "_sharding", "device", "kind", "name")
    _known: ClassVar[dict[devices.device, Place]] = {}

    def __init__(self, device: devices.device) -> None:
        self.name = device
        self.kind = device.type
        self.device = accelerators.of_jax(device)
        self._devices = [self.device]
        self._sharding = SingleDeviceSharding(self.device)
        if self.kind != "cpu":
            self._beat = jax.device_put(np.zeros((), np.uint32), self.device)

    @classmethod
    def of(cls, device: devices.device) -> Place:
        found = cls._known.get(device)
        if found is None:
            found = cls._known[device] = cls(device)
        return found

    def put(self, array: np.ndarray, aval: Any) -> Any:
        """A host array, in order, as a device array; on the CPU it may share its memory."""
        try:
            if aval.dtype.itemsize < 8:
                return xla_client.batched_device_put(aval, self._sharding, [array], self._devices)
            # Without this, JAX would halve the width on the way.
            with jax.enable_x64(True):
                return xla_client.batched_device_put(aval, self._sharding, [array], self._devices)
        except jax.errors.JaxRuntimeError as error:
            raise accelerators.explained(error, self.name) from error

    def struct(self, aval: Any) -> Any:
        return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=self._sharding)

    def wait(self) -> None:
        """Returns when an accelerator has done what it was given: it keeps the order, and this comes last."""
        try:
            self._beat = _next_beat(self._beat)
            jax.block_until_ready(self._beat)
        except jax.errors.JaxRuntimeError as error:
            raise accelerators.failed(error, self.name) from error

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """What is traced and lowered within is meant for this device, with types as wide as they are said to be."""
        with (
            jax.enable_x64(True),
            jax.default_matmul_precision(precision.for_jax()),
            jax.default_device(self.device),
            target.traced_for(self.kind),
        ):
            try:
                yield
            except jax.errors.JaxRuntimeError as error:
                # XLA may see while it compiles that the memory will not do.
                raise accelerators.explained(error, self.name) from error


@jax.jit
def _next_beat(beat: Any) -> Any:
    return beat + 1


def wait() -> None:
    """Returns when all accelerators in use have done what they were given."""
    for place in list(Place._known.values()):
        if place.kind != "cpu":
            place.wait()


class Compiled:
    """A program compiled by XLA.

    64-bit types are enabled while tracing and nowhere else, so that JAX code in the same process
    keeps its own settings.
    """

    lets_go = False
    __slots__ = (
        "_constants",
        "_execute",
        "_gap",
        "_given",
        "_given_up",
        "_is_reordered",
        "_order",
        "_outputs",
        "_packs",
        "_places",
        "_program",
        "_put",
        "memory",
        "text",
    )

    def __init__(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> None:
        self._program = program
        self._constants = constants
        heirs = _heirs(program, donated)
        self._outputs, self._order = _inherited_order(program, heirs)
        self._is_reordered = self._order != sorted(self._order)
        self._packs = _packs(program, constants)
        packed = {i for leaves, _, _ in self._packs for i, _, _ in leaves} | constants.keys()
        arrays = [i for i in range(len(program.leaves)) if i not in packed]
        self._places = [(i, _shape_of(program.leaf_avals[i]), i in heirs) for i in arrays]
        self._given = [i for i, _, _ in self._places]
        self._given_up = [(k, i) for k, (i, _, given_up) in enumerate(self._places) if given_up]
        positions = tuple(k for k, _ in self._given_up)
        avals = [aval for _, aval, _ in self._places] + [aval for _, aval, _ in self._packs]
        place = Place.of(program.device)
        self._put = place.put
        with place.tracing():
            structs = [place.struct(aval) for aval in avals]
            if place.kind == "cpu":
                options = _SPARING if _intermediate_bytes(program) >= MUCH else None
                compiled = single_kernel.compiled(self._trace, structs, positions, options)
            else:
                compiled = jax.jit(self._trace, donate_argnums=positions, keep_unused=True).lower(*structs).compile()
        self._execute: Callable[[list[Any]], list[Any]] = (
            caller(compiled, len(avals)) if place.kind == "cpu" else lambda arrays: compiled(*arrays)
        )
        self.text = compiled.as_text
        self.memory = compiled.memory_analysis
        # On the CPU all that lies between arguments and results is one block, taken anew for each run.
        needed = self.memory() if place.kind == "cpu" else None
        outs = _out_avals(program)
        fresh = [outs[slot].nbytes for slot in self._outputs[len(heirs) :]]
        self._gap = Gap.of(needed.temp_size_in_bytes, fresh) if needed is not None else None

    def _trace(self, *arrays: Any) -> list[Any]:
        program = self._program
        env: list[Any] = [None] * program.slots
        for i, value in self._constants.items():
            env[program.leaves[i]] = value
        for (i, _, _), array in zip(self._places, arrays, strict=False):
            env[program.leaves[i]] = array
        for (leaves, _, weak), pack in zip(self._packs, arrays[len(self._places) :], strict=True):
            for i, start, aval in leaves:
                part = pack[start : start + aval.size].reshape(aval.shape) if aval.shape else pack[start]
                env[program.leaves[i]] = _convert_element_type(part, weak_type=True) if weak else part
        for step in program.steps:
            kernel = prepared(step.call, step.call.op.lax, jnp)
            env[step.slot] = kernel(*[env[slot] for slot in step.inputs])
        results = [env[slot] for slot in self._outputs]
        outs = _out_avals(program)
        wanted = [outs[slot].dtype.numpy for slot in self._outputs]
        return [jnp.asarray(result, dtype=t) for result, t in zip(results, wanted, strict=True)]

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        """Results as device arrays; buffers that nobody reads again are given up.

        Host arrays among the values are replaced, in the list, by the device arrays made of them.
        """
        buffers = [values[i] for i in self._given]
        for kind in map(type, buffers):
            if kind is not _ARRAY:
                buffers = self._taken_over(values)
                break
        for k, i in self._given_up:
            if not donated[i]:
                buffers[k] = buffers[k].copy()
        for leaves, aval, _ in self._packs:
            buffers.append(self._put(np.array([values[i] for i, _, _ in leaves], dtype=aval.dtype), aval))
        if self._gap is not None:
            self._gap.restore()
        results = self._execute(buffers)
        return [results[place] for place in self._order] if self._is_reordered else results

    def _taken_over(self, values: list[Any]) -> list[Any]:
        """The values of all places as device arrays; those made of host arrays stay among the values."""
        buffers = []
        for i, aval, give_up in self._places:
            value = values[i]
            if type(value) is not _ARRAY:
                value = self._placed(value, aval, give_up)
                if not give_up:
                    values[i] = value
            buffers.append(value)
        return buffers

    def prepare(self, values: list[Any]) -> None:
        """Puts host arrays onto the device, as the first of many runs would; None is for what is not known yet."""
        for i, aval, give_up in self._places:
            value = values[i]
            if type(value) is not _ARRAY and value is not None:
                values[i] = self._placed(value, aval, give_up)

    def _placed(self, value: Any, aval: Any, give_up: bool) -> Any:
        """A host array as a device array; with memory of its own where a result may take that over.

        What is aligned as XLA wants it is shared with the host; that is never given up, and another value may read it.
        """
        array = np.asarray(value, dtype=aval.dtype, order="C")
        there = self._put(array, aval)
        if give_up and there.unsafe_buffer_pointer() == array.__array_interface__["data"][0]:
            return there.copy()
        return there

    def wait(self, results: list[Any]) -> None:
        jax.block_until_ready(results)


class _Sent:
    """Numbers that an accelerator has already: as they were given, as bytes, and there."""

    __slots__ = ("buffer", "content", "given")

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.content = b""
        self.buffer: Any = None


class Offloaded(Compiled):
    """A program compiled for an accelerator.

    A value that belongs there is kept there from its first use on.  What the CPU holds is handed over: numbers
    together in few vectors, which stay while they are the same, and arrays that the program itself moves.  What it
    moves to the CPU arrives there before ``run`` returns; all else may still be computed then.
    """

    __slots__ = ("_account", "_fetched", "_moved", "_sent")

    def __init__(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> None:
        super().__init__(program, donated, constants)
        outs = _out_avals(program)
        avals = program.leaf_avals
        self._moved = [(i, aval, give_up, avals[i].device is not program.device) for i, aval, give_up in self._places]
        self._fetched = [k for k, slot in enumerate(program.outputs) if outs[slot].device is not program.device]
        self._sent = [_Sent() for _ in self._packs]
        self._account = self.memory()

    def run(self, values: list[Any], donated: tuple[bool, ...]) -> list[Any]:
        put = self._put
        buffers = []
        for i, aval, give_up, from_cpu in self._moved:
            value = values[i]
            if from_cpu:
                value = put(np.asarray(value, dtype=aval.dtype, order="C"), aval)
            elif type(value) is not _ARRAY:
                value = put(np.asarray(value, dtype=aval.dtype, order="C"), aval)
                if not donated[i]:
                    values[i] = value.copy() if give_up else value
            elif give_up and not donated[i]:
                value = value.copy()
            buffers.append(value)
        buffers.extend(self._numbers(values))
        if peaks.resets:
            peaks.note(accelerators.of_jax(self._program.device), self._account)
        accelerators.started.append(self._program)
        try:
            results = self._execute(buffers)
            found = [results[place] for place in self._order]
            for k in self._fetched:
                found[k] = np.asarray(found[k])
        except jax.errors.JaxRuntimeError as error:
            raise accelerators.failed(error, self._program.device) from error
        return found

    def _numbers(self, values: list[Any]) -> list[Any]:
        for sent, (leaves, aval, _) in zip(self._sent, self._packs, strict=True):
            given = [values[i] for i, _, _ in leaves]
            if len(sent.given) == len(given) and all(map(is_, sent.given, given)):
                continue
            pack = np.concatenate([np.ravel(value) for value in given], dtype=aval.dtype, casting="unsafe")
            content = pack.tobytes()
            if content != sent.content:
                sent.content = content
                sent.buffer = self._put(pack, aval)
            sent.given = given
        return [sent.buffer for sent in self._sent]

    def prepare(self, values: list[Any]) -> None:
        """Nothing: ``run`` does it."""


def _shaped(shape: tuple[int, ...], numpy_dtype: np.dtype) -> Any:
    with jax.enable_x64(True):
        return ShapedArray(shape, numpy_dtype)


_ARRAY = type(Place.of(devices.cpu).put(np.zeros(1, np.float32), _shaped((1,), np.dtype(np.float32))))


def _shape_of(aval: Aval) -> Any:
    return _shaped(aval.shape, aval.dtype.numpy)


def put(value: Any, aval: Aval) -> Any:
    """An array, wherever it is, on the device where it belongs."""
    shaped = _shape_of(aval)
    return Place.of(aval.device).put(np.asarray(value, dtype=shaped.dtype, order="C"), shaped)


_Pack = tuple[list[tuple[int, int, Aval]], Any, bool]


def _packs(program: Program, constants: dict[int, Any]) -> list[_Pack]:
    """Numbers as a vector of each type, since handing over each would take longer.

    Python's own, if they change; for an accelerator also what the host holds anyway: tensors of the CPU without
    dimensions, and random keys.

    Returns:
        Per vector: its leaves with their places in it, its abstract value, and whether the numbers are weak.
    """
    packs: dict[tuple[np.dtype, bool], list[tuple[int, int, Aval]]] = {}
    for i, aval in enumerate(program.leaf_avals):
        if i in constants:
            continue
        if aval.weak or (program.device is not devices.cpu and _is_held_by_host(aval)):
            dtype = _WIDE[aval.dtype.category] if aval.weak else aval.dtype.numpy
            leaves = packs.setdefault((dtype, aval.weak), [])
            leaves.append((i, _end(leaves), aval))
    return [(leaves, _shaped((_end(leaves),), dtype), weak) for (dtype, weak), leaves in packs.items()]


def _end(leaves: list[tuple[int, int, Aval]]) -> int:
    return leaves[-1][1] + leaves[-1][2].size if leaves else 0


def _is_held_by_host(aval: Aval) -> bool:
    is_random_key = aval.dtype is dtypes.uint32 and aval.shape == (2,)
    return is_random_key or (not aval.shape and aval.device is devices.cpu)


def _intermediate_bytes(program: Program) -> int:
    """What all results of operations that compute something take together."""
    outs = [step.call.out for step in program.steps if not step.call.op.moves and step.call.op.name != "project"]
    return sum(aval.nbytes for out in outs for aval in (out if isinstance(out, tuple) else (out,)))


def _out_avals(program: Program) -> dict[int, Any]:
    return {step.slot: step.call.out for step in program.steps}


def _heirs(program: Program, donated: tuple[bool, ...]) -> dict[int, int]:
    """For each leaf whose buffer may be given up, the place of the result that takes it over.

    Any result of the same shape and type could; the best is the leaf's own next value, since then nothing
    need be copied out of the way.  That is a result of a step that reads the leaf: where a step reads
    several leaves of one kind and has several results of it, the first goes to the first.
    """
    outs = _out_avals(program)
    wanted = {slot: place for place, slot in enumerate(program.outputs)}
    leaves = {program.leaves[i]: i for i, given in enumerate(donated) if given and _is_reusable(program, i)}
    parts = _projections(program)
    heirs: dict[int, int] = {}
    for step in reversed(program.steps):
        results = [slot for slot in parts.get(step.slot, (step.slot,)) if slot in wanted]
        for slot in dict.fromkeys(step.inputs):
            i = leaves.get(slot)
            if i is None or i in heirs:
                continue
            kind = _kind(program.leaf_avals[i])
            heir = next((result for result in results if _kind(outs[result]) == kind), None)
            if heir is not None:
                results.remove(heir)
                heirs[i] = wanted.pop(heir)
    for i in leaves.values():
        kind = _kind(program.leaf_avals[i])
        heir = next((result for result in wanted if i not in heirs and _kind(outs[result]) == kind), None)
        if heir is not None:
            heirs[i] = wanted.pop(heir)
    return heirs


def _is_reusable(program: Program, i: int) -> bool:
    aval = program.leaf_avals[i]
    if aval.weak or aval.device is not program.device:
        return False
    return aval.nbytes >= DONATED_BYTES if aval.device is devices.cpu else not _is_held_by_host(aval)


def _kind(aval: Aval) -> tuple[Any, ...]:
    return aval.shape, aval.dtype


def _projections(program: Program) -> dict[int, list[int]]:
    """The slots of the several results of a step, by the step's slot."""
    parts: dict[int, list[int]] = {}
    for step in program.steps:
        if isinstance(step.call.out, tuple):
            parts[step.slot] = []
        elif step.inputs and step.inputs[0] in parts and step.call.op.name == "project":
            parts[step.inputs[0]].append(step.slot)
    return parts


def _inherited_order(program: Program, heirs: dict[int, int]) -> tuple[list[int], list[int]]:
    """The results' slots in the order for JAX, and for each result its place in that order.

    JAX gives the buffers of donated arguments to the results of their kind in order, so heirs come first,
    in the order of the leaves.
    """
    places = [heirs[i] for i in sorted(heirs)]
    taken = set(places)
    places += [place for place in range(len(program.outputs)) if place not in taken]
    order = [0] * len(places)
    for position, place in enumerate(places):
        order[place] = position
    return [program.outputs[place] for place in places], order


def run_step(call: Any, values: list[Any], device: devices.device) -> list[Any]:
    """One operation by itself, for the debug mode and for finding which of many failed."""
    place = Place.of(device)
    with place.tracing():
        kernel = prepared(call, call.op.lax, jnp)
        given = [jnp.asarray(v) if isinstance(v, np.ndarray | np.generic) else v for v in values]
        results = jax.jit(kernel)(*given)
    return list(results) if isinstance(results, tuple | list) else [results]
