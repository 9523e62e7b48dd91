"""Autocast: which operators compute in which type, and the casting of what they are given.

The lists are PyTorch's 2.13, one for the CPU and one for GPUs. A name stands for the operator that
bears it, else for the public function (``linalg_`` and ``fft_`` before the names of those
namespaces). Everything else computes in the types that it is given.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau import dtypes
from flambeau.autograd.grad_mode import mode
from flambeau.graph.observer import current as looking
from flambeau.tensor.tensor import Tensor

LOWER = "lower precision"
"""Floating operands are converted to the autocast dtype."""
FLOAT32 = "float32"
"""Floating operands are converted to float32."""
PROMOTE = "widest"
"""Floating operands are converted to the widest type among them."""
FLOAT32_IF_FIRST = "float32 if the first is eligible"
"""As float32, but only for calls whose first operand is of a type that autocast converts."""
REFUSED = "refused"
"""Not safe in lower precision: raises."""
AS_GIVEN = "as given"
"""Computed in the types given, though made of operators that are converted when called by themselves."""

_CPU = {
    **dict.fromkeys(
        """
        matmul linear prelu scaled_dot_product_attention mm bmm baddbmm addbmm addmm linalg_vecdot conv1d conv2d conv3d
        conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d
        """.split(),
        LOWER,
    ),
    **dict.fromkeys(
        """
        adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy binary_cross_entropy_with_logits cdist
        cholesky cholesky_inverse cholesky_solve cosine_embedding_loss cross_entropy ctc_loss fractional_max_pool2d
        fractional_max_pool3d geqrf grid_sample grid_sampler grid_sampler_2d grid_sampler_3d hinge_embedding_loss
        huber_loss inverse kl_div l1_loss lu lu_solve margin_ranking_loss max_pool3d max_unpool2d max_unpool3d mse_loss
        multi_margin_loss multilabel_margin_loss nanquantile nll_loss orgqr ormqr pinverse poisson_nll_loss polar prod
        qr quantile smooth_l1_loss soft_margin_loss stft svd trace triangular_solve triplet_margin_loss view_as_complex
        fft_fft fft_fft2 fft_fftn fft_hfft fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_irfft fft_irfft2 fft_irfftn
        fft_rfft fft_rfft2 fft_rfftn linalg_cholesky linalg_cholesky_ex linalg_cond linalg_eig linalg_eigh
        linalg_eigvals linalg_eigvalsh linalg_householder_product linalg_inv linalg_inv_ex linalg_lstsq
        linalg_matrix_rank linalg_qr linalg_solve linalg_svd linalg_svdvals linalg_tensorinv
        linalg_tensorsolve max_unpool1d reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d
        replication_pad3d
        """.split(),
        FLOAT32,
    ),
    **dict.fromkeys("cat stack index_copy".split(), PROMOTE),
    **dict.fromkeys("mv dot vdot addmv addr outer ger kron bilinear pdist".split(), AS_GIVEN),
}

_GPU = {
    **dict.fromkeys(
        """
        matmul linear prelu scaled_dot_product_attention mm mv bmm baddbmm addbmm addmm addmv addr linalg_vecdot einsum
        conv1d conv2d conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d convolution chain_matmul
        linalg_multi_dot
        """.split(),
        LOWER,
    ),
    **dict.fromkeys(
        """
        acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow power softplus layer_norm
        native_layer_norm rms_norm group_norm native_group_norm cosine_similarity poisson_nll_loss cosine_embedding_loss
        nll_loss hinge_embedding_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss margin_ranking_loss
        multilabel_margin_loss soft_margin_loss triplet_margin_loss multi_margin_loss binary_cross_entropy_with_logits
        dist pdist cdist renorm logsumexp interpolate upsample upsample_nearest upsample_bilinear
        """.split(),
        FLOAT32,
    ),
    **dict.fromkeys(
        """
        prod softmax log_softmax cumprod cumsum sum linalg_vector_norm linalg_matrix_norm norm
        """.split(),
        FLOAT32_IF_FIRST,
    ),
    **dict.fromkeys(
        """
        addcdiv addcmul atan2 bilinear cross dot vdot grid_sample grid_sampler index_put tensordot scatter_add
        """.split(),
        PROMOTE,
    ),
    "binary_cross_entropy": REFUSED,
}

LISTS = {"cpu": _CPU, "cuda": _GPU, "tpu": _GPU}
"""Policies by device type, then by name."""

DEFAULTS = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16, "tpu": dtypes.bfloat16}


def policies(name: str, of_operator: bool = False) -> dict[str, str] | None:
    """What the lists say of a name, by device type; None if nothing.

    Functions that check types before they record, as those that the CPU computes in float32, are governed where they
    are called; all else where an operator of that name is recorded.
    """
    if of_operator and (_CPU.get(name) == FLOAT32 or name in ("prelu", "scaled_dot_product_attention")):
        return None
    return {kind: names[name] for kind, names in LISTS.items() if name in names} or None


def listed_name(name: str, into: str) -> str:
    """The name of a public function in the lists."""
    return f"{into}_{name}" if into in ("linalg", "fft") else name


# ---------------------------------------------------------------- what is switched on


@dataclass(frozen=True)
class Autocast:
    """What is switched on: per device type the dtype of lower precision, and whether casts are kept.

    It decides what a function records, so captured functions have it in their key.
    """

    types: tuple[tuple[str, dtypes.dtype], ...]
    caching: bool

    def lower(self, kind: str) -> dtypes.dtype | None:
        """The dtype of lower precision on a type of device; None where autocast is off."""
        for device, dtype in self.types:
            if device == kind:
                return dtype
        return None


class _Settings(threading.local):
    """The switches that :mod:`flambeau.amp` turns, each thread's own; ``mode.autocast`` sums them up for recording."""

    def __init__(self) -> None:
        self.enabled = dict.fromkeys(DEFAULTS, False)
        self.dtypes = dict(DEFAULTS)
        self.caching = True
        self.nesting = 0
        self.casts: dict[int, Any] = {}

    def state(self) -> Any:
        """What is set, for :meth:`restore`."""
        return dict(self.enabled), dict(self.dtypes), self.caching

    def restore(self, state: Any) -> None:
        enabled, types, self.caching = state
        self.enabled.update(enabled)
        self.dtypes.update(types)
        self.changed()

    def changed(self) -> None:
        types = tuple((kind, self.dtypes[kind]) for kind, on in self.enabled.items() if on)
        mode.autocast = Autocast(types, self.caching) if types else None


settings = _Settings()


def casts() -> dict[int, Any]:
    """The casts of weights that are kept: a function being captured has its own, which end with it."""
    return settings.casts if looking.observer is None else looking.observer.casts


# ---------------------------------------------------------------- casting


def _eligible(tensor: Any, kind: str) -> bool:
    if not isinstance(tensor, Tensor):
        return False
    aval = tensor._node.aval
    return aval.device.type == kind and aval.dtype.category == dtypes.FLOATING and aval.dtype is not dtypes.float64


def _cast(given: Any, dtype: dtypes.dtype, kind: str) -> Any:
    if isinstance(given, list | tuple):
        parts = [_cast(part, dtype, kind) for part in given]
        return type(given)(parts) if type(given) in (list, tuple) else parts
    if not _eligible(given, kind) or given._node.aval.dtype is dtype:
        return given
    is_weight = given._rg and given._grad_fn is None and given._base is None
    if not is_weight or dtype is not settings.dtypes[kind] or given._node.aval.dtype is not dtypes.float32:
        return given.to(dtype)
    return _cast_weight(given, dtype) if settings.caching else given.to(dtype)


def _cast_weight(weight: Tensor, dtype: dtypes.dtype) -> Tensor:
    """A weight's cast, made once per region: its gradients then add up in lower precision, as in PyTorch."""
    kept = casts()
    found = kept.get(id(weight))
    if found is not None and found[0] is weight and found[1:4] == (weight._node, dtype, mode.grad):
        return found[4]
    cast = weight.to(dtype)
    kept[id(weight)] = (weight, weight._node, dtype, mode.grad, cast)
    return cast


def _widest(given: Any, kind: str, lower: dtypes.dtype, so_far: dtypes.dtype | None = None) -> dtypes.dtype:
    widest = so_far or lower
    for part in given:
        if isinstance(part, list | tuple):
            widest = _widest(part, kind, lower, widest)
        elif _eligible(part, kind):
            dtype = part._node.aval.dtype
            if dtype is dtypes.float32:
                widest = dtype
            elif dtype is not lower and widest is not dtypes.float32:
                raise RuntimeError(
                    f"Unexpected floating ScalarType in at::autocast::prioritize: {dtype} under autocast to {lower} "
                    f"(convert the operand with .to({lower}))"
                )
    return widest


def _target(policy: str, given: Any, kind: str, lower: dtypes.dtype) -> dtypes.dtype | None:
    """What the floating operands are to be converted to; None: nothing."""
    if policy == LOWER:
        return lower
    if policy == PROMOTE:
        return _widest(given, kind, lower)
    if policy == FLOAT32 or (policy == FLOAT32_IF_FIRST and given and _eligible(given[0], kind)):
        return dtypes.float32
    if policy == REFUSED:
        raise RuntimeError(
            "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast. Many models use a "
            "sigmoid layer right before the binary cross entropy layer: combine the two with "
            "torch.nn.functional.binary_cross_entropy_with_logits or torch.nn.BCEWithLogitsLoss, which are safe to "
            "autocast."
        )
    return None


def _kind_of(given: Any) -> str | None:
    """The type of the device that a call works on."""
    for part in given:
        if isinstance(part, Tensor):
            return part._node.aval.device.type
        if isinstance(part, list | tuple) and (kind := _kind_of(part)) is not None:
            return kind
    return None


def operands(rules: dict[str, str], inputs: Any) -> Any:
    """An operator's inputs, converted as its policies say."""
    kind = _kind_of(inputs)
    lower = mode.autocast.lower(kind)
    policy = rules.get(kind) if lower is not None else None  # type: ignore[arg-type]
    if policy is None:
        return inputs
    dtype = _target(policy, inputs, kind, lower)  # type: ignore[arg-type]
    return inputs if dtype is None else [_cast(given, dtype, kind) for given in inputs]  # type: ignore[arg-type]


def lower_type(tensor: Tensor) -> dtypes.dtype | None:
    """The dtype of lower precision where a tensor is; None where autocast is off."""
    return None if mode.autocast is None else mode.autocast.lower(tensor._node.aval.device.type)


def lowered(given: Sequence[Any], lower: dtypes.dtype) -> list[Any]:
    """Floating tensors among the operands converted to lower precision."""
    kind = _kind_of(given)
    return [_cast(part, lower, kind) for part in given]  # type: ignore[arg-type]


def governed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A public function that follows the lists; the function itself if they do not name it."""
    rules = policies(name)
    if rules is None:
        return function

    @functools.wraps(function)
    def under_autocast(*args: Any, **kwargs: Any) -> Any:
        if mode.autocast is None:
            return function(*args, **kwargs)
        given = (*args, *kwargs.values())
        kind = _kind_of(given)
        lower = mode.autocast.lower(kind)
        policy = rules.get(kind) if lower is not None else None  # type: ignore[arg-type]
        if policy is None:
            return function(*args, **kwargs)
        dtype = _target(policy, given, kind, lower)  # type: ignore[arg-type]
        if dtype is not None:
            args = tuple(_cast(x, dtype, kind) for x in args)  # type: ignore[arg-type]
            kwargs = {key: _cast(x, dtype, kind) for key, x in kwargs.items()}  # type: ignore[arg-type]
        return as_given(function, *args, **kwargs)

    return under_autocast


def as_given(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a function with autocast off, as what an operator is made of, and its derivative, run."""
    before = mode.autocast
    mode.autocast = None
    try:
        return function(*args, **kwargs)
    finally:
        mode.autocast = before
