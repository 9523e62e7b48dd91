"""Memory formats of convolution weights.

How elements lie in memory is the engine's business here, so these change nothing that can be seen.
"""

from __future__ import annotations

from typing import Any, TypeVar

from flambeau.nn.modules.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

M = TypeVar("M", bound=Module)


def convert_conv2d_weight_memory_format(module: M, memory_format: Any) -> M:
    """Returns the module as it is: the engine lays out the weights of convolutions by itself.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Conv2d(3, 8, 3)
        >>> layer = torch.nn.utils.convert_conv2d_weight_memory_format(layer, torch.channels_last)
        >>> layer.weight.shape
        torch.Size([8, 3, 3, 3])
    """
    return module


def convert_conv3d_weight_memory_format(module: M, memory_format: Any) -> M:
    """Returns the module as it is: the engine lays out the weights of convolutions by itself.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Conv3d(3, 8, 3)
        >>> layer = torch.nn.utils.convert_conv3d_weight_memory_format(layer, torch.channels_last_3d)
        >>> layer.weight.shape
        torch.Size([8, 3, 3, 3, 3])
    """
    return module
