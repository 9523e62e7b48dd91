"""Optimizers, with the samples of PyTorch's database of them, and learning rate schedulers."""

from __future__ import annotations

import copy
import functools
import warnings

import numpy as np
import torch
from comparison import conform, conform_error, neutral
from torch.testing._internal.common_optimizers import OptimizerErrorEnum, optim_db
from translation import short_name

STEPS = 10
SCHEDULER_STEPS = 30
METRICS = [1 / (1 + min(step, 7)) + 0.01 * (step > 18) for step in range(SCHEDULER_STEPS)]  # for ReduceLROnPlateau


def chain(lr_scheduler, optimizer):
    return [
        lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=6),
        lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
    ]


SCHEDULERS = {  # keyword arguments, or a function that builds the scheduler
    "LambdaLR": [
        dict(lr_lambda=lambda epoch: 0.95**epoch),
        dict(lr_lambda=[lambda epoch: 1 / (1 + epoch), lambda epoch: 0.9**epoch]),
    ],
    "MultiplicativeLR": [dict(lr_lambda=lambda epoch: 0.97)],
    "StepLR": [dict(step_size=4, gamma=0.5)],
    "MultiStepLR": [dict(milestones=[3, 9, 9, 20], gamma=0.3)],
    "ConstantLR": [dict(factor=0.5, total_iters=4)],
    "LinearLR": [dict(start_factor=0.25, end_factor=0.8, total_iters=12)],
    "ExponentialLR": [dict(gamma=0.9)],
    "PolynomialLR": [dict(total_iters=20, power=2.0)],
    "CosineAnnealingLR": [dict(T_max=10, eta_min=1e-3)],
    "CosineAnnealingWarmRestarts": [dict(T_0=5, T_mult=2, eta_min=1e-3), dict(T_0=7)],
    "ReduceLROnPlateau": [
        dict(patience=2, factor=0.5),
        dict(mode="max", patience=1, cooldown=2, threshold_mode="abs", min_lr=1e-3),
    ],
    "CyclicLR": [
        dict(base_lr=0.01, max_lr=0.1, step_size_up=5, mode=mode, gamma=0.97)
        for mode in ("triangular", "triangular2", "exp_range")
    ],
    "OneCycleLR": [
        dict(max_lr=0.5, total_steps=SCHEDULER_STEPS + 1),
        dict(max_lr=[0.5, 0.2], epochs=5, steps_per_epoch=7, three_phase=True, anneal_strategy="linear"),
    ],
    "SequentialLR": [
        lambda lr_scheduler, optimizer: lr_scheduler.SequentialLR(
            optimizer, chain(lr_scheduler, optimizer), milestones=[6]
        )
    ],
    "ChainedScheduler": [lambda lr_scheduler, optimizer: lr_scheduler.ChainedScheduler(chain(lr_scheduler, optimizer))],
}


class OptimSuite:
    """torch.optim optimizers, from optim_db, and learning rate schedulers."""

    name = "optim"
    all_columns = ("repr", "steps", "variants", "state_dict", "errors", "rates", "resume")

    def __init__(self, options):
        generator = np.random.default_rng(options.seed)
        shapes = (16, 4), (16, 3), (8, 4), (8,), (3, 8), (3,)
        self.data, self.targets, *self.weights = (
            torch.tensor(generator.standard_normal(shape), dtype=torch.float32) for shape in shapes
        )
        schedulers = [f"lr_scheduler.{name}" for name in torch.optim.lr_scheduler.__all__]
        self.skipped = {info.name: "sparse gradients only" for info in optim_db if info.only_supports_sparse_grads}
        untested = [name for name in schedulers if short_name(name) not in SCHEDULERS]
        self.skipped.update(dict.fromkeys(untested, "abstract, or no case for it"))
        entries = {**{info.name: info for info in optim_db}, **{name: name for name in schedulers}}
        self.entries = {name: entry for name, entry in entries.items() if name not in self.skipped}

    @staticmethod
    def group(entry):
        return "lr_scheduler" if isinstance(entry, str) else "optimizer"

    def columns(self, entry):
        if isinstance(entry, str):
            return ["rates", "resume"]
        return [column for column in self.all_columns[:5] if column != "variants" or self.variants(entry)]

    @staticmethod
    def variants(info):
        names = {"foreach"} | ({"fused"} if "cpu" in info.supports_fused_on else set())
        return [{name: value} for name in info.supported_impls if name in names for value in (True, False)]

    def samples(self, entry, column):
        if isinstance(entry, str):
            return SCHEDULERS[short_name(entry)]
        if column == "errors":
            return entry.optim_error_inputs_func("cpu", torch.float32)
        return self.variants(entry) if column == "variants" else [s.kwargs for s in entry.optim_inputs_func("cpu")]

    def check(self, entry, column, sample, library):
        if column != "errors":
            compute = {
                "repr": self.repr,
                "state_dict": self.state_dict,
                "rates": self.rates,
                "resume": self.resume,
            }.get(column, self.steps)
            return conform(functools.partial(compute, entry, sample), library)
        with warnings.catch_warnings():
            if issubclass(sample.error_type, Warning):
                warnings.simplefilter("error", sample.error_type)
            conform_error(functools.partial(self.prepare_error, entry, sample), library)

    def parameters(self, info, session):
        """All parameters of the problem, and those for the optimizer: Muon takes matrices only."""
        parameters = [session(torch.nn.Parameter(weight)) for weight in self.weights]
        return parameters, [p for p, w in zip(parameters, self.weights) if info.name != "Muon" or w.ndim == 2]

    @staticmethod
    def optimizer(info, kwargs, session, chosen):
        return session.library.get(f"optim.{info.name}")(chosen, **session(kwargs))

    def train(self, info, session, optimizer, parameters, count, path="step"):
        """Train a two-layer perceptron; returns the parameters after each step."""
        data, targets, flat = session(self.data), session(self.targets), {}
        weight1, bias1, weight2, bias2 = parameters

        def closure():
            optimizer.zero_grad()
            hidden = (data @ weight1.t() + bias1).tanh()
            loss = ((hidden @ weight2.t() + bias2 - targets) ** 2).mean()
            loss.backward()
            return loss

        for step in range(count):
            if info.step_requires_closure:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
            flat.update(session.library.snapshot(parameters, f"{path} {step + 1}"))
        return flat

    def steps(self, info, kwargs, session):
        parameters, chosen = self.parameters(info, session)
        return self.train(info, session, self.optimizer(info, kwargs, session, chosen), parameters, STEPS)

    def state_dict(self, info, kwargs, session):
        """The state after some steps, and the steps of another optimizer that loads it."""
        parameters, chosen = self.parameters(info, session)
        first, second = (self.optimizer(info, kwargs, session, chosen) for _ in range(2))
        self.train(info, session, first, parameters, 3)
        flat = session.library.snapshot(first.state_dict(), "state")
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        return {**flat, **self.train(info, session, second, parameters, 3, "resumed step")}

    def repr(self, info, kwargs, session):
        optimizer = self.optimizer(info, kwargs, session, self.parameters(info, session)[1])
        return {"repr": neutral(repr(optimizer), session.library)}

    def prepare_error(self, info, error, session):
        sample = error.optimizer_error_input
        params = self.parameters(info, session)[1] if sample.params is None else session(sample.params)
        construct = functools.partial(session.library.get(f"optim.{info.name}"), params, **session(sample.kwargs))
        if error.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR:
            return construct
        optimizer = construct()
        for param in params:
            param.grad = param.detach().clone()
        return optimizer.step

    @staticmethod
    def scheduler(name, sample, session):
        weights = [session(torch.nn.Parameter(torch.ones(1))) for _ in range(2)]
        groups = [{"params": weights[:1]}, {"params": weights[1:], "lr": 0.02}]
        optimizer = session.library.get("optim.SGD")(groups, lr=0.05, momentum=0.9)
        if callable(sample):
            return optimizer, sample(session.library.get("optim.lr_scheduler"), optimizer)
        return optimizer, session.library.get(f"optim.{name}")(optimizer, **sample)

    @staticmethod
    def advance(name, optimizer, scheduler, metrics):
        history = []
        for metric in metrics:
            optimizer.step()
            scheduler.step(*[metric] if name.endswith("ReduceLROnPlateau") else [])
            history.append([float(group[key]) for group in optimizer.param_groups for key in ("lr", "momentum")])
        return history

    def rates(self, name, sample, session):
        optimizer, scheduler = self.scheduler(name, sample, session)
        start = [float(group["lr"]) for group in optimizer.param_groups]
        return session.library.snapshot([start, *self.advance(name, optimizer, scheduler, METRICS)], "rates")

    def resume(self, name, sample, session):
        """Save optimizer and scheduler half-way, load them into fresh ones and go on."""
        first, second = (self.scheduler(name, sample, session) for _ in range(2))
        half = SCHEDULER_STEPS // 2
        self.advance(name, *first, METRICS[:half])
        for old, new in zip(first, second):
            new.load_state_dict(copy.deepcopy(old.state_dict()))
        return session.library.snapshot(self.advance(name, *second, METRICS[half:]), "rates")
