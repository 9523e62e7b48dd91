"""Flambeau: PyTorch's model-building API on a tiered engine.

Programs written for PyTorch use it as ``import flambeau as torch``.
"""

from flambeau import numpy_settings as _numpy_settings

# isort: split
import gc
from math import e, inf, nan, pi
from typing import Any

from flambeau import settings
from flambeau.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from flambeau.devices import device
from flambeau.dtypes import (
    bfloat16,
    cdouble,
    cfloat,
    complex64,
    complex128,
    double,
    dtype,
    finfo,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float16,
    float32,
    float64,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    short,
    uint8,
    uint16,
    uint32,
    uint64,
)
from flambeau.dtypes import bool_ as bool
from flambeau.dtypes import float_ as float
from flambeau.dtypes import int_ as int
from flambeau.ops import families
from flambeau.ops.operator import NAMESPACES
from flambeau.tensor import methods
from flambeau.tensor.printing import get_printoptions, printoptions, set_printoptions
from flambeau.tensor.tensor import Size, Tensor

__version__ = "0.1.0"

newaxis = None
methods.attach()
globals().update(NAMESPACES["torch"])

# These build on the functions above.
from flambeau import (  # noqa: E402
    autograd,
    engine,
    fft,
    functional,
    linalg,
    nn,
    optim,
    random,
    return_types,
    special,
)
from flambeau.capture.compile import compile  # noqa: E402
from flambeau.random import Generator, default_generator  # noqa: E402

# Not every program needs these, and importing should cost little more than NumPy's import.
_LATER = {
    "accelerator": "flambeau.accelerator",
    "amp": "flambeau.amp",
    "backends": "flambeau.backends",
    "cpu": "flambeau.cpu",
    "cuda": "flambeau.cuda",
    "func": "flambeau.func",
    "masked": "flambeau.masked",
    "serialization": "flambeau.serialization",
    "signal": "flambeau.signal",
    "utils": "flambeau.utils",
    "version": "flambeau.version",
}
_AUTOCAST = """
    autocast autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache get_autocast_cpu_dtype
    get_autocast_dtype get_autocast_gpu_dtype is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled
    set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled
    set_autocast_gpu_dtype
"""
_SYMBOLIC = """
    SymBool SymFloat SymInt sym_float sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum
"""
_NAMES_LATER = {
    "load": "flambeau.serialization",
    "save": "flambeau.serialization",
    "vmap": "flambeau.func",
    "is_anomaly_check_nan_enabled": "flambeau.autograd.anomaly_mode",
    "is_anomaly_enabled": "flambeau.autograd.anomaly_mode",
    "set_anomaly_enabled": "flambeau.autograd.anomaly_mode",
    "AcceleratorError": "flambeau.engine.accelerators",
    "Event": "flambeau.streams",
    "GradScaler": "flambeau.amp",
    "OutOfMemoryError": "flambeau.engine.accelerators",
    "Stream": "flambeau.streams",
    "cond": "flambeau.control_flow",
    "while_loop": "flambeau.control_flow",
    "thread_safe_generator": "flambeau.random",
    **dict.fromkeys(_SYMBOLIC.split(), "flambeau.symbolic"),
    **dict.fromkeys(_AUTOCAST.split(), "flambeau.amp.autocast_mode"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LATER:
        found = import_module(_LATER[name])
    elif name in _NAMES_LATER:
        found = getattr(import_module(_NAMES_LATER[name]), name)
    else:
        raise AttributeError(f"module 'flambeau' has no attribute '{name}'")
    globals()[name] = found
    return found


# What the operators' families make public; the tests hold this list against the registry.
OPERATORS = (
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "Generator",
    "HalfTensor", "IntTensor", "LongTensor", "ShortTensor", "TypedStorage", "UntypedStorage", "abs", "abs_",
    "absolute", "acos", "acos_", "acosh", "acosh_", "adaptive_avg_pool1d", "adaptive_max_pool1d", "add", "addbmm",
    "addcdiv", "addcmul", "addmm", "addmv", "addmv_", "addr", "adjoint", "affine_grid_generator", "alias_copy", "all",
    "allclose", "alpha_dropout", "alpha_dropout_", "amax", "amin", "aminmax", "angle", "any", "arange", "arccos",
    "arccos_", "arccosh", "arccosh_", "arcsin", "arcsin_", "arcsinh", "arcsinh_", "arctan", "arctan2", "arctan_",
    "arctanh", "arctanh_", "are_deterministic_algorithms_enabled", "argmax", "argmin", "argsort", "argwhere",
    "as_strided", "as_strided_", "as_strided_copy", "as_strided_scatter", "as_tensor", "asarray", "asin", "asin_",
    "asinh", "asinh_", "atan", "atan2", "atan_", "atanh", "atanh_", "atleast_1d", "atleast_2d", "atleast_3d",
    "avg_pool1d", "baddbmm", "bartlett_window", "batch_norm", "bernoulli", "bilinear",
    "binary_cross_entropy_with_logits", "bincount", "binomial", "bitwise_and", "bitwise_left_shift", "bitwise_not",
    "bitwise_or", "bitwise_right_shift", "bitwise_xor", "blackman_window", "block_diag", "bmm", "broadcast_shapes",
    "broadcast_tensors", "broadcast_to", "bucketize", "can_cast", "cartesian_prod", "cat", "cdist", "ceil", "ceil_",
    "celu", "celu_", "chain_matmul", "channel_shuffle", "channels_last", "channels_last_3d", "cholesky",
    "cholesky_inverse", "cholesky_solve", "chunk", "clamp", "clamp_", "clamp_max", "clamp_max_", "clamp_min",
    "clamp_min_", "clip", "clip_", "clone", "column_stack", "combinations", "complex", "concat", "concatenate", "conj",
    "conj_physical", "conj_physical_", "constant_pad_nd", "contiguous_format", "conv1d", "conv2d", "conv3d",
    "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "copysign", "corrcoef",
    "cos", "cos_", "cosh", "cosh_", "cosine_embedding_loss", "cosine_similarity", "count_nonzero", "cov", "cross",
    "ctc_loss", "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "default_generator", "deg2rad",
    "deg2rad_", "det", "detach", "detach_", "detach_copy", "diag", "diag_embed", "diagflat", "diagonal",
    "diagonal_copy", "diagonal_scatter", "diff", "digamma", "dist", "div", "divide", "dot", "dropout", "dropout_",
    "dsplit", "dstack", "einsum", "embedding", "embedding_bag", "embedding_renorm_", "empty", "empty_like",
    "empty_permuted", "empty_strided", "eq", "equal", "erf", "erf_", "erfc", "erfc_", "erfinv", "exp", "exp2", "exp2_",
    "exp_", "expand_copy", "expm1", "expm1_", "eye", "feature_alpha_dropout", "feature_alpha_dropout_",
    "feature_dropout", "feature_dropout_", "fill", "fill_", "fix", "fix_", "flatten", "flip", "fliplr", "flipud",
    "float_power", "floor", "floor_", "floor_divide", "fmax", "fmin", "fmod", "frac", "frac_", "frexp",
    "frobenius_norm", "from_dlpack", "from_file", "from_numpy", "frombuffer", "full", "full_like", "gather", "gcd",
    "gcd_", "ge", "geqrf", "ger", "get_default_device", "get_default_dtype", "get_deterministic_debug_mode",
    "get_device", "get_device_module", "get_float32_matmul_precision", "get_num_interop_threads", "get_num_threads",
    "get_rng_state", "gradient", "greater", "greater_equal", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d",
    "group_norm", "gru", "gru_cell", "gt", "hamming_window", "hann_window", "hardshrink", "hash_tensor", "heaviside",
    "hinge_embedding_loss", "histc", "histogram", "histogramdd", "hsplit", "hstack", "hypot", "i0", "i0_", "igamma",
    "igammac", "imag", "index_add", "index_copy", "index_fill", "index_put", "index_put_", "index_reduce",
    "index_select", "initial_seed", "inner", "instance_norm", "inverse", "is_complex", "is_conj",
    "is_deterministic_algorithms_warn_only_enabled", "is_distributed", "is_floating_point", "is_inference", "is_neg",
    "is_nonzero", "is_same_size", "is_signed", "is_storage", "is_tensor", "is_warn_always_enabled", "isclose",
    "isfinite", "isin", "isinf", "isnan", "isneginf", "isposinf", "isreal", "istft", "kaiser_window", "kl_div", "kron",
    "kthvalue", "layer_norm", "layout", "lcm", "lcm_", "ldexp", "ldexp_", "le", "lerp", "less", "less_equal", "lgamma",
    "linspace", "lobpcg", "log", "log10", "log10_", "log1p", "log1p_", "log2", "log2_", "log_", "log_softmax",
    "logaddexp", "logaddexp2", "logcumsumexp", "logdet", "logical_and", "logical_not", "logical_or", "logical_xor",
    "logit", "logit_", "logspace", "logsumexp", "lstm", "lstm_cell", "lt", "lu", "lu_solve", "lu_unpack",
    "manual_seed", "margin_ranking_loss", "masked_fill", "masked_scatter", "masked_select", "matmul", "matrix_exp",
    "matrix_power", "max", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool3d", "maximum", "mean",
    "median", "memory_format", "meshgrid", "min", "minimum", "mm", "mode", "moveaxis", "movedim", "msort", "mul",
    "multinomial", "multiply", "mv", "mvlgamma", "nan_to_num", "nan_to_num_", "nanmean", "nanmedian", "nanquantile",
    "nansum", "narrow", "narrow_copy", "native_batch_norm", "native_channel_shuffle", "native_dropout",
    "native_group_norm", "native_layer_norm", "ne", "neg", "neg_", "negative", "negative_", "nextafter", "nonzero",
    "nonzero_static", "norm", "norm_except_dim", "normal", "not_equal", "nuclear_norm", "numel", "ones", "ones_like",
    "orgqr", "ormqr", "outer", "pairwise_distance", "pca_lowrank", "pdist", "permute", "permute_copy", "pinverse",
    "pixel_shuffle", "pixel_unshuffle", "poisson", "poisson_nll_loss", "polar", "polygamma", "positive", "pow",
    "prelu", "preserve_format", "prod", "promote_types", "put", "qr", "quantile", "rad2deg", "rad2deg_", "rand",
    "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm", "range", "ravel", "real", "reciprocal",
    "reciprocal_", "relu", "relu_", "remainder", "renorm", "repeat_interleave", "reshape", "resize_as_",
    "resolve_conj", "resolve_neg", "result_type", "rms_norm", "rnn_relu", "rnn_relu_cell", "rnn_tanh", "rnn_tanh_cell",
    "roll", "rot90", "round", "round_", "row_stack", "rrelu", "rrelu_", "rsqrt", "rsqrt_", "rsub", "scalar_tensor",
    "scatter", "scatter_add", "scatter_reduce", "searchsorted", "seed", "segment_reduce", "select", "select_copy",
    "select_scatter", "selu", "selu_", "set_default_device", "set_default_dtype", "set_default_tensor_type",
    "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads",
    "set_num_threads", "set_rng_state", "set_warn_always", "sgn", "sigmoid", "sigmoid_", "sign", "signbit", "sin",
    "sin_", "sinc", "sinc_", "sinh", "sinh_", "slice_copy", "slice_scatter", "slogdet", "softmax", "sort",
    "sparse_bsc", "sparse_bsr", "sparse_coo", "sparse_csc", "sparse_csr", "split", "split_copy", "split_with_sizes",
    "split_with_sizes_copy", "sqrt", "sqrt_", "square", "square_", "squeeze", "squeeze_copy", "stack", "std",
    "std_mean", "stft", "strided", "sub", "subtract", "sum", "svd", "svd_lowrank", "swapaxes", "swapdims", "t",
    "t_copy", "take", "take_along_dim", "tan", "tan_", "tanh", "tanh_", "tensor", "tensor_split", "tensordot",
    "threshold", "threshold_", "tile", "to_dlpack", "topk", "trace", "transpose", "transpose_copy", "trapezoid",
    "trapz", "triangular_solve", "tril", "tril_indices", "triplet_margin_loss", "triu", "triu_indices", "true_divide",
    "trunc", "trunc_", "typename", "unbind", "unbind_copy", "unflatten", "unfold_copy", "unique", "unique_consecutive",
    "unravel_index", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "unsqueeze", "unsqueeze_copy",
    "use_deterministic_algorithms", "vander", "var", "var_mean", "vdot", "view_as_complex", "view_as_complex_copy",
    "view_as_real", "view_as_real_copy", "view_copy", "vsplit", "vstack", "where", "xlogy", "xlogy_", "zero_", "zeros",
    "zeros_like",
)  # fmt: skip

# Forty thousand functions, classes and tables that will never go: looking through them would be a quarter of a first
# epoch of short sentences.
gc.freeze()
