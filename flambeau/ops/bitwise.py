"""Bitwise operations on integers and bools."""
