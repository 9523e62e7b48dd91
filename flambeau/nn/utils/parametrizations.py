"""Parametrizations that are ready for use."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

import flambeau
from flambeau.autograd.grad_mode import no_grad
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import parametrize
from flambeau.nn.utils.spectral_norm import as_matrix, default_dim, unit
from flambeau.nn.utils.weight_norm import norm_except_dim, normalized
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.views import write

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


# ---------------------------------------------------------------- orthogonal


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _identity(n: int, like: Tensor) -> Tensor:
    return flambeau.eye(n, dtype=like.dtype, device=like.device)


def _is_orthogonal(q: Tensor) -> bool:
    n, k = q.shape[-2:]
    return flambeau.allclose(q.mH @ q, _identity(k, q), atol=10.0 * n * flambeau.finfo(q.dtype).eps)


def _make_orthogonal(a: Tensor) -> Tensor:
    """The Q of the QR decomposition of a tall matrix in which R has a positive diagonal."""
    x, tau = flambeau.geqrf(a)
    return flambeau.linalg.householder_product(x, tau) * x.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _Orthogonal(Module):
    """A map from any matrix to one with orthonormal columns (rows, if it is wide).

    Args:
        weight: the matrix as it was.
        orthogonal_map: the exponential or the Cayley map of a skew-symmetric matrix, or a product of reflections.
        use_trivialization: whether to multiply by a fixed orthogonal matrix, so that zero means the start
            (Lezcano-Casado 2019).
    """

    base: Tensor

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map is _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        tall = X.mT if wide else X
        if self.orthogonal_map is _OrthMaps.householder:
            below = tall.tril(-1)
            tau = 2.0 / (1.0 + (below * below).sum(-2))
            q = flambeau.linalg.householder_product(below, tau)
            # The diagonal holds signs, which are not trained.
            q = q * tall.diagonal(dim1=-2, dim2=-1).detach().int().unsqueeze(-2)
        else:
            q = self._of_skew(tall)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _of_skew(self, tall: Tensor) -> Tensor:
        n, k = tall.shape[-2:]
        x = tall.tril()
        if n != k:
            x = flambeau.cat([x, x.new_zeros((*x.shape[:-1], n - k))], dim=-1)
        skew = x - x.mH
        if self.orthogonal_map is _OrthMaps.matrix_exp:
            q = flambeau.matrix_exp(skew)
        else:
            one = _identity(n, skew)
            q = flambeau.linalg.solve(one - 0.5 * skew, one + 0.5 * skew)
        return q[..., :k] if n != k else q

    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
            )
        with no_grad():
            wide = Q.shape[-2] < Q.shape[-1]
            tall = Q.mT if wide else Q
            if not hasattr(self, "base"):
                reflectors = self._reflectors(tall)
                return reflectors.mT if wide else reflectors
            n, k = tall.shape[-2:]
            if n == k:
                self.base = tall.clone() if _is_orthogonal(tall) else _make_orthogonal(tall)
            else:
                rest = flambeau.randn(*tall.shape[:-2], n, n - k, dtype=tall.dtype, device=tall.device)
                self.base = _make_orthogonal(flambeau.cat([tall, rest], dim=-1))
            # Minus one on the diagonal: a product of reflections along zero vectors is then the identity.
            return -flambeau.eye(*Q.shape[-2:], dtype=Q.dtype, device=Q.device).expand(Q.shape).clone()

    def _reflectors(self, tall: Tensor) -> Tensor:
        if self.orthogonal_map is not _OrthMaps.householder:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False."
            )
        a, tau = flambeau.geqrf(tall)
        signs = a.diagonal(dim1=-2, dim2=-1).sign()
        # Where no reflection was needed, tau is zero exactly.
        signs = flambeau.where(tau == 0.0, -signs, signs)
        on_diagonal = flambeau.eye(*a.shape[-2:], dtype=flambeau.bool, device=a.device)
        return flambeau.where(on_diagonal, signs.unsqueeze(-2), a)


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keeps a weight's columns orthonormal (its rows, if it is wide).

    Args:
        module: the module that has the weight.
        name: its name; of two dimensions or more, the last two being the matrix.
        orthogonal_map: ``"matrix_exp"``, ``"cayley"`` or ``"householder"``; the first for square and complex
            matrices if None, else the last.
        use_trivialization: whether to multiply by a fixed orthogonal matrix (Lezcano-Casado 2019).

    Raises:
        ValueError: if there is no such weight, it is no matrix, or there is no such map.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 3))
        >>> torch.allclose(layer.weight @ layer.weight.T, torch.eye(3), atol=1e-5)
        True
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    chosen = getattr(_OrthMaps, orthogonal_map, None)
    if chosen is None:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    parametrization = _Orthogonal(weight, chosen, use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, parametrization, unsafe=True)


# ---------------------------------------------------------------- weight norm


class _WeightNorm(Module):
    """``g · v / ‖v‖``."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, 2, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Splits a weight into lengths and directions, ``w = g · v / ‖v‖`` (Salimans and Kingma 2016).

    Args:
        module: the module that has the weight.
        name: its name.
        dim: the dimension along which there is a length each; None for a single one.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 1))
        >>> layer.weight = torch.tensor([[3., 4.]])
        >>> layer.parametrizations.weight.original0.detach(), layer.parametrizations.weight.original1.detach()
        (tensor([[5.]]), tensor([[3., 4.]]))
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: Any, prefix: str, *rest: Any) -> None:
        # The names that the former torch.nn.utils.weight_norm gave.
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


# ---------------------------------------------------------------- spectral norm


class _SpectralNorm(Module):
    """A weight divided by its largest singular value."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim % ndim
        self.eps = eps
        if ndim == 1:
            return
        self.n_power_iterations = n_power_iterations
        matrix = as_matrix(weight, self.dim)
        u = matrix.new_empty(matrix.shape[0]).normal_(0, 1)
        v = matrix.new_empty(matrix.shape[1]).normal_(0, 1)
        self.register_buffer("_u", unit(u, eps))
        self.register_buffer("_v", unit(v, eps))
        self._power_method(matrix, 15)

    def _power_method(self, matrix: Tensor, steps: int) -> None:
        with no_grad():
            for _ in range(steps):
                write(self._u, unit(flambeau.mv(matrix, self._v), self.eps))
                write(self._v, unit(flambeau.mv(matrix.mH, self._u), self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        # Clones, so that a later step leaves what this forward saved alone.
        sigma = flambeau.vdot(self._u.clone(), flambeau.mv(matrix, self._v.clone()))
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divides a weight by its largest singular value, which the power method follows (Miyato et al. 2018).

    Args:
        module: the module that has the weight; a vector is divided by its length.
        name: its name.
        n_power_iterations: steps of the power method at each look at the weight in training mode.
        eps: keeps lengths from being zero.
        dim: the dimension of the weight that counts as rows; that of the outputs if None.

    Raises:
        ValueError: if there is no such weight.

    Example:
        >>> import flambeau as torch
        >>> layer = torch.nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[4., 0.], [0., 1.]]))
        >>> layer = torch.nn.utils.parametrizations.spectral_norm(layer)
        >>> layer.weight.detach().round(decimals=3)
        tensor([[1.0000, 0.0000],
                [0.0000, 0.2500]])
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    dim = default_dim(module) if dim is None else dim
    parametrization = _SpectralNorm(weight.detach(), n_power_iterations, dim, eps)
    return parametrize.register_parametrization(module, name, parametrization)
