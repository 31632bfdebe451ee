"""Served models: versions, names, batching."""
