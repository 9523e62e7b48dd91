"""How the samples of one batch are fetched."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any


class MapFetcher:
    """Fetches samples by index.

    Args:
        dataset: the dataset.
        batched: whether an index is a list of them, whose samples make a batch.
        collate_fn: what joins them.
        drop_last: whether to leave out a smaller last batch (which the sampler sees to).
    """

    def __init__(self, dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.dataset = dataset
        self.batched = batched
        self.collate_fn = collate_fn

    def fetch(self, index: Any) -> Any:
        """The batch, or sample, of an index."""
        if not self.batched:
            return self.collate_fn(self.dataset[index])
        many = getattr(self.dataset, "__getitems__", None)
        return self.collate_fn(many(index) if many is not None else [self.dataset[i] for i in index])


class IterableFetcher:
    """Fetches the next samples, as many as there are indices.

    Raises:
        StopIteration: from ``fetch``, when there are none left.
    """

    def __init__(self, dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.samples = iter(dataset)
        self.batched = batched
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def fetch(self, index: Any) -> Any:
        """The next batch, or sample."""
        if self.ended:
            raise StopIteration
        if not self.batched:
            return self.collate_fn(next(self.samples))
        wanted = len(index)
        batch = list(itertools.islice(self.samples, wanted))
        self.ended = len(batch) < wanted
        if not batch or (self.drop_last and self.ended):
            raise StopIteration
        return self.collate_fn(batch)
