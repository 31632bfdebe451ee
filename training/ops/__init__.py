"""Numerical operations."""
