"""Normalisation over batches, layers, groups and instances."""
