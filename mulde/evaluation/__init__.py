"""Filtered ranks, metrics and calibration."""
