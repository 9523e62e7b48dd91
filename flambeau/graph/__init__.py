"""Recorded work, as data: what is known of values, operations on them, and programs of these."""
