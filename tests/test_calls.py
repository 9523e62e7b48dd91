"""Functions that PyTorch's operator database does not sample: called by hand, beside PyTorch, on both tiers.

One expression a line.  ``l`` is the library, ``v(...)`` a leaf that is differentiated, ``c(...)`` a constant and
``n(...)`` integers; results, gradients and errors are PyTorch's.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch as oracle

import flambeau

LOSSES = """
l.binary_cross_entropy_with_logits(v(3,2), c(3,2).sigmoid())
l.binary_cross_entropy_with_logits(v(3,2), c(3,2).sigmoid(), c(3,2), c(2).exp(), 2)
l.binary_cross_entropy_with_logits(v(3,2), c(3,2).sigmoid(), reduction=0)
l.binary_cross_entropy_with_logits(v(3,2), c(3,2), reduction='mean')
l.cosine_embedding_loss(v(3,4), v(3,4), l.tensor([1,-1,1]), 0.1)
l.cosine_embedding_loss(v(3,4), v(3,4), l.tensor([1,-1,1]), reduction=0)
l.cosine_embedding_loss(v(3,4), v(3), l.tensor([1,-1,1]))
l.ctc_loss(v(6,2,4).log_softmax(-1), l.tensor([[1,2],[3,1]]), [6,5], [2,2])
l.ctc_loss(v(6,2,4).log_softmax(-1), l.tensor([[1,2],[3,1]]), l.tensor([6,5]), l.tensor([2,1]), 0, 2, True)
l.hinge_embedding_loss(v(3,4), l.tensor([1,-1,1,-1]), 0.5)
l.hinge_embedding_loss(v(3,4), l.tensor([1,-1,1,-1]), reduction=2)
l.kl_div(v(3,4).log_softmax(-1), c(3,4).softmax(-1))
l.kl_div(v(3,4).log_softmax(-1), c(3,4).log_softmax(-1), 2, log_target=True)
l.kl_div(v(3,4).log_softmax(-1), c(3,4).softmax(-1), 0)
l.kl_div(n(3), c(3))
l.margin_ranking_loss(v(3), v(3), l.tensor([1,-1,1]), 0.2)
l.margin_ranking_loss(v(2,3), v(3), l.tensor([1,-1,1]), reduction=0)
l.poisson_nll_loss(v(4), c(4).exp(), True, True, 1e-8, 1)
l.poisson_nll_loss(v(4).exp(), c(4).exp(), False, False, 1e-8, 0)
l.triplet_margin_loss(v(3,4), v(3,4), v(3,4))
l.triplet_margin_loss(v(3,4), v(3,4), v(3,4), -1.0, 3.0, 1e-6, True, 2)
l.triplet_margin_loss(v(3,4), v(4), v(4))
"""
PARTS = """
l.embedding(v(5,2), l.tensor([[1,2],[4,1]]), 1, True)
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2]))[0]
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2]), False, 1)
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2,4]), False, 1, False, None, True, 2)
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2,2]), False, 2)
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2,4]), False, 2, False, None, True, 2)
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2,2]), False, 0, False, v(4))[0]
l.embedding_bag(v(5,2), l.tensor([1,2,4,0]), l.tensor([0,2]), False, 5)
l.affine_grid_generator(v(2,2,3), [2,1,3,4], False)
l.affine_grid_generator(v(1,3,4), [1,1,2,3,2], True)
l.native_batch_norm(v(4,3), v(3), v(3), c(3), c(3).exp(), True, 0.1, 1e-5)
l.native_batch_norm(v(4,3,2), None, None, c(3), c(3).exp(), False, 0.1, 1e-3)
(lambda m,s: (l.native_batch_norm(v(4,3), None, None, m, s, True, 0.3, 1e-5)[0], m, s))(c(3), c(3).exp())
tuple(p.detach() for p in l.native_group_norm(v(2,4,3), v(4), v(4), 2, 4, 3, 2, 1e-5))
l.native_group_norm(v(2,4,3), v(4), v(4), 2, 4, 3, 2, 1e-5)[0]
l.native_dropout(v(2,3), 0.5, False)
l.native_dropout(v(2,3), 1.0, True)
l.native_dropout(v(2,3), 0.0, None)
l.native_dropout(v(2,3), 1.5, True)
l.native_dropout(n(2), 0.5, True)
(lambda x: (lambda y,m: (y - x*m*2).abs().max().item() == 0)(*l.native_dropout(x, 0.5, True)))(c(50))
l.frobenius_norm(v(3,4), [1])
l.frobenius_norm(v(3,4), [], True)
l.frobenius_norm(v(3,4), (0,1))
l.frobenius_norm(v(2,3,4), [0,1,2])
l.nuclear_norm(v(3,4))
l.nuclear_norm(v(2,3,4), (0,2), True)
l.norm_except_dim(v(3,4))
l.norm_except_dim(v(3,4,2), 2, 1)
l.norm_except_dim(v(3,4), 3, -1)
l.norm_except_dim(v(3,4), 2, 5)
"""
SEGMENTS = """
l.segment_reduce(v(6,2), 'sum', lengths=l.tensor([2,0,4]))
l.segment_reduce(v(6,2), 'sum', lengths=l.tensor([2,0,4]), initial=2.)
l.segment_reduce(v(6), 'mean', lengths=l.tensor([2,0,4]))
l.segment_reduce(v(6), 'mean', lengths=l.tensor([2,0,4]), initial=1)
l.segment_reduce(v(6,2), 'prod', lengths=l.tensor([2,0,4]), initial=2.)
l.segment_reduce(v(6).round(), 'prod', offsets=l.tensor([0,2,2,6]))
l.segment_reduce(v(6,2), 'max', lengths=l.tensor([2,0,4]))
l.segment_reduce(v(6,2), 'max', offsets=l.tensor([0,2,2,6]), initial=0.5)
l.segment_reduce(v(6).round(), 'max', lengths=l.tensor([2,0,4]), initial=1.)
l.segment_reduce(v(6,2), 'min', lengths=l.tensor([2,0,4], dtype=l.int32), initial=-0.5)
l.segment_reduce(l.tensor([1.,float('nan'),2]), 'max', lengths=l.tensor([2,1]), initial=5)
l.segment_reduce(v(2,6,3), 'sum', lengths=l.tensor([[2,4],[3,3]]), axis=1)
l.segment_reduce(v(2,6,3), 'mean', offsets=l.tensor([[0,2,6],[0,3,6]]), axis=-2)
l.segment_reduce(v(2,6), 'max', lengths=l.tensor([[2,3],[3,1]]), axis=1, unsafe=True)
l.segment_reduce(v(6), 'sum', offsets=l.tensor([1,2,4]))
l.segment_reduce(c(0,2), 'sum', lengths=l.tensor([0,0]), initial=1)
l.segment_reduce(v(2,6), 'sum', lengths=l.tensor([[2,3],[3,2]]), axis=1)
l.segment_reduce(v(2,6), 'sum', lengths=l.tensor([2,4]), axis=1)
l.segment_reduce(v(2), 'sum', lengths=l.tensor([3,-1]))
l.segment_reduce(v(2), 'sum', lengths=l.tensor([1.,1]))
l.segment_reduce(n(2), 'sum', lengths=l.tensor([1,1]))
l.segment_reduce(v(2), 'any', lengths=l.tensor([1,1]))
l.segment_reduce(v(2), 'sum')
l.segment_reduce(v(2), 'sum', lengths=l.tensor([1,1]), indices=l.tensor([0]))
"""
WRITING = """
l.addmv_(v(3)*1, v(3,4), v(4), beta=2, alpha=3)
l.as_strided_(c(6), (2,2), (1,2), 1)
l.index_put_(v(5)*1, (l.tensor([1,3,1]),), v(3), accumulate=True)
l.index_put_(v(4,5)*1, (l.tensor([1,3]), l.tensor([0,2])), v(2))
c(2,3).apply_(lambda x: x * 2 + 1)
c(2,3).T.apply_(lambda x: -x)
(lambda x: (x[0].apply_(abs), x))(c(2,3))
n(3).apply_(lambda x: x + 0.7)
c(2).bfloat16().apply_(lambda x: 1.01)
l.ones(2, dtype=l.complex64).apply_(lambda x: x * 1j)
l.ones(2, dtype=l.uint8).apply_(lambda x: 300)
l.ones(2, dtype=l.uint8).apply_(lambda x: -1)
l.ones(2, dtype=l.bool).apply_(lambda x: 2)
c(2).apply_(lambda x: 'a')
c(2).apply_(lambda x: 1j)
c(2).apply_(3)
v(2).apply_(abs)
c(2,3).map_(c(3), lambda a, b: a + 2 * b)
c(2,3).map_(c(4), lambda a, b: a)
c(2).map_(c(2).double(), lambda a, b: a)
c(2).map_(v(2), lambda a, b: a)
v(2).map_(c(2), lambda a, b: a)
c(2).map_(3, lambda a, b: a)
c(2,2).map2_(c(2), c(2,1), lambda a, b, c: a * b - c)
c(3).module_load(c(3).double())
c(3).module_load(c(3), assign=True)
c(2).module_load(c(3))
"""
ASKING = """
l.is_same_size(c(2,3), c(2,3)), c(2,3).is_same_size(c(3,2))
l.is_signed(c(1)), l.is_signed(l.ones(1, dtype=l.uint8)), l.is_signed(l.ones(1, dtype=l.bool))
l.is_inference(c(1)), l.is_distributed(c(1)), c(1).is_distributed(), l.get_device(c(1))
[getattr(c(1), 'is_' + k) for k in 'ipu maia mkldnn mps mtia nested quantized sparse sparse_csr vulkan xla xpu'.split()]
c(2,3).dense_dim(), c(2,3).sparse_dim(), c(()).dense_dim()
v(2,3).to_dense(), c(2).to_dense(l.float64)
c(2,3).const_data_ptr() == 0
c(2,3,4).dim_order(), c(2,3,4).permute(2,0,1).dim_order(), c(()).dim_order(), c(3).dim_order()
c(2,3,4,5).to(memory_format=l.channels_last).dim_order(ambiguity_check=True)
c(1,2,3,4).dim_order(), c(1,2,3,4).dim_order(ambiguity_check=[l.contiguous_format, l.channels_last])
c(2,1).expand(2,3).dim_order(), c(3,1).T.dim_order(), c(2,2).T.dim_order(ambiguity_check=True)
c(1,2,3,4).dim_order(ambiguity_check=True)
c(2,2).dim_order(ambiguity_check='x')
c(2,2).dim_order(ambiguity_check=[1])
l.get_device_module('meta')
l.get_device_module().__name__.split('.')[1], l.get_device_module('cpu').__name__.split('.')[1]
l.set_warn_always(3)
l.set_warn_always(True), l.is_warn_always_enabled(), l.set_warn_always(False), l.is_warn_always_enabled()
l.set_deterministic_debug_mode('warn'), l.get_deterministic_debug_mode(), l.set_deterministic_debug_mode(0)
l.set_deterministic_debug_mode(2), l.get_deterministic_debug_mode(), l.set_deterministic_debug_mode('default')
l.get_deterministic_debug_mode(), l.are_deterministic_algorithms_enabled()
l.set_deterministic_debug_mode('x')
l.set_deterministic_debug_mode(5)
l.set_deterministic_debug_mode(1.5)
l.set_anomaly_enabled(True, False), l.is_anomaly_enabled(), l.is_anomaly_check_nan_enabled()
l.set_anomaly_enabled(False), l.is_anomaly_enabled(), l.is_anomaly_check_nan_enabled()
l.thread_safe_generator(), l.random.thread_safe_generator()
l.from_dlpack(l.to_dlpack(c(2,3)))
c(2).pin_memory()
type(l.GradScaler('cpu')).__name__
"""
SYMBOLS = """
l.sym_int(3.7), l.sym_int(-3.7), l.sym_float(3), l.sym_sqrt(4), l.sym_not(True), l.sym_not(3)
l.sym_max(3, 4.0), l.sym_max(5, 4.0), l.sym_max(5, 4), l.sym_min(3, 4.0), l.sym_min(3, 4)
l.sym_sum([1, 2]), l.sym_sum(1, 2, 3), l.sym_ite(True, 1, 2), l.sym_ite(False, 1, 2)
l.sym_ite(1, 1, 2)
l.sym_ite(True, 1, 2.0)
l.sym_max('a', 2)
isinstance(3, l.SymInt), isinstance(3., l.SymFloat), isinstance(True, l.SymBool)
"""
FLOW = """
l.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (l.tensor(0), c(2)))
l.while_loop(lambda i: i < 0, lambda i: (i + 1,), (l.tensor(0),))
l.cpu.Stream().wait_stream(None), l.cpu.Event().query(), l.cpu.is_initialized(), l.cpu.set_device(0)
(lambda s: [l.cpu.stream(s).__enter__(), l.cpu.current_stream() is s, l.cpu.stream(None).__enter__()])(l.cpu.Stream())
"""
# The rest of what PyTorch's database leaves out and no other test calls.
REST = """
l.conv_tbc(v(5,2,3), v(3,3,4), v(4), 1)
l.detach_copy(c(2,3))
l.select_copy(v(2,3), 1, 2)
l.slice_copy(v(5,2), 0, 1, 4, 2)
l.split_copy(v(5,2), 2)
l.unsafe_split_with_sizes(v(5,2), [2,3])
v(5,2).unsafe_split_with_sizes([1,4])
l.view_as_real_copy(l.view_as_complex(v(3,2)))
l.view_as_complex_copy(c(3,2))
l.max_pool1d_with_indices(v(1,2,7), 3, 2)
l.native_channel_shuffle(c(1,4,2,2), 2)
l.is_nonzero(l.tensor([2.])), l.tensor([[0]]).is_nonzero()
l.is_nonzero(c(2))
l.promote_types(l.int8, l.uint8), l.promote_types(l.float16, l.bfloat16), l.promote_types(l.int64, l.complex64)
l.result_type(n(2), 1.5), l.result_type(n(2), c(2)), l.result_type(1, 2.5), l.result_type(n(2).bool(), 3)
l.typename(c(1)), l.typename(n(1)), l.typename(3)
l.is_storage(c(2).untyped_storage()), l.is_storage(c(2))
l.is_deterministic_algorithms_warn_only_enabled()
l.rnn_tanh(v(3,2,4), v(1,2,3), [v(3,4), v(3,3), v(3), v(3)], True, 1, 0.0, False, False, False)
l.rnn_relu(v(3,2,4), v(1,2,3), [v(3,4), v(3,3)], False, 1, 0.0, False, False, False)
l.embedding_renorm_(c(4,3), l.tensor([0,2]), 1.0, 2.0)
l.feature_dropout_(c(2,3,2), 0.5, False)
(v(2,3)*1).detach_()
c(2,3).element_size(), c(2,3).ndimension(), c(2,3).nelement(), c(2,3).double().element_size()
c(2,3).data_ptr() == 0, (lambda x: x.data_ptr() == x.view(-1).data_ptr())(c(2,3)), c(0,2).data_ptr()
(lambda x: (x.is_set_to(x), x.is_set_to(x.view(2,3)), x.is_set_to(x.clone()), x.is_set_to(x.T)))(c(2,3))
c(2).is_shared(), c(2,3).type_as(n(1)), v(2).type_as(c(1).double())
l.nn.functional.fold(v(1,8,6), (3,4), 2)
l.nn.functional.lp_pool1d(v(1,2,7), 2, 3)
l.nn.functional.lp_pool2d(v(1,2,5,5), 3, 2, 1)
l.nn.functional.lp_pool3d(v(1,1,4,4,4), 2, 2)
l.nn.functional.max_pool1d_with_indices(v(1,2,7), 3)
l.nn.functional.max_pool2d_with_indices(v(1,2,5,5), 2)
l.nn.functional.max_pool3d_with_indices(v(1,1,4,4,4), 2)
l.nn.functional.adaptive_max_pool1d_with_indices(v(1,2,7), 3)
l.nn.functional.adaptive_max_pool2d_with_indices(v(1,2,5,5), 2)
l.nn.functional.adaptive_max_pool3d_with_indices(v(1,1,4,4,4), 2)
l.nn.functional.fractional_max_pool2d_with_indices(v(1,1,6,6), 2, 3, _random_samples=c(1,1,2).sigmoid())
l.nn.functional.upsample(v(1,2,3), 6, mode='linear')
"""
TABLES = (LOSSES, PARTS, SEGMENTS, WRITING, ASKING, SYMBOLS, FLOW, REST)
TABLE = [line for table in TABLES for line in table.strip().splitlines()]


class Values:
    """Tensors of one library, the same numbers for both."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.random = np.random.RandomState(0)
        self.leaves: list[Any] = []

    def constant(self, *shape: int, scale: float = 1.5) -> Any:
        return self.library.tensor((self.random.standard_normal(shape) * scale).astype(np.float32))

    def leaf(self, *shape: int) -> Any:
        self.leaves.append(self.constant(*shape).requires_grad_())
        return self.leaves[-1]

    def integers(self, *shape: int) -> Any:
        return self.library.tensor(self.random.randint(-5, 6, shape))


def flat(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for part in result for leaf in flat(part)]
    return [result]


def outcome(expression: str, library: Any) -> tuple[list[Any], list[Any]] | Exception:
    """The results of an expression, and the gradients of its leaves."""
    values = Values(library)
    names = {"l": library, "v": values.leaf, "c": values.constant, "n": values.integers, "np": np}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            results = flat(eval(expression, names))
            _ = [numbers(tensor) for tensor in results if isinstance(tensor, library.Tensor)]
            for i, tensor in enumerate(results):
                if isinstance(tensor, library.Tensor) and tensor.requires_grad:
                    weights = library.tensor(np.cos(np.arange(tensor.numel()) + i).reshape(tensor.shape))
                    (tensor * weights.to(tensor.dtype)).sum().abs().backward(retain_graph=True)
        except Exception as error:
            return error
    return results, [leaf.grad for leaf in values.leaves]


def numbers(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().resolve_conj()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def assert_alike(found: Any, wanted: Any, what: str) -> None:
    if not isinstance(wanted, oracle.Tensor):
        assert type(found).__name__ == type(wanted).__name__, what
        assert str(found) == str(wanted), what
        return
    assert isinstance(found, flambeau.Tensor), what
    assert str(found.dtype) == str(wanted.dtype), what
    assert tuple(found.shape) == tuple(wanted.shape), what
    assert found.requires_grad == wanted.requires_grad, what
    np.testing.assert_allclose(numbers(found), numbers(wanted), rtol=2e-5, atol=2e-6, err_msg=what)


@pytest.mark.parametrize("expression", TABLE)
def test_call(expression: str, tier: str) -> None:
    found, wanted = outcome(expression, flambeau), outcome(expression, oracle)
    if isinstance(wanted, Exception):
        assert isinstance(found, Exception), f"gives {found} instead of {wanted!r}"
        assert type(found) is type(wanted), f"{found!r} instead of {wanted!r}"
        return
    if isinstance(found, Exception):
        raise found
    for kind, ours, theirs in zip(("result", "gradient"), found, wanted, strict=True):
        assert len(ours) == len(theirs)
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_alike(a, b, f"{kind} {i} of {expression}")


def test_cond_takes_one_branch_and_is_differentiated(tier: str) -> None:
    x = flambeau.tensor([1.0, -3.0], requires_grad=True)
    for pred, factor in ((True, 2.0), (flambeau.tensor(False), 3.0), (x.sum() > 0, 3.0), (flambeau.tensor([1]), 2.0)):
        (grad,) = flambeau.autograd.grad(flambeau.cond(pred, lambda x: 2 * x, lambda x: 3 * x, (x,)).sum(), x)
        assert grad.tolist() == [factor, factor]
    assert flambeau.cond(True, lambda: 1, lambda: 2) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("a", abs, abs, ()), "Expected pred to be bool or tensor, but got a"),
        ((flambeau.ones(2), abs, abs, ()), "Expected pred to be bool or single-element tensor"),
        ((True, 3, abs, ()), "Expect both branches to be callable"),
        ((True, abs, abs, (3,)), "only consists of tensor leaves"),
        ((True, abs, abs, flambeau.ones(2)), "Expect operands to be a tuple"),
    ],
)
def test_what_cond_refuses(args: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        flambeau.cond(*args)


def test_cond_cannot_be_captured() -> None:
    step = flambeau.compile(lambda x: flambeau.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,)))
    with pytest.raises(RuntimeError, match="value"):
        step(flambeau.ones(2))


@pytest.mark.parametrize(
    ("cond_fn", "body_fn", "carried", "message"),
    [
        (3, abs, (), "callable"),
        (lambda x: x < 1, abs, 3, "Expect carried_inputs to be a tuple"),
        (lambda x: x, lambda x: x, (flambeau.ones(1),), "boolean scalar tensor"),
        (lambda x: True, lambda x: (x, x), (flambeau.ones(1),), "as many values as it takes"),
        (lambda x: True, lambda x: x.double(), (flambeau.ones(1),), r"value 0 is a tensor of torch.float64"),
    ],
)
def test_what_while_loop_refuses(cond_fn: Any, body_fn: Any, carried: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        flambeau.while_loop(cond_fn, body_fn, carried)


def test_tensors_from_files(tmp_path: Any) -> None:
    path = str(tmp_path / "numbers")
    np.arange(6, dtype=np.float32).tofile(path)
    for arguments in ({"size": 6}, {"size": 3, "dtype": "int32"}, {}, {"size": 7}):
        told = []
        for library in (flambeau, oracle):
            given = {**arguments, **({"dtype": library.int32} if "dtype" in arguments else {})}
            try:
                told.append(library.from_file(path, **given).tolist())
            except RuntimeError as error:
                told.append(str(error))
        assert told[0] == told[1]
    for library in (flambeau, oracle):
        with pytest.raises(RuntimeError, match=r"unable to open file .* in read-only mode: No such file or directory"):
            library.from_file(path + "x", size=1)
    with pytest.raises(NotImplementedError, match=r"from_file\(shared=True\) is not supported"):
        flambeau.from_file(path, True, 3)


def test_subclasses_share_and_are_differentiated() -> None:
    for library in (flambeau, oracle):
        kind = type("Kind", (library.Tensor,), {})
        x = library.ones(2, requires_grad=True)
        y = (x * 2).as_subclass(kind)
        assert type(y) is kind
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]
        plain = library.zeros(2)
        plain.as_subclass(kind).fill_(3)
        assert plain.tolist() == [3.0, 3.0]
        with pytest.raises(TypeError, match="Make sure your class inherits from Tensor"):
            plain.as_subclass(int)


def test_sizes_are_never_symbols() -> None:
    with pytest.raises(NotImplementedError, match="flambeau makes no SymInt: sizes are always known"):
        flambeau.SymInt(3)
