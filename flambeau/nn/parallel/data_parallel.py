"""The wrapper by which programs ask for all GPUs of one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau import devices
from flambeau.nn.modules.module import Module


class DataParallel(Module):
    """Calls the module that it wraps, on one device; its state has ``"module."`` before every name.

    Without an accelerator PyTorch's does the same.  Splitting the batch among the threads of one process is what
    PyTorch itself advises against.

    Args:
        module: what is called.
        device_ids: the number of the accelerator that the module is to be moved to; where there is none, it stays.
        output_device, dim: accepted.

    Raises:
        NotImplementedError: if several devices are asked for.

    Example:
        >>> import flambeau as torch
        >>> net = torch.nn.DataParallel(torch.nn.Linear(3, 2))
        >>> net(torch.zeros(4, 3)).shape
        torch.Size([4, 2])
        >>> list(net.state_dict())
        ['module.weight', 'module.bias']
    """

    module: Module

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        from flambeau import cuda

        self.module = module
        self.device_ids = list(device_ids or ()) if cuda.is_available() else []
        if len(self.device_ids) > 1:
            raise NotImplementedError(
                f"DataParallel: devices {self.device_ids} were asked for, and one process computes on one of them: "
                f"give device_ids={self.device_ids[:1]}"
            )
        if self.device_ids:
            number = self.device_ids[0]
            module.to(devices.device("cuda", number) if isinstance(number, int) else number)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """What :class:`DataParallel` gives for some inputs: a tuple of arguments, or one that is none.

    Raises:
        NotImplementedError: if several devices are asked for.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.parallel.data_parallel(torch.nn.Linear(3, 2), torch.zeros(4, 3)).shape
        torch.Size([4, 2])
    """
    given = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*given, **(module_kwargs or {}))
