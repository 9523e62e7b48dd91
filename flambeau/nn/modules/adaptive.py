"""Adaptive softmax."""
