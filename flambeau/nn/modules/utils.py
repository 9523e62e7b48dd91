"""Small helpers that layers share."""
