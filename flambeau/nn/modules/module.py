"""The base of all modules."""
