"""Interpolation, grid sampling and rearranged pixels."""
