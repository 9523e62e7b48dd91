"""Samplers: in which order a dataset is gone through.

The draws are PyTorch's, so that the same seed gives the same order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from flambeau import dtypes
from flambeau.ops.operator import NAMESPACES
from flambeau.random import Generator

T = TypeVar("T", covariant=True)


def draw_seed(generator: Any = None) -> int:
    """A seed from a generator (the default one if None): one draw of 63 bits."""
    return int(NAMESPACES["torch"]["empty"]((), dtype=dtypes.int64).random_(generator=generator).item())


def _order(count: int, generator: Any) -> list[int]:
    return NAMESPACES["torch"]["randperm"](count, generator=generator).tolist()


class Sampler(Generic[T]):
    """Indices in some order: a subclass has ``__iter__``, and ``__len__`` where that is known.

    Example:
        >>> import flambeau as torch
        >>> class Backward(torch.utils.data.Sampler):
        ...     def __init__(self, count):
        ...         self.count = count
        ...     def __iter__(self):
        ...         return iter(range(self.count - 1, -1, -1))
        >>> loader = torch.utils.data.DataLoader(["a", "b", "c"], batch_size=2, sampler=Backward(3))
        >>> list(loader)
        [['c', 'b'], ['a']]
    """

    def __init__(self, data_source: Any = None) -> None:
        pass

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler[int]):
    """All indices in their order.

    Example:
        >>> import flambeau as torch
        >>> list(torch.utils.data.SequentialSampler(["a", "b", "c"]))
        [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """Indices at random.

    Args:
        data_source: the dataset.
        replacement: whether one may come more than once.
        num_samples: how many; all of them if None.
        generator: what draws; one seeded by the default generator if None.

    Raises:
        TypeError: if ``replacement`` is no bool.
        ValueError: if ``num_samples`` is no positive integer.

    Example:
        >>> import flambeau as torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> list(torch.utils.data.RandomSampler(range(5), generator=generator))
        [4, 0, 1, 3, 2]
        >>> len(torch.utils.data.RandomSampler(range(5), replacement=True, num_samples=8))
        8
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None, generator: Any = None
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={self.num_samples}")

    @property
    def num_samples(self) -> int:
        """How many indices it gives; a dataset may grow."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        count = len(self.data_source)
        generator = self.generator
        if generator is None:
            generator = Generator().manual_seed(draw_seed())
        if self.replacement:
            randint = NAMESPACES["torch"]["randint"]
            for size in [32] * (self.num_samples // 32) + [self.num_samples % 32]:
                yield from randint(high=count, size=(size,), dtype=dtypes.int64, generator=generator).tolist()
        else:
            for _ in range(self.num_samples // count):
                yield from _order(count, generator)
            yield from _order(count, generator)[: self.num_samples % count]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """Given indices at random, each once.

    Args:
        indices: the indices.
        generator: what draws; the default one if None.

    Example:
        >>> import flambeau as torch
        >>> generator = torch.Generator().manual_seed(0)
        >>> list(torch.utils.data.SubsetRandomSampler([10, 20, 30], generator=generator))
        [30, 10, 20]
    """

    def __init__(self, indices: Sequence[int], generator: Any = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in _order(len(self.indices), self.generator):
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """Indices at random, with given probabilities.

    Args:
        weights: of each index; they need not sum up to 1.
        num_samples: how many.
        replacement: whether one may come more than once.
        generator: what draws; the default one if None.

    Raises:
        ValueError: if ``num_samples`` is no positive integer, ``replacement`` no bool, or ``weights`` no vector.

    Example:
        >>> import flambeau as torch
        >>> list(torch.utils.data.WeightedRandomSampler([0.0, 2.0, 0.0], num_samples=4))
        [1, 1, 1, 1]
        >>> sorted(torch.utils.data.WeightedRandomSampler([1.0, 9.0, 0.0], num_samples=2, replacement=False))
        [0, 1]
    """

    def __init__(self, weights: Any, num_samples: int, replacement: bool = True, generator: Any = None) -> None:
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = NAMESPACES["torch"]["as_tensor"](weights, dtype=dtypes.float64)
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        draw = NAMESPACES["torch"]["multinomial"]
        yield from draw(self.weights, self.num_samples, self.replacement, generator=self.generator).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of the indices of another sampler.

    Args:
        sampler: the other sampler, or any iterable.
        batch_size: how many indices make a list.
        drop_last: whether to leave out a last list with fewer.

    Raises:
        ValueError: if ``batch_size`` is no positive integer, or ``drop_last`` no bool.

    Example:
        >>> import flambeau as torch
        >>> list(torch.utils.data.BatchSampler(range(5), 2, drop_last=False))
        [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


class DistributedSampler(Sampler[Any]):
    """The share of one of several processes that train together.

    Args:
        dataset: the dataset.
        num_replicas: how many processes there are.
        rank: which of them this is.
        shuffle: whether to go through the dataset at random.
        seed: of the order, which must be the same everywhere.
        drop_last: whether to leave out samples so that the shares are equal; else some come twice.

    Raises:
        RuntimeError: if the number or the rank is not given: there is no process group to ask.

    Example:
        >>> import flambeau as torch
        >>> for rank in range(2):
        ...     print(list(torch.utils.data.DistributedSampler(range(5), num_replicas=2, rank=rank, shuffle=False)))
        [0, 2, 4]
        [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            raise RuntimeError(
                "Requires distributed package to be available: there is none, so num_replicas and rank must be given"
            )
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.seed = seed
        count = len(dataset)
        self.num_samples = count // num_replicas if drop_last else math.ceil(count / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        if self.shuffle:
            indices = _order(count, Generator().manual_seed(self.seed + self.epoch))
        else:
            indices = list(range(count))
        if not self.drop_last and indices:
            indices = list(itertools.islice(itertools.cycle(indices), self.total_size))
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which changes the order."""
        self.epoch = epoch
