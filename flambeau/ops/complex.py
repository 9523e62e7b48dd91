"""Complex numbers: their parts, and making them."""
