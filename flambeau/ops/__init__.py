"""Operators, one file per family: shape rule, kernels, derivative and examples of each together."""
