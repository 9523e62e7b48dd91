"""The loader: batches of a dataset, fetched here or by worker processes."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from flambeau.random import default_generator
from flambeau.user_warnings import warn
from flambeau.utils.data._utils import worker
from flambeau.utils.data._utils.collate import default_collate, default_convert
from flambeau.utils.data._utils.fetch import IterableFetcher, MapFetcher
from flambeau.utils.data._utils.worker import get_worker_info
from flambeau.utils.data.dataset import IterableDataset
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, draw_seed

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T = TypeVar("T", covariant=True)


class _Endless(Sampler[None]):
    """None without end: an iterable dataset has no indices."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


class DataLoader(Generic[T]):
    """Batches of a dataset, in PyTorch's order for the same seed.

    An epoch that was broken off can be taken up again: ``state_dict()`` says where it is, after
    ``load_state_dict()`` the next ``iter()`` goes on from there.

    Args:
        dataset: samples by index, or an :class:`IterableDataset`.
        batch_size: samples per batch; None gives samples themselves.
        shuffle: whether to go through at random, anew each time.
        sampler: gives the indices.
        batch_sampler: gives lists of indices.
        num_workers: processes that fetch; 0 fetches here.  They start anew, not as copies, so what they are given must
            be picklable, and a program's main part must stand under ``if __name__ == "__main__":``.
        collate_fn: makes a batch of samples.
        pin_memory: accepted; the engine moves batches by itself.
        drop_last: whether to leave out a smaller last batch.
        timeout: seconds to wait for a worker's batch; 0 waits for ever.
        worker_init_fn: called with its number in each worker, once seeded.
        multiprocessing_context: what starts workers, by name or itself.
        generator: draws the order and the workers' seed; the default one if None.
        prefetch_factor: batches that each worker has under way; 2 if None.
        persistent_workers: whether workers outlive an epoch.
        pin_memory_device: accepted.
        in_order: whether workers' batches come in the sampler's order, or as they are ready.

    Raises:
        ValueError: for arguments that exclude each other.

    Example:
        >>> import flambeau as torch
        >>> [batch.tolist() for batch in torch.utils.data.DataLoader(range(5), batch_size=2)]
        [[0, 1], [2, 3], [4]]
    """

    _iterator: Any = None
    _current: Any = None
    _resumed: dict[str, Any] | None = None

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        if multiprocessing_context is not None and num_workers == 0:
            raise ValueError(
                "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
                f"num_workers={num_workers}"
            )
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.in_order = in_order
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.persistent_workers = persistent_workers
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            for name, given in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if given is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={given}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)

    @property
    def _indices(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    @property
    def _fetching(self) -> tuple[Any, ...]:
        return (self.dataset, self.batch_sampler is not None, self.collate_fn, self.drop_last)

    @property
    def _fetcher(self) -> Any:
        return IterableFetcher if self._iterable else MapFetcher

    def __iter__(self) -> Any:
        batches: _Batches
        if self.num_workers == 0:
            batches = _Here(self)
        elif not self.persistent_workers:
            batches = _ByWorkers(self)
        elif self._iterator is None or not self._iterator.usable:
            batches = self._iterator = _ByWorkers(self)
        else:
            batches = self._iterator
            batches.restart()
        self._current = weakref.ref(batches)
        return batches

    @property
    def _generators(self) -> list[Any]:
        """Whatever draws the order and the workers' seed, each once."""
        inner = getattr(self.batch_sampler, "sampler", None)
        found = [self.generator or default_generator]
        for sampler in (self.sampler, self.batch_sampler, inner):
            generator = getattr(sampler, "generator", None)
            if generator is not None and all(generator is not known for known in found):
                found.append(generator)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch is: how many batches were given, and what its order was drawn from.

        The names are those of ``torchdata``'s ``StatefulDataLoader``; what is inside is not.  It holds the state of the
        generators that the loader and its samplers were given; that of the default generator is the program's to keep.

        Example:
            >>> import flambeau as torch
            >>> loader = torch.utils.data.DataLoader(range(6), batch_size=2)
            >>> batches = iter(loader)
            >>> _ = next(batches)
            >>> loader.state_dict()["batches"]
            1
        """
        batches = None if self._current is None else self._current()
        now = [g.get_state() for g in self._generators if g is not default_generator]
        if batches is None or batches.ended:
            return {"batches": 0, "epoch": None, "generators": now}
        return {"batches": batches.given, "epoch": batches.epoch, "generators": now}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Has the next ``iter()`` go on where :meth:`state_dict` was asked.

        Samples by index are passed over without being fetched; what an iterable dataset gave is fetched once more and
        dropped.  Draws that a dataset makes in workers begin anew: let those depend on the index.

        Args:
            state_dict: what :meth:`state_dict` gave, for a loader of the same kind.

        Raises:
            KeyError: if it is no such state.
            RuntimeError: if the loader or its samplers have other generators, and from ``iter()``, if the epoch is
                shorter.

        Example:
            >>> import flambeau as torch
            >>> loader = torch.utils.data.DataLoader(range(6), batch_size=2)
            >>> batches = iter(loader)
            >>> first = next(batches)
            >>> state = loader.state_dict()
            >>> fresh = torch.utils.data.DataLoader(range(6), batch_size=2)
            >>> fresh.load_state_dict(state)
            >>> list(fresh)
            [tensor([2, 3]), tensor([4, 5])]
        """
        given = [g for g in self._generators if g is not default_generator]
        states = state_dict["generators"]
        if len(given) != len(states):
            raise RuntimeError(
                f"the state is of a loader with {len(states)} generators of its own, and this one has "
                f"{len(given)}: give the loader and its samplers generators as before"
            )
        for generator, state in zip(given, states, strict=True):
            generator.set_state(state)
        self._resumed = None if state_dict["epoch"] is None else dict(state_dict)

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._indices)
        count = len(self.dataset)
        if self.batch_size is None:
            return count
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_iterator": None, "_current": None}


class _Batches:
    """What is common to both ways through an epoch.

    Attributes:
        epoch: what its order is drawn from.
        given: how many batches it gave.
        ended: whether it has no more.
    """

    epoch: dict[str, Any]
    given: int
    _dropped: int
    _asks_ahead = False

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader = loader
        self._base_seed: int | None = None
        self._set_out()

    def _set_out(self) -> None:
        """Begins the epoch, or takes up one that was broken off."""
        loader = self._loader
        resumed, loader._resumed = loader._resumed, None
        self.ended = False
        if resumed is None:
            self._draw(None)
            self._indices = iter(self._order)
            self.given = self._dropped = 0
            return
        # The default generator is the program's: it goes on from where the program has put it.
        kept = default_generator.get_state()
        self._draw(resumed["epoch"])
        count = resumed["batches"]
        passed = 0 if loader._iterable else count
        # Samplers draw when they are first asked.  If this one had been, it is asked before the state is put back.
        asked = self._asks_ahead or count > 0
        drawn = list(itertools.islice(self._order, passed + 1)) if asked else []
        if len(drawn) < passed:
            raise RuntimeError(
                f"{count} batches of the epoch to be resumed were given, and it has {len(drawn)}: the dataset, the "
                "sampler or the batch size has changed"
            )
        self._indices = itertools.chain(drawn[passed:], self._order)
        default_generator.set_state(kept)
        self.given = passed
        self._dropped = count - passed

    def _draw(self, epoch: dict[str, Any] | None) -> None:
        loader = self._loader
        generators = loader._generators
        if epoch is not None:
            for generator, state in zip(generators, epoch["began"], strict=True):
                generator.set_state(state)
        began = [generator.get_state() for generator in generators]
        self._order = iter(loader._indices)
        # Drawn even where nobody needs it, since what the generator gives next depends on it; but workers that go on
        # from an epoch to the next keep theirs.
        draws = self._base_seed is None if epoch is None else epoch["draws"]
        if draws:
            self._base_seed = draw_seed(loader.generator)
        elif self._base_seed is None:
            self._base_seed = epoch["base_seed"]  # type: ignore[index]
        self.epoch = {"began": began, "draws": draws, "base_seed": self._base_seed}

    def _drop(self) -> None:
        """Drops what an iterable dataset gave before the epoch was broken off."""
        if self._dropped:
            kept = default_generator.get_state()
            for _ in range(self._dropped):
                next(self)
            default_generator.set_state(kept)

    def __next__(self) -> Any:
        raise NotImplementedError

    def __iter__(self) -> Any:
        return self

    def __len__(self) -> int:
        return len(self._loader._indices)

    def _count(self) -> None:
        self.given += 1
        loader = self._loader
        if not loader._iterable or not hasattr(loader.dataset, "__len__"):
            return
        expected = len(loader)
        if self.given == expected + 1:
            warn(
                f"Length of IterableDataset {loader.dataset} was reported to be {expected} (when accessing "
                f"len(dataloader)), but {self.given} samples have been fetched. With workers, each goes through the "
                "whole dataset unless it takes its share by get_worker_info().",
            )


class _Here(_Batches):
    """An epoch fetched by this process."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        if loader.timeout:
            raise AssertionError("timeout needs num_workers > 0: what is fetched here cannot be interrupted")
        super().__init__(loader)
        self._fetcher = loader._fetcher(*loader._fetching)
        self._drop()

    def __next__(self) -> Any:
        try:
            batch = self._fetcher.fetch(next(self._indices))
        except StopIteration:
            self.ended = True
            raise
        self._count()
        return batch


class _ByWorkers(_Batches):
    """An epoch fetched by worker processes.

    Tasks are numbered in the sampler's order and dealt out in turn.
    """

    _asks_ahead = True

    def __init__(self, loader: DataLoader[Any]) -> None:
        from flambeau.utils.data._utils.pool import Pool, context_for

        super().__init__(loader)
        settings = {
            "dataset": loader.dataset,
            "base_seed": self._base_seed,
            "init": loader.worker_init_fn,
            "fetcher": loader._fetcher,
            "fetching": loader._fetching,
            "iterable": loader._iterable,
        }
        self._pool = Pool(context_for(loader.multiprocessing_context), loader.num_workers, settings)
        self._sent = 0
        self.usable = True
        self._begin()
        self._drop()

    def _begin(self) -> None:
        self._worker_of: dict[int, int] = {}
        self._active = [True] * self._loader.num_workers
        self._turns = itertools.cycle(range(self._loader.num_workers))
        for _ in range(self._loader.num_workers * (self._loader.prefetch_factor or 1)):
            self._deal()

    def restart(self) -> None:
        """Begins the next epoch with the same workers."""
        for task in list(self._worker_of):
            # An epoch that was left early: its batches are let go.
            self._pool.take([task], self._loader.timeout)
        self._set_out()
        for number in range(self._loader.num_workers):
            self._pool.give(number, worker.AGAIN, None)
        self._begin()
        self._drop()

    def _deal(self) -> None:
        if not any(self._active):
            return
        number = next(turn for turn in self._turns if self._active[turn])
        try:
            indices = next(self._indices)
        except StopIteration:
            return
        self._worker_of[self._sent] = number
        self._pool.give(number, self._sent, indices)
        self._sent += 1

    def __next__(self) -> Any:
        while True:
            if not self._worker_of:
                self.ended = True
                if not self._loader.persistent_workers:
                    self._end()
                raise StopIteration
            waited = sorted(self._worker_of)
            try:
                task, batch = self._pool.take(waited[:1] if self._loader.in_order else waited, self._loader.timeout)
            except BaseException:
                self._end()
                raise
            number = self._worker_of.pop(task)
            if isinstance(batch, worker.Exhausted):
                self._active[number] = False
                self._deal()
                continue
            self._deal()
            if isinstance(batch, worker.Failure):
                if not self._loader.persistent_workers:
                    self._end()
                batch.reraise()
            self._count()
            return batch

    def _end(self) -> None:
        self.usable = False
        self._worker_of.clear()
        self._pool.close()
