"""Nested structures of tuples, lists and dictionaries, taken apart into leaves and put together again."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

__all__ = ["TreeSpec", "tree_flatten", "tree_leaves", "tree_map", "tree_unflatten"]

_SEQUENCES = (tuple, list, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict)


class TreeSpec:
    """What is left of a structure without its leaves.

    Attributes:
        type: the container's type; None for a leaf.
        context: what it takes, beside the children, to build the container: a dictionary's keys and the like.
        children_specs: of the children.
        num_leaves: how many leaves there are below.

    Example:
        >>> import flambeau as torch
        >>> _, spec = torch.utils._pytree.tree_flatten({"x": [1, 2]})
        >>> spec.num_leaves, spec.type
        (2, <class 'dict'>)
    """

    __slots__ = ("children_specs", "context", "num_leaves", "type")

    def __init__(self, kind: Any, context: Any, children_specs: list[TreeSpec]) -> None:
        self.type = kind
        self.context = context
        self.children_specs = children_specs
        self.num_leaves = 1 if kind is None else sum(child.num_leaves for child in children_specs)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TreeSpec)
            and self.type is other.type
            and self.context == other.context
            and self.children_specs == other.children_specs
        )

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        inside = ", ".join(map(repr, self.children_specs))
        return f"TreeSpec({self.type.__name__}, {self.context}, [{inside}])"


_LEAF = TreeSpec(None, None, [])


def _is_namedtuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_return_type(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "n_sequence_fields")


def _parted(tree: Any) -> tuple[list[Any], Any] | None:
    """The children of a container and its context; None for a leaf."""
    kind = type(tree)
    if kind is deque:
        return list(tree), tree.maxlen
    if kind in _SEQUENCES or _is_namedtuple(kind) or _is_return_type(kind):
        return list(tree), None
    if kind is defaultdict:
        return list(tree.values()), [tree.default_factory, list(tree)]
    if kind in _MAPPINGS:
        return list(tree.values()), list(tree)
    return None


def _joined(spec: TreeSpec, children: list[Any]) -> Any:
    kind, context = spec.type, spec.context
    if kind is deque:
        return deque(children, maxlen=context)
    if kind is defaultdict:
        return defaultdict(context[0], dict(zip(context[1], children, strict=True)))
    if kind is dict or kind is OrderedDict:
        return kind(zip(context, children, strict=True))
    return kind(*children) if _is_namedtuple(kind) else kind(children)


def tree_flatten(tree: Any) -> tuple[list[Any], TreeSpec]:
    """The leaves of a structure, in order, and the structure itself.

    Example:
        >>> tree_flatten((1, [2, 3]))
        ([1, 2, 3], TreeSpec(tuple, None, [*, TreeSpec(list, None, [*, *])]))
    """
    parted = _parted(tree)
    if parted is None:
        return [tree], _LEAF
    children, context = parted
    leaves: list[Any] = []
    specs = []
    for child in children:
        found, spec = tree_flatten(child)
        leaves += found
        specs.append(spec)
    return leaves, TreeSpec(type(tree), context, specs)


def tree_unflatten(leaves: Any, treespec: TreeSpec) -> Any:
    """A structure with these leaves.

    Raises:
        ValueError: if there are more or fewer of them than it holds.

    Example:
        >>> import flambeau as torch
        >>> leaves, spec = torch.utils._pytree.tree_flatten({"x": [1, 2], "y": (3,)})
        >>> torch.utils._pytree.tree_unflatten([leaf + 1 for leaf in leaves], spec)
        {'x': [2, 3], 'y': (4,)}
    """
    given = list(leaves)
    if len(given) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(given)} but the spec refers to a pytree that "
            f"holds {treespec.num_leaves} items ({treespec})."
        )
    return _filled(iter(given), treespec)


def _filled(leaves: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(leaves)
    return _joined(spec, [_filled(leaves, child) for child in spec.children_specs])


def tree_leaves(tree: Any) -> list[Any]:
    """The leaves of a structure, in order.

    Example:
        >>> import flambeau as torch
        >>> torch.utils._pytree.tree_leaves({"x": [1, 2], "y": (3,)})
        [1, 2, 3]
    """
    return tree_flatten(tree)[0]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any) -> Any:
    """The structure with a function of its leaves in their place.

    Further structures of the same make give the function's further arguments.

    Example:
        >>> import flambeau as torch
        >>> torch.utils._pytree.tree_map(lambda leaf: leaf * 10, {"x": [1, 2], "y": (3,)})
        {'x': [10, 20], 'y': (30,)}
    """
    leaves, spec = tree_flatten(tree)
    others = [tree_leaves(rest) for rest in rests]
    return tree_unflatten([func(*given) for given in zip(leaves, *others, strict=True)], spec)


def broadcast_to_and_flatten(tree: Any, treespec: TreeSpec) -> list[Any] | None:
    """The leaves of a structure that may stop short of another: a leaf stands for all that is below its place there.

    None where the two do not fit.
    """
    if treespec.type is None:
        return [tree] if _parted(tree) is None else None
    parted = _parted(tree)
    if parted is None:
        return [tree] * treespec.num_leaves
    children, context = parted
    fits = type(tree) is treespec.type and len(children) == len(treespec.children_specs)
    if not fits or context != treespec.context:
        return None
    found: list[Any] = []
    for child, spec in zip(children, treespec.children_specs, strict=True):
        part = broadcast_to_and_flatten(child, spec)
        if part is None:
            return None
        found += part
    return found
