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
