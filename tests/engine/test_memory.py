"""What the process keeps of freed memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import flambeau as torch
from flambeau import engine
from flambeau.engine import judge
from flambeau.graph.program import stretch_of

KEEPING = """
import sys
import flambeau as torch
from flambeau import engine
from flambeau.engine.gap import Gap

if sys.argv[1] == "without":
    Gap.of = classmethod(lambda cls, *sizes: None)


def resident():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


engine.set_tier("compiled")
left = torch.ones(4096, 32)
held = []
most = 0
for i in range(30):
    result = (left @ left.t()).exp() @ left
    result.tolist()
    if i == 0:
        (entry,) = [e for e in engine.judge.entries.values() if len(e.program.steps) > 2]
        needed = entry.forms["compiled"].executable.memory().temp_size_in_bytes
        before = resident()
    # What outlives the step lies beside what the step has freed.
    held.append([bytes(size) for size in range(600, 40_000, 5_000)])
    most = max(most, resident())
print(needed, most - before)
"""


def _keeping(how: str) -> tuple[int, int]:
    command = [sys.executable, "-c", KEEPING, how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    needed, more = map(int, done.stdout.split())
    return needed, more


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is the GNU library's")
def test_what_a_compiled_program_takes_is_not_kept_twice():
    needed, more = _keeping("with")
    assert needed >= 4096 * 4096 * 4
    # Half a block is products and what is held; a gap that had to be moved once may leave another. Without gaps it is
    # two blocks and a half, or four and more.
    assert more < 1.5 * needed


ONE_PLACE = """
import ctypes
import sys
from flambeau.engine import gap, memory

SIZE = 1 << 25
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.aligned_alloc.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.aligned_alloc.argtypes = ctypes.c_size_t, ctypes.c_size_t
libc.free.argtypes = (ctypes.c_void_p,)


def run(*meanwhile):
    room.restore()
    results = [libc.aligned_alloc(64, size) for size in sizes]
    places.append(libc.aligned_alloc(64, SIZE))
    held = [libc.malloc(size) for size in meanwhile]
    for block in (places[-1], *held[:1], *results):
        libc.free(block)


memory.keep_freed_memory()
sizes = list(map(int, sys.argv[1:]))
room = gap.Gap.of(SIZE, sizes)
places = []
for _ in range(40):
    run()
if not sizes:
    run(SIZE + 4096, SIZE)
    for _ in range(40):
        run()
print(max(places) - min(places) < gap.SPARE)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is the GNU library's")
@pytest.mark.parametrize("results", [[], [1 << 21] * 5], ids=["another fits better", "after results"])
def test_a_program_s_block_stays_in_its_place(results):
    command = [sys.executable, "-c", ONE_PLACE, *map(str, results)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_a_host_array_that_a_result_may_take_over_gets_memory_of_its_own():
    xla = pytest.importorskip("flambeau.engine.xla")
    room = np.zeros(5000, np.float32)
    # XLA shares what begins at such an address.
    first = -room.ctypes.data % 64 // 4
    given = room[first : first + 4096]
    x = torch.zeros(4096)
    engine.flush()
    entry = judge.Entry(stretch_of([(x + 1)._node]))
    compiled = xla.Compiled(entry.program, (True, False), dict(entry.constants))
    values = [given, 1]
    compiled.prepare(values)
    place = values[0].unsafe_buffer_pointer()
    assert place != given.ctypes.data
    (result,) = compiled.run(values, (True, False))
    assert result.unsafe_buffer_pointer() == place
    assert given.tolist() == [0.0] * 4096


@pytest.mark.parametrize("captured", [False, True], ids=["plain", "captured"])
def test_an_interpreted_step_holds_old_and_new_weights_of_one_parameter_at_a_time(interpreter, captured):
    count, size = 6, 1 << 20
    tracemalloc.start()
    params = [torch.nn.Parameter(torch.full((size,), float(i))) for i in range(count)]
    optimizer = torch.optim.SGD(params, lr=0.5, momentum=0.5)

    def step():
        optimizer.zero_grad()
        loss = sum(p.sum() for p in params)
        loss.backward()
        optimizer.step()

    run = torch.compile(step) if captured else step
    try:
        for _ in range(3):
            run()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        run()
        engine.synchronize()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What one parameter's update makes: new gradients take the places of old ones.
    assert peak - before <= 4 * size * 4
    # 1, then 1.5, 1.75 and 1.875 times the gradient, each times the learning rate.
    assert [float(p[0]) for p in params] == [i - 0.5 * (1 + 1.5 + 1.75 + 1.875) for i in range(count)]


def test_a_step_that_fails_leaves_weights_that_are_not_given_up(interpreter):
    param = torch.nn.Parameter(torch.ones(1 << 22))
    table = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = torch.optim.SGD([param, table], lr=1.0)

    def step(at):
        optimizer.zero_grad()
        (param.sum() + torch.nn.functional.embedding(at, table).sum()).backward()
        optimizer.step()

    step = torch.compile(step)
    for _ in range(3):
        step(torch.tensor([1]))
    with pytest.raises(IndexError, match="index"):
        step(torch.tensor([7]))
    assert param[:2].tolist() == [-2.0, -2.0]
    assert table.tolist() == [[1.0, 1.0], [-2.0, -2.0], [1.0, 1.0]]
