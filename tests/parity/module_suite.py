"""Layers, with the samples of PyTorch's database of modules."""

from __future__ import annotations

import copy
import functools
import pickle
import random

import torch
from comparison import compare, conform, conform_error, neutral, torch_answer
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from translation import REFERENCE, Session

MODULE_SAMPLES = 80  # per module and column; only two losses have more


class ModuleSuite:
    """torch.nn modules, from module_db."""

    name = "modules"
    all_columns = ("repr", "state_dict", "forward", "eval", "backward", "float64", "copies", "errors")

    def __init__(self, options):
        self.seed = options.seed
        self.entries, self.skipped = {info.name: info for info in module_db}, {}

    @staticmethod
    def group(info):
        return info.module_cls.__module__.rpartition(".")[2]

    def columns(self, info):
        present = {"eval": info.train_and_eval_differ, "errors": info.module_error_inputs_func}
        return [column for column in self.all_columns if present.get(column, True)]

    def samples(self, info, column):
        torch.manual_seed(self.seed)
        create = info.module_error_inputs_func if column == "errors" else info.module_inputs_func
        samples = list(
            create(
                info,
                device="cpu",
                dtype=self.dtype(column),
                training=column != "eval",
                requires_grad=column in ("backward", "float64"),
            )
        )
        chosen = random.Random(self.seed).sample(range(len(samples)), min(len(samples), MODULE_SAMPLES))
        return [samples[i] for i in sorted(chosen)]

    @staticmethod
    def dtype(column):
        return torch.float64 if column == "float64" else torch.float32

    def check(self, info, column, sample, library):
        if column == "errors":
            return conform_error(functools.partial(self.prepare_error, info, sample), library)
        compute = functools.partial(self.observe, info, column, sample)
        if column != "copies":
            return conform(compute, library)
        _, stable = torch_answer(compute)
        outputs = compute(Session(library))
        original = {path: leaf for path, leaf in outputs.items() if path.startswith("result")}
        for name in ("deepcopy", "pickle"):
            compare(outputs, {path.replace("result", name, 1): leaf for path, leaf in original.items()}, values=stable)

    def observe(self, info, column, sample, session):
        library, forward = session.library, sample.forward_input
        module = self.build(info, sample, session.fresh(), self.dtype(column)).train(column not in ("eval", "copies"))
        if column == "repr":
            return {"repr": neutral(repr(module), library)}
        if column == "state_dict":
            parameters = [(name, value.requires_grad) for name, value in module.named_parameters()]
            return library.snapshot({"state": dict(module.state_dict()), "parameters": parameters})
        result = session.call(module, *forward.args, **forward.kwargs)
        flat = library.snapshot(result)
        if column == "copies":
            for name, copied in (("deepcopy", copy.deepcopy(module)), ("pickle", pickle.loads(pickle.dumps(module)))):
                flat.update(library.snapshot(session.fresh().call(copied, *forward.args, **forward.kwargs), name))
            return flat
        if column in ("forward", "eval"):
            return {**flat, **library.snapshot(dict(sorted(module.state_dict().items())), "state")}
        parameters = [value for value in module.parameters() if value.requires_grad]
        return {**flat, **library.gradients(result, [*parameters, *session.leaves])}

    def build(self, info, sample, session, dtype):
        """The sample's module with the weights that torch and the seed determine."""
        original = self.original(info, sample, dtype)
        if session.library is REFERENCE and not session.high:
            return original
        constructor, cls = sample.constructor_input, session.library.resolve(info.module_cls, info.name)
        module = cls(*session(constructor.args), **session(constructor.kwargs)).to(session(dtype))
        if info.is_lazy:
            module(*session.fresh()(sample.forward_input.args))
        module.load_state_dict(session.state(original))
        return module

    def original(self, info, sample, dtype):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(self.seed)
            constructor = copy.deepcopy((sample.constructor_input.args, sample.constructor_input.kwargs))
            module = info.module_cls(*constructor[0], **constructor[1]).to(dtype)
            if info.is_lazy:
                module(*sample.forward_input.args)
            for name, value in module.state_dict().items():  # so that no weight is just zero or one
                if value.is_floating_point() and name != "_random_samples":
                    value.add_(torch.rand_like(value), alpha=0.25)
        return module

    @staticmethod
    def prepare_error(info, sample, session):
        constructor, forward = sample.module_error_input.constructor_input, sample.module_error_input.forward_input
        cls = session.library.resolve(info.module_cls, info.name)
        construct = functools.partial(cls, *session(constructor.args), **session(constructor.kwargs))
        if sample.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            return construct
        return functools.partial(construct(), *session(forward.args), **session(forward.kwargs))
