"""Batch normalisation with fixed statistics, worked into the weights of the layer before it."""

from __future__ import annotations

import copy
from typing import Any

import flambeau
from flambeau.nn.parameter import Parameter
from flambeau.tensor.tensor import Tensor

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def _check(layer: Any, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A convolution that does what ``bn(conv(x))`` does in evaluation mode.

    Args:
        conv: a convolution.
        bn: the batch normalisation after it.
        transpose: whether the convolution is a transposed one.

    Raises:
        AssertionError: if one of them is in training mode, or ``bn`` has no running statistics.

    Example:
        >>> import flambeau as torch
        >>> conv, bn = torch.nn.Conv2d(3, 8, 3).eval(), torch.nn.BatchNorm2d(8).eval()
        >>> fused = torch.nn.utils.fuse_conv_bn_eval(conv, bn)
        >>> x = torch.ones(1, 3, 5, 5)
        >>> torch.allclose(fused(x), bn(conv(x)), atol=1e-6)
        True
    """
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that :func:`fuse_conv_bn_eval` makes.

    Example:
        >>> import flambeau as torch
        >>> w, mean, var = torch.ones(1, 1, 1), torch.tensor([3.]), torch.tensor([4.])
        >>> weight, bias = torch.nn.utils.fuse_conv_bn_weights(w, None, mean, var, 0.0, None, None)
        >>> weight.detach(), bias.detach()
        (tensor([[[0.5000]]]), tensor([-1.5000]))
    """
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    scale = flambeau.rsqrt(bn_rv + bn_eps)
    if bn_w is not None:
        scale = bn_w * scale
    return _fused(conv_w, conv_b, bn_rm, scale, bn_b, shape)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A linear layer that does what ``bn(linear(x))`` does in evaluation mode.

    Args:
        linear: a linear layer.
        bn: the batch normalisation after it, of as many features or of one.

    Raises:
        AssertionError: if one of them is in training mode, ``bn`` has no running statistics, or the
            numbers of features do not fit.

    Example:
        >>> import flambeau as torch
        >>> linear, bn = torch.nn.Linear(3, 8).eval(), torch.nn.BatchNorm1d(8).eval()
        >>> fused = torch.nn.utils.fuse_linear_bn_eval(linear, bn)
        >>> x = torch.ones(2, 3)
        >>> torch.allclose(fused(x), bn(linear(x)), atol=1e-6)
        True
    """
    if linear.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    _check(linear, bn)
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor,
    bn_b: Tensor,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that :func:`fuse_linear_bn_eval` makes.

    Example:
        >>> import flambeau as torch
        >>> w, b, mean, var = torch.ones(1, 2), torch.tensor([5.]), torch.tensor([3.]), torch.tensor([4.])
        >>> scale, shift = torch.tensor([2.]), torch.tensor([1.])
        >>> weight, bias = torch.nn.utils.fuse_linear_bn_weights(w, b, mean, var, 0.0, scale, shift)
        >>> weight.detach(), bias.detach()
        (tensor([[1., 1.]]), tensor([3.]))
    """
    return _fused(linear_w, linear_b, bn_rm, bn_w * flambeau.rsqrt(bn_rv + bn_eps), bn_b, [-1, 1])


def _fused(
    weight: Tensor, bias: Tensor | None, mean: Tensor, scale: Tensor, shift: Tensor | None, shape: list[int]
) -> tuple[Parameter, Parameter]:
    bias_dtype = weight.dtype if bias is None else bias.dtype
    trained = bias is not None and bias.requires_grad
    centred = -mean if bias is None else bias - mean
    moved = centred * scale
    if shift is not None:
        moved = moved + shift
    new_weight = (weight * scale.reshape(shape)).to(weight.dtype)
    return Parameter(new_weight, weight.requires_grad), Parameter(moved.to(bias_dtype), trained)
