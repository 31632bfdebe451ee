"""Columns of an entity's row that are made of its label and description."""
