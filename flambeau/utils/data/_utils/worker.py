"""What a worker process does: takes tasks from a pipe, sends batches back.

Batches cross as NumPy arrays, their values after the structure they belong to, without being copied into it.
"""

from __future__ import annotations

import os
import pickle
import random
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


class WorkerInfo:
    """What a worker knows of itself.

    Attributes:
        id: which worker it is, from 0 on.
        num_workers: how many there are.
        seed: what its generators were seeded with.
        dataset: its copy of the dataset.

    Example:
        >>> import flambeau as torch
        >>> class Shared(torch.utils.data.IterableDataset):
        ...     def __iter__(self):
        ...         info = torch.utils.data.get_worker_info()
        ...         first, step = (0, 1) if info is None else (info.id, info.num_workers)
        ...         return iter(range(first, 6, step))
        >>> list(torch.utils.data.DataLoader(Shared(), batch_size=None))
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id = id
        self.num_workers = num_workers
        self.seed = seed
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed}, dataset={self.dataset})"


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """What the worker process that runs this knows of itself; None in the main process.

    Example:
        >>> import flambeau as torch
        >>> torch.utils.data.get_worker_info() is None
        True
    """
    return _info


class Failure:
    """An exception of a worker, with its traceback as text.

    Args:
        error: the exception.
        where: in which process.
    """

    def __init__(self, error: BaseException, where: str) -> None:
        import traceback

        self.kind = type(error)
        self.text = "".join(traceback.format_exception(error))
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            pickle.dumps(self.kind)
            kind: Any = self.kind
        except Exception:
            kind = RuntimeError
        return (_failure, (kind, self.text, self.where))

    def reraise(self) -> None:
        """Raises an exception of the same class that shows the worker's traceback."""
        message = f"Caught {self.kind.__name__} {self.where}.\nOriginal {self.text}"
        if self.kind is KeyError:
            # Its text is shown as a literal, line breaks and all.
            raise KeyError(_Shown(message))
        try:
            error = self.kind(message)
        except Exception:
            raise RuntimeError(message) from None
        raise error


class _Shown(str):
    def __repr__(self) -> str:
        return str(self)


def _failure(kind: Any, text: str, where: str) -> Failure:
    failure = object.__new__(Failure)
    failure.kind, failure.text, failure.where = kind, text, where
    return failure


# The number of the task that begins a new epoch.
AGAIN = -1


class Exhausted:
    """A worker's iterable dataset has ended."""


def send(pipe: Connection, message: Any) -> None:
    """Sends an object: the structure, then the values of its arrays."""
    buffers: list[pickle.PickleBuffer] = []
    structure = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    pipe.send_bytes(pickle.dumps((structure, [part.nbytes for part in raw])))
    for part in raw:
        pipe.send_bytes(part)


def receive(pipe: Connection) -> Any:
    """Receives what :func:`send` sent."""
    structure, sizes = pickle.loads(pipe.recv_bytes())
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        # Into memory of its own, so that arrays can be written to.
        pipe.recv_bytes_into(buffer) if buffer else pipe.recv_bytes()
    return pickle.loads(structure, buffers=buffers)


def _seed(base_seed: int, worker: int) -> None:
    from flambeau.random import manual_seed

    seed = base_seed + worker
    random.seed(seed)
    manual_seed(seed)
    words = np.random.SeedSequence([worker, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]).generate_state(4)
    np.random.seed(words)


def run(
    tasks: Connection,
    results: Connection,
    settings: bytes,
) -> None:
    """The life of a worker.

    Args:
        tasks: from where numbered tasks come; None ends it.
        results: where numbered batches go.
        settings: the dataset and how to work, pickled.
    """
    global _info
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    # Whatever the main process runs on: here is no XLA.
    os.environ["FLAMBEAU_TIER"] = "interpreter"
    from flambeau.engine.tiers import set_tier

    set_tier("interpreter")
    parent = parent_process()
    watched: list[Any] = [tasks] if parent is None else [tasks, parent.sentinel]
    where = "in a DataLoader worker process"
    failure: Failure | None = None
    fetcher = None
    try:
        kept = pickle.loads(settings)
        worker, count = kept["worker"], kept["count"]
        where = f"in DataLoader worker process {worker}"
        _seed(kept["base_seed"], worker)
        _info = WorkerInfo(worker, count, kept["base_seed"] + worker, kept["dataset"])
        if kept["init"] is not None:
            kept["init"](worker)
    except Exception as error:
        failure = Failure(error, where)
    while True:
        ready = wait(watched)
        if tasks not in ready:
            return
        try:
            task = tasks.recv()
        except (EOFError, OSError):
            return
        if task is None:
            return
        number, indices = task
        if number == AGAIN:
            fetcher = None
            continue
        answer: Any
        if failure is None:
            try:
                if fetcher is None:
                    fetcher = kept["fetcher"](*kept["fetching"])
                answer = fetcher.fetch(indices)
            except Exception as error:
                if isinstance(error, StopIteration) and fetcher is not None and kept["iterable"]:
                    answer = Exhausted()
                else:
                    answer = Failure(error, where)
        else:
            answer = failure
        try:
            send(results, (number, answer))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            send(results, (number, Failure(error, where + ", sending a batch")))
