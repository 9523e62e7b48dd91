"""The generators of GPUs: ``torch.cuda.random``.

Each GPU has one, which draws on the host.  Seeding is accepted without a GPU and has no effect then, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau import devices
from flambeau.cuda.selection import device_for, gpus
from flambeau.engine import accelerators
from flambeau.random import Generator, generator_for
from flambeau.tensor.tensor import Tensor

__all__ = [
    "get_rng_state",
    "get_rng_state_all",
    "initial_seed",
    "manual_seed",
    "manual_seed_all",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
]


def generators() -> tuple[Generator, ...]:
    """Those of all GPUs, in order."""
    return tuple(generator_for(devices.device("cuda", i)) for i in range(len(accelerators.available("cuda"))))


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of a GPU's generator as a uint8 tensor, laid out as that of the CPU's.

    Raises:
        AssertionError: if there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     state = torch.cuda.get_rng_state()
    """
    gpus()
    return generator_for(device_for(device)).get_state()


def get_rng_state_all() -> list[Tensor]:
    """The states of all GPUs' generators, in order.

    Example:
        >>> import flambeau as torch
        >>> len(torch.cuda.get_rng_state_all()) == torch.cuda.device_count()
        True
    """
    return [generator.get_state() for generator in generators()]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Has a GPU's generator go on from a state that :func:`get_rng_state` gave.

    Raises:
        RuntimeError: if the state is one of PyTorch's GPU generators, which draw in another way.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     state = torch.cuda.get_rng_state()
        ...     x = torch.rand(2, device="cuda")
        ...     torch.cuda.set_rng_state(state)
        ...     assert torch.equal(torch.rand(2, device="cuda"), x)
    """
    kept = new_state.clone()
    named = devices.device(device)
    if accelerators.available("cuda"):
        generator_for(device_for(named)).set_state(kept)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Has all GPUs' generators go on from the states that :func:`get_rng_state_all` gave.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.set_rng_state_all(torch.cuda.get_rng_state_all())
    """
    for i, state in enumerate(new_states):
        set_rng_state(state, i)


def manual_seed(seed: int) -> None:
    """Starts the sequence of a seed on the selected GPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.manual_seed(0)
    """
    number = int(seed)
    if accelerators.available("cuda"):
        generator_for(device_for()).manual_seed(number)


def manual_seed_all(seed: int) -> None:
    """Starts the sequence of a seed on every GPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.manual_seed_all(0)
    """
    number = int(seed)
    for generator in generators():
        generator.manual_seed(number)


def seed() -> None:
    """Starts a sequence from the system's entropy on the selected GPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.seed()
    """
    if accelerators.available("cuda"):
        generator_for(device_for()).seed()


def seed_all() -> None:
    """Starts one sequence from the system's entropy on every GPU.

    Example:
        >>> import flambeau as torch
        >>> torch.cuda.seed_all()
    """
    every = generators()
    if every:
        manual_seed_all(every[0].seed())


def initial_seed() -> int:
    """The seed that the selected GPU's sequence started from.

    Raises:
        AssertionError: if there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.manual_seed(7)
        ...     assert torch.cuda.initial_seed() == 7
    """
    gpus()
    return generator_for(device_for()).initial_seed()
