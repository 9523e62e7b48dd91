"""torch.nn.utils call by call beside PyTorch's: clipping, vectors, fusion, packed sequences, pruning and more."""

from __future__ import annotations

import copy
import math
import pickle
from importlib import import_module

import pytest
import torch.nn.utils.prune  # noqa: F401  (which torch.nn.utils leaves out)
from both import alike, same, text


def wave(t, *shape):
    """Values that differ everywhere."""
    return (t.arange(float(t.Size(shape).numel())) * 1.7).sin().reshape(shape)


def params(t):
    """Three parameters, of which two have gradients."""
    found = [t.nn.Parameter(wave(t, 3, 4)), t.nn.Parameter(wave(t, 5) * 2), t.nn.Parameter(t.ones(2))]
    (found[0] ** 2).sum().backward()
    (found[1] ** 3).sum().backward()
    return found


def shown(value):
    """Values as they are, anything else as it prints."""
    return value if isinstance(value, tuple | list | dict) or hasattr(value, "numpy") else text(value)


@pytest.mark.parametrize("foreach", [None, True, False])
@pytest.mark.parametrize("norm_type", [0, 0.5, 1, 2, 3, -1, -2, math.inf, -math.inf, "inf", "fro", "nuc"])
def test_clipping_by_norm(norm_type, foreach):
    def program(t):
        ps = params(t)
        norm = t.nn.utils.clip_grad_norm_(ps, 1.3, norm_type=norm_type, foreach=foreach)
        return norm, t.nn.utils.get_total_norm([wave(t, 3), wave(t, 2, 2)], norm_type), [p.grad for p in ps[:2]]

    alike(program)


@pytest.mark.parametrize("norm_type", [2.0, math.inf, 1])
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_clipping_what_is_not_finite(value, strict, norm_type):
    def program(t):
        p = t.nn.Parameter(t.ones(3))
        p.grad = t.tensor([1.0, value, 2.0])
        return t.nn.utils.clip_grad_norm_([p], 1.0, norm_type=norm_type, error_if_nonfinite=strict), p.grad

    same(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda t: shown(t.nn.utils.clip_grad_norm_([], 1.0)),
        lambda t: shown(t.nn.utils.clip_grad_norm_(t.nn.Parameter(t.ones(1)), 1.0)),
        lambda t: shown(t.nn.utils.clip_grad_norm_([t.ones(1)], 1.0)),
        lambda t: shown(t.nn.utils.clip_grad_norm_("a", 1.0)),
        lambda t: shown(t.nn.utils.clip_grad_norm_(params(t), "1")),
        lambda t: shown(t.nn.utils.clip_grad_norm_(params(t), 0.0)),
        lambda t: shown(t.nn.utils.clip_grad_norm_(params(t), -1.0)),
        lambda t: shown(t.nn.utils.clip_grad_norm_(params(t), t.tensor(1.0))),
        lambda t: shown(t.nn.utils.clip_grad_norm_(params(t), math.inf)),
        lambda t: shown(t.nn.utils.clip_grad_value_(params(t), 0.1)),
        lambda t: shown(t.nn.utils.clip_grad_value_(params(t), -0.1)),
        lambda t: shown(t.nn.utils.clip_grad_value_(params(t), t.tensor(0.1))),
        lambda t: shown(t.nn.utils.clip_grad_value_(params(t), "a")),
        lambda t: shown(t.nn.utils.clip_grad_value_(params(t), 0.1, foreach=True)),
        lambda t: shown(t.nn.utils.clip_grad_value_(params(t)[0], 0.1, foreach=False)),
        lambda t: shown(t.nn.utils.clip_grads_with_norm_(params(t), 1.0, t.tensor(5.0))),
        lambda t: shown(t.nn.utils.clip_grads_with_norm_(params(t), 1.0, t.tensor(0.5))),
        lambda t: shown(t.nn.utils.clip_grads_with_norm_(params(t)[0], 1.0, t.tensor(5.0), foreach=False)),
        lambda t: shown(t.nn.utils.clip_grads_with_norm_([], 1.0, t.tensor(5.0))),
        lambda t: shown(t.nn.utils.get_total_norm([])),
        lambda t: shown(t.nn.utils.get_total_norm(t.ones(3))),
        lambda t: shown(t.nn.utils.get_total_norm([t.ones(3).double(), t.ones(2)])),
        lambda t: shown(t.nn.utils.get_total_norm([t.tensor([math.nan])], error_if_nonfinite=True)),
        lambda t: shown(t.nn.utils.get_total_norm([t.ones(2).long()])),
        lambda t: shown(t.nn.utils.get_total_norm([t.ones(2, dtype=t.complex64)])),
        lambda t: shown(t.nn.utils.get_total_norm(x for x in [t.ones(2)])),
        lambda t: shown(t.nn.utils.get_total_norm([t.ones(2).half() * 200, t.ones(2)])),
        lambda t: shown(t.nn.utils.clip_grad_norm(params(t), 1.0)),
        lambda t: shown(t.nn.utils.parameters_to_vector(params(t))),
        lambda t: shown(t.nn.utils.parameters_to_vector([])),
        lambda t: shown(t.nn.utils.parameters_to_vector(3)),
        lambda t: shown(t.nn.utils.parameters_to_vector([t.ones(2), t.ones(2).double()])),
        lambda t: shown(t.nn.utils.vector_to_parameters(t.arange(19.0), params(t))),
        lambda t: shown(t.nn.utils.vector_to_parameters(t.arange(3.0), params(t))),
        lambda t: shown(t.nn.utils.vector_to_parameters(t.arange(30.0), params(t))),
        lambda t: shown(t.nn.utils.vector_to_parameters(3, params(t))),
        lambda t: shown(t.nn.utils.vector_to_parameters(t.ones(2, 2), [t.nn.Parameter(t.ones(4))])),
        lambda t: shown(t.nn.utils.fuse_conv_bn_eval(t.nn.Conv2d(1, 1, 1).eval(), t.nn.BatchNorm2d(1))),
        lambda t: shown(t.nn.utils.fuse_conv_bn_eval(t.nn.Conv2d(1, 1, 1), t.nn.BatchNorm2d(1).eval())),
        lambda t: shown(t.nn.utils.fuse_linear_bn_eval(t.nn.Linear(2, 3), t.nn.BatchNorm1d(3))),
        lambda t: shown(t.nn.utils.fuse_linear_bn_eval(t.nn.Linear(2, 3).eval(), t.nn.BatchNorm1d(4).eval())),
        lambda t: shown(
            t.nn.utils.fuse_linear_bn_eval(t.nn.Linear(2, 3).eval(), t.nn.BatchNorm1d(1).eval())(t.ones(1, 2))
        ),
        lambda t: shown(
            t.nn.utils.fuse_conv_bn_eval(
                t.nn.ConvTranspose2d(2, 4, 2, groups=2).eval(), t.nn.BatchNorm2d(4).eval(), transpose=True
            )(t.ones(1, 2, 3, 3))
        ),
        lambda t: shown(
            t.nn.utils.fuse_conv_bn_weights(t.ones(2, 1, 1), None, t.ones(2), t.ones(2) * 2, 1e-05, None, None)
        ),
        lambda t: shown(
            t.nn.utils.fuse_conv_bn_weights(t.ones(2, 1, 1).half(), None, t.ones(2), t.ones(2) * 2, 1e-05, None, None)
        ),
        lambda t: shown(
            t.nn.utils.fuse_linear_bn_weights(
                t.ones(2, 1), None, t.ones(2), t.ones(2) * 2, 1e-05, t.ones(2) * 3, t.ones(2)
            )
        ),
        lambda t: shown(
            t.nn.utils.fuse_conv_bn_eval(
                t.nn.Conv2d(1, 1, 1, device="meta").eval(), t.nn.BatchNorm2d(1, device="meta").eval()
            ).weight.device.type
        ),
        lambda t: shown(t.nn.utils.skip_init(t.nn.Linear, 2, 3)),
        lambda t: shown(t.nn.utils.skip_init(t.nn.Linear, 2, 3, device="meta").weight.device.type),
        lambda t: shown(t.nn.utils.skip_init(t.nn.ReLU)),
        lambda t: shown(t.nn.utils.skip_init(3)),
        lambda t: shown(t.nn.utils.skip_init(t.nn.LSTM, 2, 3, num_layers=2)),
        lambda t: shown(t.nn.utils.skip_init(t.nn.Linear, 2)),
        lambda t: shown(t.nn.utils.skip_init(t.nn.Conv2d, 2, 3, 2, dtype=t.float64).weight.dtype),
        lambda t: shown(
            t.nn.utils.stateless.functional_call(t.nn.Linear(2, 3), {"weight": t.ones(3, 2)}, t.ones(1, 2))
        ),
        lambda t: shown(t.nn.utils.stateless.functional_call(t.nn.Linear(2, 3), {"w": t.ones(3, 2)}, t.ones(1, 2))),
        lambda t: shown(
            t.nn.utils.stateless.functional_call(t.nn.Linear(2, 3), {"weight": t.ones(3, 2)}, t.ones(1, 2), strict=True)
        ),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3, 2])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [2, 3])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [2, 3], enforce_sorted=False)),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3, 0])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [3, 2, 1])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), t.tensor([3, 2]))),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), t.tensor([3.0, 2.0]))),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), t.tensor([[3, 2]]))),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(2, 3, 1), [3, 2], batch_first=True)),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), [])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 0, 1), [])),
        lambda t: shown(t.nn.utils.rnn.pack_padded_sequence(t.ones(3, 2, 1), (3, -1))),
        lambda t: shown(t.nn.utils.rnn.pack_sequence([t.ones(3), t.ones(2)])),
        lambda t: shown(t.nn.utils.rnn.pack_sequence([t.ones(2), t.ones(3)])),
        lambda t: shown(t.nn.utils.rnn.pack_sequence([t.ones(2), t.ones(3)], enforce_sorted=False)),
        lambda t: shown(t.nn.utils.rnn.pack_sequence([])),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([t.ones(3), t.zeros(2)])),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([t.ones(3, 2), t.zeros(2, 2)], batch_first=True, padding_value=7)),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([t.ones(3), t.zeros(2)], padding_side="left")),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([t.ones(3), t.zeros(2)], padding_side="up")),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([])),
        lambda t: shown(t.nn.utils.rnn.pad_sequence(t.ones(2, 3))),
        lambda t: shown(t.nn.utils.rnn.pad_sequence(3)),
        lambda t: shown(t.nn.utils.rnn.pad_sequence((t.ones(3), t.ones(2)), True, 1.5)),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([t.ones(2).long(), t.ones(3).long()], padding_value=-1)),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([3, 4])),
        lambda t: shown(t.nn.utils.rnn.pad_sequence(x for x in [t.ones(2)])),
        lambda t: shown(t.nn.utils.rnn.pad_sequence([t.ones(2), t.ones(3).double()])),
        lambda t: shown(t.nn.utils.rnn.unpad_sequence(t.ones(3, 2), t.tensor([3, 1]))),
        lambda t: shown(t.nn.utils.rnn.unpad_sequence(t.ones(2, 3), t.tensor([3, 1]), batch_first=True)),
        lambda t: shown(
            t.nn.utils.rnn.unpack_sequence(t.nn.utils.rnn.pack_sequence([t.ones(2), t.ones(3)], enforce_sorted=False))
        ),
        lambda t: shown(t.nn.utils.rnn.pad_packed_sequence(t.nn.utils.rnn.pack_sequence([t.ones(3), t.ones(2)]))),
        lambda t: shown(
            t.nn.utils.rnn.pad_packed_sequence(
                t.nn.utils.rnn.pack_sequence([t.ones(3), t.ones(2)]),
                batch_first=True,
                padding_value=9.0,
                total_length=5,
            )
        ),
        lambda t: shown(
            t.nn.utils.rnn.pad_packed_sequence(t.nn.utils.rnn.pack_sequence([t.ones(3), t.ones(2)]), total_length=2)
        ),
        lambda t: shown(t.nn.utils.rnn.pad_packed_sequence(3)),
        lambda t: shown(
            t.nn.utils.rnn.pad_packed_sequence(
                t.nn.utils.rnn.pack_sequence([t.ones(2), t.ones(3)], enforce_sorted=False), total_length=4
            )
        ),
        lambda t: shown(t.nn.utils.rnn.invert_permutation(t.tensor([2, 0, 1]))),
        lambda t: shown(t.nn.utils.rnn.invert_permutation(None)),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1]))),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).data.sum()),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1]), t.tensor([1, 0])).unsorted_indices),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).to(t.float64).data),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).double()),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).long().data),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).is_cuda),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).is_pinned()),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).cpu()),
        lambda t: shown(
            t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).half().char().int().short().byte().float()
        ),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).pin_memory),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1]))._replace(data=t.zeros(3))),
        lambda t: shown(tuple(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])))),
        lambda t: shown(len(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])))),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3))),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).to("cpu", t.float16).data.dtype),
        lambda t: shown(t.nn.utils.rnn.PackedSequence(t.ones(3), t.tensor([2, 1])).to("cpu") is None),
        lambda t: shown(t.nn.utils.weight_norm(t.nn.Linear(2, 3), "what")),
        lambda t: shown(t.nn.utils.weight_norm(t.nn.Linear(2, 3), "bias")),
        lambda t: shown(t.nn.utils.weight_norm(t.nn.Linear(2, 3), dim=5)),
        lambda t: shown(t.nn.utils.weight_norm(t.nn.Linear(2, 3), dim=-1)),
        lambda t: shown(t.nn.utils.spectral_norm(t.nn.Linear(2, 3), "what")),
        lambda t: shown(t.nn.utils.spectral_norm(t.nn.ConvTranspose2d(2, 3, 2))),
        lambda t: shown(t.nn.utils.spectral_norm(t.nn.Linear(2, 3), dim=3)),
        lambda t: shown(t.nn.utils.remove_weight_norm(t.nn.Linear(2, 3), "q")),
        lambda t: shown(t.nn.utils.remove_spectral_norm(t.nn.Linear(2, 3), "q")),
        lambda t: shown(t.nn.utils.spectral_norm(t.nn.Conv1d(2, 3, 2), n_power_iterations=2)(wave(t, 1, 2, 4))),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(t.nn.Linear(3, 3)).weight),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(t.nn.Linear(3, 3), orthogonal_map="cayley").weight),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(t.nn.Linear(3, 2), use_trivialization=False).weight),
        lambda t: shown(
            t.nn.utils.parametrizations.orthogonal(
                t.nn.Linear(2, 4), use_trivialization=False, orthogonal_map="householder"
            ).weight
        ),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 4), "q")),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(3)),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(t.nn.Conv2d(2, 3, 2)).weight),
        lambda t: shown(t.nn.utils.parametrizations.orthogonal(t.nn.Linear(2, 2, dtype=t.complex64)).weight.shape),
        lambda t: shown(t.nn.utils.parametrizations.weight_norm(t.nn.Linear(2, 3), "bias", dim=0).bias),
        lambda t: shown(t.nn.utils.parametrizations.weight_norm(t.nn.Linear(2, 3), "q")),
        lambda t: shown(
            t.nn.utils.parametrizations.weight_norm(t.nn.utils.parametrizations.weight_norm(t.nn.Linear(2, 3)))
        ),
        lambda t: shown(t.nn.utils.parametrizations.weight_norm(t.nn.Linear(2, 3), dim=-1)),
        lambda t: shown(t.nn.utils.parametrizations.weight_norm(t.nn.Conv2d(2, 3, 2)).state_dict()),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 3)).weight),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.Conv2d(2, 3, 2), n_power_iterations=3).weight),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.ConvTranspose2d(2, 3, 2)).weight),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 3), eps=1.0).weight),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 3).eval()).weight),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.Embedding(3, 2)).weight),
        lambda t: shown(t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(2, 3), "bias").bias),
        lambda t: shown(t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", 3)),
        lambda t: shown(t.nn.utils.parametrize.register_parametrization(3, "weight", t.nn.Identity())),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Identity()).state_dict()
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(
                t.nn.BatchNorm1d(2), "running_mean", t.nn.Identity()
            ).state_dict()
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3, bias=False), "bias", t.nn.Identity())
        ),
        lambda t: shown(t.nn.utils.parametrize.is_parametrized(t.nn.Linear(2, 3), "q")),
        lambda t: shown(t.nn.utils.parametrize.is_parametrized(3)),
        lambda t: shown(t.nn.utils.parametrize.remove_parametrizations(t.nn.Linear(2, 3), "weight")),
        lambda t: shown(
            t.nn.utils.parametrize.remove_parametrizations(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Identity()), "bias"
            )
        ),
        lambda t: shown(t.nn.utils.parametrize.type_before_parametrizations(t.nn.Linear(2, 3))),
        lambda t: shown(
            t.nn.utils.parametrize.type_before_parametrizations(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Identity())
            )
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Identity()).__class__
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(
                t.nn.Linear(2, 3), "weight", t.nn.Identity()
            ).parametrizations
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(
                t.nn.Linear(2, 3), "weight", t.nn.ReLU()
            ).parametrizations.weight[0]
        ),
        lambda t: shown(
            len(
                t.nn.utils.parametrize.register_parametrization(
                    t.nn.Linear(2, 3), "weight", t.nn.Tanh()
                ).parametrizations.weight
            )
        ),
        lambda t: shown(
            copy.deepcopy(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh())
            ).weight
        ),
        lambda t: shown(
            pickle.dumps(t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh()))
        ),
        lambda t: shown(
            delattr(t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh()), "weight")
        ),
        lambda t: shown(
            setattr(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh()),
                "weight",
                t.ones(3, 2),
            )
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(
                t.nn.Linear(2, 3), "weight", t.nn.Tanh()
            ).parametrizations.weight.right_inverse(t.ones(3, 2))
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh()),
                "weight",
                t.nn.ReLU(),
            ).weight
        ),
        lambda t: shown(t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 2), "weight", t.nn.Flatten(0))),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(
                t.nn.Linear(2, 2), "weight", t.nn.Flatten(0), unsafe=True
            ).weight
        ),
        lambda t: shown(
            t.nn.utils.parametrize.register_parametrization(t.nn.LSTM(2, 2), "weight_hh_l0", t.nn.Tanh())(
                wave(t, 3, 1, 2)
            )
        ),
        lambda t: shown(
            t.nn.utils.parametrize.transfer_parametrizations_and_params(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh()),
                t.nn.Linear(2, 3),
                "bias",
            )
        ),
        lambda t: shown(
            t.nn.utils.parametrize.transfer_parametrizations_and_params(
                t.nn.utils.parametrize.register_parametrization(t.nn.Linear(2, 3), "weight", t.nn.Tanh()),
                t.nn.Linear(2, 3),
                "weight",
            )
        ),
    ],
)
def test_one_call_each(program):
    alike(program)


# ---------------------------------------------------------------- pruning and parametrizations


def a_container_of_prunings(t):
    P = t.nn.utils.prune
    m = t.nn.Linear(4, 4)
    P.l1_unstructured(m, "weight", 4)
    P.ln_structured(m, "weight", 1, 2, 0)
    P.random_unstructured(m, "weight", 2)
    h = next(iter(m._forward_pre_hooks.values()))
    print(type(h).__name__, len(h), h._tensor_name, [type(z).__name__ for z in h], type(h[0]).__name__)
    print(P.is_pruned(t.nn.Sequential(m)))
    m2 = copy.deepcopy(m)
    m3 = pickle.loads(pickle.dumps(m))
    y = [m2(wave(t, 1, 4)), m3(wave(t, 1, 4))]
    P.remove(m, "weight")
    return (y, m.weight, m2.weight_mask)


def pruned_recurrent_weights(t):
    m = t.nn.LSTM(2, 3)
    t.nn.utils.prune.l1_unstructured(m, "weight_hh_l0", 5)
    return (m(wave(t, 2, 1, 2))[0], list(m.state_dict()))


def a_pruning_of_ones_own(t):
    P = t.nn.utils.prune

    class F(P.BasePruningMethod):
        PRUNING_TYPE = "unstructured"

        def compute_mask(self, tt, d):
            mask = d.clone()
            mask.view(-1)[::2] = 0
            return mask

    m = t.nn.Linear(2, 3)
    F.apply(m, "weight")
    print(list(m.state_dict()))
    P.l1_unstructured(m, "weight", 1)
    P.global_unstructured([(m, "bias")], F)
    return (m.weight, m.bias)


def a_pruning_of_no_known_type(t):
    P = t.nn.utils.prune

    class F(P.BasePruningMethod):
        PRUNING_TYPE = "what"

        def compute_mask(self, tt, d):
            return d

    m = t.nn.Linear(2, 3)
    P.l1_unstructured(m, "weight", 1)
    F.apply(m, "weight")


def chained_parametrizations(t):
    Z = t.nn.utils.parametrize

    class A(t.nn.Module):
        def forward(self, w):
            return w * 2

        def right_inverse(self, w):
            return w / 2

    class B(t.nn.Module):
        def __init__(s):
            super().__init__()
            s.k = t.nn.Parameter(t.ones(1) * 3)

        def forward(self, w):
            return w + self.k

        def right_inverse(self, w):
            return w - self.k

    m = t.nn.Linear(2, 2)
    Z.register_parametrization(m, "weight", A())
    Z.register_parametrization(m, "weight", B())
    Z.register_parametrization(m, "bias", B())
    print(m, list(m.state_dict()), [n for n, _ in m.named_parameters()])
    m.weight = t.ones(2, 2)
    a = m.weight
    sd = m.state_dict()
    m2 = t.nn.Linear(2, 2)
    try:
        m2.load_state_dict(sd)
    except RuntimeError as e:
        print(e)
    Z.register_parametrization(m2, "weight", A())
    Z.register_parametrization(m2, "weight", B())
    Z.register_parametrization(m2, "bias", B())
    print(m2.load_state_dict(sd))
    (m2(wave(t, 3, 2)) ** 2).sum().backward()
    g = [p.grad for p in m2.parameters()]
    Z.remove_parametrizations(m, "weight")
    print(m, list(m.state_dict()))
    Z.remove_parametrizations(m, "bias")
    print(m, type(m) is t.nn.Linear)
    return (a, g, m.weight, m2.weight)


def cached_parametrizations(t):
    Z = t.nn.utils.parametrize
    n = [0]

    class A(t.nn.Module):
        def forward(self, w):
            n[0] += 1
            return w * 2

    m = t.nn.Linear(2, 2)
    Z.register_parametrization(m, "weight", A())
    n[0] = 0
    with Z.cached():
        _ = m.weight
        _ = m.weight
        m(t.ones(1, 2))
        with Z.cached():
            _ = m.weight
        print(n)
    _ = m.weight
    print(n)


def a_parametrized_buffer(t):
    Z = t.nn.utils.parametrize

    class A(t.nn.Module):
        def forward(self, w):
            return w * 2

    m = t.nn.Module()
    m.register_buffer("b", t.ones(2))
    Z.register_parametrization(m, "b", A())
    print(m.b, list(m.state_dict()), [n for n, _ in m.named_buffers()])
    Z.remove_parametrizations(m, "b")
    print(m.b, list(m._buffers))
    m.register_buffer("c", t.ones(2))
    Z.register_parametrization(m, "c", A())
    Z.remove_parametrizations(m, "c", leave_parametrized=False)
    print(m.c)


def unsafe_parametrizations(t):
    Z = t.nn.utils.parametrize

    class S(t.nn.Module):
        def forward(self, w):
            return w[:1]

        def right_inverse(self, w):
            return t.cat([w, w])

    m = t.nn.Linear(2, 2, bias=False)
    try:
        Z.register_parametrization(m, "weight", S())
    except ValueError as e:
        print(e)
    print(m)
    Z.register_parametrization(m, "weight", S(), unsafe=True)
    print(m.weight.shape, m.parametrizations.weight.original.shape)


def classes_of_parametrized_modules(t):
    Z = t.nn.utils.parametrize
    a, b = (t.nn.Linear(2, 2), t.nn.Linear(2, 2))
    Z.register_parametrization(a, "weight", t.nn.Tanh())
    print(type(a).__name__, type(b).__name__, isinstance(a, t.nn.Linear), type(a) is type(b))
    c = copy.deepcopy(a)
    print(type(c).__name__, c.parametrizations is a.parametrizations)
    a.to(t.float64)
    print(a.weight.dtype, a.parametrizations.weight.original.dtype)
    print("weight" in a._parameters, hasattr(a, "weight"), "weight" in dir(a))
    a.eval()
    print(a.parametrizations.training)
    a.requires_grad_(False)
    print(a.weight.requires_grad)


def weight_norm_without_values(t):
    m = t.nn.utils.parametrizations.weight_norm(t.nn.Linear(2, 3, device="meta"))
    print([(k, v.device.type, tuple(v.shape)) for k, v in m.state_dict().items()])


def spectral_norm_in_both_modes(t):
    m = t.nn.utils.parametrizations.spectral_norm(t.nn.Linear(4, 3))
    o = []
    for _ in range(3):
        o.append(m.weight)
    m.eval()
    o.append(m.weight)
    o.append(m.weight)
    o += list(m.state_dict().values())
    m.train()
    m(wave(t, 2, 4)).sum().backward()
    o.append(m.parametrizations.weight.original.grad)
    return o


def old_spectral_norm_in_both_modes(t):
    m = t.nn.utils.spectral_norm(t.nn.Linear(4, 3))
    o = [m(wave(t, 2, 4)) for _ in range(3)]
    m.eval()
    o.append(m(wave(t, 2, 4)))
    o += list(m.state_dict().values())
    c = copy.deepcopy(m)
    o.append(c(wave(t, 2, 4)))
    return o


def functional_call(t):
    from importlib import import_module

    F = import_module(t.__name__ + ".func").functional_call
    m = t.nn.Sequential(t.nn.Linear(2, 3), t.nn.BatchNorm1d(3))
    p = {k: v.detach() * 2 for k, v in m.named_parameters()}
    b = {k: v.clone() for k, v in m.named_buffers()}
    y = F(m, (p, b), (wave(t, 4, 2),))
    print(m[1].num_batches_tracked, b["1.num_batches_tracked"])
    y2 = F(m, p, wave(t, 4, 2))
    y3 = F(m, {}, (), {"input": wave(t, 4, 2)})
    return (y, y2, y3)


@pytest.mark.parametrize(
    "program",
    [
        a_container_of_prunings,
        pruned_recurrent_weights,
        a_pruning_of_ones_own,
        a_pruning_of_no_known_type,
        chained_parametrizations,
        cached_parametrizations,
        a_parametrized_buffer,
        unsafe_parametrizations,
        classes_of_parametrized_modules,
        weight_norm_without_values,
        spectral_norm_in_both_modes,
        old_spectral_norm_in_both_modes,
        functional_call,
    ],
)
def test_as_pytorch(program):
    same(program, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 2),
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 0.3),
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 1.0),
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 1),
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 0.0),
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 6),
        lambda t, prune, m: prune.l1_unstructured(m, "weight", 7),
        lambda t, prune, m: prune.random_unstructured(m, "weight", 2),
        lambda t, prune, m: prune.random_unstructured(m, "bias", 0.5),
        lambda t, prune, m: prune.ln_structured(m, "weight", 1, 2, 0),
        lambda t, prune, m: prune.ln_structured(m, "weight", 1, 1, 1),
        lambda t, prune, m: prune.ln_structured(m, "weight", 0.5, "fro", 0),
        lambda t, prune, m: prune.ln_structured(m, "weight", 1, float("inf"), -1),
        lambda t, prune, m: prune.ln_structured(m, "weight", 9, 2, 0),
        lambda t, prune, m: prune.ln_structured(m, "weight", 1, 2, 5),
        lambda t, prune, m: prune.ln_structured(m, "weight", 1, 2, 0, importance_scores=t.ones(3, 2)),
        lambda t, prune, m: prune.ln_structured(m, "weight", 1, 2, 0, importance_scores=t.ones(2, 2)),
        lambda t, prune, m: prune.random_structured(m, "weight", 1, 0),
        lambda t, prune, m: prune.random_structured(m, "weight", 1, -1),
        lambda t, prune, m: prune.identity(m, "weight"),
        lambda t, prune, m: prune.identity(m, "q"),
        lambda t, prune, m: prune.custom_from_mask(m, "weight", t.tensor([[1, 0], [0, 1], [1, 1]])),
        lambda t, prune, m: prune.custom_from_mask(m, "weight", 3),
        lambda t, prune, m: prune.remove(m, "weight"),
        lambda t, prune, m: prune.is_pruned(m),
        lambda t, prune, m: prune.is_pruned(3),
        lambda t, prune, m: prune.global_unstructured([(m, "weight"), (m, "bias")], prune.L1Unstructured, amount=3),
        lambda t, prune, m: prune.global_unstructured(
            [(m, "weight"), (m, "bias")], prune.RandomUnstructured, amount=0.5
        ),
        lambda t, prune, m: prune.global_unstructured(
            [(m, "weight")], prune.L1Unstructured, importance_scores={(m, "weight"): wave(t, 3, 2)}, amount=2
        ),
        lambda t, prune, m: prune.global_unstructured(
            [(m, "weight")], prune.L1Unstructured, importance_scores=3, amount=2
        ),
        lambda t, prune, m: prune.global_unstructured([], prune.L1Unstructured, amount=2),
        lambda t, prune, m: prune.global_unstructured([(m, "weight")], prune.Identity),
        lambda t, prune, m: prune.global_unstructured([(m, "weight")], prune.LnStructured, amount=1),
        lambda t, prune, m: prune.L1Unstructured(2).prune(wave(t, 2, 3)),
        lambda t, prune, m: prune.L1Unstructured(2).prune(
            wave(t, 2, 3), default_mask=t.tensor([[1.0, 0, 1], [1, 1, 0]])
        ),
        lambda t, prune, m: prune.L1Unstructured(2).prune(wave(t, 2, 3), importance_scores=-wave(t, 2, 3)),
        lambda t, prune, m: prune.L1Unstructured(2).prune(wave(t, 2, 3), importance_scores=t.ones(2)),
        lambda t, prune, m: prune.RandomUnstructured(0.5).prune(wave(t, 2, 3)),
        lambda t, prune, m: prune.LnStructured(1, 2, 0).prune(wave(t, 2, 3)),
        lambda t, prune, m: prune.RandomStructured(1).prune(wave(t, 2, 3)),
        lambda t, prune, m: prune.Identity().prune(wave(t, 2, 3)),
        lambda t, prune, m: prune.CustomFromMask(t.zeros(2, 3)).prune(wave(t, 2, 3)),
        lambda t, prune, m: prune.BasePruningMethod(),
        lambda t, prune, m: prune.L1Unstructured(-1),
        lambda t, prune, m: prune.L1Unstructured(1.5),
        lambda t, prune, m: prune.L1Unstructured("a"),
        lambda t, prune, m: prune.LnStructured(1),
        lambda t, prune, m: prune.L1Unstructured.apply(m, "weight", 1).__class__.__name__,
        lambda t, prune, m: prune.L1Unstructured.PRUNING_TYPE,
        lambda t, prune, m: prune.LnStructured.PRUNING_TYPE,
        lambda t, prune, m: prune.CustomFromMask.PRUNING_TYPE,
        lambda t, prune, m: prune.Identity.PRUNING_TYPE,
        lambda t, prune, m: prune.PruningContainer()._pruning_methods,
        lambda t, prune, m: prune.PruningContainer(prune.L1Unstructured(1)),
        lambda t, prune, m: prune.PruningContainer().add_pruning_method(prune.L1Unstructured(1)),
        lambda t, prune, m: prune.PruningContainer().add_pruning_method(None),
        lambda t, prune, m: prune.PruningContainer(3),
        lambda t, prune, m: prune.L1Unstructured.apply(m, "weight", amount=1).apply_mask(m),
        lambda t, prune, m: prune.L1Unstructured.apply(m, "weight", amount=1).remove(m),
    ],
)
def test_pruning(call):
    def program(t):
        layer = t.nn.Linear(2, 3)
        found = call(t, t.nn.utils.prune, layer)
        print(sorted(layer.state_dict()), [type(hook).__name__ for hook in layer._forward_pre_hooks.values()])
        return shown(found), layer.weight, layer.bias, layer.state_dict()

    same(program, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, call: call(t.nn.Linear(1, 1), 3, t.ones(1)),
        lambda t, call: call(t.nn.Linear(1, 1), ({"weight": t.ones(1, 1)}, {"weight": t.ones(1, 1)}), t.ones(1)),
        lambda t, call: call(t.nn.Linear(1, 1), {"q": t.ones(1)}, t.ones(1), strict=True),
        lambda t, call: call(t.nn.Linear(1, 1), {"q": t.ones(1)}, t.ones(1)),
        lambda t, call: call(t.nn.Linear(1, 1), {"weight": t.ones(2, 1)}, t.ones(1)),
        lambda t, call: call(t.nn.Linear(1, 1), {"weight": 3}, t.ones(1)),
        lambda t, call: call(
            t.nn.Linear(1, 1), {"weight": t.ones(1, 1), "bias": t.ones(1)}, t.ones(1), tie_weights=False
        ),
    ],
)
def test_functional_call(call):
    same(lambda t: call(t, import_module(f"{t.__name__}.func").functional_call), rtol=1e-6)
