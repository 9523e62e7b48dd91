"""Datasets, samplers and the loader of batches."""
