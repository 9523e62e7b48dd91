"""A training run as one would leave it alone overnight, on the handwritten digits.

AdamW with a learning rate that warms up and then falls along a cosine, clipped gradients, mixed precision by
autocast, early stopping, a TensorBoard log, and checkpoints that hold everything: weights, optimizer, schedule,
scaler, the generators' states and the place in the epoch. Kill it at any moment and start it again with
``--resume``: it goes on as if nothing had happened.

    python examples/digits_training.py --help
    tensorboard --logdir examples/output/digits_training
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _report import OUTPUT, Stopwatch, require
from sklearn.datasets import load_digits

import flambeau as torch
import flambeau.nn.functional as F
from flambeau.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from flambeau.utils.data import DataLoader, TensorDataset
from flambeau.utils.tensorboard import SummaryWriter

WANTED = 0.96
CHECKPOINT = "checkpoint.pt"


class Shuffled:
    """Batches of a dataset's indices, shuffled anew in each epoch, that know how far they have come.

    The order of an epoch follows from the generator's state at its beginning: that and the number of batches
    taken are all there is to keep.
    """

    def __init__(self, count: int, batch: int, seed: int) -> None:
        self.count = count
        self.batch = batch
        self.generator = torch.Generator().manual_seed(seed)
        self.before = self.generator.get_state()
        self.taken = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return -(-self.count // self.batch)

    def __iter__(self) -> Iterator[list[int]]:
        """The rest of the epoch."""
        self.generator.set_state(self.before)
        order = torch.randperm(self.count, generator=self.generator).tolist()
        for start in range(self.taken * self.batch, self.count, self.batch):
            self.taken += 1
            yield order[start : start + self.batch]
        self.before = self.generator.get_state()
        self.taken = 0

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before, "taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.before = state["before"]
        self.taken = state["taken"]


class EarlyStopping:
    """Says when the validation loss has not improved for a number of epochs, and keeps the best weights."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best = float("inf")
        self.waited = 0
        self.weights: dict[str, Any] = {}

    def __call__(self, loss: float, model: torch.nn.Module) -> bool:
        """Whether to stop now."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}
        else:
            self.waited += 1
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited, self.weights = state["best"], state["waited"], state["weights"]


def make_model() -> torch.nn.Module:
    nn = torch.nn
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.LayerNorm(128),
        nn.GELU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.GELU(),
        nn.Linear(64, 10),
    )


def load(seed: int) -> tuple[TensorDataset, TensorDataset]:
    """Training and held-out digits: images (1, 8, 8) from 0 to 1, and labels."""
    data = load_digits()
    images = torch.tensor(data.images / 16, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held_out, training = order[: len(order) // 5], order[len(order) // 5 :]
    return TensorDataset(images[training], labels[training]), TensorDataset(images[held_out], labels[held_out])


class Training:
    """All that a run consists of; what it keeps in a checkpoint is in ``parts`` and ``state_dict``."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        torch.manual_seed(options.seed)
        self.training, self.held_out = load(options.seed)
        self.model = make_model()
        self.batches = Shuffled(len(self.training), options.batch, options.seed)
        # The loader draws a seed for its workers with each epoch: not from the generator that dropout draws from.
        # It has no workers here, which would ask for batches ahead of what has been learned.
        self.loader = DataLoader(self.training, batch_sampler=self.batches, generator=torch.Generator())
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.lr, weight_decay=0.05)
        steps = options.epochs * len(self.batches)
        warmup = max(1, steps // 10)
        self.schedule = SequentialLR(
            self.optimizer,
            [
                LinearLR(self.optimizer, start_factor=0.05, total_iters=warmup),
                CosineAnnealingLR(self.optimizer, T_max=max(1, steps - warmup)),
            ],
            milestones=[warmup],
        )
        self.dtype = getattr(torch, options.dtype)
        # bfloat16 has float32's range and needs no scaling.
        self.scaler = torch.amp.GradScaler("cpu", enabled=self.dtype is torch.float16)
        self.stopping = EarlyStopping(options.patience)
        self.parts = {
            "model": self.model,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
            "batches": self.batches,
            "stopping": self.stopping,
        }
        self.epoch = 0
        self.step = 0
        self.losses: list[float] = []
        self.stopped = False
        self.path = Path(options.folder) / CHECKPOINT

    # ------------------------------------------------------------ checkpoints

    def keep(self) -> None:
        """Writes a checkpoint: ``save`` puts it in the place of the former one when it is whole."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["run"] = {"epoch": self.epoch, "step": self.step, "losses": self.losses, "stopped": self.stopped}
        state["random"] = torch.get_rng_state()
        torch.save(state, self.path)

    def resume(self) -> bool:
        """Takes over the checkpoint, if there is one."""
        if not self.path.exists():
            return False
        state = torch.load(self.path)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.__dict__.update(state["run"])
        torch.set_rng_state(state["random"])
        return True

    # ------------------------------------------------------------ the run

    def autocast(self) -> torch.autocast:
        """Mixed precision, unless float32 is asked for."""
        lower = torch.bfloat16 if self.dtype is torch.float32 else self.dtype
        return torch.autocast("cpu", dtype=lower, enabled=self.dtype is not torch.float32)

    def learn(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One step: the loss, and the gradients' norm before clipping."""
        self.optimizer.zero_grad()
        with self.autocast():
            loss = F.cross_entropy(self.model(images), labels, label_smoothing=0.05)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()
        return loss.detach(), norm

    def validate(self) -> tuple[float, float]:
        """Loss and accuracy on the held-out digits."""
        images, labels = self.held_out.tensors
        self.model.eval()
        with torch.no_grad(), self.autocast():
            logits = self.model(images)
            loss = F.cross_entropy(logits, labels)
        self.model.train()
        return loss.item(), (logits.argmax(1) == labels).float().mean().item()

    def run(self, log: SummaryWriter) -> None:
        """The rest of the epochs, until early stopping."""
        options = self.options
        while self.epoch < options.epochs and not self.stopped:
            for images, labels in self.loader:
                rate = self.schedule.get_last_lr()[0]
                loss, norm = self.learn(images, labels)
                self.losses.append(loss.item())
                log.add_scalar("training/loss", loss, self.step)
                log.add_scalar("training/gradient norm", norm, self.step)
                log.add_scalar("training/learning rate", rate, self.step)
                self.step += 1
                # The epoch's last checkpoint follows its validation.
                if self.step % options.every == 0 and self.batches.taken < len(self.batches):
                    self.keep()
            self._end_epoch(log)
            self.keep()

    def _end_epoch(self, log: SummaryWriter) -> None:
        loss, accuracy = self.validate()
        log.add_scalar("held out/loss", loss, self.step)
        log.add_scalar("held out/accuracy", accuracy, self.step)
        for name, value in self.model.named_parameters():
            log.add_histogram(name, value, self.step)
        self.epoch += 1
        self.stopped = self.stopping(loss, self.model)
        print(f"epoch {self.epoch}: held-out loss {loss:.4f}, accuracy {accuracy:.2%}", flush=True)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--patience", type=int, default=4, help="epochs without improvement before it stops")
    parser.add_argument("--every", type=int, default=20, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default=str(OUTPUT / "digits_training"), help="for checkpoints and the log")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, or go on training, and read the held-out digits with the best weights."""
    options = parsed(arguments)
    Path(options.folder).mkdir(parents=True, exist_ok=True)
    training = Training(options)
    resumed = options.resume and training.resume()
    print(f"{'resumed at' if resumed else 'starting at'} step {training.step}", flush=True)
    watch = Stopwatch()
    first = training.step
    # What was logged after the checkpoint is logged again, and an earlier run's records are of no use: hide them.
    with SummaryWriter(options.folder, purge_step=first) as log:
        if not resumed:
            log.add_text("options", "\n".join(f"    {key}: {value}" for key, value in vars(options).items()))
            log.add_graph(training.model.eval(), training.held_out.tensors[0][:1])
            training.model.train()
        training.run(log)
        watch.count((training.step - first) * options.batch)
        print(watch.report())
        training.model.load_state_dict(training.stopping.weights)
        loss, accuracy = training.validate()
        settings = {"lr": options.lr, "batch": options.batch, "dtype": options.dtype}
        log.add_hparams(settings, {"final/accuracy": accuracy, "final/loss": loss}, run_name="result")
    print(f"best held-out loss {loss:.4f}, accuracy {accuracy:.2%}")
    require(accuracy >= WANTED, f"digits_training: {accuracy:.2%} accuracy, {WANTED:.0%} wanted")


if __name__ == "__main__":
    main()
