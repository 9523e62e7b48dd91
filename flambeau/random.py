"""Random generators and their seeds: ``torch.random``.

The numbers of a CPU generator are those that PyTorch gives for the same seed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import devices, dtypes
from flambeau.ops.operator import NAMESPACES, public
from flambeau.tensor.tensor import Tensor, from_array

if TYPE_CHECKING:
    from flambeau.random_bits import CPUGenerator

__all__ = [
    "Generator",
    "default_generator",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
    "thread_safe_generator",
]

_DEFAULT_SEED = 67280421310721


class Generator:
    """A source of random numbers with a state of its own.

    Args:
        device: the device whose tensors it is to fill.

    Example:
        >>> import flambeau as torch
        >>> torch.rand(2, generator=torch.Generator().manual_seed(0))
        tensor([0.4963, 0.7682])
    """

    __slots__ = ("__weakref__", "_bits", "_device")

    def __init__(self, device: Any = "cpu") -> None:
        self._device = devices.resolve(device)
        self._bits: CPUGenerator | None = None

    @property
    def bits(self) -> CPUGenerator:
        """The samplers.  Made when first asked for, so that importing the package costs nothing."""
        if self._bits is None:
            from flambeau.random_bits import CPUGenerator

            self._bits = CPUGenerator(_DEFAULT_SEED)
        return self._bits

    @property
    def device(self) -> devices.device:
        """The device whose tensors it is to fill."""
        return self._device

    def manual_seed(self, seed: Any) -> Generator:
        """Starts the sequence of a seed; returns the generator.

        Raises:
            ValueError: if the seed does not fit into 64 bits.

        Example:
            >>> import flambeau as torch
            >>> g = torch.Generator().manual_seed(0)
            >>> torch.rand(2, generator=g)
            tensor([0.4963, 0.7682])
        """
        self.bits.manual_seed(int(seed))
        return self

    def seed(self) -> int:
        """Starts a sequence from the system's entropy and returns its seed.

        Example:
            >>> import flambeau as torch
            >>> g = torch.Generator()
            >>> g.seed() == g.initial_seed()
            True
        """
        return self.bits.seed()

    def initial_seed(self) -> int:
        """The seed that the current sequence started from.

        Example:
            >>> import flambeau as torch
            >>> torch.Generator().manual_seed(42).initial_seed()
            42
        """
        return self.bits.initial_seed()

    def get_state(self) -> Tensor:
        """The whole state as a uint8 tensor, laid out as PyTorch's.

        Example:
            >>> import flambeau as torch
            >>> g = torch.Generator()
            >>> g.get_state().dtype, g.get_state().shape
            (torch.uint8, torch.Size([5056]))
        """
        return from_array(self.bits.get_state(), dtypes.uint8)

    def set_state(self, new_state: Tensor) -> Generator:
        """Goes on from a state that :meth:`get_state` gave, here or in PyTorch.

        Example:
            >>> import flambeau as torch
            >>> g, h = torch.Generator().manual_seed(0), torch.Generator()
            >>> _ = h.set_state(g.get_state())
            >>> torch.equal(torch.rand(3, generator=g), torch.rand(3, generator=h))
            True
        """
        if not isinstance(new_state, Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        self.bits.set_state(new_state._array())
        return self

    def graphsafe_get_state(self) -> Generator:
        """There is none outside of CUDA graphs: raises NotImplementedError."""
        raise NotImplementedError("graphsafe_get_state is not supported in this Generator")

    def graphsafe_set_state(self, state: Generator) -> Generator:
        """There is none outside of CUDA graphs: raises NotImplementedError."""
        raise NotImplementedError("graphsafe_set_state is not supported in this Generator")

    def clone_state(self) -> Generator:
        """A new generator that goes on from here by itself.

        Example:
            >>> import flambeau as torch
            >>> g = torch.Generator().manual_seed(0)
            >>> h = g.clone_state()
            >>> torch.equal(torch.rand(3, generator=g), torch.rand(3, generator=h))
            True
        """
        clone = Generator(self._device)
        clone._bits = self.bits.clone_state()
        return clone

    def get_offset(self) -> int:
        """There is none on the CPU: raises RuntimeError."""
        raise RuntimeError("CPU Generator does not use offset")

    def set_offset(self, offset: int) -> Generator:
        """There is none on the CPU: raises RuntimeError."""
        raise RuntimeError("CPU Generator does not use offset")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuilt, (self._device, np.array(self.bits.get_state())))


def _rebuilt(device: devices.device, state: np.ndarray) -> Generator:
    generator = Generator(device)
    generator.bits.set_state(state)
    return generator


default_generator = Generator()
# One for each accelerator, so that drawing there leaves the CPU's sequence alone.
_others: dict[devices.device, Generator] = {}


def generators() -> list[Generator]:
    """Those that functions draw from unless they are given one."""
    return [default_generator, *_others.values()]


def generator_for(device: devices.device, given: Any = None) -> Generator:
    """The generator that fills tensors on a device: the one given, or the device's own.

    Raises:
        TypeError: if what is given is no generator.
        RuntimeError: if it is for devices of another type.
    """
    if given is not None:
        if not isinstance(given, Generator):
            raise TypeError(f"argument 'generator' must be torch.Generator, not {type(given).__name__}")
        if device.type not in (given.device.type, "meta"):
            raise RuntimeError(f"Expected a '{device.type}' device type for generator but found '{given.device.type}'")
        return given
    if device.type in ("cpu", "meta"):
        return default_generator
    found = _others.get(device)
    if found is None:
        found = _others[device] = Generator(device).manual_seed(default_generator.initial_seed())
    return found


NAMESPACES.setdefault("torch", {})["default_generator"] = default_generator  # type: ignore[assignment]
NAMESPACES["torch"]["Generator"] = Generator


@public()
def manual_seed(seed: Any) -> Generator:
    """Starts the sequence of a seed on every device; returns the CPU's generator.

    Args:
        seed: from -2^63 to 2^64 - 1.

    Raises:
        ValueError: if the seed does not fit.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> torch.rand(2)
        tensor([0.4963, 0.7682])
    """
    number = int(seed)
    default_generator.manual_seed(number)
    for generator in _others.values():
        generator.manual_seed(number)
    return default_generator


@public()
def seed() -> int:
    """Starts a sequence from the system's entropy on every device and returns its seed.

    Example:
        >>> import flambeau as torch
        >>> first = torch.seed()
        >>> first == torch.initial_seed()
        True
    """
    found = default_generator.seed()
    for generator in _others.values():
        generator.manual_seed(found)
    return found


@public()
def initial_seed() -> int:
    """The seed that the current sequence started from.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(42)
        >>> torch.initial_seed()
        42
    """
    return default_generator.initial_seed()


@public()
def get_rng_state() -> Tensor:
    """The state of the CPU's generator as a uint8 tensor.

    Example:
        >>> import flambeau as torch
        >>> state = torch.get_rng_state()
        >>> state.dtype, state.shape
        (torch.uint8, torch.Size([5056]))
    """
    return default_generator.get_state()


@public()
def set_rng_state(new_state: Tensor) -> None:
    """Goes on from a state that :func:`get_rng_state` gave, here or in PyTorch.

    Example:
        >>> import flambeau as torch
        >>> state = torch.get_rng_state()
        >>> x = torch.rand(3)
        >>> torch.set_rng_state(state)
        >>> torch.equal(torch.rand(3), x)
        True
    """
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str = "cuda",
) -> Iterator[None]:
    """Inside the block draws go their own way; afterwards the sequences go on as if there had been none.

    Args:
        devices: accelerators whose state is kept too; all that were used if None.
        enabled: False makes it do nothing.

    Example:
        >>> import flambeau as torch
        >>> _ = torch.manual_seed(0)
        >>> with torch.random.fork_rng():
        ...     x = torch.rand(100)
        >>> torch.rand(2)
        tensor([0.4963, 0.7682])
    """
    if not enabled:
        yield
        return
    kept = [default_generator]
    if devices is None:
        kept += list(_others.values())
    else:
        kept += [generator_for(_accelerator(device, device_type)) for device in devices]
    states = [generator.get_state() for generator in kept]
    try:
        yield
    finally:
        for generator, state in zip(kept, states, strict=True):
            generator.set_state(state)


def _accelerator(device: Any, device_type: str) -> devices.device:
    return devices.device(device_type, device) if isinstance(device, int) else devices.device(device)


def thread_safe_generator() -> Generator | None:
    """The generator of the thread that a DataLoader's worker runs in: None, as workers are processes of their own.

    Example:
        >>> import flambeau as torch
        >>> torch.random.thread_safe_generator() is None
        True
    """
    return None
