"""The main process's side of worker processes."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import multiprocessing.reduction
import pickle
import signal
import sys
import threading
import time
import weakref
from multiprocessing.connection import Connection, wait
from typing import Any

from flambeau.utils.data._utils import worker


def context_for(wanted: Any) -> Any:
    """The multiprocessing context that starts workers.

    Processes start from a server that has no threads ("forkserver"), or anew ("spawn"): a copy ("fork") of a process
    in which XLA's threads run can hang.

    Raises:
        ValueError: if a copy is asked for and XLA was started.
    """
    if wanted is None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(["flambeau.utils.data._utils.worker"])
        return context
    context = multiprocessing.get_context(wanted) if isinstance(wanted, str) else wanted
    if context.get_start_method() == "fork" and "jaxlib" in sys.modules:
        raise ValueError(
            "multiprocessing_context='fork' copies a process in which XLA's threads may hold locks, which can hang: "
            "use 'forkserver' or 'spawn'"
        )
    return context


def _packed(settings: dict[str, Any]) -> bytes:
    packed = io.BytesIO()
    try:
        multiprocessing.reduction.ForkingPickler(packed, 5).dump(settings)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RuntimeError(
            f"the dataset, collate_fn or worker_init_fn cannot be sent to worker processes: {error}. They are started "
            "anew, not copied: define classes and functions at the top level of a module, or use num_workers=0."
        ) from error
    return packed.getvalue()


class Pool:
    """Worker processes, each with a pipe for tasks and one for batches.

    A thread takes in whatever comes, so that no worker waits to send, and sees at once when one dies.

    Args:
        context: what starts processes.
        count: how many.
        settings: what each is told, besides its number.
    """

    def __init__(self, context: Any, count: int, settings: dict[str, Any]) -> None:
        self.count = count
        self._arrived: dict[int, Any] = {}
        self._dead: dict[int, str] = {}
        self._news = threading.Condition()
        self._tasks: list[Connection] = []
        self._sources: list[Connection] = []
        self._processes: list[Any] = []
        for number in range(count):
            packed = _packed({**settings, "worker": number, "count": count})
            tasks_out, tasks_in = context.Pipe(False)
            results_out, results_in = context.Pipe(False)
            process = context.Process(target=worker.run, args=(tasks_out, results_in, packed), daemon=True)
            process.start()
            tasks_out.close()
            results_in.close()
            self._tasks.append(tasks_in)
            self._sources.append(results_out)
            self._processes.append(process)
        self._wake_out, self._wake_in = multiprocessing.Pipe(False)
        shared = (self._sources, self._processes, self._wake_out, self._arrived, self._dead, self._news)
        self._thread = threading.Thread(target=_take_in, args=shared, daemon=True)
        self._thread.start()
        parts = (self._tasks, self._processes, self._wake_in, self._thread)
        self.close = weakref.finalize(self, _shut_down, *parts)

    @property
    def pids(self) -> list[int]:
        """The processes' numbers."""
        return [process.pid for process in self._processes]

    def give(self, number: int, task: int, indices: Any) -> None:
        """Gives a worker a task."""
        try:
            self._tasks[number].send((task, indices))
        except (BrokenPipeError, ConnectionResetError, OSError):
            # It has died; whoever waits for the batch is told why.
            self._wait_for_death(number)

    def _wait_for_death(self, number: int) -> None:
        with self._news:
            self._news.wait_for(lambda: number in self._dead, 5)

    def take(self, tasks: list[int], timeout: float) -> tuple[int, Any]:
        """The first of some tasks that is done, and its batch.

        Raises:
            RuntimeError: if a worker has died, or nothing came within the time (0: no limit).
        """
        end = time.monotonic() + timeout if timeout > 0 else None
        with self._news:
            while True:
                for task in tasks:
                    if task in self._arrived:
                        return task, self._arrived.pop(task)
                if self._dead:
                    self._report()
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise RuntimeError(f"DataLoader timed out after {timeout} seconds")
                self._news.wait(left)

    def _report(self) -> None:
        pids = ", ".join(str(self._processes[number].pid) for number in self._dead)
        reasons = "; ".join(f"worker {number} {reason}" for number, reason in self._dead.items())
        raise RuntimeError(
            f"DataLoader worker (pid(s) {pids}) exited unexpectedly: {reasons}. If it was killed, it may have been for "
            "lack of memory; if it could not start, the program's main part must stand under "
            "`if __name__ == '__main__':`."
        )


def _take_in(
    sources: list[Connection],
    processes: list[Any],
    wake: Connection,
    arrived: dict[int, Any],
    dead: dict[int, str],
    news: threading.Condition,
) -> None:
    open_sources = {source: number for number, source in enumerate(sources)}
    sentinels = {process.sentinel: number for number, process in enumerate(processes)}
    while True:
        ready = wait([*open_sources, *sentinels, wake])
        if wake in ready:
            return
        for source in [s for s in open_sources if s in ready]:
            try:
                task, answer = worker.receive(source)
            except (EOFError, OSError):
                del open_sources[source]
                continue
            except Exception as error:
                # What was sent cannot be made here: every task that waits learns so.
                with news:
                    dead[open_sources.pop(source)] = f"sent what cannot be unpickled ({type(error).__name__}: {error})"
                    news.notify_all()
                continue
            with news:
                arrived[task] = answer
                news.notify_all()
        for sentinel in [s for s in sentinels if s in ready]:
            number = sentinels[sentinel]
            if sources[number] in open_sources and sources[number].poll():
                # First what it had still sent.
                continue
            del sentinels[sentinel]
            open_sources.pop(sources[number], None)
            processes[number].join()
            with news:
                dead[number] = _ended(processes[number].exitcode)
                news.notify_all()


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"is killed by signal: {signal.Signals(-code).name}"
        except ValueError:
            return f"is killed by signal: {-code}"
    return f"exited with status {code}"


def _shut_down(tasks: list[Connection], processes: list[Any], wake: Connection, thread: threading.Thread) -> None:
    wake.send(None)
    if thread is not threading.current_thread():
        thread.join(5)
    for pipe in tasks:
        with contextlib.suppress(OSError):
            pipe.send(None)
        pipe.close()
    for process in processes:
        # A worker that waits to send what nobody wants any more is not waited for.
        process.join(0.2)
        if process.is_alive():
            process.terminate()
            process.join(5)
