"""Elementwise functions of one or two operands: powers, exponentials, trigonometry, rounding, comparison of magnitudes."""
