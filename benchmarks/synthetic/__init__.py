"""Graphs and bundles of any size, generated from a seed, for benchmarks and tests."""
