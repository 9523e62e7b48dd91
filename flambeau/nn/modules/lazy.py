"""Lazy modules."""
