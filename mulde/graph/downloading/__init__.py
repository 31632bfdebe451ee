"""Benchmark graphs from their public homes."""
