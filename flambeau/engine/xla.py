"""The second tier: one XLA program, compiled for the device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.lib import xla_client  # type: ignore[reportPrivateImportUsage]  (device_put itself is slow)
from jax.core import ShapedArray
from jax.sharding import SingleDeviceSharding

from flambeau import dtypes
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

    name = "compiled"
    __slots__ = ("_constants", "_execute", "_places", "_program", "_taken", "text")

    def __init__(self, program: Program, donated: tuple[bool, ...], constants: dict[int, Any]) -> None:
        self._program = program
        self._constants = constants
        self._taken = [i for i in range(len(program.leaves)) if i not in constants]
        avals = [_shape_of(program.leaf_avals[i]) for i in self._taken]
        usable = _donatable(program, donated)
        self._places = [(i, aval, i in usable) for i, aval in zip(self._taken, avals, strict=True)]
        positions = tuple(p for p, (_, _, given) in enumerate(self._places) if given)
        with jax.enable_x64(True):
            jitted = jax.jit(self._trace, donate_argnums=positions, keep_unused=True)
            compiled = jitted.lower(*[_struct(aval) for aval in avals]).compile()
        executable = compiled.runtime_executable()
        assert executable is not None
        self._execute = executable.execute_sharded
        self.text = compiled.as_text

    def _trace(self, *arrays: Any) -> list[Any]:
        program = self._program
        env: list[Any] = [None] * program.slots
        for i, value in self._constants.items():
            env[program.leaves[i]] = value
        for i, array in zip(self._taken, arrays, strict=True):
            env[program.leaves[i]] = array
        for step in program.steps:
            kernel = prepared(step.call, step.call.op.lax, jnp)
            env[step.slot] = kernel(*[env[slot] for slot in step.inputs])
        results = [env[slot] for slot in program.outputs]
        wanted = [_out_aval(program, slot).dtype.numpy for slot in program.outputs]
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
            elif aval.weak_type:
                value = _put(np.asarray(value, dtype=aval.dtype), aval)
            else:
                values[i] = value = _put(np.asarray(value, dtype=aval.dtype, order="C"), aval)
            buffers.append(value)
        results = self._execute(buffers).disassemble_into_single_device_arrays()
        return [shards[0] for shards in results]

    def wait(self, results: list[Any]) -> None:
        jax.block_until_ready(results)


def _put(array: np.ndarray, aval: Any) -> Any:
    """A host array, in order, as a device array; it may share its memory."""
    if aval.dtype.itemsize < 8:
        return xla_client.batched_device_put(aval, _SHARDING, [array], [_DEVICE])
    # Without this, JAX would halve the width on the way.
    with jax.enable_x64(True):
        return xla_client.batched_device_put(aval, _SHARDING, [array], [_DEVICE])


def _shaped(shape: tuple[int, ...], numpy_dtype: np.dtype, weak: bool) -> Any:
    with jax.enable_x64(True):
        return ShapedArray(shape, numpy_dtype, weak_type=weak)


_ARRAY = type(_put(np.zeros(1, np.float32), _shaped((1,), np.dtype(np.float32), False)))


def _shape_of(aval: Aval) -> Any:
    return _shaped(aval.shape, _WIDE[aval.dtype.category] if aval.weak else aval.dtype.numpy, aval.weak)


def _struct(aval: Any) -> Any:
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, sharding=_SHARDING, weak_type=aval.weak_type)


def _out_aval(program: Program, slot: int) -> Aval:
    return next(step.call.out for step in program.steps if step.slot == slot)


def _donatable(program: Program, donated: tuple[bool, ...]) -> set[int]:
    """Positions of leaves whose buffers a result of the same shape and type can take over."""
    room: dict[tuple[Any, ...], int] = {}
    outs = {step.slot: step.call.out for step in program.steps}
    for slot in program.outputs:
        aval = outs[slot]
        room[aval.shape, aval.dtype] = room.get((aval.shape, aval.dtype), 0) + 1
    usable = set()
    for i, aval in enumerate(program.leaf_avals):
        if not donated[i] or aval.weak or aval.nbytes < DONATED_BYTES:
            continue
        if room.get((aval.shape, aval.dtype), 0):
            room[aval.shape, aval.dtype] -= 1
            usable.add(i)
    return usable


def run_step(call: Any, values: list[Any]) -> list[Any]:
    """One operation by itself, for the debug mode."""
    with jax.enable_x64(True):
        kernel = prepared(call, call.op.lax, jnp)
        given = [jnp.asarray(v) if isinstance(v, np.ndarray | np.generic) else v for v in values]
        results = jax.jit(kernel)(*given)
    return list(results) if isinstance(results, tuple | list) else [results]
