"""Data loading against PyTorch: the same seed gives the same batches, with workers and without."""

import collections
import importlib
import os
import sys
import time

import numpy as np
import pytest
import torch
from torch.utils import data as theirs

import flambeau
from flambeau.utils import data as ours


class Numbers(ours.Dataset):
    """Random draws beside numbers; on request, something goes wrong."""

    def __init__(self, count, wrong=None, how=None):
        self.count = count
        self.wrong = wrong
        self.how = how

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == self.wrong:
            if self.how == "raise":
                raise ValueError("broken sample")
            if self.how == "key":
                raise KeyError("no such sample")
            if self.how == "kill":
                os.kill(os.getpid(), 9)
            if self.how == "exit":
                os._exit(3)
            time.sleep(30)
        assert not any(name in sys.modules for name in ("jax", "jaxlib"))
        return {"x": flambeau.rand(2) + index, "i": index, "r": np.random.rand()}


class TheirNumbers(theirs.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"x": torch.rand(2) + index, "i": index, "r": np.random.rand()}


class Shared(ours.IterableDataset):
    """Numbers that workers share among themselves."""

    def __iter__(self):
        info = ours.get_worker_info()
        return iter(range(11)) if info is None else iter(range(info.id, 11, info.num_workers))


class TheirShared(theirs.IterableDataset):
    def __iter__(self):
        info = theirs.get_worker_info()
        return iter(range(11)) if info is None else iter(range(info.id, 11, info.num_workers))


def _arrays(samples):
    return {"samples": np.asarray(samples)}


def _broken(worker):
    raise RuntimeError(f"worker {worker} cannot begin")


def _lists(value):
    if isinstance(value, torch.Tensor | flambeau.Tensor):
        return (str(value.dtype), value.tolist())
    if isinstance(value, dict):
        return {key: _lists(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(_lists, value)]
    return value


def _epochs(t, data, dataset, epochs=2, **options):
    t.manual_seed(0)
    options = {key: (make(t, data) if callable(make) else make) for key, make in options.items()}
    loader = data.DataLoader(dataset, **options)
    found = [_lists(batch) for _ in range(epochs) for batch in loader]
    return [*found, t.rand(1).item()]


LOADERS = {
    "plain": {},
    "shuffled": {"shuffle": True, "batch_size": 3},
    "drop_last": {"shuffle": True, "batch_size": 3, "drop_last": True},
    "generator": {"shuffle": True, "batch_size": 4, "generator": lambda t, d: t.Generator().manual_seed(3)},
    "samples": {"batch_size": None},
    "replacement": {"sampler": lambda t, d: d.RandomSampler(range(10), True, 70), "batch_size": 7},
    "more_than_all": {"sampler": lambda t, d: d.RandomSampler(range(10), num_samples=23), "batch_size": 7},
    "subset": {"sampler": lambda t, d: d.SubsetRandomSampler([1, 5, 7]), "batch_size": 2},
    "weighted": {"sampler": lambda t, d: d.WeightedRandomSampler([0.1, 0.5, 0.4], 8), "batch_size": 3},
    "weighted_once": {"sampler": lambda t, d: d.WeightedRandomSampler([0.1, 0.5, 0.4], 2, False)},
    "batches": {"batch_sampler": lambda t, d: d.BatchSampler(d.RandomSampler(range(10)), 4, True)},
    "distributed": {"sampler": lambda t, d: d.DistributedSampler(range(10), 3, 1, seed=2), "batch_size": 2},
    "distributed_few": {"sampler": lambda t, d: d.DistributedSampler(range(10), 3, 2, False, drop_last=True)},
}


@pytest.mark.parametrize("name", LOADERS)
def test_order_is_pytorchs(name):
    assert _epochs(flambeau, ours, range(10), **LOADERS[name]) == _epochs(torch, theirs, range(10), **LOADERS[name])


# PyTorch would fork, which must not be done once another test of the process has started XLA's threads.
UNFORKED = "forkserver"


def test_workers_draw_what_pytorchs_draw():
    options = {"shuffle": True, "batch_size": 2, "num_workers": 2, "persistent_workers": True}
    found = _epochs(flambeau, ours, Numbers(10), **options)
    assert found == _epochs(torch, theirs, TheirNumbers(), **options, multiprocessing_context=UNFORKED)


@pytest.mark.parametrize("options", [{"batch_size": 2}, {"batch_size": 3, "drop_last": True}, {"batch_size": None}])
@pytest.mark.parametrize("workers", [0, 2])
def test_iterable_datasets(options, workers):
    found = _epochs(flambeau, ours, Shared(), 1, num_workers=workers, **options)
    context = UNFORKED if workers else None
    assert found == _epochs(
        torch, theirs, TheirShared(), 1, num_workers=workers, multiprocessing_context=context, **options
    )


def test_persistent_workers_begin_anew_after_an_epoch_left_early():
    loader = ours.DataLoader(range(9), 2, num_workers=2, persistent_workers=True)
    first = iter(loader)
    pids = first._pool.pids
    next(first)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    assert loader._iterator._pool.pids == pids


def test_a_worker_that_raises_shows_its_traceback():
    with pytest.raises(ValueError, match=r"(?s)Caught ValueError in DataLoader worker process 0.*__getitem__.*broken"):
        list(ours.DataLoader(Numbers(6, 0, "raise"), 2, num_workers=2))
    with pytest.raises(KeyError) as caught:
        list(ours.DataLoader(Numbers(6, 0, "key"), 2, num_workers=1))
    assert "\n  File" in str(caught.value)
    with pytest.raises(RuntimeError, match="worker 0 cannot begin"):
        list(ours.DataLoader(range(3), num_workers=1, worker_init_fn=_broken))


@pytest.mark.parametrize(("how", "said"), [("kill", "killed by signal: SIGKILL"), ("exit", "exited with status 3")])
def test_a_dead_worker_is_reported_at_once(how, said):
    batches = iter(ours.DataLoader(Numbers(12, 5, how), 2, num_workers=2))
    next(batches)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=f"(?s)DataLoader worker .* exited unexpectedly.*{said}"):
        list(batches)
    assert time.monotonic() - began < 10


def test_timeout():
    with pytest.raises(RuntimeError, match="DataLoader timed out after 1 seconds"):
        list(ours.DataLoader(Numbers(4, 0, "sleep"), 2, num_workers=1, timeout=1))


def test_arrays_from_workers_can_be_written_to():
    (batch,) = ours.DataLoader(range(4), 4, num_workers=1, collate_fn=_arrays)
    batch["samples"][0] = 5
    assert batch["samples"].tolist() == [5, 1, 2, 3]


def test_what_cannot_be_sent_is_named():
    with pytest.raises(RuntimeError, match="cannot be sent to worker processes"):
        list(ours.DataLoader([lambda: 0], num_workers=1))


def test_out_of_order():
    batches = ours.DataLoader(range(7), 2, num_workers=2, in_order=False)
    assert sorted(batch.tolist() for batch in batches) == [[0, 1], [2, 3], [4, 5], [6]]


def test_fork_beside_xla_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "jaxlib", object())
    with pytest.raises(ValueError, match="fork"):
        iter(ours.DataLoader(range(3), num_workers=1, multiprocessing_context="fork"))


Pair = collections.namedtuple("Pair", "a b")

SAMPLES = {
    "floats": [0.5, 1.5],
    "truths": [True, False],
    "text": ["a", "b"],
    "tuples": [(1, 2.0), (3, 4.0)],
    "named": [Pair(1, "x"), Pair(2, "y")],
    "lists": [[1, [2]], [3, [4]]],
    "mappings": [{"a": 1, "b": {"c": 2.0}}] * 2,
    "numpy_numbers": [np.float32(1), np.float32(2)],
    "numpy_arrays": [np.ones(2, np.int16), np.zeros(2, np.int16)],
    "bytes": [b"a", b"b"],
}


@pytest.mark.parametrize("name", SAMPLES)
def test_collation(name):
    for function in ("default_collate", "default_convert"):
        assert _lists(getattr(ours, function)(SAMPLES[name])) == _lists(getattr(theirs, function)(SAMPLES[name]))


@pytest.mark.parametrize("samples", [[object()] * 2, [[1], [1, 2]], [np.array(["a"])] * 2])
def test_what_cannot_be_collated(samples):
    for data in (ours, theirs):
        with pytest.raises((TypeError, RuntimeError), match=r"default_collate: batch must contain|of equal size"):
            data.default_collate(samples)


def test_modules_are_where_pytorch_has_them():
    for name in ("dataloader", "dataset", "sampler", "_utils.collate", "_utils.fetch", "_utils.worker"):
        importlib.import_module(f"flambeau.utils.data.{name}")
    for name in ("DataLoader", "Dataset", "Sampler", "Subset", "default_collate", "default_convert", "get_worker_info"):
        found = getattr(ours, name).__module__.removeprefix("flambeau")
        assert found == getattr(theirs, name).__module__.removeprefix("torch")
    for name in theirs.dataloader.__all__:
        assert hasattr(ours.dataloader, name)


class Span:
    """A class that nobody knows how to collate."""

    def __init__(self, start, stop):
        self.start = start
        self.stop = stop


def test_how_a_class_of_ones_own_is_collated_can_be_told():
    found = []
    for data in (ours, theirs):
        collate = importlib.import_module(f"{data.__name__}._utils.collate")

        def spans(batch, *, collate_fn_map=None):
            return [(span.start, span.stop) for span in batch]

        told = {**collate.default_collate_fn_map, Span: spans}
        samples = [{"span": Span(0, 2), "x": 1}, {"span": Span(3, 4), "x": 2}]
        found.append(_lists(collate.collate(samples, collate_fn_map=told)))
        with pytest.raises(TypeError, match="default_collate: batch must contain"):
            collate.collate(samples, collate_fn_map=collate.default_collate_fn_map)
    assert found[0] == found[1]


def test_datasets():
    for t, data in ((flambeau, ours), (torch, theirs)):
        rows = data.TensorDataset(t.arange(4), t.arange(4) * 2)
        joined = data.ConcatDataset([rows, rows])
        assert len(rows + rows) == len(joined) == 8
        assert [int(v) for v in joined[-1]] == [3, 6]
        assert [int(v) for v in data.Subset(rows, [2, 0])[0]] == [2, 4]
        stacked = data.StackDataset(a=range(3), b=data.Subset(range(9), [5, 6, 7]))
        assert stacked[1] == {"a": 1, "b": 6}
        assert stacked.__getitems__([0, 2])[1] == {"a": 2, "b": 7}
    assert list(ours.ChainDataset([Shared(), Shared()])) == [*range(11), *range(11)]


@pytest.mark.parametrize("lengths", [[3, 7], [0.3, 0.3, 0.4], [0.5, 0.25, 0.25]])
def test_random_split(lengths):
    parts = [
        [part.indices for part in data.random_split(range(10), lengths, t.Generator().manual_seed(1))]
        for t, data in ((flambeau, ours), (torch, theirs))
    ]
    assert parts[0] == parts[1]


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": -1},
        {"timeout": -1},
        {"prefetch_factor": 2},
        {"persistent_workers": True},
        {"shuffle": True, "sampler": [1]},
        {"batch_sampler": [[1]], "batch_size": 2},
        {"batch_size": None, "drop_last": True},
        {"batch_size": 0},
    ],
)
def test_wrong_arguments(options):
    for data in (ours, theirs):
        with pytest.raises(ValueError):
            data.DataLoader(range(3), **options)
