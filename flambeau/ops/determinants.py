"""Determinants, their logarithms, and the cofactors that are their gradient."""

from __future__ import annotations

from typing import Any

from flambeau.graph.node import Aval
from flambeau.ops.linalg import INV, adjoint, floating, inv_lax, square
from flambeau.ops.operator import operator, public
from flambeau.ops.pointwise import conj
from flambeau.ops.samples import T, case
from flambeau.return_types import named
from flambeau.tensor.tensor import Tensor


def _det_rule(A: Aval) -> Aval:
    return A.of(A.shape[:-2])


def _det_kernel(xp: Any, A: Any) -> Any:
    return xp.linalg.det(A).astype(A.dtype) if A.shape[-1] else xp.ones(A.shape[:-2], A.dtype)


def _det_derivative(grad: Tensor, A: Tensor) -> Tensor:
    return COFACTOR(A) * grad.unsqueeze(-1).unsqueeze(-1)


DET = operator(
    "linalg_det",
    _det_rule,
    _det_kernel,
    _det_derivative,
    samples=lambda: [
        case("linalg.det", T(3, 3)),
        case("det", T(2, 4, 4)),
        case("linalg.det", T(2, 0, 0)),
        case("linalg.det", T(2, 2, dtype="complex64")),
    ],
)


def _cofactor_rule(A: Aval) -> Aval:
    return A.of()


def _cofactor_by_svd(xp: Any, A: Any) -> Any:
    u, s, vh = xp.linalg.svd(A)
    n = A.shape[-1]
    others = xp.prod(xp.where(xp.eye(n, dtype=bool), xp.ones((), s.dtype), s[..., None, :]), axis=-1)
    phase = xp.conj(xp.linalg.det(u) * xp.linalg.det(vh))[..., None, None]
    return (phase * ((u * others[..., None, :]) @ vh)).astype(A.dtype)


def _cofactor_numpy(np: Any, A: Any) -> Any:
    try:
        inverse = np.linalg.inv(A)
    except np.linalg.LinAlgError:
        return _cofactor_by_svd(np, A)
    det = np.linalg.det(A)[..., None, None]
    return np.conj(det * np.swapaxes(inverse, -2, -1)).astype(A.dtype)


def _cofactor_lax(jnp: Any, A: Any) -> Any:
    from jax import lax

    if A.size == 0:
        return A
    inverse, info = inv_lax(jnp, A)

    def regular(_: Any) -> Any:
        det = jnp.linalg.det(A)[..., None, None]
        return jnp.conj(det * jnp.swapaxes(inverse, -2, -1)).astype(A.dtype)

    return lax.cond(jnp.any(info != 0), lambda _: _cofactor_by_svd(jnp, A), regular, None)


def _cofactor_derivative(grad: Tensor, A: Tensor) -> Tensor:
    inverse = INV(A)[0]
    backward = adjoint(inverse)
    along = conj((grad * inverse.transpose(-2, -1)).sum((-2, -1), keepdim=True))
    det = conj(DET(A)).unsqueeze(-1).unsqueeze(-1)
    return det * (along * backward - backward @ adjoint(grad) @ backward)


COFACTOR = operator(
    "cofactor",
    _cofactor_rule,
    None,
    _cofactor_derivative,
    numpy=_cofactor_numpy,
    lax=_cofactor_lax,
    samples=lambda: [case("linalg.det", T(3, 3))],
)


@public(into="linalg", out="exact")
def det(A: Tensor) -> Tensor:
    """The determinants of square matrices.  Its gradient, the cofactors, exists for singular ones as well.

    Shape: (..., N, N) gives (...).

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.det(torch.tensor([[1., 2.], [3., 4.]]))
        tensor(-2.)
    """
    square("linalg.det", A)
    floating("linalg.det", A, "lu_cpu")
    return DET(A)


@public("det", method=True)
def _det(input: Tensor) -> Tensor:
    """The determinants of square matrices; see :func:`flambeau.linalg.det`.

    Example:
        >>> import flambeau as torch
        >>> torch.det(torch.tensor([[[1., 2.], [3., 4.]], [[2., 0.], [0., 5.]]]))
        tensor([-2., 10.])
    """
    return det(input)


def _slogdet_rule(A: Aval) -> tuple[Aval, Aval]:
    return A.of(A.shape[:-2]), A.of(A.shape[:-2], A.dtype.to_real())


def _slogdet_kernel(xp: Any, A: Any) -> Any:
    if A.shape[-1] == 0:
        return xp.ones(A.shape[:-2], A.dtype), xp.zeros(A.shape[:-2], A.real.dtype)
    sign, size = xp.linalg.slogdet(A)
    return sign.astype(A.dtype), size


def _slogdet_derivative(grads: list[Tensor], A: Tensor, outs: list[Tensor]) -> Tensor:
    slope = grads[1]
    if A.dtype.is_complex:
        turned = (conj(grads[0]) * outs[0]).imag
        slope = slope - turned * 1j
    return adjoint(INV(A)[0]) * slope.unsqueeze(-1).unsqueeze(-1)


SLOGDET = operator(
    "linalg_slogdet",
    _slogdet_rule,
    _slogdet_kernel,
    _slogdet_derivative,
    samples=lambda: [
        case("linalg.slogdet", T(3, 3)),
        case("slogdet", T(2, 4, 4)),
        case("linalg.slogdet", T(2, 2, dtype="complex64")),
    ],
)


@public(into="linalg", out="exact")
def slogdet(A: Tensor) -> Any:
    """The sign of the determinants (complex: the phase) and the logarithm of their size.

    Shape: (..., N, N) gives (...) twice.

    Example:
        >>> import flambeau as torch
        >>> torch.linalg.slogdet(torch.tensor([[0., 2.], [4., 0.]]))
        torch.return_types.linalg_slogdet(
        sign=tensor(-1.),
        logabsdet=tensor(2.0794))
    """
    square("linalg.slogdet", A)
    floating("linalg.slogdet", A)
    return named("linalg_slogdet", *SLOGDET(A))


@public("slogdet", method=True, out="exact")
def _slogdet(input: Tensor) -> Any:
    """The sign and the logarithm of the size of determinants; see :func:`flambeau.linalg.slogdet`.

    Example:
        >>> import flambeau as torch
        >>> sign, logarithm = torch.slogdet(1000 * torch.eye(50))
        >>> sign, (logarithm / torch.log(torch.tensor(1000.))).round()
        (tensor(1.), tensor(50.))
    """
    square("linalg.slogdet", input)
    floating("linalg.slogdet", input)
    return named("slogdet", *SLOGDET(input))


@public(method=True)
def logdet(input: Tensor) -> Tensor:
    """The logarithms of determinants; nan where one is negative.

    Shape: (..., N, N) gives (...).

    Example:
        >>> import flambeau as torch
        >>> torch.logdet(torch.tensor([[2., 0.], [0., 4.]])), torch.logdet(torch.tensor([[0., 1.], [1., 0.]]))
        (tensor(2.0794), tensor(nan))
    """
    square("logdet", input)
    floating("logdet", input)
    sign, size = SLOGDET(input)
    if input.dtype.is_complex:
        return sign.log() + size
    return size.masked_fill(sign == -1, float("nan"))
