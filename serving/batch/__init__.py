"""Batch prediction over files: streamed, resumed, on all cores."""
