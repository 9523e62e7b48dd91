"""Who looks on while a function is captured.

Nothing here knows what capturing is for: the recorder, the engine and the sources of numbers and
random draws report to whoever is looking, and pass by in one comparison when nobody is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flambeau.graph.node import Node


class Observer(Protocol):
    """What is told of while a function runs to be captured.

    Attributes:
        casts: the weights' casts that autocast made meanwhile, by the weight's identity.
    """

    casts: dict[int, Any]

    def value_wanted(self, node: Node) -> None:
        """Somebody asks for a value, which a replay could not know in time."""

    def postponed(self, tensor: Any, check: Callable[[Any], None]) -> bool:
        """Whether a check of a tensor's values waits until they are known; False: the values are wanted now."""
        ...

    def varies(self, tensor: Any) -> bool:
        """Whether a tensor stands for one of many examples, and so never has a value of its own."""
        ...

    def made(self, node: Node) -> None:
        """A leaf was made from data of the program's own: a constant of what is captured."""

    def drawn(self, node: Node, again: Callable[[], Any]) -> None:
        """A leaf was drawn at random; ``again`` draws its next value."""

    def numbers(self, nodes: list[Node], again: Callable[[], Any]) -> None:
        """Leaves were made of numbers that change from call to call; ``again`` gives the next."""

    def read(self, tensor: Any) -> None:
        """A tensor is read by recorded work."""

    def written(self, tensor: Any, new: Any) -> None:
        """A tensor is about to be given the values of another."""

    def action(self, again: Callable[[], Any]) -> None:
        """Something was done outside of tensors that every call must do again."""


class _Current:
    """Who looks on now.

    Attributes:
        observer: while a function is captured or mapped.
        draws: while what is drawn at random is kept, to be had again: gives the leaf for what makes one.
    """

    __slots__ = ("draws", "observer")

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.draws: Callable[[Callable[[], Any]], Node] | None = None


current = _Current()
