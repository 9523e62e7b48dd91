"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import flambeau
from flambeau.settings import typename
from flambeau.tensor.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _one_device(tensors: list[Tensor]) -> None:
    if any(tensor.device != tensors[0].device for tensor in tensors[1:]):
        raise TypeError("Found two parameters on different devices, this is currently not supported.")


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after another, in a vector; differentiable.

    Raises:
        TypeError: if they are on different devices.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.utils.parameters_to_vector([torch.ones(2, 2), torch.zeros(1)])
        tensor([1., 1., 1., 1., 0.])
    """
    tensors = list(parameters)
    _one_device(tensors)
    return flambeau.cat([tensor.reshape(-1) for tensor in tensors])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Gives parameters the values that :func:`parameters_to_vector` put into a vector.

    Raises:
        TypeError: if ``vec`` is no tensor, or the parameters are on different devices.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(2, 1)
        >>> torch.nn.utils.vector_to_parameters(torch.tensor([1., 2., 3.]), layer.parameters())
        >>> layer.weight.detach(), layer.bias.detach()
        (tensor([[1., 2.]]), tensor([3.]))
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {typename(vec)}")
    tensors = list(parameters)
    _one_device(tensors)
    start = 0
    for tensor in tensors:
        end = start + tensor.numel()
        tensor.data = vec[start:end].view_as(tensor).data
        start = end
