"""The workloads, one family per file.

A workload builds its model from a namespace with PyTorch's names, so that one source runs on both
libraries, and beside it stands the same work written by hand in JAX: the floor for a compiled step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.setting import Program, Setting


@dataclass(frozen=True)
class Workload:
    """One line of the table.

    Attributes:
        number: its number in the list of workloads; families share one.
        name: short, for files and options.
        title: what is done, in the words of the table.
        program: builds it on a library with PyTorch's names.
        floor: builds it in JAX.
        checked: so many units are run on the same weights, and their results compared, before timing.
        small: sizes for a quick test.
        memory: whether its peak memory is part of the report.
        first: whether the first unit in a new process is measured too.
    """

    number: int
    name: str
    title: str
    program: Callable[[Any, Setting], Program]
    floor: Callable[[Setting], Program]
    checked: int
    small: dict[str, int] = field(default_factory=dict)
    memory: bool = False
    first: bool = False


def all_workloads() -> list[Workload]:
    """Every workload that is timed step by step, in order."""
    from benchmarks.workloads import (
        bert,
        encoder,
        generation,
        gpt,
        lenet,
        lstm_tagger,
        mlp,
        resnet,
        sentence_tagger,
    )

    modules = (mlp, lenet, lstm_tagger, sentence_tagger, encoder, bert, gpt, resnet, generation)
    return [workload for module in modules for workload in module.WORKLOADS]


def by_name(name: str) -> Workload:
    """The workload of that name."""
    return next(workload for workload in all_workloads() if workload.name == name)
