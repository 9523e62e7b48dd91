"""Forward-mode differentiation: tensors that carry a tangent.

A dual tensor is noted on the tape like one that requires a gradient.  The tangent of a result is worked out when it
is asked for, by going backward twice; so operations in between must not be hidden from the tape by ``no_grad``.
"""

from __future__ import annotations

from typing import NamedTuple

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.autograd.node import edge_of
from flambeau.func.entry import Entry, Linear, Transform, released
from flambeau.tensor.tensor import Tensor

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]


class UnpackedDualTensor(NamedTuple):
    """What :func:`unpack_dual` gives: a tensor and its tangent, or None.

    Example:
        >>> import flambeau as torch
        >>> with torch.autograd.forward_ad.dual_level():
        ...     x = torch.autograd.forward_ad.make_dual(torch.tensor(3.), torch.tensor(1.))
        ...     primal, tangent = torch.autograd.forward_ad.unpack_dual(x * x)
        ...     print(primal, tangent)
        tensor(9.) tensor(6.)
    """

    primal: Tensor
    tangent: Tensor | None


class _Level:
    """One level: the tensors that carry tangents in it."""

    def __init__(self) -> None:
        self.transform = Transform()
        self.duals: list[tuple[Tensor, Tensor]] = []


_level: _Level | None = None


def enter_dual_level() -> int:
    """Begins a level, in which tensors can be given tangents; its number.

    Raises:
        RuntimeError: if there is one already.

    Example:
        >>> import flambeau as torch
        >>> level = torch.autograd.forward_ad.enter_dual_level()
        >>> x = torch.autograd.forward_ad.make_dual(torch.tensor(3.), torch.tensor(1.))
        >>> torch.autograd.forward_ad.unpack_dual(x * x).tangent
        tensor(6.)
        >>> torch.autograd.forward_ad.exit_dual_level(level=level)
    """
    global _level
    if _level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _level = _Level()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """Ends the level: all tangents are gone.

    Raises:
        RuntimeError: if there is none, or it has another number.

    Example:
        >>> import flambeau as torch
        >>> level = torch.autograd.forward_ad.enter_dual_level()
        >>> x = torch.autograd.forward_ad.make_dual(torch.tensor(3.), torch.tensor(1.))
        >>> torch.autograd.forward_ad.exit_dual_level(level=level)
        >>> torch.autograd.forward_ad.unpack_dual(x).tangent is None
        True
    """
    global _level
    if _level is None or level not in (None, 0):
        raise RuntimeError(
            "Trying to exit a forward AD level that was not the last one that was created. This is not supported."
        )
    _level.transform.running = False
    _level = None


class dual_level:
    """A level for the length of a ``with`` block.

    Example:
        >>> import flambeau as torch
        >>> import flambeau.autograd.forward_ad as fwAD
        >>> with fwAD.dual_level():
        ...     x = fwAD.make_dual(torch.zeros(2), torch.tensor([1.0, 2.0]))
        ...     fwAD.unpack_dual(x.sin()).tangent
        tensor([1., 2.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor of the same values that carries a tangent.

    Raises:
        RuntimeError: outside of a level, or if the tangent has another shape.
        ValueError: if one of the two is not of a floating-point or complex type.

    Example:
        >>> import flambeau as torch
        >>> with torch.autograd.forward_ad.dual_level():
        ...     x = torch.autograd.forward_ad.make_dual(torch.tensor([1., 2.]), torch.tensor([1., 0.]))
        ...     torch.autograd.forward_ad.unpack_dual(x**2).tangent
        tensor([2., 0.])
    """
    if _level is None:
        raise RuntimeError(
            "Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    for name, given in (("primal", tensor), ("tangent", tangent)):
        if given.dtype.category < dtypes.FLOATING:
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {given.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Trying to set a forward gradient that has a different size than that of the original Tensor, this is not "
            f"supported. Tensor is of size {list(tensor.shape)} while the given forward gradient is of size "
            f"{list(tangent.shape)}."
        )
    entry = Entry(edge_of(tensor), tensor._node.aval, _level.transform)
    _level.duals.append((entry.shown(tensor), tangent))
    return entry.shown(tensor)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """A tensor without its tangent, and the tangent: None if it carries none.

    Example:
        >>> import flambeau as torch
        >>> with torch.autograd.forward_ad.dual_level():
        ...     x = torch.autograd.forward_ad.make_dual(torch.tensor(2.), torch.tensor(1.))
        ...     torch.autograd.forward_ad.unpack_dual(x**3)
        UnpackedDualTensor(primal=tensor(8.), tangent=tensor(12.))
    """
    if _level is None or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    before = mode.grad
    mode.grad = True
    try:
        linear = Linear([tensor], [box for box, _ in _level.duals])
        tangent = linear([given for _, given in _level.duals])[0]
    finally:
        mode.grad = before
    _level.transform.running = False
    try:
        primal = released(tensor)
        tangent = None if tangent is None else released(tangent)
    finally:
        _level.transform.running = True
    return UnpackedDualTensor(primal, tangent)
