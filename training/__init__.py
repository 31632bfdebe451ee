"""Offline: graphs in, bundles out. Everything here may use torch."""
