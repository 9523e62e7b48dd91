"""Which device does what: recorded work in groups, each for one device."""

from __future__ import annotations

from flambeau import devices
from flambeau.graph.node import Node


def places(nodes: list[Node]) -> set[devices.device]:
    """The devices that do the work of these nodes."""
    return {node.call.place for node in nodes if node.call is not None}


def by_place(nodes: list[Node]) -> list[list[Node]]:
    """Recorded nodes in groups of one device each, in an order in which each finds its inputs computed.

    Empties the list, so that the groups alone hold the nodes.
    """
    known: dict[int, tuple[int, devices.device]] = {}
    groups: dict[tuple[int, devices.device], list[Node]] = {}
    for node in nodes:
        assert node.call is not None, "a node to compute has a call"
        place = node.call.place
        if node.inputs and type(node.inputs[0].aval) is tuple:
            # One of several results is taken where these are.
            place = known[id(node.inputs[0])][1]
        stage = 0
        for read in node.inputs:
            if read.call is not None:
                before, there = known[id(read)]
                stage = max(stage, before + (there is not place))
        known[id(node)] = stage, place
        groups.setdefault((stage, place), []).append(node)
    nodes.clear()
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]
