"""PyTorch's names for what a checkpoint refers to, and ours for the same."""

from __future__ import annotations

import importlib
from types import FunctionType
from typing import Any, ClassVar

from flambeau import dtypes, layouts
from flambeau.devices import device
from flambeau.ops.operator import NAMESPACES
from flambeau.tensor.tensor import Size, Tensor

# Which of PyTorch's files each class of modules lives in: part of the name under which it is pickled.
_MODULE_FILES = {
    "activation": "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid LogSoftmax Mish "
    "MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin Softplus Softshrink "
    "Softsign Tanh Tanhshrink Threshold",
    "adaptive": "AdaptiveLogSoftmaxWithLoss",
    "batchnorm": "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d SyncBatchNorm",
    "channelshuffle": "ChannelShuffle",
    "container": "Container ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d LazyConv3d "
    "LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d",
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d "
    "LazyInstanceNorm3d",
    "linear": "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear",
    "linear_cross_entropy_options": "LinearCrossEntropyOptions",
    "loss": "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss "
    "HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss LinearCrossEntropyLoss MSELoss MarginRankingLoss "
    "MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss SmoothL1Loss "
    "SoftMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss",
    "module": "Module _WrappedHook",
    "normalization": "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d ReflectionPad1d "
    "ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d "
    "AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d "
    "LPPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    "rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "sparse": "Embedding EmbeddingBag",
    "transformer": "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer",
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}
_FILE_OF = {name: file for file, names in _MODULE_FILES.items() for name in names.split()}

# Where PyTorch keeps the functions that a module may hold on to.
_FUNCTION_HOMES = {"nn.functional": "torch.nn.functional", "torch": "torch", "special": "torch.special"}

_STORAGES = {
    "DoubleStorage": dtypes.float64,
    "FloatStorage": dtypes.float32,
    "HalfStorage": dtypes.float16,
    "BFloat16Storage": dtypes.bfloat16,
    "LongStorage": dtypes.int64,
    "IntStorage": dtypes.int32,
    "ShortStorage": dtypes.int16,
    "CharStorage": dtypes.int8,
    "ByteStorage": dtypes.uint8,
    "BoolStorage": dtypes.bool_,
    "ComplexDoubleStorage": dtypes.complex128,
    "ComplexFloatStorage": dtypes.complex64,
}
_STORAGE_OF = {dtype: name for name, dtype in _STORAGES.items()}


class Name:
    """Something of PyTorch's that is written by name only: there is one for each name.

    Attributes:
        module: the module of PyTorch's that it is in.
        name: what it is called there.
        dtype: for a storage class, the type of its elements (None: bytes).
    """

    __slots__ = ("dtype", "module", "name")
    _known: ClassVar[dict[tuple[str, str], Name]] = {}

    module: str
    name: str
    dtype: dtypes.dtype | None

    def __new__(cls, module: str, name: str, dtype: dtypes.dtype | None = None) -> Name:
        found = cls._known.get((module, name))
        if found is None:
            found = object.__new__(cls)
            found.module = module
            found.name = name
            found.dtype = dtype
            cls._known[module, name] = found
        return found

    def __call__(self, *args: Any) -> Any:
        raise TypeError(f"{self.module}.{self.name} cannot be called here")


UNTYPED = Name("torch.storage", "UntypedStorage")
STORAGE_CLASSES = {("torch", name): Name("torch", name, dtype) for name, dtype in _STORAGES.items()}
STORAGE_CLASSES["torch.storage", "UntypedStorage"] = UNTYPED


def storage_class(dtype: dtypes.dtype) -> Name:
    """The class of storage that PyTorch writes for elements of a type; bytes for the newer types."""
    name = _STORAGE_OF.get(dtype)
    return UNTYPED if name is None else STORAGE_CLASSES["torch", name]


def dtype_named(name: str) -> dtypes.dtype | None:
    """The dtype that PyTorch calls so, or None."""
    return dtypes._BY_NAME.get(name)


def named_layout(name: str) -> Any:
    """What ``torch.serialization._get_layout`` gives: the layout called so, such as ``"torch.strided"``."""
    return layouts._find(name.removeprefix("torch."))


def written(obj: Any) -> tuple[str, str] | None:
    """PyTorch's module and name of something of ours; None for what is not ours."""
    if isinstance(obj, Name):
        return obj.module, obj.name
    known = _KNOWN.get(obj) if isinstance(obj, type | FunctionType) else None
    if known is not None:
        return known
    module = getattr(obj, "__module__", None)
    if not isinstance(module, str) or module.partition(".")[0] != "flambeau":
        return None
    name = getattr(obj, "__qualname__", None) or obj.__name__
    if module.startswith("flambeau.nn.modules."):
        file = _FILE_OF.get(name)
        return None if file is None else ("torch.nn.modules." + file, name)
    if isinstance(obj, FunctionType):
        for space, home in _FUNCTION_HOMES.items():
            if NAMESPACES.get(space, {}).get(name) is obj:
                return home, name
    if name.isidentifier() and module.startswith(("flambeau.optim", "flambeau.utils.data", "flambeau.nn.parameter")):
        return "torch" + module.removeprefix("flambeau"), name
    return None


def found(module: str, name: str) -> Any:
    """What of ours PyTorch's module and name mean.

    Raises:
        AttributeError: if there is nothing of that name here.
    """
    dtype = dtype_named(name) if module == "torch" else None
    if dtype is not None:
        return dtype
    known = STORAGE_CLASSES.get((module, name)) or _BACK.get((module, name))
    if known is not None:
        return known
    if module.startswith("torch.nn.modules."):
        from flambeau import nn

        # PyTorch tells the projection of attention from other Linears by a class of its own.
        wanted = "Linear" if name == "NonDynamicallyQuantizableLinear" else name
        place: Any = getattr(nn.modules, wanted, None) or getattr(nn, wanted, None)
        if place is None and name == "_WrappedHook":
            from flambeau.nn.modules._hooks import _WrappedHook as place
    else:
        # PyTorch names its built-in functions by the binary that they are in.
        module = {"torch._C._nn": "torch.nn.functional", "torch._C._VariableFunctions": "torch"}.get(module, module)
        ours = "flambeau" + module.removeprefix("torch")
        try:
            place = importlib.import_module(ours)
        except ModuleNotFoundError:
            # A class of a file of PyTorch's that is spread otherwise here is looked for one level up.
            try:
                place = importlib.import_module(ours.rpartition(".")[0])
            except ModuleNotFoundError:
                place = None
        for part in name.split("."):
            place = getattr(place, part, None)
    if place is None:
        raise AttributeError(f"the file refers to {module}.{name}, which flambeau does not have")
    return place


_KNOWN: dict[Any, tuple[str, str]] = {
    Tensor: ("torch", "Tensor"),
    Size: ("torch", "Size"),
    device: ("torch", "device"),
    dtypes.dtype: ("torch", "dtype"),
    named_layout: ("torch.serialization", "_get_layout"),
}
_BACK = {name: ours for ours, name in _KNOWN.items()}
