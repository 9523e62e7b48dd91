"""Instance normalization."""

from __future__ import annotations

from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules.batchnorm import _LazyNormBase, _NormBase
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = [
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]


class _InstanceNorm(_NormBase):
    # Dimensions of an input without a batch.
    _unbatched = 0

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _get_no_batch_dim(self) -> int:
        return self._unbatched

    def _check_input_dim(self, input: Tensor) -> None:
        low = self._get_no_batch_dim()
        if input.ndim not in (low, low + 1):
            raise ValueError(f"expected {low}D or {low + 1}D input (got {input.ndim}D input)")

    def _apply_instance_norm(self, input: Tensor) -> Tensor:
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum if self.momentum is not None else 0.0,
            self.eps,
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        at = input.ndim - self._get_no_batch_dim()
        if input.shape[at] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={at} to match num_features ({self.num_features}), but got: "
                    f"{input.shape[at]}."
                )
            warn(
                f"input's size at dim={at} does not match num_features. You can silence this warning by not passing in "
                "num_features, which is not used because affine=False",
            )
        if at == 0:
            return self._apply_instance_norm(input.unsqueeze(0)).squeeze(0)
        return self._apply_instance_norm(input)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        if local_metadata.get("version") is None and not self.track_running_stats:
            # State of old has running statistics even where they are not kept.
            unwanted = [prefix + name for name in ("running_mean", "running_var") if prefix + name in state_dict]
            if unwanted:
                names = " and ".join(f'"{key}"' for key in unwanted)
                kind = type(self).__name__
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {names} for {kind} with track_running_stats=False: {kind} "
                    "keeps no running statistics unless told to. Remove these keys from the state_dict, or make the "
                    "layer with track_running_stats=True."
                )
                for key in unwanted:
                    state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


class InstanceNorm1d(_InstanceNorm):
    """``(x - mean) / sqrt(variance + eps) · weight + bias`` for each channel of each example.

    Shape: (N, C, L) or (C, L), as the result.  Weight (ones) and bias (zeros) have one element per channel.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: the weight of the batch in the running averages.
        affine: whether there are weight and bias.
        track_running_stats: whether running averages are kept, and used in evaluation.
        bias: whether there is a bias, given that there is a weight.

    Ulyanov, Vedaldi and Lempitsky, Instance Normalization, 2016.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.InstanceNorm1d(2)(torch.tensor([[[1., 3.], [10., 30.]]]))
        tensor([[[-1.0000,  1.0000],
                 [-1.0000,  1.0000]]])
    """

    _unbatched = 2


class InstanceNorm2d(_InstanceNorm):
    """As :class:`InstanceNorm1d`, for images.  Shape: (N, C, H, W) or (C, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.InstanceNorm2d(3)(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
        >>> torch.nn.InstanceNorm2d(3, affine=True).weight.shape
        torch.Size([3])
    """

    _unbatched = 3


class InstanceNorm3d(_InstanceNorm):
    """As :class:`InstanceNorm1d`, for volumes.  Shape: (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import flambeau as torch
        >>> torch.nn.InstanceNorm3d(3)(torch.zeros(2, 3, 4, 5, 6)).shape
        torch.Size([2, 3, 4, 5, 6])
    """

    _unbatched = 4


class LazyInstanceNorm1d(_LazyNormBase, _InstanceNorm):
    """An :class:`InstanceNorm1d` that takes its number of channels from its first input.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyInstanceNorm1d(affine=True)
        >>> layer(torch.zeros(2, 5, 7)).shape
        torch.Size([2, 5, 7])
        >>> layer.weight.shape
        torch.Size([5])
    """

    cls_to_become = InstanceNorm1d
    _unbatched = 2


class LazyInstanceNorm2d(_LazyNormBase, _InstanceNorm):
    """An :class:`InstanceNorm2d` that takes its number of channels from its first input.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyInstanceNorm2d(affine=True)
        >>> layer(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
        >>> layer.num_features
        3
    """

    cls_to_become = InstanceNorm2d
    _unbatched = 3


class LazyInstanceNorm3d(_LazyNormBase, _InstanceNorm):
    """An :class:`InstanceNorm3d` that takes its number of channels from its first input.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.LazyInstanceNorm3d(affine=True)
        >>> layer(torch.zeros(2, 3, 4, 4, 4)).shape
        torch.Size([2, 3, 4, 4, 4])
        >>> layer.num_features
        3
    """

    cls_to_become = InstanceNorm3d
    _unbatched = 4
