"""Every layer on an accelerator: results, gradients and buffers are there, whatever is drawn or made inside.

Where they are is known once they are recorded: nothing is computed.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

import flambeau
from flambeau import nn

pytestmark = pytest.mark.usefixtures("accelerators")

THERE = flambeau.device("cuda:0")
LINE, IMAGE, VOLUME = "x(2, 4, 6)", "x(2, 4, 6, 6)", "x(2, 4, 4, 4, 4)"
# What is called like another: by the arguments of the layer, and what it is called with.
FAMILIES = {
    ("", LINE): """
        CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid Mish PReLU RReLU ReLU
        ReLU6 SELU SiLU Sigmoid Softplus Softshrink Softsign Tanh Tanhshrink AlphaDropout Dropout Dropout1d
        FeatureAlphaDropout Flatten LazyBatchNorm1d LazyInstanceNorm1d""",
    ("", IMAGE): "Dropout2d Softmax2d LazyBatchNorm2d LazyInstanceNorm2d",
    ("", VOLUME): "Dropout3d LazyBatchNorm3d LazyInstanceNorm3d",
    ("-1", LINE): "LogSoftmax Softmax Softmin",
    ("2", LINE): """
        AdaptiveAvgPool1d AdaptiveMaxPool1d AvgPool1d MaxPool1d MinPool1d CircularPad1d ReflectionPad1d
        ReplicationPad1d ZeroPad1d Upsample LocalResponseNorm ChannelShuffle""",
    ("2", IMAGE): """
        AdaptiveAvgPool2d AdaptiveMaxPool2d AvgPool2d MaxPool2d MinPool2d CircularPad2d ReflectionPad2d ReplicationPad2d
        ZeroPad2d CrossMapLRN2d PixelShuffle PixelUnshuffle Unfold""",
    ("2", VOLUME): """
        AdaptiveAvgPool3d AdaptiveMaxPool3d AvgPool3d MaxPool3d MinPool3d CircularPad3d ReflectionPad3d ReplicationPad3d
        ZeroPad3d""",
    ("scale_factor=2", IMAGE): "UpsamplingBilinear2d UpsamplingNearest2d",
    ("2, 0.5", LINE): "ConstantPad1d Threshold",
    ("2, 0.5", IMAGE): "ConstantPad2d",
    ("2, 0.5", VOLUME): "ConstantPad3d",
    ("2, 2", LINE): "LPPool1d",
    ("2, 2", IMAGE): "LPPool2d",
    ("2, 4", IMAGE): "GroupNorm",
    ("2, 2", VOLUME): "LPPool3d",
    ("2, 3", LINE): "LazyConv1d LazyConvTranspose1d",
    ("2, 3", IMAGE): "LazyConv2d LazyConvTranspose2d",
    ("2, 3", VOLUME): "LazyConv3d LazyConvTranspose3d",
    ("2, output_size=2", IMAGE): "FractionalMaxPool2d",
    ("2, output_size=2", VOLUME): "FractionalMaxPool3d",
    ("4", LINE): "BatchNorm1d InstanceNorm1d",
    ("4", IMAGE): "BatchNorm2d InstanceNorm2d SyncBatchNorm",
    ("4", VOLUME): "BatchNorm3d InstanceNorm3d",
    ("4, 2, 3", LINE): "Conv1d ConvTranspose1d",
    ("4, 2, 3", IMAGE): "Conv2d ConvTranspose2d",
    ("4, 2, 3", VOLUME): "Conv3d ConvTranspose3d",
    ("6", LINE): "LayerNorm RMSNorm LazyLinear",
    ("6, 3", LINE): "Linear",
    ("6, 3, num_layers=2, bidirectional=True, dropout=0.5", LINE): "GRU LSTM RNN",
    ("6, 3", "x(2, 6)"): "GRUCell LSTMCell RNNCell LayerNormLSTMCell",
    ("nn.LSTMCell(6, 3), dropout=0.5, recurrent_dropout=0.5", LINE): "Recurrent",
    ("6, 2", "x(2, 3, 6), x(2, 3, 6), x(2, 3, 6)"): "MultiheadAttention",
    ("6, 2, 1, 1, 8", "x(2, 3, 6), x(2, 3, 6)"): "Transformer",
    ("6, 2, 8", "x(2, 3, 6)"): "TransformerEncoderLayer",
    ("6, 2, 8", "x(2, 3, 6), x(2, 3, 6)"): "TransformerDecoderLayer",
    ("nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 2", "x(2, 3, 6), None, mask(2, 3)"): "TransformerEncoder",
    ("nn.TransformerDecoderLayer(6, 2, 8), 2", "x(2, 3, 6), x(2, 3, 6)"): "TransformerDecoder",
    ("5, 3, padding_idx=0, max_norm=1.0", "i(5, 2, 3)"): "Embedding",
    ("5, 3", "i(5, 6), start(0, 2)"): "EmbeddingBag",
    ("5, 3, mode='max'", "i(5, 2, 3)"): "EmbeddingBag",
    ("4, 5, 2", "x(3, 4), x(3, 5)"): "Bilinear",
    ("(4, 4), 2, stride=2", "x(1, 8, 4)"): "Fold",
    ("1, (2, 2)", "x(3, 4)"): "Unflatten",
    ("2", "x(1, 1, 3), i(6, 1, 1, 3)"): "MaxUnpool1d",
    ("2", "x(1, 1, 2, 2), i(16, 1, 1, 2, 2)"): "MaxUnpool2d",
    ("2", "x(1, 1, 2, 2, 2), i(64, 1, 1, 2, 2, 2)"): "MaxUnpool3d",
    ("", "x(3, 4), x(3, 4)"): """
        CosineSimilarity PairwiseDistance HuberLoss L1Loss MSELoss SmoothL1Loss KLDivLoss PoissonNLLLoss SoftMarginLoss
        HingeEmbeddingLoss MultiLabelSoftMarginLoss BCEWithLogitsLoss""",
    ("", "x(3, 4).sigmoid(), x(3, 4).sigmoid()"): "BCELoss",
    ("", "x(3, 4), x(3, 4), x(3, 4).square()"): "GaussianNLLLoss",
    ("", "x(3, 4), x(3, 4), x(3, 4)"): "TripletMarginLoss TripletMarginWithDistanceLoss",
    ("", "x(3), x(3), x(3).sign()"): "MarginRankingLoss",
    ("", "x(3, 4), x(3, 4), x(3).sign()"): "CosineEmbeddingLoss",
    ("label_smoothing=0.1", "x(3, 4), i(4, 3)"): "CrossEntropyLoss",
    ("", "x(3, 4), i(4, 3)"): "MultiMarginLoss NLLLoss NLLLoss2d",
    ("", "x(3, 4), i(4, 3, 4)"): "MultiLabelMarginLoss",
    ("", "x(5, 2, 4), 1 + i(3, 2, 2), (5, 4), (2, 1)"): "CTCLoss",
    ("6, 4", "x(3, 6), i(4, 3)"): "LinearCrossEntropyLoss",
    ("6, 9, [3, 6], div_value=2.0", "x(4, 6), i(9, 4)"): "AdaptiveLogSoftmaxWithLoss",
}
CASES = [(name, made, called) for (made, called), names in FAMILIES.items() for name in names.split()]
NO_LAYERS = {
    "Container", "Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "RNNBase", "RNNCellBase",
    "Sequential",
}  # fmt: skip


def tensors_in(value: Any) -> list[Any]:
    if isinstance(value, flambeau.Tensor):
        return [value]
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, list | tuple) else []


def test_every_layer_is_in_the_table() -> None:
    kinds = {name: getattr(nn, name) for name in dir(nn) if not name.startswith("_")}
    layers = {name for name, kind in kinds.items() if inspect.isclass(kind) and issubclass(kind, nn.Module)}
    assert {name for name, _, _ in CASES} == layers - NO_LAYERS


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize(("name", "made", "called"), CASES, ids=[f"{name}({made})" for name, made, _ in CASES])
def test_all_is_where_the_layer_is(name: str, made: str, called: str, training: bool) -> None:
    leaves: list[Any] = []

    def x(*shape: int) -> Any:
        leaves.append(flambeau.rand(shape, device=THERE).requires_grad_())
        return leaves[-1]

    names = {
        "nn": nn,
        "x": x,
        "i": lambda n, *shape: flambeau.randint(n, shape, device=THERE),
        "start": lambda *starts: flambeau.tensor(starts, device=THERE),
        "mask": lambda *shape: flambeau.arange(shape[1], device=THERE).expand(shape) == shape[1] - 1,
    }
    with warnings.catch_warnings():
        # Advice to the users of some layers.
        warnings.simplefilter("ignore")
        layer = eval(f"nn.{name}({made})", names).to(THERE).train(training)
        found = tensors_in(layer(*eval(f"[{called}]", names)))
    assert found
    for result in found:
        if result.requires_grad:
            result.sum().backward(retain_graph=True)
    leaves.extend(layer.parameters())
    everything = [*found, *layer.buffers(), *leaves, *(leaf.grad for leaf in leaves if leaf.grad is not None)]
    assert {tensor.device for tensor in everything} == {THERE}
