"""The list of recorded nodes that nothing has computed yet."""

from __future__ import annotations

from flambeau.graph.node import Node

pending: list[Node] = []
"""Recorded, not computed, in the order of recording: each node's inputs stand before it."""

LIMIT = 4000
"""More pending nodes than this flush by themselves, so that no loop can fill the memory."""
