"""Which GPU is meant: the one given, or the one selected."""

from __future__ import annotations

from typing import Any

from flambeau import devices
from flambeau.engine import accelerators


def gpus() -> list[Any]:
    """JAX's GPUs.

    Raises:
        AssertionError: if there is none.
    """
    found = accelerators.available("cuda")
    if not found:
        raise accelerators.MissingAcceleratorError(accelerators.missing("cuda"))
    return found


def index_of(given: Any, optional: bool = True) -> int:
    """The number of a GPU that is given by number, name or device; of the selected one, if it is given without number.

    Raises:
        ValueError: if what is given is no GPU, or has no number where one is needed.
    """
    if isinstance(given, int):
        return given
    named = devices.device(given) if isinstance(given, str) else given
    if isinstance(named, devices.device):
        if named.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {named}")
        if named.index is not None:
            return named.index
    if not optional:
        raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{given}")
    return devices.selected("cuda")


def gpu_of(given: Any = None) -> Any:
    """JAX's GPU for a number, name or device; the selected one, if it is given without number.

    Raises:
        AssertionError: if there is no GPU, or none of that number.
        ValueError: if what is given is no GPU.
    """
    found = gpus()
    index = index_of(given)
    if not 0 <= index < len(found):
        raise AssertionError(f"Invalid device id: {index} (there are {len(found)} GPUs, counted from 0)")
    return found[index]


def device_for(given: Any = None) -> devices.device:
    """The device for a number, name or device; the selected one, if it is given without number or is negative.

    Raises:
        RuntimeError: if it is not there.
        ValueError: if what is given is no GPU.
    """
    index = index_of(given)
    return devices.resolve(devices.device("cuda", index if index >= 0 else None))


class device:
    """Selects a GPU inside of a ``with`` block: ``"cuda"`` without a number means that one there.

    Args:
        device: number, name or device; a negative number selects nothing.

    Raises:
        ValueError: if it is no GPU.
        RuntimeError: at the block's beginning, if it is not there (AcceleratorError, if others are).

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     with torch.cuda.device(0):
        ...         x = torch.ones(2, device="cuda")
    """

    def __init__(self, device: Any) -> None:
        self.idx = index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        if self.idx >= 0:
            self.prev_idx = devices.selected("cuda")
            _select(self.idx)

    def __exit__(self, *exc: object) -> bool:
        if self.prev_idx >= 0:
            _select(self.prev_idx)
        return False


class device_of(device):
    """Selects the GPU that a tensor or storage is on inside of a ``with`` block; none, if it is on another device.

    Example:
        >>> import flambeau as torch
        >>> x = torch.ones(2)
        >>> with torch.cuda.device_of(x):
        ...     y = torch.ones(2, device=x.device)
    """

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else -1)


def set_device(device: Any) -> None:
    """Selects a GPU for this thread: ``"cuda"`` without a number means that one from now on.

    Args:
        device: number, name or device; a negative number selects nothing.

    Raises:
        ValueError: if it is no GPU, or one without a number.
        AcceleratorError: if it is not there, but others are.
        AttributeError: if there is no GPU, as with PyTorch's CPU build.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     torch.cuda.set_device(0)
    """
    index = index_of(device, optional=False)
    if index < 0:
        return
    if not accelerators.available("cuda"):
        raise AttributeError(accelerators.missing("cuda"))
    _select(index)


def _select(index: int) -> None:
    devices.resolve(devices.device("cuda", index))
    devices.select("cuda", index)


def current_device() -> int:
    """The number of the GPU that ``"cuda"`` without a number means in this thread.

    Raises:
        AssertionError: if there is no GPU.

    Example:
        >>> import flambeau as torch
        >>> if torch.cuda.is_available():
        ...     number = torch.cuda.current_device()
    """
    gpus()
    return devices.selected("cuda")
