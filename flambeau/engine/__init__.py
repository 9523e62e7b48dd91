"""How recorded work gets done: what to run, on which tier, and what that has cost."""

from flambeau.engine import accelerators as accelerators
from flambeau.engine.flush import flush, synchronize
from flambeau.engine.report import statistics
from flambeau.engine.statistics import reset_statistics
from flambeau.engine.tiers import get_tier, set_tier

__all__ = ["flush", "get_tier", "reset_statistics", "set_tier", "statistics", "synchronize"]
