"""Functions and Tensor methods, with the samples of PyTorch's database of operators."""

from __future__ import annotations

import functools
import itertools
import random
import re

import torch
from comparison import LOOSE, TOLERANCES, conform, conform_error
from torch.testing._internal import common_utils
from torch.testing._internal.common_methods_invocations import (
    BinaryUfuncInfo,
    ReductionOpInfo,
    ShapeFuncInfo,
    UnaryUfuncInfo,
    op_db,
)
from translation import REFERENCE, NotApplicable, is_tensor_method

OP_DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool, "complex64": torch.complex64}
OP_KINDS = {UnaryUfuncInfo: "unary", BinaryUfuncInfo: "binary", ReductionOpInfo: "reduction", ShapeFuncInfo: "shape"}
ATEN_ONLY = {
    "slice",
    "max_pool2d_with_indices_backward",
    "native_dropout_backward",
    "native_batch_norm",
    "native_group_norm",
    "native_layer_norm",
}
# Singular vectors and eigenvectors are unique up to a phase only: they are compared the way
# torch's own gradient tests do it.
UP_TO_PHASE = {"svd", "linalg.svd", "linalg.eig", "linalg.eigh"}
UNINITIALIZED = {"resize_", "resize_as_"}
SAMPLE_POOL = 200  # samples of an operator among which the tested ones are chosen


class OpSuite:
    """torch functions and Tensor methods, from op_db."""

    name = "ops"
    all_columns = (*OP_DTYPES, "method", "inplace", "alias", "grad", "errors")

    def __init__(self, options):
        self.seed, self.count = options.seed, options.samples
        common_utils.SEED = options.seed  # what the sample generators use
        reasons = {op.full_name: self.skip_reason(op) for op in op_db}
        self.entries = {op.full_name: op for op in op_db if not reasons[op.full_name]}
        self.skipped = {name: reason for name, reason in reasons.items() if reason}

    @staticmethod
    def skip_reason(op):
        if op.name.startswith("torch.") or re.match("_[^_]", op.name):
            return "private"
        if op.name.startswith("sparse.") or op.name == "to_sparse":
            return "sparse layout"
        if op.name.startswith("jiterator") or "triton" in op.variant_test_name:
            return "CUDA only"
        if op.name in ATEN_ONLY:
            return "ATen kernel, not a documented function"
        if not op.dtypes & set(OP_DTYPES.values()):
            return "no CPU dtype"

    @staticmethod
    def group(op):
        if "." in op.name:
            return op.name.rpartition(".")[0]
        return "torch, " + next((name for kind, name in OP_KINDS.items() if isinstance(op, kind)), "other")

    @staticmethod
    def dtype(op, column):
        """The dtype of the samples for a column, or None when the operator has none for it."""
        names, allowed = [column] if column in OP_DTYPES else OP_DTYPES, op.dtypes
        if column == "grad":
            names, allowed = ("float32", "complex64"), op.dtypes & op.backward_dtypes if op.supports_autograd else ()
        return next((OP_DTYPES[name] for name in names if OP_DTYPES[name] in allowed), None)

    def columns(self, op):
        present = {
            "method": op.method_variant and not is_tensor_method(op.op),
            "inplace": op.inplace_variant,
            "alias": op.aliases,
            "errors": op.error_inputs_func,
        }
        return [column for column in self.all_columns if present.get(column, self.dtype(op, column))]

    def samples(self, op, column):
        if column == "errors":
            return list(op.error_inputs("cpu"))
        dtype = self.dtype(op, column)
        pool = list(itertools.islice(op.sample_inputs("cpu", dtype, requires_grad=column == "grad"), SAMPLE_POOL))
        order = list(range(len(pool)))
        random.Random(f"{self.seed}/{op.full_name}/{dtype}").shuffle(order)
        order.sort(key=lambda i: self.is_empty(pool[i]))
        count = min(3, self.count) if column == "alias" else self.count
        chosen = order if len(order) <= count else order[: count - 1] + order[-1:]  # at most one without elements
        return [pool[i] for i in sorted(chosen)]

    @staticmethod
    def is_empty(sample):
        return any(tensor.numel() == 0 for tensor in REFERENCE.tensors((sample.input, sample.args, sample.kwargs)))

    def check(self, op, column, sample, library):
        if column == "errors":
            return conform_error(functools.partial(self.prepare_error, op, sample.sample_input), library)
        compute = {"grad": self.gradient, "inplace": self.inplace, "alias": self.alias}.get(column, self.forward)
        function = op.method_variant if column == "method" else op.op
        elementwise = isinstance(op, (UnaryUfuncInfo, BinaryUfuncInfo)) and column != "grad"
        compute = functools.partial(compute, op, function, sample)
        try:
            conform(
                compute,
                library,
                TOLERANCES if elementwise else LOOSE,
                values=not op.has_nondeterministic_output and op.name not in UNINITIALIZED,
            )
        except NotApplicable:
            if column == "inplace":  # torch refuses, e.g. because the input would have to grow
                return conform_error(lambda session: functools.partial(compute, session), library)
            raise

    @staticmethod
    def run(session, function, sample, path=None):
        return session.call(session.library.resolve(function, path), sample.input, *sample.args, **sample.kwargs)

    def forward(self, op, function, sample, session):
        result = self.run(session, function, sample, op.name)
        if op.name in UP_TO_PHASE:
            result = session.library.resolve(sample.output_process_fn_grad)(result)
        return session.library.snapshot(result)

    def inplace(self, op, function, sample, session):
        result, changed = self.run(session, op.inplace_variant, sample), session(sample.input)
        return {
            **session.library.snapshot(result),
            **session.library.snapshot(changed, "input"),
            "result is input": result is changed,
        }

    def alias(self, op, function, sample, session):
        flat = {}
        for alias in op.aliases:
            path = alias.name.removeprefix("torch.")
            for name, variant in ((path, alias.op), (f"Tensor.{path}", alias.method_variant)):
                if variant:
                    result = self.run(session.fresh(), variant, sample, path)
                    flat.update(session.library.snapshot(result, name))
        return flat

    def gradient(self, op, function, sample, session):
        library = session.library
        function = library.resolve(function, op.name)
        if "masked" not in getattr(op.gradcheck_wrapper, "__name__", ""):  # those need private torch helpers
            function = functools.partial(library.resolve(op.gradcheck_wrapper), function)
        result = library.resolve(sample.output_process_fn_grad)(self.run(session, function, sample))
        return library.gradients(result, session.leaves)

    @staticmethod
    def prepare_error(op, sample, session):
        if is_tensor_method(op.op) and not isinstance(sample.input, torch.Tensor):
            raise NotApplicable("a Tensor method called on something else")
        function = session.library.resolve(op.op, op.name)
        return functools.partial(function, *session((sample.input, *sample.args)), **session(sample.kwargs))
