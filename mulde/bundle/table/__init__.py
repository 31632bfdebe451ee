"""The entity table: rows, precisions, bounds of rounding."""
