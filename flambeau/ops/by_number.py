"""Functions of ``torch`` whose namesakes in ``torch.nn.functional`` are friendlier: here modes and reductions are
numbers, and statistics come along with the result.

The losses' reductions are 0 (none), 1 (mean) and 2 (sum).  The default is none, whatever PyTorch's signatures say.
"""

from __future__ import annotations

from typing import Any

from flambeau import dtypes
from flambeau.ops import embedding, loss, loss_ctc, loss_margin
from flambeau.ops.dropout import KEPT, drawn_key
from flambeau.ops.grid import places_of_maps
from flambeau.ops.loss_class import REDUCTIONS, reduced
from flambeau.ops.norm import batch_norm_with_statistics
from flambeau.ops.norm_layer import GROUP_NORM
from flambeau.ops.norms import matrix_norm, vector_norm
from flambeau.ops.operator import public
from flambeau.ops.views import wrapped_dim
from flambeau.tensor.tensor import Tensor
from flambeau.user_warnings import warn

# ---------------------------------------------------------------- losses


def _word(name: str, reduction: Any) -> str:
    """A reduction's name from its number; numbers that stand for none leave the losses as they are."""
    if not isinstance(reduction, int):
        raise TypeError(f"{name}(): argument 'reduction' must be int, not {type(reduction).__name__}")
    return REDUCTIONS[reduction] if reduction in (1, 2) else "none"


@public()
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    pos_weight: Tensor | None = None,
    reduction: int = 0,
) -> Tensor:
    """As ``nn.functional.binary_cross_entropy_with_logits``, with its reduction as a number.

    Example:
        >>> import flambeau as torch
        >>> x, target = torch.zeros(2), torch.tensor([0.0, 1.0])
        >>> torch.binary_cross_entropy_with_logits(x, target)
        tensor([0.6931, 0.6931])
        >>> torch.binary_cross_entropy_with_logits(x, target, reduction=2)
        tensor(1.3863)
    """
    word = _word("binary_cross_entropy_with_logits", reduction)
    return loss.binary_cross_entropy_with_logits(input, target, weight, reduction=word, pos_weight=pos_weight)


@public()
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """As ``nn.functional.cosine_embedding_loss``, with its reduction as a number.

    Example:
        >>> import flambeau as torch
        >>> x, target = torch.eye(2), torch.tensor([1, -1])
        >>> torch.cosine_embedding_loss(x, torch.ones(2, 2), target)
        tensor([0.2929, 0.7071])
        >>> torch.cosine_embedding_loss(x, torch.ones(2, 2), target, reduction=1)
        tensor(0.5000)
    """
    word = _word("cosine_embedding_loss", reduction)
    return loss_margin.cosine_embedding_loss(input1, input2, target, margin, reduction=word)


@public()
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: int = 0,
    zero_infinity: bool = False,
) -> Tensor:
    """As ``nn.functional.ctc_loss``, with its reduction as a number.

    Example:
        >>> import flambeau as torch
        >>> log_probs = torch.full((3, 1, 2), 0.5).log()
        >>> torch.ctc_loss(log_probs, torch.tensor([[1]]), (3,), (1,))
        tensor([0.2877])
        >>> torch.ctc_loss(log_probs, torch.tensor([[1]]), (3,), (1,), reduction=1)
        tensor(0.2877)
    """
    word = _word("ctc_loss", reduction)
    return loss_ctc.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, word, zero_infinity)


@public()
def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 0) -> Tensor:
    """As ``nn.functional.hinge_embedding_loss``, with its reduction as a number.

    Example:
        >>> import flambeau as torch
        >>> torch.hinge_embedding_loss(torch.tensor([0.5, 0.5]), torch.tensor([1, -1]), margin=2.0)
        tensor([0.5000, 1.5000])
    """
    word = _word("hinge_embedding_loss", reduction)
    return loss_margin.hinge_embedding_loss(input, target, margin, reduction=word)


@public()
def kl_div(input: Tensor, target: Tensor, reduction: int = 0, *, log_target: bool = False) -> Tensor:
    """As ``nn.functional.kl_div``, with its reduction as a number: the mean is over all elements.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[0.5, 0.5]])
        >>> torch.kl_div(x.log(), torch.tensor([[1.0, 0.0]]))
        tensor([[0.6931, 0.0000]])
        >>> torch.kl_div(x.log(), torch.tensor([[1.0, 0.0]]), reduction=1)
        tensor(0.3466)
    """
    word = _word("kl_div", reduction)
    return reduced(loss.kl_div(input, target, reduction="none", log_target=log_target), word)


@public()
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 0
) -> Tensor:
    """As ``nn.functional.margin_ranking_loss``, with its reduction as a number.

    The dimensions may differ: all are broadcast.

    Example:
        >>> import flambeau as torch
        >>> torch.margin_ranking_loss(torch.tensor([1.0, 1.0]), torch.tensor([3.0, 0.0]), torch.tensor([1, 1]))
        tensor([2., 0.])
    """
    word = _word("margin_ranking_loss", reduction)
    return loss_margin.margin_ranking(input1, input2, target, margin, word)


@public()
def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """As ``nn.functional.poisson_nll_loss``, with its reduction as a number.

    Example:
        >>> import flambeau as torch
        >>> torch.poisson_nll_loss(torch.zeros(2), torch.tensor([1.0, 2.0]), True, False, 1e-8, 0)
        tensor([1., 1.])
    """
    word = _word("poisson_nll_loss", reduction)
    return loss.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=word)


@public()
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = 0,
) -> Tensor:
    """As ``nn.functional.triplet_margin_loss``, with any margin, with its reduction as a number.

    Example:
        >>> import flambeau as torch
        >>> anchor, far = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
        >>> torch.triplet_margin_loss(anchor, far, anchor, reduction=1)
        tensor(6.0000)
    """
    word = _word("triplet_margin_loss", reduction)
    return loss_margin.triplet_margin(anchor, positive, negative, margin, p, eps, swap, word)


# ---------------------------------------------------------------- bags of rows, grids

_BAG_MODES = ("sum", "mean", "max")


@public()
def embedding_bag(
    weight: Tensor,
    indices: Tensor,
    offsets: Tensor,
    scale_grad_by_freq: bool = False,
    mode: int = 0,
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As ``nn.functional.embedding_bag``, with indices in one line.

    Args:
        mode: 0 (sum), 1 (mean) or 2 (max).

    Returns:
        the bags' rows; for each index its bag; how many indices count in each bag; for maxima, which index
        each of their elements came from.  PyTorch gives numbers of its kernel's in the last three where its derivative
        does not need them; here they are always what this says.

    Raises:
        RuntimeError: for another mode.

    Example:
        >>> import flambeau as torch
        >>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> rows, bag, count, most = torch.embedding_bag(table, torch.tensor([0, 1, 2]), torch.tensor([0, 2]), mode=2)
        >>> rows
        tensor([[3., 4.],
                [5., 6.]])
        >>> most
        tensor([[1, 1],
                [2, 2]])
    """
    if mode not in (0, 1, 2):
        raise RuntimeError("`mode` must be sum, mean, or max.")
    rows = embedding.embedding_bag(
        indices,
        weight,
        offsets,
        scale_grad_by_freq=scale_grad_by_freq,
        mode=_BAG_MODES[mode],
        sparse=sparse,
        per_sample_weights=per_sample_weights,
        include_last_offset=include_last_offset,
        padding_idx=padding_idx,
    )
    return rows, *embedding.bag_statistics(weight, indices, offsets, include_last_offset, padding_idx, mode == 2)


@public()
def affine_grid_generator(theta: Tensor, size: Any, align_corners: bool) -> Tensor:
    """As ``nn.functional.affine_grid``.

    Example:
        >>> import flambeau as torch
        >>> torch.affine_grid_generator(torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2), False)
        tensor([[[[-0.5000,  0.0000],
                  [ 0.5000,  0.0000]]]])
    """
    return places_of_maps(theta, size, bool(align_corners))


# ---------------------------------------------------------------- normalisation and dropout with their statistics


@public()
def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """``batch_norm`` with the batch's mean and the reciprocal of its standard deviation (empty in evaluation).

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[1.0], [3.0]])
        >>> torch.native_batch_norm(x, None, None, None, None, True, 0.1, 0.0)
        (tensor([[-1.],
                [ 1.]]), tensor([2.]), tensor([1.]))
    """
    y, mean, variance = batch_norm_with_statistics(
        input, weight, bias, running_mean, running_var, training, momentum, eps
    )
    if mean is None or variance is None:
        return y, input.new_empty((0,)), input.new_empty((0,))
    return y, mean.detach(), (variance.detach() + eps).rsqrt()


@public()
def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``group_norm`` with each group's mean and the reciprocal of its standard deviation.

    Args:
        N, C, HxW: the sizes of ``input``, that of the positions as one number.

    Raises:
        RuntimeError: if the sizes are not those of ``input``.

    Example:
        >>> import flambeau as torch
        >>> x = torch.tensor([[[1.0, 3.0], [2.0, 6.0]]])
        >>> torch.native_group_norm(x, None, None, 1, 2, 2, 2, 0.0)
        (tensor([[[-1.,  1.],
                 [-1.,  1.]]]), tensor([[2., 4.]]), tensor([[1.0000, 0.5000]]))
    """
    if input._node.aval.size != N * C * HxW:
        raise RuntimeError(f"Expected input to have {N * C * HxW} elements, but got shape {list(input.shape)}")
    y, mean, variance = GROUP_NORM(input.reshape(N, C, HxW), weight, bias, int(group), float(eps))
    inverse = (variance.detach() + eps).rsqrt()
    return y.reshape(input.shape), mean.detach().reshape(N, group), inverse.reshape(N, group)


@public()
def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """``dropout`` with its mask: True where an element was kept.

    Raises:
        RuntimeError: if p is no probability, or the tensor is of integers.

    Example:
        >>> import flambeau as torch
        >>> y, kept = torch.native_dropout(torch.ones(1000), 0.5, True)
        >>> bool((y == kept * 2).all())
        True
    """
    shape = tuple(input.shape)
    if not 0.0 <= p <= 1.0:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={1 - p:g}")
    if train is False or p == 0.0 or not input._node.aval.size:
        return input.clone(), input.new_ones(shape, dtype=dtypes.bool_)
    if input.dtype.category < dtypes.FLOATING:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {input.dtype.title}")
    if p == 1.0:
        return input * 0, input.new_zeros(shape, dtype=dtypes.bool_)
    kept = KEPT(drawn_key(input.device), shape, float(p))
    return input * (kept.to(input.dtype) / (1.0 - p)), kept


# ---------------------------------------------------------------- norms


def _warn_of_norm(name: str) -> None:
    warn(
        f"at::{name} is deprecated and it is just left for JIT compatibility. It will be removed in a future PyTorch "
        "release. Please use `linalg.vector_norm` or `linalg.matrix_norm` instead",
    )


@public(out="exact")
def frobenius_norm(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The root of the sum of squares along up to two dimensions, all if there are none.  Deprecated: warns.

    Raises:
        RuntimeError: for more than two dimensions.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     torch.frobenius_norm(torch.tensor([[3.0, 4.0], [0.0, 2.0]]), 1)
        tensor([5., 2.])
    """
    _warn_of_norm("frobenius_norm")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) > 2:
        raise RuntimeError(f"Expected at most 2 dimensions, but got {len(dims)} dimensions instead.")
    return vector_norm(input, 2, dims or None, keepdim)


@public(out="exact")
def nuclear_norm(input: Tensor, dim: Any = (-2, -1), keepdim: bool = False) -> Tensor:
    """The sum of singular values.  Deprecated: warns.

    Example:
        >>> import flambeau as torch
        >>> import warnings
        >>> with warnings.catch_warnings(action="ignore"):
        ...     torch.nuclear_norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
        tensor(7.)
    """
    _warn_of_norm("nuclear_norm")
    return matrix_norm(input, "nuc", dim, keepdim)


@public()
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm of order ``pow`` over all dimensions but one, which are kept with size 1; over all if ``dim`` is -1.

    Example:
        >>> import flambeau as torch
        >>> torch.norm_except_dim(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        tensor([[5.],
                [2.]])
    """
    if dim == -1:
        return vector_norm(v, pow)
    kept = wrapped_dim(dim, v.ndim)
    return vector_norm(v, pow, tuple([d for d in range(v.ndim) if d != kept]), True)
