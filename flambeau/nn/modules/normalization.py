"""Layer, group and local normalisation."""
