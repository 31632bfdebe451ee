"""The entity table: precision, codes, index type."""
