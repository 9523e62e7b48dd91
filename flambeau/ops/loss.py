"""Losses."""

from __future__ import annotations

from flambeau.ops import loss_class
