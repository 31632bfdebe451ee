"""Models trained elsewhere, converted to checkpoints of this package."""
