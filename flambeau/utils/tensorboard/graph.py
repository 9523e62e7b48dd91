"""A model's recorded program as TensorBoard's graph."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef

from flambeau.autograd.grad_mode import no_grad
from flambeau.engine.flush import flush
from flambeau.engine.statistics import counters
from flambeau.graph.node import NONE, Aval, Node
from flambeau.graph.recorder import LIMIT, pending
from flambeau.nn.modules.module import Module
from flambeau.tensor.tensor import Tensor, current


def graph_of(model: Module, inputs: Any) -> GraphDef:
    """Calls the model once, and draws what was recorded: each operation within the module that it was recorded by.

    Raises:
        TypeError: if the model is no module.
        RuntimeError: if its forward looks at a value or records too much, so that parts of it had run already.
    """
    if not isinstance(model, Module):
        raise TypeError(f"add_graph draws a torch.nn.Module, got {type(model).__name__}")
    args = inputs if isinstance(inputs, tuple | list) else (inputs,)
    flush()
    scopes: dict[int, str] = {}
    flushes = counters.flushes
    with ExitStack() as hooks, no_grad():
        for path, module in model.named_modules():
            name = f"{type(model).__name__}/{path.replace('.', '/')}".rstrip("/")
            hooks.enter_context(_Scope(module, name, scopes))
        result = model(*args)
    nodes = list(pending)
    if not nodes or counters.flushes != flushes:
        raise RuntimeError(
            f"add_graph cannot draw {type(model).__name__}: its forward records nothing, looks at a value, or records "
            f"more than {LIMIT} operations, and what has run by then is no longer recorded"
        )
    drawing = _Drawing(model, args, scopes)
    for node in nodes:
        drawing.add(node)
    drawing.add_results(result)
    return GraphDef(node=drawing.drawn, versions=VersionDef(producer=22))


class _Scope:
    """Notes, for the time of one call, by which module each node is recorded."""

    def __init__(self, module: Module, name: str, scopes: dict[int, str]) -> None:
        self._module = module
        self._name = name
        self._scopes = scopes
        self._starts: list[int] = []

    def __enter__(self) -> None:
        self._before = self._module.register_forward_pre_hook(lambda *_: self._starts.append(len(pending)))
        self._after = self._module.register_forward_hook(self._end)

    def _end(self, *_: Any) -> None:
        for node in pending[self._starts.pop() :]:
            # Inner modules end first.
            self._scopes.setdefault(id(node), self._name)

    def __exit__(self, *exc: object) -> None:
        self._before.remove()
        self._after.remove()


class _Drawing:
    """The nodes drawn so far.

    Attributes:
        drawn: TensorBoard's nodes, in the order of recording.
    """

    def __init__(self, model: Module, args: Any, scopes: dict[int, str]) -> None:
        self.drawn: list[NodeDef] = []
        self._scopes = scopes
        self._names: dict[int, str] = {}
        self._taken: set[str] = set()
        self._known: dict[int, tuple[str, str]] = {}
        for i, arg in enumerate(args):
            if isinstance(arg, Tensor):
                self._known[id(_node(arg))] = (f"input/{i}", "IO Node")
        for kind, named in (("Parameter", model.named_parameters()), ("Buffer", model.named_buffers())):
            for path, tensor in named:
                name = f"{type(model).__name__}/{path.replace('.', '/')}"
                self._known[id(_node(tensor))] = (name, kind)

    def add(self, node: Node) -> None:
        """Draws an operation, and the leaves that it is the first to read."""
        assert node.call is not None, "a recorded operation has a call"
        reads = [self._of(read) for read in node.inputs if read is not NONE]
        scope = self._scopes.get(id(node), "")
        name = f"{scope}/{node.call.op.name}" if scope else node.call.op.name
        params = ", ".join(f"{key}={value}" for key, value in node.call.params.items())
        self._draw(node, name, node.call.op.name, reads, params)

    def add_results(self, result: Any) -> None:
        """Draws what the model returned."""
        parts = result if isinstance(result, tuple | list) else (result,)
        for i, part in enumerate(parts):
            if isinstance(part, Tensor) and id(_node(part)) in self._names:
                reads = [self._names[id(_node(part))]]
                self.drawn.append(_proto(f"output/{i}", "IO Node", reads, "", _node(part).aval))

    def _of(self, leaf: Node) -> str:
        if id(leaf) not in self._names:
            name, kind = self._known.get(id(leaf), ("constant", "Constant"))
            number = repr(leaf.value) if leaf.aval.weak else ""
            self._draw(leaf, name, kind, [], number)
        return self._names[id(leaf)]

    def _draw(self, node: Node, name: str, op: str, reads: list[str], params: str) -> None:
        unique, count = name, 0
        while unique in self._taken:
            count += 1
            unique = f"{name}_{count}"
        self._taken.add(unique)
        self._names[id(node)] = unique
        self.drawn.append(_proto(unique, op, reads, params, node.aval))


def _node(tensor: Tensor) -> Node:
    return tensor._node if tensor._base is None else current(tensor)


def _proto(name: str, op: str, reads: list[str], params: str, aval: Any) -> NodeDef:
    several = aval if isinstance(aval, tuple) else (aval,)
    shapes = [_shape(one) for one in several if isinstance(one, Aval)]
    attr = {"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=shapes))}
    described = f"{{{params}}} {', '.join(map(str, several))}" if params else ", ".join(map(str, several))
    attr["attr"] = AttrValue(s=described.encode())
    return NodeDef(name=name, op=op, input=reads, attr=attr)


def _shape(aval: Aval) -> TensorShapeProto:
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=n) for n in aval.shape])
