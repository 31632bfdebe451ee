"""Tokens and roles of callers, and TLS."""
