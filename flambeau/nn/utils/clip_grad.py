"""Keeping gradients small."""

from __future__ import annotations

import types
from typing import Any

import flambeau
from flambeau.autograd.grad_mode import no_grad
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_"]


def _gradients(parameters: Any) -> list[Tensor]:
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@no_grad()
def _get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None
) -> Tensor:
    """The p-norm of all elements of all tensors together.

    Args:
        tensors: one or several.
        norm_type: p, which may be ``inf``.
        error_if_nonfinite: whether to raise when the norm is infinite or NaN.
        foreach: of no consequence; all tensors are handled in one program anyway.

    Raises:
        RuntimeError: if the norm is not finite, and that was asked for.

    Example:
        >>> import flambeau as torch
        >>> torch.nn.utils.get_total_norm([torch.tensor([3.]), torch.tensor([[4.]])])
        tensor(5.)
        >>> torch.nn.utils.get_total_norm([torch.tensor([3.]), torch.tensor([[-4.]])], norm_type=float("inf"))
        tensor(4.)
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return flambeau.tensor(0.0)
    first = tensors[0].device
    norms = [flambeau.linalg.vector_norm(tensor, norm_type).to(first) for tensor in tensors]
    total = flambeau.linalg.vector_norm(flambeau.stack(_in_common_type(norms)), norm_type)
    if error_if_nonfinite and not bool(total.isfinite()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def _in_common_type(norms: list[Tensor]) -> list[Tensor]:
    dtype = norms[0].dtype
    for norm in norms[1:]:
        dtype = flambeau.promote_types(dtype, norm.dtype)
    return [norm.to(dtype) for norm in norms]


@no_grad()
def _clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None) -> None:
    """Multiplies all gradients, in place, by ``min(max_norm / (total_norm + 1e-6), 1)``.

    Args:
        parameters: one or several.
        max_norm: what the norm is to be at most.
        total_norm: what it is.
        foreach: of no consequence.

    Example:
        >>> import flambeau as torch
        >>> w = torch.zeros(2, requires_grad=True)
        >>> w.grad = torch.tensor([3., 4.])
        >>> torch.nn.utils.clip_grads_with_norm_(w, max_norm=1.0, total_norm=torch.tensor(10.))
        >>> w.grad
        tensor([0.3000, 0.4000])
    """
    gradients = _gradients(parameters)
    if not gradients:
        return
    if not isinstance(total_norm, Tensor):
        raise TypeError(f"clip_grads_with_norm_(): total_norm must be a Tensor, not {type(total_norm).__name__}")
    factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.to(gradient.device))


@no_grad()
def clip_grad_norm_(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scales all gradients down, in place, until their common norm is at most ``max_norm``.

    Args:
        parameters: one or several; those without gradient do not count.
        max_norm: what the norm is to be at most.
        norm_type: p of the p-norm, which may be ``inf``.
        error_if_nonfinite: whether to raise when the norm is infinite or NaN.
        foreach: of no consequence.

    Returns:
        The norm before.

    Example:
        >>> import flambeau as torch
        >>> w = torch.nn.Parameter(torch.zeros(2))
        >>> (w * torch.tensor([3., 4.])).sum().backward()
        >>> torch.nn.utils.clip_grad_norm_(w, 1.0)
        tensor(5.)
    """
    if not isinstance(parameters, Tensor):
        generated = isinstance(parameters, types.GeneratorType)
        parameters = list(parameters)
        if generated and not parameters:
            warn("`parameters` is an empty generator, no gradient clipping will occur.")
    total = _get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    _clip_grads_with_norm_(parameters, max_norm, total, foreach)
    return total


def clip_grad_norm(
    parameters: Any,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The former name of :func:`clip_grad_norm_`.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> w = torch.zeros(2, requires_grad=True)
        >>> w.grad = torch.tensor([3., 4.])
        >>> with warnings.catch_warnings(action="ignore"):
        ...     total = torch.nn.utils.clip_grad_norm(w, 1.0)
        >>> total, w.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Puts every element of the gradients, in place, between ``-clip_value`` and ``clip_value``.

    Args:
        parameters: one or several; those without gradient do not count.
        clip_value: the bound.
        foreach: of no consequence.

    Example:
        >>> import flambeau as torch
        >>> w = torch.zeros(3, requires_grad=True)
        >>> w.grad = torch.tensor([-5., 0.25, 5.])
        >>> torch.nn.utils.clip_grad_value_(w, 1.0)
        >>> w.grad
        tensor([-1.0000,  0.2500,  1.0000])
    """
    bound = float(clip_value)
    for gradient in _gradients(parameters):
        gradient.clamp_(min=-bound, max=bound)
