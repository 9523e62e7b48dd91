"""Dropout in every form."""
