"""Flambeau and PyTorch side by side: ``python -m benchmarks`` measures, ``docs/benchmarks.md`` explains."""
