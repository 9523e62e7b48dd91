"""Functions of neural networks."""

from flambeau.ops.operator import NAMESPACES

globals().update(NAMESPACES["nn.functional"])
