"""Linear algebra."""

from flambeau.ops.operator import NAMESPACES

globals().update(NAMESPACES["linalg"])
