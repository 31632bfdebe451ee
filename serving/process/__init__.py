"""Processes on one port: settings, supervision, TLS, logs, metrics."""
