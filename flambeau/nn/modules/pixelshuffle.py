"""Pixel shuffling."""
