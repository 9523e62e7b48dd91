"""The tensor: a box that can be written to."""
