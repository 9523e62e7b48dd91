"""Reductions and normalisations over the elements that a mask calls valid (``torch.masked``).

The functions share these arguments:

- ``input``: a tensor of any shape.
- ``mask``: True where an element of ``input`` is valid; any shape that broadcasts to that of ``input``; of another
  type than bool, valid where not zero.  None: all are valid.
- ``dim``: one dimension or several; None or ``()`` for all.
- ``keepdim``: leave the reduced dimensions as ones.
- ``dtype``: of the result; that of ``input`` if None.

They replace what is invalid by a value that does not change the result, and call the function of the same name
without a mask.  A reduction of nothing but invalid elements gives that value; a mean, median, variance or softmax of
such gives NaN.

Errors: ``IndexError`` where the mask has more dimensions than the input or ``dim`` is out of range, ``RuntimeError``
where the mask does not broadcast or a dimension is named twice.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import flambeau as torch
from flambeau import dtypes
from flambeau.ops.reduce import reduced_dims
from flambeau.tensor.tensor import Tensor

__all__ = [
    "MaskedTensor",
    "amax",
    "amin",
    "argmax",
    "argmin",
    "as_masked_tensor",
    "cumprod",
    "cumsum",
    "is_masked_tensor",
    "log_softmax",
    "logaddexp",
    "logsumexp",
    "masked_tensor",
    "mean",
    "median",
    "norm",
    "normalize",
    "prod",
    "softmax",
    "softmin",
    "std",
    "sum",
    "var",
]

Dims = int | Sequence[int] | None

# ---------------------------------------------------------------- what the family shares


def _whole(input: Tensor, mask: Tensor) -> Tensor:
    """The mask as bools in the shape of the input."""
    if mask.ndim > input.ndim:
        raise IndexError(
            f"masked: expected a mask that broadcasts to the input's shape {list(input.shape)}, but got one with more "
            f"dimensions, of shape {list(mask.shape)}"
        )
    return mask.broadcast_to(input.shape).to(dtypes.bool_)


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """The input with ``value`` where the mask calls it invalid."""
    if mask is None:
        return input
    return torch.where(_whole(input, mask), input, torch.tensor(value, dtype=input.dtype, device=input.device))


def _lowest(name: str, dtype: dtypes.dtype) -> Any:
    """The value that no maximum picks while there is another."""
    _check_ordered(name, dtype)
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _highest(name: str, dtype: dtypes.dtype) -> Any:
    """The value that no minimum picks while there is another."""
    _check_ordered(name, dtype)
    return math.inf if dtype.is_floating_point else torch.iinfo(dtype).max


def _check_ordered(name: str, dtype: dtypes.dtype) -> None:
    if dtype.is_complex or dtype is dtypes.bool_:
        error = TypeError if dtype.is_complex else NotImplementedError
        raise error(f"identity of {name} on {dtype} input: masked {name} takes integer and floating point tensors")


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    return tuple(sorted(reduced_dims(dim, ndim)))


def _first_dim(dim: Dims, ndim: int) -> int:
    dims = _dims(dim, ndim)
    return dims[0] if dims else 0


def _summed_type(input: Tensor, dtype: dtypes.dtype | None) -> dtypes.dtype:
    """The type of a sum or product: integers and bools become int64 unless another is asked for."""
    if dtype is not None:
        return dtype
    return input.dtype if input.dtype.category >= dtypes.FLOATING else dtypes.int64


# ---------------------------------------------------------------- sums and products


def sum(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The sum of the valid elements along ``dim``; 0 if there are none.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.sum(torch.tensor([1., 2., 4.]), mask=torch.tensor([True, False, True]))
        tensor(5.)
    """
    return torch.sum(
        _filled(input, mask, 0), _dims(dim, input.ndim), builtins.bool(keepdim), dtype=_summed_type(input, dtype)
    )


def prod(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The product of the valid elements along ``dim``; 1 if there are none.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.prod(torch.tensor([2., 3., 4.]), mask=torch.tensor([True, False, True]))
        tensor(8.)
    """
    result = _filled(input, mask, 1).to(_summed_type(input, dtype))
    for d in reversed(_dims(dim, input.ndim)):
        result = result.prod(d, builtins.bool(keepdim))
    return result


def cumsum(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The running sum of the valid elements along ``dim``; an invalid element adds nothing.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.cumsum(torch.tensor([1., 2., 4.]), 0, mask=torch.tensor([True, False, True]))
        tensor([1., 1., 5.])
    """
    dtype = dtype or input.dtype
    at = _first_dim(dim, input.ndim)
    return torch.cumsum(_filled(input, mask, 0), at, dtype=dtype).to(dtype)


def cumprod(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The running product of the valid elements along ``dim``; an invalid element multiplies by one.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.cumprod(torch.tensor([2., 3., 4.]), 0, mask=torch.tensor([True, False, True]))
        tensor([2., 2., 8.])
    """
    dtype = dtype or input.dtype
    at = _first_dim(dim, input.ndim)
    return torch.cumprod(_filled(input, mask, 1), at, dtype=dtype).to(dtype)


# ---------------------------------------------------------------- largest and smallest


def _extreme(
    function: Any, identity: Any, input: Tensor, dim: Any, keepdim: Any, dtype: dtypes.dtype | None, mask: Tensor | None
) -> Tensor:
    """What a function picks, or where, once what is invalid is replaced by what it never picks."""
    name = function.__name__
    filled = input if mask is None else _filled(input, mask, identity(name, input.dtype))
    along = dim if name.startswith("arg") else _dims(dim, input.ndim)
    return function(filled, along, builtins.bool(keepdim)).to(dtype or input.dtype)


def amax(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The largest valid element along ``dim``; the type's lowest value if there is none.

    Raises:
        NotImplementedError, TypeError: for bool, and for complex tensors, with a mask.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.amax(torch.tensor([1, 5, 3]), mask=torch.tensor([True, False, True]))
        tensor(3)
    """
    return _extreme(torch.amax, _lowest, input, dim, keepdim, dtype, mask)


def amin(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The smallest valid element along ``dim``; the type's highest value if there is none.

    Raises:
        NotImplementedError, TypeError: for bool, and for complex tensors, with a mask.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.amin(torch.tensor([4, 1, 3]), mask=torch.tensor([True, False, True]))
        tensor(3)
    """
    return _extreme(torch.amin, _highest, input, dim, keepdim, dtype, mask)


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The index of the largest valid element along ``dim`` (into the flattened tensor if None).

    As in PyTorch the index has the type of ``input`` unless ``dtype`` says otherwise.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.argmax(torch.tensor([1, 5, 3]), mask=torch.tensor([True, False, True]))
        tensor(2)
    """
    return _extreme(torch.argmax, _lowest, input, dim, keepdim, dtype, mask)


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The index of the smallest valid element along ``dim`` (into the flattened tensor if None).

    As in PyTorch the index has the type of ``input`` unless ``dtype`` says otherwise.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.argmin(torch.tensor([4, 1, 3]), mask=torch.tensor([True, False, True]))
        tensor(2)
    """
    return _extreme(torch.argmin, _highest, input, dim, keepdim, dtype, mask)


# ---------------------------------------------------------------- statistics


def _counted(input: Tensor, dim: Dims, keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements are valid along ``dim``."""
    dims = _dims(dim, input.ndim)
    valid = torch.ones(input.shape, dtype=dtypes.bool_, device=input.device) if mask is None else _whole(input, mask)
    return torch.sum(valid, dims, keepdim)


def mean(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean of the valid elements along ``dim``; NaN if there are none.

    Raises:
        ValueError: for integer and bool tensors, unless ``dtype`` is a floating point or complex type.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.mean(torch.tensor([1., 2., 4.]), mask=torch.tensor([True, False, True]))
        tensor(2.5000)
    """
    given = dtype or input.dtype
    if given.category < dtypes.FLOATING:
        raise ValueError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a "
            f"floating point or complex dtype. Got: {given}"
        )
    total = sum(input, dim, keepdim=keepdim, dtype=given, mask=mask)
    return total / _counted(input, dim, builtins.bool(keepdim), mask)


def median(
    input: Tensor,
    dim: int = -1,
    *,
    keepdim: bool = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The median of the valid elements along ``dim``, the lower one of two; NaN if there are none.

    NaN counts as invalid.

    Raises:
        ValueError: for an integer tensor of which a row has no valid element.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.median(torch.tensor([1., 9., 4., 2.]), mask=torch.tensor([True, False, True, True]))
        tensor(2.)
    """
    at = _first_dim(dim, input.ndim)
    if input.dtype.is_floating_point:
        return torch.nanmedian(_filled(input, mask, math.nan), at, keepdim).values
    result = torch.nanmedian(_filled(input.to(dtypes.float32), mask, math.nan), at, keepdim).values
    if result.isnan().any():
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return result.to(dtype or input.dtype)


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: int | float | None = None,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The variance of the valid elements along ``dim``: Σ |x - mean|² / max(0, n - correction).

    Args:
        unbiased: correction 1 if True (the default), 0 if False; not together with ``correction``.
        correction: what is taken off the number n of valid elements.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.var(torch.tensor([1., 7., 3.]), mask=torch.tensor([True, False, True]))
        tensor(2.)
    """
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 0 if unbiased is False else 1
    if dtype is None:
        dtype = input.dtype if input.dtype.category >= dtypes.FLOATING else dtypes.float32
    wide = dtype if dtype.category >= dtypes.FLOATING else dtypes.float32
    count = _counted(input, dim, True, mask)
    away = input - sum(input, dim, keepdim=True, dtype=dtype, mask=mask) / count
    total = sum(away * away.conj(), dim, keepdim=keepdim, dtype=wide, mask=mask)
    count = count.reshape(total.shape)
    if correction:
        count = torch.clamp(count.to(wide.to_real()) - correction, min=0)
    return (total / count).to(dtype)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: int | None = None,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The standard deviation of the valid elements along ``dim``: the square root of :func:`var`.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.std(torch.tensor([1., 7., 3.]), mask=torch.tensor([True, False, True]))
        tensor(1.4142)
    """
    return torch.sqrt(var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask))


# ---------------------------------------------------------------- norms, logarithms of sums


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The vector norm of order ``ord`` of the valid elements along ``dim``, as :func:`linalg.vector_norm`.

    Without valid elements: 0, and infinity for ``ord=-inf``.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.norm(torch.tensor([3., 7., 4.]), 2, mask=torch.tensor([True, False, True]))
        tensor(5.)
    """
    filled = _filled(input, mask, math.inf if ord == -math.inf else 0)
    return torch.linalg.vector_norm(
        filled, ord, _dims(dim, input.ndim), builtins.bool(keepdim), dtype=dtype or input.dtype
    )


def normalize(
    input: Tensor,
    ord: float,
    dim: int,
    *,
    eps: float = 1e-12,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """``x / max(‖x‖, eps)`` along ``dim``, invalid elements counted as zero.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.normalize(torch.tensor([3., 7., 4.]), 2, 0, mask=torch.tensor([True, False, True]))
        tensor([0.6000, 0.0000, 0.8000])
    """
    size = norm(input, ord, dim, keepdim=True, dtype=dtype or input.dtype, mask=mask)
    return _filled(input, mask, 0) / torch.maximum(size, size.new_full((), eps))


def logsumexp(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool = False,
    dtype: dtypes.dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """``log Σ exp(x)`` over the valid elements along ``dim``; -infinity if there are none.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.logsumexp(torch.tensor([0., 9., 0.]), mask=torch.tensor([True, False, True]))
        tensor(0.6931)
    """
    filled = input
    if mask is not None:
        filled = _filled(input, mask, -math.inf if input.dtype.is_complex else _lowest("logsumexp", input.dtype))
    return torch.logsumexp(filled, _dims(dim, input.ndim), keepdim=keepdim).to(dtype or input.dtype)


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: dtypes.dtype | None = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """``log(exp(x) + exp(y))``, elementwise, an invalid element counted as -infinity.

    Args:
        input_mask, other_mask: what is valid of ``input`` and of ``other``.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.logaddexp(torch.tensor([-1., -2.]), torch.tensor([-1., -3.]),
        ...                        input_mask=torch.tensor([True, False]))
        tensor([-0.3069, -3.0000])
    """
    if input_mask is not None:
        filled = _filled(input, input_mask, _lowest("logaddexp", input.dtype))
    else:
        filled = input
    if other_mask is not None:
        other = _filled(other, other_mask, _lowest("logaddexp", other.dtype))
    return torch.logaddexp(filled, other).to(dtype or input.dtype)


# ---------------------------------------------------------------- softmax


def softmax(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """``exp(x) / Σ exp(x)`` over the valid elements along ``dim``; 0 where invalid, NaN if none is valid.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.softmax(torch.tensor([0., 9., 0.]), 0, mask=torch.tensor([True, False, True]))
        tensor([0.5000, 0.0000, 0.5000])
    """
    filled = input if mask is None else _filled(input, mask, _lowest("amax", input.dtype))
    return torch.softmax(filled, _first_dim(dim, input.ndim), dtype=dtype or input.dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """The logarithm of :func:`softmax`: -infinity where invalid, NaN if none is valid.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.log_softmax(torch.tensor([0., 9., 0.]), 0, mask=torch.tensor([True, False, True]))
        tensor([-0.6931,    -inf, -0.6931])
    """
    filled = input if mask is None else _filled(input, mask, _lowest("amax", input.dtype))
    return torch.log_softmax(filled, _first_dim(dim, input.ndim), dtype=dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: dtypes.dtype | None = None, mask: Tensor | None = None) -> Tensor:
    """:func:`softmax` of ``-x``.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.softmin(torch.tensor([0., -9., 0.]), 0, mask=torch.tensor([True, False, True]))
        tensor([0.5000, 0.0000, 0.5000])
    """
    filled = input if mask is None else _filled(input, mask, _highest("amin", input.dtype))
    return torch.nn.functional.softmin(filled, _first_dim(dim, input.ndim), dtype=dtype or input.dtype)


# ---------------------------------------------------------------- MaskedTensor


class MaskedTensor(Tensor):
    """PyTorch's prototype of a tensor that carries its mask; not supported.

    Raises:
        NotImplementedError: always.
    """

    def __new__(cls, data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
        raise NotImplementedError(
            "flambeau does not support MaskedTensor, a prototype in PyTorch. Keep the tensor and its mask apart, and "
            "give both to the functions of masked, such as masked.mean(data, mask=mask)"
        )


def masked_tensor(data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
    """Makes a :class:`MaskedTensor`, which raises NotImplementedError."""
    return MaskedTensor(data, mask, requires_grad)


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """Makes a :class:`MaskedTensor`, which raises NotImplementedError."""
    return MaskedTensor(data, mask)


def is_masked_tensor(obj: Any, /) -> bool:
    """Whether an object is a :class:`MaskedTensor`: there are none.

    Example:
        >>> import flambeau as torch
        >>> torch.masked.is_masked_tensor(torch.ones(2))
        False
    """
    return isinstance(obj, MaskedTensor)
