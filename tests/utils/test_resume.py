"""An epoch that was broken off goes on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import chain

import pytest

import flambeau as torch
from flambeau.utils import data

SCRIPT = """
import sys
import flambeau as torch
from flambeau.utils import data

class Squares(data.Dataset):
    def __len__(self):
        return 48

    def __getitem__(self, index):
        x = torch.tensor([index / 48.0, 1.0])
        return x, x[0] ** 2

def main(checkpoint, stop):
    torch.manual_seed(1)
    shuffle = torch.Generator().manual_seed(5)
    loader = data.DataLoader(Squares(), 2, shuffle=True, num_workers=4, generator=shuffle)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Dropout(0.2), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
    kept = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader}
    try:
        state = torch.load(checkpoint)
    except FileNotFoundError:
        done = 0
    else:
        for name, part in kept.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        done = state["done"]
    while done < 48:
        for x, y in loader:
            optimizer.zero_grad()
            loss = (model(x).squeeze(1) - y).square().mean()
            loss.backward()
            optimizer.step()
            scheduler.step()
            done += 1
            state = {name: part.state_dict() for name, part in kept.items()}
            torch.save({**state, "random": torch.get_rng_state(), "done": done}, checkpoint)
            if done == stop:
                print("ready", flush=True)
                sys.stdin.read()
            if done == 48:
                break
    print([p.tolist() for p in model.parameters()])

if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
"""


def _run(script, checkpoint, stop=0):
    env = {**os.environ, "FLAMBEAU_TIER": "interpreter"}
    return subprocess.Popen(
        [sys.executable, script, checkpoint, str(stop)],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_gives_the_same_parameters_to_the_bit(tmp_path):
    """Four workers, two epochs; killed in the middle of the first and of the second."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    whole, _ = _run(script, tmp_path / "whole.pt").communicate(timeout=120)
    for stop in (7, 31):
        run = _run(script, tmp_path / "broken.pt", stop)
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGKILL)
        run.communicate()
    resumed, _ = _run(script, tmp_path / "broken.pt").communicate(timeout=120)
    assert whole == resumed
    assert whole.startswith("[[[")


class Counting(data.IterableDataset):
    def __iter__(self):
        info = data.get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(start, 12, step))


OPTIONS = {
    "here": {"dataset": range(11), "shuffle": True},
    "workers": {"dataset": range(11), "shuffle": True, "num_workers": 2},
    "persistent": {"dataset": range(11), "shuffle": True, "num_workers": 2, "persistent_workers": True},
    "iterable": {"dataset": Counting()},
    "iterable by workers": {"dataset": Counting(), "num_workers": 2},
}


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("given", (0, 3))
def test_a_loader_goes_on_where_its_state_was_asked(kind, given):
    options = OPTIONS[kind]
    torch.manual_seed(3)
    loader = data.DataLoader(batch_size=2, **options)
    first = [batch.tolist() for batch in loader]
    batches = iter(loader)
    seen = [next(batches).tolist() for _ in range(given)]
    state = loader.state_dict()
    random = torch.get_rng_state()
    rest = [batch.tolist() for batch in batches]
    following = [batch.tolist() for batch in loader]

    other = data.DataLoader(batch_size=2, **options)
    other.load_state_dict(state)
    torch.set_rng_state(random)
    assert [batch.tolist() for batch in other] == rest
    assert [batch.tolist() for batch in other] == following
    assert sorted(chain.from_iterable(seen + rest)) == sorted(chain.from_iterable(first))


def test_a_state_of_another_loader_is_refused():
    mine = data.DataLoader(range(4), shuffle=True, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="the state is of a loader with 1 generators of its own, and this one has 0"):
        data.DataLoader(range(4)).load_state_dict(mine.state_dict())
    batches = iter(mine)
    for _ in range(3):
        next(batches)
    shorter = data.DataLoader(range(2), shuffle=True, generator=torch.Generator())
    shorter.load_state_dict(mine.state_dict())
    with pytest.raises(RuntimeError, match="3 batches of the epoch to be resumed were given, and it has 2"):
        iter(shorter)
