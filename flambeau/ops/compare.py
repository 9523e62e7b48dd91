"""Comparisons and logic: results are bool."""
