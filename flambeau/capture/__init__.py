"""Capturing functions: one call is recorded and looked at, later ones replay its program."""
