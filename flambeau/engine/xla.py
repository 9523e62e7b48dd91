"""The second tier: one XLA program, compiled for the device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lax.lax import _convert_element_type  # type: ignore[reportPrivateImportUsage]  (makes numbers weak)
from jax._src.lib import xla_client  # type: ignore[reportPrivateImportUsage]  (device_put itself is slow)
from jax.core import ShapedArray
from jax.sharding import SingleDeviceSharding

from flambeau import dtypes
from flambeau.engine import precision
from flambeau.engine.kernels import prepared
from flambeau.graph.node import Aval
from flambeau.graph.program import Program

DONATED_BYTES = 4096
"""Smaller buffers are not worth the bookkeeping of being reused."""

# A Python number that changes enters at full width and is rounded inside, as it is when constant.
_WIDE = {
    dtypes.BOOL: np.dtype(np.bool_),
    dtypes.INTEGER: np.dtype(np.int64),
    dtypes.FLOATING: np.dtype(np.float64),
    dtypes.COMPLEX: np.dtype(np.complex128),
}


def _set_up() -> Any:
    """Finds the device, once, with settings that suit many small programs on a CPU."""
    cache = os.environ.get("FLAMBEAU_CACHE_DIR") or Path.home() / ".cache" / "flambeau" / "xla"
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    # Read once, when the CPU client is made: a hand-over to another thread doubles the cost of a small program.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return jax.local_devices(backend="cpu")[0]


_DEVICE = _set_up()
_SHARDING = SingleDeviceSharding(_DEVICE)


class Compiled:
    """A program compiled by XLA.

    64-bit types are enabled while tracing and nowhere else, so that JAX code in the same process
    keeps its own settings.
    """

    __slots__ = ("_constants", "_execute", "_order", "_outputs", "_packs", "_places", "_program", "memory", "text")

    def __init__(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> None:
        self._program = program
        self._constants = constants
        heirs = _heirs(program, donated)
        self._outputs, self._order = _inherited_order(program, heirs)
        arrays = [i for i, aval in enumerate(program.leaf_avals) if not aval.weak]
        self._places = [(i, _shape_of(program.leaf_avals[i]), i in heirs) for i in arrays]
        self._packs = _packs(program, constants)
        positions = tuple(p for p, (_, _, given) in enumerate(self._places) if given)
        avals = [aval for _, aval, _ in self._places] + [aval for _, aval in self._packs]
        with jax.enable_x64(True), jax.default_matmul_precision(precision.for_jax()):
            jitted = jax.jit(self._trace, donate_argnums=positions, keep_unused=True)
            compiled = jitted.lower(*[_struct(aval) for aval in avals]).compile()
        self._execute = compiled
        self.text = compiled.as_text
        self.memory = compiled.memory_analysis

    def _trace(self, *arrays: Any) -> list[Any]:
        program = self._program
        env: list[Any] = [None] * program.slots
        for i, value in self._constants.items():
            env[program.leaves[i]] = value
        for (i, _, _), array in zip(self._places, arrays, strict=False):
            env[program.leaves[i]] = array
        for (leaves, _), pack in zip(self._packs, arrays[len(self._places) :], strict=True):
            for k, i in enumerate(leaves):
                env[program.leaves[i]] = _convert_element_type(pack[k], weak_type=True)
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
        buffers = []
        for i, aval, give_up in self._places:
            value = values[i]
            if type(value) is _ARRAY:
                if give_up and not donated[i]:
                    value = value.copy()
            elif give_up:
                # A host array may share its memory with another value: it is never given up itself.
                value = _put(np.array(value, dtype=aval.dtype, order="C"), aval)
            else:
                values[i] = value = _put(np.asarray(value, dtype=aval.dtype, order="C"), aval)
            buffers.append(value)
        for leaves, aval in self._packs:
            buffers.append(_put(np.array([values[i] for i in leaves], dtype=aval.dtype), aval))
        results = self._execute(*buffers)
        return [results[place] for place in self._order]

    def prepare(self, values: list[Any]) -> None:
        """Puts host arrays onto the device, as the first of many runs would."""
        for i, aval, _ in self._places:
            if type(values[i]) is not _ARRAY:
                values[i] = _put(np.array(values[i], dtype=aval.dtype, order="C"), aval)

    def wait(self, results: list[Any]) -> None:
        jax.block_until_ready(results)


def _put(array: np.ndarray, aval: Any) -> Any:
    """A host array, in order, as a device array; it may share its memory."""
    if aval.dtype.itemsize < 8:
        return xla_client.batched_device_put(aval, _SHARDING, [array], [_DEVICE])
    # Without this, JAX would halve the width on the way.
    with jax.enable_x64(True):
        return xla_client.batched_device_put(aval, _SHARDING, [array], [_DEVICE])


def _shaped(shape: tuple[int, ...], numpy_dtype: np.dtype) -> Any:
    with jax.enable_x64(True):
        return ShapedArray(shape, numpy_dtype)


_ARRAY = type(_put(np.zeros(1, np.float32), _shaped((1,), np.dtype(np.float32))))


def _shape_of(aval: Aval) -> Any:
    return _shaped(aval.shape, aval.dtype.numpy)


def _packs(program: Program, constants: dict[int, Any]) -> list[tuple[list[int], Any]]:
    """Python numbers that change, together as one vector of each category: handing over each would take longer."""
    packs: dict[np.dtype, list[int]] = {}
    for i, aval in enumerate(program.leaf_avals):
        if aval.weak and i not in constants:
            packs.setdefault(_WIDE[aval.dtype.category], []).append(i)
    return [(leaves, _shaped((len(leaves),), wide)) for wide, leaves in packs.items()]


def _struct(aval: Any) -> Any:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=_SHARDING)


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
    leaves = {program.leaves[i]: i for i, given in enumerate(donated) if given and _is_large(program.leaf_avals[i])}
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


def _is_large(aval: Aval) -> bool:
    return not aval.weak and aval.nbytes >= DONATED_BYTES


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


def run_step(call: Any, values: list[Any]) -> list[Any]:
    """One operation by itself, for the debug mode."""
    with jax.enable_x64(True):
        kernel = prepared(call, call.op.lax, jnp)
        given = [jnp.asarray(v) if isinstance(v, np.ndarray | np.generic) else v for v in values]
        results = jax.jit(kernel)(*given)
    return list(results) if isinstance(results, tuple | list) else [results]
