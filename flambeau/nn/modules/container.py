"""Containers of modules and parameters."""
