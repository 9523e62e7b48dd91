"""Automatic differentiation: a tape beside the graph."""
