"""Special functions."""

from flambeau.ops.operator import NAMESPACES

globals().update(NAMESPACES["special"])
