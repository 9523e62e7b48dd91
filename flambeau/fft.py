"""Discrete Fourier transforms."""

from flambeau.ops.operator import NAMESPACES

globals().update(NAMESPACES["fft"])
