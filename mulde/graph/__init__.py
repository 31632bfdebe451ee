"""Graphs on disk and in memory."""
