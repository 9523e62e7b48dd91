"""Indexing: reading and writing by position."""
