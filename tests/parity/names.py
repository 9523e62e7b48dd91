"""Writes docs/absent.md: every public name of PyTorch's outside of torch.nn that is not here, with the reason.

python tests/parity/names.py
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import torch

import flambeau

TARGET = Path(__file__).parents[2] / "docs" / "absent.md"
# torch.nn has a table of its own, docs/nn-coverage.md.
SPACES = (
    "", "Tensor", "accelerator", "amp", "autograd", "autograd.forward_ad", "autograd.function", "autograd.functional",
    "autograd.grad_mode", "autograd.gradcheck", "autograd.graph", "backends", "cpu", "cuda", "fft", "func", "linalg",
    "masked", "optim", "optim.lr_scheduler", "optim.swa_utils", "random", "return_types", "serialization",
    "signal.windows", "special", "utils", "utils.checkpoint", "utils.data", "utils.dlpack", "utils.tensorboard",
)  # fmt: skip
# What is absent, by reason: regular expressions for names, in front of a colon the module that they hold in.
ABSENT = {
    "not there yet": r"""
        CheckpointPolicy compiler create_selective_checkpoint_contexts distributed distributions export functionalize
        futures fx grad_dtype GraphExecGroup hub monitor multiprocessing onnx package profiler quasirandom rearrange
        region_activation_memory_budget SAC_IGNORED_OPS SelectiveCheckpointContext
        serialization:(LoadEndianness|[gs]et_\w+|register_package|skip_data) swap_in_optimizer_params_and_state
        testing torch_version types utils:swap_tensors
        utils:(benchmark|bundled_inputs|cpp_extension|flop_counter|mobile_optimizer|module_tracker)
    """,
    "sparse tensors are not supported": r"""
        (ccol_indices|col_indices|crow_indices|indices|row_indices|values)(_copy)? coalesce dsmm hsmm hspmm
        is_coalesced native_norm resize_as_sparse_ saddmm smm sparse sparse_(bsc|bsr|compressed|coo|csc|csr)_tensor
        sparse_(mask|resize_|resize_and_clear_) spmm sspaddmm to_sparse(_\w+)?
    """,
    "quantised types are not supported": r"""
        ao choose_qparams_optimized dequantize empty_quantized fake_quantize_\w+ fbgemm_\w+
        fused_moving_avg_obs_fake_quant int_repr per_(channel|tensor)_\w+ Q(U?)Int\w+Storage q_\w+ qint\d+ qscheme
        quantization quantize_\w+ quantized(_\w+)? quint\w+
    """,
    "nested tensors are not supported": "jagged nested to_padded_tensor",
    "types in which PyTorch itself computes next to nothing": r"""
        bit bits\w+ chalf complex32 float4_e2m1fn_x2 float8_e8m0fnu u?int[1-7]
    """,
    "`__torch_function__` and registered operators are not supported": r"""
        DisableTorchFunction(Subclass)? library overrides
    """,
    "TorchScript and the types of its compiler": r"""
        (?!AggregationType|StorageType|DLDeviceType|DefaultDeviceType)\w+Type AliasDb Argument ArgumentSpec Block
        BufferDict CallStack Capsule Code CompilationUnit CompleteArgumentSpec ConcreteModuleType(Builder)?
        DeepCopyMemoTable DeserializationStorageContext ErrorReport ExecutionPlan FatalError FileCheck fork
        FunctionSchema Future get_file_path Gradient Graph GraphExecutorState import_ir_module(_from_buffer)?
        IODescriptor jit JITException LiteScriptModule LockingLogger LoggerBase merge_type_from_type_comment
        ModuleDict Node NoopLogger OperatorInfo ParameterDict parse_(ir|schema|type_comment)
        PyTorchFile(Reader|Writer) Script\w+ SerializationStorageContext StaticModule TracingState Type
        unify_type_list Use Value wait
    """,
    "sizes that are not known do not occur": "sym_constrain_range(_for_size)? sym_fresh_size",
    "GPUs and other accelerators": r"""
        batch_norm_(backward_\w+|elemt|gather_\w+|stats|update_stats) DefaultDeviceType
        (get|is|set)_autocast_(ipu|xla)_\w+ (get|set)_device_states ipu is_vulkan_available
        mps mtia set_override_stale_capture_stream
        set_warn_on_accumulate_grad_stream_mismatch xpu
    """,
    "of CUDA itself, where XLA manages graphs, memory, streams and libraries": r"""
        accelerator:(get_device_capability|Graph|reset_accumulated_memory_stats) cuda:\w+
    """,
    "kernels of single libraries, and what PyTorch was built with": r"""
        backends:\w+ compiled_with_cxx11_abi cudnn_\w+ get_capabilities has_(lapack|mkl|openmp|spectral) miopen_\w+
        mkldnn_\w+ profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 to_mkldnn USE_\w+
    """,
    "removed or deprecated by PyTorch": r"""
        argument_validation check_backward_validity DataChunk detach_variable DFIterDataPipe eig functional_datapipe
        get_(analytical|numerical)_jacobian\w* guaranteed_datapipes_determinism IterDataPipe legacy_contiguous_format
        lstsq MapDataPipe matrix_rank name NestedIOFunction non_deterministic prepare_multiprocessing_environment
        (?!Q)\w*Storage reinforce resize(_as)? runtime_validation(_disabled)? solve storage storage_type StorageBase
        symeig variable volatile
    """,
    "parts of PyTorch's inside": r"""
        AggregationType AVG BackwardCFunction BenchmarkConfig BenchmarkExecutionStats classproperty contrib
        debug_unwrap DispatchKey(Set)? DLDeviceType enforce_grad_layout_policy ExcludeDispatchKeyGuard FunctionMeta
        index init_num_threads nativert numa PRIVATE_OPS return_types:\w+ serialization:\w+ slice_inverse SUM Tag
        ThroughputBenchmark utils:\w+
    """,
}


def public(dotted: str) -> list[str]:
    """The public names of one of PyTorch's modules, without what it imported from elsewhere."""
    theirs = found(torch, dotted)
    if dotted not in ("", "Tensor") and hasattr(theirs, "__all__"):
        return sorted(name for name in set(theirs.__all__) if not name.startswith("_") and name != "Tensor")
    names = {name for name in submodules(theirs) if not name.startswith("_")}
    for name in dir(theirs):
        value = getattr(theirs, name)
        if name.startswith("_") or name == "TYPE_CHECKING" or inspect.ismodule(value):
            continue
        home = str(getattr(value, "__module__", ""))
        if dotted in ("", "Tensor") or inspect.isbuiltin(value) or home.startswith(f"torch.{dotted}"):
            names.add(name)
    return sorted(names)


@functools.cache
def submodules(module: Any) -> set[str]:
    """The modules in a package, by their files: its attributes depend on what has been imported."""
    return {name for _, name, _ in pkgutil.iter_modules(getattr(module, "__path__", ()))}


def is_here(dotted: str, name: str) -> bool:
    """Whether a name can be reached, be it a module that has not been imported yet."""
    ours = found(flambeau, dotted)
    return hasattr(ours, name) or name in submodules(ours)


def found(library: Any, dotted: str) -> Any:
    """A module of a library, or its class of tensors."""
    if dotted in ("", "Tensor"):
        return library.Tensor if dotted else library
    return importlib.import_module(f"{library.__name__}.{dotted}")


def patterns() -> list[tuple[str, str]]:
    """Every pattern of the list with its reason."""
    return [(pattern, reason) for reason, listed in ABSENT.items() for pattern in listed.split()]


def matches(pattern: str, dotted: str, name: str) -> bool:
    """Whether a pattern is meant for a name of a module."""
    space, colon, expression = pattern.rpartition(":")
    return (not colon or space == dotted) and re.fullmatch(expression, name) is not None


def reason_of(dotted: str, name: str) -> str | None:
    """Why a name is absent; patterns for its own module come first."""
    told = [(":" not in pattern, reason) for pattern, reason in patterns() if matches(pattern, dotted, name)]
    return min(told, key=lambda found: found[0])[1] if told else None


def absent(dotted: str) -> dict[str, list[str]]:
    """The names that are not here, by reason; those without one under ``"missing"``."""
    told: dict[str, list[str]] = {}
    for name in public(dotted):
        if not is_here(dotted, name):
            told.setdefault(reason_of(dotted, name) or "missing", []).append(name)
    return told


def text() -> str:
    """The whole document."""
    lines = [
        "# What of PyTorch is not here",
        "",
        f"Written by `python tests/parity/names.py`, for PyTorch {torch.__version__.split('+')[0]}; a test keeps it",
        "current. Every other public name of the modules listed is here; `torch.nn` has",
        "[a table of its own](nn-coverage.md).",
        "",
    ]
    for dotted in SPACES:
        told = absent(dotted)
        every = len(public(dotted))
        here = every - sum(map(len, told.values()))
        lines += [f"## {'torch.' if dotted else 'torch'}{dotted}: {here} of {every}", ""]
        for reason in [*ABSENT, "missing"]:
            if reason in told:
                lines.append(f"- {reason}: {', '.join(f'`{name}`' for name in told[reason])}")
        if told:
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
    print(f"wrote {TARGET.name}: {flambeau.__name__} beside PyTorch {torch.__version__}")
