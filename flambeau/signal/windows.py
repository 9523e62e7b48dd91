"""Window functions."""

from flambeau.ops.operator import NAMESPACES

globals().update(NAMESPACES["signal.windows"])
