"""What the engine has done and holds, at a glance."""

from __future__ import annotations

from typing import Any

from flambeau.engine.judge import entries
from flambeau.engine.statistics import counters
from flambeau.graph.recorder import pending


def statistics() -> dict[str, Any]:
    """The engine's counters, and what it holds now.

    Returns:
        A dictionary: the counters of :class:`Counters`, ``nodes_pending`` (recorded, not yet run)
        and ``programs_held``.

    Example:
        >>> import flambeau as torch
        >>> torch.engine.reset_statistics()
        >>> (torch.ones(2) + 1).tolist()
        [2.0, 2.0]
        >>> torch.engine.statistics()["flushes"]
        1
    """
    found = {name: getattr(counters, name) for name in counters.__slots__}
    found["nodes_pending"] = len(pending)
    found["programs_held"] = len(entries)
    return found
