"""Smaller parts of torch.nn: attention's kernels and masks, gradients of convolutions, wrappers."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from both import same


def part(t: Any, name: str) -> Any:
    return importlib.import_module(f"{t.__name__}.nn.{name}")


def wave(t: Any, *shape: int) -> Any:
    return (t.arange(float(t.Size(shape).numel())) * 1.7).sin().reshape(shape)


@pytest.mark.parametrize(
    ("axes", "shape", "kernel", "out"),
    [
        (1, (2, 4, 7), (6, 2, 3), (2, 6, 3)),
        (2, (2, 4, 7, 6), (6, 2, 3, 2), (2, 6, 3, 3)),
        (3, (2, 4, 7, 6, 5), (6, 2, 3, 2, 1), (2, 6, 3, 3, 3)),
    ],
)
def test_gradients_of_convolutions(axes: int, shape: Any, kernel: Any, out: Any) -> None:
    def program(t: Any) -> Any:
        grad = wave(t, *out)
        functions = part(t, "grad")
        by_input = getattr(functions, f"conv{axes}d_input")(shape, wave(t, *kernel), grad, stride=2, groups=2)
        by_weight = getattr(functions, f"conv{axes}d_weight")(wave(t, *shape), kernel, grad, stride=2, groups=2)
        return by_input, by_weight

    same(program, rtol=1e-5, atol=1e-5)


def masks(t: Any) -> Any:
    bias = part(t, "attention.bias")
    query, key = wave(t, 1, 2, 3, 4), wave(t, 1, 2, 5, 4)
    found = []
    for make in (bias.causal_upper_left, bias.causal_lower_right):
        mask = make(3, 5)
        print(mask, repr(mask.variant), mask.seq_len_q, mask.seq_len_kv)
        found.append(t.nn.functional.scaled_dot_product_attention(query, key, key, mask))
    return found


def kernels(t: Any) -> Any:
    attention, switches = t.nn.attention, t.backends.cuda
    query = wave(t, 1, 2, 3, 4)
    with attention.sdpa_kernel(attention.SDPBackend.MATH) as given:
        print(given, switches.flash_sdp_enabled(), switches.math_sdp_enabled(), attention._cur_sdpa_kernel_backends())
        both = [attention.SDPBackend.MATH, attention.SDPBackend.FLASH_ATTENTION]
        with attention.sdpa_kernel(both, set_priority=True):
            print(sorted(map(repr, attention._cur_sdpa_kernel_backends())))
            found = t.nn.functional.scaled_dot_product_attention(query, query, query)
        switches.enable_flash_sdp(True)
        print(switches.flash_sdp_enabled(), switches.cudnn_sdp_enabled())
    print(attention._cur_sdpa_kernel_backends(), attention.WARN_FOR_UNFUSED_KERNELS)
    print([(str(b), repr(b), int(b)) for b in map(attention.SDPBackend, range(-1, 5))])
    switches.enable_math_sdp(False)
    print(switches.math_sdp_enabled())
    switches.enable_math_sdp(True)
    return found


def wrapped(t: Any) -> Any:
    model = t.nn.DataParallel(t.nn.Linear(2, 3))
    print(model, list(model.state_dict()), model.device_ids)
    return model(t.ones(1, 2))


@pytest.mark.parametrize(
    "program",
    [
        masks,
        kernels,
        wrapped,
        lambda t: t.nn.attention.sdpa_kernel("a").__enter__(),
        lambda t: part(t, "attention.bias").causal_upper_left(3),
        lambda t: part(t, "attention.bias").causal_lower_right(3),
        lambda t: part(t, "attention.bias").CausalBias(1, 2, 3),
        lambda t: part(t, "attention.bias").causal_lower_right(4, 2) is None,
        lambda t: str(t.nn.Container(a=t.nn.Identity())),
    ],
)
def test_as_pytorch(program: Any) -> None:
    same(program, rtol=1e-6, atol=1e-6)


def test_causal_masks_are_kept_by_copies() -> None:
    import copy
    import pickle

    import flambeau

    mask = part(flambeau, "attention.bias").causal_lower_right(2, 3)
    for other in (copy.deepcopy(mask), pickle.loads(pickle.dumps(mask))):
        assert type(other) is type(mask)
        assert flambeau.equal(other, mask)
        assert other.variant is mask.variant
    assert type(mask._materialize()) is flambeau.Tensor


# What other people's layers import beside public names.
PATHS = {
    "nn.modules.utils": "_ntuple _single _pair _triple _quadruple _reverse_repeat_tuple _list_with_default "
    "consume_prefix_in_state_dict_if_present",
    "nn.modules.conv": "_ConvNd _ConvTransposeNd Conv2d",
    "nn.modules.batchnorm": "_BatchNorm _NormBase _LazyNormBase BatchNorm2d SyncBatchNorm",
    "nn.modules.instancenorm": "_InstanceNorm",
    "nn.modules.pooling": "_MaxPoolNd _AvgPoolNd _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd _LPPoolNd _MaxUnpoolNd",
    "nn.modules.dropout": "_DropoutNd",
    "nn.modules.loss": "_Loss _WeightedLoss",
    "nn.modules.padding": "_ConstantPadNd _ReflectionPadNd _ReplicationPadNd _CircularPadNd",
    "nn.modules.linear": "NonDynamicallyQuantizableLinear Identity",
    "nn.modules.activation": "MultiheadAttention ReLU",
    "nn.modules.container": "Sequential ModuleList",
    "nn.modules.lazy": "LazyModuleMixin",
    "nn.modules.module": "_IncompatibleKeys _addindent register_module_forward_hook",
    "nn.modules.transformer": "_get_clones _get_activation_fn _generate_square_subsequent_mask",
    "nn.modules.rnn": "RNNBase RNNCellBase",
    "nn.parameter": "Parameter Buffer UninitializedParameter UninitializedTensorMixin is_lazy",
    "nn.common_types": "_size_1_t _size_2_t _size_3_t _size_any_t _size_2_opt_t _ratio_2_t _maybe_indices_t",
    "nn._reduction": "get_enum legacy_get_string legacy_get_enum",
    "nn.functional": "_Reduction _canonical_mask _none_or_dtype _in_projection_packed _verify_batch_size "
    "_get_softmax_dim GRID_SAMPLE_INTERPOLATION_MODES GRID_SAMPLE_PADDING_MODES relu_ elu_ celu_ selu_ rrelu_ "
    "hardtanh_ leaky_relu_ threshold_",
    "nn.init": "_calculate_fan_in_and_fan_out _calculate_correct_fan",
    "nn.parallel": "DataParallel data_parallel",
    "nn.utils.clip_grad": "clip_grad_norm_ clip_grad_value_",
    "nn.utils.convert_parameters": "parameters_to_vector vector_to_parameters",
    "nn.utils.fusion": "fuse_conv_bn_eval fuse_linear_bn_eval",
    "nn.utils.init": "skip_init",
    "nn.utils.memory_format": "convert_conv2d_weight_memory_format",
    "nn.utils.parametrizations": "orthogonal spectral_norm weight_norm",
    "nn.utils.rnn": "PackedSequence pad_sequence",
    "nn.utils.spectral_norm": "SpectralNorm spectral_norm",
    "nn.utils.stateless": "functional_call",
    "nn.utils.weight_norm": "WeightNorm weight_norm",
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_that_programs_import(path: str) -> None:
    for package in ("torch", "flambeau"):
        module = importlib.import_module(f"{package}.{path}")
        assert [name for name in PATHS[path].split() if not hasattr(module, name)] == []


def private_functions(t: Any) -> Any:
    functional, reduction = t.nn.functional, part(t, "_reduction")
    x, w, b = wave(t, 3, 2, 4), wave(t, 12, 4), wave(t, 12)
    mask = t.tensor([True, False])
    print(part(t, "modules.module")._addindent("one\ntwo", 3), part(t, "common_types")._size_2_t)
    print([reduction.get_enum(word) for word in ("none", "mean", "sum", "elementwise_mean")])
    print(reduction.legacy_get_string(None, None), reduction.legacy_get_enum(True, False, emit_warning=False))
    print(functional.GRID_SAMPLE_INTERPOLATION_MODES, functional.GRID_SAMPLE_PADDING_MODES)
    print(
        functional._get_softmax_dim("softmax", 3, 1), functional._none_or_dtype(None), functional._none_or_dtype(mask)
    )
    clones = part(t, "modules.transformer")._get_clones(t.nn.Linear(1, 1), 2)
    print(clones, part(t, "modules.transformer")._get_activation_fn("gelu") is functional.gelu)
    functional._verify_batch_size([2, 1])
    return (
        functional._canonical_mask(mask, "mask", None, "other", t.float32),
        *functional._in_projection_packed(x, x, x, w, b),
        *functional._in_projection_packed(x, x + 1, x - 1, w),
        part(t, "modules.transformer")._generate_square_subsequent_mask(3),
    )


def test_data_parallel_is_the_module_on_one_device() -> None:
    import flambeau

    x, run = wave(flambeau, 3, 4), part(flambeau, "parallel").data_parallel
    assert run(flambeau.nn.Identity(), x) is x
    assert run(flambeau.nn.Bilinear(4, 4, 1), (x,), module_kwargs={"input2": x}).shape == (3, 1)


def test_functions_that_other_layers_use() -> None:
    same(private_functions, 1e-5, 1e-6)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: t.nn.functional._verify_batch_size(t.Size([1, 3])),
        lambda t: part(t, "_reduction").get_enum("most"),
        lambda t: part(t, "modules.transformer")._get_activation_fn("sine"),
        lambda t: t.nn.functional._canonical_mask(t.ones(2).int(), "mask", None, "", t.float32),
    ],
)
def test_functions_that_other_layers_use_refuse(program: Any) -> None:
    raised = []
    for package in ("torch", "flambeau"):
        with pytest.raises(Exception, match=r".") as caught:
            program(importlib.import_module(package))
        raised.append((caught.type, str(caught.value)))
    assert raised[0][0] is raised[1][0]
    assert raised[1][1].startswith(raised[0][1])
